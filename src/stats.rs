//! Room `stats` (pure): counts and mergeable distributions of a run and of its windows.

mod booking;
mod clocks;
mod counts;
mod deliveries;
mod effort;
mod history;
mod latencies;
mod objective;
mod offset;
mod recent;
mod totals;
mod valid;
mod window;
mod windows;
mod worst;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::correlate::{Lane, PathId, PublisherId, Qos, Roster};

pub use clocks::{Clocks, Led, PEERS_MAX, PeerClock};
pub use deliveries::DeliveryTotals;
pub use effort::Connects;
use effort::Work;
pub use history::{History, PastLane, PastWindow};
pub use latencies::Latencies;
pub use objective::{Objective, Quantile};
pub use offset::{ClockOffset, DRIFT_PPM};
pub use recent::{QUANTILES, Recent};
pub use totals::{LaneTotals, PathTotals, PublishTotals};
pub use valid::ValidTotals;
pub use window::{InvalidCause, Starved, WindowFacts};
pub use windows::{Judgement, Stretch, Windows};
pub use worst::{Fate, Message, Trouble, WORST_MAX, Worst};

/// Everything counted about a run, or about one shard of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    #[serde(skip)]
    roster: Arc<Roster>,
    paths: Vec<PathTotals>,
    /// Of MQTT publishers, and behind them of control publishers.
    publish: Vec<PublishTotals>,
    lanes: Vec<LaneTotals>,
    /// Of what MQTT subscribers were handed, by path and QoS.
    deliveries: Vec<DeliveryTotals>,
    lag: Latencies,
    window_lag: Latencies,
}

/// What is known of windows that are over, to be kept with serde.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JudgedWindows {
    lanes: Vec<ValidTotals>,
    paths: Vec<Windows>,
}

impl JudgedWindows {
    /// Forgets when windows were: the clock has begun anew. What fell into valid ones is kept.
    pub fn forget_moments(&mut self) {
        self.paths.clear();
    }
}

impl Stats {
    /// All zero.
    #[must_use]
    pub fn new(roster: Arc<Roster>) -> Self {
        let paths = roster.paths().len();
        let groups = paths * Qos::ALL.len();
        Self {
            paths: std::iter::repeat_with(PathTotals::default).take(paths).collect(),
            publish: std::iter::repeat_with(PublishTotals::default).take(2 * groups).collect(),
            lanes: std::iter::repeat_with(LaneTotals::default)
                .take(groups * Lane::ALL.len())
                .collect(),
            deliveries: std::iter::repeat_with(DeliveryTotals::default).take(groups).collect(),
            lag: Latencies::default(),
            window_lag: Latencies::default(),
            roster,
        }
    }

    /// Takes up totals that were kept (with serde, which leaves out roster and windows): they belong
    /// to `roster` from here on, and a window begins. `None` where they are of another one.
    #[must_use]
    pub fn taken_up(mut self, roster: Arc<Roster>) -> Option<Self> {
        let fresh = Self::new(Arc::clone(&roster));
        let fits = self.paths.len() == fresh.paths.len()
            && self.publish.len() == fresh.publish.len()
            && self.lanes.len() == fresh.lanes.len()
            && self.deliveries.len() == fresh.deliveries.len();
        self.roster = roster;
        self.end_window();
        fits.then_some(self)
    }

    /// The windows that are over, as they were judged.
    #[must_use]
    pub fn judged_windows(&self) -> JudgedWindows {
        JudgedWindows {
            lanes: self.lanes.iter().map(|lane| lane.valid.clone()).collect(),
            paths: self.paths.iter().map(|path| path.windows.clone()).collect(),
        }
    }

    /// Goes on behind windows that were judged before.
    pub fn go_on_behind(&mut self, windows: JudgedWindows) {
        let JudgedWindows { lanes, paths } = windows;
        self.lanes.iter_mut().zip(lanes).for_each(|(lane, valid)| lane.valid = valid);
        self.paths.iter_mut().zip(paths).for_each(|(path, windows)| path.windows = windows);
    }

    /// Forgets single messages: the clock has begun anew, and so has the run that they were stamped as.
    pub fn forget_messages(&mut self) {
        self.paths.iter_mut().for_each(|path| path.worst = Worst::default());
    }

    /// The roster that the totals belong to.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Totals of a path.
    #[must_use]
    pub fn path(&self, path: PathId) -> &PathTotals {
        &self.paths[usize::from(path.0)]
    }

    /// Totals of the messages that a path publishes over MQTT at a QoS.
    #[must_use]
    pub fn publish(&self, path: PathId, qos: Qos) -> &PublishTotals {
        &self.publish[self.publish_group(path, qos, false)]
    }

    /// The same of the control messages of those publishers' twins.
    #[must_use]
    pub fn control(&self, path: PathId, qos: Qos) -> &PublishTotals {
        &self.publish[self.publish_group(path, qos, true)]
    }

    /// Totals of a path, lane and QoS.
    #[must_use]
    pub fn lane(&self, path: PathId, qos: Qos, lane: Lane) -> &LaneTotals {
        &self.lanes[series(path, qos, lane)]
    }

    /// How late the probe itself woke for its slots.
    #[must_use]
    pub fn lag(&self) -> &Latencies {
        &self.lag
    }

    /// The same, of the window that is not over.
    #[must_use]
    pub fn window_lag(&self) -> &Latencies {
        &self.window_lag
    }

    /// Every path, lane and QoS that the run measures.
    pub fn measured(&self) -> impl Iterator<Item = (PathId, Qos, Lane)> + use<'_> {
        (0..)
            .map(PathId)
            .zip(self.roster.paths())
            .flat_map(|(id, path)| path.measured().map(move |(lane, qos)| (id, qos, lane)))
    }

    /// Sets how many messages of a series are in flight.
    pub fn set_in_flight(&mut self, path: PathId, qos: Qos, lane: Lane, count: u64) {
        self.lanes[series(path, qos, lane)].in_flight = count;
    }

    /// Books the window of a path that is ending as it was judged. To be called before
    /// [`Stats::roll`], of the totals that are rolled.
    pub fn judge_window(&mut self, path: PathId, window: &Judgement) {
        let is_valid = window.causes.is_empty();
        let first = series(path, Qos::AtMostOnce, Lane::MqttKafka);
        for lane in &mut self.lanes[first..first + Qos::ALL.len() * Lane::ALL.len()] {
            lane.judge_window(is_valid);
        }
        let path = &mut self.paths[usize::from(path.0)];
        path.windows.add(window);
        path.history.judge(window);
    }

    /// Ends the window of every series; it took so many seconds.
    pub fn roll(&mut self, seconds: u64) {
        for lane in &mut self.lanes {
            lane.recent.push(seconds, &lane.window);
        }
        let (roster, lanes) = (&self.roster, &self.lanes);
        for ((id, path), totals) in (0..).map(PathId).zip(roster.paths()).zip(&mut self.paths) {
            totals.history.end(|| {
                let measured = path.measured();
                measured.map(|of| PastLane::of(of, &lanes[series(id, of.1, of.0)])).collect()
            });
        }
        self.end_window();
    }

    /// Begins a window: what is in the one that is not over stands among what was before.
    pub fn end_window(&mut self) {
        for lane in &mut self.lanes {
            lane.end_window();
        }
        self.window_lag.clear();
        for path in &mut self.paths {
            path.window_poll_lag.clear();
            path.busiest = path.busiest.max(path.work.most().unwrap_or(0.0));
            (path.work, path.window_refused) = (Work::default(), 0);
            path.window_sends = (0, 0);
        }
    }

    /// All zero again, but for the windows before.
    pub fn renew(&mut self) {
        let fresh = Self::new(Arc::clone(&self.roster));
        let old = std::mem::replace(self, fresh);
        for (lane, old) in self.lanes.iter_mut().zip(old.lanes) {
            (lane.recent, lane.valid) = (old.recent, old.valid);
        }
        for (path, old) in self.paths.iter_mut().zip(old.paths) {
            (path.windows, path.history) = (old.windows, old.history);
        }
    }

    /// Sets the latest moment that all Kafka consumers of a path have caught up with.
    pub fn set_caught_up(&mut self, path: PathId, at: Instant) {
        self.paths[usize::from(path.0)].caught_up = at;
    }

    /// Sets what is known of the clocks of a path's leaders.
    pub fn set_clocks(&mut self, path: PathId, clocks: Vec<PeerClock>) {
        self.paths[usize::from(path.0)].clocks = clocks;
    }

    /// Adds the totals of another shard. Windows before the current one are left out: shards are
    /// merged before they are rolled.
    pub fn merge(&mut self, other: &Self) {
        self.lag.merge(&other.lag);
        self.window_lag.merge(&other.window_lag);
        self.paths.iter_mut().zip(&other.paths).for_each(|(mine, theirs)| mine.merge(theirs));
        self.publish.iter_mut().zip(&other.publish).for_each(|(mine, theirs)| mine.merge(theirs));
        self.lanes.iter_mut().zip(&other.lanes).for_each(|(mine, theirs)| mine.merge(theirs));
        let deliveries = self.deliveries.iter_mut().zip(&other.deliveries);
        deliveries.for_each(|(mine, theirs)| mine.merge(theirs));
    }

    fn path_of(&mut self, publisher: PublisherId) -> &mut PathTotals {
        let path = self.roster.publisher(publisher).path;
        &mut self.paths[usize::from(path.0)]
    }

    fn publish_of(&mut self, publisher: PublisherId) -> &mut PublishTotals {
        let publisher = self.roster.publisher(publisher);
        let group = self.publish_group(publisher.path, publisher.qos, publisher.control);
        &mut self.publish[group]
    }

    /// What goes in is told apart by who sends it.
    fn publish_group(&self, path: PathId, qos: Qos, control: bool) -> usize {
        group(path, qos) + if control { self.publish.len() / 2 } else { 0 }
    }

    fn lane_of(&mut self, publisher: PublisherId, lane: Lane) -> &mut LaneTotals {
        let publisher = self.roster.publisher(publisher);
        &mut self.lanes[series(publisher.path, publisher.qos, lane)]
    }
}

fn group(path: PathId, qos: Qos) -> usize {
    usize::from(path.0) * Qos::ALL.len() + usize::from(qos.level())
}

fn series(path: PathId, qos: Qos, lane: Lane) -> usize {
    group(path, qos) * Lane::ALL.len() + lane.index()
}
