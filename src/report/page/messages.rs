//! Room `report`: single messages on the page, by their trace ids.

use std::fmt::Write as _;

use crate::report::document::PathReport;
use crate::report::figures::NONE;
use crate::report::worst::WorstMessage;

use super::clock;
use super::markup::{Table, figure, leg_at, text, timed, words};

/// The worst messages of a path. Losses are open at first, whatever else can be opened.
pub(super) fn html(path: &PathReport, index: usize) -> String {
    let mut lists = String::new();
    for (name, messages) in path.worst.named().into_iter().filter(|(_, it)| !it.is_empty()) {
        let heading = heading(name);
        let mut table = Table::new(
            &format!("{heading}, path {}", text(&path.name)),
            ["Trace id", "Latency", "Due (UTC)", "Outcome", "Way", "Place"],
        )
        .of_words();
        for (place, message) in messages.iter().enumerate() {
            table.push(row(message, &format!("/paths/{index}/worst/{name}/{place}")));
        }
        let open = if name == "acked_lost" { " open" } else { "" };
        // Writing into memory does not fail.
        let _ = write!(
            lists,
            "<details id=\"w{index}-{name}\"{open}><summary>{heading} ({})</summary>{}</details>",
            messages.len(),
            table.html()
        );
    }
    if lists.is_empty() {
        return String::new();
    }
    format!("<h3>Worst messages</h3>{lists}")
}

fn heading(list: &str) -> &'static str {
    match list {
        "acked_lost" => "Acknowledged and lost, the last ones",
        "unacked_lost" => "Lost without an acknowledgement, the last ones",
        "late" => "Late, the last ones",
        "duplicate" => "Duplicates, the last ones",
        "corrupt" => "Damaged, the last ones",
        "slowest_last_hour" => "Slowest of the last hour",
        _ => "Slowest of the run",
    }
}

fn row(message: &WorstMessage, at: &str) -> [String; 6] {
    let id = text(&message.trace_id);
    let detail = message.detail.as_deref().map(|detail| format!(" ({})", words(detail)));
    let due = message.due.as_deref().map_or_else(
        || NONE.to_owned(),
        |due| format!("<time datetime=\"{}\">{}</time>", text(due), text(clock(due))),
    );
    let place =
        message.place().map(|place| format!("<span class=\"long\">{}</span>", text(&place)));
    [
        format!(
            "<code>{id}</code> <button type=\"button\" class=\"copy\" data-copy=\"{id}\" \
             aria-label=\"Copy trace id {id}\">Copy</button>"
        ),
        timed(message.latency_seconds, &format!("{at}/latency_seconds")),
        due,
        format!(
            "{}{}, {}, QoS {}, publisher {} slot {}",
            words(&message.outcome),
            detail.unwrap_or_default(),
            text(&message.lane),
            figure(&message.qos.to_string(), message.qos, &format!("{at}/qos")),
            figure(&message.publisher.to_string(), message.publisher, &format!("{at}/publisher")),
            figure(&message.sequence.to_string(), message.sequence, &format!("{at}/sequence")),
        ),
        way(message, at),
        place.unwrap_or_else(|| NONE.to_owned()),
    ]
}

/// The legs of a message that are known.
fn way(message: &WorstMessage, at: &str) -> String {
    let gap = ("durability_gap", message.durability_gap_seconds);
    let legs = message.legs.named().into_iter().chain([gap]);
    let known = legs.filter(|(_, leg)| leg.is_some());
    let known: Vec<_> = known
        .map(|(name, leg)| format!("{} {}", words(name), timed(leg, &leg_at(at, name))))
        .collect();
    if known.is_empty() { NONE.to_owned() } else { known.join("; ") }
}
