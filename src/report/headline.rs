//! Room `report`: the verdict in one sentence.

use super::figures::{count, counted, duration, percentage};
use super::judged::finding;
use super::{LaneReport, PathReport, Report, unsent};
use crate::study::{Figure, Judged};

/// The verdict, what it rests on and the latency to remember. `name` makes a name from outside fit
/// for where the sentence will stand.
pub(super) fn headline(report: &Report, name: fn(&str) -> String) -> String {
    let mut parts: Vec<String> = failures(report, name).collect();
    parts.extend(unsent::words(report, name).chain(doubts(report, name)));
    // Where nobody looks for what comes out, no loss would be a false figure.
    parts.extend(lanes(report).next().map(|_| losses(report)));
    parts.extend(slowest(report, name));
    parts.extend(undelivered(report));
    if let Some(share) = report.window.valid_fraction.filter(|&share| share < 1.0) {
        parts.push(format!("{} of the windows valid", percentage(share)));
    }
    parts.join("; ")
}

/// What there is to say of a probe that was killed and went on; nothing of one that was not.
pub(super) fn over_restarts(report: &Report) -> Option<String> {
    let restarts = report.window.restarts;
    let recovered: u64 = lanes(report).map(|(_, lane)| lane.recovered).sum();
    (restarts > 0).then(|| {
        format!(
            "The probe was killed and went on {}: the figures are those of all its processes. {} came \
             out while nobody looked: counted, and not timed.",
            counted(restarts, "time"),
            counted(recovered, "message"),
        )
    })
}

/// Messages of a path that got no answer; nothing where there is none.
pub(super) fn unanswered(path: &PathReport) -> Option<String> {
    (path.unanswered > 0).then(|| {
        let messages = counted(path.unanswered, "message");
        format!("Unanswered at the end, or after twice the deadline: {messages}")
    })
}

/// What did not come out, in words that fit the lanes that were measured.
fn lost_phrase(report: &Report) -> &'static str {
    let measures = |name| lanes(report).any(|(_, lane)| lane.lane == name);
    match (measures("mqtt_kafka"), measures("mqtt_mqtt")) {
        (true, false) => "acknowledged messages that never reached Kafka",
        (false, true) => "acknowledged messages that never reached the subscriber",
        _ => "acknowledged messages that never came out",
    }
}

fn lanes(report: &Report) -> impl Iterator<Item = (&PathReport, &LaneReport)> {
    report.paths.iter().flat_map(|path| path.lanes.iter().map(move |lane| (path, lane)))
}

/// Where the sum over all paths would not show what failed.
fn failures(report: &Report, name: fn(&str) -> String) -> impl Iterator<Item = String> {
    let is_clear = |judged: &Judged| {
        judged.name == "acked_lost" && judged.target == Figure::Count(0) && report.paths.len() == 1
    };
    let failed = report.verdict.objectives.iter().filter(|judged| judged.held == Some(false));
    failed.filter(move |judged| !is_clear(judged)).map(move |judged| {
        format!("path {}: {} {}", name(&judged.path), name(&judged.name), finding(judged))
    })
}

fn doubts(report: &Report, name: fn(&str) -> String) -> impl Iterator<Item = String> {
    let nothing = report.verdict.objectives.is_empty();
    let unmeasured = &report.verdict.unmeasured;
    let waits = unmeasured.iter().map(move |(path, why)| {
        format!("path {}: never measured, waited for {}", name(path), name(why))
    });
    let told = report.verdict.objectives.iter().filter(|of| !unmeasured.contains_key(&of.path));
    let mut reasons: Vec<String> = told
        .filter_map(move |judged| {
            judged.reason.as_ref().map(|reason| format!("path {}: {reason}", name(&judged.path)))
        })
        .collect();
    // Objectives of one path may be in doubt for one reason.
    reasons.dedup();
    nothing.then(|| "nothing was judged".to_owned()).into_iter().chain(waits).chain(reasons)
}

fn losses(report: &Report) -> String {
    let lost = lanes(report).map(|(_, lane)| lane.outcomes.acked_lost).sum();
    format!("{}: {}", lost_phrase(report), count(lost))
}

/// The highest p99 of the crossing, or of what else was measured.
fn slowest(report: &Report, name: fn(&str) -> String) -> Option<String> {
    let of = |wanted: &'static str| {
        lanes(report)
            .filter(move |(_, lane)| lane.lane == wanted)
            .filter_map(|(path, lane)| Some((lane.latency_seconds.p99?, path, lane)))
            .max_by(|(a, ..), (b, ..)| a.total_cmp(b))
    };
    let crossing = of("mqtt_kafka").map(|slowest| ("of the crossing", slowest));
    let (what, (p99, path, lane)) =
        crossing.or_else(|| of("mqtt_mqtt").map(|slowest| ("to the subscriber", slowest)))?;
    let rivals = lanes(report).filter(|(_, other)| other.lane == lane.lane).count();
    let at_most = if rivals > 1 { "at most " } else { "" };
    let whose = match report.paths.len() {
        1 => String::new(),
        _ => format!("path {}, ", name(&path.name)),
    };
    let messages = counted(lane.latency_seconds.count, "message");
    let qos = lane.qos;
    Some(format!("p99 {what} {at_most}{} ({whose}QoS {qos}, {messages})", duration(p99)))
}

/// A run that loses nothing because it sends nothing must not look like a good one.
fn undelivered(report: &Report) -> Option<String> {
    let slots: u64 = lanes(report).map(|(_, lane)| lane.slots).sum();
    let arrived: u64 =
        lanes(report).map(|(_, lane)| lane.outcomes.delivered + lane.outcomes.late).sum();
    let missing = slots.saturating_sub(arrived);
    (missing > 0).then(|| format!("no arrival: {} of {}", count(missing), counted(slots, "slot")))
}
