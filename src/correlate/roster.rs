//! Room `correlate`: who publishes what, fixed for a run.

mod audience;
mod bystander;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Carrier, Lane, PathId, PublisherId};

pub use audience::{Audience, Receive};
pub use bystander::Bystander;

/// An MQTT quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Qos {
    /// QoS 0: at most once; never acknowledged.
    AtMostOnce,
    /// QoS 1: at least once.
    AtLeastOnce,
    /// QoS 2: exactly once.
    ExactlyOnce,
}

impl Qos {
    /// Every QoS, in the order of their levels.
    pub const ALL: [Self; 3] = [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce];

    /// 0, 1 or 2.
    #[must_use]
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The QoS of that level, if there is one.
    #[must_use]
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The level as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AtMostOnce => "0",
            Self::AtLeastOnce => "1",
            Self::ExactlyOnce => "2",
        }
    }
}

/// One measured path.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The name in configuration, metrics and reports.
    pub name: String,
    /// The lanes that are timed.
    pub lanes: Vec<Lane>,
    /// The QoS levels that are measured, ascending.
    pub qos: Vec<Qos>,
    /// The carriers that its messages bear.
    pub carriers: Vec<Carrier>,
    /// How long after its intended send time a message may come out and still be delivered.
    pub deadline: Duration,
}

impl Path {
    /// Every lane and QoS that is measured.
    pub fn measured(&self) -> impl Iterator<Item = (Lane, Qos)> + use<'_> {
        self.lanes.iter().flat_map(|&lane| self.qos.iter().map(move |&qos| (lane, qos)))
    }
}

/// One publisher: a client with one QoS on one path, or its twin on the control lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Its path.
    pub path: PathId,
    /// Its index within the path, as the stamp has it.
    pub index: u32,
    /// The QoS it publishes with; of a twin, that of the client whose schedule it shares.
    pub qos: Qos,
    /// Whether it produces straight to Kafka, for the control lane.
    pub control: bool,
}

/// All paths and publishers of a run.
///
/// # Design
///
/// A path with the control lane has two kinds of publishers, whose messages have no lane in common:
/// each client over MQTT has a twin that produces straight to Kafka. Everything that follows a message
/// goes by its publisher, and so twins need no rules of their own. Their ids come behind all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    paths: Vec<Path>,
    /// Of each path what its MQTT publishers measure, and what its control publishers do.
    shares: Vec<[Path; 2]>,
    publishers: Vec<Publisher>,
    /// Who listens to each path over MQTT.
    audiences: Vec<Audience>,
    /// First id and number of each path's MQTT publishers, and of its control publishers.
    ranges: Vec<[(u32, u32); 2]>,
    /// The paths whose partitions several readers share.
    read_apart: BTreeSet<PathId>,
}

impl Roster {
    /// Adds a path whose publishers have these QoS levels, one each, in the order of their indices.
    /// The caller keeps to the limits of the stamp (128 paths, 131,072 publishers a path).
    pub fn add(&mut self, path: Path, publishers: impl IntoIterator<Item = Qos>) -> PathId {
        let id = PathId(u8::try_from(self.paths.len()).unwrap_or(u8::MAX));
        self.shares.push(shares(&path));
        self.paths.push(path);
        self.audiences.push(Audience::default());
        let range = self.enlist(id, publishers.into_iter().collect(), false);
        self.ranges.push([range, (0, 0)]);
        id
    }

    /// Notes that several readers share the partitions of a path: what comes out of different ones is in
    /// no order that means anything.
    pub fn set_read_apart(&mut self, path: PathId) {
        self.read_apart.insert(path);
    }

    /// Whether several readers share the partitions of a path.
    #[must_use]
    pub fn is_read_apart(&self, path: PathId) -> bool {
        self.read_apart.contains(&path)
    }

    /// Gives each path with the control lane its control publishers: a twin of each MQTT publisher,
    /// with its index and QoS. To be called once, behind the last path.
    pub fn add_twins(&mut self) {
        for id in (0..).map(PathId).take(self.paths.len()) {
            if self.path(id).lanes.contains(&Lane::KafkaKafka) {
                let of_path = self.publishers.iter().filter(|it| it.path == id && !it.control);
                let twins = of_path.map(|it| it.qos).collect();
                self.ranges[usize::from(id.0)][1] = self.enlist(id, twins, true);
            }
        }
    }

    /// Says who listens to a path over MQTT: one subscriber, unless this says otherwise. Nothing happens
    /// where the path is not of this roster.
    pub fn set_audience(&mut self, path: PathId, audience: Audience) {
        if let Some(known) = self.audiences.get_mut(usize::from(path.0)) {
            *known = audience;
        }
    }

    /// Who listens to a path over MQTT. Panics when the id is not of this roster, which no input can
    /// cause.
    #[must_use]
    #[inline]
    pub fn audience(&self, path: PathId) -> Audience {
        self.audiences[usize::from(path.0)]
    }

    /// Adds publishers of a path; their first id and number.
    fn enlist(&mut self, path: PathId, publishers: Vec<Qos>, control: bool) -> (u32, u32) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let range = (count(self.publishers.len()), count(publishers.len()));
        let numbered = publishers.into_iter().zip(0_u32..);
        let publisher = |(qos, index)| Publisher { path, index, qos, control };
        self.publishers.extend(numbered.map(publisher));
        range
    }

    /// The paths, by [`PathId`].
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// One path. Panics when the id is not of this roster, which no input can cause.
    #[must_use]
    pub fn path(&self, id: PathId) -> &Path {
        &self.paths[usize::from(id.0)]
    }

    /// A path as its MQTT publishers measure it, or its control publishers: with the lanes of their
    /// messages only, and the carriers that these bear. Panics when the id is not of this roster, which
    /// no input can cause.
    #[must_use]
    pub fn share(&self, id: PathId, control: bool) -> &Path {
        &self.shares[usize::from(id.0)][usize::from(control)]
    }

    /// The publishers, by [`PublisherId`].
    #[must_use]
    pub fn publishers(&self) -> &[Publisher] {
        &self.publishers
    }

    /// One publisher. Panics when the id is not of this roster, which no input can cause.
    #[must_use]
    pub fn publisher(&self, id: PublisherId) -> Publisher {
        self.publishers[id.0 as usize]
    }

    /// The publisher that a stamp names, if it is one of ours: over MQTT, or of the control lane.
    #[must_use]
    #[inline]
    pub fn find(&self, path: PathId, index: u32, control: bool) -> Option<PublisherId> {
        let (first, count) = self.ranges.get(usize::from(path.0))?[usize::from(control)];
        (index < count).then(|| PublisherId(first + index))
    }
}

/// What MQTT publishers measure of a path, and what control publishers do.
fn shares(path: &Path) -> [Path; 2] {
    let is_control = |lane: &Lane| *lane == Lane::KafkaKafka;
    let share = |control| {
        let lanes = path.lanes.iter().copied().filter(|lane| is_control(lane) == control);
        Path { lanes: lanes.collect(), ..path.clone() }
    };
    // A header needs no MQTT 5.
    [share(false), Path { carriers: Carrier::ALL.to_vec(), ..share(true) }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Path {
        Path {
            name: name.into(),
            lanes: vec![Lane::MqttKafka],
            qos: vec![Qos::AtMostOnce],
            carriers: vec![Carrier::Payload],
            deadline: Duration::from_secs(30),
        }
    }

    #[test]
    fn only_configured_publishers_are_found() {
        let mut roster = Roster::default();
        let a = roster.add(path("a"), [Qos::AtMostOnce, Qos::AtLeastOnce]);
        let b = roster.add(path("b"), [Qos::ExactlyOnce]);
        assert_eq!(roster.find(a, 1, false), Some(PublisherId(1)));
        assert_eq!(roster.find(a, 2, false), None, "the next path's publisher is not this path's");
        assert_eq!(roster.find(b, 0, false), Some(PublisherId(2)));
        assert_eq!(roster.find(b, u32::MAX, false), None);
        assert_eq!(roster.find(PathId(7), 0, false), None);
        assert_eq!(roster.find(a, 0, true), None, "it has no control lane");
        assert_eq!(roster.publisher(PublisherId(2)).qos, Qos::ExactlyOnce);
    }

    #[test]
    fn each_mqtt_publisher_of_a_path_with_the_control_lane_has_a_twin() {
        let mut roster = Roster::default();
        let lanes = vec![Lane::KafkaKafka, Lane::MqttKafka];
        let a = roster.add(Path { lanes, ..path("a") }, [Qos::AtMostOnce, Qos::AtLeastOnce]);
        let b = roster.add(path("b"), [Qos::ExactlyOnce]);
        roster.add_twins();
        assert_eq!(roster.publishers().len(), 5);
        assert_eq!(roster.find(b, 0, false), Some(PublisherId(2)), "twins are behind all others");
        assert_eq!(roster.find(a, 1, true), Some(PublisherId(4)));
        assert_eq!((roster.find(a, 2, true), roster.find(b, 0, true)), (None, None));
        let twin = Publisher { path: a, index: 1, qos: Qos::AtLeastOnce, control: true };
        assert_eq!(roster.publisher(PublisherId(4)), twin);
        assert_eq!(roster.share(a, false).lanes, [Lane::MqttKafka]);
        assert_eq!(roster.share(a, true).lanes, [Lane::KafkaKafka]);
        assert_eq!(roster.share(a, true).carriers, Carrier::ALL);
        assert_eq!(roster.path(a).lanes.len(), 2);
    }
}
