//! Test support: what a run said of its messages, beside what is true of them.

use serde_json::Value;

use super::Truth;
use super::quantile::at;

/// Names in the report, and what share of the messages stay within.
const QUANTILES: [(&str, &str, f64); 3] =
    [("p50", "p50", 0.5), ("p99", "p99", 0.99), ("p99.9", "p999", 0.999)];
/// A reported quantile is right to 0.1 % or 64 ns of what was recorded.
const RESOLUTION: (f64, f64) = (0.001, 64.0);
/// A reported quantile may be so far from the truth, 1 % or 100 us, and p99.9 as far as the report says
/// that it is uncertain.
const BOUND: (f64, f64) = (0.01, 100_000.0);

/// One quantile, in nanoseconds.
pub(crate) struct Quantile {
    /// Such as `p99.9`.
    pub(crate) name: &'static str,
    /// Of the logged releases.
    pub(crate) truth: f64,
    /// As the report has it.
    pub(crate) reported: f64,
    /// Of the latencies in the file of slots.
    pub(crate) of_slots: f64,
    /// How far the two may be apart.
    pub(crate) bound: f64,
}

impl Quantile {
    /// Reported minus true.
    pub(crate) fn off(&self) -> f64 {
        self.reported - self.truth
    }

    /// Whether the two are close enough.
    pub(crate) fn is_within_bound(&self) -> bool {
        self.off().abs() <= self.bound
    }

    /// Whether the report is right about what landfall recorded. No machine is slow enough to excuse
    /// it otherwise.
    pub(crate) fn is_of_its_slots(&self) -> bool {
        (self.reported - self.of_slots).abs() <= larger(RESOLUTION, self.of_slots)
    }
}

fn larger((share, least): (f64, f64), of: f64) -> f64 {
    (of.abs() * share).max(least)
}

/// A run beside the truth.
pub(crate) struct Compared {
    /// Messages that came out.
    pub(crate) messages: usize,
    /// Slots that did not come out.
    pub(crate) others: Vec<String>,
    /// Records of Kafka that no slot which came out stands for.
    pub(crate) untold: usize,
    /// The quantiles of end-to-end latency.
    pub(crate) quantiles: Vec<Quantile>,
    /// The uncertainty that the report states, in seconds, where it does.
    pub(crate) uncertainty: Option<f64>,
    /// Reported minus true latency of each message, in nanoseconds, ascending.
    pub(crate) differences: Vec<i64>,
    /// How late the machine woke an idle thread, in nanoseconds, ascending.
    pub(crate) lateness: Vec<i64>,
}

/// Holds the file of slots and the report of a run against the truth.
pub(crate) fn compare(slots: &str, report: &Value, truth: Truth) -> Compared {
    let Truth { mut released, lateness } = truth;
    let mut lines = slots.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| header.iter().position(|of| *of == name).unwrap();
    let columns = ["trace_id", "outcome", "intended_ns", "latency_ns"].map(column);
    let (mut truths, mut latencies) = (Vec::new(), Vec::new());
    let (mut differences, mut others) = (Vec::new(), Vec::new());
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, outcome, intended, latency] = columns.map(|column| fields[column]);
        if !matches!(outcome, "delivered" | "late") {
            others.push(line.to_owned());
            continue;
        }
        let release = released.remove(&u128::from_str_radix(id, 16).unwrap());
        let release = release.unwrap_or_else(|| panic!("Kafka never let go of what came: {line}"));
        let intended: u64 = intended.parse().unwrap();
        let latency: i64 = latency.parse().unwrap();
        let truth = release.checked_signed_diff(intended).unwrap();
        truths.push(truth);
        latencies.push(latency);
        differences.push(latency - truth);
    }
    for figures in [&mut truths, &mut latencies, &mut differences] {
        figures.sort_unstable();
    }
    let lane = &report["paths"][0]["lanes"][0];
    assert_eq!(lane["latency_seconds"]["count"], latencies.len(), "{lane}");
    let uncertainty = lane["latency_seconds"]["uncertainty_seconds"].as_f64();
    let quantiles = QUANTILES.map(|(name, field, share)| {
        let truth = at(&truths, share);
        let bound = larger(BOUND, truth);
        // Few messages decide on the last one.
        let stated = uncertainty.filter(|_| share > 0.99).map_or(0.0, |seconds| seconds * 1e9);
        Quantile {
            name,
            truth,
            reported: lane["latency_seconds"][field].as_f64().unwrap() * 1e9,
            of_slots: at(&latencies, share),
            bound: bound.max(stated),
        }
    });
    Compared {
        messages: latencies.len(),
        others,
        untold: released.len(),
        quantiles: quantiles.into(),
        uncertainty,
        differences,
        lateness,
    }
}
