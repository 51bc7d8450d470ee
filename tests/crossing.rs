//! The whole way with real systems: Mosquitto, the reference bridge as a process of its own, Apache
//! Kafka, and `landfall run` as its users run it. What it reports is held against what `kcat`, a
//! client that is not ours, finds in Kafka: as sets of trace ids, not only as totals.
//!
//! `LANDFALL_TEST_CROSSING_SECONDS` says how long the first test measures (20 without it).

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[path = "support/held.rs"]
mod held;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crossing::{Audit, Bridge, Payload, Run, audit, control_slots, stamp};
use held::Held;
use systems::{Kafka, Mosquitto, kcat_consume};

/// How long the bridge holds each message where that is to be known: far longer than what a busy machine
/// adds to one lane and not to the others.
const HOLD: Duration = Duration::from_secs(2);

/// One Kafka for all tests that leave it alone; it ends with the last of them.
fn shared_kafka() -> Arc<Kafka> {
    static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let kafka = Arc::new(Kafka::start(&[]));
        *shared = Arc::downgrade(&kafka);
        kafka
    })
}

/// A topic, the bridge to it, and the configuration of a run over one path; `mqtt` and `path` are
/// further keys.
fn lay_out(
    name: &str,
    mosquitto: &Mosquitto,
    kafka: &Kafka,
    mqtt: &str,
    path: &str,
) -> (Bridge, String) {
    let config = lay_out_without_bridge(name, mosquitto, kafka, mqtt, path);
    (Bridge::start(name, &mosquitto.address, &kafka.address), config)
}

/// The same for a bridge that somebody else starts.
fn lay_out_without_bridge(
    name: &str,
    mosquitto: &Mosquitto,
    kafka: &Kafka,
    mqtt: &str,
    path: &str,
) -> String {
    kafka.topic(name, 3, &[("message.timestamp.type", "LogAppendTime")]);
    format!(
        "probe: crossing
paths:
  - name: {name}
    mqtt: {{ url: 'mqtt://{}', topic: 'landfall/{name}/{{client}}', qos: [0, 1, 2], {mqtt} }}
    kafka: {{ brokers: ['{}'], topics: [{name}] }}
    lanes: [mqtt_kafka, mqtt_mqtt]
    {path}
drain: 40s
telemetry: {{ listen: '127.0.0.1:0' }}
",
        mosquitto.address, kafka.address
    )
}

/// The same with the control lane, over topic NAME-control.
fn with_control(config: &str, name: &str) -> String {
    let topics = format!("topics: [{name}]");
    let config = config.replace(&topics, &format!("{topics}, control_topic: {name}-control"));
    config.replace("mqtt_mqtt]", "mqtt_mqtt, kafka_kafka]")
}

/// How often an anomaly was counted on the control lane.
fn control_anomalies(run: &Run, name: &str) -> u64 {
    let report = run.report();
    let lanes = report["paths"][0]["lanes"].as_array().into_iter().flatten();
    let lanes = lanes.filter(|lane| lane["lane"] == "kafka_kafka");
    lanes.filter_map(|lane| lane["anomalies"][name].as_u64()).sum()
}

/// The trace ids of the records in topic NAME-control.
fn control_ids(kafka: &Kafka, name: &str) -> Vec<String> {
    let records = kcat_consume(&kafka.address, &format!("{name}-control"));
    let values = records.iter().filter_map(|record| record.value.as_deref());
    values.map(|value| stamp(Payload::Json, value).0).collect()
}

/// Ends the bridge, so that nothing is under way any more, and compares.
#[expect(clippy::print_stdout, reason = "figures for whoever runs a test by hand")]
fn settle(name: &str, bridge: Bridge, kafka: &Kafka, run: &Run, payload: Payload) -> Audit {
    bridge.stop();
    let audit = audit(run, &kcat_consume(&kafka.address, name), payload);
    println!("{name}: {audit}");
    audit
}

#[test]
fn a_thousand_a_second_cross_and_every_one_is_accounted_for() {
    let seconds = std::env::var("LANDFALL_TEST_CROSSING_SECONDS");
    let seconds: u64 = seconds.map_or(20, |text| text.parse().unwrap());
    let (kafka, mosquitto) = (shared_kafka(), Mosquitto::start(&[]));
    let mqtt = "version: 5, clients: 3, rate: 1000/s, schedule: fixed, \
                payload: { size: 256, format: json }";
    let (bridge, config) = lay_out("steady", &mosquitto, &kafka, mqtt, "deadline: 30s");
    let mut run = Run::start(&config, &["--for", &format!("{seconds}s")]);
    let code = run.ended();
    let audit = settle("steady", bridge, &kafka, &run, Payload::Json);

    assert_eq!(code, 0, "{}", run.said());
    assert_eq!(audit.slots, seconds * 1_000, "a fixed schedule has exactly its slots: {audit}");
    assert_eq!(audit.came_out["mqtt_kafka"], audit.slots, "{audit}");
    assert_eq!(audit.came_out["mqtt_mqtt"], audit.slots, "{audit}");
    assert_eq!(audit.records, audit.slots, "{audit}");
}

#[test]
fn a_signal_drains_what_is_under_way() {
    let (kafka, mosquitto) = (shared_kafka(), Mosquitto::start(&[]));
    let mqtt = "version: 3.1.1, clients: 6, rate: 300/s, schedule: poisson, \
                payload: { size: 64, format: binary }";
    let (bridge, config) = lay_out("drained", &mosquitto, &kafka, mqtt, "deadline: 30s");
    let mut run = Run::start(&config, &[]);
    run.await_metric("landfall_published_messages_total", 900.0);
    run.terminate();
    let code = run.ended();
    let audit = settle("drained", bridge, &kafka, &run, Payload::Binary);

    assert_eq!(code, 0, "{}", run.said());
    assert!(audit.slots >= 900, "{audit}");
    assert_eq!(audit.came_out["mqtt_kafka"], audit.slots, "{audit}");
    assert_eq!(audit.came_out["mqtt_mqtt"], audit.slots, "{audit}");
}

#[test]
fn a_broker_that_loses_its_memory_is_survived_and_no_loss_invented() {
    let (kafka, mut mosquitto) = (shared_kafka(), Mosquitto::start(&[]));
    let mqtt = "clients: 6, rate: 200/s, schedule: poisson, payload: { size: 256, format: json }";
    let (bridge, config) = lay_out("forgetful", &mosquitto, &kafka, mqtt, "deadline: 8s");
    let mut run = Run::start(&config, &[]);
    run.await_metric("landfall_end_to_end_latency_seconds_count", 400.0);
    mosquitto.kill();
    mosquitto.restart();
    // Six publishers and the subscriber.
    run.await_metric("landfall_reconnects_total{component=\"mqtt\"}", 7.0);
    bridge.await_subscription(2);
    let arrived = run.metric("landfall_end_to_end_latency_seconds_count");
    run.await_metric("landfall_end_to_end_latency_seconds_count", arrived + 800.0);
    run.terminate();
    let code = run.ended();
    let audit = settle("forgetful", bridge, &kafka, &run, Payload::Json);

    assert_eq!(code, i32::from(!audit.passed), "{}", run.said());
    assert_eq!(audit.count("mqtt_kafka", "unresolved"), 0, "{audit}");
}

#[test]
fn a_kafka_that_restarts_and_one_that_dies_are_survived_and_no_loss_invented() {
    let (mut kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    let mqtt = "clients: 6, rate: 200/s, schedule: poisson, payload: { size: 256, format: json }";
    let (bridge, config) = lay_out("restarted", &mosquitto, &kafka, mqtt, "deadline: 20s");
    kafka.topic("restarted-control", 3, &[("message.timestamp.type", "LogAppendTime")]);
    let config = with_control(&config, "restarted");
    let mut run = Run::start(&config, &[]);
    let consumed = "landfall_consumed_records_total";
    run.await_metric(consumed, 400.0);
    kafka.restart();
    let arrived = run.metric(consumed);
    run.await_metric(consumed, arrived + 400.0);
    kafka.kill();
    // An outage that nobody noticed is not counted.
    run.await_that("landfall_component_up{component=\"kafka\"}", |up| up == 0.0);
    kafka.restart();
    let arrived = run.metric(consumed);
    run.await_metric(consumed, arrived + 400.0);
    run.terminate();
    let code = run.ended();
    let audit = settle("restarted", bridge, &kafka, &run, Payload::Json);

    assert_eq!(code, i32::from(!audit.passed), "{}", run.said());
    // Nothing was away on the MQTT side.
    assert_eq!(audit.came_out["mqtt_mqtt"], audit.slots, "{audit}");
    assert!(run.last_metric("landfall_reconnects_total{component=\"kafka\"}") >= 1.0, "{audit}");
    // Each control message that came out is a record, and a further one is known to be our own.
    let (slots, ids) = (control_slots(&run), control_ids(&kafka, "restarted"));
    let came = slots.iter().filter(|(_, outcome)| matches!(outcome.as_str(), "delivered" | "late"));
    let came: BTreeSet<&String> = came.map(|(id, _)| id).collect();
    assert!(came.len() > 800, "{audit}");
    let messages: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(messages, came, "{} records of {} slots", ids.len(), slots.len());
    for name in ["duplicate", "resent"] {
        assert_eq!(control_anomalies(&run, name), (ids.len() - messages.len()) as u64, "{name}");
    }
    assert!(slots.values().all(|outcome| outcome != "acked_lost"), "Kafka keeps what it answered");
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "some thousand slots")]
fn the_control_lane_shows_what_the_way_over_mqtt_adds_and_how_the_clocks_stand() {
    let (kafka, mosquitto) = (shared_kafka(), Mosquitto::start(&[]));
    kafka.topic("hop-control", 3, &[("message.timestamp.type", "LogAppendTime")]);
    let mqtt = "clients: 6, rate: 120/s, schedule: poisson, payload: { size: 256, format: json }";
    let config = lay_out_without_bridge("hop", &mosquitto, &kafka, mqtt, "deadline: 30s");
    let bridge = Held::start("hop", &mosquitto.address, &kafka.address, HOLD);
    let config = with_control(&config, "hop").replace("127.0.0.1:0'", "127.0.0.1:0', linger: 5m");
    let mut run = Run::start(&config, &["--for", "10s"]);
    let report = run.await_report();
    let metric = |series: &str| run.metric(series);
    let counted = ["offered", "published", "acknowledged"]
        .map(|name| metric(&format!("landfall_{name}_messages_total")));
    let consumed = metric("landfall_consumed_records_total");
    let stamps = metric("landfall_stamps_total{path=\"hop\",carrier=\"payload\"");
    let peer = format!("{{peer=\"{}\"}}", kafka.address);
    let offset = metric(&format!("landfall_clock_offset_seconds{peer}"));
    let bound = metric(&format!("landfall_clock_offset_bound_seconds{peer}"));
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    // Every message has its outcome: nothing is on its way.
    drop(bridge);
    let audit = audit(&run, &kcat_consume(&kafka.address, "hop"), Payload::Json);
    println!("hop: {audit}");

    // Every control message is one record of its own topic, on all of its partitions.
    let slots = control_slots(&run);
    let records = kcat_consume(&kafka.address, "hop-control");
    let ids = control_ids(&kafka, "hop");
    assert!(slots.values().all(|outcome| outcome == "delivered"), "{}", run.said());
    assert_eq!(records.len(), slots.len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), slots.keys().collect());
    let partitions: BTreeSet<i32> = records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions, [0, 1, 2].into());
    // The same schedule, and nothing of it in what speaks of the messages over MQTT.
    assert_eq!(slots.len() as u64, audit.slots, "{audit}");
    let of_mqtt = |figure: f64| (figure - audit.slots as f64).abs() < f64::EPSILON;
    assert!(of_mqtt(counted[0]) && of_mqtt(counted[1]), "{counted:?} {audit}");
    assert!(counted[2] < counted[1], "QoS 0 is never acknowledged: {counted:?}");
    // On the other two lanes the stamp of each message came out.
    assert!(of_mqtt(consumed) && of_mqtt(stamps / 2.0), "{consumed} {stamps} {audit}");
    assert_eq!(audit.records, audit.slots, "{audit}");

    // One host has one clock: the estimate must allow for that, and say so closely.
    assert!(offset.abs() <= bound, "{offset} within {bound}");
    let told = &report["paths"][0]["clock_offsets"];
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["peer"], kafka.address.as_str());
    let figure = |name: &str| told[0][name].as_f64().unwrap();
    assert!(figure("offset_seconds").abs() <= figure("bound_seconds"), "{told}");

    let mut medians = BTreeMap::new();
    for lane in report["paths"][0]["lanes"].as_array().unwrap() {
        let median = lane["latency_seconds"]["p50"].as_f64().unwrap();
        medians.insert((lane["qos"].to_string(), lane["lane"].as_str().unwrap()), median);
        let legs = &lane["legs"];
        let whole = lane["latency_seconds"]["count"].as_u64().unwrap();
        if lane["lane"] != "mqtt_mqtt" {
            // A record may be booked before its sending is, seldom: then it has no such leg.
            let appended = legs["append"]["count"].as_u64().unwrap();
            assert!(appended <= whole && appended + 5 >= whole, "{lane}");
        }
        let answered = legs["publish_ack"]["count"].as_u64().unwrap();
        let is_mqtt_0 = lane["lane"] != "kafka_kafka" && lane["qos"] == 0;
        if lane["lane"] == "mqtt_kafka" && lane["qos"] != 0 {
            // The broker had it for as long as the bridge did, and nothing but that.
            let gap = lane["durability_gap_seconds"]["p50"].as_f64().unwrap();
            assert!(gap > 0.9 * HOLD.as_secs_f64() && gap <= median, "{lane}");
        }
        assert_eq!(answered, if is_mqtt_0 { 0 } else { whole }, "{lane}");
    }
    println!("offset {offset} within {bound}; medians {medians:?}");
    assert_eq!(medians.len(), 9, "three lanes at three QoS: {medians:?}");
    // What the bridge holds is in the crossing, and in nothing that does not go through it.
    let hold = HOLD.as_secs_f64();
    for qos in ["0", "1", "2"] {
        let of = |lane: &'static str| medians[&(qos.to_owned(), lane)];
        let crossing = of("mqtt_kafka");
        // To within the resolution of the report.
        assert!(crossing >= hold * 0.999, "QoS {qos}: {medians:?}");
        for lane in ["kafka_kafka", "mqtt_mqtt"] {
            assert!(of(lane) + hold / 2.0 < crossing, "QoS {qos}, {lane}: {medians:?}");
        }
    }
}
