//! Room `correlate`: why messages come out more than once.

use serde::{Deserialize, Serialize};

/// Why a message came out more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DuplicateCause {
    /// We sent it again after a reconnect.
    Resent,
    /// Something between the two clients doubled it.
    Pipeline,
    /// The same record was read twice; no further copy exists.
    Reread,
}

impl DuplicateCause {
    /// Every cause, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Resent, Self::Pipeline, Self::Reread];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resent => "resent",
            Self::Pipeline => "pipeline",
            Self::Reread => "reread",
        }
    }

    /// Position in [`DuplicateCause::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
