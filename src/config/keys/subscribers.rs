//! Room `config` (wiring): the keys of a path's MQTT subscribers.

use super::super::kind::{Choice, Count};
use super::super::table::{Fallback, Group, Key, Shape};
use super::Keys;
use crate::correlate::Receive;

/// Most subscribers of a path.
const COUNT_MAX: u32 = 131_072;

static KEYS: Keys = &[&COUNT, &RECEIVE];

pub(in crate::config) static SUBSCRIBERS: Key<Group> = Key {
    name: "subscribers",
    about: "How lane mqtt_mqtt is listened to, where that is more than one subscriber.",
    fallback: Fallback::Absent,
    kind: Group(Shape::Section(KEYS)),
};
pub(in crate::config) static COUNT: Key<Count> = Key {
    name: "count",
    about: "How many subscribers there are, 1 to 131072.",
    fallback: Fallback::Yaml("1"),
    kind: Count { min: 1, max: COUNT_MAX, bytes: false },
};
pub(in crate::config) static RECEIVE: Key<Choice<Receive>> = Key {
    name: "receive",
    about: "What each is sent. all: everything (fan-out); the first one judges the lane, the others \
            are counted and timed beside it. share: its share of a shared subscription (fan-in), each \
            message once over all; the broker must know $share, in 3.1.1 too. own: the topics of its \
            own clients, so that {client} must stand in the topic.",
    fallback: Fallback::Yaml("all"),
    kind: Choice {
        what: "what subscribers receive",
        not_built: &[],
        options: &[("all", Receive::All), ("share", Receive::Share), ("own", Receive::Own)],
    },
};
