//! Room `wire`: many clients on one thread.

mod connecting;
mod pauses;
mod rhythm;
mod timers;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, Event, EventData, EventFlags};

use super::dial::{self, Resolver, Sources};
use super::outbox::Buffers;
use super::place::{Leaving, Phase, Place};
use super::{Bell, Client, Clients, Failure, Handler, Happening};
use crate::clock::{Alarm, Clock, Instant};
use crate::shutdown::Tasks;
use connecting::Lobby;
use rhythm::Rhythm;

/// How much is read from a socket at a time.
const READ_BYTES: usize = 64 * 1_024;
/// How many sockets are looked at before the clock is.
const EVENTS_MAX: usize = 256;
/// How long all clients together may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
const ALARM: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// Connects clients, again and again, and moves their bytes.
pub struct EventLoop<H: Handler> {
    clock: Clock,
    handler: H,
    places: Vec<Place<H::Source>>,
    epoll: OwnedFd,
    alarm: Alarm,
    bell: Bell,
    resolver: Resolver,
    /// When to look at which client; entries that its timer does not confirm are void.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    lobby: Lobby,
    sources: Sources,
    /// When whoever has not left is left behind.
    end: Option<Instant>,
    happenings: Vec<Happening>,
    space: Vec<u8>,
    buffers: Buffers,
    rhythm: Rhythm,
}

impl<H: Handler> EventLoop<H> {
    /// For these clients, which are numbered in their order. `bell` calls the handler.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor or thread to give.
    pub fn new(
        clock: Clock,
        handler: H,
        clients: impl IntoIterator<Item = Client<H::Source>>,
        bell: Bell,
    ) -> io::Result<Self> {
        let resolver = Resolver::new(bell.clone(), dial::addresses)?;
        Self::resolving(clock, handler, clients, bell, resolver)
    }

    fn resolving(
        clock: Clock,
        handler: H,
        clients: impl IntoIterator<Item = Client<H::Source>>,
        bell: Bell,
        resolver: Resolver,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = Alarm::new()?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN)?;
        epoll::add(&epoll, bell.descriptor(), EventData::new_u64(BELL), EventFlags::IN)?;
        let places: Vec<_> = clients.into_iter().map(Place::new).collect();
        let lobby = Lobby::new(places.iter().map(|place| place.client.endpoint()));
        let sources = Sources::new(places.len());
        Ok(Self {
            clock,
            handler,
            places,
            epoll,
            alarm,
            resolver,
            bell,
            timers: BinaryHeap::new(),
            lobby,
            sources,
            end: None,
            happenings: Vec::new(),
            space: vec![0; READ_BYTES],
            buffers: Buffers::default(),
            rhythm: Rhythm::new(clock.now()),
        })
    }

    /// Runs until `stop` says so. Then every client finishes what is under way, says goodbye and lets
    /// the broker forget its session, all within a second. The bell must be rung when it is time to
    /// stop.
    ///
    /// # Errors
    ///
    /// When the system takes its descriptors away.
    pub fn run(mut self, stop: &Tasks) -> io::Result<()> {
        for client in 0..self.places.len() {
            match self.places[client].client.connect_after() {
                Duration::ZERO => self.dial(client),
                later => self.set_timer(client, later),
            }
        }
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        let mut touched = Vec::new();
        while !self.is_over() {
            self.admit();
            self.wait(&mut events)?;
            self.rhythm.more = events.len() == EVENTS_MAX;
            let mut called = false;
            // What has come is taken in before anything is sent: a late answer would look like the
            // broker's doing, a late sending is told as our own.
            for event in &events {
                match event.data.u64() {
                    ALARM => (),
                    BELL => called = true,
                    client => self.hear(place_of(client), event.flags),
                }
            }
            for event in events.drain(..) {
                self.answer(place_of(event.data.u64()));
            }
            if called {
                self.called(stop);
            }
            let now = self.clock.now();
            self.expire(now);
            if self.handler.next_due().is_some_and(|due| due <= now) {
                let places = &mut self.places;
                self.handler.act(now, &mut Clients::new(places, &mut touched));
                for client in touched.drain(..) {
                    self.places[client].is_touched = false;
                    self.tend(client);
                }
            }
            self.rest();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| {
            let gone = |place: &Place<_>| matches!(place.phase, Phase::Gone);
            self.places.iter().all(gone) || self.clock.now() >= end
        })
    }

    fn next_due(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|&Reverse((at, _))| at);
        [timer, self.handler.next_due(), self.end].into_iter().flatten().min()
    }

    fn called(&mut self, stop: &Tasks) {
        self.bell.hush();
        self.hear_resolver();
        self.handler.called();
        if stop.stopping() && self.end.is_none() {
            self.end = Some(self.clock.now() + GOODBYE);
            for client in 0..self.places.len() {
                self.leave(client);
            }
        }
    }

    fn leave(&mut self, client: usize) {
        let place = &mut self.places[client];
        // Whoever was never let in has left no session behind.
        if matches!(place.phase, Phase::Gone) && place.client.limits().is_none() {
            return;
        }
        place.leaving = Leaving::Finishing;
        if place.client.is_up() {
            self.set_timer(client, GOODBYE / 2);
            self.flush(client);
        } else {
            // What it was about to do is of no use any more; only its old session is left.
            self.close(client);
        }
    }

    /// Takes in what has come for a client.
    fn hear(&mut self, client: usize, flags: EventFlags) {
        let place = self.places.get_mut(client);
        let Some(place) = place.filter(|place| matches!(place.phase, Phase::Open)) else { return };
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let read = place.client.read(&mut self.space, &mut self.happenings);
        self.tell(client);
        match read {
            Ok(more) => {
                self.rhythm.more |= more;
                self.let_rest(client);
            }
            Err(failure) => self.broke(client, &failure),
        }
    }

    /// Sends what a client has to send, now that there may be room for it, or that it was heard.
    fn answer(&mut self, client: usize) {
        let Some(place) = self.places.get_mut(client) else { return };
        match place.phase {
            Phase::Connecting(_) => match place.is_connected() {
                Ok(()) => self.opened(client),
                Err(failure) => self.try_next(client, &failure),
            },
            Phase::Shaking => self.encrypt(client),
            Phase::Open => self.flush(client),
            Phase::Waiting | Phase::Lobby | Phase::Resolving | Phase::Gone => (),
        }
    }

    /// Writes what a client has to write, as far as its socket takes it.
    fn flush(&mut self, client: usize) {
        let place = &mut self.places[client];
        if !matches!(place.phase, Phase::Open) {
            return;
        }
        let flushed = place.client.flush(&mut self.buffers, &mut self.happenings);
        self.tell(client);
        match flushed {
            Ok(all) => {
                self.await_room(client, !all);
                let place = &mut self.places[client];
                if all && place.part() {
                    if place.leaving == Leaving::Begun {
                        self.set_timer(client, GOODBYE);
                    }
                    self.flush(client);
                } else if all && place.client.is_parting() {
                    self.hang_up(client);
                }
            }
            Err(failure) => {
                // What the broker had said before is still there to be read, and may tell why.
                let place = &mut self.places[client];
                let read = place.client.read(&mut self.space, &mut self.happenings);
                self.tell(client);
                self.broke(client, &read.err().unwrap_or(failure));
            }
        }
    }

    /// Tells the handler what has just happened to a client.
    fn tell(&mut self, client: usize) {
        if self.happenings.is_empty() {
            return;
        }
        let at = self.clock.now();
        let mut happenings = std::mem::take(&mut self.happenings);
        for happening in happenings.drain(..) {
            match happening {
                Happening::Connected => {
                    let keep_alive = self.places[client].client.keep_alive();
                    self.set_timer(client, keep_alive);
                    self.let_in(client, at);
                }
                Happening::Answered { .. } | Happening::Message(_) | Happening::Pong => {
                    self.places[client].forget_delays();
                }
                _ => (),
            }
            let place = &mut self.places[client];
            if !matches!(place.leaving, Leaving::Forgetting | Leaving::Before | Leaving::Begun) {
                self.handler.happened((client, &mut place.client), happening, at);
            }
        }
        self.happenings = happenings;
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        let stays = matches!(self.places[client].leaving, Leaving::No | Leaving::Before);
        self.close(client);
        if stays {
            self.handler.broke(client, failure);
            if !self.handler.comes_back(client) {
                self.places[client].phase = Phase::Gone;
                self.places[client].timer = None;
            }
        }
    }

    /// Closes a client's connection, and dials again after a delay where that is to be.
    fn close(&mut self, client: usize) {
        self.lobby.left(client);
        self.places[client].client.broke(&mut self.happenings);
        self.tell(client);
        match self.places[client].go_on() {
            Some(delay) => self.set_timer(client, delay),
            None => self.places[client].timer = None,
        }
    }
}

/// Which client an event is for; none where it is for the loop itself.
fn place_of(data: u64) -> usize {
    usize::try_from(data).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
