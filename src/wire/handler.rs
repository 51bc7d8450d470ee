//! Room `wire`: what an event loop asks of those that it works for.

use std::time::Duration;

use super::place::Place;
use super::{Client, Failure, Handshake, Happening, Source, Unsendable};
use crate::clock::Instant;

/// What the clients of an event loop are for. It is called on the loop's thread and must not wait.
pub trait Handler {
    /// What writes its messages.
    type Source: Source;

    /// When it wants to act next: never, unless it says so.
    fn next_due(&self) -> Option<Instant> {
        None
    }

    /// How long the loop may sleep after it woke, `most` at most.
    fn tick(&self, most: Duration) -> Duration {
        most
    }

    /// Does what is due at `now`.
    fn act(&mut self, _now: Instant, _clients: &mut Clients<'_, Self::Source>) {}

    /// Somebody rang the bell.
    fn called(&mut self) {}

    /// A client's socket is connected, at a moment, and CONNECT comes next.
    fn opened(&mut self, _client: usize, _at: Instant) {}

    /// The broker accepted a client, which took so long.
    fn shook_hands(&mut self, _client: usize, _took: Handshake) {}

    /// Something happened to a client at a moment. What it then asks of the client is done at once.
    fn happened(
        &mut self,
        client: (usize, &mut Client<Self::Source>),
        happening: Happening,
        at: Instant,
    );

    /// Everything that had come by the last waking is taken in and dealt with; none of it had waited, or
    /// will wait, for longer than that.
    fn turned(&mut self, _lag: Duration) {}

    /// The loop's thread has had a processor for this share of the time since it said so last: it can't
    /// do more once that is 1.
    fn worked(&mut self, _share: f64) {}

    /// A client's connection broke or could not be made; it is made again after a while.
    fn broke(&mut self, client: usize, failure: &Failure);

    /// Whether a client's connection is made again once it broke.
    fn comes_back(&self, _client: usize) -> bool {
        true
    }
}

/// The clients of an event loop, by their number.
#[derive(Debug)]
pub struct Clients<'a, S> {
    places: &'a mut [Place<S>],
    /// Those that have something to write.
    touched: &'a mut Vec<usize>,
}

impl<'a, S: Source> Clients<'a, S> {
    pub(super) fn new(places: &'a mut [Place<S>], touched: &'a mut Vec<usize>) -> Self {
        Self { places, touched }
    }

    /// Has a client go when the handler has acted, with a goodbye or without a word, and come again at a
    /// moment. It is not told that its connection is gone.
    pub fn send_away(&mut self, client: usize, says_goodbye: bool, until: Instant) {
        if let Some(place) = self.places.get_mut(client) {
            place.absence = Some((says_goodbye, until));
            self.touched.push(client);
        }
    }

    /// Takes a message of a client. It is sent when the handler has acted, or once the broker has
    /// answered enough of the messages before it; it waits from `now` on. A client's numbers must rise.
    ///
    /// # Errors
    ///
    /// When it will not be sent, and why.
    pub fn publish(&mut self, client: usize, number: u64, now: Instant) -> Result<(), Unsendable> {
        let place = self.places.get_mut(client).ok_or(Unsendable::Disconnected)?;
        place.client.publish(number, now)?;
        if !std::mem::replace(&mut place.is_touched, true) {
            self.touched.push(client);
        }
        Ok(())
    }
}
