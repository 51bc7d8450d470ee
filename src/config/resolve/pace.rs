//! Room `config` (wiring): how the load of a path goes.

use std::time::Duration;

use super::super::keys::pace as keys;
use super::super::resolved::Rate;
use super::super::tree::Value;
use super::{Reader, View};
use crate::schedule::{Arrivals, Profile};

impl Reader<'_> {
    /// When messages are due; in a closed loop nobody but the system knows.
    pub(super) fn arrivals(&mut self, mqtt: &View<'_>, rate: Option<Rate>) -> Option<Arrivals> {
        let schedule = &super::keys::SCHEDULE;
        let arrivals = mqtt.get(schedule, self.problems)?;
        if rate != Some(Rate::Max) {
            return Some(arrivals);
        }
        if mqtt.is_given(schedule) {
            let what = "with rate: max nothing is due at a time of ours; remove it";
            self.problems.add(mqtt.origin_of(schedule), &mqtt.path_of(schedule), what);
        }
        Some(Arrivals::Closed)
    }

    /// How the rate changes.
    pub(super) fn profile(&mut self, mqtt: &View<'_>, rate: Option<Rate>) -> Option<Profile> {
        let view = mqtt.section(&keys::PROFILE)?;
        let Value::Map(kinds) = &view.node.value else { return None };
        let Some(kind) = kinds.first() else { return Some(Profile::Steady) };
        if let Some(other) = kinds.get(1) {
            let what = format!("holds {} and {}; give one of them", kind.key, other.key);
            self.problems.add(view.node.origin, &view.path, what);
            return None;
        }
        let Rate::PerSecond(rate) = rate? else {
            let what = "with rate: max the system decides the rate; remove it, or give a rate";
            self.problems.add(view.node.origin, &view.path, what);
            return None;
        };
        let ramp = view.section(&keys::RAMP).map(|view| self.ramp(&view, rate));
        let steps = view.section(&keys::STEPS).map(|view| {
            let count = view.get(&keys::STEP_COUNT, self.problems);
            let every = view.get(&keys::EVERY, self.problems);
            Some(Profile::Steps { count: count?, every_nanos: nanos(every?) })
        });
        let on_off = view.section(&keys::ON_OFF).map(|view| {
            let on = view.get(&keys::ON, self.problems);
            let off = view.get(&keys::OFF, self.problems);
            Some(Profile::OnOff { on_nanos: nanos(on?), off_nanos: nanos(off?) })
        });
        let burst = view.section(&keys::BURST).map(|view| {
            let messages = f64::from(view.get(&keys::MESSAGES, self.problems)?);
            let every = Duration::try_from_secs_f64(messages / rate).unwrap_or(Duration::MAX);
            Some(Profile::Burst { every_nanos: nanos(every) })
        });
        ramp.or(steps).or(on_off).or(burst)?
    }

    fn ramp(&mut self, view: &View<'_>, rate: f64) -> Option<Profile> {
        let from = view.get(&keys::FROM, self.problems);
        let over = view.get(&keys::OVER, self.problems);
        let (from, over_nanos) = (from?, nanos(over?));
        if from > rate {
            let what = format!("{from}/s is more than the rate of {rate}/s that it grows to");
            self.problems.add(view.origin_of(&keys::FROM), &view.path_of(&keys::FROM), what);
            return None;
        }
        Some(Profile::Ramp { from: from / rate, over_nanos })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
