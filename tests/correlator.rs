//! The correlator against a simulated link, against arbitrary observations, and against its bounds.

#[path = "correlator/doubt.rs"]
mod doubt;
#[path = "correlator/link.rs"]
#[expect(clippy::unwrap_used, reason = "a simulation that contradicts itself is to stop")]
mod link;
#[path = "correlator/stretches.rs"]
mod stretches;

use std::sync::Arc;
use std::time::Duration;

use landfall::clock::Instant;
use landfall::correlate::{
    Append, Carrier, Correlator, DuplicateCause, Event, Lane, Leg, Limits, NotSent, Observation,
    Outcome, Path, PathId, PublisherId, Qos, RecordPlace, Roster, Sink, Stage,
};
use landfall::stamp::{Carriers, Integrity};
use landfall::stats::Stats;
use proptest::prelude::*;

use link::{DEADLINE, Dice, Link, PATH, Shape, Tally, roster};

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

/// Mostly nothing, sometimes a little, sometimes much.
fn share(most: u32) -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 2 => 0..most / 8 + 1, 1 => 0..most + 1]
}

fn shapes() -> impl Strategy<Value = Shape> {
    let load = (any::<u64>(), prop::collection::vec(qos(), 1..6), 1_u64..60, 1_u32..5, 1_u64..400);
    let sending = (share(300), share(100), share(300), share(300), share(300));
    let answers = (share(300), share(300), share(300), share(300), share(500));
    let records = (share(400), share(400), share(300), share(200), share(200));
    (load, sending, answers, records, share(15), share(30), any::<bool>()).prop_map(
        |(load, sending, answers, records, stall, cut, stop_early)| Shape {
            seed: load.0,
            publishers: load.1,
            slots: load.2,
            partitions: load.3,
            interval_millis: load.4,
            not_sent: sending.0,
            never_sent: sending.1,
            sent_late: sending.2,
            resend: sending.3,
            refuse: sending.4,
            unanswered: answers.0,
            slow_answer: answers.1,
            lose: answers.2,
            slow: answers.3,
            ghost: answers.4,
            double: records.0,
            damage: records.1,
            foreign: records.2,
            rewind: records.3,
            stall: stall.max(records.4 / 40),
            cut,
            stop_early,
        },
    )
}

fn booked(stats: &Stats, qos: Qos, lane: Lane) -> Tally {
    let totals = stats.lane(PATH, qos, lane);
    Tally {
        outcomes: Outcome::ALL.map(|outcome| totals.outcome(outcome)),
        duplicates: totals.duplicates,
        reordered: totals.reordered,
        depth_max: totals.reorder_depth_max,
        corrupt: totals.corrupt,
    }
}

fn assert_books_equal_truth(link: &Link) {
    for qos in Qos::ALL {
        for lane in Lane::OF_MQTT {
            let truth = link.truth.get(&(qos, lane.index())).cloned().unwrap_or_default();
            assert_eq!(booked(&link.stats, qos, lane), truth, "{qos:?} {lane:?}");
            let slots = link.stats.lane(PATH, qos, lane).slots();
            assert_eq!(slots, link.stats.publish(PATH, qos).offered, "{qos:?} {lane:?}");
            assert_eq!(link.correlator().in_flight(PATH, qos, lane), 0);
        }
    }
    assert_eq!(link.stats.path(PATH).foreign, link.foreign);
    assert_eq!(link.stats.path(PATH).overflow, 0);
    assert_eq!(link.correlator().open_outcomes(), 0);
}

fn fixed(seed: u64) -> Shape {
    Shape {
        seed,
        publishers: Qos::ALL.into_iter().cycle().take(5).collect(),
        slots: 80,
        partitions: 3,
        interval_millis: 90,
        not_sent: 30,
        never_sent: 10,
        sent_late: 50,
        lose: 80,
        slow: 50,
        double: 60,
        damage: 40,
        refuse: 50,
        unanswered: 60,
        slow_answer: 60,
        resend: 60,
        ghost: 300,
        foreign: 50,
        rewind: 20,
        stall: 1,
        cut: 4,
        stop_early: false,
    }
}

/// FNV-1a over the events as they print.
fn fingerprint(events: &[Event]) -> u64 {
    let text = events.iter().flat_map(|event| format!("{event:?}\n").into_bytes());
    text.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_books_equal_the_truth(shape in shapes()) {
        assert_books_equal_truth(&Link::new(shape).run());
    }
}

fn add(sums: &mut [u64], counts: &[u64]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// Everything that the books tell apart happens on the link, else the property above says little.
#[test]
fn the_simulation_leaves_nothing_out() {
    let mut all = Tally::default();
    let mut recovered = [0; Outcome::ALL.len()];
    for seed in 0..12 {
        let mut link = Link::new(Shape { stop_early: seed % 4 == 3, ..fixed(seed) }).run();
        assert_books_equal_truth(&link);
        for tally in std::mem::take(&mut link.truth).into_values() {
            add(&mut all.outcomes, &tally.outcomes);
            add(&mut all.duplicates, &tally.duplicates);
            all.reordered += tally.reordered;
            all.corrupt += tally.corrupt;
        }
        for event in &link.events {
            if let Event::LateRecovery { was, .. } = event {
                recovered[was.index()] += 1;
            }
        }
    }
    assert!(all.outcomes.iter().all(|&count| count > 10), "{all:?}");
    assert!(all.duplicates.iter().all(|&count| count > 10), "{all:?}");
    assert!(all.reordered > 10 && all.corrupt > 10, "{all:?}");
    let wrong = |outcome: &Outcome| !matches!(outcome, Outcome::Delivered | Outcome::Late);
    let missing: Vec<_> = Outcome::ALL.into_iter().filter(wrong).collect();
    assert!(missing.iter().all(|outcome| recovered[outcome.index()] > 0), "{recovered:?}");
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let events = Link::new(fixed(42)).run().events;
    assert_eq!(fingerprint(&events), fingerprint(&Link::new(fixed(42)).run().events));
    assert_eq!((events.len(), fingerprint(&events)), GOLDEN);
}

/// Number and fingerprint of the events of seed 42. Whoever changes what is concluded changes it.
const GOLDEN: (usize, u64) = (2_667, 6_152_357_889_102_149_655);

const PUBLISHERS: [Qos; 3] = Qos::ALL;

fn correlator(limits: Limits) -> (Correlator, Stats) {
    let roster = Arc::new(roster(&PUBLISHERS));
    (Correlator::new(Arc::clone(&roster), limits), Stats::new(roster))
}

fn instants() -> impl Strategy<Value = Instant> {
    prop_oneof![
        4 => (0_u64..200_000).prop_map(|millis| Instant::from_nanos(millis * 1_000_000)),
        1 => any::<u64>().prop_map(Instant::from_nanos),
    ]
}

fn sequences() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..20, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn publishers() -> impl Strategy<Value = PublisherId> {
    (0_u32..4).prop_map(PublisherId)
}

fn lanes() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::MqttKafka), Just(Lane::MqttMqtt)]
}

fn sinks() -> impl Strategy<Value = Sink> {
    let append = prop_oneof![
        instants().prop_map(Append::LogAppendTime),
        instants().prop_map(Append::CreateTime),
        Just(Append::None),
    ];
    let slot = prop_oneof![8 => 0_u32..4, 1 => any::<u32>()];
    let offset = prop_oneof![8 => 0_i64..50, 1 => any::<i64>()];
    prop_oneof![
        (slot, offset, append).prop_map(|(slot, offset, append)| Sink::Kafka {
            place: RecordPlace { slot, offset },
            append
        }),
        any::<bool>().prop_map(|resent| Sink::Mqtt { resent }),
    ]
}

/// Any observation but a slot that is due: those are numbered by whoever offers them.
fn observations() -> impl Strategy<Value = Observation> {
    let stage = prop_oneof![Just(Stage::Puback), Just(Stage::Pubrec), Just(Stage::Pubcomp)];
    let integrity =
        prop_oneof![Just(Integrity::Intact), Just(Integrity::Corrupt), Just(Integrity::Unchecked)];
    let paths = (0_u8..2).prop_map(PathId);
    let stamped = prop_oneof![8 => 0_u8..2, 1 => any::<u8>()].prop_map(PathId);
    let index = prop_oneof![8 => 0_u32..4, 1 => any::<u32>()];
    let cause = (0..NotSent::ALL.len()).prop_map(|index| NotSent::ALL[index]);
    prop_oneof![
        1 => (publishers(), any::<i64>())
            .prop_map(|(publisher, nanos)| Observation::Woken { publisher, nanos }),
        1 => (publishers(), sequences(), cause)
            .prop_map(|(publisher, sequence, cause)| Observation::NotSent { publisher, sequence, cause }),
        4 => (publishers(), sequences(), instants())
            .prop_map(|(publisher, sequence, at)| Observation::Sent { publisher, sequence, at, held: false }),
        2 => (publishers(), sequences(), stage, any::<u8>(), instants()).prop_map(
            |(publisher, sequence, stage, reason, at)| Observation::Acknowledged {
                publisher, sequence, stage, reason, at,
            }
        ),
        8 => ((paths.clone(), stamped, index, sequences()), sinks(), instants(), integrity).prop_map(
            |((path, stamped_path, publisher, sequence), sink, at, integrity)| Observation::Received {
                path, stamped_path, publisher, sequence, sink, at, integrity,
                carriers: Carriers { property: true, payload: false },
                span: None,
            }
        ),
        1 => (paths.clone(), any::<u32>()).prop_map(|(path, count)| Observation::Foreign { path, count }),
        1 => (paths.clone(), lanes(), instants())
            .prop_map(|(path, lane, at)| Observation::CaughtUp { path, lane, at }),
        1 => (paths, lanes(), instants(), instants())
            .prop_map(|(path, lane, from, until)| Observation::Away { path, lane, from, until }),
    ]
}

#[derive(Clone, Debug)]
enum Deed {
    Offer(PublisherId, Instant),
    Observe(Observation),
    Advance(Instant),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => (publishers(), instants()).prop_map(|(publisher, at)| Deed::Offer(publisher, at)),
        8 => observations().prop_map(Deed::Observe),
        1 => instants().prop_map(Deed::Advance),
    ];
    prop::collection::vec(deed, 0..300)
}

fn play(deeds: &[Deed], limits: Limits) -> (Correlator, Stats) {
    let (mut correlator, mut stats) = correlator(limits);
    let (mut events, mut next) = (Vec::new(), [0; 4]);
    for deed in deeds {
        match *deed {
            Deed::Offer(publisher, intended) => {
                let sequence = &mut next[publisher.0 as usize];
                let offered = Observation::Offered { publisher, sequence: *sequence, intended };
                correlator.observe(&offered, &mut events);
                *sequence += 1;
            }
            Deed::Observe(observation) => correlator.observe(&observation, &mut events),
            Deed::Advance(now) => correlator.advance(now, &mut events),
        }
    }
    correlator.finish(&mut events);
    stats.apply(&events);
    (correlator, stats)
}

fn assert_every_slot_has_one_outcome(correlator: &Correlator, stats: &Stats) {
    for (path, qos, lane) in stats.measured() {
        let totals = stats.lane(path, qos, lane);
        let offered = stats.publish(path, qos).offered;
        assert_eq!(totals.slots(), offered);
        assert_eq!(
            Outcome::ALL.map(|outcome| totals.outcome(outcome)).iter().sum::<u64>(),
            offered
        );
        assert_eq!(correlator.in_flight(path, qos, lane), 0);
    }
    assert_eq!(correlator.open_outcomes(), 0);
}

proptest! {
    #[test]
    fn nothing_observed_breaks_the_books(deeds in deeds()) {
        let (correlator, stats) = play(&deeds, Limits::default());
        assert_every_slot_has_one_outcome(&correlator, &stats);
    }

    #[test]
    fn nothing_observed_breaks_the_books_where_memory_is_short(
        deeds in deeds(),
        open_max in 1_usize..8,
        verdicts_max in 1_usize..4,
    ) {
        let (correlator, stats) = play(&deeds, Limits { open_max, verdicts_max, closed_max: 4 });
        assert_every_slot_has_one_outcome(&correlator, &stats);
    }

    /// Publishers, subscribers and consumers are different threads: who tells first is chance.
    #[test]
    fn the_order_between_edges_does_not_matter(
        fates in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u64..8_000), 1..30),
        seed in any::<u64>(),
    ) {
        let told = |shuffled: bool| {
            let (mut correlator, mut stats) = correlator(Limits::default());
            let (mut sending, mut coming) = (Vec::new(), Vec::new());
            for (sequence, &(acknowledged, comes_out, millis)) in (0..).zip(&fates) {
                let (publisher, intended) = (PublisherId(1), Instant::from_nanos(sequence * 1_000_000));
                sending.push(Observation::Offered { publisher, sequence, intended });
                sending.push(Observation::Sent { publisher, sequence, at: intended, held: false });
                if acknowledged {
                    let (stage, reason, at) = (Stage::Puback, 0, intended);
                    sending.push(Observation::Acknowledged { publisher, sequence, stage, reason, at });
                }
                if comes_out {
                    for sink in [kafka(i64::try_from(sequence).unwrap()), Sink::Mqtt { resent: false }] {
                        coming.push(received(1, sequence, sink, intended + Duration::from_millis(millis)));
                    }
                }
            }
            let mut events = Vec::new();
            // Slots are offered before anything else is known of them; then each edge keeps its order.
            let (offered, mut sending): (Vec<_>, Vec<_>) =
                sending.into_iter().partition(|it| matches!(it, Observation::Offered { .. }));
            for it in &offered {
                correlator.observe(it, &mut events);
            }
            let mut dice = Dice(seed);
            while !sending.is_empty() || !coming.is_empty() {
                let first = if shuffled { dice.below(2) == 0 } else { true };
                let from = if first { &mut sending } else { &mut coming };
                if !from.is_empty() {
                    correlator.observe(&from.remove(0), &mut events);
                } else if !shuffled {
                    correlator.observe(&coming.remove(0), &mut events);
                }
            }
            let end = Instant::from_nanos(0) + DEADLINE * 4;
            for lane in Lane::OF_MQTT {
                correlator.observe(&Observation::CaughtUp { path: PATH, lane, at: end }, &mut events);
            }
            correlator.advance(end, &mut events);
            assert_eq!(correlator.open_outcomes(), 0);
            stats.apply(&events);
            Lane::OF_MQTT.map(|lane| booked(&stats, Qos::AtLeastOnce, lane))
        };
        prop_assert_eq!(told(true), told(false));
    }
}

fn kafka(offset: i64) -> Sink {
    Sink::Kafka { place: RecordPlace { slot: 0, offset }, append: Append::None }
}

fn received(publisher: u32, sequence: u64, sink: Sink, at: Instant) -> Observation {
    Observation::Received {
        path: PATH,
        stamped_path: PATH,
        publisher,
        sequence,
        sink,
        at,
        integrity: Integrity::Intact,
        carriers: Carriers { property: true, payload: true },
        span: None,
    }
}

/// One publisher's story, told in seconds.
struct Story {
    correlator: Correlator,
    stats: Stats,
    events: Vec<Event>,
}

impl Story {
    fn new() -> Self {
        let (correlator, stats) = correlator(Limits::default());
        Self { correlator, stats, events: Vec::new() }
    }

    fn tell(&mut self, observation: Observation) {
        self.correlator.observe(&observation, &mut self.events);
    }

    fn offered(&mut self, publisher: u32, sequence: u64, at: u64) {
        let publisher = PublisherId(publisher);
        self.tell(Observation::Offered { publisher, sequence, intended: seconds(at) });
    }

    fn sent(&mut self, publisher: u32, sequence: u64, at: u64) {
        let publisher = PublisherId(publisher);
        self.tell(Observation::Sent { publisher, sequence, at: seconds(at), held: false });
    }

    fn answered(&mut self, publisher: u32, sequence: u64, (stage, reason): (Stage, u8), at: u64) {
        let publisher = PublisherId(publisher);
        self.tell(Observation::Acknowledged {
            publisher,
            sequence,
            stage,
            reason,
            at: seconds(at),
        });
    }

    /// Both sinks have handed over everything from before `at`, and judgement is passed.
    fn judged(&mut self, at: u64) {
        for lane in Lane::OF_MQTT {
            self.tell(Observation::CaughtUp { path: PATH, lane, at: seconds(at) });
        }
        self.correlator.advance(seconds(at), &mut self.events);
    }

    fn books(&mut self, qos: Qos) -> Tally {
        self.stats.apply(&self.events);
        self.events.clear();
        booked(&self.stats, qos, Lane::MqttKafka)
    }

    fn has(&mut self, qos: Qos, outcome: Outcome) -> bool {
        self.books(qos).outcomes[outcome.index()] == 1
    }
}

fn seconds(at: u64) -> Instant {
    Instant::from_nanos(at * 1_000_000_000)
}

#[test]
fn a_handshake_that_the_broker_forgot_is_no_rejection() {
    let mut story = Story::new();
    story.offered(2, 0, 1);
    story.sent(2, 0, 1);
    story.answered(2, 0, (Stage::Pubrec, 0), 2);
    story.answered(2, 0, (Stage::Pubcomp, 0x92), 3);
    story.judged(7);
    assert!(story.has(Qos::ExactlyOnce, Outcome::AckedLost), "PUBREC had passed ownership");
}

#[test]
fn an_answer_after_the_deadline_still_makes_a_loss_an_acknowledged_one() {
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.judged(7);
    assert_eq!(story.correlator.open_outcomes(), 2, "the answer is still awaited");
    story.answered(1, 0, (Stage::Puback, 0), 8);
    story.judged(9);
    assert!(story.has(Qos::AtLeastOnce, Outcome::AckedLost));
}

#[test]
fn an_answer_is_awaited_for_twice_the_deadline_and_no_longer_than_the_run() {
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.judged(12);
    assert!(story.has(Qos::AtLeastOnce, Outcome::UnackedLost));
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.judged(7);
    story.correlator.finish(&mut story.events);
    assert!(story.has(Qos::AtLeastOnce, Outcome::UnackedLost));
}

#[test]
fn what_was_sent_after_its_deadline_is_not_lost_the_moment_it_is_sent() {
    let mut story = Story::new();
    story.offered(0, 0, 1);
    story.sent(0, 0, 8);
    story.judged(9);
    assert_eq!(story.correlator.open_outcomes(), 2);
    story.tell(received(0, 0, kafka(0), seconds(10)));
    assert!(story.has(Qos::AtMostOnce, Outcome::Late));
    assert!(story.stats.lane(PATH, Qos::AtMostOnce, Lane::MqttKafka).recovered == [0; 7]);
}

#[test]
fn a_resend_long_after_the_slot_was_closed_is_still_ours() {
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    for sink in [kafka(0), Sink::Mqtt { resent: false }] {
        story.tell(received(1, 0, sink, seconds(2)));
    }
    story.judged(100);
    story.sent(1, 0, 120);
    story.tell(received(1, 0, kafka(1), seconds(121)));
    let books = story.books(Qos::AtLeastOnce);
    assert_eq!(books.duplicates[DuplicateCause::Resent.index()], 1);
}

#[test]
fn many_short_absences_hide_no_long_ago_one() {
    let mut story = Story::new();
    story.offered(0, 0, 10);
    story.sent(0, 0, 10);
    let away = |nanos: u64| {
        let from = Instant::from_nanos(11_000_000_000 + nanos);
        Observation::Away { path: PATH, lane: Lane::MqttMqtt, from, until: from }
    };
    story.tell(away(0));
    (0..10_000).for_each(|n| story.tell(away(7_000_000_000 + n)));
    story.judged(20);
    story.stats.apply(&story.events);
    let totals = story.stats.lane(PATH, Qos::AtMostOnce, Lane::MqttMqtt);
    assert_eq!(totals.outcome(Outcome::Unresolved), 1, "the subscriber was away at 11 s");
}

#[test]
fn open_slots_are_bounded_and_the_excess_is_counted() {
    let limits = Limits { open_max: 10, verdicts_max: 4, closed_max: 0 };
    let (mut correlator, mut stats) = correlator(limits);
    let mut events = Vec::new();
    for sequence in 0..100 {
        for publisher in [PublisherId(0), PublisherId(1)] {
            let intended = seconds(1);
            correlator
                .observe(&Observation::Offered { publisher, sequence, intended }, &mut events);
            correlator.observe(
                &Observation::Sent { publisher, sequence, at: intended, held: false },
                &mut events,
            );
            assert!(correlator.open_outcomes() <= 10 * 2);
        }
    }
    stats.apply(&events);
    let unresolved: u64 = [Qos::AtMostOnce, Qos::AtLeastOnce]
        .map(|qos| stats.lane(PATH, qos, Lane::MqttKafka).outcome(Outcome::Unresolved))
        .iter()
        .sum();
    assert_eq!(unresolved, 200 - 10, "everything beyond ten was closed before its time");
    let overflow = stats.path(PATH).overflow;
    assert!(overflow >= 190, "{overflow}: counted for each slot");
    correlator.finish(&mut events);
    assert_eq!(correlator.open_outcomes(), 0);
}

#[test]
fn verdicts_are_bounded_over_all_publishers_and_the_forgotten_are_counted() {
    // Four publishers with two lanes share 80 ranges: ten each.
    let limits = Limits { open_max: 1_000, verdicts_max: 80, closed_max: 100 };
    let (mut correlator, mut stats) = correlator(limits);
    let mut events = Vec::new();
    let publisher = PublisherId(0);
    for sequence in 0..25 {
        let intended = seconds(1);
        let offered = Observation::Offered { publisher, sequence, intended };
        correlator.observe(&offered, &mut events);
        correlator.observe(
            &Observation::Sent { publisher, sequence, at: intended, held: false },
            &mut events,
        );
    }
    for lane in Lane::OF_MQTT {
        let caught_up = Observation::CaughtUp { path: PATH, lane, at: seconds(7) };
        correlator.observe(&caught_up, &mut events);
    }
    correlator.advance(seconds(7), &mut events);
    stats.apply(&events);
    let lost = Lane::OF_MQTT
        .map(|lane| stats.lane(PATH, Qos::AtMostOnce, lane).outcome(Outcome::UnackedLost));
    assert_eq!(lost, [25, 25], "what is forgotten had its outcome");
    assert_eq!(stats.path(PATH).overflow, 2 * 15);
}

#[test]
fn a_twin_has_outcomes_of_its_own_and_leaves_the_mqtt_publishers_books_alone() {
    let path = Path {
        name: "plant".into(),
        lanes: vec![Lane::KafkaKafka, Lane::MqttKafka],
        qos: vec![Qos::AtMostOnce],
        carriers: vec![Carrier::Payload],
        deadline: DEADLINE,
    };
    let mut roster = Roster::default();
    roster.add(path, [Qos::AtMostOnce]);
    roster.add_twins();
    let roster = Arc::new(roster);
    let (mut correlator, mut stats) =
        (Correlator::new(Arc::clone(&roster), Limits::default()), Stats::new(roster));
    let (publisher, twin, mut events) = (PublisherId(0), PublisherId(1), Vec::new());
    let mut see = |observation| correlator.observe(&observation, &mut events);
    for sequence in 0..4 {
        let intended = seconds(1 + sequence);
        for publisher in [publisher, twin] {
            see(Observation::Offered { publisher, sequence, intended });
            see(Observation::Sent { publisher, sequence, at: intended, held: false });
        }
        let (stage, at) = (Stage::Puback, seconds(2 + sequence));
        see(Observation::Acknowledged { publisher: twin, sequence, stage, reason: 0, at });
    }
    // Offsets begin anew in each topic, and order is kept within a partition of the control topic.
    let control = |slot, offset| Sink::Control {
        place: RecordPlace { slot, offset },
        append: Append::LogAppendTime(seconds(6)),
    };
    for (sink, sequence) in [
        (kafka(0), 0),
        (kafka(1), 1),
        (control(0, 0), 1),
        (control(1, 0), 0),
        (control(0, 1), 2),
        (control(0, 1), 2),
    ] {
        see(received(0, sequence, sink, seconds(6)));
    }
    for lane in [Lane::MqttKafka, Lane::KafkaKafka] {
        see(Observation::CaughtUp { path: PATH, lane, at: seconds(30) });
    }
    assert_eq!(correlator.in_flight(PATH, Qos::AtMostOnce, Lane::KafkaKafka), 1);
    correlator.advance(seconds(30), &mut events);
    assert_eq!(correlator.open_outcomes(), 0);
    stats.apply(&events);

    let of = |lane, outcome| stats.lane(PATH, Qos::AtMostOnce, lane).outcome(outcome);
    assert_eq!(of(Lane::MqttKafka, Outcome::Delivered), 2);
    assert_eq!(of(Lane::MqttKafka, Outcome::UnackedLost), 2);
    assert_eq!(of(Lane::KafkaKafka, Outcome::Delivered), 3);
    assert_eq!(of(Lane::KafkaKafka, Outcome::AckedLost), 1, "Kafka answers at any QoS");
    let totals = stats.lane(PATH, Qos::AtMostOnce, Lane::KafkaKafka);
    assert_eq!(totals.reordered, 0, "Kafka keeps order within a partition only");
    assert_eq!(totals.duplicates[DuplicateCause::Reread.index()], 1);
    let over_mqtt = stats.publish(PATH, Qos::AtMostOnce);
    assert_eq!((over_mqtt.offered, over_mqtt.published, over_mqtt.acknowledged), (4, 4, 0));
    assert_eq!(over_mqtt.stamps[Carrier::Payload.index()], [2, 0]);
    assert_eq!(over_mqtt.legs[Leg::Append.index()].count(), 0);
    let control = stats.control(PATH, Qos::AtMostOnce);
    assert_eq!((control.offered, control.published, control.acknowledged), (4, 4, 4));
    assert_eq!(control.stamps[Carrier::Property.index()], [3, 0], "a header needs no MQTT 5");
    assert_eq!(control.legs[Leg::Append.index()].count(), 3);
    assert_eq!(control.legs[Leg::PublishAck.index()].count(), 4);
}
