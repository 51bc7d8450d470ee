//! Room `stamp`: lower-case hexadecimal, without allocation.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes two digits a byte into `digits`, which holds exactly that many.
pub(super) fn write(bytes: &[u8], digits: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads two digits a byte, four bytes at a time; false where `digits` holds anything else, or not
/// twice the length of `bytes`, which is a multiple of four.
pub(super) fn read(digits: &[u8], bytes: &mut [u8]) -> bool {
    let mut bad = u64::from(digits.len() != bytes.len() * 2 || !bytes.len().is_multiple_of(4));
    for (word, eight) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(digits.as_chunks::<8>().0) {
        let text = u64::from_le_bytes(*eight);
        // Letters have bit 6 set, and count from 1 where digits count from 0.
        let values = (text & (EACH * 0x0f)) + ((text >> 6) & EACH) * 9;
        // Whatever does not give the same text again was no digit.
        let letters = ((values + EACH * 6) >> 4) & EACH;
        bad |= (values & (EACH * 0xf0)) | ((values + EACH * 0x30 + letters * 0x27) ^ text);
        // Neighbours are joined: first two digits to a byte, then bytes to a word.
        let pairs = ((values << 4) | (values >> 8)) & 0x00ff_00ff_00ff_00ff;
        let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
        let [a, b, _, _, c, d, _, _] = quads.to_le_bytes();
        *word = [a, b, c, d];
    }
    bad == 0
}

/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_digits_are_read() {
        let mut bytes = [0; 4];
        assert!(read(b"0aff9c31", &mut bytes));
        assert_eq!(bytes, [0x0a, 0xff, 0x9c, 0x31]);
        for bad in [&b"0aff9c3"[..], b"0aff9c310", b"0aff9c3100000000", b""] {
            assert!(!read(bad, &mut bytes), "{bad:?}");
        }
        for place in 0..8 {
            for byte in 0..=255 {
                let mut digits = *b"0aff9c31";
                digits[place] = byte;
                assert_eq!(read(&digits, &mut bytes), DIGITS.contains(&byte), "{digits:?}");
                let mut again = [0; 8];
                write(&bytes, &mut again);
                assert!(again == digits || !DIGITS.contains(&byte));
            }
        }
    }
}
