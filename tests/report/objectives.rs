//! Objectives, windows, uncertainty and JUnit, as the report has them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use landfall::clock::Instant;
use landfall::correlate::{Append, Correlator, Limits, Observation, Reader, Sink, Stage};
use landfall::report::{PathWindows, WindowStretch};
use landfall::stamp::{Carriers, Integrity};
use landfall::stats::{InvalidCause, Judgement};
use landfall::study::{Figure, Judged, Quantile};

use super::*;

const PATH: PathId = PathId(0);
const LANE: Lane = Lane::MqttKafka;

fn seconds(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// A window of a run, and how it was judged.
fn window(from: u64, until: u64, causes: &[InvalidCause]) -> Judgement {
    let (from, until) = (seconds(from), seconds(until));
    Judgement { from, until, causes: causes.to_vec(), is_loaded: true }
}

/// Ends a window of a path.
fn end(stats: &mut Stats, window: &Judgement) {
    stats.judge_window(PATH, window);
    stats.roll(10);
}

fn arrivals(stats: &mut Stats, count: usize, millis: i64) {
    for _ in 0..count {
        stats.apply(&[resolved(0, LANE, Outcome::Delivered, Some(millis * MILLI))]);
    }
}

/// A warm-up, a valid window with fast messages, and one with slow ones that is not valid.
fn windows(invalid_seconds: u64) -> Stats {
    let mut stats = crossing(Qos::AtLeastOnce);
    arrivals(&mut stats, 10, 9_000);
    end(&mut stats, &window(0, 10, &[InvalidCause::WarmingUp]));
    arrivals(&mut stats, 100, 40);
    stats.apply(&[resolved(0, LANE, Outcome::AckedLost, None)]);
    end(&mut stats, &window(10, 20, &[]));
    arrivals(&mut stats, 100, 700);
    stats.apply(&[resolved(0, LANE, Outcome::AckedLost, None)]);
    let throttled = [InvalidCause::HostThrottled, InvalidCause::ClockStep];
    end(&mut stats, &window(20, 20 + invalid_seconds, &throttled));
    stats
}

fn judge(stats: &Stats, objective: Objective) -> Judged {
    let verdict = Verdict::judge(stats, &[objective], &Unmeasured::new());
    let expected = match verdict.objectives[0].held {
        Some(true) => VerdictResult::Passed,
        Some(false) => VerdictResult::Failed,
        None => VerdictResult::Invalid,
    };
    assert_eq!(verdict.result, expected);
    verdict.objectives[0].clone()
}

fn latency(quantile: Quantile, millis: u64) -> Objective {
    Objective::Latency { path: PATH, lane: LANE, quantile, target: Duration::from_millis(millis) }
}

#[track_caller]
fn assert_near(figure: Option<Figure>, expected: f64) {
    let Some(Figure::Number(number)) = figure else { panic!("{figure:?} for {expected}") };
    assert!((number / expected - 1.0).abs() < 0.001, "{number} for {expected}");
}

#[test]
fn latencies_are_judged_over_valid_windows_and_shown_over_all() {
    let stats = windows(9);
    let held = judge(&stats, latency(Quantile::P99, 50));
    assert_eq!((held.name.as_str(), held.held, &held.reason), ("p99_seconds", Some(true), &None));
    assert_eq!(held.target, Figure::Number(0.05));
    assert_near(held.figure, 0.04);
    assert_near(held.figure_valid_windows, 0.04);
    assert_near(held.figure_all_windows, 9.0);
    assert_eq!(judge(&stats, latency(Quantile::P50, 39)).held, Some(false));
    assert_eq!(judge(&stats, latency(Quantile::Max, 41)).name, "max_seconds");
    let lane = &report(&stats).paths[0].lanes[0];
    assert_eq!((lane.latency_seconds.count, lane.latency_seconds_valid.count), (210, 100));
    assert!(lane.latency_seconds_valid.max.unwrap() < 0.041);
}

#[test]
fn a_latency_is_judged_only_where_half_of_the_time_is_valid() {
    assert_eq!(judge(&windows(10), latency(Quantile::P99, 50)).held, Some(true), "just half");
    let judged = judge(&windows(30), latency(Quantile::P99, 50));
    assert_eq!(judged.held, None);
    let reason = "25 % of the time after the warm-up is valid, half must be";
    assert_eq!(judged.reason.as_deref(), Some(reason));
    assert_near(judged.figure, 0.04);
    let warm_up = crossing(Qos::AtLeastOnce);
    let reason = "no window was judged after the warm-up";
    assert_eq!(judge(&warm_up, latency(Quantile::P99, 50)).reason.as_deref(), Some(reason));
    let mut quiet = crossing(Qos::AtLeastOnce);
    end(&mut quiet, &window(0, 10, &[]));
    let judged = judge(&quiet, latency(Quantile::P99, 50));
    assert_eq!(judged.reason.as_deref(), Some("no message came out in a valid window"));
    assert_eq!(judged.figure, None);
}

#[test]
fn all_qos_of_a_path_are_one_distribution() {
    let mut stats = single("demo", &[LANE], &Qos::ALL);
    for (publisher, millis) in [(0, 10), (1, 20), (2, 30)] {
        for _ in 0..100 {
            stats.apply(&[resolved(publisher, LANE, Outcome::Delivered, Some(millis * MILLI))]);
        }
    }
    end(&mut stats, &window(0, 10, &[]));
    assert_near(judge(&stats, latency(Quantile::P50, 20)).figure, 0.02);
    assert_near(judge(&stats, latency(Quantile::P90, 20)).figure, 0.03);
}

#[test]
fn counts_are_judged_over_all_windows_and_shown_over_valid_ones() {
    let stats = windows(10);
    let lost = judge(&stats, Objective::AckedLost { path: PATH, target: 1 });
    assert_eq!((lost.held, lost.figure), (Some(false), Some(Figure::Count(2))));
    assert_eq!(lost.figure_valid_windows, Some(Figure::Count(1)));

    let copied = |cause| Event::Duplicate {
        publisher: PublisherId(0),
        sequence: 0,
        lane: LANE,
        cause,
        at: Instant::ZERO,
        place: NOWHERE,
        copy: None,
        departure: None,
    };
    let mut stats = crossing(Qos::AtLeastOnce);
    arrivals(&mut stats, 3, 1);
    stats.apply(&[DuplicateCause::Resent, DuplicateCause::Reread].map(copied));
    end(&mut stats, &window(0, 10, &[InvalidCause::WarmingUp]));
    stats.apply(&[copied(DuplicateCause::Pipeline)]);
    end(&mut stats, &window(10, 20, &[]));
    let duplicates = |stats: &Stats, target| {
        let judged = judge(stats, Objective::Duplicates { path: PATH, target });
        (judged.held, judged.figure, judged.figure_valid_windows, judged.reason)
    };
    let count = |number| Some(Figure::Count(number));
    assert_eq!(duplicates(&stats, 1), (Some(false), count(2), count(1), None));
    assert_eq!(duplicates(&stats, 2), (Some(true), count(2), count(1), None));
    stats.apply(&[resolved(0, LANE, Outcome::Unresolved, None)]);
    let reason = Some("1 unresolved slots may have come out twice".to_owned());
    assert_eq!(duplicates(&stats, 2), (None, count(2), count(1), reason));
    assert_eq!(duplicates(&stats, 3).0, Some(true));
}

#[test]
fn availability_is_the_share_of_slots_that_was_delivered() {
    use Outcome::{AckedLost, Delivered, Late, NotSent, Rejected, UnackedLost, Unresolved};
    let of = |outcomes: &[(Outcome, usize)], target| {
        let mut stats = crossing(Qos::AtLeastOnce);
        for &(outcome, count) in outcomes {
            for _ in 0..count {
                stats.apply(&[resolved(0, LANE, outcome, None)]);
            }
        }
        let judged = judge(&stats, Objective::Availability { path: PATH, lane: LANE, target });
        assert_eq!(judged.name, "availability_ratio");
        (judged.held, judged.figure)
    };
    let ratio = |share| Some(Figure::Number(share));
    assert_eq!(of(&[(Delivered, 999), (Late, 1)], 0.999), (Some(true), ratio(0.999)));
    for outcome in [Late, NotSent, Rejected, AckedLost, UnackedLost] {
        let found = of(&[(Delivered, 998), (outcome, 2)], 0.999);
        assert_eq!(found, (Some(false), ratio(0.998)), "{outcome:?}");
    }
    let found = of(&[(Delivered, 998), (Unresolved, 2)], 0.999);
    assert_eq!(found, (None, ratio(1.0)), "they may have been delivered");
    assert_eq!(of(&[(Delivered, 999), (Unresolved, 1)], 0.999).0, Some(true), "whatever it was");
    let found = of(&[(Delivered, 990), (Late, 8), (Unresolved, 2)], 0.999);
    assert_eq!(found.0, Some(false), "even if both were delivered");
    assert_eq!(of(&[], 0.5), (None, None));
    assert_eq!(of(&[(Unresolved, 5)], 0.5), (None, None));
}

#[test]
fn objectives_read_back_from_json_with_plain_numbers() {
    let stats = windows(9);
    let objectives = [
        latency(Quantile::P999, 1_000),
        Objective::AckedLost { path: PATH, target: 5 },
        Objective::Availability { path: PATH, lane: LANE, target: 0.9 },
    ];
    let mut report = report(&stats);
    report.verdict = Verdict::judge(&stats, &objectives, &Unmeasured::new());
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let judged = &json["verdict"]["objectives"];
    assert_eq!((&judged[0]["name"], &judged[0]["target"]), (&"p999_seconds".into(), &1.0.into()));
    assert_eq!((&judged[1]["target"], &judged[1]["figure"]), (&5.into(), &2.into()));
    assert!(judged[1]["figure"].is_u64() && judged[0]["figure"].is_f64());
    assert_eq!(judged[2]["name"], "availability_ratio");
    let read: Report = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(read.verdict.objectives[1], report.verdict.objectives[1]);
    assert_eq!(read.verdict.objectives[0].target, report.verdict.objectives[0].target);
}

/// A run that holds one objective, fails one, and can't tell one.
fn mixed() -> Report {
    let mut stats = windows(30);
    stats.apply(&[Event::Woken { publisher: PublisherId(0), nanos: 60_000 }]);
    stats.apply(&[Event::Polled { path: PATH, reader: Reader::Consumer, nanos: 30_000 }]);
    let objectives = [
        latency(Quantile::P99, 250),
        Objective::AckedLost { path: PATH, target: 0 },
        Objective::Availability { path: PATH, lane: LANE, target: 0.9 },
    ];
    let mut report = report(&stats);
    report.verdict = Verdict::judge(&stats, &objectives, &Unmeasured::new());
    let stretch = |end: &str, windows, causes: &[&str]| WindowStretch {
        start: "2026-11-03T10:00:00.000Z".into(),
        end: end.into(),
        windows,
        valid: causes.is_empty(),
        causes: causes.iter().map(|&cause| cause.into()).collect(),
    };
    report.paths[0].windows = PathWindows {
        valid_fraction: Some(0.25),
        stretches: vec![
            stretch("2026-11-03T10:00:10.000Z", 1, &[]),
            stretch("2026-11-03T10:00:40.000Z", 3, &["host_throttled", "clock_step"]),
        ],
        left_out: 1_234,
    };
    report
}

#[test]
fn the_markdown_shows_objectives_windows_and_uncertainty() {
    let report = mixed();
    let text = report.markdown();
    for line in [
        "| p99_seconds | demo | at most 250 ms | 40.0 ms | 9.00 s | 40.0 ms | unknown | 25 % of the \
         time after the warm-up is valid, half must be |",
        "| acked_lost | demo | at most 0 | 2 | 2 | 1 | **no** | - |",
        "| availability_ratio | demo | at least 90 % | 99.0566 % | 99.0566 % | 99.0099 % | yes | - |",
        "| mqtt_kafka | 1 | 9.09 ms | 60.0 us | 30.0 us | 2 ns | 9.00 ms | 0 ns |",
        "| earlier | see report.json | 1,234 | - |",
        "| 2026-11-03T10:00:00.000Z | 2026-11-03T10:00:10.000Z | 1 | yes |",
        "| 2026-11-03T10:00:00.000Z | 2026-11-03T10:00:40.000Z | 3 | no: host_throttled, clock_step |",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    let first = report.summary().lines().next().unwrap().to_owned();
    assert!(
        first.starts_with(
            "failed: path demo: 25 % of the time after the warm-up is valid, half must be; \
         acknowledged messages that never reached Kafka: 2;"
        ),
        "{first}"
    );
}

#[test]
fn every_latency_of_the_report_has_its_uncertainty() {
    let mut stats = crossing(Qos::AtLeastOnce);
    stats.apply(&delivery(0, 40 * MILLI));
    let nothing_known = report(&stats);
    let lane = &nothing_known.paths[0].lanes[0];
    assert_eq!(lane.uncertainty_seconds, None, "no lag was observed");
    assert!(lane.latency_seconds.uncertainty.is_some());
    assert!(!nothing_known.json().unwrap().contains("\"uncertainty_seconds\","), "not unmeasured");
    stats.apply(&[Event::Woken { publisher: PublisherId(0), nanos: 60_000 }]);
    for reader in Reader::ALL {
        stats.apply(&[Event::Polled { path: PATH, reader, nanos: 30_000 }]);
    }
    let report = report(&stats);
    let lane = &report.paths[0].lanes[0];
    let sum = lane.uncertainty_seconds.unwrap();
    assert!((sum - 130.0e-6).abs() < 1e-6, "{sum}");
    let timed = lane.legs.named().into_iter().filter(|(_, leg)| leg.count > 0);
    assert_eq!(timed.clone().count(), 4, "those that a delivery has");
    for (name, leg) in timed {
        // Nobody has estimated how far Kafka's clock is off.
        let is_placed = matches!(name, "append" | "fetch");
        assert_eq!(leg.uncertainty_seconds.is_none(), is_placed, "{name}");
        assert_eq!(leg.uncertainty.unwrap().timestamp.is_none(), is_placed, "{name}");
    }
    assert!(lane.service_latency_seconds.uncertainty_seconds.unwrap() < sum);
    assert_eq!(lane.latency_seconds_valid.uncertainty, None, "nothing came in a valid window");
}

/// A testcase, and what is wrong with it: kind and message.
type Case = (String, Option<(String, String)>);

/// Suites, and their cases.
fn junit(report: &Report) -> Vec<(String, Vec<Case>)> {
    let text = report.junit();
    let document =
        roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error} {text}"));
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    let elements = |of: roxmltree::Node<'_, '_>, name: &str| -> usize {
        of.descendants().filter(|node| node.has_tag_name(name)).count()
    };
    let suites = root.children().filter(roxmltree::Node::is_element);
    let suites = suites.inspect(|suite| {
        for (attribute, name) in
            [("tests", "testcase"), ("failures", "failure"), ("errors", "error")]
        {
            let number = suite.attribute(attribute).unwrap();
            assert_eq!(number, elements(*suite, name).to_string(), "{attribute} of {text}");
        }
    });
    let wrong = |case: roxmltree::Node<'_, '_>| {
        let wrong =
            case.children().find(|it| matches!(it.tag_name().name(), "failure" | "error"))?;
        Some((wrong.tag_name().name().to_owned(), wrong.attribute("message").unwrap().to_owned()))
    };
    let suites: Vec<_> = suites
        .map(|suite| {
            let cases = suite.children().filter(|node| node.has_tag_name("testcase"));
            let cases = cases.map(|case| (case.attribute("name").unwrap().to_owned(), wrong(case)));
            (suite.attribute("name").unwrap().to_owned(), cases.collect())
        })
        .collect();
    assert_eq!(root.attribute("tests").unwrap(), elements(root, "testcase").to_string());
    suites
}

#[test]
fn junit_has_a_suite_a_path_and_a_case_an_objective() {
    let wrong = |kind: &str, message: &str| Some((kind.to_owned(), message.to_owned()));
    let expected = vec![
        (
            "p99_seconds".to_owned(),
            wrong("error", "25 % of the time after the warm-up is valid, half must be"),
        ),
        ("acked_lost".to_owned(), wrong("failure", "2, at most 0")),
        ("availability_ratio".to_owned(), None),
    ];
    assert_eq!(junit(&mixed()), [("demo".to_owned(), expected)]);
}

#[test]
fn junit_is_never_green_where_the_verdict_is_not() {
    let mut report = mixed();
    report.verdict = Verdict::judge(&crossing(Qos::AtLeastOnce), &[], &Unmeasured::new());
    let suites = junit(&report);
    assert_eq!(suites[0], ("demo".to_owned(), vec![]));
    assert_eq!(suites[1].1[0].1.as_ref().unwrap().0, "error");
    let why = Unmeasured::from([(PATH, "MQTT <publisher> & \"co\"\u{1b}\u{ffff}".to_owned())]);
    report.verdict = Verdict::judge(&crossing(Qos::AtLeastOnce), &[], &why);
    assert_eq!(junit(&report)[0].1[0].0, "measured");
}

proptest! {
    #[test]
    fn junit_is_xml_whatever_the_names(name in "\\PC{0,20}|.{0,20}|[<>&'\"\u{0}-\u{20}\u{fffe}]{0,9}") {
        let mut report = mixed();
        report.paths[0].name.clone_from(&name);
        for judged in &mut report.verdict.objectives {
            (judged.path, judged.reason) = (name.clone(), Some(name.clone()));
        }
        prop_assert_eq!(junit(&report)[0].1.len(), 3);
    }
}

#[test]
fn a_message_that_comes_minutes_late_is_in_the_distribution_at_its_true_age() {
    let mut roster = Roster::default();
    roster.add(path("demo", &[LANE], &[Qos::AtLeastOnce]), [Qos::AtLeastOnce]);
    let roster = Arc::new(roster);
    let mut correlator = Correlator::new(Arc::clone(&roster), Limits::default());
    let (mut stats, mut events) = (Stats::new(roster), Vec::new());
    let (publisher, mut offset) = (PublisherId(0), 0);
    let mut received = |sequence, at| {
        offset += 1;
        Observation::Received {
            path: PATH,
            stamped_path: PATH,
            publisher: 0,
            sequence,
            sink: Sink::Kafka { place: RecordPlace { slot: 0, offset }, append: Append::None },
            at,
            integrity: Integrity::Intact,
            carriers: Carriers { property: true, payload: true },
            span: None,
        }
    };
    for sequence in 0..3_u64 {
        let at = seconds(sequence);
        let answer =
            Observation::Acknowledged { publisher, sequence, stage: Stage::Puback, reason: 0, at };
        for observation in [
            Observation::Offered { publisher, sequence, intended: at },
            Observation::Sent { publisher, sequence, at, held: false },
        ] {
            correlator.observe(&observation, &mut events);
        }
        // The last one is never acknowledged.
        if sequence < 2 {
            correlator.observe(&answer, &mut events);
        }
    }
    correlator.observe(&received(1, seconds(2)), &mut events);
    let caught_up = Observation::CaughtUp { path: PATH, lane: LANE, at: seconds(200) };
    correlator.observe(&caught_up, &mut events);
    correlator.advance(seconds(201), &mut events);
    stats.apply(&events);
    let lane = |stats: &Stats| report(stats).paths[0].lanes[0].clone();
    assert_eq!((lane(&stats).outcomes.acked_lost, lane(&stats).outcomes.unacked_lost), (1, 1));
    assert_eq!(lane(&stats).latency_seconds.count, 1);

    // All slots are closed by now, and their losses announced.
    events.clear();
    correlator.observe(&received(0, seconds(600)), &mut events);
    correlator.observe(&received(2, seconds(1_202)), &mut events);
    stats.apply(&events);
    let lane = lane(&stats);
    assert_eq!((lane.outcomes.late, lane.anomalies.late_recovery, lane.slots), (2, 2, 3));
    assert_eq!(lane.latency_seconds.count, 3);
    for (figure, age) in [(lane.latency_seconds.p50, 600.0), (lane.latency_seconds.max, 1_200.0)] {
        let figure = figure.unwrap();
        assert!((figure / age - 1.0).abs() < 0.001, "{figure} s for {age} s");
    }
}
