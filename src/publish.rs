//! Room `publish` (edge): sends stamped messages at their intended times.
//!
//! # Design
//!
//! Publishers have threads of their own, one a shard, each with one [`EventLoop`]: it is woken when a
//! slot is due, generates the payload, writes it to the socket and reports when, and it reports what
//! the broker answers. Pacing and connections share a thread because handing each message to another
//! one costs a wake-up, which is most of what a message costs at the rates of a sidecar, and some
//! 50 us.

mod bare;
mod composer;
mod lateness;
mod pacer;
mod probe;
mod rooms;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::correlate::{Leases, PublisherId, Qos, Router};
use crate::schedule::{self, Stretch};
use crate::shutdown::{Hold, Tasks};
use crate::stamp::{Format, Stamper};
use crate::study::Notice;
use crate::wire::{Bell, Client, Endpoint, EventLoop, Sending, Session};

pub use bare::{Tally, bare};
pub use probe::{SEQUENCE, Seen, Sight, probe};

use composer::Composer;
use pacer::{Pacer, Publisher};

/// What one publisher sends, and where to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is in the roster.
    pub publisher: PublisherId,
    /// Index of its path, as the stamp has it.
    pub path: u8,
    /// Its index within the path, as the stamp has it.
    pub index: u32,
    /// The broker.
    pub endpoint: Endpoint,
    /// Its connection.
    pub session: Session,
    /// The topic it publishes to.
    pub topic: String,
    /// The QoS it publishes with.
    pub qos: Qos,
    /// How its payloads are written.
    pub format: Format,
    /// How large they are, in bytes.
    pub size: usize,
    /// How late a message may be sent at most, so that others are sent with it: for its thread.
    pub tick: Duration,
    /// Whether the broker is to keep the last one of its topic, until goodbye.
    pub retain: bool,
}

/// What publishers are given.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where they read the time.
    pub clock: Clock,
    /// What makes their stamps.
    pub stamper: Stamper,
    /// Where they report.
    pub router: Router,
    /// Where they say that they are connected, or not.
    pub notices: Sender<Notice>,
    /// How far they may number their slots, where state outlives the process.
    pub leases: Option<Arc<Leases>>,
    /// Whether a process before this one had their MQTT sessions and ended without goodbye.
    pub takes_over: bool,
}

/// Keeps publishers connected and sends every slot of the stretches that `told` tells as it comes due,
/// until the group of `pacing` is told to stop, waking at most once in `tick`; its hold is let go when
/// what was due by then is sent. It goes on reporting what happens to their messages until `tasks` is;
/// then they say goodbye and let the broker forget their sessions. `bell` must be rung at each of the
/// three.
///
/// # Errors
///
/// When the system has no descriptor, timer or thread to give.
pub fn run(
    publishers: Vec<(Config, schedule::Config)>,
    around: Surroundings,
    (told, tick): (Receiver<Stretch>, Duration),
    bell: Bell,
    pacing: (Tasks, Hold),
    tasks: &Tasks,
) -> io::Result<()> {
    let (clock, stamper) = (around.clock, Arc::new(around.stamper.clone()));
    let described = publishers.iter().map(|(config, _)| Publisher {
        id: config.publisher,
        path: config.path,
        qos: config.qos,
        inflight: config.session.inflight,
    });
    let described = described.collect();
    let (configs, plans): (Vec<_>, Vec<_>) = publishers.into_iter().unzip();
    let takes_over = around.takes_over;
    let pacer = Pacer::new(described, plans, around, told, pacing);
    let clients = configs.into_iter().map(|config| client(config, &stamper));
    let event_loop = EventLoop::new(clock, pacer, clients, bell)?.ticking(tick);
    if takes_over { event_loop.taking_over() } else { event_loop }.run(tasks)
}

fn client(config: Config, stamper: &Arc<Stamper>) -> Client<Composer> {
    let source = Composer::new(
        Arc::clone(stamper),
        (config.path, config.index),
        (config.format, config.size),
    );
    let sending = Sending { topic: config.topic, qos: config.qos, source };
    let client = Client::new(config.endpoint, config.session, sending);
    if config.retain { client.retaining() } else { client }
}
