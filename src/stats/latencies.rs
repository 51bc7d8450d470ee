//! Room `stats`: a distribution of signed durations.

use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use super::counts::Counts;

/// Durations in nanoseconds, right to 0.1 % or 64 ns, whichever is larger.
///
/// Negative durations are kept apart by their size and take part in every quantile, since a figure
/// that leaves them out would flatter the clock.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latencies {
    positive: Counts,
    negative: Counts,
    sum_nanos: i128,
}

impl Latencies {
    /// Adds one duration.
    #[inline]
    pub fn record(&mut self, nanos: i64) {
        self.record_many(nanos, 1);
    }

    /// Adds the same duration so many times.
    #[inline]
    pub fn record_many(&mut self, nanos: i64, count: u64) {
        self.sum_nanos += i128::from(nanos) * i128::from(count);
        let side = if nanos < 0 { &mut self.negative } else { &mut self.positive };
        side.record(nanos.unsigned_abs(), count);
    }

    /// Adds all durations of another distribution.
    pub fn merge(&mut self, other: &Self) {
        self.sum_nanos += other.sum_nanos;
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.positive.clear();
        self.negative.clear();
        self.sum_nanos = 0;
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.positive.total() + self.negatives()
    }

    /// How many of them are below zero.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negative.total()
    }

    /// The mean in nanoseconds, exact; `None` without durations.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean in nanoseconds needs no 53 bits")]
    pub fn mean_nanos(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum_nanos as f64 / self.count() as f64)
    }

    /// The smallest duration that at least this share (0 to 1) of all stay within, in nanoseconds.
    #[must_use]
    pub fn quantile_nanos(&self, quantile: f64) -> Option<i64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = rank(quantile, count);
        let negatives = self.negatives();
        if rank <= negatives {
            Some(-signed(self.negative.value_at_rank(negatives - rank + 1)))
        } else {
            Some(signed(self.positive.value_at_rank(rank - negatives)))
        }
    }

    /// The longest duration in nanoseconds, right to the resolution.
    #[must_use]
    pub fn max_nanos(&self) -> Option<i64> {
        self.quantile_nanos(1.0)
    }

    /// The durations from zero up as HdrHistogram V2 (uncompressed), in nanoseconds. Negative ones
    /// are not in it: their number is [`Latencies::negatives`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing into memory does not fail.
        let _ = V2Serializer::new().serialize(&self.positive.to_histogram(), &mut bytes);
        bytes
    }

    /// How many there are by size, ten steps a decade: the end of each step that has any in
    /// nanoseconds, ascending, right to the resolution. Up to 1 us, and below zero, all is one step.
    #[must_use]
    pub fn by_decade(&self) -> Vec<(f64, u64)> {
        let mut steps: Vec<(i32, u64)> = Vec::new();
        for (nanos, count) in self.values() {
            let step = step_of(nanos);
            match steps.last_mut() {
                Some((last, sum)) if *last == step => *sum += count,
                _ => steps.push((step, count)),
            }
        }
        let end = |step| 10_f64.powf(f64::from(step) / STEPS_A_DECADE);
        steps.into_iter().map(|(step, count)| (end(step), count)).collect()
    }

    /// The distinct values with their counts, ascending: representatives within the resolution.
    pub(super) fn values(&self) -> impl Iterator<Item = (i64, u64)> {
        let below = self.negative.values().rev().map(|(nanos, count)| (-signed(nanos), count));
        below.chain(self.positive.values().map(|(nanos, count)| (signed(nanos), count)))
    }
}

/// Steps of [`Latencies::by_decade`].
const STEPS_A_DECADE: f64 = 10.0;
/// The step that ends at 1 us.
const STEP_LEAST: i32 = 30;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the logarithm of a 64-bit number, ten times"
)]
fn step_of(nanos: i64) -> i32 {
    // Without the epsilon the end of a step would belong to the next one.
    let step = ((nanos.max(1) as f64).log10() * STEPS_A_DECADE - 1e-9).ceil();
    (step as i32).max(STEP_LEAST)
}

fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// The rank, from 1, of a quantile among `count` values (nearest-rank definition).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a quantile is in 0..=1, and a rank within its count"
)]
pub(super) fn rank(quantile: f64, count: u64) -> u64 {
    // 0.99 * 100 is a little above 99 in binary: without the epsilon the rank would be 100.
    let exact = quantile.clamp(0.0, 1.0) * count as f64;
    ((exact - 1e-9 * exact.max(1.0)).ceil() as u64).clamp(1, count)
}

#[cfg(test)]
mod tests {
    use super::super::counts::RESOLUTION_NANOS;
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    fn of(values: &[i64]) -> Latencies {
        let mut latencies = Latencies::default();
        for &nanos in values {
            latencies.record(nanos);
        }
        latencies
    }

    fn near(figure: i64, truth: i64) -> bool {
        figure.abs_diff(truth) <= (truth.unsigned_abs() / 1_000).max(RESOLUTION_NANOS)
    }

    proptest! {
        #[test]
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        fn quantiles_are_those_of_the_sorted_values(
            values in prop::collection::vec(-1_000_000_000_i64..100_000_000_000, 1..300),
            quantile in 0.0_f64..=1.0,
        ) {
            let latencies = of(&values);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let rank = usize::try_from(rank(quantile, sorted.len() as u64)).unwrap();
            let figure = latencies.quantile_nanos(quantile).unwrap();
            prop_assert!(near(figure, sorted[rank - 1]), "{figure} for {}", sorted[rank - 1]);
            prop_assert_eq!(latencies.count(), values.len() as u64);
            let mean = values.iter().map(|&nanos| nanos as f64).sum::<f64>() / values.len() as f64;
            prop_assert!((latencies.mean_nanos().unwrap() - mean).abs() < 1.0);
        }

        #[test]
        fn merging_equals_recording_together(
            a in prop::collection::vec(any::<i32>(), 0..100),
            b in prop::collection::vec(any::<i32>(), 0..100),
        ) {
            let wide = |values: &[i32]| values.iter().map(|&v| i64::from(v)).collect::<Vec<_>>();
            let mut merged = of(&wide(&a));
            merged.merge(&of(&wide(&b)));
            let together = of(&[wide(&a), wide(&b)].concat());
            prop_assert!(merged.values().eq(together.values()));
            prop_assert_eq!(merged.mean_nanos(), together.mean_nanos());
        }
    }

    #[test]
    fn steps_are_ten_a_decade() {
        let latencies = of(&[-5, 0, 900, 1_200, 1_250, 1_000_000, 2_000_000]);
        let steps: Vec<_> =
            latencies.by_decade().iter().map(|&(end, count)| (end.round(), count)).collect();
        assert_eq!(steps.iter().map(|&(_, count)| count).sum::<u64>(), 7);
        assert_eq!(steps[..2], [(1_000.0, 3), (1_259.0, 1)], "{steps:?}");
        assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn extremes_are_kept() {
        let latencies = of(&[i64::MAX, i64::MIN, 0]);
        assert_eq!((latencies.count(), latencies.negatives()), (3, 1));
        assert!(latencies.max_nanos().unwrap() > i64::MAX / 1_001 * 1_000);
        assert!(latencies.quantile_nanos(0.0).unwrap() < i64::MIN / 1_001 * 1_000);
    }

    #[test]
    fn ranks_are_nearest_ranks() {
        assert_eq!([rank(0.5, 4), rank(0.99, 100), rank(0.0, 9), rank(1.0, 9)], [2, 99, 1, 9]);
    }

    #[test]
    fn the_encoding_is_read_back_by_the_library() {
        let bytes = of(&[1_000_000, 2_000_000, -5]).encode();
        let mut reader = bytes.as_slice();
        let read: Histogram<u64> =
            hdrhistogram::serialization::Deserializer::new().deserialize(&mut reader).unwrap();
        assert_eq!(read.len(), 2);
        assert!(near(i64::try_from(read.max()).unwrap(), 2_000_000));
    }

    #[test]
    fn nothing_recorded_has_no_figures() {
        let latencies = Latencies::default();
        assert_eq!((latencies.quantile_nanos(0.5), latencies.mean_nanos()), (None, None));
    }
}
