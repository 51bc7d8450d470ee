//! Room `embedded` (edge): what idempotent producers have appended to one partition.
//!
//! The rules are Kafka's: of each producer the last five batches are remembered; a batch that is
//! among them is answered with the offset it got then, and one that does not follow its
//! predecessor is refused. A producer that nobody knows may begin at any sequence.

use std::collections::{BTreeMap, VecDeque};

use kafka_protocol::ResponseError;

use super::batch::Sequenced;

/// Batches remembered of each producer: as many as an idempotent producer has in flight.
const REMEMBERED: usize = 5;
/// Producers remembered in each partition; the one silent for longest is forgotten first.
const PRODUCERS_MAX: usize = 256;

/// What a batch is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its turn has come.
    Fresh,
    /// It was appended before, at this offset.
    Duplicate(i64),
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// Batches with the offset each got, oldest first; never empty.
    appended: VecDeque<(Sequenced, i64)>,
    last_turn: u64,
}

/// The idempotent producers of one partition.
#[derive(Debug, Default)]
pub(super) struct Producers {
    known: BTreeMap<i64, Producer>,
    turn: u64,
}

impl Producers {
    /// Whether a batch may be appended now.
    ///
    /// # Errors
    ///
    /// `INVALID_PRODUCER_EPOCH` for a producer that a newer one has replaced,
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER` for a batch that does not follow its predecessor.
    pub(super) fn standing(&self, batch: Sequenced) -> Result<Standing, ResponseError> {
        let Some(producer) = self.known.get(&batch.producer_id) else {
            return Ok(Standing::Fresh);
        };
        if batch.epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if batch.epoch > producer.epoch {
            return if batch.first == 0 {
                Ok(Standing::Fresh)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        if let Some((_, offset)) = producer.appended.iter().find(|(known, _)| *known == batch) {
            return Ok(Standing::Duplicate(*offset));
        }
        match producer.appended.back() {
            Some((last, _)) if after(last.first, last.count) != batch.first => {
                Err(ResponseError::OutOfOrderSequenceNumber)
            }
            _ => Ok(Standing::Fresh),
        }
    }

    /// Notes that a fresh batch was given an offset.
    pub(super) fn note(&mut self, batch: Sequenced, offset: i64) {
        self.turn += 1;
        if self.known.len() >= PRODUCERS_MAX && !self.known.contains_key(&batch.producer_id) {
            let silent = self.known.iter().min_by_key(|(_, producer)| producer.last_turn);
            if let Some(id) = silent.map(|(id, _)| *id) {
                self.known.remove(&id);
            }
        }
        let producer = self.known.entry(batch.producer_id).or_insert(Producer {
            epoch: batch.epoch,
            appended: VecDeque::with_capacity(REMEMBERED),
            last_turn: self.turn,
        });
        if producer.epoch != batch.epoch {
            producer.epoch = batch.epoch;
            producer.appended.clear();
        }
        if producer.appended.len() == REMEMBERED {
            producer.appended.pop_front();
        }
        producer.appended.push_back((batch, offset));
        producer.last_turn = self.turn;
    }
}

/// The sequence after `count` records from `first`; sequences wrap from the largest `i32` to 0.
fn after(first: i32, count: i32) -> i32 {
    let next = (i64::from(first) + i64::from(count)) % (i64::from(i32::MAX) + 1);
    i32::try_from(next).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(producer_id: i64, first: i32, count: i32) -> Sequenced {
        Sequenced { producer_id, epoch: 0, first, count }
    }

    #[test]
    fn sequences_wrap_at_the_largest() {
        assert_eq!(after(i32::MAX, 1), 0);
        assert_eq!(after(i32::MAX - 1, 4), 2);
    }

    #[test]
    fn an_old_epoch_is_fenced_and_a_new_one_begins_at_zero() {
        let mut producers = Producers::default();
        producers.note(Sequenced { producer_id: 1, epoch: 3, first: 8, count: 1 }, 0);
        let with = |epoch, first| Sequenced { producer_id: 1, epoch, first, count: 1 };
        assert_eq!(producers.standing(with(2, 9)), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(producers.standing(with(4, 9)), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(producers.standing(with(4, 0)), Ok(Standing::Fresh));
    }

    #[test]
    fn the_most_silent_producer_is_forgotten_first() {
        let mut producers = Producers::default();
        for id in 0..=i64::try_from(PRODUCERS_MAX).unwrap() {
            producers.note(batch(id, 0, 1), id);
        }
        assert_eq!(producers.known.len(), PRODUCERS_MAX);
        assert_eq!(producers.standing(batch(0, 0, 1)), Ok(Standing::Fresh));
        assert_eq!(producers.standing(batch(1, 0, 1)), Ok(Standing::Duplicate(1)));
    }

    proptest! {
        /// Whatever is resent, each batch is fresh once, and what is still remembered is answered
        /// with its first offset.
        #[test]
        fn every_batch_is_appended_once(
            counts in proptest::collection::vec(1_i32..50, 1..40),
            first in prop_oneof![Just(0), (i32::MAX - 60)..i32::MAX],
            resend in 0_usize..REMEMBERED,
        ) {
            let mut producers = Producers::default();
            let (mut sequence, mut offset) = (first, 0_i64);
            let mut sent = Vec::new();
            for count in counts {
                let fresh = batch(7, sequence, count);
                prop_assert_eq!(producers.standing(fresh), Ok(Standing::Fresh));
                producers.note(fresh, offset);
                sent.push((fresh, offset));
                let skipping = batch(7, after(sequence, count + 1), 1);
                prop_assert_eq!(
                    producers.standing(skipping),
                    Err(ResponseError::OutOfOrderSequenceNumber)
                );
                sequence = after(sequence, count);
                offset += i64::from(count);
                if let Some((old, at)) = sent.iter().rev().nth(resend) {
                    prop_assert_eq!(producers.standing(*old), Ok(Standing::Duplicate(*at)));
                }
            }
        }
    }
}
