//! Room `consume`: how far the reader must have read, and when.

use crate::clock::Instant;
use crate::consume::Partition;

/// A moment to have caught up with.
pub(super) struct Goal {
    pub(super) at: Instant,
    /// When the high watermarks were asked for.
    pub(super) asked: Instant,
    /// How far each partition must be read for that.
    pub(super) highs: Vec<Partition>,
}

/// A reader that came back.
#[derive(Default)]
pub(super) struct Behind {
    /// Since when it is certainly reading.
    reading: Option<Instant>,
}

impl Behind {
    /// Notes that it reads at `now`.
    pub(super) fn reads(&mut self, now: Instant) {
        self.reading.get_or_insert(now);
    }

    /// Whether it is behind no more once it has reached this goal.
    pub(super) fn is_over(&self, goal: &Goal) -> bool {
        self.reading.is_some_and(|reading| goal.asked >= reading)
    }
}
