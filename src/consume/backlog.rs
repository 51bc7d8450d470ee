//! Room `consume`: how long records that librdkafka has handed over may have waited for the reader.

use std::time::Duration;

use crate::clock::Instant;

/// A poll that took so long has waited: what it brought was not there when it began.
const ASLEEP: Duration = Duration::from_micros(20);

/// Since when something may be there that the reader has not taken.
///
/// # Design
///
/// librdkafka does not say when it put a record into the queue, only the reader's own absence is known.
/// A record waits no longer than since the queue was last seen empty: when a poll found nothing, or had
/// to wait for what it brought. How late the kernel wakes the reader out of that wait is not seen from
/// here; it is of the size of the scheduler lag.
#[derive(Debug)]
pub(super) struct Backlog {
    empty: Instant,
}

impl Backlog {
    pub(super) fn new(now: Instant) -> Self {
        Self { empty: now }
    }

    /// A poll found nothing.
    pub(super) fn found_nothing(&mut self, at: Instant) {
        self.empty = at;
    }

    /// A poll brought something; `began` is when it began if it was one that may wait. How long that
    /// may have waited for the reader, in nanoseconds.
    pub(super) fn took(&mut self, began: Option<Instant>, at: Instant) -> i64 {
        match began.filter(|&began| at >= began + ASLEEP) {
            Some(began) => {
                // It came during the wait, or while the reader was away before it.
                let away = began.nanos_since(self.empty);
                self.empty = at;
                away
            }
            None => at.nanos_since(self.empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    #[test]
    fn a_record_waits_for_the_reader_only_while_that_is_busy() {
        let mut backlog = Backlog::new(at(0));
        assert_eq!(backlog.took(Some(at(1)), at(90_000)), 1_000, "the reader was waiting for it");
        assert_eq!(backlog.took(None, at(90_003)), 3_000, "it came with the one before");
        assert_eq!(backlog.took(None, at(90_050)), 50_000, "and this one has waited longer");
        backlog.found_nothing(at(90_051));
        assert_eq!(backlog.took(Some(at(95_051)), at(95_052)), 5_001_000, "it was busy elsewhere");
        assert_eq!(backlog.took(None, at(95_060)), 5_009_000, "nothing was seen to be empty since");
        assert_eq!(backlog.took(Some(at(95_070)), at(95_090)), 5_019_000, "it waited at last");
        assert_eq!(backlog.took(None, at(95_091)), 1_000);
    }
}
