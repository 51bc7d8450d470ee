//! Room `app`: the steps of a check on one path.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::kafka;
use super::probes::Probes;
use super::{WAIT_MAX, crossing};
use crate::app::wiring::Parts;
use crate::clock::Clock;
use crate::config::{Loaded, MqttConfig, PathConfig};
use crate::correlate::{Lane, PathId, Roster};
use crate::preflight::{self, Finding, Needs, Reading};
use crate::publish;
use crate::reach::reach;
use crate::shutdown::Tasks;
use crate::stamp::Stamper;
use crate::{consume, subscribe};

/// A path to check, with the parts that a run would have of it.
pub(super) struct Path {
    pub(super) id: PathId,
    pub(super) clock: Clock,
    pub(super) stamper: Stamper,
    pub(super) roster: Arc<Roster>,
    /// One for each QoS.
    pub(super) publishers: Vec<publish::Config>,
    pub(super) subscriber: Option<subscribe::Config>,
    pub(super) consumer: Option<consume::Config>,
    /// What would read its control topic.
    pub(super) control: Option<consume::Config>,
    pub(super) config: PathConfig,
    pub(super) probe: String,
    pub(super) wait: Duration,
}

impl Path {
    /// The path of this index, and how long its messages are waited for.
    pub(super) fn new(
        loaded: &Loaded,
        parts: &Parts,
        (index, wait): (usize, Option<Duration>),
        clock: Clock,
    ) -> Self {
        let config = loaded.resolved.paths[index].clone();
        // There are no more than 128.
        let id = PathId(u8::try_from(index).unwrap_or(u8::MAX));
        // Publishers take the QoS levels in turn: the first ones have one each.
        let levels = config.mqtt.qos.len();
        let publishers = parts.publishers.iter().map(|(publisher, _)| publisher);
        let mut publishers: Vec<publish::Config> = publishers
            .filter(|publisher| publisher.path == id.0 && (publisher.index as usize) < levels)
            .cloned()
            .collect();
        publishers.sort_unstable_by_key(|publisher| publisher.index);
        let subscriber = parts.subscribers.iter().find(|subscriber| subscriber.path == id);
        let consumer = |lane| {
            let mut of_path = parts.consumers.iter().filter(|consumer| consumer.path == id);
            of_path.find(|consumer| consumer.lane == lane).cloned()
        };
        Self {
            id,
            clock,
            stamper: parts.stamper.clone(),
            roster: Arc::clone(&parts.roster),
            publishers,
            subscriber: subscriber.cloned().map(subscribe::Config::alone),
            consumer: consumer(Lane::MqttKafka),
            control: consumer(Lane::KafkaKafka),
            wait: wait.unwrap_or(config.deadline.min(WAIT_MAX)),
            config,
            probe: loaded.resolved.probe.clone(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// The MQTT topic filter that matches what the path publishes to.
    pub(super) fn filter(&self) -> String {
        self.config.mqtt.topic.filter(&self.probe, self.name())
    }

    /// What the path joins, on one line.
    pub(super) fn title(&self) -> String {
        let MqttConfig { url, .. } = &self.config.mqtt;
        let topic = self.filter();
        let host =
            if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
        let mqtt = format!("path {}: MQTT {host}:{} topic {topic}", self.name(), url.port);
        match (&self.consumer, &self.config.kafka) {
            (Some(consumer), _) => {
                format!(
                    "{mqtt} -> Kafka {} topics {}",
                    consumer.brokers,
                    consumer.topics.join(", ")
                )
            }
            (None, Some(kafka)) if self.control.is_some() => {
                let topic = kafka.control_topic.as_deref().unwrap_or_default();
                format!("{mqtt}; Kafka {} control topic {topic}", kafka.brokers.join(","))
            }
            (None, Some(_)) => format!("{mqtt} (Kafka is not read: lanes lacks mqtt_kafka)"),
            (None, None) => format!("{mqtt} (no Kafka)"),
        }
    }

    /// Takes every step that can be taken, and tells the findings of each.
    pub(super) async fn check(mut self, tell: Sender<Vec<Finding>>, stop: &Tasks) {
        let say = |findings| async {
            // Fails only after a second signal.
            let _ = tell.send(findings).await;
        };
        let Some(mut probes) = self.connect(stop, &say).await else { return };
        if !stop.stopping() {
            let reading = match self.consumer.take() {
                None => {
                    if let Some(control) = &self.control {
                        say(kafka::look(&self, control, stop).await.0).await;
                    }
                    Reading::NotAsked
                }
                Some(consumer) => match kafka::look(&self, &consumer, stop).await {
                    (findings, true) => {
                        say(findings).await;
                        self.consumer = Some(consumer);
                        Reading::Stands(0)
                    }
                    (findings, false) => {
                        say(findings).await;
                        Reading::NotTried
                    }
                },
            };
            if probes.any_accepted() && !stop.stopping() {
                say(crossing::cross(&mut self, &mut probes, reading, stop).await).await;
            }
        }
        probes.end().await;
    }

    /// Connects to the MQTT broker, and tells what came of it.
    async fn connect<F: Future<Output = ()>>(
        &self,
        stop: &Tasks,
        say: &impl Fn(Vec<Finding>) -> F,
    ) -> Option<Probes> {
        let MqttConfig { url, version, .. } = &self.config.mqtt;
        let (place, clock) = ((url.host.clone(), url.port), self.clock);
        let mut reached = on_thread("reach", move || reach(&[place], clock), stop).await?;
        let reached = reached.pop()?;
        let mut probes = Probes::default();
        if reached.is_reached() {
            probes = Probes::start(&self.publishers, (clock, self.stamper.clone()));
            probes.await_logins(stop).await;
        }
        say(preflight::mqtt(&reached, version.name(), &probes.logins(), self.needs())).await;
        Some(probes)
    }

    pub(super) fn needs(&self) -> Needs {
        let mqtt = &self.config.mqtt;
        // A level has its share of the rate, and so has each of its clients.
        let levels = u32::try_from(mqtt.qos.len()).unwrap_or(1);
        let clients = (mqtt.clients / levels.max(1)).max(1);
        Needs {
            payload_bytes: u64::from(mqtt.payload.size),
            rate: mqtt.rate.nominal(),
            client_rate: mqtt.rate.nominal() / f64::from(levels * clients),
            deadline: self.config.deadline,
        }
    }
}

/// Does what blocks on a thread of its own; nothing where it is time to stop, or where the system has
/// no thread to give.
pub(super) async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    stop: &Tasks,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    let work = move || drop(tell.send(work()));
    Tasks::new().thread(name, work).ok()?;
    tokio::select! {
        done = told => done.ok(),
        () = stop.stopped() => None,
    }
}
