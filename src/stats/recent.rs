//! Room `stats`: quantiles over the last windows.

use std::collections::VecDeque;

use super::latencies::{Latencies, rank};

/// The quantiles that are exported. 1 is the longest duration.
pub const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];
/// A window is not looked at for longer than this.
const AGE_MAX_SECONDS: u64 = 3_600;

/// The last windows of one series, as many as the highest quantile needs.
///
/// # Design
///
/// A quantile needs 10 / (1 - q) samples before it says more than "the longest so far". Windows are
/// kept as sorted values with counts, newest first, until the most demanding quantile is served or
/// an hour has passed: a busy series keeps one window, a quiet one some hundred samples each.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    windows: VecDeque<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    seconds: u64,
    count: u64,
    values: Vec<(i64, u32)>,
}

impl Recent {
    /// Adds the window that has just ended.
    pub fn push(&mut self, seconds: u64, latencies: &Latencies) {
        let values = latencies
            .values()
            .map(|(nanos, count)| (nanos, u32::try_from(count).unwrap_or(u32::MAX)))
            .collect();
        self.windows.push_front(Window { seconds, count: latencies.count(), values });
        let (mut samples, mut age, mut keep) = (0, 0, 0);
        for window in &self.windows {
            if samples >= samples_needed(0.999) || age >= AGE_MAX_SECONDS {
                break;
            }
            samples += window.count;
            age += window.seconds;
            keep += 1;
        }
        self.windows.truncate(keep);
    }

    /// A quantile in nanoseconds over the last window, or over as many last windows as hold enough
    /// samples; `None` where an hour does not.
    #[must_use]
    pub fn quantile_nanos(&self, quantile: f64) -> Option<i64> {
        let needed = samples_needed(quantile);
        let mut values = Vec::new();
        let mut samples = 0;
        for window in &self.windows {
            values.extend_from_slice(&window.values);
            samples += window.count;
            if samples >= needed {
                return Some(select(values, rank(quantile, samples)));
            }
        }
        None
    }
}

/// How many samples a quantile needs: one for the longest duration, else 10 / (1 - q).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "quantiles are the constants above"
)]
fn samples_needed(quantile: f64) -> u64 {
    if quantile >= 1.0 { 1 } else { (10.0 / (1.0 - quantile)).round() as u64 }
}

fn select(mut values: Vec<(i64, u32)>, rank: u64) -> i64 {
    values.sort_unstable();
    let mut seen = 0;
    let found = values.iter().find(|&&(_, count)| {
        seen += u64::from(count);
        seen >= rank
    });
    found.or(values.last()).map_or(0, |&(nanos, _)| nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(count: i64) -> Latencies {
        let mut latencies = Latencies::default();
        (1..=count).for_each(|n| latencies.record(n * 1_000_000));
        latencies
    }

    #[test]
    fn a_quantile_is_absent_below_its_samples() {
        let mut recent = Recent::default();
        recent.push(10, &window(99));
        assert!(recent.quantile_nanos(0.5).is_some());
        assert_eq!(recent.quantile_nanos(0.9).map(|_| ()), None, "needs 100");
        assert!(recent.quantile_nanos(1.0).is_some(), "from the first sample");
        recent.push(10, &window(1));
        assert!(recent.quantile_nanos(0.9).is_some(), "the window before helps out");
    }

    #[test]
    fn a_busy_series_forgets_at_once_and_a_quiet_one_within_the_hour() {
        let mut recent = Recent::default();
        for _ in 0..5 {
            recent.push(10, &window(10_000));
        }
        assert_eq!(recent.windows.len(), 1);
        let mut recent = Recent::default();
        for _ in 0..1_000 {
            recent.push(10, &window(1));
        }
        assert_eq!(recent.windows.len(), 360);
    }

    #[test]
    fn the_longest_is_the_last_windows() {
        let mut recent = Recent::default();
        recent.push(10, &window(50));
        recent.push(10, &window(2));
        let longest = recent.quantile_nanos(1.0).unwrap();
        assert!(longest.abs_diff(2_000_000) < 5_000, "{longest}");
        recent.push(10, &window(0));
        assert!(recent.quantile_nanos(1.0).is_some(), "an empty window hides nothing");
    }
}
