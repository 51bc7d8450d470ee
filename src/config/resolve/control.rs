//! Room `config` (wiring): the control lane: what it needs, and what would make nonsense of it.

use regex::Regex;

use super::{Reader, View};
use crate::config::keys;
use crate::config::resolved::{PathConfig, TopicSelector};
use crate::correlate::Lane;

impl Reader<'_> {
    /// The lane and its topic belong together.
    pub(super) fn check_control_lane(&mut self, path: &View<'_>, lanes: &[Lane]) {
        let asked = lanes.contains(&Lane::KafkaKafka);
        let kafka = path.section(&keys::KAFKA);
        let topic = kafka.as_ref().filter(|it| it.node.get(keys::CONTROL_TOPIC.name).is_some());
        let (key, what) = match (asked, &kafka, topic) {
            (true, None, _) => {
                // What stands there instead is told by its key.
                if path.node.get(keys::KAFKA.name).is_some() {
                    return;
                }
                let what = "holds kafka_kafka, but the path has no kafka; add kafka or remove the \
                            lane";
                ((path.origin_of(&keys::LANES), path.path_of(&keys::LANES)), what)
            }
            (true, Some(_), None) => {
                let what = "holds kafka_kafka, which needs a topic of its own; give \
                            kafka.control_topic or remove the lane";
                ((path.origin_of(&keys::LANES), path.path_of(&keys::LANES)), what)
            }
            (false, _, Some(kafka)) => {
                let what = "is for lane kafka_kafka, which lanes does not hold; add the lane or \
                            remove this";
                ((kafka.origin_of(&keys::CONTROL_TOPIC), kafka.path_of(&keys::CONTROL_TOPIC)), what)
            }
            _ => return,
        };
        self.problems.add(key.0, &key.1, what);
    }

    /// What a bridge fills must not be read as the control, nor the reverse, whichever path reads it.
    pub(super) fn check_control_topics(&mut self, views: &[View<'_>], paths: &[PathConfig]) {
        for (view, path) in views.iter().zip(paths) {
            let Some(kafka) = &path.kafka else { continue };
            let Some(control) = &kafka.control_topic else { continue };
            let Some(place) = view.section(&keys::KAFKA) else { continue };
            let same = |other: &&PathConfig| {
                other.kafka.as_ref().is_some_and(|other| other.brokers == kafka.brokers)
            };
            let reader = paths.iter().filter(same).find_map(|other| {
                let mut topics = other.kafka.iter().flat_map(|kafka| &kafka.topics);
                topics.find(|topic| matches(topic, control)).map(|topic| (other, topic))
            });
            if let Some((reader, topic)) = reader {
                let (TopicSelector::Name(topic) | TopicSelector::Pattern(topic)) = topic;
                let what = format!(
                    "is one of the topics of path {} ({topic}), which a bridge fills; name a topic \
                     of its own",
                    reader.name
                );
                let origin = place.origin_of(&keys::CONTROL_TOPIC);
                self.problems.add(origin, &place.path_of(&keys::CONTROL_TOPIC), what);
            }
        }
    }
}

fn matches(selector: &TopicSelector, topic: &str) -> bool {
    match selector {
        TopicSelector::Name(name) => name == topic,
        TopicSelector::Pattern(pattern) => {
            Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(topic))
        }
    }
}
