//! Room `telemetry`: the series of objectives.

use metrics::Counter;

use crate::correlate::{Path, PathId};
use crate::stats::Objective;

use super::board::Board;
use super::families::{SLO_GOOD, SLO_OBJECTIVE, SLO_VALID};
use super::handles::Registrar;

/// The series of an objective.
#[derive(Clone)]
pub(super) struct ObjectiveHandles {
    pub(super) objective: Objective,
    good: Counter,
    valid: Counter,
}

impl ObjectiveHandles {
    /// Those of each path, in their order; their targets are on the board from now on.
    pub(super) fn all(
        registrar: Registrar<'_>,
        paths: &[Path],
        objectives: &[Objective],
        board: &Board,
    ) -> Vec<Vec<Self>> {
        let of_path = |(id, path): (PathId, &Path)| {
            let own = objectives.iter().filter(|objective| objective.path() == id);
            own.map(|&objective| {
                board.set(&SLO_OBJECTIVE, &[&path.name, objective.name()], objective.share());
                Self::new(registrar, &path.name, objective)
            })
            .collect()
        };
        (0..).map(PathId).zip(paths).map(of_path).collect()
    }

    fn new(registrar: Registrar<'_>, path: &str, objective: Objective) -> Self {
        let labels = [path, objective.name()];
        let good = registrar.counter(&SLO_GOOD, &labels);
        Self { objective, good, valid: registrar.counter(&SLO_VALID, &labels) }
    }

    /// Counts what was rated, if it counts.
    pub(super) fn count(&self, rated: Option<bool>) {
        let Some(good) = rated else { return };
        self.valid.increment(1);
        if good {
            self.good.increment(1);
        }
    }
}
