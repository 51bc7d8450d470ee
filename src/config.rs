//! Room `config` (wiring): what the user wrote, then resolved into plain checked values.
//!
//! # Design
//!
//! The YAML becomes a tree that remembers the line of every value (`parse`, `tree`). A table of all keys
//! (`keys`, `table`) says what may stand where; by it unknown keys are refused, defaults are filled in
//! (`fill`), values are read (`kind`, `grammar`, `resolve`) and the JSON Schema is written
//! (`schema`). Flags and environment variables replace values of the completed tree (`overrides`),
//! so that `show` can tell of each value where it came from. Nothing stops at the first problem.
//! No message repeats what may be a secret.

use std::fmt;
use std::path::Path;

mod files;
mod fill;
mod grammar;
mod keys;
mod kind;
mod overrides;
mod parse;
mod problem;
mod properties;
mod resolve;
mod resolved;
mod schema;
mod shapes;
mod show;
mod standard;
mod table;
mod tree;
mod wording;

pub use overrides::Overrides;
pub use problem::Problems;
pub use resolved::{
    BackgroundConfig, KafkaConfig, MqttConfig, PathConfig, PayloadConfig, Rate, Resolved,
    SloConfig, SubscribersConfig, TelemetryConfig, TopicSelector, TopicTemplate, Url,
};
pub use schema::schema;

use tree::Origin;

/// A checked configuration, and what is needed to show where each value came from.
#[derive(Clone)]
pub struct Loaded {
    /// The configuration.
    pub resolved: Resolved,
    in_force: tree::Node,
    file: String,
    password_of_environment: bool,
}

impl Loaded {
    /// The whole configuration in force as YAML. A comment behind each value says where it came
    /// from; secrets are `***`. Reads as the same configuration, secrets apart.
    #[must_use]
    pub fn show(&self) -> String {
        let mut shown = show::show(&self.in_force, &self.file);
        if self.password_of_environment {
            shown += "# LANDFALL_MQTT_PASSWORD counts where a username has no password_file\n";
        }
        shown
    }

    /// What is wrong with the value in force at a path of keys such as `paths[0].mqtt.url`, found out
    /// when it was used.
    #[must_use]
    pub fn problem(&self, path: &str, what: &str) -> Problems {
        let mut problems = Problems::of(&self.file);
        problems.add(self.in_force.nearest(path).origin, path, what);
        problems
    }
}

impl fmt::Debug for Loaded {
    /// Leaves out the tree, which holds what was written, secrets too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("resolved", &self.resolved).finish_non_exhaustive()
    }
}

/// What defaults are made from.
struct Surroundings<'a> {
    host_name: &'a str,
}

/// Reads the configuration from a file of at most 1 MiB, with the secrets that it names.
///
/// `environment` holds all variables; those that begin with `LANDFALL_` are looked at.
///
/// # Errors
/// Everything that is wrong with file, flags and variables.
pub fn load(
    path: &Path,
    flags: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    let name = path.to_string_lossy();
    let fail = |line: usize, what: &str| {
        let mut problems = Problems::of(&name);
        problems.add(Origin::File(line), "", what);
        problems
    };
    let bytes = files::read(path, files::CONFIGURATION_MAX).map_err(|what| fail(0, &what))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        fail(valid.split(|byte| *byte == b'\n').count(), "is not UTF-8 text")
    })?;
    load_text(&name, &text, flags, environment)
}

/// The same from a text. `name` stands for the file in messages; relative paths of secrets start at
/// the directory of `name`.
///
/// # Errors
/// Everything that is wrong with text, flags and variables.
pub fn load_text(
    name: &str,
    text: &str,
    flags: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    let mut problems = Problems::of(name);
    let mut environment = overrides::Environment::pick(environment, &mut problems);
    let root = parse::parse(text, &mut problems);
    let empty = root.is_none() && problems.is_empty();
    let Some(mut root) = root.filter(|root| !is_null(root)) else {
        if empty || problems.is_empty() {
            problems.add(Origin::File(0), "", "is empty; it needs at least paths");
        }
        return Err(problems.sorted());
    };
    let host_name = files::host_name();
    let around = Surroundings { host_name: &host_name };
    shapes::apply(&mut root, &mut problems);
    fill::fill(&mut root, keys::ROOT, "", &around, &mut problems);
    let password = environment.password.take();
    let password_of_environment = password.is_some();
    environment.apply(flags, &mut root, &mut problems);
    let base = Path::new(name).parent().unwrap_or(Path::new(""));
    let standard = &environment.standard;
    let mut reader = resolve::Reader { base, password, standard, problems: &mut problems };
    let resolved = reader.resolve(&root);
    match resolved {
        Some(resolved) if problems.is_empty() => {
            Ok(Loaded { resolved, in_force: root, file: name.into(), password_of_environment })
        }
        _ => Err(problems.sorted()),
    }
}

/// Reads a duration as the file and the flags have it: `250ms`, `10s`, `1.5s`, `5m`, `8h` or `1d`.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    grammar::duration(text)
}

/// Checks a rate as the file has it: `20/s`, `0.5/s` or `30/min`.
///
/// # Errors
/// What is wrong with it.
pub fn rate(text: &str) -> Result<String, String> {
    grammar::rate(text).map(|_| text.to_owned())
}

fn is_null(node: &tree::Node) -> bool {
    matches!(node.value, tree::Value::Scalar { kind: tree::ScalarKind::Null, .. })
}
