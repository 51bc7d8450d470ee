//! Room `study` (pure): an experiment as a state machine, and its verdict.

mod phase;

pub use phase::{Command, Machine, Notice, Phase, Plan, Role};
