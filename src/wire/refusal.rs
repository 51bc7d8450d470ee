//! Room `wire`: the words for a broker that accepts no connection, and what to do about it.

use super::{Failure, Version};

/// What is said of a CONNACK with this code to a client that asked for `version`. A broker may answer
/// in the other version's codes, which are different numbers: below 6 in 3.1.1 (3.2.2.3), from 0x80
/// up in MQTT 5 (3.2.2.2).
pub(super) fn refused(code: u8, version: Version) -> Failure {
    let (why, to_do) = match (code, version) {
        (0x01 | 0x84, Version::V5) => ("it does not speak this version", "try mqtt.version: 3.1.1"),
        (0x01 | 0x84, Version::V4) => ("it does not speak this version", "try mqtt.version: 5"),
        (0x02 | 0x85, _) => ("it does not take the client id", "try a shorter name of the probe"),
        (0x03 | 0x88, _) => ("it is not available", "see its log"),
        (0x04 | 0x86, _) => {
            ("bad user name or password", "check mqtt.username and mqtt.password_file")
        }
        (0x05 | 0x87, _) => ("not authorised", "check mqtt.username and mqtt.password_file"),
        (0x89, _) => ("it is busy", "look at its load"),
        (0x8a, _) => ("this client is banned", "let the broker accept it"),
        (0x97, _) => ("a quota is used up", "raise it, or lower mqtt.clients"),
        (0x9c | 0x9d, _) => ("another broker is to be used", "change mqtt.url"),
        (0x9f, _) => ("too many connections in too short a time", "lower mqtt.clients"),
        _ => {
            let what = format!("the broker refused CONNECT: reason {code:#04x}");
            return Failure::new(what, "see its log");
        }
    };
    Failure::new(format!("the broker refused CONNECT: {why}"), to_do)
}

/// What to do where subscriptions can't be shared.
pub(super) const UNSHARED: &str = "set mqtt.subscribers.receive to all or own";

/// What is said of a subscription that is refused with this code: 0x80 in 3.1.1, 0x80 and above in
/// MQTT 5 (3.9.3).
pub(super) fn unsubscribed(code: u8) -> Failure {
    let allow_it = "allow it for this client";
    let (why, to_do) = match code {
        0x80 => ("it does not say why", allow_it),
        0x87 => ("not authorised", allow_it),
        0x8f => ("it does not take the filter", "change mqtt.topic"),
        0x97 => ("a quota is used up", "raise it, or lower mqtt.subscribers.count"),
        0x9e => ("it does not share subscriptions", UNSHARED),
        0xa2 => ("it takes no wildcards", "set mqtt.subscribers.receive to own"),
        _ => return Failure::new(format!("reason {code:#04x}"), "see its log"),
    };
    Failure::new(why, to_do)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_about_a_refused_subscription_is_said() {
        let said = unsubscribed(0x9e).to_string();
        assert_eq!(said, format!("it does not share subscriptions; {UNSHARED}"));
        assert_eq!(unsubscribed(0xc0).to_string(), "reason 0xc0; see its log");
    }

    #[test]
    fn either_version_is_understood_in_the_others_codes() {
        for code in [0x01, 0x84] {
            let words = |version| refused(code, version).to_string();
            assert!(words(Version::V5).ends_with("try mqtt.version: 3.1.1"));
            assert!(words(Version::V4).ends_with("try mqtt.version: 5"));
        }
        assert_eq!(refused(0x05, Version::V5), refused(0x87, Version::V4));
        assert!(refused(0xfe, Version::V5).to_string().ends_with("reason 0xfe; see its log"));
    }
}
