//! Room `stats`: whether a window's latencies may be trusted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a window is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InvalidCause {
    /// The run had only just begun.
    WarmingUp,
    /// A connection of the path was away.
    Reconnecting,
    /// The probe itself could not keep up.
    ProbeOverloaded,
    /// The system took less than it was offered, so that slots were skipped.
    SystemOverloaded,
    /// The consumer had not caught up with what was there.
    ConsumerBehind,
    /// The machine, or the limit of its control group, kept the probe from running.
    HostThrottled,
    /// The wall clock was set.
    ClockStep,
    /// The load generator of somebody else's was not running.
    NoLoad,
}

impl InvalidCause {
    /// Every cause, in the order of their indices.
    pub const ALL: [Self; 8] = [
        Self::WarmingUp,
        Self::Reconnecting,
        Self::ProbeOverloaded,
        Self::SystemOverloaded,
        Self::ConsumerBehind,
        Self::HostThrottled,
        Self::ClockStep,
        Self::NoLoad,
    ];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WarmingUp => "warming_up",
            Self::Reconnecting => "reconnecting",
            Self::ProbeOverloaded => "probe_overloaded",
            Self::SystemOverloaded => "system_overloaded",
            Self::ConsumerBehind => "consumer_behind",
            Self::HostThrottled => "host_throttled",
            Self::ClockStep => "clock_step",
            Self::NoLoad => "no_load",
        }
    }
}

/// The probe may be so late for one in a hundred of its slots, and of what it takes in: more would
/// show in the figures.
const LAG_P99_MAX: Duration = Duration::from_millis(10);
/// The probe may have sent this share of a path's messages more than 10 ms late.
const LATE_MAX: f64 = 0.01;
/// A thread that sends may have been at its limit in this share of a window: what it sent then was
/// what it could.
const SATURATED_MAX: f64 = 0.1;
/// The consumer may be so far behind: watermarks are asked for every second.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// A control group may be throttled for this share of a window: one of a hundred messages would then
/// have met it.
const THROTTLED_MAX: f64 = 0.01;
/// All tasks of the control group may have waited for a processor for this share of a window.
const STALLED_MAX: f64 = 0.05;
/// A hypervisor may have taken this share of the processors' time for others.
const STOLEN_MAX: f64 = 0.05;
/// The wall clock may have moved so far against the clock that never steps: Kafka's timestamps are no
/// finer.
const STEP_MAX: Duration = Duration::from_millis(1);

/// What kept everything on the machine, or in the control group, from running: shares of a window, 0
/// to 1 and above where several processors are meant; `None` where nobody can say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Starved {
    /// Time that the limit of the control group kept its tasks from running.
    pub throttled: Option<f64>,
    /// Time in which all tasks of the control group waited for a processor.
    pub stalled: Option<f64>,
    /// Time of the processors that a hypervisor gave to others.
    pub stolen: Option<f64>,
}

impl Starved {
    fn is_beyond(self) -> bool {
        let beyond = |share: Option<f64>, max| share.is_some_and(|share| share > max);
        beyond(self.throttled, THROTTLED_MAX)
            || beyond(self.stalled, STALLED_MAX)
            || beyond(self.stolen, STOLEN_MAX)
    }
}

/// What is known of one window of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowFacts {
    /// Whether it is the first of the run.
    pub first: bool,
    /// Whether a connection of the path was away at any time in it.
    pub away: bool,
    /// How late the probe woke for its slots, 99 of 100 times, in nanoseconds.
    pub lag_p99_nanos: Option<i64>,
    /// How long what came may have waited to be taken in, 99 of 100 times, in nanoseconds.
    pub poll_lag_p99_nanos: Option<i64>,
    /// The share (0 to 1) of the path's messages that the probe itself sent too late.
    pub late: Option<f64>,
    /// How many slots were skipped because as many messages waited as may.
    pub refused: u64,
    /// In which share of its stretches a thread that sends could do no more, 0 to 1.
    pub saturated: Option<f64>,
    /// How often an edge had to wait for the books.
    pub inbox_waits: u64,
    /// How long ago the moment is that the Kafka consumer had caught up with at the end.
    pub behind: Option<Duration>,
    /// What kept the probe from running.
    pub starved: Starved,
    /// How far the wall clock was set, at least, in nanoseconds; negative where it was set back.
    pub step_nanos: i64,
    /// Whether a load generator that belongs to the run was missing at any time in it.
    pub without_load: bool,
}

impl WindowFacts {
    /// Why the window is not valid; empty where it is.
    #[must_use]
    pub fn causes(&self) -> Vec<InvalidCause> {
        let lag_max = i64::try_from(LAG_P99_MAX.as_nanos()).unwrap_or(i64::MAX);
        let lags = [self.lag_p99_nanos, self.poll_lag_p99_nanos];
        let overloaded = lags.into_iter().flatten().any(|lag| lag > lag_max);
        let is_late = self.late.is_some_and(|share| share > LATE_MAX);
        let is_saturated = self.saturated.is_some_and(|share| share > SATURATED_MAX);
        let step = Duration::from_nanos(self.step_nanos.unsigned_abs());
        let causes = [
            (InvalidCause::WarmingUp, self.first),
            (InvalidCause::Reconnecting, self.away),
            (
                InvalidCause::ProbeOverloaded,
                overloaded || is_late || is_saturated || self.inbox_waits > 0,
            ),
            (InvalidCause::SystemOverloaded, self.refused > 0),
            (InvalidCause::ConsumerBehind, self.behind.is_some_and(|age| age > BEHIND_MAX)),
            (InvalidCause::HostThrottled, self.starved.is_beyond()),
            (InvalidCause::ClockStep, step > STEP_MAX),
            (InvalidCause::NoLoad, self.without_load && !self.first),
        ];
        causes.into_iter().filter_map(|(cause, holds)| holds.then_some(cause)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_fact_has_its_cause() {
        let fine = WindowFacts {
            lag_p99_nanos: Some(60_000),
            poll_lag_p99_nanos: Some(10_000_000),
            behind: Some(Duration::from_secs(2)),
            starved: Starved { throttled: Some(0.01), stalled: Some(0.05), stolen: Some(0.05) },
            step_nanos: -1_000_000,
            ..WindowFacts::default()
        };
        assert_eq!(fine.causes(), []);
        let starved = |throttled, stalled, stolen| WindowFacts {
            starved: Starved { throttled, stalled, stolen },
            ..fine
        };
        let cases = [
            (WindowFacts { saturated: Some(0.11), ..fine }, InvalidCause::ProbeOverloaded),
            (WindowFacts { late: Some(0.011), ..fine }, InvalidCause::ProbeOverloaded),
            (WindowFacts { refused: 1, ..fine }, InvalidCause::SystemOverloaded),
            (
                WindowFacts { poll_lag_p99_nanos: Some(10_000_001), ..fine },
                InvalidCause::ProbeOverloaded,
            ),
            (starved(Some(0.011), None, None), InvalidCause::HostThrottled),
            (starved(None, Some(0.06), None), InvalidCause::HostThrottled),
            (starved(None, None, Some(0.06)), InvalidCause::HostThrottled),
            (WindowFacts { step_nanos: -1_000_001, ..fine }, InvalidCause::ClockStep),
            (WindowFacts { step_nanos: 3_600_000_000_000, ..fine }, InvalidCause::ClockStep),
            (WindowFacts { without_load: true, ..fine }, InvalidCause::NoLoad),
            (WindowFacts { first: true, without_load: true, ..fine }, InvalidCause::WarmingUp),
            (WindowFacts { away: true, ..fine }, InvalidCause::Reconnecting),
            (
                WindowFacts { lag_p99_nanos: Some(11_000_000), ..fine },
                InvalidCause::ProbeOverloaded,
            ),
            (WindowFacts { inbox_waits: 1, ..fine }, InvalidCause::ProbeOverloaded),
            (
                WindowFacts { behind: Some(Duration::from_secs(11)), ..fine },
                InvalidCause::ConsumerBehind,
            ),
        ];
        for (facts, cause) in &cases {
            assert_eq!(facts.causes(), [*cause]);
        }
        let provoked: BTreeSet<_> = cases.iter().map(|(_, cause)| *cause).collect();
        assert!(InvalidCause::ALL.iter().all(|cause| provoked.contains(cause)), "{provoked:?}");
    }
}
