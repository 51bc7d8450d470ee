//! Room `embedded` (edge): the log of one partition, as batches in memory.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;

use super::producers::Producers;
use crate::clock::Instant;

/// A batch in the log.
#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    base: i64,
    end: i64,
    max_timestamp: i64,
    appended: Instant,
    release: Instant,
    /// The next read gets it twice.
    is_repeated: bool,
}

/// What a batch of so many bytes weighs against the caps.
pub(super) const fn weight(bytes: usize) -> usize {
    bytes + size_of::<Entry>()
}

/// A batch that has become fetchable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) base: i64,
    pub(super) count: i64,
}

/// What one read of the log gave.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Whole batches, the first of which holds the offset asked for; empty at the end of the log.
    pub(super) batches: Vec<Bytes>,
    pub(super) bytes: usize,
}

impl Read {
    /// The batches as one buffer; no copy where there is only one.
    pub(super) fn joined(mut self) -> Bytes {
        if self.batches.len() == 1 {
            return self.batches.pop().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        for batch in &self.batches {
            joined.extend_from_slice(batch);
        }
        joined.freeze()
    }
}

/// Batches in offset order. Offsets from `start` up to the high watermark can be fetched, those
/// from there to `end` are held back.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// How many entries, from the oldest, can be fetched.
    open: usize,
    start: i64,
    high_watermark: i64,
    end: i64,
    weight: usize,
    pub(super) producers: Producers,
}

impl Log {
    /// The oldest offset that can be fetched.
    pub(super) const fn start(&self) -> i64 {
        self.start
    }

    /// The offset after the last that can be fetched.
    pub(super) const fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The offset that the next record gets.
    pub(super) const fn end(&self) -> i64 {
        self.end
    }

    /// What its batches weigh in all.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// When its oldest batch was appended.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.appended)
    }

    /// Appends a batch stamped with offset [`Log::end`]. It can be fetched after `hold`, and never
    /// before the batches before it.
    pub(super) fn append(
        &mut self,
        bytes: Bytes,
        count: i32,
        max_timestamp: i64,
        now: Instant,
        hold: Duration,
    ) {
        let before = self.entries.back().map_or(Instant::ZERO, |entry| entry.release);
        let base = self.end;
        self.end += i64::from(count);
        self.weight += weight(bytes.len());
        let release = before.max(now + hold);
        self.entries.push_back(Entry {
            bytes,
            base,
            end: self.end,
            max_timestamp,
            appended: now,
            release,
            is_repeated: false,
        });
    }

    /// Has the newest batch given twice by the read that gets it first.
    pub(super) fn repeat_newest(&mut self) {
        if let Some(entry) = self.entries.back_mut() {
            entry.is_repeated = true;
        }
    }

    /// Opens the next batch whose time has come.
    pub(super) fn open_next(&mut self, now: Instant) -> Option<Opened> {
        let entry = self.entries.get(self.open).filter(|entry| entry.release <= now)?;
        self.open += 1;
        self.high_watermark = entry.end;
        Some(Opened { base: entry.base, count: entry.end - entry.base })
    }

    /// When the next batch that is held back is due.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.entries.get(self.open).map(|entry| entry.release)
    }

    /// Drops the oldest batch, held back or not; what it weighed.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let entry = self.entries.pop_front()?;
        self.open = self.open.saturating_sub(1);
        self.start = entry.end;
        self.high_watermark = self.high_watermark.max(self.start);
        let freed = weight(entry.bytes.len());
        self.weight -= freed;
        Some(freed)
    }

    /// Whole batches from the one that holds `offset`, up to `bytes_max` in all; the first one
    /// comes whatever its size where `one_at_least` is set, so that no batch is too large to fetch.
    ///
    /// # Errors
    ///
    /// `OFFSET_OUT_OF_RANGE` where the log does not hold that offset.
    pub(super) fn read(
        &mut self,
        offset: i64,
        bytes_max: usize,
        one_at_least: bool,
    ) -> Result<Read, ResponseError> {
        if offset < self.start || offset > self.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let first = self.entries.partition_point(|entry| entry.end <= offset);
        let mut read = Read::default();
        for entry in self.entries.range_mut(first.min(self.open)..self.open) {
            let must = one_at_least && read.batches.is_empty();
            if read.bytes + entry.bytes.len() > bytes_max && !must {
                break;
            }
            for _ in 0..=u8::from(std::mem::take(&mut entry.is_repeated)) {
                read.bytes += entry.bytes.len();
                read.batches.push(entry.bytes.clone());
            }
        }
        Ok(read)
    }

    /// Offset and timestamp of the first batch that reaches `timestamp` (milliseconds). Batches
    /// are not looked into: with CreateTime it may begin with earlier records.
    pub(super) fn at_timestamp(&self, timestamp: i64) -> Option<(i64, i64)> {
        let mut open = self.entries.range(..self.open);
        let found = open.find(|entry| entry.max_timestamp >= timestamp)?;
        Some((found.base.max(self.start), found.max_timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::*;
    use proptest::prelude::*;

    fn append(log: &mut Log, count: i32, body: usize, now: u64, hold: u64) {
        let time = i64::try_from(now).unwrap();
        let bytes = batch(count, body, None).stamped(log.end(), Some(time));
        log.append(bytes, count, time, Instant::from_nanos(now), Duration::from_nanos(hold));
    }

    fn open(log: &mut Log, now: u64) -> Vec<i64> {
        let mut opened = Vec::new();
        while let Some(batch) = log.open_next(Instant::from_nanos(now)) {
            opened.push(batch.base);
        }
        opened
    }

    fn bases(read: &Read) -> Vec<i64> {
        let base = |bytes: &Bytes| i64::from_be_bytes(bytes[..8].try_into().unwrap());
        read.batches.iter().map(base).collect()
    }

    #[test]
    fn held_batches_keep_the_order_of_the_log() {
        let mut log = Log::default();
        append(&mut log, 2, 10, 100, 50);
        append(&mut log, 1, 10, 110, 0);
        assert_eq!(open(&mut log, 149), Vec::<i64>::new());
        assert_eq!((log.high_watermark(), log.end()), (0, 3));
        assert!(log.read(2, 1_000, true).unwrap().batches.is_empty());
        assert_eq!(log.next_release(), Some(Instant::from_nanos(150)));
        assert_eq!(open(&mut log, 150), [0, 2]);
        assert_eq!(bases(&log.read(1, 1_000, true).unwrap()), [0, 2]);
    }

    #[test]
    fn a_batch_is_repeated_once() {
        let mut log = Log::default();
        append(&mut log, 1, 10, 1, 0);
        log.repeat_newest();
        append(&mut log, 1, 10, 2, 0);
        open(&mut log, 2);
        assert_eq!(bases(&log.read(0, 1_000, true).unwrap()), [0, 0, 1]);
        assert_eq!(bases(&log.read(0, 1_000, true).unwrap()), [0, 1]);
    }

    #[test]
    fn what_is_dropped_is_out_of_range() {
        let mut log = Log::default();
        append(&mut log, 2, 10, 1, 0);
        append(&mut log, 2, 10, 2, 0);
        open(&mut log, 2);
        log.drop_oldest().unwrap();
        assert_eq!(log.read(1, 1_000, true).unwrap_err(), ResponseError::OffsetOutOfRange);
        assert_eq!(log.read(5, 1_000, true).unwrap_err(), ResponseError::OffsetOutOfRange);
        assert_eq!(bases(&log.read(2, 1_000, true).unwrap()), [2]);
        assert!(log.read(4, 1_000, true).unwrap().batches.is_empty());
    }

    #[test]
    fn timestamps_are_looked_up_by_batch() {
        let mut log = Log::default();
        append(&mut log, 2, 10, 100, 0);
        append(&mut log, 2, 10, 200, 0);
        append(&mut log, 2, 10, 300, 900);
        open(&mut log, 300);
        assert_eq!(log.at_timestamp(0), Some((0, 100)));
        assert_eq!(log.at_timestamp(101), Some((2, 200)));
        assert_eq!(log.at_timestamp(201), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append { count: i32, body: usize, hold: u64 },
        Open { after: u64 },
        Drop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..9_i32, 0..300_usize, 0..40_u64)
                .prop_map(|(count, body, hold)| Step::Append { count, body, hold }),
            2 => (0..30_u64).prop_map(|after| Step::Open { after }),
            1 => Just(Step::Drop),
        ]
    }

    proptest! {
        #[test]
        fn offsets_are_gapless_and_weight_is_exact(
            steps in proptest::collection::vec(step(), 1..120),
            bytes_max in 0_usize..2_000,
        ) {
            let mut log = Log::default();
            let mut now = 0;
            for step in steps {
                let before = log.high_watermark();
                match step {
                    Step::Append { count, body, hold } => {
                        append(&mut log, count, body, now, hold);
                    }
                    Step::Open { after } => {
                        now += after;
                        open(&mut log, now);
                        prop_assert!(log.next_release() > Some(Instant::from_nanos(now))
                            || log.next_release().is_none());
                    }
                    Step::Drop => { log.drop_oldest(); }
                }
                prop_assert!(log.start() <= log.high_watermark());
                prop_assert!(before <= log.high_watermark() && log.high_watermark() <= log.end());
                let sum: usize = log.entries.iter().map(|entry| weight(entry.bytes.len())).sum();
                prop_assert_eq!(sum, log.weight());

                // A consumer that goes on after each read sees every open offset exactly once.
                let mut offset = log.start();
                loop {
                    let read = log.read(offset, bytes_max, true).unwrap();
                    prop_assert!(read.bytes <= bytes_max || read.batches.len() == 1);
                    if read.batches.is_empty() {
                        break;
                    }
                    for bytes in read.batches {
                        let base = i64::from_be_bytes(bytes[..8].try_into().unwrap());
                        prop_assert_eq!(base, offset);
                        let delta = i32::from_be_bytes(bytes[23..27].try_into().unwrap());
                        offset = base + i64::from(delta) + 1;
                    }
                }
                prop_assert_eq!(offset, log.high_watermark());
            }
        }
    }
}
