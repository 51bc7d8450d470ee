//! Room `app`: what all shards know together of the leaders' clocks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::correlate::{Lane, PathId};
use crate::stats::{Clocks, Led, PEERS_MAX};

/// Who leads the partitions of a path and lane, as a consumer was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Leaders {
    pub(super) of: (PathId, Lane),
    pub(super) led: Vec<Led>,
}

/// The clocks of all leaders; clones are the same. Locked once a tick for all that came out in it.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderClocks {
    clocks: Arc<Mutex<Clocks>>,
    /// What was told of leaders since it was last taken.
    told: Arc<Mutex<Vec<Leaders>>>,
}

impl LeaderClocks {
    /// Goes on with what is known.
    pub(super) fn new(known: Clocks) -> Self {
        Self { clocks: Arc::new(Mutex::new(known)), told: Arc::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Clocks> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who leads partitions. False where there are more leaders than are told apart.
    pub(super) fn set_leaders(&self, leaders: Leaders) -> bool {
        let all_known = self.lock().set_leaders(leaders.of, &leaders.led);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(leaders);
        all_known
    }

    /// What was told of leaders since the last time.
    pub(super) fn take_leaders(&self) -> Vec<Leaders> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is said of a clock whose readings have no offset in common.
pub(super) fn stepped(peer: &str) -> String {
    format!(
        "the clock of {peer} was stepped, or this host's was, or another broker leads its partitions \
         by now; its offset is estimated anew, and append and fetch legs of these seconds may be \
         wrong; see that both keep time by NTP"
    )
}

/// What is said where there are more leaders than are told apart.
pub(super) fn too_many() -> String {
    format!(
        "more than {PEERS_MAX} Kafka brokers lead partitions; append and fetch legs of the others \
         are not corrected by their clocks"
    )
}
