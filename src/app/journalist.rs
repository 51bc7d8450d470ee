//! Room `app`: the log, and the report as it stands.

use std::collections::BTreeMap;
use std::time::Duration;

use super::meters::Meters;
use crate::clock::{Clock, Instant, Pairing};
use crate::report::{Environment, Inputs, Product, Report, Window};
use crate::stats::{InvalidCause, Stats};
use crate::study::{Objective, Verdict};

/// How often the same line is logged at most.
const REPEAT_EVERY: Duration = Duration::from_secs(30);
/// How many different lines are remembered.
const LINES_MAX: usize = 1_000;

/// Writes the log and the report.
pub(super) struct Journalist {
    clock: Clock,
    product: Product,
    environment: Environment,
    begun: Pairing,
    judged: u64,
    valid: u64,
    invalid: BTreeMap<String, u64>,
    said: BTreeMap<String, (Instant, u64)>,
}

impl Journalist {
    /// The story begins now.
    pub(super) fn new(clock: Clock, product: Product, environment: Environment) -> Self {
        Self {
            clock,
            product,
            environment,
            begun: clock.pairing(),
            judged: 0,
            valid: 0,
            invalid: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// The first window begins: what the report covers starts here.
    pub(super) fn begin(&mut self, at: Instant) {
        let now = self.clock.pairing();
        self.begun = Pairing { instant: at, wall: now.wall_of(at), ..now };
    }

    /// A connection stands.
    pub(super) fn up(&mut self, name: &str) {
        self.said.retain(|line, _| !line.starts_with(name));
        tracing::info!("{name}: connected");
    }

    /// A connection is gone, or could not be made.
    pub(super) fn down(&mut self, name: &str, reason: &str, now: Instant) {
        self.warn(&format!("{name}: {reason}; trying again"), now);
    }

    /// Something a person should know. The same line again soon is counted and not repeated.
    pub(super) fn warn(&mut self, text: &str, now: Instant) {
        if let Some((next, held_back)) = self.said.get_mut(text) {
            if now < *next {
                *held_back += 1;
                return;
            }
            let held_back = std::mem::take(held_back);
            tracing::warn!(held_back, "{text}");
        } else {
            tracing::warn!("{text}");
        }
        if self.said.len() >= LINES_MAX {
            self.said.clear();
        }
        self.said.insert(text.to_owned(), (now + REPEAT_EVERY, 0));
    }

    /// A window of a path was judged.
    pub(super) fn window_judged(&mut self, causes: &[InvalidCause]) {
        // The share of valid windows is one of the run after its warm-up.
        if !causes.contains(&InvalidCause::WarmingUp) {
            self.judged += 1;
            self.valid += u64::from(causes.is_empty());
        }
        for cause in causes {
            *self.invalid.entry(cause.name().to_owned()).or_default() += 1;
        }
    }

    /// The report on the run as it stands.
    pub(super) fn report(&self, stats: &Stats, meters: &Meters) -> Report {
        let now = self.clock.pairing();
        let length = now.instant.saturating_since(self.begun.instant);
        let mut window = Window::new(self.begun.wall, now.wall, length);
        window.valid_fraction = share(self.valid, self.judged);
        window.invalid.clone_from(&self.invalid);
        let mut environment = self.environment.clone();
        environment.memory_bytes = meters.memory_total_bytes().unwrap_or_default();
        Report::build(Inputs {
            stats,
            landfall: self.product.clone(),
            environment,
            window,
            host: meters.host(),
            processes: meters.processes(),
            verdict: Verdict::judge(stats, &Objective::defaults(stats.roster())),
        })
    }

    /// The same as JSON without histograms.
    pub(super) fn status(&self, stats: &Stats, meters: &Meters) -> String {
        // Every key is text and every figure a number, so that writing can't fail.
        self.report(stats, meters).status_json().unwrap_or_default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}
