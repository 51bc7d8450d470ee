//! Room `correlate`: what the state machine makes of messages that are no arrivals.

use crate::clock::Instant;

use super::super::ledger::Place;
use super::super::{Aside, DuplicateCause, Event, Lane, Observation, PublisherId, RecordPlace};
use super::Correlator;

impl Correlator {
    /// Takes in [`Observation::Aside`]; whatever else it is given is none of its business. Outcomes,
    /// copies and order stay as they are.
    pub(super) fn set_aside(&mut self, observation: &Observation, events: &mut Vec<Event>) {
        let &Observation::Aside { path, stamped_path, publisher, sequence, why, at } = observation
        else {
            return;
        };
        let is_known = usize::from(stamped_path.0) < self.roster.paths().len();
        if is_known && stamped_path != path {
            // Two paths share a topic: the other path's own subscribers book it.
            return;
        }
        let id = self.roster.find(path, publisher, false);
        let Some(id) = id.filter(|&id| is_known && self.gave_out(id, sequence)) else {
            events.push(Event::Foreign { path, count: 1 });
            return;
        };
        events.push(match why {
            Aside::Witnessed => {
                let end_to_end = self.intended(id, sequence).map(|due| at.nanos_since(due));
                Event::Witnessed { publisher: id, end_to_end: end_to_end.into() }
            }
            Aside::Stored => Event::Duplicate {
                publisher: id,
                sequence,
                lane: Lane::MqttMqtt,
                cause: DuplicateCause::Reread,
                at,
                place: RecordPlace { slot: 0, offset: 0 },
                copy: None,
                departure: None,
            },
        });
    }

    /// When a slot was due, where that is still known.
    fn intended(&mut self, id: PublisherId, sequence: u64) -> Option<Instant> {
        let (_, state) = self.publishers.get_mut(id.0 as usize)?;
        let entry = match state.ledger.place(sequence) {
            Place::Open(entry) => entry,
            Place::Closed(entry) => entry?,
            Place::Unknown => return None,
        };
        (!entry.is_guessed()).then_some(entry.intended)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::correlate::{
        Audience, Carrier, Elapsed, Limits, Outcome, Path, PathId, Qos, Receive, Roster, Sink,
    };
    use crate::stamp::{Carriers, Integrity};

    const PATH: PathId = PathId(0);
    const ONE: PublisherId = PublisherId(0);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// Two slots are sent, and each subscriber of so many is sent what it is for.
    fn world(receive: Receive) -> Correlator {
        let mut roster = Roster::default();
        let path = Path {
            name: "plant".into(),
            lanes: vec![Lane::MqttMqtt],
            qos: vec![Qos::AtLeastOnce],
            carriers: vec![Carrier::Payload],
            deadline: Duration::from_secs(5),
        };
        roster.add(path, [Qos::AtLeastOnce]);
        roster.set_audience(PATH, Audience { count: 3, receive });
        let mut correlator = Correlator::new(Arc::new(roster), Limits::default());
        for sequence in 0..2 {
            let intended = at(1_000);
            for observation in [
                Observation::Offered { publisher: ONE, sequence, intended },
                Observation::Sent { publisher: ONE, sequence, at: intended, held: false },
            ] {
                correlator.observe(&observation, &mut Vec::new());
            }
        }
        correlator
    }

    fn aside(sequence: u64, why: Aside) -> Observation {
        let (path, stamped_path, publisher) = (PATH, PATH, 0);
        Observation::Aside { path, stamped_path, publisher, sequence, why, at: at(1_250) }
    }

    fn received(sequence: u64) -> Observation {
        Observation::Received {
            path: PATH,
            stamped_path: PATH,
            publisher: 0,
            sequence,
            sink: Sink::Mqtt { resent: false },
            at: at(1_200),
            integrity: Integrity::Intact,
            carriers: Carriers { property: true, payload: true },
            span: None,
        }
    }

    fn events(correlator: &mut Correlator, observations: &[Observation]) -> Vec<Event> {
        let mut events = Vec::new();
        for observation in observations {
            correlator.observe(observation, &mut events);
        }
        events
    }

    #[test]
    fn a_witness_decides_nothing() {
        let mut correlator = world(Receive::All);
        let witnessed = Event::Witnessed { publisher: ONE, end_to_end: Elapsed::of(250_000_000) };
        let twice = [aside(0, Aside::Witnessed); 2];
        assert_eq!(events(&mut correlator, &twice), [witnessed; 2]);
        assert_eq!(correlator.open_outcomes(), 2);
        let found = events(&mut correlator, &[received(0), aside(0, Aside::Witnessed)]);
        assert!(
            matches!(found[0], Event::Resolved { outcome: Outcome::Delivered, .. }),
            "{found:?}"
        );
        assert_eq!(found[1..], [witnessed]);
        let strange = aside(2, Aside::Witnessed);
        assert_eq!(events(&mut correlator, &[strange]), [Event::Foreign { path: PATH, count: 1 }]);
    }

    #[test]
    fn what_the_broker_had_stored_is_a_reread() {
        let mut correlator = world(Receive::All);
        let found = events(&mut correlator, &[aside(1, Aside::Stored)]);
        let is_reread =
            |event: &Event| matches!(event, Event::Duplicate { cause: DuplicateCause::Reread, .. });
        assert!(found.len() == 1 && is_reread(&found[0]), "{found:?}");
        assert_eq!(found[0].delivery(), None);
        assert_eq!(correlator.open_outcomes(), 2, "it is still awaited");
    }

    #[test]
    fn what_many_share_has_no_order() {
        let reordered = |receive| {
            let found = events(&mut world(receive), &[received(1), received(0)]);
            assert_eq!(found.iter().filter_map(Event::delivery).count(), 2);
            found.iter().any(|event| matches!(event, Event::Reordered { .. }))
        };
        assert_eq!(
            [Receive::All, Receive::Share, Receive::Own].map(reordered),
            [true, false, true]
        );
    }
}
