//! Room `app`: what a selftest shows: a table to a person, a line for each figure to a program.

use std::fmt::Write as _;
use std::time::Duration;

use super::comparison::{Figure, Row};
use super::scenes::{LOAD, SCENES};
use crate::report::duration;

/// How wide a table is at most.
const WIDTH: usize = 79;

/// How the rows are written.
pub(super) fn text(rows: &[Row], is_terminal: bool) -> String {
    if is_terminal { table(rows) } else { lines(rows) }
}

/// How far it is, for somebody who waits.
pub(super) fn progress(elapsed: Duration, takes: Duration) -> String {
    let what = if elapsed <= LOAD {
        "messages are sent, and faults happen to them"
    } else {
        "waiting for what comes late, and for what never comes"
    };
    format!("selftest: {} of some {} s: {what}", elapsed.as_secs(), takes.as_secs())
}

/// One line a figure.
fn lines(rows: &[Row]) -> String {
    rows.iter().map(|row| line(row) + "\n").collect()
}

/// One figure on a line.
pub(super) fn line(row: &Row) -> String {
    let Row { path, qos, name, expected, reported, allowed, agrees, .. } = row;
    let qos = qos.map_or_else(String::new, |qos| format!(" qos {qos}"));
    let allowed = allowed.map_or_else(String::new, |(from, to)| {
        format!(" (from {} to {})", duration(from), duration(to))
    });
    if !agrees && (*expected, *reported) == (Figure::None, Figure::None) {
        return format!("{path}: the ledgers leave a doubt: {name}, DIFFERS");
    }
    let verdict = if *agrees { "ok" } else { "DIFFERS" };
    format!("{path}{qos} {name}: expected {expected}{allowed}, reported {reported}, {verdict}")
}

/// A table for each path; figures that are 0 and should be are named below it.
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let of_block = |a: &Row, b: &Row| a.path == b.path && a.qos == b.qos;
    for block in rows.chunk_by(of_block) {
        let Some(first) = block.first() else { continue };
        let about = SCENES.iter().find(|scene| scene.name == first.path);
        let title = match (first.qos, about) {
            (Some(qos), _) => format!("{}, QoS {qos}", first.path),
            (None, Some(scene)) => format!("\n{}: {}", first.path, scene.about),
            (None, None) => "\nwhat was provoked on all paths together".to_owned(),
        };
        wrapped(&mut text, "", title.split_inclusive(' '));
        text.push_str(&block_of(block));
    }
    text
}

fn block_of(rows: &[Row]) -> String {
    let is_nothing =
        |row: &Row| row.agrees && matches!(row.expected, Figure::Count(0) | Figure::None);
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = writeln!(text, "  {:<30} {:>10} {:>10}", "", "expected", "reported");
    for row in rows.iter().filter(|row| row.duration.is_none() && !is_nothing(row)) {
        let (name, expected, reported) =
            (&row.name, row.expected.to_string(), row.reported.to_string());
        let verdict = if row.agrees { "" } else { "  DIFFERS" };
        let _ = writeln!(text, "  {name:<30} {expected:>10} {reported:>10}{verdict}");
    }
    let mut nothing = Vec::new();
    let mut has_title = false;
    for group in rows.chunk_by(|a, b| a.duration.is_some() && a.duration == b.duration) {
        let Some(name) = group.first().and_then(|row| row.duration) else { continue };
        if group.iter().all(is_nothing) {
            nothing.push(name);
            continue;
        }
        if !std::mem::replace(&mut has_title, true) {
            let title = group.iter().map(|row| row.name.rsplit(' ').next().unwrap_or_default());
            cells(&mut text, "", title.map(str::to_owned), "");
        }
        cells(&mut text, name, group.iter().map(|row| row.expected.to_string()), "");
        let verdict = if group.iter().all(|row| row.agrees) { "" } else { " DIFFERS" };
        cells(&mut text, "  reported", group.iter().map(|row| row.reported.to_string()), verdict);
    }
    let counts = rows.iter().filter(|row| row.duration.is_none() && is_nothing(row));
    let counts: Vec<&str> = counts.map(|row| row.name.as_str()).collect();
    for (what, names) in [("0 as expected:", counts), ("no such duration, as expected:", nothing)] {
        if !names.is_empty() {
            let names = names.join(", ");
            wrapped(&mut text, &format!("  {what} "), names.split_inclusive(' '));
        }
    }
    text
}

/// A line of a count and quantiles.
fn cells(text: &mut String, name: &str, figures: impl Iterator<Item = String>, verdict: &str) {
    let _ = write!(text, "  {name:<20}");
    for (place, figure) in figures.enumerate() {
        let width = if place == 0 { 6 } else { 9 };
        let _ = write!(text, " {figure:>width$}");
    }
    let _ = writeln!(text, "{verdict}");
}

/// Words behind a beginning, on as many lines as they take.
fn wrapped<'a>(text: &mut String, begin: &str, words: impl Iterator<Item = &'a str>) {
    let mut line = begin.to_owned();
    for word in words {
        if line.len() + word.trim_end().len() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            "    ".clone_into(&mut line);
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, expected: u64, reported: u64) -> Row {
        let (expected, agrees) = (Figure::Count(expected), expected == reported);
        let (path, name, reported) = ("clean".into(), name.into(), Figure::Count(reported));
        let (qos, allowed, duration) = (Some(1), None, None);
        Row { path, qos, name, expected, reported, allowed, duration, agrees }
    }

    fn timed(name: &'static str, figures: [Figure; 5]) -> Vec<Row> {
        let names = ["count", "p50", "p90", "p99", "max"].into_iter();
        let row = |(figure, of): (Figure, &str)| Row {
            expected: figure,
            reported: figure,
            duration: Some(name),
            ..count(&format!("{name} {of}"), 0, 0)
        };
        figures.into_iter().zip(names).map(row).collect()
    }

    #[test]
    fn a_table_is_no_wider_than_a_terminal_and_says_what_differs() {
        let (late, nothing) = (Figure::Seconds(0.123_4), Figure::Count(0));
        let mut rows = vec![count("slots", 100, 100), count("late", 3, 4), count("reread", 0, 0)];
        rows.extend((0..30).map(|n| count(&format!("counter_{n}"), 0, 0)));
        rows.extend(timed("duplication spread", [Figure::Count(9), late, late, late, late]));
        rows.extend(timed(
            "create",
            [nothing, Figure::None, Figure::None, Figure::None, Figure::None],
        ));
        rows.extend(timed("fetch", [Figure::Count(7), late, late, late, late]));
        let last = rows.last_mut().unwrap();
        (last.reported, last.agrees) = (Figure::Seconds(-9.876), false);
        let text = table(&rows);
        assert!(text.lines().all(|line| line.len() <= WIDTH + 8), "{text}");
        let found = |words: &[&str]| {
            text.lines().any(|line| line.split_whitespace().eq(words.iter().copied()))
        };
        assert!(found(&["slots", "100", "100"]), "{text}");
        assert!(found(&["late", "3", "4", "DIFFERS"]), "{text}");
        assert!(found(&["count", "p50", "p90", "p99", "max"]), "{text}");
        assert!(text.contains("0 as expected: reread, counter_0,"), "{text}");
        assert!(text.contains("no such duration, as expected: create\n"), "{text}");
        let reported = text.lines().find(|line| line.contains("-9.88 s"));
        assert!(reported.unwrap().ends_with("DIFFERS"), "{text}");
    }

    #[test]
    fn a_line_says_what_would_have_been_right() {
        let (expected, reported) = (Figure::Seconds(0.05), Figure::Seconds(0.07));
        let allowed = Some((0.049_5, 0.053));
        let row = Row { expected, reported, allowed, agrees: false, ..count("append p50", 0, 0) };
        assert_eq!(
            line(&row),
            "clean qos 1 append p50: expected 50.0 ms (from 49.5 ms to 53.0 ms), reported 70.0 ms, DIFFERS"
        );
        let (expected, reported) = (Figure::None, Figure::None);
        let doubt = Row { expected, reported, agrees: false, ..count("3 strays", 0, 0) };
        assert_eq!(line(&doubt), "clean: the ledgers leave a doubt: 3 strays, DIFFERS");
        assert_eq!(line(&count("late", 2, 2)), "clean qos 1 late: expected 2, reported 2, ok");
    }
}
