//! Room `consume`: what the readers of one path and lane have to say together.
//!
//! # Design
//!
//! Each reader reads partitions of its own and knows nothing of the others. What is said of the path
//! holds only when it holds of every reader: that all was read which was there at some moment (the
//! least of what the readers say), that what is read comes out just now, that the connections stand.
//! So each reader says here what it has to say, behind what it has handed over, and passes on what has
//! become true by it. That is asked a few times a second, and never for a record.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Config;
use crate::clock::Instant;

/// One of the readers that share the partitions of a path and lane.
#[derive(Debug)]
pub struct Member {
    team: Arc<Mutex<Team>>,
    index: usize,
    slots: Slots,
}

/// The readers of a path and lane, as many as its configuration wants.
#[must_use]
pub fn members(config: &Config) -> Vec<Member> {
    let resumed = config.resumed.as_deref();
    let slots = Slots::behind(resumed.unwrap_or_default().iter().map(|of| of.slot));
    let team = Arc::new(Mutex::new(Team::new(config.readers.max(1), resumed.is_some())));
    let member = |index| Member { team: Arc::clone(&team), index, slots: slots.clone() };
    (0..config.readers.max(1)).map(member).collect()
}

impl Member {
    /// Its number among the readers.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// What numbers the partitions of all of them.
    pub(super) fn slots(&self) -> Slots {
        self.slots.clone()
    }

    /// It has read all that was there at a moment; the moment of which that now holds for all of them,
    /// if there is a later one than before.
    pub(super) fn catch_up(&self, at: Instant) -> Option<Instant> {
        self.team().catch_up(self.index, at)
    }

    /// What it reads comes out just now; whether it is the last of them to say so.
    pub(super) fn come_abreast(&self) -> bool {
        self.team().come_abreast(self.index)
    }

    /// Its connections stand; whether those of all of them do.
    pub(super) fn stand(&self) -> bool {
        self.team().set_standing(self.index, true)
    }

    /// A connection of it broke.
    pub(super) fn fall(&self) {
        self.team().set_standing(self.index, false);
    }

    fn team(&self) -> MutexGuard<'_, Team> {
        self.team.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers partitions: none twice among all readers of a path and lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<AtomicU32>);

impl Slots {
    /// Behind these numbers.
    pub(super) fn behind(given: impl Iterator<Item = u32>) -> Self {
        let next = given.max().map_or(0, |last| last.saturating_add(1));
        Self(Arc::new(AtomicU32::new(next)))
    }

    /// A number that no other partition has.
    pub(super) fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Team {
    members: Vec<Standing>,
    /// The moment that all had caught up with when that was passed on last.
    told: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    caught_up: Instant,
    is_behind: bool,
    stands: bool,
}

impl Team {
    fn new(members: usize, is_behind: bool) -> Self {
        let standing = Standing { caught_up: Instant::ZERO, is_behind, stands: false };
        Self { members: vec![standing; members], told: Instant::ZERO }
    }

    fn catch_up(&mut self, member: usize, at: Instant) -> Option<Instant> {
        let own = &mut self.members[member].caught_up;
        *own = at.max(*own);
        let all = self.members.iter().map(|member| member.caught_up).min()?;
        (all > self.told).then(|| {
            self.told = all;
            all
        })
    }

    fn come_abreast(&mut self, member: usize) -> bool {
        let was_behind = std::mem::replace(&mut self.members[member].is_behind, false);
        was_behind && self.members.iter().all(|member| !member.is_behind)
    }

    fn set_standing(&mut self, member: usize, stands: bool) -> bool {
        self.members[member].stands = stands;
        self.members.iter().all(|member| member.stands)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn all_have_caught_up_with_what_the_last_has() {
        let mut team = Team::new(2, false);
        assert_eq!(team.catch_up(0, at(3)), None, "the other one has read nothing");
        assert_eq!(team.catch_up(1, at(2)), Some(at(2)));
        assert_eq!(team.catch_up(1, at(2)), None, "told already");
        assert_eq!(team.catch_up(1, at(5)), Some(at(3)));
        assert_eq!(team.catch_up(0, at(4)), Some(at(4)));
        assert_eq!(Team::new(1, false).catch_up(0, at(9)), Some(at(9)));
    }

    #[test]
    fn all_are_abreast_and_stand_when_each_does() {
        let mut team = Team::new(2, true);
        assert!(!team.come_abreast(1) && !team.come_abreast(1), "one is not all");
        assert!(team.come_abreast(0));
        assert!(!team.come_abreast(0), "said once");
        assert!(!team.set_standing(0, true));
        assert!(team.set_standing(1, true) && team.set_standing(1, true), "said each time");
        assert!(!team.set_standing(0, false) && !team.set_standing(1, true));
        assert!(team.set_standing(0, true));
    }

    #[test]
    fn no_two_readers_number_a_partition_alike() {
        let slots = Slots::behind([4, 0].into_iter());
        let other = slots.clone();
        assert_eq!([slots.next(), other.next(), slots.next()], [5, 6, 7]);
        assert_eq!(Slots::behind(std::iter::empty()).next(), 0);
    }

    proptest! {
        #[test]
        fn what_is_told_of_all_holds_for_each(
            members in 1_usize..6,
            said in proptest::collection::vec((0_usize..6, 1_u64..50), 0..100),
        ) {
            let mut team = Team::new(members, false);
            let (mut own, mut told) = (vec![Instant::ZERO; members], Instant::ZERO);
            for (member, seconds) in said {
                let member = member % members;
                own[member] = own[member].max(at(seconds));
                let least = own.iter().copied().min().unwrap();
                let all = team.catch_up(member, at(seconds));
                prop_assert_eq!(all, (least > told).then_some(least));
                told = told.max(least);
            }
        }
    }
}
