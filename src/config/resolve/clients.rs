//! Room `config` (wiring): the clients of a path beside its publishers.

use super::super::keys::{self, background, subscribers};
use super::super::resolved::{BackgroundConfig, SubscribersConfig, TopicTemplate};
use super::{Reader, View};
use crate::correlate::{Lane, Receive};

impl Reader<'_> {
    /// Reads `mqtt.subscribers`, of a path with this topic and so many publishing clients.
    pub(super) fn subscribers(
        &mut self,
        mqtt: &View<'_>,
        (topic, clients): (&TopicTemplate, u32),
    ) -> Option<SubscribersConfig> {
        let Some(view) = mqtt.section(&subscribers::SUBSCRIBERS) else {
            return Some(SubscribersConfig::default());
        };
        let count = view.get(&subscribers::COUNT, self.problems);
        let receive = view.get(&subscribers::RECEIVE, self.problems);
        let (count, receive) = (count?, receive?);
        if receive == Receive::Own && !topic.as_str().contains("{client}") {
            let what = "own needs a topic for each client; put {client} into mqtt.topic";
            let origin = view.origin_of(&subscribers::RECEIVE);
            self.problems.add(origin, &view.path_of(&subscribers::RECEIVE), what);
        }
        if receive == Receive::Own && count > clients {
            let what = format!(
                "{count} subscribers can't each have clients of their own; there are {clients}"
            );
            let origin = view.origin_of(&subscribers::COUNT);
            self.problems.add(origin, &view.path_of(&subscribers::COUNT), what);
        }
        Some(SubscribersConfig { count, receive })
    }

    /// Reads `mqtt.background`.
    pub(super) fn background(&mut self, mqtt: &View<'_>) -> Option<BackgroundConfig> {
        let view = mqtt.section(&background::BACKGROUND)?;
        let idle = view.get(&background::IDLE, self.problems);
        let slow_subscribers = view.get(&background::SLOW_SUBSCRIBERS, self.problems);
        let persistent = view.get(&background::PERSISTENT, self.problems);
        let storm = view.get(&background::STORM, self.problems);
        let every = view.get(&background::EVERY, self.problems);
        let read = view.get(&background::READ, self.problems);
        Some(BackgroundConfig {
            idle: idle?,
            slow_subscribers: slow_subscribers?,
            persistent: persistent?,
            storm: storm?,
            every: every?,
            read: read?,
        })
    }

    /// Subscribers are there for one lane alone.
    pub(super) fn check_subscribers(&mut self, path: &View<'_>, lanes: &[Lane]) {
        let Some(mqtt) = path.section(&keys::MQTT) else { return };
        let key = &subscribers::SUBSCRIBERS;
        if mqtt.node.get(key.name).is_some() && !lanes.contains(&Lane::MqttMqtt) {
            let what = "nobody subscribes without lane mqtt_mqtt; add it to lanes, or remove this";
            self.problems.add(mqtt.origin_of(key), &mqtt.path_of(key), what);
        }
    }
}
