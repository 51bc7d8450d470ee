//! Room `report`: one path on the page.

use crate::correlate::Lane;
use crate::report::document::{Durations, LaneReport, PathReport};
use crate::report::status::{PathNow, Status, WindowNow};

use super::chart::{self, Curve, Window};
use super::markup::{Sum, Table, count, leg_at, text, timed, words};
use super::{clock, deliveries, load, messages, standing};

/// How many stretches of windows that are not valid are told one by one.
const STRETCHES_SHOWN: usize = 6;

/// Outcomes as headings, in the order of the report.
const OUTCOMES: [&str; 7] =
    ["Delivered", "Late", "Acked lost", "Unacked lost", "Not sent", "Rejected", "Unresolved"];

/// A path and where the status has it.
struct Route<'a> {
    path: &'a PathReport,
    now: &'a PathNow,
    index: usize,
}

/// All about the path of that index.
pub(super) fn html(status: &Status, index: usize) -> String {
    let (Some(path), Some(now)) = (status.report.paths.get(index), status.live.paths.get(index))
    else {
        return String::new();
    };
    let route = Route { path, now, index };
    let name = text(&path.name);
    let mark = path.load.mark();
    let load = load::html(path, index, &status.report.calibrations);
    format!(
        "<section aria-labelledby=\"p{index}\"><h2 id=\"p{index}\">Path {name}{mark}</h2>{load}{}{}{}\
         <div class=\"charts\">{}{}</div>{}{}</section>",
        route.outcomes(),
        route.latencies(),
        deliveries::html(path, index),
        route.distribution(),
        route.hour(),
        route.legs(),
        messages::html(path, index),
    )
}

impl Route<'_> {
    fn lanes(&self) -> impl Iterator<Item = (&LaneReport, String)> {
        let index = self.index;
        let lanes = self.path.lanes.iter().enumerate();
        lanes.map(move |(lane, report)| (report, format!("/paths/{index}/lanes/{lane}")))
    }

    fn outcomes(&self) -> String {
        let columns =
            ["Lane", "Slots"].into_iter().chain(OUTCOMES).chain(["In flight", "Beside it"]);
        let caption = "Outcomes: slots as the books stand, recovered losses netted";
        let mut table = Table::new(caption, columns);
        for ((lane, at), now) in self.lanes().zip(&self.now.lanes) {
            let mut row = vec![label(lane), count(lane.slots, &format!("{at}/slots"))];
            for (name, number) in lane.outcomes.named() {
                let at = format!("{at}/outcomes/{name}");
                let is_loss = matches!(name, "acked_lost" | "unacked_lost");
                row.push(if is_loss { standing::loss(number, &at) } else { count(number, &at) });
            }
            let live = at.replacen("/paths", "/live/paths", 1);
            row.push(count(now.in_flight, &format!("{live}/in_flight")));
            let beside = lane.anomalies.named().into_iter().filter(|&(_, number)| number > 0);
            let beside: Vec<_> = beside
                .map(|(name, number)| {
                    format!("{} {}", words(name), count(number, &format!("{at}/anomalies/{name}")))
                })
                .collect();
            row.push(if beside.is_empty() { "nothing".to_owned() } else { beside.join(", ") });
            table.push(row);
        }
        table.html()
    }

    fn latencies(&self) -> String {
        let recent = ["p50 now", "p99 now", "p99.9 now", "Max now"];
        let run = ["p50", "p99", "p99.9", "Max", "Messages"];
        let columns = ["Lane"].into_iter().chain(recent).chain(run);
        let caption = "Latency from the moment a message was due to its receipt: now (last windows) \
                       and over the run";
        let mut table = Table::new(caption, columns);
        for ((lane, at), now) in self.lanes().zip(&self.now.lanes) {
            let live = at.replacen("/paths", "/live/paths", 1);
            let recent = now.recent_seconds;
            let figures = [
                (recent.p50, "p50"),
                (recent.p99, "p99"),
                (recent.p999, "p999"),
                (recent.max, "max"),
            ];
            let mut row = vec![label(lane)];
            let now = figures
                .map(|(figure, name)| timed(figure, &format!("{live}/recent_seconds/{name}")));
            row.extend(now);
            let all = lane.latency_seconds;
            let figures =
                [(all.p50, "p50"), (all.p99, "p99"), (all.p999, "p999"), (all.max, "max")];
            let at = format!("{at}/latency_seconds");
            row.extend(figures.map(|(figure, name)| timed(figure, &format!("{at}/{name}"))));
            row.push(count(all.count, &format!("{at}/count")));
            table.push(row);
        }
        table.html()
    }

    /// The lane that the charts speak of: the crossing, or the first there is.
    fn main_lane(&self) -> Option<Lane> {
        let has = |lane: &Lane| self.now.lanes.iter().any(|now| now.lane == lane.name());
        Lane::ALL.into_iter().find(has)
    }

    fn distribution(&self) -> String {
        let Some(main) = self.main_lane() else { return String::new() };
        let others = Lane::ALL.into_iter().filter(|&lane| lane != main).rev();
        let curves: Vec<Curve> = others.chain([main]).filter_map(|lane| self.curve(lane)).collect();
        let summed = self.curve(main).map(|curve| curve.steps).unwrap_or_default();
        let marks: Vec<_> = [("p50", 0.5), ("p99", 0.99)]
            .into_iter()
            .filter_map(|(name, share)| Some((name, at_share(&summed, share)?)))
            .collect();
        let name = text(&self.path.name);
        let svg = chart::distribution(
            &format!("Latency distribution of path {name}; the table below has the figures"),
            &curves,
            &marks,
        );
        if svg.is_empty() {
            return String::new();
        }
        let drawn = self.now.lanes.iter().filter(|it| !it.distribution.is_empty());
        let key = key(Lane::ALL
            .into_iter()
            .filter(|lane| drawn.clone().any(|it| it.lane == lane.name())));
        format!(
            "<figure><figcaption>How latencies are spread over the run (share of messages, \
             logarithmic)</figcaption>{svg}<p class=\"key\">{key}</p>\
             <details id=\"d{}\"><summary>As a table</summary>{}</details></figure>",
            self.index,
            self.spread(main, &summed)
        )
    }

    /// The distribution of a lane as a table.
    fn spread(&self, lane: Lane, steps: &[(f64, u64)]) -> String {
        let mut table = Table::new("Messages by latency, all QoS together", ["Up to", lane.name()]);
        let of_lane = || self.now.lanes.iter().enumerate().filter(|(_, it)| it.lane == lane.name());
        for (end, _) in steps {
            let parts = of_lane().filter_map(|(index, it)| {
                let mut known = it.distribution.iter();
                let step = known.position(|(known, _)| known.total_cmp(end).is_eq())?;
                let path = self.index;
                let at = format!("/live/paths/{path}/lanes/{index}/distribution/{step}");
                Some((it.distribution[step].1, at))
            });
            let parts: Vec<_> = parts.collect();
            let end_at = parts.first().map(|(_, at)| format!("{at}/0")).unwrap_or_default();
            let parts: Sum = parts.into_iter().map(|(part, at)| (part, at + "/1")).collect();
            table.push([timed(Some(*end), &end_at), parts.html()]);
        }
        table.html()
    }

    /// A lane over all QoS.
    fn curve(&self, lane: Lane) -> Option<Curve> {
        let mut steps: Vec<(f64, u64)> = Vec::new();
        let of_lane = self.now.lanes.iter().filter(|it| it.lane == lane.name());
        for &(end, number) in of_lane.flat_map(|it| &it.distribution) {
            // The same step has the same end, to the last bit.
            match steps.iter_mut().find(|(known, _)| known.total_cmp(&end).is_eq()) {
                Some((_, sum)) => *sum += number,
                None => steps.push((end, number)),
            }
        }
        steps.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        (!steps.is_empty()).then_some(Curve { class: lane.name(), steps })
    }

    fn hour(&self) -> String {
        let Some(main) = self.main_lane() else { return String::new() };
        let windows: Vec<Window> =
            self.now.history.iter().map(|it| self.window(it, main)).collect();
        let name = text(&self.path.name);
        let svg = chart::hour(
            &format!(
                "Latency of path {name} over the last hour; the list below has what was not valid"
            ),
            &windows,
        );
        if svg.is_empty() {
            return "<figure><figcaption>The last hour</figcaption><p>No window is over yet.</p>\
                    </figure>"
                .to_owned();
        }
        let key: String = chart::CURVES
            .into_iter()
            .zip(["p50", "p99", "p99.9", "longest"])
            .map(|(class, name)| swatch(class, name))
            .collect();
        format!(
            "<figure><figcaption>The last hour of {} (highest over its QoS), and messages a \
             second</figcaption>{svg}<p class=\"key\">{key}{}</p>{}</figure>",
            main.name(),
            swatch("invalid", "not valid"),
            self.doubts()
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    fn window(&self, window: &WindowNow, main: Lane) -> Window {
        let lanes = self.now.lanes.iter().zip(&window.lanes);
        let mut shown =
            Window { seconds: window.seconds, valid: window.valid, ..Window::default() };
        for (_, &(p50, p99, p999, max, number)) in lanes.filter(|(it, _)| it.lane == main.name()) {
            for (known, figure) in shown.figures.iter_mut().zip([p50, p99, p999, max]) {
                *known = figure.map(|figure| known.unwrap_or(figure).max(figure)).or(*known);
            }
            shown.rate += number as f64 / window.seconds.max(1e-9);
        }
        shown
    }

    /// The windows that are not valid, neighbours of one cause together, the last ones first.
    fn doubts(&self) -> String {
        let mut stretches: Vec<(&str, &str, &[String], u32)> = Vec::new();
        let mut was_valid = true;
        for window in &self.now.history {
            if !window.valid {
                match stretches.last_mut() {
                    Some((_, end, causes, number)) if !was_valid && *causes == window.causes => {
                        (*end, *number) = (&window.end, *number + 1);
                    }
                    _ => stretches.push((&window.end, &window.end, &window.causes, 1)),
                }
            }
            was_valid = window.valid;
        }
        if stretches.is_empty() {
            return "<p class=\"doubts\">Every window of it is valid.</p>".to_owned();
        }
        let told =
            stretches.iter().rev().take(STRETCHES_SHOWN).map(|(from, to, causes, number)| {
                let causes: Vec<_> = causes.iter().map(|cause| words(cause)).collect();
                let until =
                    if from == to { String::new() } else { format!(" to {}", text(clock(to))) };
                format!(
                    "<li>window{} ending {}{until}: {}</li>",
                    if *number > 1 { "s" } else { "" },
                    text(clock(from)),
                    causes.join(", ")
                )
            });
        let told: String = told.collect();
        let more = stretches.len().saturating_sub(STRETCHES_SHOWN);
        let more =
            if more > 0 { format!("<li>and {more} more before</li>") } else { String::new() };
        format!("<p class=\"doubts\">Not valid:</p><ul class=\"doubts\">{told}{more}</ul>")
    }

    /// Where the time goes.
    fn legs(&self) -> String {
        let (names, by_qos) = self.path.timed();
        let all =
            by_qos.iter().flat_map(|(_, legs)| legs.iter().filter_map(|leg| leg.p50.zip(leg.p99)));
        let least = all.clone().map(|(p50, _)| p50.max(1e-6)).fold(f64::INFINITY, f64::min);
        let most = all.map(|(_, p99)| p99).fold(0.0, f64::max);
        let caption =
            "Legs: where the time goes, over the run (the bar goes from p50 to p99, logarithmic)";
        let mut table = Table::new(caption, ["Leg", "p50", "p99", "Max", "Messages", "p50 to p99"]);
        let lanes = self.path.legs();
        for (qos, legs) in &by_qos {
            let mut sending = self.path.sending.iter();
            let lane = lanes.iter().find(|(_, lane)| lane.qos == *qos).map_or(0, |(lane, _)| *lane);
            let at = match sending.position(|of| of.qos == *qos) {
                Some(place) => format!("/paths/{}/sending/{place}", self.index),
                None => format!("/paths/{}/lanes/{lane}", self.index),
            };
            for (name, leg) in names.iter().zip(legs) {
                let at = leg_at(&at, name);
                let Durations { p50, p99, max, count: messages, .. } = *leg;
                let bar = p50.zip(p99).map(|ends| chart::bar(ends, (least, most.max(least))));
                let figures = [(p50, "p50"), (p99, "p99"), (max, "max")]
                    .map(|(figure, name)| timed(figure, &format!("{at}/{name}")));
                let messages = count(messages, &format!("{at}/count"));
                let row = [format!("{}, QoS {qos}", words(name))].into_iter().chain(figures);
                table.push(row.chain([messages, bar.unwrap_or_default()]));
            }
        }
        table.html()
    }
}

fn label(lane: &LaneReport) -> String {
    format!("{}, QoS {}", text(&lane.lane), lane.qos)
}

/// The least end that so many of all stay within.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn at_share(steps: &[(f64, u64)], share: f64) -> Option<f64> {
    let all: u64 = steps.iter().map(|&(_, number)| number).sum();
    let mut seen = 0;
    steps.iter().find_map(|&(end, number)| {
        seen += number;
        (seen as f64 >= share * all as f64).then_some(end)
    })
}

fn key(lanes: impl Iterator<Item = Lane>) -> String {
    lanes.map(|lane| swatch(lane.name(), lane.name())).collect()
}

fn swatch(class: &str, name: &str) -> String {
    format!(
        "<span><svg class=\"swatch\" viewBox=\"0 0 24 10\" aria-hidden=\"true\"><rect class=\"field \
         {class}\" width=\"24\" height=\"10\"/><path class=\"line {class}\" d=\"M0 5H24\"/></svg>{name}</span>"
    )
}
