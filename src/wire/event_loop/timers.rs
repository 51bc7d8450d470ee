//! Room `wire`: what an event loop does because time has passed.

use std::cmp::Reverse;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::super::Handler;
use super::super::place::{Leaving, Phase};
use super::EventLoop;
use crate::clock::Instant;

impl<H: Handler> EventLoop<H> {
    pub(super) fn set_timer(&mut self, client: usize, after: Duration) {
        let at = self.clock.now() + after;
        self.places[client].timer = Some(at);
        self.await_moment(client, at);
    }

    pub(super) fn await_moment(&mut self, client: usize, at: Instant) {
        self.timers.push(Reverse((at, client)));
    }

    /// Does what the timers that have run out are for.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&Reverse((at, client))) = self.timers.peek().filter(|entry| entry.0.0 <= now)
        {
            self.timers.pop();
            self.end_rest(client, at);
            let place = &mut self.places[client];
            if place.timer != Some(at) {
                continue;
            }
            match place.phase {
                Phase::Waiting => self.dial(client),
                // It may be there, and nobody has had the time to look.
                Phase::Connecting(_) if place.is_there() => self.opened(client),
                Phase::Connecting(_) => {
                    let failure = place.unreachable("no answer in time");
                    self.try_next(client, &failure);
                }
                Phase::Shaking => self.end_shaking(client),
                // It has taken long enough to leave.
                Phase::Open if !matches!(place.leaving, Leaving::No | Leaving::Before) => {
                    self.close(client);
                }
                Phase::Open => self.ping(client),
                Phase::Resolving => self.complain_of_resolver(client),
                Phase::Lobby | Phase::Gone => (),
            }
        }
    }

    /// Gives a connection up that is not encrypted in time.
    fn end_shaking(&mut self, client: usize) {
        // What is awaited may be there, and nobody has had the time to look.
        self.encrypt(client);
        let place = &mut self.places[client];
        if matches!(place.phase, Phase::Shaking) {
            let failure = place.unreachable("no TLS in time");
            self.broke(client, &failure);
        }
    }

    fn ping(&mut self, client: usize) {
        let expired = self.places[client].timer;
        // The sign of life may be there, and nobody has had the time to look.
        self.hear(client, EventFlags::IN);
        let place = &mut self.places[client];
        // Who has just been let in has been heard of.
        if !matches!(place.phase, Phase::Open) || place.timer != expired {
            return;
        }
        match place.client.ping() {
            Ok(ping) => {
                let keep_alive = place.client.keep_alive();
                self.happenings.push(ping);
                self.tell(client);
                self.set_timer(client, keep_alive);
                self.flush(client);
            }
            Err(failure) => self.broke(client, &failure),
        }
    }
}
