//! Room `consume`: a thread that reads.

mod goal;
mod read_on;

use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;

use super::backlog::Backlog;
use goal::{Behind, Goal};

use super::cursors::Cursors;
use super::fetching::Fetching;
use super::record::Locator;
use super::team::Member;
use super::{Config, Lookout, NAP, Partition, Word, client, record, why};
use crate::clock::{Clock, Instant, Pairing};
use crate::correlate::{
    self, Batch, Lane, Observation, PartitionName, PathId, RecordPlace, Router, Sink,
};
use crate::shutdown::Tasks;
use crate::stamp::{Reading, Stamper};
use crate::study::{Notice, Role};

/// How long after the assignment the reader is taken to be reading although some partition is not: it
/// may have no leader, and the others are to be measured.
const START_MAX: Duration = Duration::from_secs(10);
/// How long after its watermarks were asked for a goal is looked at more closely.
const GOAL_LATE: Duration = Duration::from_secs(2);
/// How many records are read at most before anything else is looked at.
const TURN_MAX: usize = 10_000;

/// The reader at work.
struct Reader<'a> {
    path: PathId,
    lane: Lane,
    role: Role,
    clock: Clock,
    stamper: &'a Stamper,
    router: &'a Router,
    /// What was seen and not handed over yet.
    batch: Batch,
    member: Member,
    notices: &'a Sender<Notice>,
    lookout: Option<&'a Lookout>,
    locator: Locator,
    cursors: Cursors,
    /// Partitions that were just started.
    names: Vec<PartitionName>,
    goal: Option<Goal>,
    /// After a restart, until it has caught up with a moment at which it was reading: what is read
    /// until then may have been there for long.
    behind: Option<Behind>,
    pairing: Pairing,
    backlog: Backlog,
    foreign: u32,
    /// When all partitions were last assigned or had to be fetched anew.
    assigned: Option<Instant>,
    up: bool,
    /// Whether the watch got an answer since this was not up.
    answered: bool,
    /// Whether librdkafka has stopped reading some partition.
    stopped_reading: bool,
}

/// Reads what the watch assigns to this member of the readers until told to stop. Blocks its thread.
pub fn read(
    config: &Config,
    (clock, stamper, router): (Clock, &Stamper, &Router),
    (words, member): (&Receiver<Word>, Member),
    notices: &Sender<Notice>,
    tasks: &Tasks,
) {
    let (path, lane, role) = (config.path, config.lane, config.role());
    let make = |config: &Config| client::reader(config, member.index());
    let Some(consumer) = client::made(make, config, (clock, notices, tasks)) else {
        return;
    };
    let (goal, pairing, names) = (None, clock.pairing(), Vec::new());
    let resumed = config.resumed.as_deref().unwrap_or_default();
    let cursors = Cursors::going_on(resumed, member.slots());
    let behind = config.resumed.as_ref().map(|_| Behind::default());
    let (foreign, assigned, up, answered) = (0, None, false, false);
    let stopped_reading = false;
    let mut reader = Reader {
        path,
        lane,
        role,
        clock,
        stamper,
        router,
        batch: Batch::new(router),
        member,
        notices,
        lookout: config.lookout.as_ref(),
        locator: Locator::new(config, router.roster()),
        cursors,
        names,
        goal,
        behind,
        pairing,
        backlog: Backlog::new(clock.now()),
        foreign,
        assigned,
        up,
        answered,
        stopped_reading,
    };
    while !tasks.stopping() {
        for word in words.try_iter() {
            reader.hear(word, &consumer);
        }
        if consumer.context().take_break() {
            reader.say_broken();
        }
        reader.say_up(consumer.context());
        reader.turn(&consumer);
        if reader.stopped_reading {
            reader.read_on(&consumer);
        }
    }
}

impl Reader<'_> {
    fn hear(&mut self, word: Word, consumer: &BaseConsumer<Fetching>) {
        match word {
            Word::Assign(partitions) => self.assign(&partitions, consumer),
            Word::Watermarks { asked: at, now: asked, highs } => {
                // An older goal is kept: a reader that is always behind would else reach none.
                self.goal.get_or_insert(Goal { at, asked, highs });
                (self.up, self.answered) = (false, true);
            }
        }
    }

    /// Says that a connection broke, even where it was made again before the watch asked anything.
    fn say_broken(&mut self) {
        (self.up, self.answered) = (false, false);
        self.member.fall();
        self.assigned = Some(self.clock.now());
        let why = "a connection to Kafka broke; check that its brokers run";
        self.say(Notice::Down(self.role, why.to_owned()));
    }

    /// Says that the consumers stand: once all of them read, and again after each answer of the watch,
    /// which may have said the contrary in between.
    fn say_up(&mut self, fetching: &Fetching) {
        let is_under_way = self.assigned.is_some() && fetching.is_under_way();
        if let Some(behind) = self.behind.as_mut().filter(|_| is_under_way) {
            behind.reads(self.clock.now());
        }
        let Some(assigned) = self.assigned.filter(|_| !self.up && self.answered) else { return };
        let is_late = self.clock.now() >= assigned + START_MAX;
        if (is_under_way && self.behind.is_none()) || is_late {
            self.up = true;
            if self.member.stand() {
                self.say(Notice::Up(self.role));
            }
        }
    }

    fn assign(&mut self, partitions: &[Partition], consumer: &BaseConsumer<Fetching>) {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for of in partitions {
            if self.cursors.knows(of) {
                // Deleted and made anew.
                self.goal = None;
                self.start(of);
                self.assign_again(of, consumer);
                continue;
            }
            let offset = Offset::Offset(of.offset);
            if let Err(error) = list.add_partition_offset(&of.topic, of.partition, offset) {
                self.say_unread(of, &error);
                continue;
            }
            self.start(of);
        }
        self.router.name(std::mem::take(&mut self.names));
        if list.count() > 0
            && let Err(error) = consumer.incremental_assign(&list)
        {
            let text = format!(
                "partitions could not be assigned, what arrives there counts as lost: {error}; \
                 restart the probe"
            );
            self.warn("not_assigned", text);
        }
        if self.assigned.is_none() {
            (self.assigned, self.answered) = (Some(self.clock.now()), true);
            consumer.context().await_partitions(list.count());
        } else {
            consumer.context().add_partitions(list.count());
        }
    }

    /// Waits for records and reads those that are there.
    fn turn(&mut self, consumer: &BaseConsumer<Fetching>) {
        let (mut wait, mut is_drained) = (NAP, false);
        let (mut began, mut lag) = (Some(self.clock.now()), None);
        for _ in 0..TURN_MAX {
            let Some(polled) = consumer.poll(wait) else {
                self.backlog.found_nothing(self.clock.now());
                is_drained = true;
                break;
            };
            let at = self.clock.now();
            lag = lag.max(Some(self.backlog.took(began.take(), at)));
            if !wait.is_zero() {
                self.pairing = self.clock.pairing();
            }
            wait = Duration::ZERO;
            match polled {
                Ok(record) => self.record(&record, at),
                Err(error) => self.trouble(&error),
            }
        }
        if let Some(nanos) = lag {
            let (path, reader) = (self.path, correlate::Reader::Consumer);
            self.batch.count(path, Observation::Polled { path, reader, nanos });
        }
        if self.foreign > 0 {
            let (path, count) = (self.path, std::mem::take(&mut self.foreign));
            self.batch.count(path, Observation::Foreign { path, count });
        }
        self.batch.hand_over();
        if is_drained {
            self.skip_what_is_no_record(consumer.context());
        }
        if let Some(goal) = self.goal.take_if(|goal| self.cursors.passed(&goal.highs)) {
            self.reached(&goal);
        }
    }

    /// Says how far it has read, and what that makes true of the path.
    fn reached(&mut self, goal: &Goal) {
        let (path, lane) = (self.path, self.lane);
        for place in self.cursors.moved() {
            self.batch.tell_all(Observation::Position { path, lane, place });
        }
        // Whoever of the readers says what holds for all says it behind what each has handed over.
        self.batch.hand_over();
        if let Some(at) = self.member.catch_up(goal.at) {
            self.batch.tell_all(Observation::CaughtUp { path, lane, at });
        }
        if self.behind.take_if(|behind| behind.is_over(goal)).is_some()
            && self.member.come_abreast()
        {
            self.batch.tell_all(Observation::Abreast { path, lane });
        }
        self.batch.hand_over();
    }

    /// Moves on to where librdkafka fetches where a goal is not reached although there is nothing to
    /// read: the log may end in what is no record, such as the marker of a transaction.
    fn skip_what_is_no_record(&mut self, fetching: &Fetching) {
        let is_late = |goal: &Goal| self.clock.now() >= goal.at + GOAL_LATE;
        if !self.goal.as_ref().is_some_and(is_late) {
            return fetching.forget_positions();
        }
        for of in fetching.await_positions() {
            self.cursors.skip_to(&of);
        }
    }

    fn record(&mut self, record: &BorrowedMessage<'_>, at: Instant) {
        let offset = record.offset();
        let Some(slot) = self.cursors.read(|| record.topic(), record.partition(), offset) else {
            return;
        };
        let found = match self.locator.stamp(record, self.stamper) {
            Reading::Ours(found) => found,
            other => return self.stranger(record, other),
        };
        let place = RecordPlace { slot, offset };
        let append = record::append(record, &self.pairing);
        let publisher = found.identity.publisher;
        let observation = Observation::Received {
            path: self.path,
            stamped_path: PathId(found.identity.path),
            publisher,
            sequence: found.identity.sequence,
            sink: if self.lane == Lane::KafkaKafka {
                Sink::Control { place, append }
            } else {
                Sink::Kafka { place, append }
            },
            at,
            integrity: found.integrity,
            carriers: found.carriers,
            span: found.span,
        };
        self.batch.receive(self.path, publisher, observation);
    }

    /// Counts a record without a stamp of this run.
    fn stranger(&mut self, record: &BorrowedMessage<'_>, reading: Reading) {
        self.foreign += 1;
        match (self.lookout, reading) {
            (Some(lookout), Reading::OtherRun) => lookout.other_run(),
            (Some(lookout), _) => lookout.unstamped(record),
            (None, _) => (),
        }
    }

    fn trouble(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.stopped_reading = true;
            }
            // The library connects again by itself; the watch says when the cluster is away. And it
            // looks for the coordinator of a group that is never joined, which not everybody may.
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => (),
            _ => {
                let (kind, text) = why::unreadable(error);
                self.warn(kind, text);
            }
        }
    }

    fn warn(&self, kind: &'static str, text: String) {
        self.say(Notice::Warning { path: self.path.0, kind, text });
    }

    fn start(&mut self, of: &Partition) {
        let slot = self.cursors.add(of);
        let (path, lane) = (self.path, self.lane);
        let (topic, partition, from) = (of.topic.clone(), of.partition, of.offset);
        let named = topic.clone();
        self.names.push(PartitionName { path, lane, slot, topic: named, partition, from });
        let path = path.0;
        self.say(Notice::Assigned { path, lane, slot, topic, partition });
    }

    fn say(&self, notice: Notice) {
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.notices.blocking_send(notice);
    }
}
