//! Room `consume`: what is taken out of a record.

use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Message};

use super::headers;
use crate::clock::{Pairing, WallTime};
use crate::correlate::{Append, Lane};
use crate::stamp::{PROPERTY, Reading, Stamper};

/// The stamp in a record, if it has one of this run that belongs on this lane: a copy of a control
/// message in another topic, or the reverse, is somebody else's.
pub(super) fn stamp(record: &BorrowedMessage<'_>, stamper: &Stamper, lane: Lane) -> Reading {
    let property = record.headers().and_then(|headers| {
        headers::of(headers).find(|header| header.key == PROPERTY).and_then(|header| header.value)
    });
    let is_control = lane == Lane::KafkaKafka;
    match stamper.read(property, record.payload().unwrap_or_default()) {
        Reading::Ours(found) if found.identity.flags.control != is_control => Reading::Foreign,
        reading => reading,
    }
}

/// A record's timestamp, placed on our own clock.
pub(super) fn append(record: &BorrowedMessage<'_>, pairing: &Pairing) -> Append {
    let placed = |millis| pairing.instant_of(WallTime::from_millis(millis));
    match record.timestamp() {
        Timestamp::LogAppendTime(millis) => Append::LogAppendTime(placed(millis)),
        Timestamp::CreateTime(millis) => Append::CreateTime(placed(millis)),
        Timestamp::NotAvailable => Append::None,
    }
}
