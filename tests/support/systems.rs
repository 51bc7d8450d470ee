//! Test support: real systems for integration tests, on loopback, without a container engine.
//!
//! Include it with `#[path = "support/systems.rs"] mod systems;`. Each system is installed on first
//! use by `tests/systems/install.sh`, has a scratch directory of its own, and ends when it is
//! dropped, or when the test program dies. Nothing is skipped: what can't start panics and says why.
//! A test program that uses only some of it says `#[expect(dead_code, reason = "...")]` there.
#![expect(clippy::panic, reason = "test support: a system that fails has to fail its test")]

use std::fmt::Write as _;
use std::process::Command;

#[path = "systems/observers.rs"]
pub(crate) mod observers;
#[path = "systems/process.rs"]
mod process;

use process::{System, output};

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
        let system = System::start("kafka", "--config", properties);
        Self { address: system.offer("KAFKA"), pid: system.pid("KAFKA_PID"), system }
    }

    /// Creates a topic, for instance with `("message.timestamp.type", "LogAppendTime")`, and waits
    /// until each partition has a leader.
    pub(crate) fn topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let partitions = partitions.to_string();
        let settings: Vec<String> =
            settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut arguments = vec![name, &partitions];
        arguments.extend(settings.iter().map(String::as_str));
        self.system.act("topic", &arguments);
    }

    /// Ends it with SIGKILL and keeps its data.
    pub(crate) fn kill(&self) {
        self.system.act("kill", &[]);
    }

    /// Makes it hang, and waits until it does: connections stay and are still made, by the kernel, but
    /// nothing is read or answered.
    pub(crate) fn pause(&self) {
        self.system.act("pause", &[]);
    }

    /// Lets it go on after [`Kafka::pause`].
    pub(crate) fn resume(&self) {
        self.system.act("continue", &[]);
    }

    /// Kafka's own EndToEndLatency, which will send so many messages to a topic, one after the other.
    pub(crate) fn latency_tool(&self, topic: &str, messages: u32) -> Command {
        self.system.command("latency", &[topic, &messages.to_string()])
    }

    /// Stops it if it runs, and starts it again with its data at the same address.
    pub(crate) fn restart(&mut self) {
        self.system.restart();
        self.pid = self.system.pid("KAFKA_PID");
    }

    /// Starts it again with further broker properties `key=value`, which override all others.
    pub(crate) fn reconfigure(&mut self, properties: &[&str]) {
        self.system.extend("server.properties", properties);
        self.pid = self.system.pid("KAFKA_PID");
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
        let system = System::start("mosquitto", "--config", lines);
        Self { address: system.offer("MOSQUITTO"), pid: system.pid("MOSQUITTO_PID"), system }
    }

    /// The port of [`Mosquitto::address`], for tools that take it apart from the host.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&self) {
        self.system.act("kill", &[]);
    }

    /// Stops it if it runs, and starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        self.system.restart();
        self.pid = self.system.pid("MOSQUITTO_PID");
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
