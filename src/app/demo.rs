//! Room `app`: `landfall demo`: broker, bridge and Kafka in this process, and the same measurement
//! as ever over real sockets between them.

use rumqttc::v5::mqttbytes::QoS;
use tokio::sync::oneshot;

use super::{Error, Options, measure, threads};
use crate::clock::Clock;
use crate::config::{self, Overrides};
use crate::embedded::bridge::{Acknowledge, Bridge, Config as BridgeConfig, Mqtt};
use crate::embedded::kafka::{self, Kafka, Topic};
use crate::embedded::mqtt::{self, Broker};
use crate::shutdown::Tasks;

/// Where the bridge puts what it takes from the broker.
const TOPIC: &str = "mqtt-messages";
/// Where control messages go.
const CONTROL_TOPIC: &str = "landfall";
const PARTITIONS: i32 = 3;
/// Memory for the records of the embedded Kafka: minutes of the demo's load.
const KAFKA_BYTES_MAX: usize = 12 << 20;
/// What the bridge may have on its way.
const IN_FLIGHT_MAX: usize = 10_000;

/// Where the embedded systems are.
struct Addresses {
    mqtt: String,
    kafka: String,
}

/// Runs the demo; the exit code is the run's. Of the environment it takes what says where to export.
pub(super) async fn run(
    rate: &str,
    listen: Option<&str>,
    variables: impl Iterator<Item = (String, String)>,
    options: Options,
) -> Result<u8, Error> {
    let systems = Tasks::new();
    let addresses = start(&systems).await?;
    let text = configuration(&addresses, rate);
    let flags = Overrides { listen: listen.map(str::to_owned), ..Overrides::default() };
    // What is ours is for a sidecar, which may run on the same machine.
    let standard = variables.filter(|(name, _)| name.starts_with("OTEL_"));
    let loaded = config::load_text("landfall demo", &text, &flags, standard)?;
    let code = measure(&loaded, options).await;
    systems.stop();
    systems.finished().await;
    code
}

/// The configuration of the demo, in the words of any other.
fn configuration(addresses: &Addresses, rate: &str) -> String {
    format!(
        "probe: demo
paths:
  - name: demo
    mqtt:
      url: mqtt://{mqtt}
      topic: landfall/demo/{{client}}
      qos: [0, 1, 2]
      clients: 3
      rate: {rate}
    kafka:
      brokers: {kafka}
      topics: [{TOPIC}]
      control_topic: {CONTROL_TOPIC}
      # The measurement begins after whole Fetches, and somebody is waiting in front of a screen.
      properties: {{ fetch.wait.max.ms: 100 }}
    lanes: [mqtt_kafka, mqtt_mqtt, kafka_kafka]
    deadline: 5s
window: 5s
",
        mqtt = addresses.mqtt,
        kafka = addresses.kafka,
    )
}

/// Starts the three systems on a thread of their own and waits until the bridge is subscribed.
async fn start(systems: &Tasks) -> Result<Addresses, Error> {
    let (tell, told) = oneshot::channel();
    let tasks = systems.clone();
    threads::run_on_thread("systems", systems, move || {
        let group = tasks.clone();
        tasks.spawn(async move {
            // The receiver waits for exactly this.
            let _ = tell.send(bring_up(&group).await);
        });
    })
    .map_err(|error| Error::System("starting the embedded systems", error))?;
    told.await.unwrap_or_else(|_| Err(Error::Refused("the embedded systems ended".to_owned())))
}

async fn bring_up(tasks: &Tasks) -> Result<Addresses, Error> {
    let clock = Clock::system();
    let broker = Broker::start(&mqtt::Config::default(), tasks)
        .await
        .map_err(|error| Error::Refused(error.to_string()))?;
    let topics = [TOPIC, CONTROL_TOPIC].map(|name| Topic::new(name, PARTITIONS)).to_vec();
    let bytes_max = KAFKA_BYTES_MAX;
    let config = kafka::Config { topics, bytes_max, ..kafka::Config::default() };
    let kafka = Kafka::bind(config, clock)
        .await
        .map_err(|error| Error::System("starting the embedded Kafka", error))?;
    let addresses =
        Addresses { mqtt: broker.address().to_string(), kafka: kafka.address().to_string() };
    tasks.spawn(kafka.serve(tasks.clone()));
    let config = BridgeConfig {
        mqtt: Mqtt {
            host: broker.address().ip().to_string(),
            port: broker.address().port(),
            credentials: None,
            client_id: "bridge".to_owned(),
            filter: "landfall/#".to_owned(),
            qos_max: QoS::ExactlyOnce,
        },
        kafka_brokers: addresses.kafka.clone(),
        kafka_topic: TOPIC.to_owned(),
        kafka_properties: Vec::new(),
        acknowledge: Acknowledge::AfterKafka,
        max_in_flight: IN_FLIGHT_MAX,
    };
    let bridge = Bridge::new(config, clock).map_err(|error| Error::Refused(error.to_string()))?;
    let mut subscribed = bridge.subscribed();
    let group = tasks.clone();
    tasks.spawn(async move {
        if let Err(error) = bridge.run(&group).await {
            tracing::error!("the demo's bridge ended: {error}; start the demo again");
        }
    });
    subscribed
        .wait_for(|subscribed| *subscribed)
        .await
        .map_err(|_| Error::Refused("the demo's bridge could not subscribe".to_owned()))?;
    Ok(addresses)
}
