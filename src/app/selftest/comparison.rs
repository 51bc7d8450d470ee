//! Room `app`: what the fault link says against what the report says, figure by figure.

use std::collections::BTreeMap;
use std::fmt;

use super::timing::Timed;
use super::truth::{Expected, ExpectedLane};
use crate::report::{Durations, LaneReport, PathReport, Stamps, duration};

const NANOS_PER_SECOND: f64 = 1e9;
/// How far a latency may be off, as a share of it.
const SHARE: f64 = 0.01;
/// How much later than Kafka let it go a record may be received on an idle machine: it crosses a
/// socket and three threads, one message after the other where many come at once.
const WAY_SECONDS: f64 = 0.002;
/// How often somebody has to wake for a record between Kafka and its receipt.
const WAKES: f64 = 3.0;
/// How large a share of all messages may be late beyond what the sleeper found, below the longest.
const SPARED: f64 = 0.01;
/// How much earlier a latency may be than Kafka's log has it: the clock is read before.
const EARLY_SECONDS: f64 = 0.000_1;
/// What no link can do: no payload is held against a schema.
const NEVER: &str = "schema_violation";
/// Durations that may be below zero: a timestamp's millisecond begins before its append, and clocks differ.
const SIGNED: [&str; 4] = ["service_latency", "create", "append", "fetch"];

/// A side of the report's stamps.
type Side = fn(Stamps) -> u64;
/// The quantiles that are compared.
const QUANTILES: [(&str, f64, Quantile); 4] = [
    ("p50", 0.5, |found| found.p50),
    ("p90", 0.9, |found| found.p90),
    ("p99", 0.99, |found| found.p99),
    ("max", 1.0, |found| found.max),
];

/// A quantile of the report.
type Quantile = fn(Durations) -> Option<f64>;

/// One figure of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Count(u64),
    Seconds(f64),
    /// More than nothing.
    Some,
    /// It is not there.
    None,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Seconds(seconds) => formatter.write_str(&duration(*seconds)),
            Self::Some => formatter.write_str("some"),
            Self::None => formatter.write_str("-"),
        }
    }
}

/// One comparison.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) path: String,
    pub(super) qos: Option<u8>,
    pub(super) name: String,
    pub(super) expected: Figure,
    pub(super) reported: Figure,
    /// From where to where it may be reported, of a duration, in seconds.
    pub(super) allowed: Option<(f64, f64)>,
    /// The duration that it is the count or a quantile of.
    pub(super) duration: Option<&'static str>,
    pub(super) agrees: bool,
}

/// How late the machine woke a sleeper during the run, ascending, in nanoseconds.
#[derive(Debug)]
pub(super) struct Lag(pub(super) Vec<i64>);

impl Lag {
    /// The largest, in seconds.
    pub(super) fn max(&self) -> f64 {
        quantile(&self.0, 1.0).map_or(0.0, seconds)
    }

    /// How late a quantile may be at most. Who receives a message has to be woken for it, and is not
    /// much later than the sleeper was; for the few of whom that is not true, the truth of a rank that is
    /// higher by as many stands. `latencies` ascend.
    fn latest(&self, of: f64, latencies: &[i64]) -> f64 {
        let of = at_most_all(of, latencies.len());
        let higher = quantile(latencies, of + spared(of)).map_or(0.0, seconds);
        higher + self.waking(of).max(SHARE * higher.abs())
    }

    /// How early at least, where both ends of it are moments that somebody is woken for: who tells the
    /// truth may have been late for the first of them. `durations` ascend.
    fn earliest(&self, of: f64, durations: &[i64]) -> f64 {
        let of = at_most_all(of, durations.len());
        let lower = quantile(durations, of - spared(of)).map_or(0.0, seconds);
        lower - (2.0 * self.waking(of)).max(SHARE * lower.abs())
    }

    fn waking(&self, of: f64) -> f64 {
        WAY_SECONDS + WAKES * quantile(&self.0, 1.0 - spared(of)).map_or(0.0, seconds)
    }
}

/// The quantile, or 1 where it is the largest of so few.
#[expect(clippy::cast_precision_loss, reason = "a count of messages")]
fn at_most_all(of: f64, count: usize) -> f64 {
    if (1.0 - of) * (count as f64) < 1.0 { 1.0 } else { of }
}

/// How large a share of all may be late beyond what the sleeper found, of a quantile.
fn spared(of: f64) -> f64 {
    SPARED.min((1.0 - of) / 2.0)
}

/// Every figure of every path, and whether each fault that can be made was made at all.
pub(super) fn compare(expected: &[Expected], reported: &[PathReport], lag: &Lag) -> Vec<Row> {
    let mut rows = Vec::new();
    for expected in expected {
        let reported = reported.iter().find(|path| path.name == expected.path);
        let mut of_path = Rows { path: expected.path, qos: None, made: &mut rows };
        of_path.path(expected, reported, lag);
    }
    let mut made: BTreeMap<&str, u64> = BTreeMap::new();
    for lane in expected.iter().flat_map(|expected| expected.lanes.values()) {
        for (name, count) in lane.outcomes.named().into_iter().chain(lane.anomalies.named()) {
            *made.entry(name).or_default() += count;
        }
        for (name, timed) in lane.stretches.named() {
            *made.entry(name).or_default() += timed.truth.len() as u64;
        }
    }
    for (name, count) in made.into_iter().filter(|(name, _)| *name != NEVER) {
        let mut row = row("all", None, &format!("{name} was provoked"));
        (row.expected, row.reported) = (Figure::Some, Figure::Count(count));
        row.agrees = count > 0;
        rows.push(row);
    }
    rows
}

fn row(path: &str, qos: Option<u8>, name: &str) -> Row {
    let (path, name) = (path.to_owned(), name.to_owned());
    let (expected, reported) = (Figure::None, Figure::None);
    Row { path, qos, name, expected, reported, allowed: None, duration: None, agrees: true }
}

/// The rows of one path as they are made.
struct Rows<'a> {
    path: &'static str,
    qos: Option<u8>,
    made: &'a mut Vec<Row>,
}

impl Rows<'_> {
    fn path(&mut self, expected: &Expected, reported: Option<&PathReport>, lag: &Lag) {
        let of = |figure: fn(&PathReport) -> u64| reported.map(figure);
        self.count("offered", expected.offered, of(|path| path.offered));
        self.count("published", expected.published, of(|path| path.published));
        self.count("acknowledged", expected.acknowledged, of(|path| path.acknowledged));
        self.count("not_sent", expected.not_sent, of(|path| path.not_sent.values().sum()));
        self.count("foreign", expected.foreign, of(|path| path.foreign));
        self.count("overflow", 0, of(|path| path.overflow));
        self.count("missed", 0, of(|path| path.missed));
        self.count("unconfirmed", 0, of(|path| path.unconfirmed));
        for (name, stamps) in [("property", expected.property), ("payload", expected.payload)] {
            let found = reported.and_then(|path| path.stamps.get(name)).copied();
            let sides: [(_, Side); 2] =
                [("survived", |stamps| stamps.survived), ("lost", |stamps| stamps.lost)];
            for (side, of) in sides {
                self.count(&format!("stamps {name} {side}"), of(stamps), found.map(of));
            }
        }
        for (&qos, lane) in &expected.lanes {
            self.qos = Some(qos);
            let lanes = reported.into_iter().flat_map(|path| &path.lanes);
            let reported = lanes.filter(|lane| lane.lane == "mqtt_kafka").find(|it| it.qos == qos);
            self.lane(lane, reported, lag);
        }
        for doubt in &expected.doubts {
            let mut doubtful = row(self.path, None, doubt);
            doubtful.agrees = false;
            self.made.push(doubtful);
        }
    }

    fn lane(&mut self, expected: &ExpectedLane, reported: Option<&LaneReport>, lag: &Lag) {
        let slots = expected.outcomes.sum();
        self.count("slots", slots, reported.map(|lane| lane.slots));
        let outcomes = expected.outcomes.named().into_iter();
        for (place, (name, count)) in outcomes.enumerate() {
            self.count(name, count, reported.map(|lane| lane.outcomes.named()[place].1));
        }
        let anomalies = expected.anomalies.named().into_iter();
        for (place, (name, count)) in anomalies.enumerate() {
            self.count(name, count, reported.map(|lane| lane.anomalies.named()[place].1));
        }
        let depth = reported.map(|lane| lane.reorder_depth_max);
        self.count("reorder_depth_max", expected.reorder_depth_max, depth);
        let found = reported.map(|lane| lane.duplication);
        self.count("duplication messages", expected.doubled, found.map(|found| found.messages));
        let copies_max = found.map(|found| found.copies_max);
        self.count("duplication copies_max", expected.copies_max, copies_max);
        let latencies = &expected.latencies;
        let latest = |of| {
            let expected = quantile(latencies, of).map_or(0.0, seconds);
            (expected - (SHARE * expected.abs()).max(EARLY_SECONDS), lag.latest(of, latencies))
        };
        self.durations("latency", latencies, reported.map(|lane| lane.latency_seconds), latest);
        for (name, timed) in expected.stretches.named() {
            let Timed { low, truth, high } = timed;
            let least = if SIGNED.contains(&name) { f64::MIN } else { 0.0 };
            let allowed =
                |of| (lag.earliest(of, low).max(least), lag.latest(of, high) + lag.waking(of));
            self.durations(name, truth, reported.map(|lane| reported_of(lane, name)), allowed);
        }
    }

    /// Compares the count and the quantiles of what took `truth`, in ascending order; each quantile may
    /// be reported from where to where `allowed` says.
    fn durations(
        &mut self,
        name: &'static str,
        truth: &[i64],
        reported: Option<Durations>,
        allowed: impl Fn(f64) -> (f64, f64),
    ) {
        let begin = self.made.len();
        let count = truth.len() as u64;
        self.count(&format!("{name} count"), count, reported.map(|found| found.count));
        for (quantile_name, of, figure) in QUANTILES {
            let mut row = row(self.path, self.qos, &format!("{name} {quantile_name}"));
            let (expected, reported) =
                (quantile(truth, of).map(seconds), reported.and_then(figure));
            row.expected = expected.map_or(Figure::None, Figure::Seconds);
            row.reported = reported.map_or(Figure::None, Figure::Seconds);
            row.agrees = match (expected, reported) {
                (Some(_), Some(reported)) => {
                    let (from, to) = allowed(of);
                    row.allowed = Some((from, to));
                    (from..=to).contains(&reported)
                }
                (expected, reported) => expected.is_none() && reported.is_none(),
            };
            self.made.push(row);
        }
        for row in self.made.iter_mut().skip(begin) {
            row.duration = Some(name);
        }
    }

    fn count(&mut self, name: &str, expected: u64, reported: Option<u64>) {
        let mut row = row(self.path, self.qos, name);
        row.expected = Figure::Count(expected);
        row.reported = reported.map_or(Figure::None, Figure::Count);
        row.agrees = reported == Some(expected);
        self.made.push(row);
    }
}

/// What a lane reports of a duration.
fn reported_of(lane: &LaneReport, name: &str) -> Durations {
    let legs = lane.legs.named().into_iter();
    let others = [
        ("service_latency", lane.service_latency_seconds),
        ("durability_gap", lane.durability_gap_seconds),
        ("duplication spread", lane.duplication.spread_seconds),
    ];
    let of = legs.chain(others).find(|&(other, _)| other == name);
    of.map(|(_, durations)| durations).unwrap_or_default()
}

/// The nearest-rank quantile of values that ascend.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a quantile is in 0..=1, and a rank within its count"
)]
fn quantile(values: &[i64], of: f64) -> Option<i64> {
    let rank = (of * values.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    values.get(rank - 1).copied()
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds needs no 53 bits")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::selftest::sabotage;
    use crate::app::selftest::timing::Stretches;
    use crate::report::{Anomalies, Duplication, Legs, Outcomes};

    const MILLISECOND: i64 = 1_000_000;

    /// A hundred messages that took 1 to 100 ms, and everything else that there is to expect.
    fn expected() -> Expected {
        let outcomes = Outcomes { delivered: 100, acked_lost: 3, ..Outcomes::default() };
        let anomalies = Anomalies { duplicate: 2, ..Anomalies::default() };
        let latencies = (1..=100).map(|millis| millis * MILLISECOND).collect();
        // Every duration beside it is that of its own message, give or take 5 ms.
        let mut stretches = Stretches::default();
        for nanos in (1..=100).map(|millis| millis * MILLISECOND) {
            for timed in stretches.all_mut() {
                timed.add(nanos, (5 * MILLISECOND, 5 * MILLISECOND));
            }
        }
        stretches.sort();
        let (doubled, copies_max) = (2, 2);
        let lane = ExpectedLane {
            outcomes,
            anomalies,
            reorder_depth_max: 4,
            latencies,
            stretches,
            doubled,
            copies_max,
        };
        Expected {
            path: "clean",
            offered: 103,
            published: 103,
            property: Stamps { survived: 100, lost: 0 },
            payload: Stamps { survived: 100, lost: 0 },
            lanes: BTreeMap::from([(1, lane)]),
            ..Expected::default()
        }
    }

    /// The report that says so.
    fn reported() -> PathReport {
        let expected = expected();
        let lane = &expected.lanes[&1];
        let of = |of| quantile(&lane.latencies, of).map(seconds);
        let latency_seconds = Durations {
            p50: of(0.5),
            p90: of(0.9),
            p99: of(0.99),
            max: of(1.0),
            count: 100,
            ..Durations::default()
        };
        let lane = LaneReport {
            lane: "mqtt_kafka".to_owned(),
            qos: 1,
            slots: 103,
            outcomes: lane.outcomes,
            anomalies: lane.anomalies,
            reorder_depth_max: 4,
            latency_seconds,
            service_latency_seconds: latency_seconds,
            durability_gap_seconds: latency_seconds,
            legs: Legs {
                publish_delay: latency_seconds,
                publish_rec: latency_seconds,
                publish_ack: latency_seconds,
                create: latency_seconds,
                append: latency_seconds,
                fetch: latency_seconds,
            },
            duplication: Duplication {
                messages: 2,
                copies_max: 2,
                spread_seconds: latency_seconds,
            },
            ..LaneReport::default()
        };
        PathReport {
            name: "clean".to_owned(),
            published: 103,
            offered: 103,
            stamps: ["property", "payload"]
                .map(|name| (name.to_owned(), Stamps { survived: 100, lost: 0 }))
                .into(),
            lanes: vec![lane],
            ..PathReport::default()
        }
    }

    /// Names of the figures of the path that differ.
    fn differing(change: impl FnOnce(&mut PathReport)) -> Vec<String> {
        let mut reported = reported();
        change(&mut reported);
        let rows = compare(&[expected()], &[reported], &Lag(vec![0; 100]));
        let differing = rows.into_iter().filter(|row| !row.agrees && row.path == "clean");
        differing.map(|row| row.name).collect()
    }

    #[test]
    fn a_report_that_says_the_same_agrees() {
        assert_eq!(differing(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn every_counter_of_a_lane_is_compared() {
        for counter in sabotage::names() {
            let found = differing(|path| {
                let lane = &mut path.lanes[0];
                let raise = |totals: serde_json::Value| {
                    let mut totals = totals;
                    if let Some(count) = totals.get(counter).and_then(serde_json::Value::as_u64) {
                        totals[counter] = (count + 1).into();
                    }
                    totals
                };
                let outcomes = raise(serde_json::to_value(lane.outcomes).unwrap());
                lane.outcomes = serde_json::from_value(outcomes).unwrap();
                let anomalies = raise(serde_json::to_value(lane.anomalies).unwrap());
                lane.anomalies = serde_json::from_value(anomalies).unwrap();
            });
            assert_eq!(found, [counter]);
        }
    }

    #[test]
    fn counters_of_a_path_and_what_is_missing_are_compared() {
        assert_eq!(differing(|path| path.offered += 1), ["offered"]);
        assert_eq!(differing(|path| path.published -= 1), ["published"]);
        assert_eq!(differing(|path| path.acknowledged += 1), ["acknowledged"]);
        assert_eq!(differing(|path| path.foreign += 1), ["foreign"]);
        assert_eq!(differing(|path| path.overflow += 1), ["overflow"]);
        assert_eq!(differing(|path| path.missed += 1), ["missed"]);
        assert_eq!(differing(|path| path.unconfirmed += 1), ["unconfirmed"]);
        let not_sent = |path: &mut PathReport| path.not_sent = [("stopped".to_owned(), 1)].into();
        assert_eq!(differing(not_sent), ["not_sent"]);
        let lost = |path: &mut PathReport| path.stamps.get_mut("payload").unwrap().lost += 1;
        assert_eq!(differing(lost), ["stamps payload lost"]);
        let missing = differing(|path| path.lanes.clear());
        assert!(missing.contains(&"delivered".to_owned()), "{missing:?}");
        assert!(missing.contains(&"latency p50".to_owned()), "{missing:?}");
    }

    #[test]
    fn a_latency_is_neither_early_nor_later_than_it_takes_to_wake() {
        let with = |p50: f64| differing(|path| path.lanes[0].latency_seconds.p50 = Some(p50));
        // The truth is 50 ms, and 51 ms stands for who is late beyond the sleeper.
        assert!(with(0.0495).is_empty() && with(0.0529).is_empty());
        assert_eq!(with(0.0494), ["latency p50"]);
        assert_eq!(with(0.0531), ["latency p50"]);
        let with = |max: f64| differing(|path| path.lanes[0].latency_seconds.max = Some(max));
        assert!(with(0.1019).is_empty());
        assert_eq!(with(0.1021), ["latency max"]);
    }

    #[test]
    fn every_duration_is_compared() {
        let spoilt = |spoil: fn(&mut Durations)| {
            differing(|path| {
                let lane = &mut path.lanes[0];
                let Legs { publish_delay, publish_rec, publish_ack, create, append, fetch } =
                    &mut lane.legs;
                for it in [publish_delay, publish_rec, publish_ack, create, append, fetch] {
                    spoil(it);
                }
                spoil(&mut lane.service_latency_seconds);
                spoil(&mut lane.durability_gap_seconds);
                spoil(&mut lane.duplication.spread_seconds);
            })
        };
        let names = Stretches::default().named().map(|(name, _)| name);
        let all = |figure: &str| names.map(|name| format!("{name} {figure}"));
        assert_eq!(spoilt(|it| it.count += 1), all("count"));
        // Of 50 ms: a rank, 5 ms that it is right to, and 2 ms for waking at both ends.
        assert_eq!(spoilt(|it| it.p50 = Some(0.0401)), [""; 0]);
        assert_eq!(spoilt(|it| it.p50 = Some(0.0399)), all("p50"));
        assert_eq!(spoilt(|it| it.p50 = Some(0.0599)), [""; 0]);
        assert_eq!(spoilt(|it| it.p50 = Some(0.0601)), all("p50"));
        assert_eq!(spoilt(|it| it.max = None), all("max"));
        let messages = differing(|path| path.lanes[0].duplication.messages += 1);
        assert_eq!(messages, ["duplication messages"]);
        let copies = differing(|path| path.lanes[0].duplication.copies_max += 1);
        assert_eq!(copies, ["duplication copies_max"]);
    }

    #[test]
    fn a_machine_that_wakes_late_is_allowed_for() {
        let mut wakes = vec![0; 990];
        wakes.extend([MILLISECOND; 10]);
        let lag = Lag(wakes);
        let latencies = [50 * MILLISECOND; 100];
        let allowed = |of| lag.latest(of, &latencies) - 0.05;
        assert!((0.05 - lag.earliest(0.99, &latencies) - 0.01).abs() < 1e-9);
        assert!((allowed(0.5) - 0.002).abs() < 1e-9, "the late ones are spared");
        assert!((allowed(0.99) - 0.005).abs() < 1e-9, "{}", allowed(0.99));
        assert!((allowed(1.0) - 0.005).abs() < 1e-9);
    }

    #[test]
    fn a_fault_that_did_not_happen_is_no_success() {
        let rows = compare(&[expected()], &[reported()], &Lag(Vec::new()));
        let made = |name: &str| rows.iter().find(|row| row.name == name).unwrap().agrees;
        assert!(made("acked_lost was provoked") && !made("late was provoked"));
        assert!(made("durability_gap was provoked"));
        assert!(!rows.iter().any(|row| row.name.starts_with("schema_violation was")));
    }
}
