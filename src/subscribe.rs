//! Room `subscribe` (edge): MQTT subscribers beside the crossing, for lane `mqtt_mqtt`.
//!
//! # Design
//!
//! MQTT has no watermark. What stands in for it is a ping: the connection delivers in order, so a
//! PINGRESP says that everything the broker had sent before it was read. What was due while the
//! subscriber was away is reported as such, since at QoS 0 nobody keeps it: the probe's own absence
//! is not the system's loss.
//!
//! A path may have many subscribers. Where each is sent everything, the first one judges the lane and
//! the others are witnesses: what they are handed is counted beside it. Else every one is a judge of its
//! share, and the lane has caught up with what the last of them has ([`panel`]). Witnesses and judges
//! of shares are dealt to threads; a judge of everything is on one where nobody else keeps it from
//! looking, with those of other paths.

mod config;
mod panel;
mod subscriber;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::clock::{Clock, Instant};
use crate::correlate::{Batch, Lane, Observation, PathId, Reader, Router};
use crate::shutdown::Tasks;
use crate::stamp::Stamper;
use crate::study::Notice;
use crate::wire::{Bell, Client, Clients, EventLoop, Failure, Handler, Handshake, Happening, Mute};

pub use config::{Config, PING_EVERY, Share, deal};

use panel::{CaughtUp, Panel};
use subscriber::Subscriber;

/// What subscribers are given.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where they read the time.
    pub clock: Clock,
    /// What finds their stamps.
    pub stamper: Stamper,
    /// Where they report.
    pub router: Router,
    /// Where they say that they are subscribed, or not.
    pub notices: Sender<Notice>,
    /// Whether a process before this one had their MQTT sessions and ended without goodbye. What the
    /// broker kept for them since has no honest moment of receipt: it is let go.
    pub takes_over: bool,
}

/// Keeps subscribers connected and reports what they are handed, until told to stop. Then they say
/// goodbye and let the broker forget their sessions. `bell` must be rung when it is time to stop.
///
/// # Errors
///
/// When the system has no descriptor or thread to give.
pub fn run(share: Share, around: Surroundings, bell: Bell, tasks: &Tasks) -> io::Result<()> {
    let clients: Vec<Client<Mute>> = share.clients().collect();
    let (clock, takes_over, tick) = (around.clock, around.takes_over, share.tick());
    let batch = Batch::new(&around.router);
    let members = share.into_subscribers().collect();
    let handler = Subscribers { around, members, turn: Turn::new(batch), owing: BTreeMap::new() };
    let event_loop = EventLoop::new(clock, handler, clients, bell)?.ticking(tick);
    if takes_over { event_loop.taking_over() } else { event_loop }.run(tasks)
}

/// Subscribers at work, as the event loop numbers them.
struct Subscribers {
    around: Surroundings,
    members: Vec<Subscriber>,
    turn: Turn,
    /// The panels that are to be asked how far they are, and when.
    owing: BTreeMap<PathId, (Instant, Arc<Panel>)>,
}

/// What was seen since the event loop was woken. Said in this order, so that nobody hears how far a
/// judge is before what it was handed.
struct Turn {
    batch: Batch,
    /// The paths of which messages were taken in.
    read: BTreeSet<PathId>,
    /// From when until when a judge of a path was away.
    away: BTreeMap<PathId, (Instant, Instant)>,
    /// Who has read everything up to when, by its number on this thread, and when it was heard.
    caught_up: Vec<(usize, Instant, Instant)>,
}

impl Turn {
    fn new(batch: Batch) -> Self {
        let (read, away, caught_up) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        Self { batch, read, away, caught_up }
    }

    /// Notes that a judge was away. Absences that end together are taken for one, which is the safe side.
    fn note_absence(&mut self, path: PathId, from: Instant, until: Instant) {
        let known = self.away.entry(path).or_insert((from, until));
        *known = (known.0.min(from), known.1.max(until));
    }
}

impl Handler for Subscribers {
    type Source = Mute;

    fn next_due(&self) -> Option<Instant> {
        self.owing.values().map(|&(at, _)| at).min()
    }

    fn act(&mut self, now: Instant, _: &mut Clients<'_, Mute>) {
        let Self { around, owing, .. } = self;
        owing.retain(|&path, (at, panel)| {
            if *at > now {
                return true;
            }
            if let Some(at) = panel.settle(now) {
                around.say_caught_up(path, at);
            }
            false
        });
    }

    fn happened(
        &mut self,
        (index, client): (usize, &mut Client<Mute>),
        happening: Happening,
        at: Instant,
    ) {
        if let Some(subscriber) = self.members.get_mut(index) {
            subscriber.tell((index, client), happening, at, (&self.around, &mut self.turn));
        }
    }

    fn shook_hands(&mut self, index: usize, took: Handshake) {
        if let Some(subscriber) = self.members.get(index) {
            let path = subscriber.path();
            self.turn.batch.count(path, took.observed(path));
        }
    }

    fn turned(&mut self, busy: Duration) {
        let nanos = i64::try_from(busy.as_nanos()).unwrap_or(i64::MAX);
        let Self { around, members, turn, owing } = self;
        while let Some(path) = turn.read.pop_first() {
            let reader = Reader::Subscriber;
            turn.batch.count(path, Observation::Polled { path, reader, nanos });
        }
        turn.batch.hand_over();
        while let Some((path, (from, until))) = turn.away.pop_first() {
            let lane = Lane::MqttMqtt;
            around.router.tell_all(Observation::Away { path, lane, from, until });
        }
        for (index, at, heard) in turn.caught_up.drain(..) {
            let Some(subscriber) = members.get(index) else { continue };
            let (path, panel) = (subscriber.path(), subscriber.panel());
            match panel.catch_up(subscriber.number(), at, heard) {
                CaughtUp::With(at) => around.say_caught_up(path, at),
                CaughtUp::AskAt(at) => {
                    owing.entry(path).or_insert_with(|| (at, Arc::clone(panel)));
                }
                CaughtUp::NoFurther => (),
            }
        }
    }

    fn broke(&mut self, index: usize, failure: &Failure) {
        if let Some(subscriber) = self.members.get_mut(index) {
            subscriber.broke(failure, &self.around);
        }
    }
}

impl Surroundings {
    fn say(&self, notice: Notice) {
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.notices.blocking_send(notice);
    }

    fn say_caught_up(&self, path: PathId, at: Instant) {
        let lane = Lane::MqttMqtt;
        self.router.tell_all(Observation::CaughtUp { path, lane, at });
    }
}
