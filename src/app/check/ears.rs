//! Room `app`: what reader and subscriber of a check say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::path::Path;
use super::probes::Probes;
use crate::clock::{Clock, Instant};
use crate::consume;
use crate::correlate::{Append, Lane, Observation, PathId, Qos, Router, Sink, Stage};
use crate::preflight::{Copy, Message, Reading, Record};
use crate::publish::SEQUENCE;
use crate::shutdown::Tasks;
use crate::study::{Notice, Role};

/// How often is looked at what came out.
const BEAT: Duration = Duration::from_millis(5);
/// How long reader and subscriber may take until they stand.
const READY_MAX: Duration = Duration::from_secs(15);
/// How long they may take once they have said what troubles them: they try again and again.
const READY_IN_TROUBLE: Duration = Duration::from_secs(3);
/// How long is waited for a message to come once more.
const SETTLE: Duration = Duration::from_millis(300);

/// What reader and subscriber said so far.
pub(super) struct Ears {
    path: PathId,
    clock: Clock,
    pub(super) notices: Receiver<Notice>,
    pub(super) router: Router,
    up: BTreeSet<Role>,
    down: BTreeMap<Role, (String, Instant)>,
    partitions: BTreeMap<u32, (String, i32)>,
    /// Whether the cluster does not hand records over.
    pub(super) is_barred: bool,
    pub(super) warnings: Vec<String>,
    records: Vec<(u32, Record)>,
    copies: Vec<(u32, Copy)>,
    pub(super) caught_up: Option<Instant>,
}

impl Ears {
    pub(super) fn new(path: &Path, router: Router, notices: Receiver<Notice>) -> Self {
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
                // A check asks the cluster itself.
                Notice::Leaders { .. } => (),
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
                // A check sends none.
                Sink::Control { .. } => (),
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
    pub(super) async fn await_roles(&mut self, roles: &[Role], probes: &mut Probes, stop: &Tasks) {
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
    pub(super) async fn await_messages(
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
    pub(super) fn reading(&self) -> Reading {
        let role = Role::Consumer(self.path.0);
        match self.down.get(&role) {
            Some((why, _)) => Reading::Fails(why.clone()),
            None if self.up.contains(&role) => Reading::Stands(self.partitions.len()),
            None => Reading::Fails("the reader does not get to read in time".to_owned()),
        }
    }

    /// Whether the subscriber is subscribed.
    pub(super) fn subscriber(&self) -> Result<(), String> {
        let role = Role::Subscriber(self.path.0);
        match self.down.get(&role) {
            Some((why, _)) => Err(why.clone()),
            None if self.up.contains(&role) => Ok(()),
            None => Err("not subscribed in time; look at the broker's log".to_owned()),
        }
    }

    /// The messages by the places of their publishers, with everything that came out of them.
    pub(super) fn messages(&self, probes: &Probes) -> Vec<(usize, Message)> {
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
