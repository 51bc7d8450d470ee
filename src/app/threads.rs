//! Room `app`: the threads of a run, grouped in the order in which they stop.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::runtime;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::books::Bookkeeper;
use super::wiring::Parts;
use crate::clock::Clock;
use crate::correlate::Router;
use crate::publish::{self, Line, Pacer, Stretch};
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
    starts: Vec<oneshot::Sender<Stretch>>,
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
            starts: Vec::new(),
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
    pub(super) fn pace(&mut self, stretch: Stretch) {
        for pacer in self.starts.drain(..) {
            // A pacer that is gone has said why.
            let _ = pacer.send(stretch);
        }
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
        let shards = self.around.router.shards().len();
        let mut lines: Vec<(Arc<Line>, schedule::Config)> = Vec::with_capacity(configs.len());
        let mut connections: Vec<Connection> = Vec::with_capacity(configs.len());
        for (config, plan) in configs {
            let (line, connection) = Line::new(config);
            lines.push((line, plan));
            connections.push(connection);
        }
        let share = lines.len().div_ceil(shards);
        while !lines.is_empty() {
            let from = lines.len().saturating_sub(share);
            self.publish_share(lines.split_off(from), connections.split_off(from))?;
        }
        Ok(())
    }

    /// Starts a thread with some publishers and what sends their slots.
    fn publish_share(
        &mut self,
        lines: Vec<(Arc<Line>, schedule::Config)>,
        connections: Vec<Connection>,
    ) -> io::Result<()> {
        let (start, started) = oneshot::channel();
        self.starts.push(start);
        let around = self.around.clone();
        let pacer = Pacer {
            clock: around.clock,
            stamper: self.stamper.clone(),
            router: around.router.clone(),
            lines: lines.clone(),
        };
        let (pacers, publishers) = (self.pacers.clone(), self.publishers.clone());
        run_on_thread("publish", &self.publishers, move || {
            for ((line, _), connection) in lines.into_iter().zip(connections) {
                let Surroundings { clock, router, notices } = around.clone();
                let stop = publishers.clone();
                publishers.spawn(publish::run(line, connection, clock, router, notices, stop));
            }
            let stop = pacers.clone();
            pacers.spawn(async move {
                if let Err(error) = publish::pace(pacer, started, stop).await {
                    tracing::error!("no slots are sent, restart the probe: {error}");
                }
            });
        })
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
