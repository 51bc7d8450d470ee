//! Room `consume`: what a check wants to know of records that are not its own.
//!
//! # Design
//!
//! A run counts such records and keeps nothing of them. A check shows the first few to the person
//! who asked why a message did not come back, and looks in them for the message itself: a bridge that
//! wraps what it carries is found out and not guessed.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::message::Message;
use regex::bytes::Regex;

use super::headers;
use crate::correlate::Qos;
use crate::preflight::{Evidence, Sample, Strangers};

/// Most records that are kept to be shown.
const SAMPLES_MAX: usize = 3;
/// Most bytes that are kept of a value.
const HEAD_BYTES: usize = 256;
/// Most headers whose names are kept.
const HEADERS_MAX: usize = 32;

/// Counts records without a stamp of this check, and keeps the first few. Cheap to clone; all copies
/// are one.
#[derive(Clone, Debug)]
pub struct Lookout(Arc<State>);

#[derive(Debug)]
struct State {
    patterns: Vec<Patterns>,
    seen: Mutex<Strangers>,
}

/// What shows that a record holds a message, as it is and as base64.
#[derive(Debug)]
struct Patterns {
    qos: Qos,
    plain: Option<Regex>,
    base64: Option<Regex>,
}

impl Lookout {
    /// Looks for the messages of these QoS in the records that it is shown: for any of the byte strings
    /// that each comes with, `plain` and as `base64`.
    #[must_use]
    pub fn new(messages: impl IntoIterator<Item = (Qos, Vec<Vec<u8>>, Vec<Vec<u8>>)>) -> Self {
        let patterns = messages.into_iter().map(|(qos, plain, base64)| Patterns {
            qos,
            plain: any_of(&plain),
            base64: any_of(&base64),
        });
        Self(Arc::new(State { patterns: patterns.collect(), seen: Mutex::default() }))
    }

    /// What was seen so far.
    #[must_use]
    pub fn strangers(&self) -> Strangers {
        self.seen().clone()
    }

    /// Takes a record that carries a stamp of another run.
    pub(super) fn other_run(&self) {
        self.seen().other_run += 1;
    }

    /// Takes a record that carries no stamp.
    pub(super) fn unstamped(&self, record: &impl Message) {
        // Each message is found once.
        let found = |seen: &Strangers| -> Vec<Qos> {
            let evidence = seen.samples.iter().filter_map(|sample| sample.evidence.as_ref());
            evidence.map(|(qos, _)| *qos).collect()
        };
        let known = found(&self.seen());
        let mut sought = self.0.patterns.iter().filter(|patterns| !known.contains(&patterns.qos));
        let held = sought.find_map(|patterns| patterns.held_by(record));
        let mut seen = self.seen();
        seen.unstamped += 1;
        // What holds a message tells more than what came first.
        let other = seen.samples.iter().position(|sample| sample.evidence.is_none());
        match (&held, other) {
            _ if seen.samples.len() < SAMPLES_MAX => (),
            (Some(_), Some(place)) => drop(seen.samples.remove(place)),
            _ => return,
        }
        seen.samples.push(sample(record, held));
    }

    fn seen(&self) -> MutexGuard<'_, Strangers> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patterns {
    /// Where a record holds the message, if it does.
    fn held_by(&self, record: &impl Message) -> Option<(Qos, Evidence)> {
        let holds = |pattern: &Option<Regex>, bytes: Option<&[u8]>| {
            pattern.as_ref().zip(bytes).is_some_and(|(pattern, bytes)| pattern.is_match(bytes))
        };
        let mut headers = record.headers().into_iter().flat_map(headers::of);
        let evidence = if holds(&self.plain, record.payload()) {
            Evidence::Value
        } else if holds(&self.base64, record.payload()) {
            Evidence::Base64
        } else if holds(&self.plain, record.key()) {
            Evidence::Key
        } else {
            let header = headers.find(|header| holds(&self.plain, header.value))?;
            Evidence::Header(header.key.to_owned())
        };
        Some((self.qos, evidence))
    }
}

fn sample(record: &impl Message, evidence: Option<(Qos, Evidence)>) -> Sample {
    let headers = record.headers().into_iter().flat_map(headers::of).take(HEADERS_MAX);
    let value = record.payload();
    Sample {
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
        headers: headers.map(|header| header.key.to_owned()).collect(),
        head: value.map(|value| value[..value.len().min(HEAD_BYTES)].to_vec()),
        bytes: value.map_or(0, |value| value.len() as u64),
        evidence,
    }
}

/// A pattern that matches where any of these byte strings stands.
fn any_of(texts: &[Vec<u8>]) -> Option<Regex> {
    let pattern = |text: &Vec<u8>| {
        text.iter().fold(String::new(), |mut pattern, byte| {
            // Writing into memory does not fail.
            let _ = write!(pattern, "\\x{byte:02x}");
            pattern
        })
    };
    let patterns: Vec<String> = texts.iter().filter(|text| !text.is_empty()).map(pattern).collect();
    // An empty alternation would match everything.
    (!patterns.is_empty()).then(|| Regex::new(&format!("(?-u:{})", patterns.join("|"))).ok())?
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    const TRACE: &[u8] = b"0123456789abcdef";
    const BASE64: &[u8] = b"MDEyMzQ1Njc4OWFiY2RlZg";

    fn lookout() -> Lookout {
        let of = |qos| (qos, vec![TRACE.to_vec()], vec![BASE64.to_vec()]);
        Lookout::new([Qos::AtLeastOnce].map(of))
    }

    fn record(offset: i64, key: &[u8], value: &[u8], header: &[u8]) -> OwnedMessage {
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(header) });
        OwnedMessage::new(
            Some(value.to_vec()),
            Some(key.to_vec()),
            "t".into(),
            Timestamp::NotAvailable,
            3,
            offset,
            Some(headers),
        )
    }

    #[test]
    fn a_message_is_found_wherever_it_is() {
        let around = |what: &[u8]| [b"<", what, b">"].concat();
        let (plain, coded) = (around(TRACE), around(BASE64));
        for (record, place) in [
            (record(0, b"", &plain, b""), Evidence::Value),
            (record(0, b"", &coded, b""), Evidence::Base64),
            (record(0, &plain, b"", b""), Evidence::Key),
            (record(0, b"", b"", &plain), Evidence::Header("h".into())),
        ] {
            let lookout = lookout();
            lookout.unstamped(&record);
            lookout.unstamped(&record);
            let seen = lookout.strangers();
            assert_eq!(seen.unstamped, 2);
            assert_eq!(seen.samples[0].evidence, Some((Qos::AtLeastOnce, place)));
            assert_eq!(seen.samples[1].evidence, None, "found once");
        }
    }

    #[test]
    fn the_first_records_are_kept_and_what_holds_a_message_before_them() {
        let lookout = lookout();
        (0..5).for_each(|offset| lookout.unstamped(&record(offset, b"", &[7; 300], b"")));
        lookout.unstamped(&record(5, b"", TRACE, b""));
        lookout.other_run();
        let seen = lookout.strangers();
        let offsets: Vec<i64> = seen.samples.iter().map(|sample| sample.offset).collect();
        assert_eq!((seen.unstamped, seen.other_run, offsets), (6, 1, vec![1, 2, 5]));
        let first = &seen.samples[0];
        assert_eq!((first.bytes, first.head.as_ref().map(Vec::len)), (300, Some(HEAD_BYTES)));
        assert_eq!((first.partition, &first.headers[..]), (3, &["h".to_owned()][..]));
    }

    #[test]
    fn any_bytes_are_found_and_nothing_else() {
        let found = any_of(&[b"00-ab.".to_vec(), vec![0, 0xff, b'(']]).unwrap();
        assert!(found.is_match(b"x00-ab.y") && found.is_match(&[1, 0, 0xff, b'(', 9]));
        assert!(!found.is_match(b"00-abc") && !found.is_match(b""));
        assert!(any_of(&[]).is_none() && any_of(&[Vec::new()]).is_none());
    }
}
