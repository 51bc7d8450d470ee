//! Room `report`: from the totals of a run to the paths and lanes of the report.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::correlate::{DuplicateCause, Lane, Leg, NotSent, Outcome, PathId, Qos};
use crate::stats::{LaneTotals, Latencies, PeerClock, PublishTotals, Stats};

use super::document::Sending;
use super::document::{
    Anomalies, Duplication, Durations, LaneReport, Legs, Outcomes, PathReport, PeerOffset, Stamps,
};
use super::judged::PathWindows;
use super::load::{self, ConnectDurations, Flow, Load};
use super::uncertainty::{Sources, Timed};
use super::{Inputs, WorstMessages, deliveries};

const NANOS_PER_SECOND: f64 = 1e9;

/// Every path of the run, in the order of the configuration.
pub(super) fn paths(inputs: &Inputs<'_>) -> Vec<PathReport> {
    let windows = inputs.windows.iter().cloned();
    let windows = windows.chain(std::iter::repeat_with(PathWindows::default));
    let loads = inputs.loads.iter().cloned();
    let loads = loads.chain(std::iter::repeat_with(Load::default));
    let paths = (0..).map(PathId).take(inputs.stats.roster().paths().len());
    paths.zip(windows.zip(loads)).map(|(id, told)| path(inputs, id, told)).collect()
}

fn path(inputs: &Inputs<'_>, id: PathId, (windows, load): (PathWindows, Load)) -> PathReport {
    let Inputs { stats, ref bounds, is_whole, .. } = *inputs;
    let sources = Sources::of(stats, id, bounds);
    let path = stats.roster().path(id);
    let totals = stats.path(id);
    let publish = || path.qos.iter().map(|&qos| stats.publish(id, qos));
    let not_sent = NotSent::ALL.iter().enumerate().map(|(index, cause)| {
        (cause.name().to_owned(), publish().map(|totals| totals.not_sent[index]).sum())
    });
    let stamps = path.carriers.iter().map(|carrier| {
        let sum = |side: usize| publish().map(|totals| totals.stamps[carrier.index()][side]).sum();
        (carrier.name().to_owned(), Stamps { survived: sum(0), lost: sum(1) })
    });
    let measured = stats.measured().filter(|&(path, ..)| path == id);
    let seconds = inputs.window.load_seconds;
    let connect = |took: &Latencies| durations(took, Timed::Connect, &sources);
    PathReport {
        name: path.name.clone(),
        load: judged_load(inputs, id, load),
        flow: Flow::of(stats, id, seconds),
        published: publish().map(|totals| totals.published).sum(),
        offered: publish().map(|totals| totals.offered).sum(),
        acknowledged: publish().map(|totals| totals.acknowledged).sum(),
        unanswered: unanswered(stats, id),
        not_sent: not_sent.collect(),
        sent_late: load::sent_late(stats, id),
        connect_seconds: ConnectDurations {
            tcp: connect(&totals.connects.tcp),
            tls: connect(&totals.connects.tls),
            connack: connect(&totals.connects.connack),
        },
        busiest_thread_ratio: f64::from(totals.busiest),
        foreign: totals.foreign,
        overflow: totals.overflow,
        missed: totals.missed,
        unconfirmed: totals.unconfirmed,
        stamps: stamps.collect::<BTreeMap<_, _>>(),
        clock_offsets: totals.clocks.iter().map(peer_offset).collect(),
        lanes: measured
            .map(|(_, qos, lane)| lane_report(stats, id, (qos, lane), &sources, is_whole))
            .collect(),
        sending: sending(stats, id, &sources),
        deliveries: deliveries::gather(stats, id, &sources),
        windows,
        worst: WorstMessages::default(),
    }
}

/// Messages that were sent and got no answer.
fn unanswered(stats: &Stats, id: PathId) -> u64 {
    // Nobody answers at QoS 0.
    let qos = stats.roster().path(id).qos.iter().filter(|&&qos| qos != Qos::AtMostOnce);
    let of = |&qos: &Qos| {
        let totals = stats.publish(id, qos);
        totals.published.saturating_sub(totals.acknowledged + totals.rejected)
    };
    qos.map(of).sum()
}

/// The load of a path with the share of what landfall alone could do, where that is known.
fn judged_load(inputs: &Inputs<'_>, id: PathId, load: Load) -> Load {
    let calibration = load.calibration(&inputs.calibrations).filter(|_| load.is_heavy());
    let rates = load::rates(inputs.stats, id, inputs.window.load_seconds);
    Load { calibrated_share: calibration.and_then(|known| known.share(rates)), ..load }
}

/// What was timed of a path where nothing comes out.
fn sending(stats: &Stats, id: PathId, sources: &Sources) -> Vec<Sending> {
    let path = stats.roster().path(id);
    let qos = path.qos.iter().filter(|_| path.lanes.is_empty());
    let of = |&qos: &Qos| Sending { qos: qos.level(), legs: legs(stats.publish(id, qos), sources) };
    qos.map(of).collect()
}

fn lane_report(
    stats: &Stats,
    id: PathId,
    (qos, lane): (Qos, Lane),
    sources: &Sources,
    is_whole: bool,
) -> LaneReport {
    let path = stats.roster().path(id);
    let totals = stats.lane(id, qos, lane);
    // A foreign record has no QoS, and an MQTT subscriber counts its foreign messages as well.
    let is_alone = path.lanes == [Lane::MqttKafka] && path.qos.len() == 1;
    let foreign = if is_alone { stats.path(id).foreign } else { 0 };
    let end_to_end = totals.end_to_end();
    let latency_seconds = durations(&end_to_end, Timed::EndToEnd(lane), sources);
    let publish = match lane {
        Lane::KafkaKafka => stats.control(id, qos),
        Lane::MqttKafka | Lane::MqttMqtt => stats.publish(id, qos),
    };
    LaneReport {
        lane: lane.name().to_owned(),
        qos: qos.level(),
        slots: totals.slots(),
        outcomes: outcomes(totals),
        anomalies: anomalies(totals, foreign),
        recovered: totals.recovered_after_restart,
        reorder_depth_max: totals.reorder_depth_max,
        latency_seconds,
        latency_seconds_valid: durations(&totals.valid.end_to_end, Timed::EndToEnd(lane), sources),
        uncertainty_seconds: latency_seconds.uncertainty_seconds,
        service_latency_seconds: durations(&totals.service, Timed::Service(lane), sources),
        legs: legs(publish, sources),
        durability_gap_seconds: durations(&publish.durability_gap, Timed::DurabilityGap, sources),
        duplication: Duplication {
            messages: totals.doubled,
            copies_max: totals.copies_max,
            spread_seconds: durations(&totals.spread, Timed::Spread(lane), sources),
        },
        histogram: is_whole.then(|| STANDARD.encode(end_to_end.encode())),
        histogram_unit: "ns".to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bound in seconds needs no 53 bits")]
fn peer_offset(clock: &PeerClock) -> PeerOffset {
    PeerOffset {
        peer: clock.peer.to_string(),
        offset_seconds: seconds(clock.offset.offset_nanos),
        bound_seconds: clock.offset.bound_nanos as f64 / NANOS_PER_SECOND,
    }
}

fn outcomes(totals: &LaneTotals) -> Outcomes {
    Outcomes {
        delivered: totals.outcome(Outcome::Delivered),
        late: totals.outcome(Outcome::Late),
        acked_lost: totals.outcome(Outcome::AckedLost),
        unacked_lost: totals.outcome(Outcome::UnackedLost),
        not_sent: totals.outcome(Outcome::NotSent),
        rejected: totals.outcome(Outcome::Rejected),
        unresolved: totals.outcome(Outcome::Unresolved),
    }
}

fn anomalies(totals: &LaneTotals, foreign: u64) -> Anomalies {
    Anomalies {
        duplicate: totals.copies(),
        reread: totals.duplicates[DuplicateCause::Reread.index()],
        resent: totals.duplicates[DuplicateCause::Resent.index()],
        reordered: totals.reordered,
        corrupt: totals.corrupt,
        foreign,
        schema_violation: 0,
        late_recovery: totals.recovered.iter().sum(),
        negative: totals.negative,
    }
}

fn legs(totals: &PublishTotals, sources: &Sources) -> Legs {
    let of = |leg: Leg| durations(&totals.legs[leg.index()], Timed::Leg(leg), sources);
    Legs {
        publish_delay: of(Leg::PublishDelay),
        publish_rec: of(Leg::PublishRec),
        publish_ack: of(Leg::PublishAck),
        create: of(Leg::Create),
        append: of(Leg::Append),
        fetch: of(Leg::Fetch),
    }
}

pub(super) fn durations(latencies: &Latencies, timed: Timed, sources: &Sources) -> Durations {
    let p99 = latencies.quantile_nanos(0.99);
    let uncertainty = p99.map(|p99| sources.uncertainty(timed, p99));
    let quantile = |q| latencies.quantile_nanos(q).map(seconds);
    Durations {
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: latencies.max_nanos().map(seconds),
        mean: latencies.mean_nanos().map(|nanos| nanos / NANOS_PER_SECOND),
        count: latencies.count(),
        uncertainty_seconds: uncertainty.and_then(|uncertainty| uncertainty.sum()),
        uncertainty,
    }
}

/// Nanoseconds in seconds.
#[expect(clippy::cast_precision_loss, reason = "a duration in seconds needs no 53 bits")]
pub(super) fn seconds(nanos: i64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}
