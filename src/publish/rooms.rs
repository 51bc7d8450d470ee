//! Room `publish`: how much room the publishers of a closed loop have for further messages.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::correlate::{Qos, Stage};
use crate::wire::{Client, Happening, Source};

/// Who has room, but not for half, is told after so long at most.
const HELD_MAX: Duration = Duration::from_millis(4);
/// No broker takes less time for a message.
const NANOS_A_MESSAGE: u64 = 500;

/// What one of them has under way.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// How many messages it may have under way; none while it has no connection.
    limit: u32,
    under_way: u32,
    /// Since when it has room and is not told, if it has.
    since: Option<Instant>,
    /// Whether it is among those that have room for half of what it may have.
    is_open: bool,
}

/// The publishers of a thread that are in a closed loop, by their number in its event loop.
///
/// # Design
///
/// What goes out together costs one call of the system, so that a publisher is told once it has room for
/// half of what it may have under way; the other half keeps the broker at work. It is told soon, all the
/// same: a broker that waits for our TCP acknowledgement before it says more would else wait for the
/// kernel's, 40 ms, and look slow for it.
#[derive(Debug)]
pub(super) struct Rooms {
    /// Of each publisher, where it is in a closed loop.
    of: Vec<Option<Room>>,
    /// Whether any of them is.
    is_anybody: bool,
    /// Those that have room for half.
    open: Vec<usize>,
    /// Those that have room, and since when, the first of them first; an entry that its room does not
    /// confirm is void.
    held: VecDeque<(Instant, usize)>,
    /// What all that are connected may have under way together.
    limit: u64,
}

impl Rooms {
    /// For publishers of which those in a closed loop are told.
    pub(super) fn new(closed: impl Iterator<Item = bool>) -> Self {
        let room = Room { limit: 0, under_way: 0, since: None, is_open: false };
        let of: Vec<_> = closed.map(|is_closed| is_closed.then_some(room)).collect();
        Self {
            is_anybody: of.iter().any(Option::is_some),
            of,
            open: Vec::new(),
            held: VecDeque::new(),
            limit: 0,
        }
    }

    /// Something happened to a publisher of this QoS that may have `inflight` messages under way, or fewer
    /// where the broker takes no more.
    pub(super) fn heard<S: Source>(
        &mut self,
        (client, connection): (usize, &Client<S>),
        (qos, inflight): (Qos, u16),
        (happening, at): (&Happening, Instant),
    ) {
        match *happening {
            Happening::Connected => {
                let takes = connection.limits().and_then(|limits| limits.receive_max);
                // A broker bounds what it must answer (MQTT 5, 3.3.4), and no more.
                let takes = takes.filter(|_| qos != Qos::AtMostOnce);
                let limit = takes.unwrap_or(inflight).min(inflight);
                self.connected(client, limit, connection.under_way(), at);
            }
            Happening::Sent { .. } if qos == Qos::AtMostOnce => self.gave(client, at),
            Happening::Answered { stage, reason, .. } if is_over(stage, reason) => {
                self.gave(client, at);
            }
            Happening::Dropped(_) => self.gave(client, at),
            _ => (),
        }
    }

    /// A publisher is connected, may have so many messages under way, and has: what was is not, where
    /// the broker forgot the session.
    fn connected(&mut self, client: usize, limit: u16, under_way: usize, now: Instant) {
        if let Some(room) = self.room(client) {
            room.limit = limit.into();
            room.under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
            self.limit += u64::from(limit);
        }
        self.list(client, now);
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
        if !self.is_anybody {
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
    fn gave(&mut self, client: usize, now: Instant) {
        if let Some(room) = self.room(client) {
            room.under_way = room.under_way.saturating_sub(1);
            self.list(client, now);
        }
    }

    /// When the next publisher is to be told.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.open.is_empty() {
            return Some(Instant::ZERO);
        }
        self.held.front().map(|&(since, _)| since + self.tick(HELD_MAX))
    }

    /// The next publisher that has room at `now`, and for how many messages. It is told again only once
    /// it was given more room.
    pub(super) fn next(&mut self, now: Instant) -> Option<(usize, u32)> {
        while let Some(client) = self.open.pop() {
            let told = self.tell(client);
            if told.is_some() {
                return told;
            }
        }
        let held = self.tick(HELD_MAX);
        while let Some(&(since, client)) = self.held.front().filter(|it| it.0 + held <= now) {
            self.held.pop_front();
            if self.room(client).is_some_and(|room| room.since == Some(since)) {
                let told = self.tell(client);
                if told.is_some() {
                    return told;
                }
            }
        }
        None
    }

    /// Has everybody told that has room.
    pub(super) fn list_all(&mut self, now: Instant) {
        (0..self.of.len()).for_each(|client| self.list(client, now));
    }

    fn tell(&mut self, client: usize) -> Option<(usize, u32)> {
        let room = self.room(client)?;
        (room.since, room.is_open) = (None, false);
        let free = room.limit.saturating_sub(room.under_way);
        (free > 0).then_some((client, free))
    }

    fn room(&mut self, client: usize) -> Option<&mut Room> {
        self.of.get_mut(client)?.as_mut()
    }

    fn list(&mut self, client: usize, now: Instant) {
        let Some(room) = self.room(client).filter(|room| room.limit > room.under_way) else {
            return;
        };
        let has_half = (room.limit - room.under_way) * 2 >= room.limit;
        let is_new = room.since.is_none();
        let opens = has_half && !std::mem::replace(&mut room.is_open, has_half);
        room.since.get_or_insert(now);
        if is_new {
            self.held.push_back((now, client));
        }
        if opens {
            self.open.push(client);
        }
    }
}

/// Whether nothing more is awaited of a message that got this answer.
fn is_over(stage: Stage, reason: u8) -> bool {
    stage != Stage::Pubrec || reason >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Instant = Instant::ZERO;

    fn later(millis: u64) -> Instant {
        NOW + Duration::from_millis(millis)
    }

    #[test]
    fn only_who_is_in_a_closed_loop_has_room() {
        let mut rooms = Rooms::new([false, true].into_iter());
        assert_eq!(rooms.next_due(), None, "nobody is connected");
        rooms.connected(0, 5, 0, NOW);
        assert_eq!(rooms.next_due(), None);
        rooms.connected(1, 5, 0, NOW);
        assert_eq!(rooms.next_due(), Some(NOW));
        assert_eq!((rooms.next(NOW), rooms.next(NOW)), (Some((1, 5)), None));
        (0..5).for_each(|_| rooms.took(1));
        rooms.list_all(NOW);
        assert_eq!((rooms.next(later(9)), rooms.next_due()), (None, None), "it is full");
    }

    #[test]
    fn half_of_it_is_told_at_once_and_less_soon() {
        let mut rooms = Rooms::new([true].into_iter());
        rooms.connected(0, 10_000, 0, NOW);
        let (_, free) = rooms.next(NOW).unwrap();
        (0..free).for_each(|_| rooms.took(0));
        rooms.gave(0, later(1));
        rooms.gave(0, later(2));
        assert_eq!(rooms.next(later(4)), None, "it is not worth a write");
        assert_eq!(rooms.next_due(), Some(later(5)));
        assert_eq!(rooms.next(later(5)), Some((0, 2)), "but soon");
        (0..2).for_each(|_| rooms.took(0));
        assert_eq!(rooms.next_due(), None);
        (0..5_000).for_each(|_| rooms.gave(0, later(6)));
        assert_eq!(rooms.next(later(6)), Some((0, 5_000)));
        (0..5_000).for_each(|_| rooms.took(0));
        assert_eq!(rooms.next(later(99)), None, "it was told");
        rooms.broke(0);
        rooms.gave(0, later(100));
        assert_eq!(rooms.next_due(), None, "it has no connection");
    }

    #[test]
    fn a_session_that_is_lost_leaves_nothing_under_way() {
        let mut rooms = Rooms::new([true].into_iter());
        rooms.connected(0, 10, 0, NOW);
        let (_, free) = rooms.next(NOW).unwrap();
        (0..free).for_each(|_| rooms.took(0));
        rooms.broke(0);
        rooms.connected(0, 10, 0, NOW);
        assert_eq!(rooms.next(NOW), Some((0, 10)));
    }

    #[test]
    fn who_may_have_little_under_way_sleeps_little() {
        let most = Duration::from_millis(4);
        assert_eq!(Rooms::new([false].into_iter()).tick(most), most, "no closed loop");
        let mut rooms = Rooms::new([true; 2].into_iter());
        assert_eq!(rooms.tick(most), Duration::ZERO, "nobody is connected");
        rooms.connected(0, 20, 0, NOW);
        assert_eq!(rooms.tick(most), Duration::from_micros(10));
        rooms.connected(1, 65_534, 0, NOW);
        assert_eq!(rooms.tick(most), most);
        rooms.broke(1);
        assert_eq!(rooms.tick(most), Duration::from_micros(10));
    }

    proptest! {
        #[test]
        fn nobody_has_more_under_way_than_it_may_and_all_that_there_is_room_for_soon(
            limit in 1_u16..8, steps in prop::collection::vec((0_usize..3, any::<bool>()), 0..200),
        ) {
            let mut rooms = Rooms::new([true; 3].into_iter());
            (0..3).for_each(|client| rooms.connected(client, limit, 0, NOW));
            let mut under_way = [0_u32; 3];
            let mut now = NOW;
            for (client, gives) in steps {
                now = now + Duration::from_nanos(100);
                if gives && under_way[client] > 0 {
                    under_way[client] -= 1;
                    rooms.gave(client, now);
                }
                while let Some((client, free)) = rooms.next(now) {
                    for _ in 0..free {
                        under_way[client] += 1;
                        rooms.took(client);
                    }
                }
                for under_way in under_way {
                    prop_assert!(under_way <= u32::from(limit));
                    prop_assert!(under_way >= u32::from(limit) / 2, "and never less than half");
                }
            }
            while let Some((client, free)) = rooms.next(now + HELD_MAX) {
                under_way[client] += free;
            }
            prop_assert_eq!(under_way, [u32::from(limit); 3]);
        }
    }
}
