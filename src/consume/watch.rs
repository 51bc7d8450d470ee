//! Room `consume`: the thread that asks the cluster questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use tokio::sync::mpsc::Sender;

use super::spread::Spread;
use super::why::Complaints;
use super::{Config, Partition, Seen, Word, client};
use crate::clock::{Clock, Instant};
use crate::shutdown::Tasks;
use crate::stats::Led;
use crate::study::Notice;

/// How often high watermarks are asked for.
const WATERMARKS_EVERY: Duration = Duration::from_secs(1);
/// How often topics and partitions are looked for once there are some.
const TOPICS_EVERY: Duration = Duration::from_secs(3);
/// How long one question may take: a cluster that is silent for longer is down.
const QUESTION: Duration = Duration::from_secs(2);
/// How often the thread looks whether it is to stop.
const PAUSE: Duration = Duration::from_millis(250);
/// How many complaints of the client are heard after an answer did not come.
const COMPLAINTS_MAX: usize = 100;
/// How many partitions a path may have.
const PARTITIONS_MAX: usize = 10_000;

/// The watch at work.
struct Watch<'a> {
    config: &'a Config,
    clock: Clock,
    /// One for each reader.
    words: Vec<SyncSender<Word>>,
    spread: Spread,
    seen: Seen,
    notices: Sender<Notice>,
    consumer: BaseConsumer<Complaints>,
    patterns: Vec<Regex>,
    known: BTreeSet<(String, i32)>,
    /// Where a process before this one stopped to read partitions that were not found yet.
    left: BTreeMap<(String, i32), i64>,
    /// Who leads the partitions, as it was told last.
    led: BTreeSet<Led>,
    /// Whether the first partitions were found: later ones are read from their beginning.
    begun: bool,
    next_topics: Instant,
    /// When partitions were last looked for: what appeared since is not known.
    looked: Instant,
}

/// Watches topics and high watermarks until told to stop, and tells each reader of its own. Blocks its
/// thread.
pub fn watch(
    config: &Config,
    clock: Clock,
    (words, seen): (Vec<SyncSender<Word>>, Seen),
    notices: Sender<Notice>,
    tasks: &Tasks,
) {
    let role = config.role();
    let patterns = config.topics.iter().filter(|topic| topic.starts_with('^'));
    let patterns = patterns.filter_map(|pattern| Regex::new(pattern).ok()).collect();
    let Some(consumer) = client::made(client::watch, config, (clock, &notices, tasks)) else {
        return;
    };
    let (known, next_topics) = (BTreeSet::new(), Instant::ZERO);
    let left = config.resumed.iter().flatten();
    let left: BTreeMap<_, _> = left.map(|of| ((of.topic.clone(), of.partition), of.from)).collect();
    let begun = !left.is_empty();
    let mut watch = Watch {
        config,
        clock,
        spread: Spread::new(words.len()),
        words,
        seen,
        notices,
        consumer,
        patterns,
        known,
        left,
        begun,
        led: BTreeSet::new(),
        next_topics,
        looked: Instant::ZERO,
    };
    while !tasks.stopping() {
        if let Err(reason) = watch.look() {
            let _ = watch.notices.blocking_send(Notice::Down(role, reason));
        }
        let next = clock.now() + WATERMARKS_EVERY;
        while clock.now() < next && !tasks.stopping() {
            // Serves the client's own callbacks; nothing is assigned to this one.
            let _ = watch.consumer.poll(PAUSE);
        }
    }
}

impl Watch<'_> {
    /// Why a question went unanswered.
    fn why(&self, error: &KafkaError) -> String {
        // Complaints are handed out by polling.
        let mut polls = 0..COMPLAINTS_MAX;
        while polls.next().is_some() && self.consumer.poll(Duration::ZERO).is_some() {}
        self.consumer.context().explain(error)
    }

    /// Asks everything that is due, or says why it could not.
    fn look(&mut self) -> Result<(), String> {
        if self.clock.now() >= self.next_topics {
            let looked = self.clock.now();
            let fresh = self.find_partitions().map_err(|error| self.why(&error))?;
            if self.known.is_empty() && fresh.is_empty() {
                let (topics, key) = (self.config.topics.join(", "), self.config.key());
                return Err(format!("no topic matches {topics}; create it, or correct {key}"));
            }
            self.assign(&fresh).map_err(|error| self.why(&error))?;
            self.name_missing();
            self.looked = looked;
            self.next_topics = self.clock.now() + TOPICS_EVERY;
        }
        let known: Vec<_> = self.known.iter().cloned().collect();
        let now = self.clock.now();
        let highs = self.offsets(&known, Offset::End);
        let highs = highs.map_err(|error| self.why(&error))?;
        self.consumer.context().forget();
        // Nobody has caught up with a moment at which there may have been partitions unknown.
        let asked = self.looked;
        self.seen.note(asked, highs.clone());
        for (reader, highs) in self.spread.split(highs).into_iter().enumerate() {
            self.tell(reader, Word::Watermarks { asked, now, highs });
        }
        Ok(())
    }

    /// The partitions that are not known yet; those that are gone are forgotten.
    fn find_partitions(&mut self) -> KafkaResult<Vec<(String, i32)>> {
        let mut found = BTreeSet::new();
        let mut troubled = BTreeSet::new();
        let mut all_led = BTreeSet::new();
        let mut add = |metadata: &Metadata| {
            for topic in metadata.topics() {
                let gone = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
                if topic.error().is_some_and(|error| error != gone) {
                    troubled.insert(topic.name().to_owned());
                } else if topic.error().is_none() && self.wants(topic.name()) {
                    let partitions = topic.partitions().iter();
                    found.extend(partitions.map(|of| (topic.name().to_owned(), of.id())));
                    all_led.extend(led(metadata, topic));
                }
            }
        };
        if self.patterns.is_empty() {
            for topic in &self.config.topics {
                add(&self.consumer.fetch_metadata(Some(topic), QUESTION)?);
            }
        } else {
            add(&self.consumer.fetch_metadata(None, QUESTION)?);
        }
        self.tell_leaders(all_led);
        let here = |of: &(String, i32)| found.contains(of) || troubled.contains(&of.0);
        let gone: Vec<_> = self.known.iter().filter(|of| !here(of)).cloned().collect();
        if let Some((topic, partition)) = gone.first() {
            let more = gone.len() - 1;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!(
                "{topic}-{partition}{more} was deleted; what it held unread counts as lost; keep \
                 topics that are measured, or take them out of {}",
                self.config.key()
            );
            self.warn("deleted", text);
        }
        self.known.retain(|of| !gone.contains(of));
        for of in &gone {
            self.spread.forget(of);
        }
        let fresh: Vec<_> = found.into_iter().filter(|of| !self.known.contains(of)).collect();
        if self.known.len() + fresh.len() > PARTITIONS_MAX {
            let code = RDKafkaErrorCode::InvalidPartitions;
            return Err(KafkaError::MetadataFetch(code));
        }
        Ok(fresh)
    }

    /// Says who leads the partitions where that has changed: their clocks are to be told apart.
    fn tell_leaders(&mut self, led: BTreeSet<Led>) {
        if led == self.led {
            return;
        }
        let (path, lane) = (self.config.path.0, self.config.lane);
        let notice = Notice::Leaders { path, lane, led: led.iter().cloned().collect() };
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.notices.blocking_send(notice);
        self.led = led;
    }

    fn wants(&self, topic: &str) -> bool {
        self.config.topics.iter().any(|name| name == topic)
            || self.patterns.iter().any(|pattern| pattern.is_match(topic))
    }

    /// Has the readers read fresh partitions: those that a process before this one read from where it
    /// stopped; the first ones of a run from their end, so that nothing older than the run is read;
    /// later ones from their beginning, so that nothing is missed.
    fn assign(&mut self, fresh: &[(String, i32)]) -> KafkaResult<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        let from = if self.begun { Offset::Beginning } else { Offset::End };
        let (left, unread): (Vec<_>, Vec<_>) =
            fresh.iter().cloned().partition(|of| self.left.contains_key(of));
        let mut partitions =
            if unread.is_empty() { Vec::new() } else { self.offsets(&unread, from)? };
        // What appears again after this was made anew.
        partitions.extend(left.into_iter().filter_map(|of| {
            let offset = self.left.remove(&of)?;
            Some(Partition { topic: of.0, partition: of.1, offset })
        }));
        self.begun = true;
        let is_first = self.known.is_empty();
        let names = partitions.iter().map(|of| (of.topic.clone(), of.partition));
        self.known.extend(names);
        for (reader, share) in self.spread.share_out(partitions).into_iter().enumerate() {
            // Who has none is told at first, so that nobody waits for it.
            if is_first || !share.is_empty() {
                self.tell(reader, Word::Assign(share));
            }
        }
        Ok(())
    }

    /// Says which topics are named and not there: the rest is read without waiting for them.
    fn name_missing(&self) {
        let named = self.config.topics.iter().filter(|topic| !topic.starts_with('^'));
        let is_known = |topic: &str| self.known.iter().any(|(known, _)| known == topic);
        let missing: Vec<&str> =
            named.map(String::as_str).filter(|topic| !is_known(topic)).collect();
        if !missing.is_empty() {
            let text = format!(
                "topic {} does not exist; create it, or take it out of {}",
                missing.join(", "),
                self.config.key()
            );
            self.warn("missing", text);
        }
    }

    fn warn(&self, kind: &'static str, text: String) {
        let path = self.config.path.0;
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.notices.blocking_send(Notice::Warning { path, kind, text });
    }

    /// The first or the next offset of each partition, asked for in one go.
    fn offsets(&self, of: &[(String, i32)], which: Offset) -> KafkaResult<Vec<Partition>> {
        let mut question = TopicPartitionList::with_capacity(of.len());
        for (topic, partition) in of {
            question.add_partition_offset(topic, *partition, which)?;
        }
        let answer = self.consumer.offsets_for_times(question, QUESTION)?;
        let mut offsets = Vec::with_capacity(of.len());
        for element in answer.elements() {
            element.error()?;
            let offset = element.offset().to_raw().unwrap_or(-1);
            if offset < 0 {
                let code = RDKafkaErrorCode::LeaderNotAvailable;
                return Err(KafkaError::OffsetFetch(code));
            }
            let topic = element.topic().to_owned();
            offsets.push(Partition { topic, partition: element.partition(), offset });
        }
        Ok(offsets)
    }

    fn tell(&self, reader: usize, word: Word) {
        // Fails only when the reader is gone, at the end of the run.
        let _ = self.words.get(reader).map(|words| words.send(word));
    }
}

/// The partitions of a topic that have a leader that can be named.
fn led(metadata: &Metadata, topic: &MetadataTopic) -> Vec<Led> {
    let leader = |id| metadata.brokers().iter().find(|broker| broker.id() == id);
    let led = |of: &MetadataPartition| {
        let broker = leader(of.leader())?;
        let (host, port) = (broker.host(), broker.port());
        let peer =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Some(Led { topic: topic.name().to_owned(), partition: of.id(), peer })
    };
    topic.partitions().iter().filter_map(led).collect()
}
