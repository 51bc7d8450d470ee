//! Room `clock`: the only reader of time.
//!
//! Everything else in the crate takes time as an argument. Two clocks are read here:
//!
//! * `CLOCK_BOOTTIME`, which never steps and goes on while the machine sleeps. Every latency is the
//!   difference of two of its readings in one process ([`Instant`]).
//! * the wall clock ([`WallTime`]), which may step. It is used only to place a broker's timestamp
//!   beside our own instants, always with a stated bound.
//!
//! # Design
//!
//! `CLOCK_BOOTTIME` and not `CLOCK_MONOTONIC`: together with the boot id an instant then means the
//! same in the next process on the same machine, which the journal needs.

mod alarm;
mod cpu;

use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use serde::{Deserialize, Serialize};

pub use alarm::Alarm;
pub use cpu::{cpu_of_process, cpu_of_thread};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A reading of the boot-time clock, in nanoseconds since the machine started.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock; useful as a fixed origin in tests and simulations.
    pub const ZERO: Self = Self(0);

    /// An instant so many nanoseconds after the machine started.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the machine started.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Signed nanoseconds from `earlier` to `self`; negative where `self` came first. Saturates at
    /// the limits of `i64` (292 years).
    #[must_use]
    pub fn nanos_since(self, earlier: Self) -> i64 {
        let limit = if self.0 < earlier.0 { i64::MIN } else { i64::MAX };
        self.0.checked_signed_diff(earlier.0).unwrap_or(limit)
    }

    /// Time from `earlier` to `self`, zero where `self` came first. For waiting, never for figures.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant moved by signed nanoseconds, saturating at the ends of the clock.
    #[must_use]
    pub const fn offset(self, nanos: i64) -> Self {
        Self(self.0.saturating_add_signed(nanos))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(duration)))
    }
}

/// A reading of the wall clock, in nanoseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WallTime(i64);

impl WallTime {
    /// A wall time so many nanoseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A wall time so many milliseconds after 1970-01-01 UTC, the unit of Kafka's timestamps.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

/// One moment read on both clocks, which places wall times among instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// The moment on the boot-time clock.
    pub instant: Instant,
    /// The same moment on the wall clock.
    pub wall: WallTime,
    /// How far apart the two readings may lie, in nanoseconds.
    pub bound_nanos: u64,
}

impl Pairing {
    /// The instant at which the wall clock showed `wall`, if it has not stepped since this pairing.
    #[must_use]
    pub const fn instant_of(&self, wall: WallTime) -> Instant {
        self.instant.offset(wall.0.saturating_sub(self.wall.0))
    }

    /// What the wall clock showed at `instant`, if it has not stepped since this pairing.
    #[must_use]
    pub fn wall_of(&self, instant: Instant) -> WallTime {
        WallTime(self.wall.0.saturating_add(instant.nanos_since(self.instant)))
    }

    /// By how much the wall clock was set since an earlier pairing, at least: what the bounds of the
    /// two leave sure, in nanoseconds; negative where it was set back. A clock that is slewed is not
    /// set, since the boot-time clock is slewed with it.
    #[must_use]
    pub fn step_since(&self, earlier: &Self) -> i64 {
        let moved = self.wall.0.saturating_sub(earlier.wall_of(self.instant).0);
        let unsure = self.bound_nanos.saturating_add(earlier.bound_nanos);
        let sure = i64::try_from(moved.unsigned_abs().saturating_sub(unsure)).unwrap_or(i64::MAX);
        sure.saturating_mul(moved.signum())
    }
}

/// The machine's clocks. Copies read the same clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// By how many nanoseconds the boot-time clock is set back.
    set_back: u64,
}

impl Clock {
    /// The clocks of this machine.
    #[must_use]
    pub const fn system() -> Self {
        Self { set_back: 0 }
    }

    /// The same, with a boot-time clock that is set back by so much: what no machine does, and what a
    /// selftest has to show that it would be found out.
    #[must_use]
    pub fn set_back(self, by: Duration) -> Self {
        Self { set_back: self.set_back.saturating_add(nanos_of(by)) }
    }

    /// Now, on the boot-time clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one room that reads time")]
    pub fn now(self) -> Instant {
        let now = nanos_of_timespec(clock_gettime(ClockId::Boottime));
        Instant(now.saturating_sub(self.set_back))
    }

    /// Now, on the wall clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one room that reads time")]
    pub fn wall(self) -> WallTime {
        let now = clock_gettime(ClockId::Realtime);
        WallTime(now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec))
    }

    /// How much of the processors' time this thread has had.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one room that reads time")]
    pub fn worked(self) -> Duration {
        Duration::from_nanos(nanos_of_timespec(clock_gettime(ClockId::ThreadCPUTime)))
    }

    /// Both clocks at one moment: the tightest of three attempts, with its bound.
    #[must_use]
    pub fn pairing(self) -> Pairing {
        let attempt = || {
            let before = self.now();
            let wall = self.wall();
            let after = self.now();
            let bound_nanos = after.nanos().saturating_sub(before.nanos());
            Pairing { instant: before + Duration::from_nanos(bound_nanos / 2), wall, bound_nanos }
        };
        let (first, second, third) = (attempt(), attempt(), attempt());
        let tighter = if second.bound_nanos < first.bound_nanos { second } else { first };
        if third.bound_nanos < tighter.bound_nanos { third } else { tighter }
    }

    /// Blocks this thread until `deadline` (absolute, so that being late once delays nothing after
    /// it). Returns at once when the deadline has passed.
    pub fn sleep_until(self, deadline: Instant) {
        let request = timespec(Instant(deadline.0.saturating_add(self.set_back)));
        while self.now() < deadline {
            // An interrupted sleep is resumed; any other refusal would turn the loop into a spin.
            if clock_nanosleep_absolute(ClockId::Boottime, &request)
                .is_err_and(|error| error != rustix::io::Errno::INTR)
            {
                break;
            }
        }
    }

    /// The smallest step of the boot-time clock, in nanoseconds: the bound on the error of one
    /// reading that the kernel states.
    #[must_use]
    pub fn resolution_nanos(self) -> u64 {
        nanos_of_timespec(clock_getres(ClockId::Boottime))
    }
}

/// What identifies this start of the machine (`/proc/sys/kernel/random/boot_id`), where known.
#[must_use]
pub fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

fn timespec(instant: Instant) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(instant.0 / NANOS_PER_SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(instant.0 % NANOS_PER_SECOND).unwrap_or(0),
    }
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn nanos_of_timespec(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_keep_their_sign() {
        let (early, late) = (Instant::from_nanos(5), Instant::from_nanos(12));
        assert_eq!(late.nanos_since(early), 7);
        assert_eq!(early.nanos_since(late), -7);
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(Instant::from_nanos(u64::MAX).nanos_since(Instant::ZERO), i64::MAX);
    }

    #[test]
    fn sleeping_never_wakes_early() {
        let clock = Clock::system();
        let deadline = clock.now() + Duration::from_millis(2);
        clock.sleep_until(deadline);
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn a_clock_that_is_set_back_is_so_in_all_that_it_does() {
        let (clock, by) = (Clock::system(), Duration::from_millis(20));
        let behind = clock.set_back(by);
        let (before, shown, after) = (clock.now(), behind.now(), clock.now());
        assert!((before..=after).contains(&(shown + by)));
        let deadline = shown + Duration::from_millis(2);
        behind.sleep_until(deadline);
        assert!(behind.now() >= deadline && clock.now() >= deadline + by);
        let (ours, its) = (clock.pairing(), behind.pairing());
        let apart = ours.instant_of(its.wall).nanos_since(its.instant);
        assert!(apart >= 19_000_000, "{apart}");
    }

    #[test]
    fn a_pairing_maps_both_ways() {
        let pairing = Pairing {
            instant: Instant::from_nanos(1_000),
            wall: WallTime::from_nanos(50_000),
            bound_nanos: 0,
        };
        let instant = pairing.instant_of(WallTime::from_nanos(50_400));
        assert_eq!(instant, Instant::from_nanos(1_400));
        assert_eq!(pairing.wall_of(instant), WallTime::from_nanos(50_400));
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_from_the_bounds() {
        let pairing = |instant, wall, bound_nanos| Pairing {
            instant: Instant::from_nanos(instant),
            wall: WallTime::from_nanos(wall),
            bound_nanos,
        };
        let before = pairing(1_000, 50_000, 100);
        assert_eq!(pairing(9_000, 58_000, 100).step_since(&before), 0);
        assert_eq!(pairing(9_000, 58_150, 100).step_since(&before), 0, "within the bounds");
        assert_eq!(pairing(9_000, 59_000, 100).step_since(&before), 800);
        assert_eq!(pairing(9_000, 57_000, 100).step_since(&before), -800, "set back");
        assert_eq!(pairing(9_000, i64::MIN, 0).step_since(&before), i64::MIN + 100);
    }

    #[test]
    fn the_two_clocks_agree_within_the_stated_bound() {
        let clock = Clock::system();
        let pairing = clock.pairing();
        let drift = clock.wall().nanos() - pairing.wall_of(clock.now()).nanos();
        assert!(drift.unsigned_abs() < 1_000_000_000, "clock stepped by {drift} ns in the test");
    }
}
