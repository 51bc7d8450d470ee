//! The rules of the public dashboard linter, by the names that they have there.

use serde_json::Value;

use super::Rule;
use super::board::{self, Board, text};
use super::promql::{self, Found, RATE_INTERVAL};

pub(crate) const RULES: [Rule; 16] = [
    ("template-datasource-rule", template_datasource),
    ("template-job-rule", |boards| template(boards, "job", "Job")),
    ("template-instance-rule", |boards| template(boards, "instance", "Instance")),
    ("template-required-variables-rule", |boards| {
        [template(boards, "path", "Path"), template(boards, "qos", "QoS")].concat()
    }),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_on_time_change_reload),
    ("template-unused-rule", template_unused),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-promql-rule", target_promql),
    ("target-rate-interval-rule", target_rate_interval),
    ("target-required-matchers-rule", target_required_matchers),
    ("target-counter-agg-rule", target_counter_agg),
    ("uneditable-dashboard-rule", uneditable),
];

/// Units of Grafana that our figures have.
const UNITS: [&str; 7] = ["none", "short", "percentunit", "s", "bytes", "cps", "percent"];

/// What each dashboard is complained about.
pub(crate) fn each(boards: &[Board], complain: impl Fn(&Board) -> Vec<String>) -> Vec<String> {
    boards.iter().flat_map(complain).collect()
}

/// What each query of a panel is complained about.
pub(crate) fn each_query(
    boards: &[Board],
    complain: impl Fn(&Value, &Found<'_>) -> Option<String>,
) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        for (panel, target) in board.targets() {
            // What can't be parsed is another rule's.
            let Ok(expr) = promql::parsed(text(target, "expr")) else { continue };
            let selectors = promql::selectors(&expr);
            let found = selectors.iter().filter_map(|found| complain(panel, found));
            complaints.extend(found.map(|what| format!("{}: {what}", board.place(panel))));
        }
        complaints
    })
}

fn is_templated(json: &Value) -> bool {
    json["datasource"]["uid"] == "${datasource}" && json["datasource"]["type"] == "prometheus"
}

fn template_datasource(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let variables = board.variables().iter();
        let is = |variable: &&Value| {
            ["type", "name", "label", "query"].map(|field| text(variable, field))
                == ["datasource", "datasource", "Data source", "prometheus"]
        };
        match variables.filter(is).count() {
            1 => Vec::new(),
            _ => vec![format!("{}: no data source to choose", board.name)],
        }
    })
}

fn template(boards: &[Board], name: &str, label: &str) -> Vec<String> {
    each(boards, |board| {
        let variable = board.variables().iter().find(|variable| variable["name"] == name);
        let Some(variable) = variable else {
            return vec![format!("{}: no variable {name}", board.name)];
        };
        let is = [
            (is_templated(variable), "asks another data source"),
            (variable["type"] == "query", "is no query"),
            (variable["label"] == label, "has another label"),
            (variable["multi"] == true, "takes one value only"),
            (variable["includeAll"] == true, "knows no All"),
            (variable["allValue"] == ".+", "has another All than .+"),
        ];
        let wrong = is.into_iter().filter(|(good, _)| !good);
        wrong.map(|(_, what)| format!("{}: {name} {what}", board.name)).collect()
    })
}

fn queries(board: &Board) -> impl Iterator<Item = &Value> {
    board.variables().iter().filter(|variable| variable["type"] == "query")
}

fn template_label_promql(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let wrong = queries(board).filter_map(|variable| {
            let place = board.place(variable);
            let Some((selector, _)) = board::label_values(variable) else {
                return Some(format!("{place}: not label_values(selector, label)"));
            };
            promql::parsed(selector).err().map(|error| format!("{place}: {error}"))
        });
        wrong.collect()
    })
}

fn template_on_time_change_reload(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let wrong = queries(board).filter(|variable| variable["refresh"] != 2);
        wrong.map(|variable| format!("{}: kept when time changes", board.place(variable))).collect()
    })
}

fn template_unused(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let panels = Value::Array(board.items().to_vec()).to_string();
        let used = board::named(&panels);
        let unused = board.variables().iter().filter(|variable| {
            let name = text(variable, "name");
            !used.contains(name)
        });
        unused.map(|variable| format!("{}: no panel uses it", board.place(variable))).collect()
    })
}

fn panel_datasource(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let all = board.panels().map(|panel| (panel, panel)).chain(board.targets());
        let all = all.chain(board.annotations().map(|annotation| (annotation, annotation)));
        let wrong = all.filter(|(_, json)| !is_templated(json));
        wrong.map(|(of, _)| format!("{}: a data source of its own", board.place(of))).collect()
    })
}

fn panel_title_description(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let wrong = board.panels().filter(|panel| {
            text(panel, "title").is_empty() || text(panel, "description").is_empty()
        });
        wrong.map(|panel| format!("{}: no title or description", board.place(panel))).collect()
    })
}

fn panel_units(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        for panel in board.panels() {
            let fields = &panel["fieldConfig"];
            let overrides = board::list(fields, "/overrides").iter();
            let properties = overrides.flat_map(|one| board::list(one, "/properties"));
            let units = properties.filter(|one| one["id"] == "unit").map(|one| text(one, "value"));
            for unit in units.chain([text(&fields["defaults"], "unit")]) {
                if !UNITS.contains(&unit) {
                    complaints.push(format!("{}: unit {unit:?}", board.place(panel)));
                }
            }
        }
        complaints
    })
}

fn panel_no_targets(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let wrong = board.panels().filter(|panel| board::list(panel, "/targets").is_empty());
        wrong.map(|panel| format!("{}: asks nothing", board.place(panel))).collect()
    })
}

fn target_promql(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let targets = board.targets().chain(board.annotations().map(|one| (one, one)));
        let wrong = targets.filter_map(|(of, target)| {
            let error = promql::parsed(text(target, "expr")).err()?;
            Some(format!("{}: {error}", board.place(of)))
        });
        wrong.collect()
    })
}

fn target_rate_interval(boards: &[Board]) -> Vec<String> {
    each_query(boards, |_, found| {
        let is_rate = matches!(found.function(), Some("rate" | "irate"));
        let wrong = is_rate && found.range != Some(RATE_INTERVAL);
        wrong.then(|| format!("a rate of {} over a fixed time", found.name()))
    })
}

fn target_required_matchers(boards: &[Board]) -> Vec<String> {
    each_query(boards, |_, found| {
        let missing = ["job", "instance"].into_iter().find(|label| !found.is_chosen(label))?;
        Some(format!("{} without {missing}=~\"${missing}\"", found.name()))
    })
}

/// The linter looks at `_total` alone; the parts of a histogram are counters as well.
fn target_counter_agg(boards: &[Board]) -> Vec<String> {
    const COUNTERS: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];
    each_query(boards, |_, found| {
        let is_counter = COUNTERS.iter().any(|end| found.name().ends_with(end));
        let is_risen = matches!(found.function(), Some("rate" | "irate" | "increase"));
        let wrong = is_counter && !(is_risen && found.range.is_some());
        wrong.then(|| format!("{} without rate or increase", found.name()))
    })
}

fn uneditable(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        if board.json["editable"] == false {
            return Vec::new();
        }
        vec![format!("{}: editable, though the next start would undo what is edited", board.name)]
    })
}
