//! Room `wire`: bytes that wait for the socket, and which of them end a message.

use std::collections::VecDeque;

/// Memory beyond this is given back once a burst is written: there may be many clients.
const KEEP_BYTES: usize = 512;
/// What is written is let go from so many bytes on: moving what is left for fewer costs too much.
const MOVE_BYTES: usize = 16 * 1_024;
/// Room for more marks is given back with it.
const KEEP_MARKS: usize = 16;

/// A message among the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    /// Whether it is sent for the first time.
    pub(super) first: bool,
    /// How many bytes of the stream end with it.
    end: u64,
}

/// Room that the clients of a thread lend each other while they write: it stays warm, and none of them
/// needs it for itself.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    bytes: Vec<u8>,
    marks: VecDeque<Mark>,
}

/// What is to be written, and how much of it was.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// How many bytes of the stream came before `bytes`.
    gone: u64,
    marks: VecDeque<Mark>,
}

impl Outbox {
    /// Where packets are appended.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Goes on in borrowed buffers, which are empty.
    pub(super) fn swap(&mut self, buffers: &mut Buffers) {
        let Buffers { bytes, marks } = buffers;
        bytes.extend_from_slice(&self.bytes[self.written..]);
        self.gone += self.written as u64;
        self.written = 0;
        self.bytes.clear();
        marks.append(&mut self.marks);
        std::mem::swap(&mut self.bytes, bytes);
        std::mem::swap(&mut self.marks, marks);
    }

    /// Gives the buffers back and keeps what was not written.
    pub(super) fn swap_back(&mut self, buffers: &mut Buffers) {
        self.swap(buffers);
        buffers.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.marks.shrink_to(KEEP_MARKS);
    }

    /// Says that what was appended last ends a message.
    pub(super) fn mark(&mut self, number: u64, first: bool) {
        let end = self.gone + self.bytes.len() as u64;
        self.marks.push_back(Mark { number, first, end });
    }

    /// What is still to be written.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// How many messages are not wholly written.
    pub(super) fn messages(&self) -> usize {
        self.marks.len()
    }

    /// The last message that is not wholly written.
    pub(super) fn last(&self) -> Option<u64> {
        self.marks.back().map(|mark| mark.number)
    }

    /// Notes that so many bytes were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.written = (self.written + count).min(self.bytes.len());
        // A socket that never takes everything must not make the written part grow for ever.
        if self.written == self.bytes.len() || self.written >= MOVE_BYTES {
            self.gone += self.written as u64;
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// The next message that is wholly written and was not asked for before.
    pub(super) fn next_written(&mut self) -> Option<Mark> {
        let position = self.gone + self.written as u64;
        self.marks.pop_front_if(|mark| mark.end <= position)
    }

    /// Forgets the bytes; the messages that were not wholly written, the oldest first.
    pub(super) fn clear(&mut self) -> VecDeque<Mark> {
        *self.bytes() = Vec::new();
        self.written = 0;
        std::mem::take(&mut self.marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        let mut outbox = Outbox::default();
        for number in 0..3 {
            outbox.bytes().extend_from_slice(&[0; 10]);
            outbox.mark(number, true);
        }
        outbox
    }

    fn written(outbox: &mut Outbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next_written()).map(|mark| mark.number).collect()
    }

    #[test]
    fn a_message_is_written_with_its_last_byte() {
        let mut outbox = outbox();
        outbox.advance(9);
        assert_eq!(written(&mut outbox), [0; 0]);
        outbox.advance(11);
        assert_eq!(written(&mut outbox), [0, 1]);
        assert_eq!((outbox.unwritten().len(), outbox.messages()), (10, 1));
        outbox.advance(10);
        outbox.bytes().push(1);
        outbox.mark(3, true);
        assert_eq!(written(&mut outbox), [2]);
        outbox.advance(1);
        assert_eq!(written(&mut outbox), [3]);
    }

    #[test]
    fn what_was_not_wholly_written_is_handed_back() {
        let mut outbox = outbox();
        outbox.advance(15);
        assert_eq!(written(&mut outbox), [0]);
        let left: Vec<u64> = outbox.clear().iter().map(|mark| mark.number).collect();
        assert_eq!(left, [1, 2]);
        assert_eq!((outbox.unwritten().len(), outbox.messages()), (0, 0));
        outbox.bytes().push(1);
        outbox.mark(4, true);
        outbox.advance(1);
        assert_eq!(written(&mut outbox), [4], "the next connection counts anew");
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let (mut outbox, mut buffers) = (outbox(), Buffers::default());
        for _ in 0..2 {
            outbox.swap(&mut buffers);
            let start = outbox.messages() as u64;
            for number in start..1_000 {
                outbox.bytes().extend(std::iter::repeat_n(0, 1_000));
                outbox.mark(number, true);
            }
            let left = outbox.unwritten().len();
            outbox.advance(left - 1);
            assert_eq!(written(&mut outbox).last(), Some(&998));
            outbox.swap_back(&mut buffers);
            assert!(outbox.bytes.capacity() <= KEEP_BYTES);
            assert!(outbox.marks.capacity() <= KEEP_MARKS);
            assert_eq!((outbox.unwritten().len(), outbox.messages()), (1, 1));
            outbox.advance(1);
            assert_eq!(written(&mut outbox), [999]);
        }
        assert!(buffers.bytes.capacity() > 100_000, "what is shared is kept");
    }
}
