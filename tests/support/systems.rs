//! Test support: real systems for integration tests, on loopback, without a container engine.
//!
//! Include it with `#[path = "support/systems.rs"] mod systems;`. Each system is installed on first
//! use by `tests/systems/install.sh`, has a scratch directory of its own, and ends when it is
//! dropped, or when the test program dies. Nothing is skipped: what can't start panics and says why.
//! A test program that uses only some of it says `#[expect(dead_code, reason = "...")]` there.
#![expect(clippy::panic, reason = "test support: a system that fails has to fail its test")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Runs one of the scripts of `tests/systems` and returns what it prints.
fn script(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems").join(name);
    run(Command::new(path).args(arguments))
}

/// Runs a command to its end and returns its standard output as text.
fn run(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command)).into_owned()
}

fn output(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(
        status.success(),
        "{command:?} failed ({status}):\n{}{}",
        String::from_utf8_lossy(&stderr),
        String::from_utf8_lossy(&stdout)
    );
    stdout
}

/// One process behind a script of `tests/systems`, and its directory.
#[derive(Debug)]
struct System {
    script: &'static str,
    directory: TempDir,
    address: String,
    pid: u32,
}

impl System {
    fn start(system: &'static str, script: &'static str, settings: &[&str]) -> Self {
        self::script("install.sh", &[system]);
        let directory =
            TempDir::new().unwrap_or_else(|error| panic!("no scratch directory: {error}"));
        let mut this = Self { script, directory, address: String::new(), pid: 0 };
        let owner = std::process::id().to_string();
        let mut arguments = vec!["--owner", &owner];
        for setting in settings {
            arguments.extend(["--config", setting]);
        }
        this.act("start", &arguments);
        this
    }

    /// Runs the script and takes over the address and pid that it prints.
    fn act(&mut self, action: &str, arguments: &[&str]) {
        let directory = self.directory.path().display().to_string();
        let printed = script(self.script, &[&[action, &directory], arguments].concat());
        for (key, value) in printed.lines().filter_map(|line| line.split_once('=')) {
            if key.ends_with("_PID") {
                self.pid = value.parse().unwrap_or_else(|_| panic!("{value} is no pid"));
            } else {
                value.clone_into(&mut self.address);
            }
        }
        assert!(!self.address.is_empty() && self.pid != 0, "{} printed:\n{printed}", self.script);
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems").join(self.script);
        let stopped = Command::new(path).arg("stop").arg(self.directory.path()).status();
        // A panic while the test already panics would abort and hide its message.
        if !std::thread::panicking() {
            assert!(stopped.is_ok_and(|status| status.success()), "{} did not stop", self.script);
        }
    }
}

/// One Apache Kafka node that creates no topic by itself.
#[derive(Debug)]
pub(crate) struct Kafka {
    /// Host and port of its only listener, which a restart keeps.
    pub(crate) address: String,
    /// The running process.
    pub(crate) pid: u32,
    system: System,
}

impl Kafka {
    /// Installs it if need be and waits until it answers (2 to 8 s). Each of `properties` is a
    /// broker property `key=value` that overrides the ones in `kafka.sh`.
    pub(crate) fn start(properties: &[&str]) -> Self {
        let system = System::start("kafka", "kafka.sh", properties);
        Self { address: system.address.clone(), pid: system.pid, system }
    }

    /// Creates a topic, for instance with `("message.timestamp.type", "LogAppendTime")`, and waits
    /// until each partition has a leader.
    pub(crate) fn topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let directory = self.system.directory.path().display().to_string();
        let partitions = partitions.to_string();
        let settings: Vec<String> =
            settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut arguments = vec!["topic", &directory, name, &partitions];
        arguments.extend(settings.iter().map(String::as_str));
        script("kafka.sh", &arguments);
    }

    /// Ends it with SIGKILL and keeps its data.
    pub(crate) fn kill(&self) {
        script("kafka.sh", &["kill", &self.system.directory.path().display().to_string()]);
    }

    /// Stops it if it runs, and starts it again with its data at the same address.
    pub(crate) fn restart(&mut self) {
        self.system.act("restart", &[]);
        self.pid = self.system.pid;
    }
}

/// A Mosquitto broker for MQTT 3.1.1 and 5 that queues without limit and keeps nothing on disk.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    /// Host and port of its only listener, which a restart keeps.
    pub(crate) address: String,
    /// The running process.
    pub(crate) pid: u32,
    system: System,
}

impl Mosquitto {
    /// Installs it if need be and waits until it answers. Each of `lines` is a further line of its
    /// configuration, for instance `persistence true`.
    pub(crate) fn start(lines: &[&str]) -> Self {
        let system = System::start("mosquitto", "mosquitto.sh", lines);
        Self { address: system.address.clone(), pid: system.pid, system }
    }

    /// The port of [`Mosquitto::address`], for tools that take it apart from the host.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&self) {
        script("mosquitto.sh", &["kill", &self.system.directory.path().display().to_string()]);
    }

    /// Stops it if it runs, and starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        self.system.act("restart", &[]);
        self.pid = self.system.pid;
    }
}

/// A record as `kcat`, a client that is not ours, saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its partition.
    pub(crate) partition: i32,
    /// Its offset in the partition.
    pub(crate) offset: i64,
    /// CreateTime or LogAppendTime, as the topic has it; milliseconds since 1970.
    pub(crate) timestamp_millis: i64,
    /// The key; absent if null.
    pub(crate) key: Option<Vec<u8>>,
    /// The value; absent if null.
    pub(crate) value: Option<Vec<u8>>,
    /// Names and values, in order. `kcat` prints them without lengths, so they are told apart only
    /// if neither holds `,` or `=` or a newline; a null value reads `NULL`.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// Reads a topic from its beginning to its end on all partitions, aborted transactions included.
pub(crate) fn kcat_consume(address: &str, topic: &str) -> Vec<Record> {
    let printed = output(
        Command::new("kcat")
            .args(["-C", "-e", "-q", "-o", "beginning", "-b", address, "-t", topic])
            .args(["-X", "isolation.level=read_uncommitted"])
            .args(["-f", "%p %o %T %K %S\\n%k%s%h\\n"]),
    );
    let mut rest = printed.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(take_record(&mut rest).unwrap_or_else(|| {
            let mut end = String::new();
            rest.escape_ascii().take(200).for_each(|byte| end.push(byte.into()));
            let _ = write!(end, " ({} bytes)", rest.len());
            panic!("kcat printed what is no record: {end}")
        }));
    }
    records
}

/// Takes one record off the front: a line of numbers, key and value by their lengths (-1: null),
/// then the headers up to the end of the line.
fn take_record(rest: &mut &[u8]) -> Option<Record> {
    let line = take_line(rest)?;
    let numbers: Vec<i64> = std::str::from_utf8(line)
        .ok()?
        .split(' ')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let [partition, offset, timestamp_millis, key, value] = numbers[..] else { return None };
    let mut take = |length: i64| match usize::try_from(length) {
        Ok(length) => {
            let (bytes, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            Some(Some(bytes.to_vec()))
        }
        Err(_) => Some(None),
    };
    let (key, value) = (take(key)?, take(value)?);
    let headers = take_line(rest)?
        .split(|&byte| byte == b',')
        .filter(|header| !header.is_empty())
        .map(|header| {
            let equals = header.iter().position(|&byte| byte == b'=')?;
            let name = String::from_utf8_lossy(&header[..equals]).into_owned();
            Some((name, header[equals + 1..].to_vec()))
        })
        .collect::<Option<_>>()?;
    let partition = i32::try_from(partition).ok()?;
    Some(Record { partition, offset, timestamp_millis, key, value, headers })
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line)
}
