//! Room `wire`: how other threads wake an event loop.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// Wakes the event loop that waits for it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor to give.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)))
    }

    /// Wakes the event loop, now or as soon as it waits.
    pub fn ring(&self) {
        // Fails only where it was rung 2^64 times unheard.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it silent until it is rung again.
    pub fn hush(&self) {
        // Fails only where nobody has rung.
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }

    /// Readable from when it is rung until it is hushed.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }
}
