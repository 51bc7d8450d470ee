//! Room `stamp`: what fills a payload up to its size.
//!
//! A payload is as long as its path says, whatever it has to tell. What fills it up follows from the
//! trace id, so that whoever knows the one can check the other byte by byte: nothing else than what
//! was sent is taken for it. Byte `n` of a filling is byte `n % 8` of the parent id, exclusive-or
//! byte `n % 4` of the CRC-32 of `n / 4` (both as four bytes, least significant first).
//!
//! # Design
//!
//! This costs less than half of a checksum over the same bytes: the CRCs stand in a table, and a loop
//! over eight bytes at a time becomes one over wide registers. The table has 4 KiB, which serves for any
//! size: a CRC is linear, so that those of numbers that differ in their upper bits alone differ by the
//! same bits. Messages have no four bytes in common but by chance, and so do not compress better than
//! what is measured with them should.

/// How many words the table serves for; then it begins again under another key.
const STRETCH: usize = 512;
const WORD: usize = 8;

static TABLE: [u64; STRETCH] = table();

/// What fills the payloads of one trace id.
#[derive(Clone, Copy)]
pub(super) struct Filling {
    key: u64,
}

impl Filling {
    pub(super) const fn of(parent_id: [u8; WORD]) -> Self {
        Self { key: u64::from_le_bytes(parent_id) }
    }

    /// Fills `bytes`, eight at a time brought into some `shape`.
    pub(super) fn write(self, bytes: &mut [u8], shape: impl Fn(u64) -> u64 + Copy) {
        for (stretch, number) in bytes.chunks_mut(STRETCH * WORD).zip(0..) {
            let key = self.key_of(number);
            let (words, rest) = stretch.as_chunks_mut::<WORD>();
            for (word, &table) in words.iter_mut().zip(&TABLE) {
                *word = shape(table ^ key).to_le_bytes();
            }
            if let Some(&table) = TABLE.get(words.len()) {
                let last = shape(table ^ key).to_le_bytes();
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
    }

    /// Whether `bytes` are what [`Filling::write`] gives.
    #[inline]
    pub(super) fn is(self, bytes: &[u8], shape: impl Fn(u64) -> u64 + Copy) -> bool {
        let mut stretches = bytes.chunks(STRETCH * WORD).zip(0..);
        stretches.all(|(stretch, number)| is_stretch(stretch, self.key_of(number), shape))
    }

    /// The key of a stretch: of all but the first, the CRCs differ from the table's.
    #[inline]
    const fn key_of(self, stretch: u32) -> u64 {
        if stretch == 0 {
            return self.key;
        }
        let other = crc_of(stretch.wrapping_mul(1_024)) ^ crc_of(0);
        self.key ^ doubled(other, other)
    }
}

#[inline]
fn is_stretch(bytes: &[u8], key: u64, shape: impl Fn(u64) -> u64) -> bool {
    let (words, rest) = bytes.as_chunks::<WORD>();
    let mut difference = 0;
    for (&word, &table) in words.iter().zip(&TABLE) {
        difference |= u64::from_le_bytes(word) ^ shape(table ^ key);
    }
    if let Some(&table) = TABLE.get(words.len()) {
        // What is over comes first in its word; what is not there of this one counts for nothing.
        let over = 8 * u32::from(bytes.len().to_le_bytes()[0] % 8);
        let word = match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last).checked_shr(64 - over).unwrap_or(0),
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        difference |= word ^ (shape(table ^ key) & !(u64::MAX << over));
    }
    difference == 0
}

const fn table() -> [u64; STRETCH] {
    let mut table = [0; STRETCH];
    let (mut place, mut number) = (0, 0);
    while place < STRETCH {
        table[place] = doubled(crc_of(number), crc_of(number + 1));
        place += 1;
        number += 2;
    }
    table
}

const fn doubled(first: u32, second: u32) -> u64 {
    first as u64 | (second as u64) << 32
}

/// The CRC-32 of a number as four bytes, least significant first.
const fn crc_of(number: u32) -> u32 {
    let mut crc = !number;
    let mut bit = 0;
    while bit < 32 {
        crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        bit += 1;
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As it is described above.
    fn described(key: [u8; WORD], length: usize) -> Vec<u8> {
        let crcs = (0_u32..).flat_map(|n| crc32fast::hash(&n.to_le_bytes()).to_le_bytes());
        crcs.zip(key.iter().cycle()).map(|(crc, key)| crc ^ key).take(length).collect()
    }

    proptest! {
        #[test]
        fn a_filling_is_as_described_and_nothing_else(
            key in any::<[u8; WORD]>(),
            length in prop_oneof![0_usize..300, 4_000_usize..12_500],
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let filling = Filling::of(key);
            let mut bytes = vec![0; length];
            filling.write(&mut bytes, |bits| bits);
            prop_assert_eq!(&bytes, &described(key, length));
            prop_assert!(filling.is(&bytes, |bits| bits));
            if length > 0 {
                bytes[at.index(length)] ^= flip;
                prop_assert!(!filling.is(&bytes, |bits| bits));
            }
        }
    }
}
