//! Room `app`: what readers are shown while a run lasts.

use super::Control;
use crate::clock::{Instant, Pairing};
use crate::correlate::PathId;
use crate::report::{ComponentNow, Live, PathNow, Status, rfc3339};
use crate::study::Phase;
use crate::telemetry::Edition;

impl Control {
    /// Shows a person how it goes, where it is time to.
    pub(super) fn show(&mut self, now: Instant) {
        if !self.output.is_due(now) {
            return;
        }
        let Some(started) = self.state.started else {
            let waiting = self.waiting_for();
            self.output.wait(format!("waiting for {waiting}"), now);
            return;
        };
        self.overview.refresh(&self.books);
        self.output.show(&self.overview.stats, now.saturating_since(started), now);
    }

    /// Makes an edition where somebody reads.
    pub(super) fn inform(&mut self, now: Instant) {
        if self.press.as_ref().is_some_and(|press| press.is_wanted(now)) {
            self.add_up(now);
            self.publish_status();
        }
    }

    /// Has the totals as they stand, with what is known of the clocks.
    fn add_up(&mut self, now: Instant) {
        self.overview.refresh(&self.books);
        for id in (0..).map(PathId).take(self.router.roster().paths().len()) {
            let known = self.clocks.lock().known(Some(id), now);
            self.overview.stats.set_clocks(id, known);
        }
    }

    /// Shows readers the totals as they were last added up.
    pub(super) fn publish_status(&mut self) {
        if self.press.is_none() {
            return;
        }
        let now = self.clock.pairing();
        self.edition += 1;
        self.tell_load();
        let unmeasured = self.unmeasured();
        let stats = &self.overview.stats;
        let report = self.journalist.status(stats, &self.meters, &unmeasured);
        let status = Status { report, live: self.live(&now) };
        let Some(press) = &self.press else { return };
        // Every key is text and every figure a number, so that writing can't fail.
        press.publish(Edition {
            made: now.instant,
            status: status.json().unwrap_or_default().into(),
            worst: status.worst_json().unwrap_or_default().into(),
            page: status.page().into(),
        });
    }

    /// Shows readers the totals for the last time.
    pub(in crate::app) fn close_press(&mut self) {
        self.publish_status();
        self.press = None;
    }

    /// Has the next report tell what the load generator of somebody else's did so far.
    pub(in crate::app) fn tell_load(&mut self) {
        if let Some(load) = &self.load {
            self.journalist.tell_load(load.report(&self.clock.pairing()));
        }
    }

    fn live(&self, now: &Pairing) -> Live {
        let components = self.health.readiness().components.into_iter();
        let components = components.map(|(name, state)| {
            let (up, reason, needed) = (state.up, state.reason, state.needed);
            (name.to_owned(), ComponentNow { up, reason, needed })
        });
        let stats = &self.overview.stats;
        let path = |id: PathId| {
            let ends: Vec<Instant> =
                stats.path(id).history.windows().map(|window| window.until).collect();
            PathNow::of(stats, id, |index| {
                ends.get(index).map(|&end| rfc3339(now.wall_of(end))).unwrap_or_default()
            })
        };
        let phase = match self.machine.phase() {
            Phase::Connecting => "connecting",
            Phase::Loading { .. } => "measuring",
            Phase::Draining { .. } => "draining",
            Phase::Done => "over",
        };
        Live {
            made: rfc3339(now.wall),
            edition: self.edition,
            phase: phase.to_owned(),
            window_seconds: self.window.as_secs_f64(),
            components: components.collect(),
            host: self.meters.host_now(),
            processes: self.meters.processes_now(),
            paths: (0..).map(PathId).take(stats.roster().paths().len()).map(path).collect(),
        }
    }
}
