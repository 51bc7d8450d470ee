//! OTLP of the real binary, from its environment to the last byte: what a Collector is sent is what the
//! report, the file of slots and `/metrics` say.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where it finds something wrong, in its helper functions, too"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/exposition.rs"]
mod exposition;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/landfall.rs"]
mod running;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/sink.rs"]
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tempfile::TempDir;

use running::{Running, metric, wait_until};
use sink::{Mode, Sink, attributes, samples};

/// A demo with a report, its slots, and these variables.
struct Demo {
    running: Option<Running>,
    directory: TempDir,
}

impl Demo {
    fn start(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let (report, slots) = (file("report"), file("slots.tsv"));
        let mut all = vec!["demo", "--listen", "127.0.0.1:0", "--report", &report];
        all.extend(["--slots", &slots]);
        all.extend(arguments);
        Self { running: Some(Running::start_in(variables, &all)), directory }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Waits for its end: the report.
    fn ended(&mut self) -> Value {
        let ended = self.running.take().unwrap().end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let report = fs::read(self.directory.path().join("report/report.json")).unwrap();
        serde_json::from_slice(&report).unwrap()
    }

    fn slots(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.directory.path().join("slots.tsv")).unwrap();
        let line = |line: &str| {
            let fields: Vec<_> = line.split('\t').collect();
            // Control messages are not traced.
            let is_traced = fields[1] != "kafka_kafka";
            is_traced.then(|| (fields[5].to_owned(), fields[6].to_owned()))
        };
        text.lines().skip(1).filter_map(line).collect()
    }
}

#[test]
fn what_is_sent_is_what_the_report_says_and_each_span_has_the_id_of_its_message() {
    let sink = Sink::start();
    let url = sink.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary,x-tenant=7"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,host.name=elsewhere"),
        ("OTEL_SERVICE_NAME", "crossing"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ];
    let mut demo = Demo::start(&variables, &["--for", "5s", "--rate", "150/s"]);
    let said = demo.running().said.clone();
    demo.running().wait_until("/readyz", "exported", |answer| {
        let state: Value = serde_json::from_str(&answer.body).unwrap();
        state["components"]["otlp"]["up"] == true && answer.status == 200
    });
    let report = demo.ended();
    assert!(!said.contains("canary"));

    let inbox = sink.inbox();
    let headers = &inbox.headers;
    assert_eq!(headers["authorization"], "Bearer canary");
    assert_eq!(headers["x-tenant"], "7");
    assert_eq!(headers["content-encoding"], "gzip");
    let last = inbox.metrics.last().unwrap();
    let resource = attributes(&last.resource_metrics[0].resource.as_ref().unwrap().attributes);
    for (key, value) in [
        ("service.name", "crossing"),
        ("service.instance.id", "demo"),
        ("deployment.environment", "test"),
        ("host.name", "elsewhere"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource[key], value, "{key}");
    }
    let sent = samples(last);
    let mut compared = 0;
    for lane in report["paths"][0]["lanes"].as_array().unwrap() {
        for (outcome, count) in lane["outcomes"].as_object().unwrap() {
            let labels = [
                ("path", "demo"),
                ("lane", lane["lane"].as_str().unwrap()),
                ("qos", &lane["qos"].to_string()),
                ("outcome", outcome),
            ];
            let series = ("landfall_slots_total".to_owned(), exposition::owned(&labels));
            assert_eq!(sent[&series].to_string(), count.to_string(), "{labels:?}");
            compared += count.as_u64().unwrap();
        }
    }
    drop(inbox);
    let slots = demo.slots();
    assert_eq!(compared, 3 * slots.len() as u64, "every slot on every lane");
    assert!(slots.len() > 500, "{}", slots.len());
    check_spans(&sink, &slots);
}

/// Every message of the run is one trace, under its own trace id.
fn check_spans(sink: &Sink, slots: &BTreeMap<String, String>) {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let mut traces: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for span in sink.spans() {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        traces.entry(hex(&span.trace_id)).or_default().push(span);
    }
    let ids = |keys: &mut dyn Iterator<Item = &String>| keys.cloned().collect::<BTreeSet<_>>();
    assert_eq!(ids(&mut traces.keys()), ids(&mut slots.keys()), "no message without its trace");
    for (id, spans) in &traces {
        let of = |kind: SpanKind| spans.iter().filter(move |span| span.kind == kind as i32);
        let kinds = [SpanKind::Producer, SpanKind::Internal, SpanKind::Client, SpanKind::Consumer];
        let count = kinds.map(|it| of(it).count());
        assert_eq!(count, [1, 2, 1, 1], "{id}: {spans:?}");
        let publish = of(SpanKind::Producer).next().unwrap();
        assert!(publish.parent_span_id.is_empty());
        for crossing in of(SpanKind::Internal) {
            assert_eq!(crossing.parent_span_id, publish.span_id);
            let below = |span: &&_| {
                let span: &opentelemetry_proto::tonic::trace::v1::Span = span;
                span.parent_span_id == crossing.span_id
            };
            let receipts = of(SpanKind::Consumer).chain(of(SpanKind::Client));
            assert_eq!(receipts.filter(below).count(), 1);
        }
    }
}

#[test]
fn a_collector_that_is_away_and_refuses_and_hangs_disturbs_nothing() {
    let sink = Sink::start();
    sink.set(Mode::Status(503));
    let url = sink.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ];
    let mut demo = Demo::start(&variables, &["--rate", "300/s"]);
    let scrape = |demo: &Demo| demo.running().get("/metrics").body;
    let failures = |demo: &Demo| metric(&scrape(demo), "landfall_export_failures_total", &[]);
    let dropped = |demo: &Demo| metric(&scrape(demo), "landfall_dropped_total", &["queue_full"]);
    wait_until("failures counted", || {
        let count = failures(&demo);
        if count >= 2.0 { Ok(()) } else { Err(count.to_string()) }
    });
    demo.running().wait_until_ready();
    sink.set(Mode::Hang);
    wait_until("spans dropped", || {
        let count = dropped(&demo);
        if count >= 100.0 { Ok(()) } else { Err(count.to_string()) }
    });
    sink.set(Mode::Take);
    demo.running().wait_until("/readyz", "exported again", |answer| {
        let state: Value = serde_json::from_str(&answer.body).unwrap();
        state["components"]["otlp"]["up"] == true
    });
    demo.running().signal("TERM");
    let report = demo.ended();

    // What was not dropped has come, each span once, and the last values too.
    let ids: Vec<_> = sink.spans().into_iter().map(|span| span.span_id).collect();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "a span twice");
    let inbox = sink.inbox();
    let sent = samples(inbox.metrics.last().unwrap());
    let sum = |name: &str, label: (&str, &str)| -> f64 {
        let label = (label.0.to_owned(), label.1.to_owned());
        let of = sent.iter().filter(|((of, labels), _)| {
            of == name && labels.get(&label.0).is_some_and(|value| *value == label.1)
        });
        of.map(|(_, value)| value).sum()
    };
    let lost = sum("landfall_dropped_total", ("component", "otlp"));
    let slots: u64 = report["paths"][0]["lanes"][0]["slots"].as_u64().unwrap();
    assert!(slots > 0);
    let messages = sum("landfall_slots_total", ("lane", "mqtt_kafka"));
    let spans = 5.0 * messages - 5.0 * sum("landfall_slots_total", ("outcome", "not_sent")) / 2.0;
    let kept = unique.len().to_string().parse::<f64>().unwrap();
    assert!((kept + lost - spans).abs() < 0.5, "{kept} kept, {lost} dropped, {spans} made");
}

/// A certificate for 127.0.0.1, signed by itself, and its key.
fn certificate(directory: &std::path::Path) -> (Vec<u8>, Vec<u8>) {
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.output().unwrap().status.success());
    (fs::read(certificate).unwrap(), fs::read(key).unwrap())
}

/// Takes one request a connection over TLS, until the test ends.
#[expect(clippy::disallowed_methods, reason = "a server that lives as long as the test program")]
fn serve_tls(identity: native_tls::Identity) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // A client that does not trust us hangs up.
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let mut request = vec![0; 1 << 20];
            let _ = stream.read(&mut request);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.shutdown();
        }
    });
    address
}

#[test]
fn a_certificate_is_verified_and_one_that_is_not_trusted_is_named() {
    let directory = TempDir::new().unwrap();
    let (pem, key) = certificate(directory.path());
    let address = serve_tls(native_tls::Identity::from_pkcs8(&pem, &key).unwrap());
    let url = format!("https://{address}");
    let trusted = directory.path().join("certificate.pem").display().to_string();
    let state = |demo: &Demo| -> Value {
        let answer = demo.running().get("/readyz");
        serde_json::from_str::<Value>(&answer.body).unwrap()["components"]["otlp"].clone()
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let suspicious = Demo::start(&[endpoint], &["--rate", "10/s"]);
    wait_until("refused for its certificate", || {
        let state = state(&suspicious);
        let reason = state["reason"].as_str().unwrap().to_owned();
        let is_named = reason.contains("certificate verify failed") && reason.contains(&url);
        if state["up"] == false && is_named { Ok(()) } else { Err(reason) }
    });
    let variables = [endpoint, ("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted.as_str())];
    let trusting = Demo::start(&variables, &["--rate", "10/s"]);
    wait_until("taken over TLS", || {
        let state = state(&trusting);
        if state["up"] == true { Ok(()) } else { Err(state.to_string()) }
    });
}
