//! Room `wire`: packets as bytes, as far as both versions write them alike.

use super::{Failure, Version};
use crate::correlate::Qos;
use crate::stamp::PROPERTY;

/// Packet types that are told apart here, in the upper half of the first byte (MQTT 5, 2.1.2).
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBACK: u8 = 9;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;

/// A PINGREQ, whole.
pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];
/// The largest packet that can be written (MQTT 5, 1.5.5).
pub(super) const PACKET_MAX: u32 = 268_435_455 + 5;
/// Identifier of a user property (MQTT 5, 2.2.2.2).
const USER_PROPERTY: u8 = 0x26;
/// Set in the first byte of a PUBLISH that is sent again.
const DUP: u8 = 0x08;
/// Set in the first byte of a PUBLISH that the broker is to keep as its topic's last.
const RETAIN: u8 = 0x01;

/// One whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// All of its bytes.
    pub(super) whole: &'a [u8],
    /// What comes behind the remaining length.
    pub(super) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The packet that `bytes` begin with; `None` while some of it is missing.
    pub(super) fn first(bytes: &'a [u8], bytes_max: u32) -> Result<Option<Self>, Failure> {
        let mut length = 0;
        for (place, &byte) in bytes.iter().skip(1).take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let start = place + 2;
                if start + length > bytes_max as usize {
                    let size = start + length;
                    let words = format!(
                        "the broker sent a packet of {size} bytes, where {bytes_max} were asked for at most"
                    );
                    return Err(Failure::new(words, "do not share the topic with larger messages"));
                }
                return Ok(bytes
                    .get(..start + length)
                    .map(|whole| Self { whole, body: &whole[start..] }));
            }
        }
        if bytes.len() > 4 {
            return Err(Failure::new("the broker sent what is no MQTT packet", "check mqtt.url"));
        }
        Ok(None)
    }

    /// Its type.
    pub(super) fn kind(&self) -> u8 {
        self.whole[0] >> 4
    }

    /// The packet id that its body begins with.
    pub(super) fn packet_id(&self) -> Option<u16> {
        self.body.first_chunk().map(|id| u16::from_be_bytes(*id))
    }
}

/// Appends an answer of a publish handshake, without a reason: that says success.
pub(super) fn answer(out: &mut Vec<u8>, kind: u8, packet_id: u16) {
    // PUBREL has a flag that must be set (MQTT 5, 3.6.1).
    let flags = if kind == PUBREL { 0x02 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[kind << 4 | flags, 2, high, low]);
}

/// How long a PUBLISH is, all of it, with a topic, a payload and a property of these lengths.
pub(super) fn publish_size(
    (version, qos): (Version, Qos),
    (topic, payload, property): (usize, usize, usize),
) -> usize {
    let rest = publish_rest((version, qos), (topic, payload, property));
    1 + length_of_length(rest) + rest
}

/// The same behind the remaining length.
fn publish_rest(
    (version, qos): (Version, Qos),
    (topic, payload, property): (usize, usize, usize),
) -> usize {
    let id = if qos == Qos::AtMostOnce { 0 } else { 2 };
    let said = match version {
        Version::V4 => 0,
        Version::V5 => length_of_length(properties(property)) + properties(property),
    };
    2 + topic + id + said + payload
}

/// How long the properties are with one of that length, or with none.
fn properties(property: usize) -> usize {
    if property == 0 { 0 } else { 1 + 2 + PROPERTY.len() + 2 + property }
}

/// Appends a PUBLISH as far as its payload, which is so many bytes; `again` marks one that is sent once
/// more.
pub(super) fn publish(
    out: &mut Vec<u8>,
    (version, qos, topic): (Version, Qos, &str),
    (packet_id, again): (u16, bool),
    (payload, property): (usize, &[u8]),
) {
    let lengths = (topic.len(), payload, property.len());
    out.push((PUBLISH << 4) | if again { DUP } else { 0 } | (qos.level() << 1));
    push_length(out, publish_rest((version, qos), lengths));
    push_text(out, topic.as_bytes());
    if qos != Qos::AtMostOnce {
        out.extend_from_slice(&packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        push_length(out, properties(property.len()));
        if !property.is_empty() {
            out.push(USER_PROPERTY);
            push_text(out, PROPERTY.as_bytes());
            push_text(out, property);
        }
    }
}

/// Has the broker keep the PUBLISH that begins at `start`.
pub(super) fn retain(out: &mut [u8], start: usize) {
    if let Some(first) = out.get_mut(start) {
        *first |= RETAIN;
    }
}

/// Appends a PUBLISH that has the broker forget what it keeps of a topic: an empty one to be kept (MQTT 5,
/// 3.3.1.3).
pub(super) fn forget(out: &mut Vec<u8>, version: Version, topic: &str) {
    let start = out.len();
    publish(out, (version, Qos::AtMostOnce, topic), (0, false), (0, &[]));
    retain(out, start);
}

/// What a SUBACK says of each filter; `None` where it can't be read.
pub(super) fn granted(version: Version, packet: Frame<'_>) -> Option<&[u8]> {
    let behind_id = packet.body.get(2..)?;
    if version == Version::V4 {
        return Some(behind_id);
    }
    let mut length = 0;
    for (place, &byte) in behind_id.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return behind_id.get(place + 1 + length..);
        }
    }
    None
}

/// Appends a text with its length. The configuration holds topics to what two bytes can say.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text[..usize::from(length)]);
}

/// Appends a variable byte integer (MQTT 5, 1.5.5).
#[expect(clippy::cast_possible_truncation, reason = "seven bits are left of each part")]
fn push_length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
}

/// How many bytes [`push_length`] appends.
fn length_of_length(length: usize) -> usize {
    1 + (1..4).filter(|bytes| length >> (7 * bytes) > 0).count()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use rumqttc::v5::mqttbytes::v5 as codec_v5;

    use super::*;

    const STAMP: &[u8] = b"00-484ff194999642186f06cd968f43bf42-337f9f20e58cbf0a-01";

    fn qos() -> impl Strategy<Value = Qos> {
        prop::sample::select(Qos::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn the_codec_reads_what_is_written(
            qos in qos(),
            topic in "[a-z/]{1,200}",
            packet_id in 1_u16..,
            again in any::<bool>(),
            payload in prop::collection::vec(any::<u8>(), 0..20_000),
            stamped in any::<bool>(),
        ) {
            let property = if stamped { STAMP } else { b"" };
            let written = |version| {
                let mut out = Vec::new();
                let parts = (payload.len(), property);
                publish(&mut out, (version, qos, &topic), (packet_id, again), parts);
                out.extend_from_slice(&payload);
                let lengths = (topic.len(), payload.len(), property.len());
                assert_eq!(out.len(), publish_size((version, qos), lengths));
                BytesMut::from(out.as_slice())
            };
            let id = if qos == Qos::AtMostOnce { 0 } else { packet_id };
            let mut bytes = written(Version::V5);
            let Ok(codec_v5::Packet::Publish(read)) = codec_v5::Packet::read(&mut bytes, None) else {
                return Err(TestCaseError::fail("no PUBLISH"));
            };
            prop_assert_eq!((read.pkid, read.dup, read.qos as u8), (id, again, qos.level()));
            prop_assert_eq!((&read.topic[..], &read.payload[..]), (topic.as_bytes(), &payload[..]));
            let properties = read.properties.unwrap_or_default().user_properties;
            let stamp = String::from_utf8(STAMP.to_vec()).unwrap();
            let expected = if stamped { vec![(PROPERTY.to_owned(), stamp)] } else { Vec::new() };
            prop_assert_eq!(properties, expected);
            prop_assert!(bytes.is_empty());
            let mut bytes = written(Version::V4);
            let Ok(rumqttc::Packet::Publish(read)) = rumqttc::Packet::read(&mut bytes, usize::MAX)
            else {
                return Err(TestCaseError::fail("no PUBLISH"));
            };
            prop_assert_eq!((read.pkid, read.dup, read.qos as u8), (id, again, qos.level()));
            prop_assert_eq!((&read.topic[..], &read.payload[..]), (topic.as_str(), &payload[..]));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn packets_are_told_apart_wherever_they_are_cut(
            sizes in prop::collection::vec(0_usize..40_000, 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut stream = Vec::new();
            for &size in &sizes {
                stream.push(0x30);
                push_length(&mut stream, size);
                stream.extend(std::iter::repeat_n(7, size));
            }
            let cut = cut.index(stream.len());
            let (mut rest, mut seen) = (&stream[..cut], Vec::new());
            while let Some(frame) = Frame::first(rest, u32::MAX).unwrap() {
                prop_assert_eq!(frame.kind(), PUBLISH);
                seen.push(frame.body.len());
                rest = &rest[frame.whole.len()..];
            }
            prop_assert_eq!(&seen[..], &sizes[..seen.len()]);
            let mut next = Vec::new();
            if let Some(&size) = sizes.get(seen.len()) {
                push_length(&mut next, size);
                prop_assert!(rest.len() < 1 + next.len() + size, "an incomplete packet is left");
            }
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), bytes_max in any::<u32>()) {
            if let Ok(Some(frame)) = Frame::first(&bytes, bytes_max) {
                prop_assert!(frame.whole.len() <= bytes.len());
                let _ = frame.packet_id();
            }
        }
    }

    #[test]
    fn a_packet_that_is_too_large_is_refused_before_it_is_there() {
        let failure = Frame::first(&[0x30, 0xff, 0x7f], 10_000).unwrap_err();
        assert!(failure.to_string().contains("16386 bytes"), "{failure}");
        assert_eq!(Frame::first(&[0x30, 0xff, 0x7f], 16_386), Ok(None));
    }

    #[test]
    fn a_length_without_end_is_no_packet() {
        assert!(Frame::first(&[0x30, 0xff, 0xff, 0xff, 0xff], u32::MAX).is_err());
        assert_eq!(Frame::first(&[0x30, 0xff, 0xff, 0xff], u32::MAX), Ok(None));
    }

    #[test]
    fn answers_have_the_flags_of_their_kind() {
        let mut out = Vec::new();
        for kind in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
            answer(&mut out, kind, 0x0102);
        }
        assert_eq!(out, [0x40, 2, 1, 2, 0x50, 2, 1, 2, 0x62, 2, 1, 2, 0x70, 2, 1, 2]);
    }
}
