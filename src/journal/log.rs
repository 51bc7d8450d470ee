//! Room `journal`: the log that frames are added to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::directory::pair;
use super::frames;
use super::sync::{Teller, Work};

/// A log is long from here on, or when it is longer than its snapshot twice over.
const LONG_BYTES: u64 = 4 << 20;

/// The log that is being written, behind its snapshot. On disk there is never more than two snapshots
/// and two logs.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    generation: u64,
    file: File,
    length: u64,
    snapshot_length: u64,
    bytes: Vec<u8>,
    teller: Teller,
}

impl Log {
    /// Begins a generation behind a snapshot; the one before it goes.
    pub(super) fn begin(
        directory: &Path,
        generation: u64,
        snapshot: &[u8],
        teller: Teller,
    ) -> io::Result<Self> {
        let [snapshot_path, log_path] = pair(directory, generation);
        let mut bytes = Vec::new();
        frames::begin(&mut bytes);
        let mut file = created(&log_path)?;
        file.write_all(&bytes)?;
        let length = bytes.len() as u64;
        put(&mut bytes, snapshot)?;
        let draft = snapshot_path.with_extension("part");
        let mut written = created(&draft)?;
        written.write_all(&bytes)?;
        fs::rename(&draft, &snapshot_path)?;
        let snapshot_length = bytes.len() as u64;
        teller.tell(Work::Settle {
            snapshot: written,
            log: file.try_clone()?,
            directory: directory.to_owned(),
            generation,
        });
        let (directory, bytes) = (directory.to_owned(), Vec::new());
        Ok(Self { directory, generation, file, length, snapshot_length, bytes, teller })
    }

    /// Adds a frame; once this returns it outlives the process.
    ///
    /// # Errors
    ///
    /// What the system says against it. Nothing may be added after that.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        self.bytes.clear();
        put(&mut self.bytes, content)?;
        self.file.write_all(&self.bytes)?;
        self.length += self.bytes.len() as u64;
        Ok(())
    }

    /// Whether it is time for a new snapshot.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.length > LONG_BYTES.max(2 * self.snapshot_length)
    }

    /// Begins anew behind a snapshot of all that was added.
    ///
    /// # Errors
    ///
    /// What the system says against it. The log is as it was then.
    pub fn renew(&mut self, snapshot: &[u8]) -> io::Result<()> {
        let next = self.generation + 1;
        *self = Self::begin(&self.directory, next, snapshot, self.teller.clone())?;
        Ok(())
    }

    /// Removes the state: it would mislead the next process.
    ///
    /// # Errors
    ///
    /// When the snapshot can't be removed.
    pub fn abandon(self) -> io::Result<()> {
        let [snapshot, log] = pair(&self.directory, self.generation);
        fs::remove_file(snapshot)?;
        fs::remove_file(log)
    }
}

/// A file that is emptied where it is there, for nobody else to read.
fn created(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

fn put(bytes: &mut Vec<u8>, content: &[u8]) -> io::Result<()> {
    if frames::put(bytes, content) {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::FileTooLarge, "more than 4 GiB of state"))
}
