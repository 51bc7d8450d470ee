//! Room `config` (wiring): flags and environment variables that win over the file.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::problem::Problems;
use super::standard;
use super::tree::{Node, Origin};
use super::wording::{closest, enumerate, quote};

/// What the command line says, as typed; it wins over the environment and the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--probe`.
    pub probe: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--linger`.
    pub linger: Option<String>,
    /// `--window`.
    pub window: Option<String>,
    /// `--drain`.
    pub drain: Option<String>,
}

/// Takes one flag out of all.
type Flag = fn(&Overrides) -> Option<&String>;

/// A key that flag or environment may set.
struct Override {
    flag: Option<(&'static str, Flag)>,
    variable: &'static str,
    key: &'static [&'static str],
}

const PASSWORD: &str = "LANDFALL_MQTT_PASSWORD";
const TABLE: [Override; 6] = [
    Override {
        flag: Some(("--probe", |flags| flags.probe.as_ref())),
        variable: "LANDFALL_PROBE",
        key: &["probe"],
    },
    Override {
        flag: Some(("--listen", |flags| flags.listen.as_ref())),
        variable: "LANDFALL_TELEMETRY_LISTEN",
        key: &["telemetry", "listen"],
    },
    Override {
        flag: Some(("--linger", |flags| flags.linger.as_ref())),
        variable: "LANDFALL_TELEMETRY_LINGER",
        key: &["telemetry", "linger"],
    },
    Override {
        flag: Some(("--window", |flags| flags.window.as_ref())),
        variable: "LANDFALL_WINDOW",
        key: &["window"],
    },
    Override {
        flag: Some(("--drain", |flags| flags.drain.as_ref())),
        variable: "LANDFALL_DRAIN",
        key: &["drain"],
    },
    Override { flag: None, variable: "LANDFALL_HOST_INTERVAL", key: &["host", "interval"] },
];

/// The variables of the environment that are ours.
pub(super) struct Environment {
    values: BTreeMap<&'static str, String>,
    /// The MQTT password for paths with a user name and no `password_file`.
    pub(super) password: Option<SecretString>,
    /// The standard variables of OpenTelemetry.
    pub(super) standard: standard::Variables,
}

impl Environment {
    /// Picks our variables out of the environment and refuses those that look like ours but aren't.
    pub(super) fn pick(
        variables: impl IntoIterator<Item = (String, String)>,
        problems: &mut Problems,
    ) -> Self {
        let standard = standard::Variables::default();
        let mut picked = Self { values: BTreeMap::new(), password: None, standard };
        for (name, value) in variables {
            if name == PASSWORD {
                if value.is_empty() || value.len() > 65_535 {
                    let what = "is not a password (1 to 65535 bytes); unset it if none is needed";
                    problems.add(Origin::Environment(PASSWORD), "", what);
                }
                picked.password = Some(value.into());
            } else if let Some(known) = TABLE.iter().find(|known| known.variable == name) {
                picked.values.insert(known.variable, value);
            } else if picked.standard.take(&name, &value) {
                // It is looked at when the tree is complete.
            } else if name.starts_with("LANDFALL_") && !is_foreign(&name) {
                let what = unknown(&name);
                problems.add(Origin::Environment("environment"), "", what);
            }
        }
        picked
    }

    /// Puts flags and variables in the place of what the completed tree has from the file.
    pub(super) fn apply(&self, flags: &Overrides, root: &mut Node, problems: &mut Problems) {
        self.standard.apply(root, problems);
        for Override { flag, variable, key } in &TABLE {
            let from_flag = flag.as_ref().and_then(|(name, get)| {
                get(flags).map(|text| Node::text(Origin::Flag(name), text.clone()))
            });
            let from_variable = || {
                let text = self.values.get(variable)?.clone();
                Some(Node::text(Origin::Environment(variable), text))
            };
            let Some(node) = from_flag.or_else(from_variable) else { continue };
            root.put(key, node);
        }
    }
}

/// Whether somebody else uses our prefix: tests, logging, and the variables that Kubernetes and
/// container links make for a service that is called landfall (`LANDFALL_SERVICE_HOST`,
/// `LANDFALL_PORT_9464_TCP_ADDR`).
fn is_foreign(name: &str) -> bool {
    let port = name.find("_PORT").is_some_and(|start| {
        let rest = &name[start + "_PORT".len()..];
        rest.is_empty()
            || rest
                .strip_prefix('_')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    name.starts_with("LANDFALL_TEST_")
        || name.starts_with("LANDFALL_LOG")
        || matches!(name, "LANDFALL_CACHE" | "LANDFALL_COMMIT")
        || name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || port
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = TABLE.iter().map(|known| known.variable).chain([PASSWORD]).collect();
    let name = name.escape_debug().to_string();
    match closest(&name, names.iter().copied()) {
        Some(close) => format!("{name} is unknown; did you mean {}?", quote(close)),
        None => format!("{name} is unknown; known are {}", enumerate(&names, "and")),
    }
}
