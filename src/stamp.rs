//! Room `stamp` (pure): the trace id, its carriers, and how to find it again.

mod filling;
mod hex;
mod identity;
mod payload;
mod reader;
mod trace;

pub use identity::{Flags, Identity, PATHS_MAX, PUBLISHERS_PER_PATH_MAX, Run, SEQUENCE_END};
pub use payload::Format;
pub use reader::{Carriers, Found, Integrity, PROPERTY, Reading, Stamp, Stamper};
pub use trace::{Permutation, SpanId, TRACEPARENT_LEN, TraceId};
