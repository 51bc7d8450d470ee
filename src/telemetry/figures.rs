//! Room `telemetry`: the figures that others hand in.

/// What is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Version of landfall.
    pub version: String,
    /// Commit it was built from; empty when unknown.
    pub commit: String,
}

/// What there can be pressure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Disks.
    Io,
}

impl Resource {
    /// Every resource, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Io];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

/// Figures of the machine or of the control group; `None` where nobody can say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScopeFigures {
    /// Share of the CPU time that was used, 0 to 1.
    pub cpu_utilization: Option<f64>,
    /// Memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// Memory that there is, or the limit, in bytes.
    pub memory_total: Option<u64>,
}

/// Figures of where the probe runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostFigures {
    /// The machine.
    pub host: ScopeFigures,
    /// The control group.
    pub cgroup: ScopeFigures,
    /// Share of time that some task waited, 0 to 1, in the order of [`Resource::ALL`].
    pub pressure: [Option<f64>; Resource::ALL.len()],
}

/// Figures of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// Its name in metrics.
    pub name: String,
    /// CPU time so far, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
}
