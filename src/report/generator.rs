//! Room `report`: what the load generator of somebody else's did.

use serde::{Deserialize, Serialize};

use super::figures::{bytes, counted, duration, plain};

/// The load generator of somebody else's, as far as this process started it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What it is called.
    pub name: String,
    /// How often it was started.
    pub starts: u64,
    /// For how long it ran.
    pub seconds: f64,
    /// How it ended the last time that it ended by itself, in words; null where it was only stopped.
    pub ended: Option<String>,
    /// When it did not run although messages were due; the first ones.
    pub absences: Vec<Absence>,
    /// How many more there are.
    pub absences_left_out: u64,
    /// The last lines that it wrote.
    pub last_lines: Vec<String>,
    /// What it wrote before, and nobody kept, in bytes.
    pub output_dropped_bytes: u64,
}

/// A stretch of time without the load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// First moment, RFC 3339 in UTC.
    pub start: String,
    /// Last moment; null where it lasted until the schedule stopped, or still does.
    pub end: Option<String>,
    /// Why.
    pub why: String,
}

impl LoadReport {
    /// What its processes are called among all that are watched.
    pub const LABEL: &'static str = "load";

    /// It in words, each sentence for itself; `name` makes a text from outside fit for where they stand.
    pub(super) fn sentences(&self, name: fn(&str) -> String) -> Vec<String> {
        let mut sentences = vec![format!(
            "Load {}: started {}, ran {}.",
            name(&self.name),
            counted(self.starts, "time"),
            duration(self.seconds)
        )];
        for Absence { start, end, why } in &self.absences {
            let end =
                end.as_ref().map_or_else(|| "to the end".to_owned(), |end| format!("to {end}"));
            sentences.push(format!("No load from {start} {end}: {}.", name(why)));
        }
        if self.absences_left_out > 0 {
            let more = counted(self.absences_left_out, "more time");
            sentences.push(format!("No load {more}."));
        }
        if self.output_dropped_bytes > 0 {
            let dropped = bytes(self.output_dropped_bytes);
            sentences.push(format!("Of what it wrote {dropped} were not kept."));
        }
        sentences
    }

    /// Its last lines, fit for a terminal.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.last_lines.iter().map(|line| plain(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_load_did_is_told_in_sentences() {
        let absence = |end: Option<&str>, why: &str| Absence {
            start: "10:00:00Z".to_owned(),
            end: end.map(str::to_owned),
            why: why.to_owned(),
        };
        let load = LoadReport {
            name: "bench".to_owned(),
            starts: 2,
            seconds: 61.0,
            ended: Some("with exit code 3".to_owned()),
            absences: vec![
                absence(Some("10:00:09Z"), "it ended with exit code 0"),
                absence(None, "a\nb"),
            ],
            absences_left_out: 1,
            last_lines: vec!["\u{1b}[31mred".to_owned()],
            output_dropped_bytes: 1_500_000,
        };
        let expected = [
            "Load bench: started 2 times, ran 1.02 min.",
            "No load from 10:00:00Z to 10:00:09Z: it ended with exit code 0.",
            "No load from 10:00:00Z to the end: a\\nb.",
            "No load 1 more time.",
            "Of what it wrote 1.50 MB were not kept.",
        ];
        assert_eq!(load.sentences(plain), expected);
        assert_eq!(load.lines().collect::<Vec<_>>(), ["\\u{1b}[31mred"]);
        let quiet =
            LoadReport { name: "b".to_owned(), starts: 1, seconds: 0.5, ..LoadReport::default() };
        assert_eq!(quiet.sentences(plain), ["Load b: started 1 time, ran 500 ms."]);
    }
}
