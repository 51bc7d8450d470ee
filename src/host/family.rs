//! Room `host` (edge): the processes that this one has started.
//!
//! # Design
//!
//! A generator may start a thousand short processes a second, which no sample ever sees. But whoever
//! collects a child takes over what it used, and that of the children which it had collected in turn. So
//! the sum over all that live, with what each has taken over, has everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::process::pids;
use super::stat::Stat;
use super::tree::Tree;

/// What all that were started so far have used. Never falls.
#[derive(Debug, Default)]
pub(super) struct Family {
    cpu: Duration,
}

impl Family {
    /// CPU time so far, as of the last look.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Looks for what the children of `own` have started, and theirs: those that have not ended.
    pub(super) fn members(&mut self, tree: &Tree, own: u32) -> Vec<(u32, Stat)> {
        let read = |pid: u32| Stat::parse(&tree.bytes(format!("/proc/{pid}/stat"))?);
        let own_stat = tree.bytes("/proc/self/stat").and_then(|text| Stat::parse(&text));
        let all: BTreeMap<u32, Stat> =
            pids(tree).into_iter().filter_map(|pid| Some((pid, read(pid)?))).collect();
        let guards: BTreeSet<u32> = children_of(&all, &BTreeSet::from([own]));
        let mut members = BTreeSet::new();
        let mut youngest = children_of(&all, &guards);
        while !youngest.is_empty() {
            members.extend(&youngest);
            youngest = &children_of(&all, &youngest) - &members;
        }
        let taken_over = |pid: &u32| all.get(pid).map(|stat| stat.cpu_of_children);
        let of_ended = own_stat.map(|stat| stat.cpu_of_children).into_iter();
        let of_ended = of_ended.chain(guards.iter().chain(&members).filter_map(taken_over));
        let of_living = members.iter().filter_map(|pid| all.get(pid)).map(|stat| stat.cpu);
        self.cpu = self.cpu.max(of_ended.chain(of_living).sum());
        let is_member = |(pid, stat): &(u32, Stat)| members.contains(pid) && !stat.ended;
        all.into_iter().filter(is_member).collect()
    }
}

fn children_of(all: &BTreeMap<u32, Stat>, parents: &BTreeSet<u32>) -> BTreeSet<u32> {
    let children = all.iter().filter(|(_, stat)| parents.contains(&stat.parent));
    children.map(|(&pid, _)| pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/proc` of our own: each process with its parent, its state, and its own and its collected
    /// children's seconds.
    fn machine(processes: &[(&str, u32, char, u64, u64)]) -> (tempfile::TempDir, Tree) {
        let root = tempfile::tempdir().unwrap();
        for (pid, parent, state, used, of_children) in processes {
            let ticks = rustix::param::clock_ticks_per_second();
            let (used, of_children) = (used * ticks, of_children * ticks);
            let line = format!(
                "1 (a b) c) {state} {parent} 1 1 0 -1 0 0 0 0 0 {used} 0 {of_children} 0 20 0 1 0 5 9 10 0"
            );
            let place = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("stat"), line).unwrap();
        }
        let tree = Tree::new(root.path());
        (root, tree)
    }

    #[test]
    fn whatever_was_started_counts_and_a_guard_does_not() {
        let mut family = Family::default();
        let mut look = |processes: &[(&str, u32, char, u64, u64)]| {
            let (_root, tree) = machine(processes);
            let members = family.members(&tree, 10);
            let pids: Vec<u32> = members.into_iter().map(|(pid, _)| pid).collect();
            (pids, family.cpu().as_secs())
        };
        // landfall is 10, its guard 11, the generator 12; 14 is a stranger.
        let of_us = [("self", 1, 'R', 900, 0), ("10", 1, 'R', 900, 0), ("11", 10, 'S', 100, 0)];
        let strangers = [("14", 1, 'R', 70, 7)];
        let living = [("12", 11, 'S', 2, 3), ("13", 12, 'R', 4, 0), ("15", 13, 'Z', 1, 0)];
        let all = [&of_us[..], &strangers, &living].concat();
        assert_eq!(look(&all), (vec![12, 13], 2 + 3 + 4 + 1));
        // 13 and 15 are collected by 12, and that by its guard.
        let guard = ("11", 10, 'S', 100, 10);
        let ended = [of_us[0], of_us[1], guard, strangers[0]];
        assert_eq!(look(&ended), (vec![], 10));
        // The guard, too, has ended and was collected.
        assert_eq!(look(&[("self", 1, 'R', 900, 11), ("10", 1, 'R', 900, 11)]), (vec![], 11));
        assert_eq!(look(&[("self", 1, 'R', 900, 0)]), (vec![], 11), "never falls");
    }
}
