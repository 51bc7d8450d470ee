//! Room `app`: the MQTT clients of a path beside its publishers.

use std::sync::Arc;
use std::time::Duration;

use super::super::teams;
use super::{PACKET_BYTES_MAX, endpoint};
use crate::config::{BackgroundConfig, PathConfig, SubscribersConfig};
use crate::correlate::{Audience, Bystander, PathId, Qos, Receive};
use crate::wire::Session;
use crate::{background, subscribe};

/// How often those ping that only stay connected.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Who listens to a path over MQTT.
pub(super) fn audience(path: &PathConfig) -> Audience {
    let SubscribersConfig { count, receive } = path.mqtt.subscribers;
    Audience { count, receive }
}

/// The subscribers of a path. `prefix` begins their client ids, and is of this run alone.
pub(super) fn subscribers(
    path: &PathConfig,
    id: PathId,
    (probe, prefix): (&str, &str),
) -> subscribe::Config {
    let (mqtt, audience) = (&path.mqtt, audience(path));
    let filter = mqtt.topic.filter(probe, &path.name);
    let topic = |client| mqtt.topic.expand(probe, &path.name, client);
    let (filter, topics) = match audience.receive {
        Receive::All => (filter, Arc::default()),
        Receive::Share => (format!("$share/{prefix}/{filter}"), Arc::default()),
        Receive::Own => (filter, (0..mqtt.clients).map(topic).collect()),
    };
    subscribe::Config {
        path: id,
        endpoint: endpoint(mqtt),
        session: session(path, format!("{prefix}-s"), subscribe::PING_EVERY),
        filter,
        topics,
        qos: qos_max(path),
        audience,
        tick: teams::receive_tick(path.mqtt.rate.nominal()),
    }
}

/// Those that are there and measure nothing.
pub(super) fn background(
    path: &PathConfig,
    id: PathId,
    (probe, prefix): (&str, &str),
) -> Vec<background::Config> {
    let mqtt = &path.mqtt;
    let Some(BackgroundConfig { idle, slow_subscribers, persistent, storm, every, read }) =
        mqtt.background
    else {
        return Vec::new();
    };
    let counts = [idle, slow_subscribers, persistent, storm];
    let band = |(kind, count): (Bystander, u32)| background::Config {
        path: id,
        kind,
        count,
        endpoint: endpoint(mqtt),
        session: session(path, format!("{prefix}-{}-", kind.name()), KEEP_ALIVE),
        filter: mqtt.topic.filter(probe, &path.name),
        qos: if kind == Bystander::Persistent { Qos::AtLeastOnce } else { qos_max(path) },
        every,
        read,
        tally: background::Tally::default(),
    };
    let bands = Bystander::ALL.into_iter().zip(counts);
    bands.filter(|&(_, count)| count > 0).map(band).collect()
}

/// The connection of one that publishes nothing.
fn session(path: &PathConfig, client_id: String, keep_alive: Duration) -> Session {
    Session {
        client_id,
        keep_alive,
        inflight: 1,
        queue: 16,
        patience: path.deadline,
        connect_after: Duration::from_secs_f64(1.0 / path.mqtt.connect_rate),
        packet_bytes_max: PACKET_BYTES_MAX,
    }
}

fn qos_max(path: &PathConfig) -> Qos {
    path.mqtt.qos.iter().copied().max().unwrap_or(Qos::AtMostOnce)
}
