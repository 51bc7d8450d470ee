//! Test support: runs `landfall check` and takes apart what it says.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A secret that must not come out anywhere.
pub(crate) const CANARY: &str = "canary-5b1e";

/// A directory with a configuration and what it names.
pub(crate) struct Scene(TempDir);

/// What a check said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    sections: BTreeMap<String, String>,
}

/// Checks a configuration that names no other files.
pub(crate) fn check(configuration: &str, arguments: &[&str]) -> Said {
    Scene::new().check(configuration, arguments)
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that anybody may read; its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// `landfall check` here, with these further arguments, in an environment of nobody's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command.args(["check", "-c", "landfall.yaml"]).args(arguments);
        command
    }

    /// Checks a configuration.
    pub(crate) fn check(&self, configuration: &str, arguments: &[&str]) -> Said {
        self.file("landfall.yaml", configuration);
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stdout.contains(CANARY) && !stderr.contains(CANARY), "the secret came out");
        assert!(!stdout.contains('\u{1b}'), "no colours in a pipe: {stdout}");
        let code = output.status.code().unwrap_or_else(|| panic!("{stdout}{stderr}"));
        let sections = sections(&stdout);
        Said { code, stdout, stderr, sections }
    }
}

/// What is said of each path.
fn sections(stdout: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut name = String::new();
    for line in stdout.lines().take_while(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("path ") {
            title.split(':').next().unwrap().clone_into(&mut name);
        }
        // What is said of the host comes before all paths.
        if name.is_empty() {
            continue;
        }
        let section: &mut String = sections.entry(name.clone()).or_default();
        section.push_str(line);
        section.push('\n');
    }
    sections
}

impl Said {
    /// The names of the paths.
    pub(crate) fn names(&self) -> Vec<String> {
        self.sections.keys().cloned().collect()
    }

    /// Everything that is said of a path.
    pub(crate) fn section(&self, path: &str) -> &str {
        self.sections.get(path).unwrap_or_else(|| panic!("no path {path}: {self}"))
    }

    /// The finding on a step of a path with this mark and these words, with its further lines.
    pub(crate) fn has(&self, path: &str, mark: &str, step: &str, words: &str) -> String {
        let head = format!("  {mark:<4}  {step:<14}  ");
        let mut findings: Vec<String> = Vec::new();
        for line in self.section(path).lines().skip(1) {
            match findings.last_mut() {
                Some(last) if line.starts_with("        ") => {
                    last.push('\n');
                    last.push_str(line);
                }
                _ => findings.push(line.to_owned()),
            }
        }
        let found = findings.iter().find(|it| it.starts_with(&head) && it.contains(words));
        let found = found.unwrap_or_else(|| panic!("no {mark} {step} {words:?} of {path}: {self}"));
        found.clone()
    }
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Logs at their finest are many.
        let tail: Vec<&str> = self.stderr.lines().rev().take(20).collect();
        write!(formatter, "exit code {}\n{}\n{}", self.code, self.stdout, tail.join("\n"))
    }
}
