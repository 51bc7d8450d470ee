//! Room `publish`: which slot a packet id stands for.

use std::collections::VecDeque;

use crate::clock::Instant;
use crate::correlate::{NotSent, Observation, PublisherId, Qos, Stage};
use crate::wire::Leftover;

/// Ties what the client library tells to the slots of one publisher.
#[derive(Debug)]
pub(super) struct Tracker {
    publisher: PublisherId,
    qos: Qos,
    /// Sequences queued and not sent, oldest first: the library keeps their order.
    waiting: VecDeque<u64>,
    /// Sequences sent and not fully answered, by packet id.
    flying: Vec<Option<u64>>,
    /// How many of `waiting` the library drops should the session be gone.
    at_stake: usize,
}

impl Tracker {
    pub(super) fn new(publisher: PublisherId, qos: Qos, inflight: u16) -> Self {
        let flying = vec![None; usize::from(inflight) + 1];
        Self { publisher, qos, waiting: VecDeque::new(), flying, at_stake: 0 }
    }

    /// A sequence is about to be queued.
    pub(super) fn queue(&mut self, sequence: u64) {
        self.waiting.push_back(sequence);
    }

    /// It could not be queued after all.
    pub(super) fn unqueue(&mut self) {
        self.waiting.pop_back();
    }

    /// A message was handed to the socket.
    pub(super) fn sent(&mut self, packet_id: u16, at: Instant) -> Option<Observation> {
        let publisher = self.publisher;
        let flying = match self.qos {
            Qos::AtMostOnce => None,
            _ => self.flying.get_mut(usize::from(packet_id)),
        };
        // A packet id that is already in the air comes out again when the session is resumed.
        let sequence = match flying {
            Some(Some(sequence)) => *sequence,
            Some(slot) => {
                let sequence = self.waiting.pop_front()?;
                *slot = Some(sequence);
                sequence
            }
            None => self.waiting.pop_front()?,
        };
        self.at_stake = self.at_stake.min(self.waiting.len());
        Some(Observation::Sent { publisher, sequence, at })
    }

    /// The broker answered. An answer to what is not in the air, such as one that the library
    /// replays after a reconnect, is nobody's.
    pub(super) fn answered(
        &mut self,
        packet_id: u16,
        stage: Stage,
        reason: u8,
        at: Instant,
    ) -> Option<Observation> {
        let slot = self.flying.get_mut(usize::from(packet_id))?;
        let sequence = (*slot)?;
        if stage != Stage::Pubrec || reason >= 0x80 {
            *slot = None;
        }
        let publisher = self.publisher;
        Some(Observation::Acknowledged { publisher, sequence, stage, reason, at })
    }

    /// The connection broke. At QoS 0 what was being written is given up by the library.
    pub(super) fn broke(&mut self, leftover: &Leftover, observations: &mut Vec<Observation>) {
        let torn = leftover.torn.min(self.waiting.len());
        let lost = if self.qos == Qos::AtMostOnce { torn } else { 0 };
        self.give_up(lost, NotSent::ClientDropped, observations);
        self.at_stake = (torn - lost + leftover.unsent).min(self.waiting.len());
    }

    /// The connection stands again. Without the old session the library has dropped what it held.
    pub(super) fn connected(&mut self, session_present: bool, observations: &mut Vec<Observation>) {
        if !session_present {
            self.give_up(self.at_stake, NotSent::ClientDropped, observations);
            self.flying.fill(None);
        }
        self.at_stake = 0;
    }

    /// Whether every message was sent and fully answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flying.iter().all(Option::is_none)
    }

    fn give_up(&mut self, count: usize, cause: NotSent, observations: &mut Vec<Observation>) {
        let publisher = self.publisher;
        let dropped = self.waiting.drain(..count.min(self.waiting.len()));
        observations.extend(dropped.map(|sequence| Observation::NotSent {
            publisher,
            sequence,
            cause,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant::ZERO;
    const WHO: PublisherId = PublisherId(4);

    fn tracker(qos: Qos, queued: std::ops::Range<u64>) -> Tracker {
        let mut tracker = Tracker::new(WHO, qos, 10);
        queued.for_each(|sequence| tracker.queue(sequence));
        tracker
    }

    #[expect(clippy::unnecessary_wraps, reason = "the shape of what it is compared with")]
    fn sent(sequence: u64) -> Option<Observation> {
        Some(Observation::Sent { publisher: WHO, sequence, at: AT })
    }

    fn dropped(sequence: u64) -> Observation {
        let cause = NotSent::ClientDropped;
        Observation::NotSent { publisher: WHO, sequence, cause }
    }

    #[test]
    fn answers_find_their_slot_by_packet_id() {
        let mut tracker = tracker(Qos::AtLeastOnce, 0..3);
        assert_eq!(tracker.sent(1, AT), sent(0));
        assert_eq!(tracker.sent(2, AT), sent(1));
        let acknowledged = |sequence| {
            let (publisher, stage, reason) = (WHO, Stage::Puback, 0);
            Some(Observation::Acknowledged { publisher, sequence, stage, reason, at: AT })
        };
        assert_eq!(tracker.answered(2, Stage::Puback, 0, AT), acknowledged(1));
        assert_eq!(tracker.answered(2, Stage::Puback, 0, AT), None, "a replayed answer");
        assert_eq!(tracker.sent(2, AT), sent(2), "the packet id is free again");
        assert_eq!(tracker.answered(99, Stage::Puback, 0, AT), None);
    }

    #[test]
    fn qos_2_is_in_the_air_until_pubcomp() {
        let mut tracker = tracker(Qos::ExactlyOnce, 0..1);
        tracker.sent(1, AT);
        assert!(tracker.answered(1, Stage::Pubrec, 0, AT).is_some());
        assert!(!tracker.is_idle());
        assert!(tracker.answered(1, Stage::Pubcomp, 0, AT).is_some());
        assert!(tracker.is_idle());
    }

    #[test]
    fn a_refused_qos_2_message_ends_at_pubrec() {
        let mut tracker = tracker(Qos::ExactlyOnce, 0..1);
        tracker.sent(1, AT);
        tracker.answered(1, Stage::Pubrec, 0x87, AT);
        assert!(tracker.is_idle());
    }

    #[test]
    fn a_resumed_session_resends_under_the_same_packet_id() {
        let mut tracker = tracker(Qos::AtLeastOnce, 0..2);
        tracker.sent(1, AT);
        let mut observations = Vec::new();
        tracker.broke(&Leftover { unsent: 1, ..Leftover::default() }, &mut observations);
        tracker.connected(true, &mut observations);
        assert_eq!(observations, []);
        assert_eq!(tracker.sent(1, AT), sent(0), "the resend is the same slot");
        assert_eq!(tracker.sent(2, AT), sent(1));
    }

    #[test]
    fn a_lost_session_drops_what_the_library_held_and_nothing_queued_since() {
        let mut tracker = tracker(Qos::AtLeastOnce, 0..3);
        tracker.sent(1, AT);
        let mut observations = Vec::new();
        tracker.broke(&Leftover { unsent: 2, ..Leftover::default() }, &mut observations);
        tracker.queue(3);
        tracker.connected(false, &mut observations);
        assert_eq!(observations, [dropped(1), dropped(2)]);
        assert_eq!(tracker.sent(1, AT), sent(3), "nothing of the old session is in the air");
    }

    #[test]
    fn a_torn_qos_0_message_is_dropped_at_once() {
        let mut tracker = tracker(Qos::AtMostOnce, 0..3);
        assert_eq!(tracker.sent(0, AT), sent(0));
        let mut observations = Vec::new();
        let leftover = Leftover { torn: 1, unsent: 1, ..Leftover::default() };
        tracker.broke(&leftover, &mut observations);
        assert_eq!(observations, [dropped(1)]);
        tracker.connected(true, &mut observations);
        assert_eq!(tracker.sent(0, AT), sent(2));
    }
}
