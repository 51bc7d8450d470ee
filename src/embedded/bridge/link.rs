//! Room `embedded` (edge): a link with known faults between the bridge's two sides.
//!
//! # Design
//!
//! It decides on each message by its route, the order of arrival on it, and a seed, and on nothing
//! else, so that the same seed does the same again. What it did stands in a ledger of its own, by the
//! trace id that the message came with, together with where Kafka says that the record lies; Kafka's
//! hooks tell when that record was let go. So the truth about a message is known without asking
//! whoever measures it.
//!
//! What is held back is in memory, and its acknowledgement with it: there is never more of it than the
//! bridge may have in flight.

mod fate;
mod log;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::sync::{Notify, watch};

use super::kafka::{Delivery, Kafka};
use super::ledger::Ticket;
use crate::clock::{Clock, Instant};

pub use fate::Faults;
pub use log::{Facts, Landed, LinkLog, Passage};

use fate::{Fate, Fault};

/// How many passages are remembered.
const PASSAGES_MAX: usize = 1_000_000;
/// What is in a record of somebody else.
const STRANGER: &[u8] = b"nothing that anybody stamped";
/// Where the trace id is in a `traceparent`.
const TRACE_ID: std::ops::Range<usize> = 3..35;

/// Where messages of some MQTT topics go, and what happens to them on the way.
#[derive(Clone, Debug)]
pub struct Route {
    /// How their MQTT topics begin.
    pub prefix: String,
    /// The Kafka topic.
    pub topic: String,
    /// What happens to them.
    pub faults: Faults,
}

/// A fault link, to be given to a bridge; copies act on the same one, from any thread.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    seed: u64,
    routes: Vec<(Route, Arc<str>)>,
    state: Mutex<State>,
    /// Tells that something is held that may be due first.
    changed: Notify,
    /// Tells that a first message has come.
    begun: watch::Sender<Option<Instant>>,
    killed: watch::Sender<bool>,
}

struct State {
    held: BinaryHeap<Held>,
    /// How many messages and records were held so far.
    serial: u64,
    /// Messages so far, by route.
    arrived: Vec<u64>,
    /// Until when everything is held back, by route.
    stalled: Vec<Instant>,
    is_mute: bool,
    log: LinkLog,
}

/// Something to be produced when its time comes.
struct Held {
    due: Instant,
    serial: u64,
    topic: Arc<str>,
    publish: Publish,
    delivery: Delivery,
}

impl Held {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.serial)
    }
}

/// What is due first is the greatest.
impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

/// What the ledger is told when Kafka has a record.
pub(super) struct Note {
    link: Link,
    what: Noted,
    /// When the record was given to the producer.
    handed: Instant,
}

#[derive(Clone, Copy)]
enum Noted {
    Passage(Option<usize>, Facts),
    Stranger(usize),
}

impl Note {
    /// Kafka has the record.
    pub(super) fn landed(&self, partition: i32, offset: i64) {
        let mut state = self.link.state();
        match self.what {
            Noted::Passage(Some(passage), facts) => {
                if let Some(passage) = state.log.passages.get_mut(passage) {
                    let handed = self.handed;
                    passage.records.push(Landed { partition, offset, handed, facts });
                }
            }
            Noted::Passage(None, _) => (),
            Noted::Stranger(route) => {
                if let Some(count) = state.log.strangers.get_mut(route) {
                    *count += 1;
                }
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("seed", &self.0.seed).finish_non_exhaustive()
    }
}

impl Link {
    /// A link with these routes, of which the first that fits a message is its.
    #[must_use]
    pub fn new(seed: u64, routes: Vec<Route>) -> Self {
        let count = routes.len();
        let log = LinkLog { strangers: vec![0; count], ..LinkLog::default() };
        let state = State {
            held: BinaryHeap::new(),
            serial: 0,
            arrived: vec![0; count],
            stalled: vec![Instant::ZERO; count],
            is_mute: false,
            log,
        };
        let named = |route: Route| {
            let topic = Arc::from(&*route.topic);
            (route, topic)
        };
        Self(Arc::new(Inner {
            seed,
            routes: routes.into_iter().map(named).collect(),
            state: Mutex::new(state),
            changed: Notify::new(),
            begun: watch::Sender::new(None),
            killed: watch::Sender::new(false),
        }))
    }

    /// Its ledger as it stands.
    #[must_use]
    pub fn log(&self) -> LinkLog {
        self.state().log.clone()
    }

    /// When the first message came; waits for it.
    pub async fn begun(&self) -> Instant {
        let mut begun = self.0.begun.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let first = begun.wait_for(Option::is_some).await.ok().and_then(|first| *first);
        first.unwrap_or_default()
    }

    /// Holds back everything that comes on a route before this moment until then.
    pub fn stall(&self, route: usize, until: Instant) {
        if let Some(stalled) = self.state().stalled.get_mut(route) {
            *stalled = until;
        }
    }

    /// From now on nothing that is produced is acknowledged to the MQTT broker, until the bridge is
    /// started anew.
    pub fn mute(&self) {
        self.state().is_mute = true;
    }

    /// Ends the bridge as if its process died: without a word to the broker. What it had handed to
    /// Kafka gets there, what it held back does not.
    pub fn kill(&self) {
        self.0.killed.send_replace(true);
    }

    /// A bridge begins to use it: what an earlier one held back died with that.
    pub(super) fn attach(&self) {
        let mut state = self.state();
        state.held.clear();
        state.is_mute = false;
        self.0.killed.send_replace(false);
    }

    /// Lets go of nothing more.
    pub(super) fn forget(&self) {
        self.state().held.clear();
    }

    /// Waits until somebody kills the bridge.
    pub(super) async fn killed(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = self.0.killed.subscribe().wait_for(|killed| *killed).await;
    }

    /// Takes a message over; the ticket where it is to be acknowledged now.
    pub(super) fn take(
        &self,
        publish: &Publish,
        mut delivery: Delivery,
        now: Instant,
    ) -> Option<Ticket> {
        self.0.begun.send_if_modified(|begun| begun.is_none() && begun.replace(now).is_none());
        let mut state = self.state();
        state.log.first.get_or_insert(now);
        let route = self
            .0
            .routes
            .iter()
            .position(|(route, _)| publish.topic.starts_with(route.prefix.as_bytes()));
        let Some(route) = route else {
            state.log.strays += 1;
            return delivery.ticket;
        };
        let (Route { faults, .. }, topic) = &self.0.routes[route];
        let fate = Fate::of(faults, self.0.seed, route, state.arrived[route]);
        state.arrived[route] += 1;
        let passage = state.log_passage(publish, route);
        if fate.fault == Fault::Drop {
            return delivery.ticket;
        }
        if state.is_mute {
            delivery.ticket = None;
        }
        let stalled = state.stalled[route];
        let due = if now < stalled { stalled } else { now } + fate.delay;
        let note = |what| Some(Note { link: self.clone(), what, handed: due });
        let (changed, facts) = changed(publish, &fate);
        if fate.stranger {
            let what = note(Noted::Stranger(route));
            let beside = Delivery { ticket: None, permit: None, note: what };
            state.hold(due, topic, stranger(publish), beside);
        }
        delivery.note = note(Noted::Passage(passage, facts));
        if fate.fault == Fault::Double {
            let what = note(Noted::Passage(passage, facts));
            let copy = Delivery { ticket: None, permit: None, note: what };
            state.hold(due, topic, changed.clone(), copy);
        }
        state.hold(due, topic, changed, delivery);
        drop(state);
        self.0.changed.notify_one();
        None
    }

    /// Produces what is held, each in its time; never ends.
    pub(super) async fn let_go(&self, kafka: &Kafka, clock: Clock) {
        loop {
            let now = clock.now();
            match self.next(now) {
                Ok(mut held) => {
                    if let Some(note) = &mut held.delivery.note {
                        note.handed = now;
                    }
                    kafka.produce_to(&held.topic, &held.publish, held.delivery).await;
                }
                Err(Some(due)) => {
                    let left = due.saturating_since(now);
                    // Both ends of the wait are good ones.
                    let _ = tokio::time::timeout(left, self.0.changed.notified()).await;
                }
                Err(None) => self.0.changed.notified().await,
            }
        }
    }

    /// What is due at `now`, or when something will be.
    fn next(&self, now: Instant) -> Result<Held, Option<Instant>> {
        let mut state = self.state();
        match state.held.peek().map(|held| held.due) {
            Some(due) if due <= now => state.held.pop().ok_or(None),
            due => Err(due),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hold(&mut self, due: Instant, topic: &Arc<str>, publish: Publish, delivery: Delivery) {
        let serial = self.serial;
        self.serial += 1;
        self.held.push(Held { due, serial, topic: Arc::clone(topic), publish, delivery });
    }

    fn log_passage(&mut self, publish: &Publish, route: usize) -> Option<usize> {
        if self.log.passages.len() >= PASSAGES_MAX {
            self.log.unlogged += 1;
            return None;
        }
        let trace_id = trace_id(publish);
        self.log.passages.push(Passage { trace_id, route, records: Vec::new() });
        Some(self.log.passages.len() - 1)
    }
}

/// The message as it goes on, and what was done to it.
fn changed(publish: &Publish, fate: &Fate) -> (Publish, Facts) {
    let mut changed = publish.clone();
    changed.payload = fate.damage(&publish.payload);
    if fate.fault == Fault::Strip {
        changed.properties = None;
    }
    let facts = Facts {
        is_intact: fate.fault.is_harmless(),
        has_properties: fate.fault != Fault::Strip,
        has_stamp: fate.fault != Fault::Behead,
    };
    (changed, facts)
}

fn stranger(publish: &Publish) -> Publish {
    let payload = Bytes::from_static(STRANGER);
    Publish { payload, properties: None, ..publish.clone() }
}

/// The trace id of a message's user property; empty without one.
pub(in crate::embedded) fn trace_id(publish: &Publish) -> String {
    let properties = publish.properties.iter().flat_map(|properties| &properties.user_properties);
    let parent = properties.filter(|(name, _)| name == "traceparent").map(|(_, value)| value);
    parent.last().and_then(|value| value.get(TRACE_ID)).unwrap_or_default().to_owned()
}
