//! Room `telemetry`: what readers are shown of a run, made when somebody wants it.
//!
//! # Design
//!
//! Adding up a run takes a millisecond or more, which a sidecar that nobody looks at must not spend each
//! second. Whoever reads says so; an edition follows within a second, and one each second for as long as
//! somebody reads on. There is the latest edition and no queue: who is slow sees fewer. It is encoded
//! once, and whoever reads it shares the bytes: memory does not grow with readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::{Clock, Instant};

/// How often there is a new edition while somebody reads, less the beat of whoever makes it.
const EVERY: Duration = Duration::from_millis(800);
/// For so long after they asked somebody is taken to read on.
const INTEREST: Duration = Duration::from_secs(3);
/// An edition may be so old for somebody who asks now.
const AGE_MAX: Duration = Duration::from_millis(1_200);
/// How long they wait for a newer one.
const PATIENCE: Duration = Duration::from_secs(1);
/// When a browser is to come back.
const RETRY: &str = "retry: 3000\n";

/// A run as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edition {
    /// When that was.
    pub made: Instant,
    /// For `/api/v1/status`: a JSON document on one line.
    pub status: Bytes,
    /// For `/debug/worst`: a JSON document.
    pub worst: Bytes,
    /// For `/`: what stands in its `main`, as HTML.
    pub page: Bytes,
}

/// An edition as all readers share it.
#[derive(Debug)]
pub(super) struct Printed {
    /// The edition itself.
    pub(super) edition: Edition,
    /// The server-sent event `status`, of which the edition's status is a part.
    pub(super) status_event: Bytes,
    /// The server-sent event `page`: the page as a JSON string.
    pub(super) page_event: Bytes,
}

impl Printed {
    pub(super) fn of(edition: Edition) -> Self {
        let (status_event, status) = event("status", &edition.status);
        // Text can always be written as JSON.
        let page = serde_json::to_vec(&String::from_utf8_lossy(&edition.page)).unwrap_or_default();
        let (page_event, _) = event("page", &page);
        Self { edition: Edition { status, ..edition }, status_event, page_event }
    }
}

/// A document without a line break as an event, and the document as a part of that.
fn event(name: &str, document: &[u8]) -> (Bytes, Bytes) {
    let head = format!("{RETRY}event: {name}\ndata: ");
    let event = Bytes::from([head.as_bytes(), document, b"\n\n"].concat());
    let document = event.slice(head.len()..head.len() + document.len());
    (event, document)
}

/// Where editions go out.
#[derive(Debug)]
pub struct Press {
    editions: watch::Sender<Arc<Printed>>,
    asked: Arc<AtomicU64>,
}

/// Where they are read. Clones see the same.
#[derive(Clone, Debug)]
pub struct Readers {
    editions: watch::Receiver<Arc<Printed>>,
    asked: Arc<AtomicU64>,
    clock: Clock,
}

/// A way for editions, with a first one that is as old as can be. When the press is dropped the last one
/// stays.
#[must_use]
pub fn press(clock: Clock) -> (Press, Readers) {
    let (sender, editions) = watch::channel(Arc::new(Printed::of(Edition::default())));
    let asked = Arc::new(AtomicU64::new(0));
    (Press { editions: sender, asked: Arc::clone(&asked) }, Readers { editions, asked, clock })
}

impl Press {
    /// Whether somebody reads and has waited for long enough.
    #[must_use]
    pub fn is_wanted(&self, now: Instant) -> bool {
        let asked = Instant::from_nanos(self.asked.load(Ordering::Relaxed));
        let made = self.editions.borrow().edition.made;
        asked > Instant::ZERO && now <= asked + INTEREST && now >= made + EVERY
    }

    /// Shows readers an edition in the place of the last one.
    pub fn publish(&self, edition: Edition) {
        self.editions.send_replace(Arc::new(Printed::of(edition)));
    }
}

impl Readers {
    /// Says that somebody reads.
    pub(super) fn ask(&self) {
        self.asked.fetch_max(self.clock.now().nanos(), Ordering::Relaxed);
    }

    /// An edition of this second; an older one where nobody makes any more.
    pub(super) async fn latest(&self) -> Arc<Printed> {
        self.ask();
        let mut editions = self.editions.clone();
        let oldest = self.clock.now() - AGE_MAX;
        // Either way the last one is what there is to be shown.
        let _ = timeout(PATIENCE, editions.wait_for(|it| it.edition.made >= oldest)).await;
        Arc::clone(&editions.borrow())
    }

    /// The editions from now on.
    pub(super) fn editions(&self) -> watch::Receiver<Arc<Printed>> {
        self.editions.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_is_made_only_for_somebody() {
        let clock = Clock::system();
        let (press, readers) = press(clock);
        let now = clock.now();
        assert!(!press.is_wanted(now), "nobody has asked");
        readers.ask();
        assert!(press.is_wanted(clock.now()));
        press.publish(Edition { made: clock.now(), ..Edition::default() });
        assert!(!press.is_wanted(clock.now()), "there is one of this second");
        assert!(press.is_wanted(clock.now() + EVERY));
        assert!(!press.is_wanted(clock.now() + INTEREST + EVERY), "they have gone");
    }

    #[tokio::test]
    async fn the_last_edition_is_there_at_once_when_nobody_makes_any_more() {
        let clock = Clock::system();
        let (press, readers) = press(clock);
        press.publish(Edition { made: Instant::ZERO, status: "old".into(), ..Edition::default() });
        drop(press);
        let before = clock.now();
        assert_eq!(readers.latest().await.edition.status, "old");
        assert!(clock.now().saturating_since(before) < PATIENCE / 2);
    }
}
