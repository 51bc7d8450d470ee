//! Room `correlate`: how observations reach the correlator that owns their publisher.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Lane, Observation, PathId, PublisherId, Roster, Row, Sink};

/// A bounded queue of observations that is emptied in batches.
///
/// # Design
///
/// Edges push under a lock that is held for nanoseconds and never wake anybody: the correlator comes
/// by on its own tick and swaps the whole batch for an empty one, so that no observation costs an
/// allocation or a system call. When it is full the edge waits, and the wait is counted: an
/// observation that was dropped would be a message that never was.
#[derive(Debug)]
pub struct Inbox<T> {
    state: Mutex<State<T>>,
    room: Condvar,
    capacity: usize,
    waits: AtomicU64,
}

#[derive(Debug)]
struct State<T> {
    observations: Vec<T>,
    closed: bool,
}

impl<T: Copy> Inbox<T> {
    /// Empty, for at most so many observations.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let (state, room) =
            (Mutex::new(State { observations: Vec::new(), closed: false }), Condvar::new());
        Self { state, room, capacity, waits: AtomicU64::new(0) }
    }

    /// Adds an observation, waiting for room where there is none. After [`Inbox::close`] nobody
    /// reads any more and it is let go.
    pub fn push(&self, observation: T) {
        let mut state = self.lock();
        if state.observations.len() >= self.capacity {
            state = self.await_room(state);
        }
        if !state.closed {
            state.observations.push(observation);
        }
    }

    /// Adds observations in their order and leaves `batch` empty, waiting for room where there is none.
    /// After [`Inbox::close`] nobody reads any more and they are let go.
    pub fn append(&self, batch: &mut Vec<T>) {
        let mut state = self.lock();
        let mut rest = batch.as_slice();
        while !rest.is_empty() && !state.closed {
            let room = self.capacity.saturating_sub(state.observations.len());
            let (next, behind) = rest.split_at(room.min(rest.len()));
            state.observations.extend_from_slice(next);
            rest = behind;
            if !rest.is_empty() {
                state = self.await_room(state);
            }
        }
        batch.clear();
    }

    /// Counts the wait, and waits until there is room or nobody reads any more.
    fn await_room<'a>(&'a self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let is_full =
            |state: &mut State<T>| state.observations.len() >= self.capacity && !state.closed;
        self.room.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything, leaving `batch`, whose content goes, in its place.
    pub fn swap(&self, batch: &mut Vec<T>) {
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

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of one shard.
#[derive(Debug)]
pub struct Shard {
    /// What publishers saw.
    pub publish: Inbox<Row>,
    /// What subscribers and consumers saw. Is to be read before `publish`, so that a message's
    /// sending is known when its arrival is looked at.
    pub receive: Inbox<Observation>,
}

/// What a dense partition index stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionName {
    /// The path whose consumer was assigned the partition.
    pub path: PathId,
    /// The lane that it reads for.
    pub lane: Lane,
    /// The index that its records are observed under.
    pub slot: u32,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The offset that reading began at.
    pub from: i64,
}

/// Routes observations to the shard of their publisher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    roster: Arc<Roster>,
    shards: Arc<[Shard]>,
    /// Names that nobody has taken note of.
    names: Arc<Mutex<Vec<PartitionName>>>,
}

impl Router {
    /// For so many shards (at least one), with inboxes of so many observations each.
    #[must_use]
    pub fn new(roster: Arc<Roster>, shards: usize, capacity: usize) -> Self {
        let shard = || Shard { publish: Inbox::new(capacity), receive: Inbox::new(capacity) };
        let shards = std::iter::repeat_with(shard).take(shards.max(1)).collect();
        Self { roster, shards, names: Arc::default() }
    }

    /// The shards.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The roster that stamps are looked up in.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Hands on what a publisher saw.
    pub fn publish(&self, publisher: PublisherId, observation: Observation) {
        self.shards[self.shard_of(publisher)].publish.push(observation.into());
    }

    /// Hands on a message that came out, to the shard of the publisher that its stamp names.
    pub fn receive(&self, path: PathId, publisher: u32, observation: Observation) {
        self.shards[self.shard_of_received(path, publisher, &observation)]
            .receive
            .push(observation);
    }

    /// The shard that a publisher's messages are booked in.
    #[inline]
    pub(super) fn shard_of(&self, publisher: PublisherId) -> usize {
        publisher.0 as usize % self.shards.len()
    }

    /// The shard of the publisher that a message's stamp names; some shard where it names nobody.
    #[inline]
    pub(super) fn shard_of_received(
        &self,
        path: PathId,
        publisher: u32,
        observation: &Observation,
    ) -> usize {
        let control = matches!(
            observation,
            Observation::Received { sink: Sink::Control { .. }, .. }
                | Observation::Found { lane: Lane::KafkaKafka, .. }
        );
        self.shard_of(self.roster.find(path, publisher, control).unwrap_or(PublisherId(0)))
    }

    /// The shard that a path's counts go to.
    pub(super) fn shard_of_path(&self, path: PathId) -> usize {
        usize::from(path.0) % self.shards.len()
    }

    /// Names partitions, before anything is observed of them.
    pub fn name(&self, names: Vec<PartitionName>) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    /// Takes the names that were given since the last time. To be asked after observations were taken,
    /// so that none of these is of a partition without a name.
    #[must_use]
    pub fn take_names(&self) -> Vec<PartitionName> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands on a count to one shard.
    pub fn count(&self, path: PathId, observation: Observation) {
        self.shards[self.shard_of_path(path)].receive.push(observation);
    }

    /// Hands on what every shard must know.
    pub fn tell_all(&self, observation: Observation) {
        for shard in self.shards.iter() {
            shard.receive.push(observation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::correlate::{Carrier, Path, Qos};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    fn woken(nanos: i64) -> Observation {
        Observation::Woken { publisher: PublisherId(0), nanos }
    }

    fn taken<T: Copy>(inbox: &Inbox<T>) -> Vec<T> {
        let mut batch = Vec::new();
        inbox.swap(&mut batch);
        batch
    }

    /// Waits until somebody has found the inbox full.
    fn await_waits(inbox: &Inbox<Observation>, waits: u64) {
        while inbox.waits() < waits {
            thread::yield_now();
        }
    }

    #[test]
    fn order_is_kept_and_the_batch_is_emptied() {
        let inbox = Inbox::new(10);
        (0..3).for_each(|n| inbox.push(woken(n)));
        let mut batch = vec![woken(99)];
        inbox.swap(&mut batch);
        assert_eq!(batch, [woken(0), woken(1), woken(2)]);
        inbox.push(woken(3));
        inbox.swap(&mut batch);
        assert_eq!(batch, [woken(3)], "what the last batch held is gone");
        assert_eq!(inbox.waits(), 0);
    }

    #[test]
    fn a_full_inbox_blocks_the_pusher_and_counts_the_wait_once() {
        let inbox = Inbox::new(2);
        let (done, finished) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                (0..3).for_each(|n| inbox.push(woken(n)));
                done.send(()).unwrap();
            });
            await_waits(&inbox, 1);
            assert_eq!(finished.try_recv(), Err(mpsc::TryRecvError::Empty));
            assert_eq!(taken(&inbox), [woken(0), woken(1)], "never more than its capacity");
            finished.recv().unwrap();
        });
        assert_eq!(taken(&inbox), [woken(2)]);
        assert_eq!(inbox.waits(), 1);
    }

    #[test]
    fn a_batch_that_finds_no_room_waits_with_what_is_left_of_it() {
        let inbox = Inbox::new(2);
        thread::scope(|scope| {
            let appending = scope.spawn(|| {
                let mut batch = (0..5).map(woken).collect();
                inbox.append(&mut batch);
                batch
            });
            for (waits, expected) in [(1, [woken(0), woken(1)]), (2, [woken(2), woken(3)])] {
                await_waits(&inbox, waits);
                assert_eq!(taken(&inbox), expected);
            }
            assert_eq!(appending.join().unwrap(), [], "all of it went in");
        });
        assert_eq!(taken(&inbox), [woken(4)]);
        assert_eq!(inbox.waits(), 2);
        inbox.close();
        let mut batch = vec![woken(5)];
        inbox.append(&mut batch);
        assert_eq!((taken(&inbox), batch), (vec![], vec![]), "nobody reads any more");
    }

    #[test]
    fn nothing_is_lost_between_many_pushers_and_a_reader() {
        const EACH: i64 = 2_000;
        let inbox = Inbox::new(7);
        let mut seen = Vec::new();
        thread::scope(|scope| {
            for pusher in 0..3 {
                let inbox = &inbox;
                scope.spawn(move || {
                    (0..EACH).for_each(|n| inbox.push(woken(pusher * EACH + n)));
                });
            }
            while seen.len() < 3 * 2_000 {
                let batch = taken(&inbox);
                assert!(batch.len() <= 7);
                seen.extend(batch);
                thread::yield_now();
            }
        });
        for pusher in 0..3 {
            let own = seen.iter().filter_map(|observation| match observation {
                Observation::Woken { nanos, .. } if nanos / EACH == pusher => Some(*nanos),
                _ => None,
            });
            assert!(own.eq(pusher * EACH..(pusher + 1) * EACH), "each pusher's order is kept");
        }
    }

    #[test]
    fn closing_lets_waiting_pushers_go_and_takes_nothing_more() {
        let inbox = Inbox::new(1);
        inbox.push(woken(0));
        thread::scope(|scope| {
            scope.spawn(|| inbox.push(woken(1)));
            scope.spawn(|| inbox.push(woken(2)));
            await_waits(&inbox, 2);
            inbox.close();
        });
        inbox.push(woken(3));
        assert_eq!(taken(&inbox), [woken(0)]);
        inbox.push(woken(4));
        assert_eq!(taken(&inbox), [], "closed for good");
    }

    fn router(shards: usize) -> Router {
        let mut roster = Roster::default();
        for name in ["a", "b"] {
            let path = Path {
                name: name.into(),
                lanes: vec![Lane::MqttKafka],
                qos: vec![Qos::AtMostOnce],
                carriers: vec![Carrier::Payload],
                deadline: Duration::from_secs(1),
            };
            roster.add(path, [Qos::AtMostOnce; 3]);
        }
        Router::new(Arc::new(roster), shards, 100)
    }

    fn counts(router: &Router) -> Vec<(usize, usize)> {
        let shards = router.shards().iter();
        shards.map(|shard| (taken(&shard.publish).len(), taken(&shard.receive).len())).collect()
    }

    #[test]
    fn sending_and_arrival_meet_at_the_shard_that_owns_the_publisher() {
        let router = router(4);
        // Publisher 1 of path 1 is the fifth of the roster.
        router.publish(PublisherId(4), woken(0));
        router.receive(PathId(1), 1, woken(0));
        assert_eq!(counts(&router), [(1, 1), (0, 0), (0, 0), (0, 0)]);
        router.publish(PublisherId(3), woken(0));
        router.receive(PathId(1), 0, woken(0));
        assert_eq!(counts(&router), [(0, 0), (0, 0), (0, 0), (1, 1)]);
    }

    #[test]
    fn a_stamp_of_nobody_reaches_some_shard_that_books_it_as_foreign() {
        let router = router(3);
        router.receive(PathId(1), 7, woken(0));
        router.receive(PathId(99), 0, woken(0));
        router.count(PathId(1), woken(0));
        let received: usize = counts(&router).iter().map(|&(_, receive)| receive).sum();
        assert_eq!(received, 3);
    }

    #[test]
    fn everybody_is_told_behind_what_was_received_before() {
        let router = router(3);
        let caught_up =
            Observation::CaughtUp { path: PathId(0), lane: Lane::MqttKafka, at: Instant::ZERO };
        (0..3).for_each(|publisher| router.receive(PathId(0), publisher, woken(5)));
        router.tell_all(caught_up);
        for shard in router.shards() {
            assert_eq!(taken(&shard.receive), [woken(5), caught_up]);
            assert_eq!(taken(&shard.publish), []);
        }
    }

    #[test]
    fn there_is_always_a_shard() {
        assert_eq!(router(0).shards().len(), 1);
    }
}
