//! Room `embedded` (edge): the header of a Kafka record batch, checked on arrival and stamped on
//! append.
//!
//! Layout: the record batch of message format 2 in Kafka's protocol guide ("Record Batch"), 61
//! bytes of header before the records, the checksum (CRC-32C) over all that follows it. Records are
//! never looked into, so every compression codec passes through.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;

/// Length of the header, before the first record.
pub(super) const HEADER_BYTES: usize = 61;

const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const COUNT: usize = 57;

/// What the length field does not count: base offset and the length itself.
const BEFORE_LENGTH: usize = 12;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Which clock a record's timestamp comes from (Kafka's `message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    #[default]
    LogAppendTime,
}

impl TimestampType {
    /// The value in a topic's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// The producer's place in an idempotent sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequenced {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) first: i32,
    pub(super) count: i32,
}

/// One valid record batch in memory of its own, so that it keeps no request buffer alive.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    bytes: BytesMut,
    /// Number of records, at least one.
    pub(super) count: i32,
    /// The latest of the timestamps, in milliseconds, as the producer has set it.
    pub(super) max_timestamp: i64,
    /// Absent where the producer is not idempotent.
    pub(super) sequenced: Option<Sequenced>,
}

impl Batch {
    /// Checks and copies what a producer sent for one partition: exactly one batch of format 2.
    ///
    /// # Errors
    ///
    /// The Kafka error that a broker answers: old formats, a wrong checksum, damaged lengths, and
    /// transactions, which this broker does not have.
    pub(super) fn parse(sent: &[u8]) -> Result<Self, ResponseError> {
        if field::<1>(sent, MAGIC)? != [2] {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        let length = usize::try_from(int32(sent, LENGTH)?).unwrap_or(usize::MAX);
        if sent.len() < HEADER_BYTES || length != sent.len() - BEFORE_LENGTH {
            return Err(ResponseError::InvalidRecord);
        }
        let covered = sent.get(ATTRIBUTES..).unwrap_or_default();
        if u32::from_be_bytes(field(sent, CRC)?) != crc32c::crc32c(covered) {
            return Err(ResponseError::CorruptMessage);
        }
        let count = int32(sent, COUNT)?;
        let attributes = i16::from_be_bytes(field(sent, ATTRIBUTES)?);
        let unwelcome = attributes & (TRANSACTIONAL | CONTROL) != 0;
        if count < 1 || int32(sent, LAST_OFFSET_DELTA)? != count - 1 || unwelcome {
            return Err(ResponseError::InvalidRecord);
        }
        let producer_id = int64(sent, PRODUCER_ID)?;
        let sequenced = Sequenced {
            producer_id,
            epoch: i16::from_be_bytes(field(sent, PRODUCER_EPOCH)?),
            first: int32(sent, BASE_SEQUENCE)?,
            count,
        };
        if producer_id >= 0 && (sequenced.epoch < 0 || sequenced.first < 0) {
            return Err(ResponseError::InvalidRecord);
        }
        Ok(Self {
            bytes: BytesMut::from(sent),
            count,
            max_timestamp: int64(sent, MAX_TIMESTAMP)?,
            sequenced: (producer_id >= 0).then_some(sequenced),
        })
    }

    /// Size in bytes, header included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes after the header: records, compressed as the producer chose.
    pub(super) fn records(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The batch as it stands in the log: its offset, and the append time (milliseconds since 1970)
    /// where the topic wants that, else the producer's timestamps.
    pub(super) fn stamped(mut self, base_offset: i64, append_time: Option<i64>) -> Bytes {
        self.put(0, base_offset.to_be_bytes());
        self.put(LEADER_EPOCH, 0_i32.to_be_bytes());
        let attributes = i16::from_be_bytes(field(&self.bytes, ATTRIBUTES).unwrap_or_default());
        match append_time {
            Some(millis) => {
                self.put(ATTRIBUTES, (attributes | LOG_APPEND_TIME).to_be_bytes());
                self.put(MAX_TIMESTAMP, millis.to_be_bytes());
            }
            None => self.put(ATTRIBUTES, (attributes & !LOG_APPEND_TIME).to_be_bytes()),
        }
        let crc = crc32c::crc32c(self.bytes.get(ATTRIBUTES..).unwrap_or_default());
        self.put(CRC, crc.to_be_bytes());
        self.bytes.freeze()
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(at..at + N) {
            place.copy_from_slice(&value);
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ResponseError> {
    bytes
        .get(at..at + N)
        .and_then(|slice| slice.try_into().ok())
        .ok_or(ResponseError::InvalidRecord)
}

fn int32(bytes: &[u8], at: usize) -> Result<i32, ResponseError> {
    field(bytes, at).map(i32::from_be_bytes)
}

fn int64(bytes: &[u8], at: usize) -> Result<i64, ResponseError> {
    field(bytes, at).map(i64::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A valid batch of `count` records that nobody decodes, `body` bytes long.
    pub(in super::super) fn batch(count: i32, body: usize, sequenced: Option<Sequenced>) -> Batch {
        let mut bytes = vec![0; HEADER_BYTES + body];
        let mut put = |at: usize, value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
        };
        put(LENGTH, &i32::try_from(HEADER_BYTES + body - BEFORE_LENGTH).unwrap().to_be_bytes());
        put(MAGIC, &[2]);
        put(LAST_OFFSET_DELTA, &(count - 1).to_be_bytes());
        put(MAX_TIMESTAMP, &77_i64.to_be_bytes());
        put(PRODUCER_ID, &sequenced.map_or(-1, |sequenced| sequenced.producer_id).to_be_bytes());
        put(PRODUCER_EPOCH, &sequenced.map_or(-1, |sequenced| sequenced.epoch).to_be_bytes());
        put(BASE_SEQUENCE, &sequenced.map_or(-1, |sequenced| sequenced.first).to_be_bytes());
        put(COUNT, &count.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[ATTRIBUTES..]);
        bytes[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        Batch::parse(&bytes).unwrap()
    }

    #[test]
    fn stamping_sets_offset_time_and_checksum() {
        let stamped = batch(3, 40, None).stamped(1_000, Some(1_234));
        assert_eq!(int64(&stamped, 0).unwrap(), 1_000);
        let again = Batch::parse(&stamped).unwrap();
        assert_eq!((again.count, again.max_timestamp), (3, 1_234));
        assert_eq!(stamped[ATTRIBUTES + 1], 1 << 3);
        let kept = batch(3, 40, None).stamped(0, None);
        assert_eq!(Batch::parse(&kept).unwrap().max_timestamp, 77);
        assert_eq!(kept[ATTRIBUTES + 1], 0);
    }

    proptest! {
        #[test]
        fn any_single_damage_is_refused(at in 0_usize..81, flip in 1_u8..) {
            let mut bytes = batch(1, 20, None).stamped(5, None).to_vec();
            bytes[at] ^= flip;
            let free = at < LENGTH || (LEADER_EPOCH..MAGIC).contains(&at);
            prop_assert_eq!(Batch::parse(&bytes).is_ok(), free);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Batch::parse(&bytes).is_err());
        }
    }
}
