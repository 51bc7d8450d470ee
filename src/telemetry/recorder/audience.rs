//! Room `telemetry`: what MQTT subscribers of a path were handed, and those that measure nothing.

use metrics::{Counter, Histogram};

use crate::correlate::{Audience, Bystander, Event, Lane, Path, PathId, Qos, Roster};

use super::super::families::{
    BACKGROUND_CLIENTS, BACKGROUND_MESSAGES, DELIVERIES, DELIVERY_LATENCY,
};
use super::super::handles::{Registrar, seconds};
use super::{Inner, Telemetry, whole};

/// The series of a path and QoS; those of a path with one subscriber are nowhere.
pub(super) struct DeliveryHandles {
    received: Counter,
    latency: Histogram,
}

impl DeliveryHandles {
    /// Those of all paths, in the order of paths and QoS.
    pub(super) fn of_all(registrar: Registrar<'_>, roster: &Roster) -> Vec<Self> {
        let paths = (0..).map(PathId).zip(roster.paths());
        paths
            .flat_map(|(id, path)| {
                Qos::ALL.map(|qos| Self::new(registrar, (path, roster.audience(id)), qos))
            })
            .collect()
    }

    fn new(registrar: Registrar<'_>, (path, audience): (&Path, Audience), qos: Qos) -> Self {
        let is_heard = path.qos.contains(&qos) && path.lanes.contains(&Lane::MqttMqtt);
        if !is_heard || !audience.is_crowd() {
            return Self { received: Counter::noop(), latency: Histogram::noop() };
        }
        let labels = [path.name.as_str(), qos.label()];
        Self {
            received: registrar.counter(&DELIVERIES, &labels),
            latency: registrar.histogram(&DELIVERY_LATENCY, &labels),
        }
    }
}

impl Telemetry {
    /// Sets how many messages clients that measure nothing were handed so far, and how many of them are
    /// connected.
    pub fn set_bystanders(&self, (path, kind): (PathId, Bystander), received: u64, connected: u64) {
        let Some(path) = self.path(path) else { return };
        let labels = [path.name.as_str(), kind.name()];
        self.0.board.set(&BACKGROUND_MESSAGES, &labels, Some(whole(received)));
        self.0.board.set(&BACKGROUND_CLIENTS, &labels, Some(whole(connected)));
    }
}

impl Inner {
    /// Counts that a subscriber was handed a message, if that is what the event says.
    pub(super) fn book_delivery(&self, event: &Event) {
        let Some((publisher, end_to_end)) = event.delivery() else { return };
        // Who produces straight to Kafka is behind all of these, and its messages reach none of them.
        let group = self.group_of.get(publisher.0 as usize);
        let Some(handles) = group.and_then(|&group| self.deliveries.get(usize::from(group))) else {
            return;
        };
        handles.received.increment(1);
        if let Some(nanos) = end_to_end.nanos() {
            handles.latency.record(seconds(nanos));
        }
    }
}
