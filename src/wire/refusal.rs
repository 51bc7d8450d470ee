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

#[cfg(test)]
mod tests {
    use super::*;

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
