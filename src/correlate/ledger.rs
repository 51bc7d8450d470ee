//! Room `correlate`: the slots of one publisher that are not closed yet.
//!
//! # Design
//!
//! Sequences of a publisher are consecutive, so its open slots are a dense window: an entry is found
//! by subtracting the first sequence, with no hashing and no allocation per message. An entry takes
//! 32 bytes. Every moment is kept as a distance from the intended send time in units of 256 ns, which
//! last 18 minutes; configuration keeps deadlines below that.
//!
//! The last slots that were closed stay at hand, as many as the caller has room for: what comes out
//! again soon is then known by when it came out first.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::{Append, Departure, Gap, Lane, Outcome, Sink};

const UNIT_NANOS: i64 = 256;
const ABSENT: u32 = u32::MAX;
const LANE_BITS: u32 = 4;
/// It may have been given out, and nobody knows when it was due.
const GUESSED: u32 = 1 << 26;
/// It came out, so that it was sent, whether that was seen or not.
const SHOWN: u32 = 1 << 27;
/// The process that sent it ended before the broker's answer, or before it was known that it sent it.
const ORPHAN: u32 = 1 << 28;
/// A message has so many lanes at most.
const LANES_TOGETHER: usize = 2;
/// Where the numbers of copies begin, behind the outcomes of every lane.
const COPIES_SHIFT: u32 = 12;
const SEEN: u32 = 1 << 25;
const ACCEPTED: u32 = 1 << 29;
const ANSWERED: u32 = 1 << 30;

/// What is known of one open slot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When it was due.
    pub(super) intended: Instant,
    sent: u32,
    acknowledged: u32,
    appended: u32,
    /// First arrival on each lane.
    arrived: [u32; LANES_TOGETHER],
    /// Four bits a lane (0 open, else one more than the outcome's index), four bits a lane for how
    /// often it came out, flags above.
    bits: u32,
}

impl Entry {
    pub(super) fn new(intended: Instant) -> Self {
        let arrived = [ABSENT; LANES_TOGETHER];
        Self { intended, sent: ABSENT, acknowledged: ABSENT, appended: ABSENT, arrived, bits: 0 }
    }

    /// How it set out.
    pub(super) fn departure(&self) -> Departure {
        let (sent, acknowledged) = (nanos(self.sent).into(), nanos(self.acknowledged).into());
        Departure { intended: self.intended, sent, acknowledged }
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

    /// Notes what a record's timestamp says of it: its CreateTime and its LogAppendTime, whichever it
    /// has, as distances from when it was due, in nanoseconds.
    pub(super) fn note_stamped(&mut self, sink: Sink) -> (Option<i64>, Option<i64>) {
        match sink {
            Sink::Kafka { append: Append::LogAppendTime(at), .. }
            | Sink::Control { append: Append::LogAppendTime(at), .. } => {
                self.appended = self.distance(at);
                (None, Some(at.nanos_since(self.intended)))
            }
            Sink::Kafka { append: Append::CreateTime(at), .. }
            | Sink::Control { append: Append::CreateTime(at), .. } => {
                (Some(at.nanos_since(self.intended)), None)
            }
            Sink::Kafka { append: Append::None, .. }
            | Sink::Control { append: Append::None, .. }
            | Sink::Mqtt { .. } => (None, None),
        }
    }

    /// For how long the broker had taken it when Kafka appended it. `None` until all is known.
    pub(super) fn durability_gap(&self) -> Option<Gap> {
        // A leader whose clock is behind may have said that it was appended before it was due.
        let appended = nanos(self.appended)?;
        Some(Gap {
            intended: self.intended,
            acknowledged: nanos(self.acknowledged)?,
            appended: if appended == 0 { i64::MIN } else { appended },
            received: nanos(self.arrived[Lane::MqttKafka.index()])?,
            slot: None,
        })
    }

    /// Notes an arrival on a lane: how many there were with it, as far as 15, and how far from the first
    /// that was booked it came, in nanoseconds; readers of different partitions may hand theirs over in
    /// another order than they came in.
    pub(super) fn note_arrival(&mut self, lane: Lane, at: Instant) -> (u8, i64) {
        let shift = COPIES_SHIFT + Self::shift(lane);
        let count = ((self.bits >> shift) & COPIES_MAX).saturating_add(1).min(COPIES_MAX);
        self.bits = (self.bits & !(COPIES_MAX << shift)) | (count << shift);
        let distance = self.distance(at);
        // What a second look had noted was no arrival.
        let was_seen = self.is_seen(lane) && count == 1;
        if was_seen {
            self.bits &= !SEEN;
        }
        let first = &mut self.arrived[lane.index() % LANES_TOGETHER];
        if was_seen || *first == ABSENT {
            *first = distance;
        }
        let spread = i64::from(distance.abs_diff(*first)) * UNIT_NANOS;
        (u8::try_from(count).unwrap_or(u8::MAX), spread)
    }

    /// Whether a second look has seen it in Kafka, where the reader of this lane did not come upon it yet.
    /// A message has one lane at most that ends there.
    pub(super) fn is_seen(&self, lane: Lane) -> bool {
        lane.ends_in_kafka() && self.bits & SEEN != 0
    }

    /// Notes that a second look at what there was at a moment has seen it.
    pub(super) fn set_seen(&mut self, lane: Lane, at: Instant, append: Append) {
        if self.bits & SEEN != 0 {
            return;
        }
        self.bits |= SEEN;
        self.arrived[lane.index() % LANES_TOGETHER] = self.distance(at);
        if let Append::LogAppendTime(at) = append {
            self.appended = self.distance(at);
        }
    }

    /// Whether a reader that has caught up with a moment had passed it when it was seen.
    pub(super) fn was_passed(&self, lane: Lane, caught_up: Instant) -> bool {
        let seen = nanos(self.arrived[lane.index() % LANES_TOGETHER]);
        // The moment at which it was seen is kept that finely.
        seen.is_some_and(|seen| caught_up.nanos_since(self.intended) - seen > UNIT_NANOS)
    }

    /// When Kafka appended it, if that is known, as a distance from when it was due, in nanoseconds.
    pub(super) fn appended_after(&self) -> Option<i64> {
        nanos(self.appended)
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
            Lane::KafkaKafka => 2 * LANE_BITS,
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

/// The open slots of one publisher, and the last ones before them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Sequence of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// How many entries are closed: the first ones.
    closed: usize,
}

/// Where a sequence stands.
#[derive(Debug)]
pub(super) enum Place<'ledger> {
    /// Its slot is open.
    Open(&'ledger mut Entry),
    /// Its slot is closed; one of the last ones is still at hand.
    Closed(Option<&'ledger mut Entry>),
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

    /// Adds so many that are alike.
    pub(super) fn push_alike(&mut self, entry: Entry, count: usize) {
        self.entries.resize(self.entries.len() + count, entry);
    }

    pub(super) fn place(&mut self, sequence: u64) -> Place<'_> {
        let Some(index) = sequence.checked_sub(self.first) else {
            return Place::Closed(None);
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self.entries.get_mut(index) {
            Some(entry) if index < self.closed => Place::Closed(Some(entry)),
            Some(entry) => Place::Open(entry),
            None => Place::Unknown,
        }
    }

    /// The open slots, oldest first, with their sequences.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Entry)> {
        (self.first + self.closed as u64..).zip(self.entries.range_mut(self.closed..))
    }

    /// The oldest open slot.
    pub(super) fn front(&self) -> Option<(u64, &Entry)> {
        let entry = self.entries.get(self.closed)?;
        Some((self.first + self.closed as u64, entry))
    }

    /// Closes the oldest open slot, and lets the oldest closed ones go until so many are left.
    pub(super) fn close(&mut self, closed_max: usize) {
        if self.closed < self.entries.len() {
            self.closed += 1;
        }
        while self.closed > closed_max && self.entries.pop_front().is_some() {
            self.first += 1;
            self.closed -= 1;
        }
        // A burst must not pin its memory for the rest of a long run.
        if self.entries.capacity() > 4_096 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.capacity() / 4);
        }
    }
}

const COPIES_MAX: u32 = (1 << LANE_BITS) - 1;

const _: () = assert!(size_of::<Entry>() <= 32, "an open slot takes 32 bytes");

#[cfg(test)]
mod tests {
    use super::super::RecordPlace;
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
        assert_eq!(entry.departure().acknowledged.nanos(), Some(512));
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
        ledger.close(1);
        assert!(matches!(ledger.place(0), Place::Closed(Some(_))));
        assert!(matches!(ledger.place(1), Place::Open(_)));
        assert!(matches!(ledger.place(2), Place::Unknown));
        assert!(matches!(ledger.place(u64::MAX), Place::Unknown));
        assert_eq!(ledger.front().map(|(sequence, _)| sequence), Some(1));
        assert!(ledger.iter_mut().map(|(sequence, _)| sequence).eq([1]));
        ledger.close(1);
        assert!(matches!(ledger.place(0), Place::Closed(None)));
        assert!(matches!(ledger.place(1), Place::Closed(Some(_))));
        assert!(ledger.front().is_none() && ledger.iter_mut().next().is_none());
        ledger.close(1);
        assert_eq!(ledger.next(), 2);
    }

    #[test]
    fn copies_are_told_by_when_the_first_came() {
        let mut entry = Entry::new(Instant::from_nanos(256));
        let at = |units: u64| Instant::from_nanos(256 * (1 + units));
        assert_eq!(entry.note_arrival(Lane::MqttKafka, at(4)), (1, 0));
        assert_eq!(entry.note_arrival(Lane::MqttMqtt, at(2)), (1, 0));
        assert_eq!(entry.note_arrival(Lane::MqttKafka, at(10)), (2, 6 * 256));
        for _ in 0..20 {
            entry.note_arrival(Lane::MqttKafka, at(11));
        }
        assert_eq!(entry.note_arrival(Lane::MqttKafka, at(12)), (15, 8 * 256));
        assert_eq!(entry.note_arrival(Lane::MqttMqtt, at(2)), (2, 0));
        entry.set_outcome(Lane::MqttKafka, Outcome::Unresolved);
        assert!(entry.is_open(Lane::MqttMqtt) && !entry.is_accepted());
    }

    #[test]
    fn a_gap_is_how_much_earlier_the_broker_had_taken_it() {
        let at = |units: u64| Instant::from_nanos(256 * units);
        let mut entry = Entry::new(at(0));
        let place = RecordPlace { slot: 0, offset: 0 };
        let record = |append| Sink::Kafka { place, append };
        assert_eq!(entry.note_stamped(record(Append::CreateTime(at(7)))), (Some(7 * 256), None));
        assert_eq!(entry.note_stamped(record(Append::LogAppendTime(at(9)))), (None, Some(9 * 256)));
        entry.note_arrival(Lane::MqttKafka, at(12));
        assert_eq!(entry.durability_gap(), None);
        entry.set_accepted(at(4));
        let gap = |entry: &Entry| entry.durability_gap().map(|gap| gap.nanos());
        assert_eq!(gap(&entry), Some(5 * 256));
        entry.note_stamped(record(Append::LogAppendTime(at(20))));
        assert_eq!(gap(&entry), Some(8 * 256), "appended before it was received");
        entry.set_accepted(at(30));
        assert_eq!(gap(&entry), Some(0), "nothing could be lost");
    }

    #[test]
    fn an_append_before_the_message_was_due_is_no_moment() {
        let due = Instant::from_nanos(1_000_000);
        let mut entry = Entry::new(due);
        let place = RecordPlace { slot: 0, offset: 0 };
        let append = Append::LogAppendTime(Instant::from_nanos(500_000));
        entry.note_arrival(Lane::MqttKafka, due.offset(512));
        entry.note_stamped(Sink::Kafka { place, append });
        entry.set_accepted(due.offset(256));
        let gap = entry.durability_gap().unwrap();
        assert_eq!((gap.appended, gap.nanos()), (i64::MIN, 0));
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut ledger = Ledger::default();
        for _ in 0..100_000 {
            ledger.push(Entry::new(Instant::ZERO));
        }
        for _ in 0..100_000 {
            ledger.close(100);
        }
        assert!(ledger.entries.capacity() < 10_000, "{}", ledger.entries.capacity());
    }
}
