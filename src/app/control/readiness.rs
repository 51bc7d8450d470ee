//! Room `app`: what is said of connections: in the log, in `/readyz`, and of what is waited for.

use std::time::Duration;

use super::{Control, component};
use crate::clock::Instant;
use crate::correlate::{PathId, PublisherId};
use crate::study::{Phase, Role, Unmeasured};

/// When a path that is still not measured is first spoken of again.
const REMIND_FIRST: Duration = Duration::from_mins(1);
/// And how seldom at last.
const REMIND_LAST: Duration = Duration::from_hours(1);

/// When to say again that something is waited for: ever more seldom.
#[derive(Default)]
pub(super) struct Reminder(Option<(Instant, Duration)>);

impl Reminder {
    /// Whether it is time, of something that goes on since the first call.
    fn is_due(&mut self, now: Instant) -> bool {
        let (next, pause) = *self.0.get_or_insert((now + REMIND_FIRST, REMIND_FIRST));
        if now < next {
            return false;
        }
        let pause = (pause * 2).min(REMIND_LAST);
        self.0 = Some((now + pause, pause));
        true
    }
}

impl Control {
    pub(super) fn say_up(&mut self, role: Role) {
        let (path, system) = (self.path_of(role).0, component(role));
        let mut down = self.machine.down_on(path);
        if down.all(|(other, _)| component(other) != system) {
            drop(down);
            self.journalist.up((path, system), self.clock.now());
        }
    }

    pub(super) fn say_down(&mut self, role: Role, reason: String) {
        let of = (self.path_of(role).0, component(role));
        let who = self.name(role);
        self.journalist.down(of, (who, reason), self.clock.now());
    }

    pub(super) fn say_readiness(&mut self, now: Instant) {
        let is_over = matches!(self.machine.phase(), Phase::Draining { .. } | Phase::Done);
        let all_stand = self.machine.down().next().is_none();
        let is_idle = is_over || (all_stand && !self.machine.is_ready());
        for which in self.components.clone() {
            let mut down = self.machine.down().filter(|(role, _)| component(*role) == which);
            let first = down.next().map(|(role, reason)| {
                let reason = reason.unwrap_or("not connected yet");
                format!("{}: {reason}", self.full_name(role))
            });
            let up = first.is_none();
            self.telemetry.component_up(which, up);
            let more = down.count();
            let reason = match first {
                None if is_idle => "connected; the run is not measuring".to_owned(),
                None => "connected".to_owned(),
                Some(first) if more > 0 => format!("{first} (and {more} more)"),
                Some(first) => first,
            };
            self.health.set(which, up && !is_idle, reason);
        }
        if !is_over {
            self.remind(now);
        }
    }

    fn remind(&mut self, now: Instant) {
        let waits = self.unmeasured();
        if waits.is_empty() || !self.state.reminder.is_due(now) {
            return;
        }
        for (path, what) in waits {
            let path = &self.router.roster().path(path).name;
            tracing::warn!(path, "not measured yet: waiting for {what}; it begins by itself");
        }
    }

    /// The paths that have not begun, and what each waits for.
    pub(in crate::app) fn unmeasured(&self) -> Unmeasured {
        let paths = (0..).take(self.router.roster().paths().len());
        let unmeasured = paths.filter(|&path| self.machine.started(path).is_none());
        unmeasured.map(|path| (PathId(path), self.waiting_on(path))).collect()
    }

    /// What the paths that have not begun wait for.
    pub(super) fn waiting_for(&self) -> String {
        let waits = self.unmeasured();
        let waits = waits
            .iter()
            .map(|(&path, what)| format!("{}: {what}", self.router.roster().path(path).name));
        waits.collect::<Vec<_>>().join("; ")
    }

    fn waiting_on(&self, path: u8) -> String {
        let mut down = self.machine.down_on(path);
        let first = down.next().map(|(role, reason)| match reason {
            Some(reason) => format!("{} ({reason})", self.name(role)),
            None => self.name(role),
        });
        match (first, down.count()) {
            (Some(first), 0) => first,
            (Some(first), more) => format!("{first} and {more} more"),
            (None, _) => "its turn".to_owned(),
        }
    }

    pub(super) fn path_of(&self, role: Role) -> PathId {
        match role {
            Role::Publisher(index) => self.router.roster().publisher(PublisherId(index)).path,
            Role::Subscriber(path)
            | Role::Consumer(path)
            | Role::Producer(path)
            | Role::ControlConsumer(path) => PathId(path),
        }
    }

    /// A connection in words, with its path.
    fn full_name(&self, role: Role) -> String {
        format!("{}: {}", self.router.roster().path(self.path_of(role)).name, self.name(role))
    }

    /// A connection in words.
    fn name(&self, role: Role) -> String {
        match role {
            Role::Publisher(index) => {
                let publisher = self.router.roster().publisher(PublisherId(index));
                format!("MQTT publisher {}", publisher.index)
            }
            Role::Subscriber(_) => "MQTT subscriber".to_owned(),
            Role::Consumer(_) => "Kafka consumer".to_owned(),
            Role::Producer(_) => "Kafka producer of control messages".to_owned(),
            Role::ControlConsumer(_) => "Kafka consumer of the control topic".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_comes_ever_more_seldom() {
        let mut reminder = Reminder::default();
        let minute = |minutes: u64| Instant::from_nanos(minutes * 60_000_000_000);
        let due: Vec<u64> = (0..400).filter(|&it| reminder.is_due(minute(it))).collect();
        assert_eq!(due, [1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
    }
}
