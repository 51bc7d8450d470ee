//! Room `app`: a checked configuration made into the parts of a run.

mod clients;
mod kafka;
mod room;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::teams;
use crate::config::{MqttConfig, PathConfig, Resolved};
use crate::correlate::{self, Carrier, Lane, PathId, PublisherId, Qos, Roster};
use crate::schedule;
use crate::splitmix::mix;
use crate::stamp::{Run, Stamper};
use crate::study::{Objective, Plan, Quantile, Role};
use crate::telemetry::{Component, Source};
use crate::wire::{Endpoint, Session, Version};
use crate::{background, consume, produce, publish, subscribe};
use room::Room;

pub(super) use room::under_way;

/// What an end by time may wait beyond the longest deadline, for watermarks and pings.
const SETTLE_MARGIN: Duration = Duration::from_secs(10);
/// By how much of a turn paths are apart: the golden section, which spreads any number of them.
const TURN: f64 = 0.618_033_988_75;
/// Largest packet that is accepted from a broker: others' messages may share a topic.
const PACKET_BYTES_MAX: u32 = 16 * 1_048_576;

/// The parts of a run, not started yet.
pub(super) struct Parts {
    pub(super) roster: Arc<Roster>,
    /// What the run is judged by.
    pub(super) objectives: Vec<Objective>,
    pub(super) stamper: Stamper,
    pub(super) publishers: Vec<(publish::Config, schedule::Config)>,
    pub(super) subscribers: Vec<subscribe::Config>,
    pub(super) background: Vec<background::Config>,
    pub(super) consumers: Vec<consume::Config>,
    pub(super) producers: Vec<produce::Config>,
    /// Messages a second over all paths.
    pub(super) rate: f64,
}

impl Parts {
    /// Everything that `resolved` asks for, stamped as one run.
    pub(super) fn new(resolved: &Resolved, run: Run) -> Self {
        let key = resolved.key.as_ref().map(|key| key.expose_secret().to_vec());
        let secret = key.unwrap_or_else(|| resolved.probe.clone().into_bytes());
        let mut parts = Self {
            roster: Arc::default(),
            objectives: Vec::new(),
            stamper: Stamper::new(&secret, run),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            background: Vec::new(),
            consumers: Vec::new(),
            producers: Vec::new(),
            rate: resolved.paths.iter().map(PathConfig::messages_a_second).sum(),
        };
        let mut roster = Roster::default();
        for path in &resolved.paths {
            let mqtt = &path.mqtt;
            let qos: Vec<Qos> = (0..mqtt.clients as usize)
                .map(|client| mqtt.qos[client % mqtt.qos.len()])
                .collect();
            let first = roster.publishers().len();
            let id = roster.add(described(path), qos.iter().copied());
            roster.set_audience(id, clients::audience(path));
            if path.kafka.as_ref().is_some_and(|kafka| kafka.consumers > 1) {
                roster.set_read_apart(id);
            }
            let prefix = format!(
                "landfall-{}-{:06x}{:02x}-{}",
                resolved.probe, run.epoch, run.instance, id.0
            );
            parts.objectives.extend(objectives(path, id));
            parts.add_publishers(path, (id, first), &qos, (&resolved.probe, &prefix));
            if path.lanes.contains(&Lane::MqttMqtt) {
                parts.subscribers.push(clients::subscribers(path, id, (&resolved.probe, &prefix)));
            }
            parts.background.extend(clients::background(path, id, (&resolved.probe, &prefix)));
            let group = format!("landfall-{}", resolved.probe);
            parts.consumers.extend(kafka::consumers(path, id, &group));
        }
        roster.add_twins();
        for (id, path) in (0..).map(PathId).zip(&resolved.paths) {
            let Some(first) = roster.find(id, 0, true) else { continue };
            let of_path = parts.publishers.iter().filter(|(publisher, _)| publisher.path == id.0);
            let client_id = format!("landfall-{}", resolved.probe);
            parts.producers.extend(kafka::producer((path, id), first, of_path, &client_id));
        }
        parts.roster = Arc::new(roster);
        parts
    }

    fn add_publishers(
        &mut self,
        path: &PathConfig,
        (id, first): (PathId, usize),
        qos: &[Qos],
        (probe, prefix): (&str, &str),
    ) {
        let mqtt = &path.mqtt;
        // A QoS has its even share of the rate, whatever its share of the clients.
        let share = mqtt.rate.nominal() / f64::from(u32::try_from(mqtt.qos.len()).unwrap_or(1));
        let seed = mix(u64::from(id.0));
        for (place, &level) in (0_u32..).zip(&mqtt.qos) {
            // Levels and paths take turns too: what leaves together waits for each other.
            let shift = f64::from(place) / f64::from(u32::try_from(mqtt.qos.len()).unwrap_or(1))
                + f64::from(id.0) * TURN;
            let members =
                (0_u32..).zip(qos).filter(|&(_, &of)| of == level).map(|(index, _)| index);
            let members: Vec<u32> = members.collect();
            let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
            let seed = mix(seed ^ u64::from(level.level()));
            let plans =
                schedule::Config::shared(mqtt.schedule, share, (count, shift.fract()), seed);
            let rate = share / f64::from(count);
            for (&index, plan) in members.iter().zip(plans) {
                let plan = schedule::Config { profile: mqtt.profile, ..plan };
                let after = Duration::from_secs_f64(f64::from(index) / mqtt.connect_rate);
                let publisher = publish::Config {
                    publisher: PublisherId(u32::try_from(first).unwrap_or(0) + index),
                    path: id.0,
                    index,
                    endpoint: endpoint(mqtt),
                    session: Session {
                        connect_after: after,
                        ..session(mqtt, format!("{prefix}-{index}"), (rate, path.deadline))
                    },
                    topic: mqtt.topic.expand(probe, &path.name, index),
                    qos: level,
                    format: mqtt.payload.format,
                    size: mqtt.payload.size as usize,
                    tick: teams::send_tick(mqtt.rate.nominal(), mqtt.schedule),
                    retain: mqtt.retain,
                };
                self.publishers.push((publisher, plan));
            }
        }
    }

    /// Messages a second of each publisher, by its id.
    pub(super) fn rates(&self) -> Vec<f64> {
        let mut rates = vec![0.0; self.roster.publishers().len()];
        let publishers = self.publishers.iter().map(|(config, plan)| (config.publisher, plan));
        let twins = self.producers.iter().flat_map(|config| &config.twins);
        for (publisher, plan) in publishers.chain(twins.map(|(twin, plan)| (twin.publisher, plan)))
        {
            rates[publisher.0 as usize] = 1e9 / plan.interval_nanos;
        }
        rates
    }

    /// The kinds of systems that the run depends on.
    pub(super) fn components(&self) -> Vec<Component> {
        // Who produces there reads there, too.
        let kafka = (!self.consumers.is_empty()).then_some(Component::Kafka);
        std::iter::once(Component::Mqtt).chain(kafka).collect()
    }

    /// Where each publisher's messages go in, by its id.
    pub(super) fn sources(&self, resolved: &Resolved) -> Arc<[Source]> {
        let described: Vec<(Arc<str>, Arc<str>)> = resolved
            .paths
            .iter()
            .map(|path| (Arc::from(path.mqtt.topic.as_str()), Arc::from(&*path.mqtt.url.host)))
            .collect();
        let mut publishers: Vec<_> = self.publishers.iter().map(|(config, _)| config).collect();
        publishers.sort_unstable_by_key(|config| config.publisher);
        let source = |config: &publish::Config| {
            let (template, host) = &described[usize::from(config.path)];
            Source {
                topic: config.topic.clone(),
                template: Arc::clone(template),
                client_id: config.session.client_id.clone(),
                host: Arc::clone(host),
                port: config.endpoint.port,
                version: config.endpoint.version.name(),
                size: config.size.max(config.format.size_min()),
            }
        };
        publishers.into_iter().map(source).collect()
    }

    /// How the run goes through its phases.
    pub(super) fn plan(&self, resolved: &Resolved, measure_for: Option<Duration>) -> Plan {
        let mut paths: Vec<Vec<Role>> = vec![Vec::new(); self.roster.paths().len()];
        let publishers = self.publishers.iter();
        let publishers =
            publishers.map(|(config, _)| (config.path, Role::Publisher(config.publisher.0)));
        let subscribers = self.subscribers.iter().map(|config| config.path.0);
        let consumers = self.consumers.iter().map(|config| (config.path.0, config.role()));
        let producers = self.producers.iter().map(|config| config.path.0);
        let roles = publishers
            .chain(subscribers.map(|path| (path, Role::Subscriber(path))))
            .chain(producers.map(|path| (path, Role::Producer(path))))
            .chain(consumers);
        for (path, role) in roles {
            paths[usize::from(path)].push(role);
        }
        let deadline = resolved.paths.iter().map(|path| path.deadline).max().unwrap_or_default();
        Plan { paths, measure_for, settle: deadline + SETTLE_MARGIN, drain: resolved.drain }
    }
}

fn described(path: &PathConfig) -> correlate::Path {
    let carriers = match path.mqtt.version {
        Version::V4 => vec![Carrier::Payload],
        Version::V5 => vec![Carrier::Property, Carrier::Payload],
    };
    correlate::Path {
        name: path.name.clone(),
        lanes: path.lanes.clone(),
        qos: path.mqtt.qos.clone(),
        carriers,
        deadline: path.deadline,
    }
}

/// What a path is held to; one that times nothing to nothing. Latencies and availability are those of
/// the crossing, or of the first other lane that is timed.
fn objectives(config: &PathConfig, path: PathId) -> Vec<Objective> {
    let Some(lane) = Lane::ALL.into_iter().find(|lane| config.lanes.contains(lane)) else {
        return Vec::new();
    };
    let slo = &config.slo;
    let targets = [slo.p50, slo.p90, slo.p99, slo.p999, slo.max];
    let latencies = Quantile::ALL.into_iter().zip(targets).filter_map(|(quantile, target)| {
        Some(Objective::Latency { path, lane, quantile, target: target? })
    });
    let acked_lost = Objective::AckedLost { path, target: u64::from(slo.acked_lost) };
    let duplicates = slo.duplicates.map(u64::from);
    let duplicates = duplicates.map(|target| Objective::Duplicates { path, target });
    let availability = slo.availability;
    let availability = availability.map(|target| Objective::Availability { path, lane, target });
    latencies.chain([acked_lost]).chain(duplicates).chain(availability).collect()
}

fn endpoint(mqtt: &MqttConfig) -> Endpoint {
    Endpoint {
        host: mqtt.url.host.clone(),
        port: mqtt.url.port,
        version: mqtt.version,
        credentials: mqtt
            .username
            .clone()
            .map(|user| (user, mqtt.password.clone().unwrap_or_default())),
        tls: mqtt.tls.clone(),
    }
}

fn session(mqtt: &MqttConfig, client_id: String, (rate, deadline): (f64, Duration)) -> Session {
    let Room { inflight, queue } = Room::of(mqtt, rate, deadline);
    Session {
        client_id,
        keep_alive: Duration::from_secs(30),
        inflight,
        patience: deadline,
        connect_after: Duration::ZERO,
        queue,
        packet_bytes_max: PACKET_BYTES_MAX,
    }
}
