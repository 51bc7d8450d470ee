//! Room `stamp`: identities made into trace ids, and back.

use std::num::NonZeroU64;

use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Identity, hex};

/// The 32 fixed bits beside an identity. A trace id that does not decrypt to them is not ours.
const MARK: [u8; 4] = *b"lndf";

/// Length of the text form of a W3C `traceparent`, version 00.
pub const TRACEPARENT_LEN: usize = 55;
/// Length of the binary form: a version byte, then trace id, parent id and flags, each behind its
/// field number (the draft "Trace Context: binary format" of W3C).
pub(super) const BINARY_LEN: usize = 29;

/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// A W3C span id; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpanId(NonZeroU64);

impl SpanId {
    /// The span of this number, if it is one.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The eight bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

/// A W3C trace id that carries an [`Identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

impl TraceId {
    /// The 32 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        let mut digits = [[0; 2]; 16];
        hex::write(&self.0, &mut digits);
        digits.as_flattened().iter().map(|&digit| char::from(digit)).collect()
    }

    /// The parent id that travels with the trace id: derived from it, never zero.
    #[must_use]
    #[inline]
    pub fn parent_id(self) -> [u8; 8] {
        let low = self.0.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let high = self.0.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
        // Each byte of the first half with its fellow of the second, which is rotated by three.
        let rotated = ((high & (EACH * 0x1f)) << 3) | ((high >> 5) & (EACH * 0x07));
        match low ^ rotated {
            0 => [0, 0, 0, 0, 0, 0, 0, 1],
            parent => parent.to_le_bytes(),
        }
    }

    /// `00-<trace id>-<parent id>-01` (W3C Trace Context, level 1; sampled).
    #[must_use]
    pub fn traceparent(self) -> [u8; TRACEPARENT_LEN] {
        let mut text = *b"00-________________________________-________________-01";
        let (mut id, mut parent) = ([[0; 2]; 16], [[0; 2]; 8]);
        hex::write(&self.0, &mut id);
        hex::write(&self.parent_id(), &mut parent);
        text[3..35].copy_from_slice(id.as_flattened());
        text[36..52].copy_from_slice(parent.as_flattened());
        text
    }

    /// The span that the text form names as parent, where that is not [`TraceId::parent_id`]. The trace
    /// id was read from `text`.
    #[must_use]
    pub fn other_span(self, text: &[u8]) -> Option<SpanId> {
        let number = |at: usize| text.get(at..)?.first_chunk().copied().and_then(hex::read_number);
        let parent = u64::from(number(36)?) << 32 | u64::from(number(44)?);
        SpanId::new(parent).filter(|_| parent != u64::from_be_bytes(self.parent_id()))
    }

    /// The trace id within the text form, if `text` begins with one.
    #[must_use]
    #[inline]
    pub fn from_traceparent(text: &[u8]) -> Option<Self> {
        let text: &[u8; TRACEPARENT_LEN] = text.first_chunk()?;
        let shape = text.starts_with(b"00-") && text[35] == b'-' && text[52] == b'-';
        let digits = text[3..35].as_chunks().0.try_into().ok()?;
        let mut id = [0; 16];
        (hex::read(digits, &mut id) && shape).then_some(Self(id))
    }

    /// Whether `text` is [`TraceId::traceparent`], provided that this trace id was read from it.
    #[inline]
    pub(super) fn is_traceparent(self, text: &[u8; TRACEPARENT_LEN]) -> bool {
        let number = |at: usize| text[at..].first_chunk().copied().and_then(hex::read_number);
        let (Some(first), Some(second)) = (number(36), number(44)) else {
            return false;
        };
        let parent = u64::from(first) << 32 | u64::from(second);
        parent == u64::from_be_bytes(self.parent_id()) && text[52..] == *b"-01"
    }

    /// Whether `bytes` are [`TraceId::binary`].
    #[inline]
    pub(super) fn is_binary(self, bytes: &[u8; BINARY_LEN]) -> bool {
        let parent = self.parent_id();
        Self::from_binary(bytes) == Some(self) && bytes[19..27] == parent && bytes[28] == 1
    }

    /// The binary form.
    #[must_use]
    #[inline]
    pub fn binary(self) -> [u8; BINARY_LEN] {
        let mut bytes = [0; BINARY_LEN];
        bytes[2..18].copy_from_slice(&self.0);
        bytes[18] = 1;
        bytes[19..27].copy_from_slice(&self.parent_id());
        bytes[27] = 2;
        bytes[28] = 1;
        bytes
    }

    /// The trace id within the binary form, if `bytes` begins with one.
    #[must_use]
    #[inline]
    pub fn from_binary(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..BINARY_LEN)?;
        let shape = bytes[..2] == [0, 0] && bytes[18] == 1 && bytes[27] == 2;
        let id = bytes[2..18].try_into().ok()?;
        shape.then_some(Self(id))
    }
}

/// The keyed permutation between identities and trace ids: one block of AES-128.
///
/// It makes ids look random, as W3C Trace Context asks, and stops accidents such as two probes
/// taking each other's messages for their own. It does not stop a forger who knows the key.
#[derive(Clone)]
pub struct Permutation {
    cipher: Aes128,
}

impl Permutation {
    /// Keyed by any bytes: the content of a key file, or the probe's name.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let digest = Sha256::digest(secret);
        let mut key = [0_u8; 16];
        key.copy_from_slice(&digest[..16]);
        Self { cipher: Aes128::new(&key.into()) }
    }

    /// The trace id of an identity.
    #[must_use]
    pub fn trace_id(&self, identity: Identity) -> TraceId {
        let mut block = [0_u8; 16];
        block[..12].copy_from_slice(&identity.to_bytes());
        block[12..].copy_from_slice(&MARK);
        let mut block = block.into();
        self.cipher.encrypt_block(&mut block);
        TraceId(block.into())
    }

    /// The identity within a trace id, if it was made with this key.
    #[must_use]
    #[inline]
    pub fn identity(&self, id: TraceId) -> Option<Identity> {
        let mut block = id.0.into();
        self.cipher.decrypt_block(&mut block);
        let block: [u8; 16] = block.into();
        let (identity, mark) = block.split_first_chunk::<12>()?;
        (mark == MARK).then(|| Identity::from_bytes(*identity))
    }
}

impl std::fmt::Debug for Permutation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Permutation(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn identities_survive_the_permutation(bytes in any::<[u8; 12]>(), key in any::<Vec<u8>>()) {
            let permutation = Permutation::new(&key);
            let identity = Identity::from_bytes(bytes);
            let id = permutation.trace_id(identity);
            prop_assert_eq!(permutation.identity(id), Some(identity));
            prop_assert_eq!(TraceId::from_traceparent(&id.traceparent()), Some(id));
            prop_assert_eq!(TraceId::from_binary(&id.binary()), Some(id));
        }

        #[test]
        fn foreign_ids_are_refused(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(Permutation::new(b"plant-7").identity(TraceId(bytes)), None);
        }

        #[test]
        fn no_text_panics(text in any::<Vec<u8>>()) {
            let _ = TraceId::from_traceparent(&text);
            let _ = TraceId::from_binary(&text);
        }
    }

    #[test]
    fn another_probes_key_does_not_fit() {
        let identity = Identity::from_bytes([7; 12]);
        let id = Permutation::new(b"plant-7").trace_id(identity);
        assert_eq!(Permutation::new(b"plant-8").identity(id), None);
    }

    #[test]
    fn a_span_of_somebody_else_is_told_from_ours() {
        let id = Permutation::new(b"plant-7").trace_id(Identity::from_bytes([7; 12]));
        let ours = id.traceparent();
        assert_eq!(id.other_span(&ours), None);
        let mut theirs = ours;
        theirs[36..52].copy_from_slice(b"00000000000000a7");
        assert_eq!(id.other_span(&theirs), SpanId::new(0xa7));
        theirs[36..52].copy_from_slice(b"0000000000000000");
        assert_eq!(id.other_span(&theirs), None, "zero is no span");
        assert_eq!(id.other_span(&ours[..40]), None);
    }

    #[test]
    fn the_permutation_is_fixed() {
        let id = Permutation::new(b"plant-7").trace_id(Identity::from_bytes([7; 12]));
        let text = String::from_utf8(id.traceparent().to_vec()).unwrap();
        assert_eq!(text, "00-484ff194999642186f06cd968f43bf42-337f9f20e58cbf0a-01");
    }
}
