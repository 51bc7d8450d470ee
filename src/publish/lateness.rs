//! Room `publish`: which messages were late before anybody else had a hand in them.

use std::collections::VecDeque;

/// The messages of one publisher that its thread came to late, until they are sent.
///
/// # Design
///
/// A thread that was stopped for a second offers a thousand messages at once, and all but the first wait
/// for the broker then. They are late because of the thread all the same: what they wait for afterwards
/// is of its making. Those that are late come in stretches, and messages are sent in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct LateOffers {
    /// First and one more than the last of each stretch.
    stretches: VecDeque<(u64, u64)>,
}

impl LateOffers {
    /// A message was offered late and taken by the client. Comes in order.
    pub(super) fn note(&mut self, sequence: u64) {
        match self.stretches.back_mut() {
            Some((_, end)) if *end == sequence => *end += 1,
            _ => self.stretches.push_back((sequence, sequence + 1)),
        }
    }

    /// Whether a message that was just sent had been offered late. Those before it were sent, or never
    /// will be.
    pub(super) fn take(&mut self, sequence: u64) -> bool {
        while self.stretches.pop_front_if(|&mut (_, end)| end <= sequence).is_some() {}
        self.stretches.front().is_some_and(|&(first, _)| first <= sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_offered_late_is_late() {
        let mut late = LateOffers::default();
        assert!(!late.take(0));
        (3..6).chain([9]).for_each(|sequence| late.note(sequence));
        let taken = [1, 2, 3, 5, 6, 8, 9, 10].map(|sequence| late.take(sequence));
        assert_eq!(taken, [false, false, true, true, false, false, true, false]);
        assert!(late.stretches.is_empty(), "what was sent is forgotten");
    }
}
