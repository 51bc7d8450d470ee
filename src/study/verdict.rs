//! Room `study`: whether the objectives of a run held.
//!
//! # Design
//!
//! Counts are judged over all windows, latencies over valid ones; the other figures stand beside them.
//! Counts are judged on net books: a loss that was announced and came out after all is no loss. What
//! can't be told is said to be unknown, never held: an objective over a path of which nothing is
//! known would otherwise pass for want of evidence. The same holds for a path that never began, whether
//! it has objectives or not. The words for paths and outcomes are those of room `correlate`, whose types
//! name the totals of room `stats`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::correlate::{Lane, Outcome, PathId, Qos};
use crate::stats::{LaneTotals, Latencies, Objective, Quantile, Stats};

/// So much of the time after the warm-up has to be valid before a latency is judged.
const VALID_MIN: f64 = 0.5;
/// Nobody's share of slots is told from its target more finely.
const SHARE_EPSILON: f64 = 1e-9;

/// The paths that never began, and what each waited for.
pub type Unmeasured = BTreeMap<PathId, String>;

/// The verdict on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// A target or a figure; a plain number in JSON. Its unit is in the objective's name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    /// How many.
    Count(u64),
    /// Seconds, or a share of 1.
    Number(f64),
}

/// One objective, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What is bounded, as `slo` names it, with its unit: `acked_lost`, `duplicates`, `p99_seconds`,
    /// `availability_ratio`.
    pub name: String,
    /// Name of the path.
    pub path: String,
    /// The most that holds; of an availability the least.
    pub target: Figure,
    /// What was found and is judged, as far as it is known; `None` (null) where nothing is.
    pub figure: Option<Figure>,
    /// The same over all windows.
    pub figure_all_windows: Option<Figure>,
    /// The same over valid windows alone.
    pub figure_valid_windows: Option<Figure>,
    /// Whether it held; `None` (null) where nobody can say.
    pub held: Option<bool>,
    /// Why nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Judged {
    /// Whether less than the target fails, and not more.
    #[must_use]
    pub fn is_least(&self) -> bool {
        self.name == AVAILABILITY
    }
}

impl Verdict {
    /// Judges the totals of a run after its drain. Before that it is the verdict on the slots that
    /// have an outcome so far. Without any objective the verdict is invalid, since nothing was judged;
    /// but where nothing was to be, on paths that only load, it holds once they have.
    #[must_use]
    pub fn judge(stats: &Stats, objectives: &[Objective], unmeasured: &Unmeasured) -> Self {
        let objectives: Vec<Judged> =
            objectives.iter().map(|objective| judge(objective, stats, unmeasured)).collect();
        let only_loads = stats.roster().paths().iter().all(|path| path.lanes.is_empty());
        let is_unknown = (objectives.is_empty() && !only_loads)
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

/// Name of an objective over slots.
const AVAILABILITY: &str = "availability_ratio";

/// Whether an objective held, and why nobody can say.
type Finding = (Option<bool>, Option<String>);

fn judge(objective: &Objective, stats: &Stats, unmeasured: &Unmeasured) -> Judged {
    let of = Totals { stats, path: objective.path() };
    let mut judged = match *objective {
        Objective::Latency { lane, quantile, target, .. } => of.latency(lane, quantile, target),
        Objective::AckedLost { target, .. } => of.acked_lost(target),
        Objective::Duplicates { target, .. } => of.duplicates(target),
        Objective::Availability { lane, target, .. } => of.availability(lane, target),
    };
    if unmeasured.contains_key(&objective.path()) {
        judged.reason = Some("the path was never measured".to_owned());
    }
    judged
}

/// The totals of one path.
#[derive(Clone, Copy)]
struct Totals<'a> {
    stats: &'a Stats,
    path: PathId,
}

impl<'a> Totals<'a> {
    fn lanes(self) -> impl Iterator<Item = (Qos, Lane, &'a LaneTotals)> {
        let measured = self.stats.measured().filter(move |&(path, ..)| path == self.path);
        measured.map(move |(path, qos, lane)| (qos, lane, self.stats.lane(path, qos, lane)))
    }

    fn lane(self, of: Lane) -> impl Iterator<Item = &'a LaneTotals> {
        self.lanes().filter(move |&(_, lane, _)| lane == of).map(|(.., totals)| totals)
    }

    fn sum(self, count: impl Fn(&LaneTotals) -> u64) -> u64 {
        self.lanes().map(|(.., totals)| count(totals)).sum()
    }

    fn judged(self, name: &str, target: Figure, (held, reason): Finding) -> Judged {
        Judged {
            name: name.to_owned(),
            path: self.stats.roster().path(self.path).name.clone(),
            target,
            figure: None,
            figure_all_windows: None,
            figure_valid_windows: None,
            held,
            reason,
        }
    }

    fn latency(self, lane: Lane, quantile: Quantile, target: Duration) -> Judged {
        let (mut all, mut valid) = (Latencies::default(), Latencies::default());
        for totals in self.lane(lane) {
            all.merge(&totals.end_to_end());
            valid.merge(&totals.valid.end_to_end);
        }
        let found = |latencies: &Latencies| latencies.quantile_nanos(quantile.share());
        let target_nanos = i64::try_from(target.as_nanos()).unwrap_or(i64::MAX);
        let finding = match (self.stats.path(self.path).windows.valid_share(), found(&valid)) {
            (None, _) => (None, Some("no window was judged after the warm-up".to_owned())),
            (Some(share), _) if share < VALID_MIN => {
                let valid = (share * 100.0).floor();
                let text =
                    format!("{valid} % of the time after the warm-up is valid, half must be");
                (None, Some(text))
            }
            (_, None) => (None, Some("no message came out in a valid window".to_owned())),
            (_, Some(nanos)) => (Some(nanos <= target_nanos), None),
        };
        let seconds = |nanos| Figure::Number(seconds(nanos));
        let figure = found(&valid).map(seconds);
        let name = format!("{}_seconds", quantile.name());
        Judged {
            figure,
            figure_all_windows: found(&all).map(seconds),
            figure_valid_windows: figure,
            ..self.judged(&name, Figure::Number(target.as_secs_f64()), finding)
        }
    }

    fn acked_lost(self, target: u64) -> Judged {
        let figure = self.sum(|totals| totals.outcome(Outcome::AckedLost));
        // QoS 0 is never acknowledged over MQTT: no slot of it can turn out to be an acknowledged loss.
        let acknowledged = self
            .lanes()
            .filter(|&(qos, lane, _)| qos != Qos::AtMostOnce || lane == Lane::KafkaKafka);
        let doubtful =
            acknowledged.map(|(.., totals)| totals.outcome(Outcome::Unresolved)).sum::<u64>();
        let finding = self.count((figure, target), doubtful, "may be losses");
        let valid = self.sum(|totals| totals.valid.outcome(Outcome::AckedLost));
        self.counted(Outcome::AckedLost.name(), target, (figure, valid), finding)
    }

    fn duplicates(self, target: u64) -> Judged {
        // A copy on the control lane is its producer's own.
        let sum = |count: fn(&LaneTotals) -> u64| -> u64 {
            let lanes = self.lanes().filter(|&(_, lane, _)| lane != Lane::KafkaKafka);
            lanes.map(|(.., totals)| count(totals)).sum()
        };
        let figure = sum(LaneTotals::copies);
        let doubtful = sum(|totals| totals.outcome(Outcome::Unresolved));
        let finding = self.count((figure, target), doubtful, "may have come out twice");
        let valid = sum(|totals| totals.valid.copies());
        self.counted("duplicates", target, (figure, valid), finding)
    }

    fn counted(self, name: &str, target: u64, of: (u64, u64), finding: Finding) -> Judged {
        let (all, valid) = (Some(Figure::Count(of.0)), Some(Figure::Count(of.1)));
        Judged {
            figure: all,
            figure_all_windows: all,
            figure_valid_windows: valid,
            ..self.judged(name, Figure::Count(target), finding)
        }
    }

    /// What a count comes to where each of so many slots could add one.
    fn count(self, (figure, target): (u64, u64), doubtful: u64, doubt: &str) -> Finding {
        let slots = self.sum(LaneTotals::slots);
        let unresolved = self.sum(|totals| totals.outcome(Outcome::Unresolved));
        if figure > target {
            (Some(false), None)
        } else if let Some(reason) = nothing_known(slots, unresolved) {
            (None, Some(reason))
        } else if figure + doubtful > target {
            (None, Some(format!("{doubtful} unresolved slots {doubt}")))
        } else {
            (Some(true), None)
        }
    }

    fn availability(self, lane: Lane, target: f64) -> Judged {
        let sum = |count: &dyn Fn(&LaneTotals) -> u64| self.lane(lane).map(count).sum::<u64>();
        let slots = sum(&LaneTotals::slots);
        let delivered = sum(&|totals| totals.outcome(Outcome::Delivered));
        let unresolved = sum(&|totals| totals.outcome(Outcome::Unresolved));
        let reaches = |good| share(good, slots).is_some_and(|of| of >= target - SHARE_EPSILON);
        let finding = if let Some(reason) = nothing_known(slots, unresolved) {
            (None, Some(reason))
        } else if reaches(delivered) {
            (Some(true), None)
        } else if reaches(delivered + unresolved) {
            (None, Some(format!("{unresolved} unresolved slots may have been delivered")))
        } else {
            (Some(false), None)
        };
        let all = share(delivered, slots - unresolved).map(Figure::Number);
        let of_valid = |outcome| sum(&|totals| totals.valid.outcome(outcome));
        let known = sum(&|totals| totals.valid.slots());
        let known = known.saturating_sub(of_valid(Outcome::Unresolved));
        Judged {
            figure: all,
            figure_all_windows: all,
            figure_valid_windows: share(of_valid(Outcome::Delivered), known).map(Figure::Number),
            ..self.judged(AVAILABILITY, Figure::Number(target), finding)
        }
    }
}

/// Why nothing can be said of a path or lane with so many slots.
fn nothing_known(slots: u64, unresolved: u64) -> Option<String> {
    match slots {
        0 => Some("no slot has an outcome".to_owned()),
        _ if slots == unresolved => Some(format!("all {slots} slots are unresolved")),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds needs no 53 bits")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}
