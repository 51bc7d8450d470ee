//! What is called lost, and what is not, against a real Kafka: nothing is lost while the consumer can't
//! know, and nothing that is lost hides behind what is no record.
#![expect(clippy::unwrap_used, reason = "functions of tests are tests")]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::process::Command;
use std::time::Duration;

use crossing::{Bridge, Run};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use systems::{Kafka, Mosquitto};

/// Long enough for the slowest machine; whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);
const PUBLISHED: &str = "landfall_published_messages_total";

fn configuration(name: &str, mosquitto: &Mosquitto, kafka: &Kafka, drain: &str) -> String {
    format!(
        "probe: losses
paths:
  - name: {name}
    mqtt: {{ url: 'mqtt://{}', topic: 'landfall/{name}/{{client}}', qos: [1, 2], clients: 4, \
             rate: 100/s }}
    kafka: {{ brokers: '{}', topics: [{name}] }}
    deadline: 2s
drain: {drain}
telemetry: {{ listen: '127.0.0.1:0' }}
",
        mosquitto.address, kafka.address
    )
}

/// Slots of a path by outcome, over both QoS.
fn outcomes(report: &Value, outcome: &str) -> u64 {
    let lanes = report["paths"][0]["lanes"].as_array().unwrap().iter();
    lanes.map(|lane| lane["outcomes"][outcome].as_u64().unwrap()).sum()
}

/// Writes one record in a transaction: what follows it in the log is a marker, which is no record.
fn commit_one(kafka: &Kafka, topic: &str, partition: i32) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("transactional.id", format!("somebody-else-{partition}"))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&b"theirs"[..]);
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
}

#[test]
fn a_log_that_ends_in_a_transactions_marker_hides_no_loss() {
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic("marked", 2, &[("message.timestamp.type", "LogAppendTime")]);
    // There is no bridge: whatever the broker acknowledges is lost.
    let config = configuration("marked", &mosquitto, &kafka, "40s");
    let mut run = Run::start(&config, &[]);
    run.await_metric(PUBLISHED, 100.0);
    for partition in 0..2 {
        commit_one(&kafka, "marked", partition);
    }
    run.await_metric("landfall_foreign_records_total", 2.0);
    let published = run.metric(PUBLISHED);
    run.await_metric(PUBLISHED, published + 100.0);
    run.terminate();
    assert_eq!(run.ended(), 1, "{}", run.said());
    let report = run.report();
    let path = &report["paths"][0];
    assert_eq!(outcomes(&report, "acked_lost"), path["acknowledged"].as_u64().unwrap(), "{path}");
    assert_eq!(outcomes(&report, "unresolved"), 0, "{path}");
    assert_eq!((&path["missed"], &path["unconfirmed"]), (&0.into(), &0.into()), "{path}");
    assert_eq!(path["foreign"], 2, "{path}");
}

#[test]
fn while_kafka_stands_still_nothing_is_lost() {
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic("still", 2, &[("message.timestamp.type", "LogAppendTime")]);
    let bridge = Bridge::start("still", &mosquitto.address, &kafka.address);
    let config = configuration("still", &mosquitto, &kafka, "6s");
    let mut run = Run::start(&config, &[]);
    run.await_metric("landfall_consumed_records_total", 200.0);
    signal(kafka.pid, "STOP");
    let published = run.metric(PUBLISHED);
    // Three seconds more than the deadline.
    run.await_metric(PUBLISHED, published + 500.0);
    run.terminate();
    let code = run.ended();
    signal(kafka.pid, "CONT");
    drop(bridge);
    let report = run.report();
    let path = &report["paths"][0];
    assert_eq!(code, 1, "{}", run.said());
    assert_eq!(report["verdict"]["result"], "invalid", "{}", report["verdict"]);
    for lost in ["acked_lost", "unacked_lost"] {
        assert_eq!(outcomes(&report, lost), 0, "{path}");
    }
    assert!(outcomes(&report, "unresolved") >= 400, "{path}");
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}
