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
