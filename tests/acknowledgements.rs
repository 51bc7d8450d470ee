//! Bridges that are killed under load, between real Mosquitto and real Kafka: one that acknowledges
//! before it produces, whose acknowledgements lie, and one that acknowledges when Kafka has confirmed.
//!
//! Two witnesses that are not ours say what must come out: a tap on the wire between landfall and its
//! broker which messages were acknowledged to it, and `kcat` which of them are in Kafka. What was
//! acknowledged and is not there is lost, message by message. Mosquitto acknowledges to the publisher,
//! and keeps a message until the bridge has acknowledged it: so with the honest bridge nothing is ever
//! lost, and with the other exactly what it had taken and not got rid of.
//!
//! A third is broker and bridge in one, which acknowledges to the publisher itself what Kafka has
//! confirmed: there the durability gap is nothing, whereas behind Mosquitto it lasts until the bridge
//! has done its work.
//!
//! Kafka stands still while the bridge takes messages, so that there is something to lose. What the dead
//! bridge had written to its socket Kafka reads when it goes on: that is not lost, and `kcat` looks last.
//!
//! `LANDFALL_TEST_LYING_BRIDGES` says how many runs there are of the lying bridge (2 without it).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/quantile.rs"]
mod quantile;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/tap.rs"]
mod tap;

use std::collections::{BTreeMap, BTreeSet};

use crossing::{Audit, Bridge, Payload, Run, audit, stamp};
use gateway::{Gateway, serve};
use quantile::at;
use serde_json::Value;
use systems::{Kafka, Mosquitto, Record, kcat_consume};
use tap::{Tally, Tap};

const PUBLISHED: &str = "landfall_published_messages_total";
const ACKNOWLEDGED: &str = "landfall_acknowledged_messages_total";
const CONSUMED: &str = "landfall_consumed_records_total";
/// How often what stands before Kafka dies in a run.
const DEATHS: u32 = 2;
/// How exactly landfall can place a wall time on its own clock, generously, in seconds.
const PAIRING: f64 = 1e-4;

fn configuration(name: &str, mqtt: &str, kafka: &str, lanes: &str) -> String {
    format!(
        "probe: acknowledgements
paths:
  - name: {name}
    mqtt:
      url: 'mqtt://{mqtt}'
      version: 3.1.1
      topic: 'landfall/{name}/{{client}}'
      qos: [1, 2]
      clients: 4
      rate: 300/s
      payload: {{ size: 256, format: json }}
    kafka: {{ brokers: '{kafka}', topics: [{name}] }}
    lanes: [{lanes}]
    deadline: 4s
drain: 40s
telemetry: {{ listen: '127.0.0.1:0' }}
"
    )
}

/// What stands between landfall and Kafka; killed when dropped.
enum Way {
    Bridge(Bridge),
    Gateway(Gateway),
}

/// What a run was found to be.
struct Found {
    name: String,
    audit: Audit,
    tally: Tally,
    records: Vec<Record>,
    report: Value,
    /// QoS by trace id.
    qos: BTreeMap<String, u64>,
    code: i32,
    said: String,
}

impl Found {
    /// Acknowledged to the publisher and not in Kafka: the count that landfall has no part in.
    fn lost(&self) -> BTreeSet<String> {
        self.tally.acknowledged.difference(&self.audit.found).cloned().collect()
    }
}

/// What shows that the way to Kafka has taken messages while Kafka stands still.
#[derive(Clone, Copy)]
enum Stake {
    /// The broker before it goes on acknowledging.
    Acknowledged,
    /// It does not acknowledge what it has.
    Unacknowledged,
}

impl Stake {
    /// Lets Kafka stand still, and waits until 150 messages were taken meanwhile.
    fn raise(self, run: &Run, kafka: &Kafka) {
        let unanswered = run.metric(PUBLISHED) - run.metric(ACKNOWLEDGED);
        kafka.pause();
        let acknowledged = run.metric(ACKNOWLEDGED);
        match self {
            Self::Acknowledged => run.await_metric(ACKNOWLEDGED, acknowledged + 150.0),
            Self::Unacknowledged => {
                run.await_metric(PUBLISHED, acknowledged + unanswered + 150.0);
            }
        }
    }
}

/// One run, in which the way to Kafka dies again and again, each time with messages that it took while
/// Kafka stood still.
fn live_through(
    name: &str,
    lanes: &str,
    stake: Stake,
    kafka: &Kafka,
    start: impl Fn(&Tap) -> Way,
) -> Found {
    kafka.topic(name, 3, &[("message.timestamp.type", "LogAppendTime")]);
    let tap = Tap::mqtt(|payload| stamp(Payload::Json, payload).0);
    let mut way = start(&tap);
    let mut configuration = configuration(name, &tap.address, &kafka.address, lanes);
    if matches!(stake, Stake::Unacknowledged) {
        // An answer is awaited for twice the deadline, and here each comes after an outage.
        configuration = configuration.replace("deadline: 4s", "deadline: 20s");
    }
    let mut run = Run::start(&configuration, &[]);
    let go_on = |run: &Run| {
        let arrived = run.metric(CONSUMED);
        run.await_metric(CONSUMED, arrived + 200.0);
    };
    for _ in 0..DEATHS {
        go_on(&run);
        stake.raise(&run, kafka);
        drop(way);
        kafka.resume();
        way = start(&tap);
    }
    go_on(&run);
    run.terminate();
    let code = run.ended();
    match way {
        Way::Bridge(bridge) => drop(bridge.stop()),
        Way::Gateway(gateway) => drop(gateway),
    }
    let records = kcat_consume(&kafka.address, name);
    let audit = audit(&run, &records, Payload::Json);
    let slots = run.slots();
    let qos = slots.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        (fields[5].to_owned(), fields[2].parse().unwrap())
    });
    let (qos, name) = (qos.collect(), name.to_owned());
    let (tally, report, said) = (tap.tally(), run.report(), run.said());
    Found { name, audit, tally, records, report, qos, code, said }
}

/// The same with a bridge that acknowledges to Mosquitto as it is told.
fn live_through_with_bridge(
    name: &str,
    acknowledge: &str,
    (kafka, mosquitto): (&Kafka, &Mosquitto),
) -> Found {
    live_through(name, "mqtt_kafka, mqtt_mqtt", Stake::Acknowledged, kafka, |tap| {
        tap.lead_to(&mosquitto.address);
        let arguments = ["--acknowledge", acknowledge];
        Way::Bridge(Bridge::start_with(name, &mosquitto.address, &kafka.address, &arguments))
    })
}

/// Holds the books of a run against what was seen on the wire and found in Kafka.
fn hold_against_witnesses(found: &Found) {
    let Found { name, audit, tally, said, .. } = found;
    let (lost, booked) = (found.lost(), audit.of("mqtt_kafka", "acked_lost"));
    println!(
        "{name}: acknowledged {}, of them not in Kafka {}, acked_lost {}; {audit}",
        tally.acknowledged.len(),
        lost.len(),
        booked.len()
    );
    let differ: Vec<_> = lost.symmetric_difference(&booked).collect();
    assert!(differ.is_empty(), "lost or booked as lost, not both: {differ:?}\n{said}");
    assert_eq!(audit.acknowledged, tally.acknowledged.len() as u64, "{audit}");
    assert_eq!(audit.count("mqtt_kafka", "unresolved"), 0, "{audit}\n{said}");
}

/// No reported durability gap is larger than the witnesses allow. Of each message they allow the time from
/// when its acknowledgement was handed over, to the end of the millisecond in which Kafka appended it. A
/// reported one is as long or shorter, since landfall reads the answer after it was handed over, but for
/// what it says itself that it does not know of Kafka's clock; and with every single one every quantile.
/// Returns the longest of both, in seconds.
fn hold_gap_against_witnesses(found: &Found) -> (f64, f64) {
    let path = &found.report["paths"][0];
    let offsets = path["clock_offsets"].as_array().into_iter().flatten();
    let offset = offsets.map(|of| of["bound_seconds"].as_f64().unwrap()).fold(0.0, f64::max);
    let (mut longest, mut longest_allowed) = (0.0_f64, 0.0_f64);
    for qos in [1, 2] {
        let allowed = allowed_gaps(found, qos);
        let lanes = path["lanes"].as_array().unwrap();
        let lane = lanes.iter().find(|of| of["lane"] == "mqtt_kafka" && of["qos"] == qos).unwrap();
        let gap = &lane["durability_gap_seconds"];
        assert_eq!(gap["count"], allowed.len(), "{}: {gap}", found.name);
        for (name, share) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)]
        {
            let (reported, allowed) = (gap[name].as_f64().unwrap(), at(&allowed, share) / 1e9);
            let bound = allowed * 1.001 + PAIRING + offset;
            assert!(reported <= bound, "{}: {name} {reported}, at most {bound}", found.name);
            (longest, longest_allowed) = (longest.max(reported), longest_allowed.max(allowed));
        }
    }
    println!("{}: durability gap up to {longest} s, bound {longest_allowed} s", found.name);
    (longest, longest_allowed)
}

/// What the witnesses allow of each acknowledged message of this QoS that is in Kafka, in nanoseconds,
/// ascending.
fn allowed_gaps(found: &Found, qos: u64) -> Vec<i64> {
    let mut appended = BTreeMap::new();
    for record in &found.records {
        let (id, _) = stamp(Payload::Json, record.value.as_deref().unwrap());
        // Copies of a message are in one partition, and the first of them counts.
        let first = appended.entry(id).or_insert((record.offset, record.timestamp_millis));
        *first = (record.offset, record.timestamp_millis).min(*first);
    }
    let mut allowed: Vec<i64> = appended
        .iter()
        .filter(|(id, _)| found.qos[*id] == qos)
        .filter_map(|(id, (_, millis))| {
            let handed = found.tally.acknowledged_at.get(id)?;
            Some(((millis + 1) * 1_000_000 - handed.nanos()).max(0))
        })
        .collect();
    allowed.sort_unstable();
    allowed
}

/// Kafka with a session that outlasts its pauses.
fn kafka() -> Kafka {
    Kafka::start(&["broker.session.timeout.ms=60000"])
}

#[test]
fn what_a_lying_bridge_loses_is_counted_to_the_message() {
    let runs = std::env::var("LANDFALL_TEST_LYING_BRIDGES");
    let runs: u32 = runs.map_or(2, |text| text.parse().unwrap());
    let (kafka, mosquitto) = (kafka(), Mosquitto::start(&[]));
    for number in 1..=runs {
        let name = format!("lying-{number}");
        let found = live_through_with_bridge(&name, "before-kafka", (&kafka, &mosquitto));
        hold_against_witnesses(&found);
        let Found { audit, said, .. } = &found;
        assert!(!found.lost().is_empty(), "nothing was at stake: {audit}");
        assert_eq!(found.code, 1, "a loss fails the verdict\n{said}");
        // Mosquitto lived through it, and with it the other lane.
        assert_eq!(audit.came_out["mqtt_mqtt"], audit.slots, "{audit}");
    }
}

#[test]
fn an_honest_bridge_loses_nothing_that_was_acknowledged() {
    let (kafka, mosquitto) = (kafka(), Mosquitto::start(&[]));
    let found = live_through_with_bridge("honest", "after-kafka", (&kafka, &mosquitto));
    hold_against_witnesses(&found);
    let Found { audit, said, .. } = &found;
    assert_eq!(found.lost(), BTreeSet::new(), "{audit}");
    assert_eq!(audit.came_out["mqtt_kafka"], audit.slots, "{audit}");
    assert_eq!(found.code, 0, "{said}");
    // What was acknowledged while Kafka stood still was long at the mercy of Mosquitto and the bridge.
    let (longest, allowed) = hold_gap_against_witnesses(&found);
    assert!(longest > allowed / 2.0, "{longest} s, the witnesses saw {allowed} s");
}

#[test]
fn an_acknowledgement_behind_kafka_is_never_of_something_lost() {
    let kafka = kafka();
    let found = live_through("gateway", "mqtt_kafka", Stake::Unacknowledged, &kafka, |tap| {
        let gateway = Gateway::start("the_gateway", &kafka.address, "gateway");
        tap.lead_to(&gateway.address);
        Way::Gateway(gateway)
    });
    hold_against_witnesses(&found);
    let Found { audit, said, .. } = &found;
    assert_eq!(found.lost(), BTreeSet::new(), "{audit}");
    assert!(audit.came_out["mqtt_kafka"] < audit.slots, "nothing was at stake: {audit}");
    assert_eq!(found.code, 0, "{said}");
    // The millisecond is that of Kafka's timestamps.
    let (_, allowed) = hold_gap_against_witnesses(&found);
    assert!(allowed <= 1e-3, "the gateway acknowledged {allowed} s before Kafka had it");
}

#[test]
#[ignore = "no test: the process that the others kill"]
fn the_gateway() {
    serve();
}
