//! Test support: the systems that telemetry goes to, an OpenTelemetry Collector and a Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::process::System;

/// How long a server may take for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An OpenTelemetry Collector that runs with `otel/collector.yaml`, the file that ships.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Host and port where it takes OTLP over HTTP; like the others, a restart keeps it.
    pub(crate) http: String,
    /// Host and port where it takes OTLP over gRPC.
    pub(crate) grpc: String,
    /// Host and port where Prometheus scrapes what it was sent.
    pub(crate) scrape: String,
    /// Host and port where it answers 200 while it works.
    pub(crate) health: String,
    /// Host and port of its metrics about itself, such as `otelcol_receiver_accepted_spans`.
    pub(crate) own: String,
    /// The running process.
    pub(crate) pid: u32,
    system: System,
}

impl Collector {
    /// Installs it if need be (the first time minutes) and waits until it answers. Each of `settings` is
    /// `NAME=VALUE` of an environment variable that the head of `otel/collector.yaml` lists.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let system = System::start("collector", "--config", settings);
        Self {
            http: system.offer("COLLECTOR_HTTP"),
            grpc: system.offer("COLLECTOR_GRPC"),
            scrape: system.offer("COLLECTOR_PROMETHEUS"),
            health: system.offer("COLLECTOR_HEALTH"),
            own: system.offer("COLLECTOR_SELF"),
            pid: system.pid("COLLECTOR_PID"),
            system,
        }
    }

    /// Posts an OTLP request in JSON to a path such as `/v1/metrics`; status and body of the answer.
    pub(crate) fn post(&self, path: &str, request: &Value) -> (u16, String) {
        let body = request.to_string();
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.http,
            body.len()
        );
        exchange(&self.http, &(head + &body))
    }

    /// What it shows to Prometheus now.
    pub(crate) fn exposition(&self) -> String {
        get(&self.scrape, "/metrics")
    }

    /// What it has logged, among it a line for each batch of metrics or traces.
    pub(crate) fn log(&self) -> String {
        self.system.log()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&self) {
        self.system.act("kill", &[]);
    }

    /// Stops it if it runs, and starts it again on the same ports.
    pub(crate) fn restart(&mut self) {
        self.system.restart();
        self.pid = self.system.pid("COLLECTOR_PID");
    }

    /// Makes it hang: connections are still made, by the kernel, but nothing is read or answered.
    pub(crate) fn pause(&self) {
        self.system.act("pause", &[]);
    }

    /// Lets it go on after [`Collector::pause`].
    pub(crate) fn resume(&self) {
        self.system.act("continue", &[]);
    }
}

/// A Prometheus that scrapes every second.
#[derive(Debug)]
pub(crate) struct Prometheus {
    /// Host and port of its HTTP API, which a restart keeps.
    pub(crate) address: String,
    /// The running process.
    pub(crate) pid: u32,
    system: System,
}

impl Prometheus {
    /// Installs it if need be and waits until it answers. Each of `targets` is `HOST:PORT` or
    /// `HOST:PORT=JOB`; labels that its series bring along, `job` and `instance` among them, stay.
    pub(crate) fn start(targets: &[&str]) -> Self {
        let system = System::start("prometheus", "--target", targets);
        Self { address: system.offer("PROMETHEUS"), pid: system.pid("PROMETHEUS_PID"), system }
    }

    /// The same with `otel/prometheus.yaml`, the file that ships, and the rules that it loads, for a
    /// landfall and a Collector there (`HOST:PORT` each). It scrapes and evaluates every second.
    pub(crate) fn start_shipped(landfall: &str, collector: &str) -> Self {
        Self::start(&[&format!("shipped={landfall},{collector}")])
    }

    /// Evaluates PromQL now: the labels and value of each series, in the order of the labels.
    pub(crate) fn query(&self, promql: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let mut path = String::from("/api/v1/query?query=");
        for byte in promql.bytes() {
            let _ = write!(path, "%{byte:02X}");
        }
        let text = get(&self.address, &path);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let series = answer["data"]["result"]
            .as_array()
            .and_then(|result| result.iter().map(sample).collect::<Option<Vec<_>>>());
        let mut series = series.unwrap_or_else(|| panic!("{promql} gave no vector: {text}"));
        series.sort_by(|(left, _), (right, _)| left.cmp(right));
        series
    }

    /// Ends it with SIGKILL and keeps its data.
    pub(crate) fn kill(&self) {
        self.system.act("kill", &[]);
    }

    /// Stops it if it runs, and starts it again with its data at the same address.
    pub(crate) fn restart(&mut self) {
        self.system.restart();
        self.pid = self.system.pid("PROMETHEUS_PID");
    }
}

/// Labels and value of one element of a vector, such as
/// `{"metric": {"job": "a"}, "value": [1.5, "2"]}`.
fn sample(element: &Value) -> Option<(BTreeMap<String, String>, f64)> {
    let labels = element["metric"].as_object()?.iter();
    let labels = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    // `+Inf` and `NaN` are numbers to Rust too.
    let value = element["value"][1].as_str()?.parse().ok()?;
    Some((labels.collect::<Option<_>>()?, value))
}

/// The body that a server answers a GET with; panics unless the status is 200.
pub(crate) fn get(address: &str, path: &str) -> String {
    let (status, body) =
        exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"));
    assert_eq!(status, 200, "{address}{path}: {body}");
    body
}

/// Sends one request of HTTP/1.0, whose answer ends with the connection; status and body.
fn exchange(address: &str, request: &str) -> (u16, String) {
    let answer = || -> std::io::Result<Vec<u8>> {
        let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }();
    let answer = answer.unwrap_or_else(|error| panic!("{address} does not answer: {error}"));
    let answer = String::from_utf8_lossy(&answer);
    let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parts.unwrap_or_else(|| panic!("{address} does not speak HTTP: {answer}"))
}
