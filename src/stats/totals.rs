//! Room `stats`: the counters and distributions of a run.

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::correlate::{
    Carrier, Copied, DuplicateCause, Lane, LateSend, Leg, NotSent, Outcome, Reader,
};

use super::clocks::PeerClock;
use super::effort::{Connects, Work};
use super::history::History;
use super::latencies::Latencies;
use super::recent::Recent;
use super::valid::ValidTotals;
use super::windows::Windows;
use super::worst::Worst;

/// How many partitions of a path are told apart.
const PARTITIONS_MAX: usize = 65_536;

/// Totals of one path, lane and QoS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LaneTotals {
    /// Slots by outcome as they were announced, by [`Outcome::index`]; never falls.
    pub announced: [u64; Outcome::ALL.len()],
    /// Announced outcomes that proved wrong when the message came out after all.
    pub recovered: [u64; Outcome::ALL.len()],
    /// Further arrivals by [`DuplicateCause::index`].
    pub duplicates: [u64; DuplicateCause::ALL.len()],
    /// Messages that had come out before a consumer was back after a restart: counted, not timed.
    pub recovered_after_restart: u64,
    /// Messages that came out more than once.
    pub doubled: u64,
    /// How often the message came out that came out most often; 0 where none did twice.
    pub copies_max: u64,
    /// How long after the first arrival further ones came, of those of which the first is known.
    pub spread: Latencies,
    /// Arrivals after a later message of their publisher.
    pub reordered: u64,
    /// The deepest of them, in slots.
    pub reorder_depth_max: u64,
    /// Arrivals whose payload was damaged.
    pub corrupt: u64,
    /// Arrivals before their intended send time.
    pub negative: u64,
    /// Messages that were sent and have no outcome, now.
    pub in_flight: u64,
    /// End-to-end latencies of the run without the window that is not over: see
    /// [`LaneTotals::end_to_end`].
    pub(super) before: Latencies,
    /// From the send time to receipt.
    pub service: Latencies,
    /// End-to-end latencies of the window that is not over.
    pub window: Latencies,
    /// End-to-end latencies of the windows before.
    #[serde(skip)]
    pub recent: Recent,
    /// What of it fell into valid windows, as far as they are over.
    #[serde(skip)]
    pub valid: ValidTotals,
}

impl LaneTotals {
    /// Slots by outcome as the books stand now: what was announced, late recoveries moved to `late`.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        standing(&self.announced, &self.recovered, outcome)
    }

    /// From the intended send time to receipt, over the whole run.
    #[must_use]
    pub fn end_to_end(&self) -> Latencies {
        let mut all = self.before.clone();
        all.merge(&self.window);
        all
    }

    /// Ends the window: what is in it stands among what was before.
    pub(super) fn end_window(&mut self) {
        self.before.merge(&self.window);
        self.window.clear();
    }

    /// Slots that have an outcome.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.announced.iter().sum()
    }

    /// Further records of messages, whoever made them; re-reads are none.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.duplicates[DuplicateCause::Resent.index()]
            + self.duplicates[DuplicateCause::Pipeline.index()]
    }

    /// Notes a further arrival, if the first one is known.
    pub(super) fn note_copy(&mut self, copy: Option<Copied>) {
        let Some(copy) = copy else { return };
        self.doubled += u64::from(copy.count == 2);
        self.copies_max = self.copies_max.max(u64::from(copy.count));
        self.spread.record(copy.spread);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        add(&mut self.announced, &other.announced);
        add(&mut self.recovered, &other.recovered);
        add(&mut self.duplicates, &other.duplicates);
        self.recovered_after_restart += other.recovered_after_restart;
        self.doubled += other.doubled;
        self.copies_max = self.copies_max.max(other.copies_max);
        self.spread.merge(&other.spread);
        self.reordered += other.reordered;
        self.reorder_depth_max = self.reorder_depth_max.max(other.reorder_depth_max);
        self.corrupt += other.corrupt;
        self.negative += other.negative;
        self.in_flight += other.in_flight;
        self.before.merge(&other.before);
        self.service.merge(&other.service);
        self.window.merge(&other.window);
    }
}

/// Totals of one path and QoS, of what goes in: over MQTT, or on the control lane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PublishTotals {
    /// Slots that came due.
    pub offered: u64,
    /// Messages handed to the socket, resends left out.
    pub published: u64,
    /// Messages that the broker took.
    pub acknowledged: u64,
    /// Messages that the broker refused.
    pub rejected: u64,
    /// Slots that were not sent, by [`NotSent`] in the order of [`NotSent::ALL`].
    pub not_sent: [u64; NotSent::ALL.len()],
    /// Messages that were sent more than 10 ms after they were due, by [`LateSend`].
    pub sent_late: [u64; LateSend::ALL.len()],
    /// Stamps by [`Carrier::index`]: that survived, and that did not.
    pub stamps: [[u64; 2]; Carrier::ALL.len()],
    /// Durations by [`Leg::index`].
    pub legs: [Latencies; Leg::ALL.len()],
    /// How long before their append messages had been acknowledged.
    pub durability_gap: Latencies,
}

impl PublishTotals {
    pub(super) fn merge(&mut self, other: &Self) {
        self.offered += other.offered;
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        add(&mut self.not_sent, &other.not_sent);
        add(&mut self.sent_late, &other.sent_late);
        for (mine, theirs) in self.stamps.iter_mut().zip(&other.stamps) {
            add(mine, theirs);
        }
        for (mine, theirs) in self.legs.iter_mut().zip(&other.legs) {
            mine.merge(theirs);
        }
        self.durability_gap.merge(&other.durability_gap);
    }
}

/// Totals of one path.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PathTotals {
    /// Records that carry no stamp of this run.
    pub foreign: u64,
    /// Records of ours, by lane.
    pub consumed: [u64; Lane::ALL.len()],
    /// Slots closed before their time, or forgotten verdicts, because memory is bounded.
    pub overflow: u64,
    /// Records of ours that the consumer had missed and a second look found.
    pub missed: u64,
    /// Losses that were announced without a second look.
    pub unconfirmed: u64,
    /// Which partitions have brought one of our records, by their dense index.
    pub covered: Vec<bool>,
    /// The latest moment that every Kafka consumer has caught up with; the clock's origin before.
    pub caught_up: Instant,
    /// How long what came may have waited for the probe to take it in, by [`Reader::index`].
    pub poll_lag: [Latencies; Reader::ALL.len()],
    /// The same over all readers, of the window that is not over.
    pub window_poll_lag: Latencies,
    /// How long its MQTT connections took.
    pub connects: Connects,
    /// How much the threads that send for it had to do, in the window that is not over.
    #[serde(skip)]
    pub work: Work,
    /// Messages that were sent in the window that is not over, and those of them that the probe sent late.
    #[serde(skip)]
    pub window_sends: (u64, u64),
    /// Slots that were skipped because as many messages waited as may, in the window that is not over.
    #[serde(skip)]
    pub window_refused: u64,
    /// The most that such a thread had to do in a window: a share of the time, 0 to 1.
    pub busiest: f32,
    /// The slowest messages, and the last that went wrong.
    pub worst: Worst,
    /// What the windows of the last hour showed.
    #[serde(skip)]
    pub history: History,
    /// The windows that are over.
    #[serde(skip)]
    pub windows: Windows,
    /// What is known of the clocks of the leaders, as of the end of the last window.
    #[serde(skip)]
    pub clocks: Vec<PeerClock>,
}

impl PathTotals {
    /// Counts one of our records or messages.
    pub(super) fn consume(&mut self, lane: Lane, partition: u32) {
        self.consumed[lane.index()] += 1;
        if lane == Lane::MqttKafka {
            self.cover(partition);
        }
    }

    /// The share (0 to 1) of the window's messages that the probe sent late; nothing without any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub fn late_share(&self) -> Option<f64> {
        let (all, late) = self.window_sends;
        (all > 0).then(|| late as f64 / all as f64)
    }

    /// Notes how long what a reader took in may have waited.
    pub(super) fn note_poll(&mut self, reader: Reader, nanos: i64) {
        self.poll_lag[reader.index()].record(nanos);
        self.window_poll_lag.record(nanos);
    }

    /// Notes that a partition brought one of our records.
    fn cover(&mut self, partition: u32) {
        let index = partition as usize;
        if index >= self.covered.len() {
            self.covered.resize((index + 1).min(PARTITIONS_MAX), false);
        }
        if let Some(covered) = self.covered.get_mut(index) {
            *covered = true;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.foreign += other.foreign;
        add(&mut self.consumed, &other.consumed);
        self.overflow += other.overflow;
        self.missed += other.missed;
        self.unconfirmed += other.unconfirmed;
        self.covered.resize(self.covered.len().max(other.covered.len()), false);
        for (mine, theirs) in self.covered.iter_mut().zip(&other.covered) {
            *mine |= theirs;
        }
        self.caught_up = self.caught_up.max(other.caught_up);
        for (mine, theirs) in self.poll_lag.iter_mut().zip(&other.poll_lag) {
            mine.merge(theirs);
        }
        self.window_poll_lag.merge(&other.window_poll_lag);
        self.connects.merge(&other.connects);
        self.work.merge(other.work);
        self.window_refused += other.window_refused;
        self.window_sends.0 += other.window_sends.0;
        self.window_sends.1 += other.window_sends.1;
        self.busiest = self.busiest.max(other.busiest);
        self.worst.merge(&other.worst);
    }
}

/// Slots with an outcome, late recoveries moved to `late`.
pub(super) fn standing(
    announced: &[u64; Outcome::ALL.len()],
    recovered: &[u64; Outcome::ALL.len()],
    outcome: Outcome,
) -> u64 {
    let index = outcome.index();
    let standing = announced[index].saturating_sub(recovered[index]);
    match outcome {
        Outcome::Late => standing + recovered.iter().sum::<u64>(),
        _ => standing,
    }
}

fn add<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}
