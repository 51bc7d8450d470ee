//! Room `app`: falsifies the books of a selftest, to show that it is found out.

use std::sync::LazyLock;

use crate::clock::Instant;
use crate::correlate::{
    Departure, DuplicateCause, Elapsed, Event, Lane, NotSent, Outcome, PathId, PublisherId,
    RecordPlace, Roster,
};
use crate::report::{Anomalies, Outcomes, Report};

/// The counter that no event raises, since nothing is held against a schema.
const OF_NO_EVENT: &str = "schema_violation";

/// The names of all counters that can be falsified, as `report.json` has them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let outcomes = Outcomes::default().named().into_iter();
    outcomes.chain(Anomalies::default().named()).map(|(name, _)| name)
}

/// The names as a list, for the command line.
pub(super) fn list() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| names().collect());
    &NAMES
}

/// Events that raise these counters of a path by one each, and that nothing was behind.
pub(super) fn invented(counters: &[String], roster: &Roster, path: PathId) -> Vec<Event> {
    let publisher = (0..).zip(roster.publishers()).find(|(_, it)| it.path == path);
    let publisher = PublisherId(publisher.map_or(0, |(id, _)| id));
    counters.iter().filter_map(|counter| event(counter, publisher, path)).collect()
}

/// Raises by one what no event does.
pub(super) fn falsify(counters: &[String], report: &mut Report, path: &str) {
    let of_path = report.paths.iter_mut().find(|it| it.name == path);
    let lane = of_path.and_then(|path| path.lanes.first_mut());
    if let Some(lane) = lane.filter(|_| counters.iter().any(|counter| counter == OF_NO_EVENT)) {
        lane.anomalies.schema_violation += 1;
    }
}

fn event(counter: &str, publisher: PublisherId, path: PathId) -> Option<Event> {
    let (sequence, lane, at) = (0, Lane::MqttKafka, Instant::ZERO);
    let place = RecordPlace { slot: 0, offset: 0 };
    let outcome = |name: &str| Outcome::ALL.into_iter().find(|outcome| outcome.name() == name);
    if let Some(outcome) = outcome(counter) {
        return Some(Event::Resolved {
            publisher,
            sequence,
            lane,
            outcome,
            departure: Departure {
                intended: at,
                sent: Elapsed::UNKNOWN,
                acknowledged: Elapsed::UNKNOWN,
            },
            not_sent: (outcome == Outcome::NotSent).then_some(NotSent::Disconnected),
            arrival: None,
        });
    }
    let duplicate = |cause| Event::Duplicate {
        publisher,
        sequence,
        lane,
        cause,
        at,
        place,
        copy: None,
        departure: None,
    };
    Some(match counter {
        "duplicate" => duplicate(DuplicateCause::Pipeline),
        "reread" => duplicate(DuplicateCause::Reread),
        "resent" => duplicate(DuplicateCause::Resent),
        "reordered" => Event::Reordered { publisher, lane, depth: 1 },
        "corrupt" => Event::Corrupt { publisher, sequence, lane, at, place },
        "foreign" => Event::Foreign { path, count: 1 },
        "late_recovery" => Event::LateRecovery {
            publisher,
            sequence,
            lane,
            was: Outcome::AckedLost,
            end_to_end: None,
            at,
            place,
            departure: None,
        },
        "negative" => Event::Negative { publisher, lane },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_an_event_but_the_one_that_nothing_raises() {
        let event = |name: &&str| event(name, PublisherId(0), PathId(0)).is_none();
        assert_eq!(names().filter(event).collect::<Vec<_>>(), [OF_NO_EVENT]);
        assert_eq!(list().len(), 16);
    }
}
