//! The whole way with real systems: Mosquitto, the reference bridge as a process of its own, Apache
//! Kafka, and `landfall run` as its users run it. What it reports is held against what `kcat`, a
//! client that is not ours, finds in Kafka: as sets of trace ids, not only as totals.
//!
//! `LANDFALL_TEST_CROSSING_SECONDS` says how long the first test measures (20 without it).

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crossing::{Audit, Bridge, Payload, Run, audit};
use systems::{Kafka, Mosquitto, kcat_consume};

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
    kafka.topic(name, 3, &[("message.timestamp.type", "LogAppendTime")]);
    let bridge = Bridge::start(name, &mosquitto.address, &kafka.address);
    let config = format!(
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
    );
    (bridge, config)
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
}
