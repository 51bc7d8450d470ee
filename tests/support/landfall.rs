//! Test support: the real binary, while it runs and after.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use landfall::clock::Clock;
use landfall::telemetry::{self, Answer};

/// How long an event may take on a busy machine before its test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A landfall that runs, ended for good when it is dropped.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it has written to standard error up to where it serves HTTP.
    pub(crate) said: String,
    /// Where it serves HTTP.
    pub(crate) http: SocketAddr,
}

/// What a landfall left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary with these arguments, in an environment of nobody's.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(arguments).env_clear();
    command
}

impl Running {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_in(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        command.envs(variables.iter().copied());
        command.args(["--log", "info,mqtt5=error"]);
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while stderr.read_line(&mut said).unwrap() > 0 {
            let last = said.lines().next_back().unwrap_or_default();
            if let Some((_, address)) = last.split_once("listening on http://") {
                let http = address.parse().unwrap();
                return Self { child, stderr, said, http };
            }
        }
        panic!("it ended early ({}): {said}", child.wait().unwrap());
    }

    /// Asks it over HTTP.
    pub(crate) fn get(&self, path: &str) -> Answer {
        telemetry::get(self.http, path, PATIENCE, Clock::system()).unwrap()
    }

    /// Waits until what it shows is as it should be.
    pub(crate) fn wait_until(&self, path: &str, what: &str, holds: impl Fn(&Answer) -> bool) {
        wait_until(what, || {
            let answer = self.get(path);
            if holds(&answer) { Ok(()) } else { Err(format!("{} {}", answer.status, answer.body)) }
        });
    }

    /// Waits until every connection stands and slots come due.
    pub(crate) fn wait_until_ready(&self) {
        self.wait_until("/readyz", "ready", |answer| answer.status == 200);
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), std::mem::take(&mut self.said));
        self.stderr.read_to_string(&mut stderr).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until the answer is good; panics with the last one when that takes too long.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let clock = Clock::system();
    let until = clock.now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(clock.now() < until, "not {what} in time: {last}"),
        }
        clock.sleep_until(clock.now() + Duration::from_millis(20));
    }
}

/// The sum of the series of a metric whose labels contain all of `labels`.
pub(crate) fn metric(exposition: &str, name: &str, labels: &[&str]) -> f64 {
    exposition
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'))
        .filter(|rest| labels.iter().all(|label| rest.contains(label)))
        .map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}
