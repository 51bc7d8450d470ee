//! Room `correlate`: how the state machine outlives its process.
//!
//! # Design
//!
//! The machine is what its observations make of it, so that a copy of it and the observations since
//! bring it back exactly. What a process saw in its last moments may be in no copy: sequences were
//! leased to publishers, and one that lies between the last that is known and the end of its lease may
//! have been given out or not. Each becomes a slot. If its message comes out it was sent; else it is
//! unresolved, and never lost. The same holds for what the broker's answer is not known of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::super::books::Landing;
use super::super::ledger::{Entry, Place};
use super::super::sinks::Sinks;
use super::super::{
    Append, Carrier, Elapsed, Event, Lane, Observation, Outcome, PathId, PublisherId, RecordPlace,
    Roster, Sink,
};
use super::{Correlator, Limits, State};

/// A state machine as it stands, to be kept with serde.
#[derive(Debug, Serialize)]
pub struct Kept<'a> {
    publishers: Vec<&'a State>,
    paths: &'a [Sinks],
    open_slots: usize,
    open_outcomes: u64,
}

/// What [`Kept`] is read back as.
#[derive(Debug, Deserialize)]
pub struct TakenUp {
    publishers: Vec<State>,
    paths: Vec<Sinks>,
    open_slots: usize,
    open_outcomes: u64,
}

impl Correlator {
    /// All that is known, to be kept.
    #[must_use]
    pub fn kept(&self) -> Kept<'_> {
        Kept {
            publishers: self.publishers.iter().map(|(_, state)| state).collect(),
            paths: &self.paths,
            open_slots: self.open_slots,
            open_outcomes: self.open_outcomes,
        }
    }

    /// Goes on from what was kept; `None` where that is of another roster.
    #[must_use]
    pub fn taken_up(roster: Arc<Roster>, limits: Limits, kept: TakenUp) -> Option<Self> {
        let fits = kept.publishers.len() == roster.publishers().len()
            && kept.paths.len() == roster.paths().len();
        let mut taken_up = Self::new(roster, limits);
        for ((_, state), kept) in taken_up.publishers.iter_mut().zip(kept.publishers) {
            *state = kept;
        }
        taken_up.paths = kept.paths;
        (taken_up.open_slots, taken_up.open_outcomes) = (kept.open_slots, kept.open_outcomes);
        fits.then_some(taken_up)
    }

    /// The sequence that a publisher gives out next.
    #[must_use]
    pub fn next_sequence(&self, publisher: PublisherId) -> u64 {
        self.publishers[publisher.0 as usize].1.ledger.next()
    }

    /// Up to which offset each partition of a path and lane was read, by their dense index; those beyond
    /// the last one brought nothing yet.
    #[must_use]
    pub fn cursors(&self, path: PathId, lane: Lane) -> &[i64] {
        self.paths[usize::from(path.0)].cursors(lane)
    }

    /// Takes in where the reading of a sink stands; whatever else it is given is none of its business.
    pub(super) fn stands(&mut self, observation: &Observation) {
        match *observation {
            Observation::Position { path, lane, place } => {
                // As if the record before it had been ours.
                let last = RecordPlace { offset: place.offset.saturating_sub(1), ..place };
                self.paths[usize::from(path.0)].moves_on(lane, last);
            }
            Observation::Abreast { path, lane } => {
                self.paths[usize::from(path.0)].come_abreast(lane);
            }
            _ => (),
        }
    }

    /// Notes at `now` that the process ended whose publishers could give out the sequences below
    /// `ends`, and that this one gives out those from there on.
    pub fn restart(&mut self, ends: &[u64], now: Instant, events: &mut Vec<Event>) {
        for (id, &end) in self.publisher_ids().zip(ends) {
            let (books, state) = self.split(id, events);
            state.ledger.iter_mut().for_each(|(_, entry)| entry.set_orphan());
            let first = state.ledger.next();
            state.own = end.max(first);
            for _ in first..state.own {
                let mut entry = Entry::guessed(now);
                entry.set_orphan();
                state.ledger.push(entry);
                *books.open_outcomes += books.path.lanes.len() as u64;
                books.events.push(Event::Offered { publisher: id, count: 1 });
            }
            self.open_slots +=
                usize::try_from(self.publishers[id.0 as usize].1.own - first).unwrap_or(usize::MAX);
            while self.open_slots > self.limits.open_max {
                let open = self.open_slots;
                self.evict_oldest(id, events);
                if self.open_slots == open {
                    break;
                }
            }
        }
        self.paths.iter_mut().for_each(|sinks| sinks.restarted(now));
    }

    /// Notes that the clock has begun anew, with the machine: moments that are known mean nothing any
    /// more, and what is open is unresolved.
    pub fn begin_time_anew(&mut self, events: &mut Vec<Event>) {
        for id in self.publisher_ids() {
            let (mut books, state) = self.split(id, events);
            for (sequence, entry) in state.ledger.iter_mut() {
                books.resolve_all((sequence, entry), Outcome::Unresolved, None);
            }
            while self.publishers[id.0 as usize].1.ledger.front().is_some() {
                self.close_oldest(id, events);
            }
            let state = &mut self.publishers[id.0 as usize].1;
            state.verdicts.iter_mut().for_each(super::Verdicts::forget_moments);
        }
        self.paths.iter_mut().for_each(Sinks::forget_moments);
    }

    /// Books a message of a process before this one that came out, its slot being open.
    #[cold]
    pub(super) fn arrived_after_restart(
        &mut self,
        id: PublisherId,
        sequence: u64,
        observation: &Observation,
        events: &mut Vec<Event>,
    ) {
        let &Observation::Received { path, sink, at, carriers, span, .. } = observation else {
            return;
        };
        let lane = sink.lane();
        let (mut books, state) = self.split(id, events);
        let Place::Open(entry) = state.ledger.place(sequence) else { return };
        if entry.shows_sending() {
            books.events.push(Event::Published {
                publisher: id,
                count: 1,
                delay: Elapsed::UNKNOWN,
            });
        }
        let stamps = books.fixed.survived(carriers);
        if !entry.is_guessed() && !books.sinks.is_behind(lane) {
            books.deliver((sequence, entry), &Landing { sink, at, span, stamps });
            let highest = state.highest(&sink, books.fixed.by_partition);
            books.note_order(sequence, lane, highest);
            return;
        }
        // A CreateTime is earlier than the append: who is late by it is late.
        let out = match sink {
            Sink::Kafka { append, .. } | Sink::Control { append, .. } => match append {
                Append::LogAppendTime(at) | Append::CreateTime(at) => at,
                Append::None => at,
            },
            Sink::Mqtt { .. } => at,
        };
        let is_late = !entry.is_guessed() && out > entry.intended + books.path.deadline;
        let outcome = if is_late { Outcome::Late } else { Outcome::Delivered };
        entry.note_arrival(lane, at);
        books.conclude((sequence, entry), lane, outcome, None, None);
        let highest = state.highest(&sink, books.fixed.by_partition);
        books.note_order(sequence, lane, highest);
        books.events.push(Event::Recovered { publisher: id, lane });
        let partition = sink.place().slot;
        books.events.push(Event::Consumed { path, lane, partition });
        for (carrier, survived) in Carrier::ALL.into_iter().zip(stamps) {
            if let Some(survived) = survived {
                events.push(Event::Stamp { publisher: id, carrier, survived });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::{NotSent, Path, Qos, Stage};
    use super::*;
    use crate::stamp::{Carriers, Integrity};

    const ONE: PublisherId = PublisherId(0);
    const PATH: PathId = PathId(0);
    const LEASE: u64 = 8;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    /// A publisher of QoS 1 whose process sent messages at 1 s and was killed at 3 s.
    struct World {
        correlator: Correlator,
        events: Vec<Event>,
    }

    impl World {
        fn new(sent: u64, acknowledged: u64) -> Self {
            let mut roster = Roster::default();
            let path = Path {
                name: "plant".into(),
                lanes: vec![Lane::MqttKafka, Lane::MqttMqtt],
                qos: vec![Qos::AtLeastOnce],
                carriers: vec![Carrier::Payload],
                deadline: Duration::from_secs(5),
            };
            roster.add(path, [Qos::AtLeastOnce]);
            let correlator = Correlator::new(Arc::new(roster), Limits::default());
            let mut world = Self { correlator, events: Vec::new() };
            for sequence in 0..sent {
                world.tell(Observation::Offered { publisher: ONE, sequence, intended: at(1) });
                world.tell(Observation::Sent { publisher: ONE, sequence, at: at(1), held: false });
            }
            for sequence in 0..acknowledged {
                let (stage, reason, at) = (Stage::Puback, 0, at(2));
                world.tell(Observation::Acknowledged {
                    publisher: ONE,
                    sequence,
                    stage,
                    reason,
                    at,
                });
            }
            world.tell(Observation::CaughtUp { path: PATH, lane: Lane::MqttMqtt, at: at(2) });
            world.correlator.restart(&[LEASE], at(3), &mut world.events);
            world.events.clear();
            world
        }

        fn tell(&mut self, observation: Observation) {
            self.correlator.observe(&observation, &mut self.events);
        }

        fn record(&mut self, sequence: u64, append: Append, seconds: u64) {
            let place = RecordPlace { slot: 0, offset: i64::try_from(sequence).unwrap() };
            self.received(sequence, Sink::Kafka { place, append }, seconds);
        }

        fn received(&mut self, sequence: u64, sink: Sink, seconds: u64) {
            self.tell(Observation::Received {
                path: PATH,
                stamped_path: PATH,
                publisher: 0,
                sequence,
                sink,
                at: at(seconds),
                integrity: Integrity::Intact,
                carriers: Carriers { property: false, payload: true },
                span: None,
            });
        }

        fn abreast(&mut self) {
            self.tell(Observation::Abreast { path: PATH, lane: Lane::MqttKafka });
        }

        /// Both sinks have handed over everything, long after every deadline.
        fn settle(&mut self) {
            for lane in [Lane::MqttKafka, Lane::MqttMqtt] {
                self.tell(Observation::CaughtUp { path: PATH, lane, at: at(60) });
            }
            self.correlator.advance(at(61), &mut self.events);
        }

        /// What became of slots on a lane, and how long it took where that is known.
        fn outcomes(&self, lane: Lane) -> Vec<(u64, Outcome, Option<i64>)> {
            let resolved = self.events.iter().filter_map(|event| match event {
                Event::Resolved { sequence, lane: of, outcome, arrival, .. } if *of == lane => {
                    Some((*sequence, *outcome, arrival.map(|arrival| arrival.end_to_end)))
                }
                _ => None,
            });
            resolved.collect()
        }

        fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
            self.events.iter().filter(|event| is_it(event)).count()
        }
    }

    #[test]
    fn what_may_have_been_given_out_was_if_it_comes_out_and_is_never_lost() {
        let mut world = World::new(2, 2);
        assert_eq!(world.correlator.next_sequence(ONE), LEASE);
        world.abreast();
        world.record(3, Append::None, 4);
        assert_eq!(world.outcomes(Lane::MqttKafka), [(3, Outcome::Delivered, None)]);
        assert_eq!(world.count(|event| matches!(event, Event::Published { .. })), 1);
        assert_eq!(world.count(|event| matches!(event, Event::Recovered { .. })), 1);
        world.received(3, Sink::Mqtt { resent: false }, 4);
        assert_eq!(world.count(|event| matches!(event, Event::Published { .. })), 1, "sent once");
        world.record(LEASE, Append::None, 4);
        assert_eq!(world.count(|event| matches!(event, Event::Foreign { .. })), 1, "nobody's yet");

        world.settle();
        let mut lost = world.outcomes(Lane::MqttKafka).split_off(1);
        lost.sort_unstable();
        let unresolved = |sequence| (sequence, Outcome::Unresolved, None);
        assert_eq!(lost[..2], [0, 1].map(|it| (it, Outcome::AckedLost, None)), "known before");
        assert_eq!(lost[2..], [2, 4, 5, 6, 7].map(unresolved));
        assert_eq!(world.correlator.open_outcomes(), 0);
    }

    #[test]
    fn what_the_broker_had_not_answered_is_unresolved_if_it_does_not_come_out() {
        let mut world = World::new(LEASE, 1);
        world.settle();
        let outcomes = world.outcomes(Lane::MqttKafka);
        assert_eq!(outcomes[0], (0, Outcome::AckedLost, None));
        assert!(outcomes[1..].iter().all(|&(_, outcome, _)| outcome == Outcome::Unresolved));
        let heard = world.outcomes(Lane::MqttMqtt);
        assert!(heard.iter().all(|&(_, outcome, _)| outcome == Outcome::Unresolved), "it was away");
        assert_eq!(heard.len(), outcomes.len());
    }

    #[test]
    fn what_was_there_when_the_consumer_came_back_is_judged_by_its_record_and_not_timed() {
        let mut world = World::new(LEASE, LEASE);
        world.record(0, Append::LogAppendTime(at(2)), 20);
        world.record(1, Append::LogAppendTime(at(7)), 20);
        world.record(2, Append::CreateTime(at(2)), 20);
        world.record(3, Append::None, 20);
        let late = |late: bool| if late { Outcome::Late } else { Outcome::Delivered };
        let expected = [(0, false), (1, true), (2, false), (3, true)];
        assert_eq!(
            world.outcomes(Lane::MqttKafka),
            expected.map(|(sequence, is_late)| (sequence, late(is_late), None))
        );
        assert_eq!(world.count(|event| matches!(event, Event::Recovered { .. })), 4);
        assert_eq!(world.count(|event| matches!(event, Event::Consumed { .. })), 4);
        world.abreast();
        world.record(4, Append::None, 21);
        let nanos = at(21).nanos_since(at(1));
        assert_eq!(world.outcomes(Lane::MqttKafka)[4], (4, Outcome::Late, Some(nanos)), "the tail");
    }

    #[test]
    fn a_verdict_that_was_wrong_is_not_timed_either_before_the_consumer_is_abreast() {
        let mut world = World::new(2, 2);
        world.settle();
        world.record(0, Append::None, 70);
        world.abreast();
        world.record(1, Append::None, 70);
        let timed: Vec<bool> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Event::LateRecovery { end_to_end, .. } => Some(end_to_end.is_some()),
                _ => None,
            })
            .collect();
        assert_eq!(timed, [false, true]);
    }

    #[test]
    fn what_waited_to_be_sent_may_have_been() {
        let mut world = World::new(0, 0);
        let not_sent =
            Observation::NotSent { publisher: ONE, sequence: 2, cause: NotSent::Stopped };
        world.tell(not_sent);
        world.correlator.finish(&mut world.events);
        let outcomes = world.outcomes(Lane::MqttKafka);
        assert_eq!(outcomes.len() as u64, LEASE);
        let unresolved = outcomes.iter().filter(|(_, outcome, _)| *outcome == Outcome::Unresolved);
        assert_eq!(unresolved.count() as u64, LEASE - 1, "all but the one that was told");
    }

    #[test]
    fn moments_of_before_a_start_of_the_machine_are_forgotten() {
        let mut world = World::new(2, 2);
        world.correlator.begin_time_anew(&mut world.events);
        assert_eq!(world.correlator.open_outcomes(), 0);
        assert_eq!(world.correlator.caught_up(PATH, Lane::MqttMqtt), Instant::ZERO);
        world.record(0, Append::None, 1);
        assert!(world.events.iter().any(|event| matches!(
            event,
            Event::LateRecovery { was: Outcome::Unresolved, end_to_end: None, .. }
        )));
    }
}
