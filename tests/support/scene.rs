//! Test support: a directory with a configuration, and what the real binary makes of it.
//!
//! Include it with `#[path = "support/scene.rs"] mod scene;`: it brings `landfall.rs` and `systems.rs` along.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

#[path = "landfall.rs"]
pub(crate) mod landfall;
#[path = "systems.rs"]
pub(crate) mod systems;

use landfall::Running;

/// A directory with a configuration. What is below it can be named in it.
pub(crate) struct Scene {
    directory: TempDir,
}

impl Scene {
    /// With nothing in it yet.
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path("landfall.yaml"), text).unwrap();
    }

    /// The arguments of a run of this length that leaves a report and a list of its slots.
    pub(crate) fn arguments(&self, length: &str) -> Vec<String> {
        let (config, report) = (self.path("landfall.yaml"), self.path("report"));
        let slots = self.path("slots.tsv");
        let all = ["run", "-c", &config, "--for", length, "--report", &report, "--slots", &slots];
        all.map(str::to_owned).to_vec()
    }

    /// Starts a run of this length.
    pub(crate) fn start(&self, length: &str) -> Running {
        let arguments = self.arguments(length);
        Running::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What a check says on either stream, and its exit code.
    pub(crate) fn check(&self) -> (String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.args(["check", "-c", &self.path("landfall.yaml")]).env_clear();
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), output.status.code())
    }

    /// The report that a run left.
    pub(crate) fn whole_report(&self) -> Value {
        let text = std::fs::read(Path::new(&self.path("report")).join("report.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The only path of it.
    pub(crate) fn report(&self) -> Value {
        self.whole_report()["paths"][0].clone()
    }

    /// Of each slot that came out its intended time and its latency, in nanoseconds.
    pub(crate) fn slots(&self) -> Vec<(u64, i64)> {
        let text = std::fs::read_to_string(self.path("slots.tsv")).unwrap();
        let read = |line: &str| {
            let columns: Vec<&str> = line.split('\t').collect();
            Some((columns[7].parse().ok()?, columns[8].parse().ok()?))
        };
        text.lines().skip(1).filter_map(read).collect()
    }
}

/// A count of a report.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}
