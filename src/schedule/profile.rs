//! Room `schedule`: how the rate of a path changes over time.
//!
//! # Design
//!
//! A profile warps time. The plan of a publisher is made at the nominal rate, and each of its moments
//! is then moved to where the profile has let as much of the load pass. All publishers of a path have
//! the same profile, so that what was in order stays so, and an intended time remains a function of
//! the index alone: nothing adds up over months.

/// How the rate of a path goes, as shares of its nominal rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Profile {
    /// Always the nominal rate.
    #[default]
    Steady,
    /// Grows evenly from a share of the nominal rate, 0 to 1, then stays there.
    Ramp {
        /// The share to begin with.
        from: f64,
        /// How long it grows, in nanoseconds.
        over_nanos: u64,
    },
    /// Grows by equal steps, the last of which is the nominal rate and lasts.
    Steps {
        /// How many steps.
        count: u32,
        /// How long each lasts, in nanoseconds.
        every_nanos: u64,
    },
    /// The nominal rate for a while, then nothing for a while, and so on.
    OnOff {
        /// How long messages are due, in nanoseconds.
        on_nanos: u64,
        /// How long none is, in nanoseconds.
        off_nanos: u64,
    },
    /// What would be due in a stretch is due at its beginning, all at once.
    Burst {
        /// How long the stretch is, in nanoseconds.
        every_nanos: u64,
    },
}

impl Profile {
    /// The name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Ramp { .. } => "ramp",
            Self::Steps { .. } => "steps",
            Self::OnOff { .. } => "on_off",
            Self::Burst { .. } => "burst",
        }
    }

    /// When as much is due under the profile as is at the nominal rate after `even` nanoseconds, in
    /// nanoseconds from the start. Never falls as `even` rises.
    #[must_use]
    pub fn warp(self, even: u64) -> u64 {
        match self {
            Self::Steady => even,
            Self::Ramp { from, over_nanos } => ramp(even, from, over_nanos),
            Self::Steps { count, every_nanos } => steps(even, u64::from(count), every_nanos),
            Self::OnOff { on_nanos, off_nanos } => {
                let rounds = even / on_nanos.max(1);
                even.saturating_add(rounds.saturating_mul(off_nanos))
            }
            Self::Burst { every_nanos } => even - even % every_nanos.max(1),
        }
    }
}

/// While the rate grows, `from * t + (1 - from) * t^2 / (2 * over)` of the load has passed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a ramp is shorter than 2^53 ns, and float casts saturate"
)]
fn ramp(even: u64, from: f64, over_nanos: u64) -> u64 {
    let over = over_nanos as f64;
    let passed = over * f64::midpoint(1.0, from);
    if even as f64 >= passed {
        return over_nanos.saturating_add(even - passed as u64);
    }
    // From the start `t` is the root of `t^2 * (1 - from) / (2 * over) + from * t - even`, in the form
    // that divides by nothing near zero.
    let root = (from * from + 2.0 * (1.0 - from) * even as f64 / over).sqrt();
    (2.0 * even as f64 / (from + root).max(f64::MIN_POSITIVE)) as u64
}

fn steps(even: u64, count: u64, every_nanos: u64) -> u64 {
    // In parts of a step of the nominal rate, so that everything is whole: step `n` lets `n` parts
    // pass in each of its nanoseconds.
    let (mut left, count) = (u128::from(even) * u128::from(count.max(1)), count.max(1));
    for step in 1..count {
        let passes = u128::from(every_nanos) * u128::from(step);
        if left < passes {
            let within = u64::try_from(left / u128::from(step)).unwrap_or(u64::MAX);
            return every_nanos.saturating_mul(step - 1).saturating_add(within);
        }
        left -= passes;
    }
    let within = u64::try_from(left / u128::from(count)).unwrap_or(u64::MAX);
    every_nanos.saturating_mul(count - 1).saturating_add(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn profile() -> impl Strategy<Value = Profile> {
        let span = 1_u64..100 * SECOND;
        prop_oneof![
            Just(Profile::Steady),
            (0.0_f64..=1.0, span.clone())
                .prop_map(|(from, over_nanos)| Profile::Ramp { from, over_nanos }),
            (1_u32..50, span.clone())
                .prop_map(|(count, every_nanos)| Profile::Steps { count, every_nanos }),
            (span.clone(), span.clone())
                .prop_map(|(on_nanos, off_nanos)| Profile::OnOff { on_nanos, off_nanos }),
            span.prop_map(|every_nanos| Profile::Burst { every_nanos }),
        ]
    }

    /// How many of a thousand messages a second are due before `seconds`.
    fn due_before(profile: Profile, seconds: f64) -> usize {
        let all = (0_u64..100_000).map(|number| profile.warp(number * 1_000_000));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        all.take_while(|&due| (due as f64) < seconds * 1e9).count()
    }

    proptest! {
        #[test]
        fn order_is_kept(profile in profile(), a in 0_u64..1_000 * SECOND, b in 0_u64..1_000 * SECOND) {
            let (early, late) = (a.min(b), a.max(b));
            prop_assert!(profile.warp(early) <= profile.warp(late));
        }

        #[test]
        fn only_a_burst_brings_anything_forward(profile in profile(), even in 0_u64..1_000 * SECOND) {
            let due = profile.warp(even);
            match profile {
                Profile::Burst { every_nanos } => {
                    prop_assert!(due <= even && even - due < every_nanos);
                }
                // To the rounding of a root of such numbers.
                _ => prop_assert!(due + 2_000 >= even, "{} for {}", due, even),
            }
        }
    }

    #[test]
    fn a_ramp_lets_the_area_below_it_pass() {
        let ramp = Profile::Ramp { from: 0.0, over_nanos: 10 * SECOND };
        // The rate is 500 a second after 5 s, when 1,250 have passed.
        assert!(due_before(ramp, 5.0).abs_diff(1_250) <= 1);
        assert!(due_before(ramp, 10.0).abs_diff(5_000) <= 1);
        assert!(due_before(ramp, 12.0).abs_diff(7_000) <= 1);
        let half = Profile::Ramp { from: 0.5, over_nanos: 10 * SECOND };
        assert!(due_before(half, 10.0).abs_diff(7_500) <= 1);
        assert_eq!(Profile::Ramp { from: 1.0, over_nanos: SECOND }.warp(123_456), 123_456);
    }

    #[test]
    fn steps_are_equal_and_the_last_one_lasts() {
        let steps = Profile::Steps { count: 4, every_nanos: 2 * SECOND };
        let due: Vec<usize> =
            [2.0, 4.0, 6.0, 8.0, 10.0].map(|seconds| due_before(steps, seconds)).into();
        let a_step: Vec<usize> =
            std::iter::once(due[0]).chain(due.windows(2).map(|two| two[1] - two[0])).collect();
        for (step, expected) in a_step.iter().zip([500, 1_000, 1_500, 2_000, 2_000]) {
            assert!(step.abs_diff(expected) <= 1, "{a_step:?}");
        }
    }

    #[test]
    fn nothing_is_due_while_it_is_off() {
        let on_off = Profile::OnOff { on_nanos: SECOND, off_nanos: 3 * SECOND };
        let due = [1.0, 4.0, 5.0, 8.0].map(|seconds| due_before(on_off, seconds));
        assert_eq!(due, [1_000, 1_000, 2_000, 2_000]);
    }

    #[test]
    fn a_burst_is_due_at_one_moment() {
        let burst = Profile::Burst { every_nanos: SECOND / 10 };
        let due: Vec<u64> = (0..200).map(|number| burst.warp(number * 1_000_000)).collect();
        assert!(due[..100].iter().all(|&due| due == 0));
        assert!(due[100..].iter().all(|&due| due == SECOND / 10));
    }
}
