//! Room `consume`: partitions that have to be assigned again.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::Reader;
use crate::consume::Partition;
use crate::consume::fetching::Fetching;

/// How long the question for what is left of a partition may take.
const QUESTION: Duration = Duration::from_millis(500);

impl Reader<'_> {
    /// Goes on with partitions that librdkafka has stopped reading because their next offset was not
    /// there: removed by retention, cut off, or only not known to a new leader yet.
    pub(super) fn read_on(&mut self, consumer: &BaseConsumer<Fetching>) {
        self.stopped_reading = false;
        // How far the goal goes may be beyond what there will ever be again.
        self.goal = None;
        for mut of in self.cursors.all() {
            let Ok((low, high)) = consumer.fetch_watermarks(&of.topic, of.partition, QUESTION)
            else {
                self.stopped_reading = true;
                return;
            };
            if !(low..=high).contains(&of.offset) {
                let text = format!(
                    "{}: offset {} is gone, the log is {low}..{high}: what was removed unread \
                     counts as lost; keep records longer than the deadline (retention.ms, \
                     retention.bytes)",
                    of.label(),
                    of.offset
                );
                self.warn("offset_gone", text);
                of.offset = low;
                self.start(&of);
            }
            self.router.name(std::mem::take(&mut self.names));
            self.assign_again(&of, consumer);
        }
    }

    /// Has a partition that was assigned before read from its offset.
    pub(super) fn assign_again(&self, of: &Partition, consumer: &BaseConsumer<Fetching>) {
        let mut list = TopicPartitionList::with_capacity(1);
        let again = list
            .add_partition_offset(&of.topic, of.partition, Offset::Offset(of.offset))
            .and_then(|()| consumer.incremental_unassign(&list))
            .and_then(|()| consumer.incremental_assign(&list));
        if let Err(error) = again {
            self.say_unread(of, &error);
        }
    }

    pub(super) fn say_unread(&self, of: &Partition, error: &KafkaError) {
        let what = of.label();
        let text =
            format!("{what} is not read, its records count as lost: {error}; restart the probe");
        self.warn("not_assigned", text);
    }
}
