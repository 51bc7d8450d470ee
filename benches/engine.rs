//! What the engine does for every message before it is sent, and what a stamp costs to find where it
//! is not where it was put. In nanoseconds a message.
//!
//! * `encode`: a message is written from its identity, stamp, filling and checksum included;
//! * `locate`: the stamp is found again: in property and payload, as `benches/arrival.rs` has it, too; in
//!   the payload alone, as behind a bridge that drops properties; in the property alone, when the payload
//!   was cut; and that there is none;
//! * `schedule`: the next slot of so many publishers is taken;
//! * `correlate`: slot, sending and answers of a message, from the correlator's first word of it to its
//!   last, on a path that only loads.
//!
//! What an arrival costs, with a million in flight, is in `benches/arrival.rs`, and what is recorded of it
//! in `benches/telemetry.rs`.

#[path = "plant/roster.rs"]
mod plant;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use landfall::clock::Instant;
use landfall::correlate::{Correlator, Limits, Observation, PublisherId, Qos, Stage};
use landfall::schedule::{Agenda, Arrivals, Config};
use landfall::stamp::{Format, Reading, Run, Stamper};
use landfall::stats::Stats;

const MESSAGES: u64 = 1_000;
/// Messages a second over which schedules are spread.
const RATE: f64 = 10_000.0;
const PUBLISHERS: u32 = 100;

fn stamper() -> Stamper {
    Stamper::new(b"plant-7", Run { epoch: 7, instance: 1 })
}

/// A message as it is sent: the value of its property and its payload.
fn message(stamper: &Stamper, format: Format, size: usize) -> ([u8; 55], Vec<u8>) {
    let mut payload = Vec::new();
    let id = stamper.write(&mut payload, format, size, stamper.identity(0, 3, 77));
    (id.traceparent(), payload)
}

fn encode(criterion: &mut Criterion) {
    let stamper = stamper();
    let mut group = criterion.benchmark_group("encode");
    for (format, size) in [
        (Format::Text, 16),
        (Format::Text, 1_024),
        (Format::Binary, 256),
        (Format::Json, 256),
        (Format::Json, 1_024),
    ] {
        let mut payload = Vec::with_capacity(size);
        let mut number = 0;
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{}, {size} B", format.name()), |bencher| {
            bencher.iter(|| {
                number += 1;
                let identity = stamper.identity(0, 3, black_box(number));
                let stamp = stamper.stamp(identity);
                payload.clear();
                stamp.append(&mut payload, format, size);
                black_box((stamp.property(), &payload));
            });
        });
    }
    group.finish();
}

fn locate(criterion: &mut Criterion) {
    let stamper = stamper();
    let mut group = criterion.benchmark_group("locate");
    let formats = [(Format::Text, 16), (Format::Binary, 256), (Format::Json, 256)];
    for (format, size) in formats {
        let (property, payload) = message(&stamper, format, size);
        let name = format.name();
        let ways = [
            ("both", Some(&property[..]), &payload[..], true),
            ("payload alone", None, &payload[..], true),
            ("property, cut payload", Some(&property[..]), &payload[..size / 2], true),
        ];
        for (way, property, payload, ours) in ways {
            let read = || stamper.read(black_box(property), black_box(payload));
            assert_eq!(matches!(read(), Reading::Ours(_)), ours, "{name}, {way}");
            group.bench_function(format!("{name}, {size} B, {way}"), |bencher| bencher.iter(read));
        }
    }
    let foreign =
        br#"{"device":"pump-4","pressure":2.41,"unit":"bar","at":"2026-11-27T09:38:33Z"}"#;
    let read = || stamper.read(None, black_box(foreign));
    assert_eq!(read(), Reading::Foreign);
    group.bench_function("somebody else's", |bencher| bencher.iter(read));
    group.finish();
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(1));
    for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
        for publishers in [1, 100, 10_000] {
            let plans = Config::shared(arrivals, RATE, (publishers, 0.0), 11);
            let mut agenda = Agenda::new(plans);
            for publisher in 0..publishers {
                agenda.begin(publisher, Instant::ZERO);
            }
            let id = BenchmarkId::new(format!("{arrivals:?}"), publishers);
            group.bench_function(id, |bencher| {
                // All of it has been due for long.
                bencher.iter(|| agenda.take_due(black_box(Instant::from_nanos(u64::MAX))));
            });
        }
    }
    group.finish();
}

/// What is seen of a message of a path without lanes, at QoS 1.
fn seen(number: u64) -> [Observation; 3] {
    let publishers = u64::from(PUBLISHERS);
    let publisher = PublisherId(u32::try_from(number % publishers).unwrap_or(0));
    let sequence = number / publishers;
    let intended = Instant::from_nanos(1_000_000_000 + number * 10_000);
    let (sent, answered) =
        (intended + Duration::from_micros(80), intended + Duration::from_micros(400));
    [
        Observation::Offered { publisher, sequence, intended },
        Observation::Sent { publisher, sequence, at: sent, held: false },
        Observation::Acknowledged {
            publisher,
            sequence,
            stage: Stage::Puback,
            reason: 0,
            at: answered,
        },
    ]
}

fn correlate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("correlate");
    group.throughput(Throughput::Elements(MESSAGES));
    let roster = Arc::new(plant::roster(&[], PUBLISHERS as usize));
    let mut correlator = Correlator::new(Arc::clone(&roster), Limits::default());
    let mut stats = Stats::new(Arc::clone(&roster));
    let (mut events, mut first) = (Vec::new(), 0);
    group.bench_function("a message that is only sent, and counted", |bencher| {
        let setup = || -> Vec<Observation> {
            let numbers = first..first + MESSAGES;
            first = numbers.end;
            numbers.flat_map(seen).collect()
        };
        let booked = |observations: Vec<Observation>| {
            for observation in &observations {
                correlator.observe(observation, &mut events);
            }
            correlator.advance(Instant::ZERO, &mut events);
            stats.apply(&events);
            events.clear();
        };
        bencher.iter_batched(setup, booked, criterion::BatchSize::PerIteration);
    });
    let publish = stats.publish(landfall::correlate::PathId(0), Qos::AtLeastOnce);
    assert_eq!(publish.acknowledged, first, "each was acknowledged");
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = encode, locate, schedule, correlate
}
criterion_main!(benches);
