//! Room `study` (pure): the experiment as a state machine, and its verdict.

mod verdict;

pub use verdict::{Judged, Objective, Verdict, VerdictResult};
