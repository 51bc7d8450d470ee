//! Test support: broker, Kafka and bridge in this process, with faults that last from the beginning and
//! faults that come when they are called.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use landfall::clock::Clock;
use landfall::embedded::bridge::{Acknowledge, Bridge, Config, Faults, Link, Mqtt, Route};
use landfall::embedded::kafka::{self, BatchInfo, Hooks, Kafka, Topic, Verdict};
use landfall::embedded::mqtt::{self, Broker};
use landfall::embedded::relay::{Line, Relay};
use landfall::shutdown::Tasks;
use rumqttc::v5::mqttbytes::QoS;
use tokio::runtime;

/// The topic, and the path, on whose way nothing happens to messages.
pub(crate) const HEALTHY: &str = "healthy";
/// The one on whose way everything does.
pub(crate) const FAULTY: &str = "faulty";
/// Where control messages go.
pub(crate) const CONTROL: &str = "control";

/// Of this many batches with messages of the faulty path one is read twice.
const READ_TWICE_OF: i64 = 20;
const PARTITIONS: i32 = 3;
/// What happens to the faulty path's messages, in 1,000 of them.
const FAULTS: Faults = Faults {
    delay: (Duration::ZERO, Duration::from_millis(1)),
    dropped: 20,
    doubled: 30,
    overtaken: 50,
    overtaking: (Duration::from_millis(50), Duration::from_millis(100)),
    flipped: 20,
    cut: 0,
    beheaded: 0,
    stripped: 30,
    strangers: 30,
};

/// The systems at work.
pub(crate) struct Plant {
    /// The broker, behind a relay.
    pub(crate) mqtt: SocketAddr,
    pub(crate) kafka: SocketAddr,
    relay: Relay,
    link: Link,
    hooks: Hooks,
    tasks: Tasks,
}

impl Plant {
    /// Starts them, and waits until the bridge is subscribed.
    pub(crate) fn start() -> Self {
        let tasks = Tasks::new();
        let (tell, told) = mpsc::channel();
        let (group, thread) = (tasks.clone(), tasks.child());
        thread
            .thread("systems", move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tell.send(bring_up(&group).await).unwrap();
                    group.stopped().await;
                    group.finished().await;
                });
            })
            .unwrap();
        told.recv().unwrap()
    }

    /// Severs every connection to the broker and to Kafka; new ones to the broker fail until
    /// [`Plant::mend`].
    pub(crate) fn sever(&self) {
        self.relay.set(Line::Cut);
        self.hooks.close_connections();
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.relay.set(Line::Whole);
    }

    /// Holds all messages of the faulty path back for so long.
    pub(crate) fn stall(&self, clock: Clock, time: Duration) {
        self.link.stall(0, clock.now() + time);
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn bring_up(tasks: &Tasks) -> Plant {
    let clock = Clock::system();
    let broker = Broker::start(&mqtt::Config::default(), tasks).await.unwrap();
    let relay = Relay::start(broker.address(), clock, tasks).await.unwrap();
    let topics = [HEALTHY, FAULTY, CONTROL].map(|name| Topic::new(name, PARTITIONS)).to_vec();
    let config = kafka::Config { topics, bytes_max: 128 << 20, ..kafka::Config::default() };
    let kafka = Kafka::bind(config, clock).await.unwrap();
    let (address, hooks) = (kafka.address(), kafka.hooks());
    hooks.judge_batches(judge);
    tasks.spawn(kafka.serve(tasks.clone()));

    let route =
        |name: &str, faults| Route { prefix: format!("{name}/"), topic: name.to_owned(), faults };
    let link = Link::new(1, vec![route(FAULTY, FAULTS), route(HEALTHY, Faults::default())]);
    let config = Config {
        mqtt: Mqtt {
            host: broker.address().ip().to_string(),
            port: broker.address().port(),
            credentials: None,
            client_id: "bridge".to_owned(),
            filter: "#".to_owned(),
            qos_max: QoS::ExactlyOnce,
        },
        kafka_brokers: address.to_string(),
        kafka_topic: HEALTHY.to_owned(),
        kafka_properties: Vec::new(),
        acknowledge: Acknowledge::AfterKafka,
        max_in_flight: 10_000,
    };
    let bridge = Bridge::new(config, clock).unwrap().with_link(link.clone());
    let mut subscribed = bridge.subscribed();
    let group = tasks.clone();
    tasks.spawn(async move {
        // Should it end early, nothing crosses any more, which no test that looks can miss.
        let _ = bridge.run(&group).await;
    });
    subscribed.wait_for(|subscribed| *subscribed).await.unwrap();
    Plant { mqtt: relay.address(), kafka: address, relay, link, hooks, tasks: tasks.clone() }
}

/// Which batches a consumer gets twice.
fn judge(batch: &BatchInfo<'_>) -> Verdict {
    if batch.topic == FAULTY && batch.offset % READ_TWICE_OF == 0 {
        Verdict::ReadTwice
    } else {
        Verdict::KEEP
    }
}
