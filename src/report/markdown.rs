//! Room `report`: `report.md`, for somebody tired who wants the verdict first.

use crate::correlate::Lane;

use super::document::{Duplication, Durations, HostUsage, PathReport};
use super::figures::{
    NONE, bytes, count, counted, duration, duration_or_none, markdown, nonzero, percentage,
    three_digits,
};
use super::headline::{headline, over_restarts, unanswered};
use super::judged::{bound, figure};
use super::load::markdown as load_of;
use super::reading::{HOW_TO_READ, HOW_TO_READ_CONTROL};
use super::table::Table;
use super::{Anomalies, Report, deliveries};

/// How many rows of windows are shown.
const STRETCHES_SHOWN: usize = 20;

pub(super) fn render(report: &Report) -> String {
    let verdict = report.verdict.result.name();
    let mut lines = vec![
        format!("# landfall: {verdict}"),
        String::new(),
        format!("**{verdict}**: {}.", headline(report, markdown)),
        String::new(),
        format!(
            "{} to {}, {}.",
            report.window.start,
            report.window.end,
            duration(report.window.seconds)
        ),
    ];
    lines.extend(over_restarts(report).into_iter().flat_map(|line| [String::new(), line]));
    section(&mut lines, None, &objectives(report));
    for path in &report.paths {
        let title = format!("## Path {}{}", markdown(&path.name), path.load.mark());
        lines.extend([String::new(), title, String::new(), publishing(path)]);
        lines.extend(load_of(path, &report.calibrations));
        section(&mut lines, None, &lanes(path));
        section(&mut lines, Some("### Deliveries"), &deliveries::table(&path.deliveries));
        section(&mut lines, Some("### Legs"), &legs(path));
        for clock in &path.clock_offsets {
            lines.extend([String::new(), format!("{}.", clock.sentence(markdown))]);
        }
        section(&mut lines, Some("### Anomalies"), &anomalies(path));
        section(&mut lines, Some("### Worst messages"), &path.worst.table());
        section(&mut lines, Some("### Uncertainty"), &uncertainties(path));
        section(&mut lines, Some("### Windows"), &windows(path));
    }
    lines.extend(generator(report));
    section(&mut lines, Some("## Processes"), &processes(report));
    section(&mut lines, Some("## Host"), &host(report));
    section(&mut lines, Some("## Environment"), &environment(report));
    lines.extend(["", "## How to read this", "", HOW_TO_READ].map(str::to_owned));
    let mut all_lanes = report.paths.iter().flat_map(|path| &path.lanes);
    if all_lanes.any(|lane| lane.lane == Lane::KafkaKafka.name()) {
        lines.push(HOW_TO_READ_CONTROL.to_owned());
    }
    if !report.not_measured.is_empty() {
        let names: Vec<_> = report.not_measured.iter().map(|name| markdown(name)).collect();
        lines.push(format!("* Not measured: {}.", names.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// Adds a table under its heading, unless it is empty.
fn section(lines: &mut Vec<String>, heading: Option<&str>, table: &Table) {
    if table.is_empty() {
        return;
    }
    lines.push(String::new());
    if let Some(heading) = heading {
        lines.extend([heading.to_owned(), String::new()]);
    }
    lines.extend(table.markdown());
}

fn objectives(report: &Report) -> Table {
    let header = [
        "objective",
        "path",
        "target",
        "figure",
        "all windows",
        "valid windows",
        "held",
        "why not",
    ];
    let mut table = Table::new(2, header);
    for judged in &report.verdict.objectives {
        let held = match judged.held {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "unknown",
        };
        let of = |found| figure(&judged.name, found);
        table.push(vec![
            markdown(&judged.name),
            markdown(&judged.path),
            bound(judged),
            of(judged.figure),
            of(judged.figure_all_windows),
            of(judged.figure_valid_windows),
            held.to_owned(),
            judged.reason.as_deref().map_or_else(|| NONE.to_owned(), markdown),
        ]);
    }
    table
}

fn publishing(path: &PathReport) -> String {
    let mut sentences = vec![format!(
        "{} offered, {} published, {} acknowledged, {}.",
        counted(path.offered, "slot"),
        counted(path.published, "message"),
        count(path.acknowledged),
        counted(path.foreign, "foreign record")
    )];
    let causes = nonzero(path.not_sent.iter().map(|(cause, &number)| (cause.as_str(), number)));
    if !causes.is_empty() {
        sentences.push(format!("Not sent: {}.", markdown(&causes)));
    }
    sentences.extend(unanswered(path).map(|told| format!("{told}.")));
    for (carrier, stamps) in &path.stamps {
        let (survived, all) = (count(stamps.survived), count(stamps.survived + stamps.lost));
        sentences.push(format!("Stamps by {}: {survived} of {all} survived.", markdown(carrier)));
    }
    if path.missed > 0 {
        sentences.push(format!(
            "**The probe's own consumer had missed {}**, which a second look found.",
            counted(path.missed, "record")
        ));
    }
    if path.unconfirmed > 0 {
        sentences.push(format!(
            "**{} announced although Kafka could not be read a second time.**",
            counted(path.unconfirmed, "loss")
        ));
    }
    if path.overflow > 0 {
        sentences.push(format!(
            "**The bound on memory was hit {}**: slots were closed as unresolved before \
             their time, or verdicts can't be revised any more.",
            counted(path.overflow, "time")
        ));
    }
    sentences.join(" ")
}

fn lanes(path: &PathReport) -> Table {
    let outcomes =
        ["delivered", "late", "acked lost", "unacked lost", "not sent", "rejected", "unresolved"];
    let header = ["lane", "QoS", "slots"].into_iter().chain(outcomes);
    let mut table = Table::new(1, header.chain(["p50", "p99", "p99.9", "max"]));
    for lane in &path.lanes {
        let mut row = vec![markdown(&lane.lane), lane.qos.to_string(), count(lane.slots)];
        row.extend(lane.outcomes.named().map(|(_, number)| count(number)));
        let Durations { p50, p99, p999, max, .. } = lane.latency_seconds;
        row.extend([p50, p99, p999, max].map(duration_or_none));
        table.push(row);
    }
    table
}

/// A row for each QoS and leg.
fn legs(path: &PathReport) -> Table {
    let mut table = Table::new(1, ["leg", "QoS", "count", "p50", "p99", "p99.9", "max", "mean"]);
    let (names, by_qos) = path.timed();
    for (qos, legs) in by_qos {
        for (name, leg) in names.iter().zip(legs) {
            let mut row = vec![markdown(name), qos.to_string(), count(leg.count)];
            row.extend([leg.p50, leg.p99, leg.p999, leg.max, leg.mean].map(duration_or_none));
            table.push(row);
        }
    }
    table
}

/// A row for each latency that has any figure: by how much that may be wrong at its p99, and why.
fn uncertainties(path: &PathReport) -> Table {
    let parts = ["scheduler lag", "poll lag", "clock", "resolution", "timestamp"];
    let header = ["latency", "QoS", "uncertainty"].into_iter().chain(parts);
    let mut table = Table::new(1, header);
    let mut seen = Vec::new();
    for lane in &path.lanes {
        let mut rows = vec![
            (lane.lane.clone(), lane.latency_seconds),
            (format!("{} service", lane.lane), lane.service_latency_seconds),
        ];
        if !seen.contains(&lane.qos) {
            seen.push(lane.qos);
            rows.extend(lane.legs.named().map(|(name, leg)| (name.to_owned(), leg)));
        }
        for (name, latency) in rows {
            let Some(of) = latency.uncertainty else { continue };
            let mut row = vec![markdown(&name), lane.qos.to_string()];
            let parts = [of.scheduler_lag, of.poll_lag, of.clock, of.resolution, of.timestamp];
            row.push(latency.uncertainty_seconds.map_or_else(|| "unknown".into(), duration));
            row.extend(parts.map(|part| part.map_or_else(|| "unknown".into(), duration)));
            table.push(row);
        }
    }
    table
}

/// The last windows; neighbours that were judged alike share a row.
fn windows(path: &PathReport) -> Table {
    let mut table = Table::new(2, ["from", "to", "windows", "valid"]);
    let listed = &path.windows.stretches;
    let skipped = listed.len().saturating_sub(STRETCHES_SHOWN);
    let earlier: u64 = listed[..skipped].iter().map(|stretch| stretch.windows).sum();
    let earlier = earlier + path.windows.left_out;
    if earlier > 0 {
        let row = ["earlier", "see report.json", &count(earlier), NONE];
        table.push(row.map(str::to_owned).to_vec());
    }
    for stretch in &listed[skipped..] {
        let valid = match stretch.causes.as_slice() {
            [] => "yes".to_owned(),
            causes => format!("no: {}", markdown(&causes.join(", "))),
        };
        let (start, end) = (stretch.start.clone(), stretch.end.clone());
        table.push(vec![start, end, count(stretch.windows), valid]);
    }
    table
}

fn anomalies(path: &PathReport) -> Table {
    let names = Anomalies::default().named().map(|(name, _)| markdown(name));
    let header = ["lane", "QoS"].map(str::to_owned).into_iter().chain(names);
    let more = ["deepest reordering", "copies, max", "spread p50", "spread, max"];
    let mut table = Table::new(1, header.chain(more.map(str::to_owned)));
    for lane in &path.lanes {
        let mut row = vec![markdown(&lane.lane), lane.qos.to_string()];
        row.extend(lane.anomalies.named().map(|(_, number)| count(number)));
        let Duplication { copies_max, spread_seconds: spread, .. } = lane.duplication;
        row.extend([count(lane.reorder_depth_max), count(copies_max)]);
        row.extend([spread.p50, spread.max].map(duration_or_none));
        table.push(row);
    }
    table
}

/// What the load generator of somebody else's did, and the last that it wrote.
fn generator(report: &Report) -> Vec<String> {
    let Some(load) = &report.load else { return Vec::new() };
    let mut lines = vec![String::new(), "## Load".to_owned(), String::new()];
    lines.push(load.sentences(markdown).join(" "));
    if !load.last_lines.is_empty() {
        lines.extend(["", "The last that it wrote:", ""].map(str::to_owned));
        // Indented, so that nothing in it is Markdown.
        lines.extend(load.lines().map(|line| format!("    {line}")));
    }
    lines
}

fn processes(report: &Report) -> Table {
    let header = ["process", "CPU time", "peak RSS", "messages per CPU second"];
    let mut table = Table::new(1, header);
    for process in &report.processes {
        table.push(vec![
            markdown(&process.label),
            process.cpu(),
            process.memory(),
            process.messages_per_cpu_second.map_or_else(|| NONE.to_owned(), three_digits),
        ]);
    }
    table
}

fn host(report: &Report) -> Table {
    let header = ["scope", "CPU mean", "CPU max", "memory used, max", "memory", "pressure, max"];
    let mut table = Table::new(1, header);
    let share = |share: Option<f64>| share.map_or_else(|| NONE.to_owned(), percentage);
    let size = |size: Option<u64>| size.map_or_else(|| NONE.to_owned(), bytes);
    for (scope, usage) in &report.host {
        table.push(vec![
            markdown(scope),
            share(usage.cpu_utilization_ratio_mean),
            share(usage.cpu_utilization_ratio_max),
            size(usage.memory_used_bytes_max),
            size(usage.memory_total_bytes),
            pressure(usage),
        ]);
    }
    table
}

fn pressure(usage: &HostUsage) -> String {
    let shares = usage.pressure_ratio_max.iter();
    let text: Vec<_> = shares
        .map(|(resource, &share)| format!("{} {}", markdown(resource), percentage(share)))
        .collect();
    if text.is_empty() { NONE.to_owned() } else { text.join(", ") }
}

fn environment(report: &Report) -> Table {
    let environment = &report.environment;
    let or_none = |text: &Option<String>| markdown(text.as_deref().unwrap_or(NONE));
    let mut table = Table::new(2, ["", ""]);
    let mut row = |name: &str, text: String| table.push(vec![name.to_owned(), text]);
    row("probe", markdown(&environment.probe));
    row("landfall", markdown(&report.landfall.version));
    row("commit", or_none(&report.landfall.commit));
    row("configuration", markdown(&environment.config_digest));
    row("kernel", markdown(&environment.kernel));
    row("CPUs", count(environment.cpus));
    row("memory", bytes(environment.memory_bytes));
    row("clock source", or_none(&environment.clock_source));
    row("boot", or_none(&environment.boot_id));
    for (component, version) in &environment.versions {
        row(&markdown(component), markdown(version));
    }
    for (cause, &windows) in &report.window.invalid {
        row(&format!("invalid windows, {}", markdown(cause)), count(windows));
    }
    table
}
