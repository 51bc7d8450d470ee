//! Room `produce` (edge): the control lane: messages that go straight to Kafka, one path's.
//!
//! # Design
//!
//! Each publisher over MQTT has a twin here with the same schedule and payloads: what the way over MQTT
//! adds is the difference. Two threads a path. One *paces*: it is woken when a slot is due, as the
//! publishers' threads are, and hands the message to librdkafka, which copies it and never blocks. The
//! other *answers*: it owns the client, hears what became of each message the moment that Kafka says
//! so, and whether the connections stand. Twins share one client, which is no consumer's.
//!
//! * Sent is a message when librdkafka takes it, read before that: nothing else is told of its socket.
//!   While Kafka is away messages wait there, up to the size of its queue, and count from when they were
//!   due.
//! * The producer is not an idempotent one. librdkafka lets five messages of such a producer be on their way
//!   to a partition, and while one more waits its thread asks all the time whether it may go: with a Kafka
//!   that is slow for a moment the probe then takes a whole CPU from it, and makes it slow. What is sent
//!   again after an interruption may so come out twice, or after a later one; the books call such a copy
//!   what it is, our own.
//! * Messages take turns over all partitions at random, and with them over the leaders, each of whose
//!   clocks is to be known. A slow connection is not to be the first message's: all are made before
//!   the path begins.

mod client;
mod pacer;
mod reports;
mod standing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::producer::BaseProducer;
use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::correlate::{Leases, PathId, PublisherId, Router};
use crate::schedule;
use crate::stamp::{Format, Stamper};
use crate::study::Notice;

pub use client::{OWNED, answer, check};
pub use pacer::pace;

use reports::Reports;

/// What one path produces, and where to.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path.
    pub path: PathId,
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// The control topic.
    pub topic: String,
    /// Properties of librdkafka, with secrets in the clear: never to be printed.
    pub properties: Properties,
    /// Client id.
    pub client_id: String,
    /// Who sends, and when.
    pub twins: Vec<(Twin, schedule::Config)>,
    /// How payloads are written.
    pub format: Format,
    /// How large they are, in bytes.
    pub size: usize,
    /// How many messages may wait for Kafka.
    pub queue: usize,
    /// How long each may.
    pub patience: Duration,
}

/// A control publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Who it is in the roster.
    pub publisher: PublisherId,
    /// Its index within the path, as the stamp has it.
    pub index: u32,
}

/// Properties of librdkafka.
#[derive(Clone, Default)]
pub struct Properties(pub Vec<(String, String)>);

impl std::fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What the threads are given.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where they read the time.
    pub clock: Clock,
    /// What makes their stamps.
    pub stamper: Stamper,
    /// Where they report.
    pub router: Router,
    /// Where they say that Kafka is there, or not.
    pub notices: Sender<Notice>,
    /// How far twins may number their slots, where state outlives the process.
    pub leases: Option<Arc<Leases>>,
}

/// The client of a path, which one thread owns and the other hands messages to; none while there is
/// none. Clones are the same.
#[derive(Clone, Default)]
pub struct Line(Arc<Mutex<Option<Arc<BaseProducer<Reports>>>>>);

impl Line {
    fn producer(&self) -> Option<Arc<BaseProducer<Reports>>> {
        self.lock().clone()
    }

    fn set(&self, producer: Option<Arc<BaseProducer<Reports>>>) {
        *self.lock() = producer;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<BaseProducer<Reports>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
