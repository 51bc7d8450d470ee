//! Rules of our own: nothing overlaps, colours and names mean the same everywhere, titles are answered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Rule;
use super::board::{self, Board, list, text};
use super::linter::each;
use super::promql::{self, Around};

pub(crate) const RULES: [Rule; 12] = [
    ("ids-are-unique", ids_are_unique),
    ("nothing-overlaps", nothing_overlaps),
    ("nothing-is-of-the-past", nothing_is_of_the_past),
    ("titles-ask", titles_ask),
    ("emptiness-is-explained", emptiness_is_explained),
    ("figures-are-numbers", figures_are_numbers),
    ("legends-name-labels", legends_name_labels),
    ("colours-mean-the-same", colours_mean_the_same),
    ("figures-come-first", figures_come_first),
    ("dashboards-are-linked", dashboards_are_linked),
    ("events-are-annotated", events_are_annotated),
    ("variables-are-known", variables_are_known),
];

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Types of panels that Grafana 10 to 13 bring along and that we check the options of.
const TYPES: [&str; 7] =
    ["bargauge", "heatmap", "row", "stat", "state-timeline", "table", "timeseries"];
/// Fields of panels and dashboards that older versions had, each of which Grafana would have to convert.
const PAST: [&str; 12] = [
    "aliasColors",
    "alert",
    "dashboardTags",
    "gauge",
    "legend",
    "nullPointMode",
    "rows",
    "seriesOverrides",
    "sparkline",
    "style",
    "valueMaps",
    "yaxes",
];
/// What dashboards were written as when Grafana 10 came out. Later versions convert it, older ones need
/// not be able to read it.
const SCHEMA_VERSION: u64 = 38;
/// What every dashboard is found by.
const TAG: &str = "landfall";
/// What Grafana fills in by itself.
const BUILT_IN: [&str; 6] =
    ["__all", "__rate_interval", "__range", "__range_s", "__url_time_range", "__all_variables"];

fn ids_are_unique(boards: &[Board]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut uids = BTreeSet::new();
    for board in boards {
        let uid = text(&board.json, "uid");
        if uid != format!("landfall-{}", board.name) || !uids.insert(uid) {
            complaints.push(format!("{}: uid {uid:?}", board.name));
        }
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for item in board.items() {
            if !item["id"].as_u64().is_some_and(|id| ids.insert(id)) {
                complaints.push(format!("{}: id {}", board.place(item), item["id"]));
            }
            if !titles.insert(text(item, "title")) {
                complaints.push(format!("{}: a title twice", board.place(item)));
            }
            let mut letters = BTreeSet::new();
            for target in list(item, "/targets") {
                let letter = text(target, "refId");
                if letter.is_empty() || !letters.insert(letter) {
                    complaints.push(format!("{}: refId {letter:?}", board.place(item)));
                }
            }
        }
    }
    complaints
}

/// Left, top, right, bottom.
fn area(item: &Value) -> Option<[u64; 4]> {
    let of = |field: &str| item["gridPos"][field].as_u64();
    let (x, y, w, h) = (of("x")?, of("y")?, of("w")?, of("h")?);
    (w > 0 && h > 0).then_some([x, y, x + w, y + h])
}

fn nothing_overlaps(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        let mut cells: BTreeMap<u64, u64> = BTreeMap::new();
        let mut placed: Vec<(&Value, [u64; 4])> = Vec::new();
        for item in board.items() {
            let Some(area @ [left, top, right, bottom]) = area(item) else {
                complaints.push(format!("{}: has no place", board.place(item)));
                continue;
            };
            if right > COLUMNS {
                complaints.push(format!("{}: beyond column {COLUMNS}", board.place(item)));
            }
            for (other, [x, y, to, down]) in &placed {
                if left < *to && *x < right && top < *down && *y < bottom {
                    complaints.push(format!("{}: over {}", board.place(item), other["title"]));
                }
            }
            placed.push((item, area));
            for line in top..bottom {
                *cells.entry(line).or_default() += right - left;
            }
        }
        let gaps = cells.iter().filter(|(_, width)| **width != COLUMNS);
        complaints.extend(gaps.map(|(line, width)| {
            format!("{}: {width} of {COLUMNS} columns in line {line}", board.name)
        }));
        complaints
    })
}

fn nothing_is_of_the_past(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        if board.json["schemaVersion"] != SCHEMA_VERSION || !board.json["id"].is_null() {
            complaints.push(format!("{}: not as Grafana 10 writes it", board.name));
        }
        for json in board.items().iter().chain([&board.json]) {
            let past = PAST.iter().filter(|field| json.get(field).is_some());
            complaints.extend(past.map(|field| format!("{}: {field}", board.place(json))));
        }
        let unknown = board.items().iter().filter(|item| !TYPES.contains(&text(item, "type")));
        complaints
            .extend(unknown.map(|item| format!("{}: type {}", board.place(item), item["type"])));
        complaints
    })
}

fn titles_ask(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        for panel in board.panels() {
            if !text(panel, "title").ends_with('?') {
                complaints.push(format!("{}: no question", board.place(panel)));
            }
            if !text(panel, "description").ends_with('.') {
                complaints.push(format!("{}: no sentence says more", board.place(panel)));
            }
        }
        complaints
    })
}

/// An empty panel says why, and a figure whether it is good.
fn emptiness_is_explained(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let wrong = board.panels().filter(|panel| {
            let defaults = &panel["fieldConfig"]["defaults"];
            text(defaults, "noValue").is_empty() || list(defaults, "/thresholds/steps").is_empty()
        });
        wrong.map(|panel| format!("{}: no noValue or thresholds", board.place(panel))).collect()
    })
}

/// Where nothing was measured, a quantile and a share are no numbers; left out, they make way for
/// noValue.
fn figures_are_numbers(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let wrong = board.targets().filter(|(_, target)| {
            let query = text(target, "expr");
            let may_be_none = query.contains("histogram_quantile(") || query.contains(" / ");
            may_be_none && !query.ends_with(" < Inf")
        });
        wrong.map(|(panel, _)| format!("{}: may show NaN", board.place(panel))).collect()
    })
}

/// Labels that are left of a query.
fn left_over(query: &str) -> BTreeSet<String> {
    let Ok(expr) = promql::parsed(query) else { return BTreeSet::new() };
    let found = promql::selectors(&expr);
    let labels = found.iter().flat_map(|found| {
        let outermost = found.around.iter().find_map(|around| match around {
            Around::By(labels) => Some(labels.clone()),
            Around::Call(_) => None,
        });
        outermost.unwrap_or_default()
    });
    labels.collect()
}

fn legends_name_labels(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        for (panel, target) in board.targets() {
            let legend = text(target, "legendFormat");
            if legend.is_empty() {
                complaints.push(format!("{}: no legend", board.place(panel)));
            }
            let left = left_over(text(target, "expr"));
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                if !left.contains(label) {
                    complaints.push(format!("{}: no {label} for the legend", board.place(panel)));
                }
            }
        }
        complaints
    })
}

/// What is named outright has one colour, whichever panel shows it.
fn colours_mean_the_same(boards: &[Board]) -> Vec<String> {
    let mut colours: BTreeMap<&str, (String, String)> = BTreeMap::new();
    let mut complaints = Vec::new();
    for board in boards {
        for panel in board.panels() {
            for one in list(panel, "/fieldConfig/overrides") {
                let mut properties = list(one, "/properties").iter();
                let Some(colour) = properties.find(|property| property["id"] == "color") else {
                    continue;
                };
                let (name, place) = (text(&one["matcher"], "options"), board.place(panel));
                let colour = text(&colour["value"], "fixedColor").to_owned();
                let known = colours.entry(name).or_insert_with(|| (colour.clone(), place.clone()));
                if known.0 != colour {
                    complaints
                        .push(format!("{place}: {name} is {colour}, in {} {}", known.1, known.0));
                }
            }
        }
    }
    complaints
}

fn figures_come_first(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut items = board.items().iter();
        let begins = items.next().is_some_and(|item| item["type"] == "row");
        let first: Vec<_> = items.take_while(|item| item["type"] != "row").collect();
        if begins && first.len() >= 4 && first.iter().all(|item| item["type"] == "stat") {
            return Vec::new();
        }
        vec![format!("{}: it does not begin with a row of figures", board.name)]
    })
}

fn dashboards_are_linked(boards: &[Board]) -> Vec<String> {
    let uids: BTreeSet<_> = boards.iter().map(|board| text(&board.json, "uid")).collect();
    each(boards, |board| {
        let mut complaints = Vec::new();
        let links = list(&board.json, "/links").iter();
        let to_all = |link: &&Value| {
            let keeps = link["includeVars"] == true && link["keepTime"] == true;
            keeps && link["type"] == "dashboards" && link["tags"] == serde_json::json!([TAG])
        };
        let is_tagged = list(&board.json, "/tags").iter().any(|tag| tag == TAG);
        if links.filter(to_all).count() != 1 || !is_tagged {
            complaints.push(format!("{}: not linked with the others", board.name));
        }
        for panel in board.panels() {
            for link in list(panel, "/links") {
                let url = text(link, "url").strip_prefix("/d/").and_then(|url| url.split_once('?'));
                let good = url.is_some_and(|(uid, rest)| {
                    uids.contains(uid) && rest == "${__url_time_range}&${__all_variables}"
                });
                if !good {
                    complaints.push(format!("{}: leads nowhere", board.place(panel)));
                }
            }
        }
        complaints
    })
}

fn events_are_annotated(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let names: Vec<_> = board.annotations().map(|one| text(one, "name")).collect();
        let mut complaints = Vec::new();
        if names != ["Restart of the probe", "Reconnect", "Invalid window"] {
            complaints.push(format!("{}: annotations {names:?}", board.name));
        }
        for annotation in board.annotations() {
            let query = text(annotation, "expr");
            let left = left_over(query);
            let tags = text(annotation, "tagKeys").split(',');
            let place = board.place(annotation);
            // Some versions leave out what is below 1.
            if !query.ends_with("> 0") || !tags.into_iter().all(|tag| left.contains(tag)) {
                complaints.push(format!("{place}: {query}"));
            }
        }
        complaints
    })
}

fn variables_are_known(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let known = board.variables().iter().map(|variable| text(variable, "name"));
        let known: BTreeSet<_> = known.chain(BUILT_IN).collect();
        let used = board::named(&board.json.to_string());
        let unknown = used.iter().filter(|name| !known.contains(name.as_str()));
        unknown.map(|name| format!("{}: no variable {name}", board.name)).collect()
    })
}
