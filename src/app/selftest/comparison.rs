//! Room `app`: what the fault link says against what the report says, figure by figure.

use std::collections::BTreeMap;
use std::fmt;

use super::truth::{Expected, ExpectedLane};
use crate::report::{Durations, LaneReport, PathReport, Report, Stamps, duration};

const NANOS_PER_SECOND: f64 = 1e9;
/// How far a latency may be off, as a share of it.
const SHARE: f64 = 0.01;
/// How much later than Kafka let it go a record may be received on an idle machine: it crosses a
/// socket and three threads, one message after the other where many come at once.
const WAY_SECONDS: f64 = 0.002;
/// How often somebody has to wake for a record between Kafka and its receipt.
const WAKES: f64 = 3.0;
/// How much earlier a latency may be than Kafka's log has it: the clock is read before.
const EARLY_SECONDS: f64 = 0.000_1;
/// What no link can do: no payload is held against a schema, and one clock that never steps gives no
/// latency below zero.
const NEVER: [&str; 2] = ["schema_violation", "negative"];

/// One figure of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Count(u64),
    Seconds(f64),
    /// It is not there.
    None,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Seconds(seconds) => formatter.write_str(&duration(*seconds)),
            Self::None => formatter.write_str("-"),
        }
    }
}

/// One comparison.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) path: String,
    pub(super) qos: Option<u8>,
    pub(super) name: String,
    pub(super) expected: Figure,
    pub(super) reported: Figure,
    /// How much more may be reported, of a latency, in seconds.
    pub(super) within: Option<f64>,
    pub(super) agrees: bool,
}

/// How late the machine woke a sleeper during the run, ascending, in nanoseconds.
#[derive(Debug)]
pub(super) struct Lag(pub(super) Vec<i64>);

impl Lag {
    /// The largest, in seconds.
    pub(super) fn max(&self) -> f64 {
        quantile(&self.0, 1.0).map_or(0.0, seconds)
    }

    /// How much later than it was let go a message of this quantile may be received. Each of those who
    /// wake for it is as late as the sleeper was, less often than half of what the quantile leaves out.
    fn allowance(&self, of: f64, expected: f64) -> f64 {
        let late = quantile(&self.0, f64::midpoint(1.0, of)).map_or(0.0, seconds);
        (SHARE * expected).max(WAY_SECONDS + WAKES * late)
    }
}

/// Every figure of every path, and whether each fault that can be made was made at all.
pub(super) fn compare(expected: &[Expected], report: &Report, lag: &Lag) -> Vec<Row> {
    let mut rows = Vec::new();
    for expected in expected {
        let reported = report.paths.iter().find(|path| path.name == expected.path);
        let mut of_path = Rows { path: expected.path, qos: None, rows: &mut rows };
        of_path.path(expected, reported, lag);
    }
    let mut made: BTreeMap<&str, u64> = BTreeMap::new();
    for lane in expected.iter().flat_map(|expected| expected.lanes.values()) {
        for (name, count) in lane.outcomes.named().into_iter().chain(lane.anomalies.named()) {
            *made.entry(name).or_default() += count;
        }
    }
    for (name, count) in made.into_iter().filter(|(name, _)| !NEVER.contains(name)) {
        let mut row = row("all", None, &format!("{name} was provoked"));
        (row.expected, row.reported) = (Figure::Count(count), Figure::Count(count));
        row.agrees = count > 0;
        rows.push(row);
    }
    rows
}

fn row(path: &str, qos: Option<u8>, name: &str) -> Row {
    let (path, name) = (path.to_owned(), name.to_owned());
    let (expected, reported, within) = (Figure::None, Figure::None, None);
    Row { path, qos, name, expected, reported, within, agrees: true }
}

/// The rows of one path as they are made.
struct Rows<'a> {
    path: &'static str,
    qos: Option<u8>,
    rows: &'a mut Vec<Row>,
}

impl Rows<'_> {
    fn path(&mut self, expected: &Expected, reported: Option<&PathReport>, lag: &Lag) {
        let of = |figure: fn(&PathReport) -> u64| reported.map(figure);
        self.count("offered", expected.offered, of(|path| path.offered));
        self.count("published", expected.published, of(|path| path.published));
        self.count("acknowledged", expected.acknowledged, of(|path| path.acknowledged));
        self.count("not_sent", expected.not_sent, of(|path| path.not_sent.values().sum()));
        self.count("foreign", expected.foreign, of(|path| path.foreign));
        self.count("overflow", 0, of(|path| path.overflow));
        for (name, stamps) in [("property", expected.property), ("payload", expected.payload)] {
            let found = reported.and_then(|path| path.stamps.get(name)).copied();
            let sides: [(_, fn(Stamps) -> u64); 2] =
                [("survived", |stamps| stamps.survived), ("lost", |stamps| stamps.lost)];
            for (side, of) in sides {
                self.count(&format!("stamps {name} {side}"), of(stamps), found.map(of));
            }
        }
        for (&qos, lane) in &expected.lanes {
            self.qos = Some(qos);
            let lanes = reported.into_iter().flat_map(|path| &path.lanes);
            let reported = lanes.filter(|lane| lane.lane == "mqtt_kafka").find(|it| it.qos == qos);
            self.lane(lane, reported, lag);
        }
        for doubt in &expected.doubts {
            let mut doubtful = row(self.path, None, doubt);
            doubtful.agrees = false;
            self.rows.push(doubtful);
        }
    }

    fn lane(&mut self, expected: &ExpectedLane, reported: Option<&LaneReport>, lag: &Lag) {
        let slots = expected.outcomes.sum();
        self.count("slots", slots, reported.map(|lane| lane.slots));
        let outcomes = expected.outcomes.named().into_iter();
        for (place, (name, count)) in outcomes.enumerate() {
            self.count(name, count, reported.map(|lane| lane.outcomes.named()[place].1));
        }
        let anomalies = expected.anomalies.named().into_iter();
        for (place, (name, count)) in anomalies.enumerate() {
            self.count(name, count, reported.map(|lane| lane.anomalies.named()[place].1));
        }
        let depth = reported.map(|lane| lane.reorder_depth_max);
        self.count("reorder_depth_max", expected.reorder_depth_max, depth);
        let found = reported.map(|lane| lane.latency_seconds);
        let count = expected.latencies.len() as u64;
        self.count("latency count", count, found.map(|found| found.count));
        let quantiles: [(_, f64, fn(Durations) -> Option<f64>); 4] = [
            ("latency p50", 0.5, |found| found.p50),
            ("latency p90", 0.9, |found| found.p90),
            ("latency p99", 0.99, |found| found.p99),
            ("latency max", 1.0, |found| found.max),
        ];
        for (name, of, figure) in quantiles {
            let truth = quantile(&expected.latencies, of).map(seconds);
            self.latency((name, of), truth, found.and_then(figure), lag);
        }
    }

    fn count(&mut self, name: &str, expected: u64, reported: Option<u64>) {
        let mut row = row(self.path, self.qos, name);
        row.expected = Figure::Count(expected);
        row.reported = reported.map_or(Figure::None, Figure::Count);
        row.agrees = reported == Some(expected);
        self.rows.push(row);
    }

    fn latency(
        &mut self,
        (name, of): (&str, f64),
        expected: Option<f64>,
        reported: Option<f64>,
        lag: &Lag,
    ) {
        let mut row = row(self.path, self.qos, name);
        row.expected = expected.map_or(Figure::None, Figure::Seconds);
        row.reported = reported.map_or(Figure::None, Figure::Seconds);
        row.agrees = match (expected, reported) {
            (Some(expected), Some(reported)) => {
                let within = lag.allowance(of, expected);
                row.within = Some(within);
                let early = (SHARE * expected).max(EARLY_SECONDS);
                (expected - early..=expected + within).contains(&reported)
            }
            (expected, reported) => expected.is_none() && reported.is_none(),
        };
        self.rows.push(row);
    }
}

/// The nearest-rank quantile of values that ascend.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a quantile is in 0..=1, and a rank within its count"
)]
fn quantile(values: &[i64], of: f64) -> Option<i64> {
    let rank = (of * values.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    values.get(rank - 1).copied()
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds needs no 53 bits")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}
