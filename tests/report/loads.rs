//! What a load was, and what landfall alone could do, as the report has it.

use landfall::correlate::LateSend;
use landfall::report::{Bare, Calibration, Level, Load, MachineKind};

use super::*;

/// 30,000 messages in 30 s, of which the broker took two thirds.
fn loaded_run(lanes: &[Lane]) -> Stats {
    let mut stats = single("press", lanes, &[Qos::AtLeastOnce]);
    let publisher = PublisherId(0);
    for number in 0..30_000 {
        stats.apply(&[
            Event::Offered { publisher, count: 1 },
            Event::Published { publisher, count: 1, delay: Elapsed::of(MILLI / 2) },
        ]);
        if number % 3 > 0 {
            stats.apply(&[Event::Acknowledged { publisher, sequence: 0, at: Instant::ZERO }]);
        }
    }
    stats.apply(&[
        Event::SentLate { publisher, count: 1, cause: LateSend::Backpressure },
        Event::Connected {
            path: PathId(0),
            tcp_nanos: MILLI,
            tls_nanos: None,
            connack_nanos: 3 * MILLI,
        },
        Event::Worked { path: PathId(0), share: 0.75 },
    ]);
    stats.end_window();
    stats
}

fn open() -> Load {
    Load {
        mode: "open".into(),
        rate: Some(1_000.0),
        profile: "steady".into(),
        schedule: Some("poisson".into()),
        qos: vec![1],
        clients: 100,
        inflight: 50,
        payload_bytes: 256,
        format: "json".into(),
        tick_seconds: 0.001,
        tls: false,
        calibrated_share: None,
    }
}

fn closed() -> Load {
    Load { mode: "closed".into(), rate: None, schedule: None, ..open() }
}

fn calibration() -> Calibration {
    let bare = Bare { messages_a_second: 6_000.0, cpu_us_a_message: 1.8 };
    let level = Level {
        qos: 1,
        messages_a_second: 5_000.0,
        cpu_us_a_message: 2.0,
        bare,
        ..Level::default()
    };
    let machine = MachineKind { cpu: "EPYC".into(), cpus: 2, kernel: "Linux 6.1".into() };
    Calibration {
        payload_bytes: 256,
        flat_out: vec![level.compared()],
        ..Calibration::new("2026-11-27T12:00:00Z".into(), "0.1.0".into(), machine)
    }
}

fn report_of(stats: &Stats, load: Load, calibrations: &[Calibration]) -> Report {
    let calibrations = calibrations.iter().map(Calibration::brief).collect();
    Report::build(Inputs { loads: vec![load], calibrations, ..inputs(stats) })
}

#[test]
fn a_load_says_what_it_was_and_how_much_came_how_far() {
    let stats = loaded_run(&[Lane::MqttKafka]);
    let report = report_of(&stats, open(), &[]);
    let path = &report.paths[0];
    assert_eq!((path.flow.offered.messages, path.flow.acknowledged.messages), (30_000, 20_000));
    assert_eq!((path.flow.in_kafka.unwrap().messages, path.flow.delivered), (0, None));
    assert!((path.flow.sent.per_second - 1_000.0).abs() < 1e-9);
    assert_eq!(path.sent_late, BTreeMap::from([("probe".into(), 0), ("backpressure".into(), 1)]));
    assert_eq!(path.connect_seconds.connack.count, 1);
    assert!((path.busiest_thread_ratio - 0.75).abs() < 1e-9);
    let markdown = report.markdown();
    for part in [
        "## Path press\n",
        "Open loop: 1,000 messages/s, steady, poisson; 100 clients, payloads of 256 bytes (json). A message \
         is sent up to 1.00 ms after it is due, with others: publish_delay shows it.",
        "not calibrated here with payloads of about 256 bytes, run `landfall calibrate --size 256`.",
        "Unanswered at the end, or after twice the deadline: 10,000 messages.",
        "| offered | 30,000 | 1,000 |",
        "| acknowledged | 20,000 | 667 |",
        "| in Kafka | 0 | 0.00 |",
        "| delivered to a subscriber | - | - |",
        "1 time connected, p50 / p99 / max: TCP 1.00 ms / 1.00 ms / 1.00 ms, CONNACK 3.00 ms",
        "at work for 75.0 % of a quarter of a second. Sent more than 10 ms late: backpressure 1.",
    ] {
        assert!(markdown.contains(part), "{part}\nis not in\n{markdown}");
    }
    for part in [
        "run `landfall calibrate --size 256`",
        "\nUnanswered at the end, or after twice the deadline: 10,000 messages\n",
    ] {
        assert!(report.summary().contains(part), "{}", report.summary());
    }
    let read: Report = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn what_landfall_alone_could_do_stands_beside_the_result() {
    let small = Calibration { payload_bytes: 16, ..calibration() };
    let rather = Calibration { payload_bytes: 500, flat_out: Vec::new(), ..calibration() };
    let known = [small, rather, calibration()];
    let report = report_of(&loaded_run(&[Lane::MqttKafka]), open(), &known);
    assert!((report.paths[0].load.calibrated_share.unwrap() - 0.2).abs() < 1e-9);
    let line = "Sending alone, into a sink on the same processors, landfall could do 5,000 messages/s at QoS 1, \
                256 bytes each, on this machine (calibrated 2026-11-27): this run sent 20.0 % of that";
    let (markdown, summary) = (report.markdown(), report.summary());
    assert!(
        markdown.contains(&format!("{line}.")) && summary.contains(line),
        "{markdown}{summary}"
    );
    let brief = &report.calibrations[2];
    assert!((brief.messages_a_second["1"] - 5_000.0).abs() < 1e-9);
    assert!((brief.cost_of_measuring["1"] - 0.1).abs() < 1e-9);
}

#[test]
fn a_closed_loop_is_named_wherever_its_path_is() {
    let stats = loaded_run(&[Lane::MqttKafka]);
    let report = report_of(&stats, closed(), &[]);
    let name = "press (closed loop)";
    assert!(report.markdown().contains(&format!("## Path {name}\n")), "{}", report.markdown());
    assert!(report.markdown().contains("when fewer than 50 of its messages are under way"));
    assert!(report.summary().contains(&format!("path {name}: ")), "{}", report.summary());
    assert!(live_rows(&stats, &[closed()])[0][0] == name);
    assert!(plain_line(&stats, &[closed()], Duration::ZERO).starts_with(&format!("0.0s {name} ")));
    let live =
        Live { paths: vec![PathNow::of(&stats, PathId(0), |_| String::new())], ..Live::default() };
    let page = Status { report, live }.page();
    assert!(page.contains(&format!("Path {name}</h2>")), "{page}");
    assert!(page.contains(">30,000</data>") && page.contains("run `landfall calibrate "), "{page}");
}

#[test]
fn a_probe_at_a_low_rate_says_nothing_of_loads() {
    let low = Load { tick_seconds: 0.0, ..open() };
    let report = report_of(&loaded_run(&[Lane::MqttKafka]), low, &[calibration()]);
    assert_eq!(report.paths[0].load.calibrated_share, None);
    let said = report.markdown() + &report.summary();
    assert!(
        !said.contains("calibrat") && !said.contains("Load") && !said.contains("loop"),
        "{said}"
    );
}

#[test]
fn a_path_that_only_sends_has_its_legs() {
    let report = report_of(&loaded_run(&[]), open(), &[]);
    assert_eq!(report.paths[0].sending[0].legs.publish_delay.count, 30_000);
    let said = report.markdown();
    assert!(said.contains("| publish_delay | 1 | 30,000 | 500 us"), "{said}");
    assert!(report.summary().contains("publish_delay"), "{}", report.summary());
}

#[test]
fn what_is_calibrated_without_tls_says_nothing_of_it() {
    let encrypted = Load { tls: true, ..open() };
    let report = report_of(&loaded_run(&[]), encrypted, &[calibration()]);
    assert_eq!(report.paths[0].load.calibrated_share, None);
    assert!(report.summary().contains("could do over TLS is not known"), "{}", report.summary());
}

#[test]
fn who_was_refused_had_an_answer_and_at_qos_0_there_is_none() {
    let mut stats = single("press", &[], &[Qos::AtMostOnce, Qos::AtLeastOnce]);
    for publisher in [PublisherId(0), PublisherId(1)] {
        stats.apply(&[
            Event::Offered { publisher, count: 3 },
            Event::Published { publisher, count: 3, delay: Elapsed::of(MILLI) },
        ]);
    }
    let (publisher, at) = (PublisherId(1), Instant::ZERO);
    stats.apply(&[
        Event::Acknowledged { publisher, sequence: 0, at },
        Event::Rejected { publisher, sequence: 1, reason: 0x97 },
    ]);
    let report = report_of(&stats, open(), &[]);
    assert_eq!(report.paths[0].unanswered, 1);
    assert!(report.summary().contains("twice the deadline: 1 message\n"), "{}", report.summary());
}

/// A path of which so many of a hundred slots were not sent.
fn skipped(lanes: &[Lane], skipped: usize) -> Report {
    let (mut stats, publisher) = (single("press", lanes, &[Qos::AtMostOnce]), PublisherId(0));
    stats.apply(&[Event::Offered { publisher, count: 100 }]);
    for _ in 0..skipped {
        stats.apply(&[Event::Skipped { publisher, cause: NotSent::QueueFull }]);
    }
    report_of(&stats, open(), &[])
}

#[test]
fn a_load_that_was_not_sent_does_not_look_like_one_that_was() {
    let page = |report: Report| {
        let paths = vec![PathNow::of(&crossing(Qos::AtMostOnce), PathId(0), |_| String::new())];
        Status { report, live: Live { paths, phase: "over".into(), ..Live::default() } }.page()
    };
    let report = skipped(&[], 83);
    assert_eq!(report.verdict.result, VerdictResult::Passed);
    let told = "path press: most was not sent: 83 of 100 slots (83.0 %); ";
    let (summary, markdown) = (report.summary(), report.markdown());
    assert!(!summary.contains("never came out"), "nobody looked: {summary}");
    assert!(summary.starts_with(&format!("passed: {told}")), "{summary}");
    assert!(markdown.contains(&format!("**passed**: {told}")), "{markdown}");
    let shown = page(report);
    assert!(shown.contains("passed, but most of its load was not sent"), "{shown}");
    assert!(shown.contains("/paths/0/not_sent/queue_full"), "{shown}");
    assert!(shown.contains(">100</data> slots of press were not sent"), "{shown}");

    let few = skipped(&[], 3);
    assert!(few.summary().starts_with("passed: path press: not sent: 3 of 100 slots (3.00 %); "));
    assert!(page(few).contains("The run is over and passed<"));
    let whole = skipped(&[], 0);
    assert!(!whole.summary().contains("not sent"), "{}", whole.summary());
    // With a lane the slots are told as those that did not arrive, unless hardly any was sent.
    assert!(!skipped(&[Lane::MqttKafka], 3).summary().lines().next().unwrap().contains("not sent"));
    assert!(skipped(&[Lane::MqttKafka], 51).summary().contains("most was not sent: 51 of 100"));
}
