//! Room `app`: the Kafka sides of a path.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::room::queue;
use crate::config::{KafkaConfig, PathConfig, TopicSelector};
use crate::correlate::{Lane, PathId, PublisherId};
use crate::{consume, produce, publish, schedule};

/// What reads the topics of a path, where anything is timed to there.
pub(super) fn consumers(path: &PathConfig, id: PathId, group: &str) -> Vec<consume::Config> {
    let Some(kafka) = &path.kafka else { return Vec::new() };
    let consumer = |lane, topics, readers: u32| consume::Config {
        path: id,
        lane,
        brokers: kafka.brokers.join(","),
        topics,
        readers: readers as usize,
        properties: consume::Properties(properties(kafka)),
        group: group.to_owned(),
        lookout: None,
        resumed: None,
    };
    let topics = |_: &Lane| -> Vec<String> {
        let named =
            |(TopicSelector::Name(it) | TopicSelector::Pattern(it)): &TopicSelector| it.clone();
        kafka.topics.iter().map(named).collect()
    };
    let has = |lane: Lane| path.lanes.iter().find(|&&it| it == lane);
    let crossing = has(Lane::MqttKafka).map(|lane| consumer(*lane, topics(lane), kafka.consumers));
    let control = has(Lane::KafkaKafka).zip(kafka.control_topic.clone());
    let control = control.map(|(lane, topic)| consumer(*lane, vec![topic], 1));
    crossing.into_iter().chain(control).collect()
}

/// What produces the control messages of a path, where it has that lane: with the schedules and
/// payloads of its `publishers`, the first of whose twins has the id `first`.
pub(super) fn producer<'a>(
    (path, id): (&PathConfig, PathId),
    first: PublisherId,
    publishers: impl Iterator<Item = &'a (publish::Config, schedule::Config)>,
    client_id: &str,
) -> Option<produce::Config> {
    let kafka = path.kafka.as_ref().filter(|_| path.lanes.contains(&Lane::KafkaKafka))?;
    let twin = |(publisher, plan): &(publish::Config, schedule::Config)| {
        let index = publisher.index;
        (produce::Twin { publisher: PublisherId(first.0 + index), index }, *plan)
    };
    let mqtt = &path.mqtt;
    Some(produce::Config {
        path: id,
        brokers: kafka.brokers.join(","),
        topic: kafka.control_topic.clone()?,
        properties: produce::Properties(properties(kafka)),
        client_id: format!("{client_id}-produce"),
        twins: publishers.map(twin).collect(),
        format: mqtt.payload.format,
        size: mqtt.payload.size as usize,
        queue: queue(mqtt.rate.nominal(), path.deadline),
        patience: patience(path.deadline),
    })
}

/// No answer is awaited for longer than twice the deadline.
fn patience(deadline: Duration) -> Duration {
    deadline * 2
}

/// The properties of librdkafka, secrets in the clear.
fn properties(kafka: &KafkaConfig) -> Vec<(String, String)> {
    let plain = kafka.properties.iter().map(|(name, value)| (name.clone(), value.clone()));
    let secret = kafka.secret_properties.iter();
    let secret = secret.map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    plain.chain(secret).collect()
}
