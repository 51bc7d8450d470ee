//! Room `report`: windows and objectives as the report has them.

use serde::{Deserialize, Serialize};

use crate::study::{Figure, Judged};

use super::figures::{NONE, count, duration};

/// The windows of a path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathWindows {
    /// Share (0 to 1) of the time that is valid, of that in which slots came due and the path was not
    /// warming up; null where there was none.
    pub valid_fraction: Option<f64>,
    /// The windows, oldest first; neighbours that were judged alike are one entry. Left out of the
    /// status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stretches: Vec<WindowStretch>,
    /// How many of the oldest windows are not listed any more, because the list is bounded.
    pub left_out: u64,
}

/// Windows that followed each other and were judged alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowStretch {
    /// When the first began, RFC 3339 in UTC.
    pub start: String,
    /// When the last ended, RFC 3339 in UTC.
    pub end: String,
    /// How many they are.
    pub windows: u64,
    /// Whether their latencies may be trusted.
    pub valid: bool,
    /// Why not.
    pub causes: Vec<String>,
}

/// A target or a figure of an objective, with its unit: that is in the objective's name.
pub(super) fn figure(name: &str, figure: Option<Figure>) -> String {
    match figure {
        None => NONE.to_owned(),
        Some(Figure::Count(number)) => count(number),
        Some(Figure::Number(seconds)) if name.ends_with("_seconds") => duration(seconds),
        Some(Figure::Number(share)) => exact_percentage(share),
    }
}

/// A share that is never rounded up to one that would hold: `99.95 %`, cut behind the fourth decimal.
fn exact_percentage(share: f64) -> String {
    let percent = (share * 1e6 + 1e-6).floor() / 1e4;
    format!("{percent} %")
}

/// On which side of its target an objective holds.
pub(super) fn side(judged: &Judged) -> &'static str {
    if judged.is_least() { "at least" } else { "at most" }
}

/// What an objective asks for: `at most 250 ms`.
pub(super) fn bound(judged: &Judged) -> String {
    format!("{} {}", side(judged), figure(&judged.name, Some(judged.target)))
}

/// What was found against what was asked for: `312 ms, at most 250 ms`.
pub(super) fn finding(judged: &Judged) -> String {
    format!("{}, {}", figure(&judged.name, judged.figure), bound(judged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_of_their_objective() {
        let number = |figure| Some(Figure::Number(figure));
        assert_eq!(figure("p99_seconds", number(0.25)), "250 ms");
        assert_eq!(figure("acked_lost", Some(Figure::Count(1_234))), "1,234");
        assert_eq!(figure("availability_ratio", number(0.9995)), "99.95 %");
        assert_eq!(figure("availability_ratio", number(0.999)), "99.9 %");
        assert_eq!(figure("availability_ratio", number(1.0)), "100 %");
        assert_eq!(figure("availability_ratio", number(0.999_999_99)), "99.9999 %");
        assert_eq!(figure("max_seconds", None), "-");
    }
}
