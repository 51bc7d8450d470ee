//! Room `report`: the status page, as HTML that is whole without a script.
//!
//! # Design
//!
//! Everything that the page shows is written here, from the very document that `/api/v1/status` has, so
//! that no figure is worked out twice: each in a sentence, a tile or a table stands in a `data` element
//! with its exact value and its place in that document, or those of what it is the sum or share of.
//! Charts are drawn from the same figures, and lists say how long they are. The page's script only puts a newer one of these in place. Style and script are
//! the server's (room `telemetry`), and so is the frame around this.

mod chart;
mod deliveries;
mod load;
mod markup;
mod messages;
mod route;
mod standing;
mod surroundings;

use super::status::Status;
use crate::study::{Figure, Judged};
use markup::{Table, count, figure, text, timed, words};

/// What stands in the page's `main`, on one line.
pub(super) fn render(status: &Status) -> String {
    let mut html = header(status);
    html.push_str(&standing::html(status));
    html.push_str(&objectives(status));
    for index in 0..status.report.paths.len() {
        html.push_str(&route::html(status, index));
    }
    html.push_str(&surroundings::html(status));
    html
}

fn header(status: &Status) -> String {
    let (report, live) = (&status.report, &status.live);
    let restarts = match report.window.restarts {
        0 => String::new(),
        restarts => {
            format!(" · went on {} times after it was killed", count(restarts, "/window/restarts"))
        }
    };
    let edition = figure(&text(clock(&live.made)), live.edition, "/live/edition");
    format!(
        "<p class=\"probe\">Probe <b>{}</b> · {} for {}{restarts} · figures of <time \
         datetime=\"{}\">{edition}</time> UTC</p>",
        text(&report.environment.probe),
        words(&live.phase),
        timed(Some(report.window.seconds), "/window/seconds"),
        text(&live.made),
    )
}

/// The time of day of an RFC 3339 moment, to the second.
fn clock(moment: &str) -> &str {
    moment.get(11..19).unwrap_or(moment)
}

fn objectives(status: &Status) -> String {
    let caption = "Objectives, judged on what is known so far";
    let mut table =
        Table::new(caption, ["Objective", "Path", "Target", "Figure", "Holds"]).of_words();
    for (index, judged) in status.report.verdict.objectives.iter().enumerate() {
        let at = format!("/verdict/objectives/{index}");
        let holds = match judged.held {
            Some(true) => "<span class=\"good\">yes</span>".to_owned(),
            Some(false) => "<b class=\"bad\">NO</b>".to_owned(),
            None => {
                let why = judged.reason.as_deref().unwrap_or("nobody can say");
                format!("<span class=\"unsure\">unknown</span>: {}", text(why))
            }
        };
        table.push([
            words(judged.name.trim_end_matches("_seconds")),
            text(&judged.path),
            format!(
                "{} {}",
                super::judged::side(judged),
                judged_figure(judged, Some(judged.target), &format!("{at}/target"))
            ),
            judged_figure(judged, judged.figure, &format!("{at}/figure")),
            holds,
        ]);
    }
    match table.html() {
        table if table.is_empty() => table,
        table => {
            format!("<section aria-labelledby=\"o\"><h2 id=\"o\">Objectives</h2>{table}</section>")
        }
    }
}

/// A figure with the unit of its objective.
fn judged_figure(judged: &Judged, value: Option<Figure>, at: &str) -> String {
    let shown = text(&super::judged::figure(&judged.name, value)).replace(" us", " µs");
    match value {
        Some(Figure::Count(number)) => figure(&shown, number, at),
        Some(Figure::Number(number)) => figure(&shown, number, at),
        None => shown,
    }
}
