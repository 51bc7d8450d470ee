//! Room `app`: whose state it is, and what tells it from another one's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::correlate::{Lane, Path, PathId, Qos, Roster};
use crate::stamp::{Run, Stamper};

/// Who can read it: a version, and how it writes. The format rises with every change of what is kept.
const WRITER: &str = concat!(env!("CARGO_PKG_VERSION"), " (format 2)");

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::app) struct Owner {
    version: String,
    pub(super) boot_id: Option<String>,
    run: Run,
    /// A trace id of the run: another probe, or another key, makes another one.
    mark: [u8; 16],
    paths: Vec<OwnedPath>,
}

/// A path, as far as state depends on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OwnedPath {
    name: String,
    lanes: Vec<Lane>,
    /// The QoS of each client, by its index.
    clients: Vec<Qos>,
}

impl Owner {
    /// A run of this version on this start of the machine.
    pub(in crate::app) fn new(boot_id: Option<String>, run: Run, of: (&Stamper, &Roster)) -> Self {
        let (stamper, roster) = of;
        let clients = |id: PathId| {
            let publishers = roster.publishers().iter();
            publishers.filter(|it| it.path == id && !it.control).map(|it| it.qos).collect()
        };
        let owned = |(id, path): (PathId, &Path)| OwnedPath {
            name: path.name.clone(),
            lanes: path.lanes.clone(),
            clients: clients(id),
        };
        Self {
            version: WRITER.to_owned(),
            boot_id,
            run,
            mark: stamper.trace_id(stamper.identity(0, 0, 0)).0,
            paths: (0..).map(PathId).zip(roster.paths()).map(owned).collect(),
        }
    }

    /// The owner that a snapshot names, and the rest of the snapshot.
    pub(in crate::app) fn of(snapshot: &[u8]) -> Result<(Self, &[u8]), String> {
        // The version comes first, and says whether the rest can be read at all.
        let (version, _) = postcard::take_from_bytes::<String>(snapshot)
            .map_err(|_| "it can't be read".to_owned())?;
        if version != WRITER {
            return Err(format!("it was written by landfall {version}"));
        }
        postcard::take_from_bytes(snapshot).map_err(|_| "it can't be read".to_owned())
    }

    /// The run that the state is of.
    pub(in crate::app) fn run(&self) -> Run {
        self.run
    }

    /// Whether the machine has not started again since.
    pub(in crate::app) fn is_of_boot(&self, boot_id: Option<&str>) -> bool {
        self.boot_id.is_some() && self.boot_id.as_deref() == boot_id
    }

    /// Paths and publishers, as totals need them: without what was only needed to judge.
    pub(super) fn roster(&self) -> Roster {
        let mut roster = Roster::default();
        for OwnedPath { name, lanes, clients } in &self.paths {
            let qos = Qos::ALL.into_iter().filter(|qos| clients.contains(qos)).collect();
            let path = Path {
                name: name.clone(),
                lanes: lanes.clone(),
                qos,
                carriers: Vec::new(),
                deadline: Duration::ZERO,
            };
            roster.add(path, clients.iter().copied());
        }
        roster.add_twins();
        roster
    }

    /// Why the state is not that of `other`, which has the same run; nothing where it is.
    pub(super) fn differs_from(&self, other: &Self) -> Option<String> {
        if self.mark != other.mark {
            return Some("it is another probe's, or key_file was changed".to_owned());
        }
        if self.paths == other.paths {
            return None;
        }
        let named = |paths| -> BTreeMap<_, _> {
            let paths: &Vec<OwnedPath> = paths;
            paths.iter().map(|path| (path.name.clone(), path)).collect()
        };
        let (old, new) = (named(&self.paths), named(&other.paths));
        let gone = old.keys().filter(|&name| !new.contains_key(name));
        let gone = gone.map(|name| format!("path {name} is gone"));
        let changed = new.iter().filter_map(|(name, path)| match old.get(name) {
            None => Some(format!("path {name} is new")),
            Some(before) => before.change_to(path),
        });
        let differences: Vec<String> = gone.chain(changed).collect();
        Some(if differences.is_empty() {
            "the paths are in another order".to_owned()
        } else {
            differences.join(", ")
        })
    }
}

impl OwnedPath {
    /// What is another with the path by now, if anything is.
    fn change_to(&self, now: &Self) -> Option<String> {
        let lanes =
            |of: &Self| of.lanes.iter().map(|lane| lane.name()).collect::<Vec<_>>().join(", ");
        let mut changes = Vec::new();
        if self.lanes != now.lanes {
            changes.push(format!("lanes were [{}] and are [{}]", lanes(self), lanes(now)));
        }
        if self.clients != now.clients {
            let (before, after) = (self.counts(), now.counts());
            changes.push(if before == after {
                "its clients have their QoS in another order".to_owned()
            } else {
                format!("clients were {before} and are {after}")
            });
        }
        (!changes.is_empty()).then(|| format!("path {}: {}", self.name, changes.join(", ")))
    }

    /// How many clients there are, by QoS.
    fn counts(&self) -> String {
        let of = |qos: Qos| self.clients.iter().filter(|&&it| it == qos).count();
        let counts = Qos::ALL.into_iter().map(|qos| (qos.label(), of(qos)));
        let counts = counts.filter(|&(_, count)| count > 0);
        counts.map(|(qos, count)| format!("{count} of QoS {qos}")).collect::<Vec<_>>().join(" + ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { epoch: 7, instance: 1 };
    /// Name, lanes, and the QoS of each client.
    type Described<'a> = (&'a str, &'a [Lane], &'a [Qos]);
    const CROSSING: &[Lane] = &[Lane::MqttKafka];

    fn owner(paths: &[Described<'_>]) -> Owner {
        let mut roster = Roster::default();
        for &(name, lanes, clients) in paths {
            let path = Path {
                name: name.into(),
                lanes: lanes.to_vec(),
                qos: clients.to_vec(),
                carriers: Vec::new(),
                deadline: Duration::from_secs(5),
            };
            roster.add(path, clients.iter().copied());
        }
        roster.add_twins();
        Owner::new(None, RUN, (&Stamper::new(b"key", RUN), &roster))
    }

    #[test]
    fn what_differs_is_said_by_path() {
        use Qos::{AtLeastOnce as One, AtMostOnce as Zero};
        let both: &[Lane] = &[Lane::MqttKafka, Lane::KafkaKafka];
        let left = owner(&[("a", CROSSING, &[Zero, One]), ("b", both, &[One])]);
        assert_eq!(left.differs_from(&left.clone()), None);
        let cases: [(&[Described<'_>], _); 5] = [
            (&[("a", CROSSING, &[Zero, One])], "path b is gone"),
            (
                &[("a", CROSSING, &[Zero, One]), ("c", both, &[One])],
                "path b is gone, path c is new",
            ),
            (
                &[("a", both, &[Zero, One, One]), ("b", both, &[One])],
                "path a: lanes were [mqtt_kafka] and are [mqtt_kafka, kafka_kafka], clients were \
                 1 of QoS 0 + 1 of QoS 1 and are 1 of QoS 0 + 2 of QoS 1",
            ),
            (
                &[("a", CROSSING, &[One, Zero]), ("b", both, &[One])],
                "path a: its clients have their QoS in another order",
            ),
            (
                &[("b", both, &[One]), ("a", CROSSING, &[Zero, One])],
                "the paths are in another order",
            ),
        ];
        for (paths, expected) in cases {
            assert_eq!(left.differs_from(&owner(paths)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_roster_that_totals_need_is_told() {
        let both: &[Lane] = &[Lane::MqttKafka, Lane::KafkaKafka];
        let left =
            owner(&[("a", both, &[Qos::AtLeastOnce; 2]), ("b", CROSSING, &[Qos::AtMostOnce])]);
        let roster = left.roster();
        assert_eq!(roster.publishers().len(), 5);
        assert_eq!(Owner::new(None, RUN, (&Stamper::new(b"key", RUN), &roster)), left);
    }
}
