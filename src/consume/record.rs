//! Room `consume`: what is taken out of a record.

use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::clock::{Pairing, WallTime};
use crate::correlate::Append;
use crate::stamp::{PROPERTY, Reading, Stamper};

/// The stamp in a record, if it has one of this run.
pub(super) fn stamp(record: &BorrowedMessage<'_>, stamper: &Stamper) -> Reading {
    let property = record.headers().and_then(|headers| {
        headers.iter().find(|header| header.key == PROPERTY).and_then(|header| header.value)
    });
    stamper.read(property, record.payload().unwrap_or_default())
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
