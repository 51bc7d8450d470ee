//! Room `clock`: sleeping until a moment without a thread for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::{Instant, timespec};

/// A descriptor that becomes readable at a moment of the boot-time clock, to the precision of the
/// kernel's own timers, and stays so until it is set to another one.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    set: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    ///
    /// When the system has no timer to give.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { timer: timerfd_create(TimerfdClockId::Boottime, flags)?, set: None })
    }

    /// Rings at that moment and not before; at once where it has passed, never without one.
    ///
    /// # Errors
    ///
    /// When the timer can't be set, which no moment causes.
    pub fn set(&mut self, moment: Option<Instant>) -> io::Result<()> {
        if moment == self.set {
            return Ok(());
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // The origin of the clock would mean never; a nanosecond later has passed as well.
        let at = moment.map_or(never, |moment| timespec(moment.max(Instant::from_nanos(1))));
        let once = Itimerspec { it_interval: never, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.set = moment;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::clock::Clock;

    /// Waits until the alarm rings, or so many milliseconds.
    fn rings_within(alarm: &Alarm, millis: i64) -> bool {
        let limit = Timespec { tv_sec: 0, tv_nsec: millis * 1_000_000 };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&limit)).unwrap() == 1
    }

    #[test]
    fn it_never_rings_early_and_rings_again() {
        let clock = Clock::system();
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..20 {
            let deadline = clock.now() + Duration::from_micros(700);
            alarm.set(Some(deadline)).unwrap();
            assert!(rings_within(&alarm, 900));
            assert!(clock.now() >= deadline);
        }
    }

    #[test]
    fn a_moment_that_has_passed_rings_until_it_is_set_anew() {
        let clock = Clock::system();
        let mut alarm = Alarm::new().unwrap();
        for moment in [Instant::ZERO, clock.now()] {
            alarm.set(Some(moment)).unwrap();
            assert!(rings_within(&alarm, 900) && rings_within(&alarm, 900));
        }
        alarm.set(Some(clock.now() + Duration::from_mins(1))).unwrap();
        assert!(!rings_within(&alarm, 1));
        alarm.set(Some(Instant::ZERO)).unwrap();
        alarm.set(None).unwrap();
        assert!(!rings_within(&alarm, 1));
    }
}
