//! Room `app`: when the load generator of somebody else's runs, and what is said of it.
//!
//! # Design
//!
//! Latencies that were measured beside a generator which is gone are true, and of another system than
//! the one that was asked for. So nothing is failed by its end: it is said at once, the moments without
//! it are in the report, and windows that have such a moment are not valid (`no_load`).

use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use crate::clock::{Clock, Instant, Pairing};
use crate::config::Loaded;
use crate::host;
use crate::load::{Config, Ended, Output, PATIENCE, Running, find};
use crate::report::{Absence, LoadReport, duration, plain, rfc3339};
use crate::telemetry::{Component, Health, Telemetry};

/// What is waited before the first start after an end, and between starts at last.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_LAST: Duration = Duration::from_secs(30);
/// Whoever ran for so long is started again as if for the first time.
const RAN_WELL: Duration = Duration::from_mins(1);
/// What passes between the first slot and a start without delay is no absence to speak of.
const NO_ABSENCE: Duration = Duration::from_secs(1);
/// How many absences are kept.
const ABSENCES_MAX: usize = 32;
/// How many of its last lines are shown, and how much of each.
const LINES_SHOWN: usize = 10;
const LINE_CHARS: usize = 200;
/// How often it is asked whether it has ended at last, and how long beyond its own patience.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Where the generator stands.
enum State {
    /// Not all paths are measured yet.
    Waiting,
    /// It is to be started then.
    Due(Instant),
    Running(Running, Instant),
    /// It was asked to stop.
    Stopping(Running, Instant),
    /// It is not started any more.
    Over,
}

/// The generator of a run.
pub(super) struct Load {
    config: Config,
    program: PathBuf,
    clock: Clock,
    telemetry: Telemetry,
    health: Health,
    output: Output,
    state: State,
    /// What is waited before the next start.
    pause: Duration,
    /// Since when it has been missing, and why, while messages are due.
    absent: Option<(Instant, String)>,
    /// Whether it was at any moment of the current window.
    was_absent: bool,
    absences: Vec<(Instant, Option<Instant>, String)>,
    absences_left_out: u64,
    starts: u64,
    ran: Duration,
    ended: Option<Ended>,
    dropped_bytes: u64,
}

/// Where the generator's program is, where one is asked for; refuses one that is not there.
pub(super) fn program(loaded: &Loaded) -> Result<Option<PathBuf>, Error> {
    let Some(load) = &loaded.resolved.load else { return Ok(None) };
    Ok(Some(find(&load.program).map_err(|what| loaded.problem("load.command", &what))?))
}

/// What is sampled on the host, with the processes of the generator, where there is one.
pub(super) fn sampled(loaded: &Loaded) -> host::Config {
    let mut sampled = loaded.resolved.host.clone();
    let load = loaded.resolved.load.as_ref();
    let label = load.map(|_| host::ProcessSelector::Started(LoadReport::LABEL.to_owned()));
    sampled.processes.extend(label);
    sampled
}

impl Load {
    /// The generator that a configuration asks for, if it does, waiting for its time.
    pub(super) fn of(
        loaded: &Loaded,
        clock: Clock,
        (telemetry, health): (&Telemetry, &Health),
    ) -> Result<Option<Box<Self>>, Error> {
        let load = loaded.resolved.load.clone().zip(program(loaded)?);
        let shown = (telemetry.clone(), health.clone());
        Ok(load.map(|load| Box::new(Self::new(load, clock, shown))))
    }

    fn new(
        (config, program): (Config, PathBuf),
        clock: Clock,
        (telemetry, health): (Telemetry, Health),
    ) -> Self {
        let load = Self {
            config,
            program,
            clock,
            telemetry,
            health,
            output: Output::default(),
            state: State::Waiting,
            pause: RESTART_FIRST,
            absent: None,
            was_absent: false,
            absences: Vec::new(),
            absences_left_out: 0,
            starts: 0,
            ran: Duration::ZERO,
            ended: None,
            dropped_bytes: 0,
        };
        load.telemetry.dropped(Component::Load.name(), "output_bytes", 0);
        load.show(false, "it is started when all paths are measured");
        load
    }

    /// The first slot is due at that moment: from now on it counts where there is no load.
    pub(super) fn begin(&mut self, at: Instant) {
        self.miss(at, "not all paths were measured, or its start was not due".to_owned());
    }

    /// Does what is due; `is_ready` says that all paths are measured. Whether it was started.
    pub(super) fn step(&mut self, now: Instant, is_ready: bool) -> bool {
        let starts = self.starts;
        if matches!(self.state, State::Waiting) && is_ready {
            self.state = State::Due(now + self.config.start);
        }
        if let State::Due(at) = self.state
            && now >= at
        {
            self.start(now);
        }
        self.look(now);
        let dropped = self.output.dropped_bytes();
        let more = dropped - std::mem::replace(&mut self.dropped_bytes, dropped);
        if more > 0 {
            self.telemetry.dropped(Component::Load.name(), "output_bytes", more);
        }
        self.starts > starts
    }

    fn start(&mut self, now: Instant) {
        match Running::start(&self.config, &self.program, &self.output, self.clock) {
            Ok(running) => {
                tracing::info!("load: {} is started", self.config.name);
                if self.starts > 0 {
                    self.telemetry.reconnected(Component::Load);
                }
                self.starts += 1;
                self.state = State::Running(running, now);
                self.show(true, "it runs");
                self.found(now);
            }
            Err(error) => {
                let again = self.again(now);
                let name = &self.config.name;
                tracing::warn!("load: {name} can't be started: {error}; {again}");
                let why = format!("could not be started: {error}");
                self.show(false, &why);
                self.miss(now, why);
            }
        }
    }

    /// Looks whether it has ended.
    fn look(&mut self, now: Instant) {
        let (State::Running(running, since) | State::Stopping(running, since)) = &mut self.state
        else {
            return;
        };
        let (ended, since) = match running.ended() {
            Ok(None) => return,
            Ok(Some(ended)) => (Some(ended), *since),
            Err(error) => {
                tracing::warn!("load: nobody can say whether it runs: {error}; it is given up");
                (None, *since)
            }
        };
        let is_stopping = matches!(self.state, State::Stopping(..));
        let lasted = now.saturating_since(since);
        self.ran += lasted;
        self.state = State::Over;
        let words = ended.map_or_else(|| "in an unknown way".to_owned(), Ended::words);
        if is_stopping {
            tracing::info!("load: {} was stopped and ended {words}", self.config.name);
            self.show(false, "it was stopped with the schedule");
            return;
        }
        self.ended = ended;
        if lasted >= RAN_WELL {
            self.pause = RESTART_FIRST;
        }
        let again = self.again(now);
        self.say_end(&format!("ended {words} after {}", duration(lasted.as_secs_f64())), &again);
        self.miss(now, format!("it ended {words}"));
    }

    /// Says that it ended by itself.
    fn say_end(&self, what: &str, again: &str) {
        let (name, is_success) = (&self.config.name, self.ended.is_some_and(Ended::is_success));
        if is_success && self.config.restart {
            tracing::info!("load: {name} {what}; {again}");
        } else {
            let said = if is_success { String::new() } else { self.last_words() };
            tracing::warn!("load: {name} {what}; windows without it are not valid; {again}{said}");
        }
        self.show(false, &format!("it {what}; {again}"));
    }

    /// Plans the next start, if there is to be one; it in words.
    fn again(&mut self, now: Instant) -> String {
        if !self.config.restart {
            self.state = State::Over;
            return "it is not started again (load.restart)".to_owned();
        }
        let pause = self.pause;
        self.state = State::Due(now + pause);
        self.pause = (pause * 2).min(RESTART_LAST);
        format!("it is started again in {}", duration(pause.as_secs_f64()))
    }

    fn last_words(&self) -> String {
        match self.lines().as_slice() {
            [] => "; it wrote nothing".to_owned(),
            lines => format!("; its last words: {}", lines.join(" | ")),
        }
    }

    /// Its last lines, each cut to what can be read.
    fn lines(&self) -> Vec<String> {
        let cut = |line: &String| plain(line).chars().take(LINE_CHARS).collect();
        self.output.last_lines(LINES_SHOWN).iter().map(cut).collect()
    }

    /// From now on there is no load.
    fn miss(&mut self, now: Instant, why: String) {
        self.was_absent = true;
        self.absent.get_or_insert((now, String::new())).1 = why;
    }

    /// There is load again.
    fn found(&mut self, now: Instant) {
        let Some((since, why)) = self.absent.take() else { return };
        if now.saturating_since(since) >= NO_ABSENCE {
            self.note((since, Some(now), why));
        }
    }

    fn note(&mut self, absence: (Instant, Option<Instant>, String)) {
        if self.absences.len() < ABSENCES_MAX {
            self.absences.push(absence);
        } else {
            self.absences_left_out += 1;
        }
    }

    /// Whether there was a moment without load since the last call.
    pub(super) fn take_absence(&mut self) -> bool {
        std::mem::replace(&mut self.was_absent, self.absent.is_some())
    }

    /// No slot comes due any more: asks it to stop, and counts no absence from here on.
    pub(super) fn stop(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Running(mut running, since) => {
                running.stop();
                self.show(false, "it is being stopped");
                State::Stopping(running, since)
            }
            State::Stopping(running, since) => State::Stopping(running, since),
            State::Waiting | State::Due(_) | State::Over => {
                self.show(false, "it does not run, and the schedule has stopped");
                State::Over
            }
        };
        if let Some((since, why)) = self.absent.take() {
            self.note((since, None, why));
        }
    }

    /// Waits until it has ended; what has not after its patience is killed.
    pub(super) async fn finished(&mut self) {
        self.stop();
        let until = self.clock.now() + PATIENCE + STOP_MARGIN;
        loop {
            let now = self.clock.now();
            self.look(now);
            match &self.state {
                State::Stopping(_, since) if now >= until => {
                    tracing::warn!("load: {} does not end; it is killed", self.config.name);
                    self.ran += now.saturating_since(*since);
                    self.state = State::Over;
                }
                State::Stopping(..) => tokio::time::sleep(LOOK_EVERY).await,
                _ => return,
            }
        }
    }

    /// What there is to tell so far.
    pub(super) fn report(&self, now: &Pairing) -> LoadReport {
        let at = |instant: Instant| rfc3339(now.wall_of(instant));
        let current = self.absent.as_ref();
        let current = current.map(|(since, why)| (*since, None, why.clone()));
        let current = current.filter(|(since, ..)| now.instant >= *since + NO_ABSENCE);
        let absence = |(from, until, why): &(Instant, Option<Instant>, String)| Absence {
            start: at(*from),
            end: until.map(at),
            why: why.clone(),
        };
        let running = match &self.state {
            State::Running(_, since) | State::Stopping(_, since) => {
                now.instant.saturating_since(*since)
            }
            State::Waiting | State::Due(_) | State::Over => Duration::ZERO,
        };
        LoadReport {
            name: self.config.name.clone(),
            starts: self.starts,
            seconds: (self.ran + running).as_secs_f64(),
            ended: self.ended.map(Ended::words),
            absences: self.absences.iter().chain(current.iter()).map(absence).collect(),
            absences_left_out: self.absences_left_out,
            last_lines: self.lines(),
            output_dropped_bytes: self.dropped_bytes,
        }
    }

    fn show(&self, up: bool, reason: &str) {
        self.telemetry.component_up(Component::Load, up);
        self.health.set(Component::Load, up, format!("{}: {reason}", self.config.name));
    }
}
