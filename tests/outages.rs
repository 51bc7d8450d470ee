//! A run whose systems die in its middle, again and again: Kafka and Mosquitto end by SIGKILL and come
//! back, and the wire breaks, under load of every QoS, between one `landfall run` and one reference
//! bridge that live through all of it. Two witnesses that are not ours say what must come out: `kcat`
//! what is in Kafka, and a tap on the wire between landfall and its broker which messages were published
//! and acknowledged.
//!
//! `LANDFALL_TEST_OUTAGES` says how often each system dies (2 without it).

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/tap.rs"]
mod tap;

use std::collections::BTreeSet;

use crossing::{Audit, Bridge, Payload, Run, audit, stamp};
use systems::{Kafka, Mosquitto, kcat_consume};
use tap::{Tally, Tap};

const NAME: &str = "outages";
const CONSUMED: &str = "landfall_consumed_records_total";
/// Publishers and the subscriber.
const CLIENTS: f64 = 7.0;

fn configuration(mqtt: &str, kafka: &str) -> String {
    format!(
        "probe: outages
paths:
  - name: {NAME}
    mqtt:
      url: 'mqtt://{mqtt}'
      topic: 'landfall/{NAME}/{{client}}'
      qos: [0, 1, 2]
      clients: 6
      rate: 300/s
      payload: {{ size: 256, format: json }}
    kafka: {{ brokers: '{kafka}', topics: [{NAME}] }}
    lanes: [mqtt_kafka, mqtt_mqtt]
    deadline: 20s
drain: 50s
telemetry: {{ listen: '127.0.0.1:0' }}
"
    )
}

/// Lets the wire between landfall and its broker break while answers are on their way: the session is
/// resumed, and what was not answered is sent again.
fn break_wire(run: &Run, tap: &Tap) {
    let published = "landfall_published_messages_total";
    tap.hold();
    let sent = run.metric(published);
    run.await_metric(published, sent + 100.0);
    tap.cut();
}

/// Waits until each MQTT client has come back so often.
fn all_are_back(run: &Run, times: u32) {
    let reconnects = CLIENTS * f64::from(times);
    run.await_metric("landfall_reconnects_total{component=\"mqtt\"}", reconnects);
}

/// Waits until so many more records came in, which nobody has to help with.
fn go_on(run: &Run) {
    let arrived = run.metric(CONSUMED);
    run.await_metric(CONSUMED, arrived + 300.0);
}

/// Lets Kafka die, and Mosquitto behind it in every second round: while Kafka is away messages pile up
/// in the broker, acknowledged, and die with it. In the other rounds Mosquitto dies when all is well.
fn round(number: u32, run: &Run, tap: &Tap, (kafka, mosquitto): (&mut Kafka, &mut Mosquitto)) {
    go_on(run);
    break_wire(run, tap);
    // Once after each break of the wire, once after each death.
    all_are_back(run, 2 * number - 1);
    go_on(run);
    kafka.kill();
    if number.is_multiple_of(2) {
        let acknowledged = "landfall_acknowledged_messages_total";
        let taken = run.metric(acknowledged);
        run.await_metric(acknowledged, taken + 400.0);
        mosquitto.kill();
        mosquitto.restart();
        kafka.restart();
    } else {
        kafka.restart();
        go_on(run);
        mosquitto.kill();
        mosquitto.restart();
    }
    go_on(run);
    for component in ["mqtt", "kafka"] {
        run.await_that(&format!("landfall_component_up{{component=\"{component}\"}}"), |up| {
            up > 0.5
        });
    }
    all_are_back(run, 2 * number);
    run.await_metric("landfall_reconnects_total{component=\"kafka\"}", f64::from(number));
}

/// Holds the books against what was seen on the wire.
fn hold_against(tally: &Tally, audit: &Audit, run: &Run) {
    let slots = |outcome: &str| audit.of("mqtt_kafka", outcome);
    let lost: BTreeSet<String> = tally.acknowledged.difference(&audit.found).cloned().collect();
    let said = slots("acked_lost");
    let differ: Vec<_> = lost.symmetric_difference(&said).collect();
    assert!(
        differ.is_empty(),
        "acknowledged and not in Kafka {}, acked_lost {}; one of both: {differ:?}\n{}",
        lost.len(),
        said.len(),
        run.said()
    );
    assert_eq!(audit.acknowledged, tally.acknowledged.len() as u64, "{audit}");

    let unsent = slots("not_sent");
    let sent_all_the_same: Vec<_> = unsent.intersection(&tally.published).collect();
    assert!(
        sent_all_the_same.is_empty(),
        "booked as not sent and seen on the wire: {sent_all_the_same:?}"
    );
    assert_eq!(audit.published, audit.slots - unsent.len() as u64, "{audit}");
    let taken_unacknowledged = slots("unacked_lost");
    assert!(taken_unacknowledged.is_disjoint(&tally.acknowledged));

    let received: BTreeSet<String> = tally.received.keys().cloned().collect();
    let came_out: BTreeSet<String> =
        ["delivered", "late"].iter().flat_map(|of| audit.of("mqtt_mqtt", of)).collect();
    let differ: Vec<_> = received.symmetric_difference(&came_out).collect();
    assert!(
        differ.is_empty(),
        "handed to the subscriber {}, booked {}; one of both: {differ:?}",
        received.len(),
        came_out.len()
    );
}

#[test]
fn systems_that_die_again_and_again_are_outlived_and_every_figure_is_true() {
    let rounds = std::env::var("LANDFALL_TEST_OUTAGES");
    let rounds: u32 = rounds.map_or(2, |text| text.parse().unwrap());
    let (mut kafka, mut mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic(NAME, 3, &[("message.timestamp.type", "LogAppendTime")]);
    let tap = Tap::mqtt(|payload| stamp(Payload::Json, payload).0);
    tap.lead_to(&mosquitto.address);
    // Few in flight, so that what Kafka does not take stays with the broker.
    let few = ["--in-flight", "50"];
    let bridge = Bridge::start_with(NAME, &mosquitto.address, &kafka.address, &few);
    let mut run = Run::start(&configuration(&tap.address, &kafka.address), &[]);
    for number in 1..=rounds {
        round(number, &run, &tap, (&mut kafka, &mut mosquitto));
    }
    run.terminate();
    let code = run.ended();
    let bridge_said = bridge.stop();
    let audit = audit(&run, &kcat_consume(&kafka.address, NAME), Payload::Json);
    let tally = tap.tally();
    println!(
        "the bridge:\n{bridge_said}\n{rounds} rounds: {audit}\n{} published, {} seen whole on the wire, {} of them resent; {} acknowledged; reconnects: mqtt {}, kafka {}",
        audit.published,
        tally.published.len(),
        tally.resent,
        tally.acknowledged.len(),
        run.last_metric("landfall_reconnects_total{component=\"mqtt\"}"),
        run.last_metric("landfall_reconnects_total{component=\"kafka\"}"),
    );

    assert_eq!(code, i32::from(!audit.passed), "{}", run.said());
    assert_eq!(audit.count("mqtt_kafka", "unresolved"), 0, "{audit}");
    assert!(audit.count("mqtt_kafka", "acked_lost") > 0, "nothing was at stake: {audit}");
    assert!(tally.resent > 0 && audit.duplicates > 0, "no session was resumed: {audit}");
    for lane in run.report()["paths"][0]["lanes"].as_array().unwrap() {
        // Exactly once is MQTT's promise over reconnects. Behind it the bridge may produce a record again
        // whose answer it lost with a Kafka that was killed.
        let by_us = if lane["lane"] == "mqtt_mqtt" { "duplicate" } else { "resent" };
        let copies = &lane["anomalies"][by_us];
        assert!(lane["qos"] != 2 || copies == 0, "QoS 2 is exactly once over reconnects: {lane}");
    }
    hold_against(&tally, &audit, &run);
}
