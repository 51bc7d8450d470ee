//! Room `correlate`: what the state machine makes of what publishers say of their messages.

use crate::clock::Instant;

use super::super::books::Books;
use super::super::late::SEND_LATE_NANOS;
use super::super::ledger::Place;
use super::super::{Elapsed, Event, LateSend, Leg, NotSent, Outcome, PublisherId, Qos, Stage};
use super::{Correlator, State};

/// How many resends of a publisher are remembered.
const RESENT_MAX: usize = 4_096;

impl State {
    /// Notes that a message was handed to the socket: how long after it was due, if that was the first
    /// time, as far as it is known.
    fn set_out(&mut self, books: &mut Books<'_>, sequence: u64, at: Instant) -> Option<Elapsed> {
        let entry = match self.ledger.place(sequence) {
            Place::Open(entry) if entry.sent().is_none() => entry,
            // Messages are sent in order: this one had waited when its slot was closed for want of memory.
            Place::Closed(_) if self.evicted > 0 && sequence >= self.sent_to => {
                (self.evicted, self.sent_to) = (self.evicted - 1, sequence + 1);
                return Some(Elapsed::UNKNOWN);
            }
            // Else a slot is closed only behind its sending, so that this is a resend too.
            Place::Open(_) | Place::Closed(_) => {
                self.resent.push_back(sequence);
                if self.resent.len() > RESENT_MAX {
                    self.resent.pop_front();
                }
                return None;
            }
            Place::Unknown => return None,
        };
        entry.set_sent(at);
        self.sent_to = sequence + 1;
        books.launch(entry);
        // Kafka answers for each control message, whatever its twin's QoS.
        if books.fixed.qos == Qos::AtMostOnce && !books.fixed.control {
            entry.set_answered();
        }
        Some(Elapsed::of(at.nanos_since(entry.intended)))
    }
}

impl Books<'_> {
    /// Tells of messages that left equally late, if any did; `held` where they had to wait for the system.
    fn note_sent(&mut self, alike: Option<(Elapsed, u32)>, held: bool) {
        let Some((delay, count)) = alike else { return };
        let publisher = self.publisher;
        self.events.push(Event::Published { publisher, count, delay });
        if delay.nanos().is_some_and(|nanos| nanos > SEND_LATE_NANOS) {
            let cause = if held { LateSend::Backpressure } else { LateSend::Probe };
            self.events.push(Event::SentLate { publisher, count, cause });
        }
    }
}

impl Correlator {
    pub(super) fn not_sent(
        &mut self,
        id: PublisherId,
        sequence: u64,
        why: NotSent,
        events: &mut Vec<Event>,
    ) {
        let (mut books, state) = self.split(id, events);
        let skipped = Event::Skipped { publisher: id, cause: why };
        match state.ledger.place(sequence) {
            Place::Open(entry) if entry.sent().is_none() => {
                books.events.push(skipped);
                books.resolve_all((sequence, entry), Outcome::NotSent, Some(why));
                entry.set_answered();
            }
            Place::Closed(_) if state.evicted > 0 && sequence >= state.sent_to => {
                state.evicted -= 1;
                books.events.push(skipped);
            }
            _ => (),
        }
    }

    pub(super) fn sent(
        &mut self,
        id: PublisherId,
        (first, count): (u64, u32),
        (at, held): (Instant, bool),
        events: &mut Vec<Event>,
    ) {
        let (mut books, state) = self.split(id, events);
        // Neighbours that are equally late are told together.
        let mut alike: Option<(Elapsed, u32)> = None;
        for sequence in first..first.saturating_add(count.into()) {
            let Some(delay) = state.set_out(&mut books, sequence, at) else { continue };
            alike = match alike {
                Some((of, count)) if of == delay => Some((of, count + 1)),
                others => {
                    books.note_sent(others, held);
                    Some((delay, 1))
                }
            };
        }
        books.note_sent(alike, held);
        self.close_unawaited(id, at, events);
    }

    /// Closes the slots of a publisher whose messages nobody awaits as soon as nothing more is awaited of
    /// them: what only loads takes next to no memory, however much it sends.
    fn close_unawaited(&mut self, id: PublisherId, now: Instant, events: &mut Vec<Event>) {
        if self.split(id, events).0.path.lanes.is_empty() {
            while self.oldest_is_done(id, now, events) {
                self.close_oldest(id, events);
            }
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        id: PublisherId,
        sequence: u64,
        (stage, reason, at): (Stage, u8, Instant),
        events: &mut Vec<Event>,
    ) {
        let (mut books, state) = self.split(id, events);
        let Place::Open(entry) = state.ledger.place(sequence) else {
            return;
        };
        if reason >= 0x80 {
            // What the broker has taken is its own, whatever it answers later: a PUBCOMP with 0x92
            // (packet identifier not found) says that it lost the handshake, not the message.
            if !entry.is_accepted() {
                books.events.push(Event::Rejected { publisher: id, sequence, reason });
                books.resolve_all((sequence, entry), Outcome::Rejected, None);
            }
            entry.set_answered();
            return;
        }
        if !entry.is_accepted() {
            entry.set_accepted(at);
            books.events.push(Event::Acknowledged { publisher: id, sequence, at });
            if let Some(gap) = entry.durability_gap() {
                books.events.push(Event::DurabilityGap { publisher: id, gap });
            }
            if stage == Stage::Pubrec {
                books.time_answer(entry, Leg::PublishRec, at);
            }
        }
        if stage != Stage::Pubrec && !entry.is_answered() {
            entry.set_answered();
            books.time_answer(entry, Leg::PublishAck, at);
            self.close_unawaited(id, at, events);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::correlate::{Limits, Observation, Path, Roster};

    /// What follows on a path that only loads, where memory holds two slots.
    fn events(observations: &[Observation]) -> Vec<Event> {
        let mut roster = Roster::default();
        let path = Path {
            name: "load".into(),
            lanes: vec![],
            qos: vec![Qos::AtLeastOnce],
            carriers: vec![],
            deadline: Duration::from_secs(1),
        };
        roster.add(path, [Qos::AtLeastOnce]);
        let limits = Limits { open_max: 2, ..Limits::default() };
        let (mut correlator, mut events) = (Correlator::new(Arc::new(roster), limits), Vec::new());
        for seen in observations {
            correlator.observe(seen, &mut events);
        }
        events
    }

    #[test]
    fn what_nobody_awaits_is_closed_with_its_answer_and_not_before() {
        let (publisher, at) = (PublisherId(0), Instant::ZERO);
        let sent = |sequence| {
            [
                Observation::Offered { publisher, sequence, intended: at },
                Observation::Sent { publisher, sequence, at, held: false },
            ]
        };
        let answered = |sequence| {
            let (stage, reason) = (Stage::Puback, 0);
            Observation::Acknowledged { publisher, sequence, stage, reason, at }
        };
        let overflows = |observations: &[Observation]| {
            let events = events(observations);
            events.iter().filter(|event| matches!(event, Event::Overflow { .. })).count()
        };
        let all: Vec<_> = (0..9).flat_map(|n| [sent(n)[0], sent(n)[1], answered(n)]).collect();
        assert_eq!(overflows(&all), 0);
        let late = [sent(0).as_slice(), &sent(1), &[answered(1)], &sent(2)].concat();
        assert_eq!(overflows(&late), 1, "the first is still awaited");
        let timed = events(&[late, vec![answered(2)]].concat());
        let timed = timed.iter().filter(|event| matches!(event, Event::Timed { .. })).count();
        assert_eq!(timed, 2);
    }
}
