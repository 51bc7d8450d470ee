//! Room `app`: what a report must say, worked out from the ledgers of the fault link, of the broker and
//! of Kafka, and from the schedule. Nothing that was measured goes in.

use std::collections::BTreeMap;

use super::plant::Ledgers;
use super::records::{Passages, records_of, stamped, stamped_of};
use super::scenes::{DEADLINE, Part, SCENES, SURELY_GIVEN_UP, Scene};
use super::timing::{KafkaClock, Stamped, Stretches};
use crate::clock::Instant;
use crate::embedded::bridge::Landed;
use crate::embedded::tap::Exchange;
use crate::report::{Anomalies, Outcomes, Stamps};

const MILLISECOND: i64 = 1_000_000;
/// Nothing but waking lies between what somebody knows and what the report says.
const EXACT: (i64, i64) = (0, 0);

/// The slots of one publisher, by their sequence.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Index of its scene.
    pub(super) scene: usize,
    pub(super) qos: u8,
    /// The topic that it publishes to.
    pub(super) topic: String,
    pub(super) slots: Vec<Slot>,
}

/// One slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) intended: Instant,
    /// In hexadecimal digits.
    pub(super) trace_id: String,
}

/// What the report must say of a path.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) path: &'static str,
    pub(super) offered: u64,
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    pub(super) not_sent: u64,
    pub(super) foreign: u64,
    pub(super) property: Stamps,
    pub(super) payload: Stamps,
    /// By QoS.
    pub(super) lanes: BTreeMap<u8, ExpectedLane>,
    /// Why the ledgers do not tell all that they should.
    pub(super) doubts: Vec<String>,
}

/// What the report must say of a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedLane {
    pub(super) outcomes: Outcomes,
    pub(super) anomalies: Anomalies,
    pub(super) reorder_depth_max: u64,
    /// From each intended send time to the moment when Kafka let the record go, ascending, in
    /// nanoseconds.
    pub(super) latencies: Vec<i64>,
    pub(super) stretches: Stretches,
    /// Messages that came out more than once.
    pub(super) doubled: u64,
    /// How often the one came out that did most often; 0 where none did twice.
    pub(super) copies_max: u64,
}

/// What the report must say of every path.
pub(super) fn expected(streams: &[Stream], ledgers: &Ledgers) -> Vec<Expected> {
    let mut passages = Passages::new();
    for passage in ledgers.logs.iter().flat_map(|log| &log.passages) {
        passages.entry(&passage.trace_id).or_default().push(passage);
    }
    let known: usize = streams
        .iter()
        .flat_map(|stream| &stream.slots)
        .filter_map(|slot| passages.get(slot.trace_id.as_str()))
        .map(Vec::len)
        .sum();
    let all: usize = passages.values().map(Vec::len).sum();
    let stamped = streams.iter().flat_map(|stream| stamped(stream, ledgers, &passages));
    let clock = KafkaClock::of(&ledgers.moments, stamped.collect());
    let mut expected: Vec<Expected> = (0..)
        .zip(&SCENES)
        .map(|(index, scene)| {
            let (clock, passages, of) = (&clock, &passages, Expected::default());
            let mut truth = Truth { scene, ledgers, clock, passages, unheard: 0, of };
            truth.of.path = scene.name;
            truth.of.foreign = ledgers.logs.iter().filter_map(|log| log.strangers.get(index)).sum();
            for stream in streams.iter().filter(|stream| stream.scene == index) {
                truth.stream(stream);
            }
            truth.finish()
        })
        .collect();
    let odd = [
        ("messages that no slot of the schedule is behind", (all - known) as u64),
        ("messages that no route was for", ledgers.logs.iter().map(|log| log.strays).sum()),
        ("messages beyond the ledger's bound", ledgers.logs.iter().map(|log| log.unlogged).sum()),
        ("releases of records beyond the ledger's bound", ledgers.releases_dropped),
        ("connections or messages that nobody heard on the wire", ledgers.unheard),
    ];
    if let Some(first) = expected.first_mut() {
        let told = odd.iter().filter(|(_, count)| *count > 0);
        first.doubts.extend(told.map(|(what, count)| format!("{count} {what}")));
    }
    expected
}

/// The truth about one path as it is gathered.
struct Truth<'a> {
    scene: &'a Scene,
    ledgers: &'a Ledgers,
    clock: &'a KafkaClock,
    passages: &'a Passages<'a>,
    /// Messages that nobody heard on the wire.
    unheard: u64,
    of: Expected,
}

impl Truth<'_> {
    fn stream(&mut self, stream: &Stream) {
        self.of.offered += stream.slots.len() as u64;
        let mut lane = self.of.lanes.remove(&stream.qos).unwrap_or_default();
        if self.scene.part == Part::Refused {
            self.refused(stream, &mut lane);
        } else {
            let mut firsts = Vec::new();
            for (sequence, slot) in (0_u64..).zip(&stream.slots) {
                let first = self.slot(stream.qos, slot, &mut lane);
                firsts.extend(first.map(|first| (first.partition, first.offset, sequence)));
            }
            self.order(firsts, &mut lane);
        }
        self.of.lanes.insert(stream.qos, lane);
    }

    /// The broker counted what it refused; what it never saw was not sent.
    fn refused(&mut self, stream: &Stream, lane: &mut ExpectedLane) {
        let refused = self.ledgers.refusals.get(&stream.topic).copied().unwrap_or(0);
        let not_sent = (stream.slots.len() as u64).saturating_sub(refused);
        self.of.published += refused;
        self.of.not_sent += not_sent;
        lane.outcomes.rejected += refused;
        lane.outcomes.not_sent += not_sent;
        for slot in &stream.slots {
            self.sent(slot, lane);
        }
    }

    /// Times what the wire tells of a message. What the socket held when its connection was severed was
    /// sent, and nobody heard it before it was sent again: for how long at most.
    fn sent(&mut self, slot: &Slot, lane: &mut ExpectedLane) -> Option<(Exchange, i64)> {
        let exchange = *self.ledgers.wire.get(&slot.trace_id)?;
        let Exchange { published, taken, answered } = exchange;
        let delay = published.nanos_since(slot.intended);
        let severed = self.ledgers.moments.severed;
        let severed = severed.filter(|_| self.scene.part == Part::Severed);
        let is_unsure = severed.is_some_and(|at| slot.intended < at && published > at);
        let unsure = if is_unsure { delay } else { 0 };
        let stretches = &mut lane.stretches;
        stretches.publish_delay.add(delay, (unsure, 0));
        if let Some(taken) = taken {
            stretches.publish_rec.add(taken.nanos_since(published), (0, unsure));
        }
        if let Some(answered) = answered {
            stretches.publish_ack.add(answered.nanos_since(published), (0, unsure));
        }
        Some((exchange, unsure))
    }

    /// Books one slot; the record that its message came out with first.
    fn slot(&mut self, qos: u8, slot: &Slot, lane: &mut ExpectedLane) -> Option<Landed> {
        let Some(passages) = self.passages.get(slot.trace_id.as_str()) else {
            self.of.not_sent += 1;
            lane.outcomes.not_sent += 1;
            return None;
        };
        self.of.published += 1;
        self.of.acknowledged += u64::from(qos > 0);
        let records = records_of(passages);
        let exchange = self.sent(slot, lane);
        self.unheard += u64::from(exchange.is_none());
        let Some(&first) = records.first() else {
            let lost = &mut lane.outcomes;
            *(if qos > 0 { &mut lost.acked_lost } else { &mut lost.unacked_lost }) += 1;
            return None;
        };
        if self.scene.part == Part::Stuck {
            lane.outcomes.unresolved += 1;
            return None;
        }
        let copies = records.len() as u64 - 1;
        lane.anomalies.duplicate += copies;
        if self.scene.part == Part::Severed {
            lane.anomalies.resent += copies;
        }
        let damaged = records.iter().filter(|record| !record.facts.is_intact);
        lane.anomalies.corrupt += damaged.count() as u64;
        count(&mut self.of.property, first.facts.has_properties);
        count(&mut self.of.payload, first.facts.has_stamp);
        if let Some(stamped) = self.stamped(first, slot.intended) {
            let is_timed = self.arrival(&stamped, lane);
            if let Some(exchange) = exchange {
                self.crossed(&exchange, (first, &stamped), is_timed, lane);
            }
            self.copied(&stamped, records.get(1..).unwrap_or_default(), lane);
        }
        Some(first)
    }

    /// When a record was appended and let go, which Kafka must tell.
    fn stamped(&mut self, record: Landed, intended: Instant) -> Option<Stamped> {
        let stamped = stamped_of(self.scene, self.ledgers, record, intended);
        if stamped.is_none() {
            let Landed { partition, offset, .. } = record;
            self.of.doubts.push(format!("Kafka tells no release of {partition}:{offset}"));
        }
        stamped
    }

    /// Times what ends with a record. One that had been given up has a gap and nothing else.
    fn crossed(
        &self,
        &(exchange, unsure): &(Exchange, i64),
        (record, stamped): (Landed, &Stamped),
        is_timed: bool,
        lane: &mut ExpectedLane,
    ) {
        let Exchange { published, taken, answered } = exchange;
        let &Stamped { appended, released, .. } = stamped;
        let stretches = &mut lane.stretches;
        if is_timed {
            stretches.service.add(released.nanos_since(published), (0, unsure));
        }
        if self.scene.part == Part::Created {
            let created = record.handed.nanos_since(published);
            stretches.create.add(created, (MILLISECOND, unsure));
            return;
        }
        let (shift, (below, above)) = self.clock.error(stamped, self.scene.set_back());
        if is_timed {
            let append = appended.nanos_since(published) + shift;
            stretches.append.add(append, (below, above + unsure));
            let fetch = released.nanos_since(appended) - shift;
            stretches.fetch.add(fetch, (above, below));
        }
        if let Some(acknowledged) = taken.or(answered) {
            // It was appended before it was received, whatever Kafka's clock says.
            let gap = appended.offset(shift).min(released).nanos_since(acknowledged);
            stretches.durability_gap.add_positive(gap, (below, above));
        }
    }

    /// Books the further records of a message.
    fn copied(&mut self, first: &Stamped, others: &[Landed], lane: &mut ExpectedLane) {
        if others.is_empty() {
            return;
        }
        lane.doubled += 1;
        lane.copies_max = lane.copies_max.max(others.len() as u64 + 1);
        for &copy in others {
            if let Some(copy) = self.stamped(copy, first.due) {
                let spread = copy.released.nanos_since(first.released);
                lane.stretches.spread.add_positive(spread, EXACT);
            }
        }
    }

    /// Books when a message came out; whether it had not been given up by then.
    fn arrival(&mut self, stamped: &Stamped, lane: &mut ExpectedLane) -> bool {
        let &Stamped { due: intended, released, .. } = stamped;
        let nanos = released.nanos_since(intended);
        lane.latencies.push(nanos);
        lane.anomalies.negative += u64::from(nanos < 0);
        let held = std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        if held <= DEADLINE {
            lane.outcomes.delivered += 1;
            return true;
        }
        lane.outcomes.late += 1;
        // A consumer that is behind keeps the verdict open.
        if self.scene.part == Part::Behind {
            return true;
        }
        lane.anomalies.late_recovery += 1;
        if held < SURELY_GIVEN_UP {
            let what = "messages were let go late, when nobody knows whether they were given up";
            self.of.doubts.push(format!("{} s: {what}; is this machine busy?", held.as_secs_f64()));
        }
        false
    }

    /// Counts what came out behind a later one. Firsts are partition, offset and sequence.
    fn order(&mut self, mut firsts: Vec<(i32, i64, u64)>, lane: &mut ExpectedLane) {
        firsts.sort_unstable();
        if firsts.first().map(|first| first.0) != firsts.last().map(|last| last.0) {
            let what = "a publisher's records lie in several partitions, whose order nobody knows";
            self.of.doubts.push(what.to_owned());
        }
        let mut end = 0;
        for (_, _, sequence) in firsts {
            if sequence < end {
                lane.anomalies.reordered += 1;
                lane.reorder_depth_max = lane.reorder_depth_max.max(end - 1 - sequence);
            } else {
                end = sequence + 1;
            }
        }
    }

    fn finish(mut self) -> Expected {
        if self.unheard > 0 {
            let unheard = self.unheard;
            self.of.doubts.push(format!("{unheard} messages that nobody heard on the wire"));
        }
        let is_alone = self.of.lanes.len() == 1;
        for lane in self.of.lanes.values_mut() {
            lane.latencies.sort_unstable();
            lane.stretches.sort();
            if is_alone {
                lane.anomalies.foreign = self.of.foreign;
                if self.scene.faults.strangers > 0 {
                    lane.anomalies.reread = self.ledgers.rereads;
                }
            }
        }
        self.of
    }
}

fn count(stamps: &mut Stamps, survived: bool) {
    *(if survived { &mut stamps.survived } else { &mut stamps.lost }) += 1;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::plant::Moments;
    use super::super::timing::Timed;
    use super::*;
    use crate::embedded::bridge::{Facts, LinkLog, Passage};

    const WHOLE: Facts = Facts { is_intact: true, has_properties: true, has_stamp: true };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn scene(name: &str) -> usize {
        SCENES.iter().position(|scene| scene.name == name).unwrap()
    }

    /// One publisher with three slots, due at 0, 10 and 20 ms, and where their records lie.
    fn truth_of(name: &str, qos: u8, records: [&[(i64, Facts)]; 3]) -> Expected {
        let route = scene(name);
        let slot = |n: u64| Slot { intended: at(10 * n), trace_id: format!("t{n}") };
        let topic = "t".to_owned();
        let stream = Stream { scene: route, qos, topic, slots: (0..3).map(slot).collect() };
        let passage = |(n, records): (usize, &&[(i64, Facts)])| Passage {
            trace_id: format!("t{n}"),
            route,
            records: records
                .iter()
                .map(|&(offset, facts)| Landed { partition: 0, offset, handed: at(60), facts })
                .collect(),
        };
        let passages = records.iter().enumerate().map(passage).collect();
        let strangers = vec![0; SCENES.len()];
        let logs = vec![LinkLog { passages, strangers, ..LinkLog::default() }];
        // Ten records in batches of two, let go each 100 ms.
        let releases = (0..5).map(|n: i64| (2 * n, 2, at(100 * n.unsigned_abs() + 100))).collect();
        let releases = BTreeMap::from([((name.to_owned(), 0), releases)]);
        let moments = Moments { let_go: Some(at(4_000)), ..Moments::default() };
        // Each was read a millisecond behind its time, and the answer handed on 39 ms later.
        let exchange = |n: u64| {
            let published = at(10 * n + 1);
            let answered = (qos > 0).then(|| at(10 * n + 40));
            (format!("t{n}"), Exchange { published, taken: None, answered })
        };
        let wire = (0..3).map(exchange).collect();
        let ledgers = Ledgers { logs, releases, moments, wire, ..Ledgers::default() };
        expected(&[stream], &ledgers).swap_remove(route)
    }

    #[test]
    fn what_came_out_lost_and_doubled_is_told_apart() {
        let copy: &[_] = &[(2, WHOLE), (5, WHOLE)];
        let truth = truth_of("doubling", 1, [copy, &[(0, WHOLE)], &[]]);
        let lane = &truth.lanes[&1];
        assert_eq!((lane.outcomes.delivered, lane.outcomes.acked_lost), (2, 1));
        assert_eq!((lane.anomalies.duplicate, lane.anomalies.resent), (1, 0));
        assert_eq!((lane.anomalies.reordered, lane.reorder_depth_max), (1, 1));
        assert_eq!(lane.latencies, [90_000_000, 200_000_000]);
        assert_eq!((lane.doubled, lane.copies_max), (1, 2));
        assert_eq!(lane.stretches.spread.truth, [100_000_000], "from 200 to 300 ms");
        assert_eq!((truth.offered, truth.published, truth.acknowledged), (3, 3, 3));
        assert_eq!(truth.doubts, Vec::<String>::new());

        let truth = truth_of("lossy", 0, [copy, &[(0, WHOLE)], &[]]);
        assert_eq!((truth.lanes[&0].outcomes.unacked_lost, truth.acknowledged), (1, 0));
        let truth = truth_of("severed", 1, [copy, &[(0, WHOLE)], &[]]);
        assert_eq!(truth.lanes[&1].anomalies.resent, 1);
    }

    #[test]
    fn damage_shows_in_the_carriers() {
        let cut = Facts { is_intact: false, ..WHOLE };
        let beheaded = Facts { has_stamp: false, ..cut };
        let stripped = Facts { has_properties: false, ..WHOLE };
        let records: [&[_]; 3] = [&[(0, cut)], &[(1, beheaded)], &[(2, stripped)]];
        let truth = truth_of("damaging", 1, records);
        assert_eq!(truth.lanes[&1].anomalies.corrupt, 2);
        assert_eq!((truth.property.survived, truth.property.lost), (2, 1));
        assert_eq!((truth.payload.survived, truth.payload.lost), (2, 1));
    }

    #[test]
    fn a_consumer_that_is_behind_is_late_and_one_that_is_stuck_says_nothing() {
        let records: [&[_]; 3] = [&[(0, WHOLE)], &[(1, WHOLE)], &[(2, WHOLE)]];
        let truth = truth_of("behind", 1, records);
        let lane = &truth.lanes[&1];
        assert_eq!((lane.outcomes.late, lane.anomalies.late_recovery), (3, 0));
        assert_eq!(lane.latencies.last(), Some(&4_000_000_000));
        let fetch = &lane.stretches.fetch.truth;
        assert_eq!(fetch, &[3_800_000_000, 3_900_000_000, 3_900_000_000]);
        let truth = truth_of("stuck", 1, records);
        assert_eq!(truth.lanes[&1].stretches.publish_ack.truth.len(), 3);
        assert_eq!(truth.lanes[&1].stretches.service.truth, [0; 0]);
        assert_eq!(truth.lanes[&1].outcomes.unresolved, 3);
        assert_eq!((truth.property.survived, truth.published), (0, 3));
    }

    #[test]
    fn stretches_are_those_of_the_wire_of_the_link_and_of_kafka() {
        let records: [&[_]; 3] = [&[(0, WHOLE)], &[(1, WHOLE)], &[(2, WHOLE)]];
        let millis = |timed: &[i64]| timed.iter().map(|it| it / MILLISECOND).collect::<Vec<_>>();
        let truth = truth_of("clean", 1, records);
        let Stretches { publish_delay, publish_rec, publish_ack, create, append, .. } =
            &truth.lanes[&1].stretches;
        assert_eq!(millis(&publish_delay.truth), [1, 1, 1]);
        assert_eq!(millis(&publish_ack.truth), [39, 39, 39]);
        assert_eq!((publish_rec, create), (&Timed::default(), &Timed::default()));
        // Let go at 100, 100 and 200 ms, and the clock is known by the second from 90 ms on.
        assert_eq!(millis(&append.truth), [89, 99, 179]);
        assert_eq!(millis(&append.low), [-3, 7, 87]);
        assert_eq!(millis(&append.high), [91, 101, 181]);
        let Stretches { fetch, service, durability_gap, .. } = &truth.lanes[&1].stretches;
        assert_eq!(millis(&fetch.truth), [0, 0, 0]);
        assert_eq!(millis(&service.truth), [89, 99, 179]);
        assert_eq!(millis(&durability_gap.truth), [50, 60, 140]);
        let truth = truth_of("lossy", 0, records);
        let stretches = &truth.lanes[&0].stretches;
        assert_eq!(millis(&stretches.create.truth), [39, 49, 59], "given to the producer at 60 ms");
        assert_eq!(millis(&stretches.create.low), [38, 48, 58]);
        assert!(stretches.append.truth.is_empty() && stretches.publish_ack.truth.is_empty());
    }

    #[test]
    fn a_record_whose_release_is_not_known_is_a_doubt() {
        let truth = truth_of("clean", 1, [&[(99, WHOLE)], &[], &[]]);
        assert_eq!(truth.doubts, ["Kafka tells no release of 0:99"]);
    }
}
