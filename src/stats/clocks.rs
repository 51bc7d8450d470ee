//! Room `stats`: the clocks of Kafka's leaders beside our own.
//!
//! # Design
//!
//! What the correlator concludes of an arrival is all that a bracket needs (see
//! [`OffsetEstimate`](super::offset::OffsetEstimate)), so nothing more is observed for it and no arrival
//! waits for it: whoever books the conclusions has them pass through here. Only LogAppendTime counts, as
//! only it is the leader's clock, and every record that has it does, on the control lane and on the
//! crossing.
//!
//! * A control message was appended between its sending and its acknowledgement or receipt.
//! * A message over MQTT was appended between the moment at which it was due and its receipt: the
//!   broker may have it before its publisher has looked at the clock, and its acknowledgement is the MQTT
//!   broker's.
//!
//! A timestamp names a millisecond that began at it. The append leg therefore ends in the middle of
//! that millisecond, set back by the offset of the leader's clock; the fetch leg begins there. The
//! durability gap ends at its beginning, so that a bridge which answers behind Kafka is not blamed for
//! the unit of a timestamp. One that was told beside an arrival may have been forgotten whose clock it was
//! timed by: then it is set back by whichever of its path's leaders leaves least of it.
//!
//! Who leads a partition is known some seconds late. What was learnt of a clock may then be another
//! one's, so that with each change of leadership both clocks are estimated anew.
//!
//! Both clocks go on while the probe does not, and a bracket widens with its age all the same, so that
//! what is known outlives a process on the same start of the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::correlate::{
    Arrival, Departure, Elapsed, Event, Gap, Lane, PathId, PublisherId, Roster,
};

use super::offset::{ClockOffset, MILLISECOND, OffsetEstimate};

/// How many leaders are told apart; the clocks of later ones are not estimated.
pub const PEERS_MAX: usize = 64;
/// How many partitions of a path and lane are told apart.
const PARTITIONS_MAX: usize = 65_536;
/// What reading our own clocks may be wrong by: sending and acknowledgement are kept in units of 256 ns,
/// and pairing two clocks takes a fraction of a microsecond.
const READING_NANOS: i64 = 1_000;

/// The clock of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerClock {
    /// The leader, `host:port`.
    pub peer: Arc<str>,
    /// How far its clock is from ours.
    pub offset: ClockOffset,
}

/// A partition and who leads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Led {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The leader, `host:port`.
    pub peer: String,
}

/// Estimates the clocks of all leaders, and corrects what was timed by them. To be kept with serde.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Clocks {
    peers: Vec<Peer>,
    sinks: BTreeMap<(PathId, Lane), Sink>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Peer {
    name: String,
    estimate: OffsetEstimate,
    /// Whether its brackets contradicted each other since that was last asked.
    contradicted: bool,
}

/// The partitions that one consumer reads.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sink {
    /// Their names by their dense indices.
    names: Vec<(String, i32)>,
    /// Who leads them.
    led: BTreeMap<(String, i32), usize>,
    /// The same by their dense indices.
    leaders: Vec<Option<usize>>,
}

impl Sink {
    fn look_up(&mut self) {
        self.leaders = self.names.iter().map(|name| self.led.get(name).copied()).collect();
    }
}

impl Clocks {
    /// Says which partition a consumer's dense index stands for.
    pub fn name_partition(&mut self, of: (PathId, Lane), index: u32, partition: (String, i32)) {
        let sink = self.sinks.entry(of).or_default();
        let index = index as usize;
        if index >= PARTITIONS_MAX {
            return;
        }
        if sink.names.len() <= index {
            // A run that goes on names them in any order.
            sink.names.resize(index + 1, (String::new(), -1));
        }
        sink.names[index] = partition;
        sink.look_up();
    }

    /// Says who leads the partitions of a consumer. False where there are more leaders than are told
    /// apart.
    pub fn set_leaders(&mut self, of: (PathId, Lane), all: &[Led]) -> bool {
        let mut led = BTreeMap::new();
        let mut all_known = true;
        for Led { topic, partition, peer } in all {
            match self.peer(peer) {
                Some(index) => drop(led.insert((topic.clone(), *partition), index)),
                None => all_known = false,
            }
        }
        let sink = self.sinks.entry(of).or_default();
        let moved = led.iter().filter_map(|(name, &now)| {
            let before = *sink.led.get(name)?;
            (before != now).then_some([before, now])
        });
        for index in moved.flatten() {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.estimate = OffsetEstimate::default();
            }
        }
        sink.led = led;
        sink.look_up();
        all_known
    }

    /// Index of a leader, which is new here where it is not known yet.
    fn peer(&mut self, name: &str) -> Option<usize> {
        let known = self.peers.iter().position(|peer| peer.name == name);
        if known.is_some() || self.peers.len() == PEERS_MAX {
            return known;
        }
        let (name, estimate) = (name.to_owned(), OffsetEstimate::default());
        self.peers.push(Peer { name, estimate, contradicted: false });
        Some(self.peers.len() - 1)
    }

    /// Learns from arrivals, and corrects their legs by what is known of the clocks they were timed by.
    /// Where that is nothing they stay as they are.
    pub fn apply(&mut self, roster: &Roster, events: &mut [Event]) {
        for event in events {
            if let Event::DurabilityGap { publisher, gap } = event {
                self.correct_gap(roster, *publisher, gap);
            }
            let Event::Resolved { publisher, lane, departure, arrival: Some(arrival), .. } = event
            else {
                continue;
            };
            let Some(fetch) = arrival.fetch.nanos() else { continue };
            let path = roster.publisher(*publisher).path;
            let Some(sink) = self.sinks.get(&(path, *lane)) else { continue };
            let index = sink.leaders.get(arrival.place.slot as usize).copied().flatten();
            let Some(peer) = index.and_then(|index| self.peers.get_mut(index)) else { continue };
            let at = departure.intended.offset(arrival.end_to_end);
            let (after, low, high) = bracket(*lane, departure, arrival, fetch);
            let between = (departure.intended.offset(after), at);
            peer.contradicted |= !peer.estimate.narrow(between, low, high);
            if let Some(known) = peer.estimate.at(at) {
                correct(arrival, departure, fetch, known.correction_nanos());
            }
        }
    }

    /// Sets the append of a gap back as that of an arrival is.
    fn correct_gap(&self, roster: &Roster, publisher: PublisherId, gap: &mut Gap) {
        let publisher = roster.publisher(publisher);
        let lane = if publisher.control { Lane::KafkaKafka } else { Lane::MqttKafka };
        let Some(sink) = self.sinks.get(&(publisher.path, lane)) else { return };
        let at = gap.intended.offset(gap.received);
        let appended = |&index: &usize| {
            let known = self.peers.get(index)?.estimate.at(at)?;
            Some(gap.appended.saturating_sub(known.correction_nanos()))
        };
        let corrected = match gap.slot {
            Some(slot) => {
                sink.leaders.get(slot as usize).and_then(Option::as_ref).and_then(appended)
            }
            // No more is said of data that was at stake than is certain.
            None => sink.led.values().filter_map(appended).min(),
        };
        gap.appended = corrected.unwrap_or(gap.appended);
    }

    /// What is known of the leaders' clocks; of those that lead a partition of the path, where one is
    /// given.
    #[must_use]
    pub fn known(&self, path: Option<PathId>, now: Instant) -> Vec<PeerClock> {
        let leads = |index: usize| {
            let mut sinks =
                self.sinks.iter().filter(|((of, _), _)| path.is_none_or(|it| it == *of));
            sinks.any(|(_, sink)| sink.led.values().any(|&leader| leader == index))
        };
        let peers = self.peers.iter().enumerate().filter(|&(index, _)| leads(index));
        let known = peers.filter_map(|(_, peer)| {
            Some(PeerClock { peer: Arc::from(peer.name.as_str()), offset: peer.estimate.at(now)? })
        });
        known.collect()
    }

    /// The leaders whose brackets contradicted each other since this was last asked, each with a path
    /// that it has to do with.
    pub fn take_contradictions(&mut self) -> Vec<(PathId, Arc<str>)> {
        let mut told = Vec::new();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            if std::mem::take(&mut peer.contradicted) {
                let led = |sink: &Sink| sink.led.values().any(|&leader| leader == index);
                let of = self.sinks.iter().find(|(_, sink)| led(sink));
                told.extend(of.map(|((path, _), _)| (*path, Arc::from(peer.name.as_str()))));
            }
        }
        told
    }
}

/// From when on a message may have been appended, as a distance from when it was due; and from where to
/// where the offset lies of the clock that it was timed by.
fn bracket(lane: Lane, departure: &Departure, arrival: &Arrival, fetch: i64) -> (i64, i64, i64) {
    // The timestamp as a distance from when the message was due.
    let append = arrival.end_to_end.saturating_sub(fetch);
    let (mut after, mut before) = (0, arrival.end_to_end);
    if lane == Lane::KafkaKafka {
        after = departure.sent.unwrap_or(after);
        before = departure.acknowledged.unwrap_or(before).min(before);
    }
    let low = append.saturating_sub(before).saturating_sub(READING_NANOS);
    let high = append.saturating_sub(after).saturating_add(MILLISECOND + READING_NANOS);
    (after, low, high)
}

/// Sets the append of an arrival back by the offset of the clock that it was timed by.
fn correct(arrival: &mut Arrival, departure: &Departure, fetch: i64, offset: i64) {
    let later = (MILLISECOND / 2).saturating_sub(offset);
    arrival.append = arrival.append.nanos().map(|append| append.saturating_add(later)).into();
    arrival.fetch = Elapsed::of(fetch.saturating_sub(later));
    // No more is said of data that was at stake than is certain: from the millisecond's beginning.
    let append = arrival.end_to_end.saturating_sub(fetch).saturating_sub(offset);
    let gap = departure.acknowledged.nanos();
    let gap = gap.map(|it| append.min(arrival.end_to_end).saturating_sub(it).max(0));
    arrival.durability_gap = arrival.durability_gap.nanos().and(gap).into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::{Carrier, Outcome, Path, PublisherId, Qos, RecordPlace};
    use std::time::Duration;

    const PATH: PathId = PathId(0);
    const MICRO: i64 = 1_000;

    fn roster() -> Roster {
        let mut roster = Roster::default();
        let path = Path {
            name: "plant".into(),
            lanes: vec![Lane::MqttKafka, Lane::KafkaKafka],
            qos: vec![Qos::AtLeastOnce],
            carriers: vec![Carrier::Payload],
            deadline: Duration::from_secs(30),
        };
        roster.add(path, [Qos::AtLeastOnce]);
        roster.add_twins();
        roster
    }

    fn led(partition: i32, peer: &str) -> Led {
        Led { topic: "t".into(), partition, peer: peer.into() }
    }

    /// A message that was due at `due`, with moments as distances from there: sending,
    /// acknowledgement, the leader's timestamp and receipt.
    fn arrived(lane: Lane, slot: u32, due: u64, moments: [i64; 4]) -> Event {
        let [sent, acknowledged, append, received] = moments;
        let publisher = PublisherId(u32::from(lane == Lane::KafkaKafka));
        let intended = Instant::from_nanos(due);
        Event::Resolved {
            publisher,
            sequence: 0,
            lane,
            outcome: Outcome::Delivered,
            departure: Departure {
                intended,
                sent: Elapsed::of(sent),
                acknowledged: Elapsed::of(acknowledged),
            },
            not_sent: None,
            arrival: Some(Arrival {
                end_to_end: received,
                service: Elapsed::UNKNOWN,
                create: Elapsed::UNKNOWN,
                append: Elapsed::of(append - sent),
                fetch: Elapsed::of(received - append),
                durability_gap: Elapsed::of((append - acknowledged).max(0)),
                place: RecordPlace { slot, offset: 0 },
                span: None,
                stamps: [None, None],
            }),
        }
    }

    /// Append and fetch leg of an arrival.
    fn legs(event: &Event) -> (i64, i64) {
        let Event::Resolved { arrival: Some(arrival), .. } = event else { panic!("no arrival") };
        (arrival.append.nanos().unwrap(), arrival.fetch.nanos().unwrap())
    }

    fn clocks() -> Clocks {
        let mut clocks = Clocks::default();
        for lane in [Lane::MqttKafka, Lane::KafkaKafka] {
            for partition in 0..2 {
                let index = u32::try_from(partition).unwrap();
                clocks.name_partition((PATH, lane), index, ("t".into(), partition));
            }
            assert!(clocks.set_leaders((PATH, lane), &[led(0, "a:9092"), led(1, "b:9092")]));
        }
        clocks
    }

    #[test]
    fn a_control_message_brackets_the_clock_of_its_leader_and_its_legs_are_corrected() {
        let (mut clocks, roster) = (clocks(), roster());
        // The leader is 40 ms ahead, and the append was 300 us behind the sending.
        let control = arrived(
            Lane::KafkaKafka,
            0,
            1_000_000_000,
            [100 * MICRO, 600 * MICRO, 40_400 * MICRO, 700 * MICRO],
        );
        let mut events = [control];
        clocks.apply(&roster, &mut events);
        let known = clocks.known(None, Instant::from_nanos(1_000_700_000));
        let [PeerClock { peer, offset }] = &known[..] else { panic!("{known:?}") };
        assert_eq!(&**peer, "a:9092");
        // From 40.4 - 0.6 to 41.4 - 0.1 ms, and to either side a microsecond and what the clocks may
        // have drifted in the 0.6 ms of which one was the append's.
        assert_eq!((offset.offset_nanos, offset.bound_nanos), (40_550 * MICRO, 751_013));
        // So much is certain, and the middle of the millisecond is taken.
        let certain = 40_550 * MICRO - 751_013;
        let (append, fetch) = legs(&events[0]);
        assert_eq!(append, 40_300 * MICRO + 500 * MICRO - certain);
        assert_eq!(append + fetch, 600 * MICRO, "what one leg loses the other gains");
        // By the leader's clock it was 39.8 ms; it can't have been longer than up to the receipt.
        let Event::Resolved { arrival: Some(arrival), .. } = &events[0] else { panic!() };
        assert_eq!(
            arrival.durability_gap.nanos(),
            Some((40_400 * MICRO - certain).min(700 * MICRO) - 600 * MICRO)
        );
    }

    #[test]
    fn a_message_over_mqtt_brackets_from_when_it_was_due_to_its_receipt() {
        let (mut clocks, roster) = (clocks(), roster());
        let moments = [100 * MICRO, 200 * MICRO, 3_000 * MICRO, 5_000 * MICRO];
        let mut events = [arrived(Lane::MqttKafka, 1, 1_000_000_000, moments)];
        clocks.apply(&roster, &mut events);
        let known = clocks.known(Some(PATH), Instant::from_nanos(1_005_000_000));
        assert_eq!(&*known[0].peer, "b:9092");
        // From 3 - 5 to 4 - 0 ms.
        assert_eq!(
            known[0].offset,
            ClockOffset { offset_nanos: MILLISECOND, bound_nanos: 3_001_101 }
        );
        assert_eq!(legs(&events[0]), (3_400 * MICRO, 1_500 * MICRO), "the clocks may well agree");
    }

    /// A gap of a message that was due at 2 s and appended a second behind that, by a leader's clock that
    /// is so many milliseconds ahead; acknowledged after 200 ms, received after 1.1 s.
    fn gap(slot: Option<u32>, ahead: i64) -> Event {
        let gap = Gap {
            intended: Instant::from_nanos(2_000_000_000),
            acknowledged: 200 * MILLISECOND,
            appended: (1_000 + ahead) * MILLISECOND,
            received: 1_100 * MILLISECOND,
            slot,
        };
        Event::DurabilityGap { publisher: PublisherId(0), gap }
    }

    #[test]
    fn a_gap_that_was_told_beside_an_arrival_is_set_back_by_its_leaders_clock() {
        let (mut clocks, roster) = (clocks(), roster());
        let nanos = |clocks: &mut Clocks, event| {
            let mut events = [event];
            clocks.apply(&roster, &mut events);
            let [Event::DurabilityGap { gap, .. }] = events else { panic!("{events:?}") };
            gap.nanos()
        };
        assert_eq!(nanos(&mut clocks, gap(Some(0), -400)), 400 * MILLISECOND, "nothing is known");
        // One leader is 400 ms behind, the other 40 ms ahead.
        for (slot, ahead) in [(0, -400), (1, 40)] {
            let moments = [100, 600, ahead * 1_000 + 300, 700].map(|micros| micros * MICRO);
            let mut events = [arrived(Lane::KafkaKafka, slot, 1_900_000_000, moments)];
            clocks.apply(&roster, &mut events);
        }
        // To within the width of a bracket.
        let near = |nanos: i64, millis: i64| (nanos - millis * MILLISECOND).abs() < 2 * MILLISECOND;
        assert!(near(nanos(&mut clocks, gap(Some(0), -400)), 800));
        assert!(near(nanos(&mut clocks, gap(Some(1), 40)), 800));
        assert_eq!(nanos(&mut clocks, gap(Some(7), -400)), 400 * MILLISECOND, "of no known leader");
        // Either of them may have stamped it.
        assert!(near(nanos(&mut clocks, gap(None, -400)), 360), "no more than is certain");
        assert!(near(nanos(&mut clocks, gap(None, 40)), 800));
        // One that can't be placed is none, whatever the clocks.
        let Event::DurabilityGap { publisher, gap } = gap(None, 0) else { panic!() };
        let unknown = Event::DurabilityGap { publisher, gap: Gap { appended: i64::MIN, ..gap } };
        assert_eq!(nanos(&mut clocks, unknown), 0);
    }

    #[test]
    fn what_nobody_is_known_to_lead_stays_as_it_is() {
        let (mut clocks, roster) = (Clocks::default(), roster());
        let moments = [100 * MICRO, 200 * MICRO, 3_000 * MICRO, 5_000 * MICRO];
        let told = [arrived(Lane::MqttKafka, 0, 0, moments)];
        let mut events = told;
        clocks.apply(&roster, &mut events);
        assert_eq!(events, told);
        clocks.set_leaders((PATH, Lane::MqttKafka), &[led(0, "a:9092")]);
        clocks.apply(&roster, &mut events);
        assert_eq!(events, told, "nobody said which partition it is");
        assert_eq!(clocks.known(None, Instant::ZERO), []);
    }

    #[test]
    fn with_the_leadership_the_estimate_moves() {
        let (mut clocks, roster) = (clocks(), roster());
        let control = |slot, due, ahead: i64| {
            let moments = [100 * MICRO, 600 * MICRO, ahead * MILLISECOND, 700 * MICRO];
            [arrived(Lane::KafkaKafka, slot, due, moments)]
        };
        clocks.apply(&roster, &mut control(0, 1_000_000_000, 40));
        clocks.apply(&roster, &mut control(1, 1_000_000_000, 70));
        let now = Instant::from_nanos(2_000_000_000);
        assert_eq!(clocks.known(None, now).len(), 2);
        // What leads the partition by now is not known yet: told as a contradiction, not believed.
        clocks.apply(&roster, &mut control(0, 1_100_000_000, 70));
        assert_eq!(clocks.take_contradictions(), [(PATH, Arc::from("a:9092"))]);
        assert_eq!(clocks.take_contradictions(), []);
        clocks.set_leaders((PATH, Lane::KafkaKafka), &[led(0, "b:9092"), led(1, "b:9092")]);
        assert_eq!(clocks.known(None, now), [], "both are estimated anew");
        clocks.apply(&roster, &mut control(0, 1_200_000_000, 70));
        let known = clocks.known(None, now);
        assert_eq!(known.len(), 1);
        assert!(&*known[0].peer == "b:9092" && known[0].offset.offset_nanos > 60 * MILLISECOND);
        assert_eq!(clocks.known(Some(PathId(1)), now), [], "another path has no leader");
    }

    #[test]
    fn leaders_are_bounded() {
        let mut clocks = Clocks::default();
        let leaders: Vec<Led> =
            (0..100).map(|partition| led(partition, &format!("k{partition}:9092"))).collect();
        assert!(!clocks.set_leaders((PATH, Lane::MqttKafka), &leaders));
        assert_eq!(clocks.peers.len(), PEERS_MAX);
        assert!(clocks.set_leaders((PATH, Lane::MqttKafka), &leaders[..PEERS_MAX]));
    }
}
