//! Room `stamp`: payloads that carry a stamp, and how to tell whether they arrived whole.
//!
//! Everything in a payload but its size follows from the trace id, and a checksum ends it:
//!
//! | format | from | layout |
//! |---|---|---|
//! | binary | 33 bytes | binary traceparent (29), filling, CRC-32 (4, big-endian) |
//! | binary | 16 bytes | short form (16), filling, CRC-32 from 20 bytes on |
//! | text | 64 bytes | `traceparent` (55), space, filling, CRC-32 (8 digits) |
//! | text | 16 bytes | short form (16), filling, CRC-32 (8 digits) from 24 bytes on |
//! | json | 160 bytes | `{"traceparent":"…","publisher":n,"sequence":n,"fill":"…","check":"…"}` |
//!
//! # Design
//!
//! The JSON checksum covers the values and not the punctuation between them, so that a bridge that
//! writes the object anew without changing a value does not look like damage.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crc32fast::Hasher;

use super::trace::{BINARY_LEN, TRACEPARENT_LEN};
use super::{Identity, TraceId, hex};
use crate::splitmix::mix;

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

/// Writes the payload of `identity` into `payload`, whose old content goes. The size is raised to
/// [`Format::size_min`] where it is below.
pub(super) fn write(
    payload: &mut Vec<u8>,
    format: Format,
    size: usize,
    identity: Identity,
    id: TraceId,
) {
    payload.clear();
    let size = size.max(format.size_min());
    match format {
        Format::Json => write_json(payload, size, identity, id),
        Format::Text => write_text(payload, size, identity, id),
        Format::Binary => write_binary(payload, size, identity, id),
    }
}

fn write_binary(payload: &mut Vec<u8>, size: usize, identity: Identity, id: TraceId) {
    if size >= BINARY_LEN + 4 {
        payload.extend_from_slice(&id.binary());
    } else {
        payload.extend_from_slice(&short_form(identity));
    }
    let check = size >= SHORT_LEN + 4;
    fill(payload, size - if check { 4 } else { 0 }, id, |bits| bits);
    if check {
        let sum = crc32fast::hash(payload);
        payload.extend_from_slice(&sum.to_be_bytes());
    }
}

fn write_text(payload: &mut Vec<u8>, size: usize, identity: Identity, id: TraceId) {
    if size > TRACEPARENT_LEN + 8 {
        payload.extend_from_slice(&id.traceparent());
        payload.push(b' ');
    } else {
        payload.extend_from_slice(&short_form(identity));
    }
    let check = size >= SHORT_LEN + 8;
    fill(payload, size - if check { 8 } else { 0 }, id, printable);
    if check {
        let sum = crc32fast::hash(payload);
        push_digits(payload, sum);
    }
}

fn write_json(payload: &mut Vec<u8>, size: usize, identity: Identity, id: TraceId) {
    let mut sum = Hasher::new();
    let mut value = |payload: &mut Vec<u8>, key: &[u8], value: &[u8]| {
        payload.extend_from_slice(key);
        payload.extend_from_slice(value);
        sum.update(value);
    };
    let mut digits = [0; 20];
    value(payload, JSON_TRACEPARENT, &id.traceparent());
    value(payload, JSON_PUBLISHER, decimal(u64::from(identity.publisher), &mut digits));
    value(payload, JSON_SEQUENCE, decimal(identity.sequence, &mut digits));
    payload.extend_from_slice(JSON_FILL);
    let start = payload.len();
    fill(payload, size - JSON_CHECK.len() - 8 - JSON_END.len(), id, printable);
    sum.update(&payload[start..]);
    payload.extend_from_slice(JSON_CHECK);
    push_digits(payload, sum.finalize());
    payload.extend_from_slice(JSON_END);
}

/// Whether `payload`, which begins with a stamp of this identity, is what was sent: `None` where it
/// is too small to carry a checksum.
pub(super) fn is_intact(payload: &[u8], short: bool) -> Option<bool> {
    match payload.first() {
        Some(b'{') => Some(json_is_intact(payload).unwrap_or(false)),
        Some(0) => Some(binary_is_intact(payload)),
        _ if short => match payload.len() {
            0..20 => None,
            20..24 => Some(binary_is_intact(payload)),
            _ => Some(text_is_intact(payload) || binary_is_intact(payload)),
        },
        _ => Some(text_is_intact(payload)),
    }
}

fn binary_is_intact(payload: &[u8]) -> bool {
    payload
        .split_last_chunk::<4>()
        .is_some_and(|(rest, sum)| crc32fast::hash(rest) == u32::from_be_bytes(*sum))
}

fn text_is_intact(payload: &[u8]) -> bool {
    payload
        .split_last_chunk::<8>()
        .is_some_and(|(rest, sum)| read_digits(*sum) == Some(crc32fast::hash(rest)))
}

fn json_is_intact(payload: &[u8]) -> Option<bool> {
    let rest = payload.strip_prefix(JSON_TRACEPARENT)?;
    let (traceparent, rest) = rest.split_at_checked(TRACEPARENT_LEN)?;
    let rest = rest.strip_prefix(JSON_PUBLISHER)?;
    let (publisher, rest) = split_digits(rest);
    let rest = rest.strip_prefix(JSON_SEQUENCE)?;
    let (sequence, rest) = split_digits(rest);
    let rest = rest.strip_prefix(JSON_FILL)?.strip_suffix(JSON_END)?;
    let (rest, sum) = rest.split_last_chunk::<8>()?;
    let filling = rest.strip_suffix(JSON_CHECK)?;
    let mut hasher = Hasher::new();
    for value in [traceparent, publisher, sequence, filling] {
        hasher.update(value);
    }
    Some(read_digits(*sum) == Some(hasher.finalize()))
}

/// The stamp within a JSON payload, if that is what it begins with.
pub(super) fn json_traceparent(payload: &[u8]) -> Option<TraceId> {
    TraceId::from_traceparent(payload.strip_prefix(JSON_TRACEPARENT)?)
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

/// Appends generated bytes until `payload` has `size`.
fn fill(payload: &mut Vec<u8>, size: usize, id: TraceId, shape: impl Fn(u64) -> u64) {
    let (low, high) = id.0.split_at(8);
    let mut state = low.iter().chain(high).fold(0_u64, |seed, &byte| {
        seed.rotate_left(8).wrapping_add(u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    payload.reserve(size.saturating_sub(payload.len()));
    while payload.len() < size {
        let chunk = shape(mix(state)).to_le_bytes();
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let room = size - payload.len();
        payload.extend_from_slice(&chunk[..room.min(8)]);
    }
}

/// Eight bytes at once into `@` to `_`: printable, and nothing in it that JSON would escape but the
/// backslash, which becomes its neighbour.
const fn printable(bits: u64) -> u64 {
    let letters = (bits & 0x1f1f_1f1f_1f1f_1f1f) | 0x4040_4040_4040_4040;
    // Bit 0 of each byte that is a backslash (0x5c) is set: `]`.
    let difference = letters ^ 0x5c5c_5c5c_5c5c_5c5c;
    let zero = difference.wrapping_add(0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080;
    letters | ((zero ^ 0x8080_8080_8080_8080) >> 7)
}

fn push_digits(payload: &mut Vec<u8>, sum: u32) {
    let mut digits = [0; 8];
    hex::write(&sum.to_be_bytes(), &mut digits);
    payload.extend_from_slice(&digits);
}

fn read_digits(digits: [u8; 8]) -> Option<u32> {
    let mut bytes = [0; 4];
    hex::read(&digits, &mut bytes).then(|| u32::from_be_bytes(bytes))
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
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
