//! The recording rules and alerts that ship: promtool accepts and tests them, each alert fires and keeps
//! quiet where it should, has its section in the runbook, and asks only for what landfall exports.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it finds something wrong, in its helper functions, too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall::telemetry::{CATALOGUE, Kind, Label, reference};
use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, LabelModifier, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

/// Labels that Prometheus or the Collector puts beside landfall's own.
const BESIDE: [&str; 3] = ["job", "instance", "host_name"];
/// A metric that Prometheus makes of each target.
const OF_PROMETHEUS: &str = "up";

fn rules_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/rules")
}

/// The files of a directory that end so, in order.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Every rule of every file that Prometheus loads.
fn rules() -> Vec<Value> {
    let rules_of = |path: PathBuf| {
        let file = yaml(&path);
        let groups = file["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    files(&rules_directory(), ".yaml").into_iter().flat_map(rules_of).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string()).collect()
}

fn records() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect()
}

fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/install.sh");
    assert!(Command::new(install).arg("prometheus").status().unwrap().success());
    let output = Command::new("promtool").args(arguments).args(files).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}

#[test]
fn promtool_accepts_the_rules() {
    promtool(&["check", "rules"], &files(&rules_directory(), ".yaml"));
}

#[test]
fn promtool_finds_every_alert_firing_and_quiet_where_it_should_be() {
    promtool(&["test", "rules"], &files(&rules_directory().join("tests"), ".yaml"));
}

#[test]
fn each_alert_is_tested_both_firing_and_quiet() {
    let mut tested = BTreeMap::<String, [u32; 2]>::new();
    for path in files(&rules_directory().join("tests"), ".yaml") {
        for test in yaml(&path)["tests"].as_array().unwrap() {
            for case in test["alert_rule_test"].as_array().into_iter().flatten() {
                let quiet = case["exp_alerts"].as_array().is_none_or(Vec::is_empty);
                let count = tested.entry(text(&case["alertname"]).to_owned()).or_default();
                count[usize::from(quiet)] += 1;
            }
        }
    }
    let named: BTreeSet<_> =
        alerts().iter().map(|alert| text(&alert["alert"]).to_owned()).collect();
    assert_eq!(named, tested.keys().cloned().collect());
    assert!(tested.values().all(|[firing, quiet]| *firing > 0 && *quiet > 1), "{tested:?}");
}

/// What a section of the runbook answers.
const ANSWERS: [&str; 4] = ["**Means.**", "**Look at.**", "**Do.**", "**Is not.**"];

#[test]
fn each_alert_has_its_section_in_the_runbook_and_says_what_it_found() {
    let runbook = fs::read_to_string(rules_directory().join("runbook.md")).unwrap();
    let sections = runbook.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap());
    let sections: BTreeMap<_, _> = sections.collect();
    let alerts = alerts();
    let names: BTreeSet<_> = alerts.iter().map(|alert| text(&alert["alert"])).collect();
    assert_eq!(names, sections.keys().copied().collect());
    for alert in &alerts {
        let (name, annotations) = (text(&alert["alert"]), &alert["annotations"]);
        let section = sections[name];
        let places: Vec<_> = ANSWERS.iter().filter_map(|answer| section.find(answer)).collect();
        assert!(places.len() == ANSWERS.len() && places.is_sorted(), "{name}: {places:?}");
        let end = format!("/grafana/rules/runbook.md#{}", name.to_lowercase());
        assert!(text(&annotations["runbook_url"]).ends_with(&end), "{name}");
        assert!(text(&annotations["description"]).contains("{{ $value "), "{name}: no figure");
        assert!(!text(&annotations["summary"]).is_empty(), "{name}");
        assert!(["critical", "warning"].contains(&text(&alert["labels"]["severity"])), "{name}");
        let used = annotations.as_object().unwrap().values().map(text).flat_map(used_in_template);
        let unknown: Vec<_> = used.filter(|label| !is_label(label)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

/// Labels that a template names.
fn used_in_template(template: &str) -> Vec<String> {
    let named = template.split("$labels.").skip(1);
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    named.map(word).collect()
}

/// Whether anything that landfall exports has such a label.
fn is_label(name: &str) -> bool {
    let own = CATALOGUE.iter().flat_map(|metric| metric.labels).any(|label| label.name() == name);
    own || name == "le" || BESIDE.contains(&name)
}

/// What is wrong with a query.
struct Wrong<'a> {
    records: &'a BTreeSet<String>,
    found: Vec<String>,
}

impl Wrong<'_> {
    fn of(query: &str, records: &BTreeSet<String>) -> Vec<String> {
        let expression = parse(query).unwrap();
        let mut this = Wrong { records, found: Vec::new() };
        walk_expr(&mut this, &expression).unwrap();
        this.found
    }

    fn check_selector(&mut self, selector: &VectorSelector) {
        let name = selector.name.clone().unwrap_or_default();
        let mut labels: Option<&[Label]> = None;
        if let Some(metric) = CATALOGUE.iter().find(|metric| {
            let suffixes: &[&str] = match metric.kind {
                Kind::Histogram => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            suffixes.iter().any(|suffix| name == format!("{}{suffix}", metric.name))
        }) {
            labels = Some(metric.labels);
        } else if !self.records.contains(&name) && name != OF_PROMETHEUS {
            self.found.push(format!("nobody has {name}"));
        }
        for matcher in &selector.matchers.matchers {
            let label = labels.into_iter().flatten().find(|label| label.name() == matcher.name);
            let beside = BESIDE.contains(&matcher.name.as_str())
                || matcher.name == "le" && name.ends_with("_bucket");
            let is_there = match labels {
                Some(_) => label.is_some() || beside,
                None => is_label(&matcher.name),
            };
            if !is_there {
                self.found.push(format!("{name} has no label {}", matcher.name));
            }
            let values = label.map(|label| label.values()).unwrap_or_default();
            let is_plain = matches!(matcher.op, MatchOp::Equal | MatchOp::NotEqual);
            if is_plain && !values.is_empty() && !values.contains(&matcher.value) {
                self.found.push(format!("{name}: {} is never {}", matcher.name, matcher.value));
            }
        }
    }

    fn check_grouping(&mut self, modifier: Option<&LabelModifier>) {
        let names = modifier.into_iter().flat_map(|modifier| modifier.labels().labels.iter());
        self.found.extend(names.filter(|name| !is_label(name)).map(|name| format!("by {name}")));
    }
}

impl ExprVisitor for Wrong<'_> {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::VectorSelector(selector) => self.check_selector(selector),
            Expr::MatrixSelector(selector) => self.check_selector(&selector.vs),
            Expr::Aggregate(aggregate) => self.check_grouping(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                let modifier = binary.modifier.as_ref();
                self.check_grouping(modifier.and_then(|modifier| modifier.matching.as_ref()));
            }
            _ => (),
        }
        Ok(true)
    }
}

#[test]
fn rules_ask_only_for_what_is_there() {
    let records = records();
    for rule in rules() {
        let wrong = Wrong::of(text(&rule["expr"]), &records);
        assert!(wrong.is_empty(), "{}{}: {wrong:?}", rule["record"], rule["alert"]);
    }
    // That nothing wrong is found means something.
    for query in [
        "landfall_slot_total",
        "landfall_slots_total{outcome=\"lost\"}",
        "rate(landfall_slots_total{peer=\"a\"}[5m])",
        "landfall_end_to_end_latency_seconds",
        "sum by (topic) (landfall_slots_total)",
        "landfall:slots:gross",
    ] {
        assert_eq!(Wrong::of(query, &records).len(), 1, "{query}");
    }
}

/// Every file below a directory, where there is one.
fn below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

#[test]
fn whoever_uses_a_recorded_series_finds_it() {
    let (records, root) = (records(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut used = 0;
    for path in ["grafana", "compose", "otel"].iter().flat_map(|name| below(&root.join(name))) {
        let content = fs::read_to_string(&path).unwrap_or_default();
        for rest in content.split("landfall:").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            let name = format!("landfall:{}", &rest[..end.unwrap_or(rest.len())]);
            // An image or a user of that name has no two parts behind it.
            if name.matches(':').count() == 2 {
                assert!(records.contains(&name), "{}: {name}", path.display());
                used += 1;
            }
        }
    }
    assert!(used > records.len());
}

#[test]
fn the_shipped_metric_reference_is_what_landfall_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/metrics.md");
    let shipped = fs::read_to_string(path).unwrap();
    assert_eq!(shipped, reference(), "write it anew: landfall config metrics > grafana/metrics.md");
}
