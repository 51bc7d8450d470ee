//! Room `correlate`: how the state machine outlives its process.
//!
//! # Design
//!
//! The machine is what its observations make of it, so that a copy of it and the observations since
//! bring it back exactly. What a process saw in its last moments may be in no copy: sequences were
//! leased to publishers, and one that lies between the last that is known and the end of its lease may
//! have been given out or not. Each becomes a slot. If its message comes out it was sent; else it is
//! unresolved, and never lost. The same holds for what the broker's answer is not known of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::super::books::{Landing, Sinks};
use super::super::ledger::{Entry, Place};
use super::super::{
    Append, Carrier, Event, Observation, Outcome, PathId, PublisherId, Roster, Sink,
};
use super::{Correlator, Fixed, Limits, State};

/// A state machine as it stands, to be kept with serde.
#[derive(Debug, Serialize)]
pub struct Kept<'a> {
    publishers: Vec<&'a State>,
    paths: &'a [Sinks],
    open_slots: usize,
    open_outcomes: u64,
}

/// What [`Kept`] is read back as.
#[derive(Debug, Deserialize)]
pub struct TakenUp {
    publishers: Vec<State>,
    paths: Vec<Sinks>,
    open_slots: usize,
    open_outcomes: u64,
}

impl Correlator {
    /// All that is known, to be kept.
    #[must_use]
    pub fn kept(&self) -> Kept<'_> {
        Kept {
            publishers: self.publishers.iter().map(|(_, state)| state).collect(),
            paths: &self.paths,
            open_slots: self.open_slots,
            open_outcomes: self.open_outcomes,
        }
    }

    /// Goes on from what was kept; `None` where that is of another roster.
    #[must_use]
    pub fn taken_up(roster: Arc<Roster>, limits: Limits, kept: TakenUp) -> Option<Self> {
        let fits = kept.publishers.len() == roster.publishers().len()
            && kept.paths.len() == roster.paths().len();
        let fixed = roster.publishers().iter();
        let fixed = fixed.map(|&of| Fixed::of(of, roster.path(of.path)));
        let publishers = fixed.zip(kept.publishers).collect();
        let TakenUp { paths, open_slots, open_outcomes, .. } = kept;
        fits.then_some(Self { roster, limits, publishers, paths, open_slots, open_outcomes })
    }

    /// The sequence that a publisher gives out next.
    #[must_use]
    pub fn next_sequence(&self, publisher: PublisherId) -> u64 {
        self.publishers[publisher.0 as usize].1.ledger.next()
    }

    /// One more than the last offset of ours that was seen in each partition of a path, by their dense
    /// index; those beyond the last one brought nothing yet.
    #[must_use]
    pub fn cursors(&self, path: PathId) -> &[i64] {
        self.paths[usize::from(path.0)].cursors()
    }

    /// Notes at `now` that the process ended whose publishers could give out the sequences below
    /// `ends`, and that this one gives out those from there on.
    pub fn restart(&mut self, ends: &[u64], now: Instant, events: &mut Vec<Event>) {
        for (id, &end) in self.publisher_ids().zip(ends) {
            let (books, state) = self.split(id, events);
            state.ledger.iter_mut().for_each(|(_, entry)| entry.set_orphan());
            let first = state.ledger.next();
            state.own = end.max(first);
            for _ in first..state.own {
                let mut entry = Entry::guessed(now);
                entry.set_orphan();
                state.ledger.push(entry);
                *books.open_outcomes += books.path.lanes.len() as u64;
                books.events.push(Event::Offered { publisher: id });
            }
            self.open_slots += usize::try_from(self.publishers[id.0 as usize].1.own - first)
                .unwrap_or(usize::MAX);
            while self.open_slots > self.limits.open_max {
                let open = self.open_slots;
                self.evict_oldest(id, events);
                if self.open_slots == open {
                    break;
                }
            }
        }
        self.paths.iter_mut().for_each(|sinks| sinks.restarted(now));
    }

    /// Notes that the clock has begun anew, with the machine: moments that are known mean nothing any
    /// more, and what is open is unresolved.
    pub fn begin_time_anew(&mut self, events: &mut Vec<Event>) {
        for id in self.publisher_ids() {
            let (mut books, state) = self.split(id, events);
            for (sequence, entry) in state.ledger.iter_mut() {
                books.resolve_all((sequence, entry), Outcome::Unresolved, None);
            }
            while self.publishers[id.0 as usize].1.ledger.front().is_some() {
                self.close_oldest(id, events);
            }
            let state = &mut self.publishers[id.0 as usize].1;
            state.verdicts.iter_mut().for_each(super::Verdicts::forget_moments);
        }
        self.paths.iter_mut().for_each(Sinks::forget_moments);
    }

    /// Books a message of a process before this one that came out, its slot being open.
    #[cold]
    pub(super) fn arrived_after_restart(
        &mut self,
        id: PublisherId,
        sequence: u64,
        observation: &Observation,
        events: &mut Vec<Event>,
    ) {
        let &Observation::Received { path, sink, at, carriers, span, .. } = observation else {
            return;
        };
        let lane = sink.lane();
        let (mut books, state) = self.split(id, events);
        let Place::Open(entry) = state.ledger.place(sequence) else { return };
        if entry.shows_sending() {
            books.events.push(Event::Published { publisher: id });
        }
        let stamps = books.fixed.survived(carriers);
        if !entry.is_guessed() && !books.sinks.is_behind(lane) {
            books.deliver((sequence, entry), &Landing { sink, at, span, stamps });
            books.note_order(sequence, lane, &mut state.highest);
            return;
        }
        // A CreateTime is earlier than the append: who is late by it is late.
        let out = match sink {
            Sink::Kafka { append: Append::LogAppendTime(at) | Append::CreateTime(at), .. } => at,
            Sink::Kafka { append: Append::None, .. } | Sink::Mqtt { .. } => at,
        };
        let is_late = !entry.is_guessed() && out > entry.intended + books.path.deadline;
        let outcome = if is_late { Outcome::Late } else { Outcome::Delivered };
        books.conclude((sequence, entry), lane, outcome, None, None);
        books.note_order(sequence, lane, &mut state.highest);
        books.events.push(Event::Recovered { publisher: id, lane });
        let partition = sink.place().slot;
        books.events.push(Event::Consumed { path, lane, partition });
        for (carrier, survived) in Carrier::ALL.into_iter().zip(stamps) {
            if let Some(survived) = survived {
                events.push(Event::Stamp { publisher: id, carrier, survived });
            }
        }
    }
}
