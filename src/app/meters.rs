//! Room `app`: what host and processes used, on the way from `host` to metrics and report.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Instant, cpu_of_process};
use crate::host::{self, Cgroup, Host, Pressure, Sample, Sampler, Throttling};
use crate::report::{HostUsage, Process, ProcessNow, ScopeNow};
use crate::stats::Starved;
use crate::telemetry::{HostFigures, ProcessFigures, ScopeFigures, Telemetry};

/// How soon a process that was just started is looked at; from then on half as often each time.
const SOON: Duration = Duration::from_millis(200);

/// Samples the host, and remembers what the report needs.
pub(super) struct Meters {
    sampler: Sampler,
    next: Instant,
    /// When processes are looked at before that, and how long after the last time.
    look: Option<(Instant, Duration)>,
    /// As of the end of the last window.
    throttling: Throttling,
    host: Scope,
    cgroup: Scope,
    processes: BTreeMap<String, Usage>,
}

/// What a machine or a control group used so far.
#[derive(Default)]
struct Scope {
    cpu_sum: f64,
    cpu_count: f64,
    usage: HostUsage,
    /// At the last sample.
    now: ScopeNow,
}

struct Usage {
    cpu_at_start: f64,
    cpu: f64,
    /// Whether there was any process, or one that had ended and left its CPU time.
    is_known: bool,
    /// Nothing while there was no process.
    peak_rss_bytes: Option<u64>,
    /// At the last sample.
    resident_bytes: u64,
    sampled: Instant,
    cpu_ratio: Option<f64>,
}

impl Meters {
    pub(super) fn new(sampler: Sampler) -> Self {
        let (host, cgroup) = (Scope::default(), Scope::default());
        let (throttling, next, processes) = (Throttling::default(), Instant::ZERO, BTreeMap::new());
        Self { sampler, next, look: None, throttling, host, cgroup, processes }
    }

    /// Does what is due.
    pub(super) fn step(&mut self, now: Instant, telemetry: &Telemetry) {
        if now >= self.next {
            self.read(now, telemetry);
        } else if let Some((_, pause)) = self.look.filter(|&(at, _)| now >= at) {
            let pause = pause * 2;
            self.look = (pause < self.sampler.interval()).then_some((now + pause, pause));
            self.look_at_processes(now, telemetry);
        }
    }

    /// A process was started that may have ended before the next sample.
    pub(super) fn started(&mut self, now: Instant) {
        self.look = Some((now + SOON, SOON));
    }

    /// Sees what processes used, and nothing else.
    pub(super) fn look_at_processes(&mut self, now: Instant, telemetry: &Telemetry) {
        let processes = self.sampler.processes(now);
        self.note(processes, now, telemetry);
    }

    /// Takes a sample and exports it.
    pub(super) fn read(&mut self, now: Instant, telemetry: &Telemetry) {
        self.next = now + self.sampler.interval();
        let sample = self.sampler.sample(now);
        telemetry.set_host(&host_figures(&sample));
        self.host.add(&of_host(&sample.host), sample.host.pressure);
        if let Some(cgroup) = &sample.cgroup {
            self.cgroup.add(&of_cgroup(cgroup), cgroup.pressure);
        }
        self.note(sample.processes, now, telemetry);
    }

    /// Takes down and exports what processes used.
    fn note(&mut self, mut all: Vec<host::Process>, now: Instant, telemetry: &Telemetry) {
        // The kernel shows hundredths of a second of others; of itself a process knows nanoseconds.
        if let Some(own) = all.first_mut() {
            own.cpu_seconds = cpu_of_process().as_secs_f64();
        }
        let processes: Vec<ProcessFigures> = all
            .iter()
            .map(|process| ProcessFigures {
                name: process.label.clone(),
                cpu_seconds: Some(process.cpu_seconds),
                resident_bytes: Some(process.resident_bytes),
            })
            .collect();
        telemetry.set_processes(&processes);
        for process in all {
            let usage = self.processes.entry(process.label).or_insert(Usage {
                cpu_at_start: process.cpu_seconds,
                cpu: process.cpu_seconds,
                is_known: false,
                peak_rss_bytes: None,
                resident_bytes: 0,
                sampled: now,
                cpu_ratio: None,
            });
            let elapsed = now.saturating_since(usage.sampled).as_secs_f64();
            if elapsed > 0.0 {
                usage.cpu_ratio = Some(((process.cpu_seconds - usage.cpu) / elapsed).max(0.0));
            }
            (usage.cpu, usage.sampled) = (process.cpu_seconds, now);
            usage.resident_bytes = process.resident_bytes;
            usage.is_known |= process.matched > 0 || process.cpu_seconds > 0.0;
            let resident = (process.matched > 0).then_some(process.resident_bytes);
            usage.peak_rss_bytes = usage.peak_rss_bytes.max(resident);
        }
    }

    /// The first window begins.
    pub(super) fn begin_window(&mut self) {
        self.throttling = self.sampler.throttling();
    }

    /// Ends a window of that length: what kept the probe from running in it.
    pub(super) fn starved(&mut self, length: Duration) -> Starved {
        let now = self.sampler.throttling();
        let before = std::mem::replace(&mut self.throttling, now);
        starved(&before, &now, length)
    }

    /// Memory of the machine.
    pub(super) fn memory_total_bytes(&self) -> Option<u64> {
        self.host.usage.memory_total_bytes
    }

    /// What machine and control group used, by scope.
    pub(super) fn host(&self) -> BTreeMap<String, HostUsage> {
        let scopes = [("host", &self.host), ("cgroup", &self.cgroup)];
        let known = scopes.into_iter().filter(|(_, scope)| scope.usage != HostUsage::default());
        known.map(|(name, scope)| (name.to_owned(), scope.usage.clone())).collect()
    }

    /// What machine and control group used at the last sample, by scope.
    pub(super) fn host_now(&self) -> BTreeMap<String, ScopeNow> {
        let scopes = [("host", &self.host), ("cgroup", &self.cgroup)];
        let known = scopes.into_iter().filter(|(_, scope)| scope.now != ScopeNow::default());
        known.map(|(name, scope)| (name.to_owned(), scope.now.clone())).collect()
    }

    /// What processes used at the last sample.
    pub(super) fn processes_now(&self) -> Vec<ProcessNow> {
        let process = |(label, usage): (&String, &Usage)| ProcessNow {
            label: label.clone(),
            cpu_ratio: usage.cpu_ratio,
            resident_bytes: usage.resident_bytes,
        };
        self.processes.iter().map(process).collect()
    }

    /// What processes used since the first sample.
    pub(super) fn processes(&self) -> Vec<Process> {
        let process = |(label, usage): (&String, &Usage)| Process {
            label: label.clone(),
            cpu_seconds: usage.is_known.then_some(usage.cpu - usage.cpu_at_start),
            peak_rss_bytes: usage.peak_rss_bytes,
            messages_per_cpu_second: None,
        };
        self.processes.iter().map(process).collect()
    }
}

impl Scope {
    fn add(&mut self, figures: &ScopeFigures, pressure: Pressure) {
        self.now = ScopeNow {
            cpu_utilization_ratio: figures.cpu_utilization,
            memory_used_bytes: figures.memory_used,
            memory_total_bytes: figures.memory_total,
        };
        let usage = &mut self.usage;
        if let Some(cpu) = figures.cpu_utilization {
            self.cpu_sum += cpu;
            self.cpu_count += 1.0;
            usage.cpu_utilization_ratio_mean = Some(self.cpu_sum / self.cpu_count);
            let max = usage.cpu_utilization_ratio_max.unwrap_or(0.0);
            usage.cpu_utilization_ratio_max = Some(cpu.max(max));
        }
        usage.memory_used_bytes_max = usage.memory_used_bytes_max.max(figures.memory_used);
        usage.memory_total_bytes = figures.memory_total.or(usage.memory_total_bytes);
        for (resource, ratio) in by_resource(pressure) {
            if let Some(ratio) = ratio {
                let max = usage.pressure_ratio_max.entry(resource.to_owned()).or_default();
                *max = ratio.max(*max);
            }
        }
    }
}

/// What was added between two readings, as shares of the time between them.
fn starved(before: &Throttling, now: &Throttling, length: Duration) -> Starved {
    let share = |before: Option<f64>, now: Option<f64>| {
        let share = (now? - before?).max(0.0) / length.as_secs_f64();
        share.is_finite().then_some(share)
    };
    Starved {
        throttled: share(before.throttled_seconds, now.throttled_seconds),
        stalled: share(before.stalled_seconds, now.stalled_seconds),
        stolen: share(before.stolen_seconds, now.stolen_seconds),
    }
}

fn host_figures(sample: &Sample) -> HostFigures {
    HostFigures {
        host: of_host(&sample.host),
        cgroup: sample.cgroup.as_ref().map(of_cgroup).unwrap_or_default(),
        pressure: by_resource(sample.host.pressure).map(|(_, ratio)| ratio),
    }
}

fn of_host(host: &Host) -> ScopeFigures {
    ScopeFigures {
        cpu_utilization: host.cpu_utilization_ratio,
        memory_used: host.memory_used_bytes,
        memory_total: host.memory_total_bytes,
    }
}

fn of_cgroup(cgroup: &Cgroup) -> ScopeFigures {
    ScopeFigures {
        cpu_utilization: cgroup.cpu_utilization_ratio,
        memory_used: cgroup.memory_used_bytes,
        memory_total: cgroup.memory_limit_bytes,
    }
}

fn by_resource(pressure: Pressure) -> [(&'static str, Option<f64>); 3] {
    [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{InvalidCause, WindowFacts};

    #[test]
    fn throttling_within_a_window_makes_it_invalid() {
        let reading = |throttled, stolen| Throttling {
            throttled_seconds: Some(throttled),
            stalled_seconds: None,
            stolen_seconds: Some(stolen),
        };
        let window = Duration::from_secs(10);
        let causes = |before: Throttling, now: Throttling| {
            let starved = starved(&before, &now, window);
            WindowFacts { starved, ..WindowFacts::default() }.causes()
        };
        let before = reading(7.0, 100.0);
        assert_eq!(causes(before, reading(7.1, 100.5)), [], "one period of a hundred");
        assert_eq!(causes(before, reading(7.2, 100.0)), [InvalidCause::HostThrottled]);
        assert_eq!(causes(before, reading(7.0, 101.0)), [InvalidCause::HostThrottled]);
        assert_eq!(causes(before, reading(0.0, 0.0)), [], "counters that fell say nothing");
        let starved = starved(&Throttling::default(), &before, window);
        assert_eq!(starved, Starved::default(), "nor does what was not read before");
        let zero = super::starved(&before, &before, Duration::ZERO);
        assert_eq!(zero, Starved::default());
    }
}
