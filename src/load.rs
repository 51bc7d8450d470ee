//! Room `load` (edge): starts and stops a load generator that is somebody else's.
//!
//! # Design
//!
//! A generator must never outlive the run that it was started for, however that ends. So it is not
//! started by landfall itself but by a guard: the same binary once more, in a process of its own that
//! does nothing else. Guard and landfall share a pipe. A byte in it asks for an orderly stop: SIGTERM, and
//! SIGKILL for what is still there after [`PATIENCE`]. Its end without a byte means that landfall is gone,
//! killed or not, and everything is killed at once. What the generator starts and forgets falls to the
//! guard, since it is made the reaper of all its descendants, and goes with the rest.
//!
//! The generator dies with its guard as well (the kernel's signal at a parent's death, which each process
//! sets for itself before it becomes the generator). Only what the generator itself has started outlives a
//! guard that is killed with SIGKILL.
//!
//! Guard and generator lead process groups of their own, so that the signals of a terminal reach landfall
//! alone, which then stops everything in order. Standard input is empty. What the generator writes is read
//! all the time, so that it never waits for a reader, and the end of it is kept.

mod guard;
mod output;
mod program;

use std::io::{self, PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::clock::Clock;
use crate::shutdown::Tasks;

pub use guard::{become_generator, guard};
pub use output::Output;
pub use program::find;

use output::Tail;

/// How long a generator may take to end after SIGTERM.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long the guard of a run that is given up is waited for: it only kills.
const KILL_MAX: Duration = Duration::from_secs(2);
/// How often it is asked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// This very program, also where its file has been replaced meanwhile.
const OURSELVES: &str = "/proc/self/exe";
/// The command of ours that is a guard, hidden from users.
pub const GUARD: &str = "load-guard";

/// A generator, and when it is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What it is called in logs and reports.
    pub name: String,
    /// The program, as a name to look for in `PATH` or as a path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long after all paths are measured it starts.
    pub start: Duration,
    /// Whether it is started again when it ends by itself.
    pub restart: bool,
}

/// How a generator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(u8),
    /// By this signal.
    Signal(i32),
    /// Its guard ended by this signal, and it with it.
    GuardKilled(i32),
}

impl Ended {
    /// Whether it says that all went well.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// It in words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Code(code) => format!("with exit code {code}"),
            Self::Signal(signal) => format!("by signal {signal}"),
            Self::GuardKilled(signal) => format!("because its guard was killed by signal {signal}"),
        }
    }
}

/// A generator that was started. Dropped, it is killed with all that it started.
#[derive(Debug)]
pub struct Running {
    guard: Child,
    /// The pipe whose end the guard waits for.
    word: Option<PipeWriter>,
    clock: Clock,
    has_ended: bool,
}

impl Running {
    /// Starts it, found at `program`; what it writes goes to `output`.
    ///
    /// # Errors
    ///
    /// When the system has no process, pipe or thread to give.
    pub fn start(
        config: &Config,
        program: &Path,
        output: &Output,
        clock: Clock,
    ) -> io::Result<Self> {
        let (heard, word) = io::pipe()?;
        let (read, written) = io::pipe()?;
        let mut command = Command::new(OURSELVES);
        command.arg0(GUARD).arg(GUARD).arg("--").arg(program).args(&config.arguments);
        command.process_group(0).stdin(heard).stdout(written.try_clone()?).stderr(written);
        let tail = output.tail();
        // Ends with the last process that holds the other end of the pipe.
        Tasks::new().thread("load-output", move || Tail::read(&tail, read))?;
        let guard = command.spawn()?;
        Ok(Self { guard, word: Some(word), clock, has_ended: false })
    }

    /// How it ended, once it has, with all that it started.
    ///
    /// # Errors
    ///
    /// When the system can't say.
    pub fn ended(&mut self) -> io::Result<Option<Ended>> {
        let Some(status) = self.guard.try_wait()? else { return Ok(None) };
        self.has_ended = true;
        Ok(Some(guard::read(status)))
    }

    /// Asks for an orderly stop, which takes a little more than [`PATIENCE`] at most.
    pub fn stop(&mut self) {
        if let Some(word) = &mut self.word {
            // Fails where the guard is gone, and then there is nothing to stop.
            let _ = word.write_all(b"s");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.word = None;
        let until = self.clock.now() + KILL_MAX;
        while matches!(self.guard.try_wait(), Ok(None)) && self.clock.now() < until {
            self.clock.sleep_until(self.clock.now() + LOOK_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        for (ended, words, is_success) in [
            (Ended::Code(0), "with exit code 0", true),
            (Ended::Code(3), "with exit code 3", false),
            (Ended::Signal(9), "by signal 9", false),
            (Ended::GuardKilled(15), "because its guard was killed by signal 15", false),
        ] {
            assert_eq!((ended.words().as_str(), ended.is_success()), (words, is_success));
        }
    }
}
