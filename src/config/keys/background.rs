//! Room `config` (wiring): the keys of a path's clients that are there and measure nothing.

use std::time::Duration;

use super::super::kind::{Count, Span};
use super::super::table::{Fallback, Group, Key, Shape};
use super::Keys;

/// Most clients of one kind.
const COUNT_MAX: u32 = 131_072;

static KEYS: Keys = &[&IDLE, &SLOW_SUBSCRIBERS, &PERSISTENT, &STORM, &EVERY, &READ];

pub(in crate::config) static BACKGROUND: Key<Group> = Key {
    name: "background",
    about: "Clients that are there and measure nothing. What they receive is counted apart.",
    fallback: Fallback::Absent,
    kind: Group(Shape::Section(KEYS)),
};
pub(in crate::config) static IDLE: Key<Count> =
    clients("idle", "How many clients are connected and do nothing but keep alive.");
pub(in crate::config) static SLOW_SUBSCRIBERS: Key<Count> = clients(
    "slow_subscribers",
    "How many clients are subscribed at the path's QoS and read only so much a second.",
);
pub(in crate::config) static PERSISTENT: Key<Count> = clients(
    "persistent",
    "How many clients are subscribed at QoS 1 with a session that outlives the connection, and are \
     away for half of the time.",
);
pub(in crate::config) static STORM: Key<Count> =
    clients("storm", "How many clients connect all at once, leave together, and come again.");
pub(in crate::config) static EVERY: Key<Span> = Key {
    name: "every",
    about: "How often those come that come and go, 1s to 5m: persistent ones stay for half of it.",
    fallback: Fallback::Yaml("10s"),
    kind: Span { min: Duration::from_secs(1), max: Duration::from_mins(5) },
};
pub(in crate::config) static READ: Key<Count> = Key {
    name: "read",
    about: "How many bytes a second a slow subscriber reads, as a number or such as 10KiB.",
    fallback: Fallback::Yaml("10KiB"),
    kind: Count { min: 16, max: 1 << 30, bytes: true },
};

const fn clients(name: &'static str, about: &'static str) -> Key<Count> {
    let kind = Count { min: 0, max: COUNT_MAX, bytes: false };
    Key { name, about, fallback: Fallback::Yaml("0"), kind }
}
