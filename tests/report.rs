//! The report as its readers meet it: golden texts, JSON that reads back, figures that add up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use landfall::clock::{Instant, WallTime};
use landfall::correlate::{
    Arrival, Carrier, Copied, Departure, DuplicateCause, Elapsed, Event, Lane, Leg, NotSent,
    Outcome, Path, PathId, PublisherId, Qos, RecordPlace, Roster,
};
use landfall::report::{
    Bounds, Environment, HostUsage, Inputs, LIVE_HEADER, Legs, Live, Outcomes, PathNow, Process,
    Product, Report, Status, Window, WorstMessage, WorstMessages, live_rows, plain_line,
};
use landfall::stats::Stats;
use landfall::study::{Objective, Unmeasured, Verdict, VerdictResult};
use proptest::prelude::*;

const MILLI: i64 = 1_000_000;

fn path(name: &str, lanes: &[Lane], qos: &[Qos]) -> Path {
    Path {
        name: name.into(),
        lanes: lanes.to_vec(),
        qos: qos.to_vec(),
        carriers: vec![Carrier::Property, Carrier::Payload],
        deadline: Duration::from_secs(30),
    }
}

/// One path `name` with a publisher for each QoS.
fn single(name: &str, lanes: &[Lane], qos: &[Qos]) -> Stats {
    let mut roster = Roster::default();
    roster.add(path(name, lanes, qos), qos.iter().copied());
    Stats::new(Arc::new(roster))
}

fn crossing(qos: Qos) -> Stats {
    single("demo", &[Lane::MqttKafka], &[qos])
}

/// A message that was due when time began.
const DEPARTURE: Departure =
    Departure { intended: Instant::ZERO, sent: Elapsed::UNKNOWN, acknowledged: Elapsed::UNKNOWN };

/// Where a message lies that came out of an MQTT broker.
const NOWHERE: RecordPlace = RecordPlace { slot: 0, offset: 0 };

fn resolved(publisher: u32, lane: Lane, outcome: Outcome, end_to_end: Option<i64>) -> Event {
    Event::Resolved {
        publisher: PublisherId(publisher),
        sequence: 0,
        lane,
        outcome,
        departure: DEPARTURE,
        not_sent: (outcome == Outcome::NotSent).then_some(NotSent::Disconnected),
        arrival: end_to_end.map(|end_to_end| Arrival {
            end_to_end,
            service: Elapsed::of(end_to_end - MILLI / 10),
            create: Elapsed::UNKNOWN,
            durability_gap: Elapsed::UNKNOWN,
            append: Elapsed::UNKNOWN,
            fetch: Elapsed::UNKNOWN,
            place: NOWHERE,
            span: None,
            stamps: [None, None],
        }),
    }
}

fn recovered(publisher: u32, lane: Lane, was: Outcome) -> Event {
    let publisher = PublisherId(publisher);
    Event::LateRecovery {
        publisher,
        sequence: 0,
        lane,
        was,
        end_to_end: Some(31_000 * MILLI),
        at: Instant::ZERO,
        place: NOWHERE,
        departure: None,
    }
}

/// A message's whole way, on time.
fn delivery(publisher: u32, nanos: i64) -> Vec<Event> {
    let id = PublisherId(publisher);
    let timed = |leg, nanos| Event::Timed { publisher: id, leg, nanos };
    let mut arrived = resolved(publisher, Lane::MqttKafka, Outcome::Delivered, Some(nanos));
    if let Event::Resolved { arrival: Some(arrival), .. } = &mut arrived {
        arrival.append = Elapsed::of(nanos / 2);
        arrival.fetch = Elapsed::of(nanos / 3);
        arrival.durability_gap = Elapsed::of(nanos / 4);
        arrival.stamps = [Some(false), Some(true)];
    }
    vec![
        Event::Offered { publisher: id, count: 1 },
        Event::Published { publisher: id, count: 1, delay: Elapsed::of(nanos / 10) },
        Event::Acknowledged { publisher: id, sequence: 0, at: Instant::ZERO },
        timed(Leg::PublishAck, nanos / 3),
        arrived,
    ]
}

/// What every path with a lane is held to where nothing else is configured.
fn defaults(stats: &Stats) -> Vec<Objective> {
    let paths = (0..).map(PathId).zip(stats.roster().paths());
    let timed = paths.filter(|(_, path)| !path.lanes.is_empty());
    timed.map(|(path, _)| Objective::AckedLost { path, target: 0 }).collect()
}

fn verdict(stats: &Stats) -> Verdict {
    Verdict::judge(stats, &defaults(stats), &Unmeasured::new())
}

fn report(stats: &Stats) -> Report {
    Report::build(inputs(stats))
}

fn inputs(stats: &Stats) -> Inputs<'_> {
    let usage = HostUsage {
        cpu_utilization_ratio_mean: Some(0.125),
        cpu_utilization_ratio_max: Some(0.98),
        memory_used_bytes_max: Some(1_234_000_000),
        memory_total_bytes: Some(8_000_000_000),
        pressure_ratio_max: BTreeMap::from([("cpu".into(), 0.031)]),
    };
    let start = WallTime::from_millis(1_793_700_000_000);
    let end = WallTime::from_millis(1_793_700_030_000);
    Inputs {
        stats,
        landfall: Product { version: "0.1.0".into(), commit: None },
        environment: Environment {
            probe: "plant-7".into(),
            boot_id: None,
            kernel: "Linux 6.1.0".into(),
            cpus: 2,
            memory_bytes: 8_000_000_000,
            clock_source: Some("tsc".into()),
            config_digest: "sha256:00ff".into(),
            versions: BTreeMap::from([("librdkafka".into(), "2.12.1".into())]),
        },
        window: Window::new(start, end, Duration::from_secs(30)),
        loads: Vec::new(),
        calibrations: Vec::new(),
        windows: Vec::new(),
        worst: Vec::new(),
        bounds: Bounds { clock_nanos: 1, pairing_nanos: 200 },
        host: BTreeMap::from([("host".into(), usage)]),
        processes: vec![Process {
            label: "self".into(),
            cpu_seconds: Some(0.5),
            peak_rss_bytes: Some(11_200_000),
            messages_per_cpu_second: None,
        }],
        load: None,
        verdict: verdict(stats),
        is_whole: true,
    }
}

/// 400 messages at QoS 1 with a duplicate, a reordering and two foreign records.
fn good_run() -> Stats {
    let mut stats = crossing(Qos::AtLeastOnce);
    for index in 0..400 {
        stats.apply(&delivery(0, 300_000 + index * 5_000));
    }
    let publisher = PublisherId(0);
    let lane = Lane::MqttKafka;
    let duplicate = |cause| {
        [Event::Duplicate {
            publisher,
            sequence: 3,
            lane,
            cause,
            at: Instant::ZERO,
            place: NOWHERE,
            copy: (cause != DuplicateCause::Reread).then_some(Copied { count: 2, spread: 40_000 }),
            departure: None,
        }]
    };
    stats.apply(&duplicate(DuplicateCause::Resent));
    stats.apply(&duplicate(DuplicateCause::Pipeline));
    stats.apply(&duplicate(DuplicateCause::Reread));
    stats.apply(&[
        Event::Reordered { publisher, lane, depth: 7 },
        Event::Foreign { path: PathId(0), count: 2 },
    ]);
    stats
}

/// A path `a|b` with three lanes' worth of trouble.
fn bad_run() -> Stats {
    let lanes = [Lane::MqttKafka, Lane::MqttMqtt];
    let mut stats = single("a|b", &lanes, &[Qos::AtMostOnce, Qos::AtLeastOnce]);
    for _ in 0..1_500 {
        stats.apply(&delivery(0, MILLI));
        stats.apply(&[resolved(0, Lane::MqttMqtt, Outcome::Delivered, Some(MILLI / 2))]);
    }
    for lane in lanes {
        stats.apply(&[
            resolved(1, lane, Outcome::NotSent, None),
            resolved(1, lane, Outcome::AckedLost, None),
            resolved(1, lane, Outcome::Unresolved, None),
            resolved(1, lane, Outcome::Late, Some(45_000 * MILLI)),
        ]);
    }
    stats.apply(&[
        Event::Skipped { publisher: PublisherId(1), cause: NotSent::Disconnected },
        resolved(1, Lane::MqttKafka, Outcome::AckedLost, None),
        recovered(1, Lane::MqttKafka, Outcome::AckedLost),
        Event::Foreign { path: PathId(0), count: 1 },
        Event::Negative { publisher: PublisherId(0), lane: Lane::MqttMqtt },
        Event::Overflow { publisher: PublisherId(0) },
    ]);
    stats
}

fn assert_golden(name: &str, golden: &str, text: &str) {
    assert_eq!(
        text, golden,
        "tests/golden/{name} is what it should be; this is what came:\n{text}"
    );
}

#[test]
fn a_good_run_reads_well() {
    let report = report(&good_run());
    assert_golden("good.md", include_str!("golden/good.md"), &report.markdown());
    assert_golden("good.txt", include_str!("golden/good.txt"), &report.summary());
}

#[test]
fn a_bad_run_reads_plainly() {
    let report = report(&bad_run());
    assert_golden("bad.md", include_str!("golden/bad.md"), &report.markdown());
    assert_golden("bad.txt", include_str!("golden/bad.txt"), &report.summary());
    assert!(report.summary().lines().count() <= 25);
}

#[test]
fn a_run_without_slots_reads_too() {
    let report = report(&crossing(Qos::AtLeastOnce));
    let first = report.summary().lines().next().unwrap().to_owned();
    assert_eq!(
        first,
        "invalid: path demo: no slot has an outcome; \
         acknowledged messages that never reached Kafka: 0"
    );
    assert!(report.markdown().contains("| mqtt_kafka | 1 | 0 |"));
}

#[test]
fn the_summary_fits_a_screen_at_its_fullest() {
    let mut stats = single("wide", &Lane::ALL, &Qos::ALL);
    for publisher in 0..3 {
        for lane in Lane::ALL {
            for outcome in Outcome::ALL {
                stats.apply(&[resolved(publisher, lane, outcome, None)]);
            }
        }
    }
    let summary = report(&stats).summary();
    assert!(summary.lines().count() <= 25, "{summary}");
}

#[test]
fn json_has_the_published_names() {
    let json: serde_json::Value =
        serde_json::from_str(&report(&good_run()).json().unwrap()).unwrap();
    let lane = &json["paths"][0]["lanes"][0];
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["landfall"]["version"], "0.1.0");
    assert_eq!(json["window"]["start"], "2026-11-03T10:00:00.000Z");
    assert_eq!(json["verdict"]["result"], "passed");
    assert_eq!(json["verdict"]["objectives"][0]["name"], "acked_lost");
    assert_eq!(json["verdict"]["objectives"][0]["held"], true);
    assert_eq!(json["processes"][0]["messages_per_cpu_second"], 800.0);
    assert_eq!(json["paths"][0]["published"], 400);
    assert_eq!(json["paths"][0]["not_sent"]["queue_full"], 0);
    assert_eq!(json["paths"][0]["foreign"], 2);
    assert_eq!(json["paths"][0]["stamps"]["property"]["lost"], 400);
    assert_eq!(json["paths"][0]["stamps"]["payload"]["survived"], 400);
    assert_eq!((&lane["lane"], &lane["qos"]), (&"mqtt_kafka".into(), &1.into()));
    assert_eq!(lane["outcomes"]["delivered"], 400);
    assert_eq!(lane["anomalies"]["duplicate"], 2);
    assert_eq!(lane["anomalies"]["resent"], 1);
    assert_eq!(lane["anomalies"]["reread"], 1);
    assert_eq!(lane["anomalies"]["foreign"], 2, "one lane, one QoS: nobody else's");
    assert_eq!(lane["anomalies"]["schema_violation"], 0);
    assert_eq!(lane["reorder_depth_max"], 7);
    let p50 = lane["latency_seconds"]["p50"].as_f64().unwrap();
    assert!((p50 - 0.001_295).abs() < 0.000_002, "{p50}");
    assert_eq!(lane["legs"]["fetch"]["count"], 400);
    assert_eq!(lane["histogram_unit"], "ns");
    assert_eq!(lane["durability_gap_seconds"]["count"], 400);
    assert_eq!(lane["duplication"]["messages"], 2);
    assert_eq!(lane["duplication"]["spread_seconds"]["count"], 2);
    assert_eq!(json["not_measured"], serde_json::json!(["anomalies.schema_violation"]));
}

#[test]
fn the_histogram_reads_back() {
    let report = report(&good_run());
    let text = report.paths[0].lanes[0].histogram.as_ref().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
    assert_eq!(histogram.len(), 400);
    let p99 = u32::try_from(histogram.value_at_quantile(0.99)).unwrap();
    let seconds = report.paths[0].lanes[0].latency_seconds.p99.unwrap();
    assert!((f64::from(p99) / 1e9 - seconds).abs() < 3e-6, "{p99} ns is {seconds} s");
}

#[test]
fn figures_are_null_where_nothing_came_out() {
    let json = report(&crossing(Qos::AtLeastOnce)).json().unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let latency = &json["paths"][0]["lanes"][0]["latency_seconds"];
    for figure in ["p50", "p90", "p99", "p999", "max", "mean"] {
        assert!(latency.get(figure).unwrap().is_null(), "{figure}");
    }
    assert_eq!(latency["count"], 0);
}

#[test]
fn foreign_records_stay_with_the_path_where_lanes_could_share_them() {
    let report = report(&bad_run());
    assert_eq!(report.paths[0].foreign, 1);
    assert!(report.paths[0].lanes.iter().all(|lane| lane.anomalies.foreign == 0));
}

#[test]
fn the_status_is_the_report_without_histograms() {
    let stats = bad_run();
    let report = report(&stats);
    let so_far = Report::build(Inputs { is_whole: false, ..inputs(&stats) });
    let live = Live {
        phase: "measuring".into(),
        paths: vec![PathNow::of(&stats, PathId(0), |_| String::new())],
        ..Live::default()
    };
    let text = Status { report: so_far, live }.json().unwrap();
    assert!(!text.contains("\"histogram\":") && !text.contains('\n'));
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    let steps = status.pointer("/live/paths/0/lanes/0/distribution").unwrap().as_array().unwrap();
    let timed: u64 = steps.iter().map(|step| step[1].as_u64().unwrap()).sum();
    assert_eq!(timed, report.paths[0].lanes[0].latency_seconds.count);
    let mut read: Report = serde_json::from_str(&text).unwrap();
    for (read, lane) in read.paths[0].lanes.iter_mut().zip(&report.paths[0].lanes) {
        read.histogram.clone_from(&lane.histogram);
    }
    assert_eq!(read, report);
}

#[test]
fn the_worst_messages_are_named() {
    let stats = good_run();
    let message = WorstMessage {
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        lane: "mqtt_kafka".into(),
        qos: 1,
        outcome: "acked_lost".into(),
        due: Some("2026-11-03T10:00:00.000Z".into()),
        topic: Some("a_b".into()),
        partition: Some(2),
        offset: Some(7),
        ..WorstMessage::default()
    };
    let slowest = WorstMessage { latency_seconds: Some(0.012), ..message.clone() };
    let worst = WorstMessages {
        acked_lost: vec![message.clone(); 9],
        slowest: vec![slowest],
        ..WorstMessages::default()
    };
    let report = Report::build(Inputs { worst: vec![worst], ..inputs(&stats) });
    let text = report.markdown();
    assert!(text.contains("### Worst messages"), "{text}");
    assert_eq!(text.matches(&message.trace_id).count(), 5 + 1, "{text}");
    assert!(
        text.contains(
            "| slowest | mqtt_kafka | 1 | 12.0 ms | 2026-11-03T10:00:00.000Z | a_b/2@7 |"
        ),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["paths"][0]["worst"]["acked_lost"].as_array().unwrap().len(), 9);
}

#[test]
fn names_are_those_of_the_metrics() {
    let outcomes = Outcomes::default().named().map(|(name, _)| name);
    assert_eq!(outcomes, Outcome::ALL.map(Outcome::name));
    assert_eq!(Legs::default().named().map(|(name, _)| name), Leg::ALL.map(Leg::name));
}

#[test]
fn verdicts() {
    use Outcome::{AckedLost, Delivered, Late, NotSent, Rejected, Unresolved};
    let of = |qos, outcomes: &[Outcome]| {
        let mut stats = crossing(qos);
        for &outcome in outcomes {
            stats.apply(&[resolved(0, Lane::MqttKafka, outcome, None)]);
        }
        verdict(&stats)
    };
    let cases: [(&str, Qos, &[Outcome], VerdictResult); 9] = [
        ("held", Qos::AtLeastOnce, &[Delivered, Late], VerdictResult::Passed),
        ("other outcomes", Qos::AtLeastOnce, &[NotSent, Rejected], VerdictResult::Passed),
        ("failed", Qos::AtLeastOnce, &[Delivered, AckedLost], VerdictResult::Failed),
        ("failed whatever else", Qos::ExactlyOnce, &[AckedLost, Unresolved], VerdictResult::Failed),
        ("unresolved", Qos::AtLeastOnce, &[Delivered, Unresolved], VerdictResult::Invalid),
        ("only unresolved", Qos::AtLeastOnce, &[Unresolved], VerdictResult::Invalid),
        ("never acknowledged", Qos::AtMostOnce, &[Delivered, Unresolved], VerdictResult::Passed),
        ("nothing known", Qos::AtMostOnce, &[Unresolved], VerdictResult::Invalid),
        ("no slots", Qos::AtLeastOnce, &[], VerdictResult::Invalid),
    ];
    for (name, qos, outcomes, result) in cases {
        let verdict = of(qos, outcomes);
        assert_eq!(verdict.result, result, "{name}");
        let held = &verdict.objectives[0];
        assert_eq!(held.reason.is_some(), held.held.is_none(), "{name}: a reason iff unknown");
        assert_eq!(verdict.exit_code(), u8::from(result != VerdictResult::Passed), "{name}");
    }
}

#[test]
fn a_late_recovery_takes_its_loss_back() {
    let mut stats = crossing(Qos::AtLeastOnce);
    stats.apply(&[resolved(0, Lane::MqttKafka, Outcome::AckedLost, None)]);
    assert_eq!(verdict(&stats).result, VerdictResult::Failed);
    stats.apply(&[recovered(0, Lane::MqttKafka, Outcome::AckedLost)]);
    assert_eq!(verdict(&stats).result, VerdictResult::Passed);
}

#[test]
fn a_target_leaves_room_for_what_is_unresolved() {
    let mut stats = crossing(Qos::AtLeastOnce);
    let lane = Lane::MqttKafka;
    stats.apply(&[
        resolved(0, lane, Outcome::AckedLost, None),
        resolved(0, lane, Outcome::Unresolved, None),
    ]);
    let result = |target| {
        let objective = Objective::AckedLost { path: PathId(0), target };
        Verdict::judge(&stats, &[objective], &Unmeasured::new()).result
    };
    assert_eq!(
        [0, 1, 2].map(result),
        [VerdictResult::Failed, VerdictResult::Invalid, VerdictResult::Passed]
    );
}

#[test]
fn paths_are_judged_apart_and_those_without_lanes_not_at_all() {
    let mut roster = Roster::default();
    let qos = [Qos::AtLeastOnce];
    roster.add(path("a", &Lane::ALL, &qos), qos);
    roster.add(path("publish only", &[], &qos), qos);
    roster.add(path("b", &[Lane::MqttMqtt], &qos), qos);
    let mut stats = Stats::new(Arc::new(roster));
    let nothing = Verdict::judge(&stats, &[], &Unmeasured::new());
    assert_eq!(nothing.result, VerdictResult::Invalid, "nothing was judged");
    stats.apply(&[
        resolved(0, Lane::MqttKafka, Outcome::Delivered, Some(MILLI)),
        resolved(0, Lane::MqttMqtt, Outcome::AckedLost, None),
        resolved(2, Lane::MqttMqtt, Outcome::Delivered, Some(MILLI)),
    ]);
    let verdict = verdict(&stats);
    let held: Vec<_> =
        verdict.objectives.iter().map(|judged| (judged.path.as_str(), judged.held)).collect();
    assert_eq!(held, [("a", Some(false)), ("b", Some(true))]);
    let sentence = report(&stats).summary().lines().next().unwrap().to_owned();
    assert_eq!(
        sentence,
        "failed: path a: acked_lost 1, at most 0; acknowledged messages that never came out: 1; \
         p99 of the crossing 1.00 ms (path a, QoS 1, 1 message); no arrival: 1 of 3 slots"
    );
}

#[test]
fn a_path_that_never_came_is_named_and_no_run_passes_without_it() {
    let mut roster = Roster::default();
    let qos = [Qos::AtLeastOnce];
    roster.add(path("a", &[Lane::MqttKafka], &qos), qos);
    roster.add(path("publish only", &[], &qos), qos);
    roster.add(path("b", &[Lane::MqttKafka], &qos), qos);
    let mut stats = Stats::new(Arc::new(roster));
    stats.apply(&[resolved(0, Lane::MqttKafka, Outcome::Delivered, Some(MILLI))]);
    let objectives = [Objective::AckedLost { path: PathId(0), target: 0 }];
    let judge = |stats: &Stats, objectives: &[Objective], paths: &[u8]| {
        let why = "Kafka consumer (no topic matches t)".to_owned();
        let paths = paths.iter().map(|&path| (PathId(path), why.clone()));
        Verdict::judge(stats, objectives, &paths.collect())
    };
    let result = |paths| judge(&stats, &objectives, paths).result;
    assert_eq!(result(&[]), VerdictResult::Passed);
    assert_eq!(result(&[1]), VerdictResult::Invalid, "whether it has objectives or not");
    let mut report = report(&stats);
    report.verdict = judge(&stats, &defaults(&stats), &[2]);
    assert_eq!(
        report.summary().lines().next().unwrap(),
        "invalid: path b: never measured, waited for Kafka consumer (no topic matches t); \
         acknowledged messages that never reached Kafka: 0; p99 of the crossing at most 1.00 ms (path a, \
         QoS 1, 1 message)"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let expected = serde_json::json!({ "b": "Kafka consumer (no topic matches t)" });
    assert_eq!(json["verdict"]["unmeasured"], expected);
    assert_eq!(json["verdict"]["objectives"][1]["reason"], "the path was never measured");
    assert!(report.markdown().contains("path b: never measured, waited for Kafka consumer"));
    // What failed has failed.
    stats.apply(&[resolved(0, Lane::MqttKafka, Outcome::AckedLost, None)]);
    assert_eq!(judge(&stats, &objectives, &[2]).result, VerdictResult::Failed);
}

#[test]
fn live_rows_and_lines() {
    let mut stats = bad_run();
    stats.set_in_flight(PathId(0), Qos::AtLeastOnce, Lane::MqttKafka, 4);
    let rows = live_rows(&stats, &[]);
    let line = |row: &[String]| row.join(" ");
    assert_eq!(LIVE_HEADER.len(), rows[0].len());
    assert_eq!(line(&rows[0]), "a|b mqtt_kafka 0 1,500 1,500 0 0 0 1.00 ms 1.00 ms 1.00 ms");
    assert_eq!(line(&rows[1]), "a|b mqtt_kafka 1 5 0 1 0 4 31.0 s 45.0 s 45.0 s");
    let lines = plain_line(&stats, &[], Duration::from_secs(12));
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(
        lines[0],
        "12.0s a|b mqtt_kafka qos0: 1500 slots, 1500 delivered, 0 acked_lost, p50 1.00 ms, \
         p99 1.00 ms, max 1.00 ms"
    );
    assert_eq!(
        lines[1],
        "12.0s a|b mqtt_kafka qos1: 5 slots, 0 delivered, 2 late, 1 acked_lost, 1 not_sent, \
         1 unresolved, 4 in flight, p50 31.0 s, p99 45.0 s, max 45.0 s"
    );
    let idle = plain_line(&crossing(Qos::AtLeastOnce), &[], Duration::from_millis(250));
    assert_eq!(
        idle,
        "0.2s demo mqtt_kafka qos1: 0 slots, 0 delivered, 0 acked_lost, p50 -, p99 -, max -"
    );
}

#[path = "report/loads.rs"]
mod loads;
#[path = "report/objectives.rs"]
mod objectives;

fn slot() -> impl Strategy<Value = (u32, usize, usize, Option<i64>, bool)> {
    (0_u32..3, 0_usize..2, 0_usize..7, prop::option::of(any::<i64>()), any::<bool>())
}

proptest! {
    #[test]
    fn outcomes_add_up_to_slots_and_json_reads_back(slots in prop::collection::vec(slot(), 0..60)) {
        let mut stats = single("any", &Lane::ALL, &Qos::ALL);
        for &(publisher, lane, outcome, nanos, comes_out) in &slots {
            let (lane, outcome) = (Lane::ALL[lane], Outcome::ALL[outcome]);
            let arrived = matches!(outcome, Outcome::Delivered | Outcome::Late);
            let nanos = nanos.filter(|_| arrived).map(|nanos| nanos / 2);
            stats.apply(&[resolved(publisher, lane, outcome, nanos)]);
            if comes_out && !arrived {
                stats.apply(&[recovered(publisher, lane, outcome)]);
            }
        }
        let report = report(&stats);
        let lanes = &report.paths[0].lanes;
        for lane in lanes {
            prop_assert_eq!(lane.outcomes.sum(), lane.slots);
        }
        prop_assert_eq!(lanes.iter().map(|lane| lane.slots).sum::<u64>(), slots.len() as u64);
        let read: Report = serde_json::from_str(&report.json().unwrap()).unwrap();
        prop_assert!(near(&read, &report));
        prop_assert!(report.summary().is_ascii() && report.markdown().is_ascii());
    }
}

/// Equal but for the last bit of a float, which JSON's default reader may round.
fn near(read: &Report, report: &Report) -> bool {
    let text = |report: &Report| (report.markdown(), report.summary());
    let exact = |report: &Report| {
        let lanes = report.paths.iter().flat_map(|path| path.lanes.clone());
        lanes.map(|lane| (lane.outcomes, lane.anomalies, lane.histogram)).collect::<Vec<_>>()
    };
    text(read) == text(report) && exact(read) == exact(report) && read.verdict == report.verdict
}
