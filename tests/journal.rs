//! A landfall that is killed again and again, at any moment, between real Mosquitto and Apache Kafka: each
//! process goes on where the one before was, and in the end the report of the last one is held against
//! two witnesses that lived through all of it: `kcat` says what is in Kafka, and a tap on the wire which
//! messages were published and acknowledged.
//!
//! `LANDFALL_TEST_KILLS` says how often it is killed (10 without it), `LANDFALL_TEST_SEED` when.
#![expect(clippy::unwrap_used, reason = "functions of tests are tests")]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/embedded.rs"]
mod embedded;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/tap.rs"]
mod tap;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use landfall::splitmix::mix;
use serde_json::Value;
use tempfile::TempDir;

use crossing::{Bridge, Payload, Run, stamp};
use embedded::Systems;
use landfall::embedded::kafka::Topic;
use systems::{Kafka, Mosquitto, Record, kcat_consume};
use tap::Tap;

const CONSUMED: &str = "landfall_consumed_records_total";
const ACKNOWLEDGED: &str = "landfall_acknowledged_messages_total";
/// Whatever became of control messages.
const IN_CONTROL_LANE: &str =
    "landfall_end_to_end_latency_seconds_count{path=\"controlled\",lane=\"kafka_kafka\"";
/// Of the path below: six publishers of 50 a second each.
const CLIENTS: u64 = 6;
const LEASE: u64 = 50;
/// Sent by each, and not answered when it was killed: two ticks of the books, amply.
const IN_FLIGHT: u64 = 20;

fn configuration(name: &str, (mqtt, kafka): (&str, &str), state: &Path, more: &str) -> String {
    format!(
        "probe: journal
paths:
  - name: {name}
    mqtt:
      url: 'mqtt://{mqtt}'
      topic: 'landfall/{name}/{{client}}'
      clients: {CLIENTS}
      rate: 300/s
      {more}
    kafka: {{ brokers: '{kafka}', topics: [{name}] }}
    lanes: [mqtt_kafka, mqtt_mqtt]
    deadline: 8s
drain: 40s
state_dir: '{}'
telemetry: {{ listen: '127.0.0.1:0' }}
",
        state.display()
    )
}

/// Waits for so long: a kill comes at a moment of its own.
#[expect(clippy::disallowed_methods, reason = "chance has no event to wait for")]
fn pass(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// The sum of a figure over the QoS levels of a lane, such as `/outcomes/late`.
fn sum(report: &Value, lane: &str, pointer: &str) -> u64 {
    let lanes = report["paths"][0]["lanes"].as_array().unwrap().iter();
    let of_lane = lanes.filter(|of| of["lane"] == lane);
    of_lane.map(|of| of.pointer(pointer).unwrap().as_u64().unwrap()).sum()
}

fn came_out(report: &Value, lane: &str) -> u64 {
    sum(report, lane, "/outcomes/delivered") + sum(report, lane, "/outcomes/late")
}

/// The trace ids of records.
fn stamped(records: &[Record]) -> BTreeSet<String> {
    let values = records.iter().map(|record| record.value.as_deref().unwrap());
    values.map(|value| stamp(Payload::Json, value).0).collect()
}

/// Whatever happened, every slot has one outcome on each lane, and nothing is somebody else's.
fn adds_up(report: &Value) {
    let path = &report["paths"][0];
    let offered = path["offered"].as_u64().unwrap();
    for lane in path["lanes"].as_array().unwrap() {
        let outcomes = lane["outcomes"].as_object().unwrap().values();
        assert_eq!(outcomes.map(|count| count.as_u64().unwrap()).sum::<u64>(), lane["slots"]);
        assert_eq!(lane["anomalies"]["corrupt"], 0);
        assert_eq!(lane["anomalies"]["reread"], 0, "{lane}");
        assert_eq!(lane["anomalies"]["negative"], 0, "{lane}");
    }
    for lane in ["mqtt_kafka", "mqtt_mqtt"] {
        assert_eq!(sum(report, lane, "/slots"), offered, "{lane}");
    }
    assert_eq!(path["foreign"], 0);
    assert_eq!(path["overflow"], 0);
}

/// Files of state that are in force.
fn state_files(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let is_state =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "log" || kind == "snapshot");
    entries.filter(is_state).collect()
}

#[test]
fn killed_at_any_moment_its_totals_are_those_of_independent_counts() {
    const NAME: &str = "killed";
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
    };
    let (kills, seed) = (number("LANDFALL_TEST_KILLS", 10), number("LANDFALL_TEST_SEED", 1));
    println!("{kills} kills, seed {seed}");
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic(NAME, 3, &[("message.timestamp.type", "LogAppendTime")]);
    let tap = Tap::mqtt(|payload| stamp(Payload::Json, payload).0);
    tap.lead_to(&mosquitto.address);
    let bridge = Bridge::start(NAME, &mosquitto.address, &kafka.address);
    let state = TempDir::new().unwrap();
    let systems = (tap.address.as_str(), kafka.address.as_str());
    let config = configuration(NAME, systems, state.path(), "qos: [0, 1, 2]");
    for kill in 0..kills {
        let run = Run::start(&config, &[]);
        let chance = mix(seed ^ mix(kill));
        // Anywhere from before it is connected, or anywhere once records come in.
        if chance.is_multiple_of(2) {
            pass(chance / 2 % 3_000);
        } else {
            run.await_metric(CONSUMED, 1.0);
            pass(chance / 2 % 1_500);
        }
        run.kill();
    }
    let mut run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 600.0);
    run.terminate();
    let code = run.ended();
    bridge.stop();
    let (report, records) = (run.report(), kcat_consume(&kafka.address, NAME));
    let (found, tally) = (stamped(&records), tap.tally());
    let unresolved = sum(&report, "mqtt_kafka", "/outcomes/unresolved");
    println!(
        "{} slots; in Kafka {} records, {} messages; delivered {}, late {}, recovered {}, \
         duplicate {}, unresolved {unresolved}; on the wire {} published, {} acknowledged; \
         published by the report {}; mqtt_mqtt came out {}, unresolved {}",
        sum(&report, "mqtt_kafka", "/slots"),
        records.len(),
        found.len(),
        sum(&report, "mqtt_kafka", "/outcomes/delivered"),
        sum(&report, "mqtt_kafka", "/outcomes/late"),
        sum(&report, "mqtt_kafka", "/recovered"),
        sum(&report, "mqtt_kafka", "/anomalies/duplicate"),
        tally.published.len(),
        tally.acknowledged.len(),
        report["paths"][0]["published"],
        came_out(&report, "mqtt_mqtt"),
        sum(&report, "mqtt_mqtt", "/outcomes/unresolved"),
    );

    adds_up(&report);
    assert_eq!(report["window"]["restarts"], kills);
    assert_eq!(came_out(&report, "mqtt_kafka"), found.len() as u64, "{}", run.said());
    let copies = records.len() - found.len();
    assert_eq!(sum(&report, "mqtt_kafka", "/anomalies/duplicate"), copies as u64);
    for lane in ["mqtt_kafka", "mqtt_mqtt"] {
        assert_eq!(sum(&report, lane, "/outcomes/acked_lost"), 0, "{lane}: {}", run.said());
    }
    // Nothing is unresolved but what a killed process may have given out or left unanswered.
    assert!(unresolved <= kills * (LEASE + IN_FLIGHT) * CLIENTS, "{unresolved}");
    assert_eq!(code, i32::from(report["verdict"]["result"] != "passed"));
    // What it sent in its first processes is among what it counted in its last.
    assert!(found.len() > 1_000 && tally.published.is_superset(&found));
    assert!(kills == 0 || sum(&report, "mqtt_kafka", "/recovered") > 0, "nothing was at stake");
    assert_eq!(state_files(state.path()), [] as [PathBuf; 0], "after an orderly end it is over");
}

/// Control messages have publishers, leases and a topic of their own, and nothing answers for them but
/// Kafka: what is in it is held against their lane.
#[test]
fn the_control_lane_of_a_killed_run_is_what_is_in_its_topic() {
    const NAME: &str = "controlled";
    const KILLS: u64 = 4;
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    let control = format!("{NAME}-control");
    for topic in [NAME, &control] {
        kafka.topic(topic, 3, &[("message.timestamp.type", "LogAppendTime")]);
    }
    let bridge = Bridge::start(NAME, &mosquitto.address, &kafka.address);
    let state = TempDir::new().unwrap();
    let systems = (mosquitto.address.as_str(), kafka.address.as_str());
    let config = configuration(NAME, systems, state.path(), "qos: [0, 1, 2]")
        .replace("topics:", &format!("control_topic: {control}, topics:"))
        .replace("mqtt_mqtt]", "mqtt_mqtt, kafka_kafka]");
    for kill in 0..KILLS {
        let run = Run::start(&config, &[]);
        run.await_metric(IN_CONTROL_LANE, 1.0);
        pass(mix(kill) % 1_500);
        run.kill();
    }
    let mut run = Run::start(&config, &[]);
    run.await_metric(IN_CONTROL_LANE, 600.0);
    run.terminate();
    run.ended();
    bridge.stop();
    let report = run.report();
    adds_up(&report);
    assert_eq!(report["window"]["restarts"], KILLS);
    for (lane, topic) in [("kafka_kafka", control.as_str()), ("mqtt_kafka", NAME)] {
        let records = kcat_consume(&kafka.address, topic);
        let found = stamped(&records);
        let (slots, recovered) = (sum(&report, lane, "/slots"), sum(&report, lane, "/recovered"));
        let unresolved = sum(&report, lane, "/outcomes/unresolved");
        println!(
            "{lane}: {slots} slots; in Kafka {} records, {} messages; came out {}, recovered \
             {recovered}, unresolved {unresolved}",
            records.len(),
            found.len(),
            came_out(&report, lane),
        );
        assert!(found.len() > 1_000 && recovered > 0, "{lane}: nothing was at stake");
        assert_eq!(came_out(&report, lane), found.len() as u64, "{lane}: {}", run.said());
        let copies = (records.len() - found.len()) as u64;
        assert_eq!(sum(&report, lane, "/anomalies/duplicate"), copies, "{lane}");
        for lost in ["acked_lost", "unacked_lost"] {
            assert_eq!(sum(&report, lane, &format!("/outcomes/{lost}")), 0, "{lane}: {lost}");
        }
        assert!(unresolved <= KILLS * (LEASE + IN_FLIGHT) * CLIENTS, "{lane}: {unresolved}");
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn what_a_bridge_loses_is_counted_by_the_process_after() {
    const NAME: &str = "lossy";
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic(NAME, 3, &[("message.timestamp.type", "LogAppendTime")]);
    let tap = Tap::mqtt(|payload| stamp(Payload::Json, payload).0);
    tap.lead_to(&mosquitto.address);
    let liar = || {
        let lies = ["--acknowledge", "before-kafka"];
        Bridge::start_with(NAME, &mosquitto.address, &kafka.address, &lies)
    };
    let state = TempDir::new().unwrap();
    let systems = (tap.address.as_str(), kafka.address.as_str());
    let config = configuration(NAME, systems, state.path(), "qos: 1");
    let (mut bridge, mut run) = (liar(), Run::start(&config, &[]));
    for _ in 0..2 {
        run.await_metric(CONSUMED, 300.0);
        let go_on = |messages: f64| {
            run.await_metric(ACKNOWLEDGED, run.metric(ACKNOWLEDGED) + messages);
        };
        // What the bridge has taken, and Kafka has not, dies with the bridge.
        signal("STOP", kafka.pid);
        go_on(200.0);
        bridge.kill();
        signal("CONT", kafka.pid);
        // All that was lost is written down before the probe dies too.
        go_on(50.0);
        run.kill();
        bridge = liar();
        run = Run::start(&config, &[]);
    }
    run.await_metric(CONSUMED, 300.0);
    run.terminate();
    run.ended();
    bridge.stop();
    let (report, found) = (run.report(), stamped(&kcat_consume(&kafka.address, NAME)));
    let lost = tap.tally().acknowledged.difference(&found).count() as u64;
    println!(
        "acknowledged and not in Kafka {lost}: {}",
        run.report()["paths"][0]["lanes"][0]["outcomes"]
    );
    adds_up(&report);
    assert!(lost > 0, "nothing was at stake");
    assert_eq!(sum(&report, "mqtt_kafka", "/outcomes/acked_lost"), lost, "{}", run.said());
    assert_eq!(came_out(&report, "mqtt_kafka"), found.len() as u64, "{}", run.said());
    assert_eq!(report["verdict"]["result"], "failed");
}

/// How large a process may let a file become, from now on.
fn limit_files(pid: u32, bytes: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--fsize={bytes}:")]);
    assert!(command.status().unwrap().success());
}

/// A disk without room, as the process sees it: no file may grow any more, until it may again.
#[test]
fn a_full_disk_stops_nothing_but_the_keeping_of_state() {
    const NAME: &str = "full";
    const UNWRITTEN: &str = "landfall_dropped_total{component=\"journal\",cause=\"not_written\"";
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic(NAME, 3, &[("message.timestamp.type", "LogAppendTime")]);
    let bridge = Bridge::start(NAME, &mosquitto.address, &kafka.address);
    let state = TempDir::new().unwrap();
    let systems = (mosquitto.address.as_str(), kafka.address.as_str());
    let config = configuration(NAME, systems, state.path(), "qos: [0, 1, 2]");
    let run = Run::start(&config, &[]);
    let is_kept = |kept: bool| move |it: &Value| it["components"]["journal"]["up"] == kept;
    run.await_metric(CONSUMED, 300.0);
    run.await_readiness("state that is kept", is_kept(true));
    assert!(run.metric(UNWRITTEN) < 1.0);

    limit_files(run.pid(), "512");
    run.await_readiness("state that is not kept", is_kept(false));
    let readiness = run.readiness();
    assert_eq!(readiness["ready"], true, "it measures: {readiness}");
    let reason = readiness["components"]["journal"]["reason"].as_str().unwrap();
    assert!(reason.contains("File too large"), "{reason}");
    // Far more than was leased when it happened: nobody waits for what is not granted.
    let leased = f64::from(u32::try_from(LEASE * CLIENTS).unwrap());
    run.await_metric(CONSUMED, run.metric(CONSUMED) + 5.0 * leased);
    assert_eq!(state_files(state.path()), [] as [PathBuf; 0], "nothing that would mislead");
    assert!(run.metric(UNWRITTEN) > 0.0);

    limit_files(run.pid(), "unlimited");
    run.await_readiness("state that is kept again", is_kept(true));
    assert_eq!(state_files(state.path()).len(), 2);
    run.await_metric(CONSUMED, run.metric(CONSUMED) + 300.0);
    let before = run.metric(CONSUMED);
    let said = run.kill();
    let lines = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(
        (lines("state is not kept any more"), lines("state is kept again")),
        (1, 1),
        "{said}"
    );

    // Whatever was known before the disk was full is known to the next process.
    let mut run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 300.0);
    run.terminate();
    run.ended();
    bridge.stop();
    let report = run.report();
    adds_up(&report);
    assert_eq!(report["window"]["restarts"], 1);
    let records = kcat_consume(&kafka.address, NAME);
    let found = stamped(&records).len() as u64;
    println!("{found} messages in Kafka, {before} of them counted by the first process");
    assert_eq!(records.len() as u64, found);
    assert_eq!(came_out(&report, "mqtt_kafka"), found, "{}", run.said());
    for lane in ["mqtt_kafka", "mqtt_mqtt"] {
        assert_eq!(sum(&report, lane, "/outcomes/acked_lost"), 0, "{lane}");
        let unresolved = sum(&report, lane, "/outcomes/unresolved");
        assert!(unresolved <= (LEASE + IN_FLIGHT) * CLIENTS, "{lane}: {unresolved}");
    }
}

#[test]
fn what_was_changed_and_what_ends_with_it_is_said() {
    const NAME: &str = "changed";
    let systems = Systems::start(vec![Topic::new(NAME, 2)]);
    let (mqtt, kafka) = (systems.mqtt.to_string(), systems.kafka.to_string());
    let state = TempDir::new().unwrap();
    let config = configuration(NAME, (&mqtt, &kafka), state.path(), "qos: 1");
    let run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 300.0);
    run.kill();
    let config = config.replace("clients: 6", "clients: 4");
    let mut run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 300.0);
    run.terminate();
    run.ended();
    let said = run.said();
    let line = said.lines().find(|line| line.contains("set aside as")).unwrap();
    let what =
        "path changed: clients were 6 of QoS 1 and are 4 of QoS 1; with it ends the run since";
    assert!(line.contains(what) && line.contains(" published messages on all paths"), "{line}");
    assert_eq!(run.report()["window"]["restarts"], 0);
}

/// Runs the binary with this configuration where it is to be refused: what it complains of.
fn refused(config: &str, scratch: &Path) -> String {
    let file = scratch.join("refused.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    let output = command.arg("run").arg("-c").arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn one_process_has_the_state_and_what_is_damaged_is_set_aside() {
    const NAME: &str = "damaged";
    let systems = Systems::start(vec![Topic::new(NAME, 2)]);
    let (mqtt, kafka) = (systems.mqtt.to_string(), systems.kafka.to_string());
    let scratch = TempDir::new().unwrap();
    let state = scratch.path().join("state");
    let config = configuration(NAME, (&mqtt, &kafka), &state, "qos: 1");
    let run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 300.0);
    let why = refused(&config, scratch.path());
    assert!(why.contains("refused.yaml:14: state_dir: ") && why.contains("process "), "{why}");
    run.kill();

    let log = state_files(&state).into_iter().find(|path| path.extension().unwrap() == "log");
    let log = log.unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&log, &bytes).unwrap();
    let mut run = Run::start(&config, &[]);
    run.await_metric(CONSUMED, 300.0);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    let said = run.said();
    let name = log.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(&format!("{name}: a checksum does not hold at byte ")), "{said}");
    assert!(
        said.contains("set aside as *.damaged-") && said.contains("a new run begins"),
        "{said}"
    );
    let report = run.report();
    assert_eq!(report["window"]["restarts"], 0);
    assert_eq!(sum(&report, "mqtt_kafka", "/outcomes/unresolved"), 0, "nothing of the old run");
    let kept = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.to_str().unwrap().contains(&format!("{name}.damaged-")));
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read(&kept[0]).unwrap(), bytes, "nothing of it is lost");
}
