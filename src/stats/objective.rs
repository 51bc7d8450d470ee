//! Room `stats`: what a path is held to, and what that makes of each slot.
//!
//! # Design
//!
//! A burn rate needs two counters that only rise: of what counts (*valid*) and of what was good. So a
//! slot is rated once, when its outcome is announced, against the target itself and not its bucket. A
//! late recovery can't take a loss back that was rated; it is rated itself only where the announced
//! outcome did not count.

use std::time::Duration;

use crate::correlate::{DuplicateCause, Lane, Outcome, PathId};

/// A quantile that latencies can be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantile {
    /// The median.
    P50,
    /// 90 % stay within.
    P90,
    /// 99 % stay within.
    P99,
    /// 99.9 % stay within.
    P999,
    /// The longest.
    Max,
}

impl Quantile {
    /// Every quantile, ascending.
    pub const ALL: [Self; 5] = [Self::P50, Self::P90, Self::P99, Self::P999, Self::Max];

    /// The name in configuration and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::Max => "max",
        }
    }

    /// The share of all that stays within it, 0 to 1.
    #[must_use]
    pub const fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
            Self::Max => 1.0,
        }
    }
}

/// What a run is to be judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Objective {
    /// A quantile of a lane's end-to-end latencies is at most so long, over all its QoS.
    Latency {
        /// The path.
        path: PathId,
        /// The lane.
        lane: Lane,
        /// The quantile.
        quantile: Quantile,
        /// The longest that holds.
        target: Duration,
    },
    /// At most so many acknowledged messages of a path never came out, over all its lanes.
    AckedLost {
        /// The path.
        path: PathId,
        /// The most that holds.
        target: u64,
    },
    /// At most so many further records of a path's messages came out, over all its lanes. Re-reads
    /// are none.
    Duplicates {
        /// The path.
        path: PathId,
        /// The most that holds.
        target: u64,
    },
    /// At least this share of a lane's slots was delivered within the deadline.
    Availability {
        /// The path.
        path: PathId,
        /// The lane.
        lane: Lane,
        /// The least that holds, 0 to 1.
        target: f64,
    },
}

impl Objective {
    /// The value of label `slo` for everything but a latency's quantile, which has names of its own.
    const COUNTED: [&'static str; 3] = ["acked_lost", "duplicates", "availability"];

    /// Every name that an objective can have.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Quantile::ALL.into_iter().map(Quantile::name).chain(Self::COUNTED)
    }

    /// The name in configuration and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Latency { quantile, .. } => quantile.name(),
            Self::AckedLost { .. } => Self::COUNTED[0],
            Self::Duplicates { .. } => Self::COUNTED[1],
            Self::Availability { .. } => Self::COUNTED[2],
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn path(&self) -> PathId {
        match *self {
            Self::Latency { path, .. }
            | Self::AckedLost { path, .. }
            | Self::Duplicates { path, .. }
            | Self::Availability { path, .. } => path,
        }
    }

    /// Whether slots of a lane are rated by it.
    #[must_use]
    pub fn covers(&self, of: Lane) -> bool {
        match *self {
            Self::Latency { lane, .. } | Self::Availability { lane, .. } => lane == of,
            Self::AckedLost { .. } => true,
            // A copy on the control lane is its producer's own.
            Self::Duplicates { .. } => of != Lane::KafkaKafka,
        }
    }

    /// The share of what counts that has to be good, 0 to 1; `None` where some failures are allowed
    /// however many slots there are, which is no share.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        match *self {
            Self::Latency { quantile, .. } => Some(quantile.share()),
            Self::Availability { target, .. } => Some(target),
            Self::AckedLost { target, .. } | Self::Duplicates { target, .. } => {
                (target == 0).then_some(1.0)
            }
        }
    }

    /// Whether a slot with this outcome and latency is good; `None` where it does not count.
    #[must_use]
    pub fn rate(&self, outcome: Outcome, end_to_end: Option<i64>) -> Option<bool> {
        use Outcome::{AckedLost, Delivered, Late, UnackedLost, Unresolved};
        match *self {
            Self::Latency { target, .. } => match outcome {
                Delivered | Late => Some(end_to_end.is_some_and(|nanos| nanos <= nanos_of(target))),
                // What never came took longer than any target. What never set out took no time.
                AckedLost | UnackedLost => Some(false),
                _ => None,
            },
            Self::AckedLost { .. } => (outcome != Unresolved).then_some(outcome != AckedLost),
            Self::Duplicates { .. } => matches!(outcome, Delivered | Late).then_some(true),
            Self::Availability { .. } => (outcome != Unresolved).then_some(outcome == Delivered),
        }
    }

    /// The same of a message that came out after another outcome had been announced.
    #[must_use]
    pub fn rate_recovery(&self, was: Outcome, end_to_end: Option<i64>) -> Option<bool> {
        match self.rate(was, None) {
            Some(_) => None,
            None => self.rate(Outcome::Late, end_to_end),
        }
    }

    /// The same of a further record of a message.
    #[must_use]
    pub fn rate_copy(&self, cause: DuplicateCause) -> Option<bool> {
        let is_copy = cause != DuplicateCause::Reread;
        (is_copy && matches!(self, Self::Duplicates { .. })).then_some(false)
    }
}

fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: PathId = PathId(0);

    fn every_kind() -> [Objective; 4] {
        let (path, lane) = (PATH, Lane::MqttKafka);
        let (quantile, target) = (Quantile::P99, Duration::from_millis(250));
        [
            Objective::Latency { path, lane, quantile, target },
            Objective::AckedLost { path, target: 0 },
            Objective::Duplicates { path, target: 3 },
            Objective::Availability { path, lane, target: 0.999 },
        ]
    }

    #[test]
    fn each_outcome_is_rated_once_by_each_objective() {
        use Outcome::{AckedLost, Delivered, Late, NotSent, Rejected, UnackedLost, Unresolved};
        let [latency, lost, duplicates, availability] = every_kind();
        let (good, bad, none) = (Some(true), Some(false), None);
        for (outcome, of_latency, of_lost, of_duplicates, of_availability) in [
            (Delivered, good, good, good, good),
            (Late, good, good, good, bad),
            (AckedLost, bad, bad, none, bad),
            (UnackedLost, bad, good, none, bad),
            (NotSent, none, good, none, bad),
            (Rejected, none, good, none, bad),
            (Unresolved, none, none, none, none),
        ] {
            let rated = [latency, lost, duplicates, availability]
                .map(|objective| objective.rate(outcome, Some(250_000_000)));
            assert_eq!(rated, [of_latency, of_lost, of_duplicates, of_availability], "{outcome:?}");
        }
        assert_eq!(latency.rate(Delivered, Some(250_000_001)), bad, "to the nanosecond");
        assert_eq!(latency.rate(Delivered, Some(-1)), good);
    }

    #[test]
    fn a_late_recovery_counts_only_where_the_outcome_before_did_not() {
        let [latency, lost, duplicates, availability] = every_kind();
        let rated = |was, nanos| {
            [latency, lost, duplicates, availability]
                .map(|objective| objective.rate_recovery(was, Some(nanos)))
        };
        assert_eq!(rated(Outcome::AckedLost, 1), [None, None, Some(true), None]);
        let of_unresolved = [Some(true), Some(true), Some(true), Some(false)];
        assert_eq!(rated(Outcome::Unresolved, 1), of_unresolved);
        assert_eq!(rated(Outcome::NotSent, i64::MAX)[0], Some(false));
        let copies = |cause| every_kind().map(|objective| objective.rate_copy(cause));
        assert_eq!(copies(DuplicateCause::Pipeline), [None, None, Some(false), None]);
        assert_eq!(copies(DuplicateCause::Reread), [None; 4]);
    }

    #[test]
    fn shares_and_names() {
        let shares = every_kind().map(|objective| objective.share());
        assert_eq!(shares, [Some(0.99), Some(1.0), None, Some(0.999)]);
        let names: Vec<_> = Objective::names().collect();
        for objective in every_kind() {
            assert!(names.contains(&objective.name()));
            assert!(objective.covers(Lane::MqttKafka));
        }
        assert_eq!(names.len(), 8);
        assert!(!every_kind()[0].covers(Lane::MqttMqtt) && every_kind()[1].covers(Lane::MqttMqtt));
        let of_control = every_kind().map(|objective| objective.covers(Lane::KafkaKafka));
        assert_eq!(of_control, [false, true, false, false]);
    }
}
