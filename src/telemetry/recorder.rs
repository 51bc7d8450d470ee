//! Room `telemetry`: events and figures in, exposition out.

mod arrivals;
mod audience;
mod clocks;
mod standing;
mod tally;

use std::sync::Arc;

use metrics::{Counter, Histogram, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;

use crate::correlate::{Event, Lane, Leg, PathId, PublisherId, Roster};
use crate::stats::{InvalidCause, Objective, QUANTILES, Stats};

use super::board::Board;
use super::both::Both;
use super::catalogue::{Metric, buckets};
use super::durations::{Durations, Shelf};
use super::families::{
    BUILD_INFO, CONSUMED, DROPPED, EXPORT_FAILURES, IN_FLIGHT, QUANTILE, RECONNECTS, SCHEDULER_LAG,
    WINDOW_VALID,
};
use super::figures::Build;
use super::handles::{
    GroupHandles, PartitionHandle, PathHandles, Registrar, counter, group_of, seconds,
};
use super::health::Component;
use super::objectives::ObjectiveHandles;
use super::otlp::{Histograms, Identity, Instruments, Meters};
use audience::DeliveryHandles;
use tally::Tally;

/// The metrics of a run. Clones feed the same series.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    recorder: Box<dyn Recorder + Send + Sync>,
    prometheus: PrometheusHandle,
    durations: Arc<Shelf>,
    /// What is sent over OTLP, if anything is.
    meters: Option<Meters>,
    board: Arc<Board>,
    paths: Vec<PathHandles>,
    /// Of each path and QoS those of MQTT publishers, and behind all of them those of control
    /// publishers.
    groups: Vec<GroupHandles>,
    /// Of each path and QoS.
    deliveries: Vec<DeliveryHandles>,
    /// Index of the group of each publisher.
    group_of: Vec<u16>,
    scheduler_lag: Histogram,
    reconnects: [Counter; Component::ALL.len()],
    export_failures: Counter,
    overflow: Counter,
    missed: Counter,
}

impl Telemetry {
    /// Every counter and histogram of the roster at zero; in `/metrics`, and for `otlp` too where
    /// that is given.
    #[must_use]
    pub fn new(roster: &Roster, build: &Build, otlp: Option<(Histograms, &Identity)>) -> Self {
        Self::with_objectives(roster, &[], build, otlp)
    }

    /// The same, with the good and valid slots of these objectives.
    #[must_use]
    pub fn with_objectives(
        roster: &Roster,
        objectives: &[Objective],
        build: &Build,
        otlp: Option<(Histograms, &Identity)>,
    ) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let prometheus = recorder.handle();
        let recorder = Durations::new(recorder, buckets());
        let durations = recorder.shelf();
        let paths = roster.paths();
        let board = Arc::<Board>::default();
        let (recorder, meters): (Box<dyn Recorder + Send + Sync>, _) = match otlp {
            None => (Box::new(recorder), None),
            Some((histograms, identity)) => {
                let (instruments, meters) =
                    Instruments::new(histograms, identity, paths.len(), &board);
                (Box::new(Both(recorder, instruments)), Some(meters))
            }
        };
        let registrar = Registrar::new(&*recorder);
        board.set(&BUILD_INFO, &[&build.version, &build.commit], Some(1.0));
        let objectives = ObjectiveHandles::all(registrar, paths, objectives, &board);
        let groups = GroupHandles::of_all(registrar, roster, &objectives);
        Self(Arc::new(Inner {
            paths: paths.iter().map(|path| PathHandles::new(registrar, path)).collect(),
            groups,
            deliveries: DeliveryHandles::of_all(registrar, roster),
            group_of: group_of(roster),
            scheduler_lag: registrar.histogram(&SCHEDULER_LAG, &[]),
            reconnects: Component::ALL.map(|it| registrar.counter(&RECONNECTS, &[it.name()])),
            export_failures: registrar.counter(&EXPORT_FAILURES, &[Component::Otlp.name()]),
            overflow: registrar.counter(&DROPPED, &["correlator", "memory_bound"]),
            missed: registrar.counter(&DROPPED, &["consumer", "missed"]),
            recorder,
            prometheus,
            durations,
            meters,
            board,
        }))
    }

    /// Counts and records what the correlator concluded. Cheap, and safe from many threads.
    pub fn apply(&self, events: &[Event]) {
        let mut tally = Tally::of(&self.0);
        for event in events {
            if !tally.take(event) {
                self.0.book(event);
                self.0.book_delivery(event);
            }
        }
        tally.book();
    }

    /// Sets the quantiles and what is in flight from totals whose window was just rolled.
    pub fn set_window(&self, stats: &Stats) {
        for (id, qos, lane) in stats.measured() {
            let Some(path) = self.path(id) else { continue };
            let totals = stats.lane(id, qos, lane);
            let labels = [path.name.as_str(), lane.name(), qos.label()];
            for quantile in QUANTILES {
                let value = totals.recent.quantile_nanos(quantile).map(seconds);
                let label = quantile.to_string();
                let labels = [labels[0], labels[1], labels[2], &label];
                self.0.board.set(&QUANTILE, &labels, value);
            }
            self.0.board.set(&IN_FLIGHT, &labels, Some(whole(totals.in_flight)));
        }
    }

    /// Gives a dense partition index its label, before records of it are counted. Indices from
    /// 1,024 on share the label `other`.
    pub fn name_partition(&self, path: PathId, index: u32, topic: &str, partition: i32) {
        let Some(path) = self.path(path) else { return };
        let Some(slot) = path.partitions.get(index as usize) else { return };
        slot.get_or_init(|| {
            let label = format!("{topic}-{partition}");
            let consumed = counter(&*self.0.recorder, &CONSUMED, &[&path.name, &label]);
            PartitionHandle { topic: topic.to_owned(), partition, consumed }
        });
    }

    /// Topic and partition of a dense partition index, where they are known.
    pub(super) fn partition(&self, path: PathId, index: u32) -> Option<(&str, i32)> {
        let named = self.path(path)?.partitions.get(index as usize)?.get()?;
        Some((&named.topic, named.partition))
    }

    /// The counter of what a part of the probe drops for this reason: at zero from now on.
    pub(super) fn drops(&self, component: &'static str, cause: &'static str) -> Counter {
        counter(&*self.0.recorder, &DROPPED, &[component, cause])
    }

    /// Counts what a part of the probe dropped. Called with 0 at the start, it makes the series exist.
    pub fn dropped(&self, component: &'static str, cause: &'static str, count: u64) {
        self.drops(component, cause).increment(count);
    }

    /// Sets whether a path's last window is valid: it is when there is no cause against it.
    pub fn window_judged(&self, path: PathId, causes: &[InvalidCause]) {
        let Some(path) = self.path(path) else { return };
        self.flag(&WINDOW_VALID, &path.name, causes.is_empty());
        for &cause in causes {
            path.invalid_windows[cause as usize].increment(1);
        }
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.0.prometheus.render();
        self.0.durations.render(&mut text);
        self.0.board.render(&mut text);
        text
    }

    /// All metrics for OTLP.
    ///
    /// # Errors
    ///
    /// When there is no OTLP, or the SDK fails.
    pub fn collect(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        match &self.0.meters {
            Some(meters) => meters.collect(into),
            None => Err(OTelSdkError::InternalFailure("nothing is sent over OTLP".to_owned())),
        }
    }

    fn path(&self, id: PathId) -> Option<&PathHandles> {
        self.0.paths.get(usize::from(id.0))
    }

    fn flag(&self, metric: &Metric, label: &str, on: bool) {
        self.0.board.set(metric, &[label], Some(f64::from(u8::from(on))));
    }
}

impl Inner {
    fn book(&self, event: &Event) {
        match *event {
            Event::Consumed { path, lane: Lane::MqttKafka, partition } => {
                if let Some(path) = self.paths.get(usize::from(path.0)) {
                    path.consumed(partition);
                }
            }
            Event::Consumed { lane: Lane::MqttMqtt | Lane::KafkaKafka, .. }
            | Event::Recovered { .. }
            | Event::Polled { .. }
            | Event::Witnessed { .. }
            | Event::Worked { .. }
            | Event::Rejected { .. }
            | Event::Unconfirmed { .. } => {}
            Event::Connected { path, tcp_nanos, tls_nanos, connack_nanos } => {
                if let Some(path) = self.paths.get(usize::from(path.0)) {
                    let took = [Some(tcp_nanos), tls_nanos, Some(connack_nanos)];
                    for (leg, nanos) in path.connects.iter().zip(took) {
                        if let Some(nanos) = nanos {
                            leg.record(seconds(nanos));
                        }
                    }
                }
            }
            Event::Foreign { path, count } => {
                if let Some(path) = self.paths.get(usize::from(path.0)) {
                    path.foreign.increment(u64::from(count));
                }
            }
            Event::Overflow { .. } => self.overflow.increment(1),
            Event::Missed { .. } => self.missed.increment(1),
            Event::Woken { nanos, .. } => self.scheduler_lag.record(seconds(nanos)),
            Event::Offered { publisher, .. }
            | Event::Published { publisher, .. }
            | Event::Skipped { publisher, .. }
            | Event::SentLate { publisher, .. }
            | Event::Acknowledged { publisher, .. }
            | Event::Resolved { publisher, .. }
            | Event::Timed { publisher, .. }
            | Event::DurabilityGap { publisher, .. }
            | Event::Duplicate { publisher, .. }
            | Event::Reordered { publisher, .. }
            | Event::Corrupt { publisher, .. }
            | Event::LateRecovery { publisher, .. }
            | Event::Negative { publisher, .. }
            | Event::Stamp { publisher, .. } => self.book_message(publisher, event),
        }
    }

    fn book_message(&self, publisher: PublisherId, event: &Event) {
        let Some(&index) = self.group_of.get(publisher.0 as usize) else { return };
        let index = usize::from(index);
        let group = &self.groups[index];
        match *event {
            Event::Skipped { cause, .. } => group.skipped[cause as usize].increment(1),
            Event::Published { count, delay, .. } => {
                if let Some(nanos) = delay.nanos() {
                    group.legs[Leg::PublishDelay.index()]
                        .record_many(seconds(nanos), count as usize);
                }
            }
            Event::SentLate { count, cause, .. } => {
                group.sent_late[cause as usize].increment(count.into());
            }
            Event::Resolved { lane, outcome, ref arrival, .. } => {
                let end_to_end = arrival.as_ref().map(|arrival| arrival.end_to_end);
                group.lanes[lane.index()].resolved(outcome, end_to_end);
                if let Some(arrival) = arrival {
                    self.book_arrival(index, lane, arrival);
                }
            }
            Event::LateRecovery { lane, was, end_to_end, .. } => {
                group.lanes[lane.index()].recovered(was, end_to_end);
            }
            Event::Timed { leg, nanos, .. } => group.legs[leg.index()].record(seconds(nanos)),
            Event::DurabilityGap { gap, .. } => group.durability_gap.record(seconds(gap.nanos())),
            Event::Duplicate { lane, cause, .. } => {
                group.duplicates[cause.index()].increment(1);
                group.lanes[lane.index()].rate(|objective| objective.rate_copy(cause));
            }
            Event::Reordered { .. } => group.reordered.increment(1),
            Event::Corrupt { .. } => group.corrupt.increment(1),
            Event::Negative { .. } => group.negative.increment(1),
            Event::Stamp { carrier, survived, .. } => {
                if let Some(path) = self.mqtt_path(index) {
                    path.stamped(carrier, survived);
                }
            }
            Event::Offered { .. }
            | Event::Acknowledged { .. }
            | Event::Consumed { .. }
            | Event::Foreign { .. }
            | Event::Overflow { .. }
            | Event::Recovered { .. }
            | Event::Missed { .. }
            | Event::Unconfirmed { .. }
            | Event::Polled { .. }
            | Event::Witnessed { .. }
            | Event::Connected { .. }
            | Event::Worked { .. }
            | Event::Rejected { .. }
            | Event::Woken { .. } => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53; the exposition has no more")]
fn whole(count: u64) -> f64 {
    count as f64
}
