//! Test support: one process behind a script of `tests/systems`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Runs one of the scripts of `tests/systems` and returns what it prints.
pub(super) fn script(name: &str, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&output(&mut prepared(name, arguments))).into_owned()
}

/// One of the scripts of `tests/systems`, not started yet.
fn prepared(name: &str, arguments: &[&str]) -> Command {
    let mut command =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems").join(name));
    command.args(arguments);
    command
}

/// Runs a command to its end and returns its standard output.
pub(super) fn output(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(
        status.success(),
        "{command:?} failed ({status}):\n{}{}",
        String::from_utf8_lossy(&stderr),
        String::from_utf8_lossy(&stdout)
    );
    stdout
}

/// One process, its directory, and what it offers.
#[derive(Debug)]
pub(super) struct System {
    script: String,
    directory: TempDir,
    offers: BTreeMap<String, String>,
}

impl System {
    /// Installs `system` if need be and starts it. Its script takes each of `settings` behind `option`.
    pub(super) fn start(system: &str, option: &str, settings: &[&str]) -> Self {
        script("install.sh", &[system]);
        let directory =
            TempDir::new().unwrap_or_else(|error| panic!("no scratch directory: {error}"));
        let mut this = Self { script: format!("{system}.sh"), directory, offers: BTreeMap::new() };
        let owner = std::process::id().to_string();
        let mut arguments = vec!["--owner", &owner];
        for setting in settings {
            arguments.extend([option, setting]);
        }
        this.take_over("start", &arguments);
        this
    }

    /// Does to it what its script says under `action`, and returns what that prints.
    pub(super) fn act(&self, action: &str, arguments: &[&str]) -> String {
        let directory = self.directory.path().display().to_string();
        script(&self.script, &[&[action, &directory], arguments].concat())
    }

    /// The same, for something that takes its time.
    pub(super) fn command(&self, action: &str, arguments: &[&str]) -> Command {
        let directory = self.directory.path().display().to_string();
        prepared(&self.script, &[&[action, &directory], arguments].concat())
    }

    /// Stops it if it runs, and starts it again with its data on the same ports.
    pub(super) fn restart(&mut self) {
        self.take_over("restart", &[]);
    }

    /// Adds lines to one of its files and starts it again.
    pub(super) fn extend(&mut self, file: &str, lines: &[&str]) {
        let path = self.directory.path().join(file);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        std::fs::write(&path, format!("{text}{}\n", lines.join("\n")))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.restart();
    }

    fn take_over(&mut self, action: &str, arguments: &[&str]) {
        let printed = self.act(action, arguments);
        let pairs = printed.lines().filter_map(|line| line.split_once('='));
        self.offers = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    }

    /// What it printed under this name, such as `KAFKA`, an address.
    pub(super) fn offer(&self, name: &str) -> String {
        let offer = self.offers.get(name);
        offer.unwrap_or_else(|| panic!("{} did not print {name}", self.script)).clone()
    }

    /// The process that it printed under this name, such as `KAFKA_PID`.
    pub(super) fn pid(&self, name: &str) -> u32 {
        let pid = self.offer(name);
        pid.parse().unwrap_or_else(|_| panic!("{pid} is no pid"))
    }

    /// What the process has logged.
    pub(super) fn log(&self) -> String {
        let path = self.directory.path().join("log");
        let log =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems").join(&self.script);
        let stopped = Command::new(path).arg("stop").arg(self.directory.path()).status();
        // A panic while the test already panics would abort and hide its message.
        if !std::thread::panicking() {
            assert!(stopped.is_ok_and(|status| status.success()), "{} did not stop", self.script);
        }
    }
}
