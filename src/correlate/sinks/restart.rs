//! Room `correlate`: what a restart changes in what is known of the sinks.

use std::collections::VecDeque;

use super::Sinks;
use crate::clock::Instant;
use crate::correlate::Lane;

impl Sinks {
    /// For each partition, one more than the last offset that was seen.
    pub(in crate::correlate) fn cursors(&self, lane: Lane) -> &[i64] {
        &self.cursors[lane.index()]
    }

    /// Notes at `now` that the process that looked at the sinks has ended, and that another one will.
    pub(in crate::correlate) fn restarted(&mut self, now: Instant) {
        // Kafka is read again from where it was left; an MQTT broker keeps nothing for who is away.
        for lane in Lane::ALL.into_iter().filter(|lane| lane.ends_in_kafka()) {
            self.behind[lane.index()] = true;
        }
        let there = self.caught_up(Lane::MqttMqtt);
        self.note_absence(Lane::MqttMqtt, there, now);
    }

    /// Forgets every moment: the clock has begun anew.
    pub(in crate::correlate) fn forget_moments(&mut self) {
        self.caught_up = [Instant::ZERO; Lane::ALL.len()];
        self.looked = Default::default();
        self.forget_missing();
        self.away.iter_mut().for_each(VecDeque::clear);
    }

    /// Notes that a sink hands over what comes out as it comes out.
    pub(in crate::correlate) fn come_abreast(&mut self, lane: Lane) {
        self.behind[lane.index()] = false;
    }

    /// Whether what a sink hands over may have been out for long.
    pub(in crate::correlate) fn is_behind(&self, lane: Lane) -> bool {
        self.behind[lane.index()]
    }
}
