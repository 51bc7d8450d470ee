//! Room `study`: the phases of a run, from the first connection to the last outcome.
//!
//! # Design
//!
//! The order of stopping is what this machine is for, since false losses are born in the last second
//! of a run: not ready any more; stop the schedule; wait for acknowledgements; keep consuming until
//! every slot has its verdict; what is left is unresolved, never lost. Time comes in as an argument,
//! commands go out, and the wiring obeys them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Instant;

/// One connection that a run depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A publisher, by its index in the roster.
    Publisher(u32),
    /// The subscriber of a path, by the path's index.
    Subscriber(u8),
    /// The consumer of a path, by the path's index.
    Consumer(u8),
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
        /// Dense index that its records are observed under.
        slot: u32,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// Something is wrong that a person should know of, and what to do about it.
    Warning(String),
}

/// How a run is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The connections that must stand before the first slot.
    pub roles: Vec<Role>,
    /// How long to measure from the first slot on; for ever without it.
    pub measure_for: Option<Duration>,
    /// How long an end by time may wait for verdicts: the longest deadline and a margin.
    pub settle: Duration,
    /// How long an end by signal may wait for verdicts.
    pub drain: Duration,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for every connection.
    Connecting,
    /// Slots come due.
    Loading {
        /// When the schedule started.
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
    /// Start the schedule.
    Start {
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

/// The run as a state machine.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    phase: Phase,
    down: BTreeMap<Role, Option<String>>,
    stop_asked: bool,
}

impl Machine {
    /// Everything yet to connect.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let down = plan.roles.iter().map(|&role| (role, None)).collect();
        Self { plan, phase: Phase::Connecting, down, stop_asked: false }
    }

    /// Where the run stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the run measures and every connection stands.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.down.is_empty() && matches!(self.phase, Phase::Loading { .. })
    }

    /// The connections that don't stand, with the reason where one is known.
    pub fn down(&self) -> impl Iterator<Item = (Role, Option<&str>)> {
        self.down.iter().map(|(&role, reason)| (role, reason.as_deref()))
    }

    /// Takes in what an edge said; true where it changed whether the connection stands.
    pub fn notice(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::Up(role) => self.down.remove(role).is_some(),
            Notice::Down(role, reason) => self
                .down
                .insert(*role, Some(reason.clone()))
                .is_none_or(|known| known.as_deref() != Some(reason)),
            Notice::Assigned { .. } | Notice::Warning(_) => false,
        }
    }

    /// Asks for an orderly stop, as a signal does.
    pub fn stop(&mut self) {
        self.stop_asked = true;
    }

    /// Moves on as far as `now` and the number of outcomes that are awaited allow.
    pub fn advance(&mut self, now: Instant, open_outcomes: u64) -> Option<Command> {
        match self.phase {
            Phase::Connecting if self.stop_asked => Some(self.finish()),
            Phase::Connecting if self.down.is_empty() => {
                let since = now + LEAD;
                self.phase = Phase::Loading { since };
                let until = self.plan.measure_for.map(|length| since + length);
                Some(Command::Start { at: since, until })
            }
            Phase::Loading { since } => {
                let over = self.plan.measure_for.is_some_and(|length| now >= since + length);
                if !over && !self.stop_asked {
                    return None;
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
            Phase::Connecting | Phase::Done => None,
        }
    }

    fn finish(&mut self) -> Command {
        self.phase = Phase::Done;
        Command::Finish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn machine(measure_for: Option<Duration>) -> Machine {
        let roles = vec![Role::Publisher(0), Role::Consumer(0)];
        Machine::new(Plan { roles, measure_for, settle: 40 * SECOND, drain: 20 * SECOND })
    }

    fn loading(measure_for: Option<Duration>) -> Machine {
        let mut machine = machine(measure_for);
        machine.notice(&Notice::Up(Role::Publisher(0)));
        machine.notice(&Notice::Up(Role::Consumer(0)));
        let since = at(1) + LEAD;
        let until = measure_for.map(|length| since + length);
        assert_eq!(machine.advance(at(1), 0), Some(Command::Start { at: since, until }));
        machine
    }

    #[test]
    fn nothing_is_due_before_everything_stands() {
        let mut machine = machine(None);
        assert!(machine.notice(&Notice::Up(Role::Publisher(0))));
        assert_eq!(machine.advance(at(100), 0), None);
        assert_eq!(machine.down().collect::<Vec<_>>(), [(Role::Consumer(0), None)]);
        machine.notice(&Notice::Up(Role::Consumer(0)));
        assert!(matches!(machine.advance(at(101), 0), Some(Command::Start { until: None, .. })));
        assert!(machine.is_ready());
    }

    #[test]
    fn an_end_by_time_waits_for_every_verdict() {
        let mut machine = loading(Some(10 * SECOND));
        assert_eq!(machine.advance(at(11), 5), None, "the lead is not measured");
        assert_eq!(machine.advance(at(12), 5), Some(Command::StopSchedule));
        assert!(!machine.is_ready());
        assert_eq!(machine.advance(at(51), 5), None);
        assert_eq!(machine.advance(at(51), 0), Some(Command::Finish));
        assert_eq!((machine.phase(), machine.advance(at(99), 0)), (Phase::Done, None));
    }

    #[test]
    fn a_signal_waits_for_the_drain_and_no_longer() {
        let mut machine = loading(None);
        machine.stop();
        assert_eq!(machine.advance(at(5), 3), Some(Command::StopSchedule));
        assert_eq!(machine.advance(at(24), 3), None);
        assert_eq!(machine.advance(at(25), 3), Some(Command::Finish));
    }

    #[test]
    fn a_signal_shortens_the_wait_for_verdicts() {
        let mut machine = loading(Some(10 * SECOND));
        assert_eq!(machine.advance(at(12), 5), Some(Command::StopSchedule));
        machine.stop();
        assert_eq!(machine.advance(at(13), 5), None);
        assert_eq!(machine.advance(at(32), 5), None);
        assert_eq!(machine.advance(at(33), 5), Some(Command::Finish));
    }

    #[test]
    fn a_signal_before_readiness_ends_at_once() {
        let mut machine = machine(None);
        machine.stop();
        assert_eq!(machine.advance(at(1), 0), Some(Command::Finish));
    }

    #[test]
    fn a_repeated_reason_is_no_news() {
        let mut machine = loading(None);
        let down = Notice::Down(Role::Consumer(0), "refused".into());
        assert!(machine.notice(&down));
        assert!(!machine.notice(&down));
        assert!(!machine.is_ready());
        assert!(machine.notice(&Notice::Up(Role::Consumer(0))));
    }
}
