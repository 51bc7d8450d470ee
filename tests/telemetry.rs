//! The exposition of `telemetry`, as a scraper sees it, and the answers of its HTTP server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where it finds something wrong, in its helper functions, too"
)]

#[path = "support/exposition.rs"]
mod exposition;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::correlate::{
    Arrival, Audience, Bystander, Carrier, Departure, DuplicateCause, Elapsed, Event, Gap, Lane,
    Leg, Outcome, Path, PathId, PublisherId, Qos, Reader, Receive, RecordPlace, Roster,
};
use landfall::shutdown::Tasks;
use landfall::stats::{ClockOffset, InvalidCause, Objective, PeerClock, Quantile, Stats};
use landfall::telemetry::{
    Build, CATALOGUE, Component, Edition, Health, HostFigures, HttpServer, Kind, Label, Metric,
    Pages, Press, ProcessFigures, ScopeFigures, Telemetry, get, press, series_of_path,
};

use exposition::Exposition;

const PLANT: PathId = PathId(0);
const LOCAL: PathId = PathId(1);

fn path(name: &str, lanes: &[Lane], qos: &[Qos], carriers: &[Carrier]) -> Path {
    let (lanes, qos, carriers) = (lanes.to_vec(), qos.to_vec(), carriers.to_vec());
    Path { name: name.into(), lanes, qos, carriers, deadline: Duration::from_secs(30) }
}

/// Path `plant` with everything (publishers 0 to 2 by QoS), and `local` without Kafka (3, QoS 1), which two
/// subscribers listen to.
fn roster() -> Roster {
    let mut roster = Roster::default();
    roster.add(path("plant", &Lane::ALL, &Qos::ALL, &Carrier::ALL), Qos::ALL);
    let qos = [Qos::AtLeastOnce];
    let local = roster.add(path("local", &[Lane::MqttMqtt], &qos, &[Carrier::Payload]), qos);
    roster.set_audience(local, Audience { count: 2, receive: Receive::All });
    roster
}

fn build() -> Build {
    Build { version: "0.1.0".into(), commit: "abc".into() }
}

fn telemetry() -> Telemetry {
    Telemetry::new(&roster(), &build(), None)
}

fn scrape(telemetry: &Telemetry) -> Exposition {
    Exposition::parse(&telemetry.render())
}

/// A message that was due when time began.
const DEPARTURE: Departure =
    Departure { intended: Instant::ZERO, sent: Elapsed::UNKNOWN, acknowledged: Elapsed::UNKNOWN };

/// Where a message lies that came out of an MQTT broker.
const NOWHERE: RecordPlace = RecordPlace { slot: 0, offset: 0 };

fn resolved(publisher: u32, lane: Lane, outcome: Outcome, end_to_end: Option<i64>) -> Event {
    Event::Resolved {
        publisher: PublisherId(publisher),
        sequence: 0,
        lane,
        outcome,
        departure: DEPARTURE,
        not_sent: None,
        arrival: end_to_end.map(|end_to_end| Arrival {
            end_to_end,
            service: Elapsed::UNKNOWN,
            create: Elapsed::UNKNOWN,
            durability_gap: Elapsed::UNKNOWN,
            append: Elapsed::UNKNOWN,
            fetch: Elapsed::UNKNOWN,
            place: NOWHERE,
            span: None,
            stamps: [None, None],
        }),
    }
}

/// Everything that an arrival can bring.
fn plain_arrival(publisher: PublisherId) -> Event {
    let arrival = Arrival {
        end_to_end: 4_000_000,
        service: Elapsed::of(3_000_000),
        create: Elapsed::of(500_000),
        durability_gap: Elapsed::of(250_000),
        append: Elapsed::of(1_000_000),
        fetch: Elapsed::of(2_000_000),
        place: RecordPlace { slot: 4, offset: 0 },
        span: None,
        stamps: [Some(false), Some(true)],
    };
    Event::Resolved {
        publisher,
        sequence: 0,
        lane: Lane::MqttKafka,
        outcome: Outcome::Late,
        departure: DEPARTURE,
        not_sent: None,
        arrival: Some(arrival),
    }
}

/// How many series of a metric the roster makes exist from the start.
fn series_at_start(metric: &Metric, roster: &Roster) -> usize {
    if !metric.labels.contains(&Label::Path) {
        return match metric.name {
            "landfall_scheduler_lag_seconds"
            | "landfall_build_info"
            | "landfall_export_failures_total" => 1,
            "landfall_dropped_total" => 2,
            "landfall_reconnects_total" => Component::ALL.len(),
            _ => 0,
        };
    }
    if metric.kind == Kind::Gauge {
        return 0;
    }
    let of_path = |path: &Path| -> usize {
        let kafka = path.lanes.contains(&Lane::MqttKafka);
        // What a QoS has no answers for, or no end of, has no series.
        let answers = |qos: &Qos| usize::from(*qos == Qos::ExactlyOnce) + 2;
        match metric.name {
            "landfall_leg_latency_seconds" => {
                return path.qos.iter().map(|qos| answers(qos) + usize::from(kafka) * 3).sum();
            }
            "landfall_durability_gap_seconds" => {
                let acknowledged = path.qos.iter().filter(|&&qos| qos != Qos::AtMostOnce);
                return acknowledged.count() * usize::from(kafka);
            }
            // Of paths with more than one subscriber.
            "landfall_deliveries_total" | "landfall_delivery_latency_seconds" => {
                return if path.name == "local" { path.qos.len() } else { 0 };
            }
            // Of clients that are configured.
            "landfall_background_messages_total" => return 0,
            _ => (),
        }
        let domain = |label: &Label| match label {
            Label::Path => 1,
            Label::Lane => path.lanes.len(),
            Label::Qos => path.qos.len(),
            Label::Carrier => path.carriers.len(),
            Label::Partition => usize::from(kafka),
            // Nothing is judged unless it is asked for.
            Label::Slo => 0,
            label => label.values().len(),
        };
        metric.labels.iter().map(domain).product()
    };
    roster.paths().iter().map(of_path).sum()
}

#[test]
fn every_series_of_the_roster_exists_at_zero_from_the_start() {
    let exposition = scrape(&telemetry());
    let roster = roster();
    let mut total = 0;
    for metric in &CATALOGUE {
        let series = exposition.series(metric);
        assert_eq!(series.len(), series_at_start(metric, &roster), "{}", metric.name);
        total += series.len();
        if series.is_empty() {
            assert!(!exposition.families.contains_key(metric.name), "{}", metric.name);
            continue;
        }
        let (kind, help) = &exposition.families[metric.name];
        assert_eq!((kind.as_str(), help.as_str()), (metric.kind.name(), metric.help));
        let declared: BTreeSet<_> = metric.labels.iter().map(|label| label.name()).collect();
        for (labels, value) in series {
            let present: BTreeSet<_> = labels.keys().map(String::as_str).collect();
            assert_eq!(present, declared, "{}", metric.name);
            for label in metric.labels {
                let value = &labels[label.name()];
                let values = label.values();
                assert!(values.is_empty() || values.contains(value), "{}: {value}", metric.name);
            }
            let expected = if metric.name == "landfall_build_info" { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < f64::EPSILON, "{}", metric.name);
        }
    }
    assert!(total > 150, "{total}");
    let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    let undeclared = exposition.families.keys().find(|name| !names.contains(name.as_str()));
    assert_eq!(undeclared, None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of all events")]
fn every_event_moves_its_own_series_and_no_other() {
    let publisher = PublisherId(1);
    let (sequence, lane) = (7, Lane::MqttMqtt);
    let late = Outcome::AckedLost;
    let (intended, slot) = (Instant::ZERO, None);
    let gap = Gap { intended, acknowledged: 5, appended: 3, received: 9, slot };
    let cases: Vec<(Event, Vec<&str>)> = vec![
        (
            Event::Offered { publisher, count: 1 },
            vec!["landfall_offered_messages_total{path=plant,qos=1} 1"],
        ),
        (
            Event::Published { publisher, count: 3, delay: Elapsed::UNKNOWN },
            vec!["landfall_published_messages_total{path=plant,qos=1} 3"],
        ),
        (
            Event::Published { publisher, count: 2, delay: Elapsed::of(1_000_000) },
            vec![
                "landfall_leg_latency_seconds_count{leg=publish_delay,path=plant,qos=1} 2",
                "landfall_leg_latency_seconds_sum{leg=publish_delay,path=plant,qos=1} 0.002",
                "landfall_published_messages_total{path=plant,qos=1} 2",
            ],
        ),
        (
            Event::Acknowledged { publisher: PublisherId(3), sequence: 0, at: Instant::ZERO },
            vec!["landfall_acknowledged_messages_total{path=local,qos=1} 1"],
        ),
        (
            resolved(2, Lane::MqttKafka, Outcome::Delivered, Some(2_000_000)),
            vec![
                "landfall_consumed_records_total{partition=other,path=plant} 1",
                "landfall_end_to_end_latency_seconds_count{lane=mqtt_kafka,path=plant,qos=2} 1",
                "landfall_end_to_end_latency_seconds_sum{lane=mqtt_kafka,path=plant,qos=2} 0.002",
                "landfall_slots_total{lane=mqtt_kafka,outcome=delivered,path=plant,qos=2} 1",
            ],
        ),
        (
            plain_arrival(publisher),
            vec![
                "landfall_consumed_records_total{partition=mqtt-messages-2,path=plant} 1",
                "landfall_durability_gap_seconds_count{path=plant,qos=1} 1",
                "landfall_durability_gap_seconds_sum{path=plant,qos=1} 0.00025",
                "landfall_end_to_end_latency_seconds_count{lane=mqtt_kafka,path=plant,qos=1} 1",
                "landfall_end_to_end_latency_seconds_sum{lane=mqtt_kafka,path=plant,qos=1} 0.004",
                "landfall_leg_latency_seconds_count{leg=append,path=plant,qos=1} 1",
                "landfall_leg_latency_seconds_count{leg=create,path=plant,qos=1} 1",
                "landfall_leg_latency_seconds_count{leg=fetch,path=plant,qos=1} 1",
                "landfall_leg_latency_seconds_sum{leg=append,path=plant,qos=1} 0.001",
                "landfall_leg_latency_seconds_sum{leg=create,path=plant,qos=1} 0.0005",
                "landfall_leg_latency_seconds_sum{leg=fetch,path=plant,qos=1} 0.002",
                "landfall_slots_total{lane=mqtt_kafka,outcome=late,path=plant,qos=1} 1",
                "landfall_stamps_total{carrier=payload,outcome=survived,path=plant} 1",
                "landfall_stamps_total{carrier=property,outcome=lost,path=plant} 1",
            ],
        ),
        (
            resolved(0, lane, Outcome::UnackedLost, None),
            vec!["landfall_slots_total{lane=mqtt_mqtt,outcome=unacked_lost,path=plant,qos=0} 1"],
        ),
        (
            Event::Timed { publisher, leg: Leg::Append, nanos: -500_000 },
            vec![
                "landfall_leg_latency_seconds_count{leg=append,path=plant,qos=1} 1",
                "landfall_leg_latency_seconds_sum{leg=append,path=plant,qos=1} -0.0005",
            ],
        ),
        (
            Event::DurabilityGap { publisher, gap },
            vec!["landfall_durability_gap_seconds_count{path=plant,qos=1} 1"],
        ),
        (
            Event::Timed { publisher: PublisherId(2), leg: Leg::PublishRec, nanos: 1_000_000 },
            vec![
                "landfall_leg_latency_seconds_count{leg=publish_rec,path=plant,qos=2} 1",
                "landfall_leg_latency_seconds_sum{leg=publish_rec,path=plant,qos=2} 0.001",
            ],
        ),
        (
            Event::Duplicate {
                publisher,
                sequence,
                lane,
                cause: DuplicateCause::Pipeline,
                at: Instant::ZERO,
                place: NOWHERE,
                copy: None,
                departure: None,
            },
            vec!["landfall_duplicates_total{cause=pipeline,path=plant,qos=1} 1"],
        ),
        (
            Event::Reordered { publisher, lane, depth: 9 },
            vec!["landfall_reordered_total{path=plant,qos=1} 1"],
        ),
        (
            Event::Corrupt { publisher, sequence, lane, at: Instant::ZERO, place: NOWHERE },
            vec!["landfall_corrupt_total{path=plant,qos=1} 1"],
        ),
        (
            Event::LateRecovery {
                publisher,
                sequence,
                lane,
                was: late,
                end_to_end: Some(40_000_000_000),
                at: Instant::ZERO,
                place: NOWHERE,
                departure: None,
            },
            vec![
                "landfall_end_to_end_latency_seconds_count{lane=mqtt_mqtt,path=plant,qos=1} 1",
                "landfall_end_to_end_latency_seconds_sum{lane=mqtt_mqtt,path=plant,qos=1} 40",
                "landfall_late_recoveries_total{lane=mqtt_mqtt,outcome=acked_lost,path=plant,qos=1} 1",
            ],
        ),
        (
            Event::Negative { publisher, lane },
            vec!["landfall_negative_latency_total{path=plant,qos=1} 1"],
        ),
        (
            Event::Stamp { publisher, carrier: Carrier::Property, survived: false },
            vec!["landfall_stamps_total{carrier=property,outcome=lost,path=plant} 1"],
        ),
        (
            Event::Stamp { publisher, carrier: Carrier::Payload, survived: true },
            vec!["landfall_stamps_total{carrier=payload,outcome=survived,path=plant} 1"],
        ),
        (
            Event::Consumed { path: PLANT, lane: Lane::MqttKafka, partition: 4 },
            vec!["landfall_consumed_records_total{partition=mqtt-messages-2,path=plant} 1"],
        ),
        (
            Event::Consumed { path: PLANT, lane: Lane::MqttKafka, partition: 5 },
            vec!["landfall_consumed_records_total{partition=other,path=plant} 1"],
        ),
        (Event::Consumed { path: LOCAL, lane, partition: 0 }, vec![]),
        (Event::Polled { path: PLANT, reader: Reader::Consumer, nanos: 5 }, vec![]),
        (
            Event::Foreign { path: LOCAL, count: 12 },
            vec!["landfall_foreign_records_total{path=local} 12"],
        ),
        (
            Event::Overflow { publisher },
            vec!["landfall_dropped_total{cause=memory_bound,component=correlator} 1"],
        ),
        (
            Event::Missed { publisher, lane: Lane::MqttKafka },
            vec!["landfall_dropped_total{cause=missed,component=consumer} 1"],
        ),
        (Event::Unconfirmed { publisher, lane: Lane::MqttKafka }, vec![]),
        (Event::Witnessed { publisher, end_to_end: Elapsed::of(1_000) }, vec![]),
        (
            Event::Witnessed { publisher: PublisherId(3), end_to_end: Elapsed::of(2_000_000) },
            vec![
                "landfall_deliveries_total{path=local,qos=1} 1",
                "landfall_delivery_latency_seconds_count{path=local,qos=1} 1",
                "landfall_delivery_latency_seconds_sum{path=local,qos=1} 0.002",
            ],
        ),
        (
            Event::Witnessed { publisher: PublisherId(3), end_to_end: Elapsed::UNKNOWN },
            vec!["landfall_deliveries_total{path=local,qos=1} 1"],
        ),
    ];
    for (event, expected) in cases {
        let telemetry = telemetry();
        telemetry.name_partition(PLANT, 4, "mqtt-messages", 2);
        let before = scrape(&telemetry);
        telemetry.apply(&[event]);
        assert_eq!(scrape(&telemetry).since(&before), expected, "{event:?}");
    }
}

/// Path `plant` is held to everything, `local` to nothing.
fn held() -> Telemetry {
    let (path, lane) = (PLANT, Lane::MqttKafka);
    let target = Duration::from_millis(250);
    let objectives = [
        Objective::Latency { path, lane, quantile: Quantile::P99, target },
        Objective::AckedLost { path, target: 0 },
        Objective::Duplicates { path, target: 2 },
        Objective::Availability { path, lane, target: 0.995 },
    ];
    Telemetry::with_objectives(&roster(), &objectives, &build(), None)
}

/// What events changed in the series of objectives.
fn rated(telemetry: &Telemetry, events: &[Event]) -> Vec<String> {
    let before = scrape(telemetry);
    telemetry.apply(events);
    let changes = scrape(telemetry).since(&before).into_iter();
    changes.filter_map(|it| Some(it.strip_prefix("landfall_slo_")?.to_owned())).collect()
}

#[test]
fn objectives_are_at_zero_from_the_start_and_their_shares_are_told() {
    let exposition = scrape(&held());
    for slo in ["p99", "acked_lost", "duplicates", "availability"] {
        let labels = [("path", "plant"), ("slo", slo)];
        assert_eq!(exposition.value("landfall_slo_good_total", &labels), Some(0.0), "{slo}");
        assert_eq!(exposition.value("landfall_slo_valid_total", &labels), Some(0.0), "{slo}");
    }
    let shares: Vec<_> = ["p99", "acked_lost", "duplicates", "availability"]
        .map(|slo| exposition.value("landfall_slo_objective", &[("path", "plant"), ("slo", slo)]))
        .into();
    assert_eq!(shares, [Some(0.99), Some(1.0), None, Some(0.995)], "two duplicates are no share");
    let local = exposition.samples.iter().filter(|((name, labels), _)| {
        name.starts_with("landfall_slo_") && labels.get("path").is_some_and(|it| it == "local")
    });
    assert_eq!(local.count(), 0);
}

#[test]
fn good_and_valid_slots_are_counted_to_the_nanosecond() {
    let telemetry = held();
    let all_good = [
        "good_total{path=plant,slo=acked_lost} 1",
        "good_total{path=plant,slo=availability} 1",
        "good_total{path=plant,slo=duplicates} 1",
        "good_total{path=plant,slo=p99} 1",
        "valid_total{path=plant,slo=acked_lost} 1",
        "valid_total{path=plant,slo=availability} 1",
        "valid_total{path=plant,slo=duplicates} 1",
        "valid_total{path=plant,slo=p99} 1",
    ];
    let arrival = |nanos| [resolved(0, Lane::MqttKafka, Outcome::Delivered, Some(nanos))];
    assert_eq!(rated(&telemetry, &arrival(250_000_000)), all_good);
    // 251.19 ms is where the bucket ends.
    let but_for_p99: Vec<_> =
        all_good.into_iter().filter(|&it| it != "good_total{path=plant,slo=p99} 1").collect();
    assert_eq!(rated(&held(), &arrival(250_000_001)), but_for_p99);
    let other_lane = rated(&held(), &[resolved(1, Lane::MqttMqtt, Outcome::Late, Some(1))]);
    let of_counts = |it: &&&str| it.contains("acked_lost") || it.contains("duplicates");
    assert_eq!(other_lane, all_good.iter().filter(of_counts).copied().collect::<Vec<_>>());
    assert_eq!(rated(&held(), &[resolved(3, Lane::MqttMqtt, Outcome::Late, Some(1))]), [""; 0]);
}

#[test]
fn losses_count_against_objectives_and_recoveries_undo_nothing() {
    let telemetry = held();
    let lost = [resolved(1, Lane::MqttKafka, Outcome::AckedLost, None)];
    let expected = [
        "valid_total{path=plant,slo=acked_lost} 1",
        "valid_total{path=plant,slo=availability} 1",
        "valid_total{path=plant,slo=p99} 1",
    ];
    assert_eq!(rated(&telemetry, &lost), expected);
    let recovered = |was| {
        [Event::LateRecovery {
            publisher: PublisherId(1),
            sequence: 0,
            lane: Lane::MqttKafka,
            was,
            end_to_end: Some(40_000_000_000),
            at: Instant::ZERO,
            place: NOWHERE,
            departure: None,
        }]
    };
    let expected =
        ["good_total{path=plant,slo=duplicates} 1", "valid_total{path=plant,slo=duplicates} 1"];
    assert_eq!(rated(&telemetry, &recovered(Outcome::AckedLost)), expected);
    // What nobody could say of it did not count, and now does.
    let expected = [
        "good_total{path=plant,slo=acked_lost} 1",
        "good_total{path=plant,slo=duplicates} 1",
        "valid_total{path=plant,slo=acked_lost} 1",
        "valid_total{path=plant,slo=availability} 1",
        "valid_total{path=plant,slo=duplicates} 1",
        "valid_total{path=plant,slo=p99} 1",
    ];
    assert_eq!(rated(&telemetry, &recovered(Outcome::Unresolved)), expected);
    let copy = |cause| {
        [Event::Duplicate {
            publisher: PublisherId(0),
            sequence: 0,
            lane: Lane::MqttKafka,
            cause,
            at: Instant::ZERO,
            place: NOWHERE,
            copy: None,
            departure: None,
        }]
    };
    assert_eq!(rated(&telemetry, &copy(DuplicateCause::Reread)), [""; 0]);
    let expected = ["valid_total{path=plant,slo=duplicates} 1"];
    assert_eq!(rated(&telemetry, &copy(DuplicateCause::Pipeline)), expected);
}

#[test]
fn control_messages_are_in_what_has_a_lane_and_nowhere_else() {
    let mut roster = roster();
    roster.add_twins();
    // Behind the four over MQTT; of QoS 1.
    let (publisher, lane) = (PublisherId(5), Lane::KafkaKafka);
    assert!(roster.publisher(publisher).control);
    let telemetry = Telemetry::new(&roster, &build(), None);
    let before = scrape(&telemetry);
    let Event::Resolved { arrival, .. } = plain_arrival(publisher) else { panic!("no arrival") };
    let (sequence, at, place) = (0, Instant::ZERO, NOWHERE);
    let (cause, was) = (DuplicateCause::Pipeline, Outcome::AckedLost);
    telemetry.apply(&[
        Event::Offered { publisher, count: 1 },
        Event::Published { publisher, count: 1, delay: Elapsed::of(1) },
        Event::Acknowledged { publisher, sequence, at },
        Event::Timed { publisher, leg: Leg::PublishAck, nanos: 1 },
        Event::Resolved {
            publisher,
            sequence,
            lane,
            outcome: Outcome::Delivered,
            departure: DEPARTURE,
            not_sent: None,
            arrival,
        },
        Event::Duplicate {
            publisher,
            sequence,
            lane,
            cause,
            at,
            place,
            copy: None,
            departure: None,
        },
        Event::Reordered { publisher, lane, depth: 1 },
        Event::Corrupt { publisher, sequence, lane, at, place },
        Event::Negative { publisher, lane },
        Event::Stamp { publisher, carrier: Carrier::Payload, survived: true },
        Event::Consumed { path: PLANT, lane, partition: 4 },
        Event::LateRecovery {
            publisher,
            sequence,
            lane,
            was,
            end_to_end: None,
            at,
            place,
            departure: None,
        },
    ]);
    assert_eq!(
        scrape(&telemetry).since(&before),
        [
            "landfall_end_to_end_latency_seconds_count{lane=kafka_kafka,path=plant,qos=1} 1",
            "landfall_end_to_end_latency_seconds_sum{lane=kafka_kafka,path=plant,qos=1} 0.004",
            "landfall_late_recoveries_total{lane=kafka_kafka,outcome=acked_lost,path=plant,qos=1} 1",
            "landfall_slots_total{lane=kafka_kafka,outcome=delivered,path=plant,qos=1} 1",
        ]
    );
}

#[test]
fn clocks_are_there_while_they_are_known() {
    let telemetry = telemetry();
    let offset = ClockOffset { offset_nanos: -1_500_000, bound_nanos: 250_000 };
    let clock = |peer: &str| PeerClock { peer: peer.into(), offset };
    telemetry.set_clocks(&[clock("k1:9092"), clock("k2:9092")]);
    telemetry.set_clocks(&[clock("k2:9092")]);
    let told = scrape(&telemetry);
    let value = |name: &str, peer| told.value(name, &[("peer", peer)]);
    assert_eq!(value("landfall_clock_offset_seconds", "k2:9092"), Some(-0.0015));
    assert_eq!(value("landfall_clock_offset_bound_seconds", "k2:9092"), Some(0.000_25));
    assert_eq!(value("landfall_clock_offset_seconds", "k1:9092"), None);
}

#[test]
fn a_negative_latency_counts_in_the_first_bucket() {
    let telemetry = telemetry();
    telemetry.apply(&[resolved(0, Lane::MqttMqtt, Outcome::Delivered, Some(-1))]);
    let labels = [("path", "plant"), ("lane", "mqtt_mqtt"), ("qos", "0"), ("le", "0.0001")];
    let name = "landfall_end_to_end_latency_seconds_bucket";
    assert_eq!(scrape(&telemetry).value(name, &labels), Some(1.0));
}

#[test]
fn events_of_strangers_are_no_events() {
    let telemetry = telemetry();
    let before = scrape(&telemetry);
    telemetry.apply(&[
        Event::Offered { publisher: PublisherId(99), count: 1 },
        Event::Foreign { path: PathId(9), count: 1 },
        Event::Consumed { path: PathId(9), lane: Lane::MqttKafka, partition: u32::MAX },
    ]);
    telemetry.set_partitions(PathId(9), 1, 1);
    telemetry.window_judged(PathId(9), &[]);
    assert_eq!(scrape(&telemetry).since(&before), Vec::<String>::new());
}

#[test]
fn hostile_names_come_out_as_they_went_in() {
    let names = [
        "a\"b",
        "a\\b",
        "a\\\\b",
        "a\\\"b",
        "a\nb",
        "a\\nb",
        "end\\",
        "{x=\"y\"} 1",
        "ü, ☃",
        "",
        " ",
        "# TYPE x counter",
        "\\\n",
    ];
    let mut roster = Roster::default();
    for name in names {
        let qos = [Qos::AtMostOnce];
        roster.add(path(name, &[Lane::MqttKafka], &qos, &[Carrier::Payload]), qos);
    }
    let telemetry = Telemetry::new(&roster, &build(), None);
    for path in (0..).map(PathId).take(names.len()) {
        telemetry.window_judged(path, &[]);
    }
    let exposition = scrape(&telemetry);
    for metric in CATALOGUE.iter().filter(|metric| metric.labels == [Label::Path]) {
        let found: BTreeSet<_> =
            exposition.series(metric).iter().map(|(labels, _)| labels["path"].clone()).collect();
        let expected: BTreeSet<_> = names.iter().map(|&name| name.to_owned()).collect();
        assert!(found.is_empty() || found == expected, "{}: {found:?}", metric.name);
    }
    assert_eq!(exposition.value("landfall_window_valid", &[("path", "\\\n")]), Some(1.0));
    let histogram = [("path", "a\\\"b"), ("lane", "mqtt_kafka"), ("qos", "0")];
    let count = exposition.value("landfall_end_to_end_latency_seconds_count", &histogram);
    assert_eq!(count, Some(0.0));
}

#[test]
fn partitions_beyond_the_bound_share_a_label() {
    let telemetry = telemetry();
    for index in 0..1_500_u16 {
        telemetry.name_partition(PLANT, u32::from(index), "t", i32::from(index));
    }
    telemetry.name_partition(PLANT, 0, "renamed", 0);
    let all = (0..1_500).map(|partition| Event::Consumed {
        path: PLANT,
        lane: Lane::MqttKafka,
        partition,
    });
    telemetry.apply(&all.collect::<Vec<_>>());
    let exposition = scrape(&telemetry);
    let name = "landfall_consumed_records_total";
    let metric = CATALOGUE.iter().find(|metric| metric.name == name).unwrap();
    assert_eq!(exposition.series(metric).len(), 1_025);
    let value = |partition| exposition.value(name, &[("path", "plant"), ("partition", partition)]);
    assert_eq!(value("other"), Some(476.0));
    assert_eq!(value("t-0"), Some(1.0), "the first name stays");
    assert_eq!(value("t-1023"), Some(1.0));
}

#[test]
fn a_quantile_is_there_only_while_it_has_a_value() {
    let telemetry = telemetry();
    let mut stats = Stats::new(Arc::new(roster()));
    let quantile = |quantile: &str| {
        let labels =
            [("path", "plant"), ("lane", "mqtt_kafka"), ("qos", "1"), ("quantile", quantile)];
        scrape(&telemetry).value("landfall_latency_quantile_seconds", &labels)
    };
    telemetry.set_window(&stats);
    assert_eq!(quantile("1"), None);
    stats.apply(&[resolved(1, Lane::MqttKafka, Outcome::Delivered, Some(250_000_000)); 50]);
    stats.set_in_flight(PLANT, Qos::AtLeastOnce, Lane::MqttKafka, 17);
    stats.roll(10);
    telemetry.set_window(&stats);
    let median = quantile("0.5").unwrap();
    assert!((median / 0.25 - 1.0).abs() < 0.001, "{median}");
    assert_eq!(quantile("0.99"), None, "too few samples");
    assert!(quantile("1").is_some());
    let labels = [("path", "plant"), ("lane", "mqtt_kafka"), ("qos", "1")];
    let in_flight = scrape(&telemetry).value("landfall_in_flight_messages", &labels);
    assert_eq!(in_flight, Some(17.0));
    telemetry.set_window(&Stats::new(Arc::new(roster())));
    assert_eq!(quantile("0.5"), None, "taken away again");
    assert!(!telemetry.render().contains("landfall_latency_quantile_seconds"));
}

#[test]
fn figures_of_host_processes_and_windows() {
    let telemetry = telemetry();
    let before = scrape(&telemetry);
    let host = ScopeFigures {
        cpu_utilization: Some(0.25),
        memory_used: Some(1 << 30),
        memory_total: Some(4 << 30),
    };
    let pressure = [Some(0.5), None, Some(0.0)];
    telemetry.set_host(&HostFigures { host, cgroup: ScopeFigures::default(), pressure });
    let broker = ProcessFigures {
        name: "broker".into(),
        cpu_seconds: Some(1.5),
        resident_bytes: Some(4_096),
    };
    telemetry.set_processes(std::slice::from_ref(&broker));
    telemetry.set_partitions(PLANT, 6, 4);
    telemetry.apply(&[Event::Woken { publisher: PublisherId(0), nanos: 1_000_000 }]);
    telemetry.component_up(Component::Kafka, true);
    telemetry.reconnected(Component::Mqtt);
    telemetry.dropped("journal", "queue_full", 3);
    telemetry.window_judged(PLANT, &[]);
    telemetry.window_judged(PLANT, &[InvalidCause::Reconnecting, InvalidCause::ConsumerBehind]);
    telemetry.window_judged(LOCAL, &[]);
    let exposition = scrape(&telemetry);
    let expected = [
        "landfall_component_up{component=kafka} 1",
        "landfall_dropped_total{cause=queue_full,component=journal} 3",
        "landfall_host_cpu_utilization_ratio{scope=host} 0.25",
        "landfall_host_memory_total_bytes{scope=host} 4294967296",
        "landfall_host_memory_used_bytes{scope=host} 1073741824",
        "landfall_host_pressure_ratio{resource=cpu} 0.5",
        "landfall_invalid_windows_total{cause=consumer_behind,path=plant} 1",
        "landfall_invalid_windows_total{cause=reconnecting,path=plant} 1",
        "landfall_partitions_covered{path=plant} 4",
        "landfall_partitions{path=plant} 6",
        "landfall_process_cpu_seconds_total{process=broker} 1.5",
        "landfall_process_resident_memory_bytes{process=broker} 4096",
        "landfall_reconnects_total{component=mqtt} 1",
        "landfall_scheduler_lag_seconds_count{} 1",
        "landfall_scheduler_lag_seconds_sum{} 0.001",
        "landfall_window_valid{path=local} 1",
    ];
    let mut changes = exposition.since(&before);
    changes.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(changes, expected);
    assert_eq!(exposition.value("landfall_window_valid", &[("path", "plant")]), Some(0.0));
    assert_eq!(exposition.families["landfall_process_cpu_seconds_total"].0, "counter");
    let memory = exposition.value("landfall_host_pressure_ratio", &[("resource", "memory")]);
    assert_eq!(memory, None);
    telemetry.set_processes(&[]);
    telemetry.set_host(&HostFigures::default());
    assert!(!telemetry.render().contains("landfall_process_"));
    assert!(!telemetry.render().contains("landfall_host_"));
}

#[test]
fn nothing_is_lost_while_four_threads_record_and_scrapes_go_on() {
    const BATCHES: u32 = 500;
    const BATCH: u32 = 100;
    let telemetry = telemetry();
    let tasks = Tasks::new();
    for publisher in 0..4 {
        let telemetry = telemetry.clone();
        let record = move || {
            let event = resolved(publisher, Lane::MqttMqtt, Outcome::Delivered, Some(3_000_000));
            let batch = vec![event; BATCH as usize];
            (0..BATCHES).for_each(|_| telemetry.apply(&batch));
        };
        tasks.thread("record", record).unwrap();
    }
    let totals = |exposition: &Exposition| {
        let sum = |name: &str| -> f64 {
            let samples = exposition.samples.iter().filter(|((sample, _), _)| sample == name);
            samples.map(|(_, value)| value).sum()
        };
        [sum("landfall_slots_total"), sum("landfall_end_to_end_latency_seconds_count")]
    };
    let mut last = [0.0; 2];
    for _ in 0..20 {
        let now = totals(&scrape(&telemetry));
        assert!(now[0] >= last[0] && now[1] >= last[1], "{last:?} then {now:?}");
        last = now;
    }
    runtime().block_on(tasks.finished());
    let all = f64::from(4 * BATCHES * BATCH);
    let end = totals(&scrape(&telemetry));
    assert!(end.iter().all(|total| (total - all).abs() < 0.5), "{end:?} of {all}");
}

/// A roster of so many paths that measure everything.
fn paths_with_everything(count: usize) -> Roster {
    let mut roster = Roster::default();
    for index in 0..count {
        let name = format!("path-{index}");
        let id = roster.add(path(&name, &Lane::ALL, &Qos::ALL, &Carrier::ALL), Qos::ALL);
        roster.set_audience(id, Audience { count: 2, receive: Receive::All });
    }
    roster.add_twins();
    roster
}

/// Sets everything of a path that is there only while it has a value.
fn set_everything(telemetry: &Telemetry, roster: Roster) {
    let roster = Arc::new(roster);
    let mut stats = Stats::new(Arc::clone(&roster));
    for (publisher, of) in (0..).zip(roster.publishers()) {
        let lanes = Lane::ALL.iter().filter(|&&lane| (lane == Lane::KafkaKafka) == of.control);
        for &lane in lanes {
            let event = resolved(publisher, lane, Outcome::Delivered, Some(3_000_000));
            stats.apply(&vec![event; 10_000]);
        }
    }
    stats.roll(10);
    telemetry.set_window(&stats);
    for path in (0..).map(PathId).take(roster.paths().len()) {
        telemetry.set_partitions(path, 3, 3);
        telemetry.window_judged(path, &[]);
        for kind in Bystander::ALL {
            telemetry.set_bystanders((path, kind), 5, 1);
        }
    }
}

#[test]
fn a_path_has_no_more_series_than_the_reference_says() {
    let roster = paths_with_everything(1);
    let (path, lane) = (PathId(0), Lane::MqttKafka);
    let target = Duration::from_secs(1);
    let latency = |quantile| Objective::Latency { path, lane, quantile, target };
    let mut objectives: Vec<_> = Quantile::ALL.into_iter().map(latency).collect();
    objectives.push(Objective::AckedLost { path, target: 0 });
    objectives.push(Objective::Duplicates { path, target: 0 });
    objectives.push(Objective::Availability { path, lane, target: 0.999 });
    let telemetry = Telemetry::with_objectives(&roster, &objectives, &build(), None);
    set_everything(&telemetry, roster);
    let exposition = scrape(&telemetry);
    let partition = |labels: &exposition::Labels| labels.contains_key("partition");
    let of_path = exposition.samples.keys().filter(|(_, labels)| labels.contains_key("path"));
    let found = of_path.filter(|(_, labels)| !partition(labels)).count();
    let most = series_of_path(Lane::ALL.len(), Qos::ALL.len());
    // A QoS that is never acknowledged has no such leg; the bound does not look so closely.
    assert!(found <= most && found * 10 > most * 8, "{found} of {most}");
}

#[test]
fn a_scrape_of_20_paths_takes_less_than_10_ms_of_processor_time() {
    let mut roster = Roster::default();
    for index in 0..20 {
        let (lanes, name) = ([Lane::MqttKafka], format!("path-{index}"));
        roster.add(path(&name, &lanes, &[Qos::AtLeastOnce], &Carrier::ALL), [Qos::AtLeastOnce]);
    }
    let nanos = cost_of_scrape("20 paths as they are by default", roster);
    assert!(nanos < 10_000_000, "{nanos} ns");
    cost_of_scrape("20 paths that measure everything", paths_with_everything(20));
}

/// The least processor time of some scrapes, in nanoseconds.
#[expect(clippy::print_stdout, reason = "figures for whoever runs a test by hand")]
fn cost_of_scrape(what: &str, roster: Roster) -> u64 {
    let telemetry = Telemetry::new(&roster, &build(), None);
    set_everything(&telemetry, roster);
    let lines = telemetry.render().lines().count();
    // Time of this thread alone, so that neighbours count as little as they can.
    let spent = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let scrape = |_| {
        let before = spent();
        let text = telemetry.render();
        assert_eq!(text.lines().count(), lines);
        spent() - before
    };
    let mut nanos: Vec<_> = (0..20).map(scrape).collect();
    nanos.sort_unstable();
    let [least, half] = [nanos[0], nanos[10]].map(|nanos| nanos / 1_000);
    println!("{what}: {lines} lines, {least} us at least, {half} us at half");
    nanos[0]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a server while `client` talks to it.
fn serve(pages: Pages, client: impl FnOnce(SocketAddr)) {
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), pages).unwrap();
    let address = server.address();
    let (connections, thread) = (Tasks::new(), Tasks::new());
    let tasks = connections.clone();
    let serving = move || {
        runtime().block_on(async {
            server.serve(tasks.clone()).await.unwrap();
            tasks.finished().await;
        });
    };
    thread.thread("server", serving).unwrap();
    client(address);
    connections.stop();
    runtime().block_on(thread.finished());
}

/// An edition of right now.
fn edition(status: &'static str) -> Edition {
    Edition {
        made: Clock::system().now(),
        status: status.into(),
        worst: "{\"worst\":[]}".into(),
        page: "<p>figures</p>".into(),
    }
}

fn pages() -> (Pages, Press) {
    let clock = Clock::system();
    let (press, readers) = press(clock);
    press.publish(edition("{\"paths\":[]}"));
    let health = Health::new(clock.now(), &[Component::Mqtt, Component::Kafka]);
    (Pages { telemetry: telemetry(), health, readers, clock }, press)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let answer = ask(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

#[test]
fn the_pages_answer() {
    let (pages, press) = pages();
    pages.telemetry.apply(&[Event::Offered { publisher: PublisherId(0), count: 1 }]);
    serve(pages, |address| {
        let (code, head, body) = request(address, "GET", "/metrics");
        assert_eq!(code, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        let offered = [("path", "plant"), ("qos", "0")];
        let value = Exposition::parse(&body).value("landfall_offered_messages_total", &offered);
        assert_eq!(value, Some(1.0));

        let (code, head, body) = request(address, "HEAD", "/metrics");
        assert_eq!((code, body.as_str()), (200, ""));
        assert!(head.contains("content-length: ") && !head.contains("content-length: 0"), "{head}");

        let (code, head, body) = request(address, "GET", "/");
        assert_eq!(code, 200);
        assert!(head.contains("content-type: text/html"), "{head}");
        assert!(body.contains("<p>figures</p>"));
        for link in ["/metrics", "/livez", "/readyz", "/api/v1/status", "/debug/worst"] {
            assert!(body.contains(&format!("href=\"{link}\"")));
            assert_ne!(request(address, "GET", link).0, 404);
            for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
                assert_eq!(request(address, method, link).0, 405, "{method} {link}");
            }
        }
        assert_eq!(request(address, "GET", "/nothing").0, 404);
        assert_eq!(request(address, "GET", "/metrics/").0, 404);
        assert_eq!(request(address, "GET", "/livez").0, 200);

        let (code, head, body) = request(address, "GET", "/api/v1/status");
        assert_eq!((code, body.as_str()), (200, "{\"paths\":[]}"));
        assert!(head.contains("content-type: application/json"), "{head}");
        press.publish(edition("{\"paths\":[1]}"));
        assert_eq!(request(address, "GET", "/api/v1/status").2, "{\"paths\":[1]}");
        assert_eq!(request(address, "GET", "/debug/worst").2, "{\"worst\":[]}");
    });
}

#[test]
fn garbage_and_giants_are_refused() {
    serve(pages().0, |address| {
        assert!(ask(address, "\x16\x03\x01 hello\r\n\r\n").starts_with("HTTP/1.1 400"));
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\na: {}\r\n\r\n", "b".repeat(100_000));
        let answer = ask(address, &long);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        let many = "h: x\r\n".repeat(1_000);
        let answer = ask(address, &format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert_eq!(request(address, "GET", "/livez").0, 200, "still there");
    });
}

#[test]
fn readiness_flips_with_the_components_and_the_client_sees_it() {
    let (pages, _status) = pages();
    let health = pages.health.clone();
    let clock = pages.clock;
    serve(pages, |address| {
        let ready = || {
            let answer = get(address, "/readyz", Duration::from_secs(20), clock).unwrap();
            let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            (answer.status, document)
        };
        let (code, document) = ready();
        assert_eq!(code, 503);
        assert_eq!(document["ready"], false);
        assert_eq!(document["components"]["kafka"]["reason"], "not connected yet");
        health.set(Component::Mqtt, true, "connected");
        health.set(Component::Kafka, true, "6 of 6 partitions assigned");
        let (code, document) = ready();
        assert_eq!(code, 200);
        assert_eq!(document["components"]["kafka"]["up"], true);
        health.set(Component::Mqtt, false, "broker:1883 closed the connection");
        let (code, document) = ready();
        assert_eq!(code, 503);
        assert_eq!(document["components"]["mqtt"]["reason"], "broker:1883 closed the connection");
    });
}

#[test]
fn a_dead_heart_fails_the_liveness() {
    let (mut pages, _status) = pages();
    // The last beat was when the machine started.
    pages.health = Health::new(Instant::ZERO, &[]);
    let (health, clock) = (pages.health.clone(), pages.clock);
    serve(pages, |address| {
        assert_eq!(request(address, "GET", "/livez").0, 503);
        health.beat(clock.now());
        assert_eq!(request(address, "GET", "/livez").0, 200);
    });
}

#[test]
fn a_port_in_use_is_told_before_anything_is_sent() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let error = HttpServer::bind(address, pages().0).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(
        error.to_string(),
        format!("{address} is in use; choose another port or stop what listens there")
    );
}

#[test]
fn the_client_says_where_nobody_answers() {
    let clock = Clock::system();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = get(address, "/readyz", Duration::from_secs(5), clock).unwrap_err();
    assert!(error.to_string().starts_with(&format!("http://{address}/readyz: ")), "{error}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = get(address, "/readyz", Duration::from_millis(50), clock).unwrap_err();
    assert!(error.to_string().contains("no answer in 50ms"), "{error}");
}
