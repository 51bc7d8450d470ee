//! Room `report`: a run while it lasts, as `/api/v1/status` and the status page have it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::correlate::{Lane, PathId, Qos};
use crate::stats::{PastWindow, QUANTILES, Stats};

use super::gather::seconds;
use super::page;
use super::{PathReport, Report, WorstMessages};

/// The run so far and what holds right now. Its JSON is the report's without histograms and lists of
/// windows, with `live` beside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The report as it stands.
    #[serde(flatten)]
    pub report: Report,
    /// What holds right now.
    pub live: Live,
}

/// What holds right now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Live {
    /// When this was put together, RFC 3339 in UTC.
    pub made: String,
    /// Rises with each document of the process.
    pub edition: u64,
    /// `connecting`, `measuring`, `draining` or `over`.
    pub phase: String,
    /// Length of a window, in seconds.
    pub window_seconds: f64,
    /// Systems by name.
    pub components: BTreeMap<String, ComponentNow>,
    /// What machine (`host`) and control group (`cgroup`) used at the last sample.
    pub host: BTreeMap<String, ScopeNow>,
    /// What processes used at the last sample.
    pub processes: Vec<ProcessNow>,
    /// The paths, in the order of `paths`.
    pub paths: Vec<PathNow>,
}

/// A system that the probe talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComponentNow {
    /// Whether it is up.
    pub up: bool,
    /// Why, in words.
    pub reason: String,
    /// Whether nothing can be measured without it.
    pub needed: bool,
}

/// What a scope used at the last sample. What is not known is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScopeNow {
    /// CPU utilization since the sample before, 0 to 1.
    pub cpu_utilization_ratio: Option<f64>,
    /// Memory in use, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Memory there is, in bytes.
    pub memory_total_bytes: Option<u64>,
}

/// What a process used at the last sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessNow {
    /// Its label: as configured, or `self`.
    pub label: String,
    /// Processors that it kept busy since the sample before; null at the first.
    pub cpu_ratio: Option<f64>,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

/// A path right now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PathNow {
    /// Its name.
    pub name: String,
    /// Its lanes, once for each QoS, in the order of the path's `lanes`.
    pub lanes: Vec<LaneNow>,
    /// Windows of the last hour that this process saw, at most 720, oldest first.
    pub history: Vec<WindowNow>,
}

/// A lane and QoS right now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneNow {
    /// Name of the lane.
    pub lane: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Messages that were sent and have no outcome.
    pub in_flight: u64,
    /// Messages that came out in each second of the last window; null before the first one is over.
    pub rate: Option<f64>,
    /// End-to-end quantiles of the last window, or of as many last ones as hold enough samples: what
    /// `landfall_latency_quantile_seconds` has.
    pub recent_seconds: Quantiles,
    /// End-to-end latencies of the run by size: the end of a step in seconds and how many are in it, ten
    /// steps a decade, empty ones left out. The first step ends at 1 us and has all below.
    pub distribution: Vec<(f64, u64)>,
}

/// Quantiles in seconds; null where there are too few samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90 % stay within.
    pub p90: Option<f64>,
    /// 99 % stay within.
    pub p99: Option<f64>,
    /// 99.9 % stay within.
    pub p999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

/// p50, p99, p99.9 and the longest in seconds, and how many messages.
pub type PastFigures = (Option<f64>, Option<f64>, Option<f64>, Option<f64>, u64);

/// A window that is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WindowNow {
    /// When it ended, RFC 3339 in UTC.
    pub end: String,
    /// How long it was.
    pub seconds: f64,
    /// Whether its latencies may be trusted.
    pub valid: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Of each lane, in the order of the path's: p50, p99 and p99.9 as they were exported when the
    /// window ended, the longest in the window, and how many messages came out in it.
    pub lanes: Vec<PastFigures>,
}

impl Status {
    /// One line of JSON.
    ///
    /// # Errors
    ///
    /// As [`Report::json`].
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// What stands in `main` of the status page.
    #[must_use]
    pub fn page(&self) -> String {
        page::render(self)
    }

    /// The worst messages of each path, for `/debug/worst`.
    ///
    /// # Errors
    ///
    /// As [`Report::json`].
    pub fn worst_json(&self) -> serde_json::Result<String> {
        let Self { report, live } = self;
        let path =
            |path: &PathReport| PathWorst { name: path.name.clone(), worst: path.worst.clone() };
        let paths = report.paths.iter().map(path).collect();
        let (schema_version, made) = (report.schema_version, live.made.clone());
        serde_json::to_string(&WorstDocument { schema_version, made, paths })
    }
}

/// What `/debug/worst` has.
#[derive(Serialize)]
struct WorstDocument {
    schema_version: u32,
    made: String,
    paths: Vec<PathWorst>,
}

#[derive(Serialize)]
struct PathWorst {
    name: String,
    #[serde(flatten)]
    worst: WorstMessages,
}

impl PathNow {
    /// A path as the totals stand; `ends` tells when each window of its history ended.
    #[must_use]
    pub fn of(stats: &Stats, id: PathId, ends: impl Fn(usize) -> String) -> Self {
        let (path, totals) = (stats.roster().path(id), stats.path(id));
        let window = |(index, window): (usize, &PastWindow)| WindowNow {
            end: ends(index),
            seconds: window.until.saturating_since(window.from).as_secs_f64(),
            valid: window.causes.is_empty(),
            causes: window.causes.iter().map(|cause| cause.name().to_owned()).collect(),
            lanes: window
                .lanes
                .iter()
                .map(|lane| {
                    let [p50, p99, p999] = lane.quantiles.map(|nanos| nanos.map(seconds));
                    (p50, p99, p999, lane.max.map(seconds), lane.count)
                })
                .collect(),
        };
        let history: Vec<_> = totals.history.windows().enumerate().map(window).collect();
        let lane = |(index, (lane, qos)): (usize, (Lane, Qos))| {
            let totals = stats.lane(id, qos, lane);
            let rate =
                history.last().and_then(|last| Some((last.lanes.get(index)?.4, last.seconds)));
            let [p50, p90, p99, p999, max] =
                QUANTILES.map(|share| totals.recent.quantile_nanos(share).map(seconds));
            let steps = totals.end_to_end().by_decade();
            LaneNow {
                lane: lane.name().to_owned(),
                qos: qos.level(),
                in_flight: totals.in_flight,
                rate: rate.and_then(|(count, seconds)| per_second(count, seconds)),
                recent_seconds: Quantiles { p50, p90, p99, p999, max },
                distribution: steps.into_iter().map(|(end, count)| (end / 1e9, count)).collect(),
            }
        };
        let lanes = path.measured().enumerate().map(lane).collect();
        Self { name: path.name.clone(), lanes, history }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
fn per_second(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| count as f64 / seconds)
}
