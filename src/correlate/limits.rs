//! Room `correlate`: how much may be remembered.

/// Bounds on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open slots over all publishers, at 32 bytes each.
    pub open_max: usize,
    /// Ranges of verdicts over all publishers and lanes, in even shares, at about 60 bytes each.
    pub verdicts_max: usize,
    /// Closed slots over all publishers that stay at hand, in even shares, at 32 bytes each.
    pub closed_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_max: 6_000_000, verdicts_max: 1_000_000, closed_max: 65_536 }
    }
}
