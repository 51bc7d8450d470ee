//! Room `embedded` (edge): one client connection of the Kafka: frames in, answers out, in order.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, FetchRequest, FetchResponse, RequestKind, ResponseHeader,
    ResponseKind,
};
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use super::Broker;
use super::api::{APIS, Api};
use super::hooks::Fetched;
use crate::clock::Instant;
use crate::shutdown::Tasks;

/// The largest request that is not a produce request.
const SMALL_REQUEST_BYTES_MAX: usize = 1 << 20;
/// A read buffer larger than this is given back when it is empty.
const BUFFER_BYTES_KEPT: usize = 256 << 10;
/// Key, version and correlation id, with which every request begins.
const HEAD_BYTES: usize = 8;

/// Serves one connection until its client leaves or errs, the hooks close it, or `tasks` stop.
pub(super) async fn serve(broker: Arc<Broker>, stream: TcpStream, tasks: &Tasks) {
    let mut closings = broker.hooks.closings();
    let closed = closings.clone();
    tokio::select! {
        () = tasks.stopped() => {}
        _ = closings.changed() => {}
        // Any error ends the connection, which is all that its client needs to know.
        _ = converse(&broker, stream, &closed) => {}
    }
}

/// Answers requests; `None` at the end of the connection or at the first garbage.
async fn converse(
    broker: &Broker,
    mut stream: TcpStream,
    closed: &watch::Receiver<u64>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = BytesMut::new();
    let waker = Arc::new(Notify::new());
    loop {
        let frame = next_frame(&mut stream, &mut buffer, broker.request_bytes_max).await?;
        broker.hooks.answering().await;
        let mut fetched = Vec::new();
        let answer = answer(broker, (&waker, &mut fetched), frame).await?;
        broker.hooks.answering().await;
        // What was stalled when the hooks closed it must not be answered any more, even if this task
        // has not yet been told.
        if closed.has_changed().ok()? {
            return None;
        }
        if !fetched.is_empty() {
            broker.hooks.tell_fetched(fetched.into_iter(), broker.clock.now());
        }
        if let Some(answer) = answer {
            stream.write_all(&answer).await.ok()?;
        }
    }
}

async fn next_frame(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    produce_bytes_max: usize,
) -> Option<Bytes> {
    if buffer.is_empty() && buffer.capacity() > BUFFER_BYTES_KEPT {
        *buffer = BytesMut::new();
    }
    loop {
        if let Some(head) = buffer.get(..6) {
            let length = usize::try_from(i32::from_be_bytes(*head.first_chunk()?)).ok()?;
            let produce = head.ends_with(&(ApiKey::Produce as i16).to_be_bytes());
            let max = if produce { produce_bytes_max } else { SMALL_REQUEST_BYTES_MAX };
            if length < HEAD_BYTES || length > max {
                return None;
            }
            if buffer.len() >= 4 + length {
                buffer.advance(4);
                return Some(buffer.split_to(length).freeze());
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// The answer to one request: outer `None` for garbage, inner where none is wanted.
async fn answer(
    broker: &Broker,
    reader: (&Arc<Notify>, &mut Vec<Fetched>),
    frame: Bytes,
) -> Option<Option<Bytes>> {
    let mut head = frame.get(..HEAD_BYTES)?;
    let (key, version, correlation) = (head.get_i16(), head.get_i16(), head.get_i32());
    let api = Api::of(key)?;
    if !(api.min..=api.max).contains(&version) {
        // A client that is too new learns what there is; it asks again in a version it finds there.
        let unsupported = versions(ResponseError::UnsupportedVersion.code());
        let answer = encode(ApiKey::ApiVersions, 0, correlation, &unsupported);
        return answer.filter(|_| api.key == ApiKey::ApiVersions).map(Some);
    }
    let body = api.body_of(version, &frame)?;
    let request = RequestKind::decode(api.key, &mut frame.slice(body..), version).ok()?;
    match respond(broker, reader, request, version).await? {
        Some(response) => encode(api.key, version, correlation, &response).map(Some),
        None => Some(None),
    }
}

async fn respond(
    broker: &Broker,
    (waker, fetched): (&Arc<Notify>, &mut Vec<Fetched>),
    request: RequestKind,
    version: i16,
) -> Option<Option<ResponseKind>> {
    Some(Some(match request {
        RequestKind::Produce(request) => {
            return Some(broker.produce(request).map(ResponseKind::Produce));
        }
        RequestKind::Fetch(request) => {
            let asked = broker.clock.now();
            let response = broker.fetch(&request, waker).await;
            if broker.hooks.follows_fetches() {
                fetched.extend(brought(&request, &response, asked));
            }
            response.into()
        }
        RequestKind::ListOffsets(request) => broker.list_offsets(request).into(),
        RequestKind::OffsetForLeaderEpoch(request) => broker.leader_epochs(request).into(),
        RequestKind::InitProducerId(request) => broker.new_producer(&request).into(),
        RequestKind::ApiVersions(_) => versions(0),
        RequestKind::Metadata(request) => broker.metadata(request, version).into(),
        RequestKind::CreateTopics(request) => broker.create_topics(request).into(),
        RequestKind::DeleteTopics(request) => broker.delete_topics(request).into(),
        RequestKind::CreatePartitions(request) => broker.create_partitions(request).into(),
        RequestKind::DescribeConfigs(request) => broker.describe_configs(request).into(),
        RequestKind::FindCoordinator(request) => broker.find_coordinator(&request).into(),
        RequestKind::JoinGroup(request) => broker.join_group(request, version).await.into(),
        RequestKind::SyncGroup(request) => broker.sync_group(request).await.into(),
        RequestKind::Heartbeat(request) => broker.heartbeat(&request).into(),
        RequestKind::LeaveGroup(request) => broker.leave_group(&request).into(),
        RequestKind::OffsetCommit(request) => broker.commit_offsets(request).into(),
        RequestKind::OffsetFetch(request) => broker.fetch_offsets(request).into(),
        _ => return None,
    }))
}

/// What an answer to a Fetch brings; when it is handed over is not known yet.
fn brought<'a>(
    request: &'a FetchRequest,
    response: &'a FetchResponse,
    asked: Instant,
) -> impl Iterator<Item = Fetched> + 'a {
    // Answers are in the order of the questions.
    request.topics.iter().zip(&response.responses).flat_map(move |(wanted, answer)| {
        let partitions = wanted.partitions.iter().zip(&answer.partitions);
        let full = partitions.filter(|(_, answer)| {
            answer.records.as_ref().is_some_and(|records| !records.is_empty())
        });
        full.map(move |(asked_for, answer)| Fetched {
            topic: wanted.topic.to_string(),
            partition: asked_for.partition,
            offsets: asked_for.fetch_offset..answer.high_watermark,
            asked,
            at: asked,
        })
    })
}

fn versions(error: i16) -> ResponseKind {
    let offered = |api: &Api| {
        let version = ApiVersion::default().with_api_key(api.key as i16);
        version.with_min_version(api.min).with_max_version(api.max)
    };
    let keys = APIS.iter().map(offered).collect();
    ApiVersionsResponse::default().with_error_code(error).with_api_keys(keys).into()
}

fn encode(key: ApiKey, version: i16, correlation: i32, response: &ResponseKind) -> Option<Bytes> {
    let mut answer = BytesMut::with_capacity(256);
    answer.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut answer, key.response_header_version(version)).ok()?;
    response.encode(&mut answer, version).ok()?;
    let length = i32::try_from(answer.len() - 4).ok()?;
    answer.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    Some(answer.freeze())
}
