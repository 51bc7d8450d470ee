//! Room `app`: the thread that sends over OTLP.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::wiring::Parts;
use super::{Error, environment, threads};
use crate::config::{Loaded, Resolved};
use crate::shutdown::Tasks;
use crate::telemetry::{Choice, Health, Otlp, SpanSink, Telemetry, Tracer, span_queue};

/// What a run has of OTLP; nothing of it, where nothing is sent.
pub(super) struct Exporting {
    tasks: Tasks,
    /// Where spans go in.
    pub(super) sink: Option<SpanSink>,
}

/// Starts sending on a thread with a runtime of its own, so that nothing that is timed waits for it.
pub(super) async fn start(
    loaded: &Loaded,
    telemetry: &Telemetry,
    health: &Health,
) -> Result<Exporting, Error> {
    let tasks = Tasks::new();
    let Some(config) = loaded.resolved.telemetry.otlp.clone() else {
        return Ok(Exporting { tasks, sink: None });
    };
    let (sink, queue) = config.traces.as_ref().map(|_| span_queue(telemetry)).unzip();
    let (identity, telemetry, health) =
        (environment::identity(loaded), telemetry.clone(), health.clone());
    let (tell, told) = oneshot::channel();
    let stop = tasks.clone();
    threads::run_on_thread("otlp", &tasks, move || {
        let otlp = Otlp::new(&config, (&telemetry, &health), &identity, queue);
        // The receiver waits for exactly this.
        let _ = tell.send(otlp.map(|otlp| otlp.run(&stop)));
    })
    .map_err(|error| Error::System("starting the OTLP thread", error))?;
    let started = told.await.unwrap_or_else(|_| Err("the OTLP thread ended".to_owned()));
    started.map_err(|what| loaded.problem("telemetry.otlp", &what))?;
    Ok(Exporting { tasks, sink })
}

impl Exporting {
    /// Sends what is left, and ends.
    pub(super) async fn finish(self) {
        drop(self.sink);
        self.tasks.stop();
        self.tasks.finished().await;
    }
}

/// What makes spans of the messages of a shard.
pub(super) fn tracer(resolved: &Resolved, parts: &Parts, sink: SpanSink) -> Tracer {
    let config = resolved.telemetry.otlp.as_ref();
    let sample = config.map_or(0.0, |config| config.sample);
    let slow = config.map_or(u128::MAX, |config| config.slow.as_nanos());
    let choice = Choice { sample, slow_nanos: i64::try_from(slow).unwrap_or(i64::MAX) };
    let roster = (Arc::clone(&parts.roster), parts.sources(resolved));
    Tracer::new(roster, parts.stamper.clone(), choice, sink)
}
