//! Room `correlate`: the slots of one publisher that are not closed yet.
//!
//! # Design
//!
//! Sequences of a publisher are consecutive, so its open slots are a dense window: an entry is found
//! by subtracting the first sequence, with no hashing and no allocation per message. An entry takes
//! 24 bytes. Send time and acknowledgement are kept as distances from the intended send time in units
//! of 256 ns, which last 18 minutes; configuration keeps deadlines below that.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::{Departure, Lane, Outcome};

const UNIT_NANOS: i64 = 256;
const ABSENT: u32 = u32::MAX;
const LANE_BITS: u32 = 4;
/// It may have been given out, and nobody knows when it was due.
const GUESSED: u32 = 1 << 26;
/// It came out, so that it was sent, whether that was seen or not.
const SHOWN: u32 = 1 << 27;
/// The process that sent it ended before the broker's answer, or before it was known that it sent it.
const ORPHAN: u32 = 1 << 28;
const ACCEPTED: u32 = 1 << 29;
const ANSWERED: u32 = 1 << 30;

/// What is known of one open slot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When it was due.
    pub(super) intended: Instant,
    sent: u32,
    acknowledged: u32,
    /// Four bits a lane (0 open, else one more than the outcome's index), flags above.
    bits: u32,
}

impl Entry {
    pub(super) fn new(intended: Instant) -> Self {
        Self { intended, sent: ABSENT, acknowledged: ABSENT, bits: 0 }
    }

    /// How it set out.
    pub(super) fn departure(&self) -> Departure {
        let acknowledged = nanos(self.acknowledged);
        Departure { intended: self.intended, sent: self.sent_after(), acknowledged }
    }

    /// When it was handed to the socket, to within 256 ns.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.sent_after().map(|nanos| self.intended.offset(nanos))
    }

    /// The same as a distance from when it was due, in nanoseconds.
    pub(super) fn sent_after(&self) -> Option<i64> {
        nanos(self.sent)
    }

    pub(super) fn set_sent(&mut self, at: Instant) {
        self.sent = self.distance(at);
    }

    /// Whether the broker has taken it.
    pub(super) fn is_accepted(&self) -> bool {
        self.bits & ACCEPTED != 0
    }

    /// Notes that the broker took it.
    pub(super) fn set_accepted(&mut self, at: Instant) {
        self.bits |= ACCEPTED;
        self.acknowledged = self.distance(at);
    }

    /// Whether no further answer of the broker is awaited.
    pub(super) fn is_answered(&self) -> bool {
        self.bits & ANSWERED != 0
    }

    pub(super) fn set_answered(&mut self) {
        self.bits |= ANSWERED;
    }

    /// A slot that may have been given out by a process that ended; `at` stands for when it was due.
    pub(super) fn guessed(at: Instant) -> Self {
        let mut entry = Self::new(at);
        entry.bits |= GUESSED;
        entry
    }

    /// Whether nobody knows when it was due.
    pub(super) fn is_guessed(&self) -> bool {
        self.bits & GUESSED != 0
    }

    /// Notes that the process that owned it has ended: what had not been answered never will be.
    pub(super) fn set_orphan(&mut self) {
        if !self.is_answered() {
            self.bits |= ORPHAN | ANSWERED;
        }
    }

    /// Whether it can't be known any more whether it was sent, or whether the broker took it.
    pub(super) fn is_orphan(&self) -> bool {
        self.bits & ORPHAN != 0
    }

    /// Notes that it came out; whether that is the first that is known of its sending.
    pub(super) fn shows_sending(&mut self) -> bool {
        let is_news = self.sent().is_none() && self.is_orphan() && self.bits & SHOWN == 0;
        self.bits |= SHOWN;
        is_news
    }

    /// What became of it on a lane, if that is known.
    pub(super) fn outcome(&self, lane: Lane) -> Option<Outcome> {
        let code = (self.bits >> (Self::shift(lane))) & ((1 << LANE_BITS) - 1);
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        Outcome::ALL.get(index).copied()
    }

    /// Whether nothing became of it yet on a lane.
    pub(super) fn is_open(&self, lane: Lane) -> bool {
        (self.bits >> Self::shift(lane)) & ((1 << LANE_BITS) - 1) == 0
    }

    pub(super) fn set_outcome(&mut self, lane: Lane, outcome: Outcome) {
        let mask = ((1 << LANE_BITS) - 1) << Self::shift(lane);
        // Seven outcomes fit the four bits of a lane.
        let code = u32::try_from(outcome.index() + 1).unwrap_or(0) << Self::shift(lane);
        self.bits = (self.bits & !mask) | code;
    }

    const fn shift(lane: Lane) -> u32 {
        match lane {
            Lane::MqttKafka => 0,
            Lane::MqttMqtt => LANE_BITS,
        }
    }

    fn distance(&self, at: Instant) -> u32 {
        let units = at.nanos_since(self.intended).max(0) / UNIT_NANOS;
        u32::try_from(units).unwrap_or(ABSENT).min(ABSENT - 1)
    }
}

/// A kept distance in nanoseconds, where there is one.
fn nanos(distance: u32) -> Option<i64> {
    (distance != ABSENT).then(|| i64::from(distance) * UNIT_NANOS)
}

/// The open slots of one publisher.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    first: u64,
    entries: VecDeque<Entry>,
}

/// Where a sequence stands.
#[derive(Debug)]
pub(super) enum Place<'ledger> {
    /// Its slot is open.
    Open(&'ledger mut Entry),
    /// Its slot is closed.
    Closed,
    /// It was never given out.
    Unknown,
}

impl Ledger {
    /// The sequence that is given out next.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    pub(super) fn place(&mut self, sequence: u64) -> Place<'_> {
        let Some(index) = sequence.checked_sub(self.first) else {
            return Place::Closed;
        };
        match usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => Place::Open(entry),
            None => Place::Unknown,
        }
    }

    /// The open slots, oldest first, with their sequences.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Entry)> {
        (self.first..).zip(&mut self.entries)
    }

    pub(super) fn front(&self) -> Option<(u64, &Entry)> {
        self.entries.front().map(|entry| (self.first, entry))
    }

    /// Closes the oldest slot.
    pub(super) fn pop(&mut self) {
        if self.entries.pop_front().is_some() {
            self.first += 1;
        }
        // A burst must not pin its memory for the rest of a long run.
        if self.entries.capacity() > 4_096 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.capacity() / 4);
        }
    }
}

const _: () = assert!(size_of::<Entry>() <= 24, "an open slot takes 24 bytes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_of_lanes_do_not_disturb_each_other() {
        let mut entry = Entry::new(Instant::ZERO);
        for outcome in Outcome::ALL {
            entry.set_outcome(Lane::MqttMqtt, outcome);
            assert_eq!(entry.outcome(Lane::MqttMqtt), Some(outcome));
            assert_eq!(entry.outcome(Lane::MqttKafka), None);
        }
        entry.set_outcome(Lane::MqttKafka, Outcome::Late);
        entry.set_accepted(Instant::from_nanos(512));
        assert_eq!(entry.departure().acknowledged, Some(512));
        assert_eq!(entry.outcome(Lane::MqttMqtt), Some(Outcome::Unresolved));
        assert_eq!(entry.outcome(Lane::MqttKafka), Some(Outcome::Late));
        assert!(entry.is_accepted() && !entry.is_answered());
    }

    #[test]
    fn moments_are_kept_to_their_unit_and_saturate() {
        let mut entry = Entry::new(Instant::from_nanos(1_000));
        assert_eq!(entry.sent(), None);
        entry.set_sent(Instant::from_nanos(1_000 + 1_000_123));
        assert_eq!(entry.sent().unwrap().nanos_since(entry.intended), 1_000_123 / 256 * 256);
        entry.set_sent(Instant::from_nanos(u64::MAX));
        assert!(entry.sent().is_some(), "later than the unit reaches is still sent");
    }

    #[test]
    fn a_sequence_is_open_closed_or_unknown() {
        let mut ledger = Ledger::default();
        ledger.push(Entry::new(Instant::ZERO));
        ledger.push(Entry::new(Instant::ZERO));
        ledger.pop();
        assert!(matches!(ledger.place(0), Place::Closed));
        assert!(matches!(ledger.place(1), Place::Open(_)));
        assert!(matches!(ledger.place(2), Place::Unknown));
        assert!(matches!(ledger.place(u64::MAX), Place::Unknown));
        assert_eq!(ledger.next(), 2);
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut ledger = Ledger::default();
        for _ in 0..100_000 {
            ledger.push(Entry::new(Instant::ZERO));
        }
        for _ in 0..100_000 {
            ledger.pop();
        }
        assert!(ledger.entries.capacity() < 10_000, "{}", ledger.entries.capacity());
    }
}
