//! Room `stats`: what a load costs the probe: connections, and the time of its threads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latencies::Latencies;
use crate::correlate::Observation;

/// How long the stretches of time are in which threads say what they had to do.
const STRETCH: Duration = Observation::WORKED_EVERY;
/// From this share of the time on a thread can do no more.
const SATURATED: f32 = 0.95;

/// How long connections took that the broker accepted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Connects {
    /// From asking for a connection to having it.
    pub tcp: Latencies,
    /// From then to its encryption, of those that have one.
    pub tls: Latencies,
    /// From then to CONNACK.
    pub connack: Latencies,
}

impl Connects {
    pub(super) fn merge(&mut self, other: &Self) {
        self.tcp.merge(&other.tcp);
        self.tls.merge(&other.tls);
        self.connack.merge(&other.connack);
    }
}

/// How much the threads had to do that send for a path: shares of short stretches of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    stretches: u64,
    saturated: u64,
    most: f32,
}

impl Work {
    /// Notes what one thread had to do in one stretch.
    pub fn note(&mut self, share: f32) {
        self.stretches += 1;
        self.saturated += u64::from(share >= SATURATED);
        self.most = self.most.max(share);
    }

    /// Adds what other threads had to do.
    pub fn merge(&mut self, other: Self) {
        self.stretches += other.stretches;
        self.saturated += other.saturated;
        self.most = self.most.max(other.most);
    }

    /// The most that a thread had to do in a stretch, 0 to 1; nothing where none has ended.
    #[must_use]
    pub fn most(&self) -> Option<f32> {
        (self.stretches > 0).then_some(self.most)
    }

    /// The share of a time of that length in which some thread could do no more: more than 1 where
    /// several could not; nothing where no stretch has ended.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub fn saturated(&self, length: Duration) -> Option<f64> {
        let share = |stretches: u64| {
            stretches as f64 * STRETCH.as_secs_f64()
                / length.as_secs_f64().max(STRETCH.as_secs_f64())
        };
        (self.stretches > 0).then(|| share(self.saturated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_never_waits_is_saturated() {
        let mut work = Work::default();
        let second = Duration::from_secs(1);
        assert_eq!((work.most(), work.saturated(second)), (None, None));
        for share in [0.2, 0.94, 1.0] {
            work.note(share);
        }
        let mut other = Work::default();
        other.note(0.95);
        work.merge(other);
        assert_eq!((work.most(), work.saturated(second)), (Some(1.0), Some(0.5)));
    }
}
