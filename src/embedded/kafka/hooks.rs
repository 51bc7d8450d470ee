//! Room `embedded` (edge): what a test or `selftest` does to the Kafka while it runs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::watch;

use crate::clock::Instant;

/// A batch that a producer wants appended.
#[derive(Clone, Copy, Debug)]
pub struct BatchInfo<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The offset that its first record gets if it is appended.
    pub offset: i64,
    /// How many records it has.
    pub count: i32,
    /// The records in Kafka's format, compressed where the producer does that.
    pub records: &'a [u8],
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is acknowledged.
    Append {
        /// How often it gets into the log. With 0 the acknowledgement lies, and the offset told in
        /// it goes to the next batch.
        copies: u8,
        /// How much later consumers can fetch it. The order within a partition is kept, and so is
        /// the append time; the acknowledgement does not wait.
        hold: Duration,
    },
    /// It is appended and acknowledged, and the first Fetch that gets it gets it twice in a row, at
    /// the same offsets.
    ReadTwice,
    /// The producer gets this error.
    Refuse(ResponseError),
}

impl Verdict {
    /// Nothing special.
    pub const KEEP: Self = Self::Append { copies: 1, hold: Duration::ZERO };
    /// Acknowledged and gone.
    pub const DROP: Self = Self::Append { copies: 0, hold: Duration::ZERO };
    /// Appended twice.
    pub const DOUBLE: Self = Self::Append { copies: 2, hold: Duration::ZERO };

    /// Appended at once, fetchable later.
    #[must_use]
    pub const fn hold(hold: Duration) -> Self {
        Self::Append { copies: 1, hold }
    }
}

/// A batch that consumers can fetch from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset of its first record.
    pub base_offset: i64,
    /// How many records it has.
    pub count: i64,
    /// Read right before the consumers that wait for it were woken.
    pub at: Instant,
}

type Judge = Arc<dyn Fn(&BatchInfo<'_>) -> Verdict + Send + Sync>;

struct Inner {
    judge: Mutex<Option<Judge>>,
    released: Mutex<Option<SyncSender<Released>>>,
    released_dropped: AtomicU64,
    stalled: watch::Sender<bool>,
    closings: watch::Sender<u64>,
    clock_offset_nanos: AtomicI64,
    unfetchable: watch::Sender<BTreeSet<String>>,
}

/// A handle on a running Kafka's faults; clones act on the same one, from any thread, at any time.
#[derive(Clone)]
pub struct Hooks(Arc<Inner>);

impl fmt::Debug for Hooks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hooks")
            .field("stalled", &*self.0.stalled.borrow())
            .finish_non_exhaustive()
    }
}

impl Hooks {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            judge: Mutex::new(None),
            released: Mutex::new(None),
            released_dropped: AtomicU64::new(0),
            stalled: watch::Sender::new(false),
            closings: watch::Sender::new(0),
            clock_offset_nanos: AtomicI64::new(0),
            unfetchable: watch::Sender::new(BTreeSet::new()),
        }))
    }

    /// From now on `judge` decides on every batch, in the order of the appends. What an idempotent
    /// producer sends a second time is answered as before and not judged again. Everything else
    /// waits meanwhile, so it must be quick and must not call this Kafka.
    pub fn judge_batches(&self, judge: impl Fn(&BatchInfo<'_>) -> Verdict + Send + Sync + 'static) {
        *locked(&self.0.judge) = Some(Arc::new(judge));
    }

    /// From now on every batch is appended. Batches that are held stay so until their time.
    pub fn keep_batches(&self) {
        *locked(&self.0.judge) = None;
    }

    /// Stops answering; connections stay open, and new ones are accepted.
    pub fn stall(&self) {
        self.0.stalled.send_replace(true);
    }

    /// Goes on answering, also what was asked meanwhile.
    pub fn resume(&self) {
        self.0.stalled.send_replace(false);
    }

    /// Closes all connections that are open now.
    pub fn close_connections(&self) {
        self.0.closings.send_modify(|count| *count += 1);
    }

    /// From now on the clock that LogAppendTime is read from is so many nanoseconds ahead of the
    /// machine's, or behind it.
    pub fn set_clock_offset(&self, nanos: i64) {
        self.0.clock_offset_nanos.store(nanos, Ordering::Relaxed);
    }

    /// From now on Fetches get nothing of a topic, although its ends are told as they are: a
    /// consumer that is stuck.
    pub fn hold_fetches(&self, topic: &str) {
        self.0.unfetchable.send_modify(|topics| {
            topics.insert(topic.to_owned());
        });
    }

    /// Fetches get the topic's records again, also those that wait at this moment.
    pub fn let_fetch(&self, topic: &str) {
        self.0.unfetchable.send_modify(|topics| {
            topics.remove(topic);
        });
    }

    /// Tells of every batch that becomes fetchable from now on, in order within each partition.
    /// Of what does not fit into `capacity` only the number is kept
    /// ([`Hooks::released_dropped`]). A later call ends the earlier subscription.
    #[must_use]
    pub fn released(&self, capacity: usize) -> Receiver<Released> {
        let (sender, receiver) = sync_channel(capacity);
        *locked(&self.0.released) = Some(sender);
        receiver
    }

    /// How many releases no subscriber had room for.
    #[must_use]
    pub fn released_dropped(&self) -> u64 {
        self.0.released_dropped.load(Ordering::Relaxed)
    }

    pub(super) fn judge(&self, batch: &BatchInfo<'_>) -> Verdict {
        let judge = locked(&self.0.judge).clone();
        judge.map_or(Verdict::KEEP, |judge| judge(batch))
    }

    pub(super) fn tell(&self, released: impl FnOnce() -> Released) {
        let mut subscriber = locked(&self.0.released);
        if let Some(sender) = subscriber.as_ref() {
            match sender.try_send(released()) {
                Ok(()) => {}
                Err(std::sync::mpsc::TrySendError::Full(_)) => {
                    self.0.released_dropped.fetch_add(1, Ordering::Relaxed);
                }
                Err(std::sync::mpsc::TrySendError::Disconnected(_)) => *subscriber = None,
            }
        }
    }

    /// Waits while answers are stalled.
    pub(super) async fn answering(&self) {
        let mut stalled = self.0.stalled.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = stalled.wait_for(|stalled| !stalled).await;
    }

    pub(super) fn clock_offset_nanos(&self) -> i64 {
        self.0.clock_offset_nanos.load(Ordering::Relaxed)
    }

    /// The topics that Fetches get nothing of.
    pub(super) fn unfetchable(&self) -> watch::Receiver<BTreeSet<String>> {
        self.0.unfetchable.subscribe()
    }

    pub(super) fn closings(&self) -> watch::Receiver<u64> {
        self.0.closings.subscribe()
    }
}

/// The lock, also after a panic of a judge: what it guards is whole between any two statements.
pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
