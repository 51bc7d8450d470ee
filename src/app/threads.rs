//! Room `app`: the threads of a run, grouped in the order in which they stop.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender as Teller, channel, sync_channel};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::mpsc::Sender;

use super::books::Bookkeeper;
use super::teams::{self, Team};
use super::wiring::Parts;
use crate::clock::{Clock, Instant};
use crate::correlate::{Bystander, Leases, PathId, Router};
use crate::journal::Syncer;
use crate::publish;
use crate::schedule::{self, Stretch};
use crate::shutdown::Tasks;
use crate::study::Notice;
use crate::telemetry::Telemetry;
use crate::wire::Bell;
use crate::{background, consume, produce, subscribe};

/// How many words of the watch may wait for each of its readers.
const WORDS_MAX: usize = 16;

/// How many questions for a second look may wait: they are put again and again.
const ASKED_MAX: usize = 16;

/// What every edge is given.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) router: Router,
    pub(super) notices: Sender<Notice>,
    /// How far publishers may number their slots, where state is kept.
    pub(super) leases: Option<Arc<Leases>>,
    /// Whether the MQTT sessions are those of a process that was killed.
    pub(super) takes_over: bool,
    /// Whose records are timed by a clock that is set back, and by how much.
    pub(super) set_back: Option<(PathId, Duration)>,
}

impl Surroundings {
    pub(super) fn new(
        clock: Clock,
        (router, notices): (Router, Sender<Notice>),
        (leases, takes_over): (Option<Arc<Leases>>, bool),
        set_back: Option<(PathId, Duration)>,
    ) -> Self {
        Self { clock, router, notices, leases, takes_over, set_back }
    }

    /// The same for who reads the records of a path.
    fn of_reader(&self, path: PathId) -> Self {
        let by = self.set_back.filter(|&(of, _)| of == path).map(|(_, by)| by);
        Self { clock: by.map_or(self.clock, |by| self.clock.set_back(by)), ..self.clone() }
    }
}

/// The groups of threads and tasks of a run.
pub(super) struct Threads {
    around: Surroundings,
    starts: Vec<(Teller<Stretch>, Bell)>,
    stamper: crate::stamp::Stamper,
    pub(super) pacers: Tasks,
    pub(super) publishers: Tasks,
    pub(super) subscribers: Tasks,
    pub(super) consumers: Tasks,
    pub(super) books: Tasks,
    /// What becomes of clients that measure nothing.
    bystanders: Vec<(PathId, Bystander, background::Tally)>,
}

impl Threads {
    /// Starts everything but the schedule.
    pub(super) fn start(
        parts: Parts,
        around: Surroundings,
        (mut bookkeepers, syncer): (Vec<Bookkeeper>, Option<Syncer>),
    ) -> io::Result<Self> {
        let mut threads = Self {
            around,
            starts: Vec::new(),
            stamper: parts.stamper,
            pacers: Tasks::new(),
            publishers: Tasks::new(),
            subscribers: Tasks::new(),
            consumers: Tasks::new(),
            books: Tasks::new(),
            bystanders: Vec::new(),
        };
        for config in parts.consumers {
            let (ask, asked) = sync_channel(ASKED_MAX);
            for bookkeeper in &mut bookkeepers {
                bookkeeper.second_looks.push(((config.path, config.lane), ask.clone()));
            }
            threads.consume(config, asked)?;
        }
        for bookkeeper in bookkeepers {
            let tasks = threads.books.clone();
            threads.books.thread("books", move || bookkeeper.run(&tasks))?;
        }
        if let Some(syncer) = syncer {
            threads.books.thread("journal", move || syncer.run())?;
        }
        for config in parts.producers {
            threads.produce(config)?;
        }
        threads.subscribe(parts.subscribers)?;
        threads.publish(teams::of(parts.publishers))?;
        threads.stand_by(parts.background)?;
        Ok(threads)
    }

    /// Starts the schedule of a path.
    pub(super) fn pace(&self, stretch: Stretch) {
        for (pacer, bell) in &self.starts {
            // A pacer that is gone has said why.
            let _ = pacer.send(stretch);
            bell.ring();
        }
    }

    fn consume(&self, config: consume::Config, asked: Receiver<Instant>) -> io::Result<()> {
        let seen = consume::Seen::default();
        self.look_again(config.clone(), asked, seen.clone())?;
        let reader = self.around.of_reader(config.path);
        let mut words = Vec::new();
        for member in consume::members(&config) {
            let (tell, heard) = sync_channel(WORDS_MAX);
            words.push(tell);
            let (config, reader) = (config.clone(), reader.clone());
            let (stamper, tasks) = (self.stamper.clone(), self.consumers.clone());
            self.consumers.thread("consume", move || {
                let eyes = (reader.clock, &stamper, &reader.router);
                consume::read(&config, eyes, (&heard, member), &reader.notices, &tasks);
            })?;
        }
        let tasks = self.consumers.clone();
        self.consumers.thread("watch", move || {
            let Surroundings { clock, notices, .. } = reader;
            consume::watch(&config, clock, (words, seen), notices, &tasks);
        })
    }

    fn look_again(
        &self,
        config: consume::Config,
        asked: Receiver<Instant>,
        seen: consume::Seen,
    ) -> io::Result<()> {
        let Surroundings { clock, router, notices, .. } = self.around.clone();
        let (stamper, tasks) = (self.stamper.clone(), self.consumers.clone());
        self.consumers.thread("second-look", move || {
            let eyes = (clock, &stamper, &router);
            consume::look_again(&config, eyes, (&asked, &seen), &notices, &tasks);
        })
    }

    /// Starts the two threads of a path's control messages, which stop as publishers do.
    fn produce(&mut self, config: produce::Config) -> io::Result<()> {
        let Surroundings { clock, router, notices, leases, .. } = self.around.clone();
        let stamper = self.stamper.clone();
        let around = produce::Surroundings { clock, stamper, router, notices, leases };
        let (start, told) = channel();
        let (line, bell) = (produce::Line::default(), Bell::new()?);
        self.starts.push((start, bell.clone()));
        let (pacing, tasks) = (self.pacers.clone(), self.publishers.clone());
        let held = pacing.hold();
        ring_at_stop(&pacing, &bell);
        ring_at_stop(&tasks, &bell);
        let (answers, answering) = ((config.clone(), line.clone(), around.clone()), tasks.clone());
        self.publishers.thread("answer", move || {
            let (config, line, around) = answers;
            produce::answer(&config, &line, &around, &answering);
        })?;
        self.publishers.thread("produce", move || {
            let (to, starts) = ((&line, &around), (&told, &bell));
            if let Err(error) = produce::pace(&config, to, starts, (&pacing, held), &tasks) {
                tracing::error!("no control messages are sent, restart the probe: {error}");
            }
        })
    }

    fn subscribe(&self, configs: Vec<subscribe::Config>) -> io::Result<()> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        for share in subscribe::deal(configs, processors) {
            let Surroundings { clock, router, notices, takes_over, .. } = self.around.clone();
            let stamper = self.stamper.clone();
            let around = subscribe::Surroundings { clock, stamper, router, notices, takes_over };
            let bell = Bell::new()?;
            ring_at_stop(&self.subscribers, &bell);
            let tasks = self.subscribers.clone();
            self.subscribers.thread("subscribe", move || {
                if let Err(error) = subscribe::run(share, around, bell, &tasks) {
                    tracing::error!("nothing is received over MQTT, restart the probe: {error}");
                }
            })?;
        }
        Ok(())
    }

    /// Starts the clients that measure nothing, which stop as subscribers do.
    fn stand_by(&mut self, configs: Vec<background::Config>) -> io::Result<()> {
        if configs.is_empty() {
            return Ok(());
        }
        let tally = |it: &background::Config| (it.path, it.kind, it.tally.clone());
        self.bystanders = configs.iter().map(tally).collect();
        let Surroundings { clock, router, notices, takes_over, .. } = self.around.clone();
        let around = background::Surroundings { clock, router, notices, takes_over };
        let bell = Bell::new()?;
        ring_at_stop(&self.subscribers, &bell);
        let tasks = self.subscribers.clone();
        self.subscribers.thread("background", move || {
            if let Err(error) = background::run(configs, around, bell, &tasks) {
                tracing::error!("no background clients are there, restart the probe: {error}");
            }
        })
    }

    /// Exports what became of the clients that measure nothing.
    pub(super) fn count_bystanders(&self, telemetry: &Telemetry) {
        for (path, kind, tally) in &self.bystanders {
            let background::Counts { received, connected } = tally.counts();
            telemetry.set_bystanders((*path, *kind), received, connected);
        }
    }

    fn publish(&mut self, teams: Vec<Team>) -> io::Result<()> {
        for Team { publishers, tick } in teams {
            let (start, told) = channel();
            let bell = Bell::new()?;
            self.starts.push((start, bell.clone()));
            self.publish_share(publishers, (told, tick), bell)?;
        }
        Ok(())
    }

    /// Starts a thread with some publishers.
    fn publish_share(
        &self,
        publishers: Vec<(publish::Config, schedule::Config)>,
        told: (Receiver<Stretch>, Duration),
        bell: Bell,
    ) -> io::Result<()> {
        let Surroundings { clock, router, notices, leases, takes_over, .. } = self.around.clone();
        let stamper = self.stamper.clone();
        let around = publish::Surroundings { clock, stamper, router, notices, leases, takes_over };
        let (pacing, tasks) = (self.pacers.clone(), self.publishers.clone());
        // From here on, so that nobody takes pacing for finished before the thread has begun.
        let held = pacing.hold();
        ring_at_stop(&pacing, &bell);
        ring_at_stop(&tasks, &bell);
        self.publishers.thread("publish", move || {
            let pacing = (pacing, held);
            if let Err(error) = publish::run(publishers, around, told, bell, pacing, &tasks) {
                tracing::error!("no slots are sent, restart the probe: {error}");
            }
        })
    }
}

/// Wakes an event loop when its group is to stop.
pub(super) fn ring_at_stop(group: &Tasks, bell: &Bell) {
    let (stop, bell) = (group.clone(), bell.clone());
    group.spawn(async move {
        stop.stopped().await;
        bell.ring();
    });
}

/// Runs tasks on a runtime and thread of their own until the group has stopped and all have ended.
pub(super) fn run_on_thread(
    name: &str,
    group: &Tasks,
    spawn: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let ends = group.child();
    let (stop, held) = (group.clone(), group.hold());
    ends.thread(name, move || {
        runtime.block_on(async {
            spawn();
            drop(held);
            stop.stopped().await;
            stop.finished().await;
        });
    })
}
