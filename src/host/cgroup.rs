//! Room `host` (edge): the cgroup this process lives in, of version 1, 2 or both at once.
//!
//! # Design
//!
//! A limit may stand at any level above a process, and then its throttling is counted there only.
//! So for each of CPU and memory the level with the tightest limit is chosen once, at the start
//! (a counter that moved to another level would fall), and everything is read from that one.
//!
//! Formats: proc(5) for `/proc/self/cgroup` and `mountinfo`, cgroups(7), and the kernel's
//! Documentation/admin-guide/{cgroup-v1,cgroup-v2.rst}.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::clock::Instant;

use super::machine::{full_seconds, pressure};
use super::tree::{Tree, keyed};
use super::{Cgroup, Pressure, Throttling};

/// Version 1 has no word for "no limit": it shows the largest multiple of a page, near 2^63.
const UNLIMITED: u64 = 1 << 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A directory of one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    directory: PathBuf,
}

impl Group {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn cpu_limit(&self, tree: &Tree) -> Option<f64> {
        let (quota, period) = match self.version {
            Version::Two => {
                let text = tree.text(self.file("cpu.max"))?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse::<u32>().ok()?, period.parse::<u32>().ok()?)
            }
            Version::One => (
                // -1, so no number, without a limit
                u32::try_from(tree.number(self.file("cpu.cfs_quota_us"))?).ok()?,
                u32::try_from(tree.number(self.file("cpu.cfs_period_us"))?).ok()?,
            ),
        };
        let cores = f64::from(quota) / f64::from(period);
        (cores.is_finite() && cores > 0.0).then_some(cores)
    }

    fn memory_limit(&self, tree: &Tree) -> Option<u64> {
        let name = match self.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max", // "max", so no number, without a limit
        };
        tree.number(self.file(name)).filter(|&limit| limit < UNLIMITED)
    }

    fn working_set(&self, tree: &Tree) -> Option<u64> {
        let (usage, cache) = match self.version {
            Version::One => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::Two => ("memory.current", "inactive_file"),
        };
        let reclaimable = tree.keyed(self.file("memory.stat"), cache).unwrap_or(0);
        Some(tree.number(self.file(usage))?.saturating_sub(reclaimable))
    }
}

/// Reads the cgroup that was found at the start.
#[derive(Debug)]
pub(super) struct CgroupReader {
    cpu: Option<Group>,
    /// Where version 1 counts CPU time: a hierarchy of its own, often the same directory.
    cpuacct: Option<Group>,
    memory: Option<Group>,
    before: Option<(Instant, f64)>,
}

impl CgroupReader {
    /// Finds the cgroups of the process that reads `/proc/self`.
    pub(super) fn locate(tree: &Tree) -> Self {
        let membership = tree.text("/proc/self/cgroup").unwrap_or_default();
        let mounts = tree.text("/proc/self/mountinfo").unwrap_or_default();
        let levels = |controller| levels(&membership, &mounts, controller);
        let cpu = levels("cpu");
        let level = tightest(&cpu, |group| group.cpu_limit(tree));
        let memory = levels("memory");
        let bound = tightest(&memory, |group| {
            group.memory_limit(tree).map(|bytes| Duration::from_nanos(bytes).as_secs_f64())
        });
        Self {
            cpu: cpu.into_iter().nth(level),
            cpuacct: levels("cpuacct").into_iter().nth(level),
            memory: memory.into_iter().nth(bound),
            before: None,
        }
    }

    /// Reads once; absent if there is nothing to read.
    pub(super) fn read(&mut self, tree: &Tree, now: Instant) -> Option<Cgroup> {
        let cpu_limit_cores = self.cpu.as_ref().and_then(|group| group.cpu_limit(tree));
        let stat = self.cpu.as_ref().and_then(|group| tree.text(group.file("cpu.stat")));
        let stat = |key: &str| keyed(stat.as_deref()?, key);
        let cpu_seconds = stat("usage_usec").map(seconds_of_micros).or_else(|| {
            let usage = tree.number(self.cpuacct.as_ref()?.file("cpuacct.usage"))?;
            Some(Duration::from_nanos(usage).as_secs_f64())
        });
        let cpu_utilization_ratio = self.utilization(now, cpu_seconds, cpu_limit_cores);
        let memory = self.memory.as_ref();
        let found = Cgroup {
            cpu_limit_cores,
            cpu_utilization_ratio,
            cpu_seconds,
            throttled_seconds: throttled_seconds(stat),
            throttled_periods: stat("nr_throttled"),
            memory_used_bytes: memory.and_then(|group| group.working_set(tree)),
            memory_limit_bytes: memory.and_then(|group| group.memory_limit(tree)),
            pressure: self.pressure(tree),
        };
        (found != Cgroup::default()).then_some(found)
    }

    /// How long the limit, and want of a processor, kept this cgroup from running.
    pub(super) fn throttling(&self, tree: &Tree) -> Throttling {
        let Some(group) = &self.cpu else { return Throttling::default() };
        let stat = tree.text(group.file("cpu.stat"));
        Throttling {
            throttled_seconds: throttled_seconds(|key| keyed(stat.as_deref()?, key)),
            stalled_seconds: tree
                .text(group.file("cpu.pressure"))
                .as_deref()
                .and_then(full_seconds),
            stolen_seconds: None,
        }
    }

    fn utilization(&mut self, now: Instant, used: Option<f64>, limit: Option<f64>) -> Option<f64> {
        let used = used?;
        let (before, used_before) = self.before.replace((now, used))?;
        let available = now.saturating_since(before).as_secs_f64() * limit?;
        (available > 0.0).then(|| (used - used_before).max(0.0) / available)
    }

    fn pressure(&self, tree: &Tree) -> Pressure {
        match &self.cpu {
            Some(group) if group.version == Version::Two => {
                pressure(tree, |resource| group.file(&format!("{resource}.pressure")))
            }
            _ => Pressure::default(),
        }
    }
}

/// The index of the level with the smallest limit, of our own (0) without any.
fn tightest(levels: &[Group], limit: impl Fn(&Group) -> Option<f64>) -> usize {
    let limits =
        levels.iter().enumerate().filter_map(|(level, group)| Some((level, limit(group)?)));
    limits.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(level, _)| level)
}

/// The directories that rule this process for a controller, its own first, up to the mount point.
/// A controller of version 1 that is mounted is in use there and not in version 2.
fn levels(membership: &str, mounts: &str, controller: &str) -> Vec<Group> {
    let mut second = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.is_empty() {
            second = directories(mounts, Version::Two, controller, path);
        } else if controllers.split(',').any(|name| name == controller) {
            let first = directories(mounts, Version::One, controller, path);
            if !first.is_empty() {
                return first;
            }
        }
    }
    second
}

fn directories(mounts: &str, version: Version, controller: &str, path: &str) -> Vec<Group> {
    let Some((root, mount)) = mounts.lines().find_map(|line| mount(line, version, controller))
    else {
        return Vec::new();
    };
    // Seen from a container, the path may lie outside what is mounted: then the mount is all.
    let inside = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
    let inside = if inside.components().all(|part| matches!(part, Component::Normal(_))) {
        inside
    } else {
        Path::new("")
    };
    inside.ancestors().map(|ancestor| Group { version, directory: mount.join(ancestor) }).collect()
}

/// The root and mount point of a line of mountinfo, if it mounts that hierarchy:
/// `36 35 98:0 ROOT MOUNT rw,noatime master:1 - TYPE SOURCE rw,CONTROLLER`.
fn mount(line: &str, version: Version, controller: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    let mut system = system.split(' ');
    let (kind, options) = (system.next()?, system.nth(1)?);
    let fits = match version {
        Version::Two => kind == "cgroup2",
        Version::One => kind == "cgroup" && options.split(',').any(|name| name == controller),
    };
    fits.then(|| (PathBuf::from(unescaped(root)), PathBuf::from(unescaped(mount))))
}

/// Mountinfo writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Version 2 counts in microseconds, version 1 in nanoseconds and by another name.
fn throttled_seconds(stat: impl Fn(&str) -> Option<u64>) -> Option<f64> {
    stat("throttled_usec")
        .map(seconds_of_micros)
        .or_else(|| stat("throttled_time").map(|nanos| Duration::from_nanos(nanos).as_secs_f64()))
}

fn seconds_of_micros(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn fixture(files: &[(&str, &str)]) -> (TempDir, Tree) {
        let root = TempDir::new().unwrap();
        let tree = Tree::new(root.path());
        for (path, content) in files {
            std::fs::create_dir_all(tree.at(path).parent().unwrap()).unwrap();
            std::fs::write(tree.at(path), content).unwrap();
        }
        (root, tree)
    }

    const V2_MOUNT: &str = "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
        30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_2_reads_limits_usage_and_throttling() {
        let group = "/sys/fs/cgroup/app.slice";
        let file = |name: &str| format!("{group}/{name}");
        let (_root, tree) = fixture(&[
            ("/proc/self/cgroup", "0::/app.slice\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            (&file("cpu.max"), "150000 100000\n"),
            (
                &file("cpu.stat"),
                "usage_usec 2000000\nuser_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 250000\n",
            ),
            (&file("memory.max"), "1048576\n"),
            (&file("memory.current"), "700000\n"),
            (&file("memory.stat"), "anon 5\ninactive_file 100000\nactive_file 3\n"),
            (&file("memory.pressure"), "some avg10=50.00 avg60=0.00 avg300=0.00 total=0\n"),
        ]);
        let mut reader = CgroupReader::locate(&tree);
        let first = reader.read(&tree, Instant::from_nanos(SECOND)).unwrap();
        assert_eq!(
            first,
            Cgroup {
                cpu_limit_cores: Some(1.5),
                cpu_utilization_ratio: None,
                cpu_seconds: Some(2.0),
                throttled_seconds: Some(0.25),
                throttled_periods: Some(4),
                memory_used_bytes: Some(600_000),
                memory_limit_bytes: Some(1_048_576),
                pressure: Pressure { memory: Some(0.5), ..Pressure::default() },
            }
        );
        std::fs::write(
            tree.at(file("cpu.pressure")),
            "some avg10=9.00 avg60=0.00 avg300=0.00 total=7\n\
             full avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\n",
        )
        .unwrap();
        let throttling = reader.throttling(&tree);
        assert_eq!(throttling.throttled_seconds, Some(0.25));
        assert_eq!((throttling.stalled_seconds, throttling.stolen_seconds), (Some(1.5), None));
        std::fs::write(tree.at(file("cpu.stat")), "usage_usec 5000000\n").unwrap();
        assert_eq!(reader.throttling(&tree).throttled_seconds, None);
        let second = reader.read(&tree, Instant::from_nanos(5 * SECOND)).unwrap();
        assert_eq!(second.cpu_utilization_ratio, Some(3.0 / (4.0 * 1.5)));
        assert_eq!(second.throttled_seconds, None);
    }

    #[test]
    fn no_limit_is_absent_and_not_a_huge_number() {
        let (_root, tree) = fixture(&[
            ("/proc/self/cgroup", "0::/a\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/a/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/a/cpu.stat", "usage_usec 10\n"),
            ("/sys/fs/cgroup/a/memory.max", "max\n"),
        ]);
        let found = CgroupReader::locate(&tree).read(&tree, Instant::ZERO).unwrap();
        assert_eq!((found.cpu_limit_cores, found.memory_limit_bytes), (None, None));
    }

    #[test]
    fn the_tightest_limit_of_the_ancestors_counts_with_its_usage() {
        let (_root, tree) = fixture(&[
            ("/proc/self/cgroup", "0::/pod/box\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/pod/cpu.max", "50000 100000\n"),
            ("/sys/fs/cgroup/pod/cpu.stat", "usage_usec 9000000\nnr_throttled 7\n"),
            ("/sys/fs/cgroup/pod/memory.max", "900\n"),
            ("/sys/fs/cgroup/pod/memory.current", "800\n"),
            ("/sys/fs/cgroup/pod/box/cpu.max", "200000 100000\n"),
            ("/sys/fs/cgroup/pod/box/cpu.stat", "usage_usec 1000000\nnr_throttled 0\n"),
            ("/sys/fs/cgroup/pod/box/memory.max", "500\n"),
            ("/sys/fs/cgroup/pod/box/memory.current", "100\n"),
        ]);
        let found = CgroupReader::locate(&tree).read(&tree, Instant::ZERO).unwrap();
        assert_eq!((found.cpu_limit_cores, found.cpu_seconds), (Some(0.5), Some(9.0)));
        assert_eq!(found.throttled_periods, Some(7));
        assert_eq!((found.memory_limit_bytes, found.memory_used_bytes), (Some(500), Some(100)));
    }

    const HYBRID_MOUNTS: &str = "\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_1_beside_version_2_is_the_one_in_force() {
        let (_root, tree) = fixture(&[
            ("/proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n"),
            ("/proc/self/mountinfo", HYBRID_MOUNTS),
            ("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            (
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.stat",
                "nr_periods 5\nnr_throttled 2\nthrottled_time 500000000\n",
            ),
            ("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpuacct.usage", "3000000000\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "4000\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 1500\n"),
            ("/sys/fs/cgroup/unified/cpu.stat", "usage_usec 77\n"),
        ]);
        let found = CgroupReader::locate(&tree).read(&tree, Instant::ZERO).unwrap();
        assert_eq!(
            found,
            Cgroup {
                cpu_seconds: Some(3.0),
                throttled_seconds: Some(0.5),
                throttled_periods: Some(2),
                memory_used_bytes: Some(2_500),
                ..Cgroup::default()
            }
        );
    }

    #[test]
    fn version_1_counts_cpu_time_at_the_level_of_the_limit_though_mounted_apart() {
        let (_root, tree) = fixture(&[
            ("/proc/self/cgroup", "3:cpuacct:/a/b\n2:cpu:/a/b\n"),
            (
                "/proc/self/mountinfo",
                "32 31 0:29 / /cg/my\\040cpu rw - cgroup cgroup rw,cpu\n\
                 33 31 0:30 / /cg/cpuacct rw - cgroup cgroup rw,cpuacct\n",
            ),
            ("/cg/my cpu/a/cpu.cfs_quota_us", "25000\n"),
            ("/cg/my cpu/a/cpu.cfs_period_us", "100000\n"),
            ("/cg/cpuacct/a/cpuacct.usage", "2000000000\n"),
            ("/cg/cpuacct/a/b/cpuacct.usage", "1000000000\n"),
        ]);
        let found = CgroupReader::locate(&tree).read(&tree, Instant::ZERO).unwrap();
        assert_eq!((found.cpu_limit_cores, found.cpu_seconds), (Some(0.25), Some(2.0)));
    }

    #[test]
    fn a_path_outside_of_what_is_mounted_means_the_mount_itself() {
        for path in ["/../other", "/system.slice/docker-1.scope"] {
            let mounts = "1 2 0:1 /inner /cg rw - cgroup2 none rw\n";
            let found = levels(&format!("0::{path}\n"), mounts, "cpu");
            assert_eq!(found, [Group { version: Version::Two, directory: "/cg/".into() }]);
        }
    }

    #[test]
    fn without_cgroups_there_is_none() {
        let (_root, tree) = fixture(&[("/proc/self/stat", "1 (init) S")]);
        assert_eq!(CgroupReader::locate(&tree).read(&tree, Instant::ZERO), None);
    }

    proptest! {
        #[test]
        fn every_level_lies_at_or_below_the_mount_point(path in "(/|\\.\\.|:|[ab]){0,9}", root in "(/|[ab]){1,5}") {
            let mounts = format!("1 2 0:1 {root} /cg rw - cgroup2 none rw\n");
            let found = levels(&format!("0::{path}\n"), &mounts, "cpu");
            prop_assert!(!found.is_empty());
            for group in found {
                let inside = group.directory.strip_prefix("/cg").unwrap();
                prop_assert!(inside.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(
            membership in "([0-9]:|cpu|:|/|\n|.){0,30}",
            mounts in "([0-9] |/ | - |cgroup2? |rw|,cpu|\n|.){0,30}",
        ) {
            levels(&membership, &mounts, "cpu");
        }
    }
}
