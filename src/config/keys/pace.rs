//! Room `config` (wiring): keys that say how the load of a path goes.

use crate::config::grammar;
use crate::config::kind::{Count, Span, Text};
use crate::config::resolved::Rate;
use crate::config::table::{Fallback, Group, Key, Shape};

use super::{Keys, span};

static PROFILE_KEYS: Keys = &[&RAMP, &STEPS, &ON_OFF, &BURST];
static RAMP_KEYS: Keys = &[&FROM, &OVER];
static STEPS_KEYS: Keys = &[&STEP_COUNT, &EVERY];
static ON_OFF_KEYS: Keys = &[&ON, &OFF];
static BURST_KEYS: Keys = &[&MESSAGES];

key!(RATE: Text<Rate> = "rate", Fallback::Yaml("10/s"), Text {
        what: "a rate such as 20/s", instead_of_number: "say for what time, such as 10/s or 10/min",
        pattern: r"^([0-9]{1,9}(\.[0-9]{1,9})?/(s|min)|max)$", parse: grammar::rate },
    "Messages of the whole path, a second (20/s) or a minute (30/min). max is a closed loop: each client \
     sends whenever fewer than inflight of its messages are under way, and the system decides the rate.");
key!(PROFILE: Group = "profile", Fallback::Yaml("{}"), Group(Shape::Section(PROFILE_KEYS)),
    "How the rate goes over time: steady, or one of these.");
key!(RAMP: Group = "ramp", Fallback::Absent, Group(Shape::Section(RAMP_KEYS)),
    "It grows evenly to rate, then stays.");
key!(FROM: Text<f64> = "from", Fallback::Yaml("0/s"), Text {
        what: "a rate such as 20/s", instead_of_number: "say for what time, such as 10/s or 10/min",
        pattern: r"^[0-9]{1,9}(\.[0-9]{1,9})?/(s|min)$", parse: grammar::low_rate },
    "The rate that it begins with, at most rate.");
key!(OVER: Span = "over", Fallback::Required("over: 60s"), span(1, 3_600_000),
    "How long it grows, 1ms to 1h.");
key!(STEPS: Group = "steps", Fallback::Absent, Group(Shape::Section(STEPS_KEYS)),
    "It grows by equal steps; the last one is rate, and lasts.");
key!(STEP_COUNT: Count = "count", Fallback::Required("count: 5"),
    Count { min: 2, max: 100, bytes: false }, "How many steps.");
key!(EVERY: Span = "every", Fallback::Required("every: 30s"), span(1, 3_600_000),
    "How long each lasts, 1ms to 1h.");
key!(ON_OFF: Group = "on_off", Fallback::Absent, Group(Shape::Section(ON_OFF_KEYS)),
    "It is rate for a while, then nothing for a while, and so on.");
key!(ON: Span = "on", Fallback::Required("on: 5s"), span(1, 3_600_000),
    "How long messages are due, 1ms to 1h.");
key!(OFF: Span = "off", Fallback::Required("off: 5s"), span(1, 3_600_000),
    "How long none is, 1ms to 1h.");
key!(BURST: Group = "burst", Fallback::Absent, Group(Shape::Section(BURST_KEYS)),
    "Messages are due many at once; rate is the mean.");
key!(MESSAGES: Count = "messages", Fallback::Required("messages: 100"),
    Count { min: 2, max: 1_000_000, bytes: false }, "How many of the path's messages at once.");
key!(INFLIGHT: Count = "inflight", Fallback::Absent,
    Count { min: 1, max: 65_534, bytes: false },
    "How many QoS 1 and 2 messages of a client may be unacknowledged; the broker's receive maximum counts \
     where it is less. With rate: max also how many are under way at QoS 0. Default: five seconds of its \
     rate, 16 to 1024; 100 with rate: max.");
key!(CONNECT_RATE: Text<f64> = "connect_rate", Fallback::Yaml("10000/s"), Text {
        what: "a rate such as 500/s", instead_of_number: "say for what time, such as 500/s",
        pattern: r"^[0-9]{1,9}(\.[0-9]{1,9})?/(s|min)$", parse: grammar::steady_rate },
    "How many of the path's clients begin to connect, a second or a minute.");
