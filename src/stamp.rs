//! Room `stamp` (pure): the trace id, its carriers, and how to find it again.

mod identity;

pub use identity::{Flags, Identity, PATHS_MAX, PUBLISHERS_PER_PATH_MAX, Run, SEQUENCE_END};
