//! The rules of the house that no lint can hold: who may import whom, which rooms are pure, who
//! reads the clock, who spawns, how large a file may be.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "architecture/source.rs"]
mod source;

use source::{Named, Token, code_lines, in_tests, paths, tokens};

/// Room, and what it may import: whole rooms, or single items of one.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Vocabulary and leaves.
    ("clock", &[]),
    ("splitmix", &[]),
    ("shutdown", &[]),
    // Pure rooms know of time only what they are told: types of `clock`, never the clock itself.
    ("stamp", &["clock::Instant"]),
    ("schedule", &["splitmix", "clock::Instant"]),
    ("correlate", &["stamp", "clock::Instant"]),
    ("stats", &["correlate", "clock::Instant"]),
    ("study", &["schedule", "stats", "correlate", "clock::Instant"]),
    ("report", &["study", "stats", "correlate", "clock::WallTime"]),
    // A check writes figures as reports do.
    (
        "preflight",
        &[
            "correlate",
            "stamp",
            "clock::Instant",
            "report::bytes",
            "report::counted",
            "report::duration",
            "report::plain",
        ],
    ),
    // One MQTT connection of either version, which the two MQTT edges share.
    ("wire", &["correlate", "stamp", "clock", "shutdown"]),
    // Edges meet in `app`'s channels and never import each other.
    ("publish", &["wire", "stamp", "schedule", "correlate", "study", "clock", "shutdown"]),
    ("subscribe", &["wire", "stamp", "correlate", "study", "clock", "shutdown"]),
    ("background", &["wire", "correlate", "study", "clock", "shutdown"]),
    ("consume", &["stamp", "correlate", "stats::Led", "study", "preflight", "clock", "shutdown"]),
    // Its pacing thread is woken as an event loop is.
    ("produce", &["wire::Bell", "stamp", "schedule", "correlate", "study", "clock", "shutdown"]),
    ("reach", &["preflight", "clock", "shutdown"]),
    ("journal", &["clock", "shutdown"]),
    ("host", &["clock", "preflight::Limits"]),
    // What guards a generator is a process of its own, which no signal may end.
    ("load", &["clock", "shutdown"]),
    ("telemetry", &["stamp", "correlate", "stats", "splitmix", "clock", "shutdown"]),
    // Its faults are drawn from a seed.
    ("embedded", &["splitmix", "clock", "shutdown"]),
    // Wiring. `config` knows the words of the other rooms and nothing that does anything.
    (
        "config",
        &[
            "correlate::Lane",
            "correlate::Qos",
            "correlate::Receive",
            "schedule::Arrivals",
            "schedule::Profile",
            "stamp::Format",
            "stamp::PATHS_MAX",
            "wire::Tls",
            "wire::Version",
            "host::Config",
            "host::ProcessSelector",
            "load::Config",
            "telemetry::Histograms",
            "telemetry::OtlpConfig",
            "telemetry::Protocol",
            "telemetry::Target",
        ],
    ),
    (
        "app",
        &[
            "background",
            "clock",
            "config",
            "consume",
            "correlate",
            "embedded",
            "host",
            "journal",
            "load",
            "preflight",
            "produce",
            "publish",
            "reach",
            "report",
            "schedule",
            "shutdown",
            "splitmix",
            "stamp",
            "stats",
            "study",
            "subscribe",
            "telemetry",
            "wire",
        ],
    ),
    // The command.
    ("main", &["app"]),
    // Declares the rooms.
    ("lib", &[]),
];

/// Rooms that read no clock, file or socket.
const PURE: &[&str] =
    &["stamp", "schedule", "correlate", "stats", "study", "report", "preflight", "splitmix"];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "rumqttc",
    "rdkafka",
    "sysinfo",
    "metrics",
    "rustix",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// What only one room may name.
const ONLY: &[(&str, &[&str])] = &[
    ("clock", &["clock_gettime", "Instant::now", "SystemTime::now"]),
    ("shutdown", &["thread::Builder", "thread::spawn", "tokio::spawn", "TaskTracker"]),
];

/// Names of rooms that say nothing.
const SAYS_NOTHING: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

/// Lines of code in a file, tests, comments and blank lines left out.
const CODE_LINES_MAX: usize = 300;

/// One source file.
struct File {
    /// Below the package, such as `src/stats/window.rs`.
    path: String,
    /// Its module path, such as `["stats", "window"]`; of `lib.rs` and `main.rs` the name alone.
    module: Vec<String>,
    text: String,
    tokens: Vec<Token>,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let below = path.trim_start_matches("src/").trim_end_matches(".rs");
        let module = below.split('/').map(str::to_owned).collect();
        Self { path: path.to_owned(), module, text: text.to_owned(), tokens: tokens(text) }
    }

    fn room(&self) -> &str {
        &self.module[0]
    }

    fn is_root(&self) -> bool {
        matches!(self.path.as_str(), "src/lib.rs" | "src/main.rs")
    }

    fn paths(&self) -> Vec<Named> {
        let module: Vec<&str> = self.module.iter().map(String::as_str).collect();
        paths(&self.tokens, if self.is_root() { &[] } else { &module })
    }

    /// The paths outside of tests, which may start threads and write files.
    fn paths_of_code(&self) -> Vec<Named> {
        let tests = in_tests(&self.tokens);
        let code = self.tokens.iter().zip(tests).filter(|&(_, test)| !test);
        let code: Vec<Token> = code.map(|(token, _)| token.clone()).collect();
        let module: Vec<&str> = self.module.iter().map(String::as_str).collect();
        paths(&code, &module)
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// Everything that is against the rules.
fn violations(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
    let rules = [imports, purity, monopolies, names, documentation, size, lints];
    files.iter().flat_map(|file| rules.iter().flat_map(|rule| rule(file))).collect()
}

fn imports(file: &File) -> Vec<String> {
    let Some((room, allowed)) = MAY_IMPORT.iter().find(|(room, _)| *room == file.room()) else {
        return vec![file.at(1, &format!("room `{}` is not in the import table", file.room()))];
    };
    let mut found = Vec::new();
    for Named { segments, line } in file.paths() {
        // The command sees the rooms from outside.
        let ours = segments[0] == "crate" || segments[0] == "landfall";
        let Some(other) = segments.get(1).filter(|other| ours && other != room) else { continue };
        let item = segments.get(2).map_or_else(String::new, |item| format!("{other}::{item}"));
        // A module that is imported as a whole shows in what is named through it.
        let of_it = || allowed.iter().any(|allowed| allowed.starts_with(&format!("{other}::")));
        let fine = allowed.iter().any(|allowed| other == allowed || item == *allowed)
            || (item.is_empty() && of_it());
        if !fine {
            let path = segments[1..].join("::");
            found.push(file.at(line, &format!("room `{room}` may not import `{path}`")));
        }
    }
    found
}

/// Whether a path leads to what `banned` names, or takes it in with a `*`.
fn leads_to(segments: &[String], banned: &str) -> bool {
    let banned: Vec<&str> = banned.split("::").collect();
    let same = segments.iter().zip(&banned).take_while(|(left, right)| left == right).count();
    same == banned.len() || (same > 0 && segments.get(same).is_some_and(|next| next == "*"))
}

fn purity(file: &File) -> Vec<String> {
    if !PURE.contains(&file.room()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for Named { segments, line } in file.paths_of_code() {
        for banned in IMPURE.iter().filter(|banned| leads_to(&segments, banned)) {
            let room = file.room();
            found.push(file.at(line, &format!("room `{room}` is pure and names `{banned}`")));
        }
    }
    found
}

fn monopolies(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    for (owner, owned) in ONLY.iter().filter(|(owner, _)| *owner != file.room()) {
        for what in *owned {
            let words: Vec<&str> = what.split("::").collect();
            let named = file.paths().into_iter().find(|named| {
                named.segments.windows(words.len()).any(|window| window == words.as_slice())
            });
            if let Some(Named { line, .. }) = named {
                found.push(file.at(line, &format!("only room `{owner}` may name `{what}`")));
            }
        }
    }
    let texts: Vec<&str> = file.tokens.iter().map(|token| token.text.as_str()).collect();
    let spawn = texts.windows(3).position(|window| window == ["tracker", ".", "spawn"]);
    if let Some(at) = spawn.filter(|_| file.room() != "shutdown") {
        let line = file.tokens[at].first_line;
        found.push(file.at(line, "only room `shutdown` may name `tracker.spawn`"));
    }
    found
}

fn names(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    if file.path.ends_with("/mod.rs") {
        found.push(file.at(1, "a room is `foo.rs` and `foo/`, not `mod.rs`"));
    }
    for name in file.module.iter().filter(|name| SAYS_NOTHING.contains(&name.as_str())) {
        found.push(file.at(1, &format!("`{name}` says nothing about what is in it")));
    }
    found
}

fn documentation(file: &File) -> Vec<String> {
    let first = file.text.lines().next().unwrap_or_default();
    let names_it = ["Room", "Leaf"]
        .iter()
        .any(|kind| first.starts_with(&format!("//! {kind} `{}`", file.room())));
    if names_it || (file.is_root() && first.starts_with("//! ")) {
        return Vec::new();
    }
    vec![file.at(1, &format!("the first line is not //! Room `{}` ...", file.room()))]
}

fn size(file: &File) -> Vec<String> {
    let lines = code_lines(&file.tokens);
    if lines <= CODE_LINES_MAX {
        return Vec::new();
    }
    vec![file.at(1, &format!("{lines} lines of code are more than {CODE_LINES_MAX}"))]
}

fn lints(file: &File) -> Vec<String> {
    let allowing = file.tokens.windows(3).filter(|window| {
        matches!(window[0].text.as_str(), "[" | ",")
            && window[1].text == "allow"
            && window[2].text == "("
    });
    let what = "an exception is an #[expect] with its reason, not an #[allow]";
    allowing.map(|window| file.at(window[1].first_line, what)).collect()
}

/// Every Rust file below a directory.
fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_house_rules_hold() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    rust_files(&package.join("src"), &mut found);
    found.sort();
    assert!(!found.is_empty());
    let files: Vec<(String, String)> = found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(package).unwrap().display().to_string();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let violations = violations(&files);
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    for (room, _) in MAY_IMPORT {
        let path = format!("src/{room}.rs");
        assert!(files.iter().any(|(file, _)| *file == path), "{path} is gone: clear its row");
    }
}

/// What is wrong with one file that is otherwise as it should be.
fn wrong(path: &str, code: &str) -> Vec<String> {
    let room = path.trim_start_matches("src/").split(['/', '.']).next().unwrap();
    violations(&[(path, &format!("//! Room `{room}`: made up.\n{code}"))])
}

#[test]
fn imports_against_the_table_are_found() {
    for code in [
        "use crate::consume::read;",
        "use crate::{clock::Clock, consume};",
        "use crate::{\n    clock::{Clock, Instant},\n    consume::{self, Config},\n};",
        "fn f() { crate::consume::read(); }",
        "fn f() -> crate :: consume :: Config { g() }",
        "use super::super::consume;",
        "mod inner { use super::super::super::consume::read; }",
        "pub(crate) use crate::consume as other;",
        "#[cfg(test)] mod tests { use crate::consume::read; }",
        "use crate::*;",
    ] {
        let found = wrong("src/publish/line.rs", code);
        assert!(found.iter().any(|found| found.contains("may not import")), "{code}: {found:?}");
    }
    let found = wrong("src/stats.rs", "\n\nuse crate::clock::{\n    Clock,\n    Instant,\n};");
    assert_eq!(found, ["src/stats.rs:5: room `stats` may not import `clock::Clock`"]);
    let found = wrong("src/config/keys.rs", "use crate::host;\nfn f(_: host::Sampler) {}");
    assert_eq!(found, ["src/config/keys.rs:3: room `config` may not import `host::Sampler`"]);
    let found = wrong("src/config/keys.rs", "use crate::host as h;\nfn f(_: h::Sampler) {}");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        wrong("src/attic.rs", ""),
        ["src/attic.rs:1: room `attic` is not in the import table"]
    );
    let main = violations(&[("src/main.rs", "//! The command.\nuse landfall::stats::Stats;")]);
    assert_eq!(main, ["src/main.rs:2: room `main` may not import `stats::Stats`"]);
}

#[test]
fn what_is_no_import_is_let_be() {
    for code in [
        "use crate::clock::{Clock, Instant};\nuse crate::wire::{self, Endpoint};",
        "// use crate::consume;\n/* use crate::consume; /* nested */ crate::consume */",
        "const TEXT: &str = \"use crate::consume; \\\" crate::consume\";",
        "const TEXT: &str = r#\"use crate::consume; \" crate::consume\"#;",
        "const QUOTE: char = '\"'; const B: u8 = b'\"'; fn f<'a>(x: &'a str) -> &'a str { x }",
        "use super::pacer; use super::super::publish::line; use self::consume;",
        "mod consume {} fn f() { consume::read(); }",
        "fn f() -> impl Iterator<Item = u8> + use<> { g() }",
        "pub(crate) fn f() {} pub(in crate::publish) fn g() {}",
    ] {
        assert_eq!(wrong("src/publish/line.rs", code), [""; 0], "{code}");
    }
}

#[test]
fn impure_names_are_found() {
    for code in [
        "use tokio::sync::mpsc;",
        "fn f(_: rdkafka::Offset) {}",
        "use std::{fmt, fs};",
        "use std::{time::{Duration, Instant}};",
        "use std::time; fn f(_: time::Instant) {}",
        "use std::time::*;",
        "fn f() { ::std::thread::yield_now(); }",
        "use metrics::counter;",
        "use std::env as surroundings;",
    ] {
        let found = wrong("src/stats.rs", code);
        assert!(found.iter().any(|found| found.contains("is pure")), "{code}: {found:?}");
        let found = wrong("src/host.rs", code);
        assert!(!found.iter().any(|found| found.contains("is pure")), "{code}: {found:?}");
    }
    for code in ["use std::time::Duration;", "struct S { metrics: u8 }", "// tokio::spawn"] {
        assert_eq!(wrong("src/stats.rs", code), [""; 0], "{code}");
    }
}

#[test]
fn readers_of_clocks_and_starters_of_threads_are_found() {
    for (code, owner) in [
        ("fn f() { std::time::Instant::now(); }", "clock"),
        ("use std::time::SystemTime as T; fn f() { T::now(); }", "clock"),
        ("use rustix::time::clock_gettime;", "clock"),
        ("use std::thread; fn f() { thread::Builder::new(); }", "shutdown"),
        ("use tokio::spawn;", "shutdown"),
        ("fn f(tracker: T) { tracker.spawn(g()); }", "shutdown"),
        ("fn f(s: S) { s.tracker\n.spawn(g()); }", "shutdown"),
    ] {
        let found = wrong("src/host.rs", code);
        let expected = format!("only room `{owner}`");
        assert!(found.iter().any(|found| found.contains(&expected)), "{code}: {found:?}");
        assert_eq!(wrong(&format!("src/{owner}.rs"), code), [""; 0], "{code}");
    }
}

#[test]
fn names_docs_and_exceptions_are_held_to_the_rules() {
    assert_eq!(wrong("src/host/mod.rs", "").len(), 1);
    assert_eq!(wrong("src/host/utils.rs", "").len(), 1);
    assert_eq!(wrong("src/host.rs", "#[allow(dead_code)]\nfn f() {}").len(), 1);
    assert_eq!(wrong("src/host.rs", "#![allow(dead_code)]").len(), 1);
    assert_eq!(wrong("src/host.rs", "#[cfg_attr(test, allow(dead_code))] fn f() {}").len(), 1);
    assert_eq!(wrong("src/host.rs", "#[expect(dead_code, reason = \"r\")]\nfn f() {}").len(), 0);
    for first in ["//! Room `wire`: another.", "//! What.", "use std::fs;", ""] {
        assert_eq!(violations(&[("src/host/stat.rs", first)]).len(), 1, "{first}");
    }
    assert_eq!(violations(&[("src/splitmix.rs", "//! Leaf `splitmix`: a.")]), [""; 0]);
}

#[test]
fn only_code_counts_as_lines() {
    let code = |lines: usize| "const A: u8 = 1; // why\n\n    // a comment\n".repeat(lines);
    assert_eq!(wrong("src/host.rs", &code(CODE_LINES_MAX)), [""; 0]);
    let found = wrong("src/host.rs", &code(CODE_LINES_MAX + 1));
    assert_eq!(found, ["src/host.rs:1: 301 lines of code are more than 300"]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", code(500));
    let around = format!("{}{tests}const B: u8 = 2;\n", code(CODE_LINES_MAX - 1));
    assert_eq!(wrong("src/host.rs", &around), [""; 0]);
    let found = wrong("src/host.rs", &format!("{tests}{}", code(CODE_LINES_MAX + 1)));
    assert_eq!(found.len(), 1, "code behind the tests counts");
    let text = format!("const T: &str = \"{}\";", "line\n".repeat(CODE_LINES_MAX + 1));
    assert_eq!(wrong("src/host.rs", &text).len(), 1, "the lines of a text count");
    let marked = tokens("fn a() {}\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod t;\nfn b() {}");
    let tests = in_tests(&marked).iter().filter(|test| **test).count();
    assert_eq!(tests, 7 + 6 + 3, "the attribute, the next one, and the item");
}
