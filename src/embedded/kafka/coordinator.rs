//! Room `embedded` (edge): the Kafka requests of consumer groups.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Broker;
use super::admin::NODE;
use super::group::{Entrance, Group, Joined};
use super::hooks::locked;
use super::offsets::Offsets;
use crate::clock::Instant;

const GROUPS_MAX: usize = 256;
const MEMBERS_MAX: usize = 256;
const SESSION_MAX: Duration = Duration::from_mins(30);
const REBALANCE_MAX: Duration = Duration::from_hours(1);
/// The first version in which a new member is given its id before it joins.
const INVITES_SINCE: i16 = 4;
/// The first version that tells how long a rebalance may take; until then, as long as a session.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;

#[derive(Debug)]
pub(super) struct Coordinated {
    group: Group,
    pub(super) offsets: Offsets,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) known: BTreeMap<StrBytes, Coordinated>,
    ids_given: u64,
}

impl Groups {
    pub(super) fn of(&mut self, id: &StrBytes) -> Result<&mut Coordinated, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if self.known.len() >= GROUPS_MAX && !self.known.contains_key(id) {
            self.known.retain(|_, known| known.group.len() > 0 || !known.offsets.is_empty());
            if self.known.len() >= GROUPS_MAX {
                return Err(ResponseError::GroupMaxSizeReached);
            }
        }
        let new = || Coordinated { group: Group::new(), offsets: Offsets::new() };
        Ok(self.known.entry(StrBytes::from_string(id.to_string())).or_insert_with(new))
    }

    /// A new member's id, noted until it joins.
    fn invite(&mut self, group: &StrBytes, until: Instant) -> Result<String, ResponseError> {
        let members: usize = self.known.values().map(|known| known.group.len()).sum();
        if members >= MEMBERS_MAX {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        self.ids_given += 1;
        let id = format!("member-{}", self.ids_given);
        self.of(group)?.group.invite(id.clone(), until);
        Ok(id)
    }
}

impl Broker {
    /// This broker, for every group; nobody for transactions.
    pub(super) fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        if request.key_type != 0 {
            return FindCoordinatorResponse::default()
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_node_id((-1).into())
                .with_port(-1);
        }
        FindCoordinatorResponse::default()
            .with_node_id(NODE)
            .with_host(StrBytes::from_string(self.address.ip().to_string()))
            .with_port(i32::from(self.address.port()))
    }

    /// Joins, and waits until everybody has.
    pub(super) async fn join_group(
        &self,
        request: JoinGroupRequest,
        version: i16,
    ) -> JoinGroupResponse {
        let protocol_type = request.protocol_type.clone();
        let (id, joined) = match self.enter(&request, version) {
            Ok(id) => {
                let joined = self.when(&request.group_id, |group, _| group.joined(&id)).await;
                (id, joined)
            }
            Err((id, error)) => (id, Err(error)),
        };
        let answer = JoinGroupResponse::default().with_member_id(StrBytes::from_string(id));
        match joined {
            Ok(Joined { generation, protocol, leader, members }) => {
                let members = members.into_iter().map(|(id, metadata)| {
                    JoinGroupResponseMember::default()
                        .with_member_id(StrBytes::from_string(id))
                        .with_metadata(metadata)
                });
                answer
                    .with_generation_id(generation)
                    .with_protocol_type(Some(protocol_type))
                    .with_protocol_name(Some(StrBytes::from_string(protocol)))
                    .with_leader(StrBytes::from_string(leader))
                    .with_members(members.collect())
            }
            Err(error) => {
                let answer = answer.with_error_code(error.code()).with_generation_id(-1);
                if version < 7 { answer.with_protocol_name(Some(StrBytes::new())) } else { answer }
            }
        }
    }

    /// The id under which a member has joined; with an error, the id that its answer tells.
    fn enter(
        &self,
        request: &JoinGroupRequest,
        version: i16,
    ) -> Result<String, (String, ResponseError)> {
        let now = self.clock.now();
        let asked = request.member_id.to_string();
        let session = millis(request.session_timeout_ms);
        if session.is_zero() || session > SESSION_MAX {
            return Err((asked, ResponseError::InvalidSessionTimeout));
        }
        let own = millis(request.rebalance_timeout_ms).min(REBALANCE_MAX);
        // Bytes of a request are shared with its read buffer; a group keeps copies.
        let protocols = request.protocols.iter().map(|protocol| {
            (protocol.name.to_string(), bytes::Bytes::copy_from_slice(&protocol.metadata))
        });
        let entrance = Entrance {
            session,
            rebalance: if version >= REBALANCE_TIMEOUT_SINCE { own } else { session },
            protocol_type: request.protocol_type.to_string(),
            protocols: protocols.collect(),
        };
        let mut groups = locked(&self.groups);
        let id = if asked.is_empty() {
            let id = groups.invite(&request.group_id, now + session);
            let id = id.map_err(|error| (asked, error))?;
            if version >= INVITES_SINCE {
                return Err((id, ResponseError::MemberIdRequired));
            }
            id
        } else {
            asked
        };
        let joined = groups
            .of(&request.group_id)
            .and_then(|coordinated| coordinated.group.join(&id, entrance, now));
        drop(groups);
        self.regrouped.notify_waiters();
        joined.map(|()| id.clone()).map_err(|error| (id, error))
    }

    /// Takes the leader's assignment, and waits for the member's own.
    pub(super) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let (id, generation) = (request.member_id.to_string(), request.generation_id);
        let assignments = request.assignments.into_iter().map(|dealt| {
            (dealt.member_id.to_string(), bytes::Bytes::copy_from_slice(&dealt.assignment))
        });
        let assignments = assignments.collect();
        let assigned = self.in_group(&request.group_id, |group, now| {
            group.assign(&id, generation, assignments, now)
        });
        let assignment = match assigned {
            Ok(()) => {
                self.when(&request.group_id, |group, now| group.assignment(&id, generation, now))
                    .await
            }
            Err(error) => Err(error),
        };
        let answer = SyncGroupResponse::default();
        match assignment {
            Ok(assignment) => answer
                .with_protocol_type(request.protocol_type)
                .with_protocol_name(request.protocol_name)
                .with_assignment(assignment),
            Err(error) => answer.with_error_code(error.code()),
        }
    }

    /// A member's sign of life.
    pub(super) fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let alive = self.in_group(&request.group_id, |group, now| {
            group.heartbeat(&request.member_id, request.generation_id, now)
        });
        HeartbeatResponse::default().with_error_code(code(alive))
    }

    /// Members leave.
    pub(super) fn leave_group(&self, request: &LeaveGroupRequest) -> LeaveGroupResponse {
        let leave =
            |id: &str| code(self.in_group(&request.group_id, |group, now| group.leave(id, now)));
        if request.members.is_empty() {
            let error = leave(&request.member_id);
            return LeaveGroupResponse::default().with_error_code(error);
        }
        let members = request.members.iter().map(|member| {
            MemberResponse::default()
                .with_error_code(leave(&member.member_id))
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    /// Does something with a group that has caught up with the time, and tells those who wait.
    pub(super) fn in_group<T>(
        &self,
        id: &StrBytes,
        work: impl FnOnce(&mut Group, Instant) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let now = self.clock.now();
        let mut groups = locked(&self.groups);
        let group = &mut groups.of(id)?.group;
        group.tick(now);
        let done = work(group, now);
        drop(groups);
        self.regrouped.notify_waiters();
        done
    }

    /// Waits until a group gives something.
    async fn when<T>(
        &self,
        id: &StrBytes,
        mut ask: impl FnMut(&mut Group, Instant) -> Result<Option<T>, ResponseError>,
    ) -> Result<T, ResponseError> {
        loop {
            // Registered before the group is asked, so that no change in between is missed.
            let mut changed = pin!(self.regrouped.notified());
            changed.as_mut().enable();
            let now = self.clock.now();
            let due = {
                let mut groups = locked(&self.groups);
                let group = &mut groups.of(id)?.group;
                // Asking is a sign of life: it comes before silent members are thrown out.
                let mut given = ask(group, now)?;
                if given.is_none() {
                    group.tick(now);
                    given = ask(group, now)?;
                }
                if let Some(given) = given {
                    drop(groups);
                    self.regrouped.notify_waiters();
                    return Ok(given);
                }
                group.due()
            };
            let left = due.map_or(SESSION_MAX, |due| due.saturating_since(now));
            // Both ends of the wait are good ones.
            let _ = tokio::time::timeout(left, changed).await;
        }
    }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn code(result: Result<(), ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}
