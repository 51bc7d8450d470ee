//! Room `clock`: how long this process and its threads had a processor.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// User and system time of all threads of the process that are or were, to the nanosecond.
#[must_use]
pub fn cpu_of_process() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// User and system time of the thread that asks, to the nanosecond: `/proc` has whole hundredths of a
/// second.
#[must_use]
pub fn cpu_of_thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

#[expect(clippy::disallowed_methods, reason = "the room that reads clocks")]
fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_of_the_thread_and_of_the_process() {
        let (thread, process) = (cpu_of_thread(), cpu_of_process());
        let mut sum = 0_u64;
        while cpu_of_thread() < thread + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        assert!(cpu_of_process() >= process + Duration::from_millis(5));
    }
}
