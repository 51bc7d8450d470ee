//! Room `embedded` (edge): the Kafka requests about offsets that groups have committed.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::Broker;
use super::coordinator::code;
use super::hooks::locked;

/// As Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4_096;
/// A committed offset.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    offset: i64,
    leader_epoch: i32,
    metadata: Option<StrBytes>,
}

/// Topic and partition of a committed offset.
type Place = (TopicName, i32);

/// What a group has committed.
pub(super) type Offsets = BTreeMap<Place, Committed>;

impl Broker {
    /// Keeps offsets, of members of the present generation or, for a group without members, of
    /// anybody.
    pub(super) fn commit_offsets(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let generation = request.generation_id_or_member_epoch;
        let allowed = self.in_group(&request.group_id, |group, now| {
            if generation < 0 && !group.has_members() {
                return Ok(());
            }
            group.check(&request.member_id, generation, now)
        });
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                let number = partition.partition_index;
                let committed = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata,
                };
                let kept = allowed
                    .and_then(|()| self.keep(&request.group_id, &topic.name, number, committed));
                OffsetCommitResponsePartition::default()
                    .with_partition_index(number)
                    .with_error_code(code(kept))
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn keep(
        &self,
        group: &StrBytes,
        topic: &TopicName,
        partition: i32,
        mut committed: Committed,
    ) -> Result<(), ResponseError> {
        if committed.metadata.as_ref().is_some_and(|text| text.len() > METADATA_BYTES_MAX) {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        self.store(|store| store.partition(topic, partition).map(|_| ()))?;
        committed.metadata = committed.metadata.map(|text| StrBytes::from_string(text.to_string()));
        let topic = TopicName(StrBytes::from_string(topic.to_string()));
        locked(&self.groups).of(group)?.offsets.insert((topic, partition), committed);
        Ok(())
    }

    /// The offsets that a group has committed: of the partitions asked for, else of all.
    pub(super) fn fetch_offsets(&self, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let groups = locked(&self.groups);
        let none = BTreeMap::new();
        let offsets = groups.known.get(&*request.group_id).map_or(&none, |known| &known.offsets);
        let wanted = request.topics.unwrap_or_else(|| {
            let all = offsets.keys().map(|(topic, partition)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic.clone())
                    .with_partition_indexes(vec![*partition])
            });
            all.collect()
        });
        let topics = wanted.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|number| {
                let answer = OffsetFetchResponsePartition::default().with_partition_index(*number);
                match offsets.get(&(topic.name.clone(), *number)) {
                    Some(committed) => answer
                        .with_committed_offset(committed.offset)
                        .with_committed_leader_epoch(committed.leader_epoch)
                        .with_metadata(committed.metadata.clone()),
                    None => answer.with_committed_offset(-1).with_metadata(Some(StrBytes::new())),
                }
            });
            let partitions = partitions.collect();
            OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }
}
