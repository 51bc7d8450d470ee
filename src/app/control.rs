//! Room `app`: the loop that obeys the run's state machine.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::books::{Books, Overview};
use super::journalist::Journalist;
use super::meters::Meters;
use super::output::Output;
use super::threads::Threads;
use crate::clock::{Clock, Instant};
use crate::correlate::{Lane, PathId, PublisherId, Router};
use crate::publish;
use crate::shutdown::Signals;
use crate::stats::WindowFacts;
use crate::study::{Command, Machine, Notice, Phase, Role};
use crate::telemetry::{Component, Health, Telemetry};

/// How often the state machine is asked.
const BEAT: Duration = Duration::from_millis(200);
/// How often the recorder tidies up.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How often a run that waits says what for.
const NAG_EVERY: Duration = Duration::from_secs(10);
/// After the schedule has stopped, the books must have been brought up to date so often before
/// nothing open means that nothing is missing.
const TICKS_TO_SETTLE: u64 = 2;

/// Everything that the loop looks at.
pub(super) struct Control {
    pub(super) clock: Clock,
    pub(super) machine: Machine,
    pub(super) threads: Threads,
    pub(super) notices: Receiver<Notice>,
    pub(super) signals: Signals,
    pub(super) router: Router,
    pub(super) books: Vec<Arc<Books>>,
    pub(super) overview: Overview,
    pub(super) telemetry: Telemetry,
    pub(super) health: Health,
    pub(super) status: watch::Sender<Arc<str>>,
    pub(super) meters: Meters,
    pub(super) output: Output,
    pub(super) journalist: Journalist,
    pub(super) window: Duration,
    pub(super) components: Vec<Component>,
    pub(super) state: State,
}

/// What the loop remembers.
#[derive(Default)]
pub(super) struct State {
    /// When the schedule started.
    pub(super) started: Option<Instant>,
    /// Ticks of each shard when the schedule stopped.
    stopped_at: Option<Vec<u64>>,
    /// Roles that were down at any time in the current window.
    away: BTreeSet<Role>,
    ever_up: BTreeSet<Role>,
    partitions: Vec<BTreeSet<(String, i32)>>,
    inbox_waits: u64,
    windows: u64,
    next_upkeep: Instant,
    next_nag: Instant,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Every slot has its outcome, or the time to wait for it is over.
    Finished,
    /// A second signal asked for an end at once.
    Aborted,
}

impl Control {
    /// Runs from the first connection to the last outcome.
    pub(super) async fn run(&mut self) -> End {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.state.partitions = vec![BTreeSet::new(); self.router.roster().paths().len()];
        let mut asked = false;
        loop {
            tokio::select! {
                Some(notice) = self.notices.recv() => self.hear(&notice),
                () = self.signals.next() => {
                    if std::mem::replace(&mut asked, true) {
                        return End::Aborted;
                    }
                    self.machine.stop();
                    self.step().await;
                }
                _ = beat.tick() => self.step().await,
            }
            if self.machine.phase() == Phase::Done {
                return End::Finished;
            }
        }
    }

    /// Does what is due.
    async fn step(&mut self) {
        let now = self.clock.now();
        self.health.beat(now);
        match self.machine.advance(now, self.open_outcomes()) {
            Some(Command::Start { at, until }) => {
                self.state.started = Some(at);
                self.overview.begin(at);
                self.journalist.begin(at);
                self.publish_status();
                self.threads.pace(publish::Stretch { start: at, until });
            }
            Some(Command::StopSchedule) => {
                self.stop_schedule().await;
                self.state.stopped_at =
                    Some(self.books.iter().map(|books| books.ticks()).collect());
            }
            Some(Command::Finish) | None => (),
        }
        self.say_readiness(now);
        if now >= self.state.next_upkeep {
            self.state.next_upkeep = now + UPKEEP_EVERY;
            self.telemetry.upkeep();
        }
        if self.meters.is_due(now) {
            self.meters.read(now, &self.telemetry);
        }
        if self.state.started.is_some() && now >= self.overview.rolled() + self.window {
            self.end_window(now);
        }
        self.show(now);
    }

    /// Returns when the last slot was sent. Notices are heard meanwhile, because a pacing thread may
    /// wait for room for one.
    async fn stop_schedule(&mut self) {
        let pacers = self.threads.pacers.clone();
        pacers.stop();
        let mut finished = pin!(pacers.finished());
        loop {
            tokio::select! {
                () = finished.as_mut() => return,
                Some(notice) = self.notices.recv() => self.hear(&notice),
            }
        }
    }

    /// Slots and lanes without an outcome; unknown, and so many, until the books are up to date
    /// after the last slot.
    fn open_outcomes(&self) -> u64 {
        let open = self.books.iter().map(|books| books.open_outcomes()).sum();
        let Some(stopped_at) = &self.state.stopped_at else {
            return open;
        };
        let behind = |(books, &then): (&Arc<Books>, &u64)| books.ticks() < then + TICKS_TO_SETTLE;
        if self.books.iter().zip(stopped_at).any(behind) { u64::MAX } else { open }
    }

    fn hear(&mut self, notice: &Notice) {
        let changed = self.machine.notice(notice);
        match notice {
            Notice::Up(role) if changed => {
                let component = component(*role);
                if !self.state.ever_up.insert(*role) {
                    self.telemetry.reconnected(component);
                }
                self.state.away.insert(*role);
                self.journalist.up(&self.name(*role));
            }
            Notice::Down(role, reason) if changed => {
                self.state.away.insert(*role);
                let name = self.name(*role);
                self.journalist.down(&name, reason, self.clock.now());
            }
            Notice::Up(_) | Notice::Down(..) => (),
            Notice::Assigned { path, slot, topic, partition } => {
                self.telemetry.name_partition(PathId(*path), *slot, topic, *partition);
                if let Some(known) = self.state.partitions.get_mut(usize::from(*path)) {
                    known.insert((topic.clone(), *partition));
                }
            }
            Notice::Warning(text) => self.journalist.warn(text, self.clock.now()),
        }
    }

    fn say_readiness(&mut self, now: Instant) {
        for which in self.components.clone() {
            let mut down = self.machine.down().filter(|(role, _)| component(*role) == which);
            let first = down.next().map(|(role, reason)| {
                let reason = reason.unwrap_or("not connected yet");
                format!("{}: {reason}", self.name(role))
            });
            self.telemetry.component_up(which, first.is_none());
            let more = down.count();
            let reason = match first {
                None if self.machine.is_ready() => "connected".to_owned(),
                None => "connected; the run is not measuring".to_owned(),
                Some(first) if more > 0 => format!("{first} (and {more} more)"),
                Some(first) => first,
            };
            self.health.set(which, self.machine.is_ready() && reason == "connected", reason);
        }
        if self.machine.phase() == Phase::Connecting && now >= self.state.next_nag {
            if self.state.next_nag > Instant::ZERO {
                let waiting = self.waiting_for();
                tracing::warn!("nothing is measured yet: waiting for {waiting}");
            }
            self.state.next_nag = now + NAG_EVERY;
        }
    }

    fn show(&mut self, now: Instant) {
        if !self.output.is_due(now) {
            return;
        }
        let Some(started) = self.state.started else {
            let waiting = self.waiting_for();
            self.output.wait(format!("waiting for {waiting}"), now);
            return;
        };
        self.overview.refresh(&self.books);
        self.output.show(&self.overview.stats, now.saturating_since(started), now);
    }

    fn waiting_for(&self) -> String {
        let mut down = self.machine.down();
        let first = down.next().map(|(role, reason)| match reason {
            Some(reason) => format!("{} ({reason})", self.name(role)),
            None => self.name(role),
        });
        match (first, down.count()) {
            (Some(first), 0) => first,
            (Some(first), more) => format!("{first} and {more} more"),
            (None, _) => "nothing".to_owned(),
        }
    }

    /// Ends the window: judges it, and exports what holds until the next one ends.
    pub(super) fn end_window(&mut self, now: Instant) {
        let lag_p99_nanos = self.overview.roll(&self.books, now);
        let down: Vec<Role> = self.machine.down().map(|(role, _)| role).collect();
        let waits: u64 = self
            .router
            .shards()
            .iter()
            .map(|shard| shard.publish.waits() + shard.receive.waits())
            .sum();
        let inbox_waits = waits - std::mem::replace(&mut self.state.inbox_waits, waits);
        let mut away = std::mem::take(&mut self.state.away);
        away.extend(down);
        let first = self.state.windows == 0;
        self.state.windows += 1;
        let roster = Arc::clone(self.overview.stats.roster());
        for (id, path) in (0..).map(PathId).zip(roster.paths()) {
            let totals = self.overview.stats.path(id);
            let consumes = path.lanes.contains(&Lane::MqttKafka);
            let facts = WindowFacts {
                first,
                away: !first && away.iter().any(|&role| self.path_of(role) == id),
                lag_p99_nanos,
                inbox_waits,
                behind: consumes.then(|| now.saturating_since(totals.caught_up)),
            };
            let covered = totals.covered.iter().filter(|&&covered| covered).count();
            let known = self.state.partitions[usize::from(id.0)].len();
            let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            self.telemetry.set_partitions(id, bounded(known), bounded(covered.min(known)));
            let causes = facts.causes();
            self.telemetry.window_judged(id, &causes);
            self.journalist.window_judged(&causes);
        }
        self.telemetry.set_window(&self.overview.stats);
        self.publish_status();
    }

    fn publish_status(&self) {
        let _ =
            self.status.send(Arc::from(self.journalist.status(&self.overview.stats, &self.meters)));
    }

    fn path_of(&self, role: Role) -> PathId {
        match role {
            Role::Publisher(index) => self.router.roster().publisher(PublisherId(index)).path,
            Role::Subscriber(path) | Role::Consumer(path) => PathId(path),
        }
    }

    /// A connection in words.
    fn name(&self, role: Role) -> String {
        let roster = self.router.roster();
        let path = &roster.path(self.path_of(role)).name;
        match role {
            Role::Publisher(index) => {
                let publisher = roster.publisher(PublisherId(index));
                format!("{path}: MQTT publisher {}", publisher.index)
            }
            Role::Subscriber(_) => format!("{path}: MQTT subscriber"),
            Role::Consumer(_) => format!("{path}: Kafka consumer"),
        }
    }
}

fn component(role: Role) -> Component {
    match role {
        Role::Publisher(_) | Role::Subscriber(_) => Component::Mqtt,
        Role::Consumer(_) => Component::Kafka,
    }
}
