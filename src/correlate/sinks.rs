//! Room `correlate`: what is known of the sinks of one path.

mod restart;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::{Lane, Qos, RecordPlace};

/// How many absences of a sink are told apart; the oldest are taken together.
const AWAY_MAX: usize = 256;
/// How many partitions a path may have; records of later ones are not told from re-reads.
pub(super) const PARTITIONS_MAX: usize = 65_536;

/// What is known of the sinks of one path.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sinks {
    pub(super) caught_up: [Instant; Lane::ALL.len()],
    /// From which sending on and up to which moment each sink was read once more.
    pub(super) looked: [Option<(Instant, Instant)>; Lane::ALL.len()],
    /// The first sending of those that are to be looked for again.
    pub(super) missing_since: [Option<Instant>; Lane::ALL.len()],
    pub(super) away: [VecDeque<(Instant, Instant)>; Lane::ALL.len()],
    /// For each partition of each lane's sink, one more than the last offset that was seen.
    pub(super) cursors: [Vec<i64>; Lane::ALL.len()],
    pub(super) in_flight: [[u64; Lane::ALL.len()]; Qos::ALL.len()],
    /// Whether what comes out may have been out for long: its sink is not yet abreast after a restart.
    pub(super) behind: [bool; Lane::ALL.len()],
}

impl Sinks {
    pub(super) fn catch_up(&mut self, lane: Lane, at: Instant) {
        let caught_up = &mut self.caught_up[lane.index()];
        *caught_up = at.max(*caught_up);
    }

    pub(super) fn caught_up(&self, lane: Lane) -> Instant {
        self.caught_up[lane.index()]
    }

    /// Notes that what was sent from a moment on was looked for again among what was there at another.
    pub(super) fn look_again(&mut self, lane: Lane, from: Instant, at: Instant) {
        self.looked[lane.index()] = Some((from, at));
    }

    /// Since when messages are missing that are to be looked for again.
    pub(super) fn missing_since(&self, lane: Lane) -> Option<Instant> {
        self.missing_since[lane.index()]
    }

    /// Forgets what was missing: it is found out anew each time.
    pub(super) fn forget_missing(&mut self) {
        self.missing_since = Default::default();
    }

    pub(super) fn note_absence(&mut self, lane: Lane, from: Instant, until: Instant) {
        let away = &mut self.away[lane.index()];
        away.push_back((from, until));
        // Made one rather than forgotten: a slot between two absences is then unresolved, where one
        // in a forgotten absence would be called lost.
        if away.len() > AWAY_MAX
            && let Some(oldest) = away.pop_front()
            && let Some(next) = away.front_mut()
        {
            *next = (oldest.0.min(next.0), oldest.1.max(next.1));
        }
    }

    /// Notes a record's offset; false where the partition had been read beyond it before.
    #[inline]
    pub(super) fn moves_on(&mut self, lane: Lane, place: RecordPlace) -> bool {
        let RecordPlace { slot, offset } = place;
        let index = slot as usize;
        if index >= PARTITIONS_MAX {
            return true;
        }
        let cursors = &mut self.cursors[lane.index()];
        if index >= cursors.len() {
            cursors.resize(index + 1, 0);
        }
        let cursor = &mut cursors[index];
        let moves_on = offset >= *cursor;
        *cursor = offset.saturating_add(1).max(*cursor);
        moves_on
    }

    pub(super) fn in_flight(&self, qos: Qos, lane: Lane) -> u64 {
        self.in_flight[usize::from(qos.level())][lane.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_new_once() {
        let mut sinks = Sinks::default();
        let mut moves_on =
            |slot, offset| sinks.moves_on(Lane::MqttKafka, RecordPlace { slot, offset });
        assert!(moves_on(3, 0));
        assert!(moves_on(3, 7), "gaps are the log's own affair");
        assert!(!moves_on(3, 7));
        assert!(!moves_on(3, 2));
        assert!(moves_on(2, 2), "partitions are apart");
        assert!(moves_on(u32::MAX, 0) && moves_on(u32::MAX, 0), "beyond the bound");
        assert!(moves_on(3, i64::MAX));
        let place = RecordPlace { slot: 3, offset: 7 };
        assert!(sinks.moves_on(Lane::KafkaKafka, place), "and so are the partitions of lanes");
    }
}
