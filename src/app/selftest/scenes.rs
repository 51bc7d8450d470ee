//! Room `app`: what `landfall selftest` does to messages, one path for each kind of fault.

use std::fmt::Write as _;
use std::time::Duration;

use super::plant::Addresses;
use crate::embedded::bridge::{Faults, Route};

/// How long slots come due.
pub(super) const LOAD: Duration = Duration::from_secs(3);
/// The deadline of every path: far beyond every delay that is to be within it, and beyond what a busy
/// machine adds.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// How long a message is held back that is to be given up first. The verdict on it takes a deadline,
/// two of the rounds in which the consumer asks how far it must read, and a second look; the run lasts
/// for ten seconds more than load and deadline, because a consumer is stuck.
const GIVEN_UP: (Duration, Duration) = millis(10_300, 10_800);
/// By how much that clock is set back.
pub(super) const SET_BACK: Duration = Duration::from_secs(1);
/// A message that comes later than this counts as one that had been given up.
pub(super) const SURELY_GIVEN_UP: Duration = Duration::from_secs(10);

/// What happens to a path beside the faults of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing.
    None,
    /// Its records have the time at which they were produced, and not that of their append.
    Created,
    /// Who reads its records has a clock that is set back.
    SetBack,
    /// Its link stalls for a while.
    Stalled,
    /// Its bridge dies and is started anew.
    Restarted,
    /// Its publishers lose their connection before the answers have come.
    Severed,
    /// The broker takes none of its messages.
    Refused,
    /// Its consumer gets nothing before every deadline has passed.
    Behind,
    /// Its consumer gets nothing at all.
    Stuck,
}

/// One path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// Its name, and that of its Kafka topic.
    pub(super) name: &'static str,
    /// What happens, for people.
    pub(super) about: &'static str,
    pub(super) qos: &'static [u8],
    /// Messages a second.
    pub(super) rate: u32,
    pub(super) faults: Faults,
    pub(super) part: Part,
}

const fn millis(from: u64, to: u64) -> (Duration, Duration) {
    (Duration::from_millis(from), Duration::from_millis(to))
}

const NONE: (Duration, Duration) = millis(0, 0);

/// Nothing is done.
const FAULTLESS: Faults = Faults {
    delay: NONE,
    dropped: 0,
    doubled: 0,
    overtaken: 0,
    overtaking: NONE,
    flipped: 0,
    cut: 0,
    beheaded: 0,
    stripped: 0,
    strangers: 0,
};

const fn scene(
    name: &'static str,
    about: &'static str,
    (qos, rate): (&'static [u8], u32),
    faults: Faults,
    part: Part,
) -> Scene {
    Scene { name, about, qos, rate, faults, part }
}

/// Every path.
pub(super) const SCENES: [Scene; 13] = [
    scene("clean", "nothing is done", (&[0, 1, 2], 90), FAULTLESS, Part::None),
    scene(
        "lossy",
        "delays of 20 to 220 ms, one in seven dropped after its acknowledgement; CreateTime",
        (&[0, 1], 120),
        Faults { delay: millis(20, 220), dropped: 140, ..FAULTLESS },
        Part::Created,
    ),
    scene(
        "doubling",
        "records doubled, read twice, and others' records between them",
        (&[1], 80),
        Faults { doubled: 150, strangers: 100, ..FAULTLESS },
        Part::None,
    ),
    scene(
        "reordering",
        "one in seven overtaken by those that follow within 60 to 150 ms",
        (&[1], 100),
        Faults { overtaken: 140, overtaking: millis(60, 150), ..FAULTLESS },
        Part::None,
    ),
    scene(
        "damaging",
        "bits flipped, payloads cut, stamps and user properties lost",
        (&[1], 100),
        Faults { flipped: 100, cut: 100, beheaded: 50, stripped: 100, ..FAULTLESS },
        Part::None,
    ),
    scene(
        "stalled",
        "nothing moves for a second, and Kafka's clock steps back by 2.5 s",
        (&[1], 100),
        FAULTLESS,
        Part::Stalled,
    ),
    scene(
        "restarted",
        "the bridge dies between Kafka's answer and its own, and comes back",
        (&[1], 100),
        FAULTLESS,
        Part::Restarted,
    ),
    scene(
        "severed",
        "publishers lose their connection before the answers have come",
        (&[1], 100),
        FAULTLESS,
        Part::Severed,
    ),
    scene(
        "early",
        "the reader's clock is 1 s behind: records come before they were due, but for four in ten \
         that are held back for 1.4 s",
        (&[1], 50),
        Faults { overtaken: 400, overtaking: millis(1_350, 1_450), ..FAULTLESS },
        Part::SetBack,
    ),
    scene("refused", "the broker takes nothing", (&[1, 2], 40), FAULTLESS, Part::Refused),
    scene(
        "recovering",
        "every message comes after it was given up",
        (&[1], 30),
        Faults { delay: GIVEN_UP, ..FAULTLESS },
        Part::None,
    ),
    scene("behind", "the consumer is behind every deadline", (&[1], 30), FAULTLESS, Part::Behind),
    scene("stuck", "the consumer gets nothing", (&[1], 30), FAULTLESS, Part::Stuck),
];

/// Where a scene is among the others.
pub(super) fn index_of(part: Part) -> usize {
    SCENES.iter().position(|scene| scene.part == part).unwrap_or(SCENES.len())
}

impl Scene {
    /// Whose bridge it goes through: what happens to the one must not happen to the other paths.
    pub(super) const fn line(&self) -> &'static str {
        match self.part {
            Part::Restarted => "mortal",
            _ => "steady",
        }
    }

    /// By how much the clock of who reads its records is set back.
    pub(super) const fn set_back(&self) -> Duration {
        match self.part {
            Part::SetBack => SET_BACK,
            _ => Duration::ZERO,
        }
    }

    fn prefix(&self) -> String {
        format!("{}/{}/", self.line(), self.name)
    }

    /// How the link treats it.
    pub(super) fn route(&self) -> Route {
        Route { prefix: self.prefix(), topic: self.name.to_owned(), faults: self.faults }
    }
}

/// How the topics begin that the broker refuses.
pub(super) fn refused_prefix() -> Option<String> {
    SCENES.iter().find(|scene| scene.part == Part::Refused).map(Scene::prefix)
}

/// The configuration, in the words of any other.
pub(super) fn configuration(addresses: &Addresses) -> String {
    let mut text = "probe: selftest\npaths:\n".to_owned();
    for scene in &SCENES {
        let mqtt = if scene.part == Part::Severed { addresses.severed } else { addresses.whole };
        let (name, rate, clients) = (scene.name, scene.rate, scene.qos.len());
        let qos: Vec<String> = scene.qos.iter().map(u8::to_string).collect();
        let (qos, prefix, kafka) = (qos.join(", "), scene.prefix(), addresses.kafka);
        // Writing into memory does not fail.
        let _ = write!(
            text,
            "  - name: {name}
    mqtt:
      url: mqtt://{mqtt}
      topic: {prefix}{{client}}
      qos: [{qos}]
      clients: {clients}
      rate: {rate}/s
    kafka:
      brokers: {kafka}
      topics: [{name}]
      # The measurement begins after whole Fetches, and somebody is waiting in front of a screen.
      properties: {{ fetch.wait.max.ms: 100 }}
    lanes: [mqtt_kafka]
    deadline: {}s
",
            DEADLINE.as_secs()
        );
    }
    text + "window: 5s\ntelemetry: { listen: '127.0.0.1:0' }\n"
}
