//! Room `subscribe`: what the subscribers of a path say together.
//!
//! # Design
//!
//! They are on several threads and share this, under a lock that is taken when one of them comes, goes
//! or has its ping answered, and for no message. Finding the judge that is furthest behind means looking
//! at all of them: many judges have many pings answered, and so that is done now and then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Config;
use crate::clock::Instant;

/// How often is looked for the judge that is furthest behind, at most.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The subscribers of a path, all of them.
#[derive(Debug)]
pub(super) struct Panel {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Up to when each judge has read everything; the clock's origin before it has.
    read: Vec<Instant>,
    /// Up to when all of them have, as was said last.
    said: Instant,
    /// When may be looked again.
    next: Instant,
    /// How many subscribers are subscribed.
    up: u32,
    /// Why they are not all, as was said last.
    why: Option<String>,
}

/// How far all judges have read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaughtUp {
    /// Everything up to a moment, which is later than what was said before.
    With(Instant),
    /// That is to be asked at a moment.
    AskAt(Instant),
    /// No further than was said before.
    NoFurther,
}

impl Panel {
    pub(super) fn new(config: Config) -> Self {
        let judges = config.audience.judges() as usize;
        let read = vec![Instant::ZERO; judges];
        let (said, next) = (Instant::ZERO, Instant::ZERO);
        Self { config, state: Mutex::new(State { read, said, next, up: 0, why: None }) }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// A judge has read everything up to a moment, as was heard at `now`.
    pub(super) fn catch_up(&self, judge: u32, at: Instant, now: Instant) -> CaughtUp {
        let mut state = self.lock();
        let Some(read) = state.read.get_mut(judge as usize) else { return CaughtUp::NoFurther };
        *read = at.max(*read);
        if now < state.next {
            return CaughtUp::AskAt(state.next);
        }
        state.look(now).map_or(CaughtUp::NoFurther, CaughtUp::With)
    }

    /// Up to when all judges have read everything, as of `now`; nothing where that was said before.
    pub(super) fn settle(&self, now: Instant) -> Option<Instant> {
        self.lock().look(now)
    }

    /// One more is subscribed; `say` is called where all are now.
    pub(super) fn rise(&self, say: impl FnOnce()) {
        let mut state = self.lock();
        state.up += 1;
        if state.up == self.config.audience.count {
            state.why = None;
            // Under the lock, so that nobody who goes meanwhile is heard before it.
            say();
        }
    }

    /// One is not subscribed, and why; `was_up` where it has been. `say` is called where that is news.
    pub(super) fn fall(&self, was_up: bool, why: &str, say: impl FnOnce()) {
        let mut state = self.lock();
        state.up = state.up.saturating_sub(u32::from(was_up));
        if state.why.as_deref() != Some(why) {
            state.why = Some(why.to_owned());
            say();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&mut self, now: Instant) -> Option<Instant> {
        self.next = now + LOOK_EVERY;
        let all = self.read.iter().min().copied().filter(|&all| all > self.said)?;
        self.said = all;
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::correlate::{Audience, PathId, Qos, Receive};
    use crate::wire::samples;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn panel(count: u32, receive: Receive) -> Panel {
        Panel::new(Config {
            path: PathId(0),
            endpoint: samples::endpoint("localhost", 1_883),
            session: samples::session("s"),
            filter: "t".into(),
            topics: Arc::default(),
            qos: Qos::AtMostOnce,
            audience: Audience { count, receive },
            tick: Duration::ZERO,
        })
    }

    proptest! {
        #[test]
        fn nothing_is_said_that_one_judge_has_not_read(
            count in 1_u32..6,
            pongs in prop::collection::vec((0_u32..6, 1_u64..2_000), 0..200),
        ) {
            let panel = panel(count, Receive::Share);
            let (mut read, mut now, mut said) = (vec![0; count as usize], 0, 0);
            for &(judge, after) in &pongs {
                let judge = judge % count;
                now += after;
                // It was pinged a little earlier.
                read[judge as usize] = now - 1;
                let caught_up = panel.catch_up(judge, at(now - 1), at(now));
                let truth = *read.iter().min().unwrap();
                if let CaughtUp::With(moment) = caught_up {
                    prop_assert_eq!(moment, at(truth));
                    prop_assert!(truth > said);
                    said = truth;
                }
                if let CaughtUp::AskAt(moment) = caught_up {
                    prop_assert!(moment > at(now) && moment <= at(now) + LOOK_EVERY);
                }
            }
            now += 250;
            let truth = *read.iter().min().unwrap();
            prop_assert_eq!(panel.settle(at(now)), (truth > said).then(|| at(truth)));
            prop_assert_eq!(panel.settle(at(now)), None);
        }
    }

    #[test]
    fn the_first_one_judges_alone_where_each_is_sent_everything() {
        let panel = panel(3, Receive::All);
        assert_eq!(panel.catch_up(2, at(1), at(2)), CaughtUp::NoFurther);
        assert_eq!(panel.catch_up(0, at(3), at(4)), CaughtUp::With(at(3)));
    }

    #[test]
    fn they_stand_when_all_do_and_each_trouble_is_said_once() {
        let panel = panel(2, Receive::All);
        let said = Cell::new(0);
        let say = || said.set(said.get() + 1);
        panel.rise(say);
        assert_eq!(said.replace(0), 0);
        panel.fall(false, "refused", say);
        panel.fall(false, "refused", say);
        assert_eq!(said.replace(0), 1, "the same trouble");
        panel.fall(false, "no route", say);
        panel.rise(say);
        assert_eq!(said.replace(0), 2, "another trouble, and its end");
        panel.fall(true, "no route", say);
        assert_eq!(said.replace(0), 1, "the same trouble after its end");
        panel.rise(say);
        assert_eq!(said.get(), 1);
    }
}
