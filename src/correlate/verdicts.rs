//! Room `correlate`: closed slots whose message did not come out, so that a late one is known.
//!
//! # Design
//!
//! Of the closed slots only the exceptions are kept: a closed sequence that is not here came out.
//! Memory is thus in proportion to what went wrong, and bounded: the oldest verdict goes first, and
//! its going is counted. Slots that were never sent, or were refused, come in long runs when a broker
//! is away, so neighbours share one range.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::Outcome;

/// Verdicts of one publisher on one lane.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Verdicts {
    ranges: BTreeMap<u64, Range>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Range {
    end: u64,
    outcome: Outcome,
    /// When the first slot of the range was due; unknown after a split.
    intended: Option<Instant>,
}

impl Verdicts {
    /// Remembers that a closed slot did not come out. Slots are closed in order of sequence.
    /// Returns false where `ranges_max` was reached and the oldest verdicts were forgotten.
    pub(super) fn insert(
        &mut self,
        sequence: u64,
        outcome: Outcome,
        intended: Instant,
        ranges_max: usize,
    ) -> bool {
        let joins = matches!(outcome, Outcome::NotSent | Outcome::Rejected);
        if joins
            && let Some(mut last) = self.ranges.last_entry()
            && last.get().outcome == outcome
            && last.get().end == sequence
        {
            last.get_mut().end = sequence + 1;
            return true;
        }
        self.ranges
            .insert(sequence, Range { end: sequence + 1, outcome, intended: Some(intended) });
        if self.ranges.len() <= ranges_max {
            return true;
        }
        self.ranges.pop_first();
        false
    }

    /// Forgets when a slot was due that was inserted last.
    pub(super) fn forget_moment(&mut self, sequence: u64) {
        if let Some(range) = self.ranges.get_mut(&sequence) {
            range.intended = None;
        }
    }

    /// Forgets when slots were due: the clock that said so has begun anew.
    pub(super) fn forget_moments(&mut self) {
        self.ranges.values_mut().for_each(|range| range.intended = None);
    }

    /// Takes the verdict on a closed slot back: its outcome, and when the slot was due where that is
    /// known (of a range it is for the first slot only). `None` where the message had come out.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<(Outcome, Option<Instant>)> {
        let (&start, &range) = self.ranges.range(..=sequence).next_back()?;
        if sequence >= range.end {
            return None;
        }
        self.ranges.remove(&start);
        if start < sequence {
            self.ranges.insert(start, Range { end: sequence, ..range });
        }
        if sequence + 1 < range.end {
            self.ranges.insert(sequence + 1, Range { intended: None, ..range });
        }
        Some((range.outcome, range.intended.filter(|_| start == sequence)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn outcomes() -> impl Strategy<Value = Option<Outcome>> {
        prop_oneof![
            Just(None),
            Just(Some(Outcome::NotSent)),
            Just(Some(Outcome::Rejected)),
            Just(Some(Outcome::AckedLost)),
        ]
    }

    proptest! {
        #[test]
        fn they_agree_with_a_map(
            closed in prop::collection::vec(outcomes(), 0..200),
            asked in prop::collection::vec(0_u64..220, 0..300),
        ) {
            let mut verdicts = Verdicts::default();
            let mut map = HashMap::new();
            for (sequence, outcome) in (0..).zip(closed) {
                if let Some(outcome) = outcome {
                    prop_assert!(verdicts.insert(sequence, outcome, Instant::ZERO, usize::MAX));
                    map.insert(sequence, outcome);
                }
            }
            for sequence in asked {
                let removed = verdicts.remove(sequence).map(|(outcome, _)| outcome);
                prop_assert_eq!(removed, map.remove(&sequence));
            }
        }
    }

    #[test]
    fn a_long_outage_is_one_range() {
        let mut verdicts = Verdicts::default();
        for sequence in 0..1_000_000 {
            assert!(verdicts.insert(sequence, Outcome::NotSent, Instant::ZERO, 2));
        }
        assert_eq!(verdicts.ranges.len(), 1);
    }

    #[test]
    fn the_oldest_goes_first_and_says_so() {
        let mut verdicts = Verdicts::default();
        assert!(verdicts.insert(0, Outcome::AckedLost, Instant::ZERO, 2));
        assert!(verdicts.insert(1, Outcome::AckedLost, Instant::ZERO, 2));
        assert!(!verdicts.insert(2, Outcome::AckedLost, Instant::ZERO, 2));
        assert_eq!(verdicts.remove(0), None);
        assert_eq!(verdicts.remove(2), Some((Outcome::AckedLost, Some(Instant::ZERO))));
    }
}
