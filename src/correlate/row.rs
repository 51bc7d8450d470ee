//! Room `correlate`: what a publisher saw of slots in a row.

use serde::{Deserialize, Serialize};

use super::Observation;

/// So many slots a row has at most.
const SLOTS_MAX: u32 = 65_536;

/// What a publisher saw of a slot, and the very same of those behind it.
///
/// # Design
///
/// A load that is driven hard hands hundreds of messages to the socket in one write and reads as many
/// answers at a time. Nothing tells them apart but their sequences, so that they are told, kept and
/// booked as one thing: what a message costs the probe is then a small part of what sending it costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was seen of the first.
    pub first: Observation,
    /// How many slots follow of which the same was seen, each with the next sequence.
    more: u32,
}

impl Row {
    /// How many slots it is about.
    #[must_use]
    pub const fn count(&self) -> u32 {
        // Whoever has written it down.
        if self.more < SLOTS_MAX { self.more + 1 } else { SLOTS_MAX }
    }

    /// Takes in what was seen next, if it is the same of the next slot; whether it is.
    #[inline]
    pub fn takes(&mut self, next: &Observation) -> bool {
        use Observation::{Acknowledged, Offered, Sent};
        let behind = u64::from(self.count());
        let is_same = match (&self.first, next) {
            (
                &Offered { publisher, sequence, intended },
                &Offered { publisher: of, sequence: number, intended: due },
            ) => (of, number, due) == (publisher, sequence + behind, intended),
            (
                &Sent { publisher, sequence, at, held },
                &Sent { publisher: of, sequence: number, at: when, held: was },
            ) => (of, number, when, was) == (publisher, sequence + behind, at, held),
            (
                &Acknowledged { publisher, sequence, stage, reason, at },
                &Acknowledged {
                    publisher: of,
                    sequence: number,
                    stage: step,
                    reason: code,
                    at: when,
                },
            ) => {
                (of, number, when) == (publisher, sequence + behind, at)
                    && (step, code) == (stage, reason)
            }
            _ => false,
        };
        let takes = is_same && self.count() < SLOTS_MAX;
        self.more += u32::from(takes);
        takes
    }

    /// What was seen of each slot, one after the other.
    pub fn each(&self) -> impl Iterator<Item = Observation> + use<> {
        let first = self.first;
        (0..u64::from(self.count())).map(move |behind| {
            let mut observation = first;
            if let Observation::Offered { sequence, .. }
            | Observation::Sent { sequence, .. }
            | Observation::Acknowledged { sequence, .. } = &mut observation
            {
                *sequence += behind;
            }
            observation
        })
    }
}

impl From<Observation> for Row {
    fn from(first: Observation) -> Self {
        Self { first, more: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Instant;
    use crate::correlate::{NotSent, PublisherId, Stage};

    /// Few values of everything, so that neighbours are often alike.
    fn observation() -> impl Strategy<Value = Observation> {
        let of = (0_u32..2, 0_u64..3, 0_u64..2, any::<bool>());
        (of, 0..5).prop_map(|((publisher, sequence, nanos, held), kind)| {
            let (publisher, at) = (PublisherId(publisher), Instant::from_nanos(nanos));
            let (stage, reason) = if held { (Stage::Puback, 0) } else { (Stage::Pubrec, 16) };
            match kind {
                0 => Observation::Offered { publisher, sequence, intended: at },
                1 => Observation::Sent { publisher, sequence, at, held },
                2 => Observation::Acknowledged { publisher, sequence, stage, reason, at },
                3 => Observation::NotSent { publisher, sequence, cause: NotSent::QueueFull },
                _ => Observation::Woken { publisher, nanos: 1 },
            }
        })
    }

    proptest! {
        #[test]
        fn rows_say_what_was_seen_in_its_order(seen in prop::collection::vec(observation(), 0..40)) {
            let mut rows: Vec<Row> = Vec::new();
            for next in &seen {
                if !rows.last_mut().is_some_and(|row| row.takes(next)) {
                    rows.push((*next).into());
                }
            }
            let told: Vec<Observation> = rows.iter().flat_map(Row::each).collect();
            prop_assert_eq!(told, seen);
        }
    }

    #[test]
    fn what_differs_in_anything_else_is_not_in_the_row() {
        let publisher = PublisherId(1);
        let sent = |sequence, nanos, held| {
            let at = Instant::from_nanos(nanos);
            Observation::Sent { publisher, sequence, at, held }
        };
        let mut row = Row::from(sent(5, 9, false));
        assert!(row.takes(&sent(6, 9, false)) && row.takes(&sent(7, 9, false)));
        for other in [sent(7, 9, false), sent(9, 9, false), sent(8, 8, false), sent(8, 9, true)] {
            assert!(!row.takes(&other), "{other:?}");
        }
        assert_eq!((row.count(), row.more), (3, 2));
    }
}
