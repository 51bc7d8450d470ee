//! Room `journal` (edge): state on disk that outlives its process.
//!
//! # Design
//!
//! A *snapshot* is all of the state, a *log* the frames that were added to it since. Both are bytes
//! here: what they mean is for those who write them. A frame is handed to the kernel in one call, so
//! that it is there after SIGKILL; it is forced to the disk about once a second on a thread of its own,
//! so that a machine that loses its power loses little, and nobody waits for the disk. A long log is
//! replaced by a new snapshot with an empty one: first the new log is made, then the snapshot gets its
//! name, then the old ones go. Whatever is killed in between leaves one whole pair behind.
//!
//! Frame and snapshot carry checksums. An end that is cut in the middle of a frame is what a kill leaves,
//! and is left out; whatever else does not add up is damage, and nothing of it is used.

mod directory;
mod frames;
mod log;
mod sync;

pub use directory::{Directory, Stored};
pub use log::Log;
pub use sync::{Syncer, Teller};
