//! Room `preflight`: how findings write figures, and what others said.

use std::fmt::Write as _;
use std::time::Duration;

use crate::report;

/// Most bytes of a record's value that are shown.
const SHOWN_BYTES: usize = 120;
/// Most characters that are repeated of what others said.
const SAID_CHARS: usize = 300;

/// A duration to three significant digits.
pub(super) fn time(duration: Duration) -> String {
    report::duration(duration.as_secs_f64())
}

/// Signed nanoseconds to three significant digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn nanos(nanos: i64) -> String {
    report::duration(nanos as f64 / 1e9)
}

/// `a, b and c`.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// What others said, on one line and not too long.
pub(super) fn said(words: &str) -> String {
    let plain = report::plain(words);
    let mut chars = plain.chars();
    let mut text: String = chars.by_ref().take(SAID_CHARS).collect();
    if chars.next().is_some() {
        text.push_str("...");
    }
    text
}

/// The first bytes of a value that may hold anything: printable ASCII as it is, the rest as
/// hexadecimal digits.
pub(super) fn escaped(bytes: &[u8], length: u64) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let mut text = String::with_capacity(shown.len());
    for &byte in shown {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            // Writing into memory does not fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    if length > shown.len() as u64 {
        text.push_str("...");
    }
    text
}

/// Why a broker does not take a message, by its reason code (MQTT 5, 3.4.2.1), and what to do.
pub(super) fn refusal(reason: u8, topic: &str) -> (String, String) {
    let (why, advice) = match reason {
        0x80 => ("unspecified error", "look at the broker's log, which may say more".to_owned()),
        0x83 => (
            "implementation specific error",
            "look at the broker's log: it takes the message to be right and does not want it"
                .into(),
        ),
        0x87 => (
            "not authorised",
            format!("allow the user in mqtt.username to publish to {topic}, or change mqtt.topic"),
        ),
        0x90 => (
            "topic name invalid",
            format!("change mqtt.topic: the broker does not take the name {topic}"),
        ),
        0x91 => ("packet identifier in use", "try again: an old session was not over yet".into()),
        0x97 => ("quota exceeded", "lower mqtt.rate, or raise the quota of the user".into()),
        0x99 => (
            "payload format invalid",
            "change mqtt.payload.format: the broker wants another kind of payload".into(),
        ),
        _ => ("a code that MQTT does not know", "look at the broker's log".into()),
    };
    (format!("{why}, reason {reason:#04x}"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_stays_on_its_line_and_short() {
        assert_eq!(said("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(said(&"x".repeat(301)), format!("{}...", "x".repeat(300)));
        assert_eq!(escaped(b"{\"a\": \"\xff\n\\\"}", 12), r#"{"a": "\xff\x0a\\"}"#);
        assert_eq!(escaped(&[b'x'; 200], 200), format!("{}...", "x".repeat(120)));
        assert_eq!(escaped(b"xx", 3), "xx...", "cut before");
    }

    #[test]
    fn words_are_listed_as_one_speaks() {
        let words = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(listed(&words), "a, b and c");
        assert_eq!((listed(&words[..1]).as_str(), listed(&[]).as_str()), ("a", ""));
    }

    #[test]
    fn every_code_has_words_and_advice() {
        for code in 0x80..=0xff {
            let (why, advice) = refusal(code, "t");
            assert!(why.ends_with(&format!("reason {code:#04x}")) && !advice.is_empty(), "{why}");
        }
        assert!(refusal(0x87, "plant/1").1.contains("plant/1"));
    }
}
