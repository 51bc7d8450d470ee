//! Room `app`: where the world sees a run.

use std::time::Duration;

use super::loads::Loads;
use super::wiring::Parts;
use super::{Error, check_properties, environment, threads};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::shutdown::{Signals, Tasks};
use crate::telemetry::{Build, Component, Health, HttpServer, Pages, Press, Telemetry, press};

/// What the world sees of a run.
pub(super) struct Exposed {
    pub(super) telemetry: Telemetry,
    pub(super) health: Health,
    pub(super) press: Press,
    pub(super) server: HttpServer,
}

/// Takes the address that the run is seen at; nobody is answered yet.
pub(super) fn expose(
    loaded: &Loaded,
    (parts, loads): (&Parts, &Loads),
    clock: Clock,
) -> Result<Exposed, Error> {
    check_properties(loaded, parts)?;
    let product = environment::product();
    let commit = product.commit.unwrap_or_default();
    let identity = environment::identity(loaded);
    let otlp = loaded.resolved.telemetry.otlp.as_ref();
    let otlp = otlp.map(|config| (config.histograms, &identity));
    let build = Build { version: product.version, commit };
    let telemetry = Telemetry::with_objectives(&parts.roster, &parts.objectives, &build, otlp);
    loads.tell(&telemetry);
    let exporter = otlp.map(|_| Component::Otlp);
    let journal = loaded.resolved.state_dir.as_ref().map(|_| Component::Journal);
    let load = loaded.resolved.load.as_ref().map(|_| Component::Load);
    let components = parts.components().into_iter().chain(exporter).chain(journal).chain(load);
    let components: Vec<_> = components.collect();
    let health = Health::new(clock.now(), &components);
    let (press, readers) = press(clock);
    let pages = Pages { telemetry: telemetry.clone(), health: health.clone(), readers, clock };
    let server = HttpServer::bind(loaded.resolved.telemetry.listen, pages)
        .map_err(|error| loaded.problem("telemetry.listen", &error.to_string()))?;
    Ok(Exposed { telemetry, health, press, server })
}

/// Serves HTTP on a thread of its own: a scrape takes milliseconds, and nothing that is timed may
/// wait for it.
pub(super) fn serve(server: HttpServer) -> Result<Tasks, Error> {
    tracing::info!("listening on http://{}", server.address());
    let http = Tasks::new();
    let stop = http.clone();
    threads::run_on_thread("http", &http, move || {
        let tasks = stop.clone();
        stop.spawn(async move {
            if let Err(error) = server.serve(tasks).await {
                tracing::error!("HTTP is not served, restart the probe: {error}");
            }
        });
    })
    .map_err(|error| Error::System("starting the HTTP thread", error))?;
    Ok(http)
}

/// Keeps `/metrics` up for a last scrape; a signal ends the wait.
pub(super) async fn linger(signals: &mut Signals, length: Duration) {
    tokio::select! {
        () = tokio::time::sleep(length) => (),
        () = signals.next() => (),
    }
}
