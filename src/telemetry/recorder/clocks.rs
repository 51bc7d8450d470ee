//! Room `telemetry`: the clocks of Kafka's leaders.

use super::{Telemetry, seconds};
use crate::stats::PeerClock;
use crate::telemetry::families::{CLOCK_OFFSET, CLOCK_OFFSET_BOUND};

impl Telemetry {
    /// Sets what is known of the leaders' clocks; those of others are absent from now on.
    pub fn set_clocks(&self, known: &[PeerClock]) {
        let board = &self.0.board;
        let named = |labels: &[String]| known.iter().any(|it| labels.contains(&(*it.peer).into()));
        board.retain(&CLOCK_OFFSET, named);
        board.retain(&CLOCK_OFFSET_BOUND, named);
        for PeerClock { peer, offset } in known {
            let bound = i64::try_from(offset.bound_nanos).unwrap_or(i64::MAX);
            board.set(&CLOCK_OFFSET, &[peer], Some(seconds(offset.offset_nanos)));
            board.set(&CLOCK_OFFSET_BOUND, &[peer], Some(seconds(bound)));
        }
    }
}
