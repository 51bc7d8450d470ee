//! Room `config` (wiring): the standard variables of OpenTelemetry, which win over the file.
//!
//! Those that say what a key of ours says take its place, so that `show` tells where it came from.
//! Those that have no key are remembered here. Headers, time-outs, compression and certificates are
//! the exporter's own affair, and resource attributes the SDK's. A variable that is set to nothing is
//! not set (OpenTelemetry specification, "Environment variable specification").

use std::collections::BTreeMap;

use super::problem::Problems;
use super::tree::{Node, Origin, ScalarKind, Value};
use super::wording::quote;

/// A variable that stands for a key of ours, and how its value is spelled there.
struct Standard {
    variable: &'static str,
    key: &'static [&'static str],
    spell: fn(&str) -> Result<String, String>,
}

const TABLE: [Standard; 4] = [
    Standard {
        variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
        key: &["telemetry", "otlp", "endpoint"],
        spell: as_it_is,
    },
    Standard {
        variable: "OTEL_EXPORTER_OTLP_PROTOCOL",
        key: &["telemetry", "otlp", "protocol"],
        spell: as_it_is,
    },
    Standard {
        variable: "OTEL_METRIC_EXPORT_INTERVAL",
        key: &["telemetry", "otlp", "interval"],
        spell: milliseconds,
    },
    Standard {
        variable: "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        key: &["telemetry", "otlp", "histograms"],
        spell: as_it_is,
    },
];

/// Variables without a key of ours.
const OTHERS: [&str; 10] = [
    DISABLED,
    TEMPORALITY,
    "OTEL_METRICS_EXPORTER",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    SAMPLER,
    SAMPLER_ARGUMENT,
];
const DISABLED: &str = "OTEL_SDK_DISABLED";
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The standard variables that are set.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<&'static str, String>);

impl Variables {
    /// Remembers a variable if it is one of these; whether it is.
    pub(super) fn take(&mut self, name: &str, value: &str) -> bool {
        let mut known = TABLE.iter().map(|entry| entry.variable).chain(OTHERS);
        let known = known.find(|known| *known == name);
        if let Some(known) = known.filter(|_| !value.trim().is_empty()) {
            self.0.insert(known, value.trim().to_owned());
        }
        known.is_some()
    }

    /// A variable's value and where it came from.
    pub(super) fn get(&self, name: &str) -> Option<(&str, Origin)> {
        let (name, value) = self.0.get_key_value(name)?;
        Some((value, Origin::Environment(name)))
    }

    /// Whether everything is turned off.
    pub(super) fn is_disabled(&self) -> bool {
        self.get(DISABLED).is_some_and(|(value, _)| value.eq_ignore_ascii_case("true"))
    }

    /// Puts the variables that stand for keys in the place of what the file says.
    pub(super) fn apply(&self, root: &mut Node, problems: &mut Problems) {
        for Standard { variable, key, spell } in &TABLE {
            if let Some((value, origin)) = self.get(variable) {
                match spell(value) {
                    Ok(text) => root.put(key, Node::text(origin, text)),
                    Err(what) => problems.add(origin, "", what),
                }
            }
        }
        if let Some((temporality, origin)) = self.get(TEMPORALITY)
            && !temporality.eq_ignore_ascii_case("cumulative")
        {
            let what = format!("{} is known but not built yet; unset it", quote(temporality));
            problems.add(origin, "", what);
        }
        if let Some((share, origin)) = self.share(problems) {
            let value = Value::Scalar { kind: ScalarKind::Number, text: share };
            root.put(&["telemetry", "otlp", "traces", "sample"], Node { origin, value });
        }
    }

    /// The share of messages that the sampler asks for.
    fn share(&self, problems: &mut Problems) -> Option<(String, Origin)> {
        let (sampler, origin) = self.get(SAMPLER)?;
        let name = sampler.strip_prefix("parentbased_").unwrap_or(sampler);
        match name {
            "always_on" => Some(("1".to_owned(), origin)),
            "always_off" => Some(("0".to_owned(), origin)),
            "traceidratio" => {
                let argument = self.get(SAMPLER_ARGUMENT);
                Some(argument.map_or(("1".to_owned(), origin), |(share, at)| (share.into(), at)))
            }
            _ => {
                let what = format!(
                    "{} is not a sampler (always_on, always_off or traceidratio)",
                    quote(sampler)
                );
                problems.add(origin, "", what);
                None
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the ways to spell a value, which may fail")]
fn as_it_is(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

fn milliseconds(value: &str) -> Result<String, String> {
    match super::grammar::whole(value) {
        Some(millis) => Ok(format!("{millis}ms")),
        None => Err(format!("{} is not a number of milliseconds", quote(value))),
    }
}
