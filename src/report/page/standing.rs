//! Room `report`: how it goes, in one line that is read in two seconds.

use crate::correlate::Lane;
use crate::report::document::LaneReport;
use crate::report::status::{LaneNow, Status};
use crate::study::VerdictResult;

use super::markup::{count, duration, figure, text, timed, words};

/// How it goes, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Good,
    Waiting,
    Unsure,
    Bad,
}

impl Level {
    /// A class of the style sheet, the shape of a sign, and what the sign says.
    const fn sign(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Good => ("good", "M12 2a10 10 0 1 0 .01 0zM7 12l4 4 7-8", "Good"),
            Self::Waiting => ("waiting", "M12 2a10 10 0 1 0 .01 0zM12 7v5l4 3", "Waiting"),
            Self::Unsure => ("unsure", "M12 2L1 21H23zM12 9v6M12 17v2", "In doubt"),
            Self::Bad => ("bad", "M8 2h8l6 6v8l-6 6H8l-6-6V8zM8 8l8 8M16 8l-8 8", "Bad"),
        }
    }
}

/// What is known of all paths together.
struct Whole<'a> {
    status: &'a Status,
    /// The net number of messages that the broker had acknowledged and that did not come out.
    acked_lost: u64,
    /// The highest p99 of the crossing right now, and where the status has it.
    p99: Option<(f64, String, &'static str)>,
    /// Why the last window of a path is not valid.
    causes: Vec<String>,
    is_judged: bool,
}

impl<'a> Whole<'a> {
    fn of(status: &'a Status) -> Self {
        let lanes = status.report.paths.iter().flat_map(|path| &path.lanes);
        let last = status.live.paths.iter().filter_map(|path| path.history.last());
        let mut causes: Vec<String> = last.clone().flat_map(|last| last.causes.clone()).collect();
        causes.sort_unstable();
        causes.dedup();
        Self {
            status,
            acked_lost: lanes.map(|lane| lane.outcomes.acked_lost).sum(),
            p99: p99(status),
            causes,
            is_judged: last.count() > 0,
        }
    }

    /// How it goes, and why.
    fn level(&self) -> (Level, String) {
        let status = self.status;
        let verdict = &status.report.verdict;
        let away: Vec<_> =
            status.live.components.iter().filter(|(_, it)| !it.up && it.needed).collect();
        let failed = verdict.objectives.iter().find(|judged| judged.held == Some(false));
        if self.acked_lost > 0 && failed.is_some() {
            return (Level::Bad, "Acknowledged messages were lost".to_owned());
        }
        if let Some(judged) = failed {
            let name = words(judged.name.trim_end_matches("_seconds"));
            return (
                Level::Bad,
                format!("{name} of {} is beyond its objective", text(&judged.path)),
            );
        }
        if status.live.phase == "over" {
            return match verdict.result {
                VerdictResult::Passed => (Level::Good, "The run is over and passed".to_owned()),
                _ => (
                    Level::Unsure,
                    "The run is over and nobody can say whether it passed".to_owned(),
                ),
            };
        }
        if let Some((name, component)) = away.first() {
            let level =
                if status.live.phase == "connecting" { Level::Waiting } else { Level::Unsure };
            return (level, format!("{} is away: {}", words(name), text(&component.reason)));
        }
        if let Some((path, why)) = verdict.unmeasured.iter().next() {
            return (Level::Waiting, format!("{} is not measured yet: {}", text(path), text(why)));
        }
        if !self.is_judged || self.causes == ["warming_up"] {
            return (Level::Waiting, "Warming up".to_owned());
        }
        if !self.causes.is_empty() {
            let causes: Vec<_> = self.causes.iter().map(|cause| words(cause)).collect();
            return (Level::Unsure, format!("The last window is in doubt: {}", causes.join(", ")));
        }
        (Level::Good, "All is well".to_owned())
    }
}

/// The p99 that counts: of the crossing, or of what else there is; of the last windows, or of the
/// run while those hold too few messages. The control lane is none of it unless it is alone.
fn p99(status: &Status) -> Option<(f64, String, &'static str)> {
    let found = |lane: Lane| {
        let paths = status.report.paths.iter().zip(&status.live.paths).enumerate();
        let all = paths.flat_map(|(at, (path, now))| {
            let lanes = path.lanes.iter().zip(&now.lanes).enumerate();
            lanes.map(move |(index, lanes)| (at, index, lanes))
        });
        all.filter(|(.., (report, _))| report.lane == lane.name())
            .filter_map(|(path, index, lanes)| of_lane(lanes, (path, index)))
            .max_by(|(a, ..), (b, ..)| a.total_cmp(b))
    };
    Lane::ALL.into_iter().find_map(found)
}

fn of_lane(
    (report, now): (&LaneReport, &LaneNow),
    (path, index): (usize, usize),
) -> Option<(f64, String, &'static str)> {
    let recent = now.recent_seconds.p99.map(|p99| {
        (p99, format!("/live/paths/{path}/lanes/{index}/recent_seconds/p99"), "in the last windows")
    });
    let of_run = |figure: Option<f64>, name, said| {
        Some((figure?, format!("/paths/{path}/lanes/{index}/{name}/p99"), said))
    };
    let valid = report.latency_seconds_valid.p99;
    recent
        .or_else(|| of_run(valid, "latency_seconds_valid", "in valid windows so far"))
        .or_else(|| of_run(report.latency_seconds.p99, "latency_seconds", "so far"))
}

/// The verdict, and the figures that it rests on.
pub(super) fn html(status: &Status) -> String {
    let whole = Whole::of(status);
    let (level, why) = whole.level();
    let (class, shape, said) = level.sign();
    let validity = match (whole.is_judged, whole.causes.is_empty()) {
        (false, _) => "no window is over yet".to_owned(),
        (true, true) => "last window valid".to_owned(),
        (true, false) => {
            let causes: Vec<_> = whole.causes.iter().map(|cause| words(cause)).collect();
            format!("last window not valid ({})", causes.join(", "))
        }
    };
    let p99 = whole.p99.as_ref().map_or_else(
        || "p99 not known yet".to_owned(),
        |(p99, at, _)| format!("p99 {}", figure(&duration(*p99), p99, at)),
    );
    let lost = crate::report::figures::count(whole.acked_lost);
    let loss = if whole.acked_lost > 0 { "bad" } else { "fine" };
    format!(
        "<section class=\"verdict {class}\" aria-labelledby=\"v\">\
         <h2 id=\"v\" class=\"unseen\">How it goes</h2>\
         <div role=\"status\" aria-live=\"polite\" id=\"verdict\">\
         <svg class=\"sign\" viewBox=\"0 0 24 24\" role=\"img\" aria-label=\"{said}\"><path d=\"{shape}\"/></svg>\
         <strong>{why}</strong></div>\
         <p><b class=\"{loss}\" id=\"acked-lost\">{lost}</b> acknowledged messages lost · {p99} · {validity}</p>\
         </section>{}",
        tiles(&whole)
    )
}

fn tiles(whole: &Whole) -> String {
    let (report, live) = (&whole.status.report, &whole.status.live);
    let lanes = || report.paths.iter().flat_map(|path| &path.lanes);
    let crossing = |it: &&LaneReport| it.lane != Lane::KafkaKafka.name();
    let slots: u64 = lanes().filter(crossing).map(|lane| lane.slots).sum();
    let delivered: u64 = lanes().filter(crossing).map(|lane| lane.outcomes.delivered).sum();
    let in_flight: u64 = live.paths.iter().flat_map(|it| &it.lanes).map(|it| it.in_flight).sum();
    let published: u64 = report.paths.iter().map(|path| path.published).sum();
    let number = crate::report::figures::count;
    let mut tiles = String::from("<dl class=\"tiles\">");
    let mut tile = |name: &str, figure: String, more: &str| {
        let tile = format!("<div><dt>{name}</dt><dd>{figure}<small>{more}</small></dd></div>");
        tiles.push_str(&tile);
    };
    if let Some((p99, at, what)) = &whole.p99 {
        tile("p99, due to received", timed(Some(*p99), at), what);
    }
    tile(
        "Delivered in time",
        share(delivered, slots),
        &format!("of {} slots on all lanes", number(slots)),
    );
    tile("Published", number(published), "messages over MQTT");
    tile("In flight", number(in_flight), "sent, no outcome yet");
    let valid = report.window.valid_fraction;
    let valid = valid.map(|share| figure(&percent(share), share, "/window/valid_fraction"));
    tile("Valid windows", valid.unwrap_or_else(|| "-".to_owned()), "warm-up left out");
    tiles + "</dl>"
}

/// A share that is never rounded up to one.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(part: u64, of: u64) -> String {
    if of == 0 { "-".to_owned() } else { percent(part as f64 / of as f64) }
}

fn percent(share: f64) -> String {
    let percent = (share * 1e5 + 1e-6).floor() / 1e3;
    format!("{percent}\u{a0}%")
}

/// A net loss, set apart where there is any.
pub(super) fn loss(number: u64, at: &str) -> String {
    let shown = count(number, at);
    if number > 0 { format!("<b class=\"bad\">{shown}</b>") } else { shown }
}
