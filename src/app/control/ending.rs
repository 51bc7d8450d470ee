//! Room `app`: how a run is asked to end, and waited for.

use std::pin::pin;

use super::Control;

impl Control {
    /// The first signal asks for an end in order, the second for one at once.
    pub(super) fn note_signal(&mut self) {
        self.state.is_aborted |= std::mem::replace(&mut self.state.is_asked, true);
    }

    /// Returns when the last slot was sent, or nobody wants to wait for that. Notices are heard meanwhile,
    /// because a pacing thread may wait for room for one.
    pub(super) async fn stop_schedule(&mut self) {
        let pacers = self.threads.pacers.clone();
        pacers.stop();
        let mut finished = pin!(pacers.finished());
        loop {
            tokio::select! {
                () = finished.as_mut() => return,
                () = self.signals.next() => {
                    self.note_signal();
                    if self.state.is_aborted {
                        return;
                    }
                }
                Some(notice) = self.notices.recv() => self.hear(notice),
            }
        }
    }
}
