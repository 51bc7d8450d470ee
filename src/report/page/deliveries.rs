//! Room `report`: what all MQTT subscribers of a path were handed, on the page.

use crate::report::document::PathReport;

use super::markup::{Table, count, timed};

/// A table for a path with more than one subscriber; nothing for any other.
pub(super) fn html(path: &PathReport, index: usize) -> String {
    if path.deliveries.is_empty() {
        return String::new();
    }
    let caption =
        "Deliveries: what all MQTT subscribers were handed, from the moment a message was due";
    let columns =
        ["QoS", "Subscribers", "Expected", "Received", "Not timed", "p50", "p99", "p99.9", "Max"];
    let mut table = Table::new(caption, columns);
    for (place, of) in path.deliveries.iter().enumerate() {
        let at = format!("/paths/{index}/deliveries/{place}");
        let counts = [
            (of.subscribers, "subscribers"),
            (of.expected, "expected"),
            (of.received, "received"),
            (of.untimed, "untimed"),
        ];
        let all = of.latency_seconds;
        let figures = [(all.p50, "p50"), (all.p99, "p99"), (all.p999, "p999"), (all.max, "max")];
        let mut row = vec![of.qos.to_string()];
        row.extend(counts.map(|(number, name)| count(number, &format!("{at}/{name}"))));
        let figure = |(figure, name)| timed(figure, &format!("{at}/latency_seconds/{name}"));
        row.extend(figures.map(figure));
        table.push(row);
    }
    table.html()
}
