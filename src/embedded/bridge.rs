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

mod kafka;
mod ledger;
mod session;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rumqttc::v5::ConnectionError;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::shutdown::Tasks;
use kafka::{Delivery, Kafka, Reports};
use session::{Acknowledgements, Session, granted};

const FIRST_BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
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
    /// The idempotent producer cannot continue without breaking its promise.
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
        })
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
        let mut crossing = Crossing {
            bridge: &self,
            acknowledgements,
            kafka: &kafka,
            in_flight: Arc::clone(&in_flight),
            back_off: FIRST_BACK_OFF,
            connections: 0,
        };
        tokio::select! {
            () = tasks.stopped() => {}
            error = kafka.failed() => return Err(error),
            error = crossing.cross(&mut session) => return Err(error),
        }
        // Running out of time here loses nothing: what is not acknowledged is sent again.
        let _ =
            tokio::time::timeout(DRAIN, drain(&mut session, &in_flight, self.config.max_in_flight))
                .await;
        Ok(())
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

/// A bridge at work.
struct Crossing<'a> {
    bridge: &'a Bridge,
    acknowledgements: Arc<Acknowledgements>,
    kafka: &'a Kafka,
    in_flight: Arc<Semaphore>,
    back_off: Duration,
    connections: u64,
}

impl Crossing<'_> {
    /// Carries messages until something fails for good.
    async fn cross(&mut self, session: &mut Session) -> Error {
        loop {
            let done = match session.next().await {
                Ok(packet) => self.take(packet, session).await,
                Err(error) => {
                    self.wait_after(&error, session).await;
                    Ok(())
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    async fn take(&mut self, packet: Packet, session: &mut Session) -> Result<(), Error> {
        match packet {
            Packet::Publish(publish) => self.carry(&publish).await,
            Packet::PubRel(release) => self.acknowledgements.released(release.pkid),
            Packet::ConnAck(answer) => {
                if !answer.session_present {
                    self.acknowledgements.session_lost();
                }
                session.connected()?;
                let earlier = u64::from(self.connections > 0);
                self.connections += 1;
                self.bridge.counters.0.reconnects.fetch_add(earlier, Ordering::Relaxed);
            }
            Packet::SubAck(answer) => {
                let mqtt = &self.bridge.config.mqtt;
                let qos = granted(&answer, &mqtt.filter)?;
                if qos != mqtt.qos_max {
                    tracing::warn!(asked = ?mqtt.qos_max, granted = ?qos, filter = mqtt.filter, "the broker grants the bridge another QoS");
                }
                self.back_off = FIRST_BACK_OFF;
                self.bridge.subscribed.send_replace(true);
            }
            _ => {}
        }
        Ok(())
    }

    async fn carry(&mut self, publish: &Publish) {
        self.back_off = FIRST_BACK_OFF;
        self.bridge.counters.0.received.fetch_add(1, Ordering::Relaxed);
        let Some(ticket) = self.acknowledgements.received(publish.qos, publish.pkid) else {
            return;
        };
        let ticket = match self.bridge.config.acknowledge {
            Acknowledge::AfterKafka => Some(ticket),
            Acknowledge::BeforeKafka => {
                self.acknowledgements.settled(ticket);
                None
            }
        };
        // Never closed, so it always comes.
        if let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await {
            self.kafka.produce(publish, Delivery { ticket, permit }).await;
        }
    }

    async fn wait_after(&mut self, error: &ConnectionError, session: &mut Session) {
        self.acknowledgements.disconnected(session);
        self.bridge.subscribed.send_replace(false);
        let mqtt = &self.bridge.config.mqtt;
        let wait = jittered(self.back_off, self.bridge.clock.now().nanos());
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        tracing::warn!(%error, broker = %format_args!("{}:{}", mqtt.host, mqtt.port), ?wait, "the bridge has no MQTT connection; it tries again");
        tokio::time::sleep(wait).await;
    }
}

/// Between half of `longest` and all of it, so that many bridges do not come back at once. The low
/// digits of a clock are random enough for that.
fn jittered(longest: Duration, random: u64) -> Duration {
    let share = u32::try_from(random % 1_000).unwrap_or(0);
    longest / 2 + longest / 2_000 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds() {
        assert_eq!(jittered(FIRST_BACK_OFF, 0), Duration::from_millis(100));
        assert!(jittered(LONGEST_BACK_OFF, 999) <= LONGEST_BACK_OFF);
        assert!(jittered(LONGEST_BACK_OFF, 999) > jittered(LONGEST_BACK_OFF, 1));
    }
}
