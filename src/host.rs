//! Room `host` (edge): host, cgroup and process CPU and RAM.
//!
//! # Design
//!
//! A probe must not become the load that it reports, so one sample reads a handful of small files
//! and nothing else: the machine's totals, the cgroup's, and one `stat` file for each process that
//! was already found. Looking through all processes for a name is done only when one has vanished,
//! and every 30 s.
//!
//! Counters never fall: [`Process::cpu_seconds`] adds up what each process of a selector used while
//! it was one of them, so the end or restart of one of several takes nothing back.
//!
//! Whatever can't be read is absent from the sample, never zero.

mod cgroup;
mod family;
mod limits;
mod machine;
mod process;
mod stat;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Instant;

pub use limits::{is_loopback, limits, raise_descriptors};

use cgroup::CgroupReader;
use machine::MachineReader;
use process::Census;
use tree::Tree;

/// How often samples are wanted and which processes they cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Time from one sample to the next.
    pub interval: Duration,
    /// The processes to measure beside the probe itself.
    pub processes: Vec<ProcessSelector>,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), processes: Vec::new() }
    }
}

/// Which processes belong together under one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProcessSelector {
    /// All processes of this name: the kernel's name of the process, the base name of its program,
    /// or what an interpreter runs (a Java main class or jar, a Python or Node.js script).
    Name(String),
    /// The process whose id stands in this file, read anew for each sample.
    PidFile(PathBuf),
    /// The process that has this id when it is first seen; never a later one with the same id.
    Pid(u32),
    /// Under this label all processes that a child of this one has started, and theirs: the child itself
    /// only guards them. Ended ones count with all that they used, however short they lived.
    Started(String),
}

/// The label: the name, the file's name without its extension, the id, or as given.
impl fmt::Display for ProcessSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) | Self::Started(name) => formatter.write_str(name),
            Self::PidFile(file) => {
                write!(formatter, "{}", Path::new(file.file_stem().unwrap_or_default()).display())
            }
            Self::Pid(pid) => write!(formatter, "{pid}"),
        }
    }
}

/// What host, cgroup and processes used, read at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The whole machine, also when seen from inside a container.
    pub host: Host,
    /// The limits this process lives under; absent without cgroups.
    pub cgroup: Option<Cgroup>,
    /// `self` first, then the selectors in the order of the configuration, also those without a
    /// process.
    pub processes: Vec<Process>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Share of all CPUs that was busy since the sample before, 0 to 1; absent in the first one.
    pub cpu_utilization_ratio: Option<f64>,
    /// Logical CPUs.
    pub cpus: Option<usize>,
    /// Memory that is not available to programs, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Memory of the machine, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// How much work waited for what.
    pub pressure: Pressure,
}

/// Share of the last 10 s in which some task waited for a resource, 0 to 1 (`some avg10` of the
/// kernel's pressure stall information); absent where the kernel doesn't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Waited for a CPU.
    pub cpu: Option<f64>,
    /// Waited for memory to be reclaimed or read back.
    pub memory: Option<f64>,
    /// Waited for storage.
    pub io: Option<f64>,
}

/// The cgroup that binds this process: for each of CPU and memory the one with the tightest limit
/// among its own and its visible ancestors, else its own.
///
/// Usage and throttling are that same cgroup's, because those are what hits the limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cgroup {
    /// CPUs that may be used at once; absent without a limit.
    pub cpu_limit_cores: Option<f64>,
    /// Share of that limit that was used since the sample before; absent in the first one.
    pub cpu_utilization_ratio: Option<f64>,
    /// CPU time used so far, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Time that tasks were kept from running by the limit so far, in seconds.
    pub throttled_seconds: Option<f64>,
    /// Enforcement periods (of usually 100 ms) so far in which the limit was hit.
    pub throttled_periods: Option<u64>,
    /// The working set in bytes: usage without the inactive part of the page cache, which the kernel
    /// takes back before it kills anything.
    pub memory_used_bytes: Option<u64>,
    /// Memory that may be used, in bytes; absent without a limit.
    pub memory_limit_bytes: Option<u64>,
    /// How much work in the cgroup waited for what; cgroup v2 only.
    pub pressure: Pressure,
}

/// Time for which something kept tasks from running, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throttling {
    /// Time that tasks of the control group were kept from running by its limit, in seconds.
    pub throttled_seconds: Option<f64>,
    /// Time in which all tasks of the control group waited for a processor at once, in seconds; cgroup
    /// v2 only.
    pub stalled_seconds: Option<f64>,
    /// Time that a hypervisor gave to others, a processor on average, in seconds.
    pub stolen_seconds: Option<f64>,
}

/// The processes of one selector taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// `self`, or the selector's label.
    pub label: String,
    /// How many processes there are now.
    pub matched: usize,
    /// User and system CPU time of all of them so far, ended ones included, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory of those there are, in bytes; pages they share count in each.
    pub resident_bytes: u64,
    /// Threads of those there are.
    pub threads: u64,
}

/// Takes samples; the caller paces them. Each blocks for less than a millisecond, and for some 20 us
/// a process of the machine when it looks through all of them.
#[derive(Debug)]
pub struct Sampler {
    interval: Duration,
    tree: Tree,
    machine: MachineReader,
    cgroup: CgroupReader,
    census: Census,
}

impl Sampler {
    /// Finds the cgroup and takes the first reading of the machine's CPUs.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::below(Tree::new("/"), config)
    }

    fn below(tree: Tree, config: Config) -> Self {
        Self {
            interval: config.interval,
            machine: MachineReader::new(),
            cgroup: CgroupReader::locate(&tree),
            census: Census::new(config.processes),
            tree,
        }
    }

    /// How long the caller is to wait from one sample to the next.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Reads what kept the probe from running: three small files, whenever a window ends.
    #[must_use]
    pub fn throttling(&self) -> Throttling {
        let cgroup = self.cgroup.throttling(&self.tree);
        Throttling { stolen_seconds: machine::stolen_seconds(&self.tree), ..cgroup }
    }

    /// Reads what processes used, and nothing else.
    pub fn processes(&mut self, now: Instant) -> Vec<Process> {
        self.census.count(&self.tree, now)
    }

    /// Reads everything once.
    pub fn sample(&mut self, now: Instant) -> Sample {
        Sample {
            host: self.machine.read(&self.tree, now),
            cgroup: self.cgroup.read(&self.tree, now),
            processes: self.processes(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn labels_are_short() {
        assert_eq!(ProcessSelector::Name("zilla".into()).to_string(), "zilla");
        assert_eq!(ProcessSelector::PidFile("/run/mosquitto.pid".into()).to_string(), "mosquitto");
        assert_eq!(ProcessSelector::Pid(17).to_string(), "17");
    }

    #[test]
    fn this_process_is_measured_against_what_the_kernel_says() {
        let clock = Clock::system();
        let own = std::process::id();
        let mut sampler = Sampler::new(Config {
            processes: vec![ProcessSelector::Pid(own), ProcessSelector::Pid(u32::MAX)],
            ..Config::default()
        });
        let ballast = vec![7_u8; 64 << 20];
        let first = sampler.sample(clock.now());
        assert_eq!(first.host.cpu_utilization_ratio, None);
        assert!(first.host.cpus.unwrap() >= 1);
        assert!(first.host.memory_used_bytes < first.host.memory_total_bytes);

        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kernel: u64 = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
        let [this, same, nobody] = first.processes.as_slice() else { panic!("{first:?}") };
        assert_eq!((this.label.as_str(), this.matched), ("self", 1));
        assert!(this.resident_bytes.abs_diff(kernel) < 16 << 20, "{this:?} but {kernel}");
        assert!(this.resident_bytes >= 64 << 20, "{this:?}");
        assert_eq!((same.matched, nobody.matched, nobody.resident_bytes), (1, 0, 0));

        let mut sum = 0_u64;
        let later = loop {
            for &byte in std::hint::black_box(&ballast) {
                sum = sum.wrapping_add(u64::from(byte));
            }
            let sample = sampler.sample(clock.now());
            if sample.processes[0].cpu_seconds > this.cpu_seconds + 0.3
                && sample.host.cpu_utilization_ratio.is_some()
            {
                break sample;
            }
        };
        assert!(sum > 0);
        let busy = later.host.cpu_utilization_ratio.unwrap();
        assert!((0.0..=1.0).contains(&busy), "{busy}");
        assert!(later.processes[0].threads >= 1);
    }
}
