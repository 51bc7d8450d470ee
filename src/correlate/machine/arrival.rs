//! Room `correlate`: what the state machine makes of messages that came out.

use crate::clock::Instant;
use crate::stamp::Integrity;

use super::super::ledger::Place;
use super::super::{Carrier, DuplicateCause, Event, Observation, Outcome, PublisherId, Sink};
use super::Correlator;

/// An arrival whose publisher and slot exist.
#[derive(Clone, Copy)]
struct Arrival {
    publisher: PublisherId,
    sequence: u64,
    sink: Sink,
    at: Instant,
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
        } = observation
        else {
            return;
        };
        let is_known = usize::from(stamped_path.0) < self.roster.paths().len();
        if is_known && stamped_path != path {
            // Two paths share a topic: the other path's own consumer books it.
            return;
        }
        let id = self.roster.find(path, publisher);
        let Some(id) = id.filter(|&id| is_known && self.gave_out(id, sequence)) else {
            events.push(Event::Foreign { path, count: 1 });
            return;
        };
        let lane = sink.lane();
        let mut partition = 0;
        if let Sink::Kafka { place, .. } = sink {
            partition = place.slot;
            if !self.paths[usize::from(path.0)].moves_on(place.slot, place.offset) {
                let cause = DuplicateCause::Reread;
                events.push(Event::Duplicate { publisher: id, sequence, lane, cause });
                return;
            }
        }
        events.push(Event::Consumed { path, lane, partition });
        if integrity == Integrity::Corrupt {
            events.push(Event::Corrupt { publisher: id, lane });
        }
        if !self.arrived(Arrival { publisher: id, sequence, sink, at }, events) {
            return;
        }
        for &carrier in &self.roster.path(path).carriers {
            let survived = match carrier {
                Carrier::Property => carriers.property,
                Carrier::Payload => carriers.payload,
            };
            events.push(Event::Stamp { publisher: id, carrier, survived });
        }
    }

    /// Books an arrival; true where it is the first of its message.
    fn arrived(&mut self, arrival: Arrival, events: &mut Vec<Event>) -> bool {
        let Arrival { publisher: id, sequence, sink, at } = arrival;
        let lane = sink.lane();
        let (mut books, state) = self.split(id, events);
        let wrong_verdict = match state.ledger.place(sequence) {
            Place::Unknown => return false,
            Place::Closed => state.verdicts[lane.index()].remove(sequence),
            Place::Open(entry) => match entry.outcome(lane) {
                None => {
                    books.deliver((sequence, entry), sink, at);
                    books.note_order(sequence, lane, &mut state.highest);
                    return true;
                }
                Some(Outcome::Delivered | Outcome::Late) => None,
                Some(was) => {
                    entry.set_outcome(lane, Outcome::Late);
                    Some((was, Some(entry.intended)))
                }
            },
        };
        if let Some((was, intended)) = wrong_verdict {
            let end_to_end = intended.map(|intended| at.nanos_since(intended));
            let recovery = Event::LateRecovery { publisher: id, sequence, lane, was, end_to_end };
            books.events.push(recovery);
            books.note_order(sequence, lane, &mut state.highest);
            return true;
        }
        let resent = state.resent.contains(&sequence) || sink == Sink::Mqtt { resent: true };
        let cause = if resent { DuplicateCause::Resent } else { DuplicateCause::Pipeline };
        books.events.push(Event::Duplicate { publisher: id, sequence, lane, cause });
        false
    }
}
