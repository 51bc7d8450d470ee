//! Room `app`: the reference bridge as a process of its own.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use rumqttc::v5::mqttbytes::QoS;

use super::Error;
use crate::clock::Clock;
use crate::embedded::bridge::{Acknowledge, Bridge, Config, Mqtt};
use crate::shutdown::{Signals, Tasks};

/// What the bridge joins.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// MQTT broker
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    mqtt: (String, u16),
    /// Topic filter to subscribe to
    #[arg(long, default_value = "#")]
    filter: String,
    /// Client id; names the session, so keep it over restarts
    #[arg(long, default_value = "landfall-bridge")]
    client_id: String,
    /// Kafka brokers, separated by commas
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: String,
    /// Kafka topic; it must exist
    #[arg(long)]
    topic: String,
    /// When messages are acknowledged to the MQTT broker
    #[arg(long, value_enum, default_value = "after-kafka")]
    acknowledge: When,
    /// Messages that Kafka has not confirmed, at most
    #[arg(long, default_value_t = 10_000)]
    in_flight: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// When Kafka has confirmed them
    AfterKafka,
    /// At once: acknowledgements that lie, for tests
    BeforeKafka,
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    port.ok_or_else(|| "is not HOST:PORT".to_owned())
}

/// Runs the bridge until a signal.
pub(super) async fn run(flags: Flags) -> Result<u8, Error> {
    let (host, port) = flags.mqtt;
    let mqtt = Mqtt {
        host,
        port,
        credentials: None,
        client_id: flags.client_id,
        filter: flags.filter,
        qos_max: QoS::ExactlyOnce,
    };
    let config = Config {
        mqtt,
        kafka_brokers: flags.kafka,
        kafka_topic: flags.topic,
        kafka_properties: Vec::new(),
        acknowledge: match flags.acknowledge {
            When::AfterKafka => Acknowledge::AfterKafka,
            When::BeforeKafka => Acknowledge::BeforeKafka,
        },
        max_in_flight: flags.in_flight,
    };
    let refused = |error: crate::embedded::bridge::Error| Error::Refused(error.to_string());
    let bridge = Bridge::new(config, Clock::system()).map_err(refused)?;
    let counters = bridge.counters();
    let mut subscribed = bridge.subscribed();
    let mut signals =
        Signals::listen().map_err(|error| Error::System("listening for signals", error))?;
    let tasks = Tasks::new();
    let mut running = std::pin::pin!(bridge.run(&tasks));
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = signals.next() => tasks.stop(),
            changed = subscribed.changed() => {
                if changed.is_ok() && *subscribed.borrow_and_update() {
                    // Scripts wait for this line.
                    let _ = writeln!(io::stdout(), "subscribed");
                }
                if changed.is_err() {
                    break running.await;
                }
            }
        }
    };
    tasks.stop();
    tasks.finished().await;
    let _ = writeln!(
        io::stdout(),
        "received {} produced {} failed {} reconnects {}",
        counters.received(),
        counters.produced(),
        counters.failed(),
        counters.reconnects()
    );
    ended.map(|()| 0).map_err(refused)
}
