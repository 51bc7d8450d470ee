//! Room `stats`: the windows of a path, as they were judged.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

use super::window::InvalidCause;

/// How many stretches are told apart; beyond that the oldest are left out.
const STRETCHES_MAX: usize = 1_000;

/// A window, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub until: Instant,
    /// Why it is not valid; empty where it is.
    pub causes: Vec<InvalidCause>,
    /// Whether slots came due in it: at the end of a run there are windows that only drain.
    pub is_loaded: bool,
}

/// Windows that followed each other and were judged alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// When the first began.
    pub from: Instant,
    /// When the last ended.
    pub until: Instant,
    /// How many they are.
    pub windows: u64,
    /// Why they are not valid; empty where they are.
    pub causes: Vec<InvalidCause>,
}

/// All windows of a path.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Windows {
    stretches: VecDeque<Stretch>,
    left_out: u64,
    loaded: Duration,
    valid: Duration,
}

impl Windows {
    /// Adds the next window.
    pub fn add(&mut self, window: &Judgement) {
        let length = window.until.saturating_since(window.from);
        if window.is_loaded && !window.causes.contains(&InvalidCause::WarmingUp) {
            self.loaded += length;
            if window.causes.is_empty() {
                self.valid += length;
            }
        }
        if let Some(last) = self.stretches.back_mut()
            && last.causes == window.causes
            && last.until == window.from
        {
            last.until = window.until;
            last.windows += 1;
            return;
        }
        let Judgement { from, until, ref causes, .. } = *window;
        self.stretches.push_back(Stretch { from, until, windows: 1, causes: causes.clone() });
        if self.stretches.len() > STRETCHES_MAX
            && let Some(oldest) = self.stretches.pop_front()
        {
            self.left_out += oldest.windows;
        }
    }

    /// The windows, oldest first, neighbours that were judged alike taken together.
    pub fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter()
    }

    /// How many of the oldest windows are in no stretch any more.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The share (0 to 1) of the time that is valid, of that in which slots came due and the path was
    /// not warming up; `None` where there was no such time.
    #[must_use]
    pub fn valid_share(&self) -> Option<f64> {
        let loaded = self.loaded.as_secs_f64();
        (loaded > 0.0).then(|| self.valid.as_secs_f64() / loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn window(second: u64, causes: &[InvalidCause]) -> Judgement {
        let (from, until) = (second * SECOND, (second + 1) * SECOND);
        let (from, until) = (Instant::from_nanos(from), Instant::from_nanos(until));
        Judgement { from, until, causes: causes.to_vec(), is_loaded: true }
    }

    #[test]
    fn neighbours_that_were_judged_alike_are_one_stretch() {
        let mut windows = Windows::default();
        assert_eq!(windows.valid_share(), None);
        windows.add(&window(0, &[InvalidCause::WarmingUp]));
        assert_eq!(windows.valid_share(), None, "nothing but the warm-up");
        windows.add(&window(1, &[]));
        windows.add(&window(2, &[]));
        windows.add(&window(3, &[InvalidCause::Reconnecting]));
        windows.add(&window(4, &[]));
        // A gap is none of the stretch.
        windows.add(&window(9, &[]));
        let counts: Vec<_> = windows.stretches().map(|it| (it.windows, it.causes.len())).collect();
        assert_eq!(counts, [(1, 1), (2, 0), (1, 1), (1, 0), (1, 0)]);
        assert_eq!(windows.valid_share(), Some(0.8));
        windows.add(&Judgement { is_loaded: false, ..window(10, &[InvalidCause::ConsumerBehind]) });
        assert_eq!(windows.valid_share(), Some(0.8), "the drain is not part of the share");
    }

    #[test]
    fn the_oldest_are_left_out_and_counted() {
        let mut windows = Windows::default();
        for second in 0..2_000 {
            windows.add(&window(2 * second, &[]));
            windows.add(&window(2 * second + 1, &[]));
            windows.add(&window(2 * second, &[InvalidCause::Reconnecting]));
        }
        let listed: u64 = windows.stretches().map(|it| it.windows).sum();
        assert_eq!(windows.stretches().count(), STRETCHES_MAX);
        assert_eq!(windows.left_out() + listed, 6_000);
    }
}
