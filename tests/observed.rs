//! Three ways to the same figures, with real systems: the report, `/metrics` scraped by Prometheus, and
//! OTLP through an OpenTelemetry Collector, which Prometheus scrapes too. Mosquitto, Apache Kafka and
//! the reference bridge carry the messages.
//!
//! Prometheus runs with the configuration and the rules that ship, and the Collector with its own; a
//! bridge fails meanwhile in two ways, and the alerts that this must set off are firing, and no others.
//!
//! `LANDFALL_TEST_OBSERVED_SECONDS` says how long the first test measures (30 without it), and
//! `LANDFALL_TEST_FAULT_SECONDS` how long each fault of a Collector lasts (3 without it).

#![expect(
    clippy::print_stdout,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[path = "observed/agreement.rs"]
mod agreement;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/exposition.rs"]
mod exposition;
#[path = "support/sink.rs"]
mod sink;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use landfall::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;

use agreement::{
    Compared, Outcomes, alerts, differences, of_counters, of_report, of_rule, quantiles, series,
};
use crossing::{Bridge, Run};
use sink::{Mode, Sink};
use systems::observers::{Collector, Prometheus};
use systems::{Kafka, Mosquitto};

/// Asks again until the answer is good; what it was in the end.
fn settled<T>(ask: impl Fn() -> T, is_good: impl Fn(&T) -> bool) -> T {
    let clock = Clock::system();
    let mut last = ask();
    for _ in 0..150 {
        if is_good(&last) {
            break;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(200));
        last = ask();
    }
    last
}

/// Messages of which the books say at this moment that they were acknowledged and lost.
fn net_losses(run: &Run) -> f64 {
    let of = |metric: &str| {
        let series = |qos| {
            format!(
                "{metric}{{path=\"observed\",lane=\"mqtt_kafka\",qos=\"{qos}\",outcome=\"acked_lost\""
            )
        };
        run.metric(&series(1)) + run.metric(&series(2))
    };
    of("landfall_slots_total") - of("landfall_late_recoveries_total")
}

/// Two faults of the bridge between real systems. It stands still for longer than the deadline: losses
/// are announced that are none. Then it dies with messages that it had acknowledged.
fn fail(bridge: Bridge, run: &Run, kafka: &Kafka, mosquitto: &Mosquitto) -> Bridge {
    let lost = "outcome=\"acked_lost\"";
    let slots = "landfall_slots_total{path=\"observed\",lane=\"mqtt_kafka\",qos=\"1\"";
    run.await_metric(slots, 200.0);
    bridge.signal("STOP");
    run.await_metric(lost, 50.0);
    bridge.signal("CONT");
    run.await_metric("landfall_late_recoveries_total", 50.0);
    let published = run.metric("landfall_published_messages_total");
    kafka.pause();
    run.await_metric("landfall_published_messages_total", published + 300.0);
    bridge.kill();
    kafka.resume();
    start_bridge(kafka, mosquitto)
}

/// One that acknowledges before Kafka has confirmed.
fn start_bridge(kafka: &Kafka, mosquitto: &Mosquitto) -> Bridge {
    let lying = ["--acknowledge", "before-kafka"];
    Bridge::start_with("observed", &mosquitto.address, &kafka.address, &lying)
}

/// The window, the longest that there is, outlasts the run: the gauges of quantiles then speak of the same messages as the report.
fn observed_config(kafka: &Kafka, mosquitto: &Mosquitto, collector: &Collector) -> String {
    format!(
        "probe: observed
paths:
  - name: observed
    mqtt: {{ url: 'mqtt://{}', topic: 'landfall/observed/{{client}}', qos: [0, 1, 2], rate: 200/s }}
    kafka: {{ brokers: ['{}'], topics: [observed] }}
    lanes: [mqtt_kafka, mqtt_mqtt]
    deadline: 3s
    slo: {{ p99: 250ms, availability: 99.9%, acked_lost: 0 }}
window: 5m
telemetry:
  listen: 127.0.0.1:0
  otlp: {{ endpoint: 'http://{}', interval: 1s, traces: {{ sample: 0, slow: 3s }} }}
",
        mosquitto.address, kafka.address, collector.http
    )
}

/// Counts to the last message, by the counters and by the rule; then series by series; then quantiles.
fn all_agree(report: &Value, prometheus: &Prometheus, scraped: &str, said: &str) {
    let expected = of_report(report);
    for instance in [scraped, "observed"] {
        for ask in [of_counters, of_rule] {
            let counted = settled(|| ask(prometheus, instance), |it| *it == expected);
            assert_eq!(counted, expected, "of {instance}\n{said}");
        }
    }
    let both = || [scraped, "observed"].map(|instance| series(prometheus, instance));
    let [here, there] = settled(both, |[here, there]| differences(here, there).is_empty());
    let apart = differences(&here, &there);
    assert!(apart.is_empty(), "of {} series {}: {apart:#?}", here.len(), apart.len());
    println!("{} series are the same both ways", here.len());
    println!("| quantile of the run, ms | report.json | gauge | `histogram_quantile` |");
    println!("|---|---|---|---|");
    let compared = quantiles(report, prometheus, scraped);
    for Compared { of, report, gauge, buckets } in &compared {
        let millis = |seconds: f64| format!("{:.3}", seconds * 1e3);
        let gauge = gauge.map_or("too few samples".to_owned(), millis);
        println!("| {of} | {} | {gauge} | {} |", millis(*report), millis(*buckets));
    }
    assert!(compared.iter().filter(|it| it.gauge.is_some()).count() >= 18, "{compared:?}");
    let apart: Vec<_> =
        compared.iter().filter(|it| !it.gauge_agrees() || !it.buckets_agree()).collect();
    assert!(apart.is_empty(), "{apart:#?}");
}

/// What a scrape costs the process, everything in it, while it does nothing else.
fn cost_of_scrapes(run: &Run) {
    const SCRAPES: u32 = 100;
    let before = run.processor_time();
    let all: f64 = (0..SCRAPES).map(|_| run.metric("landfall_")).sum();
    assert!(all > 0.0);
    let spent = run.processor_time().saturating_sub(before) / SCRAPES;
    println!("a scrape of this path takes {spent:?} of processor time");
}

#[test]
fn report_prometheus_and_collector_count_the_same() {
    let seconds = std::env::var("LANDFALL_TEST_OBSERVED_SECONDS");
    let seconds: u64 = seconds.map_or(30, |text| text.parse().unwrap());
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    kafka.topic("observed", 3, &[("message.timestamp.type", "LogAppendTime")]);
    let backend = Sink::start();
    let traces = format!("COLLECTOR_TRACES_ENDPOINT={}", backend.url());
    let collector = Collector::start(&[&traces]);
    let bridge = start_bridge(&kafka, &mosquitto);
    let config = observed_config(&kafka, &mosquitto, &collector);
    let (clock, for_seconds) = (Clock::system(), format!("{seconds}s"));
    let started = clock.now();
    let mut run = Run::start(&config, &["--for", &for_seconds, "--linger", "90s"]);
    let prometheus = Prometheus::start_shipped(run.address(), &collector.scrape);
    let bridge = fail(bridge, &run, &kafka, &mosquitto);
    run.await_that("landfall_slots_total", |_| net_losses(&run) > 0.0);
    clock.sleep_until(started + Duration::from_secs(seconds));

    let report = run.await_report();
    all_agree(&report, &prometheus, run.address(), &run.said());
    let recovered = prometheus.query("sum(landfall_late_recoveries_total{instance=\"observed\"})");
    let (firing, pending) = (alerts(&prometheus, "firing"), alerts(&prometheus, "pending"));
    let dropped = prometheus.query("sum by (component, cause) (landfall_dropped_total) > 0");
    cost_of_scrapes(&run);
    run.terminate();
    run.ended();
    bridge.stop();

    let expected = of_report(&report);
    let total: u64 = expected.values().sum();
    let of = |wanted: &str| -> u64 {
        expected.iter().filter(|((.., outcome), _)| outcome == wanted).map(|(_, n)| n).sum()
    };
    let (lost, late) = (of("acked_lost"), of("late"));
    println!(
        "{total} outcomes of {seconds} s, {lost} acknowledged and lost, {recovered:?} recovered"
    );
    println!("firing {firing:?}, pending {pending:?}, dropped {dropped:?}");
    assert!(total > 2 * seconds * 150, "{expected:?}");
    assert!(lost > 0, "the bridge lied: {expected:?}");
    assert!(recovered[0].1 >= 50.0, "announced losses came out after all: {recovered:?}");
    // One of them waits for a minute before it fires; in three minutes nothing waits any more. A machine
    // that is overrun may make the probe drop spans, and then that is said as well.
    let mut due = vec!["LandfallAckedLost", "LandfallBudgetBurnsFast"];
    due.extend((!dropped.is_empty()).then_some("LandfallDrops"));
    let due: BTreeSet<_> = due.into_iter().map(str::to_owned).collect();
    assert!(due.iter().all(|name| firing.contains(name) || pending.contains(name)), "{pending:?}");
    assert!(firing.contains("LandfallAckedLost") && firing.is_subset(&due), "{firing:?}");
    assert!(seconds < 180 || firing == due, "{firing:?}");
    // All of what was late or announced as lost is traced, and has gone through the Collector.
    let traces: BTreeSet<_> = backend.spans().into_iter().map(|span| span.trace_id).collect();
    assert!(traces.len() as u64 >= late, "{} traces, {late} late", traces.len());
}

/// Spans that found no room.
const DROPPED: &str = "landfall_dropped_total{component=\"otlp\",cause=\"queue_full\"}";

/// Has the Collector of a run refuse, hang and be away for so long each; the one that is there in the
/// end.
fn fail_in_every_way(sink: Sink, exporting: &Run, fault: Duration) -> Sink {
    let clock = Clock::system();
    let wait = || clock.sleep_until(clock.now() + fault);
    let failures = || exporting.metric("landfall_export_failures_total");
    wait();
    assert!(failures() < 0.5, "nothing has failed yet");
    for mode in [Mode::Status(503), Mode::Hang] {
        let before = failures();
        sink.set(mode);
        exporting.await_metric("landfall_export_failures_total", before + 1.0);
        wait();
        if mode == Mode::Hang {
            // Until the way of the spans is full.
            exporting.await_metric(DROPPED, 1.0);
        }
        sink.set(Mode::Take);
        exporting.await_metric("landfall_component_up{component=\"otlp\"}", 1.0);
    }
    let (address, before) = (sink.address, failures());
    sink.stop();
    exporting.await_metric("landfall_export_failures_total", before + 1.0);
    wait();
    let sink = Sink::start_at(address);
    exporting.await_metric("landfall_component_up{component=\"otlp\"}", 1.0);
    sink
}

/// Lane, QoS and the 99th percentile of the publish delay in seconds: alone, then exporting.
fn not_delayed(delays: &[(Value, Value, f64)]) {
    let (alone, exporting) = delays.split_at(delays.len() / 2);
    for ((lane, qos, alone), (.., exporting)) in alone.iter().zip(exporting) {
        // Both ran side by side: what the machine did to one, it did to the other.
        let much = alone.mul_add(3.0, 0.05);
        assert!(
            exporting < &much,
            "{lane} QoS {qos}: p99 {alone} s alone, {exporting} s exporting"
        );
    }
}

/// Two sidecars side by side, one of which has a Collector that fails in every way, one after the other.
#[test]
fn a_collector_that_fails_costs_the_measurement_nothing() {
    let seconds = std::env::var("LANDFALL_TEST_FAULT_SECONDS");
    let fault = Duration::from_secs(seconds.map_or(3, |text| text.parse().unwrap()));
    let (kafka, mosquitto) = (Kafka::start(&[]), Mosquitto::start(&[]));
    let mut sink = Sink::start();
    let runs = ["alone", "exporting"].map(|name| {
        kafka.topic(name, 3, &[("message.timestamp.type", "LogAppendTime")]);
        let bridge = Bridge::start(name, &mosquitto.address, &kafka.address);
        let otlp = format!(
            "otlp: {{ endpoint: '{}', interval: 1s, traces: {{ sample: 1 }} }}",
            sink.url()
        );
        let config = format!(
            "probe: {name}
paths:
  - name: {name}
    mqtt: {{ url: 'mqtt://{}', topic: 'landfall/{name}/{{client}}', qos: [0, 1, 2], rate: 100/s }}
    kafka: {{ brokers: ['{}'], topics: [{name}] }}
host: {{ interval: 1s }}
telemetry: {{ listen: 127.0.0.1:0, {} }}
",
            mosquitto.address,
            kafka.address,
            if name == "exporting" { &otlp } else { "" },
        );
        (bridge, Run::start(&config, &[]))
    });
    let [(_, alone), (_, exporting)] = &runs;
    exporting.await_metric("landfall_published_messages_total", 100.0);
    alone.await_metric("landfall_published_messages_total", 100.0);
    sink = fail_in_every_way(sink, exporting, fault);
    let resident = |run: &Run| run.metric("landfall_process_resident_memory_bytes") / 1e6;
    let (of_alone, of_exporting) = (resident(alone), resident(exporting));
    let dropped = exporting.metric(DROPPED);
    assert!(dropped >= 1.0 && alone.metric(DROPPED) < 0.5, "what found no room is counted");
    let failures = exporting.metric("landfall_export_failures_total");
    println!("failures {failures}, spans dropped {dropped}");
    println!("resident MB: alone {of_alone:.1}, exporting {of_exporting:.1}");
    assert!(of_exporting < of_alone + 40.0, "{of_alone} MB alone, {of_exporting} MB exporting");

    let mut delays = Vec::new();
    for (name, (bridge, mut run)) in ["alone", "exporting"].into_iter().zip(runs) {
        run.terminate();
        let report = run.await_report();
        assert_eq!(run.ended(), 0, "{}", run.said());
        bridge.stop();
        for lane in report["paths"][0]["lanes"].as_array().unwrap() {
            let delay = &lane["legs"]["publish_delay"];
            println!("{name}: QoS {}: publish delay {delay}", lane["qos"]);
            delays.push((
                lane["lane"].clone(),
                lane["qos"].clone(),
                delay["p99"].as_f64().unwrap(),
            ));
        }
        for ((_, _, outcome), count) in of_report(&report) {
            assert!(count == 0 || outcome == "delivered", "{name}: {count} {outcome}");
        }
        if name == "exporting" {
            let sent = sink::samples(sink.inbox().metrics.last().unwrap());
            let slots = sent.iter().filter(|((name, _), _)| name == "landfall_slots_total");
            let sum: f64 = slots.map(|(_, value)| value).sum();
            let counted: u64 = of_report(&report).values().sum();
            assert_eq!(format!("{sum}"), counted.to_string(), "the last values have come");
        }
    }
    not_delayed(&delays);
}

/// One processor, gRPC, a runtime with one worker: the end is reached, and has brought everything.
#[test]
fn over_grpc_on_one_processor_the_end_brings_the_last_values() {
    let backend = Sink::start();
    let traces = format!("COLLECTOR_TRACES_ENDPOINT={}", backend.url());
    let collector = Collector::start(&[&traces]);
    let directory = TempDir::new().unwrap();
    let mut demo = Command::new("taskset");
    demo.args(["-c", "0", env!("CARGO_BIN_EXE_landfall"), "demo", "--listen", "127.0.0.1:0"]);
    demo.args(["--for", "4s", "--rate", "60/s", "--report"]).arg(directory.path());
    demo.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.grpc));
    demo.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    // The first sending and the last are the only ones.
    demo.env("OTEL_METRIC_EXPORT_INTERVAL", "300000");
    demo.env("OTEL_TRACES_SAMPLER", "always_on");
    let ended = demo.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report = std::fs::read(directory.path().join("report.json")).unwrap();
    let expected = of_report(&serde_json::from_slice(&report).unwrap());

    let shown = || {
        let exposition = exposition::Exposition::parse(&collector_text(&collector)).samples;
        let slots = exposition.into_iter().filter(|((name, _), _)| name == "landfall_slots_total");
        let key = |((_, labels), value): ((String, exposition::Labels), f64)| {
            let label = |name: &str| labels[name].clone();
            let key = (label("lane"), label("qos"), label("outcome"));
            (key, format!("{value}").parse::<u64>().unwrap())
        };
        slots.map(key).collect::<Outcomes>()
    };
    assert_eq!(settled(shown, |it| *it == expected), expected);
    // Control messages are not traced; each of the others has two lanes.
    let traced = expected.iter().filter(|((lane, ..), _)| lane != "kafka_kafka");
    let messages: u64 = traced.map(|(_, count)| count).sum::<u64>() / 2;
    let spans = usize::try_from(messages * 5).unwrap();
    backend.await_that("every span", |inbox| {
        let requests = inbox.traces.iter().flat_map(|request| &request.resource_spans);
        let scopes = requests.flat_map(|of| &of.scope_spans);
        scopes.map(|of| of.spans.len()).sum::<usize>() == spans
    });
}

/// What the Collector shows, as the text format that landfall has: without empty lines at its end.
fn collector_text(collector: &Collector) -> String {
    let text = collector.exposition();
    format!("{}\n", text.trim_end())
}
