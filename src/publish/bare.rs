//! Room `publish`: the same sending with nothing around it: what a message costs without being measured.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::rooms::Rooms;
use super::{Config, pacer};
use crate::clock::{Clock, Instant};
use crate::correlate::Qos;
use crate::schedule::{self, Agenda, Arrivals};
use crate::shutdown::Tasks;
use crate::stamp::TRACEPARENT_LEN;
use crate::wire::{
    Bell, Client, Clients, EventLoop, Failure, Handler, Happening, Property, Sending, Source,
};

/// What a bare load did so far, over all its threads.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Tally {
    /// Messages that were handed to the socket.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Why a connection broke or was not made, and what to do about it: the last that did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends the slots of these publishers as they come due, from when all of them are connected until
/// `tasks` is told to stop: as [`run`](super::run) does, but with one message for all, as long as the
/// others, without a stamp and without a word to anybody. `bell` must be rung when it is time to stop.
///
/// # Errors
///
/// When the system has no descriptor, timer or thread to give.
pub fn bare(
    publishers: Vec<(Config, schedule::Config)>,
    (clock, tick): (Clock, Duration),
    bell: Bell,
    tally: Arc<Tally>,
    tasks: &Tasks,
) -> io::Result<()> {
    let (configs, plans): (Vec<_>, Vec<_>) = publishers.into_iter().unzip();
    let pacer = Pacer {
        clock,
        tasks: tasks.clone(),
        limits: configs.iter().map(|of| (of.qos, of.session.inflight)).collect(),
        rooms: Rooms::new(plans.iter().map(|plan| plan.arrivals == Arrivals::Closed)),
        agenda: Agenda::new(plans),
        connected: 0,
        sent: 0,
        tally,
    };
    let clients = configs.into_iter().map(|config| {
        let source = Constant(vec![b'.'; config.size.max(config.format.size_min())]);
        let sending = Sending { topic: config.topic, qos: config.qos, source };
        Client::new(config.endpoint, config.session, sending)
    });
    EventLoop::new(clock, pacer, clients, bell)?.ticking(tick).run(tasks)
}

/// Writes the same payload again and again, beside a property as long as that of a stamp.
#[derive(Debug)]
struct Constant(Vec<u8>);

impl Source for Constant {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn begin(&mut self, _: u64) -> Property {
        Some([b'.'; TRACEPARENT_LEN])
    }

    fn append(&mut self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&self.0);
    }
}

/// Sends slots when they are due, and counts.
struct Pacer {
    clock: Clock,
    tasks: Tasks,
    agenda: Agenda,
    rooms: Rooms,
    /// QoS and how many messages may be under way, by client.
    limits: Vec<(Qos, u16)>,
    connected: usize,
    /// Since it was told.
    sent: u64,
    tally: Arc<Tally>,
}

impl Handler for Pacer {
    type Source = Constant;

    fn next_due(&self) -> Option<Instant> {
        if self.tasks.stopping() {
            return None;
        }
        self.agenda.next_due().into_iter().chain(self.rooms.next_due()).min()
    }

    fn tick(&self, most: Duration) -> Duration {
        self.rooms.tick(most)
    }

    fn act(&mut self, mut now: Instant, clients: &mut Clients<'_, Constant>) {
        for _ in 0..pacer::TURN_MAX {
            let Some(slot) = self.agenda.take_due(now) else { break };
            // What can't be sent is not sent, and not counted.
            let _ = clients.publish(slot.publisher as usize, slot.sequence, now);
            now = self.clock.now();
        }
        while let Some((client, free)) = self.rooms.next(now) {
            for _ in 0..free {
                let publisher = u32::try_from(client).unwrap_or(u32::MAX);
                let Some(slot) = self.agenda.take_closed(publisher, now) else { break };
                if clients.publish(client, slot.sequence, now).is_err() {
                    break;
                }
                self.rooms.took(client);
            }
        }
    }

    fn happened(
        &mut self,
        (client, connection): (usize, &mut Client<Constant>),
        happening: Happening,
        at: Instant,
    ) {
        let Some(&limits) = self.limits.get(client) else { return };
        self.rooms.heard((client, connection), limits, (&happening, at));
        match happening {
            Happening::Connected => {
                self.connected += 1;
                // Whoever comes again finds its plan begun.
                if self.connected == self.limits.len() {
                    (0..).zip(&self.limits).for_each(|(of, _)| self.agenda.begin(of, at));
                    self.rooms.list_all(at);
                }
            }
            Happening::Sent { .. } => self.sent += 1,
            _ => (),
        }
    }

    fn turned(&mut self, _: Duration) {
        self.tally.sent.fetch_add(std::mem::take(&mut self.sent), Ordering::Relaxed);
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        self.rooms.broke(client);
        *self.tally.failure.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(failure.to_string());
    }
}
