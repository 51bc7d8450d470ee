//! Room `stats` (pure): counts and mergeable distributions of a run and of its windows.

mod counts;
mod latencies;
mod recent;
mod totals;
mod window;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::correlate::{
    Arrival, Event, Lane, Leg, NotSent, Outcome, PathId, PublisherId, Qos, Roster,
};

pub use latencies::Latencies;
pub use recent::{QUANTILES, Recent};
pub use totals::{LaneTotals, PathTotals, PublishTotals};
pub use window::{InvalidCause, WindowFacts};

/// Everything counted about a run, or about one shard of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    #[serde(skip)]
    roster: Arc<Roster>,
    paths: Vec<PathTotals>,
    publish: Vec<PublishTotals>,
    lanes: Vec<LaneTotals>,
    lag: Latencies,
    window_lag: Latencies,
}

impl Stats {
    /// All zero.
    #[must_use]
    pub fn new(roster: Arc<Roster>) -> Self {
        let paths = roster.paths().len();
        let groups = paths * Qos::ALL.len();
        Self {
            paths: std::iter::repeat_with(PathTotals::default).take(paths).collect(),
            publish: std::iter::repeat_with(PublishTotals::default).take(groups).collect(),
            lanes: std::iter::repeat_with(LaneTotals::default)
                .take(groups * Lane::ALL.len())
                .collect(),
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
            && self.lanes.len() == fresh.lanes.len();
        self.roster = roster;
        self.end_window();
        fits.then_some(self)
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

    /// Totals of a path and QoS.
    #[must_use]
    pub fn publish(&self, path: PathId, qos: Qos) -> &PublishTotals {
        &self.publish[group(path, qos)]
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
        (0..).map(PathId).zip(self.roster.paths()).flat_map(|(id, path)| {
            let lanes = path.lanes.iter();
            lanes.flat_map(move |&lane| path.qos.iter().map(move |&qos| (id, qos, lane)))
        })
    }

    /// Books what the correlator concluded.
    pub fn apply(&mut self, events: &[Event]) {
        for event in events {
            self.book(event);
        }
    }

    /// Sets how many messages of a series are in flight.
    pub fn set_in_flight(&mut self, path: PathId, qos: Qos, lane: Lane, count: u64) {
        self.lanes[series(path, qos, lane)].in_flight = count;
    }

    /// Ends the window of every series; it took so many seconds.
    pub fn roll(&mut self, seconds: u64) {
        for lane in &mut self.lanes {
            lane.recent.push(seconds, &lane.window);
        }
        self.end_window();
    }

    /// Begins a window: what is in the one that is not over stands among what was before.
    pub fn end_window(&mut self) {
        for lane in &mut self.lanes {
            lane.end_window();
        }
        self.window_lag.clear();
    }

    /// All zero again, but for the windows before.
    pub fn renew(&mut self) {
        let fresh = Self::new(Arc::clone(&self.roster));
        let old = std::mem::replace(self, fresh);
        for (lane, old) in self.lanes.iter_mut().zip(old.lanes) {
            lane.recent = old.recent;
        }
    }

    /// Sets the latest moment that a path's Kafka consumer has caught up with.
    pub fn set_caught_up(&mut self, path: PathId, at: Instant) {
        self.paths[usize::from(path.0)].caught_up = at;
    }

    /// Adds the totals of another shard. Windows before the current one are left out: shards are
    /// merged before they are rolled.
    pub fn merge(&mut self, other: &Self) {
        self.lag.merge(&other.lag);
        self.window_lag.merge(&other.window_lag);
        self.paths.iter_mut().zip(&other.paths).for_each(|(mine, theirs)| mine.merge(theirs));
        self.publish.iter_mut().zip(&other.publish).for_each(|(mine, theirs)| mine.merge(theirs));
        self.lanes.iter_mut().zip(&other.lanes).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    fn book(&mut self, event: &Event) {
        match *event {
            Event::Woken { nanos, .. } => {
                self.lag.record(nanos);
                self.window_lag.record(nanos);
            }
            Event::Offered { publisher } => self.publish_of(publisher).offered += 1,
            Event::Published { publisher } => self.publish_of(publisher).published += 1,
            Event::Acknowledged { publisher, .. } => self.publish_of(publisher).acknowledged += 1,
            Event::Resolved { publisher, lane, outcome, not_sent, ref arrival, .. } => {
                if let Some(arrival) = arrival {
                    self.book_arrival(publisher, (lane, outcome), arrival);
                } else {
                    self.lane_of(publisher, lane).announced[outcome.index()] += 1;
                }
                if let Some(cause) = not_sent {
                    self.book_not_sent(publisher, lane, cause);
                }
            }
            Event::Timed { publisher, leg, nanos } => {
                self.publish_of(publisher).legs[leg.index()].record(nanos);
            }
            Event::DurabilityGap { publisher, nanos } => {
                self.publish_of(publisher).durability_gap.record(nanos);
            }
            Event::Duplicate { publisher, lane, cause, copy, .. } => {
                let totals = self.lane_of(publisher, lane);
                totals.duplicates[cause.index()] += 1;
                if let Some(copy) = copy {
                    totals.note_copy(copy);
                }
            }
            Event::Reordered { publisher, lane, depth } => {
                let totals = self.lane_of(publisher, lane);
                totals.reordered += 1;
                totals.reorder_depth_max = totals.reorder_depth_max.max(depth);
            }
            Event::Corrupt { publisher, lane } => self.lane_of(publisher, lane).corrupt += 1,
            Event::LateRecovery { publisher, lane, was, end_to_end, .. } => {
                let totals = self.lane_of(publisher, lane);
                totals.recovered[was.index()] += 1;
                if let Some(nanos) = end_to_end {
                    totals.window.record(nanos);
                }
            }
            Event::Recovered { publisher, lane } => {
                self.lane_of(publisher, lane).recovered_after_restart += 1;
            }
            // Its outcome follows.
            Event::Rejected { .. } => {}
            Event::Negative { publisher, lane } => self.lane_of(publisher, lane).negative += 1,
            Event::Stamp { publisher, carrier, survived } => {
                let index = usize::from(!survived);
                self.publish_of(publisher).stamps[carrier.index()][index] += 1;
            }
            Event::Consumed { path, lane, partition } => {
                self.paths[usize::from(path.0)].consume(lane, partition);
            }
            Event::Foreign { path, count } => {
                self.paths[usize::from(path.0)].foreign += u64::from(count);
            }
            Event::Overflow { publisher } => {
                let path = self.roster.publisher(publisher).path;
                self.paths[usize::from(path.0)].overflow += 1;
            }
            Event::Missed { publisher, .. } => {
                let path = self.roster.publisher(publisher).path;
                self.paths[usize::from(path.0)].missed += 1;
            }
            Event::Unconfirmed { publisher, .. } => {
                let path = self.roster.publisher(publisher).path;
                self.paths[usize::from(path.0)].unconfirmed += 1;
            }
        }
    }

    fn book_arrival(
        &mut self,
        id: PublisherId,
        (lane, outcome): (Lane, Outcome),
        arrival: &Arrival,
    ) {
        let publisher = self.roster.publisher(id);
        self.paths[usize::from(publisher.path.0)].consume(lane, arrival.place.slot);
        let totals = &mut self.lanes[series(publisher.path, publisher.qos, lane)];
        totals.announced[outcome.index()] += 1;
        totals.window.record(arrival.end_to_end);
        if let Some(nanos) = arrival.service {
            totals.service.record(nanos);
        }
        let totals = &mut self.publish[group(publisher.path, publisher.qos)];
        if let Some(nanos) = arrival.append {
            totals.legs[Leg::Append.index()].record(nanos);
        }
        if let Some(nanos) = arrival.fetch {
            totals.legs[Leg::Fetch.index()].record(nanos);
        }
        if let Some(nanos) = arrival.create {
            totals.legs[Leg::Create.index()].record(nanos);
        }
        if let Some(nanos) = arrival.durability_gap {
            totals.durability_gap.record(nanos);
        }
        for (counts, survived) in totals.stamps.iter_mut().zip(arrival.stamps) {
            if let Some(survived) = survived {
                counts[usize::from(!survived)] += 1;
            }
        }
    }

    fn book_not_sent(&mut self, id: PublisherId, lane: Lane, cause: NotSent) {
        let path = self.roster.publisher(id).path;
        // A slot is offered once and has as many lanes as the path: it is counted on the first.
        if self.roster.path(path).lanes.first() == Some(&lane) {
            self.publish_of(id).not_sent[cause as usize] += 1;
        }
    }

    fn publish_of(&mut self, publisher: PublisherId) -> &mut PublishTotals {
        let publisher = self.roster.publisher(publisher);
        &mut self.publish[group(publisher.path, publisher.qos)]
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
