//! Room `telemetry`: messages that came out for the first time.

use crate::correlate::{Arrival, Carrier, Lane, Qos};

use super::super::handles::{PathHandles, seconds};
use super::Inner;

impl Inner {
    /// The path of a group of MQTT publishers; control publishers have none.
    pub(super) fn mqtt_path(&self, group: usize) -> Option<&PathHandles> {
        self.paths.get(group / Qos::ALL.len())
    }

    pub(super) fn book_arrival(&self, group: usize, lane: Lane, arrival: &Arrival) {
        let path = self.mqtt_path(group);
        let group = &self.groups[group];
        for (leg, nanos) in arrival.legs() {
            if let Some(nanos) = nanos.nanos() {
                group.legs[leg.index()].record(seconds(nanos));
            }
        }
        if let Some(nanos) = arrival.durability_gap.nanos() {
            group.durability_gap.record(seconds(nanos));
        }
        let Some(path) = path else { return };
        if lane == Lane::MqttKafka {
            path.consumed(arrival.place.slot);
        }
        for (carrier, survived) in Carrier::ALL.into_iter().zip(arrival.stamps) {
            if let Some(survived) = survived {
                path.stamped(carrier, survived);
            }
        }
    }
}
