//! Room `stats`: whether a window's latencies may be trusted.

use std::time::Duration;

/// Why a window is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvalidCause {
    /// The run had only just begun.
    WarmingUp,
    /// A connection of the path was away.
    Reconnecting,
    /// The probe itself could not keep up.
    ProbeOverloaded,
    /// The consumer had not caught up with what was there.
    ConsumerBehind,
}

impl InvalidCause {
    /// Every cause, in the order of their indices.
    pub const ALL: [Self; 4] =
        [Self::WarmingUp, Self::Reconnecting, Self::ProbeOverloaded, Self::ConsumerBehind];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WarmingUp => "warming_up",
            Self::Reconnecting => "reconnecting",
            Self::ProbeOverloaded => "probe_overloaded",
            Self::ConsumerBehind => "consumer_behind",
        }
    }
}

/// The probe may be so late for one in a hundred of its slots: more would show in the figures.
const LAG_P99_MAX: Duration = Duration::from_millis(10);
/// The consumer may be so far behind: watermarks are asked for every second.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// What is known of one window of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowFacts {
    /// Whether it is the first of the run.
    pub first: bool,
    /// Whether a connection of the path was away at any time in it.
    pub away: bool,
    /// How late the probe woke for its slots, 99 of 100 times, in nanoseconds.
    pub lag_p99_nanos: Option<i64>,
    /// How often an edge had to wait for the books.
    pub inbox_waits: u64,
    /// How long ago the moment is that the Kafka consumer had caught up with at the end.
    pub behind: Option<Duration>,
}

impl WindowFacts {
    /// Why the window is not valid; empty where it is.
    #[must_use]
    pub fn causes(&self) -> Vec<InvalidCause> {
        let lag_max = i64::try_from(LAG_P99_MAX.as_nanos()).unwrap_or(i64::MAX);
        let overloaded = self.lag_p99_nanos.is_some_and(|lag| lag > lag_max);
        let causes = [
            (InvalidCause::WarmingUp, self.first),
            (InvalidCause::Reconnecting, self.away),
            (InvalidCause::ProbeOverloaded, overloaded || self.inbox_waits > 0),
            (InvalidCause::ConsumerBehind, self.behind.is_some_and(|age| age > BEHIND_MAX)),
        ];
        causes.into_iter().filter_map(|(cause, holds)| holds.then_some(cause)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_has_its_cause() {
        let fine = WindowFacts {
            lag_p99_nanos: Some(60_000),
            behind: Some(Duration::from_secs(2)),
            ..WindowFacts::default()
        };
        assert_eq!(fine.causes(), []);
        let cases = [
            (WindowFacts { first: true, ..fine }, InvalidCause::WarmingUp),
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
        for (facts, cause) in cases {
            assert_eq!(facts.causes(), [cause]);
        }
    }
}
