//! Room `app`: how many messages of a publisher may wait, and be under way.

use std::time::Duration;

use crate::config::{MqttConfig, PathConfig, Rate};
use crate::correlate::{Lane, Qos};
use crate::wire::AHEAD_BYTES;

/// A publisher may have this many seconds of its rate unacknowledged.
const INFLIGHT_SECONDS: f64 = 5.0;
const INFLIGHT_RANGE: (f64, f64) = (16.0, 1_024.0);
/// How many messages a publisher in a closed loop may have under way.
const INFLIGHT_OF_MAX: u16 = 100;
/// A publisher may have this much of its rate waiting for its connection, beside its deadline.
const QUEUE_RANGE: (f64, f64) = (64.0, 65_536.0);
/// What a message takes in its packet beside topic and payload: header, packet id and property.
const ENVELOPE_BYTES: u64 = 96;

/// How much room one publisher has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// How many messages may be unacknowledged.
    pub(super) inflight: u16,
    /// How many may wait for the connection.
    pub(super) queue: usize,
}

impl Room {
    /// That of a publisher with so many messages a second.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    pub(super) fn of(mqtt: &MqttConfig, rate: f64, deadline: Duration) -> Self {
        let inflight = (rate * INFLIGHT_SECONDS).clamp(INFLIGHT_RANGE.0, INFLIGHT_RANGE.1);
        let inflight = if mqtt.rate == Rate::Max { INFLIGHT_OF_MAX } else { inflight as u16 };
        let inflight = mqtt.inflight.unwrap_or(inflight);
        // A closed loop fills what may be under way all at once.
        let queue_min = if mqtt.rate == Rate::Max { usize::from(inflight) } else { 0 };
        Self { inflight, queue: queue(rate, deadline).max(queue_min) }
    }
}

/// How many messages of a rate may wait for their connection.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
pub(super) fn queue(rate: f64, deadline: Duration) -> usize {
    (rate * deadline.as_secs_f64()).clamp(QUEUE_RANGE.0, QUEUE_RANGE.1) as usize
}

/// What systems that take nothing any more leave with the publishers of a path: how many messages wait, or
/// for answers, and how many bytes of them are written that no socket takes. What waits for a broker is
/// not written yet, but for a little of each client; what waits for Kafka, on the control lane, is.
pub(in crate::app) fn under_way(path: &PathConfig) -> (u64, u64) {
    let mqtt = &path.mqtt;
    let levels = u64::try_from(mqtt.qos.len()).unwrap_or(1).max(1);
    let packet = u64::from(mqtt.payload.size) + mqtt.topic.as_str().len() as u64 + ENVELOPE_BYTES;
    let of_level = |&qos: &Qos| {
        let clients = u64::from(mqtt.clients).div_ceil(levels);
        let rate = mqtt.rate.nominal() / precise(levels) / precise(clients);
        let Room { inflight, queue } = Room::of(mqtt, rate, path.deadline);
        let sent = if qos == Qos::AtMostOnce { 0 } else { u64::from(inflight) };
        let (waiting, sent) = match mqtt.rate {
            // Whoever waits and whoever was sent are together no more than may be under way.
            Rate::Max => (u64::from(inflight), 0),
            Rate::PerSecond(_) => (due_within(rate, path.deadline).min(queue as u64), sent),
        };
        let written = (waiting.max(1) * packet).min(AHEAD_BYTES as u64 + packet);
        (clients * (waiting + sent), clients * written)
    };
    let of_control = path.lanes.contains(&Lane::KafkaKafka).then(|| {
        let waiting = queue(mqtt.rate.nominal(), path.deadline) as u64;
        (waiting, waiting * packet)
    });
    let all = mqtt.qos.iter().map(of_level).chain(of_control);
    all.fold((0, 0), |(messages, bytes), of| (messages + of.0, bytes + of.1))
}

/// How many messages of a rate are due within a stretch of time, at least.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and deadlines are configured, and have bounds"
)]
fn due_within(rate: f64, stretch: Duration) -> u64 {
    (rate * stretch.as_secs_f64()).ceil() as u64
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn precise(count: u64) -> f64 {
    count.max(1) as f64
}
