//! Room `host` (edge): the files that a kernel shows, below a root that tests can move.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// No file that is read here is longer, but for the command lines of some programs, which are cut.
const LIMIT: u64 = 256 << 10;

/// A file system tree.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where an absolute path of the machine lies.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The start of a file; absent if it isn't there or may not be read.
    pub(super) fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        File::open(self.at(path)).ok()?.take(LIMIT).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// The same as text.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        self.bytes(path).map(|content| match String::from_utf8(content) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// The number behind a key in a file of `key number` lines.
    pub(super) fn keyed(&self, path: impl AsRef<Path>, key: &str) -> Option<u64> {
        keyed(&self.text(path)?, key)
    }
}

/// The number behind a key in `key number` lines.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
