//! Room `app`: keeps state on disk as long as the disk lets it, and says when it does not.
//!
//! # Design
//!
//! What is measured never depends on what is kept. Where nothing can be written, state goes as a whole:
//! with a gap in it the next process would invent losses, or give out a sequence twice. Publishers then
//! need no leases, everything else goes on, and a fresh snapshot is tried, again and again and ever more
//! seldom, until there is room for it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::books::Books;
use super::clocks::LeaderClocks;
use super::logging::RECOVERY;
use super::recorder::{Holdings, News, Recorder};
use crate::clock::Instant;
use crate::correlate::{Correlator, Observation, Row};
use crate::telemetry::{Component, Health, Telemetry};

/// When a fresh snapshot is first tried; each time that fails the wait is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait; and how long state must have been kept before the next wait is a short one.
const RETRY_LAST: Duration = Duration::from_mins(1);

/// What a tick takes in.
#[derive(Clone, Copy)]
pub(super) struct Taken<'a> {
    pub(super) published: &'a [Row],
    pub(super) received: &'a [Observation],
    /// The moment at which deadlines are looked at, if they are.
    pub(super) judged: Option<Instant>,
}

/// Whether state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    Since(Instant),
    /// Not since the one moment; tried again at the other.
    Paused {
        since: Instant,
        retry: Instant,
    },
}

/// Keeps the state of a run.
pub(super) struct Keeper {
    recorder: Recorder,
    directory: PathBuf,
    telemetry: Telemetry,
    health: Health,
    keeping: Keeping,
    wait: Duration,
}

impl Keeper {
    /// State is kept from `now` on.
    pub(super) fn new(
        recorder: Recorder,
        directory: PathBuf,
        (telemetry, health): (Telemetry, Health),
        now: Instant,
    ) -> Self {
        telemetry.dropped(Component::Journal.name(), "not_written", 0);
        let (keeping, wait) = (Keeping::Since(now), RETRY_FIRST);
        let keeper = Self { recorder, directory, telemetry, health, keeping, wait };
        keeper.show(true, "state is kept");
        keeper
    }

    /// Writes down what a tick takes in, before anything follows from it; waits for nothing.
    pub(super) fn keep(
        &mut self,
        taken: Taken<'_>,
        mut news: News,
        (correlator, books, clocks): (&Correlator, &Books, &LeaderClocks),
        now: Instant,
    ) {
        if let Keeping::Paused { retry, .. } = self.keeping
            && now < retry
        {
            self.leave_out(news);
            return;
        }
        let is_paused = matches!(self.keeping, Keeping::Paused { .. });
        if is_paused || self.recorder.is_long() {
            let (stats, clocks) = (books.stats(), clocks.lock());
            let of = Holdings { correlator, stats: &stats, clocks: &clocks };
            let renewed = if is_paused {
                self.recorder.resume(of).map(|begun| news.ready.extend(begun))
            } else {
                self.recorder.renew(of)
            };
            drop((stats, clocks));
            if let Err(error) = renewed {
                self.leave_out(news);
                self.pause(&error, now);
                return;
            }
        }
        let Taken { published, received, judged } = taken;
        match self.recorder.record((published, received), judged, news, correlator) {
            Ok(()) => self.kept(now),
            Err(error) => {
                self.leave_out(News::default());
                self.pause(&error, now);
            }
        }
        if let Some(trouble) = self.recorder.take_trouble() {
            tracing::warn!(
                "state_dir: state is not forced to the disk: {trouble}; it survives a kill, and not \
                 that the machine loses its power"
            );
        }
    }

    /// A tick was written down.
    fn kept(&mut self, now: Instant) {
        match self.keeping {
            Keeping::Since(since) if now >= since + RETRY_LAST => self.wait = RETRY_FIRST,
            Keeping::Since(_) => (),
            Keeping::Paused { since, .. } => {
                let away_seconds = now.saturating_since(since).as_secs_f64();
                tracing::info!(target: RECOVERY, away_seconds, "state_dir: state is kept again");
                self.telemetry.reconnected(Component::Journal);
                self.show(true, "state is kept");
                self.keeping = Keeping::Since(now);
            }
        }
    }

    /// A tick was not written down, but for what the next snapshot has to tell.
    fn leave_out(&mut self, news: News) {
        self.recorder.note(news);
        self.telemetry.dropped(Component::Journal.name(), "not_written", 1);
    }

    /// Goes on without state until there is room for it again.
    fn pause(&mut self, error: &io::Error, now: Instant) {
        let directory = self.directory.display();
        let since = if let Keeping::Paused { since, .. } = self.keeping {
            since
        } else {
            tracing::warn!(
                "state_dir: state is not kept any more: {error}; free space in {directory}, or let the \
                 probe write there; it measures on and tries again by itself, and until then a kill \
                 loses what is known of this run"
            );
            now
        };
        // Each time, since a fresh snapshot may have found room, and the frame behind it none.
        if let Err(error) = self.recorder.suspend() {
            tracing::error!(
                "state_dir: old state could not be removed: {error}; empty {directory} before the next \
                 start, which would go on with it"
            );
        }
        self.show(false, &format!("state is not kept: {error}; it is tried again by itself"));
        self.keeping = Keeping::Paused { since, retry: now + self.wait };
        self.wait = (self.wait * 2).min(RETRY_LAST);
    }

    fn show(&self, up: bool, reason: &str) {
        self.telemetry.component_up(Component::Journal, up);
        self.health.set(Component::Journal, up, reason);
    }
}
