//! Room `correlate`: what became of the slots.

mod delivery;
mod duplicate;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::stamp::SpanId;

use super::{Elapsed, Lane, LateSend, NotSent, PathId, PublisherId, Reader, RecordPlace};

pub use duplicate::DuplicateCause;

/// What became of a slot on a lane; exactly one per slot and lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It came out within the deadline.
    Delivered,
    /// It came out after the deadline.
    Late,
    /// The broker had acknowledged it, and it did not come out.
    AckedLost,
    /// It was not acknowledged within twice the deadline, and it did not come out.
    UnackedLost,
    /// It never left the probe.
    NotSent,
    /// The broker refused it.
    Rejected,
    /// Nobody can say: the run stopped, or the sink was behind or away.
    Unresolved,
}

impl Outcome {
    /// Every outcome, in the order of their indices.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Late,
        Self::AckedLost,
        Self::UnackedLost,
        Self::NotSent,
        Self::Rejected,
        Self::Unresolved,
    ];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Late => "late",
            Self::AckedLost => "acked_lost",
            Self::UnackedLost => "unacked_lost",
            Self::NotSent => "not_sent",
            Self::Rejected => "rejected",
            Self::Unresolved => "unresolved",
        }
    }

    /// Position in [`Outcome::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A stretch of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// From the intended send time to the socket.
    PublishDelay,
    /// From the socket to PUBREC: the broker has the message, of a QoS 2 handshake that goes on.
    PublishRec,
    /// From the socket to PUBACK or PUBCOMP.
    PublishAck,
    /// From the socket to the record's CreateTime, by the clock of whoever produced it: a bridge's.
    Create,
    /// From the socket to the broker's LogAppendTime.
    Append,
    /// From the append to the consumer.
    Fetch,
}

impl Leg {
    /// Every leg, in the order of their indices.
    pub const ALL: [Self; 6] = [
        Self::PublishDelay,
        Self::PublishRec,
        Self::PublishAck,
        Self::Create,
        Self::Append,
        Self::Fetch,
    ];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PublishDelay => "publish_delay",
            Self::PublishRec => "publish_rec",
            Self::PublishAck => "publish_ack",
            Self::Create => "create",
            Self::Append => "append",
            Self::Fetch => "fetch",
        }
    }

    /// Position in [`Leg::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How a stamp travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// MQTT 5 user property, Kafka header.
    Property,
    /// Inside the payload.
    Payload,
}

impl Carrier {
    /// Every carrier, in the order of their indices.
    pub const ALL: [Self; 2] = [Self::Property, Self::Payload];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Property => "property",
            Self::Payload => "payload",
        }
    }

    /// Position in [`Carrier::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How a message set out. Distances are nanoseconds from when it was due, to within 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// When it was due.
    pub intended: Instant,
    /// When it was handed to the socket, if it was.
    pub sent: Elapsed,
    /// When the broker took it, if it has said so by now.
    pub acknowledged: Elapsed,
}

/// A message that came out for the first time, its slot being open. Durations are signed nanoseconds.
///
/// It stands for everything that is counted about such a message, so that whoever counts looks its
/// series up once: nearly all messages of a run come out like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// From the intended send time to receipt.
    pub end_to_end: i64,
    /// From the send time to receipt, where the former is known.
    pub service: Elapsed,
    /// [`Leg::Create`], where the record has a CreateTime.
    pub create: Elapsed,
    /// [`Leg::Append`], where both its ends are known.
    pub append: Elapsed,
    /// [`Leg::Fetch`], where the append is known.
    pub fetch: Elapsed,
    /// How long before its append the broker had acknowledged it, where both are known by now; zero
    /// where it had not.
    pub durability_gap: Elapsed,
    /// Where the record lies; 0 and 0 for an MQTT sink.
    pub place: RecordPlace,
    /// The span that the property names in the place of ours.
    pub span: Option<SpanId>,
    /// Whether each carrier brought the stamp, by [`Carrier::index`]; `None` where it was not sent.
    pub stamps: [Option<bool>; Carrier::ALL.len()],
}

impl Arrival {
    /// The legs that end with it, where they are known.
    #[must_use]
    #[inline]
    pub const fn legs(&self) -> [(Leg, Elapsed); 3] {
        [(Leg::Create, self.create), (Leg::Append, self.append), (Leg::Fetch, self.fetch)]
    }
}

/// How long before its append a message had been acknowledged, as what that follows from: distances from
/// when it was due, in nanoseconds, to within 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it was due.
    pub intended: Instant,
    /// When the broker took it.
    pub acknowledged: i64,
    /// When Kafka appended it, by its leader's clock; [`i64::MIN`] where that is no more known than to
    /// lie before it was due.
    pub appended: i64,
    /// When it was received from Kafka: it was appended before, whatever that clock says.
    pub received: i64,
    /// Index of its topic and partition, where that is still known.
    pub slot: Option<u32>,
}

impl Gap {
    /// How long, in nanoseconds; zero where the acknowledgement came behind the append.
    #[must_use]
    pub fn nanos(&self) -> i64 {
        self.appended.min(self.received).saturating_sub(self.acknowledged).max(0)
    }
}

/// How a further arrival of a message stands to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How often the message has come out with this one: 2 or more, and 15 for all beyond.
    pub count: u8,
    /// How far from the first arrival that was booked, in nanoseconds.
    pub spread: i64,
}

const _: () = assert!(size_of::<Event>() <= 128, "an event of a message fits two lines of cache");

/// One thing that the correlator concluded. `publisher` names path and QoS through the
/// [`Roster`](super::Roster). Durations are signed nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The probe woke for a slot: its own lateness.
    Woken {
        /// Whose slot.
        publisher: PublisherId,
        /// How late.
        nanos: i64,
    },
    /// A reader took in what had come: how long that may have waited for the probe itself.
    Polled {
        /// Whose path.
        path: PathId,
        /// Which reader.
        reader: Reader,
        /// How long at most.
        nanos: i64,
    },
    /// Slots in a row came due.
    Offered {
        /// Whose slots.
        publisher: PublisherId,
        /// How many.
        count: u32,
    },
    /// A slot will not be sent; its outcomes follow.
    Skipped {
        /// Whose slot.
        publisher: PublisherId,
        /// Why not.
        cause: NotSent,
    },
    /// Messages in a row left for the first time.
    Published {
        /// Who sent them.
        publisher: PublisherId,
        /// How many.
        count: u32,
        /// [`Leg::PublishDelay`] of each, where that is known.
        delay: Elapsed,
    },
    /// Messages left later than their schedule allows.
    SentLate {
        /// Who sent them.
        publisher: PublisherId,
        /// How many.
        count: u32,
        /// What they waited for.
        cause: LateSend,
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
        /// The share of the last stretch of time, 0 to 1.
        share: f32,
    },
    /// The broker took a message (PUBACK or PUBREC below 0x80).
    Acknowledged {
        /// Who had sent it.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// When it said so.
        at: Instant,
    },
    /// The broker refused a message; its outcomes follow.
    Rejected {
        /// Who had sent it.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// The MQTT reason code, 0x80 or above.
        reason: u8,
    },
    /// A slot got its outcome on a lane.
    Resolved {
        /// Whose slot.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// On which lane.
        lane: Lane,
        /// What became of it.
        outcome: Outcome,
        /// How it set out.
        departure: Departure,
        /// Why it was not sent, where it was not.
        not_sent: Option<NotSent>,
        /// How it came out, where it did.
        arrival: Option<Arrival>,
    },
    /// The acknowledgement of a message that had come out was heard of, or one came out for which
    /// another verdict had been announced. [`Arrival::durability_gap`] has it of all others.
    DurabilityGap {
        /// Whose message.
        publisher: PublisherId,
        /// What it follows from.
        gap: Gap,
    },
    /// A message that its path's consumer had missed was found when it was looked for again.
    Missed {
        /// Whose message.
        publisher: PublisherId,
        /// On which lane.
        lane: Lane,
    },
    /// A loss was announced although the message could not be looked for again.
    Unconfirmed {
        /// Whose message.
        publisher: PublisherId,
        /// On which lane.
        lane: Lane,
    },
    /// The broker's answer was timed.
    Timed {
        /// Whose message.
        publisher: PublisherId,
        /// Which leg.
        leg: Leg,
        /// How long.
        nanos: i64,
    },
    /// A message came out again.
    Duplicate {
        /// Whose message.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// On which lane.
        lane: Lane,
        /// Why.
        cause: DuplicateCause,
        /// When.
        at: Instant,
        /// Where the copy lies; 0 and 0 for an MQTT sink.
        place: RecordPlace,
        /// How it stands to the first arrival, where that is still known.
        copy: Option<Copied>,
        /// How the message had set out, where that is still known.
        departure: Option<Departure>,
    },
    /// A subscriber that the lane is not judged by was handed a message.
    Witnessed {
        /// Whose message.
        publisher: PublisherId,
        /// From the intended send time to receipt, where the former is still known.
        end_to_end: Elapsed,
    },
    /// A message came out after a later one of its publisher.
    Reordered {
        /// Whose message.
        publisher: PublisherId,
        /// On which lane.
        lane: Lane,
        /// How many slots behind the latest that had come out.
        depth: u64,
    },
    /// A message came out damaged.
    Corrupt {
        /// Whose message.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// On which lane.
        lane: Lane,
        /// When.
        at: Instant,
        /// Where it lies; 0 and 0 for an MQTT sink.
        place: RecordPlace,
    },
    /// A message came out for which another verdict had been announced.
    LateRecovery {
        /// Whose message.
        publisher: PublisherId,
        /// Which slot.
        sequence: u64,
        /// On which lane.
        lane: Lane,
        /// The verdict that was wrong.
        was: Outcome,
        /// From the intended send time to receipt, where the former is still known.
        end_to_end: Option<i64>,
        /// When.
        at: Instant,
        /// Where the record lies; 0 and 0 for an MQTT sink.
        place: RecordPlace,
        /// How the message had set out, where that is still known.
        departure: Option<Departure>,
    },
    /// A message had come out before its sink was read again after a restart, or nobody knows when it
    /// was due: its outcome was counted, and nothing about it is timed.
    Recovered {
        /// Whose message.
        publisher: PublisherId,
        /// On which lane.
        lane: Lane,
    },
    /// An end-to-end latency came out below zero: counted, and kept out of nothing.
    Negative {
        /// Whose message.
        publisher: PublisherId,
        /// On which lane.
        lane: Lane,
    },
    /// A first arrival after a wrong verdict showed whether a carrier that was sent had survived.
    Stamp {
        /// Whose message.
        publisher: PublisherId,
        /// Which carrier.
        carrier: Carrier,
        /// Whether it brought the stamp.
        survived: bool,
    },
    /// A record or message was ours, and none of the arrivals that resolve a slot.
    Consumed {
        /// Out of which path's sink.
        path: PathId,
        /// On which lane.
        lane: Lane,
        /// Index of topic and partition, 0 for an MQTT sink.
        partition: u32,
    },
    /// Records or messages were somebody else's.
    Foreign {
        /// Out of which path's sink.
        path: PathId,
        /// How many.
        count: u32,
    },
    /// The bound on memory was hit and a slot was closed as unresolved before its time, or a
    /// verdict was forgotten.
    Overflow {
        /// Whose slot.
        publisher: PublisherId,
    },
}
