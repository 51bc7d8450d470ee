//! Room `host` (edge): CPU, memory and pressure of the whole machine.

use std::path::Path;
use std::time::Duration;

use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, System};

use crate::clock::Instant;

use super::stat::from_ticks;
use super::tree::Tree;
use super::{Host, Pressure};

/// Reads the machine's totals.
#[derive(Debug)]
pub(super) struct MachineReader {
    /// Absent on a system that `sysinfo` doesn't know.
    system: Option<System>,
    refreshed: Option<Instant>,
    utilization: Option<f64>,
}

impl MachineReader {
    pub(super) fn new() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self { system, refreshed: None, utilization: None }
    }

    /// Reads once. Samples closer together than the kernel's counters can tell apart repeat the
    /// utilization of the one before.
    pub(super) fn read(&mut self, tree: &Tree, now: Instant) -> Host {
        let pressure = pressure(tree, |resource| Path::new("/proc/pressure").join(resource));
        let Some(system) = &mut self.system else {
            return Host { pressure, ..Host::default() };
        };
        match self.refreshed {
            Some(before) if now.saturating_since(before) < MINIMUM_CPU_UPDATE_INTERVAL => {}
            before => {
                system.refresh_cpu_usage();
                self.refreshed = Some(now);
                let busy = f64::from(system.global_cpu_usage()) / 100.0;
                self.utilization = before.map(|_| busy.clamp(0.0, 1.0));
            }
        }
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let memory = Some(system.total_memory()).filter(|&total| total > 0);
        Host {
            cpu_utilization_ratio: self.utilization,
            cpus: Some(system.cpus().len()).filter(|&cpus| cpus > 0),
            memory_used_bytes: memory.map(|_| system.used_memory()),
            memory_total_bytes: memory,
            pressure,
        }
    }
}

/// Reads the three pressure files, wherever `file` says they are.
pub(super) fn pressure<P: AsRef<Path>>(tree: &Tree, file: impl Fn(&str) -> P) -> Pressure {
    let share = |resource| some_avg10(&tree.text(file(resource))?);
    Pressure { cpu: share("cpu"), memory: share("memory"), io: share("io") }
}

/// The share in `some avg10=PERCENT avg60=...` (the kernel's Documentation/accounting/psi.rst).
fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = line.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    let percent: f64 = percent.parse().ok()?;
    percent.is_finite().then_some(percent / 100.0)
}

/// The seconds in `full ... total=MICROSECONDS` of a pressure file: all tasks waited at once.
pub(super) fn full_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("full "))?;
    let micros = line.split(' ').find_map(|field| field.strip_prefix("total="))?;
    Some(Duration::from_micros(micros.parse().ok()?).as_secs_f64())
}

/// Time that a hypervisor gave to others, a processor on average: the eighth figure of the first line
/// of `/proc/stat` (proc(5)), in ticks, over the number of lines for single processors.
pub(super) fn stolen_seconds(tree: &Tree) -> Option<f64> {
    let text = tree.text("/proc/stat")?;
    let of_processors = text.lines().filter(|line| line.starts_with("cpu"));
    let processors = u32::try_from(of_processors.count().checked_sub(1)?).ok()?;
    let ticks: u64 = text.lines().next()?.split_ascii_whitespace().nth(8)?.parse().ok()?;
    let stolen = from_ticks(ticks).as_secs_f64() / f64::from(processors);
    stolen.is_finite().then_some(stolen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pressure_is_a_ratio() {
        let text = "some avg10=12.50 avg60=0.18 avg300=1.02 total=35691897\n\
                    full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(some_avg10(text), Some(0.125));
    }

    #[test]
    fn stalls_and_stolen_time_are_totals() {
        assert_eq!(full_seconds("some total=5\nfull avg10=0.00 total=2500000\n"), Some(2.5));
        assert_eq!(full_seconds("some avg10=0.00 total=2500000\n"), None);
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let tree = Tree::new(root.path());
        assert_eq!(stolen_seconds(&tree), None);
        let ticks = 6 * rustix::param::clock_ticks_per_second();
        let text = format!("cpu  1 2 3 4 5 6 7 {ticks} 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        std::fs::write(tree.at("/proc/stat"), text).unwrap();
        assert_eq!(stolen_seconds(&tree), Some(3.0));
        std::fs::write(tree.at("/proc/stat"), "cpu  1 2 3\n").unwrap();
        assert_eq!(stolen_seconds(&tree), None);
    }

    #[test]
    fn a_kernel_without_pressure_files_has_none() {
        let empty = tempfile::tempdir().unwrap();
        let found = pressure(&Tree::new(empty.path()), |resource| format!("/proc/{resource}"));
        assert_eq!(found, Pressure::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(some |full |avg10=|[0-9.]|nan|\n|.){0,40}") {
            prop_assert!(some_avg10(&text).is_none_or(f64::is_finite));
        }
    }
}
