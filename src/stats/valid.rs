//! Room `stats`: what of a series fell into valid windows.

use serde::{Deserialize, Serialize};

use crate::correlate::{DuplicateCause, Outcome};

use super::latencies::Latencies;
use super::totals::{LaneTotals, standing};

/// Totals of a path, lane and QoS over valid windows alone. What counts is the window in which
/// something was booked: a message that of its arrival, a loss that of its announcement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ValidTotals {
    /// End-to-end latencies.
    pub end_to_end: Latencies,
    counts: Booked,
    /// What had been booked when the last window ended.
    seen: Booked,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Booked {
    announced: [u64; Outcome::ALL.len()],
    recovered: [u64; Outcome::ALL.len()],
    duplicates: [u64; DuplicateCause::ALL.len()],
}

impl ValidTotals {
    /// Slots by outcome as the books of the valid windows stand.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        standing(&self.counts.announced, &self.counts.recovered, outcome)
    }

    /// Slots that got their outcome in them.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.counts.announced.iter().sum()
    }

    /// Further records of messages, whoever made them; re-reads are none.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.counts.duplicates[DuplicateCause::Resent.index()]
            + self.counts.duplicates[DuplicateCause::Pipeline.index()]
    }
}

impl LaneTotals {
    /// Books the window that is ending as valid or not.
    pub(super) fn judge_window(&mut self, is_valid: bool) {
        let now = Booked {
            announced: self.announced,
            recovered: self.recovered,
            duplicates: self.duplicates,
        };
        let valid = &mut self.valid;
        let before = std::mem::replace(&mut valid.seen, now);
        if is_valid {
            valid.end_to_end.merge(&self.window);
            add(&mut valid.counts.announced, &now.announced, &before.announced);
            add(&mut valid.counts.recovered, &now.recovered, &before.recovered);
            add(&mut valid.counts.duplicates, &now.duplicates, &before.duplicates);
        }
    }
}

/// Adds what has come since.
fn add<const N: usize>(sum: &mut [u64; N], now: &[u64; N], before: &[u64; N]) {
    for ((sum, now), before) in sum.iter_mut().zip(now).zip(before) {
        *sum += now.saturating_sub(*before);
    }
}
