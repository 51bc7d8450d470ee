//! Room `correlate`: the state machine.

mod arrival;
mod aside;
mod restart;
mod sending;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::books::{Books, Fixed};
use super::ledger::{Entry, Ledger};
use super::limits::Limits;
use super::sinks::Sinks;
use super::verdicts::Verdicts;
pub use restart::{Kept, TakenUp};

use super::{
    Event, Lane, NotSent, Observation, Outcome, PathId, Publisher, PublisherId, Qos, Roster, Row,
};

/// Turns observations into outcomes. Owns the publishers of one shard.
///
/// # Design
///
/// Time comes in with the observations and with [`Correlator::advance`]; nothing is read. A slot is
/// lost only behind two conditions: its deadline has passed (counted from its sending where that was
/// late), and its sink has said that it handed over everything that was there at some moment after
/// that deadline. Until then it stays open, and a minute later it is unresolved, never lost. A loss
/// that was not acknowledged is announced once no answer is awaited any more, twice the deadline at
/// most: an outcome is final, and whether data was lost that the broker had taken is what matters.
#[derive(Debug)]
pub struct Correlator {
    roster: Arc<Roster>,
    limits: Limits,
    publishers: Vec<(Fixed, State)>,
    paths: Vec<Sinks>,
    /// How many ranges of verdicts a publisher may have on a lane.
    verdicts_max: usize,
    open_slots: usize,
    open_outcomes: u64,
    confirming: bool,
}

/// What is known of one publisher.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    ledger: Ledger,
    verdicts: [Verdicts; Lane::ALL.len()],
    /// One more than the highest sequence that came out.
    highest: [u64; Lane::ALL.len()],
    /// The same for each partition, where order is that within one.
    highest_in: Vec<u64>,
    resent: VecDeque<u64>,
    /// The first sequence that this process gives out.
    own: u64,
    /// Behind the last message that was sent for the first time.
    sent_to: u64,
    /// How many slots were closed for want of memory while their messages still waited to be sent.
    evicted: u64,
}

impl Correlator {
    /// Nothing given out yet.
    #[must_use]
    pub fn new(roster: Arc<Roster>, limits: Limits) -> Self {
        let share = |it: &Publisher| roster.share(it.path, it.control);
        let publishers = roster.publishers().iter();
        let lanes: usize = publishers.clone().map(|it| share(it).lanes.len()).sum();
        let read = |it: &Publisher| (roster.audience(it.path), roster.is_read_apart(it.path));
        let fixed = |it: &Publisher| Fixed::of(*it, share(it), read(it));
        let publishers = publishers.map(|it| (fixed(it), State::default()));
        let publishers = publishers.collect();
        let paths = roster.paths().iter().map(|_| Sinks::default()).collect();
        let verdicts_max = (limits.verdicts_max / lanes.max(1)).max(1);
        Self {
            roster,
            limits,
            publishers,
            paths,
            verdicts_max,
            open_slots: 0,
            open_outcomes: 0,
            confirming: false,
        }
    }

    /// The same, with losses in Kafka announced only behind a second look: see
    /// [`Correlator::missing_since`].
    #[must_use]
    pub fn confirming(self) -> Self {
        Self { confirming: true, ..self }
    }

    /// Since when messages are missing on a lane that are to be looked for again before they are
    /// called lost, as of the last judgement: when the first of them was due.
    #[must_use]
    pub fn missing_since(&self, path: PathId, lane: Lane) -> Option<Instant> {
        self.paths[usize::from(path.0)].missing_since(lane)
    }

    /// Slots and lanes that have no outcome yet.
    #[must_use]
    pub fn open_outcomes(&self) -> u64 {
        self.open_outcomes
    }

    /// Messages that were sent and have no outcome yet.
    #[must_use]
    pub fn in_flight(&self, path: PathId, qos: Qos, lane: Lane) -> u64 {
        self.paths[usize::from(path.0)].in_flight(qos, lane)
    }

    /// The latest moment that a sink has caught up with; the clock's origin before the first.
    #[must_use]
    pub fn caught_up(&self, path: PathId, lane: Lane) -> Instant {
        self.paths[usize::from(path.0)].caught_up(lane)
    }

    /// Takes in what an edge saw and appends what follows from it to `events`.
    pub fn observe(&mut self, observation: &Observation, events: &mut Vec<Event>) {
        match *observation {
            Observation::Woken { publisher, nanos } => {
                events.push(Event::Woken { publisher, nanos });
            }
            Observation::Polled { path, reader, nanos } => {
                events.push(Event::Polled { path, reader, nanos });
            }
            Observation::Offered { publisher, sequence, intended } => {
                self.offered(publisher, (sequence, 1), intended, events);
            }
            Observation::NotSent { publisher, sequence, cause } => {
                self.not_sent(publisher, sequence, cause, events);
            }
            Observation::Sent { publisher, sequence, at, held } => {
                self.sent(publisher, (sequence, 1), (at, held), events);
            }
            Observation::Connected { path, tcp_nanos, tls_nanos, connack_nanos } => {
                events.push(Event::Connected { path, tcp_nanos, tls_nanos, connack_nanos });
            }
            Observation::Worked { path, share } => events.push(Event::Worked { path, share }),
            Observation::Acknowledged { publisher, sequence, stage, reason, at } => {
                self.acknowledged(publisher, sequence, (stage, reason, at), events);
            }
            Observation::Received { .. } => self.received(observation, events),
            Observation::Aside { .. } => self.set_aside(observation, events),
            Observation::Foreign { path, count } => events.push(Event::Foreign { path, count }),
            Observation::CaughtUp { path, lane, at } => {
                self.paths[usize::from(path.0)].catch_up(lane, at);
            }
            Observation::Position { .. } | Observation::Abreast { .. } => self.stands(observation),
            Observation::Found { .. } => self.found(observation, events),
            Observation::LookedAgain { path, lane, from, at } => {
                self.paths[usize::from(path.0)].look_again(lane, from, at);
            }
            Observation::Away { path, lane, from, until } => {
                self.paths[usize::from(path.0)].note_absence(lane, from, until);
            }
        }
    }

    /// Takes in what a publisher saw of slots in a row, as [`Correlator::observe`] would of each.
    pub fn observe_row(&mut self, row: &Row, events: &mut Vec<Event>) {
        match row.first {
            Observation::Offered { publisher, sequence, intended } => {
                self.offered(publisher, (sequence, row.count()), intended, events);
            }
            Observation::Sent { publisher, sequence, at, held } => {
                self.sent(publisher, (sequence, row.count()), (at, held), events);
            }
            _ => row.each().for_each(|observation| self.observe(&observation, events)),
        }
    }

    /// Judges the slots whose deadline has passed at `now`, and closes what is done with.
    pub fn advance(&mut self, now: Instant, events: &mut Vec<Event>) {
        self.paths.iter_mut().for_each(Sinks::forget_missing);
        let confirming = self.confirming;
        for publisher in self.publisher_ids() {
            let (mut books, state) = self.split(publisher, events);
            for (sequence, entry) in state.ledger.iter_mut() {
                if entry.intended + books.path.deadline >= now {
                    break;
                }
                // What still waits to be sent is bounded by the publisher's queue, and not lost.
                if entry.sent().is_none() && !entry.is_orphan() {
                    continue;
                }
                let path = books.path;
                for &lane in &path.lanes {
                    if !entry.is_open(lane) {
                        continue;
                    }
                    if let Some(outcome) = books.verdict(entry, lane, (now, confirming)) {
                        books.resolve((sequence, entry), lane, outcome, None);
                    }
                }
            }
            while self.oldest_is_done(publisher, now, events) {
                self.close_oldest(publisher, events);
            }
        }
    }

    /// Gives every open slot the outcome that a stop leaves it: not sent, or unresolved.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        let confirming = self.confirming;
        for publisher in self.publisher_ids() {
            let (mut books, state) = self.split(publisher, events);
            let path = books.path;
            for _ in 0..std::mem::take(&mut state.evicted) {
                books.events.push(Event::Skipped { publisher, cause: NotSent::Stopped });
            }
            for (sequence, entry) in state.ledger.iter_mut() {
                if entry.sent().is_none() && !entry.is_answered() {
                    let cause = NotSent::Stopped;
                    books.events.push(Event::Skipped { publisher, cause });
                }
                for &lane in &path.lanes {
                    let (outcome, cause) = books.last_word(entry, lane);
                    if confirming && entry.is_open(lane) {
                        books.note_unconfirmed(entry, lane, outcome);
                    }
                    books.resolve((sequence, entry), lane, outcome, cause);
                }
            }
        }
    }

    fn offered(
        &mut self,
        id: PublisherId,
        (first, count): (u64, u32),
        due: Instant,
        events: &mut Vec<Event>,
    ) {
        let (books, state) = self.split(id, events);
        if first != state.ledger.next() {
            debug_assert!(false, "slots are offered in order");
            books.events.push(Event::Overflow { publisher: id });
            return;
        }
        *books.open_outcomes += u64::from(count) * books.path.lanes.len() as u64;
        books.events.push(Event::Offered { publisher: id, count });
        let count = count as usize;
        state.ledger.push_alike(Entry::new(due), count);
        self.open_slots += count;
        for _ in 0..count.min(self.open_slots.saturating_sub(self.limits.open_max)) {
            self.evict_oldest(id, events);
        }
    }

    /// Makes room: the oldest slot of this publisher gets the outcome that is left to it.
    fn evict_oldest(&mut self, id: PublisherId, events: &mut Vec<Event>) {
        let (mut books, state) = self.split(id, events);
        if let Some((sequence, entry)) = state.ledger.iter_mut().next() {
            books.resolve_all((sequence, entry), Outcome::Unresolved, None);
            let waits = entry.sent().is_none() && !entry.is_answered() && !entry.is_orphan();
            state.evicted += u64::from(waits);
        }
        books.events.push(Event::Overflow { publisher: id });
        self.close_oldest(id, events);
    }

    fn oldest_is_done(&mut self, id: PublisherId, now: Instant, events: &mut Vec<Event>) -> bool {
        let (books, state) = self.split(id, events);
        state.ledger.front().is_some_and(|(_, entry)| books.is_done(entry, now))
    }

    /// Closes the oldest slot of a publisher and remembers where it did not come out.
    fn close_oldest(&mut self, id: PublisherId, events: &mut Vec<Event>) {
        let verdicts_max = self.verdicts_max;
        let closed_max = self.limits.closed_max / self.publishers.len();
        let (books, state) = self.split(id, events);
        // What nobody awaits does not come out again either.
        let closed_max = if books.path.lanes.is_empty() { 0 } else { closed_max };
        let Some((sequence, entry)) = state.ledger.front() else {
            return;
        };
        for &lane in &books.path.lanes {
            let Some(outcome) = entry.outcome(lane) else { continue };
            if matches!(outcome, Outcome::Delivered | Outcome::Late) {
                continue;
            }
            let verdicts = &mut state.verdicts[lane.index()];
            if !verdicts.insert(sequence, outcome, entry.intended, verdicts_max) {
                books.events.push(Event::Overflow { publisher: id });
            }
            if entry.is_guessed() {
                verdicts.forget_moment(sequence);
            }
        }
        state.ledger.close(closed_max);
        self.open_slots -= 1;
    }

    fn gave_out(&self, id: PublisherId, sequence: u64) -> bool {
        sequence < self.publishers[id.0 as usize].1.ledger.next()
    }

    fn publisher_ids(&self) -> impl Iterator<Item = PublisherId> + use<> {
        // A stamp names fewer publishers than 2^32.
        (0..u32::try_from(self.publishers.len()).unwrap_or(u32::MAX)).map(PublisherId)
    }

    #[inline]
    fn split<'a>(
        &'a mut self,
        id: PublisherId,
        events: &'a mut Vec<Event>,
    ) -> (Books<'a>, &'a mut State) {
        let (fixed, state) = &mut self.publishers[id.0 as usize];
        let books = Books {
            publisher: id,
            fixed,
            path: self.roster.share(fixed.path, fixed.control),
            sinks: &mut self.paths[usize::from(fixed.path.0)],
            open_outcomes: &mut self.open_outcomes,
            events,
        };
        (books, state)
    }
}
