//! Room `app`: the threads of a run, grouped in the order in which they stop.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::runtime;
use tokio::sync::mpsc::Sender;

use super::books::Bookkeeper;
use super::wiring::Parts;
use crate::clock::{Clock, Instant};
use crate::correlate::Router;
use crate::publish::{self, Line, Pacer};
use crate::shutdown::Tasks;
use crate::study::Notice;
use crate::wire::Connection;
use crate::{consume, schedule, subscribe};

/// How many words of the watch may wait for its reader.
const WORDS_MAX: usize = 16;

/// What every edge is given.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) router: Router,
    pub(super) notices: Sender<Notice>,
}

/// The groups of threads and tasks of a run.
pub(super) struct Threads {
    around: Surroundings,
    lines: Vec<(Arc<Line>, schedule::Config)>,
    stamper: crate::stamp::Stamper,
    pub(super) pacers: Tasks,
    pub(super) publishers: Tasks,
    pub(super) subscribers: Tasks,
    pub(super) consumers: Tasks,
    pub(super) books: Tasks,
}

impl Threads {
    /// Starts everything but the schedule.
    pub(super) fn start(
        parts: Parts,
        around: Surroundings,
        bookkeepers: Vec<Bookkeeper>,
    ) -> io::Result<Self> {
        let mut threads = Self {
            around,
            lines: Vec::new(),
            stamper: parts.stamper,
            pacers: Tasks::new(),
            publishers: Tasks::new(),
            subscribers: Tasks::new(),
            consumers: Tasks::new(),
            books: Tasks::new(),
        };
        for bookkeeper in bookkeepers {
            let tasks = threads.books.clone();
            threads.books.thread("books", move || bookkeeper.run(&tasks))?;
        }
        for config in parts.consumers {
            threads.consume(config)?;
        }
        threads.subscribe(parts.subscribers)?;
        threads.publish(parts.publishers)?;
        Ok(threads)
    }

    /// Starts the schedule.
    pub(super) fn pace(&self, start: Instant) -> io::Result<()> {
        let shards = self.around.router.shards().len();
        for shard in 0..shards {
            let lines = self.lines.iter().skip(shard).step_by(shards);
            let pacer = Pacer {
                clock: self.around.clock,
                stamper: self.stamper.clone(),
                router: self.around.router.clone(),
                lines: lines.cloned().collect(),
            };
            let tasks = self.pacers.clone();
            self.pacers.thread("pacer", move || publish::pace(&pacer, start, &tasks))?;
        }
        Ok(())
    }

    fn consume(&self, config: consume::Config) -> io::Result<()> {
        let (words, heard) = sync_channel(WORDS_MAX);
        let (reader, watch) = (self.around.clone(), self.around.clone());
        let (config_of_watch, stamper) = (config.clone(), self.stamper.clone());
        let (tasks, tasks_of_watch) = (self.consumers.clone(), self.consumers.clone());
        self.consumers.thread("consume", move || {
            let eyes = (reader.clock, &stamper, &reader.router);
            consume::read(&config, eyes, &heard, &reader.notices, &tasks);
        })?;
        self.consumers.thread("watch", move || {
            let Surroundings { clock, notices, .. } = watch;
            consume::watch(&config_of_watch, clock, words, notices, &tasks_of_watch);
        })
    }

    fn subscribe(&self, configs: Vec<subscribe::Config>) -> io::Result<()> {
        if configs.is_empty() {
            return Ok(());
        }
        let (around, stamper, tasks) =
            (self.around.clone(), self.stamper.clone(), self.subscribers.clone());
        run_on_thread("subscribe", &self.subscribers, move || {
            for config in configs {
                let Surroundings { clock, router, notices } = around.clone();
                let (stamper, stop) = (stamper.clone(), tasks.clone());
                tasks.spawn(subscribe::run(config, clock, stamper, router, notices, stop));
            }
        })
    }

    fn publish(&mut self, configs: Vec<(publish::Config, schedule::Config)>) -> io::Result<()> {
        let mut connections: Vec<(Arc<Line>, Connection)> = Vec::with_capacity(configs.len());
        for (config, plan) in configs {
            let (line, connection) = Line::new(config);
            self.lines.push((Arc::clone(&line), plan));
            connections.push((line, connection));
        }
        let share = connections.len().div_ceil(self.around.router.shards().len());
        while !connections.is_empty() {
            let share = connections.split_off(connections.len().saturating_sub(share));
            let (around, tasks) = (self.around.clone(), self.publishers.clone());
            run_on_thread("publish", &self.publishers, move || {
                for (line, connection) in share {
                    let Surroundings { clock, router, notices } = around.clone();
                    let stop = tasks.clone();
                    tasks.spawn(publish::run(line, connection, clock, router, notices, stop));
                }
            })?;
        }
        Ok(())
    }
}

/// Runs tasks on a runtime and thread of their own until the group has stopped and all have ended.
pub(super) fn run_on_thread(
    name: &str,
    group: &Tasks,
    spawn: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let ends = group.child();
    let stop = group.clone();
    ends.thread(name, move || {
        runtime.block_on(async {
            spawn();
            stop.stopped().await;
            stop.finished().await;
        });
    })
}
