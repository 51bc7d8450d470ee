//! OTLP: the keys of the file, and the standard variables that win over them.

use std::path::Path;
use std::time::Duration;

use landfall::config::Overrides;
use landfall::telemetry::{Histograms, OtlpConfig, Protocol, Target};

use super::{Variables, one, read_in};

/// What is in force with this line of telemetry and these variables, and how it is shown.
fn load(telemetry: &str, variables: Variables<'_>) -> Result<(Option<OtlpConfig>, String), String> {
    let text = one("", "", telemetry);
    let loaded = read_in(Path::new(""), &text, &Overrides::default(), variables)?;
    Ok((loaded.resolved.telemetry.otlp.clone(), loaded.show()))
}

fn otlp(telemetry: &str, variables: Variables<'_>) -> Option<OtlpConfig> {
    load(telemetry, variables).unwrap().0
}

fn refused(telemetry: &str, variables: Variables<'_>) -> String {
    load(telemetry, variables).unwrap_err().replace("landfall.yaml:", "").trim().to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be absent")]
fn target(url: &str, protocol: Protocol) -> Option<Target> {
    Some(Target { url: url.to_owned(), protocol })
}

const FILE: &str = "telemetry: {otlp: {endpoint: 'http://c:4318/'}}";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

#[test]
fn nothing_is_sent_unless_it_is_said_where_to() {
    assert_eq!(otlp("", &[]), None);
    assert_eq!(otlp("telemetry: {otlp: {interval: 5s}}", &[]), None);
    assert_eq!(otlp("", &[(ENDPOINT, " ")]), None, "set to nothing is not set");
    assert_eq!(otlp(FILE, &[("OTEL_SDK_DISABLED", "TRUE")]), None);
    let none = [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none")];
    assert_eq!(otlp(FILE, &none), None);
}

#[test]
fn the_paths_of_the_signals_are_appended_over_http() {
    let expected = OtlpConfig {
        metrics: target("http://c:4318/v1/metrics", Protocol::Http),
        traces: target("http://c:4318/v1/traces", Protocol::Http),
        interval: Duration::from_secs(10),
        histograms: Histograms::Explicit,
        sample: 0.01,
        slow: Duration::from_secs(1),
    };
    assert_eq!(otlp(FILE, &[]), Some(expected));
    let full = "telemetry: {otlp: {endpoint: 'http://c:4317', protocol: grpc, interval: 1m, \
                histograms: base2_exponential_bucket_histogram, traces: {sample: 0.5, slow: 250ms}}}";
    let expected = OtlpConfig {
        metrics: target("http://c:4317", Protocol::Grpc),
        traces: target("http://c:4317", Protocol::Grpc),
        interval: Duration::from_mins(1),
        histograms: Histograms::Exponential,
        sample: 0.5,
        slow: Duration::from_millis(250),
    };
    assert_eq!(otlp(full, &[]), Some(expected));
}

#[test]
fn standard_variables_win_and_are_shown() {
    let variables = [
        (ENDPOINT, "https://collector:4318/base"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "2500"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "base2_exponential_bucket_histogram",
        ),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_SERVICE_NAME", "mine"),
    ];
    let (otlp, shown) = load(FILE, &variables).unwrap();
    let otlp = otlp.unwrap();
    assert_eq!(otlp.metrics, target("https://collector:4318/base/v1/metrics", Protocol::Http));
    assert_eq!(otlp.traces, target("http://t:4317", Protocol::Grpc), "as it is given");
    assert_eq!(otlp.interval, Duration::from_millis(2_500));
    assert_eq!(otlp.histograms, Histograms::Exponential);
    assert_eq!(otlp.sample.to_string(), "0.25");
    for line in [
        "endpoint: https://collector:4318/base # OTEL_EXPORTER_OTLP_ENDPOINT",
        "interval: 2500ms # OTEL_METRIC_EXPORT_INTERVAL",
        "sample: 0.25 # OTEL_TRACES_SAMPLER_ARG",
        "protocol: http/protobuf # default",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    let sampler = |name: &'static str| {
        otlp_sample(&[("OTEL_TRACES_SAMPLER", name), (ENDPOINT, "http://c:4318")])
    };
    assert_eq!(sampler("always_on"), "1");
    assert_eq!(sampler("parentbased_always_off"), "0");
    assert_eq!(sampler("traceidratio"), "1", "all, where no ratio is given");
}

fn otlp_sample(variables: Variables<'_>) -> String {
    otlp("", variables).unwrap().sample.to_string()
}

#[test]
fn a_signal_may_have_an_endpoint_of_its_own() {
    let own = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:4318/elsewhere")];
    let alone = otlp("", &own).unwrap();
    assert_eq!(alone.metrics, target("http://m:4318/elsewhere", Protocol::Http));
    assert_eq!(alone.traces, None, "nobody said where to");
    assert_eq!(otlp(FILE, &own).unwrap().traces, target("http://c:4318/v1/traces", Protocol::Http));
    let only_traces = otlp(FILE, &[("OTEL_METRICS_EXPORTER", "none")]).unwrap();
    assert!(only_traces.metrics.is_none() && only_traces.traces.is_some());
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let url = "is not a URL such as http://localhost:4318";
    let top = |telemetry: &str, expected: &str| {
        let line = format!("telemetry: {{otlp: {{{telemetry}}}}}");
        assert_eq!(refused(&line, &[]), format!("6: telemetry.otlp.{expected}"));
    };
    top("endpoint: x", &format!("endpoint: \"x\" {url}"));
    top(
        "endpoint: 'http://u:p@c'",
        "endpoint: has user information in it; use OTEL_EXPORTER_OTLP_HEADERS",
    );
    top("endpoint: 'http://c:0'", "endpoint: \"0\" is not a port (1 to 65535)");
    top("endpoint: 'http://c:4318/?q'", "endpoint: \"?q\" stands behind the path; remove it");
    top("protocol: http/json", "protocol: http/json is known but not built yet; remove it");
    top("interval: 10ms", "interval: 10ms is out of range (1s to 5m)");
    top("traces: {sample: 2}", "traces.sample: expected a share from 0 to 1, found the number 2");
    top(
        "traces: {sample: much}",
        "traces.sample: expected a share from 0 to 1, found the text \"much\"",
    );
    top("traces: {slow: 0s}", "traces.slow: 0s is out of range (1ms to 15m)");
    let grpc = "https over grpc is known but not built yet; use http/protobuf, or a Collector on this host";
    let both = format!("6: telemetry.otlp.endpoint: {grpc}");
    let line = "telemetry: {otlp: {endpoint: 'https://c', protocol: grpc}}";
    assert_eq!(refused(line, &[]).lines().next(), Some(&*both));

    for (name, value, expected) in [
        (ENDPOINT, "c:4318", format!("{ENDPOINT}: \"c:4318\" {url}")),
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            "soon",
            "OTEL_METRIC_EXPORT_INTERVAL: \"soon\" is not a number of milliseconds"
                .to_owned(),
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "jaeger_remote",
            "OTEL_TRACES_SAMPLER: \"jaeger_remote\" is not a sampler (always_on, always_off or \
             traceidratio)"
                .to_owned(),
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "delta",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: \"delta\" is known but not built yet; \
             unset it"
                .to_owned(),
        ),
        (
            "OTEL_TRACES_EXPORTER",
            "console",
            "OTEL_TRACES_EXPORTER: \"console\" is not an exporter (otlp or none)".to_owned(),
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            "http/json",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: \"http/json\" is not a protocol (http/protobuf or \
             grpc)"
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(FILE, &[(name, value)]), expected);
    }
}
