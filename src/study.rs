//! Room `study` (pure): an experiment as a state machine, and its verdict.

mod phase;
mod verdict;

pub use phase::{Command, Machine, Notice, Phase, Plan, Role};
pub use verdict::{Figure, Judged, Unmeasured, Verdict, VerdictResult};

pub use crate::stats::{Objective, Quantile};
