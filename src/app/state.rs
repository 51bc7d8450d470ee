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
//! What is known of the leaders' clocks is kept in the same way, so that the legs of what is replayed are
//! corrected as they were. Only what is told of leaders in the very moment between a frame and its booking
//! is replayed one tick later than it was heeded.
//!
//! State belongs to a probe, its paths and publishers, and to one version of landfall; whatever is of
//! another one is set aside as a whole, and what differs is said. The paths that did not change are not
//! kept alone: stamps name paths and clients by their number, so that what is on its way could be taken
//! for another path's, and the report would tell of paths of which each has an age of its own. Moments mean nothing after the machine has started again: totals are kept,
//! what is open is unresolved, and messages are stamped as a new run.

mod owner;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::books::Books;
use super::clocks::{LeaderClocks, Leaders};
use super::recorder::Holdings;
use crate::clock::{Clock, Instant, WallTime};
use crate::correlate::{
    Correlator, Kept, Lane, Leases, Limits, Observation, PartitionName, PathId, PublisherId, Qos,
    Roster, Row, TakenUp,
};
use crate::journal::Stored;
use crate::report::rfc3339;
use crate::stats::{Clocks, JudgedWindows, Stats};

pub(super) use owner::Owner;

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

/// The rest of a snapshot, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    leases: Vec<u64>,
    names: &'a [PartitionName],
    story: &'a Story,
    stats: &'a Stats,
    clocks: &'a Clocks,
    correlator: Kept<'a>,
}

/// The same, as it is read: first the correlator's parts, then itself.
#[derive(Deserialize)]
struct Read<C> {
    leases: Vec<u64>,
    names: Vec<PartitionName>,
    story: Story,
    stats: Stats,
    clocks: Clocks,
    correlator: C,
}

/// What one tick of the books took in.
#[derive(Debug, Serialize)]
pub(super) struct Frame<'a> {
    pub(super) published: &'a [Row],
    pub(super) received: &'a [Observation],
    /// The moment at which deadlines were looked at, if they were.
    pub(super) judged: Option<Instant>,
    pub(super) leases: &'a [(PublisherId, u64)],
    pub(super) names: &'a [PartitionName],
    pub(super) leaders: &'a [Leaders],
    pub(super) story: Option<&'a Story>,
}

/// The same, as it is read.
#[derive(Debug, Deserialize)]
struct Taken {
    published: Vec<Row>,
    received: Vec<Observation>,
    judged: Option<Instant>,
    leases: Vec<(PublisherId, u64)>,
    names: Vec<PartitionName>,
    leaders: Vec<Leaders>,
    story: Option<Story>,
}

/// Where a run stands: new, or taken up from a process before.
pub(super) struct State {
    pub(super) correlator: Correlator,
    pub(super) stats: Stats,
    pub(super) clocks: Clocks,
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
            clocks: Clocks::default(),
            first: vec![0; roster.publishers().len()],
            names: Vec::new(),
            story: Story::default(),
        }
    }

    /// Correlators and books of so many shards: the first ones are where the run stands, the others
    /// begin. And what is known of the clocks.
    pub(super) fn spread(
        self,
        roster: &Arc<Roster>,
        shards: usize,
    ) -> (Vec<Correlator>, Vec<Arc<Books>>, LeaderClocks) {
        let (mut correlators, mut books) = (vec![self.correlator], vec![self.stats]);
        for _ in 1..shards {
            let Self { correlator, stats, .. } = Self::new(roster);
            correlators.push(correlator);
            books.push(stats);
        }
        let books = books.into_iter().map(|stats| Arc::new(Books::new(stats))).collect();
        (correlators, books, LeaderClocks::new(self.clocks))
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
        return Err(format!("{why}; {}", ends(stored, &left)));
    }
    let is_same_boot = left.is_of_boot(owner.boot_id.as_deref());
    let Read { leases, names, mut story, mut stats, mut clocks, mut correlator } =
        replay(stored, roster)?;
    let (now, mut events) = (clock.pairing(), Vec::new());
    correlator.restart(&leases, now.instant, &mut events);
    if !is_same_boot {
        correlator.begin_time_anew(&mut events);
        clocks = Clocks::default();
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
    Ok(State { correlator, stats, clocks, first, names, story })
}

/// What ends with state that this process can't go on with, in words.
fn ends(stored: &Stored, left: &Owner) -> String {
    let Ok(Read { story, stats, .. }) = replay(stored, &Arc::new(left.roster())) else {
        return "what it held can't be read".to_owned();
    };
    let published = published(&stats);
    if story.began {
        let start = rfc3339(story.start);
        format!(
            "with it ends the run since {start}, of {published} published messages on all paths"
        )
    } else {
        "with it ends a run that had not begun".to_owned()
    }
}

/// What a snapshot and the frames behind it come to: where the process was with the last of them.
fn replay(stored: &Stored, roster: &Arc<Roster>) -> Result<Read<Correlator>, String> {
    let (_, rest) = Owner::of(&stored.snapshot)?;
    let unreadable = || "it can't be read".to_owned();
    let read: Read<TakenUp> = postcard::from_bytes(rest).map_err(|_| unreadable())?;
    let Read { mut leases, mut names, mut story, stats, mut clocks, correlator } = read;
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
        for PartitionName { path, lane, slot, topic, partition, .. } in &taken.names {
            clocks.name_partition((*path, *lane), *slot, (topic.clone(), *partition));
        }
        for Leaders { of, led } in &taken.leaders {
            // Where there are too many, that was said when it was told.
            clocks.set_leaders(*of, led);
        }
        for row in &taken.published {
            correlator.observe_row(row, &mut events);
        }
        for observation in &taken.received {
            correlator.observe(observation, &mut events);
        }
        if let Some(now) = taken.judged {
            correlator.advance(now, &mut events);
        }
        clocks.apply(roster, &mut events);
        stats.apply(&events);
        events.clear();
        for (publisher, end) in taken.leases {
            *leases.get_mut(publisher.0 as usize).ok_or_else(unreadable)? = end;
        }
        names.extend(taken.names);
        story = taken.story.unwrap_or(story);
    }
    Ok(Read { leases, names, story, stats, clocks, correlator })
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
    Holdings { correlator, stats, clocks }: Holdings<'_>,
) -> postcard::Result<Vec<u8>> {
    let (leases, correlator) = (leases.ends(), correlator.kept());
    let written = Written { leases, names, story, stats, clocks, correlator };
    let bytes = postcard::to_extend(owner, Vec::new())?;
    postcard::to_extend(&written, bytes)
}

#[cfg(test)]
mod tests;
