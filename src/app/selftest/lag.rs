//! Room `app`: how late this machine wakes who sleeps, measured beside a selftest and apart from it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::shutdown::Tasks;

/// How often the sleeper is to wake.
const EVERY: Duration = Duration::from_millis(5);
/// Wake-ups that are kept: minutes of them.
const WAKES_MAX: usize = 100_000;

/// Somebody who sleeps and wakes while a selftest lasts.
pub(super) struct Sleeper {
    wakes: Arc<Mutex<Vec<i64>>>,
    tasks: Tasks,
}

impl Sleeper {
    /// Begins to sleep.
    pub(super) fn start(clock: Clock) -> io::Result<Self> {
        let (wakes, tasks) = (Arc::<Mutex<Vec<i64>>>::default(), Tasks::new());
        let (told, stop) = (Arc::clone(&wakes), tasks.clone());
        tasks.thread("sleeper", move || sleep(clock, &told, &stop))?;
        Ok(Self { wakes, tasks })
    }

    /// Ends; how late it woke each time, ascending, in nanoseconds.
    pub(super) async fn stop(self) -> Vec<i64> {
        self.tasks.stop();
        self.tasks.finished().await;
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        wakes.sort_unstable();
        wakes
    }
}

/// Wakes at absolute times, so that one long sleep is as many late wake-ups as fell into it.
fn sleep(clock: Clock, wakes: &Mutex<Vec<i64>>, stop: &Tasks) {
    let mut due: Instant = clock.now();
    while !stop.stopping() {
        due = due + EVERY;
        clock.sleep_until(due);
        let late = clock.now().nanos_since(due);
        let mut wakes = wakes.lock().unwrap_or_else(PoisonError::into_inner);
        if wakes.len() < WAKES_MAX {
            wakes.push(late);
        }
    }
}
