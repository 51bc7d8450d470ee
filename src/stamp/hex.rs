//! Room `stamp`: lower-case hexadecimal, without allocation.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes two digits a byte into `digits`, which holds exactly that many.
pub(super) fn write(bytes: &[u8], digits: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads two digits a byte; false where `digits` holds anything else, or another number of them.
pub(super) fn read(digits: &[u8], bytes: &mut [u8]) -> bool {
    let mut bad = u8::from(digits.len() != bytes.len() * 2);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        bad |= (high | low) & 0xf0;
        *byte = (high << 4) | (low & 15);
    }
    bad == 0
}

/// The value of each digit, 255 for all that are none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0_u8;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_digits_are_read() {
        let mut bytes = [0; 2];
        assert!(read(b"0aff", &mut bytes));
        assert_eq!(bytes, [0x0a, 0xff]);
        for bad in [&b"0aFF"[..], b"0af", b"0affff", b"0ag0", b"\xff\xff\xff\xff"] {
            assert!(!read(bad, &mut bytes), "{bad:?}");
        }
    }
}
