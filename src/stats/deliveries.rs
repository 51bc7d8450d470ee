//! Room `stats`: what all MQTT subscribers of a path were handed.

use serde::{Deserialize, Serialize};

use crate::correlate::{Elapsed, Event, PathId, Qos};

use super::latencies::Latencies;
use super::{Stats, group};

/// What the subscribers of a path were handed at a QoS, where there is more than one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeliveryTotals {
    /// How many messages, each once for each time that one of them was handed it.
    pub received: u64,
    /// From the intended send time, of those of which that is known.
    pub latency: Latencies,
}

impl DeliveryTotals {
    fn receive(&mut self, end_to_end: Elapsed) {
        self.received += 1;
        if let Some(nanos) = end_to_end.nanos() {
            self.latency.record(nanos);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.received += other.received;
        self.latency.merge(&other.latency);
    }
}

impl Stats {
    /// What the subscribers of a path were handed of the messages of a QoS; nothing is counted where
    /// there is only one.
    #[must_use]
    pub fn deliveries(&self, path: PathId, qos: Qos) -> &DeliveryTotals {
        &self.deliveries[group(path, qos)]
    }

    /// Books that a subscriber was handed a message, if that is what the event says.
    #[inline]
    pub(super) fn note_delivery(&mut self, event: &Event) {
        let Some((publisher, end_to_end)) = event.delivery() else { return };
        let publisher = self.roster.publisher(publisher);
        if self.roster.audience(publisher.path).is_crowd() {
            self.deliveries[group(publisher.path, publisher.qos)].receive(end_to_end);
        }
    }
}
