//! Test support: what stands in for a Collector: takes OTLP over HTTP, keeps what it was sent, and can
//! be told to refuse or to hang. It reads with the published protobuf messages, not with our code.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use flate2::read::GzDecoder;
use landfall::shutdown::Tasks;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::exposition::Labels;

/// How long anything may take that comes by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is done with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is taken.
    Take,
    /// It is answered with this status.
    Status(u16),
    /// It is never answered.
    Hang,
}

/// What has come.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Requests of metrics that were taken.
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    /// Requests of spans that were taken.
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    /// Header names and values of the last request.
    pub(crate) headers: BTreeMap<String, String>,
    /// Requests that were not taken.
    pub(crate) refused: u64,
}

/// The stand-in.
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    inbox: Mutex<Inbox>,
    more: Condvar,
    mode: Mutex<Mode>,
}

impl Sink {
    /// Listens on a free port of loopback and takes everything.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Listens there: where another one was that has stopped.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            more: Condvar::new(),
            mode: Mutex::new(Mode::Take),
        });
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, router) = (Tasks::new(), router(Arc::clone(&shared)));
        let stop = tasks.clone();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    () = stop.stopped() => (),
                }
            });
        };
        tasks.thread("sink", serve).unwrap();
        Self { address, shared, tasks }
    }

    /// The URL to send to, without the signal's path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it: from now on connections are refused.
    pub(crate) fn stop(self) {
        self.tasks.stop();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.tasks.finished());
    }

    /// Does this with whatever comes from now on.
    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// What has come so far.
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what has come is enough.
    pub(crate) fn await_that(&self, what: &str, is_enough: impl Fn(&Inbox) -> bool) {
        let (inbox, waited) = self
            .shared
            .more
            .wait_timeout_while(self.inbox(), PATIENCE, |inbox| !is_enough(inbox))
            .unwrap();
        assert!(!waited.timed_out(), "{what} did not come: {} refused", inbox.refused);
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let inbox = self.inbox();
        let scopes = inbox.traces.iter().flat_map(|request| &request.resource_spans);
        scopes.flat_map(|of| &of.scope_spans).flat_map(|of| of.spans.clone()).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Shared {
    async fn take(&self, headers: &HeaderMap, keep: impl FnOnce(&mut Inbox)) -> StatusCode {
        let mode = *self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let status = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
            let named = headers.iter().map(|(name, value)| (name.to_string(), text(value)));
            inbox.headers = named.collect();
            match mode {
                Mode::Take => {
                    keep(&mut inbox);
                    StatusCode::OK
                }
                Mode::Status(status) => {
                    inbox.refused += 1;
                    StatusCode::from_u16(status).unwrap()
                }
                Mode::Hang => {
                    inbox.refused += 1;
                    StatusCode::OK
                }
            }
        };
        self.more.notify_all();
        if mode == Mode::Hang {
            std::future::pending::<()>().await;
        }
        status
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/metrics", post(metrics))
        .route("/elsewhere/metrics", post(metrics))
        .route("/v1/traces", post(traces))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let keep = |inbox: &mut Inbox| {
        let request = ExportMetricsServiceRequest::decode(&*unpacked(&headers, &body));
        inbox.metrics.push(request.unwrap());
    };
    shared.take(&headers, keep).await
}

async fn traces(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let keep = |inbox: &mut Inbox| {
        let request = ExportTraceServiceRequest::decode(&*unpacked(&headers, &body));
        inbox.traces.push(request.unwrap());
    };
    shared.take(&headers, keep).await
}

fn unpacked(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    match headers.get("content-encoding").map(|encoding| encoding.to_str().unwrap()) {
        Some("gzip") => {
            GzDecoder::new(body).read_to_end(&mut unpacked).unwrap();
        }
        None => unpacked.extend_from_slice(body),
        Some(other) => panic!("{other} was not asked for"),
    }
    unpacked
}

/// Attributes as text.
pub(crate) fn attributes(of: &[KeyValue]) -> Labels {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => panic!("no attribute of ours: {other:?}"),
    };
    of.iter().map(|attribute| (attribute.key.clone(), text(&attribute.value))).collect()
}

/// The metrics of a request by name.
pub(crate) fn by_name(request: &ExportMetricsServiceRequest) -> BTreeMap<String, Metric> {
    let scopes = request.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics.clone());
    metrics.map(|metric| (metric.name.clone(), metric)).collect()
}

/// The samples of a request as the text of `/metrics` has them: histograms as cumulative buckets, sum
/// and count.
pub(crate) fn samples(request: &ExportMetricsServiceRequest) -> BTreeMap<(String, Labels), f64> {
    let mut samples = BTreeMap::new();
    let mut add = |name: String, labels: Labels, value: f64| {
        let before = samples.insert((name, labels), value);
        assert!(before.is_none(), "a series twice");
    };
    for (name, metric) in by_name(request) {
        match metric.data.unwrap() {
            Data::Gauge(gauge) => {
                for point in gauge.data_points {
                    add(name.clone(), attributes(&point.attributes), number(&point));
                }
            }
            Data::Sum(sum) => {
                assert!(sum.is_monotonic, "{name}");
                assert_eq!(sum.aggregation_temporality, 2, "{name} is cumulative");
                for point in sum.data_points {
                    add(name.clone(), attributes(&point.attributes), number(&point));
                }
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, 2, "{name} is cumulative");
                for point in histogram.data_points {
                    let labels = attributes(&point.attributes);
                    let bounds = point.explicit_bounds.iter().map(ToString::to_string);
                    let mut total = 0;
                    for (bound, count) in
                        bounds.chain(["+Inf".to_owned()]).zip(&point.bucket_counts)
                    {
                        total += count;
                        let mut labels = labels.clone();
                        labels.insert("le".to_owned(), bound);
                        add(format!("{name}_bucket"), labels, whole(total));
                    }
                    add(format!("{name}_sum"), labels.clone(), point.sum.unwrap());
                    add(format!("{name}_count"), labels, whole(point.count));
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    samples
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are far below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are far below 2^53")]
fn number(point: &NumberDataPoint) -> f64 {
    match point.value.unwrap() {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => value as f64,
    }
}
