//! Room `telemetry`: what is set rather than counted.

use crate::correlate::PathId;

use super::super::catalogue::{MODES, SCOPES};
use super::super::families::{
    BUSIEST, COMPONENT_UP, HOST_CPU, HOST_MEMORY_TOTAL, HOST_MEMORY_USED, HOST_PRESSURE, LOAD_INFO,
    PARTITIONS, PARTITIONS_COVERED, PROCESS_CPU, PROCESS_RESIDENT,
};
use super::super::figures::{HostFigures, ProcessFigures, Resource};
use super::super::health::Component;
use super::{Telemetry, whole};

/// Processes that have series of their own.
const PROCESSES_MAX: usize = 256;

impl Telemetry {
    /// Sets how many partitions a path has, and out of how many a stamp has come.
    pub fn set_partitions(&self, path: PathId, total: u32, covered: u32) {
        let Some(path) = self.path(path) else { return };
        self.0.board.set(&PARTITIONS, &[&path.name], Some(f64::from(total)));
        self.0.board.set(&PARTITIONS_COVERED, &[&path.name], Some(f64::from(covered)));
    }

    /// Says whether the load of a path is a closed loop.
    pub fn set_load(&self, path: PathId, is_closed: bool) {
        let Some(path) = self.path(path) else { return };
        self.0.board.set(&LOAD_INFO, &[&path.name, MODES[usize::from(is_closed)]], Some(1.0));
    }

    /// Sets the most that a thread had to do in a stretch of the last window which sends for a path.
    pub fn set_busiest(&self, path: PathId, share: Option<f32>) {
        let Some(path) = self.path(path) else { return };
        self.0.board.set(&BUSIEST, &[&path.name], share.map(f64::from));
    }

    /// Sets the figures of machine and control group; what is `None` is absent from now on.
    pub fn set_host(&self, figures: &HostFigures) {
        let board = &self.0.board;
        for (name, scope) in SCOPES.into_iter().zip([&figures.host, &figures.cgroup]) {
            board.set(&HOST_CPU, &[name], scope.cpu_utilization);
            board.set(&HOST_MEMORY_USED, &[name], scope.memory_used.map(whole));
            board.set(&HOST_MEMORY_TOTAL, &[name], scope.memory_total.map(whole));
        }
        for (resource, pressure) in Resource::ALL.into_iter().zip(figures.pressure) {
            board.set(&HOST_PRESSURE, &[resource.name()], pressure);
        }
    }

    /// Sets the figures of all watched processes (256 at most); those of others are absent from now
    /// on. A total of CPU seconds that fell is a process that started again.
    pub fn set_processes(&self, figures: &[ProcessFigures]) {
        let figures = &figures[..figures.len().min(PROCESSES_MAX)];
        let board = &self.0.board;
        let named = |labels: &[String]| figures.iter().any(|it| labels.contains(&it.name));
        board.retain(&PROCESS_CPU, named);
        board.retain(&PROCESS_RESIDENT, named);
        for process in figures {
            board.set(&PROCESS_CPU, &[&process.name], process.cpu_seconds);
            board.set(&PROCESS_RESIDENT, &[&process.name], process.resident_bytes.map(whole));
        }
    }

    /// Sets whether a system is connected; absent for a system that was never named here.
    pub fn component_up(&self, component: Component, up: bool) {
        self.flag(&COMPONENT_UP, component.name(), up);
    }

    /// Counts a connection that was made again.
    pub fn reconnected(&self, component: Component) {
        self.0.reconnects[component as usize].increment(1);
    }

    /// Counts a sending that was not taken.
    pub(in crate::telemetry) fn export_failed(&self) {
        self.0.export_failures.increment(1);
    }
}
