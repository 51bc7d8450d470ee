//! The dashboards against the catalogue of metrics.

use std::collections::BTreeSet;

use landfall::telemetry::{CATALOGUE, Kind, Label, Metric};
use promql_parser::label::MatchOp;

use super::Rule;
use super::board::{self, Board, text};
use super::linter::{each, each_query};
use super::promql::{self, Around, Found};

pub(crate) const RULES: [Rule; 6] = [
    ("metrics-are-in-the-catalogue", metrics_exist),
    ("every-metric-is-in-a-panel", every_metric_is_shown),
    ("labels-are-in-the-catalogue", labels_exist),
    ("values-are-in-the-catalogue", values_exist),
    ("choices-are-heeded", choices_are_heeded),
    ("variables-are-in-the-catalogue", variables_exist),
];

/// What Prometheus adds to every series.
const OF_A_TARGET: [&str; 2] = ["job", "instance"];

/// The metric that a series is of.
fn metric(series: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| {
        let end = series.strip_prefix(metric.name);
        match metric.kind {
            Kind::Histogram => end.is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end)),
            _ => end == Some(""),
        }
    })
}

fn label(metric: &Metric, name: &str) -> Option<Label> {
    metric.labels.iter().copied().find(|label| label.name() == name)
}

/// Whether a series of that name has a label of that name.
fn has(series: &str, name: &str) -> bool {
    OF_A_TARGET.contains(&name)
        || (name == "le" && series.ends_with("_bucket"))
        || metric(series).is_some_and(|metric| label(metric, name).is_some())
}

fn metrics_exist(boards: &[Board]) -> Vec<String> {
    let mut complaints = each_query(boards, |_, found| {
        metric(found.name()).is_none().then(|| format!("no metric {}", found.name()))
    });
    complaints.extend(each(boards, |board| {
        let mut complaints = Vec::new();
        for annotation in board.annotations() {
            let Ok(expr) = promql::parsed(text(annotation, "expr")) else { continue };
            let missing = promql::selectors(&expr)
                .into_iter()
                .filter(|found| metric(found.name()).is_none() || missing_label(found).is_some());
            let place = board.place(annotation);
            complaints.extend(missing.map(|found| format!("{place}: {:?}", found.selector)));
        }
        complaints
    }));
    complaints
}

fn every_metric_is_shown(boards: &[Board]) -> Vec<String> {
    let mut shown = BTreeSet::new();
    for (_, target) in boards.iter().flat_map(Board::targets) {
        let Ok(expr) = promql::parsed(text(target, "expr")) else { continue };
        let found = promql::selectors(&expr);
        shown.extend(found.iter().filter_map(|found| metric(found.name())).map(|it| it.name));
    }
    let missing = CATALOGUE.iter().filter(|metric| !shown.contains(metric.name));
    missing.map(|metric| format!("no panel shows {}", metric.name)).collect()
}

/// A label that is asked for, or grouped by, and that the series does not have.
fn missing_label(found: &Found<'_>) -> Option<String> {
    let asked = found.matchers().iter().map(|matcher| matcher.name.clone());
    let grouped = found.around.iter().flat_map(|around| match around {
        Around::By(labels) => labels.clone(),
        Around::Call(_) => Vec::new(),
    });
    asked.chain(grouped).find(|label| !has(found.name(), label))
}

fn labels_exist(boards: &[Board]) -> Vec<String> {
    each_query(boards, |_, found| {
        missing_label(found).map(|label| format!("{} has no label {label}", found.name()))
    })
}

fn values_exist(boards: &[Board]) -> Vec<String> {
    each_query(boards, |_, found| {
        let metric = metric(found.name())?;
        found.matchers().iter().find_map(|matcher| {
            let values = label(metric, &matcher.name)?.values();
            let asked: Vec<_> = match matcher.op {
                MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
                // What the variable of the same name chooses has values of its own.
                _ if matcher.value == matcher.name => return None,
                _ => matcher.value.split('|').collect(),
            };
            let unknown =
                asked.into_iter().find(|value| !values.iter().any(|known| known == value))?;
            (!values.is_empty()).then(|| format!("{} is never {unknown}", matcher.name))
        })
    })
}

/// A query of what a variable could narrow down is narrowed down by it, or says outright what it
/// wants.
fn choices_are_heeded(boards: &[Board]) -> Vec<String> {
    each_query(boards, |_, found| {
        let metric = metric(found.name())?;
        let heeded = |name: &str| {
            found.is_chosen(name)
                || found
                    .matchers()
                    .iter()
                    .any(|matcher| matcher.name == name && matches!(matcher.op, MatchOp::Equal))
        };
        let ignored = ["path", "qos", "lane"]
            .into_iter()
            .find(|name| label(metric, name).is_some() && !heeded(name))?;
        Some(format!("{} of whatever {ignored}", found.name()))
    })
}

fn variables_exist(boards: &[Board]) -> Vec<String> {
    each(boards, |board| {
        let mut complaints = Vec::new();
        for variable in board.variables() {
            let Some((selector, name)) = board::label_values(variable) else { continue };
            let Ok(expr) = promql::parsed(selector) else { continue };
            for found in promql::selectors(&expr) {
                if metric(found.name()).is_none() || !has(found.name(), name) {
                    let place = board.place(variable);
                    complaints.push(format!("{place}: {} has no label {name}", found.name()));
                }
                complaints.extend(missing_label(&found).map(|label| format!("no label {label}")));
            }
        }
        complaints
    })
}
