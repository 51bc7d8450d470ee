//! Test support: a Kafka that holds every record by a known distribution and logs, on the clock that
//! landfall reads too, when it really let it go. What a run reports is held against that log, message
//! by message and as quantiles.
//!
//! The truth of a message is its release minus the moment for which it was intended: both are known
//! without landfall's consumer, correlator and statistics, which are what is on trial. The hold that
//! was drawn is not the truth, since a partition keeps its order: a record waits for the one before it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::embedded::bridge::{Acknowledge, Bridge, Config as BridgeConfig, Mqtt};
use landfall::embedded::kafka::{self, Hooks, Kafka, Topic, Verdict};
use landfall::embedded::mqtt::{self, Broker};
use landfall::shutdown::Tasks;
use landfall::splitmix::mix;
use rumqttc::v5::mqttbytes::QoS;
use tokio::runtime;

#[path = "truth/compared.rs"]
pub(crate) mod compared;
#[path = "quantile.rs"]
pub(crate) mod quantile;

/// The Kafka topic.
const TOPIC: &str = "truth";
/// Many, and records are spread over them at random: few then wait for the one before.
const PARTITIONS: i32 = 100;
/// Releases that the thread which writes them down may be behind.
const RELEASES_BEHIND: usize = 65_536;
/// How often an idle thread looks how late the machine wakes it.
const METRONOME: Duration = Duration::from_millis(1);

/// How long a record is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Anything from 10 to 50 ms.
    Uniform,
    /// Nine of ten 4 to 6 ms, the tenth 75 to 85 ms.
    Bimodal,
    /// Pareto from 4 ms with an exponent of 1.3, cut at 3 s.
    HeavyTail,
}

impl Holds {
    /// Each of them.
    pub(crate) const ALL: [Self; 3] = [Self::Uniform, Self::Bimodal, Self::HeavyTail];

    /// In words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform, 10 to 50 ms",
            Self::Bimodal => "bimodal, 5 ms or (1 of 10) 80 ms",
            Self::HeavyTail => "heavy tail, Pareto 1.3 from 4 ms to 3 s",
        }
    }

    /// The hold of the batch with this number; the same in every run.
    fn of(self, number: u64) -> Duration {
        let (first, second) = (uniform(mix(number)), uniform(mix(!number)));
        let millis = match self {
            Self::Uniform => 10.0 + 40.0 * first,
            Self::Bimodal if second < 0.9 => 4.0 + 2.0 * first,
            Self::Bimodal => 75.0 + 10.0 * first,
            Self::HeavyTail => (4.0 * first.powf(-1.0 / 1.3)).min(3_000.0),
        };
        Duration::from_secs_f64(millis / 1e3)
    }
}

/// A number above 0 and below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits make the number")]
fn uniform(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Where a record lies: partition and offset.
type Place = (i32, i64);

/// What the Kafka wrote down.
#[derive(Debug, Default)]
struct Log {
    /// Trace ids as they were appended.
    appended: Mutex<Vec<(Place, u128)>>,
    /// When each record could be fetched.
    released: Mutex<HashMap<Place, Instant>>,
    /// How late the machine woke an idle thread, in nanoseconds.
    lateness: Mutex<Vec<i64>>,
}

/// Broker, bridge and Kafka, each on a thread of its own in this process.
pub(crate) struct Plant {
    mqtt: SocketAddr,
    kafka: SocketAddr,
    hooks: Hooks,
    log: Arc<Log>,
    tasks: Tasks,
}

/// When each message could be fetched, by trace id, and what the machine was like meanwhile.
pub(crate) struct Truth {
    /// Nanoseconds of the boot-time clock.
    pub(crate) released: HashMap<u128, u64>,
    /// How late the machine woke an idle thread, in nanoseconds, ascending.
    pub(crate) lateness: Vec<i64>,
}

impl Plant {
    /// Starts them, with a Kafka that holds each batch so long, and waits until the bridge is
    /// subscribed.
    pub(crate) fn start(holds: Holds) -> Self {
        let (tasks, log) = (Tasks::new(), Arc::new(Log::default()));
        let config = kafka::Config {
            topics: vec![Topic::new(TOPIC, PARTITIONS)],
            bytes_max: 512 << 20,
            partition_bytes_max: 64 << 20,
            ..kafka::Config::default()
        };
        let (kafka, hooks) = on_thread("kafka", &tasks, async move |tasks: &Tasks| {
            let kafka = Kafka::bind(config, Clock::system()).await.unwrap();
            let bound = (kafka.address(), kafka.hooks());
            tasks.spawn(kafka.serve(tasks.clone()));
            bound
        });
        let mqtt = on_thread("broker", &tasks, async |tasks: &Tasks| {
            Broker::start(&mqtt::Config::default(), tasks).await.unwrap().address()
        });
        log.write(&hooks, holds, &tasks);
        on_thread("bridge", &tasks, async move |tasks: &Tasks| bridge(mqtt, kafka, tasks).await);
        Self { mqtt, kafka, hooks, log, tasks }
    }

    /// The configuration of a run over it.
    pub(crate) fn configuration(&self, rate: u32) -> String {
        format!(
            "probe: truth
paths:
  - name: truth
    mqtt:
      url: 'mqtt://{}'
      version: 3.1.1
      topic: 'landfall/truth/{{client}}'
      qos: 1
      clients: 10
      rate: {rate}/s
      payload: {{ size: 64, format: binary }}
    kafka: {{ brokers: '{}', topics: [{TOPIC}] }}
    deadline: 20s
window: 5s
telemetry: {{ listen: '127.0.0.1:0' }}
",
            self.mqtt, self.kafka
        )
    }

    /// Ends them: what the Kafka wrote down.
    pub(crate) fn end(self) -> Truth {
        assert_eq!(self.hooks.released_dropped(), 0, "releases that were not written down");
        // Another subscription ends the one of the thread that writes down.
        drop(self.hooks.released(1));
        self.tasks.stop();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.tasks.finished());
        let released = std::mem::take(&mut *locked(&self.log.released));
        let appended = std::mem::take(&mut *locked(&self.log.appended));
        let count = appended.len();
        let released: HashMap<u128, u64> = appended
            .into_iter()
            .filter_map(|(place, id)| Some((id, released.get(&place)?.nanos())))
            .collect();
        assert_eq!(released.len(), count, "records that were not let go, or came twice");
        let mut lateness = std::mem::take(&mut *locked(&self.log.lateness));
        lateness.sort_unstable();
        Truth { released, lateness }
    }
}

impl Log {
    /// From now on holds are drawn, and everything is written down.
    fn write(self: &Arc<Self>, hooks: &Hooks, holds: Holds, tasks: &Tasks) {
        let (log, number) = (Arc::clone(self), AtomicU64::new(0));
        hooks.judge_batches(move |batch| {
            let mut appended = locked(&log.appended);
            for (offset, id) in (batch.offset..).zip(trace_ids(batch.records)) {
                appended.push(((batch.partition, offset), id));
            }
            Verdict::hold(holds.of(number.fetch_add(1, Ordering::Relaxed)))
        });
        let (log, releases) = (Arc::clone(self), hooks.released(RELEASES_BEHIND));
        tasks
            .thread("releases", move || {
                // Ends when the Kafka is gone.
                while let Ok(release) = releases.recv() {
                    let mut released = locked(&log.released);
                    for offset in release.base_offset..release.base_offset + release.count {
                        released.insert((release.partition, offset), release.at);
                    }
                }
            })
            .unwrap();
        let (log, stopping) = (Arc::clone(self), tasks.clone());
        tasks
            .thread("metronome", move || {
                let clock = Clock::system();
                let mut due = clock.now();
                while !stopping.stopping() {
                    due = due + METRONOME;
                    clock.sleep_until(due);
                    let late = clock.now().nanos_since(due);
                    locked(&log.lateness).push(late);
                    // What was missed is not caught up with.
                    due = due.max(clock.now() - METRONOME);
                }
            })
            .unwrap();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a system on a thread of its own that runs until `tasks` stop: what it says once it is up.
fn on_thread<T: Send + 'static>(
    name: &str,
    tasks: &Tasks,
    start: impl AsyncFnOnce(&Tasks) -> T + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    let group = tasks.child();
    tasks
        .thread(name, move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(start(&group).await).unwrap();
                group.stopped().await;
                group.finished().await;
            });
        })
        .unwrap();
    told.recv().unwrap_or_else(|_| panic!("{name} does not start"))
}

async fn bridge(mqtt: SocketAddr, kafka: SocketAddr, tasks: &Tasks) {
    let config = BridgeConfig {
        mqtt: Mqtt {
            host: mqtt.ip().to_string(),
            port: mqtt.port(),
            credentials: None,
            client_id: "bridge".to_owned(),
            filter: "landfall/#".to_owned(),
            qos_max: QoS::AtLeastOnce,
        },
        kafka_brokers: kafka.to_string(),
        kafka_topic: TOPIC.to_owned(),
        kafka_properties: vec![("partitioner".to_owned(), "random".to_owned())],
        acknowledge: Acknowledge::AfterKafka,
        max_in_flight: 50_000,
    };
    let bridge = Bridge::new(config, Clock::system()).unwrap();
    let mut subscribed = bridge.subscribed();
    let group = tasks.clone();
    tasks.spawn(async move { bridge.run(&group).await.unwrap() });
    subscribed.wait_for(|subscribed| *subscribed).await.unwrap();
}

/// The trace ids of an uncompressed batch: each value begins with a binary traceparent. A record is
/// its length, attributes, two distances, key, value and headers (Kafka's protocol guide, "Record").
fn trace_ids(mut records: &[u8]) -> impl Iterator<Item = u128> {
    std::iter::from_fn(move || {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        let (record, rest) = records.split_at(length);
        records = rest;
        let mut fields = &record[1..];
        varint(&mut fields)?;
        varint(&mut fields)?;
        let key = usize::try_from(varint(&mut fields)?).unwrap_or(0);
        fields = &fields[key..];
        let value = usize::try_from(varint(&mut fields)?).ok()?;
        let value = &fields[..value];
        assert_eq!(value[..2], [0, 0], "version 0, field 0");
        Some(u128::from_be_bytes(value[2..18].try_into().unwrap()))
    })
}

/// Takes a zigzag-encoded number off the front; `None` where there is nothing more.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
        }
    }
    None
}
