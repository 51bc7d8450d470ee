//! Room `app`: the log, and the report as it stands.

use super::loads::Loads;
use super::logging::RECOVERY;
use super::meters::Meters;
use super::news::{Kind, Line, News};
use super::state::Story;
use super::witness::Witness;
use crate::clock::{Clock, Instant, Pairing};
use crate::correlate::{Lane, PathId};
use crate::report::{
    Bounds, Environment, Inputs, LoadReport, PathWindows, Product, Report, Window, WindowStretch,
    rfc3339,
};
use crate::stats::{InvalidCause, Stats, Stretch, Windows};
use crate::study::{Objective, Unmeasured, Verdict};
use crate::telemetry::Component;

/// Writes the log and the report.
pub(super) struct Journalist {
    clock: Clock,
    product: Product,
    environment: Environment,
    story: Story,
    news: News,
    /// What the run is judged by.
    objectives: Vec<Objective>,
    /// Names of the paths, by their index.
    paths: Vec<String>,
    loads: Loads,
    /// When the last slot had come due, once the schedule has stopped.
    unloaded: Option<Instant>,
    witness: Witness,
    load: Option<LoadReport>,
}

impl Journalist {
    /// The story begins now.
    pub(super) fn new(
        clock: Clock,
        (product, environment): (Product, Environment),
        (witness, paths, objectives, story): (Witness, Vec<String>, Vec<Objective>, Story),
        loads: Loads,
    ) -> Self {
        let now = clock.pairing();
        let story = if story.began {
            story
        } else {
            Story { start: now.wall, begun: now.instant, ..story }
        };
        Self {
            clock,
            product,
            environment,
            story,
            news: News::default(),
            objectives,
            paths,
            loads,
            unloaded: None,
            witness,
            load: None,
        }
    }

    /// No slot comes due any more.
    pub(super) fn unloaded(&mut self, at: Instant) {
        self.unloaded = Some(at);
    }

    /// The first window begins: what the report covers starts here, unless it goes on with what a
    /// process before this one began.
    pub(super) fn begin(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.story.began, true) {
            (self.story.start, self.story.begun) = (self.clock.pairing().wall_of(at), at);
        }
    }

    /// What the report has to tell beside the totals, as of now.
    pub(super) fn story(&self, stats: &Stats) -> Story {
        Story { windows: stats.judged_windows(), ..self.story.clone() }
    }

    /// All connections of a path to a system stand.
    pub(super) fn up(&mut self, of: (u8, Component), now: Instant) {
        if let Some(line) = self.news.up(of, now) {
            self.tell(of, &line);
        }
    }

    /// A connection is gone, or could not be made: whose, and why.
    pub(super) fn down(&mut self, of: (u8, Component), what: (String, String), now: Instant) {
        if let Some(line) = self.news.down(of, what, now) {
            self.tell(of, &line);
        }
    }

    /// Something a person should know. The same kind again soon is counted and not repeated.
    pub(super) fn warn(&mut self, path: u8, kind: &'static str, text: String, now: Instant) {
        if let Some(Line { text, held_back, .. }) = self.news.warn((path, kind), text, now) {
            let held_back = (held_back > 0).then_some(held_back);
            tracing::warn!(path = self.path(path), kind, held_back, "{text}");
        }
    }

    /// Says what was held back and may be said now.
    pub(super) fn catch_up(&mut self, now: Instant) {
        for (of, line) in self.news.catch_up(now) {
            self.tell(of, &line);
        }
    }

    fn tell(&self, (path, component): (u8, Component), line: &Line) {
        let (path, component, text) = (self.path(path), component.name(), &line.text);
        let held_back = (line.held_back > 0).then_some(line.held_back);
        match line.kind {
            Kind::Connected => tracing::info!(path, component, "{text}"),
            // Written by default, since the line that it answers was.
            Kind::Back(away) => {
                let away_seconds = away.as_secs_f64();
                tracing::info!(target: RECOVERY, path, component, away_seconds, held_back, "{text}");
            }
            Kind::Trouble => tracing::warn!(path, component, held_back, "{text}"),
        }
    }

    fn path(&self, path: u8) -> &str {
        self.paths.get(usize::from(path)).map_or("", String::as_str)
    }

    /// A window of a path was judged.
    pub(super) fn window_judged(&mut self, causes: &[InvalidCause]) {
        // The share of valid windows is one of the run after its warm-up.
        if !causes.contains(&InvalidCause::WarmingUp) {
            self.story.judged += 1;
            self.story.valid += u64::from(causes.is_empty());
        }
        for cause in causes {
            *self.story.invalid.entry(cause.name().to_owned()).or_default() += 1;
        }
    }

    /// Says which partition a consumer's dense index stands for.
    pub(super) fn name_partition(&mut self, of: (PathId, Lane, u32), partition: (String, i32)) {
        self.witness.name_partition(of, partition);
    }

    /// Takes down what the load generator of somebody else's did so far.
    pub(super) fn tell_load(&mut self, load: LoadReport) {
        self.load = Some(load);
    }

    /// The report on a run that is over.
    pub(super) fn report(&self, stats: &Stats, meters: &Meters, unmeasured: &Unmeasured) -> Report {
        self.compile(stats, meters, unmeasured, true)
    }

    /// The report on a run as it stands, without histograms and lists of windows.
    pub(super) fn status(&self, stats: &Stats, meters: &Meters, unmeasured: &Unmeasured) -> Report {
        self.compile(stats, meters, unmeasured, false)
    }

    fn compile(
        &self,
        stats: &Stats,
        meters: &Meters,
        unmeasured: &Unmeasured,
        is_whole: bool,
    ) -> Report {
        let now = self.clock.pairing();
        let story = &self.story;
        let length = story.earlier + now.instant.saturating_since(story.begun);
        let mut window = Window::new(story.start, now.wall, length);
        let loaded = self.unloaded.unwrap_or(now.instant).saturating_since(story.begun);
        window.load_seconds = (story.earlier + loaded).as_secs_f64();
        window.valid_fraction = share(story.valid, story.judged);
        window.invalid.clone_from(&story.invalid);
        window.restarts = story.restarts;
        window.published_before = story.published_before;
        let begun = Pairing { instant: story.begun, wall: story.start, ..now };
        let paths = (0..).map(PathId).take(self.paths.len());
        let windows = paths.map(|path| windows(&stats.path(path).windows, &begun)).collect();
        let bounds =
            Bounds { clock_nanos: self.clock.resolution_nanos(), pairing_nanos: now.bound_nanos };
        let mut environment = self.environment.clone();
        environment.memory_bytes = meters.memory_total_bytes().unwrap_or_default();
        Report::build(Inputs {
            stats,
            landfall: self.product.clone(),
            environment,
            window,
            loads: self.loads.paths.clone(),
            calibrations: self.loads.calibrations.clone(),
            windows,
            worst: self.witness.worst(stats, &now),
            bounds,
            host: meters.host(),
            processes: meters.processes(),
            load: self.load.clone(),
            verdict: Verdict::judge(stats, &self.objectives, unmeasured),
            is_whole,
        })
    }
}

/// The windows of a path with their times on the wall, as it was when the run began.
fn windows(windows: &Windows, begun: &Pairing) -> PathWindows {
    let stretch = |of: &Stretch| WindowStretch {
        start: rfc3339(begun.wall_of(of.from)),
        end: rfc3339(begun.wall_of(of.until)),
        windows: of.windows,
        valid: of.causes.is_empty(),
        causes: of.causes.iter().map(|cause| cause.name().to_owned()).collect(),
    };
    PathWindows {
        valid_fraction: windows.valid_share(),
        stretches: windows.stretches().map(stretch).collect(),
        left_out: windows.left_out(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}
