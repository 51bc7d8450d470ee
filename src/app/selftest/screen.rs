//! Room `app`: what a selftest shows: a table to a person, a line for each figure to a program.

use std::fmt::Write as _;

use super::comparison::{Figure, Row};
use super::scenes::SCENES;
use crate::report::duration;

/// How the rows are written.
pub(super) fn text(rows: &[Row], is_terminal: bool) -> String {
    if is_terminal { table(rows) } else { lines(rows) }
}

/// One line a figure.
fn lines(rows: &[Row]) -> String {
    rows.iter().map(|row| line(row) + "\n").collect()
}

/// One figure on a line.
pub(super) fn line(row: &Row) -> String {
    let Row { path, qos, name, expected, reported, within, agrees } = row;
    let qos = qos.map_or_else(String::new, |qos| format!(" qos {qos}"));
    let within = within.map_or_else(String::new, |within| format!(" within {}", duration(within)));
    let verdict = if *agrees { "ok" } else { "DIFFERS" };
    format!("{path}{qos} {name}: expected {expected}{within}, reported {reported}, {verdict}")
}

/// A table for each path; counters that are 0 and should be are named below it.
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let of = |row: &Row| row.path == first.path && row.qos == first.qos;
        let end = rest.iter().position(|row| !of(row)).unwrap_or(rest.len());
        let (block, others) = rest.split_at(end);
        rest = others;
        let about = SCENES.iter().find(|scene| scene.name == first.path);
        // Writing into memory does not fail.
        let _ = match (first.qos, about) {
            (Some(qos), _) => writeln!(text, "{} qos {qos}", first.path),
            (None, Some(scene)) => writeln!(text, "\n{}: {}", first.path, scene.about),
            (None, None) => writeln!(text, "\nprovoked at all"),
        };
        text.push_str(&block_of(block));
    }
    text
}

fn block_of(rows: &[Row]) -> String {
    let is_nothing =
        |row: &&Row| row.agrees && matches!(row.expected, Figure::Count(0) | Figure::None);
    let mut text = String::new();
    for row in rows.iter().filter(|row| !is_nothing(row)) {
        let (expected, reported) = (row.expected.to_string(), row.reported.to_string());
        let within = row.within.map_or_else(String::new, |within| format!("+{}", duration(within)));
        let verdict = if row.agrees { "" } else { "  DIFFERS" };
        let name = &row.name;
        let line = format!("  {name:<24} {expected:>10} {within:>9} {reported:>10}{verdict}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let nothing: Vec<&str> = rows.iter().filter(is_nothing).map(|row| row.name.as_str()).collect();
    if !nothing.is_empty() {
        let _ = writeln!(text, "  0 as expected: {}", nothing.join(", "));
    }
    text
}
