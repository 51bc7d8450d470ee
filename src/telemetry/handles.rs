//! Room `telemetry`: the series of a roster, prepared once, found by index.

use std::sync::OnceLock;

use metrics::{Counter, Histogram, Key, Level, Metadata, Recorder, Unit};

use crate::correlate::{Carrier, DuplicateCause, Lane, Leg, Outcome, Path, Qos};
use crate::stats::InvalidCause;

use super::catalogue::{Kind, Metric, STAMP_OUTCOMES};
use super::families::{
    ACKNOWLEDGED, CATALOGUE, CONSUMED, CORRUPT, DUPLICATES, DURABILITY_GAP, END_TO_END, FOREIGN,
    INVALID_WINDOWS, LATE_RECOVERIES, LEG, NEGATIVE, OFFERED, PUBLISHED, REORDERED, SLOTS, STAMPS,
};

/// Partitions a path that have a series of their own.
pub(super) const PARTITIONS_MAX: usize = 1_024;

/// Registers series as the catalogue declares them.
#[derive(Clone, Copy)]
pub(super) struct Registrar<'a> {
    recorder: &'a dyn Recorder,
}

impl<'a> Registrar<'a> {
    /// Describes the whole catalogue to a recorder.
    pub(super) fn new(recorder: &'a dyn Recorder) -> Self {
        for metric in &CATALOGUE {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, Some(Unit::Count), help),
                Kind::Histogram => recorder.describe_histogram(name, Some(Unit::Seconds), help),
                Kind::Gauge | Kind::FloatCounter => {}
            }
        }
        Self { recorder }
    }

    /// A counter, at zero from now on.
    pub(super) fn counter(self, metric: &Metric, labels: &[&str]) -> Counter {
        counter(self.recorder, metric, labels)
    }

    /// A histogram, empty from now on.
    pub(super) fn histogram(self, metric: &Metric, labels: &[&str]) -> Histogram {
        self.recorder.register_histogram(&key(metric, labels), &METADATA)
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A counter of a recorder that has been described already.
pub(super) fn counter(recorder: &dyn Recorder, metric: &Metric, labels: &[&str]) -> Counter {
    recorder.register_counter(&key(metric, labels), &METADATA)
}

/// The recorder takes a backslash in a value for the beginning of an escape that is already there,
/// and so writes different values alike. Doubled, every backslash comes out as one.
fn key(metric: &Metric, values: &[&str]) -> Key {
    let labels = metric.labels.iter().zip(values);
    let labels = labels
        .map(|(label, value)| metrics::Label::new(label.name(), value.replace('\\', "\\\\")))
        .collect::<Vec<_>>();
    Key::from_parts(metric.name, labels)
}

/// The series of a path and QoS.
pub(super) struct GroupHandles {
    pub(super) offered: Counter,
    pub(super) published: Counter,
    pub(super) acknowledged: Counter,
    pub(super) legs: [Histogram; Leg::ALL.len()],
    pub(super) durability_gap: Histogram,
    pub(super) duplicates: [Counter; DuplicateCause::ALL.len()],
    pub(super) reordered: Counter,
    pub(super) corrupt: Counter,
    pub(super) negative: Counter,
    pub(super) lanes: [LaneHandles; Lane::ALL.len()],
}

/// The series of a path, QoS and lane.
pub(super) struct LaneHandles {
    pub(super) end_to_end: Histogram,
    pub(super) slots: [Counter; Outcome::ALL.len()],
    pub(super) recoveries: [Counter; Outcome::ALL.len()],
}

/// The series of a path.
pub(super) struct PathHandles {
    pub(super) name: String,
    pub(super) stamps: [[Counter; 2]; Carrier::ALL.len()],
    pub(super) foreign: Counter,
    pub(super) invalid_windows: [Counter; InvalidCause::ALL.len()],
    pub(super) partitions: Box<[OnceLock<PartitionHandle>]>,
    pub(super) other_partitions: Counter,
}

/// A partition that is consumed.
pub(super) struct PartitionHandle {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) consumed: Counter,
}

impl GroupHandles {
    /// The series of a QoS that a path measures; those of a QoS that it does not are nowhere.
    pub(super) fn new(registrar: Registrar<'_>, path: &Path, qos: Qos) -> Self {
        let measured = path.qos.contains(&qos);
        let labels = [path.name.as_str(), qos.label()];
        let counter = |metric: &Metric| {
            if measured { registrar.counter(metric, &labels) } else { Counter::noop() }
        };
        Self {
            offered: counter(&OFFERED),
            published: counter(&PUBLISHED),
            acknowledged: counter(&ACKNOWLEDGED),
            legs: Leg::ALL.map(|leg| {
                let possible = match leg {
                    Leg::PublishDelay | Leg::PublishAck => true,
                    Leg::PublishRec => qos == Qos::ExactlyOnce,
                    Leg::Create | Leg::Append | Leg::Fetch => path.lanes.contains(&Lane::MqttKafka),
                };
                if measured && possible {
                    registrar.histogram(&LEG, &[labels[0], labels[1], leg.name()])
                } else {
                    Histogram::noop()
                }
            }),
            durability_gap: if measured
                && qos != Qos::AtMostOnce
                && path.lanes.contains(&Lane::MqttKafka)
            {
                registrar.histogram(&DURABILITY_GAP, &labels)
            } else {
                Histogram::noop()
            },
            duplicates: DuplicateCause::ALL.map(|cause| {
                if measured {
                    registrar.counter(&DUPLICATES, &[labels[0], labels[1], cause.name()])
                } else {
                    Counter::noop()
                }
            }),
            reordered: counter(&REORDERED),
            corrupt: counter(&CORRUPT),
            negative: counter(&NEGATIVE),
            lanes: Lane::ALL.map(|lane| {
                let measured = measured && path.lanes.contains(&lane);
                LaneHandles::new(measured.then_some(registrar), &path.name, lane, qos)
            }),
        }
    }
}

impl LaneHandles {
    fn new(registrar: Option<Registrar<'_>>, path: &str, lane: Lane, qos: Qos) -> Self {
        let labels = [path, lane.name(), qos.label()];
        let outcomes = |metric: &Metric| {
            Outcome::ALL.map(|outcome| {
                let labels = [labels[0], labels[1], labels[2], outcome.name()];
                registrar.map_or_else(Counter::noop, |registrar| registrar.counter(metric, &labels))
            })
        };
        Self {
            end_to_end: registrar.map_or_else(Histogram::noop, |registrar| {
                registrar.histogram(&END_TO_END, &labels)
            }),
            slots: outcomes(&SLOTS),
            recoveries: outcomes(&LATE_RECOVERIES),
        }
    }
}

impl PathHandles {
    pub(super) fn new(registrar: Registrar<'_>, path: &Path) -> Self {
        let name = path.name.as_str();
        let kafka = path.lanes.contains(&Lane::MqttKafka);
        Self {
            stamps: Carrier::ALL.map(|carrier| {
                STAMP_OUTCOMES.map(|outcome| {
                    if path.carriers.contains(&carrier) {
                        registrar.counter(&STAMPS, &[name, carrier.name(), outcome])
                    } else {
                        Counter::noop()
                    }
                })
            }),
            foreign: registrar.counter(&FOREIGN, &[name]),
            invalid_windows: InvalidCause::ALL
                .map(|cause| registrar.counter(&INVALID_WINDOWS, &[name, cause.name()])),
            partitions: (0..if kafka { PARTITIONS_MAX } else { 0 })
                .map(|_| OnceLock::new())
                .collect(),
            other_partitions: if kafka {
                registrar.counter(&CONSUMED, &[name, "other"])
            } else {
                Counter::noop()
            },
            name: path.name.clone(),
        }
    }

    /// Counts a first arrival by whether a carrier brought its stamp.
    pub(super) fn stamped(&self, carrier: Carrier, survived: bool) {
        self.stamps[carrier.index()][usize::from(!survived)].increment(1);
    }

    /// Counts a record of ours out of a partition.
    pub(super) fn consumed(&self, partition: u32) {
        let named = self.partitions.get(partition as usize).and_then(OnceLock::get);
        named.map_or(&self.other_partitions, |named| &named.consumed).increment(1);
    }
}
