//! Room `app`: what all shards know together of the leaders' clocks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::stats::{Clocks, PEERS_MAX};

/// The clocks of all leaders; clones are the same. Locked once a tick for all that came out in it.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderClocks(Arc<Mutex<Clocks>>);

impl LeaderClocks {
    pub(super) fn lock(&self) -> MutexGuard<'_, Clocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
