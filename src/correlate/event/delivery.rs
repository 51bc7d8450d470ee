//! Room `correlate`: what events say of all that MQTT subscribers were handed.

use super::{DuplicateCause, Event};
use crate::correlate::{Elapsed, Lane, PublisherId};

impl Event {
    /// Whose message an MQTT subscriber was handed, and how long after the intended send time where
    /// that is known: the first arrival and every further one, whoever the lane is judged by. `None`
    /// where the event says of none.
    #[must_use]
    #[inline]
    pub fn delivery(&self) -> Option<(PublisherId, Elapsed)> {
        const LANE: Lane = Lane::MqttMqtt;
        match *self {
            Self::Witnessed { publisher, end_to_end } => Some((publisher, end_to_end)),
            Self::Resolved { publisher, lane: LANE, arrival: Some(ref arrival), .. } => {
                Some((publisher, Elapsed::of(arrival.end_to_end)))
            }
            Self::LateRecovery { publisher, lane: LANE, end_to_end, .. } => {
                Some((publisher, end_to_end.into()))
            }
            Self::Duplicate { publisher, lane: LANE, cause, .. }
                if cause != DuplicateCause::Reread =>
            {
                Some((publisher, Elapsed::UNKNOWN))
            }
            Self::Recovered { publisher, lane: LANE } => Some((publisher, Elapsed::UNKNOWN)),
            _ => None,
        }
    }
}
