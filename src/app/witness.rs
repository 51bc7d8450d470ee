//! Room `app`: single messages by their names: trace id, topic, time on the wall.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::{Instant, Pairing};
use crate::correlate::{Lane, PathId, Qos, RecordPlace, Roster};
use crate::report::{MessageLegs, WorstMessage, WorstMessages, rfc3339};
use crate::stamp::Stamper;
use crate::stats::{Fate, Message, Stats, Trouble};

/// Topic and partition that a consumer's dense index stands for.
type Names = BTreeMap<(PathId, Lane, u32), (String, i32)>;

/// Knows what a message is called.
pub(super) struct Witness {
    roster: Arc<Roster>,
    stamper: Stamper,
    /// Bounded by the partitions that consumers are assigned.
    names: Names,
}

impl Witness {
    pub(super) fn new(roster: Arc<Roster>, stamper: Stamper) -> Self {
        Self { roster, stamper, names: Names::new() }
    }

    /// Says which partition a consumer's dense index stands for.
    pub(super) fn name_partition(&mut self, of: (PathId, Lane, u32), partition: (String, i32)) {
        self.names.insert(of, partition);
    }

    /// The worst messages of each path, as of `now`.
    pub(super) fn worst(&self, stats: &Stats, now: &Pairing) -> Vec<WorstMessages> {
        let paths = (0..).map(PathId).take(self.roster.paths().len());
        paths.map(|path| self.of_path(stats, path, now)).collect()
    }

    fn of_path(&self, stats: &Stats, path: PathId, now: &Pairing) -> WorstMessages {
        let worst = &stats.path(path).worst;
        let last = |trouble| worst.last(trouble).map(|it| self.name(it, now)).collect();
        WorstMessages {
            slowest: worst.slowest().map(|it| self.name(it, now)).collect(),
            slowest_last_hour: worst
                .slowest_last_hour(now.instant)
                .iter()
                .map(|it| self.name(it, now))
                .collect(),
            acked_lost: last(Trouble::AckedLost),
            unacked_lost: last(Trouble::UnackedLost),
            late: last(Trouble::Late),
            duplicate: last(Trouble::Duplicate),
            corrupt: last(Trouble::Corrupt),
        }
    }

    fn name(&self, message: &Message, now: &Pairing) -> WorstMessage {
        let publisher = self.roster.publisher(message.publisher);
        let identity = self.stamper.identity(publisher.path.0, publisher.index, message.sequence);
        let identity = identity.on_control(publisher.control);
        let moment = |at: Option<Instant>| at.map(|at| rfc3339(now.wall_of(at)));
        let (outcome, detail) = match message.fate {
            Fate::Resolved(outcome) => (outcome.name(), None),
            Fate::Recovered(was) => ("late", Some(was.name())),
            Fate::Duplicate(cause) => ("duplicate", Some(cause.name())),
            Fate::Corrupt => ("corrupt", None),
        };
        let place =
            message.place.and_then(|place| self.place((publisher.path, message.lane), place));
        let (topic, partition, offset) = match place {
            Some((topic, partition, offset)) => (Some(topic), Some(partition), Some(offset)),
            None => (None, None, None),
        };
        WorstMessage {
            trace_id: self.stamper.trace_id(identity).to_hex(),
            lane: message.lane.name().to_owned(),
            qos: publisher.qos.level(),
            publisher: publisher.index,
            sequence: message.sequence,
            outcome: outcome.to_owned(),
            detail: detail.map(str::to_owned),
            due: moment(message.intended),
            arrived: moment(message.at),
            latency_seconds: message.end_to_end.map(seconds),
            legs: legs(message, publisher.qos),
            durability_gap_seconds: message.durability_gap.map(seconds),
            topic,
            partition,
            offset,
        }
    }

    fn place(&self, of: (PathId, Lane), place: RecordPlace) -> Option<(String, i32, i64)> {
        let (topic, partition) = self.names.get(&(of.0, of.1, place.slot))?;
        Some((topic.clone(), *partition, place.offset))
    }
}

/// What accepted a message of QoS 2 over MQTT was its PUBREC; the PUBCOMP comes later.
fn legs(message: &Message, qos: Qos) -> MessageLegs {
    let accepted = message.acknowledged.zip(message.sent);
    let accepted = accepted.map(|(acknowledged, sent)| seconds(acknowledged - sent));
    let is_rec = qos == Qos::ExactlyOnce && message.lane != Lane::KafkaKafka;
    MessageLegs {
        publish_delay: message.sent.map(seconds),
        publish_rec: accepted.filter(|_| is_rec),
        publish_ack: accepted.filter(|_| !is_rec),
        create: message.create.map(seconds),
        append: message.append.map(seconds),
        fetch: message.fetch.map(seconds),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds needs no 53 bits")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::PublisherId;

    #[test]
    fn what_accepted_a_message_has_the_name_that_it_has_everywhere() {
        let answers = |lane, qos| {
            let message = Message {
                sent: Some(1_000_000),
                acknowledged: Some(4_000_000),
                ..Message::new((PublisherId(0), 0, lane), Fate::Corrupt)
            };
            let legs = legs(&message, qos);
            (legs.publish_rec, legs.publish_ack)
        };
        let (known, none) = (Some(0.003), None);
        assert_eq!(answers(Lane::MqttKafka, Qos::AtLeastOnce), (none, known));
        assert_eq!(answers(Lane::MqttKafka, Qos::ExactlyOnce), (known, none));
        assert_eq!(answers(Lane::MqttMqtt, Qos::ExactlyOnce), (known, none));
        assert_eq!(answers(Lane::KafkaKafka, Qos::ExactlyOnce), (none, known), "Kafka's answer");
    }
}
