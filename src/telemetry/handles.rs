//! Room `telemetry`: the series of a roster, prepared once, found by index.

use std::sync::OnceLock;

use metrics::{Counter, Histogram, Key, Level, Metadata, Recorder, Unit};

use crate::correlate::{
    Carrier, DuplicateCause, Lane, LateSend, Leg, NotSent, Outcome, Path, PathId, Publisher, Qos,
    Roster,
};
use crate::stats::{InvalidCause, Objective};

use super::catalogue::{CONNECT_LEGS, Kind, Metric, STAMP_OUTCOMES};
use super::families::{
    ACKNOWLEDGED, CATALOGUE, CONNECT, CONSUMED, CORRUPT, DUPLICATES, DURABILITY_GAP, END_TO_END,
    FOREIGN, INVALID_WINDOWS, LATE_RECOVERIES, LEG, NEGATIVE, OFFERED, PUBLISHED, REORDERED,
    SENT_LATE, SKIPPED, SLOTS, STAMPS,
};
use super::objectives::ObjectiveHandles;

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
    pub(super) skipped: [Counter; NotSent::ALL.len()],
    pub(super) sent_late: [Counter; LateSend::ALL.len()],
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
    end_to_end: Histogram,
    slots: [Counter; Outcome::ALL.len()],
    recoveries: [Counter; Outcome::ALL.len()],
    /// The objectives that its slots count for.
    objectives: Box<[ObjectiveHandles]>,
}

/// The series of a path.
pub(super) struct PathHandles {
    pub(super) name: String,
    pub(super) stamps: [[Counter; 2]; Carrier::ALL.len()],
    pub(super) foreign: Counter,
    pub(super) connects: [Histogram; CONNECT_LEGS.len()],
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

/// Index of the group of each publisher, in the order of [`GroupHandles::of_all`].
pub(super) fn group_of(roster: &Roster) -> Vec<u16> {
    let all = roster.paths().len() * Qos::ALL.len();
    let group = |publisher: &Publisher| {
        let group = usize::from(publisher.path.0) * Qos::ALL.len();
        let group = group + usize::from(publisher.qos.level());
        // There are 128 paths at most.
        u16::try_from(if publisher.control { all + group } else { group }).unwrap_or(u16::MAX)
    };
    roster.publishers().iter().map(group).collect()
}

impl GroupHandles {
    /// The series of each path and QoS of MQTT publishers, and behind all of them those of control
    /// publishers. `objectives` are those of each path.
    pub(super) fn of_all(
        registrar: Registrar<'_>,
        roster: &Roster,
        objectives: &[Vec<ObjectiveHandles>],
    ) -> Vec<Self> {
        let paths = || (0..).map(PathId).zip(objectives).take(roster.paths().len());
        let groups = |control: bool| {
            paths().flat_map(move |(id, objectives)| {
                let path = roster.share(id, control);
                let group = if control { Self::of_control } else { Self::of_mqtt };
                Qos::ALL.map(|qos| group(registrar, path, qos, objectives))
            })
        };
        groups(false).chain(groups(true)).collect()
    }

    /// The series of a QoS that a path measures with its MQTT publishers; those of a QoS that it does
    /// not are nowhere.
    fn of_mqtt(
        registrar: Registrar<'_>,
        path: &Path,
        qos: Qos,
        objectives: &[ObjectiveHandles],
    ) -> Self {
        let measured = path.qos.contains(&qos);
        let labels = [path.name.as_str(), qos.label()];
        let counter = |metric: &Metric| {
            if measured { registrar.counter(metric, &labels) } else { Counter::noop() }
        };
        let counter_of = |metric: &Metric, cause| {
            let labels = [labels[0], labels[1], cause];
            if measured { registrar.counter(metric, &labels) } else { Counter::noop() }
        };
        Self {
            offered: counter(&OFFERED),
            published: counter(&PUBLISHED),
            acknowledged: counter(&ACKNOWLEDGED),
            skipped: NotSent::ALL.map(|cause| counter_of(&SKIPPED, cause.name())),
            sent_late: LateSend::ALL.map(|cause| counter_of(&SENT_LATE, cause.name())),
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
            duplicates: DuplicateCause::ALL.map(|cause| counter_of(&DUPLICATES, cause.name())),
            reordered: counter(&REORDERED),
            corrupt: counter(&CORRUPT),
            negative: counter(&NEGATIVE),
            lanes: LaneHandles::of_all(registrar, path, qos, objectives),
        }
    }

    /// The same of its control publishers: what has no lane does not speak of their messages.
    fn of_control(
        registrar: Registrar<'_>,
        path: &Path,
        qos: Qos,
        objectives: &[ObjectiveHandles],
    ) -> Self {
        let none = Counter::noop;
        Self {
            offered: none(),
            published: none(),
            acknowledged: none(),
            skipped: NotSent::ALL.map(|_| none()),
            sent_late: LateSend::ALL.map(|_| none()),
            legs: Leg::ALL.map(|_| Histogram::noop()),
            durability_gap: Histogram::noop(),
            duplicates: DuplicateCause::ALL.map(|_| none()),
            reordered: none(),
            corrupt: none(),
            negative: none(),
            lanes: LaneHandles::of_all(registrar, path, qos, objectives),
        }
    }
}

impl LaneHandles {
    /// The series of all lanes; those of lanes that are not measured are nowhere.
    fn of_all(
        registrar: Registrar<'_>,
        path: &Path,
        qos: Qos,
        objectives: &[ObjectiveHandles],
    ) -> [Self; Lane::ALL.len()] {
        Lane::ALL.map(|lane| {
            let measured = path.qos.contains(&qos) && path.lanes.contains(&lane);
            let of_lane = objectives.iter().filter(|it| it.objective.covers(lane)).cloned();
            let objectives = if measured { of_lane.collect() } else { Box::default() };
            Self::new(measured.then_some(registrar), &path.name, (lane, qos), objectives)
        })
    }

    fn new(
        registrar: Option<Registrar<'_>>,
        path: &str,
        (lane, qos): (Lane, Qos),
        objectives: Box<[ObjectiveHandles]>,
    ) -> Self {
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
            objectives,
        }
    }

    /// Counts a slot that got its outcome, and its latency where its message came out.
    pub(super) fn resolved(&self, outcome: Outcome, end_to_end: Option<i64>) {
        self.slots[outcome.index()].increment(1);
        self.record(end_to_end);
        self.rate(|objective| objective.rate(outcome, end_to_end));
    }

    /// Counts a message that came out after another outcome had been announced.
    pub(super) fn recovered(&self, was: Outcome, end_to_end: Option<i64>) {
        self.recoveries[was.index()].increment(1);
        self.record(end_to_end);
        self.rate(|objective| objective.rate_recovery(was, end_to_end));
    }

    /// Counts for every objective that it counts for.
    pub(super) fn rate(&self, rated: impl Fn(&Objective) -> Option<bool>) {
        for handles in &self.objectives {
            handles.count(rated(&handles.objective));
        }
    }

    fn record(&self, end_to_end: Option<i64>) {
        if let Some(nanos) = end_to_end {
            self.end_to_end.record(seconds(nanos));
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
            connects: CONNECT_LEGS.map(|leg| registrar.histogram(&CONNECT, &[name, leg])),
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

#[expect(clippy::cast_precision_loss, reason = "exact up to 104 days; durations are shorter")]
pub(super) fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}
