//! Room `telemetry`: what sends metrics.

use std::time::Duration;

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::super::recorder::Telemetry;
use super::state::{Signal, State};
use super::transport::Exporter;
use super::{LAST_SENDING, transport};
use crate::shutdown::Tasks;

/// The wait between two attempts of the last sending.
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// Sends all metrics, again and again.
pub(super) struct MetricSender {
    exporter: Exporter<MetricExporter>,
    telemetry: Telemetry,
    every: Duration,
    collected: ResourceMetrics,
}

impl MetricSender {
    pub(super) fn new(
        exporter: Exporter<MetricExporter>,
        telemetry: Telemetry,
        every: Duration,
    ) -> Self {
        Self { exporter, telemetry, every, collected: ResourceMetrics::default() }
    }

    /// Sends until told to stop, and then until the last values were taken or it has been long enough.
    pub(super) async fn run(mut self, state: &State, stop: &Tasks) {
        let mut due = interval(self.every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.stopped() => break,
                _ = due.tick() => self.send(state).await,
            };
        }
        let last = async {
            while !self.send(state).await {
                sleep(LAST_PAUSE).await;
            }
        };
        if timeout(LAST_SENDING, last).await.is_err() {
            tracing::warn!(
                "OTLP: the last metrics were not taken; the report and /metrics have them"
            );
        }
    }

    /// Sends the values as they stand; whether they were taken.
    async fn send(&mut self, state: &State) -> bool {
        if let Err(error) = self.telemetry.collect(&mut self.collected) {
            state.failed(Signal::Metrics, &format!("they can't be collected: {error}"));
            return false;
        }
        let sending = self.exporter.inner.export(&self.collected);
        let sent = transport::sent(sending, &self.exporter).await;
        match &sent {
            Ok(()) => state.taken(Signal::Metrics),
            Err(reason) => state.failed(Signal::Metrics, reason),
        }
        sent.is_ok()
    }
}
