//! Room `report`: what several rounds of the same load come to.

use super::{Bare, Level};

impl Level {
    /// The median of each figure over rounds of one load, and between which the costs lay. Where the
    /// number of rounds is even it is the lower of the two in the middle, which one of the rounds had.
    #[must_use]
    pub fn of_rounds(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        let known = |figure: fn(&Self) -> Option<f64>| {
            let known: Vec<f64> = rounds.iter().filter_map(figure).collect();
            (!known.is_empty()).then(|| median(known.into_iter()))
        };
        let costs = || rounds.iter().map(|level| level.cost_of_measuring);
        Self {
            qos: rounds.first().map_or(0, |level| level.qos),
            messages_a_second: of(|level| level.messages_a_second),
            cpu_us_a_message: of(|level| level.cpu_us_a_message),
            busiest_thread_ratio: of(|level| level.busiest_thread_ratio),
            scheduler_lag_p99_seconds: known(|level| level.scheduler_lag_p99_seconds),
            publish_delay_p99_seconds: known(|level| level.publish_delay_p99_seconds),
            bare: Bare {
                messages_a_second: of(|level| level.bare.messages_a_second),
                cpu_us_a_message: of(|level| level.bare.cpu_us_a_message),
            },
            cost_of_measuring: of(|level| level.cost_of_measuring),
            cost_least: costs().min_by(f64::total_cmp).unwrap_or_default(),
            cost_most: costs().max_by(f64::total_cmp).unwrap_or_default(),
        }
    }
}

/// The value in the middle; 0 where there is none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_that_was_disturbed_does_not_show() {
        let round = |rate: f64, cpu_us_a_message: f64, lag| {
            let bare = Bare { messages_a_second: rate * 2.0, cpu_us_a_message: 1.0 };
            let level = Level {
                qos: 1,
                messages_a_second: rate,
                cpu_us_a_message,
                bare,
                ..Level::default()
            };
            Level { scheduler_lag_p99_seconds: lag, ..level }.compared()
        };
        let rounds = [round(9.0, 2.0, Some(0.1)), round(1.0, 4.0, None), round(8.0, 1.0, None)];
        let level = Level::of_rounds(&rounds);
        assert_eq!((level.qos, level.messages_a_second, level.cpu_us_a_message), (1, 8.0, 2.0));
        assert_eq!(
            (level.bare.messages_a_second, level.scheduler_lag_p99_seconds),
            (16.0, Some(0.1))
        );
        assert_eq!((level.cost_least, level.cost_of_measuring, level.cost_most), (0.0, 0.5, 0.75));
        let two = Level::of_rounds(&rounds[..2]);
        assert_eq!((two.messages_a_second, two.cpu_us_a_message), (1.0, 2.0));
        assert_eq!(Level::of_rounds(&[]), Level::default());
    }
}
