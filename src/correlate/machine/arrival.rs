//! Room `correlate`: what the state machine makes of messages that came out.

use crate::clock::Instant;
use crate::stamp::{Carriers, Integrity};

use super::super::books::Landing;
use super::super::ledger::Place;
use super::super::sinks::PARTITIONS_MAX;
use super::super::{
    Carrier, Copied, DuplicateCause, Elapsed, Event, Gap, Lane, Observation, Outcome, PublisherId,
    Sink,
};
use super::{Correlator, State};

impl State {
    /// One more than the highest sequence that came out of the stream that ends at this sink: a lane, or
    /// a partition of it.
    #[inline]
    pub(super) fn highest(&mut self, sink: &Sink, by_partition: bool) -> &mut u64 {
        let (Sink::Kafka { place, .. } | Sink::Control { place, .. }) = sink else {
            return &mut self.highest[sink.lane().index()];
        };
        if !by_partition {
            return &mut self.highest[sink.lane().index()];
        }
        let index = (place.slot as usize).min(PARTITIONS_MAX);
        if index >= self.highest_in.len() {
            self.highest_in.resize(index + 1, 0);
        }
        &mut self.highest_in[index]
    }
}

impl Correlator {
    /// Takes in [`Observation::Received`]; whatever else it is given is none of its business.
    pub(super) fn received(&mut self, observation: &Observation, events: &mut Vec<Event>) {
        let &Observation::Received {
            path,
            stamped_path,
            publisher,
            sequence,
            sink,
            at,
            integrity,
            carriers,
            span,
        } = observation
        else {
            return;
        };
        let is_known = usize::from(stamped_path.0) < self.roster.paths().len();
        if is_known && stamped_path != path {
            // Two paths share a topic: the other path's own consumer books it.
            return;
        }
        let lane = sink.lane();
        let id = self.roster.find(path, publisher, lane == Lane::KafkaKafka);
        let Some(id) = id.filter(|&id| is_known && self.gave_out(id, sequence)) else {
            events.push(Event::Foreign { path, count: 1 });
            return;
        };
        if let Sink::Kafka { place, .. } | Sink::Control { place, .. } = sink
            && !self.paths[usize::from(path.0)].moves_on(lane, place)
        {
            events.push(Event::Duplicate {
                publisher: id,
                sequence,
                lane,
                cause: DuplicateCause::Reread,
                at,
                place,
                copy: None,
                departure: None,
            });
            return;
        }
        if integrity == Integrity::Corrupt {
            let place = sink.place();
            events.push(Event::Corrupt { publisher: id, sequence, lane, at, place });
        }
        let (mut books, state) = self.split(id, events);
        if let Place::Open(entry) = state.ledger.place(sequence)
            && entry.is_open(lane)
        {
            if sequence < state.own {
                return self.arrived_after_restart(id, sequence, observation, events);
            }
            let landing = Landing { sink, at, span, stamps: books.fixed.survived(carriers) };
            books.deliver((sequence, entry), &landing);
            let highest = state.highest(&sink, books.fixed.by_partition);
            books.note_order(sequence, lane, highest);
            return;
        }
        let partition = sink.place().slot;
        events.push(Event::Consumed { path, lane, partition });
        self.arrived_again(id, sequence, (sink, at), carriers, events);
    }

    /// Takes in [`Observation::Found`]; whatever else it is given is none of its business.
    pub(super) fn found(&mut self, observation: &Observation, events: &mut Vec<Event>) {
        let &Observation::Found { path, lane, stamped_path, publisher, sequence, append, at } =
            observation
        else {
            return;
        };
        let id = self.roster.find(path, publisher, lane == Lane::KafkaKafka);
        let Some(id) = id.filter(|_| stamped_path == path) else { return };
        let (books, state) = self.split(id, events);
        if let Place::Open(entry) = state.ledger.place(sequence)
            && entry.is_open(lane)
        {
            if entry.shows_sending() {
                books.events.push(Event::Published {
                    publisher: id,
                    count: 1,
                    delay: Elapsed::UNKNOWN,
                });
            }
            entry.set_seen(lane, at, append);
        }
    }

    /// Books a message that came out where nothing was awaited any more: again, or after its slot had
    /// got another verdict.
    #[cold]
    fn arrived_again(
        &mut self,
        id: PublisherId,
        sequence: u64,
        (sink, at): (Sink, Instant),
        carriers: Carriers,
        events: &mut Vec<Event>,
    ) {
        let lane = sink.lane();
        let (mut books, state) = self.split(id, events);
        let place = sink.place();
        let (wrong_verdict, entry) = match state.ledger.place(sequence) {
            Place::Unknown => return,
            Place::Closed(entry) => (state.verdicts[lane.index()].remove(sequence), entry),
            Place::Open(entry) => {
                let wrong = match entry.outcome(lane) {
                    None | Some(Outcome::Delivered | Outcome::Late) => None,
                    Some(was) => {
                        entry.set_outcome(lane, Outcome::Late);
                        Some((was, Some(entry.intended)))
                    }
                };
                (wrong, Some(entry))
            }
        };
        let departure = entry.as_ref().map(|entry| entry.departure());
        let is_guessed = entry.as_ref().is_some_and(|entry| entry.is_guessed());
        let Some((was, intended)) = wrong_verdict else {
            // Between a producer and its log nobody but the producer doubles a message.
            let resent = state.resent.contains(&sequence)
                || matches!(sink, Sink::Mqtt { resent: true } | Sink::Control { .. });
            let cause = if resent { DuplicateCause::Resent } else { DuplicateCause::Pipeline };
            let copy = entry.map(|entry| {
                let (count, spread) = entry.note_arrival(lane, at);
                Copied { count, spread }
            });
            books.events.push(Event::Duplicate {
                publisher: id,
                sequence,
                lane,
                cause,
                at,
                place,
                copy,
                departure,
            });
            return;
        };
        let gap = entry.and_then(|entry| {
            entry.note_arrival(lane, at);
            let appended = entry.note_stamped(sink).1?;
            let slot = Some(place.slot);
            entry.durability_gap().map(|gap| Gap { appended, slot, ..gap })
        });
        if let Some(gap) = gap {
            books.events.push(Event::DurabilityGap { publisher: id, gap });
        }
        let intended = intended.or(departure.map(|departure| departure.intended));
        // When it came out is not known while what had been there is read after a restart.
        let is_timed = sequence >= state.own || !books.sinks.is_behind(lane);
        let intended = intended.filter(|_| is_timed && !is_guessed);
        let end_to_end = intended.map(|intended| at.nanos_since(intended));
        books.events.push(Event::LateRecovery {
            publisher: id,
            sequence,
            lane,
            was,
            end_to_end,
            at,
            place,
            departure,
        });
        let highest = state.highest(&sink, books.fixed.by_partition);
        books.note_order(sequence, lane, highest);
        for (carrier, survived) in Carrier::ALL.into_iter().zip(books.fixed.survived(carriers)) {
            if let Some(survived) = survived {
                events.push(Event::Stamp { publisher: id, carrier, survived });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::super::{Append, Limits, Path, PathId, Qos, RecordPlace, Roster};
    use super::*;

    /// How many records of `(sequence, partition)` are told to be reordered, where one reader reads all
    /// partitions or several share them.
    fn reordered(records: &[(u64, u32)], read_apart: bool) -> usize {
        let path = Path {
            name: "plant".into(),
            lanes: vec![Lane::MqttKafka],
            qos: vec![Qos::AtLeastOnce],
            carriers: vec![Carrier::Payload],
            deadline: Duration::from_secs(5),
        };
        let mut roster = Roster::default();
        let path = roster.add(path, [Qos::AtLeastOnce]);
        if read_apart {
            roster.set_read_apart(path);
        }
        let mut correlator = Correlator::new(Arc::new(roster), Limits::default());
        let (mut events, publisher) = (Vec::new(), PublisherId(0));
        for sequence in 0..10 {
            let intended = Instant::ZERO;
            for observation in [
                Observation::Offered { publisher, sequence, intended },
                Observation::Sent { publisher, sequence, at: intended, held: false },
            ] {
                correlator.observe(&observation, &mut events);
            }
        }
        for (offset, &(sequence, slot)) in (0..).zip(records) {
            let place = RecordPlace { slot, offset };
            let received = Observation::Received {
                path: PathId(0),
                stamped_path: PathId(0),
                publisher: 0,
                sequence,
                sink: Sink::Kafka { place, append: Append::None },
                at: Instant::ZERO,
                integrity: Integrity::Intact,
                carriers: Carriers { property: false, payload: true },
                span: None,
            };
            correlator.observe(&received, &mut events);
        }
        events.iter().filter(|event| matches!(event, Event::Reordered { .. })).count()
    }

    #[test]
    fn order_is_that_within_a_partition_where_readers_share_them() {
        let between = [(0, 0), (2, 0), (1, 1), (3, 1)];
        assert_eq!((reordered(&between, false), reordered(&between, true)), (1, 0));
        let within = [(0, 0), (3, 1), (2, 0), (1, 0), (4, 1)];
        assert_eq!((reordered(&within, false), reordered(&within, true)), (2, 1));
    }
}
