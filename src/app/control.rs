//! Room `app`: the loop that obeys the run's state machine.

mod ending;
mod readiness;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::books::{Books, Overview};
use super::clocks::{self, LeaderClocks, Leaders};
use super::journalist::Journalist;
use super::load::Load;
use super::meters::Meters;
use super::output::Output;
use super::threads::Threads;
use crate::clock::{Clock, Instant, Pairing};
use crate::correlate::{Lane, Leases, PathId, Router};
use crate::schedule::Stretch;
use crate::shutdown::Signals;
use crate::stats::{Judgement, WindowFacts};
use crate::study::{Command, Machine, Notice, Phase, Role};
use crate::telemetry::{Component, Health, Press, Telemetry};

use readiness::Reminder;

/// How often the state machine is asked.
const BEAT: Duration = Duration::from_millis(200);
/// How often clocks and bystanders are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
    /// How far publishers may number their slots, where state is kept.
    pub(super) leases: Option<Arc<Leases>>,
    pub(super) books: Vec<Arc<Books>>,
    pub(super) clocks: LeaderClocks,
    pub(super) overview: Overview,
    pub(super) telemetry: Telemetry,
    pub(super) health: Health,
    /// Where what readers see goes out, until the run is over.
    pub(super) press: Option<Press>,
    /// How many editions there were.
    pub(super) edition: u64,
    pub(super) meters: Meters,
    pub(super) output: Output,
    pub(super) journalist: Journalist,
    /// The load generator of somebody else's, if there is one.
    pub(super) load: Option<Box<Load>>,
    pub(super) window: Duration,
    pub(super) components: Vec<Component>,
    pub(super) state: State,
}

/// What the loop remembers.
#[derive(Default)]
pub(super) struct State {
    /// When the first path began.
    pub(super) started: Option<Instant>,
    /// Ticks of each shard when the schedule stopped.
    stopped_at: Option<Vec<u64>>,
    /// Roles that were down at any time in the current window.
    away: BTreeSet<Role>,
    ever_up: BTreeSet<Role>,
    partitions: Vec<BTreeSet<(String, i32)>>,
    /// When the last slot had come due, once the schedule has stopped.
    unloaded: Option<Instant>,
    inbox_waits: u64,
    /// Both clocks when the last window ended.
    pairing: Option<Pairing>,
    next_look: Instant,
    /// Whether a signal asked for an end.
    is_asked: bool,
    /// Whether another did not want to wait for it.
    is_aborted: bool,
    reminder: Reminder,
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
        loop {
            tokio::select! {
                // A signal first: what ends by the same one has not ended early.
                biased;
                () = self.signals.next() => {
                    self.note_signal();
                    self.machine.stop();
                    self.step().await;
                }
                _ = beat.tick() => self.step().await,
                Some(notice) = self.notices.recv() => self.hear(notice),
            }
            if self.state.is_aborted {
                return End::Aborted;
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
        while let Some(command) = self.machine.advance(now, self.open_outcomes()) {
            self.obey(command).await;
        }
        if let Some(load) = &mut self.load
            && load.step(now, self.machine.is_ready())
        {
            self.meters.started(now);
        }
        self.journalist.catch_up(now);
        self.say_readiness(now);
        if now >= self.state.next_look {
            self.state.next_look = now + LOOK_EVERY;
            self.look_at_clocks(now);
            self.threads.count_bystanders(&self.telemetry);
        }
        self.meters.step(now, &self.telemetry);
        if self.state.started.is_some() && now >= self.overview.rolled() + self.window {
            self.end_window(now);
        }
        self.show(now);
        self.inform(now);
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Start { path, at, until } => {
                if self.state.started.is_none() {
                    self.state.started = Some(at);
                    self.overview.begin(at);
                    self.meters.begin_window();
                    self.state.pairing = Some(self.clock.pairing());
                    self.journalist.begin(at);
                    if let Some(load) = &mut self.load {
                        load.begin(at);
                    }
                    self.write_down();
                    self.overview.refresh(&self.books);
                    self.publish_status();
                }
                self.threads.pace(Stretch { path, start: at, until });
            }
            Command::StopSchedule => {
                self.stop_schedule().await;
                let now = self.clock.now();
                if let Some(load) = &mut self.load {
                    self.meters.look_at_processes(now, &self.telemetry);
                    load.stop();
                }
                self.state.unloaded = Some(now);
                self.journalist.unloaded(now);
                self.state.stopped_at =
                    Some(self.books.iter().map(|books| books.ticks()).collect());
            }
            Command::Finish => (),
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

    fn hear(&mut self, notice: Notice) {
        let changed = self.machine.notice(&notice);
        match notice {
            Notice::Up(role) if changed => {
                let component = component(role);
                if !self.state.ever_up.insert(role) {
                    self.telemetry.reconnected(component);
                }
                self.state.away.insert(role);
                self.lease(role);
                self.say_up(role);
            }
            Notice::Up(_) => (),
            Notice::Down(role, reason) => {
                self.state.away.insert(role);
                self.say_down(role, reason);
            }
            Notice::Assigned { path, lane, slot, topic, partition } => {
                let named = (topic.clone(), partition);
                self.journalist.name_partition((PathId(path), lane, slot), named);
                if lane != Lane::MqttKafka {
                    return;
                }
                self.telemetry.name_partition(PathId(path), slot, &topic, partition);
                if let Some(known) = self.state.partitions.get_mut(usize::from(path)) {
                    known.insert((topic, partition));
                }
            }
            Notice::Leaders { path, lane, led } => {
                if !self.clocks.set_leaders(Leaders { of: (PathId(path), lane), led }) {
                    let now = self.clock.now();
                    self.journalist.warn(path, "many_leaders", clocks::too_many(), now);
                }
            }
            Notice::Warning { path, kind, text } => {
                self.journalist.warn(path, kind, text, self.clock.now());
            }
        }
    }

    /// Ends the window: judges it, and exports what holds until the next one ends.
    pub(super) fn end_window(&mut self, now: Instant) {
        let (from, until) = (self.overview.rolled(), now);
        self.overview.take_window(&self.books);
        let common = self.common_facts(until.saturating_since(from));
        let mut away = std::mem::take(&mut self.state.away);
        away.extend(self.machine.down().map(|(role, _)| role));
        let is_loading = self.state.unloaded.is_none_or(|unloaded| unloaded > from);
        let roster = Arc::clone(self.overview.stats.roster());
        self.look_at_clocks(now);
        for (id, path) in (0..).map(PathId).zip(roster.paths()) {
            let known = self.clocks.lock().known(Some(id), now);
            self.overview.stats.set_clocks(id, known);
            let totals = self.overview.stats.path(id);
            let consumes = path.lanes.iter().any(|lane| lane.ends_in_kafka());
            let started = self.machine.started(id.0);
            let is_away = away.iter().any(|&role| self.path_of(role) == id);
            let first = started.map_or(!is_away, |started| started >= from);
            let facts = WindowFacts {
                first,
                away: is_away && !first,
                poll_lag_p99_nanos: totals.window_poll_lag.quantile_nanos(0.99),
                saturated: totals.work.saturated(until.saturating_since(from)),
                late: totals.late_share(),
                refused: totals.window_refused,
                behind: consumes.then(|| now.saturating_since(totals.caught_up)),
                ..common
            };
            let covered = totals.covered.iter().filter(|&&covered| covered).count();
            let known = self.state.partitions[usize::from(id.0)].len();
            let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            self.telemetry.set_busiest(id, totals.work.most());
            self.telemetry.set_partitions(id, bounded(known), bounded(covered.min(known)));
            let causes = facts.causes();
            self.telemetry.window_judged(id, &causes);
            self.journalist.window_judged(&causes);
            let is_loaded = is_loading && started.is_some_and(|started| started < until);
            let window = Judgement { from, until, causes, is_loaded };
            self.overview.stats.judge_window(id, &window);
        }
        self.overview.roll(now);
        self.threads.count_bystanders(&self.telemetry);
        self.telemetry.set_window(&self.overview.stats);
        self.publish_status();
        self.write_down();
    }

    /// Has the publishers of a path leased their first sequences once all its connections stand: it
    /// begins now. One that has its lease already is granted nothing.
    fn lease(&self, role: Role) {
        let path = self.path_of(role);
        let is_ready = self.machine.down_on(path.0).next().is_none();
        if let Some(books) = self.books.first().filter(|_| is_ready && self.leases.is_some()) {
            books.lease(path);
        }
    }

    /// Has what the report tells beside the totals written down for a process after this one.
    fn write_down(&self) {
        if let Some(books) = self.books.first().filter(|_| self.leases.is_some()) {
            books.tell(self.journalist.story(&self.overview.stats));
        }
    }

    /// What is the same for all paths in a window of that length.
    fn common_facts(&mut self, length: Duration) -> WindowFacts {
        let shards = self.router.shards().iter();
        let waits: u64 = shards.map(|shard| shard.publish.waits() + shard.receive.waits()).sum();
        // Who waits for a lease waits for the books as well.
        let waits = waits + self.leases.as_ref().map_or(0, |leases| leases.waits());
        let pairing = self.clock.pairing();
        let before = self.state.pairing.replace(pairing);
        WindowFacts {
            lag_p99_nanos: self.overview.stats.window_lag().quantile_nanos(0.99),
            inbox_waits: waits - std::mem::replace(&mut self.state.inbox_waits, waits),
            starved: self.meters.starved(length),
            step_nanos: before.map_or(0, |before| pairing.step_since(&before)),
            without_load: self.load.as_mut().is_some_and(|load| load.take_absence()),
            ..WindowFacts::default()
        }
    }

    /// Exports what is known of the leaders' clocks, and tells of those that contradicted themselves.
    fn look_at_clocks(&mut self, now: Instant) {
        let (known, contradictions) = {
            let mut clocks = self.clocks.lock();
            (clocks.known(None, now), clocks.take_contradictions())
        };
        self.telemetry.set_clocks(&known);
        for (PathId(path), peer) in contradictions {
            self.journalist.warn(path, "clock_step", clocks::stepped(&peer), now);
        }
    }
}

fn component(role: Role) -> Component {
    match role {
        Role::Publisher(_) | Role::Subscriber(_) => Component::Mqtt,
        Role::Consumer(_) | Role::Producer(_) | Role::ControlConsumer(_) => Component::Kafka,
    }
}
