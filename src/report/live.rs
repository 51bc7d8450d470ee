//! Room `report`: a run while it lasts, as rows for a live table and as plain lines.

use std::time::Duration;

use crate::correlate::{Lane, Outcome, PathId, Qos};
use crate::stats::{LaneTotals, Latencies, Stats};

use super::figures::{NONE, count, duration, plain};
use super::gather::seconds;
use super::load::Load;

/// Headings of the columns of [`live_rows`].
pub const LIVE_HEADER: [&str; 11] = [
    "path",
    "lane",
    "qos",
    "slots",
    "delivered",
    "acked_lost",
    "unacked_lost",
    "in flight",
    "p50",
    "p99",
    "max",
];

/// One row of the live table, in the order of [`LIVE_HEADER`]; names come first, figures after.
pub type Row = [String; LIVE_HEADER.len()];

/// The totals of the run so far: a row for each path, lane and QoS. Latencies are end to end, over
/// the run so far. `loads` says of each path how its load goes.
#[must_use]
pub fn live_rows(stats: &Stats, loads: &[Load]) -> Vec<Row> {
    let row = |(path, qos, lane): (PathId, Qos, Lane)| {
        let totals = stats.lane(path, qos, lane);
        let end_to_end = totals.end_to_end();
        let outcome = |outcome| count(totals.outcome(outcome));
        [
            named(stats, loads, path),
            lane.name().to_owned(),
            qos.label().to_owned(),
            count(totals.slots()),
            outcome(Outcome::Delivered),
            outcome(Outcome::AckedLost),
            outcome(Outcome::UnackedLost),
            count(totals.in_flight),
            quantile(&end_to_end, 0.5),
            quantile(&end_to_end, 0.99),
            quantile(&end_to_end, 1.0),
        ]
    };
    stats.measured().map(row).collect()
}

/// The totals of the run so far for a log or a pipe: a line for each path, lane and QoS, joined by
/// line feeds, named as in [`live_rows`]. Outcomes other than `delivered` and `acked_lost` stand in it where there are any.
#[must_use]
pub fn plain_line(stats: &Stats, loads: &[Load], elapsed: Duration) -> String {
    let line = |(path, qos, lane): (PathId, Qos, Lane)| {
        let totals = stats.lane(path, qos, lane);
        let end_to_end = totals.end_to_end();
        format!(
            "{:.1}s {} {} qos{}: {} slots, {}, p50 {}, p99 {}, max {}",
            elapsed.as_secs_f64(),
            named(stats, loads, path),
            lane.name(),
            qos.label(),
            totals.slots(),
            counts(totals),
            quantile(&end_to_end, 0.5),
            quantile(&end_to_end, 0.99),
            quantile(&end_to_end, 1.0),
        )
    };
    stats.measured().map(line).collect::<Vec<_>>().join("\n")
}

/// The name of a path, and whether it is in a closed loop.
fn named(stats: &Stats, loads: &[Load], path: PathId) -> String {
    let mark = loads.get(usize::from(path.0)).map_or("", Load::mark);
    plain(&stats.roster().path(path).name) + mark
}

fn counts(totals: &LaneTotals) -> String {
    let always = |outcome| matches!(outcome, Outcome::Delivered | Outcome::AckedLost);
    let outcomes = Outcome::ALL.iter().map(|&outcome| (outcome, totals.outcome(outcome)));
    let mut counts: Vec<_> = outcomes
        .filter(|&(outcome, number)| number > 0 || always(outcome))
        .map(|(outcome, number)| format!("{number} {}", outcome.name()))
        .collect();
    if totals.in_flight > 0 {
        counts.push(format!("{} in flight", totals.in_flight));
    }
    counts.join(", ")
}

fn quantile(latencies: &Latencies, quantile: f64) -> String {
    let nanos = latencies.quantile_nanos(quantile);
    nanos.map_or_else(|| NONE.to_owned(), |nanos| duration(seconds(nanos)))
}
