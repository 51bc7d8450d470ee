//! Room `report`: what the load of a path was, and how much of it came how far.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::correlate::{Lane, LateSend, Outcome, PathId, Qos};
use crate::stats::Stats;

use super::CalibrationBrief;
use super::document::{Durations, PathReport};
use super::figures::{
    NONE, count, counted, duration, duration_or_none, nonzero, percentage, thousands,
};
use super::table::Table;

/// How the load of a path goes, as it was configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// `open`: messages are sent when they are due, whatever the system does; `closed`: each client
    /// sends whenever fewer than `inflight` of its messages are under way.
    pub mode: String,
    /// Messages a second of the whole path; null in a closed loop, where the system decides.
    pub rate: Option<f64>,
    /// How the rate goes over time: `steady`, `ramp`, `steps`, `on_off` or `burst`.
    pub profile: String,
    /// How messages are spread: `poisson` or `fixed`; null in a closed loop.
    pub schedule: Option<String>,
    /// Levels of QoS that share it.
    pub qos: Vec<u8>,
    /// How many clients share it.
    pub clients: u32,
    /// How many messages of a client may be unacknowledged, as configured: the broker may take fewer.
    pub inflight: u16,
    /// How large a payload is.
    pub payload_bytes: u32,
    /// How payloads are written: `json`, `text` or `binary`.
    pub format: String,
    /// A message may be sent up to so much after it is due, together with others; 0 where each has a
    /// wake-up of its own.
    pub tick_seconds: f64,
    /// Whether its connections are encrypted.
    #[serde(default)]
    pub tls: bool,
    /// Share of what landfall alone could do on this machine; null where that is not known, or was
    /// found out with other payloads, and of a path that is no load.
    pub calibrated_share: Option<f64>,
}

/// How many messages came how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Slots that came due.
    pub offered: Amount,
    /// Messages handed to the socket.
    pub sent: Amount,
    /// Messages that the broker took, QoS 1 and 2.
    pub acknowledged: Amount,
    /// Messages that came out of Kafka; null where nobody looks there.
    pub in_kafka: Option<Amount>,
    /// Messages that came to the subscriber; null where there is none.
    pub delivered: Option<Amount>,
}

/// A number of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub messages: u64,
    /// The same for each second in which messages came due.
    pub per_second: f64,
}

/// How long connections took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectDurations {
    /// From asking for a TCP connection to having it.
    pub tcp: Durations,
    /// From then to its encryption, of those that have one.
    #[serde(default)]
    pub tls: Durations,
    /// From then to CONNACK.
    pub connack: Durations,
}

impl Load {
    /// Whether it is one that presses the system, and not a probe at a low rate.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.tick_seconds > 0.0
    }

    /// Whether the system decides the rate.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.mode == "closed"
    }

    /// What stands behind the name of its path.
    #[must_use]
    pub fn mark(&self) -> &'static str {
        if self.is_closed() { " (closed loop)" } else { "" }
    }

    /// Which of the sizes of payloads that were calibrated says most of it, in bytes; none where it is
    /// encrypted, or all are too far away: payloads half as large or twice as large cost about the same.
    #[must_use]
    pub fn calibrated_by(&self, sizes: impl IntoIterator<Item = u32>) -> Option<u32> {
        let own = self.payload_bytes;
        let is_like = |&known: &u32| (known / 2..=known.saturating_mul(2)).contains(&own);
        // In thousandths: what is half as large is as far away as what is twice as large.
        let far =
            |&known: &u32| u64::from(own.max(known)) * 1_000 / u64::from(own.min(known)).max(1);
        sizes.into_iter().filter(|_| !self.tls).filter(is_like).min_by_key(far)
    }

    /// The one of these that says most of it.
    pub(super) fn calibration<'a>(
        &self,
        known: &'a [CalibrationBrief],
    ) -> Option<&'a CalibrationBrief> {
        let size = self.calibrated_by(known.iter().map(|of| of.payload_bytes))?;
        known.iter().find(|of| of.payload_bytes == size)
    }

    /// It in a sentence, in ASCII.
    pub(super) fn sentence(&self) -> String {
        let what = format!(
            "{}, payloads of {} ({})",
            counted(self.clients.into(), "client"),
            counted(self.payload_bytes.into(), "byte"),
            self.format
        );
        if self.is_closed() {
            return format!(
                "Closed loop: each client sends when fewer than {} of its messages are under way, or \
                 fewer still where the broker takes fewer at QoS 1 and 2, so the system decides the \
                 rate. {what}.",
                self.inflight
            );
        }
        let rate = thousands(self.rate.unwrap_or_default());
        let schedule = self.schedule.as_deref().unwrap_or(NONE);
        format!(
            "Open loop: {rate} messages/s, {}, {schedule}; {what}. A message is sent up to {} after it is \
             due, with others: publish_delay shows it.",
            self.profile,
            duration(self.tick_seconds)
        )
    }
}

impl Flow {
    /// Of a path whose messages came due for so many seconds.
    pub(super) fn of(stats: &Stats, id: PathId, seconds: f64) -> Self {
        let path = stats.roster().path(id);
        let amount = |messages: u64| Amount { messages, per_second: per_second(messages, seconds) };
        let publish = || path.qos.iter().map(|&qos| stats.publish(id, qos));
        let arrived = |lane: Lane| {
            let came = |&qos: &Qos| {
                let totals = stats.lane(id, qos, lane);
                totals.outcome(Outcome::Delivered) + totals.outcome(Outcome::Late)
            };
            path.lanes.contains(&lane).then(|| amount(path.qos.iter().map(came).sum()))
        };
        Self {
            offered: amount(publish().map(|of| of.offered).sum()),
            sent: amount(publish().map(|of| of.published).sum()),
            acknowledged: amount(publish().map(|of| of.acknowledged).sum()),
            in_kafka: arrived(Lane::MqttKafka),
            delivered: arrived(Lane::MqttMqtt),
        }
    }

    /// Its parts with their names in the report and in words.
    pub(super) fn named(&self) -> [(&'static str, &'static str, Option<Amount>); 5] {
        [
            ("offered", "offered", Some(self.offered)),
            ("sent", "sent", Some(self.sent)),
            ("acknowledged", "acknowledged", Some(self.acknowledged)),
            ("in_kafka", "in Kafka", self.in_kafka),
            ("delivered", "delivered to a subscriber", self.delivered),
        ]
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(1, ["", "messages", "per second"]);
        for (_, name, amount) in self.named() {
            let shown = |of: fn(&Amount) -> String| amount.as_ref().map_or(NONE.to_owned(), of);
            let messages = shown(|amount| count(amount.messages));
            table.push(vec![name.to_owned(), messages, shown(|it| thousands(it.per_second))]);
        }
        table
    }
}

/// Messages that were sent more than 10 ms after they were due, by what they waited for.
pub(super) fn sent_late(stats: &Stats, id: PathId) -> BTreeMap<String, u64> {
    let qos = &stats.roster().path(id).qos;
    let sum = |cause: LateSend| {
        qos.iter().map(|&qos| stats.publish(id, qos).sent_late[cause as usize]).sum()
    };
    LateSend::ALL.iter().map(|&cause| (cause.name().to_owned(), sum(cause))).collect()
}

/// Messages a second of a path by QoS.
pub(super) fn rates(stats: &Stats, id: PathId, seconds: f64) -> Vec<(u8, f64)> {
    let qos = stats.roster().path(id).qos.iter();
    qos.map(|&qos| (qos.level(), per_second(stats.publish(id, qos).published, seconds))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
fn per_second(messages: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { messages as f64 / seconds } else { 0.0 }
}

/// What landfall alone could do beside what a load was; nothing of a path that is none.
pub(super) fn beside(path: &PathReport, calibrations: &[CalibrationBrief]) -> Option<String> {
    let load = &path.load;
    if !load.is_heavy() {
        return None;
    }
    if load.tls {
        return Some(
            "What landfall alone could do over TLS is not known: `landfall calibrate` does without"
                .to_owned(),
        );
    }
    let known = load.calibration(calibrations).zip(load.calibrated_share);
    let Some((calibration, share)) = known else {
        return Some(format!(
            "What landfall alone could do on this machine is not known: not calibrated here with \
             payloads of about {}, run `landfall calibrate --size {}`",
            counted(load.payload_bytes.into(), "byte"),
            load.payload_bytes,
        ));
    };
    let could = calibration.sentence(load.qos.iter().copied());
    Some(format!("{could}: this run sent {} of that", percentage(share)))
}

/// A section of `report.md`: what a load was, how much of it came how far, and what landfall alone could
/// do; nothing of a path that is none.
pub(super) fn markdown(path: &PathReport, calibrations: &[CalibrationBrief]) -> Vec<String> {
    let Some(beside) = beside(path, calibrations) else { return Vec::new() };
    let mut lines = ["", "### Load", ""].map(str::to_owned).to_vec();
    lines.extend([format!("{} {beside}.", path.load.sentence()), String::new()]);
    lines.extend(path.flow.table().markdown());
    let took = |of: Durations| [of.p50, of.p99, of.max].map(duration_or_none).join(" / ");
    let ConnectDurations { tcp, tls, connack } = path.connect_seconds;
    let connects = [("TCP", tcp), ("TLS", tls), ("CONNACK", connack)];
    let connects = connects.into_iter().filter(|(_, of)| of.count > 0);
    let connects: Vec<String> = connects.map(|(name, of)| format!("{name} {}", took(of))).collect();
    let late = nonzero(path.sent_late.iter().map(|(cause, &number)| (cause.as_str(), number)));
    lines.extend([
        String::new(),
        format!(
            "{} connected, p50 / p99 / max: {}. The busiest sending thread was at work for \
             {} of a quarter of a second. Sent more than 10 ms late: {}.",
            counted(connack.count, "time"),
            connects.join(", "),
            percentage(path.busiest_thread_ratio),
            if late.is_empty() { "none" } else { &late },
        ),
    ]);
    lines
}
