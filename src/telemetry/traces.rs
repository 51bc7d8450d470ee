//! Room `telemetry`: messages as traces, under the very trace id that each carries.
//!
//! # Design
//!
//! Spans are made when the outcome of a message is known: only then can slow, lost and duplicate ones
//! be picked, and only then is there nothing left to be remembered for the others. Beside those a
//! share of all messages is traced, chosen by a hash of publisher and sequence.
//!
//! | span | kind | from | to |
//! |---|---|---|---|
//! | `publish` | producer, root | intended send time | acknowledgement, or the socket at QoS 0 |
//! | `crossing` | internal, below `publish` | the socket | receipt, or the verdict that nothing came |
//! | receipt | client for a poll of Kafka, consumer for MQTT; below `crossing` | append, where the broker tells it | receipt |
//!
//! A copy and a message that was called lost and came have `crossing` and receipt of their own. Where it
//! is forgotten how the message had set out, the receipt stands alone, below `publish`.
//!
//! The span id of `publish` is the parent id that the message carries, so that spans which a broker or
//! bridge makes for it join the trace below ours. Where somebody on the way has put a span of his own
//! into the property, the receipt links to it. Attributes follow OpenTelemetry's conventions for
//! messaging as of 1.45, in which `messaging.system` became `messaging.system.name` and
//! `messaging.kafka.offset` became `kafka.offset`; what is landfall's own begins with `landfall.`.

mod journey;
mod span;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use metrics::Counter;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc;

use super::health::Component;
use super::recorder::Telemetry;
use crate::clock::{Instant, Pairing};
use crate::correlate::{
    Arrival, Departure, DuplicateCause, Elapsed, Event, Lane, Outcome, PublisherId, Qos, Roster,
};
use crate::splitmix::mix;
use crate::stamp::Stamper;

use journey::{Again, Ending, Journey, Receipt, Why};

/// Spans that may wait to be sent (the default of OpenTelemetry's batch processor).
const QUEUE_MAX: usize = 2_048;
/// Messages of which it is remembered how they set out, for copies that come later: a power of two.
const DEPARTURES_MAX: usize = 16_384;
/// Messages whose acknowledgement is awaited, and messages of which it is remembered that they have
/// their `publish` span.
const REMEMBERED_MAX: usize = 4_096;

/// Where a publisher's messages go in, as its spans say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its MQTT topic.
    pub topic: String,
    /// The topic as it is configured, which names the spans of all clients alike.
    pub template: Arc<str>,
    /// Its client id.
    pub client_id: String,
    /// Host name or address of the broker.
    pub host: Arc<str>,
    /// TCP port of the broker.
    pub port: u16,
    /// Version of MQTT, `5` or `3.1.1`.
    pub version: &'static str,
    /// Bytes of a payload.
    pub size: usize,
}

/// Which messages are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The share of all messages, 0 to 1.
    pub sample: f64,
    /// From which end-to-end latency on, in nanoseconds, a message always is.
    pub slow_nanos: i64,
}

/// The way of spans to whoever sends them.
#[derive(Clone)]
pub struct SpanSink {
    spans: mpsc::Sender<SpanData>,
    telemetry: Telemetry,
    no_room: Counter,
}

/// Where they come out.
pub struct SpanQueue {
    spans: mpsc::Receiver<SpanData>,
    refused: Counter,
    stopped: Counter,
}

/// A bounded way for spans. What does not fit is dropped and counted.
#[must_use]
pub fn span_queue(telemetry: &Telemetry) -> (SpanSink, SpanQueue) {
    let drops = |cause| telemetry.drops(Component::Otlp.name(), cause);
    let (no_room, refused, stopped) = (drops("queue_full"), drops("refused"), drops("stopped"));
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let telemetry = telemetry.clone();
    let queue = SpanQueue { spans: receiver, refused, stopped };
    (SpanSink { spans: sender, telemetry, no_room }, queue)
}

impl SpanQueue {
    /// The next span, or nothing when there will be no more.
    pub(super) async fn next(&mut self) -> Option<SpanData> {
        self.spans.recv().await
    }

    /// The next span that is there.
    pub fn try_next(&mut self) -> Option<SpanData> {
        self.spans.try_recv().ok()
    }

    /// How many are there.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Counts spans that were refused for good.
    pub(super) fn refused(&self, count: usize) {
        self.refused.increment(count as u64);
    }

    /// Counts spans that were not taken before the end.
    pub(super) fn stopped(&self, count: usize) {
        self.stopped.increment(count as u64);
    }
}

type Slot = (PublisherId, u64);

/// Makes spans of what became of messages. One for each shard.
pub struct Tracer {
    roster: Arc<Roster>,
    sources: Arc<[Source]>,
    stamper: Stamper,
    slow_nanos: i64,
    /// Hashes below are sampled.
    threshold: u64,
    sink: SpanSink,
    /// `publish` spans that wait for their acknowledgement.
    unanswered: HashMap<Slot, Journey>,
    order: VecDeque<Slot>,
    /// Messages that have their `publish` span.
    published: HashSet<Slot>,
    published_order: VecDeque<Slot>,
    /// The refusal whose outcomes follow.
    refusal: Option<(Slot, u8)>,
    /// How the last messages set out, each in the place of its hash.
    departures: Box<[Option<(Slot, Departure)>]>,
}

impl Tracer {
    /// `sources` has every publisher's, by its id.
    #[must_use]
    pub fn new(
        (roster, sources): (Arc<Roster>, Arc<[Source]>),
        stamper: Stamper,
        choice: Choice,
        sink: SpanSink,
    ) -> Self {
        Self {
            roster,
            sources,
            stamper,
            slow_nanos: choice.slow_nanos,
            threshold: threshold(choice.sample),
            sink,
            unanswered: HashMap::new(),
            order: VecDeque::new(),
            published: HashSet::new(),
            published_order: VecDeque::new(),
            refusal: None,
            departures: vec![None; DEPARTURES_MAX].into_boxed_slice(),
        }
    }

    /// Traces those of the messages that are to be. `now` places moments on the wall clock.
    pub fn apply(&mut self, events: &[Event], now: &Pairing) {
        self.give_up(now);
        for event in events {
            match *event {
                // What goes straight to Kafka is no journey: the lane is there to be subtracted.
                Event::Resolved { publisher, .. }
                | Event::Duplicate { publisher, .. }
                | Event::LateRecovery { publisher, .. }
                | Event::Rejected { publisher, .. }
                    if self.roster.publisher(publisher).control => {}
                Event::Resolved { .. } => self.resolved(event, now),
                Event::Acknowledged { publisher, sequence, at } if !self.unanswered.is_empty() => {
                    self.answered((publisher, sequence), at, now);
                }
                Event::Rejected { publisher, sequence, reason } => {
                    self.rejected((publisher, sequence), reason, now);
                }
                Event::Duplicate { cause: DuplicateCause::Reread, .. } => {}
                Event::Duplicate { .. } | Event::LateRecovery { .. } => self.again(event, now),
                _ => {}
            }
        }
    }

    /// Sends the `publish` spans that still waited for an acknowledgement.
    pub fn finish(&mut self, now: &Pairing) {
        while let Some(slot) = self.order.pop_front() {
            self.settle(slot, now);
        }
    }

    /// Sends the `publish` spans whose acknowledgement is no longer expected: after twice the deadline.
    fn give_up(&mut self, now: &Pairing) {
        while let Some(&slot) = self.order.front() {
            let is_expected = self.unanswered.get(&slot).is_some_and(|journey| {
                let deadline = self.roster.path(self.roster.publisher(slot.0).path).deadline;
                now.instant <= journey.set_out() + deadline + deadline
            });
            if is_expected {
                return;
            }
            self.order.pop_front();
            self.settle(slot, now);
        }
    }

    /// Sends the `publish` span of a message as it stands, if it still waited.
    fn settle(&mut self, slot: Slot, now: &Pairing) {
        if let Some(journey) = self.unanswered.remove(&slot) {
            self.send(1, |tracer| vec![tracer.publish_span(&journey, now)]);
        }
    }

    fn rejected(&mut self, slot: Slot, reason: u8, now: &Pairing) {
        match self.unanswered.get_mut(&slot) {
            // It has come out, and is refused all the same.
            Some(journey) => {
                journey.refusal = Some(reason);
                self.settle(slot, now);
            }
            None => self.refusal = Some((slot, reason)),
        }
    }

    fn resolved(&mut self, event: &Event, now: &Pairing) {
        let &Event::Resolved { publisher, sequence, lane, outcome, departure, ref arrival, .. } =
            event
        else {
            return;
        };
        if departure.sent == Elapsed::UNKNOWN && arrival.is_none() {
            return;
        }
        let journey = Journey::of((publisher, sequence), &departure);
        self.departures[place_of(journey.slot)] = Some((journey.slot, departure));
        let intended = departure.intended;
        let slot = (publisher, sequence);
        let Some(why) = self.why(slot, outcome, arrival.as_ref()) else { return };
        let refusal = self.refusal.filter(|&(of, _)| of == slot).map(|(_, reason)| reason);
        let journey = Journey { why, refusal, ..journey };
        let ending = Ending {
            lane,
            outcome: outcome.name(),
            // What nobody can say is not the message's failure.
            is_error: matches!(
                outcome,
                Outcome::AckedLost | Outcome::UnackedLost | Outcome::Rejected
            ),
            again: None,
            at: arrival.map_or(now.instant, |arrival| intended.offset(arrival.end_to_end)),
            receipt: arrival.map(|arrival| Receipt {
                place: arrival.place,
                append: (arrival.fetch.nanos())
                    .map(|fetch| intended.offset(arrival.end_to_end - fetch)),
                span: arrival.span,
            }),
        };
        self.publish(&journey, outcome, now);
        self.send(ending.spans(), |tracer| tracer.ending_spans(&journey, &ending, now));
    }

    /// A message came out where nothing was awaited any more.
    fn again(&mut self, event: &Event, now: &Pairing) {
        let (slot, why, departure, (lane, at, place), duplicate) = match *event {
            Event::Duplicate { publisher, sequence, lane, cause, at, place, departure, .. } => {
                let slot = (publisher, sequence);
                (slot, Why::Duplicate, departure, (lane, at, place), Some(cause))
            }
            Event::LateRecovery { publisher, sequence, lane, at, place, departure, .. } => {
                ((publisher, sequence), Why::Late, departure, (lane, at, place), None)
            }
            _ => return,
        };
        let outcome = if duplicate.is_some() { "duplicate" } else { Outcome::Late.name() };
        let receipt = Some(Receipt { place, append: None, span: None });
        let again = Some(Again { cause: duplicate });
        let ending = Ending { lane, outcome, is_error: false, again, at, receipt };
        let remembered = self.departures[place_of(slot)].filter(|&(of, _)| of == slot);
        let departure = departure.or(remembered.map(|(_, departure)| departure));
        match departure.map(|departure| Journey::of(slot, &departure)) {
            Some(journey) => {
                let journey = Journey { why, ..journey };
                self.publish(&journey, Outcome::Late, now);
                self.send(ending.spans(), |tracer| tracer.ending_spans(&journey, &ending, now));
            }
            // How it set out is forgotten: what is known is that it is here.
            None => self.send(1, |tracer| {
                let journey = Journey { why, ..Journey::forgotten(slot, at) };
                vec![tracer.lone_receipt(&journey, &ending, now)]
            }),
        }
    }

    /// Why a message is traced, if it is.
    fn why(&self, slot: Slot, outcome: Outcome, arrival: Option<&Arrival>) -> Option<Why> {
        match outcome {
            Outcome::Late => Some(Why::Late),
            Outcome::AckedLost | Outcome::UnackedLost => Some(Why::Lost),
            Outcome::Rejected => Some(Why::Rejected),
            _ if arrival.is_some_and(|arrival| arrival.end_to_end >= self.slow_nanos) => {
                Some(Why::Slow)
            }
            _ => {
                let hash = mix(mix(u64::from(slot.0.0)) ^ slot.1);
                (hash < self.threshold).then_some(Why::Sampled)
            }
        }
    }

    /// Sends a message's `publish` span, once, now or when its acknowledgement comes.
    fn publish(&mut self, journey: &Journey, outcome: Outcome, now: &Pairing) {
        let slot = journey.slot;
        if self.unanswered.contains_key(&slot) || !self.published.insert(slot) {
            return;
        }
        self.published_order.push_back(slot);
        if self.published_order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.published_order.pop_front()
        {
            self.published.remove(&oldest);
        }
        let came_out = matches!(outcome, Outcome::Delivered | Outcome::Late);
        let qos = self.roster.publisher(slot.0).qos;
        if journey.acknowledged.is_some() || qos == Qos::AtMostOnce || !came_out {
            let journey = journey.clone();
            return self.send(1, |tracer| vec![tracer.publish_span(&journey, now)]);
        }
        self.unanswered.insert(slot, journey.clone());
        self.order.push_back(slot);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.settle(oldest, now);
        }
    }

    fn answered(&mut self, slot: Slot, at: Instant, now: &Pairing) {
        if let Some(journey) = self.unanswered.get_mut(&slot) {
            journey.acknowledged = Some(at);
            self.settle(slot, now);
        }
    }

    /// Makes so many spans and hands them on, or counts that there was no room. They are not made in
    /// vain.
    fn send(&self, count: usize, make: impl FnOnce(&Self) -> Vec<SpanData>) {
        let SpanSink { spans, no_room, .. } = &self.sink;
        match spans.try_reserve_many(count) {
            Ok(places) => places.zip(make(self)).for_each(|(place, span)| place.send(span)),
            Err(_) => no_room.increment(count as u64),
        }
    }
}

/// Where it is remembered how a message set out.
fn place_of((publisher, sequence): Slot) -> usize {
    let hash = mix(mix(u64::from(publisher.0)) ^ sequence);
    usize::try_from(hash % DEPARTURES_MAX as u64).unwrap_or(0)
}

/// The hash below which a message is sampled.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of all hashes, to within one in 2^53; casts to integers saturate"
)]
fn threshold(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}
