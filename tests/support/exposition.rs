//! Test support: a text of Prometheus' exposition format, taken apart strictly.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::collections::BTreeMap;

use landfall::telemetry::{Kind, Metric, buckets};

/// Names and values.
pub(crate) type Labels = BTreeMap<String, String>;

/// A text of the exposition format, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// Type and help text of each family.
    pub(crate) families: BTreeMap<String, (String, String)>,
    /// Every sample by name and labels.
    pub(crate) samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Parses strictly: anything that a scraper could refuse or misread panics.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut parsed = Self::default();
        let mut help = None;
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(line) = line.strip_prefix("# HELP ") {
                let (name, text) = line.split_once(' ').expect("help text");
                help = Some((name.to_owned(), text.to_owned()));
            } else if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').expect("type");
                let (helped, text) = help.take().expect("HELP before TYPE");
                assert_eq!(helped, name);
                name.clone_into(&mut current);
                let before = parsed.families.insert(current.clone(), (kind.to_owned(), text));
                assert!(before.is_none(), "family {name} twice");
            } else {
                let (name, labels, value) = sample(line);
                let suffixes = ["", "_bucket", "_sum", "_count"];
                let kind = &parsed.families[&current].0;
                let allowed = if kind == "histogram" { &suffixes[1..] } else { &suffixes[..1] };
                let belongs = |suffix| name == format!("{current}{suffix}");
                assert!(allowed.iter().any(belongs), "{name} among the samples of {current}");
                let before = parsed.samples.insert((name, labels), value);
                assert!(before.is_none(), "series twice: {line}");
            }
        }
        parsed.check_histograms();
        parsed
    }

    fn check_histograms(&self) {
        let mut seen: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), &value) in &self.samples {
            let Some(base) = name.strip_suffix("_bucket") else { continue };
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("le").replace("+Inf", "inf");
            let entry = seen.entry((base.to_owned(), labels)).or_default();
            entry.push((bound.parse().expect("bound"), value));
        }
        for ((base, labels), mut counts) in seen {
            counts.sort_by(|a, b| a.0.total_cmp(&b.0));
            let bounds: Vec<_> = counts.iter().map(|&(bound, _)| bound).collect();
            let mut expected = buckets();
            expected.push(f64::INFINITY);
            assert_eq!(bounds, expected, "{base}");
            assert!(counts.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{base}: {counts:?}");
            let count = self.samples[&(format!("{base}_count"), labels.clone())];
            assert_eq!(counts.last().unwrap().1.to_bits(), count.to_bits(), "{base}");
            assert!(self.samples[&(format!("{base}_sum"), labels)].is_finite());
        }
    }

    /// The series of a metric; a histogram's count stands for all of its lines.
    pub(crate) fn series(&self, metric: &Metric) -> Vec<(&Labels, f64)> {
        let suffix = if metric.kind == Kind::Histogram { "_count" } else { "" };
        let name = format!("{}{suffix}", metric.name);
        let samples = self.samples.iter().filter(|((sample, _), _)| *sample == name);
        samples.map(|((_, labels), &value)| (labels, value)).collect()
    }

    /// The value of one sample.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples.get(&(name.to_owned(), owned(labels))).copied()
    }

    /// What changed since `before`, bucket lines left out, as `name{a=b,...} difference`.
    pub(crate) fn since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for ((name, labels), value) in &self.samples {
            let former = before.samples.get(&(name.clone(), labels.clone()));
            let difference = value - former.unwrap_or(&0.0);
            if difference != 0.0 && !name.ends_with("_bucket") {
                let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                changes.push(format!("{name}{{{}}} {difference}", labels.join(",")));
            }
        }
        changes
    }
}

/// Labels with strings of their own.
pub(crate) fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|&(label, value)| (label.to_owned(), value.to_owned())).collect()
}

/// One sample line: `name{label="value",...} number`.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect("end of the name");
    let (name, mut rest) = line.split_at(end);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("label");
            assert!(label.chars().all(word), "{line}");
            let (value, after) = unescape(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "label twice: {line}");
            if let Some(after) = after.strip_prefix(',') {
                rest = after;
            } else {
                rest = after.strip_prefix('}').expect("end of the labels");
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("blank before the value");
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    (name.to_owned(), labels, value)
}

fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.push(match chars.next().expect("escape").1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("unknown escape \\{c} in {text}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no end of the value: {text}")
}
