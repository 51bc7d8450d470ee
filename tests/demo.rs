//! The real binary from end to end: `demo`, and `run` against embedded systems in this process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use landfall::embedded::kafka::Topic;
use landfall::stamp::{Format, Identity, PROPERTY, Permutation, Run, Stamper, TraceId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

#[path = "support/embedded.rs"]
#[expect(dead_code, reason = "the faults of the embedded Kafka are for other tests")]
mod embedded;
#[path = "support/landfall.rs"]
mod running;

use embedded::Systems;
use running::{Ended, Running, metric, wait_until};

/// Every outcome, in the words of the design.
const OUTCOMES: [&str; 7] =
    ["delivered", "late", "acked_lost", "unacked_lost", "not_sent", "rejected", "unresolved"];

fn report(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("report.json")).unwrap()).unwrap()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Path, lane, QoS and outcome with how many slots.
type Slots = BTreeMap<(String, String, String, String), u64>;

/// The slots of a report, and that they add up.
fn slots_of_report(report: &Value) -> Slots {
    let mut slots = Slots::new();
    for path in report["paths"].as_array().unwrap() {
        let mut of_lane: BTreeMap<&str, u64> = BTreeMap::new();
        for lane in path["lanes"].as_array().unwrap() {
            let outcomes = lane["outcomes"].as_object().unwrap();
            let names: BTreeSet<&str> = outcomes.keys().map(String::as_str).collect();
            assert_eq!(names, BTreeSet::from(OUTCOMES));
            let sum: u64 = outcomes.values().map(count).sum();
            assert_eq!(sum, count(&lane["slots"]), "{lane}");
            let name = lane["lane"].as_str().unwrap();
            *of_lane.entry(name).or_default() += sum - count(&outcomes["not_sent"]);
            for (outcome, number) in outcomes {
                let path = path["name"].as_str().unwrap();
                let key = (path.into(), name.into(), lane["qos"].to_string(), outcome.clone());
                slots.insert(key, count(number));
            }
        }
        for (lane, sent) in of_lane.into_iter().filter(|(lane, _)| *lane != "kafka_kafka") {
            assert_eq!(count(&path["published"]), sent, "{} {lane}", path["name"]);
        }
    }
    slots
}

/// The slots of a `--slots` file, and that none is in it twice.
fn slots_of_file(file: &Path) -> Slots {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let key = ["path", "lane", "qos", "outcome"].map(column);
    let slot = ["path", "lane", "publisher", "sequence"].map(column);
    let (mut slots, mut seen, mut ids) = (Slots::new(), BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        assert_eq!(cells.len(), header.len(), "{line}");
        assert!(seen.insert(slot.map(|column| cells[column])), "twice: {line}");
        ids.insert((cells[column("lane")], cells[column("trace_id")]));
        let [path, lane, qos, outcome] = key.map(|column| cells[column].to_owned());
        *slots.entry((path, lane, qos, outcome)).or_default() += 1;
    }
    assert_eq!(ids.len(), seen.len(), "a trace id stands for one slot");
    slots
}

/// What `/metrics` says.
fn slots_of_metrics(exposition: &str, like: &Slots) -> Slots {
    let sum = |(path, lane, qos, outcome): &(String, String, String, String)| {
        let labels = [("path", path), ("lane", lane), ("qos", qos), ("outcome", outcome)]
            .map(|(name, value)| format!("{name}=\"{value}\""));
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        whole(metric(exposition, "landfall_slots_total", &labels))
    };
    like.keys().map(|key| (key.clone(), sum(key))).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole")]
fn whole(figure: f64) -> u64 {
    assert!(figure >= 0.0 && figure.fract() == 0.0, "{figure}");
    figure as u64
}

/// Only what is not zero.
fn filled(slots: Slots) -> Slots {
    slots.into_iter().filter(|(_, number)| *number > 0).collect()
}

fn assert_all_delivered(slots: &Slots) {
    let others = slots
        .iter()
        .filter(|((_, _, _, outcome), number)| (outcome == "delivered") != (**number > 0));
    assert_eq!(others.count(), 0, "{slots:?}");
}

#[test]
fn the_demo_measures_and_reports() {
    let directory = tempfile::tempdir().unwrap();
    let (reports, slots) = (directory.path().join("reports"), directory.path().join("slots.tsv"));
    let demo = Running::start(&[
        "demo",
        "--for",
        "4s",
        "--listen",
        "127.0.0.1:0",
        "--report",
        reports.to_str().unwrap(),
        "--slots",
        slots.to_str().unwrap(),
    ]);
    demo.wait_until_ready();
    assert_eq!(demo.get("/livez").status, 200);
    let status: Value = serde_json::from_str(&demo.get("/api/v1/status").body).unwrap();
    assert_eq!(status["paths"][0]["name"], "demo");
    let metrics = demo.get("/metrics").body;
    assert!(metrics.contains("# TYPE landfall_slots_total counter"));
    assert!(metrics.contains("landfall_acked_lost") || metrics.contains("outcome=\"acked_lost\""));
    assert_eq!(demo.get("/nowhere").status, 404);

    let Ended { code, stdout, stderr } = demo.end();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let first = stdout.lines().next().unwrap();
    let (seconds, rest) = first.split_once("s demo ").unwrap_or_else(|| panic!("{first}"));
    assert!(seconds.parse::<f64>().unwrap() < 2.0, "{first}");
    assert!(rest.contains("p50 "), "{first}");
    assert!(stdout.lines().take(6).any(|line| !line.contains("p50 -")), "no latency: {stdout}");
    assert!(!stdout.contains('\u{1b}'), "no escape sequences in a pipe");

    let report = report(&reports);
    let of_report = slots_of_report(&report);
    assert_eq!(of_report.len(), 3 * 3 * OUTCOMES.len(), "3 lanes at 3 QoS");
    assert_all_delivered(&of_report);
    assert_eq!(filled(slots_of_file(&slots)), filled(of_report));
    assert_eq!(report["verdict"]["result"], "passed");
    assert!(fs::read_to_string(reports.join("report.md")).unwrap().contains("demo"));
}

/// Kafka as this test uses it.
struct Others {
    brokers: String,
    producer: BaseProducer,
}

impl Others {
    fn new(systems: &Systems) -> Self {
        let brokers = systems.kafka.to_string();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &brokers).set("message.max.bytes", "15000000");
        Self { brokers, producer: config.create().unwrap() }
    }

    /// Produces a record, or a null one, and waits until Kafka has it.
    fn produce(&self, topic: &str, value: Option<&[u8]>) {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(topic).partition(0).key("other");
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.flush(Duration::from_mins(1)).unwrap();
    }

    fn create(&self, topic: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let topics = [NewTopic::new(topic, 1, TopicReplication::Fixed(1))];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let created = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new())).unwrap();
        assert_eq!(created, [Ok(topic.to_owned())]);
    }

    /// The run that a topic's messages are stamped with.
    fn run_in(&self, topic: &str, secret: &[u8]) -> Run {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", "other");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        wait_until("a stamped record", || {
            let polled = consumer.poll(Duration::from_millis(100));
            let record = polled.ok_or("no record")?.map_err(|error| error.to_string())?;
            let header = record
                .headers()
                .and_then(|headers| headers.iter().find(|header| header.key == PROPERTY)?.value);
            let id = header.and_then(TraceId::from_traceparent).ok_or("no stamp")?;
            let identity = Permutation::new(secret).identity(id).ok_or("not ours")?;
            Ok(identity.run)
        })
    }
}

/// Values that are none of this run's messages; `run` is the one that is measured.
fn foreign_values(run: Run, secret: &[u8]) -> Vec<Option<Vec<u8>>> {
    let noise = |length: usize| -> Vec<u8> {
        let bytes = (0..length as u64).map(|at| landfall::splitmix::mix(at).to_le_bytes()[0]);
        bytes.collect()
    };
    let stamper = Stamper::new(secret, run);
    let stamped = |stamper: &Stamper, format, size, identity| {
        let mut value = Vec::new();
        stamper.write(&mut value, format, size, identity);
        Some(value)
    };
    let others = Stamper::new(secret, Run { epoch: run.epoch ^ 1, ..run });
    let formats = [(Format::Json, 256), (Format::Text, 64), (Format::Binary, 64)];
    let mut values = vec![
        None,
        Some(Vec::new()),
        Some(noise(1)),
        Some(noise(29)),
        Some(noise(1_000)),
        Some(noise(10_000_000)),
        Some(b"{\"traceparent\":\"00-".to_vec()),
        Some(b"{}".to_vec()),
        stamped(&others, Format::Binary, 16, others.identity(0, 0, 0)),
        // A control message of this very run, which has none.
        stamped(&stamper, Format::Json, 256, stamper.identity(0, 0, 0).on_control(true)),
        // The short form of this very run, from a publisher that it does not have.
        stamped(&stamper, Format::Binary, 16, stamper.identity(0, 77, 0)),
    ];
    for (format, size) in formats {
        let identities: [Identity; 4] = [
            stamper.identity(0, 100_000, 0),
            stamper.identity(1, 0, 1 << 37),
            stamper.identity(2, 0, u64::MAX),
            stamper.identity(100, 0, 0),
        ];
        values.push(stamped(&others, format, size, others.identity(0, 0, 0)));
        values.extend(identities.map(|identity| stamped(&stamper, format, size, identity)));
    }
    values
}

/// How many of [`foreign_values`] each path that reads `mqtt-messages` is to count: what names
/// another configured path is that path's to count.
const FOREIGN: [(&str, u64); 5] = [
    ("five", 16 + 4),
    ("three", 16 + 3),
    ("pattern", 16 + 3 + LATER),
    ("beside", 0),
    ("silent", 0),
];

/// How many strangers the later topic gets.
const LATER: u64 = 7;

/// Five paths that share one topic, of every version, schedule, format and choice of lanes.
fn five_paths(systems: &Systems) -> String {
    let Systems { mqtt, kafka, .. } = systems;
    let mqtt = |rest: &str| format!("{{ url: 'mqtt://{mqtt}', {rest} }}");
    let kafka = |topics: &str| format!("{{ brokers: '{kafka}', topics: {topics} }}");
    format!(
        "probe: p
paths:
  - {{ name: five, lanes: [mqtt_kafka, mqtt_mqtt], mqtt: {}, kafka: {} }}
  - {{ name: three, mqtt: {}, kafka: {} }}
  - {{ name: pattern, mqtt: {}, kafka: {} }}
  - {{ name: beside, lanes: [mqtt_mqtt], mqtt: {} }}
  - {{ name: silent, mqtt: {} }}
telemetry: {{ listen: '127.0.0.1:0', linger: 5m }}
drain: 1m
window: 1s
",
        mqtt("qos: [0, 1, 2], rate: 30/s"),
        kafka("[mqtt-messages]"),
        mqtt(
            "version: 3.1.1, qos: [1, 2], rate: 20/s, schedule: fixed, clients: 4, payload: { size: 16, format: binary }"
        ),
        kafka("[mqtt-messages]"),
        mqtt("qos: 1, rate: 20/s, payload: { size: 64, format: text }"),
        kafka("['^mqtt-.*']"),
        mqtt("qos: 2, rate: 10/s, schedule: fixed"),
        mqtt("version: 3.1.1, qos: 0, rate: 10/s"),
    )
}

#[test]
fn paths_share_a_topic_with_strangers() {
    let directory = tempfile::tempdir().unwrap();
    let systems = Systems::start(vec![Topic::new("mqtt-messages", 1)]);
    let (reports, slots) = (directory.path().join("reports"), directory.path().join("slots.tsv"));
    let config = directory.path().join("landfall.yaml");
    fs::write(&config, five_paths(&systems)).unwrap();
    let run = Running::start(&[
        "run",
        "-c",
        config.to_str().unwrap(),
        "--report",
        reports.to_str().unwrap(),
        "--slots",
        slots.to_str().unwrap(),
    ]);
    run.wait_until_ready();

    let others = Others::new(&systems);
    let values = foreign_values(others.run_in("mqtt-messages", b"p"), b"p");
    for value in &values {
        others.produce("mqtt-messages", value.as_deref());
    }
    // A topic that appears later is read from its beginning.
    others.create("mqtt-later");
    for _ in 0..LATER {
        others.produce("mqtt-later", Some(b"stranger"));
    }
    let foreign = |metrics: &str, path: &str| {
        let label = format!("path=\"{path}\"");
        whole(metric(metrics, "landfall_foreign_records_total", &[&label]))
    };
    // What is stamped from now on lies behind all of them.
    run.wait_until("/metrics", "all strangers counted", |answer| {
        FOREIGN.iter().all(|(path, number)| foreign(&answer.body, path) >= *number)
    });
    run.signal("TERM");
    let report = wait_until("reported", || {
        let written = reports.join("report.json").exists();
        written.then(|| report(&reports)).ok_or_else(String::new)
    });

    let of_report = slots_of_report(&report);
    assert_all_delivered(&of_report);
    assert_eq!(filled(slots_of_file(&slots)), filled(of_report.clone()));
    let metrics = run.get("/metrics").body;
    assert_eq!(slots_of_metrics(&metrics, &of_report), of_report);
    let lanes: Vec<usize> = report["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path["lanes"].as_array().unwrap().len())
        .collect();
    assert_eq!(lanes, [6, 2, 1, 1, 0]);
    for path in report["paths"].as_array().unwrap() {
        let name = path["name"].as_str().unwrap();
        assert!(count(&path["published"]) > 0, "{name}");
        let expected = FOREIGN.iter().find(|(of, _)| *of == name).unwrap().1;
        assert_eq!(count(&path["foreign"]), expected, "{name}");
        assert_eq!(foreign(&metrics, name), expected, "{name}");
        for lane in path["lanes"].as_array().unwrap() {
            for (anomaly, number) in lane["anomalies"].as_object().unwrap() {
                if anomaly != "foreign" && anomaly != "reordered" {
                    assert_eq!(count(number), 0, "{name} {anomaly}");
                }
            }
        }
    }
    run.signal("TERM");
    let Ended { code, stdout, stderr } = run.end();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

/// A run of five windows against embedded systems that is held to `slo`, until one of which half is
/// valid: whether a window is depends on how busy this machine is, and no other verdict than that may be
/// waited away.
fn judged(systems: &Systems, slo: &str) -> (Ended, Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let (reports, config) = (directory.path().join("reports"), directory.path().join("c.yaml"));
    let Systems { mqtt, kafka, .. } = systems;
    let text = format!(
        "probe: p
paths:
  - name: held
    mqtt: {{ url: 'mqtt://{mqtt}', rate: 50/s }}
    kafka: {{ brokers: '{kafka}', topics: [mqtt-messages] }}
    slo: {slo}
telemetry: {{ listen: '127.0.0.1:0' }}
window: 1s
"
    );
    fs::write(&config, text).unwrap();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (config, to) = (config.to_str().unwrap(), reports.to_str().unwrap());
        let run = Running::start(&["run", "-c", config, "--for", "5s", "--report", to]);
        let ended = run.end();
        let report = report(&reports);
        let junit = fs::read_to_string(reports.join("junit.xml")).unwrap();
        let verdict = &report["verdict"];
        let passed = verdict["result"] == "passed";
        assert_eq!(ended.code, Some(i32::from(!passed)), "{}{}", ended.stdout, ended.stderr);
        if verdict["result"] != "invalid" {
            return (ended, report, junit);
        }
        for objective in verdict["objectives"].as_array().unwrap() {
            let reason = objective["reason"].as_str().unwrap_or("of the time after the warm-up");
            assert!(reason.contains("of the time after the warm-up"), "{verdict}");
        }
        assert!(report["window"]["valid_fraction"].as_f64().unwrap() < 1.0, "{}", report["window"]);
        assert!(junit.contains("<error "), "{junit}");
        assert!(attempts < 8, "never valid: {}", report["paths"][0]["windows"]);
    }
}

#[test]
fn objectives_decide_the_exit_code_and_junit_says_which() {
    let systems = Systems::start(vec![Topic::new("mqtt-messages", 1)]);
    let slo = "{ p50: 0.001ms, max: 1h, duplicates: 0, availability: 50% }";
    let (ended, report, junit) = judged(&systems, slo);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("failed: path held: p50_seconds "), "{}", ended.stdout);
    let held = |report: &Value| -> Vec<(String, Value)> {
        let objectives = report["verdict"]["objectives"].as_array().unwrap();
        let held =
            objectives.iter().map(|it| (it["name"].as_str().unwrap().into(), it["held"].clone()));
        held.collect()
    };
    let expected = [
        ("p50_seconds".to_owned(), false.into()),
        ("max_seconds".to_owned(), true.into()),
        ("acked_lost".to_owned(), true.into()),
        ("duplicates".to_owned(), true.into()),
        ("availability_ratio".to_owned(), true.into()),
    ];
    assert_eq!(held(&report), expected);
    assert!(
        junit.contains(r#"<testsuite name="held" tests="5" failures="1" errors="0""#),
        "{junit}"
    );
    assert!(junit.contains(r#"<failure type="p50_seconds" message=""#), "{junit}");

    let (ended, report, junit) = judged(&systems, "{ p99: 1h, acked_lost: 3 }");
    assert_eq!(ended.code, Some(0));
    assert!(junit.contains(r#"tests="2" failures="0" errors="0""#), "{junit}");
    let path = &report["paths"][0];
    let windows = path["windows"]["stretches"].as_array().unwrap();
    assert!(
        windows.iter().any(|it| it["causes"] == serde_json::json!(["warming_up"])),
        "{windows:?}"
    );
    assert!(windows.iter().any(|it| it["valid"] == true), "{windows:?}");
    let lane = &path["lanes"][0];
    assert!(
        count(&lane["latency_seconds_valid"]["count"]) < count(&lane["latency_seconds"]["count"])
    );
    let uncertainty = lane["uncertainty_seconds"].as_f64().unwrap();
    assert!(uncertainty > 0.0, "{lane}");
    for lag in ["scheduler_lag", "poll_lag"] {
        assert!(lane["latency_seconds"]["uncertainty"][lag].as_f64().unwrap() > 0.0, "{lane}");
    }
}
