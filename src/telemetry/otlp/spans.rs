//! Room `telemetry`: what sends spans.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::time::{sleep, timeout};

use super::super::traces::SpanQueue;
use super::LAST_SENDING;
use super::state::{Signal, State};
use super::transport::{self, Exporter};
use crate::shutdown::Tasks;

/// Spans of one sending at most.
const BATCH_MAX: usize = 512;
/// How long the first span of a sending waits for company.
const GATHER: Duration = Duration::from_secs(1);
/// The shortest and the longest wait behind a sending that failed.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Sends the spans of a queue.
pub(super) struct SpanSender {
    exporter: Exporter<SpanExporter>,
    queue: SpanQueue,
    batch: Vec<SpanData>,
}

impl SpanSender {
    pub(super) fn new(exporter: Exporter<SpanExporter>, queue: SpanQueue) -> Self {
        Self { exporter, queue, batch: Vec::new() }
    }

    /// Sends until told to stop, and then what is left, or until it has been long enough.
    pub(super) async fn run(mut self, state: &State, stop: &Tasks) {
        while !stop.stopping() {
            // What is on its way is waited for: who gives it up can't know whether it was taken.
            tokio::select! {
                () = stop.stopped() => break,
                more = self.gather() => if !more { break },
            }
            self.deliver(state, Some(stop)).await;
        }
        let last = timeout(LAST_SENDING, async {
            while self.gather_rest() {
                self.deliver(state, None).await;
            }
        });
        if last.await.is_err() {
            let left = self.batch.len() + self.queue.len();
            self.queue.dropped("stopped", left as u64);
            tracing::warn!("OTLP: {left} spans were not taken before the end");
        }
    }

    /// Waits for spans, and a little for more of them; whether there will ever be any.
    async fn gather(&mut self) -> bool {
        if self.batch.is_empty() {
            let Some(first) = self.queue.next().await else { return false };
            self.batch.push(first);
        }
        let company = async {
            while self.batch.len() < BATCH_MAX {
                let Some(span) = self.queue.next().await else { return };
                self.batch.push(span);
            }
        };
        // Whatever has come in time is enough.
        let _ = timeout(GATHER, company).await;
        true
    }

    /// Takes what is there; whether it is anything.
    fn gather_rest(&mut self) -> bool {
        while self.batch.len() < BATCH_MAX {
            let Some(span) = self.queue.try_next() else { break };
            self.batch.push(span);
        }
        !self.batch.is_empty()
    }

    /// Sends the batch until it is taken or refused for good, or `stop` says that it is time to. The
    /// queue fills meanwhile.
    async fn deliver(&mut self, state: &State, stop: Option<&Tasks>) {
        let pauses = ExponentialBuilder::default().with_min_delay(PAUSE_MIN);
        let pauses = pauses.with_max_delay(PAUSE_MAX).with_jitter().without_max_times();
        for pause in pauses.build() {
            let sending = self.exporter.inner.export(self.batch.clone());
            let Err(reason) = transport::sent(sending, &self.exporter).await else {
                self.batch.clear();
                return state.taken(Signal::Traces);
            };
            state.failed(Signal::Traces, &reason);
            if transport::is_refusal(&reason) {
                self.queue.dropped("refused", self.batch.len() as u64);
                return self.batch.clear();
            }
            match stop {
                Some(stop) => tokio::select! {
                    () = stop.stopped() => return,
                    () = sleep(pause) => (),
                },
                None => sleep(pause).await,
            }
        }
    }
}
