//! Test support: the dashboards in `grafana/dashboards`, and their variables filled in as Grafana does.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// A variable in a text, as `$name`, `${name}` or `${name:format}`.
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)").expect("a pattern that compiles"));

/// One dashboard.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// The name of its file, without the end.
    pub(crate) name: String,
    pub(crate) json: Value,
}

impl Board {
    /// Those that ship, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        let mut files: Vec<_> = std::fs::read_dir(directory())
            .expect("grafana/dashboards")
            .map(|entry| entry.expect("an entry of grafana/dashboards").path())
            .collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let json = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        Self { name, json }
    }

    /// All panels, rows among them.
    pub(crate) fn items(&self) -> &[Value] {
        list(&self.json, "/panels")
    }

    /// The panels that show something.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &Value> {
        self.items().iter().filter(|panel| panel["type"] != "row")
    }

    /// The queries of all panels, each with its panel.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.panels()
            .flat_map(|panel| list(panel, "/targets").iter().map(move |target| (panel, target)))
    }

    pub(crate) fn variables(&self) -> &[Value] {
        list(&self.json, "/templating/list")
    }

    /// The annotations that ask Prometheus.
    pub(crate) fn annotations(&self) -> impl Iterator<Item = &Value> {
        let all = list(&self.json, "/annotations/list").iter();
        all.filter(|annotation| annotation["builtIn"].is_null())
    }

    /// Where something is, for a complaint: dashboard and panel, annotation or variable.
    pub(crate) fn place(&self, of: &Value) -> String {
        let name = [text(of, "title"), text(of, "name")].concat();
        format!("{}: {name:?}", self.name)
    }
}

/// Where the dashboards are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards")
}

/// The elements below a pointer; none where there is no list.
pub(crate) fn list<'a>(json: &'a Value, pointer: &str) -> &'a [Value] {
    json.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field that is a text; empty where it is none.
pub(crate) fn text<'a>(json: &'a Value, field: &str) -> &'a str {
    json[field].as_str().unwrap_or_default()
}

/// What a query variable asks for: the selector, if there is one, and the label.
pub(crate) fn label_values(variable: &Value) -> Option<(&str, &str)> {
    let query = variable.pointer("/query/query")?.as_str()?;
    let inside = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (selector, label) = inside.rsplit_once(", ")?;
    Some((selector, label))
}

/// The names of the variables in a text.
pub(crate) fn named(text: &str) -> BTreeSet<String> {
    VARIABLE.captures_iter(text).map(|found| name(&found).to_owned()).collect()
}

fn name<'a>(found: &'a Captures<'_>) -> &'a str {
    let name = found.get(1).or_else(|| found.get(2));
    name.map_or("", |name| name.as_str())
}

/// Fills in variables; those without a value stay, and no query can be read with one.
pub(crate) fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let filled = VARIABLE.replace_all(text, |found: &Captures<'_>| {
        values.get(name(found)).cloned().unwrap_or_else(|| found[0].to_owned())
    });
    filled.into_owned()
}
