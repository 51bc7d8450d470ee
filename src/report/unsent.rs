//! Room `report`: slots that were not sent, where a verdict would hide them.
//!
//! # Design
//!
//! What was not sent is no loss, and where nothing is to come out there is no other objective: such a run
//! passes once it ran. Whoever reads the verdict alone must not take it for the load that was asked for.

use super::figures::{count, counted, percentage};
use super::{PathReport, Report};

/// What a path was to send and did not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unsent {
    /// Slots that were skipped, for whatever reason.
    pub(super) skipped: u64,
    /// Slots that came due.
    pub(super) offered: u64,
}

impl Unsent {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    fn share(self) -> f64 {
        self.skipped as f64 / self.offered.max(1) as f64
    }

    fn is_most(self) -> bool {
        self.share() > 0.5
    }

    fn of(path: &PathReport) -> Self {
        Self { skipped: path.not_sent.values().sum(), offered: path.offered }
    }
}

/// The paths, by their place in the report, that only load and left something out, or that left most of
/// it out.
pub(super) fn told(report: &Report) -> impl Iterator<Item = (usize, Unsent)> {
    let paths = report.paths.iter().enumerate();
    paths.filter_map(|(index, path)| {
        let unsent = Unsent::of(path);
        let is_told = unsent.skipped > 0 && (path.lanes.is_empty() || unsent.is_most());
        is_told.then_some((index, unsent))
    })
}

/// Whether that is most of what any path was to send.
pub(super) fn is_most(report: &Report) -> bool {
    told(report).any(|(_, unsent)| unsent.is_most())
}

/// It in words, a part of a sentence for each path.
pub(super) fn words(report: &Report, name: fn(&str) -> String) -> impl Iterator<Item = String> {
    told(report).map(move |(index, unsent)| {
        format!(
            "path {}: {}not sent: {} of {} ({})",
            name(&report.paths[index].name),
            if unsent.is_most() { "most was " } else { "" },
            count(unsent.skipped),
            counted(unsent.offered, "slot"),
            percentage(unsent.share()),
        )
    })
}
