//! Room `correlate`: who publishes what, fixed for a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Carrier, Lane, PathId, PublisherId};

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

/// One publisher: a client with one QoS on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Its path.
    pub path: PathId,
    /// Its index within the path, as the stamp has it.
    pub index: u32,
    /// The QoS it publishes with.
    pub qos: Qos,
}

/// All paths and publishers of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    paths: Vec<Path>,
    publishers: Vec<Publisher>,
    first_of_path: Vec<u32>,
}

impl Roster {
    /// Adds a path whose publishers have these QoS levels, one each, in the order of their indices.
    /// The caller keeps to the limits of the stamp (128 paths, 131,072 publishers a path).
    pub fn add(&mut self, path: Path, publishers: impl IntoIterator<Item = Qos>) -> PathId {
        let id = PathId(u8::try_from(self.paths.len()).unwrap_or(u8::MAX));
        self.paths.push(path);
        self.first_of_path.push(u32::try_from(self.publishers.len()).unwrap_or(u32::MAX));
        let numbered = publishers.into_iter().zip(0_u32..);
        self.publishers.extend(numbered.map(|(qos, index)| Publisher { path: id, index, qos }));
        id
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

    /// The publisher that a stamp names, if it is one of ours.
    #[must_use]
    pub fn find(&self, path: PathId, index: u32) -> Option<PublisherId> {
        let of_path = usize::from(path.0);
        let first = *self.first_of_path.get(of_path)?;
        let next =
            self.first_of_path.get(of_path + 1).map_or(self.publishers.len(), |&it| it as usize);
        let id = first.checked_add(index)?;
        ((id as usize) < next).then_some(PublisherId(id))
    }
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
        assert_eq!(roster.find(a, 1), Some(PublisherId(1)));
        assert_eq!(roster.find(a, 2), None, "the next path's publisher is not this path's");
        assert_eq!(roster.find(b, 0), Some(PublisherId(2)));
        assert_eq!(roster.find(b, u32::MAX), None);
        assert_eq!(roster.find(PathId(7), 0), None);
        assert_eq!(roster.publisher(PublisherId(2)).qos, Qos::ExactlyOnce);
    }
}
