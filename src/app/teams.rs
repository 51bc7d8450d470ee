//! Room `app`: which publishers share a thread.
//!
//! # Design
//!
//! A thread that is woken for each message sends it when it is due, to the precision of the kernel's
//! timers. Waking is most of what a message costs, so at high rates that would measure the generator:
//! there a thread wakes at most once in a tick and does together what is due by then. Paths that measure
//! at low rates have threads of their own, which never wait for a load.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::publish;
use crate::schedule::{self, Arrivals};

/// How late a message of a load may be sent, so that others are sent with it.
const TICK: Duration = Duration::from_millis(1);
/// The same in a closed loop, where nothing is due at any time; less where that would be the limit.
const CLOSED_TICK: Duration = Duration::from_millis(4);
/// How late what comes of a load may be looked at, so that more of it is looked at together.
const RECEIVE_TICK: Duration = Duration::from_micros(250);
/// A path is a load from so many messages a second on: two of them would share each tick.
const LOAD_RATE: f64 = 2_000.0;
/// One thread sends so many messages a second of loads.
const RATE_PER_THREAD: f64 = 100_000.0;
/// One thread keeps so many connections.
const CLIENTS_PER_THREAD: usize = 20_000;

type Publisher = (publish::Config, schedule::Config);

/// Publishers of one thread.
pub(super) struct Team {
    pub(super) publishers: Vec<Publisher>,
    /// How often it wakes at most.
    pub(super) tick: Duration,
}

/// How often those wake at most who send so many messages a second of a path.
pub(super) fn send_tick(rate: f64, arrivals: Arrivals) -> Duration {
    match arrivals {
        _ if rate < LOAD_RATE => Duration::ZERO,
        Arrivals::Closed => CLOSED_TICK,
        Arrivals::Fixed | Arrivals::Poisson => TICK,
    }
}

/// The same of those who receive them.
pub(super) fn receive_tick(rate: f64) -> Duration {
    if rate < LOAD_RATE { Duration::ZERO } else { RECEIVE_TICK }
}

/// Spreads publishers over threads: those of loads apart from the others, no more of either kind than
/// there are processors, and no more than half of them for closed loops.
pub(super) fn of(mut publishers: Vec<Publisher>) -> Vec<Team> {
    let cpus = available_parallelism().map_or(1, NonZero::get);
    let kinds = [(Duration::ZERO, cpus), (TICK, cpus), (CLOSED_TICK, cpus.div_ceil(2))];
    let mut teams = Vec::new();
    for (tick, threads_max) in kinds {
        let of_kind = publishers.extract_if(.., |(config, _)| config.tick == tick).collect();
        let spread = spread(of_kind, threads_max).into_iter();
        teams.extend(spread.map(|publishers| Team { publishers, tick }));
    }
    teams
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "clamped to the number of processors"
)]
fn spread(publishers: Vec<Publisher>, threads_max: usize) -> Vec<Vec<Publisher>> {
    let rate: f64 = publishers.iter().map(|(_, plan)| 1e9 / plan.interval_nanos).sum();
    let for_rate = (rate / RATE_PER_THREAD).ceil() as usize;
    let for_clients = publishers.len().div_ceil(CLIENTS_PER_THREAD);
    let threads = for_rate.max(for_clients).clamp(1, threads_max);
    // A thread gets its share of rate and connections, both of which are work.
    let clients = publishers.len() as f64;
    let weight = |(_, plan): &Publisher| 1e9 / plan.interval_nanos / rate + 1.0 / clients;
    let mut teams: Vec<Vec<Publisher>> = std::iter::repeat_with(Vec::new).take(threads).collect();
    let mut before = 0.0;
    for publisher in publishers {
        let place = (before / 2.0 * threads as f64) as usize;
        before += weight(&publisher);
        teams[place.min(threads - 1)].push(publisher);
    }
    teams.retain(|team| !team.is_empty());
    teams
}
