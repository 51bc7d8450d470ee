//! Room `report` (pure): a finished or running measurement as JSON, Markdown and terminal text.
//!
//! # Design
//!
//! `report.json` is the report; Markdown and summary are made from it and hold nothing that is not
//! in it. What is not measured yet is left out and named in `not_measured`, since a zero would be
//! a false figure. The words for paths, lanes and outcomes are those of room `correlate`, whose
//! types name the totals of room `stats`.

mod calibration;
mod deliveries;
mod document;
mod figures;
mod gather;
mod generator;
mod headline;
mod judged;
mod junit;
mod live;
mod load;
mod markdown;
mod moment;
mod page;
mod process;
mod reading;
mod status;
mod summary;
mod table;
mod uncertainty;
mod unsent;
mod worst;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::Stats;
use crate::study::Verdict;

pub use calibration::{Bare, Calibration, CalibrationBrief, Level, MachineKind, NULL_SINK};
pub use deliveries::Deliveries;
pub use document::{
    Anomalies, Duplication, Durations, Environment, HostUsage, LaneReport, Legs, Outcomes,
    PathReport, PeerOffset, Product, Sending, Stamps, Window,
};
pub use figures::{bytes, counted, duration, plain};
pub use generator::{Absence, LoadReport};
pub use judged::{PathWindows, WindowStretch};
pub use live::{LIVE_HEADER, Row, live_rows, plain_line};
pub use load::{Amount, ConnectDurations, Flow, Load};
pub use moment::rfc3339;
pub use process::Process;
pub use status::{
    ComponentNow, LaneNow, Live, PastFigures, PathNow, ProcessNow, Quantiles, ScopeNow, Status,
    WindowNow,
};
pub use uncertainty::{Bounds, Uncertainty};
pub use worst::{MessageLegs, WorstMessage, WorstMessages};

/// Version of the report's fields; rises when one is renamed, removed or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Fields of the design that no figure stands behind yet.
const NOT_MEASURED: [&str; 1] = ["anomalies.schema_violation"];

/// What a report is built from.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The totals of the run, merged over all shards.
    pub stats: &'a Stats,
    /// Which landfall this is.
    pub landfall: Product,
    /// Where and against what the run took place.
    pub environment: Environment,
    /// The time that it took.
    pub window: Window,
    /// How the load of each path goes, in the order of the roster.
    pub loads: Vec<Load>,
    /// What landfall alone could do on this machine, as far as that is known of such payloads.
    pub calibrations: Vec<CalibrationBrief>,
    /// The windows of each path, in the order of the roster.
    pub windows: Vec<PathWindows>,
    /// The worst messages of each path, in the order of the roster.
    pub worst: Vec<WorstMessages>,
    /// Errors of clocks.
    pub bounds: Bounds,
    /// What the machine and its cgroup used, by scope.
    pub host: BTreeMap<String, HostUsage>,
    /// What processes used; `messages_per_cpu_second` is worked out here.
    pub processes: Vec<Process>,
    /// What the load generator of somebody else's did, where there is one.
    pub load: Option<LoadReport>,
    /// The verdict on the same totals.
    pub verdict: Verdict,
    /// Whether it is whole, with histograms and lists of windows: they take time and room, and are for a
    /// run that is over.
    pub is_whole: bool,
}

/// A run, or a run so far. Its JSON is `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the fields: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Which landfall made it.
    pub landfall: Product,
    /// Where and against what the run took place.
    pub environment: Environment,
    /// The time that it took.
    pub window: Window,
    /// The paths, in the order of the configuration.
    pub paths: Vec<PathReport>,
    /// What the machine (`host`) and the probe's cgroup (`cgroup`) used.
    pub host: BTreeMap<String, HostUsage>,
    /// What processes used.
    pub processes: Vec<Process>,
    /// What the load generator of somebody else's did; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// What landfall alone could do on this machine, as far as that is known of payloads as large as those
    /// of the paths that are a load.
    #[serde(default)]
    pub calibrations: Vec<CalibrationBrief>,
    /// Whether the objectives held.
    pub verdict: Verdict,
    /// Fields of the report that no figure stands behind yet.
    pub not_measured: Vec<String>,
}

impl Report {
    /// The report on a run.
    #[must_use]
    pub fn build(inputs: Inputs<'_>) -> Self {
        let mut paths = gather::paths(&inputs);
        for (path, worst) in paths.iter_mut().zip(inputs.worst) {
            path.worst = worst;
        }
        if !inputs.is_whole {
            for path in &mut paths {
                path.windows.stretches.clear();
            }
        }
        let published: u64 = paths.iter().map(|path| path.published).sum();
        let published = published.saturating_sub(inputs.window.published_before);
        let mut processes = inputs.processes;
        // A generator's messages are its own.
        let is_load =
            |process: &Process| inputs.load.is_some() && process.label == LoadReport::LABEL;
        for process in processes.iter_mut().filter(|process| !is_load(process)) {
            let seconds = process.cpu_seconds.unwrap_or_default();
            process.messages_per_cpu_second = per_second(published, seconds);
        }
        Self {
            schema_version: SCHEMA_VERSION,
            landfall: inputs.landfall,
            environment: inputs.environment,
            window: inputs.window,
            paths,
            host: inputs.host,
            processes,
            load: inputs.load,
            calibrations: inputs.calibrations,
            verdict: inputs.verdict,
            not_measured: NOT_MEASURED.map(str::to_owned).to_vec(),
        }
    }

    /// `report.json`: everything, indented.
    ///
    /// # Errors
    ///
    /// None that a report can cause: every key is text and every figure a number or null.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }

    /// `report.md`: the verdict first, then what it rests on.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// `junit.xml`: a testsuite for each path, a testcase for each of its objectives.
    #[must_use]
    pub fn junit(&self) -> String {
        junit::render(self)
    }

    /// Plain text for a terminal at the end of a run, without colour.
    #[must_use]
    pub fn summary(&self) -> String {
        summary::render(self)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
fn per_second(messages: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| messages as f64 / seconds)
}
