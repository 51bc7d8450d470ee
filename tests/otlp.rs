//! OTLP as it goes over the wire: every series is the one of `/metrics`, a Collector that refuses,
//! hangs or is away costs nothing but its own figures, and the end brings the last values.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it finds something wrong, in its helper functions, too"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/exposition.rs"]
mod exposition;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/sink.rs"]
mod sink;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::correlate::{
    Arrival, Audience, Bystander, Carrier, Departure, DuplicateCause, Elapsed, Event, Gap, Lane,
    Leg, Outcome, Path, PathId, PublisherId, Qos, Receive, RecordPlace, Roster,
};
use landfall::shutdown::Tasks;
use landfall::splitmix::mix;
use landfall::stamp::{Run, Stamper};
use landfall::stats::{ClockOffset, InvalidCause, Objective, PeerClock, Quantile, Stats};
use landfall::telemetry::{
    Build, CATALOGUE, Choice, Component, Health, Histograms, HostFigures, Identity, Kind, Otlp,
    OtlpConfig, ProcessFigures, Protocol, ScopeFigures, Source, SpanQueue, SpanSink, Target,
    Telemetry, Tracer, span_queue,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use exposition::Exposition;
use sink::{Mode, Sink, attributes, by_name, samples};

const DEPARTURE: Departure =
    Departure { intended: Instant::ZERO, sent: Elapsed::UNKNOWN, acknowledged: Elapsed::UNKNOWN };

/// A durability gap of so many nanoseconds.
fn gap(nanos: i64) -> Gap {
    let (intended, received, slot) = (Instant::ZERO, i64::MAX, None);
    Gap { intended, acknowledged: 0, appended: nanos, received, slot }
}

fn roster() -> Roster {
    let mut roster = Roster::default();
    let path = |name: &str| Path {
        name: name.into(),
        lanes: Lane::ALL.to_vec(),
        qos: Qos::ALL.to_vec(),
        carriers: Carrier::ALL.to_vec(),
        deadline: Duration::from_secs(30),
    };
    let plant = roster.add(path("plant"), Qos::ALL);
    roster.set_audience(plant, Audience { count: 2, receive: Receive::All });
    roster.add(path("yard"), Qos::ALL);
    roster
}

fn identity() -> Identity {
    Identity { probe: "plant-7".into(), host: "h1".into(), version: "1.2.3".into() }
}

fn telemetry(histograms: Histograms) -> Telemetry {
    let build = Build { version: "1.2.3".into(), commit: "abc".into() };
    let (path, lane) = (PathId(0), Lane::MqttKafka);
    let (quantile, target) = (Quantile::P999, Duration::from_secs(2));
    let objectives = [
        Objective::Latency { path, lane, quantile, target },
        Objective::AckedLost { path, target: 0 },
        Objective::Duplicates { path: PathId(1), target: 0 },
        Objective::Availability { path: PathId(1), lane, target: 0.999 },
    ];
    let otlp = Some((histograms, &identity()));
    Telemetry::with_objectives(&roster(), &objectives, &build, otlp)
}

/// A message's whole story, every kind of event in it.
fn story(round: u64) -> Vec<Event> {
    let random = |salt: u64| mix(round * 31 + salt);
    let publisher = PublisherId(u32::try_from(random(0) % 6).unwrap());
    let lane = Lane::ALL[usize::try_from(random(1) % 2).unwrap()];
    let outcome = Outcome::ALL[usize::try_from(random(2) % 7).unwrap()];
    let cause = DuplicateCause::ALL[usize::try_from(random(3) % 3).unwrap()];
    let carrier = Carrier::ALL[usize::try_from(random(4) % 2).unwrap()];
    let nanos =
        |salt| i64::try_from((random(salt) % 90_000_000_000) >> (random(salt + 1) % 36)).unwrap();
    let place = RecordPlace { slot: u32::try_from(random(5) % 3).unwrap(), offset: 0 };
    let (at, sequence) = (Instant::ZERO, round);
    let arrival = Arrival {
        end_to_end: nanos(10),
        service: Elapsed::of(nanos(12)),
        create: Elapsed::of(nanos(26)),
        durability_gap: Elapsed::of(nanos(28)),
        append: Elapsed::of(nanos(14) - 500_000),
        fetch: Elapsed::of(nanos(16)),
        place,
        span: None,
        stamps: [Some(round.is_multiple_of(2)), None],
    };
    let was = Outcome::AckedLost;
    vec![
        Event::Woken { publisher, nanos: nanos(18) },
        Event::Offered { publisher, count: 1 },
        Event::Published { publisher, count: 1, delay: Elapsed::of(nanos(22)) },
        Event::Acknowledged { publisher, sequence, at },
        Event::Timed { publisher, leg: Leg::PublishAck, nanos: nanos(20) },
        Event::DurabilityGap { publisher, gap: gap(nanos(30)) },
        Event::Timed { publisher, leg: Leg::PublishRec, nanos: nanos(32) },
        Event::Resolved {
            publisher,
            sequence,
            lane,
            outcome,
            departure: DEPARTURE,
            not_sent: None,
            arrival: Some(arrival),
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
        Event::Reordered { publisher, lane, depth: 3 },
        Event::Corrupt { publisher, sequence, lane, at, place },
        Event::Negative { publisher, lane },
        Event::Stamp { publisher, carrier, survived: round.is_multiple_of(3) },
        Event::LateRecovery {
            publisher,
            sequence,
            lane,
            was,
            end_to_end: Some(nanos(24)),
            at,
            place,
            departure: None,
        },
        Event::Foreign { path: PathId(1), count: 2 },
        Event::Overflow { publisher },
    ]
}

/// Sets everything that is not an event.
fn set_figures(telemetry: &Telemetry) {
    let scope = ScopeFigures {
        cpu_utilization: Some(0.25),
        memory_used: Some(123_456_789),
        memory_total: Some(1 << 34),
    };
    let pressure = [Some(0.01), None, Some(0.0)];
    telemetry.set_host(&HostFigures { host: scope, cgroup: scope, pressure });
    let process = |name: &str, cpu| ProcessFigures {
        name: name.into(),
        cpu_seconds: Some(cpu),
        resident_bytes: Some(98_765),
    };
    telemetry.set_processes(&[process("self", 12.25), process("a\"b\\c", 0.5)]);
    telemetry.component_up(Component::Mqtt, true);
    telemetry.component_up(Component::Kafka, false);
    telemetry.reconnected(Component::Kafka);
    telemetry.name_partition(PathId(0), 0, "mqtt-messages", 0);
    telemetry.name_partition(PathId(0), 1, "mqtt-messages", 1);
    telemetry.set_partitions(PathId(0), 3, 2);
    telemetry.set_busiest(PathId(0), Some(0.25));
    telemetry.set_load(PathId(0), true);
    telemetry.set_bystanders((PathId(0), Bystander::Idle), 3, 1);
    let offset = ClockOffset { offset_nanos: -1_234_567, bound_nanos: 345_678 };
    telemetry.set_clocks(&[PeerClock { peer: "k:9092".into(), offset }]);
    telemetry.window_judged(PathId(0), &[]);
    telemetry.window_judged(PathId(1), &[InvalidCause::ALL[0]]);
    telemetry.dropped("otlp", "queue_full", 7);
    let mut stats = Stats::new(Arc::new(roster()));
    stats.apply(&(0..300).flat_map(story).collect::<Vec<_>>());
    stats.roll(10);
    telemetry.set_window(&stats);
}

/// OTLP at work against a sink.
struct Sending {
    telemetry: Telemetry,
    health: Health,
    tasks: Tasks,
    thread: Tasks,
}

impl Sending {
    fn start(
        telemetry: Telemetry,
        sink: &Sink,
        interval: Duration,
        queue: Option<SpanQueue>,
    ) -> Self {
        let target = |path| {
            let url = format!("{}{path}", sink.url());
            Some(Target { url, protocol: Protocol::Http })
        };
        let config = OtlpConfig {
            metrics: target("/v1/metrics"),
            traces: target("/v1/traces"),
            interval,
            histograms: Histograms::Explicit,
            sample: 1.0,
            slow: Duration::from_secs(1),
        };
        let health = Health::new(Clock::system().now(), &[Component::Mqtt, Component::Otlp]);
        let (tasks, thread) = (Tasks::new(), Tasks::new());
        let (group, mine, its) = (tasks.clone(), telemetry.clone(), health.clone());
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                Otlp::new(&config, (&mine, &its), &identity(), queue).unwrap().run(&group);
                group.finished().await;
            });
        };
        thread.thread("otlp", work).unwrap();
        Self { telemetry, health, tasks, thread }
    }

    fn stop(&self) {
        self.tasks.stop();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.thread.finished());
    }
}

const NEVER: Duration = Duration::from_hours(1);

/// Holds a request against a scrape of the same moment: every series, every bucket.
fn compare(
    telemetry: &Telemetry,
    sent: &std::collections::BTreeMap<(String, exposition::Labels), f64>,
) {
    let scraped = Exposition::parse(&telemetry.render()).samples;
    let names = |samples: &std::collections::BTreeMap<(String, exposition::Labels), f64>| {
        samples.keys().cloned().collect::<BTreeSet<_>>()
    };
    let (there, here) = (names(&scraped), names(sent));
    let missing: Vec<_> = there.difference(&here).collect();
    let invented: Vec<_> = here.difference(&there).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}, invented {invented:?}"
    );
    for (series, &value) in &scraped {
        let other = sent[series];
        // Both add up the same numbers, in an order of their own.
        let is_sum = series.0.ends_with("_sum");
        let near = if is_sum { value.abs() * 1e-12 } else { 0.0 };
        assert!((other - value).abs() <= near, "{series:?}: {value} scraped, {other} sent");
    }
}

#[test]
fn every_series_is_the_same_in_metrics_and_over_otlp() {
    let sink = Sink::start();
    let sending = Sending::start(telemetry(Histograms::Explicit), &sink, NEVER, None);
    sink.await_that("the first sending", |inbox| !inbox.metrics.is_empty());
    for round in 0..5_000 {
        sending.telemetry.apply(&story(round));
    }
    set_figures(&sending.telemetry);
    sending.stop();
    let inbox = sink.inbox();
    let last = inbox.metrics.last().unwrap();
    compare(&sending.telemetry, &samples(last));

    let metrics = by_name(last);
    let names: BTreeSet<_> = metrics.keys().map(String::as_str).collect();
    assert_eq!(names, CATALOGUE.iter().map(|metric| metric.name).collect());
    for metric in &CATALOGUE {
        let sent = &metrics[metric.name];
        assert_eq!((&*sent.unit, &*sent.description), (metric.unit, metric.help));
        let is_as_declared = match metric.kind {
            Kind::Counter | Kind::FloatCounter => matches!(sent.data, Some(Data::Sum(_))),
            Kind::Gauge => matches!(sent.data, Some(Data::Gauge(_))),
            Kind::Histogram => matches!(sent.data, Some(Data::Histogram(_))),
        };
        assert!(is_as_declared, "{}", metric.name);
    }
}

#[test]
fn counters_and_histograms_are_sent_as_zero_from_the_start() {
    let sink = Sink::start();
    let sending = Sending::start(telemetry(Histograms::Explicit), &sink, NEVER, None);
    sending.stop();
    let sent = samples(sink.inbox().metrics.last().unwrap());
    let scraped = Exposition::parse(&sending.telemetry.render()).samples;
    // The SDK sends the one histogram without labels from its first value on.
    let unlabelled = |(name, _): &&(String, _)| name.starts_with("landfall_scheduler_lag_seconds");
    let there: BTreeSet<_> = scraped.keys().filter(|key| !unlabelled(key)).collect();
    assert_eq!(there, sent.keys().collect());
    let counted = sent.iter().filter(|((name, _), _)| name.ends_with("_total"));
    assert!(counted.clone().count() > 100);
    assert!(counted.clone().all(|(_, &value)| value == 0.0), "nothing has happened");
}

#[test]
fn a_value_that_is_gone_is_gone_over_otlp_too() {
    let sink = Sink::start();
    let sending = Sending::start(telemetry(Histograms::Explicit), &sink, NEVER, None);
    set_figures(&sending.telemetry);
    sink.await_that("the first sending", |inbox| !inbox.metrics.is_empty());
    sending.telemetry.set_host(&HostFigures::default());
    sending.telemetry.set_processes(&[]);
    sending.telemetry.apply(&story(1));
    sending.stop();
    let sent = samples(sink.inbox().metrics.last().unwrap());
    compare(&sending.telemetry, &sent);
    assert!(!sent.keys().any(|(name, _)| name.starts_with("landfall_host_")), "{sent:?}");
}

#[test]
fn exponential_histograms_have_the_same_counts_and_sums() {
    let sink = Sink::start();
    let sending = Sending::start(telemetry(Histograms::Exponential), &sink, NEVER, None);
    for round in 0..2_000 {
        sending.telemetry.apply(&story(round));
    }
    sending.stop();
    let inbox = sink.inbox();
    let scraped = Exposition::parse(&sending.telemetry.render()).samples;
    let mut compared = 0;
    for (name, metric) in by_name(inbox.metrics.last().unwrap()) {
        let Some(Data::ExponentialHistogram(histogram)) = metric.data else { continue };
        for point in histogram.data_points {
            let labels = attributes(&point.attributes);
            let count = scraped[&(format!("{name}_count"), labels.clone())];
            let sum = scraped[&(format!("{name}_sum"), labels)];
            assert_eq!(point.count.to_string(), count.to_string(), "{name}");
            assert!((point.sum.unwrap() - sum).abs() <= sum.abs() * 1e-12, "{name}");
            let counts = |buckets: Option<&Vec<u64>>| buckets.map_or(0, |it| it.iter().sum());
            let positive: u64 = counts(point.positive.as_ref().map(|it| &it.bucket_counts));
            let negative: u64 = counts(point.negative.as_ref().map(|it| &it.bucket_counts));
            assert_eq!(positive + negative + point.zero_count, point.count, "{name}");
            compared += point.count;
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn a_collector_that_refuses_is_told_of_and_taken_up_again() {
    let sink = Sink::start();
    let telemetry = telemetry(Histograms::Explicit);
    let (spans, queue) = span_queue(&telemetry);
    let sending = Sending::start(telemetry, &sink, Duration::from_millis(50), Some(queue));
    sink.await_that("the first sending", |inbox| !inbox.metrics.is_empty());
    sink.set(Mode::Status(503));
    tracer(spans).apply(&slow(0..10), &Clock::system().pairing());
    sink.await_that("a refusal", |inbox| inbox.refused > 8);
    let scraped = |name: &str, labels: &[(&str, &str)]| {
        Exposition::parse(&sending.telemetry.render()).value(name, labels)
    };
    let otlp = [("component", "otlp")];
    while scraped("landfall_export_failures_total", &otlp) < Some(2.0) {
        std::thread::yield_now();
    }
    assert_eq!(scraped("landfall_component_up", &otlp), Some(0.0));
    sending.health.set(Component::Mqtt, true, "connected");
    let readiness = sending.health.readiness();
    assert!(readiness.ready, "the measurement does not need a Collector: {readiness:?}");
    let state = &readiness.components["otlp"];
    assert!(!state.up && !state.needed && state.reason.contains("503"), "{state:?}");

    sending.telemetry.apply(&story(3));
    sink.set(Mode::Take);
    let before = sink.inbox().metrics.len();
    sink.await_that("what is taken", |inbox| inbox.metrics.len() > before);
    sink.await_that("every span", |inbox| !inbox.traces.is_empty());
    assert_eq!(sink.spans().len(), 30, "none is lost");
    while scraped("landfall_component_up", &otlp) != Some(1.0) {
        std::thread::yield_now();
    }
    sending.stop();
    compare(&sending.telemetry, &samples(sink.inbox().metrics.last().unwrap()));
    assert_eq!(scraped("landfall_reconnects_total", &otlp), Some(1.0));
}

#[test]
fn a_collector_that_hangs_does_not_hold_up_the_end() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let telemetry = telemetry(Histograms::Explicit);
    let (spans, queue) = span_queue(&telemetry);
    let sending = Sending::start(telemetry, &sink, NEVER, Some(queue));
    tracer(spans).apply(&slow(0..10), &Clock::system().pairing());
    sink.await_that("a request", |inbox| inbox.refused > 0);
    // Ends at all: the sending that is under way and the last one are both given up.
    sending.stop();
    assert!(sink.inbox().metrics.is_empty());
    assert_eq!(dropped(&sending.telemetry, "stopped"), Some(30.0));
}

#[test]
fn what_would_always_be_refused_is_given_up_and_counted() {
    let sink = Sink::start();
    let telemetry = telemetry(Histograms::Explicit);
    let (spans, queue) = span_queue(&telemetry);
    let sending = Sending::start(telemetry, &sink, NEVER, Some(queue));
    sink.await_that("the first sending", |inbox| !inbox.metrics.is_empty());
    sink.set(Mode::Status(400));
    let mut tracer = tracer(spans);
    tracer.apply(&slow(0..10), &Clock::system().pairing());
    sink.await_that("a refusal", |inbox| inbox.refused == 1);
    while dropped(&sending.telemetry, "refused") < Some(30.0) {
        std::thread::yield_now();
    }
    sink.set(Mode::Take);
    tracer.apply(&slow(10..20), &Clock::system().pairing());
    sink.await_that("what comes behind it", |inbox| !inbox.traces.is_empty());
    // Something of every kind, for the comparison.
    sending.telemetry.apply(&story(1));
    sending.stop();
    assert_eq!(sink.spans().len(), 30);
    let sent = samples(sink.inbox().metrics.last().unwrap());
    compare(&sending.telemetry, &sent);
}

/// Messages that are always traced, with three spans each.
fn slow(sequences: std::ops::Range<u64>) -> Vec<Event> {
    let arrival = Arrival {
        end_to_end: 2_000_000_000,
        service: Elapsed::of(1_000_000_000),
        create: Elapsed::UNKNOWN,
        durability_gap: Elapsed::UNKNOWN,
        append: Elapsed::UNKNOWN,
        fetch: Elapsed::UNKNOWN,
        place: RecordPlace { slot: 0, offset: 0 },
        span: None,
        stamps: [None, None],
    };
    let message = |sequence| Event::Resolved {
        publisher: PublisherId(0),
        sequence,
        lane: Lane::MqttKafka,
        outcome: Outcome::Delivered,
        departure: Departure { sent: Elapsed::of(1_024), ..DEPARTURE },
        not_sent: None,
        arrival: Some(arrival),
    };
    sequences.map(message).collect()
}

fn tracer(spans: SpanSink) -> Tracer {
    let source = Source {
        topic: "t".into(),
        template: "t".into(),
        client_id: "c".into(),
        host: "h".into(),
        port: 1883,
        version: "5",
        size: 256,
    };
    let sources = std::iter::repeat_n(source, 6).collect();
    let stamper = Stamper::new(b"plant-7", Run { epoch: 1, instance: 1 });
    let choice = Choice { sample: 0.0, slow_nanos: 1_000_000_000 };
    Tracer::new((Arc::new(roster()), sources), stamper, choice, spans)
}

fn dropped(telemetry: &Telemetry, cause: &str) -> Option<f64> {
    let labels = [("component", "otlp"), ("cause", cause)];
    Exposition::parse(&telemetry.render()).value("landfall_dropped_total", &labels)
}
