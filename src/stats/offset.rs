//! Room `stats`: how far another clock is from ours, from what must have come before what.
//!
//! # Design
//!
//! A message was sent before it was appended, and it was appended before that was acknowledged or the
//! record received. The other clock said when that was, to within its unit. Each message thus gives a
//! bracket that the offset lies in, and the offset lies in all of them. No bracket lasts: clocks drift
//! apart, by [`DRIFT_PPM`] at most while both are kept in step by NTP or run on their own quartz, so that
//! a bracket widens with its age by so much to either side. What is kept is therefore one interval, the
//! intersection of all brackets as wide as they are by now: old ones fade by themselves, and nothing has
//! to be thrown away.
//!
//! Brackets that have no offset in common contradict each other: one of the clocks was stepped (or
//! slewed faster than that), or the messages were not timed by the clock that they were put down to.
//! Then only the last one counts.

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

/// How fast two clocks may drift apart, in parts per million.
pub const DRIFT_PPM: u64 = 20;

/// What is known of a clock's offset: the clock reads so much more than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// The middle of what is possible, in nanoseconds; negative where the clock is behind ours.
    pub offset_nanos: i64,
    /// The true offset is at most so many nanoseconds away from it.
    pub bound_nanos: u64,
}

impl ClockOffset {
    /// By how many nanoseconds a moment of the other clock is to be set back to be one of ours.
    ///
    /// The offset itself where it is known to within half a millisecond, the unit of a timestamp.
    /// Else no more than is certain: a bracket is as wide as a bridge is slow, and clocks that agree
    /// must not be set apart by half of that.
    #[must_use]
    pub fn correction_nanos(self) -> i64 {
        let Self { offset_nanos, bound_nanos } = self;
        if bound_nanos <= MILLISECOND.unsigned_abs() / 2 {
            return offset_nanos;
        }
        let certain = offset_nanos.unsigned_abs().saturating_sub(bound_nanos);
        i64::try_from(certain).unwrap_or(i64::MAX) * offset_nanos.signum()
    }

    /// How far a moment may still be from the truth that was set back by
    /// [`ClockOffset::correction_nanos`], in nanoseconds.
    #[must_use]
    pub fn left_nanos(self) -> i64 {
        let uncorrected = self.offset_nanos.abs_diff(self.correction_nanos());
        i64::try_from(self.bound_nanos.saturating_add(uncorrected)).unwrap_or(i64::MAX)
    }
}

/// The unit of Kafka's timestamps, in nanoseconds.
pub(super) const MILLISECOND: i64 = 1_000_000;

/// Estimates the offset of one clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct OffsetEstimate {
    known: Option<Interval>,
}

/// Where the offset lies, as of a moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Interval {
    at: Instant,
    low: i64,
    high: i64,
}

impl Interval {
    /// The same as of another moment.
    fn at(self, at: Instant) -> Self {
        let age = at.nanos_since(self.at).unsigned_abs();
        let wider = i64::try_from(age / (1_000_000 / DRIFT_PPM) + 1).unwrap_or(i64::MAX);
        let wider = if age == 0 { 0 } else { wider };
        let (low, high) = (self.low.saturating_sub(wider), self.high.saturating_add(wider));
        Self { at, low, high }
    }
}

impl OffsetEstimate {
    /// Takes in that the offset was from `low` to `high` nanoseconds at some moment between two. False
    /// where that contradicts what was known, which is then forgotten.
    pub(super) fn narrow(&mut self, (from, at): (Instant, Instant), low: i64, high: i64) -> bool {
        // A message that was received before it was sent says nothing about the other clock.
        if low > high {
            return true;
        }
        let bracket = Interval { at: from.min(at), low, high }.at(at);
        let Some(known) = self.known else {
            self.known = Some(bracket);
            return true;
        };
        // Receipts of several consumers come in each one's order.
        let now = known.at.max(at);
        let (known, bracket) = (known.at(now), bracket.at(now));
        let (low, high) = (known.low.max(bracket.low), known.high.min(bracket.high));
        let agrees = low <= high;
        self.known = Some(if agrees { Interval { at: now, low, high } } else { bracket });
        agrees
    }

    /// What is known at a moment.
    pub(super) fn at(&self, now: Instant) -> Option<ClockOffset> {
        let Interval { low, high, .. } = self.known?.at(now);
        let width = high.abs_diff(low);
        let offset_nanos = low.saturating_add_unsigned(width / 2);
        Some(ClockOffset { offset_nanos, bound_nanos: width.div_ceil(2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// Numbers that look random enough.
    fn mix(number: u64) -> u64 {
        (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
    }

    /// A clock that reads whole milliseconds, and drifts.
    #[derive(Clone, Copy, Debug)]
    struct Leader {
        offset: i64,
        drift_ppm: i64,
    }

    impl Leader {
        /// How far it is ahead.
        fn offset_at(self, at: u64) -> i64 {
            let drifted = i128::from(at) * i128::from(self.drift_ppm) / 1_000_000;
            self.offset + i64::try_from(drifted).unwrap()
        }

        /// What it reads.
        fn reads(self, at: u64) -> i64 {
            let exact = i64::try_from(at).unwrap() + self.offset_at(at);
            exact.div_euclid(MILLISECOND) * MILLISECOND
        }

        /// Sends a message at a moment: the bracket that it gives, and when it was received.
        fn bracket(self, sent: u64, way: u64, back: u64) -> ((Instant, Instant), i64, i64) {
            let received = sent + way + back;
            let read = self.reads(sent + way);
            let between = (Instant::from_nanos(sent), Instant::from_nanos(received));
            let (sent, until) = (i64::try_from(sent).unwrap(), i64::try_from(received).unwrap());
            (between, read - until, read + MILLISECOND - sent)
        }
    }

    fn contains(known: ClockOffset, truth: i64) -> bool {
        known.offset_nanos.abs_diff(truth) <= known.bound_nanos
    }

    fn leaders() -> impl Strategy<Value = Leader> {
        (-10_000_000_000_i64..10_000_000_000, -20_i64..=20)
            .prop_map(|(offset, drift_ppm)| Leader { offset, drift_ppm })
    }

    proptest! {
        #[test]
        fn the_true_offset_always_lies_within_the_bound(
            leader in leaders(),
            messages in prop::collection::vec(
                (0..20 * SECOND, 0..SECOND, 0..SECOND, any::<u8>(), any::<u8>()), 1..80),
        ) {
            let mut estimate = OffsetEstimate::default();
            prop_assert_eq!(estimate.at(Instant::ZERO), None, "nothing is known");
            // Far from the clock's origin, so that it may be behind ours.
            let mut now = 100 * SECOND;
            for (pause, way, back, short, quick) in messages {
                now += pause;
                // Some take microseconds, some a second.
                let (way, back) = (way >> (short % 32), back >> (quick % 32));
                let (between, low, high) = leader.bracket(now, way, back);
                prop_assert!(estimate.narrow(between, low, high), "a clock contradicts itself");
                let at = between.1;
                let known = estimate.at(at).unwrap();
                prop_assert!(contains(known, leader.offset_at(at.nanos())), "{known:?}");
                let later = at.nanos() + pause;
                let known = estimate.at(Instant::from_nanos(later)).unwrap();
                prop_assert!(contains(known, leader.offset_at(later)), "{known:?}, {pause} ns later");
            }
        }

        #[test]
        fn a_step_is_told_and_the_offset_found_again(leader in leaders(), back in any::<bool>()) {
            let step = if back { -100 * MILLISECOND } else { 100 * MILLISECOND };
            let stepped = Leader { offset: leader.offset + step, ..leader };
            let (mut estimate, mut told) = (OffsetEstimate::default(), 0);
            for n in 0..200 {
                let clock = if n < 100 { leader } else { stepped };
                let way = 100_000 + mix(n) % 400_000;
                let (between, low, high) = clock.bracket(SECOND * (100 + n), way, 200_000);
                told += u32::from(!estimate.narrow(between, low, high));
                let at = between.1;
                prop_assert!(contains(estimate.at(at).unwrap(), clock.offset_at(at.nanos())));
            }
            prop_assert_eq!(told, 1);
        }
    }

    #[test]
    fn the_bound_shrinks_with_the_messages() {
        let leader = Leader { offset: 42 * MILLISECOND + 123_456, drift_ppm: 7 };
        let mut bounds = Vec::new();
        for count in [1, 10, 100] {
            let mut estimate = OffsetEstimate::default();
            let mut last = Instant::ZERO;
            for n in 0..count {
                let sent = SECOND + n * 10 * 1_000_000 + mix(n) % 1_000_000;
                let way = 150_000 + mix(n + 7) % 300_000;
                let (between, low, high) = leader.bracket(sent, way, 200_000);
                assert!(estimate.narrow(between, low, high));
                last = between.1;
            }
            bounds.push(estimate.at(last).unwrap().bound_nanos);
        }
        assert!(bounds.is_sorted_by(|wide, narrow| wide > narrow), "{bounds:?}");
        // Less than half of what a single message takes to and fro, whatever the unit of the clock.
        assert!(bounds[2] < 250_000, "{bounds:?}");
    }

    #[test]
    fn no_more_is_corrected_than_is_certain() {
        let of = |offset_nanos, bound_nanos| ClockOffset { offset_nanos, bound_nanos };
        assert_eq!(of(300_000, 400_000).correction_nanos(), 300_000, "within the unit");
        assert_eq!(of(2_000_000, 2_300_000).correction_nanos(), 0, "they may well agree");
        assert_eq!(of(-5_000_000, 2_000_000).correction_nanos(), -3_000_000);
        assert_eq!(of(i64::MIN, 600_000).correction_nanos(), i64::MIN + 600_000);
        assert_eq!(of(0, u64::MAX).correction_nanos(), 0);
        assert_eq!(of(300_000, 400_000).left_nanos(), 400_000);
        assert_eq!(of(-5_000_000, 2_000_000).left_nanos(), 4_000_000);
        assert_eq!(of(2_000_000, 2_300_000).left_nanos(), 4_300_000);
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let mut estimate = OffsetEstimate::default();
        let start = (Instant::ZERO, Instant::ZERO);
        assert!(estimate.narrow(start, 5, 4));
        assert_eq!(estimate.at(Instant::ZERO), None);
        let far = Instant::from_nanos(u64::MAX);
        assert!(estimate.narrow((far, far), i64::MIN, i64::MAX));
        assert!(estimate.narrow((far, Instant::ZERO), i64::MIN, i64::MAX));
        let known = estimate.at(far).unwrap();
        assert!(contains(known, 0) && known.bound_nanos >= i64::MAX.unsigned_abs());
    }
}
