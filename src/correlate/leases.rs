//! Room `correlate`: how far each publisher may number its slots.
//!
//! # Design
//!
//! Where state outlives its process, no sequence may be given out that is not known to be leased: the
//! next process goes on behind the lease, so that no two messages ever share an identity. Whoever
//! keeps the state grants leases well ahead, so that publishers look at one number and go on. One that
//! has come to its end waits, which is counted: it is the probe that is late then.
//!
//! While nothing can be kept nobody waits, and whoever needs a lease takes it. The ends of all leases
//! thus bound what was given out at any time, and state can be kept again from one moment to the next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::PublisherId;

/// Who waits for so long waits once more.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Shortest lease.
const BLOCK_MIN: u64 = 16;

/// The leases of all publishers, between those who number slots and the one who keeps the state.
#[derive(Debug)]
pub struct Leases {
    /// Where each publisher of this process begins.
    first: Vec<u64>,
    /// How many sequences each is leased at a time.
    blocks: Vec<u64>,
    ends: Vec<AtomicU64>,
    /// Whether publishers take leases themselves, because nothing is kept.
    suspended: AtomicBool,
    waits: AtomicU64,
    gate: Mutex<()>,
    granted: Condvar,
}

impl Leases {
    /// Each publisher begins at its `first` sequence and is leased about a second of its rate at a time.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive; float casts saturate"
    )]
    pub fn new(first: Vec<u64>, rates: impl IntoIterator<Item = f64>) -> Self {
        let blocks = rates.into_iter().map(|rate| (rate.ceil() as u64).max(BLOCK_MIN)).collect();
        let ends = first.iter().map(|&first| AtomicU64::new(first)).collect();
        let (suspended, waits) = (AtomicBool::new(false), AtomicU64::new(0));
        let (gate, granted) = (Mutex::default(), Condvar::new());
        Self { first, blocks, ends, suspended, waits, gate, granted }
    }

    /// Where a publisher begins.
    #[must_use]
    pub fn first(&self, publisher: PublisherId) -> u64 {
        self.first.get(publisher.0 as usize).copied().unwrap_or(0)
    }

    /// Returns when a publisher may give a sequence out. Where it must wait, `first` is called before: a
    /// lease follows from what the books know of those that were given out, so that whoever keeps
    /// something to itself that it has seen would wait for ever.
    pub fn await_grant(&self, publisher: PublisherId, sequence: u64, first: impl FnOnce()) {
        let Some(end) = self.ends.get(publisher.0 as usize) else { return };
        let may = || sequence < end.load(Ordering::Acquire);
        if may() {
            return;
        }
        first();
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        while !may() {
            if self.suspended.load(Ordering::Acquire) {
                let block = self.blocks.get(publisher.0 as usize).copied().unwrap_or(BLOCK_MIN);
                end.fetch_max(sequence.saturating_add(block), Ordering::AcqRel);
                return;
            }
            self.waits.fetch_add(1, Ordering::Relaxed);
            let waited = self.granted.wait_timeout(gate, COUNT_EVERY);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The end of the lease that a publisher is to have which gives `next` out next, where that is not
    /// the one it has: less than half of that is left.
    #[must_use]
    pub fn due(&self, publisher: PublisherId, next: u64) -> Option<u64> {
        let at = publisher.0 as usize;
        let (block, end) = (*self.blocks.get(at)?, self.ends.get(at)?.load(Ordering::Acquire));
        (end.saturating_sub(next) < block.div_ceil(2)).then(|| next.saturating_add(block))
    }

    /// Grants a lease that is kept.
    pub fn grant(&self, publisher: PublisherId, end: u64) {
        if let Some(lease) = self.ends.get(publisher.0 as usize) {
            lease.fetch_max(end, Ordering::AcqRel);
            self.wake();
        }
    }

    /// The ends of all leases, by publisher.
    #[must_use]
    pub fn ends(&self) -> Vec<u64> {
        self.ends.iter().map(|end| end.load(Ordering::Acquire)).collect()
    }

    /// Lets whoever has come to the end of a lease take the next one, because nothing is kept.
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends that: something is kept again. No publisher gives out what [`Leases::ends`] does not bound
    /// from then on.
    pub fn resume(&self) {
        // Who takes a lease holds the gate, and has it by now or does not get it.
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.suspended.store(false, Ordering::Release);
        drop(gate);
    }

    /// How often a publisher had to wait; a long wait is one more each second, for as long as it lasts.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Wakes whoever waits. Who has just looked in vain holds the gate until it sleeps.
    fn wake(&self) {
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.granted.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const ONE: PublisherId = PublisherId(1);

    fn leases() -> Leases {
        Leases::new(vec![0, 100], [2.0, 1_000.0])
    }

    #[test]
    fn a_lease_is_a_second_of_the_rate_and_is_extended_when_half_of_it_is_gone() {
        let leases = leases();
        assert_eq!((leases.first(PublisherId(0)), leases.first(ONE)), (0, 100));
        assert_eq!(leases.due(PublisherId(0), 0), Some(16));
        assert_eq!(leases.due(ONE, 100), Some(1_100));
        leases.grant(ONE, 1_100);
        assert_eq!(leases.due(ONE, 600), None);
        assert_eq!(leases.due(ONE, 601), Some(1_601));
        assert_eq!(leases.ends(), [0, 1_100]);
        leases.grant(ONE, 500);
        assert_eq!(leases.ends()[1], 1_100, "what was leased is leased");
    }

    #[test]
    fn nobody_gives_out_what_is_not_leased() {
        let leases = leases();
        leases.grant(ONE, 101);
        leases.await_grant(ONE, 100, || unreachable!());
        assert_eq!(leases.waits(), 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| leases.await_grant(ONE, 101, || {}));
            while leases.waits() == 0 {
                thread::yield_now();
            }
            assert!(!waiting.is_finished());
            leases.grant(ONE, 102);
            waiting.join().unwrap();
            let waiting = scope.spawn(|| leases.await_grant(ONE, u64::MAX, || {}));
            leases.suspend();
            waiting.join().unwrap();
        });
    }

    #[test]
    fn while_nothing_is_kept_leases_are_taken_and_bound_what_is_given_out_all_the_same() {
        let leases = leases();
        leases.suspend();
        leases.await_grant(ONE, 100, || {});
        assert_eq!((leases.ends()[1], leases.waits()), (1_100, 0));
        leases.await_grant(ONE, 1_099, || {});
        assert_eq!(leases.ends()[1], 1_100, "it has that one");
        leases.await_grant(ONE, 1_100, || {});
        leases.resume();
        assert_eq!(leases.ends(), [0, 2_100]);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| leases.await_grant(ONE, 2_100, || {}));
            while leases.waits() == 0 {
                thread::yield_now();
            }
            assert!(!waiting.is_finished(), "it is to be kept first");
            leases.grant(ONE, 2_101);
            waiting.join().unwrap();
        });
    }
}
