//! Room `journal`: how frames lie in a file.
//!
//! # Design
//!
//! A frame is its length, the checksum of its content, the checksum of these two, and the content. The
//! head has a checksum of its own because a damaged length would else look like a frame that was cut.

/// Bytes before the content.
const HEAD: usize = 12;
/// What a file begins with: what wrote it, and in which form.
const MAGIC: [u8; 12] = *b"landfall\0\0\0\x02";

/// What a file is like behind its last whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is nothing.
    Whole,
    /// So many bytes of a frame that was cut.
    Torn(usize),
    /// Something that no kill leaves, at this offset.
    Damaged(usize),
}

/// Begins a file.
pub(super) fn begin(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&MAGIC);
}

/// Appends a frame; `false` where it is too long to be one.
pub(super) fn put(bytes: &mut Vec<u8>, content: &[u8]) -> bool {
    let Ok(length) = u32::try_from(content.len()) else { return false };
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    let own = crc32fast::hash(&head[..8]);
    head[8..].copy_from_slice(&own.to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(content);
    true
}

/// The frames of a file, in order, and how it ends.
pub(super) fn read(file: &[u8]) -> (Vec<&[u8]>, End) {
    let mut frames = Vec::new();
    let Some(mut rest) = file.strip_prefix(&MAGIC) else {
        let is_cut = MAGIC.starts_with(file);
        return (frames, if is_cut { End::Torn(file.len()) } else { End::Damaged(0) });
    };
    while !rest.is_empty() {
        let at = file.len() - rest.len();
        let Some((head, content)) = rest.split_first_chunk::<HEAD>() else {
            return (frames, End::Torn(rest.len()));
        };
        let word = |at: usize| {
            head[at..].first_chunk().map_or(0, |bytes: &[u8; 4]| u32::from_le_bytes(*bytes))
        };
        if word(8) != crc32fast::hash(&head[..8]) {
            return (frames, End::Damaged(at));
        }
        let length = usize::try_from(word(0)).unwrap_or(usize::MAX);
        let Some((content, behind)) = content.split_at_checked(length) else {
            return (frames, End::Torn(rest.len()));
        };
        if word(4) != crc32fast::hash(content) {
            return (frames, End::Damaged(at));
        }
        frames.push(content);
        rest = behind;
    }
    (frames, End::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(contents: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        assert!(contents.iter().all(|content| put(&mut bytes, content)));
        bytes
    }

    fn contents() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)
    }

    proptest! {
        #[test]
        fn what_is_cut_loses_its_last_frame_only(contents in contents(), cut in any::<prop::sample::Index>()) {
            let whole = file(&contents);
            prop_assert_eq!(read(&whole), (contents.iter().map(Vec::as_slice).collect(), End::Whole));
            let length = cut.index(whole.len() + 1);
            let (frames, end) = read(&whole[..length]);
            prop_assert!(frames.iter().copied().eq(contents.iter().take(frames.len()).map(Vec::as_slice)));
            let kept = file(&contents[..frames.len()]).len();
            let torn = if length < MAGIC.len() { length } else { length - kept };
            let is_whole = torn == 0 && length >= MAGIC.len();
            prop_assert_eq!(end, if is_whole { End::Whole } else { End::Torn(torn) });
        }

        #[test]
        fn a_flipped_bit_is_found_wherever_it_is(
            contents in contents(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let mut bytes = file(&contents);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (frames, end) = read(&bytes);
            prop_assert!(matches!(end, End::Damaged(from) if from <= at), "{:?}", end);
            prop_assert!(frames.len() <= contents.len());
        }
    }
}
