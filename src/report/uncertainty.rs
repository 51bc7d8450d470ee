//! Room `report`: how far a latency may be from the truth because of the probe itself.
//!
//! # Design
//!
//! What the probe adds to a figure adds up: how late it sent, how long what came may have waited for it,
//! how fine clock and books are, and for the legs that end or begin at an append the broker's timestamp.
//! Each of the two lags is its own p99, so that the sum holds for 98 of 100 messages at least. It is
//! never subtracted from anything. A part that nobody can say makes the sum unknown, not small.

use serde::{Deserialize, Serialize};

use crate::correlate::{Lane, Leg, PathId, Reader};
use crate::stats::Stats;

use super::gather::seconds;

/// The books keep how far send time and acknowledgement are from the intended send time so finely.
const KEPT_NANOS: i64 = 256;
/// A distribution tells durations so finely, or by a thousandth, whichever is coarser.
const BUCKET_NANOS: i64 = 64;
/// Kafka's timestamps are whole milliseconds.
const TIMESTAMP_NANOS: i64 = 1_000_000;

/// Errors that no total shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of one reading of the clock that never steps, in nanoseconds.
    pub clock_nanos: u64,
    /// How far apart the readings of both clocks may lie that place a broker's timestamp, in
    /// nanoseconds.
    pub pairing_nanos: u64,
}

/// The parts of an uncertainty, in seconds: 0 where one has no part in it, null where nobody can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// How late the probe woke to send, 99 of 100 times.
    pub scheduler_lag: Option<f64>,
    /// How long what came may have waited for the probe to take it in, 99 of 100 times.
    pub poll_lag: Option<f64>,
    /// The bound of the clocks.
    pub clock: Option<f64>,
    /// How finely books and distribution tell durations, at the figure's p99.
    pub resolution: Option<f64>,
    /// The unit of Kafka's timestamps, and the widest bound of an offset to a leader's clock.
    pub timestamp: Option<f64>,
}

impl Uncertainty {
    /// All of it, in seconds; `None` where a part is not known.
    #[must_use]
    pub fn sum(&self) -> Option<f64> {
        let Self { scheduler_lag, poll_lag, clock, resolution, timestamp } = *self;
        Some(scheduler_lag? + poll_lag? + clock? + resolution? + timestamp?)
    }
}

/// A kind of latency in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timed {
    /// From the intended send time to receipt.
    EndToEnd(Lane),
    /// From the send time to receipt.
    Service(Lane),
    /// A part of the way.
    Leg(Leg),
    /// From the acknowledgement to the append.
    DurabilityGap,
    /// From the first arrival of a message to a further one.
    Spread(Lane),
    /// A part of making a connection.
    Connect,
}

/// What the uncertainties of one path are made of, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    scheduler_lag: Option<i64>,
    /// By [`Reader::index`].
    poll_lag: [Option<i64>; Reader::ALL.len()],
    clock: i64,
    pairing: i64,
    offset: Option<i64>,
}

impl Sources {
    pub(super) fn of(stats: &Stats, path: PathId, bounds: &Bounds) -> Self {
        let poll_lag = &stats.path(path).poll_lag;
        let bounded = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
        Self {
            scheduler_lag: stats.lag().quantile_nanos(0.99),
            poll_lag: Reader::ALL.map(|reader| poll_lag[reader.index()].quantile_nanos(0.99)),
            clock: bounded(bounds.clock_nanos),
            pairing: bounded(bounds.pairing_nanos),
            offset: stats.path(path).clocks.iter().map(|clock| clock.offset.left_nanos()).max(),
        }
    }

    /// What the p99 of a kind of latency is uncertain by.
    pub(super) fn uncertainty(&self, timed: Timed, p99_nanos: i64) -> Uncertainty {
        let reader = match timed {
            Timed::EndToEnd(lane) | Timed::Service(lane) | Timed::Spread(lane) => {
                Some(reader_of(lane))
            }
            Timed::Leg(Leg::Fetch) => Some(Reader::Consumer),
            Timed::Leg(Leg::PublishRec | Leg::PublishAck)
            | Timed::DurabilityGap
            | Timed::Connect => Some(Reader::Publisher),
            Timed::Leg(Leg::PublishDelay | Leg::Create | Leg::Append) => None,
        };
        let begins_when_due = matches!(timed, Timed::EndToEnd(_) | Timed::Leg(Leg::PublishDelay));
        let is_created = timed == Timed::Leg(Leg::Create);
        let is_placed = is_created
            || matches!(timed, Timed::Leg(Leg::Append | Leg::Fetch) | Timed::DurabilityGap);
        let is_kept = !begins_when_due && !matches!(timed, Timed::Leg(Leg::Fetch) | Timed::Connect);
        // Each end of a duration is a reading of its own.
        let clock = self.clock.saturating_mul(2) + if is_placed { self.pairing } else { 0 };
        let bucket = BUCKET_NANOS.max(i64::try_from(p99_nanos.unsigned_abs() / 1_000).unwrap_or(0));
        let resolution = bucket + if is_kept { KEPT_NANOS } else { 0 };
        // Nobody knows the clock of whoever produces the records.
        let offset = self.offset.filter(|_| !is_created);
        let offset = offset.map(|offset| offset.saturating_add(TIMESTAMP_NANOS));
        Uncertainty {
            scheduler_lag: if begins_when_due { self.scheduler_lag } else { Some(0) }.map(seconds),
            poll_lag: reader.map_or(Some(0), |reader| self.poll_lag[reader.index()]).map(seconds),
            clock: Some(seconds(clock)),
            resolution: Some(seconds(resolution)),
            timestamp: if is_placed { offset } else { Some(0) }.map(seconds),
        }
    }
}

fn reader_of(lane: Lane) -> Reader {
    match lane {
        Lane::MqttKafka | Lane::KafkaKafka => Reader::Consumer,
        Lane::MqttMqtt => Reader::Subscriber,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: i64 = 1_000_000;

    fn sources() -> Sources {
        Sources {
            scheduler_lag: Some(60_000),
            poll_lag: [Some(10_000), None, Some(30_000)],
            clock: 1,
            pairing: 200,
            offset: Some(400_000),
        }
    }

    /// The parts in nanoseconds, and their sum.
    fn nanos(timed: Timed, p99: i64) -> ([Option<i64>; 5], Option<i64>) {
        let uncertainty = sources().uncertainty(timed, p99);
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let nanos = |seconds: f64| (seconds * 1e9).round() as i64;
        let Uncertainty { scheduler_lag, poll_lag, clock, resolution, timestamp } = uncertainty;
        let parts = [scheduler_lag, poll_lag, clock, resolution, timestamp];
        (parts.map(|part| part.map(nanos)), uncertainty.sum().map(nanos))
    }

    #[test]
    fn the_parts_of_each_latency_add_up() {
        use Timed::{DurabilityGap, EndToEnd, Leg as Part, Service, Spread};
        for (timed, parts, sum) in [
            (EndToEnd(Lane::MqttKafka), [60_000, 30_000, 2, 40_000, 0], 130_002),
            (Service(Lane::MqttKafka), [0, 30_000, 2, 40_256, 0], 70_258),
            (Part(Leg::PublishDelay), [60_000, 0, 2, 40_000, 0], 100_002),
            (Part(Leg::PublishAck), [0, 10_000, 2, 40_256, 0], 50_258),
            (Part(Leg::PublishRec), [0, 10_000, 2, 40_256, 0], 50_258),
            (DurabilityGap, [0, 10_000, 202, 40_256, 1_400_000], 1_450_458),
            (Spread(Lane::MqttKafka), [0, 30_000, 2, 40_256, 0], 70_258),
            (Part(Leg::Append), [0, 0, 202, 40_256, 1_400_000], 1_440_458),
            (Part(Leg::Fetch), [0, 30_000, 202, 40_000, 1_400_000], 1_470_202),
        ] {
            assert_eq!(nanos(timed, 40 * MILLI), (parts.map(Some), Some(sum)), "{timed:?}");
        }
        let (parts, _) = nanos(EndToEnd(Lane::MqttKafka), 1_000);
        assert_eq!(parts[3], Some(64), "nothing is told more finely than by a bucket");
    }

    #[test]
    fn what_nobody_can_say_makes_the_sum_unknown() {
        let (parts, sum) = nanos(Timed::EndToEnd(Lane::MqttMqtt), MILLI);
        assert_eq!((parts[0], parts[1], sum), (Some(60_000), None, None));
        let unplaced = Sources { offset: None, ..sources() };
        let append = unplaced.uncertainty(Timed::Leg(Leg::Append), MILLI);
        assert_eq!((append.timestamp, append.sum()), (None, None));
        let create = sources().uncertainty(Timed::Leg(Leg::Create), MILLI);
        assert_eq!((create.timestamp, create.sum()), (None, None), "a clock that nobody knows");
        let delay = unplaced.uncertainty(Timed::Leg(Leg::PublishDelay), MILLI);
        assert!(delay.sum().is_some(), "the timestamp has no part in it");
    }
}
