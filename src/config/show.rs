//! Room `config` (wiring): the configuration in force as YAML, each value with where it came from.

use std::fmt::Write as _;

use super::properties::is_secret;
use super::tree::{Entry, Node, Origin, ScalarKind, Value, classify};
use super::wording::one_line;

/// Writes a completed tree as YAML that reads as the same configuration, secrets apart.
pub(super) fn show(root: &Node, file: &str) -> String {
    let mut out = String::new();
    if let Value::Map(entries) = &root.value {
        block(entries, 0, file, &mut out);
    }
    out
}

fn block(entries: &[Entry], indent: usize, file: &str, out: &mut String) {
    for entry in entries {
        let key = scalar(ScalarKind::Text, &entry.key, true);
        let _ = write!(out, "{:indent$}{key}:", "");
        value(entry, indent, file, out);
    }
}

fn value(entry: &Entry, indent: usize, file: &str, out: &mut String) {
    match &entry.node.value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            block(entries, indent + 2, file, out);
        }
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            out.push('\n');
            for item in items {
                let mut text = String::new();
                if let Value::Map(entries) = &item.value {
                    block(entries, indent + 4, file, &mut text);
                }
                let _ = write!(out, "{:indent$}  - {}", "", text.trim_start());
            }
        }
        other => {
            let text = if is_secret(&entry.key) { "'***'".into() } else { inline(other, false) };
            let _ = writeln!(out, " {text} # {}", source(entry.node.origin, file));
        }
    }
}

fn inline(value: &Value, flow: bool) -> String {
    match value {
        Value::Scalar { kind, text } => scalar(*kind, text, flow),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(&item.value, true)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(_) | Value::Broken => "{}".into(),
    }
}

fn source(origin: Origin, file: &str) -> String {
    match origin {
        Origin::Default => "default".into(),
        Origin::Shape(name) => format!("shape {name}"),
        Origin::Flag(name) | Origin::Environment(name) => name.into(),
        Origin::File(line) => format!("{}:{line}", one_line(file)),
    }
}

/// A scalar in plain style where that is safe, else in double quotes.
fn scalar(kind: ScalarKind, text: &str, flow: bool) -> String {
    let safe =
        |c: char| c.is_ascii_alphanumeric() || "_./:+^-".contains(c) || !flow && "{}".contains(c);
    let plain = kind != ScalarKind::Text
        || (text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
            && text.chars().all(safe)
            && !text.ends_with(':')
            && classify(text) == ScalarKind::Text
            && !is_ambiguous(text));
    if plain { text.into() } else { quoted(text) }
}

/// Texts that readers of YAML 1.1 may take for true, false, a number, a time or a date.
fn is_ambiguous(text: &str) -> bool {
    let words = ["y", "n", "yes", "no", "on", "off"];
    let unit = text.ends_with(['s', 'm', 'h', 'd', 'B']);
    let plainly_text = unit || text.contains('/') || text.matches('.').count() > 1;
    words.iter().any(|word| word.eq_ignore_ascii_case(text))
        || (text.starts_with(|c: char| c.is_ascii_digit()) && (text.contains('_') || !plainly_text))
}

/// A YAML scalar in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            _ => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}
