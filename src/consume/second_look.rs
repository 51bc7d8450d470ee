//! Room `consume`: the thread that reads once more what the reader should have read.
//!
//! # Design
//!
//! That a message is lost is the gravest thing that can be said, and it hangs on one reader having seen
//! every record. So before it is said, the stretch of the log in which the message must lie is read
//! again, by a client of its own that shares nothing with the reader but the names of the partitions:
//! from the first record stamped shortly before the message was sent, up to the high watermarks that
//! the verdict is built on. The reader goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;

use super::record::Locator;
use super::{Config, NAP, Partition, client, record};
use crate::clock::{Clock, Instant, Pairing};
use crate::correlate::{Lane, Observation, PathId, Router};
use crate::shutdown::Tasks;
use crate::stamp::{Reading, Stamper};
use crate::study::Notice;

/// How long before it was sent a message may be stamped: timestamps may be by another clock.
const EARLIER: Duration = Duration::from_secs(10);
/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(20);

/// What there was to read when the watch asked last, for whoever reads it once more. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Option<Highs>>>);

/// High watermarks, and the moment before they were asked for.
type Highs = (Instant, Vec<Partition>);

impl Seen {
    /// Notes the high watermarks that were asked for after a moment.
    pub(super) fn note(&self, asked: Instant, highs: Vec<Partition>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, highs));
    }

    fn latest(&self) -> Option<Highs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads again when asked to, from the moment given on, until told to stop. Blocks its thread.
pub fn look_again(
    config: &Config,
    (clock, stamper, router): (Clock, &Stamper, &Router),
    (asked, seen): (&Receiver<Instant>, &Seen),
    notices: &Sender<Notice>,
    tasks: &Tasks,
) {
    let (mut look, mut rested) = (None, Instant::ZERO);
    while !tasks.stopping() {
        // Where much is lost on a busy topic, no more than half of the time is spent on looking.
        if clock.now() < rested {
            clock.sleep_until(rested.min(clock.now() + NAP));
            continue;
        }
        let mut from = match asked.recv_timeout(NAP) {
            Ok(from) => from,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // Several shards may ask.
        for other in asked.try_iter() {
            from = from.min(other);
        }
        if look.is_none() {
            let made = client::made(client::second, config, (clock, notices, tasks));
            let (path, lane) = (config.path, config.lane);
            let locator = Locator::new(config, router.roster());
            look =
                made.map(|consumer| Look { path, lane, locator, clock, stamper, router, consumer });
        }
        let (Some(look), Some((at, highs))) = (&look, seen.latest()) else { continue };
        let began = clock.now();
        let read = look.read((from, at), highs, tasks);
        rested = clock.now() + clock.now().saturating_since(began);
        let trouble = match read {
            Ok(true) => {
                let (path, lane) = (config.path, config.lane);
                router.tell_all(Observation::LookedAgain { path, lane, from, at });
                continue;
            }
            Ok(false) if tasks.stopping() => return,
            Ok(false) => "there is too much to read".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = format!(
            "messages that are missing could not be looked for a second time: {trouble}; it is tried \
             again, and after two minutes they are called lost without"
        );
        let (path, kind) = (config.path.0, "second_look");
        // Fails only when nobody listens any more, at the end of the run.
        let _ = notices.blocking_send(Notice::Warning { path, kind, text });
    }
}

/// A client that reads once more.
struct Look<'a> {
    path: PathId,
    lane: Lane,
    locator: Locator,
    clock: Clock,
    stamper: &'a Stamper,
    router: &'a Router,
    consumer: BaseConsumer,
}

impl Look<'_> {
    /// Reads everything that was stamped from shortly before `from` on, up to these offsets, which were
    /// the ends at `at`; false where it took too long.
    fn read(
        &self,
        (from, at): (Instant, Instant),
        highs: Vec<Partition>,
        tasks: &Tasks,
    ) -> KafkaResult<bool> {
        let end = self.clock.now() + LOOK_MAX;
        let mut topics: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for Partition { topic, partition, offset } in highs {
            topics.entry(topic).or_default().insert(partition, offset);
        }
        // The end of a partition is told without the name of its topic: one topic at a time.
        for (topic, highs) in topics {
            let read = self.read_topic(&topic, highs, (from, at, end), tasks);
            self.consumer.unassign()?;
            if !read? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_topic(
        &self,
        topic: &str,
        mut highs: BTreeMap<i32, i64>,
        (from, at, end): (Instant, Instant, Instant),
        tasks: &Tasks,
    ) -> KafkaResult<bool> {
        let pairing = self.clock.pairing();
        let nanos = i64::try_from(EARLIER.as_nanos()).unwrap_or(i64::MAX);
        let stamped = pairing.wall_of(from.offset(-nanos)).nanos() / 1_000_000;
        let mut question = TopicPartitionList::with_capacity(highs.len());
        for &partition in highs.keys() {
            question.add_partition_offset(topic, partition, Offset::Offset(stamped.max(0)))?;
        }
        let answer = self.consumer.offsets_for_times(question, QUESTION)?;
        let mut list = TopicPartitionList::with_capacity(highs.len());
        for element in answer.elements() {
            element.error()?;
            let (partition, offset) = (element.partition(), element.offset());
            match offset {
                Offset::Offset(first)
                    if highs.get(&partition).is_some_and(|&high| first < high) =>
                {
                    list.add_partition_offset(topic, partition, offset)?;
                }
                // Nothing in it is as young.
                _ => drop(highs.remove(&partition)),
            }
        }
        self.consumer.assign(&list)?;
        while !highs.is_empty() {
            if self.clock.now() >= end || tasks.stopping() {
                return Ok(false);
            }
            match self.consumer.poll(NAP) {
                None => (),
                Some(Ok(record)) => {
                    // What came later is not for this look to say anything about.
                    let Some(&high) = highs.get(&record.partition()) else { continue };
                    if record.offset() < high {
                        self.record(&record, at, &pairing);
                    }
                    if record.offset() + 1 >= high {
                        highs.remove(&record.partition());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(highs.remove(&partition)),
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    fn record(&self, record: &BorrowedMessage<'_>, at: Instant, pairing: &Pairing) {
        let Reading::Ours(found) = self.locator.stamp(record, self.stamper) else { return };
        let append = record::append(record, pairing);
        let (publisher, sequence) = (found.identity.publisher, found.identity.sequence);
        let stamped_path = PathId(found.identity.path);
        let (path, lane) = (self.path, self.lane);
        let found =
            Observation::Found { path, lane, stamped_path, publisher, sequence, append, at };
        self.router.receive(path, publisher, found);
    }
}
