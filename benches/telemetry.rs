//! What it costs to count and record the events of messages, and to scrape.

#[path = "plant/roster.rs"]
mod plant;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use landfall::clock::Instant;
use landfall::correlate::{
    Arrival, Departure, Event, Lane, Leg, Outcome, PathId, PublisherId, RecordPlace,
};
use landfall::telemetry::{Build, Telemetry};
use plant::roster;

const MESSAGES: u64 = 1_000;

fn telemetry() -> Telemetry {
    let roster = roster(4);
    let telemetry =
        Telemetry::new(&roster, &Build { version: "0".into(), commit: "0".into() }, None);
    telemetry.name_partition(PathId(0), 0, "mqtt-messages", 0);
    telemetry
}

/// A message that was due when time began.
const DEPARTURE: Departure = Departure { intended: Instant::ZERO, sent: None, acknowledged: None };

/// Everything that a message at QoS 1 gives rise to when all is well.
fn message(publisher: PublisherId) -> [Event; 6] {
    let timed = |leg| Event::Timed { publisher, leg, nanos: 1_000_000 };
    [
        Event::Offered { publisher },
        Event::Published { publisher },
        timed(Leg::PublishDelay),
        Event::Acknowledged { publisher, sequence: 0, at: Instant::ZERO },
        timed(Leg::PublishAck),
        Event::Resolved {
            publisher,
            sequence: 0,
            lane: Lane::MqttKafka,
            outcome: Outcome::Delivered,
            departure: DEPARTURE,
            not_sent: None,
            arrival: Some(Arrival {
                end_to_end: 4_000_000,
                service: Some(3_000_000),
                append: Some(1_000_000),
                fetch: Some(2_000_000),
                place: RecordPlace { slot: 0, offset: 0 },
                span: None,
                stamps: [Some(true); 2],
            }),
        },
    ]
}

fn costs(criterion: &mut Criterion) {
    let telemetry = telemetry();
    let events: Vec<_> = (0..4).cycle().map(PublisherId).take(1_000).flat_map(message).collect();
    let mut group = criterion.benchmark_group("telemetry");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("apply", |bencher| {
        let setup = || telemetry.upkeep();
        let apply = |()| telemetry.apply(black_box(&events));
        bencher.iter_batched(setup, apply, BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("apply and upkeep, a message", |bencher| {
        bencher.iter(|| {
            telemetry.apply(black_box(&events));
            telemetry.upkeep();
        });
    });
    group.finish();
    criterion.bench_function("telemetry/render", |bencher| bencher.iter(|| telemetry.render()));
}

criterion_group!(benches, costs);
criterion_main!(benches);
