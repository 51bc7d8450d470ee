//! Room `report`: what all MQTT subscribers of a path were handed.

use serde::{Deserialize, Serialize};

use crate::correlate::{Lane, PathId};
use crate::stats::Stats;

use super::document::Durations;
use super::figures::{count, counted, duration, duration_or_none};
use super::gather::durations;
use super::table::Table;
use super::uncertainty::{Sources, Timed};

/// What the subscribers of a path were handed at a QoS, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deliveries {
    /// 0, 1 or 2.
    pub qos: u8,
    /// How many subscribers there are.
    pub subscribers: u64,
    /// How many messages they were to be handed: those that were published, once for each subscriber
    /// that they are for. At QoS 0 less is no fault.
    pub expected: u64,
    /// How many they were handed. Further copies count, and may hide that one is missing.
    pub received: u64,
    /// How many of these are in no latency: further copies, and what a subscriber was handed so late that
    /// nobody remembers when it was due. Long waits may be missing among the latencies then.
    #[serde(default)]
    pub untimed: u64,
    /// From the intended send time to each receipt of the others.
    pub latency_seconds: Durations,
}

/// Those of a path with more than one subscriber, for each QoS.
pub(super) fn gather(stats: &Stats, id: PathId, sources: &Sources) -> Vec<Deliveries> {
    let (path, audience) = (stats.roster().path(id), stats.roster().audience(id));
    if !audience.is_crowd() || !path.lanes.contains(&Lane::MqttMqtt) {
        return Vec::new();
    }
    let of = |&qos| {
        let totals = stats.deliveries(id, qos);
        Deliveries {
            qos: qos.level(),
            subscribers: u64::from(audience.count),
            expected: stats.publish(id, qos).published * u64::from(audience.of_each_message()),
            received: totals.received,
            untimed: totals.received.saturating_sub(totals.latency.count()),
            latency_seconds: durations(&totals.latency, Timed::EndToEnd(Lane::MqttMqtt), sources),
        }
    };
    path.qos.iter().map(of).collect()
}

/// A row for each QoS.
pub(super) fn table(all: &[Deliveries]) -> Table {
    let header =
        ["QoS", "subscribers", "expected", "received", "not timed", "p50", "p99", "p99.9", "max"];
    let mut table = Table::new(0, header);
    for of in all {
        let mut row = vec![of.qos.to_string()];
        row.extend([of.subscribers, of.expected, of.received, of.untimed].map(count));
        let Durations { p50, p99, p999, max, .. } = of.latency_seconds;
        row.extend([p50, p99, p999, max].map(duration_or_none));
        table.push(row);
    }
    table
}

/// One of them in words.
pub(super) fn sentence(of: &Deliveries) -> String {
    let p99 =
        of.latency_seconds.p99.map_or_else(String::new, |p99| format!(", p99 {}", duration(p99)));
    let untimed = match of.untimed {
        0 => String::new(),
        untimed => format!(", {} of them not timed", count(untimed)),
    };
    format!(
        "deliveries to {}, QoS {}: {} of {}{untimed}{p99}",
        counted(of.subscribers, "subscriber"),
        of.qos,
        count(of.received),
        count(of.expected),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_shows() {
        let latency_seconds = Durations { p99: Some(0.002), ..Durations::default() };
        let mut of = Deliveries {
            qos: 1,
            subscribers: 20,
            expected: 2_000,
            received: 1_980,
            untimed: 0,
            latency_seconds,
        };
        let said = sentence(&of);
        assert_eq!(said, "deliveries to 20 subscribers, QoS 1: 1,980 of 2,000, p99 2.00 ms");
        of.untimed = 1_200;
        let said = sentence(&of);
        let expected = "1,980 of 2,000, 1,200 of them not timed, p99 2.00 ms";
        assert_eq!(said, format!("deliveries to 20 subscribers, QoS 1: {expected}"));
        let lines = table(&[of]).markdown();
        assert_eq!(lines[2], "| 1 | 20 | 2,000 | 1,980 | 1,200 | - | 2.00 ms | - | - |");
        assert!(table(&[]).is_empty());
    }
}
