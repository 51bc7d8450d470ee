//! Test support: the embedded systems in the test's own process, for a landfall in another.

use std::net::SocketAddr;
use std::sync::mpsc;

use landfall::clock::Clock;
use landfall::embedded::bridge::{Acknowledge, Bridge, Config, Mqtt};
use landfall::embedded::kafka::{self, Hooks, Kafka, Topic};
use landfall::embedded::mqtt::{self, Broker};
use landfall::shutdown::Tasks;
use rumqttc::v5::mqttbytes::QoS;
use tokio::runtime;

/// A broker, a Kafka, and a bridge from everything below `landfall/` to its first topic.
pub(crate) struct Systems {
    pub(crate) mqtt: SocketAddr,
    pub(crate) kafka: SocketAddr,
    pub(crate) hooks: Hooks,
    tasks: Tasks,
}

impl Systems {
    /// Starts them and waits until the bridge is subscribed.
    pub(crate) fn start(topics: Vec<Topic>) -> Self {
        let tasks = Tasks::new();
        let (tell, told) = mpsc::channel();
        let (group, thread) = (tasks.clone(), tasks.child());
        thread
            .thread("systems", move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tell.send(bring_up(topics, &group).await).unwrap();
                    group.stopped().await;
                    group.finished().await;
                });
            })
            .unwrap();
        let (mqtt, kafka, hooks) = told.recv().unwrap();
        Self { mqtt, kafka, hooks, tasks }
    }
}

impl Drop for Systems {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn bring_up(topics: Vec<Topic>, tasks: &Tasks) -> (SocketAddr, SocketAddr, Hooks) {
    let clock = Clock::system();
    let broker = Broker::start(&mqtt::Config::default(), tasks).await.unwrap();
    let kafka_topic = topics[0].name.clone();
    let partition_bytes_max = 64 << 20;
    let bytes_max = 128 << 20;
    let config = kafka::Config { topics, bytes_max, partition_bytes_max, ..Default::default() };
    let kafka = Kafka::bind(config, clock).await.unwrap();
    let (mqtt, address, hooks) = (broker.address(), kafka.address(), kafka.hooks());
    tasks.spawn(kafka.serve(tasks.clone()));
    let config = Config {
        mqtt: Mqtt {
            host: mqtt.ip().to_string(),
            port: mqtt.port(),
            credentials: None,
            client_id: "bridge".to_owned(),
            filter: "landfall/#".to_owned(),
            qos_max: QoS::ExactlyOnce,
        },
        kafka_brokers: address.to_string(),
        kafka_topic,
        kafka_properties: Vec::new(),
        acknowledge: Acknowledge::AfterKafka,
        max_in_flight: 10_000,
    };
    let bridge = Bridge::new(config, clock).unwrap();
    let mut subscribed = bridge.subscribed();
    let group = tasks.clone();
    tasks.spawn(async move { bridge.run(&group).await.unwrap() });
    subscribed.wait_for(|subscribed| *subscribed).await.unwrap();
    (mqtt, address, hooks)
}
