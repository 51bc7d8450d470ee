//! Room `telemetry`: histograms in the text that Prometheus reads.
//!
//! # Design
//!
//! The exporter's own histogram puts every value on a list, with the time, until somebody comes by to sort
//! them: memory and time for each message, a hundred of them in a row included, that were sent in one write
//! and are equally late. The buckets are fixed, so that what is recorded here is counted at once: a search
//! among them and two additions, for one value or for many that are alike.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// What records durations beside a recorder that has everything else.
pub(super) struct Durations<R> {
    rest: R,
    shelf: Arc<Shelf>,
}

/// The histograms that were registered.
#[derive(Debug)]
pub(super) struct Shelf {
    bounds: Arc<[f64]>,
    families: Mutex<BTreeMap<String, Family>>,
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    /// By their labels, as they are written.
    series: BTreeMap<String, Arc<Distribution>>,
}

/// How many values there were up to each bound, and their sum.
#[derive(Debug)]
struct Distribution {
    bounds: Arc<[f64]>,
    /// Of each bound those above the one before; the last of all beyond.
    counts: Box<[AtomicU64]>,
    /// The bits of a floating point number.
    sum: AtomicU64,
}

impl<R: Recorder> Durations<R> {
    /// Histograms with these upper bounds, ascending, and the counters of `rest`.
    pub(super) fn new(rest: R, bounds: Vec<f64>) -> Self {
        let shelf = Shelf { bounds: bounds.into(), families: Mutex::default() };
        Self { rest, shelf: Arc::new(shelf) }
    }

    pub(super) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }
}

impl<R: Recorder> Recorder for Durations<R> {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.rest.describe_counter(name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.rest.describe_gauge(name, unit, help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.shelf.lock().entry(name.as_str().to_owned()).or_default().help = help.into_owned();
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.rest.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.rest.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut families = self.shelf.lock();
        let series = &mut families.entry(key.name().to_owned()).or_default().series;
        let distribution = series
            .entry(labels(key))
            .or_insert_with(|| Arc::new(Distribution::new(Arc::clone(&self.shelf.bounds))));
        Histogram::from_arc(Arc::clone(distribution))
    }
}

impl Shelf {
    /// Appends the exposition of every histogram.
    pub(super) fn render(&self, text: &mut String) {
        for (name, family) in self.lock().iter().filter(|(_, family)| !family.series.is_empty()) {
            // Help texts are ours: the catalogue has neither backslash nor line break in them.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} histogram", family.help);
            for (labels, distribution) in &family.series {
                distribution.render((name, labels), text);
            }
            text.push('\n');
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Distribution {
    fn new(bounds: Arc<[f64]>) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    fn render(&self, (name, labels): (&str, &str), text: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, counted) in bounds.zip(&self.counts) {
            count += counted.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
        }
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        let _ = writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}");
    }
}

impl HistogramFn for Distribution {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody records 2^53 values at a time")]
    fn record_many(&self, value: f64, count: usize) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket].fetch_add(count as u64, Ordering::Relaxed);
        let added = value * count as f64;
        let add = |bits| Some((f64::from_bits(bits) + added).to_bits());
        // Whatever it is found to be, something is added to it.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// The labels of a series as they stand between braces. In their values every backslash is doubled
/// already.
fn labels(key: &Key) -> String {
    let mut text = String::new();
    for label in key.labels() {
        let value = label.value().replace('"', "\\\"").replace('\n', "\\n");
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{}=\"{value}\"", label.key());
    }
    text
}

#[cfg(test)]
mod tests {
    use metrics::{Label, Level, NoopRecorder};

    use super::*;

    fn recorded(labels: Vec<Label>, values: &[(f64, usize)]) -> String {
        let durations = Durations::new(NoopRecorder, vec![0.001, 0.01]);
        durations.describe_histogram("waits".into(), None, "How long.".into());
        let metadata = Metadata::new("here", Level::INFO, None);
        let key = Key::from_parts("waits", labels);
        for &(value, count) in values {
            // Whoever asks again gets the same.
            durations.register_histogram(&key, &metadata).record_many(value, count);
        }
        let mut text = String::new();
        durations.shelf().render(&mut text);
        text
    }

    #[test]
    fn each_value_is_in_the_first_bucket_that_holds_it() {
        let text = recorded(vec![], &[(-0.5, 1), (0.001, 2), (0.002, 3), (7.0, 1)]);
        assert_eq!(
            text,
            "# HELP waits How long.
# TYPE waits histogram
waits_bucket{le=\"0.001\"} 3
waits_bucket{le=\"0.01\"} 6
waits_bucket{le=\"+Inf\"} 7
waits_sum 6.508
waits_count 7

"
        );
    }

    #[test]
    fn labels_are_escaped() {
        let text = recorded(vec![Label::new("a", "x\"y\\\\z\n"), Label::new("b", "")], &[(1.0, 1)]);
        assert!(text.contains("waits_sum{a=\"x\\\"y\\\\z\\n\",b=\"\"} 1\n"), "{text}");
        assert!(text.contains("{a=\"x\\\"y\\\\z\\n\",b=\"\",le=\"0.01\"} 0\n"), "{text}");
    }
}
