//! Room `embedded` (edge): the Kafka requests that append and read records.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse,
};
use tokio::sync::Notify;

use super::Broker;
use super::batch::Batch;
use super::store::{Appended, Store};

/// The longest that a Fetch waits, so that a client that has gone is noticed some day.
const FETCH_WAIT_MAX: Duration = Duration::from_mins(1);
/// The most that one Fetch gets, as Kafka's `fetch.max.bytes`.
const FETCH_BYTES_MAX: usize = 55 << 20;
/// Timestamps by which ListOffsets asks for the ends of a log.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// One pass over what a Fetch asks for.
struct Gathered {
    responses: Vec<FetchableTopicResponse>,
    bytes: usize,
    failed: bool,
}

impl Broker {
    /// Appends; `None` where the client wants no answer.
    pub(super) fn produce(&self, request: ProduceRequest) -> Option<ProduceResponse> {
        let transactional = request.transactional_id.is_some();
        let responses = request.topic_data.into_iter().map(|topic| {
            let answers = topic.partition_data.into_iter().map(|data| {
                let appended = if transactional {
                    Err(ResponseError::InvalidRequest)
                } else {
                    self.append(&topic.name, &data)
                };
                let answer = PartitionProduceResponse::default().with_index(data.index);
                match appended {
                    Ok(appended) => answer
                        .with_base_offset(appended.base_offset)
                        .with_log_append_time_ms(appended.append_time)
                        .with_log_start_offset(appended.start),
                    Err(error) => answer.with_error_code(error.code()).with_base_offset(-1),
                }
            });
            let answers = answers.collect();
            TopicProduceResponse::default().with_name(topic.name).with_partition_responses(answers)
        });
        let responses = responses.collect();
        (request.acks != 0).then(|| ProduceResponse::default().with_responses(responses))
    }

    fn append(&self, topic: &str, data: &PartitionProduceData) -> Result<Appended, ResponseError> {
        let batch = Batch::parse(data.records.as_deref().unwrap_or_default())?;
        let (appended, held) = self.store(|store| {
            let appended = store.append(topic, data.index, batch, &self.hooks, self.clock);
            let log = store.partition(topic, data.index).map(|partition| &partition.log);
            (appended, log.is_ok_and(|log| log.next_release().is_some()))
        });
        if held {
            self.held.notify_one();
        }
        appended
    }

    /// A producer id for an idempotent producer; a transactional one is refused.
    pub(super) fn new_producer(&self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        let answer = InitProducerIdResponse::default();
        if request.transactional_id.is_some() {
            return answer
                .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
                .with_producer_id((-1).into())
                .with_producer_epoch(-1);
        }
        answer.with_producer_id(self.store(Store::new_producer).into()).with_producer_epoch(0)
    }

    /// Reads, and waits until there is enough to read, or for as long as the client wants.
    /// Sessions are not kept: every answer says so by session id 0.
    pub(super) async fn fetch(&self, request: &FetchRequest, waker: &Arc<Notify>) -> FetchResponse {
        if request.session_id != 0 {
            let error = ResponseError::FetchSessionIdNotFound.code();
            return FetchResponse::default().with_error_code(error);
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let deadline = self.clock.now() + wait.min(FETCH_WAIT_MAX);
        let enough = usize::try_from(request.min_bytes).unwrap_or(0);
        let mut unfetchable = self.hooks.unfetchable();
        loop {
            // Also registers: whatever comes after this pass wakes the wait below.
            let held = unfetchable.borrow_and_update().clone();
            let gathered = self.store(|store| gather(store, &held, request, waker));
            let done = gathered.bytes >= enough || gathered.failed || request.topics.is_empty();
            if done || self.clock.now() >= deadline {
                return FetchResponse::default().with_responses(gathered.responses);
            }
            tokio::select! {
                () = self.wait_for(waker, Some(deadline)) => {}
                // The hooks live as long as the broker, so waiting can't fail.
                _ = unfetchable.changed() => {}
            }
        }
    }

    /// The ends of logs, or offsets by time.
    pub(super) fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let offsets = topic.partitions.iter().map(|wanted| {
                let found = self.store(|store| offset_of(store, &topic.name, wanted));
                let answer = ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index);
                match found {
                    Ok((offset, timestamp)) => answer
                        .with_offset(offset)
                        .with_timestamp(timestamp)
                        .with_leader_epoch(if offset < 0 { -1 } else { 0 }),
                    Err(error) => answer.with_error_code(error.code()),
                }
            });
            let offsets = offsets.collect();
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(offsets)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    /// Where the only leader epoch there is (0) ends.
    pub(super) fn leader_epochs(
        &self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let ends = topic.partitions.iter().map(|wanted| {
                let end = self.store(|store| {
                    store.partition(&topic.topic, wanted.partition).map(|found| found.log.end())
                });
                let answer = EpochEndOffset::default().with_partition(wanted.partition);
                match end {
                    Ok(end) => answer.with_leader_epoch(0).with_end_offset(end),
                    Err(error) => answer.with_error_code(error.code()),
                }
            });
            let ends = ends.collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(ends)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }
}

fn gather(
    store: &mut Store,
    held: &BTreeSet<String>,
    request: &FetchRequest,
    waker: &Arc<Notify>,
) -> Gathered {
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(FETCH_BYTES_MAX);
    let mut gathered = Gathered { responses: Vec::new(), bytes: 0, failed: false };
    for topic in &request.topics {
        let is_held = held.contains(&**topic.topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            // Without room for a single byte nothing is read.
            let (room, first) = if is_held { (0, false) } else { (left, gathered.bytes == 0) };
            let (answer, bytes) = read(store, &topic.topic, wanted, room, first, waker);
            gathered.failed |= answer.error_code != 0;
            gathered.bytes += bytes;
            left = left.saturating_sub(bytes);
            partitions.push(answer);
        }
        let topic = FetchableTopicResponse::default().with_topic(topic.topic.clone());
        gathered.responses.push(topic.with_partitions(partitions));
    }
    gathered
}

fn read(
    store: &mut Store,
    topic: &str,
    wanted: &FetchPartition,
    bytes_max: usize,
    one_at_least: bool,
    waker: &Arc<Notify>,
) -> (PartitionData, usize) {
    let answer = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica((-1).into());
    let partition = match store.partition(topic, wanted.partition) {
        Ok(partition) => partition,
        Err(error) => {
            return (answer.with_error_code(error.code()).with_high_watermark(-1), 0);
        }
    };
    partition.wake(waker);
    let log = &mut partition.log;
    let answer = answer
        .with_high_watermark(log.high_watermark())
        .with_last_stable_offset(log.high_watermark())
        .with_log_start_offset(log.start());
    let partition_max = usize::try_from(wanted.partition_max_bytes).unwrap_or(0);
    match log.read(wanted.fetch_offset, partition_max.min(bytes_max), one_at_least) {
        Ok(read) => {
            let bytes = read.bytes;
            (answer.with_records(Some(read.joined())), bytes)
        }
        Err(error) => (answer.with_error_code(error.code()), 0),
    }
}

/// Offset and timestamp; -1 for both where no record is that late.
fn offset_of(
    store: &mut Store,
    topic: &str,
    wanted: &ListOffsetsPartition,
) -> Result<(i64, i64), ResponseError> {
    let log = &store.partition(topic, wanted.partition_index)?.log;
    match wanted.timestamp {
        LATEST => Ok((log.high_watermark(), -1)),
        EARLIEST => Ok((log.start(), -1)),
        timestamp if timestamp >= 0 => Ok(log.at_timestamp(timestamp).unwrap_or((-1, -1))),
        _ => Err(ResponseError::InvalidRequest),
    }
}
