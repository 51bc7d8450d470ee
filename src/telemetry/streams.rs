//! Room `telemetry`: server-sent events.
//!
//! # Design
//!
//! A stream lasts, so that it gives the connection's permit back and takes one of its own kind: readers
//! can't lock scrapers out. Each is a task that hands one edition at a time to the connection. One that
//! does not take an edition in time is cut off and counted; the socket's buffer is small, so that
//! this shows soon.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use metrics::Counter;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::shutdown::Tasks;

use super::edition::{Printed, Readers};
use super::recorder::Telemetry;

/// Whoever looks at a silent connection, a proxy say, is told so often that it lives.
const HEARTBEAT_SECONDS: u32 = 10;
const HEARTBEAT: &str = ": alive\n\n";

/// What a stream tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Events `status`: the document of `/api/v1/status`.
    Status,
    /// Events `page`: what stands in the `main` of the page, as a JSON string.
    Page,
}

/// The connection that a request came on.
#[derive(Clone)]
pub(super) struct Line(Arc<Shared>);

struct Shared {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    cut: Notify,
}

impl Line {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Shared { permit: Mutex::new(Some(permit)), cut: Notify::new() }))
    }

    /// Gives the permit back: the connection lasts from now on.
    fn release(&self) {
        drop(self.permit().take());
    }

    /// Whether it may last.
    pub(super) fn lasts(&self) -> bool {
        self.permit().is_none()
    }

    /// Waits until the connection is to be cut off.
    pub(super) async fn cut(&self) {
        self.0.cut.notified().await;
    }

    fn permit(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All streams of a server.
#[derive(Clone)]
pub(super) struct Streams {
    room: Arc<Semaphore>,
    tasks: Tasks,
    refused: Counter,
    slow: Counter,
    patience: Duration,
}

impl Streams {
    /// So many at once, whose readers may take so long for one event.
    pub(super) fn new(
        telemetry: &Telemetry,
        tasks: Tasks,
        (streams, patience): (usize, Duration),
    ) -> Self {
        let drops = |cause| telemetry.drops("streams", cause);
        Self {
            room: Arc::new(Semaphore::new(streams)),
            tasks,
            refused: drops("full"),
            slow: drops("slow_reader"),
            patience,
        }
    }

    /// Begins a stream on a connection; `None` where there are too many.
    pub(super) fn begin(&self, readers: &Readers, told: Told, line: &Line) -> Option<Body> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            self.refused.increment(1);
            return None;
        };
        line.release();
        let (sender, receiver) = channel(1);
        let stream = Stream {
            readers: readers.clone(),
            told,
            sender,
            line: line.clone(),
            slow: self.slow.clone(),
            patience: self.patience,
        };
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tasks.stopped() => (),
                () = stream.run() => (),
            }
            drop(room);
        });
        Some(Body::new(Events(receiver)))
    }
}

struct Stream {
    readers: Readers,
    told: Told,
    sender: Sender<Bytes>,
    line: Line,
    slow: Counter,
    patience: Duration,
}

impl Stream {
    /// Hands on editions until the reader has gone or is cut off.
    async fn run(self) {
        let mut editions = self.readers.editions();
        let first = self.readers.latest().await;
        editions.mark_unchanged();
        if !self.send(event(self.told, &first)).await {
            return;
        }
        let (mut silent, mut is_over) = (0_u32, false);
        loop {
            self.readers.ask();
            let second = Duration::from_secs(1);
            let next = tokio::select! {
                () = self.sender.closed() => return,
                changed = timeout(second, editions.changed()), if !is_over => changed,
                () = tokio::time::sleep(second), if is_over => Ok(Ok(())),
            };
            let text = match next {
                Ok(Ok(())) if !is_over => {
                    let edition = Arc::clone(&editions.borrow_and_update());
                    Some(event(self.told, &edition))
                }
                // Nobody makes editions any more: the last one stands for as long as it is served.
                Ok(Err(_)) => {
                    is_over = true;
                    None
                }
                _ => None,
            };
            silent = if text.is_some() { 0 } else { silent + 1 };
            let text = text.or_else(|| {
                silent
                    .is_multiple_of(HEARTBEAT_SECONDS)
                    .then(|| Bytes::from_static(HEARTBEAT.as_bytes()))
            });
            if let Some(text) = text
                && !self.send(text).await
            {
                return;
            }
        }
    }

    /// Hands one piece on; false where the reader is gone or too slow.
    async fn send(&self, text: Bytes) -> bool {
        let sent = timeout(self.patience, self.sender.send(text)).await;
        if sent.is_err() {
            self.slow.increment(1);
            self.line.0.cut.notify_one();
        }
        matches!(sent, Ok(Ok(())))
    }
}

/// An edition as an event, whose bytes all streams share.
fn event(told: Told, edition: &Printed) -> Bytes {
    match told {
        Told::Status => edition.status_event.clone(),
        Told::Page => edition.page_event.clone(),
    }
}

/// What the connection reads of a stream.
struct Events(Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::edition::Edition;
    use super::*;

    #[test]
    fn streams_share_the_bytes_of_an_edition() {
        let (status, page) = ("{\"a\":1}".into(), "<p class=\"x\">".into());
        let edition = Printed::of(Edition { status, page, ..Edition::default() });
        for (told, event_as_sent) in [
            (Told::Status, "retry: 3000\nevent: status\ndata: {\"a\":1}\n\n"),
            (Told::Page, "retry: 3000\nevent: page\ndata: \"<p class=\\\"x\\\">\"\n\n"),
        ] {
            let [first, second] = [(); 2].map(|()| event(told, &edition));
            assert_eq!(first, event_as_sent);
            assert_eq!(first.as_ptr(), second.as_ptr(), "one copy for both");
        }
        let (event, status) = (&edition.status_event, &edition.edition.status);
        assert_eq!(status, "{\"a\":1}");
        assert!(event.as_ptr_range().contains(&status.as_ptr()), "it is a part of the event");
    }
}
