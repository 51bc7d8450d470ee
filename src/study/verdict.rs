//! Room `study`: whether the objectives of a run held.
//!
//! # Design
//!
//! Counts are judged on net books: a loss that was announced and came out after all is no loss. What
//! can't be told is said to be unknown, never held: an objective over a path of which nothing is
//! known would otherwise pass for want of evidence. The same holds for a path that never began, whether
//! it has objectives or not. The words for paths and outcomes are those of room `correlate`, whose types
//! name the totals of room `stats`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::correlate::{Outcome, PathId, Qos, Roster};
use crate::stats::Stats;

/// What a run is to be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Objective {
    /// At most so many acknowledged messages of a path never came out, over all its lanes.
    AckedLost {
        /// The path.
        path: PathId,
        /// The most that holds.
        target: u64,
    },
}

impl Objective {
    /// What every run is judged by unless its configuration says otherwise: no acknowledged message
    /// is lost, on any path that has a lane to lose it on.
    #[must_use]
    pub fn defaults(roster: &Roster) -> Vec<Self> {
        let paths = (0..).map(PathId).zip(roster.paths());
        paths
            .filter(|(_, path)| !path.lanes.is_empty())
            .map(|(path, _)| Self::AckedLost { path, target: 0 })
            .collect()
    }

    fn judge(self, stats: &Stats, unmeasured: &Unmeasured) -> Judged {
        match self {
            Self::AckedLost { path, target } => {
                let mut judged = judge_acked_lost(stats, path, target);
                if unmeasured.contains_key(&path) {
                    judged.reason = Some("the path was never measured".to_owned());
                }
                judged
            }
        }
    }
}

/// The paths that never began, and what each waited for.
pub type Unmeasured = BTreeMap<PathId, String>;

/// The verdict on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// All in all.
    pub result: VerdictResult,
    /// Each objective.
    pub objectives: Vec<Judged>,
    /// Paths that never began by name, and what each waited for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmeasured: BTreeMap<String, String>,
}

/// What a verdict comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictResult {
    /// Every objective held.
    Passed,
    /// An objective did not hold, whatever is unknown beside it.
    Failed,
    /// No objective failed, and of one at least it can't be said that it held, or a path was never
    /// measured.
    Invalid,
}

impl VerdictResult {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
        }
    }
}

/// One objective, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What is bounded, as `slo` names it: `acked_lost`.
    pub name: String,
    /// Name of the path.
    pub path: String,
    /// The most that holds.
    pub target: u64,
    /// What was found, as far as it is known.
    pub figure: u64,
    /// Whether it held; `None` (null) where nobody can say.
    pub held: Option<bool>,
    /// Why nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Verdict {
    /// Judges the totals of a run after its drain. Before that it is the verdict on the slots that
    /// have an outcome so far. Without any objective the verdict is invalid: nothing was judged.
    #[must_use]
    pub fn judge(stats: &Stats, objectives: &[Objective], unmeasured: &Unmeasured) -> Self {
        let objectives: Vec<Judged> =
            objectives.iter().map(|objective| objective.judge(stats, unmeasured)).collect();
        let is_unknown = objectives.is_empty()
            || !unmeasured.is_empty()
            || objectives.iter().any(|judged| judged.held.is_none());
        let result = if objectives.iter().any(|judged| judged.held == Some(false)) {
            VerdictResult::Failed
        } else if is_unknown {
            VerdictResult::Invalid
        } else {
            VerdictResult::Passed
        };
        let name = |path: PathId| stats.roster().path(path).name.clone();
        let unmeasured = unmeasured.iter().map(|(&path, why)| (name(path), why.clone())).collect();
        Self { result, objectives, unmeasured }
    }

    /// The exit code of a run: 0 where it passed, 1 where it failed or is invalid.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self.result {
            VerdictResult::Passed => 0,
            VerdictResult::Failed | VerdictResult::Invalid => 1,
        }
    }
}

fn judge_acked_lost(stats: &Stats, id: PathId, target: u64) -> Judged {
    let path = stats.roster().path(id);
    let (mut slots, mut figure, mut unresolved, mut doubtful) = (0, 0, 0, 0);
    for (_, qos, lane) in stats.measured().filter(|&(path, ..)| path == id) {
        let totals = stats.lane(id, qos, lane);
        slots += totals.slots();
        figure += totals.outcome(Outcome::AckedLost);
        unresolved += totals.outcome(Outcome::Unresolved);
        // QoS 0 is never acknowledged: no slot of it can turn out to be an acknowledged loss.
        if qos != Qos::AtMostOnce {
            doubtful += totals.outcome(Outcome::Unresolved);
        }
    }
    let (held, reason) = if figure > target {
        (Some(false), None)
    } else if slots == 0 {
        (None, Some("no slot has an outcome".to_owned()))
    } else if slots == unresolved {
        (None, Some(format!("all {slots} slots are unresolved")))
    } else if figure + doubtful > target {
        (None, Some(format!("{doubtful} unresolved slots may be losses")))
    } else {
        (Some(true), None)
    };
    let name = Outcome::AckedLost.name().to_owned();
    Judged { name, path: path.name.clone(), target, figure, held, reason }
}
