//! Room `publish`: how much room the publishers of a closed loop have for further messages.

use std::time::Duration;

/// No broker takes less time for a message.
const NANOS_A_MESSAGE: u64 = 500;

/// What one of them has under way.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// How many messages it may have under way; none while it has no connection.
    limit: u32,
    under_way: u32,
    /// Whether it is among those that have room.
    is_listed: bool,
}

/// The publishers of a thread that are in a closed loop, by their number in its event loop.
#[derive(Debug)]
pub(super) struct Rooms {
    /// Of each publisher, where it is in a closed loop.
    of: Vec<Option<Room>>,
    /// Those that have room.
    open: Vec<usize>,
    /// What all that are connected may have under way together.
    limit: u64,
}

impl Rooms {
    /// For publishers of which those in a closed loop are told.
    pub(super) fn new(closed: impl Iterator<Item = bool>) -> Self {
        let room = Room { limit: 0, under_way: 0, is_listed: false };
        Self {
            of: closed.map(|is_closed| is_closed.then_some(room)).collect(),
            open: Vec::new(),
            limit: 0,
        }
    }

    /// A publisher is connected, may have so many messages under way, and has: what was is not, where
    /// the broker forgot the session.
    pub(super) fn connected(&mut self, client: usize, limit: u16, under_way: usize) {
        if let Some(room) = self.room(client) {
            room.limit = limit.into();
            room.under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
            self.limit += u64::from(limit);
        }
        self.list(client);
    }

    /// A publisher has no connection: what it has under way stays so.
    pub(super) fn broke(&mut self, client: usize) {
        if let Some(room) = self.room(client) {
            let limit = std::mem::take(&mut room.limit);
            self.limit = self.limit.saturating_sub(u64::from(limit));
        }
    }

    /// How long it may sleep, `most` at most, without those in a closed loop being the limit themselves:
    /// what they may have under way keeps any broker at work for longer.
    pub(super) fn tick(&self, most: Duration) -> Duration {
        if self.of.iter().all(Option::is_none) {
            return most;
        }
        most.min(Duration::from_nanos(self.limit * NANOS_A_MESSAGE))
    }

    /// A message of a publisher is under way.
    pub(super) fn took(&mut self, client: usize) {
        if let Some(room) = self.room(client) {
            room.under_way += 1;
        }
    }

    /// One is not any more.
    pub(super) fn gave(&mut self, client: usize) {
        if let Some(room) = self.room(client) {
            room.under_way = room.under_way.saturating_sub(1);
            self.list(client);
        }
    }

    /// Whether anybody may have room.
    pub(super) fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// The next publisher that has room for half of what it may have under way, and for how many
    /// messages: what goes out together costs one call of the system, and the other half keeps the broker
    /// at work. It is told again only once it was given more room.
    pub(super) fn next(&mut self) -> Option<(usize, u32)> {
        while let Some(client) = self.open.pop() {
            let Some(room) = self.room(client) else { continue };
            room.is_listed = false;
            let free = room.limit.saturating_sub(room.under_way);
            if free > 0 && free >= room.limit / 2 {
                return Some((client, free));
            }
        }
        None
    }

    /// Tells everybody that has room again.
    pub(super) fn list_all(&mut self) {
        (0..self.of.len()).for_each(|client| self.list(client));
    }

    fn room(&mut self, client: usize) -> Option<&mut Room> {
        self.of.get_mut(client)?.as_mut()
    }

    fn list(&mut self, client: usize) {
        let room = self.room(client);
        if room.is_some_and(|room| room.limit > 0 && !std::mem::replace(&mut room.is_listed, true))
        {
            self.open.push(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_who_is_in_a_closed_loop_has_room() {
        let mut rooms = Rooms::new([false, true].into_iter());
        assert!(!rooms.any(), "nobody is connected");
        rooms.connected(0, 5, 0);
        assert!(!rooms.any());
        rooms.connected(1, 5, 0);
        assert_eq!((rooms.next(), rooms.next()), (Some((1, 5)), None));
        (0..5).for_each(|_| rooms.took(1));
        rooms.list_all();
        assert_eq!(rooms.next(), None, "it is full");
        rooms.gave(1);
        assert_eq!(rooms.next(), None, "it is not worth a write");
        rooms.gave(1);
        assert_eq!(rooms.next(), Some((1, 2)));
        rooms.broke(1);
        rooms.gave(1);
        assert!(!rooms.any(), "it has no connection");
        rooms.connected(1, 3, 2);
        assert_eq!(rooms.next(), Some((1, 1)), "what it has under way still is");
    }

    #[test]
    fn a_session_that_is_lost_leaves_nothing_under_way() {
        let mut rooms = Rooms::new([true].into_iter());
        rooms.connected(0, 10, 0);
        let (_, free) = rooms.next().unwrap();
        (0..free).for_each(|_| rooms.took(0));
        rooms.broke(0);
        rooms.connected(0, 10, 0);
        assert_eq!(rooms.next(), Some((0, 10)));
    }

    #[test]
    fn who_may_have_little_under_way_sleeps_little() {
        let most = Duration::from_millis(4);
        assert_eq!(Rooms::new([false].into_iter()).tick(most), most, "no closed loop");
        let mut rooms = Rooms::new([true; 2].into_iter());
        assert_eq!(rooms.tick(most), Duration::ZERO, "nobody is connected");
        rooms.connected(0, 20, 0);
        assert_eq!(rooms.tick(most), Duration::from_micros(10));
        rooms.connected(1, 65_534, 0);
        assert_eq!(rooms.tick(most), most);
        rooms.broke(1);
        assert_eq!(rooms.tick(most), Duration::from_micros(10));
    }

    proptest! {
        #[test]
        fn nobody_has_more_under_way_than_it_may(
            limit in 1_u16..8, steps in prop::collection::vec((0_usize..3, any::<bool>()), 0..200),
        ) {
            let mut rooms = Rooms::new([true; 3].into_iter());
            (0..3).for_each(|client| rooms.connected(client, limit, 0));
            let mut under_way = [0_u32; 3];
            for (client, gives) in steps {
                if gives && under_way[client] > 0 {
                    under_way[client] -= 1;
                    rooms.gave(client);
                }
                while let Some((client, free)) = rooms.next() {
                    for _ in 0..free {
                        under_way[client] += 1;
                        rooms.took(client);
                    }
                }
                for under_way in under_way {
                    prop_assert!(under_way <= u32::from(limit));
                    prop_assert!(under_way > u32::from(limit) / 2, "and never less than half");
                }
            }
        }
    }
}
