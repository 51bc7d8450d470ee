//! Room `telemetry`: what a metric is, its labels and buckets.

use crate::correlate::{
    Bystander, Carrier, DuplicateCause, Lane, LateSend, Leg, NotSent, Outcome, Qos,
};
use crate::stats::{InvalidCause, Objective, QUANTILES};

use super::figures::Resource;
use super::health::Component;

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts whole things; never falls.
    Counter,
    /// Adds up a quantity with fractions; never falls.
    FloatCounter,
    /// Goes up and down; absent while there is no value.
    Gauge,
    /// A distribution over [`buckets`].
    Histogram,
}

impl Kind {
    /// The type in the exposition and the reference.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter | Self::FloatCounter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label and with it the values that it can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Name of a configured path.
    Path,
    /// What is timed.
    Lane,
    /// MQTT QoS.
    Qos,
    /// A stretch of a message's way.
    Leg,
    /// A part of making a connection.
    ConnectLeg,
    /// How a load goes.
    Mode,
    /// Why a slot was not sent.
    SkipCause,
    /// What a message waited for that was sent late.
    LateCause,
    /// What became of a slot.
    Outcome,
    /// Whether a stamp came through.
    StampOutcome,
    /// Why a message came out again.
    DuplicateCause,
    /// Why a window is not valid.
    InvalidCause,
    /// Why something was dropped.
    DropCause,
    /// A quantile of the last windows.
    Quantile,
    /// What a path is held to.
    Slo,
    /// What a client does that measures nothing.
    Bystander,
    /// How a stamp travels.
    Carrier,
    /// Topic and partition.
    Partition,
    /// Whose figure: the machine's or the control group's.
    Scope,
    /// What there is pressure on.
    Resource,
    /// Name of a watched process.
    Process,
    /// A Kafka broker that leads partitions.
    Peer,
    /// A system that is talked to.
    Component,
    /// What is exported to.
    Exporter,
    /// The part of the probe that dropped something.
    DroppedBy,
    /// Version of landfall.
    Version,
    /// Commit that landfall was built from.
    Commit,
}

impl Label {
    /// The name in the exposition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Lane => "lane",
            Self::Qos => "qos",
            Self::Leg | Self::ConnectLeg => "leg",
            Self::Outcome | Self::StampOutcome => "outcome",
            Self::DuplicateCause
            | Self::InvalidCause
            | Self::DropCause
            | Self::SkipCause
            | Self::LateCause => "cause",
            Self::Mode => "mode",
            Self::Quantile => "quantile",
            Self::Slo => "slo",
            Self::Bystander => "kind",
            Self::Carrier => "carrier",
            Self::Partition => "partition",
            Self::Scope => "scope",
            Self::Resource => "resource",
            Self::Process => "process",
            Self::Peer => "peer",
            Self::Component | Self::Exporter | Self::DroppedBy => "component",
            Self::Version => "version",
            Self::Commit => "commit",
        }
    }

    /// Every value the label can take; empty where names decide that come from outside.
    #[must_use]
    pub fn values(self) -> Vec<String> {
        fn all<T: Copy>(values: &[T], name: impl Fn(T) -> &'static str) -> Vec<String> {
            values.iter().map(|&value| name(value).to_owned()).collect()
        }
        match self {
            Self::Lane => all(&Lane::ALL, Lane::name),
            Self::Qos => all(&Qos::ALL, Qos::label),
            Self::Leg => all(&Leg::ALL, Leg::name),
            Self::ConnectLeg => all(&CONNECT_LEGS, |name| name),
            Self::Mode => all(&MODES, |name| name),
            Self::SkipCause => all(&NotSent::ALL, NotSent::name),
            Self::LateCause => all(&LateSend::ALL, LateSend::name),
            Self::Outcome => all(&Outcome::ALL, Outcome::name),
            Self::StampOutcome => all(&STAMP_OUTCOMES, |name| name),
            Self::DuplicateCause => all(&DuplicateCause::ALL, DuplicateCause::name),
            Self::InvalidCause => all(&InvalidCause::ALL, InvalidCause::name),
            Self::Quantile => QUANTILES.iter().map(ToString::to_string).collect(),
            Self::Slo => Objective::names().map(str::to_owned).collect(),
            Self::Bystander => all(&Bystander::ALL, Bystander::name),
            Self::Carrier => all(&Carrier::ALL, Carrier::name),
            Self::Scope => all(&SCOPES, |name| name),
            Self::Resource => all(&Resource::ALL, Resource::name),
            Self::Component => all(&Component::ALL, Component::name),
            Self::Exporter => vec![Component::Otlp.name().to_owned()],
            Self::Path
            | Self::Partition
            | Self::Process
            | Self::Peer
            | Self::DroppedBy
            | Self::DropCause
            | Self::Version
            | Self::Commit => Vec::new(),
        }
    }

    /// What bounds a label whose values come from outside.
    pub(super) const fn bound(self) -> &'static str {
        match self {
            Self::Path => "name of a configured path, at most 128",
            Self::Partition => {
                "topic and partition, as in `mqtt-messages-0`; at most 1024 a path, the rest as `other`"
            }
            Self::Process => "name of a configured process, and `self`; at most 256",
            Self::Peer => "host:port of a Kafka broker that leads partitions; at most 64",
            Self::DroppedBy => "part of the probe",
            Self::DropCause => "fixed by that part",
            Self::Version | Self::Commit => "of this binary",
            _ => "",
        }
    }
}

/// Values of [`Label::StampOutcome`]: came through, and did not.
pub(super) const STAMP_OUTCOMES: [&str; 2] = ["survived", "lost"];
/// Values of [`Label::ConnectLeg`].
pub(super) const CONNECT_LEGS: [&str; 3] = ["tcp", "tls", "connack"];
/// Values of [`Label::Mode`].
pub(super) const MODES: [&str; 2] = ["open", "closed"];
/// Values of [`Label::Scope`].
pub(super) const SCOPES: [&str; 2] = ["host", "cgroup"];

/// One metric: a name and everything that is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name in the exposition.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The unit, as a UCUM code (`s`, `By`, `1`, `{message}`).
    pub unit: &'static str,
    /// Its labels, in the order in which their values are given.
    pub labels: &'static [Label],
    /// What it says.
    pub help: &'static str,
}

/// The ten steps of a decade in hundredths, 10^(i/10) to three digits. A list and not a formula:
/// powers are rounded differently by different machines, and buckets add up only when their bounds
/// are the same to the last digit.
const STEPS: [u32; 10] = [100, 126, 158, 200, 251, 316, 398, 501, 631, 794];
/// Microseconds of the longest bucket.
const LONGEST_MICROS: u32 = 60_000_000;

/// Upper bounds of every histogram's buckets in seconds: 10 a decade from 100 us to 60 s.
#[must_use]
pub fn buckets() -> Vec<f64> {
    let decades = (0..6).map(|decade| 10_u32.pow(decade));
    let micros = decades.flat_map(|decade| STEPS.map(|step| step * decade));
    let shorter = micros.take_while(|&micros| micros < LONGEST_MICROS);
    shorter.chain([LONGEST_MICROS]).map(|micros| f64::from(micros) / 1e6).collect()
}

#[cfg(test)]
mod tests {
    use super::super::families::CATALOGUE;
    use super::*;

    #[test]
    fn buckets_are_ten_a_decade_from_100_us_to_60_s() {
        let buckets = buckets();
        assert_eq!(buckets.first(), Some(&0.0001));
        assert_eq!(buckets.last(), Some(&60.0));
        assert_eq!(buckets.len(), 5 * 10 + 8 + 1);
        for (bound, step) in buckets[..buckets.len() - 1].iter().zip(0_u8..) {
            let exact = 1e-4 * 10_f64.powf(f64::from(step) / 10.0);
            assert!((bound / exact - 1.0).abs() < 0.005, "{bound} for {exact}");
        }
        assert!(buckets.iter().all(|bound| bound.to_string().len() <= 8), "{buckets:?}");
    }

    #[test]
    fn the_catalogue_follows_the_naming_rules() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len(), "a name twice");
        for metric in &CATALOGUE {
            let Metric { name, kind, unit, .. } = metric;
            assert!(name.starts_with("landfall_"), "{name}");
            let counter = matches!(kind, Kind::Counter | Kind::FloatCounter);
            assert_eq!(name.ends_with("_total"), counter, "{name}");
            let base = name.trim_end_matches("_total");
            assert_eq!(base.ends_with("_seconds"), *unit == "s", "{name}");
            assert_eq!(base.ends_with("_bytes"), *unit == "By", "{name}");
            let mut labels: Vec<_> = metric.labels.iter().map(|label| label.name()).collect();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), metric.labels.len(), "{name}: a label twice");
            assert!(!metric.help.contains('|'), "{name}: would break the table");
        }
    }
}
