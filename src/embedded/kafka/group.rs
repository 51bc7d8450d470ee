//! Room `embedded` (edge): one classic consumer group of the Kafka, as a state machine that is told
//! the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use crate::clock::Instant;

/// How a member wants to take part.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocol_type: String,
    /// Assignment protocols with the member's metadata, the one it likes best first.
    pub(super) protocols: Vec<(String, Bytes)>,
}

#[derive(Debug)]
struct Member {
    entrance: Entrance,
    seen: Instant,
    /// Has joined, and waits for the others.
    joining: bool,
    assignment: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody is in it.
    Empty,
    /// Members join, until all have or the time is over.
    Joining { until: Instant },
    /// All have joined, and the leader makes the assignment.
    Assigning,
    /// Everyone can have their assignment.
    Stable,
}

/// What a member learns when everybody has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) generation: i32,
    pub(super) protocol: String,
    pub(super) leader: String,
    /// Everyone's metadata, for the leader; nothing for the others.
    pub(super) members: Vec<(String, Bytes)>,
}

/// A consumer group.
#[derive(Debug)]
pub(super) struct Group {
    phase: Phase,
    generation: i32,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Ids given out to members that are to join with them, until then.
    invited: BTreeMap<String, Instant>,
}

impl Group {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            invited: BTreeMap::new(),
        }
    }

    /// Members and ids given out.
    pub(super) fn len(&self) -> usize {
        self.members.len() + self.invited.len()
    }

    /// Whether anybody is in it; if not, offsets may be committed from outside.
    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Notes an id under which somebody is to join before `until`.
    pub(super) fn invite(&mut self, id: String, until: Instant) {
        self.invited.insert(id, until);
    }

    /// A member joins, or joins again. When it has to wait is told by [`Group::joined`].
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID` for an id that was not given out, `INCONSISTENT_GROUP_PROTOCOL` where it
    /// has no protocol in common with the others.
    pub(super) fn join(
        &mut self,
        id: &str,
        entrance: Entrance,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let others = self.members.iter().filter(|(other, _)| *other != id);
        let mut common: BTreeSet<&str> = names(&entrance).collect();
        for (_, other) in others {
            common.retain(|name| names(&other.entrance).any(|theirs| theirs == *name));
            if other.entrance.protocol_type != entrance.protocol_type {
                common.clear();
            }
        }
        if common.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let present = self.members.get_mut(id);
        if present.is_none() && self.invited.remove(id).is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        if let Some(member) = present {
            // A member that missed its answer gets it again; only a leader's or a changed one's
            // return means that partitions are to be dealt out anew.
            let same = member.entrance.protocols == entrance.protocols;
            let answered = match self.phase {
                Phase::Stable => same && id != self.leader,
                Phase::Assigning => same,
                Phase::Empty | Phase::Joining { .. } => false,
            };
            member.seen = now;
            if answered {
                return Ok(());
            }
        }
        self.begin_joining(now, entrance.rebalance);
        let member = Member { entrance, seen: now, joining: true, assignment: Bytes::new() };
        self.members.insert(id.to_owned(), member);
        self.tick(now);
        Ok(())
    }

    /// What the member has joined; `None` while it has to wait for others.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID` where it was thrown out meanwhile.
    pub(super) fn joined(&self, id: &str) -> Result<Option<Joined>, ResponseError> {
        let member = self.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
        if member.joining {
            return Ok(None);
        }
        let metadata = |member: &Member| {
            let mut protocols = member.entrance.protocols.iter();
            let chosen = protocols.find(|(name, _)| *name == self.protocol);
            chosen.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
        };
        let all = self.members.iter().map(|(id, member)| (id.clone(), metadata(member)));
        Ok(Some(Joined {
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: if id == self.leader { all.collect() } else { Vec::new() },
        }))
    }

    /// The leader's assignment; from others it is empty and nothing happens.
    ///
    /// # Errors
    ///
    /// As [`Group::check`].
    pub(super) fn assign(
        &mut self,
        id: &str,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(id, generation, now)?;
        if self.phase == Phase::Assigning && id == self.leader {
            for (member, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&member) {
                    member.assignment = assignment;
                }
            }
            self.phase = Phase::Stable;
        }
        Ok(())
    }

    /// The member's assignment; `None` while the leader has not made it.
    ///
    /// # Errors
    ///
    /// As [`Group::check`], and `REBALANCE_IN_PROGRESS` where all have to join again.
    pub(super) fn assignment(
        &mut self,
        id: &str,
        generation: i32,
        now: Instant,
    ) -> Result<Option<Bytes>, ResponseError> {
        self.heartbeat(id, generation, now)?;
        let member = self.members.get(id).filter(|_| self.phase == Phase::Stable);
        Ok(member.map(|member| member.assignment.clone()))
    }

    /// A sign of life.
    ///
    /// # Errors
    ///
    /// As [`Group::check`], and `REBALANCE_IN_PROGRESS` where all have to join again.
    pub(super) fn heartbeat(
        &mut self,
        id: &str,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(id, generation, now)?;
        match self.phase {
            Phase::Joining { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Assigning | Phase::Stable => Ok(()),
        }
    }

    /// Whether a member is in the group's present generation; also a sign of life.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`.
    pub(super) fn check(
        &mut self,
        id: &str,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.seen = now;
        Ok(())
    }

    /// A member goes.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID`.
    pub(super) fn leave(&mut self, id: &str, now: Instant) -> Result<(), ResponseError> {
        let invited = self.invited.remove(id).is_some();
        if self.members.remove(id).is_none() {
            return if invited { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.begin_joining(now, Duration::ZERO);
        self.tick(now);
        Ok(())
    }

    /// Does what is due: throws out who was silent for too long, and ends the joining when all are
    /// there or the time is over.
    pub(super) fn tick(&mut self, now: Instant) {
        self.invited.retain(|_, until| *until > now);
        let before = self.members.len();
        self.members.retain(|_, member| member.joining || member.expires() > now);
        if self.members.len() < before {
            self.begin_joining(now, Duration::ZERO);
        }
        if let Phase::Joining { until } = self.phase {
            if until <= now {
                self.members.retain(|_, member| member.joining);
            }
            if self.members.values().all(|member| member.joining) {
                self.begin_generation(now);
            }
        }
    }

    /// When [`Group::tick`] has something to do, if nobody says anything before.
    pub(super) fn due(&self) -> Option<Instant> {
        let silent = self.members.values().filter(|member| !member.joining).map(Member::expires);
        let until = match self.phase {
            Phase::Joining { until } => Some(until),
            Phase::Empty | Phase::Assigning | Phase::Stable => None,
        };
        silent.chain(until).min()
    }

    fn begin_joining(&mut self, now: Instant, rebalance: Duration) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            let theirs = self.members.values().map(|member| member.entrance.rebalance);
            let longest = theirs.max().unwrap_or_default().max(rebalance);
            self.phase = Phase::Joining { until: now + longest };
        }
    }

    fn begin_generation(&mut self, now: Instant) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            return;
        }
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        self.protocol = self.favourite();
        for member in self.members.values_mut() {
            member.joining = false;
            member.seen = now;
            member.assignment = Bytes::new();
        }
        self.phase = Phase::Assigning;
    }

    /// Of the protocols that all have, the one that most like best.
    fn favourite(&self) -> String {
        let entrances = || self.members.values().map(|member| &member.entrance);
        let common =
            |name: &str| entrances().all(|entrance| names(entrance).any(|own| own == name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for entrance in entrances() {
            if let Some(name) = names(entrance).find(|name| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let winner = votes.into_iter().max_by_key(|(_, count)| *count);
        winner.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }
}

impl Member {
    fn expires(&self) -> Instant {
        self.seen + self.entrance.session
    }
}

fn names(entrance: &Entrance) -> impl Iterator<Item = &str> {
    entrance.protocols.iter().map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn entrance(protocols: &[&str]) -> Entrance {
        let protocols = protocols.iter().map(|name| ((*name).to_owned(), Bytes::from("m")));
        Entrance {
            session: Duration::from_secs(10),
            rebalance: Duration::from_mins(1),
            protocol_type: "consumer".to_owned(),
            protocols: protocols.collect(),
        }
    }

    fn join(group: &mut Group, id: &str, seconds: u64) {
        if !group.members.contains_key(id) {
            group.invite(id.to_owned(), at(seconds + 1));
        }
        group.join(id, entrance(&["range"]), at(seconds)).unwrap();
    }

    /// A group of two, "a" the leader, in generation 2.
    fn pair() -> Group {
        let mut group = Group::new();
        join(&mut group, "a", 0);
        assert_eq!(group.joined("a").unwrap().unwrap().generation, 1);
        join(&mut group, "b", 1);
        assert_eq!(group.joined("b"), Ok(None));
        assert_eq!(group.heartbeat("a", 1, at(1)), Err(ResponseError::RebalanceInProgress));
        join(&mut group, "a", 1);
        let joined = group.joined("a").unwrap().unwrap();
        assert_eq!((joined.generation, joined.members.len()), (2, 2));
        assert_eq!(group.joined("b").unwrap().unwrap().members.len(), 0);
        group
    }

    #[test]
    fn members_share_after_both_have_joined() {
        let mut group = pair();
        assert_eq!(group.assignment("b", 2, at(2)), Ok(None));
        let dealt = vec![("a".to_owned(), Bytes::from("1")), ("b".to_owned(), Bytes::from("2"))];
        assert_eq!(
            group.assign("a", 1, dealt.clone(), at(2)),
            Err(ResponseError::IllegalGeneration)
        );
        group.assign("a", 2, dealt, at(2)).unwrap();
        assert_eq!(group.assignment("b", 2, at(2)), Ok(Some(Bytes::from("2"))));
        assert_eq!(group.heartbeat("b", 2, at(3)), Ok(()));
    }

    #[test]
    fn a_silent_member_is_thrown_out_and_the_others_deal_anew() {
        let mut group = pair();
        group.assign("a", 2, Vec::new(), at(2)).unwrap();
        group.heartbeat("a", 2, at(9)).unwrap();
        assert_eq!(group.due(), Some(at(11)));
        group.tick(at(12));
        assert_eq!(group.heartbeat("a", 2, at(12)), Err(ResponseError::RebalanceInProgress));
        assert_eq!(group.heartbeat("b", 2, at(12)), Err(ResponseError::UnknownMemberId));
        join(&mut group, "a", 13);
        assert_eq!(group.joined("a").unwrap().unwrap().members.len(), 1);
    }

    #[test]
    fn joining_ends_in_time_without_those_who_do_not_come() {
        let mut group = pair();
        join(&mut group, "c", 3);
        for second in (4..62).step_by(5) {
            let told = group.heartbeat("a", 2, at(second)).and(group.heartbeat("b", 2, at(second)));
            assert_eq!(told, Err(ResponseError::RebalanceInProgress));
        }
        let _ = group.heartbeat("b", 2, at(62));
        assert_eq!(group.joined("c"), Ok(None));
        group.tick(at(63));
        let joined = group.joined("c").unwrap().unwrap();
        assert_eq!((joined.leader.as_str(), joined.generation), ("c", 3));
    }

    #[test]
    fn the_last_one_out_leaves_an_empty_group() {
        let mut group = pair();
        group.leave("a", at(2)).unwrap();
        assert_eq!(group.leave("a", at(2)), Err(ResponseError::UnknownMemberId));
        group.leave("b", at(2)).unwrap();
        assert!(!group.has_members());
        assert_eq!((group.phase, group.due()), (Phase::Empty, None));
    }

    #[test]
    fn protocols_must_be_common_and_the_most_liked_wins() {
        let mut group = Group::new();
        for (id, protocols) in
            [("a", ["range", "sticky"]), ("b", ["sticky", "range"]), ("c", ["sticky", "range"])]
        {
            group.invite(id.to_owned(), at(1));
            group.join(id, entrance(&protocols), at(0)).unwrap();
        }
        group.join("a", entrance(&["range", "sticky"]), at(0)).unwrap();
        group.join("b", entrance(&["sticky", "range"]), at(0)).unwrap();
        assert_eq!(group.joined("c").unwrap().unwrap().protocol, "sticky");
        group.invite("d".to_owned(), at(1));
        let refused = group.join("d", entrance(&["other"]), at(0));
        assert_eq!(refused, Err(ResponseError::InconsistentGroupProtocol));
        let stranger = group.join("e", entrance(&["range"]), at(0));
        assert_eq!(stranger, Err(ResponseError::UnknownMemberId));
    }
}
