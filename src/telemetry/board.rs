//! Room `telemetry`: gauges that can be absent, and counters with fractions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::catalogue::Metric;

/// The slow figures: one value a series, or none.
#[derive(Debug, Default)]
pub(super) struct Board {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

#[derive(Debug)]
struct Family {
    metric: Metric,
    series: BTreeMap<Vec<String>, f64>,
}

impl Board {
    /// Sets one series, or takes it away. The values are those of the metric's labels, in order.
    pub(super) fn set(&self, metric: &Metric, labels: &[&str], value: Option<f64>) {
        let mut families = self.lock();
        let family = families
            .entry(metric.name)
            .or_insert_with(|| Family { metric: *metric, series: BTreeMap::new() });
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        match value.filter(|value| !value.is_nan()) {
            Some(value) => {
                family.series.insert(labels, value);
            }
            None => {
                family.series.remove(&labels);
            }
        }
    }

    /// Takes away every series of a metric that is not to be kept.
    pub(super) fn retain(&self, metric: &Metric, keep: impl Fn(&[String]) -> bool) {
        if let Some(family) = self.lock().get_mut(metric.name) {
            family.series.retain(|labels, _| keep(labels));
        }
    }

    /// Every series of a metric: the values of its labels, in order, and its own.
    pub(super) fn series(&self, metric: &Metric) -> Vec<(Vec<String>, f64)> {
        let families = self.lock();
        let family = families.get(metric.name);
        family.map_or_else(Vec::new, |family| {
            family.series.iter().map(|(labels, value)| (labels.clone(), *value)).collect()
        })
    }

    /// Appends the exposition of every family that has a value.
    pub(super) fn render(&self, text: &mut String) {
        for family in self.lock().values().filter(|family| !family.series.is_empty()) {
            let Metric { name, kind, help, labels, .. } = family.metric;
            // Help texts are ours: the catalogue has neither backslash nor line break in them.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            for (values, value) in &family.series {
                text.push_str(name);
                let mut open = '{';
                for (label, value) in labels.iter().zip(values) {
                    let _ = write!(text, "{open}{}=\"{}\"", label.name(), escape(value));
                    open = ',';
                }
                let close = if labels.is_empty() { "" } else { "}" };
                let _ = writeln!(text, "{close} {value}");
            }
            text.push('\n');
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::families::{BUILD_INFO, PARTITIONS, PROCESS_CPU};
    use super::*;

    #[test]
    fn a_series_comes_and_goes_with_its_value() {
        let board = Board::default();
        let text = || {
            let mut text = String::new();
            board.render(&mut text);
            text
        };
        assert_eq!(text(), "");
        board.set(&PARTITIONS, &["a"], Some(3.0));
        board.set(&PARTITIONS, &["b"], Some(f64::NAN));
        assert!(text().ends_with("gauge\nlandfall_partitions{path=\"a\"} 3\n\n"), "{}", text());
        board.set(&PARTITIONS, &["a"], None);
        assert_eq!(text(), "", "a family without a series says nothing");
        board.set(&PARTITIONS, &["a"], Some(3.0));
        board.retain(&PARTITIONS, |labels| labels[0] != "a");
        assert_eq!(text(), "");
    }

    #[test]
    fn seconds_keep_their_fraction_and_labels_are_escaped() {
        let board = Board::default();
        board.set(&PROCESS_CPU, &["self"], Some(12.25));
        board.set(&BUILD_INFO, &["1\"2\\3\n", ""], Some(1.0));
        let mut text = String::new();
        board.render(&mut text);
        assert!(text.contains(
            "_total counter\nlandfall_process_cpu_seconds_total{process=\"self\"} 12.25\n"
        ));
        assert!(text.contains(r#"{version="1\"2\\3\n",commit=""} 1"#), "{text}");
    }
}
