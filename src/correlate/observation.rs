//! Room `correlate`: what the edges saw.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::stamp::{Carriers, Integrity, SpanId};

/// Index of a publisher in the run's [`Roster`](super::Roster), over all paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublisherId(pub u32);

/// Index of a path in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PathId(pub u8);

/// What is timed on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// From the MQTT publisher to a Kafka consumer: the crossing.
    MqttKafka,
    /// From the MQTT publisher to an MQTT subscriber.
    MqttMqtt,
    /// From a producer to a consumer of Kafka, with nothing between: the control lane, which shows
    /// what the MQTT hop adds. Its messages are a path's own beside those of its MQTT publishers.
    KafkaKafka,
}

impl Lane {
    /// Every lane, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::MqttKafka, Self::MqttMqtt, Self::KafkaKafka];
    /// The lanes of a message that is published over MQTT.
    pub const OF_MQTT: [Self; 2] = [Self::MqttKafka, Self::MqttMqtt];

    /// The name in configuration, metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MqttKafka => "mqtt_kafka",
            Self::MqttMqtt => "mqtt_mqtt",
            Self::KafkaKafka => "kafka_kafka",
        }
    }

    /// Whether it ends at a Kafka consumer.
    #[must_use]
    pub const fn ends_in_kafka(self) -> bool {
        matches!(self, Self::MqttKafka | Self::KafkaKafka)
    }

    /// Position in [`Lane::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a slot was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NotSent {
    /// The publisher had no connection when the slot was due.
    Disconnected,
    /// The publisher's queue was full when the slot was due.
    QueueFull,
    /// The connection broke before all of the message was handed to the socket, at QoS 0.
    ClientDropped,
    /// The run stopped while the message still waited to be sent.
    Stopped,
    /// No packet could be made of it (the broker's maximum packet size, for one).
    Refused,
}

impl NotSent {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::Disconnected, Self::QueueFull, Self::ClientDropped, Self::Stopped, Self::Refused];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::QueueFull => "queue_full",
            Self::ClientDropped => "client_dropped",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
        }
    }
}

/// Which of a path's connections something is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reader {
    /// The publishers': answers of the MQTT broker.
    Publisher,
    /// The MQTT subscriber's.
    Subscriber,
    /// The Kafka consumer's.
    Consumer,
}

impl Reader {
    /// Every reader, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Publisher, Self::Subscriber, Self::Consumer];

    /// Position in [`Reader::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Which step of the publish handshake an acknowledgement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// QoS 1: the broker has the message.
    Puback,
    /// QoS 2: the broker has the message.
    Pubrec,
    /// QoS 2: the handshake is complete.
    Pubcomp,
}

/// A broker's timestamp on a record, placed on our own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Append {
    /// The broker's clock when the record was appended (LogAppendTime).
    LogAppendTime(Instant),
    /// The clock of whoever produced the record (CreateTime): never an arrival.
    CreateTime(Instant),
    /// The record carries no timestamp.
    None,
}

/// Where a record lies in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPlace {
    /// Dense index of the topic and partition among those that the consumer of the path and lane was
    /// assigned.
    pub slot: u32,
    /// Offset within the partition.
    pub offset: i64,
}

/// Where a message came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sink {
    /// A Kafka consumer.
    Kafka {
        /// Where the record lies.
        place: RecordPlace,
        /// When it was appended.
        append: Append,
    },
    /// A Kafka consumer of the control topic.
    Control {
        /// Where the record lies.
        place: RecordPlace,
        /// When it was appended.
        append: Append,
    },
    /// An MQTT subscriber.
    Mqtt {
        /// The DUP flag: the broker sent this packet before.
        resent: bool,
    },
}

impl Observation {
    /// How long the stretches of time are that [`Observation::Worked`] speaks of.
    pub const WORKED_EVERY: Duration = Duration::from_millis(250);
}

impl Sink {
    /// The lane that ends at this sink.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Kafka { .. } => Lane::MqttKafka,
            Self::Control { .. } => Lane::KafkaKafka,
            Self::Mqtt { .. } => Lane::MqttMqtt,
        }
    }

    /// Where the record lies; 0 and 0 for an MQTT subscriber, which has no such thing.
    #[must_use]
    pub const fn place(&self) -> RecordPlace {
        match self {
            Self::Kafka { place, .. } | Self::Control { place, .. } => *place,
            Self::Mqtt { .. } => RecordPlace { slot: 0, offset: 0 },
        }
    }
}

/// Why a message that came out is no arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aside {
    /// Another subscriber than the one that the lane is judged by was handed it.
    Witnessed,
    /// The broker had kept it as the last one of its topic, and handed it over at a subscription.
    Stored,
}

/// One thing that an edge saw. Edges report, they never judge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Observation {
    /// What sends slots woke for one.
    Woken {
        /// Whose slot.
        publisher: PublisherId,
        /// How long after the slot was due, in nanoseconds.
        nanos: i64,
    },
    /// A reader took in what had come.
    Polled {
        /// Whose path.
        path: PathId,
        /// Which reader.
        reader: Reader,
        /// How long what it took in may have waited for it, in nanoseconds.
        nanos: i64,
    },
    /// A slot of the schedule is due. Comes before anything else about the slot.
    Offered {
        /// Who is to send it.
        publisher: PublisherId,
        /// Which slot; consecutive within a publisher.
        sequence: u64,
        /// When it was due.
        intended: Instant,
    },
    /// The slot will not be sent.
    NotSent {
        /// Who should have sent it.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// Why not.
        cause: NotSent,
    },
    /// The message was handed to the socket.
    Sent {
        /// Who sent it.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// When; a second observation for the same slot is a resend after a reconnect.
        at: Instant,
        /// Whether it had to wait for the system: for room in the socket, or among what the broker
        /// takes at a time. False where it was late already when its turn came.
        held: bool,
    },
    /// The broker answered; of the control lane, Kafka did.
    Acknowledged {
        /// Who had sent the message.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// Which step of the handshake.
        stage: Stage,
        /// The MQTT reason code; 0x80 and above refuse the message.
        reason: u8,
        /// When.
        at: Instant,
    },
    /// A message with our stamp came out.
    Received {
        /// The path whose sink it came out of.
        path: PathId,
        /// The path in the message's identity; another one where paths share a topic.
        stamped_path: PathId,
        /// The publisher within the stamped path.
        publisher: u32,
        /// Which slot, as the stamp has it; not yet known to have been given out.
        sequence: u64,
        /// Where it came out.
        sink: Sink,
        /// When it was handed to us.
        at: Instant,
        /// Whether the payload is what was sent.
        integrity: Integrity,
        /// Which carriers brought the stamp.
        carriers: Carriers,
        /// The span that its property names in the place of ours: somebody on the way traces, too.
        span: Option<SpanId>,
    },
    /// A message with our stamp came out at an MQTT subscriber and is no arrival on the lane.
    Aside {
        /// The path of the subscriber.
        path: PathId,
        /// The path in the message's identity.
        stamped_path: PathId,
        /// The publisher within the stamped path.
        publisher: u32,
        /// Which slot, as the stamp has it.
        sequence: u64,
        /// Why not.
        why: Aside,
        /// When it was handed to us.
        at: Instant,
    },
    /// Records or messages came out that carry no stamp of this run.
    Foreign {
        /// The path whose sink they came out of.
        path: PathId,
        /// How many.
        count: u32,
    },
    /// A sink has handed over everything that was there at some moment.
    CaughtUp {
        /// The path of the sink.
        path: PathId,
        /// The lane that ends at the sink.
        lane: Lane,
        /// The moment.
        at: Instant,
    },
    /// Everything below an offset of a partition was read, ours or not: reading may go on there.
    Position {
        /// The path whose consumer reads it.
        path: PathId,
        /// The lane that it reads for.
        lane: Lane,
        /// Where it goes on.
        place: RecordPlace,
    },
    /// A message was found in Kafka when it was looked for again: it had been there before.
    Found {
        /// The path whose topics it lies in.
        path: PathId,
        /// The lane that ends there.
        lane: Lane,
        /// The path in the message's identity.
        stamped_path: PathId,
        /// The publisher within the stamped path.
        publisher: u32,
        /// Which slot, as the stamp has it.
        sequence: u64,
        /// When it was appended.
        append: Append,
        /// It is among what was there at this moment.
        at: Instant,
    },
    /// A sink was read once more.
    LookedAgain {
        /// The path of the sink.
        path: PathId,
        /// The lane that ends at the sink.
        lane: Lane,
        /// Records of messages that were sent from here on were looked for.
        from: Instant,
        /// What was there at this moment was looked at.
        at: Instant,
    },
    /// After a restart: a sink has read what was there when it came back. From here on messages are
    /// handed over as they come out.
    Abreast {
        /// The path of the sink.
        path: PathId,
        /// The lane that ends at the sink.
        lane: Lane,
    },
    /// A sink was away and may have missed what it can't read again.
    Away {
        /// The path of the sink.
        path: PathId,
        /// The lane that ends at the sink.
        lane: Lane,
        /// Last moment at which it was certainly there.
        from: Instant,
        /// First moment at which it was certainly there again.
        until: Instant,
    },
    /// The broker accepted a connection.
    Connected {
        /// Whose path.
        path: PathId,
        /// From asking for a connection to having it, in nanoseconds.
        tcp_nanos: i64,
        /// From then to its encryption, where it has one, in nanoseconds.
        tls_nanos: Option<i64>,
        /// From then to CONNACK, in nanoseconds.
        connack_nanos: i64,
    },
    /// How much of the time a thread worked that sends for a path.
    Worked {
        /// The path.
        path: PathId,
        /// The share of the last stretch of time in which it had a processor, 0 to 1.
        share: f32,
    },
}
