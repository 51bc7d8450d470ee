//! Room `correlate`: what may be concluded about one slot, and the books that it is entered in.

use std::time::Duration;

use crate::clock::Instant;
use crate::stamp::{Carriers, SpanId};

use super::ledger::Entry;
use super::sinks::Sinks;
use super::{
    Arrival, Audience, Carrier, Event, Lane, Leg, NotSent, Outcome, Path, PathId, Publisher,
    PublisherId, Qos, Sink,
};

/// How long after its deadline a slot waits for its sink to catch up before it is unresolved.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a run fixes about one publisher, at hand where its slots are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub(super) path: PathId,
    pub(super) qos: Qos,
    pub(super) control: bool,
    /// Whether its messages reach MQTT subscribers in one stream.
    keeps_order: bool,
    /// Whether order is that within a partition.
    pub(super) by_partition: bool,
    sent_by: [bool; Carrier::ALL.len()],
    deadline_nanos: i64,
}

impl Fixed {
    /// `path` is the publisher's share of it, `audience` who listens to it over MQTT, and `read_apart`
    /// whether several readers share its partitions.
    pub(super) fn of(
        publisher: Publisher,
        path: &Path,
        (audience, read_apart): (Audience, bool),
    ) -> Self {
        Self {
            path: publisher.path,
            qos: publisher.qos,
            control: publisher.control,
            keeps_order: audience.keeps_order(),
            // Control messages take turns over the partitions, and Kafka keeps order within each.
            by_partition: publisher.control || read_apart,
            sent_by: Carrier::ALL.map(|carrier| path.carriers.contains(&carrier)),
            deadline_nanos: i64::try_from(path.deadline.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// Whether each carrier that was sent brought the stamp.
    #[inline]
    pub(super) fn survived(&self, carriers: Carriers) -> [Option<bool>; Carrier::ALL.len()] {
        let [property, payload] = self.sent_by;
        [property.then_some(carriers.property), payload.then_some(carriers.payload)]
    }
}

/// How a message came out.
pub(super) struct Landing {
    pub(super) sink: Sink,
    pub(super) at: Instant,
    /// The span that its property names in the place of ours.
    pub(super) span: Option<SpanId>,
    /// Whether each carrier brought the stamp; `None` where it was not sent.
    pub(super) stamps: [Option<bool>; Carrier::ALL.len()],
}

/// What handling one slot needs to know and may change.
pub(super) struct Books<'a> {
    pub(super) publisher: PublisherId,
    pub(super) fixed: &'a Fixed,
    /// The publisher's share of its path: its own lanes only.
    pub(super) path: &'a Path,
    pub(super) sinks: &'a mut Sinks,
    pub(super) open_outcomes: &'a mut u64,
    pub(super) events: &'a mut Vec<Event>,
}

impl Books<'_> {
    /// Counts a message that was just sent as in flight on every lane that awaits it.
    pub(super) fn launch(&mut self, entry: &Entry) {
        for &lane in &self.path.lanes {
            if entry.is_open(lane) {
                self.sinks.in_flight[usize::from(self.fixed.qos.level())][lane.index()] += 1;
            }
        }
    }

    /// Gives a slot that did not come out its outcome on a lane, unless it has one. `cause` is why it
    /// was not sent.
    pub(super) fn resolve(
        &mut self,
        (sequence, entry): (u64, &mut Entry),
        lane: Lane,
        outcome: Outcome,
        cause: Option<NotSent>,
    ) {
        if entry.is_open(lane) {
            self.conclude((sequence, entry), lane, outcome, cause, None);
        }
    }

    /// Gives an open slot its outcome on a lane.
    #[inline]
    pub(super) fn conclude(
        &mut self,
        (sequence, entry): (u64, &mut Entry),
        lane: Lane,
        outcome: Outcome,
        not_sent: Option<NotSent>,
        arrival: Option<Arrival>,
    ) {
        entry.set_outcome(lane, outcome);
        *self.open_outcomes = self.open_outcomes.saturating_sub(1);
        if entry.sent().is_some() {
            let in_flight =
                &mut self.sinks.in_flight[usize::from(self.fixed.qos.level())][lane.index()];
            *in_flight = in_flight.saturating_sub(1);
        }
        self.events.push(Event::Resolved {
            publisher: self.publisher,
            sequence,
            lane,
            outcome,
            departure: entry.departure(),
            not_sent,
            arrival,
        });
    }

    /// What may be announced of a slot whose message a second look has seen: when it came out is not
    /// known.
    ///
    /// Looking again comes upon much that the reader is yet to read, which is neither lost nor missed.
    /// It was missed once the reader has caught up with a moment behind that look and has not had it.
    fn verdict_of_seen(&mut self, entry: &Entry, lane: Lane, now: Instant) -> Option<Outcome> {
        if !entry.was_passed(lane, self.sinks.caught_up[lane.index()]) {
            return (now > self.due(entry) + PATIENCE * 2).then_some(Outcome::Unresolved);
        }
        self.events.push(Event::Missed { publisher: self.publisher, lane });
        // Where nobody stamped the append, it is there and nobody can say since when.
        let outcome = entry.appended_after().map_or(Outcome::Unresolved, |after| {
            if after <= self.fixed.deadline_nanos { Outcome::Delivered } else { Outcome::Late }
        });
        Some(outcome)
    }

    /// Gives a slot the same outcome on every lane that has none.
    pub(super) fn resolve_all(
        &mut self,
        (sequence, entry): (u64, &mut Entry),
        outcome: Outcome,
        cause: Option<NotSent>,
    ) {
        let path = self.path;
        for &lane in &path.lanes {
            self.resolve((sequence, entry), lane, outcome, cause);
        }
    }

    /// Resolves an open slot whose message came out, and times the legs that end here.
    #[inline]
    pub(super) fn deliver(&mut self, slot: (u64, &mut Entry), landing: &Landing) {
        let &Landing { sink, at, span, stamps } = landing;
        // All moments as distances from the one at which the message was due.
        let (intended, sent) = (slot.1.intended, slot.1.sent_after());
        let (publisher, lane) = (self.publisher, sink.lane());
        let end_to_end = at.nanos_since(intended);
        let outcome = if end_to_end <= self.fixed.deadline_nanos {
            Outcome::Delivered
        } else {
            Outcome::Late
        };
        slot.1.note_arrival(lane, at);
        let (create, append) = slot.1.note_stamped(sink);
        let arrival = Arrival {
            end_to_end,
            service: sent.map(|sent| end_to_end.saturating_sub(sent)).into(),
            create: create.zip(sent).map(|(create, sent)| create.saturating_sub(sent)).into(),
            append: append.zip(sent).map(|(append, sent)| append.saturating_sub(sent)).into(),
            fetch: append.map(|append| end_to_end.saturating_sub(append)).into(),
            // On another lane than Kafka's nothing was appended, and the gap was told before.
            durability_gap: append
                .and_then(|_| slot.1.durability_gap())
                .map(|gap| gap.nanos())
                .into(),
            place: sink.place(),
            span,
            stamps,
        };
        self.conclude(slot, lane, outcome, None, Some(arrival));
        if end_to_end < 0 {
            self.events.push(Event::Negative { publisher, lane });
        }
    }

    /// Times how long the broker took for an answer.
    pub(super) fn time_answer(&mut self, entry: &Entry, leg: Leg, at: Instant) {
        if let Some(sent) = entry.sent() {
            let nanos = at.nanos_since(sent);
            self.events.push(Event::Timed { publisher: self.publisher, leg, nanos });
        }
    }

    /// `highest` is one more than the highest sequence that came out of the stream. What comes out of
    /// many has no order.
    #[inline]
    pub(super) fn note_order(&mut self, sequence: u64, lane: Lane, highest: &mut u64) {
        if lane == Lane::MqttMqtt && !self.fixed.keeps_order {
            return;
        }
        if sequence < *highest {
            let depth = *highest - 1 - sequence;
            let publisher = self.publisher;
            self.events.push(Event::Reordered { publisher, lane, depth });
        } else {
            *highest = sequence + 1;
        }
    }

    /// What may be announced at `now` of a slot that was sent, is past its deadline and did not come
    /// out. With `confirming`, a loss in Kafka is announced only behind a second look, or when that
    /// was waited for in vain.
    pub(super) fn verdict(
        &mut self,
        entry: &Entry,
        lane: Lane,
        (now, confirming): (Instant, bool),
    ) -> Option<Outcome> {
        let outcome = self.conclusion(entry, lane, now)?;
        let is_lost = matches!(outcome, Outcome::AckedLost | Outcome::UnackedLost);
        if !confirming || !is_lost || !lane.ends_in_kafka() {
            return Some(outcome);
        }
        if entry.is_seen(lane) {
            return self.verdict_of_seen(entry, lane, now);
        }
        if self.was_looked_for(entry, lane) {
            return Some(outcome);
        }
        if now > self.due(entry) + PATIENCE * 2 {
            self.events.push(Event::Unconfirmed { publisher: self.publisher, lane });
            return Some(outcome);
        }
        let since = &mut self.sinks.missing_since[lane.index()];
        let left = left(entry);
        *since = Some(since.map_or(left, |since| since.min(left)));
        None
    }

    /// Notes that a stop calls a message lost that was not looked for once more, if it does.
    pub(super) fn note_unconfirmed(&mut self, entry: &Entry, lane: Lane, outcome: Outcome) {
        let is_lost = matches!(outcome, Outcome::AckedLost | Outcome::UnackedLost);
        if is_lost && lane.ends_in_kafka() && !self.was_looked_for(entry, lane) {
            self.events.push(Event::Unconfirmed { publisher: self.publisher, lane });
        }
    }

    /// Whether a second look would have seen it, had it been there at its deadline.
    fn was_looked_for(&self, entry: &Entry, lane: Lane) -> bool {
        let (due, left) = (self.due(entry), left(entry));
        self.sinks.looked[lane.index()].is_some_and(|(from, at)| from <= left && at >= due)
    }

    /// What may be said at `now` of a slot that was sent, is past its deadline and did not come out.
    ///
    /// Nothing is lost that was not out for the whole deadline: a message that waited long for its
    /// connection would else be called lost the moment it is sent. And whether it was acknowledged
    /// is not said before the broker's answer is given up on.
    fn conclusion(&self, entry: &Entry, lane: Lane, now: Instant) -> Option<Outcome> {
        let due = self.due(entry);
        if self.sinks.caught_up[lane.index()] <= due {
            return (now > due + PATIENCE).then_some(Outcome::Unresolved);
        }
        let missed = |&(from, until): &(Instant, Instant)| from <= due && until >= entry.intended;
        if self.sinks.away[lane.index()].iter().any(missed) {
            return Some(Outcome::Unresolved);
        }
        // Whether the broker took it is not known, nor whether it was sent.
        if entry.is_orphan() {
            return Some(Outcome::Unresolved);
        }
        if entry.is_accepted() {
            return Some(Outcome::AckedLost);
        }
        self.is_answer_over(entry, now).then_some(Outcome::UnackedLost)
    }

    /// What a stop at `now` leaves to be said of an open slot, and why it was not sent if it was not.
    pub(super) fn last_word(&self, entry: &Entry, lane: Lane) -> (Outcome, Option<NotSent>) {
        if entry.is_orphan() {
            return (Outcome::Unresolved, None);
        }
        if entry.sent().is_none() {
            return (Outcome::NotSent, Some(NotSent::Stopped));
        }
        if entry.is_seen(lane) {
            return (Outcome::Unresolved, None);
        }
        // Whatever else could be said was said before: an answer was still awaited, or a second look.
        let outcome = match self.conclusion(entry, lane, Instant::ZERO) {
            Some(outcome) => outcome,
            None if self.sinks.caught_up[lane.index()] > self.due(entry) => Outcome::UnackedLost,
            None => Outcome::Unresolved,
        };
        (outcome, None)
    }

    /// Whether nothing more is awaited of a slot at `now`.
    pub(super) fn is_done(&self, entry: &Entry, now: Instant) -> bool {
        let resolved = self.path.lanes.iter().all(|&lane| !entry.is_open(lane));
        // What waits to be sent is in its publisher's queue, for as long as it takes.
        let has_left = entry.sent().is_some() || entry.is_answered();
        resolved && has_left && self.is_answer_over(entry, now)
    }

    /// Whether no answer of the broker is awaited any more: it is for twice the deadline.
    fn is_answer_over(&self, entry: &Entry, now: Instant) -> bool {
        entry.is_answered() || self.due(entry) + self.path.deadline < now
    }

    /// When a slot that did not come out may be lost.
    fn due(&self, entry: &Entry) -> Instant {
        entry.sent().map_or(entry.intended, |sent| sent.max(entry.intended)) + self.path.deadline
    }
}

/// Before when a message can't be in Kafka.
fn left(entry: &Entry) -> Instant {
    entry.sent().unwrap_or(entry.intended).min(entry.intended)
}
