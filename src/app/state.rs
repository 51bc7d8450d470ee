//! Room `app`: what of a run outlives its process, and how the next one goes on with it.
//!
//! # Design
//!
//! The correlator is what its observations make of it. So each tick of the books appends one frame with
//! what was observed and the moment that was judged, before anything follows from it; a snapshot holds
//! correlator and totals now and then. The next process replays the frames behind the snapshot and is
//! exactly where the last frame was. What was observed after that is gone with the process: publishers
//! go on at the ends of their leases, consumers at the last offset that was booked, and what may have
//! been given out in between is told by its coming out (see `correlate`).
//!
//! What is known of the leaders' clocks is not kept: append and fetch legs and durability gaps of what is
//! replayed are left out, rather than told uncorrected.
//!
//! State belongs to a probe, its paths and publishers, and to one version of landfall; whatever is of
//! another one is set aside. Moments mean nothing after the machine has started again: totals are kept,
//! what is open is unresolved, and messages are stamped as a new run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::books::Books;
use crate::clock::{Clock, Instant, WallTime};
use crate::correlate::{
    Correlator, Elapsed, Event, Kept, Lane, Leases, Limits, Observation, PartitionName, PathId,
    PublisherId, Qos, Roster, TakenUp,
};
use crate::journal::Stored;
use crate::stamp::{Run, Stamper};
use crate::stats::{JudgedWindows, Stats};

/// What the report has to tell beside the totals.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Story {
    /// Whether the first window has begun.
    pub(super) began: bool,
    /// When it did.
    pub(super) start: WallTime,
    /// The same on the clock of this start of the machine, or when that was first seen.
    pub(super) begun: Instant,
    /// How long the run had lasted by then.
    pub(super) earlier: Duration,
    /// Windows that were judged, warm-up left out, and those of them that are valid.
    pub(super) judged: u64,
    pub(super) valid: u64,
    /// Windows that are not valid, by cause.
    pub(super) invalid: BTreeMap<String, u64>,
    /// The windows of each path and lane.
    pub(super) windows: JudgedWindows,
    /// How many processes the run had before this one.
    pub(super) restarts: u64,
    /// What they published.
    pub(super) published_before: u64,
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Owner {
    version: String,
    boot_id: Option<String>,
    run: Run,
    /// A trace id of the run: another probe, or another key, makes another one.
    mark: [u8; 16],
    paths: Vec<(String, Vec<Lane>)>,
    publishers: Vec<(PathId, Qos, bool)>,
}

/// The rest of a snapshot, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    leases: Vec<u64>,
    names: &'a [PartitionName],
    story: &'a Story,
    stats: &'a Stats,
    correlator: Kept<'a>,
}

/// The same, as it is read: first the correlator's parts, then itself.
#[derive(Deserialize)]
struct Read<C> {
    leases: Vec<u64>,
    names: Vec<PartitionName>,
    story: Story,
    stats: Stats,
    correlator: C,
}

/// What one tick of the books took in.
#[derive(Debug, Serialize)]
pub(super) struct Frame<'a> {
    pub(super) published: &'a [Observation],
    pub(super) received: &'a [Observation],
    /// The moment at which deadlines were looked at, if they were.
    pub(super) judged: Option<Instant>,
    pub(super) leases: &'a [(PublisherId, u64)],
    pub(super) names: &'a [PartitionName],
    pub(super) story: Option<&'a Story>,
}

/// The same, as it is read.
#[derive(Debug, Deserialize)]
struct Taken {
    published: Vec<Observation>,
    received: Vec<Observation>,
    judged: Option<Instant>,
    leases: Vec<(PublisherId, u64)>,
    names: Vec<PartitionName>,
    story: Option<Story>,
}

/// Where a run stands: new, or taken up from a process before.
pub(super) struct State {
    pub(super) correlator: Correlator,
    pub(super) stats: Stats,
    /// The first sequence of each publisher.
    pub(super) first: Vec<u64>,
    pub(super) names: Vec<PartitionName>,
    pub(super) story: Story,
}

impl State {
    /// A run that begins.
    pub(super) fn new(roster: &Arc<Roster>) -> Self {
        Self {
            correlator: Correlator::new(Arc::clone(roster), Limits::default()).confirming(),
            stats: Stats::new(Arc::clone(roster)),
            first: vec![0; roster.publishers().len()],
            names: Vec::new(),
            story: Story::default(),
        }
    }

    /// Correlators and books of so many shards: the first ones are where the run stands, the others
    /// begin.
    pub(super) fn spread(
        self,
        roster: &Arc<Roster>,
        shards: usize,
    ) -> (Vec<Correlator>, Vec<Arc<Books>>) {
        let (mut correlators, mut books) = (vec![self.correlator], vec![self.stats]);
        for _ in 1..shards {
            let Self { correlator, stats, .. } = Self::new(roster);
            correlators.push(correlator);
            books.push(stats);
        }
        (correlators, books.into_iter().map(|stats| Arc::new(Books::new(stats))).collect())
    }

    /// Where the reading of the partitions of a path and lane goes on.
    pub(super) fn positions(&self, (path, lane): (PathId, Lane)) -> Vec<PartitionName> {
        let cursors = self.correlator.cursors(path, lane);
        let mut last = BTreeMap::new();
        // A partition that was made anew has several names: the last one counts.
        for name in self.names.iter().filter(|name| (name.path, name.lane) == (path, lane)) {
            last.insert((&name.topic, name.partition), name);
        }
        let position = |name: &PartitionName| {
            let read = cursors.get(name.slot as usize).copied().unwrap_or(0);
            PartitionName { from: name.from.max(read), ..name.clone() }
        };
        last.into_values().map(position).collect()
    }
}

impl Owner {
    /// A run of this version on this start of the machine.
    pub(super) fn new(boot_id: Option<String>, run: Run, of: (&Stamper, &Roster)) -> Self {
        let (stamper, roster) = of;
        let paths = roster.paths().iter().map(|path| (path.name.clone(), path.lanes.clone()));
        let publishers = roster.publishers().iter();
        let publishers = publishers.map(|it| (it.path, it.qos, it.control));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id,
            run,
            mark: stamper.trace_id(stamper.identity(0, 0, 0)).0,
            paths: paths.collect(),
            publishers: publishers.collect(),
        }
    }

    /// The owner that a snapshot names, and the rest of the snapshot.
    pub(super) fn of(snapshot: &[u8]) -> Result<(Self, &[u8]), String> {
        // The version comes first, and says whether the rest can be read at all.
        let (version, _) = postcard::take_from_bytes::<String>(snapshot)
            .map_err(|_| "it can't be read".to_owned())?;
        if version != env!("CARGO_PKG_VERSION") {
            return Err(format!("it was written by landfall {version}"));
        }
        postcard::take_from_bytes(snapshot).map_err(|_| "it can't be read".to_owned())
    }

    /// The run that the state is of.
    pub(super) fn run(&self) -> Run {
        self.run
    }

    /// Whether the machine has not started again since.
    pub(super) fn is_of_boot(&self, boot_id: Option<&str>) -> bool {
        self.boot_id.is_some() && self.boot_id.as_deref() == boot_id
    }

    /// Why the state is not that of `other`, which has the same run; nothing where it is.
    fn differs_from(&self, other: &Self) -> Option<String> {
        let what = if self.mark != other.mark {
            "it is another probe's, or key_file was changed"
        } else if self.paths != other.paths {
            "the paths or their lanes were changed"
        } else if self.publishers != other.publishers {
            "the clients or the QoS of a path were changed"
        } else {
            return None;
        };
        Some(what.to_owned())
    }
}

/// Takes up what a process before this one left, of `owner` as this process would be; `clock` says when
/// that is.
pub(super) fn take_up(
    stored: &Stored,
    owner: &Owner,
    roster: &Arc<Roster>,
    clock: Clock,
) -> Result<State, String> {
    let (left, _) = Owner::of(&stored.snapshot)?;
    if let Some(why) = left.differs_from(owner) {
        return Err(why);
    }
    let is_same_boot = left.is_of_boot(owner.boot_id.as_deref());
    let Read { leases, names, mut story, mut stats, mut correlator } = replay(stored, roster)?;
    let (now, mut events) = (clock.pairing(), Vec::new());
    correlator.restart(&leases, now.instant, &mut events);
    if !is_same_boot {
        correlator.begin_time_anew(&mut events);
    }
    stats.apply(&events);
    if !is_same_boot && story.began {
        let lasted = now.wall.nanos().saturating_sub(story.start.nanos());
        story.earlier = Duration::from_nanos(u64::try_from(lasted).unwrap_or(0));
        story.begun = now.instant;
        story.windows.forget_moments();
    }
    if !is_same_boot {
        stats.forget_messages();
    }
    story.restarts += 1;
    story.published_before = published(&stats);
    let publishers = (0..).map(PublisherId).take(leases.len());
    let first = publishers.map(|publisher| correlator.next_sequence(publisher)).collect();
    Ok(State { correlator, stats, first, names, story })
}

/// What a snapshot and the frames behind it come to: where the process was with the last of them.
fn replay(stored: &Stored, roster: &Arc<Roster>) -> Result<Read<Correlator>, String> {
    let (_, rest) = Owner::of(&stored.snapshot)?;
    let unreadable = || "it can't be read".to_owned();
    let read: Read<TakenUp> = postcard::from_bytes(rest).map_err(|_| unreadable())?;
    let Read { mut leases, mut names, mut story, stats, correlator } = read;
    let correlator = Correlator::taken_up(Arc::clone(roster), Limits::default(), correlator);
    let stats = stats.taken_up(Arc::clone(roster));
    let (correlator, mut stats) = correlator.zip(stats).ok_or_else(unreadable)?;
    let mut correlator = correlator.confirming();
    if leases.len() != roster.publishers().len() {
        return Err(unreadable());
    }
    let mut events = Vec::new();
    for frame in &stored.frames {
        let taken: Taken = postcard::from_bytes(frame).map_err(|_| unreadable())?;
        for observation in taken.published.iter().chain(&taken.received) {
            correlator.observe(observation, &mut events);
        }
        if let Some(now) = taken.judged {
            correlator.advance(now, &mut events);
        }
        leave_legs_out(&mut events);
        stats.apply(&events);
        events.clear();
        for (publisher, end) in taken.leases {
            *leases.get_mut(publisher.0 as usize).ok_or_else(unreadable)? = end;
        }
        names.extend(taken.names);
        story = taken.story.unwrap_or(story);
    }
    Ok(Read { leases, names, story, stats, correlator })
}

/// Leaves out what was timed by a leader's clock: what was known of that clock died with the process.
fn leave_legs_out(events: &mut Vec<Event>) {
    events.retain(|event| !matches!(event, Event::DurabilityGap { .. }));
    for event in events {
        if let Event::Resolved { arrival: Some(arrival), .. } = event {
            arrival.append = Elapsed::UNKNOWN;
            arrival.fetch = Elapsed::UNKNOWN;
            arrival.durability_gap = Elapsed::UNKNOWN;
        }
    }
}

/// All messages that were handed to a socket.
fn published(stats: &Stats) -> u64 {
    let paths = (0..).map(PathId).take(stats.roster().paths().len());
    paths.flat_map(|path| Qos::ALL.map(|qos| stats.publish(path, qos).published)).sum()
}

/// A snapshot of a run as it stands.
pub(super) fn snapshot(
    owner: &Owner,
    leases: &Leases,
    (names, story): (&[PartitionName], &Story),
    (correlator, stats): (&Correlator, &Stats),
) -> postcard::Result<Vec<u8>> {
    let correlator = correlator.kept();
    let written = Written { leases: leases.ends(), names, story, stats, correlator };
    let bytes = postcard::to_extend(owner, Vec::new())?;
    postcard::to_extend(&written, bytes)
}

#[cfg(test)]
mod tests;
