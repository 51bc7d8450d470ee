//! Room `stats`: how often durations of each length came.
//!
//! # Design
//!
//! These are the buckets of an HdrHistogram with a unit of 64 ns and three digits: 2,048 of one unit,
//! then 1,024 for each doubling. The library takes any unit and precision, checks every sum for
//! overflow and keeps the least and the largest value up to date; with both given, a duration is
//! recorded in a third of its time, and four are for each message that comes out. It still writes the
//! portable encoding, and a test holds every figure against it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shortest distance that is told apart, in nanoseconds.
pub(super) const RESOLUTION_NANOS: u64 = 1 << UNIT_BITS;
const UNIT_BITS: u32 = 6;
/// Half of the buckets of the first stretch, and all of each later one.
const HALF_BITS: u32 = 10;
/// Three significant digits: quantiles are right to 0.1 %.
const DIGITS: u8 = 3;

/// Longest duration that is told from longer ones in a kept distribution: all that 64 bits can say.
const BUCKETS_MAX: usize = bucket_of(u64::MAX) + 1;

/// Counts of durations from zero up, in nanoseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Kept", try_from = "Kept")]
pub(super) struct Counts {
    buckets: Vec<u64>,
    total: u64,
}

/// The same for keeping: the buckets that have any, with their counts.
#[derive(Serialize, Deserialize)]
struct Kept(Vec<(u32, u64)>);

impl From<Counts> for Kept {
    fn from(counts: Counts) -> Self {
        let buckets = (0..).zip(&counts.buckets);
        Self(buckets.filter(|&(_, &count)| count > 0).map(|(at, &count)| (at, count)).collect())
    }
}

impl TryFrom<Kept> for Counts {
    type Error = &'static str;

    fn try_from(Kept(kept): Kept) -> Result<Self, Self::Error> {
        let mut counts = Self::default();
        for (bucket, count) in kept {
            let bucket = usize::try_from(bucket).unwrap_or(usize::MAX);
            if bucket >= BUCKETS_MAX {
                return Err("a bucket beyond the longest duration");
            }
            if bucket >= counts.buckets.len() {
                counts.buckets.resize((bucket + 1).next_multiple_of(1 << HALF_BITS), 0);
            }
            counts.buckets[bucket] += count;
            counts.total = counts.total.saturating_add(count);
        }
        Ok(counts)
    }
}

impl Counts {
    #[inline]
    pub(super) fn record(&mut self, nanos: u64, times: u64) {
        self.total += times;
        let bucket = bucket_of(nanos);
        match self.buckets.get_mut(bucket) {
            Some(count) => *count += times,
            None => self.grow(bucket, times),
        }
    }

    /// Counts so many in a bucket that is not there yet.
    #[cold]
    fn grow(&mut self, bucket: usize, times: u64) {
        // A whole doubling at a time, so that it happens some dozen times in a run.
        self.buckets.resize((bucket + 1).next_multiple_of(1 << HALF_BITS), 0);
        self.buckets[bucket] = times;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(0);
        self.total = 0;
    }

    /// The longest duration that counts as the one of that rank, from 1; the longest of all beyond.
    pub(super) fn value_at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        let found = self.values().find(|&(_, count)| {
            seen += count;
            seen >= rank
        });
        found.or_else(|| self.values().next_back()).map_or(0, |(nanos, _)| nanos)
    }

    /// The longest duration of every bucket that has any, with its count, ascending.
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        let counts = self.buckets.iter().enumerate();
        counts.filter(|&(_, &count)| count > 0).map(|(bucket, &count)| (end_of(bucket), count))
    }

    /// The same in the library's own form.
    pub(super) fn to_histogram(&self) -> Histogram<u64> {
        // The bounds are constants that the library accepts.
        #[expect(clippy::expect_used, reason = "constant arguments, exercised by every test")]
        let mut histogram =
            Histogram::new_with_bounds(RESOLUTION_NANOS, 2 * RESOLUTION_NANOS, DIGITS)
                .expect("the bounds are valid");
        histogram.auto(true);
        for (nanos, count) in self.values() {
            // It grows to whatever an i64 can hold, so that recording can't fail.
            let _ = histogram.record_n(nanos.min(i64::MAX.unsigned_abs()), count);
        }
        histogram
    }
}

/// Which bucket a duration counts in.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most 2,047 units are left")]
const fn bucket_of(nanos: u64) -> usize {
    // In the first stretch there is nothing to leave out; each doubling leaves out one bit more.
    let doublings = (nanos >> (UNIT_BITS + HALF_BITS) | 1).ilog2();
    ((doublings as usize) << HALF_BITS) + (nanos >> (UNIT_BITS + doublings)) as usize
}

/// The longest duration that counts in a bucket.
#[expect(clippy::cast_possible_truncation, reason = "at most 47 doublings")]
const fn end_of(bucket: usize) -> u64 {
    let doublings = (bucket >> HALF_BITS).saturating_sub(1);
    let units = (bucket - (doublings << HALF_BITS)) as u64;
    // The very last one ends where 64 bits do.
    ((units + 1) << (UNIT_BITS + doublings as u32)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Serializer, V2Serializer};
    use proptest::prelude::*;

    fn encoded(histogram: &Histogram<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(histogram, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn they_are_the_librarys(values in prop::collection::vec(any::<(u64, u8)>(), 1..200)) {
            let mut counts = Counts::default();
            let mut histogram = Counts::default().to_histogram();
            for &(bits, shift) in &values {
                let nanos = bits >> (1 + shift % 63);
                counts.record(nanos, 1);
                histogram.record(nanos).unwrap();
            }
            prop_assert_eq!(counts.total(), histogram.len());
            let theirs = histogram.iter_recorded();
            let theirs = theirs.map(|step| (step.value_iterated_to(), step.count_at_value()));
            prop_assert!(counts.values().eq(theirs));
            // As bytes: in memory theirs remembers whether below 64 ns there was anything but zeros.
            prop_assert_eq!(encoded(&counts.to_histogram()), encoded(&histogram));
        }
    }

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for bucket in 0..50_176 {
            let end = end_of(bucket);
            assert_eq!(bucket_of(end), bucket, "{end}");
            assert!(end == u64::MAX || bucket_of(end + 1) == bucket + 1, "{end}");
        }
        assert_eq!((bucket_of(0), end_of(0)), (0, RESOLUTION_NANOS - 1));
    }
}
