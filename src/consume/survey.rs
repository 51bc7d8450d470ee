//! Room `consume`: what a cluster says of itself and of the topics of a path, for a check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaRespErr;
use regex::Regex;

use super::{Config, client};
use crate::clock::{Clock, Instant};
use crate::preflight::{Broker, Partition, Said, Survey, Topic, TopicProblem, Trouble, Unknown};
use crate::shutdown::Tasks;

/// How long a cluster may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take once librdkafka has said what troubles it: it tries again and again.
const PATIENCE_IN_TROUBLE: Duration = Duration::from_secs(3);
/// How long is waited before librdkafka is listened to.
const TURN: Duration = Duration::from_millis(500);
/// When so long nothing was said, all of it was heard.
const QUIET: Duration = Duration::from_millis(10);
/// How long one further question may take.
const QUESTION: Duration = Duration::from_secs(5);
/// Most topics that are looked at.
const TOPICS_MAX: usize = 50;
/// Most lines of librdkafka that are kept.
const SAID_MAX: usize = 100;

/// Hears what librdkafka says. Copies share what they heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Ears(Arc<Mutex<Vec<Said>>>);

impl Ears {
    fn hear(&self, trouble: Trouble, words: &str) {
        let mut said = self.said();
        if said.len() < SAID_MAX {
            said.push(Said { trouble, words: words.to_owned() });
        }
    }

    fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Ears {
    /// What is more than informative comes as an error as well; connections that are closed do not.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        use RDKafkaLogLevel::{Info, Notice, Warning};
        if facility == "FAIL" && matches!(level, Warning | Notice | Info) {
            // Behind the name of librdkafka's thread.
            let words = line.split_once("]: ").map_or(line, |(_, words)| words);
            self.hear(Trouble::Connection, words);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let trouble = match error.rdkafka_error_code() {
            // A sum of what was said of each broker.
            Some(RDKafkaErrorCode::AllBrokersDown) => return,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Trouble::Login
            }
            Some(RDKafkaErrorCode::SSL) => Trouble::Tls,
            Some(RDKafkaErrorCode::Resolve) => Trouble::Name,
            Some(RDKafkaErrorCode::BrokerTransportFailure) => Trouble::Connection,
            _ => Trouble::Other,
        };
        self.hear(trouble, reason);
    }
}

impl ConsumerContext for Ears {}

/// Asks the cluster of a path about itself and about the topics that the path reads. Blocks its
/// thread, for some seconds where nobody answers; shorter when told to stop.
///
/// # Errors
///
/// What librdkafka said, when the cluster does not answer.
pub fn survey(config: &Config, clock: Clock, stop: &Tasks) -> Result<Survey, Vec<Said>> {
    let ears = Ears::default();
    let other =
        |error: KafkaError| vec![Said { trouble: Trouble::Other, words: error.to_string() }];
    let consumer = client::surveyor(config, ears.clone()).map_err(other)?;
    let surveyor = Surveyor { config, consumer, ears, clock, begun: clock.now() };
    let first = surveyor.first_answer(stop)?;
    let after = clock.now().saturating_since(surveyor.begun);
    let brokers = first.brokers().iter().map(|broker| Broker {
        id: broker.id(),
        host: broker.host().to_owned(),
        port: u16::try_from(broker.port()).unwrap_or(0),
    });
    let brokers = brokers.collect();
    let (names, unmatched) = surveyor.chosen(&first);
    let mut topics = surveyor.topics(&names, stop).map_err(other)?;
    surveyor.look_up_settings(&mut topics);
    let more = names.len().saturating_sub(TOPICS_MAX) as u64;
    Ok(Survey { after, brokers, topics, unmatched, more })
}

/// Who asks.
struct Surveyor<'a> {
    config: &'a Config,
    consumer: BaseConsumer<Ears>,
    ears: Ears,
    clock: Clock,
    begun: Instant,
}

impl Surveyor<'_> {
    /// Whether topics are chosen by patterns.
    fn patterns(&self) -> impl Iterator<Item = &String> {
        self.config.topics.iter().filter(|topic| topic.starts_with('^'))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.config.topics.iter().filter(|topic| !topic.starts_with('^'))
    }

    /// The first thing that the cluster says, or why it says nothing.
    fn first_answer(&self, stop: &Tasks) -> Result<Metadata, Vec<Said>> {
        let all = self.patterns().next().is_some();
        let topic = self.names().next().filter(|_| !all).map(String::as_str);
        loop {
            if let Ok(metadata) = self.consumer.fetch_metadata(topic, TURN) {
                return Ok(metadata);
            }
            // What librdkafka has to say waits there; nothing is assigned.
            while self.consumer.poll(QUIET).is_some() {}
            let said = self.ears.said();
            let patience = if said.is_empty() { PATIENCE } else { PATIENCE_IN_TROUBLE };
            if self.clock.now() >= self.begun + patience || stop.stopping() {
                return Err(said.clone());
            }
        }
    }

    /// The names of the topics that the path reads, and the patterns that match none.
    fn chosen<'a>(&'a self, first: &'a Metadata) -> (BTreeSet<&'a str>, Vec<String>) {
        let mut names = BTreeSet::new();
        let mut unmatched = Vec::new();
        for pattern in self.patterns() {
            let Ok(regex) = Regex::new(pattern) else { continue };
            let matching = first.topics().iter().filter(|topic| regex.is_match(topic.name()));
            let before = names.len();
            names.extend(matching.map(MetadataTopic::name));
            if names.len() == before {
                unmatched.push(pattern.clone());
            }
        }
        names.extend(self.names().map(String::as_str));
        (names, unmatched)
    }

    /// What the cluster says of the first of these topics.
    fn topics(&self, names: &BTreeSet<&str>, stop: &Tasks) -> KafkaResult<Vec<Topic>> {
        let mut topics = Vec::new();
        for &name in names.iter().take(TOPICS_MAX).take_while(|_| !stop.stopping()) {
            let answer = self.consumer.fetch_metadata(Some(name), QUESTION)?;
            topics.extend(answer.topics().iter().filter(|topic| topic.name() == name).map(topic));
        }
        Ok(topics)
    }

    /// Adds their settings to the topics that are there.
    fn look_up_settings(&self, topics: &mut [Topic]) {
        let there: Vec<&mut Topic> =
            topics.iter_mut().filter(|topic| topic.problem.is_none()).collect();
        if there.is_empty() {
            return;
        }
        let names: Vec<String> = there.iter().map(|topic| topic.name.clone()).collect();
        let told = self.ask_settings(&names);
        for topic in there {
            topic.settings = match &told {
                Ok(told) => told
                    .get(&topic.name)
                    .filter(|settings| !settings.is_empty())
                    .cloned()
                    .ok_or(Unknown::Forbidden),
                Err(error) => Err(Unknown::Unanswered(error.to_string())),
            };
        }
    }

    fn ask_settings(
        &self,
        names: &[String],
    ) -> KafkaResult<BTreeMap<String, BTreeMap<String, String>>> {
        let admin = client::admin(self.config, self.ears.clone())?;
        let questions: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(QUESTION));
        let asked = admin.describe_configs(&questions, &options);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|_| KafkaError::Canceled)?;
        let mut told = BTreeMap::new();
        for (name, answer) in names.iter().zip(runtime.block_on(asked)?) {
            // What may not be seen comes without entries.
            let entries = answer.map(|answer| answer.entries).unwrap_or_default();
            let settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
            told.insert(name.clone(), settings.collect());
        }
        Ok(told)
    }
}

fn topic(topic: &MetadataTopic) -> Topic {
    let problem = topic.error().map(|error| match error {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC => TopicProblem::Missing,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => TopicProblem::Forbidden,
        other => TopicProblem::Other(RDKafkaErrorCode::from(other).to_string()),
    });
    let partitions = topic.partitions().iter().map(|partition| {
        let leader = Some(partition.leader()).filter(|&leader| leader >= 0);
        Partition { id: partition.id(), leader }
    });
    let partitions = partitions.collect();
    let settings = Err(Unknown::Forbidden);
    Topic { name: topic.name().to_owned(), problem, partitions, settings }
}
