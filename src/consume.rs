//! Room `consume` (edge): reads the records of one path from Kafka, or those of its control topic.
//!
//! # Design
//!
//! Two clients a path and lane, each on a thread of its own. The *watch* asks for topics, partitions and high
//! watermarks; the *reader* only reads. So no question to the cluster ever delays a receipt, and a
//! stuck partition does not hide that there is more to read. Partitions are assigned, never a group
//! joined, from offsets that the watch resolved before the first message is published; partitions
//! that appear later are read from their beginning. Where one reader is not enough there are several,
//! each with a client and partitions of its own (`spread`); what they say of the path they say together
//! (`team`).
//!
//! A third client is there for doubt: what would be called lost is looked for once more, see
//! `second_look`.
//!
//! The readers say that they have caught up with a moment once every partition has been read up to the
//! high watermark that was asked for after that moment; only behind that is anything lost.

mod backlog;
mod client;
mod cursors;
mod fetching;
mod headers;
mod lookout;
mod reader;
mod record;
mod second_look;
mod spread;
mod survey;
mod team;
mod watch;
mod why;

use std::time::Duration;

use crate::correlate::{Lane, PartitionName, PathId};
use crate::study::Role;

pub use client::OWNED;
pub use lookout::Lookout;
pub use reader::read;
pub use second_look::{Seen, look_again};
pub use survey::survey;
pub use team::{Member, members};
pub use watch::watch;
pub use why::NOT_ALLOWED;

/// How long the reader waits for a record before it looks at anything else.
const NAP: Duration = Duration::from_millis(100);

/// What one path consumes, and from where.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path.
    pub path: PathId,
    /// The lane that ends here: the crossing, or the control lane.
    pub lane: Lane,
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Names of topics, or patterns that begin with `^`.
    pub topics: Vec<String>,
    /// How many readers share the partitions, each with a client of its own; at least one.
    pub readers: usize,
    /// Properties of librdkafka, with secrets in the clear: never to be printed.
    pub properties: Properties,
    /// Consumer group id, which librdkafka asks for even where no group is joined.
    pub group: String,
    /// What a check wants to know of records that are not its own; a run wants nothing.
    pub lookout: Option<Lookout>,
    /// After a restart: where reading goes on. Partitions that are not named were not there before, and
    /// are read from their beginning.
    pub resumed: Option<Vec<PartitionName>>,
}

/// Properties of librdkafka.
#[derive(Clone, Default)]
pub struct Properties(pub Vec<(String, String)>);

impl Config {
    /// Who reads.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.lane {
            Lane::KafkaKafka => Role::ControlConsumer(self.path.0),
            Lane::MqttKafka | Lane::MqttMqtt => Role::Consumer(self.path.0),
        }
    }

    /// The key of the configuration that says what is read.
    const fn key(&self) -> &'static str {
        match self.lane {
            Lane::KafkaKafka => "kafka.control_topic",
            Lane::MqttKafka | Lane::MqttMqtt => "kafka.topics",
        }
    }
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Whether librdkafka takes the configuration; nothing is connected to.
///
/// # Errors
///
/// What it does not take, in its words.
pub fn check(config: &Config) -> Result<(), String> {
    let nowhere = Config { brokers: String::new(), ..config.clone() };
    client::watch(&nowhere).map(drop).map_err(|error| match error {
        rdkafka::error::KafkaError::ClientConfig(_, what, name, _) => format!("{name}: {what}"),
        other => other.to_string(),
    })
}

/// What the watch tells a reader.
#[derive(Debug)]
pub enum Word {
    /// Read these partitions too, each from its offset.
    Assign(Vec<Partition>),
    /// The high watermarks of all its partitions, asked for after `asked`.
    Watermarks {
        /// The moment before the question.
        asked: crate::clock::Instant,
        /// The moment of the question itself: partitions may have appeared since `asked`.
        now: crate::clock::Instant,
        /// Topic, partition and high watermark.
        highs: Vec<Partition>,
    },
}

/// An offset in a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl Partition {
    /// Topic and partition, for people.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}
