//! Room `report`: what `report.json` is made of. Field names are public interface: a rename is a
//! breaking change and raises `SCHEMA_VERSION`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::correlate::Lane;

use super::deliveries::Deliveries;
use super::figures::duration;
use super::judged::PathWindows;
use super::load::{ConnectDurations, Flow, Load};
use super::moment::rfc3339;
use super::uncertainty::Uncertainty;
use super::worst::WorstMessages;

/// Which landfall made the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its version.
    pub version: String,
    /// The commit that it was built from, where known.
    pub commit: Option<String>,
}

/// Where and against what the run took place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Name of the probe.
    pub probe: String,
    /// What identifies this start of the machine, where known.
    pub boot_id: Option<String>,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Logical CPUs that the probe may use.
    pub cpus: u64,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// The kernel's clock source, where known.
    pub clock_source: Option<String>,
    /// Digest of the configuration in force.
    pub config_digest: String,
    /// Versions of what the probe talked to and is built on, by component.
    pub versions: BTreeMap<String, String>,
}

/// The time that the report covers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// First moment, RFC 3339 in UTC.
    pub start: String,
    /// Last moment, RFC 3339 in UTC.
    pub end: String,
    /// From first to last moment on the clock that never steps.
    pub seconds: f64,
    /// From the first moment to when the last message had come due, on that clock.
    #[serde(default)]
    pub load_seconds: f64,
    /// Share (0 to 1) of the windows that are valid, where they are judged.
    pub valid_fraction: Option<f64>,
    /// Windows that are not valid, by cause.
    pub invalid: BTreeMap<String, u64>,
    /// How often the probe was killed and went on: the report covers all of its processes.
    #[serde(default)]
    pub restarts: u64,
    /// Messages that processes before this one published, whose CPU time nobody knows.
    #[serde(skip)]
    pub published_before: u64,
}

impl Window {
    /// A stretch of time; how many windows in it are valid is not judged yet.
    #[must_use]
    pub fn new(start: WallTime, end: WallTime, length: Duration) -> Self {
        Self {
            start: rfc3339(start),
            end: rfc3339(end),
            seconds: length.as_secs_f64(),
            load_seconds: length.as_secs_f64(),
            ..Self::default()
        }
    }
}

/// What one configured route did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// Its name.
    pub name: String,
    /// How its load goes.
    #[serde(default)]
    pub load: Load,
    /// How many of its messages came how far.
    #[serde(default)]
    pub flow: Flow,
    /// Messages handed to the socket, resends left out.
    pub published: u64,
    /// Slots that came due.
    pub offered: u64,
    /// Messages that the broker took.
    pub acknowledged: u64,
    /// Messages at QoS 1 and 2 that were sent and that the broker neither took nor refused: not yet, or
    /// not within twice the deadline.
    #[serde(default)]
    pub unanswered: u64,
    /// Slots that were not sent, by cause.
    pub not_sent: BTreeMap<String, u64>,
    /// Messages that were sent more than 10 ms after they were due, by what they waited for: the `probe`
    /// itself, or the system (`backpressure`).
    #[serde(default)]
    pub sent_late: BTreeMap<String, u64>,
    /// How long its MQTT connections took, publishers and subscribers together.
    #[serde(default)]
    pub connect_seconds: ConnectDurations,
    /// The largest share of a quarter of a second in which a thread that sends for it was at work; at 1
    /// the probe was the limit.
    #[serde(default)]
    pub busiest_thread_ratio: f64,
    /// Records and messages that carry no stamp of this run.
    pub foreign: u64,
    /// Slots closed as unresolved before their time, and verdicts that could not be revised any
    /// more, because memory is bounded.
    pub overflow: u64,
    /// Records that the probe's own consumer had missed and a second look found: their latency is not
    /// known.
    #[serde(default)]
    pub missed: u64,
    /// Losses that were announced although Kafka could not be read a second time.
    #[serde(default)]
    pub unconfirmed: u64,
    /// What became of the stamps of messages that came out, by carrier.
    pub stamps: BTreeMap<String, Stamps>,
    /// The clocks of the Kafka brokers that lead its partitions, beside the probe's: of those whose
    /// LogAppendTime was seen.
    #[serde(default)]
    pub clock_offsets: Vec<PeerOffset>,
    /// Its lanes, once for each QoS. Everything above speaks of the messages that go in over MQTT; of
    /// those of the control lane only its entries here do.
    pub lanes: Vec<LaneReport>,
    /// What was timed of a path that has no lanes, for each QoS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sending: Vec<Sending>,
    /// What its MQTT subscribers were handed, for each QoS, where there is more than one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Deliveries>,
    /// Its windows as they were judged.
    pub windows: PathWindows,
    /// Its worst messages, by their trace ids.
    #[serde(default)]
    pub worst: WorstMessages,
}

/// What was timed at one QoS of a path that only sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sending {
    /// 0, 1 or 2.
    pub qos: u8,
    /// Parts of the way; nothing comes out.
    pub legs: Legs,
}

/// How far the clock of a Kafka leader is from the probe's; append and fetch legs are corrected by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerOffset {
    /// The leader, `host:port`.
    pub peer: String,
    /// So far is its clock ahead; negative where it is behind.
    pub offset_seconds: f64,
    /// The true offset is at most so far from it.
    pub bound_seconds: f64,
}

impl PathReport {
    /// A lane and its index for each QoS that has the legs of what goes in over MQTT; where nothing else is
    /// timed, those of the control lane.
    pub(super) fn legs(&self) -> Vec<(usize, &LaneReport)> {
        let control = Lane::KafkaKafka.name();
        let is_control_alone = self.lanes.iter().all(|lane| lane.lane == control);
        let lanes = self.lanes.iter().enumerate();
        let mut legs: Vec<(usize, &LaneReport)> = Vec::new();
        for (index, lane) in lanes.filter(|(_, it)| is_control_alone || it.lane != control) {
            if legs.iter().all(|(_, known)| known.qos != lane.qos) {
                legs.push((index, lane));
            }
        }
        legs
    }
}

impl PeerOffset {
    /// It in words, for people.
    pub(super) fn sentence(&self, name: fn(&str) -> String) -> String {
        let Self { peer, offset_seconds, bound_seconds } = self;
        let where_it_is = if *offset_seconds < 0.0 { "behind" } else { "ahead of" };
        format!(
            "clock of {}: {} {where_it_is} ours, to within {}",
            name(peer),
            duration(offset_seconds.abs()),
            duration(*bound_seconds)
        )
    }
}

/// How often a carrier brought its stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// Messages on which it did.
    pub survived: u64,
    /// Messages on which it did not.
    pub lost: u64,
}

/// What one lane did at one QoS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneReport {
    /// Name of the lane.
    pub lane: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Slots that have an outcome: the sum of `outcomes`.
    pub slots: u64,
    /// Slots by outcome as the books stand: late recoveries are moved to `late`.
    pub outcomes: Outcomes,
    /// What was counted beside the outcomes.
    pub anomalies: Anomalies,
    /// The part of `delivered` and `late` that had come out before a killed probe was back, or that may
    /// have been due at any time: counted by the record's own timestamp, and not timed.
    #[serde(default)]
    pub recovered: u64,
    /// The deepest reordering, in slots.
    pub reorder_depth_max: u64,
    /// From the intended send time to receipt.
    pub latency_seconds: Durations,
    /// The same of the messages that came out in valid windows.
    pub latency_seconds_valid: Durations,
    /// The uncertainty of `latency_seconds`.
    pub uncertainty_seconds: Option<f64>,
    /// From the send time to receipt.
    pub service_latency_seconds: Durations,
    /// Parts of the way, for all lanes of the path and QoS together whose messages go in over MQTT; on
    /// the control lane those of its own messages.
    pub legs: Legs,
    /// How long before its append a message had been acknowledged, zero where that came later, for all
    /// lanes of the path and QoS together. Correct to a millisecond, in which Kafka counts.
    #[serde(default)]
    pub durability_gap_seconds: Durations,
    /// What is known of messages that came out more than once.
    #[serde(default)]
    pub duplication: Duplication,
    /// `latency_seconds` from zero up as base64 of HdrHistogram V2 (uncompressed). Left out of the
    /// status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
    /// Unit of the values in `histogram`.
    pub histogram_unit: String,
}

/// Slots by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Came out within the deadline.
    pub delivered: u64,
    /// Came out after the deadline.
    pub late: u64,
    /// Acknowledged by the broker, and did not come out.
    pub acked_lost: u64,
    /// Never acknowledged, and did not come out.
    pub unacked_lost: u64,
    /// Never left the probe.
    pub not_sent: u64,
    /// Refused by the broker.
    pub rejected: u64,
    /// Nobody can say.
    pub unresolved: u64,
}

impl Outcomes {
    /// Every outcome with its name, in the order of the report.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("delivered", self.delivered),
            ("late", self.late),
            ("acked_lost", self.acked_lost),
            ("unacked_lost", self.unacked_lost),
            ("not_sent", self.not_sent),
            ("rejected", self.rejected),
            ("unresolved", self.unresolved),
        ]
    }

    /// All slots.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }
}

/// Counted beside the outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies {
    /// Further records of a message at another (partition, offset), resent or made by the pipeline.
    pub duplicate: u64,
    /// Records that were read again; never part of `duplicate`.
    pub reread: u64,
    /// The part of `duplicate` that we sent again after a reconnect.
    pub resent: u64,
    /// Messages that came out after a later one of their publisher.
    pub reordered: u64,
    /// Messages that came out damaged.
    pub corrupt: u64,
    /// The path's foreign records, where it has one lane and QoS that all of them belong to; else 0,
    /// and only the path has them.
    pub foreign: u64,
    /// Always 0: payloads are not held against a schema yet (see `not_measured`).
    pub schema_violation: u64,
    /// Messages that came out after another outcome had been announced for them.
    pub late_recovery: u64,
    /// Messages whose latency is below zero.
    pub negative: u64,
}

impl Anomalies {
    /// Every anomaly with its name, in the order of the report.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("duplicate", self.duplicate),
            ("reread", self.reread),
            ("resent", self.resent),
            ("reordered", self.reordered),
            ("corrupt", self.corrupt),
            ("foreign", self.foreign),
            ("schema_violation", self.schema_violation),
            ("late_recovery", self.late_recovery),
            ("negative", self.negative),
        ]
    }
}

/// A distribution in seconds. The figures are null where the count is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    /// Median.
    pub p50: Option<f64>,
    /// 90 % stay within.
    pub p90: Option<f64>,
    /// 99 % stay within.
    pub p99: Option<f64>,
    /// 99.9 % stay within.
    pub p999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// How many.
    pub count: u64,
    /// How far the figures up to p99 may be from the truth because of the probe itself; null where a
    /// part of it is not known. Those beyond are right to 0.1 % as well.
    pub uncertainty_seconds: Option<f64>,
    /// What that is the sum of.
    pub uncertainty: Option<Uncertainty>,
}

impl PathReport {
    /// The stretches of a message's way that were timed for any QoS, by name, for each QoS.
    #[must_use]
    pub fn timed(&self) -> (Vec<&'static str>, Vec<(u8, Vec<Durations>)>) {
        let all = |lane: &LaneReport| {
            let gap = ("durability_gap", lane.durability_gap_seconds);
            lane.legs.named().into_iter().chain([gap]).collect::<Vec<_>>()
        };
        let sending = self.sending.iter().map(|of| (of.qos, of.legs.named().to_vec()));
        let lanes = self.legs().into_iter().map(|(_, lane)| (lane.qos, all(lane)));
        let by_qos: BTreeMap<u8, _> = sending.chain(lanes).collect();
        let is_timed = |name: &&str| {
            by_qos.values().flatten().any(|(of, timed)| of == name && timed.count > 0)
        };
        // In the order of a message's way, as the figures are: a QoS may lack what another one has.
        let ways = by_qos.values().next().into_iter().flatten();
        let names: Vec<_> = ways.map(|&(name, _)| name).filter(is_timed).collect();
        let of = |timed: Vec<(&'static str, Durations)>| {
            timed.into_iter().filter(|(name, _)| names.contains(name)).map(|(_, it)| it).collect()
        };
        let rows = by_qos.into_iter().map(|(qos, timed)| (qos, of(timed))).collect();
        (names, rows)
    }
}

/// Messages that came out more than once, as far as their first arrival was still at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Duplication {
    /// Messages that did.
    pub messages: u64,
    /// How often the one came out that did most often, told apart up to 15.
    pub copies_max: u64,
    /// From the first arrival to each further one.
    pub spread_seconds: Durations,
}

/// The parts of a message's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Legs {
    /// From the intended send time to the socket.
    pub publish_delay: Durations,
    /// From the socket to PUBREC.
    #[serde(default)]
    pub publish_rec: Durations,
    /// From the socket to PUBACK or PUBCOMP; on the control lane to Kafka's answer.
    pub publish_ack: Durations,
    /// From the socket to CreateTime, by the clock of whoever produced the record.
    #[serde(default)]
    pub create: Durations,
    /// From the socket to the broker's LogAppendTime, corrected by `clock_offsets`.
    pub append: Durations,
    /// From the append to the consumer.
    pub fetch: Durations,
}

impl Legs {
    /// Every leg with its name, in the order of a message's way.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Durations); 6] {
        [
            ("publish_delay", self.publish_delay),
            ("publish_rec", self.publish_rec),
            ("publish_ack", self.publish_ack),
            ("create", self.create),
            ("append", self.append),
            ("fetch", self.fetch),
        ]
    }
}

/// What a scope (`host`, `cgroup`) used over the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostUsage {
    /// Mean CPU utilization, 0 to 1.
    pub cpu_utilization_ratio_mean: Option<f64>,
    /// Highest CPU utilization of a sample, 0 to 1.
    pub cpu_utilization_ratio_max: Option<f64>,
    /// Most memory in use, in bytes.
    pub memory_used_bytes_max: Option<u64>,
    /// Memory there is, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Highest pressure (share of time stalled, 0 to 1), by resource.
    pub pressure_ratio_max: BTreeMap<String, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(count: u64) -> Durations {
        Durations { count, ..Durations::default() }
    }

    #[test]
    fn a_leg_stands_below_its_name_whatever_another_qos_lacks() {
        let lane = |qos, legs, durability_gap_seconds| LaneReport {
            lane: "mqtt_kafka".to_owned(),
            qos,
            legs,
            durability_gap_seconds,
            ..LaneReport::default()
        };
        let never = Legs { append: timed(1), fetch: timed(2), ..Legs::default() };
        let once = Legs { publish_rec: timed(3), publish_ack: timed(4), ..never };
        let lanes = vec![lane(0, never, timed(0)), lane(2, once, timed(5))];
        let (names, rows) = PathReport { lanes, ..PathReport::default() }.timed();
        assert_eq!(names, ["publish_rec", "publish_ack", "append", "fetch", "durability_gap"]);
        let counts = |timed: &Vec<Durations>| timed.iter().map(|it| it.count).collect::<Vec<_>>();
        let counts: Vec<_> = rows.iter().map(|(qos, timed)| (*qos, counts(timed))).collect();
        assert_eq!(counts, [(0, vec![0, 0, 1, 2, 0]), (2, vec![3, 4, 1, 2, 5])]);
    }
}
