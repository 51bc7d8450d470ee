//! Room `stats`: what the windows of the last hour showed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::correlate::{Lane, Qos};

use super::recent::Recent;
use super::totals::LaneTotals;
use super::window::InvalidCause;
use super::windows::Judgement;

/// A window is not shown for longer than this.
const AGE_MAX: Duration = Duration::from_hours(1);
/// How many windows are shown at most: an hour of windows of 5 s.
const WINDOWS_MAX: usize = 720;

/// A lane and QoS in a window that is over. Durations are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastLane {
    /// Which lane.
    pub lane: Lane,
    /// At which QoS.
    pub qos: Qos,
    /// Messages that came out in the window.
    pub count: u64,
    /// p50, p99 and p99.9 as they were exported when the window ended: over it, or over as many before
    /// it as hold enough samples.
    pub quantiles: [Option<i64>; 3],
    /// The longest in the window.
    pub max: Option<i64>,
}

impl PastLane {
    pub(super) fn of((lane, qos): (Lane, Qos), totals: &LaneTotals) -> Self {
        let quantile = |recent: &Recent, quantile| recent.quantile_nanos(quantile);
        Self {
            lane,
            qos,
            count: totals.window.count(),
            quantiles: [0.5, 0.99, 0.999].map(|share| quantile(&totals.recent, share)),
            max: totals.window.max_nanos(),
        }
    }
}

/// A window of a path that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastWindow {
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub until: Instant,
    /// Why it is not valid; empty where it is.
    pub causes: Vec<InvalidCause>,
    /// Its lanes, once for each QoS, in the order of [`Stats::measured`](super::Stats::measured).
    pub lanes: Vec<PastLane>,
}

/// The windows of the last hour of one path. What happened before the process began is not in it.
#[derive(Clone, Debug, Default)]
pub struct History {
    windows: VecDeque<PastWindow>,
    judged: Option<Judgement>,
}

impl History {
    /// The window that is ending was judged.
    pub(super) fn judge(&mut self, window: &Judgement) {
        self.judged = Some(window.clone());
    }

    /// Adds the window that was judged, with what came out in it.
    pub(super) fn end(&mut self, lanes: impl FnOnce() -> Vec<PastLane>) {
        let Some(Judgement { from, until, causes, .. }) = self.judged.take() else { return };
        self.windows.push_back(PastWindow { from, until, causes, lanes: lanes() });
        while self.windows.len() > WINDOWS_MAX
            || self.windows.front().is_some_and(|oldest| oldest.until + AGE_MAX < until)
        {
            self.windows.pop_front();
        }
    }

    /// The windows, oldest first.
    pub fn windows(&self) -> impl Iterator<Item = &PastWindow> {
        self.windows.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seconds: u64, windows: u64) -> History {
        let mut history = History::default();
        let at = |number: u64| Instant::from_nanos(number * seconds * 1_000_000_000);
        for number in 0..windows {
            let (from, until) = (at(number), at(number + 1));
            history.judge(&Judgement { from, until, causes: Vec::new(), is_loaded: true });
            history.end(Vec::new);
        }
        history
    }

    #[test]
    fn it_is_an_hour_and_bounded() {
        assert_eq!(filled(10, 1_000).windows().count(), 361);
        assert_eq!(filled(1, 2_000).windows().count(), WINDOWS_MAX);
        let newest = filled(10, 1_000).windows().last().unwrap().until;
        assert_eq!(newest.nanos(), 10_000 * 1_000_000_000);
    }

    #[test]
    fn a_window_that_nobody_judged_is_not_shown() {
        let mut history = History::default();
        history.end(|| panic!("nothing is to be worked out"));
        assert_eq!(history.windows().count(), 0);
    }
}
