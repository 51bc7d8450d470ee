//! Test support: the reference bridge in the test's own process, holding each message back for as long as
//! it is told.
#![expect(
    clippy::unwrap_used,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::sync::mpsc;
use std::time::Duration;

use landfall::clock::Clock;
use landfall::embedded::bridge::{Acknowledge, Bridge, Config, Faults, Link, Mqtt, Route};
use landfall::shutdown::Tasks;
use rumqttc::v5::mqttbytes::QoS;
use tokio::runtime;

/// A bridge that stops when it is dropped.
pub(crate) struct Held(Tasks);

impl Held {
    /// Joins the MQTT topics `landfall/NAME/#` to the Kafka topic NAME, and waits until it does. Each
    /// message goes on after `hold`.
    pub(crate) fn start(name: &str, mqtt: &str, kafka: &str, hold: Duration) -> Self {
        let (host, port) = mqtt.split_once(':').unwrap();
        let prefix = format!("landfall/{name}/");
        let config = Config {
            mqtt: Mqtt {
                host: host.to_owned(),
                port: port.parse().unwrap(),
                credentials: None,
                client_id: format!("{name}-held"),
                filter: format!("{prefix}#"),
                qos_max: QoS::ExactlyOnce,
            },
            kafka_brokers: kafka.to_owned(),
            kafka_topic: name.to_owned(),
            kafka_properties: Vec::new(),
            acknowledge: Acknowledge::AfterKafka,
            max_in_flight: 10_000,
        };
        let faults = Faults { delay: (hold, hold), ..Faults::default() };
        let link = Link::new(1, vec![Route { prefix, topic: name.to_owned(), faults }]);
        let tasks = Tasks::new();
        let (tell, told) = mpsc::channel();
        let (group, thread) = (tasks.clone(), tasks.child());
        thread
            .thread("held", move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let bridge = Bridge::new(config, Clock::system()).unwrap().with_link(link);
                    let mut subscribed = bridge.subscribed();
                    let at_work = group.clone();
                    group.spawn(async move { bridge.run(&at_work).await.unwrap() });
                    subscribed.wait_for(|subscribed| *subscribed).await.unwrap();
                    tell.send(()).unwrap();
                    group.stopped().await;
                    group.finished().await;
                });
            })
            .unwrap();
        told.recv().unwrap();
        Self(tasks)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.stop();
    }
}
