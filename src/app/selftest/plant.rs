//! Room `app`: the systems of `landfall selftest`, and what happens to them when.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use tokio::sync::{oneshot, watch};

use super::scenes::{DEADLINE, LOAD, Part, SCENES, Scene, index_of, refused_prefix};
use crate::app::{Error, threads};
use crate::clock::{Clock, Instant};
use crate::embedded::bridge::{Acknowledge, Bridge, Config, Link, LinkLog, Mqtt};
use crate::embedded::kafka::{
    self, BatchInfo, Hooks, Kafka, Released, TimestampType, Topic, TopicDefaults, Verdict,
};
use crate::embedded::mqtt::{self, Broker, Refusals};
use crate::embedded::relay::{Line, Relay};
use crate::embedded::tap::{Exchange, Tap};
use crate::shutdown::Tasks;
use crate::splitmix::mix;

const PARTITIONS: i32 = 2;
/// What a bridge may have on its way.
const IN_FLIGHT_MAX: usize = 10_000;
/// How many releases of batches are kept: some ten times as many as there are.
const RELEASES_MAX: usize = 32_768;
/// Of 1,000 batches of the path whose records are doubled, so many are read twice.
const READ_TWICE: u64 = 150;
/// How far Kafka's clock steps.
pub(super) const CLOCK_STEP_NANOS: i64 = -2_500_000_000;

/// When things happen, from the first message on.
const STALL_AT: Duration = Duration::from_millis(800);
const STALL_FOR: Duration = Duration::from_secs(1);
const MUTE_AT: Duration = Duration::from_secs(1);
const SEVER_AT: Duration = Duration::from_millis(1_200);
const KILL_AT: Duration = Duration::from_millis(1_300);
const STEP_AT: Duration = Duration::from_millis(1_400);
const MEND_AT: Duration = Duration::from_millis(1_600);
/// After the last deadline, and well before the end of the run.
const LET_FETCH_AT: Duration = LOAD.saturating_add(DEADLINE).saturating_add(Duration::from_secs(1));

/// Where the embedded systems are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    mqtt: SocketAddr,
    /// The broker behind a relay that stays whole.
    pub(super) whole: SocketAddr,
    /// The broker behind one that is severed.
    pub(super) severed: SocketAddr,
    pub(super) kafka: SocketAddr,
}

/// The embedded systems at work.
pub(super) struct Plant {
    pub(super) addresses: Addresses,
    links: Links,
    refusals: Refusals,
    releases: Receiver<Released>,
    hooks: Hooks,
    rereads: Arc<AtomicU64>,
    moments: Arc<Mutex<Moments>>,
    taps: [Tap; 2],
    tasks: Tasks,
}

/// When what happens once did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    /// Publishers were severed from the broker.
    pub(super) severed: Option<Instant>,
    /// Kafka's clock stepped.
    pub(super) stepped: Option<Instant>,
    /// The consumer that is behind got its records.
    pub(super) let_go: Option<Instant>,
}

/// The links of the two bridges. Both know all routes.
#[derive(Clone)]
struct Links {
    steady: Link,
    mortal: Link,
}

/// First offset and number of records of a batch, and when it was let go.
pub(super) type Batch = (i64, i64, Instant);

/// Everything that the plant knows when all is over, all of it from its own ledgers.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    pub(super) logs: Vec<LinkLog>,
    /// Refused messages by MQTT topic.
    pub(super) refusals: BTreeMap<String, u64>,
    /// By Kafka topic and partition, ascending.
    pub(super) releases: BTreeMap<(String, i32), Vec<Batch>>,
    pub(super) releases_dropped: u64,
    /// Records that were read twice.
    pub(super) rereads: u64,
    pub(super) moments: Moments,
    /// What went over the wire, by trace id.
    pub(super) wire: HashMap<String, Exchange>,
    /// Connections that could not be followed, and messages beyond the log's bound.
    pub(super) unheard: u64,
}

impl Plant {
    /// Starts the systems on a thread of their own and waits until both bridges are subscribed.
    pub(super) async fn start(seed: u64, clock: Clock) -> Result<Self, Error> {
        let tasks = Tasks::new();
        let (tell, told) = oneshot::channel();
        let group = tasks.clone();
        threads::run_on_thread("systems", &tasks, move || {
            let tasks = group.clone();
            group.spawn(async move {
                // The receiver waits for exactly this.
                let _ = tell.send(bring_up(seed, clock, tasks).await);
            });
        })
        .map_err(|error| Error::System("starting the embedded systems", error))?;
        told.await.unwrap_or_else(|_| Err(Error::Refused("the embedded systems ended".to_owned())))
    }

    /// Stops everything and closes the ledgers.
    pub(super) async fn stop(self) -> Ledgers {
        self.tasks.stop();
        self.tasks.finished().await;
        let mut releases: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Released { topic, partition, base_offset, count, at } in self.releases.try_iter() {
            let of_it = releases.entry((topic.as_ref().to_owned(), partition)).or_default();
            of_it.push((base_offset, count, at));
        }
        let heard: Vec<_> = self.taps.iter().map(Tap::log).collect();
        Ledgers {
            logs: vec![self.links.steady.log(), self.links.mortal.log()],
            refusals: self.refusals.counts(),
            releases,
            releases_dropped: self.hooks.released_dropped(),
            rereads: self.rereads.load(Ordering::Relaxed),
            moments: *self.moments.lock().unwrap_or_else(PoisonError::into_inner),
            unheard: heard.iter().map(|log| log.unread + log.unlogged).sum(),
            wire: heard.into_iter().flat_map(|log| log.exchanges).collect(),
        }
    }
}

async fn bring_up(seed: u64, clock: Clock, tasks: Tasks) -> Result<Plant, Error> {
    let refused = |error: &dyn std::fmt::Display| Error::Refused(error.to_string());
    let starting = |error| Error::System("starting the embedded systems", error);
    let config = mqtt::Config { refused: refused_prefix(), ..mqtt::Config::default() };
    let broker = Broker::start(&config, &tasks).await.map_err(|error| refused(&error))?;
    let [whole, severed] = relays(broker.address(), clock, &tasks).await.map_err(starting)?;
    let topics = SCENES.iter().map(topic).collect();
    let kafka = kafka::Config { topics, ..kafka::Config::default() };
    let kafka = Kafka::bind(kafka, clock).await.map_err(starting)?;
    let (mqtt, hooks) = (broker.address(), kafka.hooks());
    let addresses = Addresses {
        mqtt,
        whole: whole.address(),
        severed: severed.address(),
        kafka: kafka.address(),
    };
    tasks.spawn(kafka.serve(tasks.clone()));

    let rereads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rereads);
    hooks.judge_batches(move |batch| judge(batch, seed, &counted));
    let releases = hooks.released(RELEASES_MAX);
    for scene in SCENES.iter().filter(|it| matches!(it.part, Part::Behind | Part::Stuck)) {
        hooks.hold_fetches(scene.name);
    }
    let routes = || SCENES.iter().map(Scene::route).collect();
    let links = Links { steady: Link::new(seed, routes()), mortal: Link::new(seed, routes()) };
    for (line, link) in [("steady", &links.steady), ("mortal", &links.mortal)] {
        let config = bridge(line, &addresses);
        let ready = keep_bridging(config, clock, link.clone(), &tasks);
        let mut ready = ready.map_err(|error| refused(&error))?;
        // The sender lives in a task that only stops with all others.
        let _ = ready.wait_for(|ready| *ready).await;
    }
    let (moments, taps) = (Arc::default(), [whole.tap(), severed.tap()]);
    let play = play(clock, (links.clone(), severed, hooks.clone()), Arc::clone(&moments));
    let stopping = tasks.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = play => {}
            () = stopping.stopped() => {}
        }
    });
    let refusals = broker.refusals();
    Ok(Plant { addresses, links, refusals, releases, hooks, rereads, moments, taps, tasks })
}

fn topic(scene: &Scene) -> Topic {
    let mut topic = Topic::new(scene.name, PARTITIONS);
    if scene.part == Part::Created {
        let timestamps = TimestampType::CreateTime;
        topic.defaults = TopicDefaults { timestamps, ..topic.defaults };
    }
    topic
}

/// Two relays on a thread of their own: what they hear is timed, and must not wait behind the work of
/// the broker and of Kafka.
async fn relays(to: SocketAddr, clock: Clock, tasks: &Tasks) -> io::Result<[Relay; 2]> {
    let (tell, told) = oneshot::channel();
    let group = tasks.clone();
    threads::run_on_thread("wire", tasks, move || {
        let tasks = group.clone();
        group.spawn(async move {
            let start = async || Relay::start(to, clock, &tasks).await;
            let relays = async { Ok([start().await?, start().await?]) };
            // The receiver waits for exactly this.
            let _ = tell.send(relays.await);
        });
    })?;
    told.await.unwrap_or_else(|_| Err(io::Error::other("the thread of the relays ended")))
}

/// Decides which batches are read twice: of the path for that, those with one record of ours in them.
fn judge(batch: &BatchInfo<'_>, seed: u64, rereads: &AtomicU64) -> Verdict {
    let of_it = SCENES.iter().any(|it| it.name == batch.topic && it.faults.strangers > 0);
    let is_ours = || batch.records.windows(11).any(|bytes| bytes == b"traceparent");
    if !of_it || batch.count != 1 || !is_ours() {
        return Verdict::KEEP;
    }
    let place = batch.offset.unsigned_abs() << 8 ^ u64::from(batch.partition.unsigned_abs());
    if mix(seed ^ mix(place)) % 1_000 >= READ_TWICE {
        return Verdict::KEEP;
    }
    rereads.fetch_add(1, Ordering::Relaxed);
    Verdict::ReadTwice
}

fn bridge(line: &str, addresses: &Addresses) -> Config {
    Config {
        mqtt: Mqtt {
            host: addresses.mqtt.ip().to_string(),
            port: addresses.mqtt.port(),
            credentials: None,
            client_id: format!("bridge-{line}"),
            filter: format!("{line}/#"),
            qos_max: QoS::ExactlyOnce,
        },
        kafka_brokers: addresses.kafka.to_string(),
        // The routes of the link say where each message goes.
        kafka_topic: SCENES[0].name.to_owned(),
        kafka_properties: Vec::new(),
        acknowledge: Acknowledge::AfterKafka,
        max_in_flight: IN_FLIGHT_MAX,
    }
}

/// Runs a bridge, and another one each time that it dies; tells when one is subscribed.
fn keep_bridging(
    config: Config,
    clock: Clock,
    link: Link,
    tasks: &Tasks,
) -> Result<watch::Receiver<bool>, crate::embedded::bridge::Error> {
    let mut bridge = Bridge::new(config.clone(), clock)?.with_link(link.clone());
    let ready = bridge.subscribed();
    let group = tasks.clone();
    tasks.spawn(async move {
        loop {
            let ended = bridge.run(&group).await;
            if let Err(error) = &ended {
                tracing::error!("a bridge of the selftest ended: {error}");
            }
            let again = Bridge::new(config.clone(), clock);
            match again {
                Ok(again) if ended.is_ok() && !group.stopping() => {
                    bridge = again.with_link(link.clone());
                }
                _ => return,
            }
        }
    });
    Ok(ready)
}

/// Does to the systems what is to happen to them, in the order of time.
async fn play(
    clock: Clock,
    (links, relay, hooks): (Links, Relay, Hooks),
    moments: Arc<Mutex<Moments>>,
) {
    let note = |moment: fn(&mut Moments) -> &mut Option<Instant>| {
        *moment(&mut moments.lock().unwrap_or_else(PoisonError::into_inner)) = Some(clock.now());
    };
    let first = links.steady.begun().await;
    let at = async |after: Duration| {
        let left = (first + after).saturating_since(clock.now());
        tokio::time::sleep(left).await;
    };
    at(STALL_AT).await;
    links.steady.stall(index_of(Part::Stalled), first + STALL_AT + STALL_FOR);
    at(MUTE_AT).await;
    relay.set(Line::Mute);
    links.mortal.mute();
    at(SEVER_AT).await;
    note(|moments| &mut moments.severed);
    relay.set(Line::Cut);
    at(KILL_AT).await;
    links.mortal.kill();
    at(STEP_AT).await;
    note(|moments| &mut moments.stepped);
    hooks.set_clock_offset(CLOCK_STEP_NANOS);
    at(MEND_AT).await;
    relay.set(Line::Whole);
    at(LET_FETCH_AT).await;
    note(|moments| &mut moments.let_go);
    let behind = SCENES.iter().find(|scene| scene.part == Part::Behind);
    hooks.let_fetch(behind.map_or("", |scene| scene.name));
}
