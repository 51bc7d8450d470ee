//! Whether what a Prometheus has is what the report says, and whether both ways to it brought the same.
#![expect(clippy::unwrap_used, reason = "what is not as it must be has to fail the test")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::systems::observers::Prometheus;

/// Slots by lane, QoS and outcome, as the books stand at the end.
pub(crate) type Outcomes = BTreeMap<(String, String, String), u64>;

/// Values by name and labels, without those that tell the two ways apart.
pub(crate) type Series = BTreeMap<(String, Vec<(String, String)>), f64>;

/// How much further apart than a bucket is wide two figures may be that lie in the same one.
const ROUNDED: f64 = 1.001;
/// A bucket is a tenth of a decade wide.
const BUCKET: f64 = 1.258_925_411_794_167_3;

/// The outcomes of a report's first path.
pub(crate) fn of_report(report: &Value) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for lane in report["paths"][0]["lanes"].as_array().unwrap() {
        for (outcome, count) in lane["outcomes"].as_object().unwrap() {
            let name = lane["lane"].as_str().unwrap().to_owned();
            let key = (name, lane["qos"].to_string(), outcome.clone());
            outcomes.insert(key, count.as_u64().unwrap());
        }
    }
    outcomes
}

/// The same from Prometheus, by a metric that has them.
fn counted(prometheus: &Prometheus, metric: &str, instance: &str) -> Outcomes {
    let series = prometheus.query(&format!("{metric}{{instance=\"{instance}\"}}"));
    let outcome = |(labels, value): (BTreeMap<String, String>, f64)| {
        let label = |name: &str| labels[name].clone();
        ((label("lane"), label("qos"), label("outcome")), format!("{value}").parse().unwrap())
    };
    series.into_iter().map(outcome).collect()
}

/// What was announced less what proved wrong, which was late: from the two counters.
pub(crate) fn of_counters(prometheus: &Prometheus, instance: &str) -> Outcomes {
    let mut outcomes = counted(prometheus, "landfall_slots_total", instance);
    for (key, count) in counted(prometheus, "landfall_late_recoveries_total", instance) {
        let late = (key.0.clone(), key.1.clone(), "late".to_owned());
        *outcomes.entry(key).or_default() -= count;
        *outcomes.entry(late).or_default() += count;
    }
    outcomes
}

/// The same from the recording rule that ships.
pub(crate) fn of_rule(prometheus: &Prometheus, instance: &str) -> Outcomes {
    counted(prometheus, "landfall:slots:net", instance)
}

/// Every series of landfall's that came from an instance.
pub(crate) fn series(prometheus: &Prometheus, instance: &str) -> Series {
    let all = prometheus.query(&format!("{{__name__=~\"landfall_.*\",instance=\"{instance}\"}}"));
    let series = |(mut labels, value): (BTreeMap<String, String>, f64)| {
        let name = labels.remove("__name__").unwrap();
        for way in ["instance", "job", "host_name", "os_type"] {
            labels.remove(way);
        }
        ((name, labels.into_iter().collect()), value)
    };
    all.into_iter().map(series).collect()
}

/// What one way has and the other has not, or otherwise. Sums were added up in another order.
pub(crate) fn differences(scraped: &Series, exported: &Series) -> Vec<String> {
    let keys: BTreeSet<_> = scraped.keys().chain(exported.keys()).collect();
    let differs = |key: &&_| match (scraped.get(key), exported.get(key)) {
        (Some(one), Some(other)) => (one - other).abs() > one.abs() * 1e-9,
        _ => true,
    };
    let shown = |key: &_| format!("{key:?}: {:?} {:?}", scraped.get(key), exported.get(key));
    keys.into_iter().filter(differs).map(shown).collect()
}

/// Quantiles of the end-to-end latency: of the report, of the gauge, and from the buckets.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Lane, QoS and quantile.
    pub(crate) of: String,
    /// In seconds, as the others.
    pub(crate) report: f64,
    pub(crate) gauge: Option<f64>,
    pub(crate) buckets: f64,
}

/// Quantiles of a report's first path beside those of Prometheus.
pub(crate) fn quantiles(report: &Value, prometheus: &Prometheus, instance: &str) -> Vec<Compared> {
    let mut compared = Vec::new();
    for lane in report["paths"][0]["lanes"].as_array().unwrap() {
        let (name, qos) = (lane["lane"].as_str().unwrap(), lane["qos"].to_string());
        let of = format!("instance=\"{instance}\",lane=\"{name}\",qos=\"{qos}\"");
        for (key, quantile) in [("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99"), ("p999", "0.999")]
        {
            let report = lane["latency_seconds"][key].as_f64().unwrap();
            let gauge = prometheus.query(&format!(
                "landfall_latency_quantile_seconds{{{of},quantile=\"{quantile}\"}}"
            ));
            let buckets = prometheus.query(&format!(
                "histogram_quantile({quantile}, landfall_end_to_end_latency_seconds_bucket{{{of}}})"
            ));
            compared.push(Compared {
                of: format!("{name} QoS {qos} {key}"),
                report,
                gauge: gauge.first().map(|(_, value)| *value),
                buckets: buckets[0].1,
            });
        }
    }
    compared
}

impl Compared {
    /// Whether the gauge is within 3 % of the report, where it is there.
    pub(crate) fn gauge_agrees(&self) -> bool {
        self.gauge.is_none_or(|gauge| (gauge / self.report - 1.0).abs() <= 0.03)
    }

    /// Whether the figure from buckets is at most a bucket's width from the report's.
    pub(crate) fn buckets_agree(&self) -> bool {
        let ratio = self.buckets / self.report;
        ratio.max(ratio.recip()) <= BUCKET * ROUNDED
    }
}

/// Names of the alerts in a state.
pub(crate) fn alerts(prometheus: &Prometheus, state: &str) -> BTreeSet<String> {
    let alerts = prometheus.query(&format!("ALERTS{{alertstate=\"{state}\"}}"));
    alerts.into_iter().map(|(labels, _)| labels["alertname"].clone()).collect()
}
