//! Room `app`: `landfall check`: connects, sends one message for each path and QoS, explains.
//!
//! # Design
//!
//! Paths are checked side by side, since one that does not work takes its time, and told one after the
//! other. Connections, messages and reading are those of a run; room `preflight` has the words.

mod crossing;
mod ears;
mod kafka;
mod path;
mod probes;
mod screen;

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};

use super::wiring::Parts;
use super::{Error, check_properties, load, new_run, resources};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::preflight::{self, Finding, Summary};
use crate::shutdown::{Signals, Tasks};

use path::Path;
use screen::Screen;

/// How many paths are checked at a time.
const PATHS_AT_A_TIME: usize = 8;
/// How many groups of findings of a path may wait to be told: as many as there are.
const GROUPS_MAX: usize = 4;
/// How long a message is waited for at most, unless asked to wait longer.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Checks every path of the configuration, or says what is wrong with that; `wait` is for how long each
/// message is waited for, `run` the command that a good end leads to. The exit code.
pub(super) async fn run(
    loaded: Result<Loaded, Error>,
    wait: Option<Duration>,
    run: &str,
) -> Result<u8, Error> {
    let checked = match loaded {
        Ok(loaded) => check(&loaded, wait, run).await,
        Err(error) => Err(error),
    };
    match checked {
        Err(Error::Config(problems)) => {
            Screen::plain().configuration(&problems);
            Ok(2)
        }
        other => other,
    }
}

async fn check(loaded: &Loaded, wait: Option<Duration>, run: &str) -> Result<u8, Error> {
    if wait.is_some_and(|wait| wait.is_zero()) {
        return Err(Error::Refused("--wait: 0 waits for nothing; give it some seconds".to_owned()));
    }
    let parts = Parts::new(&loaded.resolved, new_run()?);
    check_properties(loaded, &parts)?;
    let program = load::program(loaded)?;
    let mut signals =
        Signals::listen().map_err(|error| Error::System("listening for signals", error))?;
    let stop = Tasks::new();
    let screen = Screen::of(&loaded.resolved);
    let of_host = resources::findings(&loaded.resolved);
    screen.title("this host");
    screen.show(&of_host);
    screen.show(&preflight::program(program.as_deref()));
    if let Some(why) = of_host.iter().find_map(resources::refusal) {
        screen.say(&format!("A run is refused; nothing was connected to. First, {why}"));
        return Ok(2);
    }
    let mut summary = Summary::default();
    let paths: Vec<usize> = (0..loaded.resolved.paths.len()).collect();
    for batch in paths.chunks(PATHS_AT_A_TIME) {
        let mut running = Vec::new();
        for &index in batch.iter().take_while(|_| !stop.stopping()) {
            let path = Path::new(loaded, &parts, (index, wait), Clock::system());
            let (tell, told) = channel(GROUPS_MAX);
            let name = (path.name().to_owned(), path.title());
            let tasks = stop.clone();
            stop.spawn(async move { path.check(tell, &tasks).await });
            running.push((name, told));
        }
        for ((name, title), mut told) in running {
            screen.title(&title);
            let Some(findings) = tell(&screen, &mut told, (&mut signals, &stop)).await else {
                return Ok(130);
            };
            summary.add(&name, &findings);
        }
    }
    if stop.stopping() {
        screen.say(&summary.interrupted());
        return Ok(summary.exit_code().max(1));
    }
    screen.say(&summary.sentence(run));
    Ok(summary.exit_code())
}

/// Shows the findings on a path as they come, and collects them. The first signal makes all paths come
/// to their end; `None` at the second.
async fn tell(
    screen: &Screen,
    told: &mut Receiver<Vec<Finding>>,
    (signals, stop): (&mut Signals, &Tasks),
) -> Option<Vec<Finding>> {
    let mut all = Vec::new();
    loop {
        tokio::select! {
            group = told.recv() => match group {
                Some(findings) => {
                    screen.show(&findings);
                    all.extend(findings);
                }
                None => return Some(all),
            },
            () = signals.next() => {
                if stop.stopping() {
                    return None;
                }
                stop.stop();
            }
        }
    }
}
