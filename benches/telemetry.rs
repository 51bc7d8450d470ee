//! What it costs to count and record the events of messages, and to scrape.

#[path = "plant/roster.rs"]
mod plant;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use landfall::clock::{Clock, Instant};
use landfall::correlate::{
    Arrival, Departure, Elapsed, Event, Lane, Leg, Outcome, PathId, PublisherId, RecordPlace,
};
use landfall::stamp::{Run, Stamper};
use landfall::telemetry::{
    Build, Choice, Histograms, Identity, Source, Telemetry, Tracer, span_queue,
};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use plant::roster;

const MESSAGES: u64 = 1_000;

/// The recorder of a run; with `otlp` what is sent over OTLP is recorded, too.
fn telemetry(otlp: bool) -> Telemetry {
    let roster = roster(&[Lane::MqttKafka], 4);
    let identity = Identity { probe: "p".into(), host: "h".into(), version: "0".into() };
    let build = Build { version: "0".into(), commit: "0".into() };
    let otlp = otlp.then_some((Histograms::Explicit, &identity));
    let telemetry = Telemetry::new(&roster, &build, otlp);
    telemetry.name_partition(PathId(0), 0, "mqtt-messages", 0);
    telemetry
}

/// A message that was due when time began.
const DEPARTURE: Departure =
    Departure { intended: Instant::ZERO, sent: Elapsed::of(0), acknowledged: Elapsed::of(1) };

/// Everything that a message at QoS 1 gives rise to when all is well.
fn message(publisher: PublisherId) -> [Event; 5] {
    let timed = |leg| Event::Timed { publisher, leg, nanos: 1_000_000 };
    [
        Event::Offered { publisher, count: 1 },
        Event::Published { publisher, count: 1, delay: Elapsed::of(1_000_000) },
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
                service: Elapsed::of(3_000_000),
                create: Elapsed::UNKNOWN,
                durability_gap: Elapsed::UNKNOWN,
                append: Elapsed::of(1_000_000),
                fetch: Elapsed::of(2_000_000),
                place: RecordPlace { slot: 0, offset: 0 },
                span: None,
                stamps: [Some(true); 2],
            }),
        },
    ]
}

/// Traces what is slow, late, lost or double, and no share beside.
fn tracer(telemetry: &Telemetry) -> Tracer {
    let source = Source {
        topic: "t".into(),
        template: "t".into(),
        client_id: "c".into(),
        host: "h".into(),
        port: 1883,
        version: "5",
        size: 256,
    };
    let sources = std::iter::repeat_n(source, 4).collect();
    let (sink, _) = span_queue(telemetry);
    let stamper = Stamper::new(b"p", Run { epoch: 1, instance: 1 });
    let choice = Choice { sample: 0.0, slow_nanos: 1_000_000_000 };
    Tracer::new((Arc::new(roster(&[Lane::MqttKafka], 4)), sources), stamper, choice, sink)
}

fn costs(criterion: &mut Criterion) {
    let (telemetry, both) = (telemetry(false), telemetry(true));
    let events: Vec<_> = (0..4).cycle().map(PublisherId).take(1_000).flat_map(message).collect();
    let mut group = criterion.benchmark_group("telemetry");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("apply", |bencher| {
        bencher.iter(|| telemetry.apply(black_box(&events)));
    });
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("apply, a message", |bencher| {
        bencher.iter(|| telemetry.apply(black_box(&events)));
    });
    group.bench_function("the same with OTLP, a message", |bencher| {
        bencher.iter(|| both.apply(black_box(&events)));
    });
    let now = Clock::system().pairing();
    let mut tracer = tracer(&telemetry);
    group.bench_function("what a message costs that is not traced", |bencher| {
        bencher.iter(|| tracer.apply(black_box(&events), &now));
    });
    group.finish();
    let mut collected = ResourceMetrics::default();
    criterion.bench_function("telemetry/collect", |bencher| {
        bencher.iter(|| both.collect(&mut collected));
    });
    criterion.bench_function("telemetry/render", |bencher| bencher.iter(|| telemetry.render()));
}

criterion_group!(benches, costs);
criterion_main!(benches);
