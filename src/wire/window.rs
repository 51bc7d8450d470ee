//! Room `wire`: the messages that the broker has not fully answered, by packet id.

use std::collections::VecDeque;

/// How far the handshake of a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// PUBLISH was written.
    Published,
    /// QoS 2: the broker has the message, and PUBREL was written.
    Released,
}

/// A message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) stand: Stand,
}

/// Packet ids from 1 up to a limit, and what they stand for. Takes memory for as many as were ever in
/// flight together.
#[derive(Debug)]
pub(super) struct Window {
    limit: u16,
    /// How many the broker takes at a time (its receive maximum).
    allowed: u16,
    flights: Vec<Option<Flight>>,
    /// Ids that are free again, in the order of their use: the oldest is the next.
    free: VecDeque<u16>,
}

impl Window {
    pub(super) fn new(limit: u16) -> Self {
        Self { limit, allowed: limit, flights: Vec::new(), free: VecDeque::new() }
    }

    /// Bounds what is in flight by what the broker takes.
    pub(super) fn allow(&mut self, receive_max: u16) {
        self.allowed = receive_max.min(self.limit);
    }

    /// Whether the broker takes one more beside so many.
    pub(super) fn allows(&self, beside: usize) -> bool {
        beside < usize::from(self.allowed)
    }

    /// Gives a message a packet id; `None` while too many are in flight.
    pub(super) fn launch(&mut self, number: u64) -> Option<u16> {
        if !self.allows(self.len()) {
            return None;
        }
        let id = if let Some(id) = self.free.pop_front() {
            id
        } else {
            self.flights.push(None);
            // There are no more than `limit`, which is such a number itself.
            u16::try_from(self.flights.len()).ok()?
        };
        let flight = Flight { number, stand: Stand::Published };
        *self.flights.get_mut(usize::from(id) - 1)? = Some(flight);
        Some(id)
    }

    /// What a packet id stands for.
    pub(super) fn flight(&mut self, id: u16) -> Option<&mut Flight> {
        self.flights.get_mut(usize::from(id).checked_sub(1)?)?.as_mut()
    }

    /// Ends a flight.
    pub(super) fn land(&mut self, id: u16) {
        let place = usize::from(id).checked_sub(1).and_then(|place| self.flights.get_mut(place));
        if place.is_some_and(|place| place.take().is_some()) {
            self.free.push_back(id);
        }
    }

    /// Ends the flight of a message that never left.
    pub(super) fn recall(&mut self, number: u64) {
        let ids = (1..).zip(&self.flights);
        let found = ids.filter(|(_, flight)| flight.is_some_and(|flight| flight.number == number));
        if let Some(id) = found.map(|(id, _)| id).next() {
            self.land(id);
        }
    }

    /// Ends every flight.
    pub(super) fn clear(&mut self) {
        self.flights.clear();
        self.free.clear();
    }

    /// Packet ids and messages in flight in the order in which they were sent, which is that of their
    /// numbers.
    pub(super) fn in_order(&self) -> Vec<(u16, u64)> {
        let flights = (1..).zip(&self.flights);
        let mut flights: Vec<(u16, u64)> =
            flights.filter_map(|(id, flight)| flight.map(|flight| (id, flight.number))).collect();
        flights.sort_unstable_by_key(|&(_, number)| number);
        flights
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_at_one_and_the_oldest_free_one_is_next() {
        let mut window = Window::new(3);
        assert_eq!(
            [0, 1, 2, 3].map(|number| window.launch(number)),
            [Some(1), Some(2), Some(3), None]
        );
        window.land(2);
        window.land(1);
        window.land(1);
        assert_eq!([4, 5, 6].map(|number| window.launch(number)), [Some(2), Some(1), None]);
        assert_eq!(window.in_order(), [(3, 2), (2, 4), (1, 5)]);
    }

    #[test]
    fn a_broker_may_allow_less_and_never_more() {
        let mut window = Window::new(3);
        window.allow(1);
        assert_eq!([0, 1].map(|number| window.launch(number)), [Some(1), None]);
        window.allow(u16::MAX);
        assert_eq!([2, 3, 4].map(|number| window.launch(number)), [Some(2), Some(3), None]);
        assert_eq!(window.len(), 3);
    }

    #[test]
    fn a_recalled_message_leaves_its_id_free() {
        let mut window = Window::new(2);
        window.launch(7);
        window.launch(8);
        window.recall(8);
        window.recall(99);
        assert_eq!(window.in_order(), [(1, 7)]);
        assert_eq!(window.flight(2), None);
        assert_eq!(window.launch(9), Some(2));
    }

    #[test]
    fn no_id_panics() {
        let mut window = Window::new(2);
        for id in [0, 1, 2, u16::MAX] {
            window.land(id);
            assert_eq!(window.flight(id), None);
        }
        assert_eq!(window.len(), 0);
    }
}
