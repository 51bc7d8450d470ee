//! Room `wire`: how an event loop gets its clients connected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::super::place::{CONNECT_MAX, Leaving, Phase, Place, RESOLVE_MAX};
use super::super::{Endpoint, Failure, Handler, Handshake};
use super::EventLoop;
use crate::clock::Instant;

/// How many clients may be on their way in at a time: brokers keep some 100 waiting before they drop
/// what comes, and who was dropped tries again after a second.
const ON_THE_WAY_MAX: usize = 64;

/// Who wants in, and who is on the way, of each broker: one that does not answer keeps nobody from another.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    /// Of each client which broker is its own.
    broker_of: Vec<usize>,
    brokers: Vec<Broker>,
}

#[derive(Debug, Default)]
struct Broker {
    waiting: VecDeque<usize>,
    on_the_way: BTreeSet<usize>,
}

impl Lobby {
    /// For clients of these brokers.
    pub(super) fn new<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Self {
        let mut lobby = Self::default();
        let mut known = BTreeMap::new();
        for endpoint in endpoints {
            let next = known.len();
            let broker = *known.entry((endpoint.host.as_str(), endpoint.port)).or_insert(next);
            lobby.broker_of.push(broker);
        }
        lobby.brokers.resize_with(known.len(), Broker::default);
        lobby
    }

    /// A client is in, or is not on the way any more.
    pub(super) fn left(&mut self, client: usize) {
        if let Some(broker) = self.broker(client) {
            broker.on_the_way.remove(&client);
        }
    }

    fn waits(&mut self, client: usize) {
        if let Some(broker) = self.broker(client) {
            broker.waiting.push_back(client);
        }
    }

    fn goes(&mut self, client: usize) {
        if let Some(broker) = self.broker(client) {
            broker.on_the_way.insert(client);
        }
    }

    /// Whoever could come in now.
    fn next(&mut self) -> Option<usize> {
        let mut open = self.brokers.iter_mut().filter(|it| it.on_the_way.len() < ON_THE_WAY_MAX);
        open.find_map(|broker| broker.waiting.pop_front())
    }

    fn broker(&mut self, client: usize) -> Option<&mut Broker> {
        self.brokers.get_mut(*self.broker_of.get(client)?)
    }
}

impl<H: Handler> EventLoop<H> {
    /// Has each client connect once before it begins, so that the broker forgets the session of a
    /// process that ended without goodbye. Its packet ids begin anew: a broker that waits for the
    /// release of one would take the next message under it for the old one, and swallow it.
    #[must_use]
    pub fn taking_over(mut self) -> Self {
        self.places.iter_mut().for_each(Place::take_over);
        self
    }

    /// Begins to connect the clients whose brokers' names were looked up.
    pub(super) fn hear_resolver(&mut self) {
        while let Some((client, found)) = self.resolver.answer() {
            // Whoever has begun anew in the meantime has asked anew.
            let place = self.places.get_mut(client);
            let Some(place) = place.filter(|place| matches!(place.phase, Phase::Resolving)) else {
                continue;
            };
            let connecting = match found {
                Ok(addresses) => place.dial(addresses.into_iter(), &mut self.sources),
                Err(why) => Err(place.unreachable(&why)),
            };
            self.await_connection(client, connecting);
        }
    }

    /// Has a client connected as soon as there is room for it, or at once where it does not wait for that.
    pub(super) fn dial(&mut self, client: usize) {
        let place = &mut self.places[client];
        place.phase = Phase::Lobby;
        place.timer = None;
        if place.client.is_rushing() {
            self.look_up(client);
        } else {
            self.lobby.waits(client);
        }
    }

    /// Begins to connect those that wait for it, as many as there is room for.
    pub(super) fn admit(&mut self) {
        while let Some(client) = self.lobby.next() {
            // Who has left meanwhile does not want in any more.
            if matches!(self.places[client].phase, Phase::Lobby) {
                self.lobby.goes(client);
                self.look_up(client);
            }
        }
    }

    /// The broker has accepted a client.
    pub(super) fn let_in(&mut self, client: usize, at: Instant) {
        self.lobby.left(client);
        let place = &self.places[client];
        if place.leaving == Leaving::No {
            let handshake = Handshake {
                tcp: place.opened.saturating_since(place.dialed),
                tls: place.encrypted.map(|at| at.saturating_since(place.opened)),
                connack: at.saturating_since(place.encrypted.unwrap_or(place.opened)),
            };
            self.handler.shook_hands(client, handshake);
        }
    }

    /// A client's socket is connected.
    pub(super) fn opened(&mut self, client: usize) {
        let now = self.clock.now();
        let place = &mut self.places[client];
        (place.opened, place.encrypted, place.phase) = (now, None, Phase::Shaking);
        self.handler.opened(client, now);
        self.await_room(client, false);
        self.set_timer(client, CONNECT_MAX);
        self.encrypt(client);
    }

    /// Has a connection encrypted where that is to be, and talks on it once it may.
    pub(super) fn encrypt(&mut self, client: usize) {
        let place = &mut self.places[client];
        match place.client.encrypt() {
            Ok(false) => (),
            Ok(true) => {
                let is_encrypted = place.client.endpoint().tls.is_some();
                place.encrypted = is_encrypted.then(|| self.clock.now());
                place.open();
                self.set_timer(client, CONNECT_MAX);
                self.flush(client);
            }
            Err(failure) => self.broke(client, &failure),
        }
    }

    fn look_up(&mut self, client: usize) {
        let place = &mut self.places[client];
        place.phase = Phase::Resolving;
        place.timer = None;
        let endpoint = place.client.endpoint();
        if let Some(address) = self.resolver.ask(client, &endpoint.host, endpoint.port) {
            let connecting = place.dial(vec![address].into_iter(), &mut self.sources);
            self.await_connection(client, connecting);
        } else {
            self.set_timer(client, RESOLVE_MAX);
        }
    }

    /// Says that the name server is silent. The answer may still come and is awaited: asking again
    /// would only queue behind the first question.
    pub(super) fn complain_of_resolver(&mut self, client: usize) {
        let place = &mut self.places[client];
        place.timer = None;
        if place.leaving == Leaving::No {
            let failure = place.unresolved();
            self.handler.broke(client, &failure);
        }
    }

    /// Waits for a socket that is being connected, or tells why there is none.
    fn await_connection(&mut self, client: usize, connecting: Result<(), Failure>) {
        let waiting = connecting.and_then(|()| {
            let place = &mut self.places[client];
            place.is_blocked = true;
            place.dialed = self.clock.now();
            let Some(stream) = place.client.stream() else { return Ok(()) };
            epoll::add(&self.epoll, stream, EventData::new_u64(client as u64), EventFlags::OUT)
                .map_err(|error| place.unreachable(&io::Error::from(error).to_string()))
        });
        match waiting {
            Ok(()) => self.set_timer(client, CONNECT_MAX),
            Err(failure) => self.broke(client, &failure),
        }
    }

    /// An address did not answer, or not well: another one may.
    pub(super) fn try_next(&mut self, client: usize, failure: &Failure) {
        let place = &mut self.places[client];
        match std::mem::replace(&mut place.phase, Phase::Waiting) {
            Phase::Connecting(others) if others.len() > 0 => {
                let connecting = place.dial(others, &mut self.sources);
                self.await_connection(client, connecting);
            }
            _ => self.broke(client, failure),
        }
    }
}
