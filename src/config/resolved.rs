//! Room `config` (wiring): the checked configuration, plain values for the other rooms.

mod clients;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{SecretSlice, SecretString};

use crate::correlate::{Lane, Qos};
use crate::host;
use crate::load;
use crate::schedule::{Arrivals, Profile};
use crate::stamp::Format;
use crate::telemetry::OtlpConfig;
use crate::wire::{Tls, Version};

pub use clients::{BackgroundConfig, SubscribersConfig};

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The name of this probe.
    pub probe: String,
    /// What keys the stamps; without it the probe's name does.
    pub key: Option<SecretSlice<u8>>,
    /// The measured paths, 1 to 128, with names of their own.
    pub paths: Vec<PathConfig>,
    /// The load generator of somebody else's that runs meanwhile, if any.
    pub load: Option<load::Config>,
    /// How long a window is.
    pub window: Duration,
    /// How long outcomes are waited for after a signal.
    pub drain: Duration,
    /// Where state is kept that outlives the process, if it is.
    pub state_dir: Option<PathBuf>,
    /// What is sampled on the host.
    pub host: host::Config,
    /// What is served and exported.
    pub telemetry: TelemetryConfig,
}

/// One measured path.
#[derive(Clone, Debug)]
pub struct PathConfig {
    /// Its name in metrics and reports.
    pub name: String,
    /// Where messages go in.
    pub mqtt: MqttConfig,
    /// Where they come out, unless the path only publishes.
    pub kafka: Option<KafkaConfig>,
    /// What is timed, without repeats; `mqtt_kafka` only with a Kafka side, `kafka_kafka` only with a
    /// control topic, and the reverse.
    pub lanes: Vec<Lane>,
    /// How long after its intended send time a message may arrive and still be delivered.
    pub deadline: Duration,
    /// What it is held to.
    pub slo: SloConfig,
}

/// What a path is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SloConfig {
    /// The longest median of the end-to-end latency.
    pub p50: Option<Duration>,
    /// The longest 90 % quantile.
    pub p90: Option<Duration>,
    /// The longest 99 % quantile.
    pub p99: Option<Duration>,
    /// The longest 99.9 % quantile.
    pub p999: Option<Duration>,
    /// The longest latency.
    pub max: Option<Duration>,
    /// How many acknowledged messages may be lost.
    pub acked_lost: u32,
    /// How many further records of messages may come out.
    pub duplicates: Option<u32>,
    /// The least share of slots that is delivered, above 0 and up to 1.
    pub availability: Option<f64>,
}

impl PathConfig {
    /// Messages a second of the whole path: the control lane has its own, as many again.
    #[must_use]
    pub fn messages_a_second(&self) -> f64 {
        let control = self.lanes.contains(&Lane::KafkaKafka);
        self.mqtt.rate.nominal() * if control { 2.0 } else { 1.0 }
    }
}

/// The MQTT side of a path.
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// The broker.
    pub url: Url,
    /// The version of the protocol.
    pub version: Version,
    /// The user name, if any.
    pub username: Option<String>,
    /// The password; only with a user name.
    pub password: Option<SecretString>,
    /// How its connections are encrypted, if they are.
    pub tls: Option<Tls>,
    /// The topic that is published to.
    pub topic: TopicTemplate,
    /// The QoS levels over which rate and clients are split evenly: one to three, ascending.
    pub qos: Vec<Qos>,
    /// How many publishers there are, at least one for each QoS.
    pub clients: u32,
    /// Messages of the whole path.
    pub rate: Rate,
    /// How the slots lie in time; closed where the rate is [`Rate::Max`], and nowhere else.
    pub schedule: Arrivals,
    /// How the rate changes; steady in a closed loop.
    pub profile: Profile,
    /// How many messages of a client may be unacknowledged, if that is given.
    pub inflight: Option<u16>,
    /// How many clients begin to connect, a second.
    pub connect_rate: f64,
    /// What is published.
    pub payload: PayloadConfig,
    /// Whether brokers are to keep the last message of each topic.
    pub retain: bool,
    /// How lane `mqtt_mqtt` is listened to.
    pub subscribers: SubscribersConfig,
    /// Who is there beside and measures nothing.
    pub background: Option<BackgroundConfig>,
}

/// How many messages a path has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many a second, above 0.
    PerSecond(f64),
    /// As many as the system takes.
    Max,
}

impl Rate {
    /// What a closed loop is reckoned with where room is made for its messages.
    const OF_MAX: f64 = 100_000.0;

    /// Messages a second, by which room is made for them.
    #[must_use]
    pub const fn nominal(self) -> f64 {
        match self {
            Self::PerSecond(rate) => rate,
            Self::Max => Self::OF_MAX,
        }
    }
}

/// An MQTT broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether connections are encrypted.
    pub tls: bool,
}

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadConfig {
    /// Bytes.
    pub size: u32,
    /// What it looks like.
    pub format: Format,
}

/// An MQTT topic in which `{probe}`, `{path}` and `{client}` may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate(String);

impl TopicTemplate {
    /// As it is configured, with its placeholders.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A template whose placeholders were checked before.
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The topic of one client.
    #[must_use]
    pub fn expand(&self, probe: &str, path: &str, client: u32) -> String {
        // No name holds a brace, so nothing is expanded twice.
        self.0
            .replace("{probe}", probe)
            .replace("{path}", path)
            .replace("{client}", &client.to_string())
    }

    /// The topic filter that matches the topics of all clients of a path, and as little else as MQTT
    /// can say.
    #[must_use]
    pub fn filter(&self, probe: &str, path: &str) -> String {
        let topic = self.0.replace("{probe}", probe).replace("{path}", path);
        let level =
            |level: &str| if level.contains("{client}") { "+".into() } else { level.to_owned() };
        topic.split('/').map(level).collect::<Vec<String>>().join("/")
    }
}

/// The Kafka side of a path.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// Bootstrap brokers as `host:port`.
    pub brokers: Vec<String>,
    /// The topics to read.
    pub topics: Vec<TopicSelector>,
    /// Where control messages are produced to, and read from; only with lane `kafka_kafka`.
    pub control_topic: Option<String>,
    /// How many threads share the partitions of the topics, 1 to 64.
    pub consumers: u32,
    /// Further librdkafka properties; none that measurement depends on.
    pub properties: BTreeMap<String, String>,
    /// The same, of those that must never be shown.
    pub secret_properties: BTreeMap<String, SecretString>,
}

/// Which Kafka topics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSelector {
    /// The topic of this name.
    Name(String),
    /// Every topic whose name matches; begins with `^`.
    Pattern(String),
}

/// What is served over HTTP and exported over OTLP.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// How long `/metrics` stays up after the report.
    pub linger: Duration,
    /// What is exported, if anything is.
    pub otlp: Option<OtlpConfig>,
}
