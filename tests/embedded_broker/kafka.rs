//! librdkafka's mock cluster with one topic, and a reader of it.

use std::time::Duration;

use landfall::shutdown::Tasks;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

/// A record as a consumer got it.
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

pub(crate) struct Kafka(MockCluster<'static, DefaultProducerContext>);

impl Kafka {
    pub(crate) const TOPIC: &'static str = "landed";

    pub(crate) fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(Self::TOPIC, 3, 1).unwrap();
        Self(cluster)
    }

    pub(crate) fn brokers(&self) -> String {
        self.0.bootstrap_servers()
    }

    pub(crate) fn down(&self) {
        self.0.broker_down(1).unwrap();
    }

    pub(crate) fn up(&self) {
        self.0.broker_up(1).unwrap();
    }

    /// Everything in the topic, once there are at least so many records.
    pub(crate) async fn read(&self, least: usize, tasks: &Tasks) -> Vec<Record> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("group.id", "unused")
            .set("fetch.wait.max.ms", "10")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..3 {
            partitions.add_partition_offset(Self::TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let (tell, told) = oneshot::channel();
        tasks
            .thread("reader", move || {
                let mut records = Vec::new();
                let mut ended = 0;
                while !tell.is_closed() && (records.len() < least || ended < 3) {
                    match consumer.poll(Duration::from_millis(100)) {
                        Some(Ok(message)) => records.push(record(&message)),
                        Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
                        _ => {}
                    }
                }
                let _ = tell.send(records);
            })
            .unwrap();
        told.await.unwrap()
    }
}

fn record(message: &impl Message) -> Record {
    Record {
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().unwrap_or_default().to_vec(),
        headers: message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect()
        }),
    }
}
