//! Room `correlate`: how observations reach the correlator that owns their publisher.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Observation, PathId, PublisherId, Roster};

/// A bounded queue of observations that is emptied in batches.
///
/// # Design
///
/// Edges push under a lock that is held for nanoseconds and never wake anybody: the correlator comes
/// by on its own tick and swaps the whole batch for an empty one, so that no observation costs an
/// allocation or a system call. When it is full the edge waits, and the wait is counted: an
/// observation that was dropped would be a message that never was.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    room: Condvar,
    capacity: usize,
    waits: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    observations: Vec<Observation>,
    closed: bool,
}

impl Inbox {
    /// Empty, for at most so many observations.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let (state, room) = (Mutex::new(State::default()), Condvar::new());
        Self { state, room, capacity, waits: AtomicU64::new(0) }
    }

    /// Adds an observation, waiting for room where there is none. After [`Inbox::close`] nobody
    /// reads any more and it is let go.
    pub fn push(&self, observation: Observation) {
        let mut state = self.lock();
        if state.observations.len() >= self.capacity {
            self.waits.fetch_add(1, Ordering::Relaxed);
            while state.observations.len() >= self.capacity && !state.closed {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if !state.closed {
            state.observations.push(observation);
        }
    }

    /// Takes everything, leaving `batch`, whose content goes, in its place.
    pub fn swap(&self, batch: &mut Vec<Observation>) {
        batch.clear();
        std::mem::swap(&mut self.lock().observations, batch);
        // Only a full inbox is waited for, and waking nobody would cost a system call all the same.
        if batch.len() >= self.capacity {
            self.room.notify_all();
        }
    }

    /// Lets every edge go that waits for room, now and later.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }

    /// How often an edge found no room.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of one shard.
#[derive(Debug)]
pub struct Shard {
    /// What publishers saw.
    pub publish: Inbox,
    /// What subscribers and consumers saw. Is to be read before `publish`, so that a message's
    /// sending is known when its arrival is looked at.
    pub receive: Inbox,
}

/// Routes observations to the shard of their publisher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    roster: Arc<Roster>,
    shards: Arc<[Shard]>,
}

impl Router {
    /// For so many shards (at least one), with inboxes of so many observations each.
    #[must_use]
    pub fn new(roster: Arc<Roster>, shards: usize, capacity: usize) -> Self {
        let shard = || Shard { publish: Inbox::new(capacity), receive: Inbox::new(capacity) };
        Self { roster, shards: std::iter::repeat_with(shard).take(shards.max(1)).collect() }
    }

    /// The shards.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The roster that stamps are looked up in.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Hands on what a publisher saw.
    pub fn publish(&self, publisher: PublisherId, observation: Observation) {
        self.shards[publisher.0 as usize % self.shards.len()].publish.push(observation);
    }

    /// Hands on a message that came out, to the shard of the publisher that its stamp names.
    pub fn receive(&self, path: PathId, publisher: u32, observation: Observation) {
        let id = self.roster.find(path, publisher).unwrap_or(PublisherId(0));
        self.shards[id.0 as usize % self.shards.len()].receive.push(observation);
    }

    /// Hands on a count to one shard.
    pub fn count(&self, path: PathId, observation: Observation) {
        self.shards[usize::from(path.0) % self.shards.len()].receive.push(observation);
    }

    /// Hands on what every shard must know.
    pub fn tell_all(&self, observation: Observation) {
        for shard in self.shards.iter() {
            shard.receive.push(observation);
        }
    }
}
