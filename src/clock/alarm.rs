//! Room `clock`: sleeping until a moment without a thread for it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::{Clock, Instant, timespec};

/// Wakes a task at absolute moments of the boot-time clock, to the precision of the kernel's own
/// timers: tokio's are whole milliseconds.
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// An alarm that is served by the current runtime.
    ///
    /// # Errors
    ///
    /// When the system has no timer to give.
    #[expect(
        deprecated,
        reason = "its successor is unsafe to call; the descriptor is owned and never handed out"
    )]
    pub fn new(clock: Clock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { clock, timer: AsyncFd::new(timer)? })
    }

    /// Waits until `deadline`; never returns before it.
    ///
    /// # Errors
    ///
    /// When the timer can't be set, which no deadline causes.
    pub async fn until(&mut self, deadline: Instant) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval: never, it_value: timespec(deadline) };
        if self.clock.now() >= deadline {
            return Ok(());
        }
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        while self.clock.now() < deadline {
            let mut rung = self.timer.readable().await?;
            // What is read is how often it rang; not yet is no error but the end of readiness.
            let mut count = [0; 8];
            let read = rung.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut count)?));
            if let Ok(read) = read {
                read?;
                // It rings once each time it is set: there is nothing more to read now.
                rung.clear_ready();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_never_rings_early_and_rings_again() {
        let clock = Clock::system();
        let mut alarm = Alarm::new(clock).unwrap();
        for _ in 0..20 {
            let deadline = clock.now() + Duration::from_micros(700);
            alarm.until(deadline).await.unwrap();
            assert!(clock.now() >= deadline);
        }
        alarm.until(clock.now() - Duration::from_secs(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_cut_the_next_one_short() {
        let clock = Clock::system();
        let mut alarm = Alarm::new(clock).unwrap();
        let soon = alarm.until(clock.now() + Duration::from_millis(5));
        tokio::select! {
            biased;
            _ = soon => panic!("too early"),
            () = std::future::ready(()) => (),
        }
        let deadline = clock.now() + Duration::from_millis(20);
        alarm.until(deadline).await.unwrap();
        assert!(clock.now() >= deadline);
    }
}
