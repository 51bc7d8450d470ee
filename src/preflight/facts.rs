//! Room `preflight`: what edges saw.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Instant;
use crate::correlate::{Qos, Stage};
use crate::stamp::{Carriers, Integrity};

/// What came of looking for a host and connecting to its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// `host:port`, as it was given.
    pub place: String,
    /// The addresses of the host, or why there are none.
    pub addresses: Result<Vec<String>, String>,
    /// What came of connecting to each of them that was tried.
    pub attempts: Vec<(String, Attempt)>,
}

/// What came of connecting to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It accepted, after so long.
    Connected(Duration),
    /// Nobody listens there.
    Refused,
    /// It did not answer for so long.
    Silent(Duration),
    /// Something else, in the system's words.
    Failed(String),
}

/// What an MQTT broker said to the client of one QoS.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// The QoS that the client publishes with.
    pub qos: Qos,
    /// What it was granted, or why it was not let in.
    pub outcome: Result<Accepted, String>,
}

/// What an MQTT broker said when it accepted a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accepted {
    /// From CONNECT to CONNACK.
    pub after: Duration,
    /// How many unacknowledged messages it takes at a time (MQTT 5), where it said so.
    pub receive_max: Option<u16>,
    /// The largest packet it takes, in bytes (MQTT 5), where it said so.
    pub packet_bytes_max: Option<u32>,
    /// The highest QoS it takes.
    pub qos_max: Qos,
}

/// What a run over the path will ask of the systems.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needs {
    /// Bytes of a payload.
    pub payload_bytes: u64,
    /// Messages a second of the whole path.
    pub rate: f64,
    /// Messages a second of one client.
    pub client_rate: f64,
    /// How long a message may take.
    pub deadline: Duration,
}

/// How clients of Kafka are asked to prove and to protect themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Whether the certificate of the broker is looked at.
    pub verifies: bool,
    /// The mechanism of the login, if there is one.
    pub sasl: Option<String>,
}

/// What librdkafka said on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it was about, by librdkafka's own error code.
    pub trouble: Trouble,
    /// Its words.
    pub words: String,
}

/// What librdkafka has trouble with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Something else.
    Other,
    /// A name that has no address.
    Name,
    /// A connection that can't be made, or that broke.
    Connection,
    /// TLS.
    Tls,
    /// The login.
    Login,
}

/// What a cluster said of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// How long it took to answer, connecting included.
    pub after: Duration,
    /// The brokers that it advertises.
    pub brokers: Vec<Broker>,
    /// The topics that were asked for.
    pub topics: Vec<Topic>,
    /// Patterns that no topic matches.
    pub unmatched: Vec<String>,
    /// How many further topics the path reads that were not looked at.
    pub more: u64,
}

/// A Kafka broker as the cluster advertises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A Kafka topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Why nothing else is known of it.
    pub problem: Option<TopicProblem>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// Its settings, or why they are not known.
    pub settings: Result<BTreeMap<String, String>, Unknown>,
}

/// Why the settings of a topic are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The cluster does not show them.
    Forbidden,
    /// The cluster did not answer, in librdkafka's words.
    Unanswered(String),
}

/// Why a topic can't be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicProblem {
    /// The cluster does not have it, or does not show it.
    Missing,
    /// The cluster says that it may not be looked at.
    Forbidden,
    /// Something else, in the cluster's words.
    Other(String),
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub id: i32,
    /// The broker that leads it, if one does.
    pub leader: Option<i32>,
}

/// Whether records are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The path does not read Kafka.
    NotAsked,
    /// So many partitions are read.
    Stands(usize),
    /// Partitions are, and the cluster keeps the records to itself: it shows partitions to whoever may
    /// describe a topic, and records only to whoever may read it.
    Barred,
    /// They are not, and why.
    Fails(String),
    /// There was nothing to read, as was said before.
    NotTried,
}

/// One message and everything that was seen of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its QoS.
    pub qos: Qos,
    /// When it was to be sent; arrivals count from here.
    pub due: Instant,
    /// When it was handed to the socket; or why it was not.
    pub sent: Result<Instant, String>,
    /// What the broker answered, in order.
    pub answers: Vec<Answer>,
    /// Why the connection broke, if it did behind the message.
    pub broke: Option<String>,
    /// The records that carry its stamp.
    pub records: Vec<Record>,
    /// What the MQTT subscriber was handed of it.
    pub copies: Vec<Copy>,
}

/// An answer of the MQTT broker to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which step of the handshake.
    pub stage: Stage,
    /// The reason code of MQTT 5; 0 in 3.1.1.
    pub reason: u8,
    /// When.
    pub at: Instant,
}

/// A record with the stamp of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was appended, where the topic says so (LogAppendTime).
    pub append: Option<Instant>,
    /// When it was handed to us.
    pub at: Instant,
    /// What brought the stamp.
    pub carriers: Carriers,
    /// Whether the payload is what was sent.
    pub integrity: Integrity,
}

/// A message that the MQTT subscriber was handed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Copy {
    /// When.
    pub at: Instant,
    /// Whether the payload is what was sent.
    pub integrity: Integrity,
}

/// What was read from Kafka and carries no stamp of this check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    /// Records that carry no stamp of this probe.
    pub unstamped: u64,
    /// Records that carry a stamp of another run of this probe.
    pub other_run: u64,
    /// The first of those without a stamp.
    pub samples: Vec<Sample>,
}

/// A record without a stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Names of its headers.
    pub headers: Vec<String>,
    /// The head of its value; nothing where the value is null.
    pub head: Option<Vec<u8>>,
    /// How long its value is, in bytes.
    pub bytes: u64,
    /// Which message of this check was found in it all the same, and where; each message once.
    pub evidence: Option<(Qos, Evidence)>,
}

/// Where a record holds a message without showing its stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// In the value, behind something else.
    Value,
    /// In the value, as base64.
    Base64,
    /// In the key.
    Key,
    /// In the header of this name.
    Header(String),
}

/// What became of the messages of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// One message for each QoS.
    pub messages: Vec<Message>,
    /// The MQTT topic filter that matches what the path publishes to.
    pub filter: String,
    /// How long was waited for them.
    pub waited: Duration,
    /// How long a message may take on this path.
    pub deadline: Duration,
    /// Whether the path speaks MQTT 5.
    pub is_v5: bool,
    /// Whether Kafka was read.
    pub reading: Reading,
    /// What was said while it was read.
    pub warnings: Vec<String>,
    /// Whether every partition was read up to its end behind the last message.
    pub caught_up: bool,
    /// What else was read.
    pub strangers: Strangers,
    /// What the subscriber of lane mqtt_mqtt says, where the path has that lane.
    pub subscriber: Option<Result<(), String>>,
}
