//! Room `telemetry`: whole counters and histograms, and their text for Prometheus.
//!
//! # Design
//!
//! * A series keeps its labels as they are written, and every bucket bound is written once: a scrape copies
//!   text and puts numbers behind it. With every lane and QoS a path has two thousand lines, so what is
//!   done for a line counts.
//! * A histogram is a counter for each bucket. Recording takes no lock, and there is nothing to tidy up;
//!   its count is the sum of its buckets, so that both always agree.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::board::{escape, heading};
use super::catalogue::{Metric, buckets};
use super::families::CATALOGUE;

/// A recorder whose series come out as text. Clones share them.
#[derive(Clone)]
pub(super) struct Exposition {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
    bounds: Arc<[f64]>,
    /// The bounds as they are written.
    written: Arc<[String]>,
}

/// The series of a metric by their labels, as they are written.
struct Family {
    metric: &'static Metric,
    counters: BTreeMap<String, Arc<AtomicU64>>,
    histograms: BTreeMap<String, Arc<Distribution>>,
}

impl Exposition {
    pub(super) fn new() -> Self {
        let bounds = buckets();
        let written = bounds.iter().map(ToString::to_string).collect();
        Self { families: Arc::default(), bounds: bounds.into(), written }
    }

    /// Appends every series.
    pub(super) fn render(&self, text: &mut String) {
        for (name, family) in &*self.lock() {
            heading(text, family.metric);
            for (labels, count) in &family.counters {
                line(text, (name, ""), labels, count.load(Ordering::Acquire));
            }
            for (labels, distribution) in &family.histograms {
                self.render_distribution(text, name, (labels, distribution));
            }
            text.push('\n');
        }
    }

    fn render_distribution(
        &self,
        text: &mut String,
        name: &str,
        (labels, distribution): (&str, &Distribution),
    ) {
        let sum = f64::from_bits(distribution.sum.load(Ordering::Acquire));
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = self.written.iter().map(String::as_str).chain(["+Inf"]);
        let mut total = 0;
        for (bound, count) in bounds.zip(&distribution.counts) {
            total += count.load(Ordering::Acquire);
            for part in [name, "_bucket{", labels, comma, "le=\"", bound, "\"} "] {
                text.push_str(part);
            }
            number(text, total);
        }
        line(text, (name, "_sum"), labels, sum);
        line(text, (name, "_count"), labels, total);
    }

    /// Does something with the family of a metric; nothing with a name that no metric has.
    fn with<T>(&self, key: &Key, work: impl FnOnce(&mut Family, String) -> T) -> Option<T> {
        let metric = CATALOGUE.iter().find(|metric| metric.name == key.name())?;
        let mut labels = String::new();
        for label in key.labels() {
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = write!(labels, "{comma}{}=\"{}\"", label.key(), escape(label.value()));
        }
        let mut families = self.lock();
        let family = families.entry(metric.name).or_insert_with(|| Family {
            metric,
            counters: BTreeMap::new(),
            histograms: BTreeMap::new(),
        });
        Some(work(family, labels))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sample.
fn line(text: &mut String, (name, suffix): (&str, &str), labels: &str, value: impl Display) {
    text.push_str(name);
    text.push_str(suffix);
    if !labels.is_empty() {
        text.push('{');
        text.push_str(labels);
        text.push('}');
    }
    text.push(' ');
    number(text, value);
}

/// A number, and the end of the line.
fn number(text: &mut String, value: impl Display) {
    // Nothing that is written to a string fails.
    let _ = writeln!(text, "{value}");
}

impl Recorder for Exposition {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let count =
            self.with(key, |family, labels| Arc::clone(family.counters.entry(labels).or_default()));
        count.map_or_else(Counter::noop, Counter::from_arc)
    }

    /// Gauges are on the board.
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let distribution = self.with(key, |family, labels| {
            let empty = || Arc::new(Distribution::new(&self.bounds));
            Arc::clone(family.histograms.entry(labels).or_insert_with(empty))
        });
        distribution.map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

/// The durations of a series.
struct Distribution {
    bounds: Arc<[f64]>,
    /// Of each bucket, and behind them of what is beyond the last; not added up.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

impl Distribution {
    fn new(bounds: &Arc<[f64]>) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds: Arc::clone(bounds), counts, sum: AtomicU64::new(0_f64.to_bits()) }
    }
}

impl HistogramFn for Distribution {
    fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Release);
        }
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // Nothing refuses.
        let _ = self.sum.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    }
}

#[cfg(test)]
mod tests {
    use metrics::Level;

    use super::super::families::{END_TO_END, FOREIGN, SCHEDULER_LAG};
    use super::*;

    const METADATA: Metadata<'static> = Metadata::new("", Level::INFO, None);

    fn text(exposition: &Exposition) -> String {
        let mut text = String::new();
        exposition.render(&mut text);
        text
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let exposition = Exposition::new();
        let histogram =
            exposition.register_histogram(&Key::from_name(SCHEDULER_LAG.name), &METADATA);
        for value in [-1.0, 0.0001, 0.000_100_1, 60.0, 60.1] {
            histogram.record(value);
        }
        let text = text(&exposition);
        for line in [
            "_bucket{le=\"0.0001\"} 2\n",
            "_bucket{le=\"0.000126\"} 3\n",
            "_bucket{le=\"60\"} 4\n",
            "_bucket{le=\"+Inf\"} 5\n",
            "_count 5\n",
        ] {
            assert!(text.contains(&format!("landfall_scheduler_lag_seconds{line}")), "{text}");
        }
        assert!(text.contains("_sum 119.100"), "{text}");
    }

    #[test]
    fn the_same_labels_are_the_same_series_and_strangers_are_none() {
        let exposition = Exposition::new();
        let key = |name: &'static str| Key::from_parts(name, &[("path", "a\"b")]);
        exposition.register_counter(&key(FOREIGN.name), &METADATA).increment(2);
        exposition.register_counter(&key(FOREIGN.name), &METADATA).increment(3);
        exposition.register_counter(&key("unheard_of"), &METADATA).increment(1);
        exposition.register_histogram(&key("unheard_of"), &METADATA).record(1.0);
        let expected = format!(
            "# HELP {name} {}\n# TYPE {name} counter\n{name}{{path=\"a\\\"b\"}} 5\n\n",
            FOREIGN.help,
            name = FOREIGN.name
        );
        assert_eq!(text(&exposition), expected);
        exposition.register_histogram(&key(END_TO_END.name), &METADATA);
        assert!(text(&exposition).contains("{path=\"a\\\"b\",le=\"0.0001\"} 0\n"));
    }
}
