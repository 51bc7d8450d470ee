//! Room `app`: which publishers share a thread.
//!
//! # Design
//!
//! A thread that is woken for each message sends it when it is due, to the precision of the kernel's
//! timers. Waking is most of what a message costs, so at high rates that would measure the generator:
//! there a thread wakes at most once in a tick and does together what is due by then. Paths that measure
//! at low rates have threads of their own, which never wait for a load.

use std::borrow::Borrow;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::publish;
use crate::schedule::{self, Arrivals};

/// How late a message of a load may be sent, so that others are sent with it.
const TICK: Duration = Duration::from_millis(1);
/// How late what comes of a load may be looked at, so that more of it is looked at together.
const RECEIVE_TICK: Duration = Duration::from_micros(250);
/// The same in a closed loop, where nothing is due at any time; less where that would be the limit.
const CLOSED_TICK: Duration = Duration::from_millis(4);
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

/// How often those wake at most who receive so many messages a second of a path.
pub(super) fn receive_tick(rate: f64) -> Duration {
    if rate >= LOAD_RATE { RECEIVE_TICK } else { Duration::ZERO }
}

/// Spreads publishers over threads: those of loads apart from the others, no more of either kind than
/// there are processors.
pub(super) fn of(publishers: Vec<Publisher>) -> Vec<Team> {
    let teams = teams(publishers).into_iter();
    teams.map(|(publishers, tick)| Team { publishers, tick }).collect()
}

/// How often the threads of each path wake at most, by its index.
pub(super) fn ticks(publishers: &[Publisher]) -> Vec<Duration> {
    let paths = publishers.iter().map(|(config, _)| usize::from(config.path) + 1).max();
    let mut ticks = vec![Duration::ZERO; paths.unwrap_or(0)];
    for (publishers, tick) in teams(publishers.iter().collect::<Vec<_>>()) {
        for (config, _) in publishers {
            let known = &mut ticks[usize::from(config.path)];
            *known = tick.max(*known);
        }
    }
    ticks
}

fn teams<P: Borrow<Publisher>>(publishers: Vec<P>) -> Vec<(Vec<P>, Duration)> {
    let cpus = available_parallelism().map_or(1, NonZero::get);
    let mut rates = vec![0.0; 1 + usize::from(u8::MAX)];
    for publisher in &publishers {
        let (config, plan) = publisher.borrow();
        rates[usize::from(config.path)] += 1e9 / plan.interval_nanos;
    }
    let is_load = |of: &P| rates[usize::from(of.borrow().0.path)] >= LOAD_RATE;
    let (loads, others): (Vec<_>, Vec<_>) = publishers.into_iter().partition(is_load);
    let is_closed = |of: &P| of.borrow().1.arrivals == Arrivals::Closed;
    let (closed, open): (Vec<_>, Vec<_>) = loads.into_iter().partition(is_closed);
    let exact = spread(others, cpus).into_iter().map(|team| (team, Duration::ZERO));
    let open = spread(open, cpus).into_iter().map(|team| (team, TICK));
    let closed = spread(closed, cpus.div_ceil(2)).into_iter().map(|team| (team, CLOSED_TICK));
    exact.chain(open).chain(closed).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "clamped to the number of processors"
)]
fn spread<P: Borrow<Publisher>>(publishers: Vec<P>, threads_max: usize) -> Vec<Vec<P>> {
    let rate: f64 = publishers.iter().map(|of| 1e9 / of.borrow().1.interval_nanos).sum();
    let for_rate = (rate / RATE_PER_THREAD).ceil() as usize;
    let for_clients = publishers.len().div_ceil(CLIENTS_PER_THREAD);
    let threads = for_rate.max(for_clients).clamp(1, threads_max);
    // A thread gets its share of rate and connections, both of which are work.
    let clients = publishers.len() as f64;
    let weight = |(_, plan): &Publisher| 1e9 / plan.interval_nanos / rate + 1.0 / clients;
    let mut teams: Vec<Vec<P>> = std::iter::repeat_with(Vec::new).take(threads).collect();
    let mut before = 0.0;
    for publisher in publishers {
        let place = (before / 2.0 * threads as f64) as usize;
        before += weight(publisher.borrow());
        teams[place.min(threads - 1)].push(publisher);
    }
    teams.retain(|team| !team.is_empty());
    teams
}
