//! Room `report`: what the probe talks to and runs on.

use crate::report::figures::{self, NONE, percentage};
use crate::report::status::Status;

use super::markup::{Table, figure, text, timed, unbroken, words};

/// Systems, clocks, machine and processes.
pub(super) fn html(status: &Status) -> String {
    let parts = [components(status), clocks(status), host(status), processes(status)].concat();
    format!(
        "<section aria-labelledby=\"s\"><h2 id=\"s\">Systems and machine</h2>\
         <div class=\"columns\">{parts}</div></section>"
    )
}

fn components(status: &Status) -> String {
    let mut table = Table::new("What the probe talks to", ["System", "State", "Why"]).of_words();
    for (name, component) in &status.live.components {
        let state = match (component.up, component.needed) {
            (true, _) => "<span class=\"good\">up</span>",
            (false, true) => "<b class=\"bad\">AWAY</b>",
            (false, false) => "<span class=\"unsure\">away, not needed</span>",
        };
        table.push([text(name), state.to_owned(), text(&component.reason)]);
    }
    table.html()
}

fn clocks(status: &Status) -> String {
    let caption = "Clocks of Kafka's leaders beside ours";
    let mut table = Table::new(caption, ["Leader", "Path", "Ahead by", "To within"]);
    for (index, path) in status.report.paths.iter().enumerate() {
        for (number, clock) in path.clock_offsets.iter().enumerate() {
            let at = format!("/paths/{index}/clock_offsets/{number}");
            table.push([
                text(&clock.peer),
                text(&path.name),
                timed(Some(clock.offset_seconds), &format!("{at}/offset_seconds")),
                timed(Some(clock.bound_seconds), &format!("{at}/bound_seconds")),
            ]);
        }
    }
    table.html()
}

fn host(status: &Status) -> String {
    let columns = ["Scope", "CPU now", "CPU mean", "CPU max", "Memory now", "of", "Pressure, max"];
    let mut table = Table::new("Machine and control group", columns);
    for (scope, now) in &status.live.host {
        let usage = status.report.host.get(scope).cloned().unwrap_or_default();
        let (live, run) = (format!("/live/host/{scope}"), format!("/host/{scope}"));
        let pressure = usage.pressure_ratio_max.iter().filter(|&(_, &share)| share > 0.0);
        let pressure: Vec<_> = pressure
            .map(|(name, &it)| {
                let at = format!("{run}/pressure_ratio_max/{name}");
                format!("{} {}", words(name), figure(&ratio(it), it, &at))
            })
            .collect();
        let pressure = if pressure.is_empty() { "none".to_owned() } else { pressure.join(", ") };
        table.push([
            words(scope),
            share(now.cpu_utilization_ratio, &format!("{live}/cpu_utilization_ratio")),
            share(usage.cpu_utilization_ratio_mean, &format!("{run}/cpu_utilization_ratio_mean")),
            share(usage.cpu_utilization_ratio_max, &format!("{run}/cpu_utilization_ratio_max")),
            size(now.memory_used_bytes, &format!("{live}/memory_used_bytes")),
            size(now.memory_total_bytes, &format!("{live}/memory_total_bytes")),
            pressure,
        ]);
    }
    table.html()
}

fn processes(status: &Status) -> String {
    let columns = ["Process", "CPU now, of one", "Memory now", "CPU time", "Peak memory"];
    let mut table = Table::new("Processes; “self” is this probe", columns);
    for (index, now) in status.live.processes.iter().enumerate() {
        let mut known = status.report.processes.iter().enumerate();
        let known = known.find(|(_, process)| process.label == now.label);
        let live = format!("/live/processes/{index}");
        let at = known.map_or_else(String::new, |(at, _)| format!("/processes/{at}"));
        // The kernel counts in hundredths of a second: what is below has no figure.
        let time = known.and_then(|(_, it)| it.cpu_seconds).filter(|&seconds| seconds > 0.0);
        let peak = known.and_then(|(_, it)| it.peak_rss_bytes);
        table.push([
            text(&now.label),
            share(now.cpu_ratio, &format!("{live}/cpu_ratio")),
            size(Some(now.resident_bytes), &format!("{live}/resident_bytes")),
            timed(time, &format!("{at}/cpu_seconds")),
            size(peak, &format!("{at}/peak_rss_bytes")),
        ]);
    }
    table.html()
}

fn ratio(share: f64) -> String {
    unbroken(&percentage(share))
}

fn share(share: Option<f64>, at: &str) -> String {
    share.map_or_else(|| NONE.to_owned(), |share| figure(&ratio(share), share, at))
}

fn size(bytes: Option<u64>, at: &str) -> String {
    bytes.map_or_else(
        || NONE.to_owned(),
        |bytes| figure(&unbroken(&figures::bytes(bytes)), bytes, at),
    )
}
