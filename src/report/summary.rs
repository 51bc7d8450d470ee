//! Room `report`: the report for a terminal, at most some 25 lines for one path.

use super::document::{Durations, LaneReport, PathReport};
use super::figures::{
    NONE, count, counted, duration, duration_or_none, nonzero, plain, three_digits,
};
use super::headline::{headline, over_restarts, unanswered};
use super::load::beside;
use super::table::Table;
use super::{Report, deliveries};

/// Outcomes that are shown even where they are zero.
const ALWAYS_SHOWN: [&str; 2] = ["delivered", "acked_lost"];

pub(super) fn render(report: &Report) -> String {
    let mut lines = vec![
        format!("{}: {}", report.verdict.result.name(), headline(report, plain)),
        format!(
            "{} to {} ({}), probe {}, landfall {}",
            report.window.start,
            report.window.end,
            duration(report.window.seconds),
            plain(&report.environment.probe),
            plain(&report.landfall.version),
        ),
    ];
    lines.extend(over_restarts(report));
    for path in &report.paths {
        lines.push(String::new());
        lines.extend(path_lines(path));
        lines.extend(beside(path, &report.calibrations));
    }
    if let Some(load) = &report.load {
        lines.push(String::new());
        lines.extend(load.sentences(plain));
        if load.ended.is_some() {
            lines.extend(load.lines().map(|line| format!("  | {line}")));
        }
    }
    if !report.processes.is_empty() {
        lines.push(String::new());
        lines.extend(processes(report).text());
    }
    lines.join("\n") + "\n"
}

fn path_lines(path: &PathReport) -> Vec<String> {
    let mut lines = vec![format!(
        "path {}{}: {} offered, {} published, {} acknowledged",
        plain(&path.name),
        path.load.mark(),
        counted(path.offered, "slot"),
        counted(path.published, "message"),
        count(path.acknowledged)
    )];
    lines.extend(lanes(path).text());
    let hidden: Vec<_> = columns(path, false);
    if !path.lanes.is_empty() && !hidden.is_empty() {
        lines.push(format!("{}: 0", hidden.join(", ")));
    }
    lines.extend(path.deliveries.iter().map(deliveries::sentence));
    let legs = legs(path);
    if !legs.is_empty() {
        lines.push("legs, p50 / p99:".to_owned());
        lines.extend(legs.text());
    }
    for clock in &path.clock_offsets {
        lines.push(clock.sentence(plain));
    }
    let causes = nonzero(path.not_sent.iter().map(|(cause, &number)| (cause.as_str(), number)));
    if !causes.is_empty() {
        lines.push(format!("not sent: {causes}"));
    }
    lines.extend(unanswered(path));
    lines.push(format!("anomalies: {}", anomalies(path)));
    lines
}

/// Names of the outcomes that have a column of their own, or of the others.
fn columns(path: &PathReport, shown: bool) -> Vec<&'static str> {
    let names = super::Outcomes::default().named().map(|(name, _)| name);
    let counts = |name| {
        let of = |lane: &LaneReport| lane.outcomes.named().contains(&(name, 0));
        ALWAYS_SHOWN.contains(&name) || !path.lanes.iter().all(of)
    };
    names.into_iter().filter(|name| counts(name) == shown).collect()
}

fn lanes(path: &PathReport) -> Table {
    let columns = columns(path, true);
    let header = ["lane", "qos", "slots"].iter().chain(&columns);
    let mut table =
        Table::new(1, header.chain(&["p50", "p99", "p99.9", "max"]).map(|&name| name.to_owned()));
    for lane in &path.lanes {
        let mut row = vec![plain(&lane.lane), lane.qos.to_string(), count(lane.slots)];
        let outcomes = lane.outcomes.named().into_iter();
        row.extend(
            outcomes.filter(|(name, _)| columns.contains(name)).map(|(_, number)| count(number)),
        );
        let Durations { p50, p99, p999, max, .. } = lane.latency_seconds;
        row.extend([p50, p99, p999, max].map(duration_or_none));
        table.push(row);
    }
    table
}

/// A row for each QoS.
fn legs(path: &PathReport) -> Table {
    let (names, by_qos) = path.timed();
    let mut table = Table::new(0, std::iter::once("qos").chain(names));
    for (qos, legs) in by_qos {
        let mut row = vec![qos.to_string()];
        row.extend(legs.into_iter().map(|leg| match leg {
            Durations { p50: Some(p50), p99: Some(p99), .. } => {
                format!("{} / {}", duration(p50), duration(p99))
            }
            _ => NONE.to_owned(),
        }));
        table.push(row);
    }
    table
}

fn anomalies(path: &PathReport) -> String {
    let mut sums: Vec<(&str, u64)> = super::Anomalies::default().named().to_vec();
    for lane in &path.lanes {
        for (sum, (_, number)) in sums.iter_mut().zip(lane.anomalies.named()) {
            sum.1 += number;
        }
    }
    for sum in &mut sums {
        if sum.0 == "foreign" {
            sum.1 = path.foreign;
        }
    }
    let more =
        [("overflow", path.overflow), ("missed", path.missed), ("unconfirmed", path.unconfirmed)];
    sums.extend(more);
    Some(nonzero(sums)).filter(|text| !text.is_empty()).unwrap_or_else(|| "none".to_owned())
}

fn processes(report: &Report) -> Table {
    let header = ["process", "CPU time", "peak RSS", "messages per CPU second"];
    let mut table = Table::new(1, header);
    for process in &report.processes {
        table.push(vec![
            plain(&process.label),
            process.cpu(),
            process.memory(),
            process.messages_per_cpu_second.map_or_else(|| NONE.to_owned(), three_digits),
        ]);
    }
    table
}
