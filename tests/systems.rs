//! The real systems of the integration tests: that they start, carry a message, and come back; and
//! that the configurations in `otel/` make of landfall's metrics and traces what they promise.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "of the support for running landfall only the waiting is needed")]
#[path = "support/landfall.rs"]
mod running;
#[path = "support/systems.rs"]
mod systems;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use running::wait_until;
use serde_json::{Value, json};
use systems::observers::{Collector, Prometheus, get};
use systems::{Kafka, Mosquitto, kcat_consume};

/// Whether the process still runs; one that has ended but was not yet collected does not.
fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn mosquitto_carries_a_message_and_ends_when_dropped() {
    let mut broker = Mosquitto::start(&[]);
    let address = broker.address.clone();
    let first = broker.pid;
    broker.kill();
    assert!(!runs(first));
    broker.restart();
    assert_eq!(broker.address, address);
    assert!(runs(broker.pid) && broker.pid != first);

    let port = broker.port().to_owned();
    let client = |program: &str| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port, "-t", "a/b", "-q", "1"]);
        command
    };
    // Retained, so that nothing hangs on who is first.
    let published = client("mosquitto_pub").args(["-r", "-m", "landfall"]).status().unwrap();
    assert!(published.success());
    let received = client("mosquitto_sub").args(["-C", "1", "-W", "30"]).output().unwrap();
    assert_eq!(received.stdout, b"landfall\n", "{received:?}");

    let last = broker.pid;
    drop(broker);
    assert!(!runs(last));
}

#[test]
fn kafka_keeps_binary_records_over_a_kill_and_ends_when_dropped() {
    let mut broker = Kafka::start(&[]);
    broker.topic("landing", 2, &[("message.timestamp.type", "LogAppendTime")]);
    assert_eq!(kcat_consume(&broker.address, "landing"), []);

    let value = b"line\nwith, = \0 and \xff".as_slice();
    let produce = |address: &str, topic: &str| {
        let mut producer = Command::new("kcat")
            .args(["-P", "-b", address, "-t", topic, "-k", "key\n"])
            .args(["-H", "traceparent=00-01-02", "-H", "other=1", "-D", "\\x01"])
            .args(if topic == "landing" { ["-p", "1"] } else { ["-p", "0"] })
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        producer.stdin.take().unwrap().write_all(value).unwrap();
        assert!(producer.wait().unwrap().success());
    };
    produce(&broker.address, "landing");

    let records = kcat_consume(&broker.address, "landing");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.partition, record.offset), (1, 0));
    assert!(record.timestamp_millis > 1_700_000_000_000, "{record:?}");
    assert_eq!(record.key.as_deref(), Some(b"key\n".as_slice()));
    assert_eq!(record.value.as_deref(), Some(value));
    assert_eq!(
        record.headers,
        [("traceparent".to_owned(), b"00-01-02".to_vec()), ("other".to_owned(), b"1".to_vec())]
    );

    let (address, first) = (broker.address.clone(), broker.pid);
    broker.kill();
    assert!(!runs(first));
    broker.restart();
    assert_eq!(broker.address, address);
    assert_eq!(kcat_consume(&broker.address, "landing"), records);

    broker.reconfigure(&["auto.create.topics.enable=true"]);
    assert_eq!(broker.address, address);
    assert_eq!(kcat_consume(&broker.address, "landing"), records);
    produce(&broker.address, "born-by-writing");
    assert_eq!(kcat_consume(&broker.address, "born-by-writing").len(), 1);

    let last = broker.pid;
    drop(broker);
    assert!(!runs(last));
}

#[test]
fn kafka_hangs_and_goes_on_and_its_own_tool_measures_it() {
    let broker = Kafka::start(&["broker.session.timeout.ms=60000"]);
    broker.topic("tool", 1, &[]);
    let ask = || Command::new("kcat").args(["-L", "-m", "2", "-b", &broker.address]).output();
    broker.pause();
    assert!(!ask().unwrap().status.success());
    broker.resume();
    wait_until("answering", || match ask().unwrap() {
        answer if answer.status.success() => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
    let said = broker.latency_tool("tool", 10).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.contains("Percentiles: 50th = "), "{said:?}");
}

/// One of the files in `otel/`.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("otel").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A metric of the kind `kind` as landfall exports it, with one point of these values.
fn metric(name: &str, unit: &str, kind: &str, aggregation: &Value, point: &Value) -> Value {
    let mut point = point.clone();
    point["startTimeUnixNano"] = json!("1700000000000000000");
    point["timeUnixNano"] = json!("1700000010000000000");
    point["attributes"] = json!([{ "key": "path", "value": { "stringValue": "telemetry" } }]);
    let mut data = aggregation.clone();
    data["dataPoints"] = json!([point]);
    json!({ "name": name, "unit": unit, "description": name, kind: data })
}

/// An OTLP export of these metrics by a landfall with all its resource attributes.
fn export(metrics: &[Value]) -> Value {
    json!({ "resourceMetrics": [{
        "resource": resource(),
        "scopeMetrics": [{ "scope": { "name": "landfall", "version": "1" }, "metrics": metrics }],
    }] })
}

fn resource() -> Value {
    let attributes = [
        ("service.name", "landfall"),
        ("service.instance.id", "plant-7"),
        ("host.name", "gateway"),
        ("service.version", "0.1.0"),
        ("os.type", "linux"),
        ("telemetry.sdk.name", "opentelemetry"),
    ];
    let attributes =
        attributes.map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }));
    json!({ "attributes": attributes })
}

/// The labels that a series of [`export`] has in Prometheus, and further ones.
fn labels(name: &str, further: &[(&str, &str)]) -> BTreeMap<String, String> {
    let resource = [("job", "landfall"), ("instance", "plant-7"), ("host_name", "gateway")];
    let own = [("__name__", name), ("path", "telemetry")];
    let all = resource.iter().chain(&own).chain(further);
    all.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn metrics_reach_prometheus_through_the_collector_under_their_own_names_and_labels() {
    let collector = Collector::start(&[]);
    let prometheus =
        Prometheus::start(&[&format!("{}=landfall-collector", collector.scrape), &collector.own]);
    let counter = json!({ "aggregationTemporality": 2, "isMonotonic": true });
    let cumulative = json!({ "aggregationTemporality": 2 });
    let latencies = json!({
        "count": "6", "sum": 150.5, "explicitBounds": [0.0001, 0.01, 60], "bucketCounts": ["1", "2", "0", "3"],
    });
    let request = export(&[
        metric("landfall_slots_total", "{slot}", "sum", &counter, &json!({ "asInt": "7" })),
        metric(
            "landfall_process_cpu_seconds_total",
            "s",
            "sum",
            &counter,
            &json!({ "asDouble": 1.25 }),
        ),
        metric("landfall_window_valid", "1", "gauge", &json!({}), &json!({ "asDouble": 1 })),
        metric(
            "landfall_host_pressure_ratio",
            "1",
            "gauge",
            &json!({}),
            &json!({ "asDouble": 0.5 }),
        ),
        metric(
            "landfall_host_memory_used_bytes",
            "By",
            "gauge",
            &json!({}),
            &json!({ "asDouble": 4096 }),
        ),
        metric("landfall_end_to_end_latency_seconds", "s", "histogram", &cumulative, &latencies),
    ]);
    assert_eq!(collector.post("/v1/metrics", &request).0, 200);

    let bucket = |bound, count: u32| {
        let name = "landfall_end_to_end_latency_seconds_bucket";
        (labels(name, &[("le", bound)]), f64::from(count))
    };
    let mut expected = vec![
        (labels("landfall_slots_total", &[]), 7.0),
        (labels("landfall_process_cpu_seconds_total", &[]), 1.25),
        (labels("landfall_window_valid", &[]), 1.0),
        (labels("landfall_host_pressure_ratio", &[]), 0.5),
        (labels("landfall_host_memory_used_bytes", &[]), 4096.0),
        (labels("landfall_end_to_end_latency_seconds_sum", &[]), 150.5),
        (labels("landfall_end_to_end_latency_seconds_count", &[]), 6.0),
        bucket("0.0001", 1),
        bucket("0.01", 3),
        bucket("60", 3),
        bucket("+Inf", 6),
    ];
    expected.sort_by(|(left, _), (right, _)| left.cmp(right));
    // A scrape may come while an export is being taken in.
    let series = wait_until("scraped", || {
        let series = prometheus.query(r#"{__name__=~"landfall_.*"}"#);
        if series.len() < expected.len() { Err(collector.exposition()) } else { Ok(series) }
    });
    assert_eq!(series, expected);
    for (name, kind) in [("slots_total", "counter"), ("window_valid", "gauge")] {
        let line = format!("# TYPE landfall_{name} {kind}\n");
        assert!(collector.exposition().contains(&line), "{}", collector.exposition());
    }
}

#[test]
fn series_of_a_landfall_that_has_ended_leave_the_collector() {
    let collector = Collector::start(&["COLLECTOR_METRIC_EXPIRATION=2s"]);
    let gauge =
        metric("landfall_window_valid", "1", "gauge", &json!({}), &json!({ "asDouble": 1 }));
    assert_eq!(collector.post("/v1/metrics", &export(&[gauge])).0, 200);
    wait_until("received", || match collector.log() {
        log if log.contains(r#""metrics": 1, "data points": 1"#) => Ok(()),
        log => Err(log),
    });
    wait_until("gone", || match collector.exposition() {
        text if text.contains("landfall_window_valid") => Err(text),
        _ => Ok(()),
    });
}

#[test]
fn traces_are_handed_on_by_the_collector() {
    // Another Collector is the trace backend.
    let backend = Collector::start(&[]);
    let endpoint = format!("COLLECTOR_TRACES_ENDPOINT=http://{}", backend.http);
    let collector = Collector::start(&[&endpoint]);
    let span = json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "crossing",
        "kind": 1, "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000040000000",
    });
    let request = json!({ "resourceSpans": [{
        "resource": resource(),
        "scopeSpans": [{ "scope": { "name": "landfall" }, "spans": [span] }],
    }] });
    assert_eq!(collector.post("/v1/traces", &request).0, 200);
    wait_until("accepted by the backend", || {
        let own = get(&backend.own, "/metrics");
        let mut lines = own.lines();
        let accepted = lines.find(|line| line.starts_with("otelcol_receiver_accepted_spans"));
        if accepted.is_some_and(|line| line.ends_with(" 1")) { Ok(()) } else { Err(own) }
    });
}

#[test]
fn the_collector_hangs_and_is_killed_and_comes_back_on_its_ports() {
    let mut collector = Collector::start(&[]);
    // HTTP/2's greeting, which the port for gRPC answers with settings (frame type 4).
    let mut grpc = TcpStream::connect(&collector.grpc).unwrap();
    grpc.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    grpc.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "{frame:?}");

    collector.pause();
    let mut stream = TcpStream::connect(&collector.health).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut answer = String::new();
    let error = stream.read_to_string(&mut answer).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    collector.resume();
    stream.set_read_timeout(None).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");

    let (http, health, first) = (collector.http.clone(), collector.health.clone(), collector.pid);
    collector.kill();
    assert!(!runs(first));
    assert!(TcpStream::connect(&http).is_err());
    collector.restart();
    assert!(runs(collector.pid) && collector.pid != first);
    assert_eq!(collector.post("/v1/metrics", &export(&[])).0, 200);
    get(&health, "/");

    // One that hangs is ended all the same.
    collector.pause();
    let last = collector.pid;
    drop(collector);
    assert!(!runs(last));
}

#[test]
fn prometheus_keeps_its_data_over_a_kill_and_ends_when_dropped() {
    let collector = Collector::start(&[]);
    let mut prometheus = Prometheus::start(&[&format!("{}=own", collector.own), "127.0.0.1:1"]);
    // Also when the first of the scrapes was that it still has.
    let scraped = |prometheus: &Prometheus| {
        wait_until("scraped", || {
            let up = prometheus.query("up");
            let up = up.iter().map(|(labels, value)| (labels["job"].as_str(), *value));
            let up: BTreeMap<_, _> = up.collect();
            let begun = prometheus.query("min_over_time(timestamp(up{job='own'})[1h:1s])");
            match begun.first() {
                Some((_, begun)) if up == [("own", 1.0), ("127.0.0.1:1", 0.0)].into() => Ok(*begun),
                _ => Err(format!("{up:?}, since {begun:?}")),
            }
        })
    };
    let begun = scraped(&prometheus);
    let (address, first) = (prometheus.address.clone(), prometheus.pid);
    prometheus.kill();
    assert!(!runs(first));
    prometheus.restart();
    assert_eq!(prometheus.address, address);
    assert!(runs(prometheus.pid) && prometheus.pid != first);
    let since = scraped(&prometheus);
    assert!((since - begun).abs() < f64::EPSILON, "{since}, {begun}");

    let last = prometheus.pid;
    drop(prometheus);
    assert!(!runs(last));
}

#[test]
fn the_head_of_the_collectors_configuration_lists_its_variables_and_their_defaults() {
    let text = shipped("collector.yaml");
    let listed = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("#     COLLECTOR_")?.split_whitespace();
        Some(format!("${{env:COLLECTOR_{}:-{}}}", words.next()?, words.next()?))
    });
    let listed: Vec<_> = listed.collect();
    assert!(listed.iter().all(|variable| text.contains(variable)), "{listed:?}");
    assert_eq!(listed.len(), text.matches("${env:").count());
}

#[test]
fn promtool_accepts_the_shipped_configuration_of_prometheus_which_fits_the_collectors() {
    // Which installs promtool.
    let prometheus = Prometheus::start_shipped("127.0.0.1:1", "127.0.0.1:2");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("otel/prometheus.yaml");
    let check = Command::new("promtool").args(["check", "config"]).arg(path).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    // Its rules see that nobody answers at either target.
    wait_until("evaluated", || {
        let down = prometheus.query("count by (job) (ALERTS{alertname='LandfallProbeDown'})");
        let jobs: Vec<_> = down.iter().map(|(labels, _)| labels["job"].as_str()).collect();
        if jobs == ["landfall", "landfall-collector"] { Ok(()) } else { Err(format!("{jobs:?}")) }
    });
    drop(prometheus);

    let text = shipped("prometheus.yaml");
    let configuration: Value = serde_saphyr::from_str(&text).unwrap();
    let jobs = configuration["scrape_configs"].as_array().unwrap();
    let target = |job: &Value| job["static_configs"][0]["targets"][0].as_str().unwrap().to_owned();
    let honors = |job: &Value| job["honor_labels"].as_bool().unwrap_or_default();
    let jobs: Vec<_> = jobs.iter().map(|job| (target(job), honors(job))).collect();
    let [(landfall, false), (collector, true)] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!(landfall, "127.0.0.1:9464");
    let scraped = format!("${{env:COLLECTOR_PROMETHEUS:-{collector}}}");
    assert!(shipped("collector.yaml").contains(&scraped));
}
