//! Room `consume`: how far each partition has been read.

use std::collections::HashMap;

use super::Partition;
use super::team::Slots;
use crate::correlate::{PartitionName, RecordPlace};

/// The partitions that a reader reads, with dense indices.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    partitions: Vec<Cursor>,
    by_name: HashMap<String, HashMap<i32, usize>>,
    /// Where the last record was found: the next one is mostly its neighbour.
    last: usize,
    slots: Slots,
    /// Indices of partitions that a process before this one read and this one has not started.
    left: HashMap<(String, i32), u32>,
}

#[derive(Debug)]
struct Cursor {
    topic: String,
    partition: i32,
    /// The offset that is read next.
    position: i64,
    /// The last of these that was asked for.
    told: i64,
    slot: u32,
}

impl Cursors {
    /// Goes on after a process that named partitions so: each keeps its index when it is first started.
    /// Others get what `slots` has next.
    pub(super) fn going_on(names: &[PartitionName], slots: Slots) -> Self {
        let left = names.iter().map(|of| ((of.topic.clone(), of.partition), of.slot)).collect();
        Self { slots, left, ..Self::default() }
    }

    /// Whether a partition was started before.
    pub(super) fn knows(&self, of: &Partition) -> bool {
        self.index(&of.topic, of.partition).is_some()
    }

    /// Starts a partition at its offset, or starts it anew; the index that its records are to be
    /// observed under. A partition that is started anew gets another one, since its offsets may
    /// have begun again.
    pub(super) fn add(&mut self, of: &Partition) -> u32 {
        let left = self.left.remove(&(of.topic.clone(), of.partition));
        let slot = left.unwrap_or_else(|| self.slots.next());
        let (topic, partition, position) = (of.topic.clone(), of.partition, of.offset);
        let cursor = Cursor { topic, partition, position, told: position, slot };
        if let Some(index) = self.index(&of.topic, of.partition) {
            self.partitions[index] = cursor;
        } else {
            let index = self.partitions.len();
            self.by_name.entry(of.topic.clone()).or_default().insert(of.partition, index);
            self.partitions.push(cursor);
        }
        slot
    }

    /// Notes that a record was read; the index that it is to be observed under, `None` where its
    /// partition was never started. The topic is only asked for where there are several: librdkafka's
    /// client looks each time whether its name is text.
    #[inline]
    pub(super) fn read<'a>(
        &mut self,
        topic: impl FnOnce() -> &'a str,
        partition: i32,
        offset: i64,
    ) -> Option<u32> {
        let near = self.partitions.get(self.last).filter(|cursor| cursor.partition == partition);
        if near.is_none() || self.by_name.len() > 1 {
            let topic = topic();
            if near.is_none_or(|cursor| cursor.topic != topic) {
                self.last = self.index(topic, partition)?;
            }
        }
        let cursor = &mut self.partitions[self.last];
        cursor.position = offset + 1;
        Some(cursor.slot)
    }

    /// Notes that there is nothing to read before an offset.
    pub(super) fn skip_to(&mut self, of: &Partition) {
        if let Some(index) = self.index(&of.topic, of.partition) {
            let position = &mut self.partitions[index].position;
            *position = of.offset.max(*position);
        }
    }

    /// Whether every one of these offsets has been read up to.
    pub(super) fn passed(&self, highs: &[Partition]) -> bool {
        highs.iter().all(|high| {
            let index = self.index(&high.topic, high.partition);
            index.is_some_and(|index| self.partitions[index].position >= high.offset)
        })
    }

    /// The partitions that were read on since they were asked for last, and how far.
    pub(super) fn moved(&mut self) -> impl Iterator<Item = RecordPlace> {
        let moved = self.partitions.iter_mut().filter(|cursor| cursor.told != cursor.position);
        moved.map(|cursor| {
            cursor.told = cursor.position;
            RecordPlace { slot: cursor.slot, offset: cursor.position }
        })
    }

    /// Every partition with the offset that is read next.
    pub(super) fn all(&self) -> Vec<Partition> {
        let partition = |cursor: &Cursor| Partition {
            topic: cursor.topic.clone(),
            partition: cursor.partition,
            offset: cursor.position,
        };
        self.partitions.iter().map(partition).collect()
    }

    fn index(&self, topic: &str, partition: i32) -> Option<usize> {
        self.by_name.get(topic)?.get(&partition).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::{Lane, PathId};

    fn of(topic: &str, partition: i32, offset: i64) -> Partition {
        Partition { topic: topic.into(), partition, offset }
    }

    #[test]
    fn a_watermark_is_passed_when_every_partition_is_read_up_to_it() {
        let mut cursors = Cursors::default();
        assert_eq!(cursors.add(&of("a", 0, 5)), 0);
        assert_eq!(cursors.add(&of("a", 1, 0)), 1);
        let highs = [of("a", 0, 7), of("a", 1, 0)];
        assert!(!cursors.passed(&highs));
        assert_eq!(cursors.read(|| "a", 0, 5), Some(0));
        assert!(!cursors.passed(&highs));
        assert_eq!(cursors.read(|| "a", 0, 6), Some(0));
        assert!(cursors.passed(&highs));
        assert!(!cursors.passed(&[of("b", 0, 0)]), "an unknown partition was not read");
    }

    #[test]
    fn a_partition_that_was_read_before_a_restart_keeps_its_index() {
        let name = |partition, slot| PartitionName {
            path: PathId(0),
            lane: Lane::MqttKafka,
            slot,
            topic: "a".into(),
            partition,
            from: 7,
        };
        let slots = Slots::behind([0, 3].into_iter());
        let mut cursors = Cursors::going_on(&[name(1, 0), name(0, 3)], slots);
        assert_eq!(cursors.add(&of("a", 0, 9)), 3);
        assert_eq!(cursors.add(&of("a", 2, 0)), 4, "it is new");
        assert_eq!(cursors.add(&of("a", 0, 0)), 5, "it was made anew");
        assert_eq!(cursors.add(&of("a", 1, 7)), 0);
    }

    #[test]
    fn a_partition_that_starts_anew_gets_another_index() {
        let mut cursors = Cursors::default();
        cursors.add(&of("a", 0, 100));
        cursors.read(|| "a", 0, 100);
        assert_eq!(cursors.add(&of("a", 0, 0)), 1);
        assert_eq!(cursors.read(|| "a", 0, 0), Some(1));
        assert_eq!(cursors.all(), [of("a", 0, 1)]);
        let moved: Vec<_> = cursors.moved().collect();
        assert_eq!(moved, [RecordPlace { slot: 1, offset: 1 }]);
        assert_eq!(cursors.moved().count(), 0, "told already");
        assert_eq!(cursors.read(|| "b", 1, 0), None);
    }

    #[test]
    fn topics_are_told_apart_where_there_are_several() {
        let mut cursors = Cursors::default();
        cursors.add(&of("a", 0, 0));
        assert_eq!(cursors.read(|| unreachable!("there is no other"), 0, 0), Some(0));
        cursors.add(&of("b", 0, 0));
        assert_eq!(cursors.read(|| "b", 0, 0), Some(1));
        assert_eq!(cursors.read(|| "a", 0, 1), Some(0));
        assert_eq!(cursors.read(|| "c", 0, 0), None);
    }
}
