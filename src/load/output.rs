//! Room `load` (edge): the end of what a generator wrote.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much of the output is kept.
const KEPT_BYTES: usize = 64 << 10;
/// How much is read at a time.
const BLOCK_BYTES: usize = 8 << 10;

/// What a generator has written, of all its starts; at most the last 64 KiB are kept. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<Tail>>);

#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    pub(super) fn tail(&self) -> Arc<Mutex<Tail>> {
        Arc::clone(&self.0)
    }

    /// The last lines, at most so many, the oldest first. Without line breaks; empty ones are left out.
    #[must_use]
    pub fn last_lines(&self, most: usize) -> Vec<String> {
        let bytes: Vec<u8> = lock(&self.0).kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.collect();
        let from = lines.len().saturating_sub(most);
        lines[from..].iter().map(|&line| line.to_owned()).collect()
    }

    /// Bytes that are not kept any more.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        lock(&self.0).dropped
    }
}

impl Tail {
    /// Reads everything there is to read, to its end.
    pub(super) fn read(tail: &Mutex<Self>, mut from: impl Read) {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            match from.read(&mut block) {
                Ok(0) => return,
                Ok(length) => lock(tail).add(&block[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => return,
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let over = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..over);
        self.dropped += over as u64;
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_rest_counted() {
        let output = Output::default();
        assert!(output.last_lines(3).is_empty());
        Tail::read(&output.tail(), &b"one\n\ntwo \r\nthr\xffee"[..]);
        assert_eq!(output.last_lines(2), ["two", "thr\u{fffd}ee"]);
        assert_eq!(output.last_lines(9), ["one", "two", "thr\u{fffd}ee"]);
        assert_eq!(output.dropped_bytes(), 0);
        let more = [vec![b'x'; KEPT_BYTES - 4], b"\nlast".to_vec()].concat();
        Tail::read(&output.tail(), more.as_slice());
        let lines = output.last_lines(9);
        assert_eq!((lines.len(), lines[1].as_str()), (2, "last"));
        assert_eq!(lines[0].len(), KEPT_BYTES - 5, "cut where the bound is");
        let written = b"one\n\ntwo \r\nthr\xffee".len() + more.len();
        assert_eq!(output.dropped_bytes(), (written - KEPT_BYTES) as u64);
    }
}
