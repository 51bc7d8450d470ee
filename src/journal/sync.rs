//! Room `journal`: the thread that waits for the disk, so that nobody else has to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::directory::older;

/// How often the log is forced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What is to be forced to the disk.
#[derive(Debug)]
pub(super) enum Work {
    /// A new generation; those before it go once it is there.
    Settle { snapshot: File, log: File, directory: PathBuf, generation: u64 },
}

/// Tells the thread what there is to do.
#[derive(Clone, Debug)]
pub struct Teller {
    work: Sender<Work>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Teller {
    pub(super) fn tell(&self, work: Work) {
        // Fails only where the thread is gone, at the end of the run.
        let _ = self.work.send(work);
    }

    /// What the disk said against it since the last time.
    #[must_use]
    pub fn take_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Forces state to the disk.
#[derive(Debug)]
pub struct Syncer {
    work: Receiver<Work>,
    trouble: Arc<Mutex<Option<String>>>,
    log: Option<File>,
}

impl Syncer {
    /// The syncer, and what tells it.
    #[must_use]
    pub fn new() -> (Teller, Self) {
        let (tell, work) = channel();
        let trouble = Arc::<Mutex<_>>::default();
        let teller = Teller { work: tell, trouble: Arc::clone(&trouble) };
        (teller, Self { work, trouble, log: None })
    }

    /// Works until nobody has anything to tell any more. Blocks its thread.
    pub fn run(mut self) {
        loop {
            let done = match self.work.recv_timeout(SYNC_EVERY) {
                Ok(Work::Settle { snapshot, log, directory, generation }) => {
                    self.log = Some(log);
                    settle(&snapshot, &directory, generation)
                }
                Err(RecvTimeoutError::Timeout) => self.log.as_ref().map_or(Ok(()), File::sync_data),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = done {
                let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                *trouble = Some(error.to_string());
            }
        }
    }
}

/// Forces a snapshot and its name to the disk, and removes what it replaces.
fn settle(snapshot: &File, directory: &Path, generation: u64) -> io::Result<()> {
    snapshot.sync_all()?;
    File::open(directory)?.sync_all()?;
    older(directory, generation)?.into_iter().try_for_each(fs::remove_file)
}
