//! Room `study`: the phases of a run, from the first connection to the last outcome.
//!
//! # Design
//!
//! The order of stopping is what this machine is for, since false losses are born in the last second
//! of a run: not ready any more; stop the schedule; wait for acknowledgements; keep consuming until
//! every slot has its verdict; what is left is unresolved, never lost. Time comes in as an argument,
//! commands go out, and the wiring obeys them.
//!
//! Each path begins when its own connections stand: one whose systems are missing must not keep the
//! others from being measured. Paths that are ready at about the same time begin together, so that
//! they can be compared; the end is the same for all.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Instant;
use crate::correlate::Lane;
use crate::stats::Led;

/// One connection that a run depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A publisher, by its index in the roster.
    Publisher(u32),
    /// The subscriber of a path, by the path's index.
    Subscriber(u8),
    /// The consumer of a path, by the path's index.
    Consumer(u8),
    /// The producer of a path's control messages, by the path's index.
    Producer(u8),
    /// The consumer of a path's control topic, by the path's index.
    ControlConsumer(u8),
}

/// What an edge has to say about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A connection stands and can do its work.
    Up(Role),
    /// A connection is gone or could not be made, and why.
    Down(Role, String),
    /// A path's consumer was assigned one more partition.
    Assigned {
        /// Index of the path.
        path: u8,
        /// The lane that ends at the consumer.
        lane: Lane,
        /// Dense index that its records are observed under.
        slot: u32,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// Who leads the partitions that a consumer reads: all of them, whenever that has changed.
    Leaders {
        /// Index of the path.
        path: u8,
        /// The lane that ends at the consumer.
        lane: Lane,
        /// Each partition with its leader, where it has one.
        led: Vec<Led>,
    },
    /// Something is wrong that a person should know of, and what to do about it.
    Warning {
        /// Index of the path.
        path: u8,
        /// Its kind, in the same words each time: repeats are known by it.
        kind: &'static str,
        /// All of it, with what varies.
        text: String,
    },
}

/// How a run is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The connections that must stand before the first slot of each path, by its index.
    pub paths: Vec<Vec<Role>>,
    /// How long to measure from the first slot of any path on; for ever without it.
    pub measure_for: Option<Duration>,
    /// How long an end by time may wait for verdicts: the longest deadline and a margin.
    pub settle: Duration,
    /// How long an end by signal may wait for verdicts.
    pub drain: Duration,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No path has begun.
    Connecting,
    /// Slots come due, on one path at least.
    Loading {
        /// When the schedule of the first path started.
        since: Instant,
    },
    /// No more slots; outcomes are awaited.
    Draining {
        /// When the waiting ends at the latest.
        until: Instant,
    },
    /// Over.
    Done,
}

/// What the wiring is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start the schedule of a path.
    Start {
        /// Index of the path.
        path: u8,
        /// When its time begins.
        at: Instant,
        /// No slot comes due from here on; for ever without it.
        until: Option<Instant>,
    },
    /// Let no more slots come due.
    StopSchedule,
    /// Close the books.
    Finish,
}

/// The distance between readiness and the first slot: time for threads to be in place.
const LEAD: Duration = Duration::from_millis(20);
/// How long the first path that is ready waits for the others, so that all begin together.
const TOGETHER: Duration = Duration::from_secs(5);

/// The run as a state machine.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    phase: Phase,
    path_of: BTreeMap<Role, u8>,
    paths: Vec<Path>,
    /// Since when some path has been ready to begin, before any has.
    ready_since: Option<Instant>,
    stop_asked: bool,
}

/// Where a path stands.
#[derive(Debug)]
struct Path {
    /// What doesn't stand, with the reason where one is known.
    down: BTreeMap<Role, Option<String>>,
    started: Option<Instant>,
}

impl Path {
    fn is_ready(&self) -> bool {
        self.started.is_none() && self.down.is_empty()
    }
}

impl Machine {
    /// Everything yet to connect.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let path = |roles: &Vec<Role>| Path {
            down: roles.iter().map(|&role| (role, None)).collect(),
            started: None,
        };
        let paths: Vec<Path> = plan.paths.iter().map(path).collect();
        let roles = (0..).zip(&plan.paths);
        let path_of = roles.flat_map(|(path, roles)| roles.iter().map(move |&role| (role, path)));
        let path_of = path_of.collect();
        let (phase, ready_since, stop_asked) = (Phase::Connecting, None, false);
        Self { plan, phase, path_of, paths, ready_since, stop_asked }
    }

    /// Where the run stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether every path is measured and every connection stands.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_measured = |path: &Path| path.started.is_some() && path.down.is_empty();
        matches!(self.phase, Phase::Loading { .. }) && self.paths.iter().all(is_measured)
    }

    /// When a path began; `None` where it has not.
    #[must_use]
    pub fn started(&self, path: u8) -> Option<Instant> {
        self.paths.get(usize::from(path)).and_then(|path| path.started)
    }

    /// The connections that don't stand, with the reason where one is known.
    pub fn down(&self) -> impl Iterator<Item = (Role, Option<&str>)> {
        (0..).take(self.paths.len()).flat_map(|path| self.down_on(path))
    }

    /// The same of one path.
    pub fn down_on(&self, path: u8) -> impl Iterator<Item = (Role, Option<&str>)> {
        let path = self.paths.get(usize::from(path));
        let down = path.into_iter().flat_map(|path| &path.down);
        down.map(|(&role, reason)| (role, reason.as_deref()))
    }

    /// Takes in what an edge said; true where it changed whether the connection stands, or why not.
    pub fn notice(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::Up(role) => {
                self.path(*role).is_some_and(|path| path.down.remove(role).is_some())
            }
            Notice::Down(role, reason) => self.path(*role).is_some_and(|path| {
                let known = path.down.insert(*role, Some(reason.clone()));
                known.is_none_or(|known| known.as_deref() != Some(reason))
            }),
            Notice::Assigned { .. } | Notice::Leaders { .. } | Notice::Warning { .. } => false,
        }
    }

    /// Asks for an orderly stop, as a signal does.
    pub fn stop(&mut self) {
        self.stop_asked = true;
    }

    /// Moves on by one command as far as `now` and the number of outcomes that are awaited allow. To
    /// be asked again with the same `now` until there is none.
    pub fn advance(&mut self, now: Instant, open_outcomes: u64) -> Option<Command> {
        match self.phase {
            Phase::Connecting if self.stop_asked => Some(self.finish()),
            Phase::Connecting => {
                if self.may_begin(now) {
                    self.start_next(now)
                } else {
                    None
                }
            }
            Phase::Loading { since } => {
                let over = self.plan.measure_for.is_some_and(|length| now >= since + length);
                if !over && !self.stop_asked {
                    return self.start_next(now);
                }
                self.stop_asked = false;
                let patience = if over { self.plan.settle } else { self.plan.drain };
                self.phase = Phase::Draining { until: now + patience };
                Some(Command::StopSchedule)
            }
            Phase::Draining { until } => {
                // Who asks for a stop while verdicts are awaited waits no longer than for a drain.
                if std::mem::take(&mut self.stop_asked) {
                    self.phase = Phase::Draining { until: until.min(now + self.plan.drain) };
                }
                (open_outcomes == 0 || now >= until).then(|| self.finish())
            }
            Phase::Done => None,
        }
    }

    /// Whether the first path may begin: all are ready, or one of them has waited long enough.
    fn may_begin(&mut self, now: Instant) -> bool {
        if !self.paths.iter().any(Path::is_ready) {
            self.ready_since = None;
            return false;
        }
        let since = *self.ready_since.get_or_insert(now);
        now >= since + TOGETHER || self.paths.iter().all(Path::is_ready)
    }

    /// Begins a path that is ready, if there is one and slots still come due.
    fn start_next(&mut self, now: Instant) -> Option<Command> {
        let at = now + LEAD;
        let since = if let Phase::Loading { since } = self.phase { since } else { at };
        let until = self.plan.measure_for.map(|length| since + length);
        if until.is_some_and(|until| at >= until) {
            return None;
        }
        let (path, ready) = (0..).zip(&mut self.paths).find(|(_, path)| path.is_ready())?;
        ready.started = Some(at);
        self.phase = Phase::Loading { since };
        Some(Command::Start { path, at, until })
    }

    fn path(&mut self, role: Role) -> Option<&mut Path> {
        let path = *self.path_of.get(&role)?;
        self.paths.get_mut(usize::from(path))
    }

    fn finish(&mut self) -> Command {
        self.phase = Phase::Done;
        Command::Finish
    }
}

#[cfg(test)]
mod tests;
