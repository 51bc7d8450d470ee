//! Room `app`: one message for each QoS of a path, sent and awaited.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc::channel;

use super::ears::Ears;
use super::path::Path;
use super::probes::Probes;
use crate::app::threads::{Surroundings, Threads};
use crate::app::wiring::Parts;
use crate::app::{INBOX, NOTICES};
use crate::consume::Lookout;
use crate::correlate::Router;
use crate::preflight::{self, Crossing, Finding, Reading};
use crate::publish::{self, SEQUENCE};
use crate::shutdown::Tasks;
use crate::study::Role;
use crate::wire::Version;

/// How many bytes of a payload show that it is this one. Three of them are four in base64.
const HEAD_BYTES: usize = 33;

/// Sends the messages of a path and waits for them; the findings, none where it is interrupted.
pub(super) async fn cross(
    path: &mut Path,
    probes: &mut Probes,
    mut reading: Reading,
    stop: &Tasks,
) -> Vec<Finding> {
    let lookout = lookout(path);
    let (notify, notices) = channel(NOTICES);
    let router = Router::new(Arc::clone(&path.roster), 1, INBOX);
    let around = Surroundings {
        clock: path.clock,
        router: router.clone(),
        notices: notify,
        leases: None,
        takes_over: false,
        set_back: None,
    };
    let mut ears = Ears::new(path, router, notices);
    let subscriber = path.subscriber.take();
    let (is_heard, is_read) = (subscriber.is_some(), path.consumer.is_some());
    let consumer = path.consumer.take().map(|mut consumer| {
        consumer.lookout = Some(lookout.clone());
        consumer
    });
    let parts = Parts {
        objectives: Vec::new(),
        roster: Arc::clone(&path.roster),
        stamper: path.stamper.clone(),
        publishers: Vec::new(),
        subscribers: subscriber.into_iter().collect(),
        background: Vec::new(),
        consumers: consumer.into_iter().collect(),
        producers: Vec::new(),
        rate: 0.0,
    };
    let threads = match Threads::start(parts, around, (Vec::new(), None)) {
        Ok(threads) => threads,
        Err(error) => return preflight::messages(&unstarted(path, &error.to_string())),
    };
    let roles = [(is_heard, Role::Subscriber(path.id.0)), (is_read, Role::Consumer(path.id.0))];
    let roles: Vec<Role> = roles.iter().filter(|(is, _)| *is).map(|(_, role)| *role).collect();
    ears.await_roles(&roles, probes, stop).await;
    if is_read {
        reading = ears.reading();
    }
    let begun = path.clock.now();
    if !stop.stopping() {
        probes.go();
    }
    let reads = matches!(reading, Reading::Stands(_));
    let hears = is_heard && ears.subscriber().is_ok();
    ears.await_messages((reads, hears), probes, (path.wait, stop)).await;
    let is_cut_short = stop.stopping();
    if reads && ears.is_barred {
        reading = Reading::Barred;
    }
    let waited = path.clock.now().saturating_since(begun).min(path.wait);
    let crossing = Crossing {
        messages: ears.messages(probes).into_iter().map(|(_, message)| message).collect(),
        filter: path.filter(),
        waited,
        deadline: path.config.deadline,
        is_v5: path.config.mqtt.version == Version::V5,
        reading,
        caught_up: ears.caught_up.is_some_and(|at| at >= begun),
        strangers: lookout.strangers(),
        subscriber: is_heard.then(|| ears.subscriber()),
        warnings: std::mem::take(&mut ears.warnings),
    };
    end(&threads, ears).await;
    // What has not come yet may still have.
    if is_cut_short { Vec::new() } else { preflight::messages(&crossing) }
}

/// Ends reader and subscriber.
async fn end(threads: &Threads, mut ears: Ears) {
    for group in [&threads.subscribers, &threads.consumers] {
        group.stop();
    }
    // Nobody listens any more, and nobody may wait for that.
    ears.notices.close();
    for shard in ears.router.shards() {
        shard.receive.close();
    }
    for group in [&threads.subscribers, &threads.consumers] {
        group.finished().await;
    }
}

/// The crossing of a path whose threads could not be started.
fn unstarted(path: &Path, why: &str) -> Crossing {
    Crossing {
        messages: Vec::new(),
        filter: path.filter(),
        waited: Duration::ZERO,
        deadline: path.config.deadline,
        is_v5: path.config.mqtt.version == Version::V5,
        reading: Reading::Fails(format!("this machine has no thread to give: {why}; free some")),
        warnings: Vec::new(),
        caught_up: false,
        strangers: preflight::Strangers::default(),
        subscriber: None,
    }
}

/// Looks for the messages of a path in the records of others.
fn lookout(path: &Path) -> Lookout {
    let traces = |publisher: &publish::Config| {
        let identity = path.stamper.identity(publisher.path, publisher.index, SEQUENCE);
        let mut payload = Vec::new();
        let id = path.stamper.write(&mut payload, publisher.format, publisher.size, identity);
        let head = &payload[..payload.len().min(HEAD_BYTES)];
        let base64 = STANDARD.encode(&head[..head.len() / 3 * 3]).into_bytes();
        (publisher.qos, vec![id.to_hex().into_bytes(), head.to_vec()], vec![base64])
    };
    Lookout::new(path.publishers.iter().map(traces))
}
