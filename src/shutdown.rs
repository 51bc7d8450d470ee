//! Room `shutdown` (leaf): who runs, and how all of them stop.
//!
//! # Design
//!
//! Tasks and threads are started here and nowhere else (a lint bans the ways around it), so that
//! none is ever forgotten: [`Tasks::finished`] waits for every one of them. An edge that serves
//! connections spawns through the [`Tasks`] it was given.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Starts tasks and threads that stop on one token.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Nothing running, nothing stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A group of its own that also stops when `self` does.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), token: self.token.child_token() }
    }

    /// Starts a task on the current runtime.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns tasks")]
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task);
    }

    /// Starts a named thread; [`Tasks::finished`] waits for it too.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns threads")]
    pub fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let running = self.tracker.token();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(running);
        })?;
        Ok(())
    }

    /// For what is about to spawn, or works for a group on another one's thread.
    pub fn hold(&self) -> Hold {
        self.tracker.token()
    }

    /// Whether it is time to stop.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it is time to stop.
    pub fn stopped(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// Tells every task and thread of this group to stop.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Waits until all of them have ended. Spawn nothing more afterwards.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Lets nobody take a group for finished as long as it lives.
pub type Hold = TaskTrackerToken;

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on; the signals no longer end the process by themselves, and nor does a file
    /// that has come to a limit of the system.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        // A file that may not grow any more is an error of who writes it, and not the end of the process.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one. Loses none when it is dropped.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
