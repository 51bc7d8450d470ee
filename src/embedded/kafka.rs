//! Room `embedded` (edge): Kafka in memory, on one node, for `landfall demo`, `selftest` and tests.
//!
//! Producers (idempotent ones too), consumers and classic consumer groups of the usual clients work
//! with it. It has no transactions, no topic ids, no fetch sessions, no authentication and no
//! replicas, it forgets everything when it ends, and it drops the oldest records rather than grow
//! beyond its caps. Static group members are treated as dynamic ones.
//!
//! # Design
//!
//! librdkafka's own mock cluster does not wake a waiting Fetch when records come, so that half of
//! the fetch wait would show as latency. Here a Fetch is woken by the append that it waits for.
//!
//! Requests of a connection are answered one after the other, as Kafka does: a waiting Fetch delays
//! what its client sends behind it.

mod admin;
mod api;
mod batch;
mod connection;
mod coordinator;
mod group;
mod hooks;
mod log;
mod offsets;
mod producers;
mod records;
mod shape;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

pub use batch::TimestampType;
pub use hooks::{BatchInfo, Fetched, Hooks, Released, Verdict};
/// An error that a broker answers, by Kafka's name; [`Verdict::Refuse`] takes one.
pub use kafka_protocol::ResponseError;

use crate::clock::{Clock, Instant};
use crate::shutdown::Tasks;
use coordinator::Groups;
use hooks::locked;
use store::Store;

/// Connections open at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 1_024;

/// A topic that is there from the start.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Partitions, and where timestamps come from.
    pub defaults: TopicDefaults,
    /// Settings that the topic tells when asked (`retention.ms`, `cleanup.policy`, ...) beside
    /// those that follow from this configuration. They are not acted on.
    pub settings: BTreeMap<String, String>,
}

impl Topic {
    /// A topic with so many partitions and LogAppendTime.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        let defaults = TopicDefaults { partitions, ..TopicDefaults::default() };
        Self { name: name.into(), defaults, settings: BTreeMap::new() }
    }
}

/// What a topic is like where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct TopicDefaults {
    /// Number of partitions.
    pub partitions: i32,
    /// Where timestamps come from.
    pub timestamps: TimestampType,
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self { partitions: 1, timestamps: TimestampType::LogAppendTime }
    }
}

/// How the embedded Kafka is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// A loopback address; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Topics that are there from the start.
    pub topics: Vec<Topic>,
    /// What topics become that a client asks for by name; with `None` they are unknown.
    pub auto_create: Option<TopicDefaults>,
    /// Memory for records of all partitions, in bytes, with about 100 for each batch.
    pub bytes_max: usize,
    /// The same of each partition.
    pub partition_bytes_max: usize,
    /// The largest produce request, in bytes; a larger one closes its connection.
    pub request_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            topics: Vec::new(),
            auto_create: None,
            bytes_max: 64 << 20,
            partition_bytes_max: 16 << 20,
            request_bytes_max: 16 << 20,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Broker {
    address: SocketAddr,
    auto_create: Option<TopicDefaults>,
    request_bytes_max: usize,
    clock: Clock,
    hooks: Hooks,
    store: Mutex<Store>,
    /// Tells that a batch is held back, so that somebody has to open it in time.
    held: Notify,
    groups: Mutex<Groups>,
    /// Tells that some group has changed.
    regrouped: Notify,
}

/// An in-memory Kafka that is bound, and not yet serving.
#[derive(Debug)]
pub struct Kafka {
    listener: TcpListener,
    broker: Arc<Broker>,
}

impl Kafka {
    /// Takes the address and creates the topics. Clients may connect from now on; they are answered
    /// when [`Kafka::serve`] runs.
    ///
    /// # Errors
    ///
    /// When the address is not a loopback one or can't be had, or a topic is not valid.
    pub async fn bind(config: Config, clock: Clock) -> io::Result<Self> {
        let invalid = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
        if !config.listen.ip().is_loopback() {
            let message = "the embedded Kafka has no authentication: it listens on loopback only";
            return Err(invalid(format!("{message}, not on {}", config.listen)));
        }
        let mut store = Store::new(config.bytes_max, config.partition_bytes_max);
        for Topic { name, defaults, settings } in config.topics {
            let TopicDefaults { partitions, timestamps } = defaults;
            store.create(&name, partitions, timestamps, settings, false).map_err(|error| {
                invalid(format!("embedded Kafka: topic {name:?}, {partitions} partitions: {error}"))
            })?;
        }
        let listener = TcpListener::bind(config.listen).await?;
        let broker = Arc::new(Broker {
            address: listener.local_addr()?,
            auto_create: config.auto_create,
            request_bytes_max: config.request_bytes_max,
            clock,
            hooks: Hooks::new(),
            store: Mutex::new(store),
            held: Notify::new(),
            groups: Mutex::new(Groups::default()),
            regrouped: Notify::new(),
        });
        Ok(Self { listener, broker })
    }

    /// Where clients connect (`bootstrap.servers`).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.broker.address
    }

    /// The handle on its faults.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        self.broker.hooks.clone()
    }

    /// Serves until `tasks` stop, with a task of theirs for each connection.
    pub async fn serve(self, tasks: Tasks) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let opening = self.broker.open_held();
        let accepting = async {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else {
                    // Out of descriptors, most likely: give connections time to end.
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    continue;
                };
                if let Ok(permit) = Arc::clone(&connections).try_acquire_owned() {
                    let (broker, stopping) = (Arc::clone(&self.broker), tasks.clone());
                    tasks.spawn(async move {
                        connection::serve(broker, stream, &stopping).await;
                        drop(permit);
                    });
                }
            }
        };
        tokio::select! {
            () = tasks.stopped() => {}
            () = opening => {}
            () = accepting => {}
        }
    }
}

impl Broker {
    fn store<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut locked(&self.store))
    }

    /// Opens batches that are held back, each in its time; never ends.
    async fn open_held(&self) {
        loop {
            let next = self.store(|store| store.open_due(&self.hooks, self.clock));
            self.wait_for(&self.held, next).await;
        }
    }

    /// Waits for a word, but not beyond a deadline.
    async fn wait_for(&self, word: &Notify, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => {
                let left = deadline.saturating_since(self.clock.now());
                // Both ends of the wait are good ones.
                let _ = tokio::time::timeout(left, word.notified()).await;
            }
            None => word.notified().await,
        }
    }
}
