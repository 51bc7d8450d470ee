//! Room `report`: how it goes, in one line that is read in two seconds.

use crate::correlate::{Lane, Outcome};
use crate::report::document::LaneReport;
use crate::report::status::{LaneNow, Status};
use crate::report::unsent;
use crate::study::VerdictResult;

use super::markup::{Sum, count, duration, figure, text, timed, words};

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
    /// The net number of messages that the broker had acknowledged and that did not come out, on one
    /// lane: what is lost before the lanes part is missing on each of them.
    acked_lost: (Lane, Sum),
    /// The highest p99 of the crossing right now, and where the status has it.
    p99: Option<(f64, String, &'static str)>,
    /// Why the last window of a path is not valid.
    causes: Vec<String>,
    is_judged: bool,
}

impl<'a> Whole<'a> {
    fn of(status: &'a Status) -> Self {
        let last = status.live.paths.iter().filter_map(|path| path.history.last());
        let mut causes: Vec<String> = last.clone().flat_map(|last| last.causes.clone()).collect();
        causes.sort_unstable();
        causes.dedup();
        Self {
            status,
            acked_lost: acked_lost(status),
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
        let mut failed = verdict.objectives.iter().filter(|judged| judged.held == Some(false));
        if failed.clone().any(|judged| judged.name == Outcome::AckedLost.name()) {
            return (Level::Bad, "Acknowledged messages were lost".to_owned());
        }
        if let Some(judged) = failed.next() {
            let name = words(judged.name.trim_end_matches("_seconds"));
            return (
                Level::Bad,
                format!("{name} of {} is beyond its objective", text(&judged.path)),
            );
        }
        if status.live.phase == "over" {
            return match verdict.result {
                VerdictResult::Passed if unsent::is_most(&status.report) => (
                    Level::Unsure,
                    "The run is over and passed, but most of its load was not sent".to_owned(),
                ),
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

/// The lanes of all paths, and where the status has them.
fn lanes(status: &Status) -> impl Iterator<Item = (&LaneReport, String)> {
    status.report.paths.iter().enumerate().flat_map(|(path, report)| {
        let lanes = report.lanes.iter().enumerate();
        lanes.map(move |(lane, report)| (report, format!("/paths/{path}/lanes/{lane}")))
    })
}

/// The losses that count: of the crossing, or of the first other lane where the crossing has none. No
/// lane's losses hide behind another's zero.
fn acked_lost(status: &Status) -> (Lane, Sum) {
    let of = |lane: Lane| {
        let lost = lanes(status).filter(move |(report, _)| report.lane == lane.name());
        let lost: Sum = lost
            .map(|(report, at)| (report.outcomes.acked_lost, format!("{at}/outcomes/acked_lost")))
            .collect();
        (lane, lost)
    };
    let mut found = Lane::ALL.into_iter().map(of).filter(|(_, lost)| !lost.at.is_empty());
    let Some(first) = found.next() else { return (Lane::MqttKafka, Sum::default()) };
    if first.1.number > 0 {
        return first;
    }
    found.find(|(_, lost)| lost.number > 0).unwrap_or(first)
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
    let (lane, lost) = &whole.acked_lost;
    let loss = if lost.number > 0 { "bad" } else { "fine" };
    let lost = lost.html();
    let which = match lane {
        Lane::MqttKafka => String::new(),
        lane => format!(" on {}", lane.name()),
    };
    format!(
        "<section class=\"verdict {class}\" aria-labelledby=\"v\">\
         <h2 id=\"v\" class=\"unseen\">How it goes</h2>\
         <div role=\"status\" aria-live=\"polite\" id=\"verdict\">\
         <svg class=\"sign\" viewBox=\"0 0 24 24\" role=\"img\" aria-label=\"{said}\"><path d=\"{shape}\"/></svg>\
         <strong>{why}</strong></div>\
         <p><b class=\"{loss}\" id=\"acked-lost\">{lost}</b> acknowledged messages lost{which} · {p99} · {validity}{}</p>\
         </section>{}",
        not_sent(status),
        tiles(&whole)
    )
}

/// The slots that were not sent, of the paths of which that is much; nothing where there is none.
fn not_sent(status: &Status) -> String {
    let places = |path: usize| {
        let causes = status.report.paths[path].not_sent.iter();
        causes.map(move |(cause, &number)| (number, format!("/paths/{path}/not_sent/{cause}")))
    };
    let told = unsent::told(&status.report).map(|(path, unsent)| {
        let skipped: Sum = places(path).collect();
        let offered = count(unsent.offered, &format!("/paths/{path}/offered"));
        let name = text(&status.report.paths[path].name);
        format!(" · {} of {offered} slots of {name} were not sent", skipped.html())
    });
    told.collect()
}

fn tiles(whole: &Whole) -> String {
    let (report, live) = (&whole.status.report, &whole.status.live);
    // The control lane is none of it unless it is alone.
    let control = Lane::KafkaKafka.name();
    let is_alone = lanes(whole.status).all(|(lane, _)| lane.lane == control);
    let which = match (is_alone, lanes(whole.status).any(|(lane, _)| lane.lane == control)) {
        (false, true) => "on all lanes but the control lane",
        _ => "on all lanes",
    };
    let sum = |count: fn(&LaneReport) -> u64, name: &str| -> Sum {
        let counted = lanes(whole.status).filter(|(lane, _)| is_alone || lane.lane != control);
        counted.map(|(lane, at)| (count(lane), format!("{at}/{name}"))).collect()
    };
    let slots = sum(|lane| lane.slots, "slots");
    let delivered = sum(|lane| lane.outcomes.delivered, "outcomes/delivered");
    let now = live.paths.iter().enumerate().flat_map(|(path, now)| {
        let lanes = now.lanes.iter().enumerate();
        lanes.map(move |(lane, now)| (now, format!("/live/paths/{path}/lanes/{lane}/in_flight")))
    });
    let in_flight: Sum = now
        .filter(|(now, _)| is_alone || now.lane != control)
        .map(|(now, at)| (now.in_flight, at))
        .collect();
    let published = report.paths.iter().enumerate();
    let published: Sum =
        published.map(|(path, it)| (it.published, format!("/paths/{path}/published"))).collect();
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
        share(&delivered, &slots),
        &format!("of {} slots {which}", slots.html()),
    );
    tile("Published", published.html(), "messages over MQTT");
    tile("In flight", in_flight.html(), &format!("sent, no outcome yet, {which}"));
    let valid = report.window.valid_fraction;
    let valid = valid.map(|share| figure(&percent(share), share, "/window/valid_fraction"));
    tile("Valid windows", valid.unwrap_or_else(|| "-".to_owned()), "warm-up left out");
    tiles + "</dl>"
}

/// A share that is never rounded up to one.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(part: &Sum, of: &Sum) -> String {
    if of.number == 0 {
        return "-".to_owned();
    }
    let share = part.number as f64 / of.number as f64;
    figure(&percent(share), share, &format!("{} of {}", part.at, of.at))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::WallTime;
    use crate::correlate::Roster;
    use crate::report::{
        Bounds, Environment, Inputs, Live, Outcomes, PathNow, PathReport, Product, Report, Window,
    };
    use crate::stats::Stats;
    use crate::study::{Figure, Judged, Unmeasured, Verdict};

    /// A path with these lanes, of which each lost so many and has two slots in flight.
    fn status(lost: &[(Lane, u64)]) -> Status {
        let stats = Stats::new(Arc::new(Roster::default()));
        let moment = WallTime::from_millis(0);
        let mut report = Report::build(Inputs {
            stats: &stats,
            landfall: Product::default(),
            environment: Environment::default(),
            window: Window::new(moment, moment, Duration::ZERO),
            loads: Vec::new(),
            calibrations: Vec::new(),
            windows: Vec::new(),
            worst: Vec::new(),
            bounds: Bounds { clock_nanos: 1, pairing_nanos: 1 },
            host: BTreeMap::new(),
            processes: Vec::new(),
            load: None,
            verdict: Verdict::judge(&stats, &[], &Unmeasured::default()),
            is_whole: false,
        });
        let lane = |&(lane, acked_lost): &(Lane, u64)| LaneReport {
            lane: lane.name().to_owned(),
            slots: 10,
            outcomes: Outcomes { acked_lost, delivered: 5, ..Outcomes::default() },
            ..LaneReport::default()
        };
        let lanes = lost.iter().map(lane).collect();
        report.paths = vec![PathReport { lanes, ..PathReport::default() }];
        let now = |(lane, _): &(Lane, u64)| LaneNow {
            lane: lane.name().to_owned(),
            in_flight: 2,
            ..LaneNow::default()
        };
        let lanes = lost.iter().map(now).collect();
        let paths = vec![PathNow { lanes, ..PathNow::default() }];
        Status { report, live: Live { paths, ..Live::default() } }
    }

    fn failed(name: &str) -> Judged {
        Judged {
            name: name.to_owned(),
            path: "plant".to_owned(),
            target: Figure::Count(5),
            figure: None,
            figure_all_windows: None,
            figure_valid_windows: None,
            held: Some(false),
            reason: None,
        }
    }

    /// What a reader reads of it.
    fn told(status: &Status) -> String {
        let html = html(status);
        let parts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect()
    }

    #[test]
    fn a_loss_is_counted_on_one_lane() {
        use Lane::{KafkaKafka, MqttKafka, MqttMqtt};
        for (lost, words) in [
            (&[(MqttKafka, 1), (MqttMqtt, 1)][..], "1 acknowledged messages lost · "),
            (&[(MqttKafka, 0), (MqttMqtt, 0)], "0 acknowledged messages lost · "),
            (&[(MqttKafka, 0), (MqttMqtt, 3)], "3 acknowledged messages lost on mqtt_mqtt · "),
            (&[(MqttMqtt, 0)], "0 acknowledged messages lost on mqtt_mqtt · "),
            (&[(MqttKafka, 0), (KafkaKafka, 1)], "1 acknowledged messages lost on kafka_kafka · "),
            (&[(MqttKafka, 1), (MqttKafka, 2)], "3 acknowledged messages lost · "),
        ] {
            let told = told(&status(lost));
            assert!(told.contains(words), "{words} is not in {told}");
        }
    }

    #[test]
    fn the_objective_that_failed_is_the_one_that_is_named() {
        let mut status = status(&[(Lane::MqttKafka, 1)]);
        status.report.verdict.objectives = vec![failed("p99_seconds")];
        assert!(told(&status).contains("p99 of plant is beyond its objective"));
        status.report.verdict.objectives.push(failed("acked_lost"));
        let told = told(&status);
        assert!(told.contains("Acknowledged messages were lost"), "{told}");
        assert!(!told.contains("beyond its objective"), "{told}");
    }

    #[test]
    fn the_control_lane_is_left_out_of_every_tile_unless_it_is_alone() {
        let control = (Lane::KafkaKafka, 0);
        for (lanes, slots, in_flight) in [
            (
                &[(Lane::MqttKafka, 0), control][..],
                "50\u{a0}%of 10 slots on all lanes but the control lane",
                "In flight2sent, no outcome yet, on all lanes but the control lane",
            ),
            (
                &[(Lane::MqttKafka, 0), (Lane::MqttMqtt, 0)],
                "50\u{a0}%of 20 slots on all lanes",
                "In flight4sent, no outcome yet, on all lanes",
            ),
            (
                &[control],
                "50\u{a0}%of 10 slots on all lanes",
                "In flight2sent, no outcome yet, on all lanes",
            ),
        ] {
            let told = told(&status(lanes));
            assert!(told.contains(slots) && told.contains(in_flight), "{told}");
        }
    }
}
