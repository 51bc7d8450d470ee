//! Room `wire`: clients that read slowly, and clients that go and come again.

use rustix::event::epoll::{self, EventData, EventFlags};

use super::super::Handler;
use super::super::place::{Leaving, Phase};
use super::EventLoop;
use crate::clock::Instant;

impl<H: Handler> EventLoop<H> {
    /// Waits for room in a client's socket, or no longer.
    pub(super) fn await_room(&mut self, client: usize, is_blocked: bool) {
        if self.places[client].is_blocked != is_blocked {
            self.places[client].is_blocked = is_blocked;
            self.watch(client);
        }
    }

    /// Waits for what a client waits for.
    fn watch(&mut self, client: usize) {
        let place = &self.places[client];
        let Some(stream) = place.client.stream() else { return };
        let mut awaited = EventFlags::empty();
        awaited.set(EventFlags::OUT, place.is_blocked);
        awaited.set(EventFlags::IN, place.rests_until.is_none());
        // Fails only for a socket that was not added.
        let _ = epoll::modify(&self.epoll, stream, EventData::new_u64(client as u64), awaited);
    }

    /// Lets a client that reads slowly rest, now that it has read.
    pub(super) fn let_rest(&mut self, client: usize) {
        let place = &mut self.places[client];
        if place.rests_until.is_some() || !matches!(place.phase, Phase::Open) {
            return;
        }
        let Some(rest) = place.client.rest() else { return };
        let until = self.clock.now() + rest;
        place.rests_until = Some(until);
        self.await_moment(client, until);
        self.watch(client);
    }

    /// Has a client read again whose rest ends at this moment.
    pub(super) fn end_rest(&mut self, client: usize, at: Instant) {
        if self.places[client].rests_until == Some(at) {
            self.places[client].rests_until = None;
            self.watch(client);
            if self.places[client].client.has_more() {
                self.hear(client, EventFlags::IN);
            }
        }
    }

    /// Ends the connection of a client whose goodbye is written. One that reads slowly would take long to
    /// hear the end of it, and does not wait.
    pub(super) fn hang_up(&mut self, client: usize) {
        let place = &mut self.places[client];
        if place.client.reads_slowly() {
            self.close(client);
        } else {
            place.client.close_for_writing();
        }
    }

    /// Does what the handler wants of a client.
    pub(super) fn tend(&mut self, client: usize) {
        let place = &mut self.places[client];
        match place.absence.take() {
            Some((says_goodbye, until)) if place.leaving == Leaving::No => {
                self.depart(client, says_goodbye, until);
            }
            _ => self.flush(client),
        }
    }

    /// Has a client go, and come again at a moment.
    fn depart(&mut self, client: usize, says_goodbye: bool, until: Instant) {
        if says_goodbye && self.places[client].client.is_up() {
            self.places[client].client.disconnect();
            self.flush(client);
        }
        self.lobby.left(client);
        // It may have found its connection broken, which was told, and waits to come again earlier.
        self.places[client].client.broke(&mut self.happenings);
        self.tell(client);
        let place = &mut self.places[client];
        place.wait();
        place.timer = Some(until);
        self.await_moment(client, until);
    }
}
