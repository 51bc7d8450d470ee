//! Room `app`: how long each stretch of a message's way took, by the wire, the fault link and Kafka.
//!
//! # Design
//!
//! Append and fetch leg and the durability gap hang on the clock of Kafka's leader, which is known by
//! brackets alone: a record was appended behind the moment at which its message was due, and before its
//! receipt. No correction that respects the brackets of all messages so far is further off than the
//! tightest of them is wide, and from the ledgers follows how wide that was. A timestamp's millisecond
//! comes on top. A record that is read when the clock has stepped since its append is off by the step:
//! nobody can know better, and the report must say exactly that.

use std::time::Duration;

use super::plant::{CLOCK_STEP_NANOS, Moments};
use crate::clock::Instant;

const MILLISECOND: i64 = 1_000_000;
/// Half a millisecond for where in its millisecond an append was, a whole one for the bracket's end, and
/// half a one for what clocks may have drifted apart meanwhile.
const UNIT_NANOS: i64 = 2 * MILLISECOND;
/// How long after a step records of the time before may still come, each of which starts the brackets
/// anew.
const SETTLED: Duration = Duration::from_millis(50);

/// Durations that the report has to have, each of which lies between two bounds; in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timed {
    /// The smallest that each may be, ascending.
    pub(super) low: Vec<i64>,
    /// What they were, ascending.
    pub(super) truth: Vec<i64>,
    /// The largest, ascending.
    pub(super) high: Vec<i64>,
}

impl Timed {
    /// Adds one that is right to so much below and above.
    pub(super) fn add(&mut self, nanos: i64, (below, above): (i64, i64)) {
        self.low.push(nanos.saturating_sub(below));
        self.truth.push(nanos);
        self.high.push(nanos.saturating_add(above));
    }

    /// The same of one that is never below zero.
    pub(super) fn add_positive(&mut self, nanos: i64, (below, above): (i64, i64)) {
        self.low.push(nanos.saturating_sub(below).max(0));
        self.truth.push(nanos.max(0));
        self.high.push(nanos.saturating_add(above).max(0));
    }

    fn sort(&mut self) {
        for values in [&mut self.low, &mut self.truth, &mut self.high] {
            values.sort_unstable();
        }
    }
}

/// Everything that is timed beside the crossing itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretches {
    pub(super) publish_delay: Timed,
    pub(super) publish_rec: Timed,
    pub(super) publish_ack: Timed,
    pub(super) create: Timed,
    pub(super) append: Timed,
    pub(super) fetch: Timed,
    pub(super) service: Timed,
    pub(super) durability_gap: Timed,
    pub(super) spread: Timed,
}

impl Stretches {
    /// All of them by their names in a report, in the order of a message's way.
    pub(super) fn named(&self) -> [(&'static str, &Timed); 9] {
        [
            ("publish_delay", &self.publish_delay),
            ("publish_rec", &self.publish_rec),
            ("publish_ack", &self.publish_ack),
            ("create", &self.create),
            ("append", &self.append),
            ("fetch", &self.fetch),
            ("service_latency", &self.service),
            ("durability_gap", &self.durability_gap),
            ("duplication spread", &self.spread),
        ]
    }

    pub(super) fn all_mut(&mut self) -> [&mut Timed; 9] {
        [
            &mut self.publish_delay,
            &mut self.publish_rec,
            &mut self.publish_ack,
            &mut self.create,
            &mut self.append,
            &mut self.fetch,
            &mut self.service,
            &mut self.durability_gap,
            &mut self.spread,
        ]
    }

    pub(super) fn sort(&mut self) {
        self.all_mut().into_iter().for_each(Timed::sort);
    }
}

/// A record with a LogAppendTime that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamped {
    /// When its message was due.
    pub(super) due: Instant,
    /// When Kafka appended it.
    pub(super) appended: Instant,
    /// When consumers could have it.
    pub(super) released: Instant,
}

impl Stamped {
    /// How far its bracket reaches below and above the offset of Kafka's clock.
    fn bracket(&self) -> (i64, i64) {
        (self.appended.nanos_since(self.due), self.released.nanos_since(self.appended))
    }
}

/// Kafka's clock, and what could be known of it when.
#[derive(Debug, Default)]
pub(super) struct KafkaClock {
    stepped: Option<Instant>,
    /// The tightest bracket up to each release, before the step and behind it.
    before: Vec<(Instant, (i64, i64))>,
    behind: Vec<(Instant, (i64, i64))>,
}

impl KafkaClock {
    /// Of a run in which these records came out.
    pub(super) fn of(moments: &Moments, mut records: Vec<Stamped>) -> Self {
        records.sort_unstable_by_key(|record| record.released);
        let mut clock = Self { stepped: moments.stepped, ..Self::default() };
        for record in &records {
            let (is_behind, stepped) = (clock.has_stepped(record.released), clock.stepped);
            // Of the step itself nobody knows which clock a record is of.
            if is_behind && stepped.is_some_and(|at| record.appended < at + SETTLED) {
                continue;
            }
            let tightest = if is_behind { &mut clock.behind } else { &mut clock.before };
            let last = tightest.last().map(|&(_, bracket)| bracket);
            tightest.push((record.released, tighter(last, record.bracket())));
        }
        clock
    }

    /// By how much a record's append is told too late, and to how much below and above that is right.
    /// It was read by a clock that is set back by so much.
    pub(super) fn error(&self, record: &Stamped, set_back: Duration) -> (i64, (i64, i64)) {
        let ahead = |at| if self.has_stepped(at) { CLOCK_STEP_NANOS } else { 0 };
        let (appended, released) = (record.appended + set_back, record.released + set_back);
        let record = Stamped { appended, released, ..*record };
        let own = record.bracket();
        // A record that contradicts what is known of the clock by now begins the brackets anew.
        let shift = ahead(record.appended) - ahead(record.released);
        let shift = if shift > own.1 { 0 } else { shift };
        let tightest = if self.has_stepped(record.released) { &self.behind } else { &self.before };
        let end = tightest.partition_point(|&(released, _)| released <= record.released);
        let known = end.checked_sub(1).and_then(|last| tightest.get(last)).map(|&(_, it)| it);
        // Its own is that of the clock as it was; and who reads by another clock makes nothing of it.
        let own = (own.0 + shift, own.1 - shift);
        let (below, above) = match known {
            Some(known) if !set_back.is_zero() => known,
            known => tighter(known, own),
        };
        (shift, (below + UNIT_NANOS, above + UNIT_NANOS))
    }

    fn has_stepped(&self, at: Instant) -> bool {
        self.stepped.is_some_and(|stepped| at >= stepped)
    }
}

fn tighter(known: Option<(i64, i64)>, (below, above): (i64, i64)) -> (i64, i64) {
    known.map_or((below, above), |known| (known.0.min(below), known.1.min(above)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn record(due: u64, appended: u64, released: u64) -> Stamped {
        Stamped { due: at(due), appended: at(appended), released: at(released) }
    }

    #[test]
    fn bounds_are_those_of_the_tightest_bracket_so_far() {
        let records = [record(0, 9, 10), record(20, 22, 27), record(30, 35, 36)];
        let clock = KafkaClock::of(&Moments::default(), records.to_vec());
        let bounds = records.map(|record| clock.error(&record, Duration::ZERO));
        let of = |below, above| {
            (0, (below * MILLISECOND + UNIT_NANOS, above * MILLISECOND + UNIT_NANOS))
        };
        assert_eq!(bounds, [of(9, 1), of(2, 1), of(2, 1)]);
    }

    #[test]
    fn a_step_begins_anew_and_shows_in_what_is_read_behind_it() {
        let moments = Moments { stepped: Some(at(100)), ..Moments::default() };
        // The second is on its way while the clock steps.
        let records = [record(0, 1, 2), record(98, 99, 101), record(200, 209, 211)];
        let clock = KafkaClock::of(&moments, records.to_vec());
        assert_eq!(clock.error(&records[0], Duration::ZERO).0, 0);
        assert_eq!(
            clock.error(&records[1], Duration::ZERO).0,
            0,
            "it contradicts the clock that is behind"
        );
        let (shift, (below, above)) = clock.error(&records[2], Duration::ZERO);
        assert_eq!((shift, below - UNIT_NANOS, above - UNIT_NANOS), (0, 9_000_000, 2_000_000));
        let late = record(50, 51, 9_000);
        let known = (9 * MILLISECOND + UNIT_NANOS, 2 * MILLISECOND + UNIT_NANOS);
        assert_eq!(clock.error(&late, Duration::ZERO), (-CLOCK_STEP_NANOS, known));
    }

    #[test]
    fn who_reads_by_a_clock_that_is_set_back_knows_what_the_others_do() {
        let moments = Moments { stepped: Some(at(2_000)), ..Moments::default() };
        let clock = KafkaClock::of(&moments, vec![record(3_000, 3_004, 3_005)]);
        let (by, early) = (Duration::from_secs(1), record(3_100, 2_101, 2_102));
        let known = (4 * MILLISECOND + UNIT_NANOS, MILLISECOND + UNIT_NANOS);
        assert_eq!(clock.error(&early, by), (0, known));
    }

    #[test]
    fn what_is_never_below_zero_has_bounds_that_are_not() {
        let mut timed = Timed::default();
        timed.add_positive(5, (10, 10));
        timed.add_positive(-20, (10, 10));
        timed.add(3, (4, 0));
        timed.sort();
        assert_eq!(timed.low, [-1, 0, 0]);
        assert_eq!((timed.truth, timed.high), (vec![0, 3, 5], vec![0, 3, 15]));
    }
}
