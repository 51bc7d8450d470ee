//! Room `report`: single messages, by their trace ids.

use serde::{Deserialize, Serialize};

use super::figures::{NONE, duration_or_none, markdown};
use super::table::Table;

/// How many messages of each list `report.md` shows.
const SHOWN: usize = 5;

/// The worst messages of a path. Each list has ten at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorstMessages {
    /// The slowest of the run, the slowest first.
    pub slowest: Vec<WorstMessage>,
    /// The slowest of the last 60 to 65 minutes, the slowest first.
    pub slowest_last_hour: Vec<WorstMessage>,
    /// The last that the broker had acknowledged and that did not come out, the last one first.
    pub acked_lost: Vec<WorstMessage>,
    /// The last that were not acknowledged and did not come out.
    pub unacked_lost: Vec<WorstMessage>,
    /// The last that came out after their deadline.
    pub late: Vec<WorstMessage>,
    /// The last that came out more than once: the further arrival.
    pub duplicate: Vec<WorstMessage>,
    /// The last that came out damaged.
    pub corrupt: Vec<WorstMessage>,
}

impl WorstMessages {
    /// Every list with its name, losses first.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &[WorstMessage]); 7] {
        [
            ("acked_lost", &self.acked_lost),
            ("unacked_lost", &self.unacked_lost),
            ("late", &self.late),
            ("duplicate", &self.duplicate),
            ("corrupt", &self.corrupt),
            ("slowest_last_hour", &self.slowest_last_hour),
            ("slowest", &self.slowest),
        ]
    }

    /// Whether nothing is known of any message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named().iter().all(|(_, messages)| messages.is_empty())
    }

    /// A row for each of the first messages of each list that says something of its own.
    pub(super) fn table(&self) -> Table {
        let header = ["what", "lane", "QoS", "latency", "due", "place", "trace id"];
        let mut table = Table::new(1, header);
        // The last hour is for whoever looks while the run lasts.
        for (name, messages) in
            self.named().into_iter().filter(|(it, _)| *it != "slowest_last_hour")
        {
            for message in messages.iter().take(SHOWN) {
                table.push(vec![
                    markdown(name),
                    markdown(&message.lane),
                    message.qos.to_string(),
                    duration_or_none(message.latency_seconds),
                    message.due.clone().unwrap_or_else(|| NONE.to_owned()),
                    message.place().map_or_else(|| NONE.to_owned(), |place| markdown(&place)),
                    message.trace_id.clone(),
                ]);
            }
        }
        table
    }
}

/// One message on one lane. What is not known is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorstMessage {
    /// The trace id that it carries: 32 hexadecimal digits.
    pub trace_id: String,
    /// Name of the lane.
    pub lane: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Index of its publisher within the path.
    pub publisher: u32,
    /// Which of the publisher's slots.
    pub sequence: u64,
    /// What became of it: an outcome's name, `duplicate` or `corrupt`.
    pub outcome: String,
    /// The outcome that was announced before it came out after all; or who made a duplicate, `resent`
    /// or `pipeline`.
    pub detail: Option<String>,
    /// When it was due, RFC 3339 in UTC.
    pub due: Option<String>,
    /// When it came out.
    pub arrived: Option<String>,
    /// From when it was due to receipt.
    pub latency_seconds: Option<f64>,
    /// The parts of its way.
    pub legs: MessageLegs,
    /// How long before its append it had been acknowledged.
    pub durability_gap_seconds: Option<f64>,
    /// Kafka topic that it came out of.
    pub topic: Option<String>,
    /// Partition of the topic.
    pub partition: Option<i32>,
    /// Offset in the partition.
    pub offset: Option<i64>,
}

impl WorstMessage {
    /// Topic, partition and offset, as `topic/0@7`.
    pub(super) fn place(&self) -> Option<String> {
        let (topic, partition) = (self.topic.as_ref()?, self.partition?);
        Some(format!("{topic}/{partition}@{}", self.offset?))
    }
}

/// The parts of a message's way, in seconds; null where they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageLegs {
    /// From the intended send time to the socket.
    pub publish_delay: Option<f64>,
    /// From the socket to PUBREC; QoS 2 alone has it.
    #[serde(default)]
    pub publish_rec: Option<f64>,
    /// From the socket to PUBACK; on the control lane to Kafka's answer. Of a single message of QoS 2
    /// the PUBCOMP is not kept.
    pub publish_ack: Option<f64>,
    /// From the socket to CreateTime.
    pub create: Option<f64>,
    /// From the socket to the broker's LogAppendTime.
    pub append: Option<f64>,
    /// From the append to the consumer.
    pub fetch: Option<f64>,
}

impl MessageLegs {
    /// Every leg with its name, in the order of a message's way.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("publish_delay", self.publish_delay),
            ("publish_rec", self.publish_rec),
            ("publish_ack", self.publish_ack),
            ("create", self.create),
            ("append", self.append),
            ("fetch", self.fetch),
        ]
    }
}
