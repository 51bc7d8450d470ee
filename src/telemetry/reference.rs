//! Room `telemetry`: the metric reference, and how many series there can be.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::correlate::{Lane, Qos};

use super::catalogue::{Kind, Label, Metric, buckets};
use super::families::CATALOGUE;
use super::handles::PARTITIONS_MAX;

/// The metric reference as Markdown: every metric, every label and its values, the buckets, and how
/// many series there can be.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from("# Metrics\n\n| name | type | unit | labels | meaning |\n");
    text.push_str("|---|---|---|---|---|\n");
    let mut labels = BTreeSet::<Label>::new();
    for metric in &CATALOGUE {
        let names: Vec<_> = metric.labels.iter().map(|label| label.name()).collect();
        labels.extend(metric.labels);
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit,
            names.join(", "),
            metric.help
        );
    }
    text.push_str("\n## Labels\n\n| label | values |\n|---|---|\n");
    for label in labels {
        let values: Vec<_> = label.values().iter().map(|value| format!("`{value}`")).collect();
        let values = if values.is_empty() { label.bound().to_owned() } else { values.join(", ") };
        let _ = writeln!(text, "| `{}` | {values} |", label.name());
    }
    let bounds: Vec<_> = buckets().iter().map(ToString::to_string).collect();
    let _ = write!(text, "\n## Buckets\n\nSeconds, of every histogram: {}.\n", bounds.join(", "));
    let _ = write!(
        text,
        "\n## Series\n\nA path has at most so many, every bucket counted, every objective set:\n\n\
         | lanes | QoS | series |\n|---|---|---|\n\
         | 1 | 1 | {} |\n| 1 | 3 | {} |\n| {lanes} | {qos} | {} |\n\n\
         Each partition that it reads adds one, {} at most.\n",
        series_of_path(1, 1),
        series_of_path(1, Qos::ALL.len()),
        series_of_path(Lane::ALL.len(), Qos::ALL.len()),
        PARTITIONS_MAX + 1,
        lanes = Lane::ALL.len(),
        qos = Qos::ALL.len(),
    );
    text
}

/// How many series a path can have that measures so many lanes with so many QoS, its partitions left
/// out.
#[must_use]
pub fn series_of_path(lanes: usize, qos: usize) -> usize {
    let values = |label: &Label| match label {
        Label::Path => 1,
        Label::Lane => lanes,
        Label::Qos => qos,
        label => label.values().len(),
    };
    let series = |metric: &Metric| {
        let all: usize = metric.labels.iter().map(values).product();
        // Of a histogram each bucket, the one without a bound, sum and count.
        if metric.kind == Kind::Histogram { all * (buckets().len() + 3) } else { all }
    };
    let of_paths = CATALOGUE.iter().filter(|metric| metric.labels.contains(&Label::Path));
    let counted = of_paths.filter(|metric| !metric.labels.contains(&Label::Partition));
    counted.map(series).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_everything() {
        let text = reference();
        for metric in &CATALOGUE {
            assert!(text.contains(&format!("| `{}` | {}", metric.name, metric.kind.name())));
        }
        assert!(text.contains("`acked_lost`") && text.contains("0.0001, 0.000126"), "{text}");
        assert!(text.contains(&format!("| 3 | 3 | {} |", series_of_path(3, 3))), "{text}");
        let open = CATALOGUE.iter().flat_map(|metric| metric.labels);
        for label in open {
            assert_ne!(label.values().is_empty(), label.bound().is_empty(), "{label:?}");
        }
    }
}
