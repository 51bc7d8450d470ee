//! Room `stats`: the slowest messages of a path, and the last of each kind that went wrong.
//!
//! # Design
//!
//! Nearly every message is neither: it costs one comparison with the [`WORST_MAX`]-th slowest of its
//! stretch of five minutes. Whoever is among the slowest of the run or of the last hour is among the
//! slowest of its stretch, too, so that no other comparison is needed, and thirteen stretches hold the
//! last hour, which is 60 to 65 minutes long. Everything is bounded, and shards merge without loss: a list is what
//! sorting all of its messages and keeping the first would be. One exception: a lost message that comes out
//! after all leaves its list, and whom it had pushed out does not come back. The counts of losses know better.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::correlate::{
    Arrival, Departure, DuplicateCause, Event, Lane, Outcome, PublisherId, RecordPlace,
};

/// How many messages a list holds.
pub const WORST_MAX: usize = 10;
/// Length of a stretch, in nanoseconds.
const STRETCH_NANOS: u64 = 300_000_000_000;
/// Stretches of the last hour, with the one that is not over.
const STRETCHES: u64 = 13;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Its slot got this outcome.
    Resolved(Outcome),
    /// It came out, and so late that this other outcome had been announced.
    Recovered(Outcome),
    /// It came out once more.
    Duplicate(DuplicateCause),
    /// It came out damaged.
    Corrupt,
}

/// A message that is remembered. Durations are signed nanoseconds; what is not known is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who published it.
    pub publisher: PublisherId,
    /// Which slot.
    pub sequence: u64,
    /// On which lane.
    pub lane: Lane,
    /// What became of it.
    pub fate: Fate,
    /// When it was due.
    pub intended: Option<Instant>,
    /// When it came out, if it did.
    pub at: Option<Instant>,
    /// From when it was due to receipt.
    pub end_to_end: Option<i64>,
    /// From when it was due to the socket.
    pub sent: Option<i64>,
    /// From when it was due to its acknowledgement.
    pub acknowledged: Option<i64>,
    /// From the socket to CreateTime.
    pub create: Option<i64>,
    /// From the socket to LogAppendTime.
    pub append: Option<i64>,
    /// From the append to receipt.
    pub fetch: Option<i64>,
    /// How long before its append it had been acknowledged.
    pub durability_gap: Option<i64>,
    /// Where it lies in Kafka.
    pub place: Option<RecordPlace>,
}

impl Message {
    /// Of which nothing is known but what became of it.
    #[must_use]
    pub fn new(of: (PublisherId, u64, Lane), fate: Fate) -> Self {
        let (publisher, sequence, lane) = of;
        Self {
            publisher,
            sequence,
            lane,
            fate,
            intended: None,
            at: None,
            end_to_end: None,
            sent: None,
            acknowledged: None,
            create: None,
            append: None,
            fetch: None,
            durability_gap: None,
            place: None,
        }
    }

    fn departed(mut self, departure: Option<&Departure>) -> Self {
        if let Some(departure) = departure {
            self.intended = Some(departure.intended);
            self.sent = departure.sent.nanos();
            self.acknowledged = departure.acknowledged.nanos();
        }
        self
    }

    fn arrived(mut self, intended: Instant, arrival: &Arrival) -> Self {
        self.at = Some(intended.offset(arrival.end_to_end));
        self.end_to_end = Some(arrival.end_to_end);
        self.create = arrival.create.nanos();
        self.append = arrival.append.nanos();
        self.fetch = arrival.fetch.nanos();
        self.durability_gap = arrival.durability_gap.nanos();
        self.lies(arrival.place)
    }

    fn came(mut self, at: Instant, place: RecordPlace) -> Self {
        self.at = Some(at);
        self.lies(place)
    }

    fn lies(mut self, place: RecordPlace) -> Self {
        self.place = self.lane.ends_in_kafka().then_some(place);
        self
    }

    /// The latest that is known of it.
    fn moment(&self) -> i64 {
        let moment = self.at.or(self.intended).unwrap_or_default();
        i64::try_from(moment.nanos()).unwrap_or(i64::MAX)
    }

    fn is(&self, of: (PublisherId, u64, Lane)) -> bool {
        (self.publisher, self.sequence, self.lane) == of
    }
}

/// What can go wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The broker had acknowledged it, and it did not come out.
    AckedLost,
    /// It was not acknowledged, and did not come out.
    UnackedLost,
    /// It came out after its deadline.
    Late,
    /// It came out more than once.
    Duplicate,
    /// It came out damaged.
    Corrupt,
}

impl Trouble {
    /// Every trouble, the worst first.
    pub const ALL: [Self; 5] =
        [Self::AckedLost, Self::UnackedLost, Self::Late, Self::Duplicate, Self::Corrupt];

    const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::AckedLost => Some(Self::AckedLost),
            Outcome::UnackedLost => Some(Self::UnackedLost),
            Outcome::Late => Some(Self::Late),
            _ => None,
        }
    }
}

/// What decides between two messages, the greater first: latency or moment, then whose it is.
type Key = (i64, PublisherId, u64, usize);

/// The [`WORST_MAX`] messages with the greatest keys, the greatest first. A queue, since while the system
/// falls behind each message is slower than all before it: it then goes in at the front, and nothing moves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Top(VecDeque<(Key, Message)>);

impl Top {
    fn insert(&mut self, figure: i64, message: &Message) {
        let key = (figure, message.publisher, message.sequence, message.lane.index());
        let at = self.0.partition_point(|(other, _)| *other > key);
        if at < WORST_MAX {
            self.0.truncate(WORST_MAX - 1);
            self.0.insert(at, (key, *message));
        }
    }

    fn merge(&mut self, other: &Self) {
        for ((figure, ..), message) in &other.0 {
            self.insert(*figure, message);
        }
    }

    /// What a figure must reach to get in.
    fn floor(&self) -> i64 {
        self.0.get(WORST_MAX - 1).map_or(i64::MIN, |((figure, ..), _)| *figure)
    }

    fn messages(&self) -> impl Iterator<Item = &Message> {
        self.0.iter().map(|(_, message)| message)
    }
}

/// The worst messages of one path.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Worst {
    run: Top,
    /// Numbered stretches of five minutes, ascending.
    stretches: VecDeque<(u64, Top)>,
    troubles: [Top; Trouble::ALL.len()],
    /// First and last moment of the newest stretch, and what a latency in it must reach.
    newest: (u64, u64, i64),
}

impl Worst {
    /// Whether a message that came out then, after so many nanoseconds, may be among the slowest.
    #[inline]
    #[must_use]
    pub fn may_be_slow(&self, at: Instant, nanos: i64) -> bool {
        let (from, until, floor) = self.newest;
        nanos >= floor || at.nanos() < from || at.nanos() >= until
    }

    /// Remembers a message, as far as it is among the slowest.
    pub fn note_slow(&mut self, message: &Message) {
        let (Some(at), Some(nanos)) = (message.at, message.end_to_end) else { return };
        self.run.insert(nanos, message);
        self.stretch(at.nanos() / STRETCH_NANOS, |top| top.insert(nanos, message));
    }

    /// Changes what is known of a stretch, unless that is more than an hour older than the newest.
    fn stretch(&mut self, number: u64, change: impl FnOnce(&mut Top)) {
        let newest = self.stretches.back().map_or(number, |&(newest, _)| newest.max(number));
        if number + STRETCHES <= newest {
            return;
        }
        self.stretches.retain(|&(number, _)| number + STRETCHES > newest);
        let at = self.stretches.partition_point(|&(other, _)| other < number);
        if self.stretches.get(at).is_none_or(|&(other, _)| other != number) {
            self.stretches.insert(at, (number, Top::default()));
        }
        if let Some((_, top)) = self.stretches.get_mut(at) {
            change(top);
        }
        if let Some((newest, top)) = self.stretches.back() {
            let from = newest * STRETCH_NANOS;
            self.newest = (from, from + STRETCH_NANOS, top.floor());
        }
    }

    /// Remembers a message that went wrong.
    pub fn note_trouble(&mut self, trouble: Trouble, message: &Message) {
        self.troubles[trouble as usize].insert(message.moment(), message);
    }

    /// Remembers what is worth it of an event. Arrivals in time are left to [`Worst::may_be_slow`].
    pub(super) fn note(&mut self, event: &Event) {
        match *event {
            Event::Resolved {
                publisher,
                sequence,
                lane,
                outcome,
                ref departure,
                ref arrival,
                ..
            } => {
                let of = (publisher, sequence, lane);
                let message = Message::new(of, Fate::Resolved(outcome)).departed(Some(departure));
                let message = match arrival {
                    Some(arrival) => message.arrived(departure.intended, arrival),
                    None => message,
                };
                self.note_slow(&message);
                if let Some(trouble) = Trouble::of(outcome) {
                    self.note_trouble(trouble, &message);
                }
            }
            Event::LateRecovery {
                publisher,
                sequence,
                lane,
                was,
                end_to_end,
                at,
                place,
                ref departure,
            } => {
                let of = (publisher, sequence, lane);
                for lost in [Trouble::AckedLost, Trouble::UnackedLost] {
                    self.troubles[lost as usize].0.retain(|(_, message)| !message.is(of));
                }
                let message = Message::new(of, Fate::Recovered(was)).departed(departure.as_ref());
                let message = Message { end_to_end, ..message.came(at, place) };
                self.note_slow(&message);
                self.note_trouble(Trouble::Late, &message);
            }
            Event::Duplicate { cause: DuplicateCause::Reread, .. } => {}
            Event::Duplicate {
                publisher, sequence, lane, cause, at, place, ref departure, ..
            } => {
                let message = Message::new((publisher, sequence, lane), Fate::Duplicate(cause));
                let message = message.departed(departure.as_ref()).came(at, place);
                self.note_trouble(Trouble::Duplicate, &message);
            }
            Event::Corrupt { publisher, sequence, lane, at, place } => {
                let message = Message::new((publisher, sequence, lane), Fate::Corrupt);
                self.note_trouble(Trouble::Corrupt, &message.came(at, place));
            }
            _ => {}
        }
    }

    /// The slowest of the run, the slowest first.
    pub fn slowest(&self) -> impl Iterator<Item = &Message> {
        self.run.messages()
    }

    /// The slowest of the 60 to 65 minutes before `now`, the slowest first.
    #[must_use]
    pub fn slowest_last_hour(&self, now: Instant) -> Vec<Message> {
        let current = now.nanos() / STRETCH_NANOS;
        let mut top = Top::default();
        let last = self.stretches.iter().filter(|&&(number, _)| number + STRETCHES > current);
        last.for_each(|(_, stretch)| top.merge(stretch));
        top.messages().copied().collect()
    }

    /// The last that went wrong in this way, the last one first. A loss that came out after all is none.
    pub fn last(&self, trouble: Trouble) -> impl Iterator<Item = &Message> {
        self.troubles[trouble as usize].messages()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.run.merge(&other.run);
        for (number, stretch) in &other.stretches {
            self.stretch(*number, |top| top.merge(stretch));
        }
        for (mine, theirs) in self.troubles.iter_mut().zip(&other.troubles) {
            mine.merge(theirs);
        }
    }
}

#[cfg(test)]
mod tests;
