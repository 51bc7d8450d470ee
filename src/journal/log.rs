//! Room `journal`: the log that frames are added to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
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
        let paths = pair(directory, generation);
        let draft = paths[0].with_extension("part");
        let begun = write_pair(&paths, &draft, snapshot);
        if begun.is_err() {
            // Half a pair is of no use, and takes the room that is wanting.
            for path in [&draft, &paths[1]] {
                let _ = fs::remove_file(path);
            }
        }
        let Begun { file, length, settling: (snapshot, log), snapshot_length } = begun?;
        let directory = directory.to_owned();
        let settle = Work::Settle { snapshot, log, directory: directory.clone(), generation };
        teller.tell(settle);
        Ok(Self { directory, generation, file, length, snapshot_length, bytes: Vec::new(), teller })
    }

    /// Adds a frame; once this returns it outlives the process.
    ///
    /// # Errors
    ///
    /// What the system says against it. Nothing may be added after that before [`Log::renew`].
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

    /// Removes the state, which would mislead the next process; [`Log::renew`] begins anew.
    ///
    /// # Errors
    ///
    /// When it can neither be removed nor be made damaged, which the next process would see.
    pub fn abandon(&mut self) -> io::Result<()> {
        let [snapshot, log] = pair(&self.directory, self.generation);
        // In its place, so that no room is needed; and given back at once, whoever has the log open.
        let spoilt = self.file.write_all_at(&[0], 0).and_then(|()| self.file.set_len(1));
        fs::remove_file(snapshot).and_then(|()| fs::remove_file(log)).or(spoilt)
    }
}

/// A pair that was written.
struct Begun {
    file: File,
    length: u64,
    /// Snapshot and log, to be forced to the disk.
    settling: (File, File),
    snapshot_length: u64,
}

/// Writes a snapshot and an empty log, first the log, and the snapshot by another name.
fn write_pair([to, log]: &[PathBuf; 2], draft: &Path, snapshot: &[u8]) -> io::Result<Begun> {
    let mut bytes = Vec::new();
    frames::begin(&mut bytes);
    let mut file = created(log)?;
    file.write_all(&bytes)?;
    let (same, length) = (file.try_clone()?, bytes.len() as u64);
    put(&mut bytes, snapshot)?;
    let mut written = created(draft)?;
    written.write_all(&bytes)?;
    fs::rename(draft, to)?;
    let snapshot_length = bytes.len() as u64;
    Ok(Begun { file, length, settling: (written, same), snapshot_length })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Directory, Syncer};

    fn files(directory: &Directory) -> usize {
        fs::read_dir(directory.path()).unwrap().count()
    }

    #[test]
    fn what_finds_no_room_is_said_and_what_was_kept_misleads_nobody() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let (teller, _syncer) = Syncer::new();
        let mut log = directory.begin(b"one", teller).unwrap();
        log.append(b"a").unwrap();
        log.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(log.append(b"b").unwrap_err().kind(), ErrorKind::StorageFull);
        log.abandon().unwrap();
        assert!(directory.load(|_| false).unwrap().is_none());
        log.renew(b"two").unwrap();
        log.append(b"c").unwrap();
        let stored = directory.load(|_| false).unwrap().unwrap();
        assert_eq!((stored.snapshot, stored.frames), (b"two".to_vec(), vec![b"c".to_vec()]));
    }

    #[test]
    fn what_can_not_be_removed_is_damaged() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let (teller, _syncer) = Syncer::new();
        let mut log = directory.begin(b"one", teller).unwrap();
        log.append(b"a").unwrap();
        // As if removing failed: its files are looked for where they are not.
        log.directory = scratch.path().join("elsewhere");
        log.abandon().unwrap();
        let what = directory.load(|_| false).unwrap_err();
        assert!(what.contains(".log: a checksum does not hold at byte 0"), "{what}");
        log.file = OpenOptions::new().read(true).open("/dev/null").unwrap();
        assert!(log.abandon().is_err(), "neither can be done");
    }

    #[test]
    fn half_a_pair_is_not_left_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let before = files(&directory);
        // The name of the snapshot is taken by what it can't replace.
        let [snapshot, _] = pair(scratch.path(), 1);
        fs::create_dir_all(snapshot.join("something")).unwrap();
        let (teller, _syncer) = Syncer::new();
        assert!(Log::begin(scratch.path(), 1, b"one", teller).is_err());
        assert_eq!(files(&directory), before + 1, "nothing but what was in the way");
    }
}
