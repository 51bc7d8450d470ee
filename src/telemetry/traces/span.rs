//! Room `telemetry`: one span.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceFlags, TraceId as OtelTraceId,
    TraceState,
};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::super::otlp::SCOPE;
use super::journey::{Ending, Journey, Receipt};
use super::{Lane, Slot, Source, Tracer};
use crate::clock::{Instant, Pairing};
use crate::correlate::RecordPlace;
use crate::splitmix::mix;
use crate::stamp::{SpanId, TraceId};

/// Tells the span ids of a message apart.
const CROSSING: u64 = 0x6372_6f73_7369_6e67;
const RECEIVE: u64 = 0x7265_6365_6976_6500;

impl Tracer {
    /// From the intended send time to the acknowledgement.
    pub(super) fn publish_span(&self, journey: &Journey, now: &Pairing) -> SpanData {
        let id = self.trace_id(journey.slot);
        let source = &self.sources[journey.slot.0.0 as usize];
        let mut attributes = self.common(journey);
        attributes.extend([
            KeyValue::new("messaging.operation.name", "publish"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.client.id", source.client_id.clone()),
            KeyValue::new("messaging.message.body.size", integer(source.size)),
        ]);
        attributes.extend(mqtt(source));
        let delay = journey.sent.map(|sent| seconds(journey.intended, sent));
        attributes.extend(delay.map(|delay| KeyValue::new("landfall.publish_delay", delay)));
        if let Some(reason) = journey.refusal {
            attributes.push(KeyValue::new("landfall.mqtt.reason_code", i64::from(reason)));
        }
        let status = match journey.refusal {
            Some(reason) => {
                attributes.push(KeyValue::new("error.type", format!("{reason:#04x}")));
                Status::error(format!("refused with reason code {reason:#04x}"))
            }
            None => Status::Unset,
        };
        let end = journey.acknowledged.unwrap_or(journey.set_out());
        let context = context(id, id.parent_id());
        SpanData {
            status,
            ..span(
                (context, OtelSpanId::INVALID, SpanKind::Producer),
                format!("publish {}", source.template),
                times((journey.intended, end), now),
                attributes,
            )
        }
    }

    /// From the socket to receipt, and the receipt itself.
    pub(super) fn ending_spans(
        &self,
        journey: &Journey,
        ending: &Ending,
        now: &Pairing,
    ) -> Vec<SpanData> {
        let id = self.trace_id(journey.slot);
        let crossing = context(id, span_id(id, CROSSING ^ salt(ending)));
        let mut attributes = self.common(journey);
        attributes.extend(said(ending));
        let status = if ending.is_error {
            attributes.push(KeyValue::new("error.type", ending.outcome));
            Status::error(ending.outcome)
        } else {
            Status::Unset
        };
        let path = self.path_name(journey.slot);
        let mut spans = vec![SpanData {
            status,
            ..span(
                (crossing.clone(), OtelSpanId::from_bytes(id.parent_id()), SpanKind::Internal),
                format!("crossing {path} {}", ending.lane.name()),
                times((journey.set_out(), ending.at), now),
                attributes,
            )
        }];
        if let Some(receipt) = &ending.receipt {
            let parent = crossing.span_id();
            spans.push(self.receive_span(journey, (ending, receipt), parent, now));
        }
        spans
    }

    /// The receipt of a message of which nothing else is known any more.
    pub(super) fn lone_receipt(
        &self,
        journey: &Journey,
        ending: &Ending,
        now: &Pairing,
    ) -> SpanData {
        let publish = OtelSpanId::from_bytes(self.trace_id(journey.slot).parent_id());
        let nowhere = RecordPlace { slot: 0, offset: 0 };
        let unknown = Receipt { place: nowhere, append: None, span: None };
        let receipt = ending.receipt.unwrap_or(unknown);
        self.receive_span(journey, (ending, &receipt), publish, now)
    }

    fn receive_span(
        &self,
        journey: &Journey,
        (ending, receipt): (&Ending, &Receipt),
        parent: OtelSpanId,
        now: &Pairing,
    ) -> SpanData {
        let id = self.trace_id(journey.slot);
        let mut attributes = self.common(journey);
        attributes.extend(said(ending));
        let (name, kind) = match ending.lane {
            Lane::MqttKafka | Lane::KafkaKafka => {
                attributes.push(KeyValue::new("messaging.system.name", "kafka"));
                attributes.push(KeyValue::new("messaging.operation.name", "poll"));
                attributes.push(KeyValue::new("messaging.operation.type", "receive"));
                attributes.push(KeyValue::new("kafka.offset", receipt.place.offset));
                let path = self.roster.publisher(journey.slot.0).path;
                let name = match self.sink.telemetry.partition(path, receipt.place.slot) {
                    Some((topic, partition)) => {
                        attributes
                            .push(KeyValue::new("messaging.destination.name", topic.to_owned()));
                        attributes.push(KeyValue::new(
                            "messaging.destination.partition.id",
                            partition.to_string(),
                        ));
                        format!("poll {topic}")
                    }
                    None => "poll".to_owned(),
                };
                (name, SpanKind::Client)
            }
            Lane::MqttMqtt => {
                let source = &self.sources[journey.slot.0.0 as usize];
                attributes.push(KeyValue::new("messaging.operation.name", "receive"));
                // The broker pushes: there is no call that waits for messages.
                attributes.push(KeyValue::new("messaging.operation.type", "process"));
                attributes.extend(mqtt(source));
                (format!("receive {}", source.template), SpanKind::Consumer)
            }
        };
        let mut links = SpanLinks::default();
        let sent = Link::new(context(id, id.parent_id()), Vec::new(), 0);
        let theirs = receipt.span.map(|span| Link::new(remote(id, span), Vec::new(), 0));
        links.links.extend([Some(sent), theirs].into_iter().flatten());
        let from = receipt.append.unwrap_or(ending.at);
        SpanData {
            links,
            ..span(
                (context(id, span_id(id, RECEIVE ^ salt(ending))), parent, kind),
                name,
                times((from, ending.at), now),
                attributes,
            )
        }
    }

    /// What every span of a message says.
    fn common(&self, journey: &Journey) -> Vec<KeyValue> {
        let (publisher, sequence) = journey.slot;
        let publisher = self.roster.publisher(publisher);
        let path = self.path_name(journey.slot).to_owned();
        vec![
            KeyValue::new("landfall.path", path),
            KeyValue::new("landfall.qos", i64::from(publisher.qos.level())),
            KeyValue::new("landfall.publisher", i64::from(publisher.index)),
            KeyValue::new("landfall.sequence", integer(sequence)),
            KeyValue::new("landfall.traced_because", journey.why.name()),
        ]
    }

    fn path_name(&self, (publisher, _): Slot) -> &str {
        &self.roster.path(self.roster.publisher(publisher).path).name
    }

    fn trace_id(&self, (publisher, sequence): Slot) -> TraceId {
        let publisher = self.roster.publisher(publisher);
        let identity = self.stamper.identity(publisher.path.0, publisher.index, sequence);
        self.stamper.trace_id(identity)
    }
}

/// What is said of an ending.
fn said(ending: &Ending) -> impl Iterator<Item = KeyValue> {
    let cause = ending.again.and_then(|again| again.cause);
    let cause = cause.map(|cause| KeyValue::new("landfall.duplicate", cause.name()));
    [
        KeyValue::new("landfall.lane", ending.lane.name()),
        KeyValue::new("landfall.outcome", ending.outcome),
    ]
    .into_iter()
    .chain(cause)
}

fn span(
    (span_context, parent_span_id, span_kind): (SpanContext, OtelSpanId, SpanKind),
    name: String,
    (start_time, end_time): (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
) -> SpanData {
    SpanData {
        span_context,
        parent_span_id,
        parent_span_is_remote: false,
        span_kind,
        name: Cow::Owned(name),
        start_time,
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: SCOPE.clone(),
    }
}

fn context(trace: TraceId, span: [u8; 8]) -> SpanContext {
    SpanContext::new(
        OtelTraceId::from_bytes(trace.0),
        OtelSpanId::from_bytes(span),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// The context of a span that somebody else made for our message.
fn remote(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(
        OtelTraceId::from_bytes(trace.0),
        OtelSpanId::from_bytes(span.to_bytes()),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    )
}

/// Tells apart the endings of a message: one on each lane, and what came again.
fn salt(ending: &Ending) -> u64 {
    let again = ending.again.map_or(0, |_| ending.at.nanos());
    mix(ending.lane.index() as u64 ^ again)
}

/// Where a publisher's messages go in.
fn mqtt(source: &Source) -> [KeyValue; 7] {
    [
        KeyValue::new("messaging.system.name", "mqtt"),
        KeyValue::new("messaging.destination.name", source.topic.clone()),
        KeyValue::new("messaging.destination.template", source.template.clone()),
        KeyValue::new("server.address", source.host.clone()),
        KeyValue::new("server.port", i64::from(source.port)),
        KeyValue::new("network.protocol.name", "mqtt"),
        KeyValue::new("network.protocol.version", source.version),
    ]
}

/// A span id that follows from trace and salt; never zero.
fn span_id(trace: TraceId, salt: u64) -> [u8; 8] {
    let [low @ .., _, _, _, _, _, _, _, _] = trace.0;
    mix(u64::from_be_bytes(low) ^ salt).max(1).to_be_bytes()
}

/// Both ends on the wall clock. A clock that is less exact than the span is short must not turn it
/// around.
fn times((from, to): (Instant, Instant), now: &Pairing) -> (SystemTime, SystemTime) {
    (wall(from.min(to), now), wall(to, now))
}

fn wall(instant: Instant, now: &Pairing) -> SystemTime {
    let nanos = now.wall_of(instant).nanos();
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 104 days")]
fn seconds(from: Instant, to: Instant) -> f64 {
    to.nanos_since(from) as f64 / 1e9
}

/// Sizes and sequences are far below 2^63.
fn integer(number: impl TryInto<i64>) -> Value {
    Value::I64(number.try_into().unwrap_or(i64::MAX))
}
