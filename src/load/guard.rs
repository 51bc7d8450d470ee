//! Room `load` (edge): the guard, which stands between landfall and the generator.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, kill_process_group,
    set_child_subreaper, set_parent_process_death_signal, wait,
};

use super::{Ended, GUARD, OURSELVES, PATIENCE};
use crate::clock::{Clock, Instant};
use crate::shutdown::{Signals, Tasks};

/// What a generator left running when it ended by itself may take to end after SIGTERM.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(1);
/// How often it is looked for what is still there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Exit codes as shells have them: no such program, one that can't be executed, and ended by the signal
/// of a number that is added.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
const BY_SIGNAL: u8 = 128;
/// The signal that who has no guard any more would have been sent (SIGKILL).
const GUARD_GONE: u8 = 9;
/// The last of them (SIGRTMAX).
const SIGNAL_MAX: u8 = 64;

/// What a guard hears.
enum Heard {
    /// Landfall wants an orderly stop.
    Stop,
    /// Landfall is gone.
    Gone,
    /// The generator itself has ended, with this code.
    Ended(u8),
    /// None of its processes is left.
    NobodyLeft,
}

/// Starts a generator and guards it until it, and all that it started, has ended; its exit code. Standard
/// input is the pipe to landfall.
#[must_use]
pub fn guard(program: &OsStr, arguments: &[OsString], clock: Clock) -> u8 {
    let started = Guard::start(program, arguments, clock);
    started.map_or_else(|error| complain(program, &error), Guard::watch)
}

/// Turns this process, which the guard of that process id has started, into the generator; its exit code
/// where it can't.
#[must_use]
pub fn become_generator(guard: i32, program: &OsStr, arguments: &[OsString]) -> u8 {
    let ready = set_parent_process_death_signal(Some(Signal::KILL));
    // A guard that is gone already sends no signal any more.
    if getppid() != Pid::from_raw(guard) {
        return BY_SIGNAL.saturating_add(GUARD_GONE);
    }
    let error = ready.map_or_else(io::Error::from, |()| {
        // Returns only where it did not work.
        Command::new(program).args(arguments).exec()
    });
    complain(program, &error)
}

fn complain(program: &OsStr, error: &io::Error) -> u8 {
    // Lands where the generator's own words do.
    let _ = writeln!(io::stderr(), "{}: {error}", program.display());
    if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

/// How a generator ended, by how its guard did.
pub(super) fn read(status: ExitStatus) -> Ended {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if (BY_SIGNAL + 1..=BY_SIGNAL + SIGNAL_MAX).contains(&code) => {
            Ended::Signal(i32::from(code - BY_SIGNAL))
        }
        Some(code) => Ended::Code(code),
        None => Ended::GuardKilled(status.signal().unwrap_or_default()),
    }
}

struct Guard {
    /// The generator, which leads a process group; nothing once it has ended.
    generator: Option<Pid>,
    code: u8,
    heard: Receiver<Heard>,
    clock: Clock,
    /// Who has been sent SIGTERM.
    told: BTreeSet<i32>,
}

impl Guard {
    fn start(program: &OsStr, arguments: &[OsString], clock: Clock) -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        // What ends all processes of a service at once must not end who keeps the order.
        drop(Signals::listen()?);
        let mut command = Command::new(OURSELVES);
        let guard = std::process::id().to_string();
        command.arg0(GUARD).args([GUARD, "--become", &guard, "--"]).arg(program).args(arguments);
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        let generator = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (tell, heard) = channel();
        let tell_of_ends = tell.clone();
        Tasks::new().thread("hear", move || hear(&tell))?;
        Tasks::new().thread("reap", move || reap(generator, &tell_of_ends))?;
        Ok(Self { generator, code: 0, heard, clock, told: BTreeSet::new() })
    }

    fn watch(mut self) -> u8 {
        let patience = match self.heard.recv() {
            Ok(Heard::Stop) => PATIENCE,
            Ok(Heard::Ended(code)) => {
                self.ended(code);
                LEFT_BEHIND_MAX
            }
            Ok(Heard::Gone | Heard::NobodyLeft) | Err(_) => Duration::ZERO,
        };
        self.end(patience);
        self.code
    }

    /// Ends everything: in order, and by force after so long.
    fn end(&mut self, patience: Duration) {
        let mut kill_at = self.clock.now() + patience;
        loop {
            self.signal_all(kill_at);
            match self.heard.recv_timeout(LOOK_EVERY) {
                Ok(Heard::Ended(code)) => self.ended(code),
                Ok(Heard::Gone) => kill_at = self.clock.now(),
                Ok(Heard::Stop) | Err(RecvTimeoutError::Timeout) => (),
                Ok(Heard::NobodyLeft) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn ended(&mut self, code: u8) {
        self.code = code;
        // Its number may be given to somebody else now.
        self.generator = None;
    }

    /// Signals the generator's group, and who has left it and fallen to the guard. Those below them fall
    /// to it when they have ended.
    fn signal_all(&mut self, kill_at: Instant) {
        let signal = if self.clock.now() < kill_at { Signal::TERM } else { Signal::KILL };
        let is_news = |told: &mut BTreeSet<i32>, pid: Pid| {
            signal == Signal::KILL || told.insert(pid.as_raw_nonzero().get())
        };
        if let Some(group) = self.generator
            && is_news(&mut self.told, group)
        {
            // Fails where nobody is left, which is heard.
            let _ = kill_process_group(group, signal);
        }
        for child in children() {
            if is_news(&mut self.told, child) {
                let _ = kill_process(child, signal);
            }
        }
    }
}

/// Waits for what landfall has to say, and for its end.
fn hear(tell: &Sender<Heard>) {
    let mut word = [0];
    // A word, or the end; who hears no more has ended.
    while matches!(io::stdin().read(&mut word), Ok(1)) && tell.send(Heard::Stop).is_ok() {}
    let _ = tell.send(Heard::Gone);
}

/// Collects every descendant that has ended, until there is none.
fn reap(generator: Option<Pid>, tell: &Sender<Heard>) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == generator => {
                let _ = tell.send(Heard::Ended(code(status)));
            }
            Ok(_) | Err(Errno::INTR) => (),
            Err(_) => break,
        }
    }
    let _ = tell.send(Heard::NobodyLeft);
}

fn code(status: WaitStatus) -> u8 {
    let by_signal = |signal| u8::try_from(signal).unwrap_or(0).saturating_add(BY_SIGNAL);
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
    code.or_else(|| status.terminating_signal().map(by_signal)).unwrap_or(u8::MAX)
}

/// The processes whose parent is this one (proc(5), the fourth field of `/proc/PID/stat`).
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: i32| {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name before it stands in parentheses and may hold any byte.
        let behind = stat.iter().rposition(|&byte| byte == b')')?;
        let fields = std::str::from_utf8(stat.get(behind + 1..)?).ok()?;
        fields.split_ascii_whitespace().nth(1)?.parse::<i32>().ok()
    };
    pids.filter(|&pid| parent(pid) == Some(own)).filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_guard_tells_that_of_its_generator() {
        let ended = |raw| read(ExitStatus::from_raw(raw));
        assert_eq!(ended(0), Ended::Code(0));
        assert_eq!(ended(3 << 8), Ended::Code(3));
        assert_eq!(ended((128 + 15) << 8), Ended::Signal(15));
        assert_eq!(ended(9), Ended::GuardKilled(9));
    }

    #[test]
    fn a_child_is_found_and_no_other() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = children();
        let pid = Pid::from_child(&child);
        assert!(found.contains(&pid), "{pid:?} in {found:?}");
        assert!(!found.contains(&Pid::INIT));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
    }
}
