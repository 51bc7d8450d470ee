//! Room `wire`: when an event loop wakes, and how much of the time it works: by the processors' time that
//! it has had. A thread that wants to and may not shows as late, not as busy.

use std::io;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::super::Handler;
use super::EventLoop;
use crate::clock::Instant;
use crate::correlate::Observation;

/// How often is said how busy the thread is.
const TELL_EVERY: Duration = Observation::WORKED_EVERY;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// When a loop woke, and what it did since.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// It sleeps for so long after it woke, whatever comes.
    tick: Duration,
    woken: Instant,
    /// How long what had come by the last waking may have waited for it.
    gap: Duration,
    /// Whether something may be there that the last turn did not get to.
    pub(super) more: bool,
    /// When it woke for the first of the turns that left something.
    behind: Option<Instant>,
    /// When it last said how much it works, and how much it had worked by then.
    told: (Instant, Duration),
}

impl Rhythm {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tick: Duration::ZERO,
            woken: now,
            gap: Duration::ZERO,
            more: false,
            behind: None,
            told: (now, Duration::ZERO),
        }
    }
}

impl<H: Handler> EventLoop<H> {
    /// Has it wake at most once in `tick`. What is due or comes meanwhile is done together, so late at
    /// most: at high rates waking for each message is most of what it costs.
    #[must_use]
    pub fn ticking(mut self, tick: Duration) -> Self {
        self.rhythm.tick = tick;
        self
    }

    /// Waits until there is something to do; what has come is appended to `events`.
    pub(super) fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let mut due = self.next_due();
        let mut now = self.rhythm.woken;
        let tick = self.handler.tick(self.rhythm.tick);
        if self.rhythm.more {
            due = Some(now);
        } else if !tick.is_zero() {
            now = self.clock.now();
            let next = self.rhythm.woken + tick;
            // Who is behind does not rest.
            if due.is_none_or(|due| due > now) && next > now {
                self.clock.sleep_until(next);
                now = self.clock.now();
                due = self.next_due();
            }
            self.rhythm.gap = now.saturating_since(self.rhythm.woken);
        }
        let timeout = due.is_some_and(|due| due <= now).then_some(&AT_ONCE);
        if timeout.is_none() {
            self.alarm.set(due)?;
        }
        match epoll::wait(&self.epoll, spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
        self.rhythm.woken = self.clock.now();
        Ok(())
    }

    /// Takes note of what the turn took.
    pub(super) fn rest(&mut self) {
        let now = self.clock.now();
        let rhythm = &mut self.rhythm;
        let since = rhythm.behind.unwrap_or(rhythm.woken);
        rhythm.behind = rhythm.more.then_some(since);
        let lag = now.saturating_since(since).max(rhythm.gap);
        self.handler.turned(lag);
        let (since, had_worked) = rhythm.told;
        let passed = now.saturating_since(since);
        if passed >= TELL_EVERY {
            let worked = self.clock.worked();
            rhythm.told = (now, worked);
            let worked = worked.saturating_sub(had_worked);
            self.handler.worked(worked.as_secs_f64() / passed.as_secs_f64());
        }
    }
}
