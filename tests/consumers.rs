//! Several readers of one path on a real Kafka: what they share is read once and whole, over partitions
//! that are added and a broker that dies.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use crossing::{Bridge, Payload, Run, audit};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use systems::{Kafka, Mosquitto, kcat_consume};

const TOPIC: &str = "spread";
const COVERED: &str = "landfall_partitions_covered{";
const CONSUMED: &str = "landfall_consumed_records_total";

/// How many threads of a process have a name.
fn threads(pid: u32, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|of| of.trim() == name).count()
}

/// Adds partitions to the topic until there are so many.
fn grow(kafka: &Kafka, partitions: usize) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.address).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let wanted = NewPartitions::new(TOPIC, partitions);
    let asked = admin.create_partitions([&wanted], &AdminOptions::new());
    for answer in runtime.block_on(asked).unwrap() {
        answer.unwrap();
    }
}

#[test]
fn what_readers_share_is_read_once_over_further_partitions_and_a_kafka_that_dies() {
    let (mut kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic(TOPIC, 6, &[("message.timestamp.type", "LogAppendTime")]);
    let bridge = Bridge::start(TOPIC, &mosquitto.address, &kafka.address);
    let config = format!(
        "probe: consumers
paths:
  - name: {TOPIC}
    mqtt:
      url: 'mqtt://{}'
      topic: 'landfall/{TOPIC}/{{client}}'
      clients: 48
      rate: 480/s
    kafka: {{ brokers: '{}', topics: [{TOPIC}], consumers: 3 }}
    deadline: 30s
window: 1s
drain: 60s
telemetry: {{ listen: '127.0.0.1:0' }}
",
        mosquitto.address, kafka.address
    );
    let mut run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 1_000.0);
    run.await_that(COVERED, |covered| (covered - 6.0).abs() < 0.5);
    assert_eq!(threads(run.pid(), "consume"), 3, "{}", run.said());

    grow(&kafka, 9);
    run.await_that("landfall_partitions{", |known| (known - 9.0).abs() < 0.5);
    kafka.kill();
    run.await_that("landfall_component_up{component=\"kafka\"}", |up| up == 0.0);
    kafka.restart();
    // Who produces asks for the partitions again when it connects.
    run.await_that(COVERED, |covered| (covered - 9.0).abs() < 0.5);
    run.await_that("landfall_component_up{component=\"kafka\"}", |up| up > 0.5);
    run.terminate();
    let code = run.ended();
    bridge.stop();
    let records = kcat_consume(&kafka.address, TOPIC);
    let audit = audit(&run, &records, Payload::Json);
    println!("consumers: {audit}");

    assert_eq!(code, 0, "{audit}\n{}", run.said());
    assert_eq!(audit.came_out["mqtt_kafka"], audit.slots, "nothing is lost: {audit}");
    let lane = &run.report()["paths"][0]["lanes"][0];
    assert_eq!(lane["anomalies"]["reread"], 0, "nobody read what another did: {lane}");
    let used: std::collections::BTreeSet<i32> = records.iter().map(|it| it.partition).collect();
    assert_eq!(used.len(), 9, "{used:?}");
    // One connection that is lost is one outage, whoever of the readers noticed it.
    assert!(run.last_metric("landfall_reconnects_total{component=\"kafka\"}") >= 1.0, "{audit}");
}
