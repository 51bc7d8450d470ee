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

fn report_of(stats: &Stats, load: Load, calibration: Option<&Calibration>) -> Report {
    let calibration = calibration.map(Calibration::brief);
    Report::build(Inputs { loads: vec![load], calibration, ..inputs(stats) })
}

#[test]
fn a_load_says_what_it_was_and_how_much_came_how_far() {
    let stats = loaded_run(&[Lane::MqttKafka]);
    let report = report_of(&stats, open(), None);
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
        "not calibrated here, run `landfall calibrate`.",
        "| offered | 30,000 | 1,000 |",
        "| acknowledged | 20,000 | 667 |",
        "| in Kafka | 0 | 0.00 |",
        "| delivered to a subscriber | - | - |",
        "1 time connected, p50 / p99 / max: TCP 1.00 ms / 1.00 ms / 1.00 ms, CONNACK 3.00 ms",
        "at work for 75.0 % of a quarter of a second. Sent more than 10 ms late: backpressure 1.",
    ] {
        assert!(markdown.contains(part), "{part}\nis not in\n{markdown}");
    }
    assert!(report.summary().contains("run `landfall calibrate`"), "{}", report.summary());
    let read: Report = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn what_landfall_alone_could_do_stands_beside_the_result() {
    let report = report_of(&loaded_run(&[Lane::MqttKafka]), open(), Some(&calibration()));
    assert!((report.paths[0].load.calibrated_share.unwrap() - 0.2).abs() < 1e-9);
    let line = "landfall alone could do 5,000 messages/s at QoS 1, 256 bytes each, on this machine (calibrated \
                2026-11-27): this run used 20.0 % of that";
    let (markdown, summary) = (report.markdown(), report.summary());
    assert!(
        markdown.contains(&format!("{line}.")) && summary.contains(line),
        "{markdown}{summary}"
    );
    let brief = report.calibration.unwrap();
    assert!((brief.messages_a_second["1"] - 5_000.0).abs() < 1e-9);
    assert!((brief.cost_of_measuring["1"] - 0.1).abs() < 1e-9);
}

#[test]
fn a_closed_loop_is_named_wherever_its_path_is() {
    let stats = loaded_run(&[Lane::MqttKafka]);
    let report = report_of(&stats, closed(), None);
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
    assert!(page.contains(">30,000</data>") && page.contains("run `landfall calibrate`"), "{page}");
}

#[test]
fn a_probe_at_a_low_rate_says_nothing_of_loads() {
    let low = Load { tick_seconds: 0.0, ..open() };
    let report = report_of(&loaded_run(&[Lane::MqttKafka]), low, Some(&calibration()));
    assert_eq!(report.paths[0].load.calibrated_share, None);
    let said = report.markdown() + &report.summary();
    assert!(
        !said.contains("calibrat") && !said.contains("Load") && !said.contains("loop"),
        "{said}"
    );
}

#[test]
fn a_path_that_only_sends_has_its_legs() {
    let report = report_of(&loaded_run(&[]), open(), None);
    assert_eq!(report.paths[0].sending[0].legs.publish_delay.count, 30_000);
    let said = report.markdown();
    assert!(said.contains("| publish_delay | 1 | 30,000 | 500 us"), "{said}");
    assert!(report.summary().contains("publish_delay"), "{}", report.summary());
}
