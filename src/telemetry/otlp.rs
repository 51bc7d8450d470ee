//! Room `telemetry`: OTLP, which hands metrics and spans to a Collector.
//!
//! # Design
//!
//! * One recording: the recorder behind the `metrics` facade hands each value on to `/metrics` and to
//!   the SDK's instruments (`instruments`), whose series are bound to their labels once, so that they
//!   exist at zero and cost no look-up. What is on the board is read when metrics are collected.
//! * Every counter and histogram is sent as zero from the start, but for the one histogram without
//!   labels: the SDK sends that from its first value on.
//! * The SDK's own threads are not used: it can neither be told that a Collector is away nor say what
//!   it dropped. A runtime of ours on one thread collects, sends and waits; nothing that is timed
//!   shares it, and its last sending is part of the order in which a run stops.
//! * Metrics are cumulative: a sending that failed loses nothing, and the next one brings everything.
//!   Spans wait in a bounded queue as long as they can't be delivered; which are left out when it is
//!   full is counted.
//! * A Collector that is away never makes the probe unready: `/metrics` and the measurement do not
//!   depend on it. `/readyz` says so all the same.

mod http_client;
mod instruments;
mod metrics;
mod resource;
mod spans;
mod state;
mod transport;

use std::time::Duration;

use crate::shutdown::Tasks;

use super::health::Health;
use super::recorder::Telemetry;
use super::traces::SpanQueue;

use metrics::MetricSender;
use spans::SpanSender;
use state::{Signal, State};

pub(super) use instruments::{Instruments, Meters};
pub use resource::Identity;
pub(super) use resource::SCOPE;

/// How long one sending may take, unless the standard variables say otherwise.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the last sending may be tried when the run is over.
const LAST_SENDING: Duration = Duration::from_secs(5);

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf over HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// What histograms are sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histograms {
    /// With the buckets of `/metrics`.
    Explicit,
    /// With up to 160 exponential buckets, as fine as the range of the values allows.
    Exponential,
}

/// Where a signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The whole URL, with the path of the signal where the protocol has one.
    pub url: String,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// What is sent over OTLP, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// Where metrics go, if anywhere.
    pub metrics: Option<Target>,
    /// Where spans go, if anywhere.
    pub traces: Option<Target>,
    /// How often metrics are sent.
    pub interval: Duration,
    /// What histograms are sent as.
    pub histograms: Histograms,
    /// The share of messages that is traced whatever becomes of them, 0 to 1.
    pub sample: f64,
    /// From which end-to-end latency on a message is always traced.
    pub slow: Duration,
}

/// Sends metrics and spans.
pub struct Otlp {
    metrics: Option<MetricSender>,
    spans: Option<SpanSender>,
    state: State,
}

impl Otlp {
    /// Everything that `config` asks for; nothing is connected to yet. To be called on the runtime
    /// that [`Otlp::run`] will run on.
    ///
    /// # Errors
    ///
    /// When a URL, a certificate or a standard variable can't be used; the text says which.
    pub fn new(
        config: &OtlpConfig,
        (telemetry, health): (&Telemetry, &Health),
        identity: &Identity,
        queue: Option<SpanQueue>,
    ) -> Result<Self, String> {
        let signals = [(Signal::Metrics, &config.metrics), (Signal::Traces, &config.traces)];
        let used = signals.into_iter().filter(|(_, target)| target.is_some());
        let state = State::new(telemetry.clone(), health.clone(), used.map(|(signal, _)| signal));
        let metrics = config.metrics.as_ref().map(|target| {
            let exporter = transport::metrics(target)?;
            Ok::<_, String>(MetricSender::new(exporter, telemetry.clone(), config.interval))
        });
        let spans = config.traces.as_ref().zip(queue).map(|(target, queue)| {
            let exporter = transport::spans(target, &resource::resource(identity))?;
            Ok::<_, String>(SpanSender::new(exporter, queue))
        });
        Ok(Self { metrics: metrics.transpose()?, spans: spans.transpose()?, state })
    }

    /// Sends until told to stop, then once more what is left, and starts nothing that outlives it.
    pub fn run(self, tasks: &Tasks) {
        let Self { metrics, spans, state } = self;
        if let Some(metrics) = metrics {
            let (state, stop) = (state.clone(), tasks.clone());
            tasks.spawn(async move { metrics.run(&state, &stop).await });
        }
        if let Some(spans) = spans {
            let stop = tasks.clone();
            tasks.spawn(async move { spans.run(&state, &stop).await });
        }
    }
}
