//! Room `app`: one message for each QoS of a path, sent and awaited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{MissedTickBehavior, interval};

use super::path::Path;
use super::probes::Probes;
use crate::app::threads::{Surroundings, Threads};
use crate::app::wiring::Parts;
use crate::app::{INBOX, NOTICES};
use crate::clock::{Clock, Instant};
use crate::consume::{self, Lookout};
use crate::correlate::{Append, Lane, Observation, PathId, Qos, Router, Sink, Stage};
use crate::preflight::{self, Copy, Crossing, Finding, Message, Reading, Record};
use crate::publish::{self, SEQUENCE};
use crate::shutdown::Tasks;
use crate::study::{Notice, Role};
use crate::wire::Version;

/// How often is looked at what came out.
const BEAT: Duration = Duration::from_millis(5);
/// How long reader and subscriber may take until they stand.
const READY_MAX: Duration = Duration::from_secs(15);
/// How long they may take once they have said what troubles them: they try again and again.
const READY_IN_TROUBLE: Duration = Duration::from_secs(3);
/// How long is waited for a message to come once more.
const SETTLE: Duration = Duration::from_millis(300);
/// How many bytes of a payload show that it is this one. Three of them are four in base64.
const HEAD_BYTES: usize = 33;

/// What reader and subscriber said so far.
struct Ears {
    path: PathId,
    clock: Clock,
    notices: Receiver<Notice>,
    router: Router,
    up: BTreeSet<Role>,
    down: BTreeMap<Role, (String, Instant)>,
    partitions: BTreeMap<u32, (String, i32)>,
    /// Whether the cluster does not hand records over.
    is_barred: bool,
    warnings: Vec<String>,
    records: Vec<(u32, Record)>,
    copies: Vec<(u32, Copy)>,
    caught_up: Option<Instant>,
}

/// Sends the messages of a path and waits for them; the findings.
pub(super) async fn cross(
    path: &mut Path,
    probes: &mut Probes,
    mut reading: Reading,
    stop: &Tasks,
) -> Vec<Finding> {
    let lookout = lookout(path);
    let (notify, notices) = channel(NOTICES);
    let router = Router::new(Arc::clone(&path.roster), 1, INBOX);
    let around = Surroundings { clock: path.clock, router: router.clone(), notices: notify };
    let mut ears = Ears::new(path, router, notices);
    let subscriber = path.subscriber.take();
    let (is_heard, is_read) = (subscriber.is_some(), path.consumer.is_some());
    let consumer = path.consumer.take().map(|mut consumer| {
        consumer.lookout = Some(lookout.clone());
        consumer
    });
    let parts = Parts {
        roster: Arc::clone(&path.roster),
        stamper: path.stamper.clone(),
        publishers: Vec::new(),
        subscribers: subscriber.into_iter().collect(),
        consumers: consumer.into_iter().collect(),
        rate: 0.0,
    };
    let threads = match Threads::start(parts, around, Vec::new()) {
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
    probes.go();
    let reads = matches!(reading, Reading::Stands(_));
    let hears = is_heard && ears.subscriber().is_ok();
    ears.await_messages((reads, hears), probes, (path.wait, stop)).await;
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
    preflight::messages(&crossing)
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

impl Ears {
    fn new(path: &Path, router: Router, notices: Receiver<Notice>) -> Self {
        Self {
            path: path.id,
            clock: path.clock,
            notices,
            router,
            up: BTreeSet::new(),
            down: BTreeMap::new(),
            partitions: BTreeMap::new(),
            is_barred: false,
            warnings: Vec::new(),
            records: Vec::new(),
            copies: Vec::new(),
            caught_up: None,
        }
    }

    /// Takes in everything that was said and seen.
    fn listen(&mut self) {
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                Notice::Up(role) => {
                    self.up.insert(role);
                    self.down.remove(&role);
                }
                Notice::Down(role, why) => {
                    self.up.remove(&role);
                    let now = self.clock.now();
                    let since = self.down.get(&role).map_or(now, |(_, since)| *since);
                    self.down.insert(role, (why, since));
                }
                Notice::Assigned { slot, topic, partition, .. } => {
                    self.partitions.insert(slot, (topic, partition));
                }
                Notice::Warning { kind: consume::NOT_ALLOWED, .. } => self.is_barred = true,
                Notice::Warning { text, .. } => self.warnings.push(text),
            }
        }
        let mut batch = Vec::new();
        self.router.shards()[0].receive.swap(&mut batch);
        for observation in batch {
            self.observe(observation);
        }
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Received {
                stamped_path,
                publisher,
                sequence: SEQUENCE,
                sink,
                at,
                integrity,
                carriers,
                ..
            } if stamped_path == self.path => match sink {
                Sink::Mqtt { .. } => self.copies.push((publisher, Copy { at, integrity })),
                Sink::Kafka { place, append } => {
                    let named = self.partitions.get(&place.slot).cloned();
                    let (topic, partition) = named.unwrap_or_default();
                    let append = match append {
                        Append::LogAppendTime(at) => Some(at),
                        Append::CreateTime(_) | Append::None => None,
                    };
                    let offset = place.offset;
                    let record =
                        Record { topic, partition, offset, append, at, carriers, integrity };
                    self.records.push((publisher, record));
                }
            },
            Observation::CaughtUp { lane: Lane::MqttKafka, at, .. } => self.caught_up = Some(at),
            _ => (),
        }
    }

    /// Waits until these stand, or will not.
    async fn await_roles(&mut self, roles: &[Role], probes: &mut Probes, stop: &Tasks) {
        let until = self.clock.now() + READY_MAX;
        self.watch(probes, stop, |ears, _| {
            let now = ears.clock.now();
            let has_settled = |role| {
                let trouble = ears.down.get(role);
                ears.up.contains(role)
                    || trouble.is_some_and(|(_, since)| now >= *since + READY_IN_TROUBLE)
            };
            now >= until || roles.iter().all(has_settled)
        })
        .await;
    }

    /// Waits until everything that can come has come, as far as Kafka is read and MQTT is heard.
    async fn await_messages(
        &mut self,
        (reads, hears): (bool, bool),
        probes: &mut Probes,
        (wait, stop): (Duration, &Tasks),
    ) {
        let until = self.clock.now() + wait;
        self.watch(probes, stop, |ears, probes| {
            let is_done = |(place, message): &(usize, Message)| {
                probes.gave_up(*place) || is_settled(message, reads, hears)
            };
            ears.clock.now() >= until || ears.messages(probes).iter().all(is_done)
        })
        .await;
        let settled = (self.clock.now() + SETTLE).min(until);
        self.watch(probes, stop, |ears, _| ears.clock.now() >= settled).await;
    }

    /// Listens until that is enough.
    async fn watch(
        &mut self,
        probes: &mut Probes,
        stop: &Tasks,
        is_enough: impl Fn(&Self, &Probes) -> bool,
    ) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                true = probes.hear() => (),
                _ = beat.tick() => (),
                () = stop.stopped() => return,
            }
            self.listen();
            if is_enough(self, probes) {
                return;
            }
        }
    }

    /// Whether Kafka is read.
    fn reading(&self) -> Reading {
        let role = Role::Consumer(self.path.0);
        match self.down.get(&role) {
            Some((why, _)) => Reading::Fails(why.clone()),
            None if self.up.contains(&role) => Reading::Stands(self.partitions.len()),
            None => Reading::Fails("the reader does not get to read in time".to_owned()),
        }
    }

    /// Whether the subscriber is subscribed.
    fn subscriber(&self) -> Result<(), String> {
        let role = Role::Subscriber(self.path.0);
        match self.down.get(&role) {
            Some((why, _)) => Err(why.clone()),
            None if self.up.contains(&role) => Ok(()),
            None => Err("not subscribed in time; look at the broker's log".to_owned()),
        }
    }

    /// The messages by the places of their publishers, with everything that came out of them.
    fn messages(&self, probes: &Probes) -> Vec<(usize, Message)> {
        let with_arrivals = |(place, mut message): (usize, Message)| {
            let is_its = |publisher: u32| usize::try_from(publisher) == Ok(place);
            let records = self.records.iter().filter(|(publisher, _)| is_its(*publisher));
            message.records.extend(records.map(|(_, record)| record.clone()));
            let copies = self.copies.iter().filter(|(publisher, _)| is_its(*publisher));
            message.copies.extend(copies.map(|(_, copy)| *copy));
            (place, message)
        };
        probes.messages().into_iter().map(with_arrivals).collect()
    }
}

/// Whether nothing more is awaited of a message.
fn is_settled(message: &Message, reads: bool, hears: bool) -> bool {
    let refused = message.answers.iter().any(|answer| answer.reason >= 0x80);
    let last = match message.qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce => Some(Stage::Puback),
        Qos::ExactlyOnce => Some(Stage::Pubcomp),
    };
    let is_answered =
        last.is_none_or(|last| message.answers.iter().any(|answer| answer.stage == last));
    let came_out =
        (!reads || !message.records.is_empty()) && (!hears || !message.copies.is_empty());
    refused || (message.sent.is_ok() && is_answered && came_out)
}
