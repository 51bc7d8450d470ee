//! Room `journal`: the directory that one process at a time keeps its state in.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::frames::{self, End};
use super::log::Log;
use super::sync::Teller;
use crate::clock::WallTime;

const LOCK: &str = "lock";
const SNAPSHOT: &str = "snapshot";
const LOG: &str = "log";
/// How many files that were set aside are kept.
const DAMAGED_MAX: usize = 16;

/// A directory whose lock this process holds; the kernel lets it go however the process ends.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

/// What a process before this one left.
#[derive(Debug)]
pub struct Stored {
    /// The last snapshot.
    pub snapshot: Vec<u8>,
    /// The frames since, in order.
    pub frames: Vec<Vec<u8>>,
    /// Bytes at the end of the log that are no whole frame.
    pub torn: usize,
}

impl Directory {
    /// Makes the directory where it is not there, for nobody else to read, and locks it.
    ///
    /// # Errors
    ///
    /// Why it can't be had, and what to do: another process has it, for one.
    pub fn open(path: &Path) -> Result<Self, String> {
        let unusable = |error: io::Error| {
            format!("{}: {error}; name a directory that can be written to", path.display())
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .map_err(unusable)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; nothing after an orderly end. `lenient` takes what comes before damage in the log
    /// for all there is: a machine that lost its power leaves such an end.
    ///
    /// # Errors
    ///
    /// What can't be read, or is damaged.
    pub fn load(&self, lenient: impl Fn(&[u8]) -> bool) -> Result<Option<Stored>, String> {
        let Some(last) = self.generations().map_err(|error| self.unreadable(&error))?.pop() else {
            return Ok(None);
        };
        let read = |kind| {
            let path = file(&self.path, last, kind);
            fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let snapshot = read(SNAPSHOT)?;
        let (mut whole, end) = frames::read(&snapshot);
        let content = whole.pop().filter(|_| end == End::Whole && whole.is_empty());
        let Some(content) = content else {
            return Err(format!("{}: its checksum does not hold", self.name(last, SNAPSHOT)));
        };
        let log = read(LOG)?;
        let (frames, end) = frames::read(&log);
        let torn = match end {
            End::Whole => 0,
            End::Torn(bytes) => bytes,
            End::Damaged(at) if lenient(content) => log.len() - at,
            End::Damaged(at) => {
                let name = self.name(last, LOG);
                return Err(format!("{name}: a checksum does not hold at byte {at}"));
            }
        };
        let frames = frames.into_iter().map(<[u8]>::to_vec).collect();
        Ok(Some(Stored { snapshot: content.to_vec(), frames, torn }))
    }

    /// Gives what is in it other names, which end in `.damaged-` and the seconds of `now`; what they all
    /// end in.
    ///
    /// # Errors
    ///
    /// When a file can't be renamed.
    pub fn set_aside(&self, now: WallTime) -> Result<String, String> {
        let suffix = format!("damaged-{}", now.nanos() / 1_000_000_000);
        let aside = || -> io::Result<()> {
            let mut old: Vec<PathBuf> =
                self.files()?.filter(|path| name_of(path).contains(".damaged-")).collect();
            // By the time in their names, whatever was set aside.
            old.sort_by_key(|path| path.extension().map(ToOwned::to_owned));
            for path in old.iter().take(old.len().saturating_sub(DAMAGED_MAX)) {
                fs::remove_file(path)?;
            }
            for path in self.files()?.filter(|path| is_state(path)) {
                fs::rename(&path, path.with_added_extension(&suffix))?;
            }
            Ok(())
        };
        aside().map(|()| format!("*.{suffix}")).map_err(|error| self.unreadable(&error))
    }

    /// Begins a log behind a snapshot, in the place of all that was there.
    ///
    /// # Errors
    ///
    /// What the system says against it.
    pub fn begin(&self, snapshot: &[u8], teller: Teller) -> io::Result<Log> {
        let last = self.generations()?.pop().unwrap_or(0);
        Log::begin(&self.path, last + 1, snapshot, teller)
    }

    /// Removes the state: the run it belongs to is over.
    ///
    /// # Errors
    ///
    /// When a file can't be removed.
    pub fn clear(&self) -> io::Result<()> {
        self.files()?.filter(|path| is_state(path)).try_for_each(fs::remove_file)
    }

    /// The snapshots that there are, by number, ascending.
    fn generations(&self) -> io::Result<Vec<u64>> {
        let snapshots =
            self.files()?.filter(|path| path.extension().is_some_and(|it| it == SNAPSHOT));
        let mut found: Vec<u64> = snapshots.filter_map(|path| generation(&path)).collect();
        found.sort_unstable();
        Ok(found)
    }

    fn files(&self) -> io::Result<impl Iterator<Item = PathBuf> + use<>> {
        files(&self.path)
    }

    fn name(&self, generation: u64, kind: &str) -> String {
        file(&self.path, generation, kind).display().to_string()
    }

    fn unreadable(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }
}

/// The file of a generation.
pub(super) fn file(directory: &Path, generation: u64, kind: &str) -> PathBuf {
    directory.join(format!("state-{generation:012}.{kind}"))
}

/// The snapshot and the log of a generation.
pub(super) fn pair(directory: &Path, generation: u64) -> [PathBuf; 2] {
    [SNAPSHOT, LOG].map(|kind| file(directory, generation, kind))
}

/// The files of generations before this one.
pub(super) fn older(directory: &Path, than: u64) -> io::Result<Vec<PathBuf>> {
    let is_older = |path: &PathBuf| is_state(path) && generation(path).is_some_and(|of| of < than);
    Ok(files(directory)?.filter(is_older).collect())
}

fn generation(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.strip_prefix("state-")?.parse().ok()
}

fn files(directory: &Path) -> io::Result<impl Iterator<Item = PathBuf> + use<>> {
    let entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()))
}

fn is_state(path: &Path) -> bool {
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    name_of(path).starts_with("state-") && matches!(kind, SNAPSHOT | LOG | "part")
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn in_use(path: &Path, lock: &mut File) -> String {
    let mut holder = String::new();
    // Who has just taken it may not have said who it is.
    let _ = lock.take(32).read_to_string(&mut holder);
    let holder =
        if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
    format!(
        "{}: {holder} keeps its state there; give each probe a directory of its own",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Syncer;
    use std::os::unix::fs::PermissionsExt as _;

    fn strict(_: &[u8]) -> bool {
        false
    }

    #[test]
    fn one_process_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/state");
        let directory = Directory::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = Directory::open(&path).unwrap_err();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(directory);
        assert!(Directory::open(&path).is_ok());
    }

    #[test]
    fn frames_are_there_behind_the_last_snapshot() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        assert!(directory.load(strict).unwrap().is_none());
        let (teller, _syncer) = Syncer::new();
        let mut log = directory.begin(b"one", teller).unwrap();
        log.append(b"a").unwrap();
        log.renew(b"two").unwrap();
        log.append(b"b").unwrap();
        log.append(b"").unwrap();
        let stored = directory.load(strict).unwrap().unwrap();
        assert_eq!((stored.snapshot, stored.torn), (b"two".to_vec(), 0));
        assert_eq!(stored.frames, [b"b".to_vec(), Vec::new()]);
        directory.clear().unwrap();
        assert!(directory.load(strict).unwrap().is_none(), "the run is over");
    }

    #[test]
    fn what_is_damaged_is_said_and_set_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let (teller, _syncer) = Syncer::new();
        let mut log = directory.begin(b"snapshot", teller.clone()).unwrap();
        log.append(b"frame").unwrap();
        let path = file(scratch.path(), 1, LOG);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let what = directory.load(strict).unwrap_err();
        assert!(
            what.contains("state-000000000001.log: a checksum does not hold at byte 12"),
            "{what}"
        );
        let stored = directory.load(|snapshot| snapshot == b"snapshot").unwrap().unwrap();
        assert_eq!((stored.frames.len(), stored.torn), (0, bytes.len() - 12));

        let aside = directory.set_aside(WallTime::from_millis(7_000)).unwrap();
        assert_eq!(aside, "*.damaged-7");
        assert!(directory.load(strict).unwrap().is_none());
        assert_eq!(fs::read(path.with_added_extension("damaged-7")).unwrap(), bytes);
        directory.begin(b"fresh", teller).unwrap();
        assert_eq!(directory.load(strict).unwrap().unwrap().snapshot, b"fresh");
    }

    #[test]
    fn what_was_set_aside_does_not_pile_up() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let (teller, _syncer) = Syncer::new();
        for second in 0..40 {
            directory.begin(b"snapshot", teller.clone()).unwrap();
            directory.set_aside(WallTime::from_millis(1_000_000 + second * 1_000)).unwrap();
        }
        assert!(directory.files().unwrap().count() <= DAMAGED_MAX + 3);
    }
}
