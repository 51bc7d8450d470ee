//! Room `config` (wiring): what a path is held to.

use super::super::keys;
use super::super::resolved::SloConfig;
use super::super::tree::Value;
use super::{Reader, View};
use crate::correlate::Lane;

impl Reader<'_> {
    /// Reads `slo`; `lanes` are those of the path, where they could be read.
    pub(super) fn slo(&mut self, view: &View<'_>, lanes: Option<&[Lane]>) -> Option<SloConfig> {
        let acked_lost = view.get(&keys::ACKED_LOST, self.problems);
        let slo = SloConfig {
            p50: view.get(&keys::P50, self.problems),
            p90: view.get(&keys::P90, self.problems),
            p99: view.get(&keys::P99, self.problems),
            p999: view.get(&keys::P999, self.problems),
            max: view.get(&keys::MAX, self.problems),
            acked_lost: acked_lost?,
            duplicates: view.get(&keys::DUPLICATES, self.problems),
            availability: view.get(&keys::AVAILABILITY, self.problems),
        };
        if lanes.is_some_and(<[Lane]>::is_empty) && is_beyond_default(view) {
            let what = "nothing is timed on a path without lanes; give it some, or remove slo";
            self.problems.add(view.node.origin, &view.path, what);
        }
        Some(slo)
    }
}

/// Whether it holds more than what every path is held to, whether it has lanes or not.
fn is_beyond_default(view: &View<'_>) -> bool {
    let Value::Map(entries) = &view.node.value else { return false };
    entries.iter().any(|entry| entry.key != keys::ACKED_LOST.name)
}
