//! Room `stats`: the worst messages against a sort of all of them.

use proptest::prelude::*;

use super::*;
use crate::correlate::Elapsed;

const MINUTE: u64 = 60_000_000_000;

/// A message that came out.
#[derive(Clone, Copy, Debug)]
struct Came {
    minute: u64,
    latency: i64,
    publisher: u32,
    late: bool,
}

fn came() -> impl Strategy<Value = Came> {
    // Few distinct latencies, so that many messages are equally slow.
    (0_u64..300, -3_i64..60, 0_u32..3, any::<bool>())
        .prop_map(|(minute, latency, publisher, late)| Came { minute, latency, publisher, late })
}

fn resolved(sequence: u64, of: Came) -> Event {
    // An hour and more behind the clock's origin, so that nothing is before it.
    let intended = Instant::from_nanos((60 + of.minute) * MINUTE);
    Event::Resolved {
        publisher: PublisherId(of.publisher),
        sequence,
        lane: Lane::MqttKafka,
        outcome: if of.late { Outcome::Late } else { Outcome::Delivered },
        departure: Departure { intended, sent: Elapsed::of(1), acknowledged: Elapsed::UNKNOWN },
        not_sent: None,
        arrival: Some(Arrival {
            end_to_end: of.latency,
            service: Elapsed::UNKNOWN,
            create: Elapsed::UNKNOWN,
            append: Elapsed::of(2),
            fetch: Elapsed::UNKNOWN,
            durability_gap: Elapsed::UNKNOWN,
            place: RecordPlace { slot: 1, offset: 7 },
            span: None,
            stamps: [None; 2],
        }),
    }
}

/// Notes it as the books do.
fn note(worst: &mut Worst, event: &Event) {
    let Event::Resolved { outcome, departure, arrival: Some(arrival), .. } = event else {
        return worst.note(event);
    };
    let at = departure.intended.offset(arrival.end_to_end);
    if *outcome != Outcome::Delivered || worst.may_be_slow(at, arrival.end_to_end) {
        worst.note(event);
    }
}

/// The greatest of all by a figure.
fn greatest(all: &[Message], figure: impl Fn(&Message) -> Option<i64>) -> Vec<Message> {
    let mut sorted: Vec<_> = all
        .iter()
        .filter_map(|it| Some(((figure(it)?, it.publisher, it.sequence, it.lane.index()), *it)))
        .collect();
    sorted.sort_by(|(a, _), (b, _)| b.cmp(a));
    sorted.truncate(WORST_MAX);
    sorted.into_iter().map(|(_, message)| message).collect()
}

fn message(event: &Event) -> Message {
    let mut alone = Worst::default();
    alone.note(event);
    *alone.slowest().next().unwrap()
}

proptest! {
    #[test]
    fn the_lists_are_those_of_a_sort_of_everything(
        all in prop::collection::vec((came(), 0_usize..3), 0..400),
        is_ordered in any::<bool>(),
    ) {
        let mut all = all;
        if is_ordered {
            all.sort_by_key(|(came, _)| came.minute);
        }
        let events: Vec<_> =
            (0..).zip(&all).map(|(sequence, &(came, shard))| (resolved(sequence, came), shard)).collect();
        // Three shards that saw a part each, and one that saw everything.
        let mut shards = vec![Worst::default(); 3];
        let mut single = Worst::default();
        for (event, shard) in &events {
            note(&mut shards[*shard], event);
            note(&mut single, event);
        }
        let mut merged = Worst::default();
        for shard in &shards {
            merged.merge(shard);
        }

        let messages: Vec<_> = events.iter().map(|(event, _)| message(event)).collect();
        let latest = messages.iter().filter_map(|it| it.at).max().unwrap_or_default();
        let now = latest.nanos() / STRETCH_NANOS;
        let is_recent = |it: &Message| it.at.unwrap().nanos() / STRETCH_NANOS + STRETCHES > now;
        let late = |it: &Message| (it.fate == Fate::Resolved(Outcome::Late)).then(|| it.moment());
        for worst in [single, merged] {
            let slowest: Vec<_> = worst.slowest().copied().collect();
            prop_assert_eq!(slowest, greatest(&messages, |it| it.end_to_end));
            let recent = greatest(&messages, |it| it.end_to_end.filter(|_| is_recent(it)));
            prop_assert_eq!(worst.slowest_last_hour(latest), recent);
            let last: Vec<_> = worst.last(Trouble::Late).copied().collect();
            prop_assert_eq!(last, greatest(&messages, late));
            prop_assert!(worst.stretches.len() as u64 <= STRETCHES);
        }
    }
}

#[test]
fn an_hour_without_messages_has_no_slowest() {
    let mut worst = Worst::default();
    let of = Came { minute: 0, latency: 5, publisher: 0, late: false };
    worst.note(&resolved(0, of));
    let at = Instant::from_nanos(60 * MINUTE);
    assert_eq!(worst.slowest_last_hour(at).len(), 1);
    let later = Instant::from_nanos(126 * MINUTE);
    assert_eq!((worst.slowest_last_hour(later).len(), worst.slowest().count()), (0, 1));
}

#[test]
fn what_is_fast_is_not_looked_at() {
    let mut worst = Worst::default();
    for sequence in 0..20 {
        let latency = 100 + i64::try_from(sequence).unwrap();
        worst.note(&resolved(sequence, Came { minute: 0, latency, publisher: 0, late: false }));
    }
    let at = Instant::from_nanos(61 * MINUTE);
    assert!(!worst.may_be_slow(at, 109), "ten are slower");
    assert!(worst.may_be_slow(at, 110));
    let next = Instant::from_nanos(65 * MINUTE);
    assert!(worst.may_be_slow(next, 0), "of the next five minutes nothing is known");
}

#[test]
fn a_loss_that_came_out_is_late_and_no_loss() {
    let mut worst = Worst::default();
    let (publisher, lane) = (PublisherId(1), Lane::MqttKafka);
    let intended = Instant::from_nanos(100 * MINUTE);
    let departure = Departure { intended, sent: Elapsed::of(1), acknowledged: Elapsed::of(3) };
    for sequence in [4, 5] {
        worst.note(&Event::Resolved {
            publisher,
            sequence,
            lane,
            outcome: Outcome::AckedLost,
            departure,
            not_sent: None,
            arrival: None,
        });
    }
    assert_eq!(worst.last(Trouble::AckedLost).count(), 2);
    worst.note(&Event::LateRecovery {
        publisher,
        sequence: 4,
        lane,
        was: Outcome::AckedLost,
        end_to_end: Some(90),
        at: intended.offset(90),
        place: RecordPlace { slot: 0, offset: 3 },
        departure: Some(departure),
    });
    let lost: Vec<_> = worst.last(Trouble::AckedLost).map(|it| it.sequence).collect();
    assert_eq!(lost, [5]);
    let late = worst.last(Trouble::Late).next().unwrap();
    assert_eq!((late.sequence, late.fate), (4, Fate::Recovered(Outcome::AckedLost)));
    assert_eq!((late.end_to_end, late.acknowledged), (Some(90), Some(3)));
    assert_eq!(worst.slowest().next(), Some(late));
}
