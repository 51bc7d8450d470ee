//! How the load of a path goes: what is read, and what is refused.

use landfall::config::{MqttConfig, Rate};
use landfall::schedule::{Arrivals, Profile};

use super::{one, read};

const SECOND: u64 = 1_000_000_000;

fn mqtt_of(lines: &str) -> MqttConfig {
    read(&one(lines, "", "")).unwrap().resolved.paths[0].mqtt.clone()
}

/// Lines below `mqtt:` and what is said about one of them, all of it.
fn refuses(lines: &str, expected: &str) {
    let said = read(&one(lines, "", "")).unwrap_err();
    let (_, behind) = said.split_once("paths[0].mqtt.").unwrap();
    assert_eq!(behind, expected, "for {lines}");
}

#[test]
fn a_rate_may_change_over_time() {
    let profile = |text: &str| mqtt_of(&format!("rate: 100/s\nprofile: {text}")).profile;
    assert_eq!(
        profile("{ramp: {from: 25/s, over: 60s}}"),
        Profile::Ramp { from: 0.25, over_nanos: 60 * SECOND }
    );
    assert_eq!(profile("{ramp: {over: 1s}}"), Profile::Ramp { from: 0.0, over_nanos: SECOND });
    assert_eq!(
        profile("{steps: {count: 4, every: 10s}}"),
        Profile::Steps { count: 4, every_nanos: 10 * SECOND }
    );
    assert_eq!(
        profile("{on_off: {on: 5s, off: 500ms}}"),
        Profile::OnOff { on_nanos: 5 * SECOND, off_nanos: SECOND / 2 }
    );
    // 50 messages at 100 a second are due every half second.
    assert_eq!(profile("{burst: {messages: 50}}"), Profile::Burst { every_nanos: SECOND / 2 });
    assert_eq!(profile("{}"), Profile::Steady);
}

#[test]
fn a_closed_loop_is_one_by_name() {
    let closed = mqtt_of("rate: max\ninflight: 20\nconnect_rate: 600/min");
    assert_eq!((closed.rate, closed.schedule), (Rate::Max, Arrivals::Closed));
    assert_eq!((closed.inflight, closed.connect_rate), (Some(20), 10.0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let with = "with rate: max the system decides the rate; remove it, or give a rate";
    refuses("rate: max\nprofile: {burst: {messages: 5}}", &format!("profile: {with}"));
    refuses(
        "rate: max\nschedule: fixed",
        "schedule: with rate: max nothing is due at a time of ours; remove it",
    );
    refuses(
        "profile: {ramp: {over: 1s}, burst: {messages: 5}}",
        "profile: holds ramp and burst; give one of them",
    );
    refuses(
        "rate: 5/s\nprofile: {ramp: {from: 6/s, over: 1s}}",
        "profile.ramp.from: 6/s is more than the rate of 5/s that it grows to",
    );
    refuses("profile: {ramp: {}}", "profile.ramp.over: is missing; give over: 60s");
    refuses("profile: {steps: {every: 1s}}", "profile.steps.count: is missing; give count: 5");
    refuses("profile: {on_off: {on: 1s}}", "profile.on_off.off: is missing; give off: 5s");
    refuses(
        "profile: {burst: {messages: 1}}",
        "profile.burst.messages: 1 is out of range (2 to 1000000)",
    );
    refuses("profile: fast", "profile: expected a mapping of keys, found the text \"fast\"");
    refuses("inflight: 0", "inflight: 0 is out of range (1 to 65534)");
    refuses("inflight: 65535", "inflight: 65535 is out of range (1 to 65534)");
    refuses(
        "connect_rate: max",
        "connect_rate: \"max\" is not a rate; write for example 20/s, 0.5/s or 30/min",
    );
}
