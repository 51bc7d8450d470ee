//! Room `stamp`: payloads that carry a stamp, and how to tell whether they arrived whole.
//!
//! Everything in a payload but its size follows from the trace id:
//!
//! | format | from | layout |
//! |---|---|---|
//! | binary | 33 bytes | binary traceparent (29), filling, check (4, big-endian) |
//! | binary | 16 bytes | short form (16), filling, CRC-32 (4, big-endian) from 20 bytes on |
//! | text | 64 bytes | `traceparent` (55), space, filling, check (8 digits) |
//! | text | 16 bytes | short form (16), filling, CRC-32 (8 digits) from 24 bytes on |
//! | json | 160 bytes | `{"traceparent":"…","publisher":n,"sequence":n,"fill":"…","check":"…"}` |
//!
//! The filling is that of [`filling`](super::filling); in text and JSON each of its bytes is brought to
//! one of 32 characters (`byte & 47 | 64`). The check is a sum modulo 2^32 of the first four bytes of
//! the trace id (big-endian) and the length of the filling; in JSON also of `0x9e3779b1` times the
//! publisher and `0x85ebca77` times the sequence. In Python, of a JSON payload:
//!
//! ```python
//! message = json.loads(payload)
//! id, fill = bytes.fromhex(message["traceparent"][3:35]), message["fill"].encode()
//! parent = bytes(a ^ (b << 3 & 255 | b >> 5) for a, b in zip(id[:8], id[8:]))
//! crcs = b"".join(zlib.crc32(n.to_bytes(4, "little")).to_bytes(4, "little") for n in range(len(fill)))
//! filling = bytes((a ^ b) & 47 | 64 for a, b in zip(crcs[:len(fill)], itertools.cycle(parent)))
//! check = int.from_bytes(id[:4], "big") + len(fill)
//! check += 0x9E3779B1 * message["publisher"] + 0x85EBCA77 * message["sequence"]
//! assert message["traceparent"] == f"00-{id.hex()}-{parent.hex()}-01"
//! assert fill == filling and int(message["check"], 16) == check % 2**32
//! ```
//!
//! # Design
//!
//! A filling that is known needs no checksum over it: any other byte in it is seen, and so is one that
//! belongs to another message. The check says that nothing is missing at its end. A short form does
//! not tell the trace id to those who have no key, so that a CRC-32 stands behind it.
//!
//! What is checked of JSON are its values and not the punctuation between them, so that a bridge that
//! writes the object anew without changing a value need not look like damage.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::filling::Filling;
use super::trace::{BINARY_LEN, TRACEPARENT_LEN};
use super::{Identity, Stamp, TraceId, hex};

/// How a generated payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object with a top-level `traceparent`.
    Json,
    /// Printable ASCII.
    Text,
    /// Any bytes.
    Binary,
}

impl Format {
    /// The name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }

    /// The smallest payload of this format that can carry a stamp, in bytes.
    #[must_use]
    pub const fn size_min(self) -> usize {
        match self {
            Self::Json => JSON_MIN,
            Self::Text | Self::Binary => SHORT_LEN,
        }
    }
}

/// Length of the short form: 96 bits in base64url.
pub(super) const SHORT_LEN: usize = 16;
const JSON_MIN: usize = 160;
const JSON_TRACEPARENT: &[u8] = b"{\"traceparent\":\"";
const JSON_PUBLISHER: &[u8] = b"\",\"publisher\":";
const JSON_SEQUENCE: &[u8] = b",\"sequence\":";
const JSON_FILL: &[u8] = b",\"fill\":\"";
const JSON_CHECK: &[u8] = b"\",\"check\":\"";
const JSON_END: &[u8] = b"\"}";

/// Appends the payload of a stamp. The size is raised to [`Format::size_min`] where it is below.
pub(super) fn append(payload: &mut Vec<u8>, format: Format, size: usize, stamp: &Stamp) {
    let size = size.max(format.size_min());
    payload.reserve(size);
    match format {
        Format::Json => append_json(payload, size, stamp),
        Format::Text => append_text(payload, size, stamp),
        Format::Binary => append_binary(payload, size, stamp),
    }
}

fn append_binary(payload: &mut Vec<u8>, size: usize, &Stamp { identity, id, .. }: &Stamp) {
    let start = payload.len();
    if size >= BINARY_LEN + 4 {
        payload.extend_from_slice(&id.binary());
        fill(payload, start + size - 4, id, |bits| bits);
        let check = check_of(id, size - BINARY_LEN - 4);
        payload.extend_from_slice(&check.to_be_bytes());
        return;
    }
    payload.extend_from_slice(&short_form(identity));
    let has_sum = size >= SHORT_LEN + 4;
    fill(payload, start + size - if has_sum { 4 } else { 0 }, id, |bits| bits);
    if has_sum {
        let sum = crc32fast::hash(&payload[start..]);
        payload.extend_from_slice(&sum.to_be_bytes());
    }
}

fn append_text(payload: &mut Vec<u8>, size: usize, stamp: &Stamp) {
    let (start, &Stamp { identity, id, ref text }) = (payload.len(), stamp);
    if size > TRACEPARENT_LEN + 8 {
        payload.extend_from_slice(text);
        payload.push(b' ');
        fill(payload, start + size - 8, id, printable);
        push_digits(payload, check_of(id, size - TRACEPARENT_LEN - 1 - 8));
        return;
    }
    payload.extend_from_slice(&short_form(identity));
    let has_sum = size >= SHORT_LEN + 8;
    fill(payload, start + size - if has_sum { 8 } else { 0 }, id, printable);
    if has_sum {
        let sum = crc32fast::hash(&payload[start..]);
        push_digits(payload, sum);
    }
}

fn append_json(payload: &mut Vec<u8>, size: usize, stamp: &Stamp) {
    let (start, &Stamp { identity, id, ref text }) = (payload.len(), stamp);
    let mut digits = [0; 20];
    payload.extend_from_slice(JSON_TRACEPARENT);
    payload.extend_from_slice(text);
    payload.extend_from_slice(JSON_PUBLISHER);
    payload.extend_from_slice(decimal(u64::from(identity.publisher), &mut digits));
    payload.extend_from_slice(JSON_SEQUENCE);
    payload.extend_from_slice(decimal(identity.sequence, &mut digits));
    payload.extend_from_slice(JSON_FILL);
    let filled_from = payload.len();
    fill(payload, start + size - JSON_CHECK.len() - 8 - JSON_END.len(), id, printable);
    let check = json_check_of(identity, id, payload.len() - filled_from);
    payload.extend_from_slice(JSON_CHECK);
    push_digits(payload, check);
    payload.extend_from_slice(JSON_END);
}

/// Whether `payload`, which begins with a stamp of this identity, is what was sent: `None` where it
/// is too small to carry a checksum. `id` is the trace id of the identity.
#[inline]
pub(super) fn is_intact(
    payload: &[u8],
    identity: Identity,
    id: TraceId,
    is_short: bool,
) -> Option<bool> {
    if is_short {
        return short_is_intact(payload, id);
    }
    Some(match payload.first() {
        Some(b'{') => json_is_intact(payload, identity, id).unwrap_or(false),
        Some(0) => binary_is_intact(payload, id).unwrap_or(false),
        _ => text_is_intact(payload, id).unwrap_or(false),
    })
}

/// Whether `payload` is what was sent under this identity, in one of the long forms. `text` is the
/// traceparent that the message brought beside its payload, with the trace id in it.
#[inline]
pub(super) fn is_plain(
    payload: &[u8],
    identity: Identity,
    (id, text): (TraceId, &[u8; TRACEPARENT_LEN]),
) -> bool {
    let within = match payload.first() {
        // Somebody may have put a span of his own into the property.
        Some(0) => {
            return id.is_traceparent(text) && binary_is_intact(payload, id).unwrap_or(false);
        }
        Some(b'{') => payload.strip_prefix(JSON_TRACEPARENT),
        _ => Some(payload),
    };
    // What is the same text needs not be read twice.
    within.and_then(<[u8]>::first_chunk) == Some(text)
        && is_intact(payload, identity, id, false) == Some(true)
}

#[inline]
fn binary_is_intact(payload: &[u8], id: TraceId) -> Option<bool> {
    let (head, rest) = payload.split_first_chunk::<BINARY_LEN>()?;
    let (filling, check) = rest.split_last_chunk::<4>()?;
    let fits = u32::from_be_bytes(*check) == check_of(id, filling.len());
    Some(fits && id.is_binary(head) && Filling::of(id.parent_id()).is(filling, |bits| bits))
}

#[inline]
fn text_is_intact(payload: &[u8], id: TraceId) -> Option<bool> {
    let (head, rest) = payload.split_first_chunk::<TRACEPARENT_LEN>()?;
    let (filling, check) = rest.strip_prefix(b" ")?.split_last_chunk::<8>()?;
    let fits = hex::read_number(*check) == Some(check_of(id, filling.len()));
    Some(fits && id.is_traceparent(head) && Filling::of(id.parent_id()).is(filling, printable))
}

#[inline]
fn json_is_intact(payload: &[u8], identity: Identity, id: TraceId) -> Option<bool> {
    let rest = payload.strip_prefix(JSON_TRACEPARENT)?;
    let (head, rest) = rest.split_first_chunk::<TRACEPARENT_LEN>()?;
    let rest = rest.strip_prefix(JSON_PUBLISHER)?;
    let (publisher, rest) = split_number(rest)?;
    let rest = rest.strip_prefix(JSON_SEQUENCE)?;
    let (sequence, rest) = split_number(rest)?;
    let rest = rest.strip_prefix(JSON_FILL)?.strip_suffix(JSON_END)?;
    let (rest, check) = rest.split_last_chunk::<8>()?;
    let filling = rest.strip_suffix(JSON_CHECK)?;
    let named = publisher == u64::from(identity.publisher) && sequence == identity.sequence;
    let fits = hex::read_number(*check) == Some(json_check_of(identity, id, filling.len()));
    Some(
        named & fits & id.is_traceparent(head)
            && Filling::of(id.parent_id()).is(filling, printable),
    )
}

fn short_is_intact(payload: &[u8], id: TraceId) -> Option<bool> {
    let binary = || {
        let (rest, sum) = payload.split_last_chunk::<4>()?;
        Some(crc32fast::hash(rest) == u32::from_be_bytes(*sum))
    };
    let text = || {
        let (rest, sum) = payload.split_last_chunk::<8>()?;
        Some(hex::read_number(*sum) == Some(crc32fast::hash(rest)))
    };
    match payload.len() {
        0..20 => None,
        // A text of this size has no room for its checksum, where a binary payload has.
        20..24 if Filling::of(id.parent_id()).is(&payload[SHORT_LEN..], printable) => None,
        20..24 => binary(),
        _ => Some(text() == Some(true) || binary() == Some(true)),
    }
}

/// What says that a filling of this length is all of it.
#[expect(clippy::cast_possible_truncation, reason = "a sum modulo 2^32")]
const fn check_of(id: TraceId, length: usize) -> u32 {
    let [a, b, c, d, ..] = id.0;
    u32::from_be_bytes([a, b, c, d]).wrapping_add(length as u32)
}

/// The same where the publisher and the sequence stand beside the filling.
#[expect(clippy::cast_possible_truncation, reason = "a sum modulo 2^32")]
const fn json_check_of(identity: Identity, id: TraceId, length: usize) -> u32 {
    let publisher = identity.publisher.wrapping_mul(0x9e37_79b1);
    let sequence = (identity.sequence as u32).wrapping_mul(0x85eb_ca77);
    check_of(id, length).wrapping_add(publisher).wrapping_add(sequence)
}

/// The trace id that a payload begins with, in any of the long forms.
pub(super) fn trace_id(payload: &[u8]) -> Option<TraceId> {
    match payload.first()? {
        b'{' => TraceId::from_traceparent(payload.strip_prefix(JSON_TRACEPARENT)?),
        b'0' => TraceId::from_traceparent(payload),
        0 => TraceId::from_binary(payload),
        _ => None,
    }
}

fn short_form(identity: Identity) -> [u8; SHORT_LEN] {
    let mut text = [0; SHORT_LEN];
    // Twelve bytes are exactly sixteen base64 digits, so the encoder can't run out of room.
    let _ = URL_SAFE_NO_PAD.encode_slice(identity.to_bytes(), &mut text);
    text
}

/// The identity within a short form, if `payload` begins with sixteen base64url digits. Any such
/// text is some identity: the caller must know the run.
pub(super) fn read_short_form(payload: &[u8]) -> Option<Identity> {
    let text = payload.get(..SHORT_LEN)?;
    let mut bytes = [0; 12];
    let read = URL_SAFE_NO_PAD.decode_slice_unchecked(text, &mut bytes).ok()?;
    (read == bytes.len()).then(|| Identity::from_bytes(bytes))
}

/// Appends filling until `payload` has `size`.
/// Fills `payload` up to a length.
fn fill(payload: &mut Vec<u8>, end: usize, id: TraceId, shape: impl Fn(u64) -> u64 + Copy) {
    let start = payload.len();
    payload.resize(end.max(start), 0);
    Filling::of(id.parent_id()).write(&mut payload[start..], shape);
}

/// Eight bytes at once into `@` to `O` and `` ` `` to `o`: printable, and nothing that JSON would
/// escape.
#[inline]
const fn printable(bits: u64) -> u64 {
    (bits & 0x2f2f_2f2f_2f2f_2f2f) | 0x4040_4040_4040_4040
}

fn push_digits(payload: &mut Vec<u8>, sum: u32) {
    let mut digits = [[0; 2]; 4];
    hex::write(&sum.to_be_bytes(), &mut digits);
    payload.extend_from_slice(digits.as_flattened());
}

/// The number that a text begins with, written as JSON writes it, and what follows.
#[inline]
fn split_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut length) = (0_u64, 0);
    for byte in text.iter().take(19).map(|byte| byte.wrapping_sub(b'0')) {
        if byte > 9 {
            break;
        }
        number = number * 10 + u64::from(byte);
        length += 1;
    }
    let is_canonical = length == 1 || (length > 1 && text[0] != b'0');
    is_canonical.then(|| (number, &text[length..]))
}

/// The decimal digits of `number`, in the end of `digits`.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}
