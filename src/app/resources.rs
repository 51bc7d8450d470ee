//! Room `app`: what a configuration asks of the machine, and whether that has it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Error, wiring};
use crate::config::{BackgroundConfig, PathConfig, Resolved};
use crate::correlate::{Lane, Limits as Bounds};
use crate::host;
use crate::preflight::{Demand, Destination, Finding, Limits, Mark, resources, source_addresses};

/// So many clients are no everyday matter: the arithmetic goes to the log.
const CLIENTS_WORTH_A_LINE: u64 = 1_000;
/// Beside those that read a Kafka topic one client asks for watermarks, and one looks again.
const CLIENTS_BESIDE_READERS: u64 = 2;
/// For so long the kernel keeps the port of a connection that was closed on this side (`TIME_WAIT`).
const PORT_CLOSED: Duration = Duration::from_mins(1);

/// Makes sure, before anything starts, that the machine has what a run needs, and raises the limit of file
/// descriptors where that is needed.
pub(super) fn ensure(resolved: &Resolved) -> Result<(), Error> {
    let limits = host::limits();
    allow(&demand(resolved, &limits), &limits)
}

/// The same where this process is the broker as well: it has both ends of each connection.
pub(super) fn ensure_both_ends(resolved: &Resolved) -> Result<(), Error> {
    let limits = host::limits();
    let mut demand = demand(resolved, &limits);
    demand.destinations.extend(demand.destinations.clone());
    allow(&demand, &limits)
}

fn allow(demand: &Demand, limits: &Limits) -> Result<(), Error> {
    let findings = resources(demand, limits);
    let failed: Vec<String> = findings.iter().filter_map(refusal).collect();
    if !failed.is_empty() {
        return Err(Error::Refused(failed.join("\n")));
    }
    if demand.clients() > CLIENTS_WORTH_A_LINE {
        for Finding { step, words, .. } in &findings {
            tracing::info!("{step}: {words}");
        }
    }
    host::raise_descriptors(demand.descriptors())
        .map_err(|error| Error::System("raising the limit of file descriptors", error))
}

/// What a check has to say of the machine.
pub(super) fn findings(resolved: &Resolved) -> Vec<Finding> {
    let limits = host::limits();
    resources(&demand(resolved, &limits), &limits)
}

/// Why a run is refused by this finding, and what to do.
pub(super) fn refusal(finding: &Finding) -> Option<String> {
    let Finding { mark, step, words, advice, .. } = finding;
    let is_failure = matches!(mark, Mark::Fail(_));
    let advice = advice.as_deref().unwrap_or_default();
    is_failure.then(|| format!("this host has too few {step}: {words}; {advice}"))
}

fn demand(resolved: &Resolved, limits: &Limits) -> Demand {
    let mut brokers: BTreeMap<(&str, u16), (u64, u64)> = BTreeMap::new();
    for path in &resolved.paths {
        let url = &path.mqtt.url;
        let (clients, closed) = brokers.entry((&url.host, url.port)).or_default();
        *clients += mqtt_clients(path);
        *closed += path.mqtt.background.as_ref().map_or(0, closed_connections);
    }
    let destination = |((host, port), (clients, closed)): ((&str, u16), (u64, u64))| Destination {
        place: if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        },
        clients,
        closed,
        is_loopback: is_loopback(host, clients + closed, limits),
    };
    let under_way = resolved.paths.iter().map(wiring::under_way);
    let (under_way, written_bytes) =
        under_way.fold((0, 0), |(messages, bytes), of| (messages + of.0, bytes + of.1));
    Demand {
        destinations: brokers.into_iter().map(destination).collect(),
        encrypted: resolved.paths.iter().filter(|it| it.mqtt.url.tls).map(mqtt_clients).sum(),
        kafka_clients: resolved.paths.iter().map(kafka_clients).sum(),
        slots: slots(resolved),
        under_way,
        written_bytes,
    }
}

/// MQTT clients of a path: who publishes, who subscribes, and who is only there.
fn mqtt_clients(path: &PathConfig) -> u64 {
    let mqtt = &path.mqtt;
    let listens = path.lanes.contains(&Lane::MqttMqtt);
    let subscribers = if listens { u64::from(mqtt.subscribers.count) } else { 0 };
    let background = mqtt.background.iter().map(|it| {
        [it.idle, it.slow_subscribers, it.persistent, it.storm].map(u64::from).iter().sum::<u64>()
    });
    u64::from(mqtt.clients) + subscribers + background.sum::<u64>()
}

/// Connections of those that come and go that were closed and whose ports are not free yet.
fn closed_connections(background: &BackgroundConfig) -> u64 {
    let rounds = PORT_CLOSED.as_nanos().div_ceil(background.every.as_nanos().max(1));
    let rounds = u64::try_from(rounds).unwrap_or(u64::MAX);
    let of_each = u64::from(background.storm) + u64::from(background.persistent);
    of_each.saturating_mul(rounds)
}

fn kafka_clients(path: &PathConfig) -> u64 {
    let readers = |lane: &Lane| match lane {
        Lane::MqttKafka => path.kafka.as_ref().map_or(1, |kafka| u64::from(kafka.consumers)),
        Lane::KafkaKafka => 1,
        Lane::MqttMqtt => 0,
    };
    let lanes = path.lanes.iter().filter(|lane| lane.ends_in_kafka());
    let consumers: u64 = lanes.map(|lane| readers(lane) + CLIENTS_BESIDE_READERS).sum();
    consumers + u64::from(path.lanes.contains(&Lane::KafkaKafka))
}

/// A name is looked up, which may take its time, only where the answer counts.
fn is_loopback(host: &str, needed: u64, limits: &Limits) -> bool {
    let ports = limits.ephemeral_ports();
    let addresses = ports.and_then(|ports| source_addresses(needed, ports));
    let counts = addresses.is_some_and(|addresses| addresses > 1);
    (counts || host.parse::<IpAddr>().is_ok()) && host::is_loopback(host)
}

/// Slots that wait for their outcome until their deadline, as far as they are remembered.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what is remembered"
)]
fn slots(resolved: &Resolved) -> u64 {
    let of = |path: &PathConfig| path.messages_a_second() * path.deadline.as_secs_f64();
    let slots: f64 = resolved.paths.iter().map(of).sum();
    (slots.ceil().max(0.0) as u64).min(Bounds::default().open_max as u64)
}
