//! Room `embedded` (edge): the bridge's way into Kafka.
//!
//! # Design
//!
//! A thread of its own polls the producer and turns each delivery report into an MQTT
//! acknowledgement right there: `poll` wakes with the report, so that no interval and no further
//! hand-over stands between Kafka's answer and the acknowledgement.
//!
//! librdkafka retries for ever (`message.timeout.ms=0`), so a report that tells of a failure is
//! final: the message is too large, the topic does not exist, or the like. It is counted, logged
//! and acknowledged, so that one such message does not stop the stream. Messages that are thrown
//! away because the bridge stops are not acknowledged; the broker sends them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::ledger::Ticket;
use super::link::Note;
use super::session::Acknowledgements;
use super::{Config, Counters, Error};
use crate::clock::{Clock, Instant};
use crate::shutdown::Tasks;

/// How long `poll` sleeps when nothing happens; only stopping waits for it.
const POLL: Duration = Duration::from_millis(100);
/// At most one line about failed messages in this time.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(5);
/// Bytes of unconfirmed messages.
const MAX_QUEUE_KBYTES: &str = "65536";

/// What a message on its way to Kafka carries along.
pub(super) struct Delivery {
    /// Acknowledges the message; `None` where that is done.
    pub(super) ticket: Option<Ticket>,
    /// Its place among the messages in flight; `None` of what goes beside a message.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Tells the fault link's ledger, where there is one.
    pub(super) note: Option<Note>,
}

/// Hears what became of each message; shared with the polling thread.
pub(super) struct Reports {
    acknowledgements: Arc<Acknowledgements>,
    counters: Counters,
    clock: Clock,
    complaint_due: AtomicU64,
    unsaid: AtomicU64,
    room: Notify,
    fatal: watch::Sender<Option<String>>,
}

impl Reports {
    pub(super) fn new(
        acknowledgements: Arc<Acknowledgements>,
        counters: Counters,
        clock: Clock,
    ) -> Self {
        Self {
            acknowledgements,
            counters,
            clock,
            complaint_due: AtomicU64::default(),
            unsaid: AtomicU64::default(),
            room: Notify::new(),
            fatal: watch::Sender::default(),
        }
    }

    fn failed(&self, error: &KafkaError, bytes: usize, delivery: &Delivery) {
        match error.rdkafka_error_code() {
            // The bridge is stopping, or the producer is of no use any more: still owed.
            Some(
                RDKafkaErrorCode::PurgeQueue
                | RDKafkaErrorCode::PurgeInflight
                | RDKafkaErrorCode::Fatal,
            ) => return,
            _ => self.settle(delivery),
        }
        self.counters.0.failed.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let due = self.complaint_due.load(Ordering::Relaxed);
        let next = (now + COMPLAINT_PERIOD).nanos();
        let due_now = now >= Instant::from_nanos(due)
            && self
                .complaint_due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due_now {
            let unsaid = self.unsaid.swap(0, Ordering::Relaxed);
            tracing::warn!(%error, bytes, unsaid, "Kafka refuses a message, which is acknowledged and dropped; see max.message.bytes, and that the topic is there");
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn settle(&self, delivery: &Delivery) {
        if let Some(ticket) = delivery.ticket {
            self.acknowledgements.settled(ticket);
        }
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fatal.send_replace(Some(reason.to_owned()));
        } else {
            tracing::debug!(%error, reason, "the bridge's Kafka producer");
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        match result {
            Ok(record) => {
                if let Some(note) = &delivery.note {
                    note.landed(record.partition(), record.offset());
                }
                self.settle(&delivery);
                self.counters.0.produced.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, message)) => self.failed(error, message.payload_len(), &delivery),
        }
        // The place must be free before the waiting sender looks for it.
        drop(delivery.permit);
        self.room.notify_one();
    }
}

/// The producer and its polling thread, which ends when this is dropped.
pub(super) struct Kafka {
    producer: Arc<BaseProducer<Reports>>,
    topic: String,
    closing: Arc<AtomicBool>,
}

impl Kafka {
    /// Starts the producer; it connects by itself, now and after every loss.
    ///
    /// # Errors
    ///
    /// When a property is unknown or wrong, or there is no thread to be had.
    pub(super) fn start(config: &Config, reports: Reports, tasks: &Tasks) -> Result<Self, Error> {
        let mut properties = ClientConfig::new();
        properties
            .set("bootstrap.servers", &config.kafka_brokers)
            .set("client.id", &config.mqtt.client_id)
            .set("linger.ms", "0")
            .set("acks", "all")
            // One request at a time keeps the order where one is sent again, as an idempotent producer
            // would. That one spins while Kafka is slow: see the room `produce`.
            .set("max.in.flight", "1")
            .set("message.timeout.ms", "0")
            .set("socket.nagle.disable", "true")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "1000")
            .set("queue.buffering.max.messages", config.max_in_flight.to_string())
            .set("queue.buffering.max.kbytes", MAX_QUEUE_KBYTES);
        for (name, value) in &config.kafka_properties {
            properties.set(name, value);
        }
        let producer: BaseProducer<Reports> =
            properties.create_with_context(reports).map_err(Error::Kafka)?;
        let producer = Arc::new(producer);
        let closing = Arc::new(AtomicBool::new(false));
        let (polled, closed) = (Arc::clone(&producer), Arc::clone(&closing));
        tasks
            .thread("bridge-kafka", move || {
                while !closed.load(Ordering::Relaxed) {
                    polled.poll(POLL);
                }
            })
            .map_err(Error::Thread)?;
        Ok(Self { producer, topic: config.kafka_topic.clone(), closing })
    }

    /// Hands a message to the producer; waits where its queue is full.
    pub(super) async fn produce(&self, publish: &Publish, delivery: Delivery) {
        self.produce_to(&self.topic, publish, delivery).await;
    }

    /// The same to another topic.
    pub(super) async fn produce_to(&self, topic: &str, publish: &Publish, delivery: Delivery) {
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(delivery))
            .key(&publish.topic[..])
            .payload(&publish.payload[..])
            .headers(headers(publish));
        let reports = self.producer.context();
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    reports.room.notified().await;
                }
                Err((error, refused)) => {
                    return reports.failed(&error, publish.payload.len(), &refused.delivery_opaque);
                }
            }
        }
    }

    /// Waits until the producer has failed for good, and tells why.
    pub(super) async fn failed(&self) -> Error {
        let mut fatal = self.producer.context().fatal.subscribe();
        let reason = fatal.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        Error::Fatal(reason.unwrap_or_default())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

/// The user properties in order, then the content type.
fn headers(publish: &Publish) -> OwnedHeaders {
    let Some(properties) = &publish.properties else {
        return OwnedHeaders::new_with_capacity(0);
    };
    let user = properties.user_properties.iter().map(|(key, value)| (key.as_str(), value));
    let content = properties.content_type.iter().map(|value| ("content-type", value));
    user.chain(content).fold(
        OwnedHeaders::new_with_capacity(properties.user_properties.len() + 1),
        |headers, (key, value)| headers.insert(Header { key, value: Some(value) }),
    )
}
