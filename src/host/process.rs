//! Room `host` (edge): which processes belong to a selector, and what they used.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::clock::Instant;

use super::family::Family;
use super::stat::{Command, Stat};
use super::tree::Tree;
use super::{Process, ProcessSelector};

/// How long a look through all processes for the names may be out of date while none has vanished.
pub(super) const RESCAN: Duration = Duration::from_secs(30);

/// Processes followed for one selector; beyond that the lowest ids are.
const FOLLOWED: usize = 256;

/// A process among all there ever were: ids are reused, so the start belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    pid: u32,
    started: Duration,
}

/// Adds up the CPU time of a changing set of processes. Never falls.
#[derive(Debug, Default)]
struct Tally {
    total: Duration,
    /// The CPU time at which each of those that belong to the set was seen last.
    followed: HashMap<Identity, Duration>,
}

impl Tally {
    /// Books what the processes of the set have used. One that was not in the set before counts
    /// from its start if that lies behind `searched`, when it would have been found, or if there was
    /// no search before; an older one has only now come to belong to the set, and counts from here.
    fn book(&mut self, set: &[(Identity, Duration)], searched: Option<Instant>) {
        let searched = searched.map(|instant| Duration::from_nanos(instant.nanos()));
        let mut followed = HashMap::with_capacity(set.len());
        for &(identity, used) in set {
            let booked = self.followed.get(&identity).copied().unwrap_or_else(|| {
                let joined = searched.is_some_and(|searched| identity.started < searched);
                if joined { used } else { Duration::ZERO }
            });
            self.total = self.total.saturating_add(used.saturating_sub(booked));
            followed.insert(identity, used.max(booked));
        }
        self.followed = followed;
    }
}

/// One selector and what its processes used.
#[derive(Debug)]
struct Entry {
    selector: ProcessSelector,
    label: String,
    tally: Tally,
    /// Of a name: what the last look through all processes found. Of an id: its first bearer.
    known: Vec<Identity>,
    /// What those used that this process has started.
    family: Family,
}

impl Entry {
    /// The processes to read now, if they still are who they were.
    fn members(&mut self, tree: &Tree) -> Vec<(u32, Stat)> {
        match &self.selector {
            ProcessSelector::Name(_) => {
                let known = self.known.iter();
                known.filter_map(|&identity| Some((identity.pid, alive(tree, identity)?))).collect()
            }
            ProcessSelector::PidFile(file) => {
                let pid = tree.text(file).and_then(|text| text.lines().next()?.trim().parse().ok());
                pid.and_then(|pid| Some((pid, stat(tree, pid)?))).into_iter().collect()
            }
            ProcessSelector::Pid(pid) => {
                let found = stat(tree, *pid).map(|stat| (*pid, stat));
                if let (Some((pid, stat)), true) = (&found, self.known.is_empty()) {
                    self.known.push(Identity { pid: *pid, started: stat.started });
                }
                let first = |(pid, stat): &(u32, Stat)| {
                    self.known.contains(&Identity { pid: *pid, started: stat.started })
                };
                found.filter(first).into_iter().collect()
            }
            ProcessSelector::Started(_) => self.family.members(tree, std::process::id()),
        }
    }
}

/// Counts processes and what they used.
#[derive(Debug)]
pub(super) struct Census {
    entries: Vec<Entry>,
    own: Tally,
    /// The last look through all processes.
    scanned: Option<Instant>,
    counted: Option<Instant>,
}

impl Census {
    pub(super) fn new(selectors: Vec<ProcessSelector>) -> Self {
        let entry = |selector: ProcessSelector| Entry {
            label: selector.to_string(),
            selector,
            tally: Tally::default(),
            known: Vec::new(),
            family: Family::default(),
        };
        Self {
            entries: selectors.into_iter().map(entry).collect(),
            own: Tally::default(),
            scanned: None,
            counted: None,
        }
    }

    /// Reads `self` and the processes of every selector once.
    pub(super) fn count(&mut self, tree: &Tree, now: Instant) -> Vec<Process> {
        let own = tree.bytes("/proc/self/stat").and_then(|text| Stat::parse(&text));
        let own: Vec<_> = own.map(|stat| (std::process::id(), stat)).into_iter().collect();
        let mut counted = vec![summed("self", &mut self.own, &own, self.counted)];

        let mut members: Vec<_> =
            self.entries.iter_mut().map(|entry| entry.members(tree)).collect();
        let vanished = self.entries.iter().zip(&members).any(|(entry, members)| {
            matches!(entry.selector, ProcessSelector::Name(_)) && members.len() < entry.known.len()
        });
        let scanned = self.scanned;
        let outdated = scanned.is_none_or(|last| now.saturating_since(last) >= RESCAN);
        if (vanished || outdated) && self.scan(tree) {
            self.scanned = Some(now);
            members = self.entries.iter_mut().map(|entry| entry.members(tree)).collect();
        }
        for (entry, members) in self.entries.iter_mut().zip(&members) {
            let searched = match entry.selector {
                ProcessSelector::Name(_) => scanned,
                ProcessSelector::PidFile(_)
                | ProcessSelector::Pid(_)
                | ProcessSelector::Started(_) => self.counted,
            };
            let mut process = summed(&entry.label, &mut entry.tally, members, searched);
            // Whoever collects no children forgets what they used; whoever lives shortly is never seen.
            process.cpu_seconds = process.cpu_seconds.max(entry.family.cpu().as_secs_f64());
            counted.push(process);
        }
        self.counted = Some(now);
        counted
    }

    /// Looks through all processes for the names; false if no selector is a name.
    fn scan(&mut self, tree: &Tree) -> bool {
        let mut named: Vec<(&str, &mut Vec<Identity>)> = Vec::new();
        for entry in &mut self.entries {
            if let ProcessSelector::Name(name) = &entry.selector {
                entry.known.clear();
                named.push((name, &mut entry.known));
            }
        }
        if named.is_empty() {
            return false;
        }
        for pid in pids(tree) {
            let Some(stat) = stat(tree, pid) else { continue };
            let line = tree.bytes(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = Command::new(&stat.comm, &line);
            for (name, known) in &mut named {
                if known.len() < FOLLOWED && command.is_called(name) {
                    known.push(Identity { pid, started: stat.started });
                }
            }
        }
        true
    }
}

/// The ids of all processes there are, in order.
pub(super) fn pids(tree: &Tree) -> Vec<u32> {
    let entries = std::fs::read_dir(tree.at("/proc")).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| pid_of(&entry.file_name())).collect();
    pids.sort_unstable();
    pids
}

fn pid_of(name: &OsStr) -> Option<u32> {
    std::str::from_utf8(name.as_bytes()).ok()?.parse().ok()
}

/// What a process that has not ended shows of itself.
fn stat(tree: &Tree, pid: u32) -> Option<Stat> {
    Stat::parse(&tree.bytes(format!("/proc/{pid}/stat"))?).filter(|stat| !stat.ended)
}

fn alive(tree: &Tree, identity: Identity) -> Option<Stat> {
    stat(tree, identity.pid).filter(|stat| stat.started == identity.started)
}

fn summed(
    label: &str,
    tally: &mut Tally,
    members: &[(u32, Stat)],
    searched: Option<Instant>,
) -> Process {
    let set: Vec<_> = members
        .iter()
        .map(|(pid, stat)| (Identity { pid: *pid, started: stat.started }, stat.cpu))
        .collect();
    tally.book(&set, searched);
    Process {
        label: label.to_owned(),
        matched: members.len(),
        cpu_seconds: tally.total.as_secs_f64(),
        resident_bytes: members.iter().map(|(_, stat)| stat.resident_bytes).sum(),
        threads: members.iter().map(|(_, stat)| stat.threads).sum(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// A `/proc` of our own, whose processes start at so many seconds and used so many.
    struct Machine(TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(TempDir::new().unwrap());
            machine.write("self/stat", &line(1, "landfall", 'S', 0, 1));
            machine
        }

        fn tree(&self) -> Tree {
            Tree::new(self.0.path())
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.0.path().join("proc").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn runs(&self, pid: u32, command: &[&str], started: u64, used: u64) {
            let comm: String = command[0].rsplit('/').next().unwrap().chars().take(15).collect();
            self.write(&format!("{pid}/stat"), &line(pid, &comm, 'S', started, used));
            self.write(&format!("{pid}/cmdline"), &format!("{}\0", command.join("\0")));
        }

        fn ends(&self, pid: u32) {
            std::fs::remove_dir_all(self.0.path().join(format!("proc/{pid}"))).unwrap();
        }
    }

    fn line(pid: u32, comm: &str, state: char, started: u64, used: u64) -> String {
        let ticks = rustix::param::clock_ticks_per_second();
        let (started, used) = (started * ticks, used * ticks);
        format!(
            "{pid} ({comm}) {state} 1 1 1 0 -1 0 0 0 0 0 {used} 0 0 0 20 0 3 0 {started} 9 10 0\n"
        )
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn named(name: &str) -> Census {
        Census::new(vec![ProcessSelector::Name(name.into())])
    }

    fn shown(census: &mut Census, machine: &Machine, seconds: u64) -> (usize, f64) {
        let counted = census.count(&machine.tree(), at(seconds));
        assert_eq!((counted.len(), counted[0].label.as_str()), (2, "self"));
        (counted[1].matched, counted[1].cpu_seconds)
    }

    #[test]
    fn the_end_of_one_of_several_takes_nothing_back_and_a_successor_is_found_at_once() {
        let machine = Machine::new();
        machine.runs(10, &["/usr/sbin/mosquitto", "-c", "a"], 5, 40);
        machine.runs(11, &["mosquitto"], 6, 2);
        machine.runs(12, &["vi", "mosquitto"], 6, 900);
        let mut census = named("mosquitto");
        assert_eq!(shown(&mut census, &machine, 100), (2, 42.0));
        machine.ends(10);
        machine.runs(13, &["mosquitto"], 101, 1);
        machine.runs(11, &["mosquitto"], 6, 5);
        assert_eq!(shown(&mut census, &machine, 105), (2, 46.0));
        machine.ends(11);
        machine.ends(13);
        assert_eq!(shown(&mut census, &machine, 110), (0, 46.0));
    }

    #[test]
    fn a_further_process_is_found_later_and_counts_from_its_start() {
        let machine = Machine::new();
        let mut census = named("bridge");
        assert_eq!(shown(&mut census, &machine, 100), (0, 0.0));
        machine.runs(10, &["bridge"], 103, 2);
        assert_eq!(shown(&mut census, &machine, 105), (0, 0.0));
        assert_eq!(shown(&mut census, &machine, 130), (1, 2.0));
        machine.runs(10, &["bridge"], 103, 3);
        assert_eq!(shown(&mut census, &machine, 135), (1, 3.0));
    }

    #[test]
    fn a_reused_id_is_somebody_else() {
        let machine = Machine::new();
        machine.runs(10, &["broker"], 5, 40);
        let mut by_name = named("broker");
        let mut by_id = Census::new(vec![ProcessSelector::Pid(10)]);
        assert_eq!(shown(&mut by_name, &machine, 100), (1, 40.0));
        assert_eq!(shown(&mut by_id, &machine, 100), (1, 40.0));
        machine.runs(10, &["other"], 101, 700);
        assert_eq!(shown(&mut by_name, &machine, 105), (0, 40.0));
        assert_eq!(shown(&mut by_id, &machine, 105), (0, 40.0));
    }

    #[test]
    fn a_pid_file_is_followed_and_a_zombie_is_not() {
        let machine = Machine::new();
        machine.runs(10, &["broker"], 5, 1);
        machine.write("../run/broker.pid", "10\n");
        let file = ProcessSelector::PidFile("/run/broker.pid".into());
        let mut census = Census::new(vec![file]);
        assert_eq!(shown(&mut census, &machine, 100), (1, 1.0));
        machine.runs(11, &["broker"], 101, 4);
        machine.write("../run/broker.pid", "11");
        assert_eq!(shown(&mut census, &machine, 105), (1, 5.0));
        machine.write("11/stat", &line(11, "broker", 'Z', 101, 6));
        assert_eq!(shown(&mut census, &machine, 110), (0, 5.0));
        machine.write("../run/broker.pid", "no number");
        assert_eq!(shown(&mut census, &machine, 115), (0, 5.0));
    }

    #[test]
    fn a_process_that_can_not_be_read_is_no_match_and_no_failure() {
        let machine = Machine::new();
        machine.write("10/cmdline", "broker\0");
        machine.write("11/stat", "11 (broker");
        assert_eq!(shown(&mut named("broker"), &machine, 100), (0, 0.0));
    }

    proptest! {
        #[test]
        fn a_tally_never_falls_and_counts_no_second_twice(
            looks in prop::collection::vec(
                prop::collection::hash_map((0_u32..4, 0_u64..60), 0_u64..50, 0..4), 1..12),
        ) {
            let mut tally = Tally::default();
            let mut most: HashMap<Identity, Duration> = HashMap::new();
            let mut searched = None;
            for (now, look) in (0_u64..).step_by(5).zip(looks) {
                let set: Vec<_> = look
                    .into_iter()
                    .filter(|&((_, started), _)| started <= now)
                    .map(|((pid, started), used)| {
                        let started = Duration::from_secs(started);
                        (Identity { pid, started }, Duration::from_secs(used))
                    })
                    .collect();
                let before = tally.total;
                tally.book(&set, searched);
                searched = Some(at(now));
                prop_assert!(tally.total >= before);
                for (identity, used) in set {
                    let known = most.entry(identity).or_default();
                    *known = used.max(*known);
                }
                let all: Duration = most.values().sum();
                prop_assert!(tally.total <= all, "{:?} of {:?}", tally.total, all);
            }
        }
    }
}
