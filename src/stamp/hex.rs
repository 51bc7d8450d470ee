//! Room `stamp`: lower-case hexadecimal, without allocation.

/// Writes two digits a byte.
#[inline]
pub(super) fn write<const N: usize>(bytes: &[u8; N], digits: &mut [[u8; 2]; N]) {
    for (&byte, pair) in bytes.iter().zip(digits) {
        // The upper half comes first.
        let values = u16::from(byte >> 4) | u16::from(byte & 0x0f) << 8;
        let letters = ((values + EACH * 6) >> 4) & EACH;
        *pair = (values + EACH * 0x30 + letters * 0x27).to_le_bytes();
    }
}

/// Reads two digits a byte into `bytes`; false where there is anything else than lower-case digits.
///
/// Every pair is treated alike and on its own, without a table or a branch: so the compiler makes it
/// a few instructions on wide registers, and whoever deciphers the bytes finds them in one of these.
#[inline]
pub(super) fn read<const N: usize>(digits: &[[u8; 2]; N], bytes: &mut [u8; N]) -> bool {
    let mut bad = 0;
    for (byte, &pair) in bytes.iter_mut().zip(digits) {
        let text = u16::from_le_bytes(pair);
        // Letters have bit 6 set, and count from 1 where digits count from 0.
        let values = (text & (EACH * 0x0f)) + ((text >> 6) & EACH) * 9;
        // Whatever does not give the same text again was no digit.
        let letters = ((values + EACH * 6) >> 4) & EACH;
        bad |= (values & (EACH * 0xf0)) | ((values + EACH * 0x30 + letters * 0x27) ^ text);
        [*byte, _] = ((values << 4) | (values >> 8)).to_le_bytes();
    }
    bad == 0
}

/// Reads the number of eight digits; `None` where there is anything else than lower-case digits.
///
/// The same as [`read`] on one register, which is too little to make wide ones worth their while.
#[inline]
pub(super) fn read_number(digits: [u8; 8]) -> Option<u32> {
    const ALL: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_le_bytes(digits);
    let values = (text & (ALL * 0x0f)) + ((text >> 6) & ALL) * 9;
    let letters = ((values + ALL * 6) >> 4) & ALL;
    let bad = (values & (ALL * 0xf0)) | ((values + ALL * 0x30 + letters * 0x27) ^ text);
    // Neighbours are joined: first two digits to a byte, then bytes to a word.
    let pairs = ((values << 4) | (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    let [a, b, _, _, c, d, _, _] = quads.to_le_bytes();
    (bad == 0).then_some(u32::from_be_bytes([a, b, c, d]))
}

/// One in each byte.
const EACH: u16 = 0x0101;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    #[test]
    fn only_lower_case_digits_are_read() {
        let read = |digits: &[u8; 8], bytes: &mut [u8; 4]| {
            let pairs: &[[u8; 2]; 4] = digits.as_chunks().0.try_into().unwrap();
            read(pairs, bytes)
        };
        let mut bytes = [0; 4];
        assert!(read(b"0aff9c31", &mut bytes));
        assert_eq!(bytes, [0x0a, 0xff, 0x9c, 0x31]);
        for place in 0..8 {
            for byte in 0..=255 {
                let mut digits = *b"0aff9c31";
                digits[place] = byte;
                assert_eq!(read(&digits, &mut bytes), DIGITS.contains(&byte), "{digits:?}");
                let number = DIGITS.contains(&byte).then_some(u32::from_be_bytes(bytes));
                assert_eq!(read_number(digits), number, "{digits:?}");
                let mut again = [[0; 2]; 4];
                write(&bytes, &mut again);
                assert!(again.as_flattened() == digits || !DIGITS.contains(&byte));
            }
        }
    }
}
