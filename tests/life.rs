//! The sidecar's life beside systems that are not there yet, that flap, and that break for a moment:
//! what it says of them in `/readyz`, metrics, log and report, and that it measures by itself once
//! they are there.
//!
//! `LANDFALL_TEST_FLAPPING_SECONDS` says how long a broker flaps (10 without it).

#![expect(clippy::panic, reason = "helpers of tests; clippy only excuses the tests themselves")]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/tap.rs"]
mod tap;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crossing::{Bridge, Payload, Run, audit};
use landfall::clock::Clock;
use serde_json::Value;
use systems::{Kafka, Mosquitto, kcat_consume};
use tap::Tap;

const CONSUMED: &str = "landfall_consumed_records_total";
const JSON: [&str; 2] = ["--log-format", "json"];
const APPEND_TIME: [(&str, &str); 1] = [("message.timestamp.type", "LogAppendTime")];

/// A path from `mqtt` to `kafka`; `more` are further keys of `mqtt`.
fn path(name: &str, mqtt: &str, kafka: &str, more: &str) -> String {
    format!(
        "  - name: {name}
    mqtt: {{ url: 'mqtt://{mqtt}', topic: 'landfall/{name}/{{client}}', qos: [0, 1, 2], {more} }}
    kafka: {{ brokers: '{kafka}', topics: [{name}] }}
    lanes: [mqtt_kafka, mqtt_mqtt]
"
    )
}

fn configuration(paths: &[String]) -> String {
    format!(
        "probe: life\npaths:\n{}drain: 40s\ntelemetry: {{ listen: '127.0.0.1:0' }}\n",
        paths.concat()
    )
}

fn up(component: &str) -> String {
    format!("landfall_component_up{{component=\"{component}\"}}")
}

/// The log as JSON: every line of it.
fn log(run: &Run) -> Vec<Value> {
    let read = |line: &String| -> Value {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("{error}: not a line of the log: {line}");
        });
        for key in ["timestamp", "level"] {
            assert!(line[key].is_string(), "no {key}: {line}");
        }
        assert!(line["fields"]["message"].is_string(), "no message: {line}");
        line
    };
    run.log().iter().map(read).collect()
}

/// Messages of the lines of a level about a path and component.
fn said<'a>(log: &'a [Value], level: &str, (path, component): (&str, &str)) -> Vec<&'a Value> {
    let about = |line: &&Value| {
        let fields = &line["fields"];
        line["level"] == level && fields["path"] == path && fields["component"] == component
    };
    log.iter().filter(about).map(|line| &line["fields"]).collect()
}

/// How many warnings about a component came after it was there, all of which must say this.
fn said_later(lines: &[Value], component: &str, reason: &str) -> usize {
    let of = lines.iter().filter(|line| line["fields"]["component"] == component);
    let later = of.skip_while(|line| line["level"] != "INFO").filter(|it| it["level"] == "WARN");
    later.inspect(|it| assert!(it.to_string().contains(reason), "{lines:#?}")).count()
}

#[expect(clippy::disallowed_methods, reason = "time must pass in which nothing may happen")]
fn let_pass(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

#[test]
fn nothing_is_there_at_first_and_each_system_comes_in_its_time() {
    let (mut kafka, mut mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.kill();
    mosquitto.kill();
    let config = configuration(&[path(
        "late",
        &mosquitto.address,
        &kafka.address,
        "clients: 6, rate: 60/s",
    )]);
    let mut run = Run::start(&config, &JSON);
    let reason = |readiness: &Value, component: &str| {
        readiness["components"][component]["reason"].as_str().unwrap_or_default().to_owned()
    };
    run.await_readiness("both missing", |of| {
        let refused = format!("can't connect to {}: Connection refused", mosquitto.address);
        reason(of, "mqtt").contains(&refused) && reason(of, "kafka").contains("can't be reached")
    });
    run.await_that(&up("mqtt"), |up| up < 0.5);
    run.await_that(&up("kafka"), |up| up < 0.5);
    // Every client has tried again many times by then.
    let_pass(8);
    let lines = log(&run);
    for component in ["mqtt", "kafka"] {
        let said = said(&lines, "WARN", ("late", component));
        assert_eq!(said.len(), 1, "{said:#?}");
        let text = said[0]["message"].as_str().unwrap();
        assert!(text.contains("; check ") && text.ends_with("; trying again"), "{text}");
    }

    mosquitto.restart();
    run.await_readiness("Kafka missing", |of| {
        of["ready"] == false
            && of["components"]["mqtt"]["up"] == true
            && of["components"]["kafka"]["up"] == false
    });
    run.await_that(&up("mqtt"), |up| up > 0.5);
    kafka.restart();
    run.await_readiness("a topic missing", |of| {
        reason(of, "kafka").contains("no topic matches late; create it")
    });
    kafka.topic("late", 1, &APPEND_TIME);
    let bridge = Bridge::start("late", &mosquitto.address, &kafka.address);
    run.await_readiness("ready", |of| of["ready"] == true);
    run.await_that(&up("kafka"), |up| up > 0.5);
    run.await_metric(CONSUMED, 60.0);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    bridge.stop();
    audit(&run, &kcat_consume(&kafka.address, "late"), Payload::Json);

    let lines = log(&run);
    for component in ["mqtt", "kafka"] {
        let said = said(&lines, "INFO", ("late", component));
        // A Kafka that has just come up may keep silent for seconds once more.
        let silent = said_later(&lines, component, "does not answer in time");
        assert!((1..=1 + silent).contains(&said.len()), "once that it is there: {lines:#?}");
        let line = said[0];
        assert!(line["message"].as_str().unwrap().starts_with("connected again after "), "{line}");
        assert!(line["away_seconds"].as_f64().unwrap() > 1.0, "{line}");
    }
    // Each client has tried in vain more often than once.
    let mqtt = said(&lines, "INFO", ("late", "mqtt"));
    assert!(mqtt[0]["held_back"].as_u64().unwrap_or_default() > 0, "{mqtt:#?}");
}

/// One Kafka for the tests that leave it alone; it ends with the last of them.
fn shared_kafka() -> Arc<Kafka> {
    static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let kafka = Arc::new(Kafka::start(&[]));
        *shared = Arc::downgrade(&kafka);
        kafka
    })
}

/// Whether a line is one of the log as text: a moment, then a level.
fn is_of_the_log(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let moment = words.next().unwrap_or_default();
    let is_moment = moment.len() == 27 && moment.ends_with('Z') && moment.starts_with("20");
    is_moment && matches!(words.next(), Some("INFO" | "WARN" | "ERROR"))
}

#[test]
fn a_path_is_measured_while_the_broker_of_another_is_missing() {
    let kafka = shared_kafka();
    let (here, mut missing) = (Mosquitto::start(&[]), Mosquitto::start(&[]));
    missing.kill();
    for name in ["here", "missing"] {
        kafka.topic(name, 1, &APPEND_TIME);
    }
    let more = "clients: 3, rate: 60/s, schedule: fixed";
    let paths = [("here", &here), ("missing", &missing)]
        .map(|(name, broker)| path(name, &broker.address, &kafka.address, more));
    let config = configuration(&paths);
    let bridge = Bridge::start("here", &here.address, &kafka.address);

    let mut run = Run::start(&config, &["--for", "6s"]);
    run.await_metric(CONSUMED, 60.0);
    let readiness = run.readiness();
    assert_eq!(readiness["ready"], false);
    let reason = readiness["components"]["mqtt"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("missing: MQTT publisher 0: can't connect to"), "{reason}");
    assert_eq!(run.ended(), 1, "no verdict without a path: {}", run.said());
    let report = run.report();
    assert_eq!(report["paths"][0]["offered"], 360);
    assert_eq!(report["paths"][1]["offered"], 0);
    assert_eq!(report["verdict"]["result"], "invalid");
    assert_eq!(report["verdict"]["objectives"][0]["held"], true, "{}", report["verdict"]);
    let waited = report["verdict"]["unmeasured"]["missing"].as_str().unwrap();
    assert!(waited.contains("MQTT publisher 0 (can't connect to"), "{waited}");
    assert!(
        run.said().contains("invalid: path missing: never measured, waited for"),
        "{}",
        run.said()
    );

    let mut run = Run::start(&config, &[]);
    run.await_metric(&format!("{CONSUMED}{{path=\"here\""), 60.0);
    assert!(run.metric("landfall_offered_messages_total{path=\"missing\"") < 0.5);
    missing.restart();
    let other_bridge = Bridge::start("missing", &missing.address, &kafka.address);
    run.await_metric(&format!("{CONSUMED}{{path=\"missing\""), 60.0);
    run.await_readiness("ready", |of| of["ready"] == true);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    assert_eq!(run.report()["verdict"]["result"], "passed");
    let strange: Vec<String> = run.log().into_iter().filter(|it| !is_of_the_log(it)).collect();
    assert!(strange.is_empty(), "not of the log: {strange:?}");
    bridge.stop();
    other_bridge.stop();
}

#[test]
fn a_connection_to_kafka_that_breaks_for_a_moment_is_counted_and_nothing_lost() {
    let tap = Tap::plain();
    let (mut kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    // Whether it answers is asked through the tap too, which must know by then where it leads.
    tap.lead_to(&kafka.address);
    kafka.reconfigure(&[&format!("advertised.listeners=PLAINTEXT://{}", tap.address)]);
    kafka.topic("cut", 3, &APPEND_TIME);
    let bridge = Bridge::start("cut", &mosquitto.address, &kafka.address);
    let config =
        configuration(&[path("cut", &mosquitto.address, &kafka.address, "clients: 3, rate: 90/s")]);
    let mut run = Run::start(&config, &JSON);
    let reconnects = "landfall_reconnects_total{component=\"kafka\"}";
    for cut in 1..=2 {
        let arrived = run.metric(CONSUMED);
        run.await_metric(CONSUMED, arrived + 180.0);
        tap.cut();
        run.await_metric(reconnects, f64::from(cut));
        run.await_readiness("ready", |of| of["ready"] == true);
    }
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    bridge.stop();
    let audit = audit(&run, &kcat_consume(&kafka.address, "cut"), Payload::Json);
    assert_eq!(audit.came_out["mqtt_kafka"], audit.slots, "{audit}");
    let lines = log(&run);
    let silent = lines.iter().filter(|line| line.to_string().contains("does not answer in time"));
    // A Kafka on an overloaded machine may keep silent for seconds beside: each time is said.
    let more = f64::from(u32::try_from(silent.count()).unwrap());
    let counted = run.last_metric(reconnects);
    assert!((2.0..=2.0 + more).contains(&counted), "each once: {}", run.said());
    assert!(!said(&lines, "WARN", ("cut", "kafka")).is_empty(), "{}", run.said());
}

#[test]
fn a_broker_that_flaps_does_not_flood_the_log() {
    let seconds = std::env::var("LANDFALL_TEST_FLAPPING_SECONDS");
    let seconds: u64 = seconds.map_or(10, |text| text.parse().unwrap());
    let (kafka, mut mosquitto) = (shared_kafka(), Mosquitto::start(&[]));
    kafka.topic("flap", 1, &APPEND_TIME);
    let bridge = Bridge::start("flap", &mosquitto.address, &kafka.address);
    let config = configuration(&[path(
        "flap",
        &mosquitto.address,
        &kafka.address,
        "clients: 60, rate: 60/s",
    )]);
    let mut run = Run::start(&config, &JSON);
    run.await_metric(CONSUMED, 60.0);
    let (clock, mut flaps) = (Clock::system(), 0);
    let start = clock.now();
    while clock.now() < start + Duration::from_secs(seconds) {
        mosquitto.kill();
        mosquitto.restart();
        // The publishers have come back: there was something to be said.
        flaps += 1;
        run.await_metric("landfall_reconnects_total{component=\"mqtt\"}", 60.0 * f64::from(flaps));
    }
    let elapsed = clock.now().saturating_since(start).as_secs();
    run.await_that(&up("mqtt"), |up| up > 0.5);
    run.terminate();
    run.ended();
    bridge.stop();
    let lines = log(&run);
    let about: Vec<&Value> =
        lines.iter().filter(|line| line["fields"]["component"] == "mqtt").collect();
    // Four lines in half a minute, and the first one.
    let most = 1 + 4 * (elapsed / 30 + 2);
    assert!(about.len() as u64 <= most, "{} lines of {flaps} flaps: {about:?}", about.len());
    let counted: u64 = about.iter().filter_map(|line| line["fields"]["held_back"].as_u64()).sum();
    println!(
        "{flaps} flaps of 61 clients in {elapsed} s: {} lines, {counted} held back",
        about.len()
    );
}
