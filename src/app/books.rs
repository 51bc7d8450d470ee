//! Room `app`: the threads that own a correlator each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::correlate::{
    Correlator, Event, Lane, PartitionName, PathId, PublisherId, Roster, Router,
};
use crate::shutdown::Tasks;
use crate::stats::{JudgedWindows, Stats};
use crate::telemetry::{Telemetry, Tracer};

use super::audit::Audit;
use super::clocks::LeaderClocks;
use super::keeper::{Keeper, Taken};
use super::recorder::News;
use super::state::Story;

/// How often observations are taken in: what is on screen is so much older at most.
const TICK: Duration = Duration::from_millis(100);
/// How long publishers may take to say that they sent a message, which may come out before they do.
const SETTLE: Duration = Duration::from_millis(5);
/// How many events are booked together: what they take stays close to the processor meanwhile.
const EVENTS_MAX: usize = 2_048;
/// How often deadlines are looked at.
const JUDGE_EVERY: Duration = Duration::from_millis(250);

/// The books of one shard, as others may see them.
pub(super) struct Books {
    stats: Mutex<Stats>,
    /// What the report has to tell beside the totals, since it was last written down.
    story: Mutex<Option<Story>>,
    /// Paths whose publishers are about to begin, and are to have leases by then.
    ready: Mutex<Vec<PathId>>,
    open_outcomes: AtomicU64,
    ticks: AtomicU64,
}

impl Books {
    pub(super) fn new(stats: Stats) -> Self {
        Self {
            stats: Mutex::new(stats),
            story: Mutex::default(),
            ready: Mutex::default(),
            open_outcomes: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
        }
    }

    pub(super) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the story written down with the next tick.
    pub(super) fn tell(&self, story: Story) {
        *self.story.lock().unwrap_or_else(PoisonError::into_inner) = Some(story);
    }

    /// Has the publishers of a path leased their first sequences with the next tick.
    pub(super) fn lease(&self, path: PathId) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// What was told since the last tick.
    fn take_news(&self, roster: &Roster) -> News {
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner).take();
        let paths = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
        if paths.is_empty() {
            return News { story, ..News::default() };
        }
        let publishers = (0..).map(PublisherId).zip(roster.publishers());
        let of_paths = publishers.filter(|(_, publisher)| paths.contains(&publisher.path));
        News { story, ready: of_paths.map(|(id, _)| id).collect(), ..News::default() }
    }

    /// Slots and lanes without an outcome, as of the last tick.
    pub(super) fn open_outcomes(&self) -> u64 {
        self.open_outcomes.load(Ordering::Acquire)
    }

    /// How often everything observed was taken in.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Acquire)
    }
}

/// One shard's correlator and what it needs.
pub(super) struct Bookkeeper {
    pub(super) clock: Clock,
    pub(super) router: Router,
    pub(super) shard: usize,
    pub(super) books: Arc<Books>,
    pub(super) correlator: Correlator,
    /// What writes everything down, where state is kept.
    pub(super) keeper: Option<Keeper>,
    pub(super) clocks: LeaderClocks,
    pub(super) telemetry: Telemetry,
    pub(super) audit: Option<Arc<Audit>>,
    pub(super) tracer: Option<Tracer>,
    /// What is booked as if it had happened.
    pub(super) invented: Vec<Event>,
    /// For each path and lane that ends in Kafka, who looks for missing messages once more.
    pub(super) second_looks: Vec<((PathId, Lane), SyncSender<Instant>)>,
}

impl Bookkeeper {
    /// Takes in observations until told to stop, then gives what is open its last outcome. Blocks
    /// its thread.
    pub(super) fn run(mut self, tasks: &Tasks) {
        let (mut received, mut published) = (Vec::new(), Vec::new());
        let mut events = std::mem::take(&mut self.invented);
        let mut judged = self.clock.now();
        loop {
            let stopping = tasks.stopping();
            // What was received is fetched first and looked at last, so that whatever was observed of
            // a message's sending is known before its arrival.
            let shard = &self.router.shards()[self.shard];
            shard.receive.swap(&mut received);
            self.clock.sleep_until(self.clock.now() + SETTLE);
            shard.publish.swap(&mut published);
            let now = self.clock.now();
            let judges = stopping || now >= judged + JUDGE_EVERY;
            let judged_at = judges.then_some(now);
            let taken = Taken { published: &published, received: &received, judged: judged_at };
            self.record(taken, now);
            for row in &published {
                self.correlator.observe_row(row, &mut events);
                self.book_many(&mut events);
            }
            for observation in &received {
                self.correlator.observe(observation, &mut events);
                self.book_many(&mut events);
            }
            if judges {
                judged = now;
                self.correlator.advance(now, &mut events);
                self.have_looked_again();
            }
            if stopping {
                self.correlator.finish(&mut events);
            }
            self.book(&mut events);
            self.take_stock();
            if stopping {
                if let Some(tracer) = &mut self.tracer {
                    tracer.finish(&self.clock.pairing());
                }
                let shard = &self.router.shards()[self.shard];
                shard.publish.close();
                shard.receive.close();
                return;
            }
            self.clock.sleep_until(now + TICK);
        }
    }

    /// Writes down what this tick takes in, where state is kept.
    fn record(&mut self, taken: Taken<'_>, now: Instant) {
        if self.shard > 0 {
            return;
        }
        // Taken whether they are kept or not: nobody else does.
        let (names, leaders) = (self.router.take_names(), self.clocks.take_leaders());
        for PartitionName { path, lane, slot, topic, partition, .. } in &names {
            let named = (topic.clone(), *partition);
            self.clocks.lock().name_partition((*path, *lane), *slot, named);
        }
        let Some(keeper) = &mut self.keeper else { return };
        let news = News { names, leaders, ..self.books.take_news(self.router.roster()) };
        keeper.keep(taken, news, (&self.correlator, &self.books, &self.clocks), now);
    }

    /// Has missing messages looked for once more, before they are called lost.
    fn have_looked_again(&self) {
        for &((path, lane), ref ask) in &self.second_looks {
            if let Some(since) = self.correlator.missing_since(path, lane) {
                // Where there is no room it is asked again soon.
                let _ = ask.try_send(since);
            }
        }
    }

    /// Books what there is, if it is much.
    #[inline]
    fn book_many(&mut self, events: &mut Vec<Event>) {
        if events.len() >= EVENTS_MAX {
            self.book(events);
        }
    }

    fn book(&mut self, events: &mut Vec<Event>) {
        self.clocks.lock().apply(self.router.roster(), events);
        self.books.stats().apply(events);
        self.telemetry.apply(events);
        if let Some(audit) = &self.audit {
            audit.apply(events);
        }
        if let Some(tracer) = self.tracer.as_mut().filter(|_| !events.is_empty()) {
            tracer.apply(events, &self.clock.pairing());
        }
        events.clear();
    }

    /// Says where things stand at the end of a tick.
    fn take_stock(&self) {
        let (correlator, roster) = (&self.correlator, self.router.roster());
        let mut stats = self.books.stats();
        for (path, qos, lane) in stats.measured().collect::<Vec<_>>() {
            stats.set_in_flight(path, qos, lane, correlator.in_flight(path, qos, lane));
        }
        for (path, described) in (0..).map(PathId).zip(roster.paths()) {
            let of_kafka = described.lanes.iter().filter(|lane| lane.ends_in_kafka());
            let caught_up = of_kafka.map(|&lane| correlator.caught_up(path, lane)).min();
            if let Some(caught_up) = caught_up {
                stats.set_caught_up(path, caught_up);
            }
        }
        drop(stats);
        self.books.open_outcomes.store(correlator.open_outcomes(), Ordering::Release);
        self.books.ticks.fetch_add(1, Ordering::Release);
    }
}

/// The totals of all shards, with quantiles over their common windows.
pub(super) struct Overview {
    pub(super) stats: Stats,
    rolled: Instant,
}

impl Overview {
    /// Goes on behind windows that were judged before.
    pub(super) fn new(roster: Arc<Roster>, now: Instant, before: JudgedWindows) -> Self {
        let mut stats = Stats::new(roster);
        stats.go_on_behind(before);
        Self { stats, rolled: now }
    }

    /// Adds up the shards as they stand.
    pub(super) fn refresh(&mut self, shards: &[Arc<Books>]) {
        self.stats.renew();
        for books in shards {
            self.stats.merge(&books.stats());
        }
    }

    /// The first window begins.
    pub(super) fn begin(&mut self, at: Instant) {
        self.rolled = at;
    }

    /// Adds up the shards at the end of a window, and begins the next one in them. The windows of the
    /// paths can then be judged, before [`Overview::roll`].
    pub(super) fn take_window(&mut self, shards: &[Arc<Books>]) {
        self.stats.renew();
        for books in shards {
            let mut stats = books.stats();
            self.stats.merge(&stats);
            stats.end_window();
        }
    }

    /// Ends the window at `now`.
    pub(super) fn roll(&mut self, now: Instant) {
        let length = now.saturating_since(self.rolled);
        self.rolled = now;
        self.stats.roll(length.as_secs().max(1));
    }

    /// When the current window began.
    pub(super) fn rolled(&self) -> Instant {
        self.rolled
    }
}
