//! Room `host` (edge): how the kernel shows one process (proc(5), `/proc/PID/stat` and `cmdline`).

use std::time::Duration;

/// The kernel cuts the name of a process to so many bytes.
const COMM_BYTES: usize = 15;

/// Options of the Java launcher whose value is the next argument (java(1)).
const JAVA_OPTIONS_WITH_VALUE: [&str; 10] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--add-opens",
    "--add-exports",
    "--add-reads",
];

/// A line of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The name, cut to 15 bytes.
    pub(super) comm: Vec<u8>,
    /// It has ended and waits to be collected.
    pub(super) ended: bool,
    pub(super) parent: u32,
    /// User and system time of all its threads.
    pub(super) cpu: Duration,
    /// The same of its children that have ended and were collected, with what those had collected.
    pub(super) cpu_of_children: Duration,
    pub(super) threads: u64,
    /// Since the machine started.
    pub(super) started: Duration,
    pub(super) resident_bytes: u64,
}

impl Stat {
    /// Reads the line; the name stands in parentheses and may hold any byte, also those.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let fields = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the third field is the first one behind the name.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            comm,
            ended: matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: u32::try_from(number(4)?).ok()?,
            cpu: from_ticks(number(14)?.saturating_add(number(15)?)),
            cpu_of_children: from_ticks(number(16)?.saturating_add(number(17)?)),
            threads: number(20)?,
            started: from_ticks(number(22)?),
            resident_bytes: number(24)?.saturating_mul(rustix::param::page_size() as u64),
        })
    }
}

pub(super) fn from_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second))
}

/// What a process is, by its name and its arguments.
#[derive(Debug)]
pub(super) struct Command<'a> {
    comm: &'a [u8],
    arguments: Vec<&'a [u8]>,
}

impl<'a> Command<'a> {
    /// From the kernel's name and the arguments, each ended by a zero byte.
    pub(super) fn new(comm: &'a [u8], line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\0").unwrap_or(line);
        let arguments =
            if line.is_empty() { Vec::new() } else { line.split(|&b| b == 0).collect() };
        Self { comm, arguments }
    }

    /// Whether somebody would call the process so. Only the program and what an interpreter runs
    /// are compared: a name among the other arguments is what the process works on.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let name = name.as_bytes();
        if self.comm == name {
            return true;
        }
        let Some(program) = self.arguments.first().map(|path| base_name(path)) else {
            // A kernel thread, or a stranger's process: the cut name is all there is to see.
            return name.len() > COMM_BYTES
                && name.starts_with(self.comm)
                && self.comm.len() == COMM_BYTES;
        };
        program == name
            || self.script(program).is_some_and(|script| {
                script == name || script.strip_suffix(b".jar").is_some_and(|stem| stem == name)
            })
    }

    /// The base name of what an interpreter runs.
    fn script(&self, program: &[u8]) -> Option<&'a [u8]> {
        let java = program == b"java";
        let interpreter = java
            || [b"node".as_slice(), b"ruby", b"perl"].contains(&program)
            || program.starts_with(b"python");
        let mut arguments = self.arguments.iter().skip(1).filter(|_| interpreter);
        while let Some(&argument) = arguments.next() {
            let is_option = argument.starts_with(b"-") || (java && argument.starts_with(b"@"));
            if java && JAVA_OPTIONS_WITH_VALUE.iter().any(|option| option.as_bytes() == argument) {
                arguments.next();
            } else if !is_option {
                return Some(base_name(argument));
            }
        }
        None
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let ticks = rustix::param::clock_ticks_per_second();
        let line = format!(
            "4711 (a) (S 1) b) R 1 4711 4711 0 -1 4194304 100 0 0 0 {} {} {} {} 20 0 7 0 {} 1000000 3 184\n",
            2 * ticks,
            3 * ticks,
            4 * ticks,
            7 * ticks,
            60 * ticks
        );
        let expected = Stat {
            comm: b"a) (S 1) b".to_vec(),
            ended: false,
            parent: 1,
            cpu: Duration::from_secs(5),
            cpu_of_children: Duration::from_secs(11),
            threads: 7,
            started: Duration::from_mins(1),
            resident_bytes: 3 * rustix::param::page_size() as u64,
        };
        assert_eq!(Stat::parse(line.as_bytes()), Some(expected));
    }

    fn called(comm: &str, line: &str, name: &str) -> bool {
        Command::new(comm.as_bytes(), line.as_bytes()).is_called(name)
    }

    #[test]
    fn a_process_is_called_by_its_name_or_its_program() {
        assert!(called("mosquitto", "/usr/sbin/mosquitto\0-c\0/etc/m.conf\0", "mosquitto"));
        assert!(called("worker", "/opt/zilla/zilla\0start\0", "zilla"));
        assert!(called("zilla", "", "zilla"));
        assert!(!called("mosquitto_sub", "mosquitto_sub\0", "mosquitto"));
        assert!(!called("tail", "tail\0-f\0/var/log/mosquitto\0", "mosquitto"));
        assert!(!called("", "\0", "x"));
    }

    #[test]
    fn a_name_longer_than_the_kernel_keeps_is_told_from_one_with_the_same_beginning() {
        let comm = "mqtt-kafka-brid";
        assert!(called(comm, "/bin/mqtt-kafka-bridge\0", "mqtt-kafka-bridge"));
        assert!(!called(comm, "/bin/mqtt-kafka-bridge-2\0", "mqtt-kafka-bridge"));
        assert!(called(comm, "", "mqtt-kafka-bridge"));
        assert!(!called("mqtt", "", "mqtt-kafka-bridge"));
    }

    #[test]
    fn what_an_interpreter_runs_has_a_name() {
        let kafka =
            "/usr/bin/java\0-Xmx1g\0-Dname=zilla\0-cp\0/lib/zilla.jar\0kafka.Kafka\0/etc/zilla\0";
        assert!(called("java", kafka, "kafka.Kafka"));
        assert!(called("java", kafka, "java"));
        assert!(!called("java", kafka, "zilla"));
        let jar = "java\0@options\0--add-opens\0a/b=c\0-jar\0/opt/hivemq.jar\0run\0";
        assert!(called("java", jar, "hivemq") && called("java", jar, "hivemq.jar"));
        assert!(!called("java", jar, "run"));
        assert!(called("python3.11", "python3.11\0-u\0/srv/bridge.py\0", "bridge.py"));
        assert!(!called("java", "java\0-cp\0", "java.lang"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            line in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'('), Just(b')'), Just(b' '), b'0'..=b'9'], 0..120),
            name in ".{0,20}",
        ) {
            Stat::parse(&line);
            Command::new(&line, &line).is_called(&name);
        }

        #[test]
        fn every_name_is_read_back(comm in prop::collection::vec(any::<u8>(), 0..16), used in 0_u64..1_000_000) {
            let mut line = b"1 (".to_vec();
            line.extend(&comm);
            line.extend(format!(") S 1 1 1 0 -1 0 0 0 0 0 {used} 0 0 0 20 0 1 0 5 9 10 0\n").bytes());
            let stat = Stat::parse(&line).unwrap();
            prop_assert_eq!(stat.comm, comm);
            prop_assert_eq!(stat.cpu, from_ticks(used));
        }
    }
}
