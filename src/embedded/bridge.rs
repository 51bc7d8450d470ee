//! Room `embedded` (edge): the reference bridge from MQTT to Kafka.
//!
//! # Design
//!
//! It subscribes with MQTT 5, produces each message to one Kafka topic, and acknowledges it to the
//! broker only when Kafka has it: of a message whose publisher has its acknowledgement there is
//! always somebody who holds it. Key: the MQTT topic. Value: the payload as it came. Headers: the
//! user properties in order, then `content-type` if the message has one.
//!
//! Over reconnects QoS 1 is at least once and QoS 2 exactly once. Over a restart of the process
//! both are at least once, since what was received is remembered in memory only.
//!
//! Memory is bounded by the messages in flight to Kafka. When there are too many the bridge stops
//! reading MQTT; a broker that loses patience disconnects it, and the session resumes later.

mod crossing;
mod kafka;
mod ledger;
mod link;
mod session;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rumqttc::v5::mqttbytes::QoS;
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::shutdown::Tasks;
use crossing::Crossing;
use kafka::{Kafka, Reports};
use session::Session;

pub(super) use link::trace_id;
pub use link::{Facts, Faults, Landed, Link, LinkLog, Passage, Route};

/// How long a stopping bridge waits for Kafka to confirm what it has received.
const DRAIN: Duration = Duration::from_secs(3);

/// What the bridge connects, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The MQTT side.
    pub mqtt: Mqtt,
    /// Kafka bootstrap servers, as in `bootstrap.servers`.
    pub kafka_brokers: String,
    /// The Kafka topic; it must exist.
    pub kafka_topic: String,
    /// Further librdkafka properties; they win over the bridge's own.
    pub kafka_properties: Vec<(String, String)>,
    /// When a message is acknowledged to the MQTT broker.
    pub acknowledge: Acknowledge,
    /// Messages that Kafka has not confirmed, at most.
    pub max_in_flight: usize,
}

/// The MQTT side of a bridge.
#[derive(Clone, Debug)]
pub struct Mqtt {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password, where the broker wants them.
    pub credentials: Option<Credentials>,
    /// Names the session, so it must be this bridge's alone and the same after a restart.
    pub client_id: String,
    /// Topic filter to subscribe to.
    pub filter: String,
    /// Highest QoS at which messages are to be received.
    pub qos_max: QoS,
}

/// What the bridge identifies itself with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password; never printed.
    pub password: SecretString,
}

/// When a message is acknowledged to the MQTT broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// When Kafka has confirmed it.
    #[default]
    AfterKafka,
    /// At once: a bridge whose acknowledgements lie, for tests of what that does.
    BeforeKafka,
}

/// Why a bridge did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A limit of zero lets nothing pass.
    #[error("the bridge's max_in_flight is 0, so that nothing could pass; set at least 1")]
    NoRoom,
    /// librdkafka refuses a property.
    #[error("the bridge's Kafka producer does not start: {0}; check kafka_properties")]
    Kafka(#[source] KafkaError),
    /// No thread to poll the producer on.
    #[error("the bridge gets no thread for its Kafka producer: {0}")]
    Thread(#[source] io::Error),
    /// The producer cannot continue, which is so of an idempotent one alone.
    #[error(
        "the bridge's Kafka producer failed for good: {0}; start the bridge anew, it resumes its MQTT session"
    )]
    Fatal(String),
    /// The broker refused the subscription.
    #[error(
        "the MQTT broker refuses the bridge's subscription to {filter:?}: {reason}; check the filter and the broker's access rules"
    )]
    Refused {
        /// The topic filter.
        filter: String,
        /// The reason code.
        reason: String,
    },
    /// The MQTT client would not take a request.
    #[error("the bridge's MQTT client failed: {0}")]
    Mqtt(String),
}

/// What a bridge has done since it started; copies show the same figures.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    received: AtomicU64,
    produced: AtomicU64,
    failed: AtomicU64,
    reconnects: AtomicU64,
}

impl Counters {
    /// PUBLISH packets received, resent ones included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Messages that Kafka has confirmed.
    #[must_use]
    pub fn produced(&self) -> u64 {
        self.0.produced.load(Ordering::Relaxed)
    }

    /// Messages that Kafka will never take, dropped.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// MQTT connections made after the first.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.0.reconnects.load(Ordering::Relaxed)
    }
}

/// A bridge that is ready to run.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    clock: Clock,
    counters: Counters,
    subscribed: watch::Sender<bool>,
    link: Option<Link>,
}

impl Bridge {
    /// A bridge that has not connected yet.
    ///
    /// # Errors
    ///
    /// When the configuration lets nothing pass.
    pub fn new(config: Config, clock: Clock) -> Result<Self, Error> {
        if config.max_in_flight == 0 {
            return Err(Error::NoRoom);
        }
        Ok(Self {
            config,
            clock,
            counters: Counters::default(),
            subscribed: watch::Sender::new(false),
            link: None,
        })
    }

    /// The same with a fault link, whose routes say where messages go.
    #[must_use]
    pub fn with_link(self, link: Link) -> Self {
        Self { link: Some(link), ..self }
    }

    /// The figures of this bridge, also while it runs.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Whether the broker has confirmed the subscription on the present connection.
    #[must_use]
    pub fn subscribed(&self) -> watch::Receiver<bool> {
        self.subscribed.subscribe()
    }

    /// Bridges until `tasks` stop, over every loss of either side. Then it waits up to 3 s for
    /// Kafka to confirm what is in flight; the broker keeps the rest in the session for an hour.
    ///
    /// # Errors
    ///
    /// When it cannot start, the broker refuses the subscription, or the producer failed for good.
    pub async fn run(self, tasks: &Tasks) -> Result<(), Error> {
        let mut session = Session::new(&self.config);
        let acknowledgements = Arc::new(session.acknowledgements());
        let reports =
            Reports::new(Arc::clone(&acknowledgements), self.counters.clone(), self.clock);
        let kafka = Kafka::start(&self.config, reports, tasks)?;
        let in_flight =
            Arc::new(Semaphore::new(self.config.max_in_flight.min(Semaphore::MAX_PERMITS)));
        if let Some(link) = &self.link {
            link.attach();
        }
        let mut crossing = Crossing::new(&self, acknowledgements, &kafka, Arc::clone(&in_flight));
        let died = tokio::select! {
            () = tasks.stopped() => false,
            error = kafka.failed() => return Err(error),
            error = crossing.cross(&mut session) => return Err(error),
            () = linked(self.link.as_ref(), &kafka, self.clock) => true,
        };
        if let Some(link) = &self.link {
            link.forget();
        }
        let max_in_flight = self.config.max_in_flight;
        if died {
            drop(session);
            let all = u32::try_from(max_in_flight).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout(DRAIN, in_flight.acquire_many(all)).await;
            return Ok(());
        }
        // Running out of time here loses nothing: what is not acknowledged is sent again.
        let _ = tokio::time::timeout(DRAIN, drain(&mut session, &in_flight, max_in_flight)).await;
        Ok(())
    }
}

/// Produces what the link lets go until somebody kills the bridge; for ever without a link.
async fn linked(link: Option<&Link>, kafka: &Kafka, clock: Clock) {
    let Some(link) = link else { return std::future::pending().await };
    tokio::select! {
        () = link.let_go(kafka, clock) => {}
        () = link.killed() => {}
    }
}

/// Waits for the messages in flight, sends their acknowledgements, and takes leave.
async fn drain(session: &mut Session, in_flight: &Semaphore, all: usize) {
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    let confirmed = async {
        // What comes in now stays with the broker.
        while session.next().await.is_ok() {}
    };
    tokio::select! {
        _ = in_flight.acquire_many(all) => {}
        () = confirmed => return,
    }
    session.disconnect();
    while session.next().await.is_ok() {}
}
