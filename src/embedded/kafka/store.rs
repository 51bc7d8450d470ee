//! Room `embedded` (edge): topics and their partitions, under one cap on memory.
//!
//! # Design
//!
//! One lock for all partitions: a critical section is a few microseconds of pointer work, and the
//! cap on the total then holds exactly. Record bytes are checked and copied before the lock is
//! taken and shared, not copied, on the way out.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use super::batch::{Batch, TimestampType};
use super::hooks::{BatchInfo, Hooks, Released, Verdict};
use super::log::{Log, weight};
use super::producers::Standing;
use crate::clock::{Clock, Instant};

/// Partitions of all topics together.
const PARTITIONS_MAX: usize = 10_000;
/// The longest topic name that Kafka allows.
const NAME_BYTES_MAX: usize = 249;

/// One partition and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) log: Log,
    waiting: Vec<Weak<Notify>>,
}

impl Partition {
    /// Wakes `reader` at the next change. Registering twice is once, so the list is as long as
    /// there are connections.
    pub(super) fn wake(&mut self, reader: &Arc<Notify>) {
        self.waiting.retain(|other| other.strong_count() > 0);
        if !self.waiting.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(reader))) {
            self.waiting.push(Arc::downgrade(reader));
        }
    }

    fn changed(&mut self) {
        for reader in self.waiting.drain(..) {
            if let Some(reader) = reader.upgrade() {
                reader.notify_one();
            }
        }
    }

    fn open_due(&mut self, now: Instant, hooks: &Hooks, topic: &Arc<str>, partition: i32) {
        let mut opened_any = false;
        while let Some(opened) = self.log.open_next(now) {
            opened_any = true;
            hooks.tell(|| Released {
                topic: Arc::clone(topic),
                partition,
                base_offset: opened.base,
                count: opened.count,
                at: now,
            });
        }
        if opened_any {
            self.changed();
        }
    }
}

/// A topic.
#[derive(Debug)]
pub(super) struct TopicState {
    name: Arc<str>,
    pub(super) timestamps: TimestampType,
    /// Further settings that are told when asked, and not acted on.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) partitions: Vec<Partition>,
}

/// What a producer is told of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) base_offset: i64,
    /// Milliseconds since 1970, -1 with CreateTime.
    pub(super) append_time: i64,
    pub(super) start: i64,
}

/// All topics.
#[derive(Debug)]
pub(super) struct Store {
    topics: BTreeMap<Arc<str>, TopicState>,
    bytes: usize,
    bytes_max: usize,
    partition_bytes_max: usize,
    producers_given: i64,
}

impl Store {
    pub(super) fn new(bytes_max: usize, partition_bytes_max: usize) -> Self {
        Self {
            topics: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            partition_bytes_max: partition_bytes_max.min(bytes_max),
            producers_given: 0,
        }
    }

    pub(super) const fn partition_bytes_max(&self) -> usize {
        self.partition_bytes_max
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &TopicState)> {
        self.topics.iter().map(|(name, topic)| (&**name, topic))
    }

    pub(super) fn topic(&self, name: &str) -> Option<&TopicState> {
        self.topics.get(name)
    }

    /// The partition, or Kafka's error for one that is not there.
    pub(super) fn partition(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<&mut Partition, ResponseError> {
        let index = usize::try_from(partition).ok();
        self.topics
            .get_mut(topic)
            .and_then(|topic| topic.partitions.get_mut(index?))
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// A producer id that nobody has.
    pub(super) fn new_producer(&mut self) -> i64 {
        self.producers_given += 1;
        self.producers_given
    }

    /// Creates a topic, or with `only_check` says whether that would work.
    ///
    /// # Errors
    ///
    /// Kafka's error for a bad name, a topic that exists, or too many partitions.
    pub(super) fn create(
        &mut self,
        name: &str,
        partitions: i32,
        timestamps: TimestampType,
        settings: BTreeMap<String, String>,
        only_check: bool,
    ) -> Result<(), ResponseError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let reserved = name.is_empty() || name == "." || name == "..";
        if reserved || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(ResponseError::InvalidTopicException);
        }
        if self.topics.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        let count = self.room_for(partitions, 0)?;
        if !only_check {
            let name: Arc<str> = name.into();
            let mut topic = TopicState {
                name: Arc::clone(&name),
                timestamps,
                settings,
                partitions: Vec::new(),
            };
            topic.partitions.resize_with(count, Partition::default);
            self.topics.insert(name, topic);
        }
        Ok(())
    }

    /// Raises a topic's number of partitions, or with `only_check` says whether that would work.
    ///
    /// # Errors
    ///
    /// Kafka's error where the topic is unknown or the number is not a larger one.
    pub(super) fn grow(
        &mut self,
        name: &str,
        partitions: i32,
        only_check: bool,
    ) -> Result<(), ResponseError> {
        let present = self.topics.get(name).map(|topic| topic.partitions.len());
        let present = present.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let count = self.room_for(partitions, present)?;
        if count <= present {
            return Err(ResponseError::InvalidPartitions);
        }
        if let Some(topic) = self.topics.get_mut(name).filter(|_| !only_check) {
            topic.partitions.resize_with(count, Partition::default);
        }
        Ok(())
    }

    fn room_for(&self, partitions: i32, present: usize) -> Result<usize, ResponseError> {
        let count = usize::try_from(partitions).unwrap_or(0);
        let others: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        if count == 0 || others - present + count > PARTITIONS_MAX {
            return Err(ResponseError::InvalidPartitions);
        }
        Ok(count)
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    ///
    /// Kafka's error where the topic is unknown.
    pub(super) fn delete(&mut self, name: &str) -> Result<(), ResponseError> {
        let topic = self.topics.remove(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        for mut partition in topic.partitions {
            self.bytes -= partition.log.weight();
            partition.changed();
        }
        Ok(())
    }

    /// Appends a batch as the hooks decide, and opens it to consumers unless it is held.
    ///
    /// # Errors
    ///
    /// Kafka's error for a partition that is not there, a batch larger than the caps, a broken
    /// sequence, or what the hooks refuse with.
    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Batch,
        hooks: &Hooks,
        clock: Clock,
    ) -> Result<Appended, ResponseError> {
        if weight(batch.len()) > self.partition_bytes_max {
            return Err(ResponseError::MessageTooLarge);
        }
        let log = &self.partition(topic, partition)?.log;
        let (start, offset) = (log.start(), log.end());
        let standing =
            batch.sequenced.map_or(Ok(Standing::Fresh), |batch| log.producers.standing(batch))?;
        if let Standing::Duplicate(base_offset) = standing {
            return Ok(Appended { base_offset, append_time: -1, start });
        }
        let info =
            BatchInfo { topic, partition, offset, count: batch.count, records: batch.records() };
        let (copies, hold, is_read_twice) = match hooks.judge(&info) {
            Verdict::Append { copies, hold } => (copies, hold, false),
            Verdict::ReadTwice => (1, Duration::ZERO, true),
            Verdict::Refuse(error) => return Err(error),
        };
        if let Some(sequenced) = batch.sequenced {
            self.partition(topic, partition)?.log.producers.note(sequenced, offset);
        }
        let append_time = self.time_of_append(topic, hooks, clock);
        for _ in 1..copies {
            self.append_one(topic, partition, batch.clone(), append_time, hold, clock)?;
        }
        if copies > 0 {
            self.append_one(topic, partition, batch, append_time, hold, clock)?;
        }
        let (topic, partition_state) = self.topic_and_partition(topic, partition)?;
        if is_read_twice {
            partition_state.log.repeat_newest();
        }
        partition_state.open_due(clock.now(), hooks, &topic, partition);
        let start = partition_state.log.start();
        Ok(Appended { base_offset: offset, append_time: append_time.unwrap_or(-1), start })
    }

    fn append_one(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Batch,
        append_time: Option<i64>,
        hold: Duration,
        clock: Clock,
    ) -> Result<(), ResponseError> {
        let size = weight(batch.len());
        self.make_room(topic, partition, size)?;
        let log = &mut self.partition(topic, partition)?.log;
        let (count, max_timestamp) = (batch.count, append_time.unwrap_or(batch.max_timestamp));
        let bytes = batch.stamped(log.end(), append_time);
        log.append(bytes, count, max_timestamp, clock.now(), hold);
        self.bytes += size;
        Ok(())
    }

    /// Drops the oldest batches, of this partition while that is full, else of all.
    fn make_room(&mut self, topic: &str, partition: i32, size: usize) -> Result<(), ResponseError> {
        let partition_bytes_max = self.partition_bytes_max;
        let mut freed = 0;
        let log = &mut self.partition(topic, partition)?.log;
        while log.weight() + size > partition_bytes_max {
            freed += log.drop_oldest().unwrap_or(0);
        }
        self.bytes -= freed;
        while self.bytes + size > self.bytes_max {
            let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
            let oldest = partitions
                .filter(|partition| partition.log.oldest().is_some())
                .min_by_key(|partition| partition.log.oldest());
            match oldest.and_then(|partition| partition.log.drop_oldest()) {
                Some(freed) => self.bytes -= freed,
                None => return Err(ResponseError::MessageTooLarge),
            }
        }
        Ok(())
    }

    fn time_of_append(&self, topic: &str, hooks: &Hooks, clock: Clock) -> Option<i64> {
        let timestamps = self.topics.get(topic).map(|topic| topic.timestamps);
        let now = || clock.wall().nanos().saturating_add(hooks.clock_offset_nanos());
        (timestamps == Some(TimestampType::LogAppendTime)).then(|| now().div_euclid(1_000_000))
    }

    fn topic_and_partition(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<(Arc<str>, &mut Partition), ResponseError> {
        let topic = self.topics.get_mut(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        match topic.partitions.get_mut(index) {
            Some(partition) => Ok((Arc::clone(&topic.name), partition)),
            None => Err(ResponseError::UnknownTopicOrPartition),
        }
    }

    /// Opens every batch whose hold is over; when the next one is due.
    pub(super) fn open_due(&mut self, hooks: &Hooks, clock: Clock) -> Option<Instant> {
        let mut next = None;
        for topic in self.topics.values_mut() {
            for (number, partition) in (0..).zip(&mut topic.partitions) {
                if partition.log.next_release().is_some() {
                    partition.open_due(clock.now(), hooks, &topic.name, number);
                    let due = partition.log.next_release();
                    next = next.into_iter().chain(due).min();
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn memory_never_passes_the_caps(
            appends in proptest::collection::vec((0..3_i32, 0..900_usize, 0..3_u8), 1..80),
        ) {
            let (total, each) = (3_000, 2_000);
            let (mut store, hooks) = (Store::new(total, each), Hooks::new());
            store.create("t", 3, TimestampType::LogAppendTime, BTreeMap::new(), false).unwrap();
            for (partition, body, copies) in appends {
                hooks.judge_batches(move |_| Verdict::Append { copies, hold: Duration::ZERO });
                let appended =
                    store.append("t", partition, batch(2, body, None), &hooks, Clock::system());
                prop_assert!(appended.is_ok());
                let logs: Vec<usize> =
                    store.topics["t"].partitions.iter().map(|p| p.log.weight()).collect();
                prop_assert!(logs.iter().all(|log| *log <= each));
                prop_assert_eq!(logs.iter().sum::<usize>(), store.bytes);
                prop_assert!(store.bytes <= total);
            }
        }
    }

    #[test]
    fn what_can_never_fit_is_refused() {
        let (mut store, hooks) = (Store::new(1_000, 5_000), Hooks::new());
        store.create("t", 1, TimestampType::CreateTime, BTreeMap::new(), false).unwrap();
        let refused = store.append("t", 0, batch(1, 1_000, None), &hooks, Clock::system());
        assert_eq!(refused, Err(ResponseError::MessageTooLarge));
    }

    #[test]
    fn names_and_counts_are_checked() {
        let mut store = Store::new(1_000, 1_000);
        let mut create = |name: &str, partitions| {
            store.create(name, partitions, TimestampType::default(), BTreeMap::new(), false)
        };
        assert_eq!(create("a/b", 1), Err(ResponseError::InvalidTopicException));
        assert_eq!(create("..", 1), Err(ResponseError::InvalidTopicException));
        assert_eq!(create("a", 0), Err(ResponseError::InvalidPartitions));
        assert_eq!(create("a", i32::MAX), Err(ResponseError::InvalidPartitions));
        assert_eq!(create("a", 1), Ok(()));
        assert_eq!(create("a", 1), Err(ResponseError::TopicAlreadyExists));
        assert_eq!(store.grow("a", 1, false), Err(ResponseError::InvalidPartitions));
        assert_eq!(store.grow("a", 3, true), Ok(()));
        assert_eq!(store.topic("a").unwrap().partitions.len(), 1);
        assert_eq!(store.grow("a", 3, false), Ok(()));
        assert_eq!(store.topic("a").unwrap().partitions.len(), 3);
    }
}
