//! The dashboards as files: by the rules of the public dashboard linter and by ours, against the
//! catalogue of metrics, and against the types of Grafana 10 to 13.
#![expect(clippy::unwrap_used, reason = "functions of tests are tests")]

#[path = "dashboards/board.rs"]
mod board;
#[path = "dashboards/catalogue.rs"]
mod catalogue;
#[path = "dashboards/house.rs"]
mod house;
#[path = "dashboards/linter.rs"]
mod linter;
#[path = "dashboards/promql.rs"]
mod promql;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use board::Board;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The name of a rule, and what it has to complain about.
type Rule = (&'static str, fn(&[Board]) -> Vec<String>);

fn rules() -> Vec<Rule> {
    [&linter::RULES[..], &house::RULES[..], &catalogue::RULES[..]].concat()
}

#[test]
fn every_dashboard_keeps_every_rule() {
    let boards = Board::all();
    let names: Vec<_> = boards.iter().map(|board| board.name.as_str()).collect();
    assert_eq!(names, ["host", "legs", "overview", "probe"]);
    let complaints: Vec<_> = rules()
        .into_iter()
        .flat_map(|(name, rule)| {
            rule(&boards).into_iter().map(move |what| format!("{name}: {what}"))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What each rule has to find: put this JSON there in the overview.
const FAULTS: [(&str, &str, &str); 49] = [
    ("template-datasource-rule", "/templating/list/0/query", r#""loki""#),
    ("template-job-rule", "/templating/list/1/allValue", r#"".*""#),
    ("template-instance-rule", "/templating/list/2/multi", r"false"),
    ("template-required-variables-rule", "/templating/list/3/includeAll", r"false"),
    ("template-label-promql-rule", "/templating/list/3/query/query", r#""label_values(a{, b)""#),
    ("template-label-promql-rule", "/templating/list/3/query/query", r#""metrics(landfall)""#),
    ("template-on-time-change-reload-rule", "/templating/list/4/refresh", r"1"),
    ("template-unused-rule", "/templating/list/5/name", r#""nobody""#),
    ("panel-datasource-rule", "/panels/1/datasource/uid", r#""mine""#),
    ("panel-datasource-rule", "/panels/1/targets/0/datasource/uid", r#""mine""#),
    ("panel-title-description-rule", "/panels/1/description", r#""""#),
    ("panel-units-rule", "/panels/1/fieldConfig/defaults/unit", r#""pounds""#),
    ("panel-no-targets-rule", "/panels/1/targets", r"[]"),
    ("target-promql-rule", QUERY, r#""sum(rate(landfall_slots_total))""#),
    ("target-promql-rule", QUERY, r#""sum(landfall_in_flight_messages{path=~$path})""#),
    ("target-rate-interval-rule", QUERY, r#""rate(landfall_published_messages_total[5m])""#),
    ("target-required-matchers-rule", QUERY, r#""landfall_component_up{job=~\"$job\"}""#),
    (
        "target-required-matchers-rule",
        QUERY,
        r#""landfall_component_up{job=~\"$job\", instance=\"$instance\"}""#,
    ),
    ("target-counter-agg-rule", QUERY, r#""sum(landfall_published_messages_total)""#),
    ("target-counter-agg-rule", QUERY, r#""resets(landfall_scheduler_lag_seconds_count[1h])""#),
    ("uneditable-dashboard-rule", "/editable", r"true"),
    ("ids-are-unique", "/panels/2/id", r"2"),
    ("ids-are-unique", "/uid", r#""landfall-legs""#),
    ("ids-are-unique", "/panels/2/targets/1/refId", r#""A""#),
    ("ids-are-unique", "/panels/2/title", r#""How many acknowledged messages are lost?""#),
    ("nothing-overlaps", "/panels/2/gridPos/x", r"4"),
    ("nothing-overlaps", "/panels/1/gridPos/w", r"25"),
    ("nothing-overlaps", "/panels/1/gridPos/w", r"3"),
    ("nothing-is-of-the-past", "/panels/1/type", r#""singlestat""#),
    ("nothing-is-of-the-past", "/schemaVersion", r"14"),
    ("titles-ask", "/panels/1/title", r#""Losses""#),
    ("emptiness-is-explained", "/panels/1/fieldConfig/defaults/noValue", r#""""#),
    (
        "figures-are-numbers",
        QUERY,
        r#""landfall_host_memory_used_bytes / landfall_host_memory_total_bytes""#,
    ),
    ("legends-name-labels", "/panels/1/targets/0/legendFormat", r#""{{outcome}}""#),
    (
        "colours-mean-the-same",
        "/panels/2/fieldConfig/overrides/0/properties/0/value/fixedColor",
        r#""pink""#,
    ),
    ("figures-come-first", "/panels/3/type", r#""timeseries""#),
    ("dashboards-are-linked", "/links/0/keepTime", r"false"),
    (
        "dashboards-are-linked",
        "/panels/2/links/0/url",
        r#""/d/landfall-nowhere?${__url_time_range}&${__all_variables}""#,
    ),
    ("events-are-annotated", "/annotations/list/2/tagKeys", r#""path""#),
    ("variables-are-known", QUERY, r#""vector($nothing)""#),
    ("metrics-are-in-the-catalogue", QUERY, r#""landfall_messages""#),
    ("metrics-are-in-the-catalogue", "/annotations/list/1/expr", r#""landfall_messages > 0""#),
    ("every-metric-is-in-a-panel", "/panels", r"[]"),
    ("labels-are-in-the-catalogue", QUERY, r#""sum by (lane) (landfall_partitions)""#),
    ("labels-are-in-the-catalogue", QUERY, r#""landfall_partitions{qos=\"1\"}""#),
    ("values-are-in-the-catalogue", QUERY, r#""landfall_component_up{component=\"zilla\"}""#),
    (
        "values-are-in-the-catalogue",
        QUERY,
        r#""landfall_slots_total{outcome=~\"acked_lost|stolen\"}""#,
    ),
    ("choices-are-heeded", QUERY, r#""landfall_window_valid{job=~\"$job\"}""#),
    (
        "variables-are-in-the-catalogue",
        "/templating/list/3/query/query",
        r#""label_values(landfall_build_info, path)""#,
    ),
];
/// The first query of the first panel.
const QUERY: &str = "/panels/1/targets/0/expr";

#[test]
fn each_rule_finds_what_it_is_for() {
    let boards = Board::all();
    let mut tried = BTreeSet::new();
    for (name, pointer, value) in FAULTS {
        let mut broken = boards.clone();
        let overview = broken.iter_mut().find(|board| board.name == "overview").unwrap();
        let place = overview.json.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("nothing at {pointer}")) =
            serde_json::from_str(value).unwrap();
        let rules = rules();
        let (_, rule) = rules.iter().find(|(rule, _)| *rule == name).unwrap();
        let found = rule(&broken);
        assert!(!found.is_empty(), "{name} does not mind {value} at {pointer}");
        tried.insert(name);
    }
    let untried: Vec<_> = rules().into_iter().filter(|(name, _)| !tried.contains(name)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// Compiles dashboards as values of Grafana's types, in each of its major versions.
fn compile(files: &[PathBuf]) -> Output {
    let systems = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems");
    let installed =
        Command::new(systems.join("install.sh")).arg("grafana-schema").output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let mut check = Command::new(systems.join("grafana-schema.sh"));
    check.arg("check").args(files).output().unwrap()
}

#[test]
fn grafana_10_to_13_know_every_field() {
    let boards = Board::all();
    let mut files: Vec<_> = boards
        .iter()
        .map(|board| board::directory().join(format!("{}.json", board.name)))
        .collect();
    // Beside them, so that the compilers start only once: what they must refuse.
    let directory = TempDir::new().unwrap();
    let host = boards.iter().find(|board| board.name == "host").unwrap();
    let faults = [
        ("mode", "/panels/1/options/colorMode", json!("backdrop")),
        ("refresh", "/templating/list/1/refresh", json!(7)),
        ("width", "/panels/1/gridPos/w", json!("6")),
        ("unknown", "/panels/1/options/reduceOptions", json!({ "calculate": ["mean"] })),
        ("link", "/links/0/type", json!("dashboard")),
        ("draw", "/panels/6/fieldConfig/defaults/custom/drawStyle", json!("bar")),
    ];
    for (name, pointer, value) in &faults {
        let mut broken = host.json.clone();
        *broken.pointer_mut(pointer).unwrap() = value.clone();
        let file = directory.path().join(format!("{name}.json"));
        std::fs::write(&file, broken.to_string()).unwrap();
        files.push(file);
    }
    let output = compile(&files);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let versions: Vec<_> = said.split("Grafana ").skip(1).collect();
    assert_eq!(versions.len(), 4, "{said}");
    for version in versions {
        for (name, ..) in &faults {
            assert!(version.contains(&format!("{name}.json.ts(")), "{name} passes: {version}");
        }
        for board in &boards {
            let file = format!("{}.json.ts(", board.name);
            assert!(!version.contains(&file), "{version}");
        }
    }
}

/// A file of `grafana/provisioning`.
fn provisioning(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/provisioning").join(file);
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn grafana_is_told_where_to_find_them() {
    let sources = provisioning("datasources/prometheus.yaml");
    let source = &sources["datasources"][0];
    assert_eq!((&source["type"], &source["isDefault"]), (&json!("prometheus"), &json!(true)));
    // $__rate_interval is four scrapes, so Grafana has to know how far apart they are.
    let scrapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("otel/prometheus.yaml");
    let scrapes: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(scrapes).unwrap()).unwrap();
    assert_eq!(source["jsonData"]["timeInterval"], scrapes["global"]["scrape_interval"]);

    let providers = provisioning("dashboards/landfall.yaml");
    let provider = &providers["providers"][0];
    assert_eq!((&provider["type"], &provider["allowUiUpdates"]), (&json!("file"), &json!(false)));
    assert_eq!(provider["options"]["path"], "/var/lib/grafana/dashboards");
}
