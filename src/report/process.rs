//! Room `report`: what processes used.

use serde::{Deserialize, Serialize};

use super::figures::{NONE, bytes, duration, duration_or_none};

/// What the kernel counts the CPU time of processes in.
const TICK_SECONDS: f64 = 0.01;

/// What a process used over the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its label: as configured, or `self`.
    pub label: String,
    /// CPU time over the run; null where it was never seen. That of others than `self` is known to a
    /// hundredth of a second.
    pub cpu_seconds: Option<f64>,
    /// Most resident memory of a sample, in bytes; null where it was never seen.
    pub peak_rss_bytes: Option<u64>,
    /// Messages published in the run for each second of its CPU time; null without CPU time.
    pub messages_per_cpu_second: Option<f64>,
}

impl Process {
    /// Its CPU time in words: what is below what the kernel counts in is not nothing.
    pub(super) fn cpu(&self) -> String {
        match self.cpu_seconds {
            Some(seconds) if seconds <= 0.0 => format!("< {}", duration(TICK_SECONDS)),
            seconds => duration_or_none(seconds),
        }
    }

    /// Its memory in words.
    pub(super) fn memory(&self) -> String {
        self.peak_rss_bytes.map_or_else(|| NONE.to_owned(), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_of_a_process_is_no_zero() {
        let process = |cpu_seconds, peak_rss_bytes| {
            let process = Process { cpu_seconds, peak_rss_bytes, ..Process::default() };
            (process.cpu(), process.memory())
        };
        let texts = |cpu: &str, memory: &str| (cpu.to_owned(), memory.to_owned());
        assert_eq!(process(None, None), texts("-", "-"));
        assert_eq!(process(Some(0.0), Some(4_096)), texts("< 10.0 ms", "4.10 kB"));
        assert_eq!(process(Some(0.25), None), texts("250 ms", "-"));
    }
}
