//! Room `produce`: the thread that owns the client.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::{Metadata, MetadataPartition};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaRespErr;

use super::reports::Reports;
use super::standing::Standing;
use super::{Config, Line, Surroundings};
use crate::clock::Instant;
use crate::shutdown::Tasks;
use crate::study::{Notice, Role};

/// How often the thread looks at anything but reports.
const NAP: Duration = Duration::from_millis(100);
/// How long one question may take: a cluster that is silent for longer is down.
const QUESTION: Duration = Duration::from_secs(2);
/// How long after a client could not be made, or a topic not be found, it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long after the topic was found one leader that is reached is enough: the others may be away, and
/// this one is to be measured.
const START_MAX: Duration = Duration::from_secs(10);
/// Bytes of a message beside its payload, amply.
const OVERHEAD_BYTES: usize = 1_024;
/// The largest message that librdkafka takes unless told otherwise.
const MESSAGE_BYTES: usize = 1_000_000;
/// Memory of messages that wait for Kafka, in KiB: that of 65,536 with 1 KiB each.
const QUEUE_KBYTES: usize = 65_536;

/// Properties of librdkafka that the measurement depends on, and what they are set to. The
/// configuration refuses them by name, and those that follow from it: `message.timeout.ms` and
/// `queue.buffering.*`.
pub const OWNED: [(&str, &str); 9] = [
    // A message is acknowledged when all replicas in sync have it.
    ("acks", "all"),
    // As many requests as an idempotent producer has on their way, which this is not: see the room.
    ("enable.idempotence", "false"),
    ("max.in.flight", "5"),
    // Waiting for more messages would be measured.
    ("linger.ms", "0"),
    ("socket.nagle.disable", "true"),
    ("allow.auto.create.topics", "false"),
    // Each message to any partition, and the next one to any other.
    ("partitioner", "random"),
    ("sticky.partitioning.linger.ms", "0"),
    ("statistics.interval.ms", "500"),
];

/// What is right unless the user knows better.
const DEFAULTS: [(&str, &str); 4] = [
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "5000"),
    // Connections to all brokers, before there is a message for them.
    ("enable.sparse.connections", "false"),
];

/// Whether librdkafka takes the configuration; nothing is connected to.
///
/// # Errors
///
/// What it does not take, in its words.
pub fn check(config: &Config) -> Result<(), String> {
    let nowhere = Config { brokers: String::new(), ..config.clone() };
    let made: KafkaResult<BaseProducer> = settings(&nowhere).create();
    made.map(drop).map_err(|error| match error {
        KafkaError::ClientConfig(_, what, name, _) => format!("{name}: {what}"),
        other => other.to_string(),
    })
}

fn settings(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("client.id", &config.client_id);
    for (name, value) in DEFAULTS {
        client.set(name, value);
    }
    // The broker is to say what is too large for it.
    let largest = (config.size + OVERHEAD_BYTES).max(MESSAGE_BYTES);
    client.set("message.max.bytes", largest.to_string());
    for (name, value) in &config.properties.0 {
        client.set(name, value);
    }
    if !config.brokers.is_empty() {
        client.set("bootstrap.servers", &config.brokers);
    }
    for (name, value) in OWNED {
        client.set(name, value);
    }
    let kbytes = QUEUE_KBYTES.max(2 * largest / 1_024);
    client.set("message.timeout.ms", config.patience.as_millis().to_string());
    client.set("queue.buffering.max.messages", config.queue.to_string());
    client.set("queue.buffering.max.kbytes", kbytes.to_string());
    client
}

/// Keeps the client of a path and tells what Kafka answers, until told to stop. What Kafka has not
/// answered by then is not waited for. Blocks its thread.
pub fn answer(config: &Config, line: &Line, around: &Surroundings, tasks: &Tasks) {
    let mut answerer = Answerer { config, around, tasks, said: None };
    while !tasks.stopping() {
        let reports = Reports::new(around.clock, around.router.clone(), &config.topic);
        let made = settings(config).create_with_context(reports);
        let producer: Arc<BaseProducer<Reports>> = match made {
            Ok(producer) => Arc::new(producer),
            Err(error) => {
                answerer.say(Err(no_client(&error)));
                answerer.pause(None);
                continue;
            }
        };
        line.set(Some(Arc::clone(&producer)));
        answerer.serve(&producer);
        line.set(None);
    }
}

/// Why there is no client.
fn no_client(error: &KafkaError) -> String {
    format!(
        "no Kafka client can be made: {error}; check kafka.properties, and limits of the process"
    )
}

/// Who answers.
struct Answerer<'a> {
    config: &'a Config,
    around: &'a Surroundings,
    tasks: &'a Tasks,
    /// What was said last: that all is well, or what is wrong.
    said: Option<Result<(), String>>,
}

impl Answerer<'_> {
    /// Hears the reports of one client, up to its end.
    fn serve(&mut self, producer: &BaseProducer<Reports>) {
        let reports = producer.context();
        let Some(found) = self.find_topic(producer) else { return };
        while !self.tasks.stopping() && !reports.has_failed() {
            producer.poll(NAP);
            let is_late = self.around.clock.now() >= found + START_MAX;
            match reports.standing() {
                None => (),
                Some(Standing { up, leaders }) if up == leaders || (up > 0 && is_late) => {
                    self.say(Ok(()));
                }
                // What has begun goes on as long as there is anybody.
                Some(Standing { up, .. }) if up > 0 && self.said == Some(Ok(())) => (),
                Some(_) => self.say(Err(reports.why().unwrap_or_else(|| {
                    let topic = &self.config.topic;
                    format!(
                        "no connection to the leaders of {topic} yet; check kafka.brokers, and \
                         that all brokers run"
                    )
                }))),
            }
        }
        if let Some(why) = reports.failure() {
            // It is made anew.
            self.say(Err(format!("Kafka's client failed: {why}; see the log of the brokers")));
        }
    }

    /// Waits until the topic is there with leaders; when it was found, `None` where it is time to stop.
    fn find_topic(&mut self, producer: &BaseProducer<Reports>) -> Option<Instant> {
        let topic = &self.config.topic;
        while !self.tasks.stopping() {
            let answer = producer.client().fetch_metadata(Some(topic), QUESTION);
            // What the client has to say explains it better than that nobody answered.
            producer.poll(Duration::ZERO);
            let wrong = match &answer {
                Ok(metadata) => self.look(metadata, producer.context()),
                Err(error) => producer
                    .context()
                    .why()
                    .or_else(|| Some(format!("{error}; check kafka.brokers and kafka.properties"))),
            };
            let Some(wrong) = wrong else { return Some(self.around.clock.now()) };
            self.say(Err(wrong));
            self.pause(Some(producer));
        }
        None
    }

    /// What is wrong with the topic.
    fn look(&self, metadata: &Metadata, reports: &Reports) -> Option<String> {
        let name = &self.config.topic;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
        match topic.error() {
            None => (),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => {
                return Some(format!(
                    "Kafka does not show {name}; allow this user Describe, Read and Write on it"
                ));
            }
            Some(_) => {
                return Some(format!(
                    "topic {name} does not exist; create it, or correct kafka.control_topic"
                ));
            }
        }
        let leaders: Vec<i32> = topic.partitions().iter().map(MetadataPartition::leader).collect();
        if leaders.is_empty() || leaders.iter().any(|&leader| leader < 0) {
            return Some(format!(
                "a partition of {name} has no leader; check that all brokers run"
            ));
        }
        reports.await_leaders(leaders);
        None
    }

    /// Says whether Kafka is there, where that has changed.
    fn say(&mut self, standing: Result<(), String>) {
        if self.said.as_ref() == Some(&standing) {
            return;
        }
        let role = Role::Producer(self.config.path.0);
        let notice = match &standing {
            Ok(()) => Notice::Up(role),
            Err(why) => Notice::Down(role, why.clone()),
        };
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.around.notices.blocking_send(notice);
        self.said = Some(standing);
    }

    /// Waits before something is tried again.
    fn pause(&self, producer: Option<&BaseProducer<Reports>>) {
        let clock = self.around.clock;
        let again = clock.now() + AGAIN_AFTER;
        while clock.now() < again && !self.tasks.stopping() {
            match producer {
                Some(producer) => producer.poll(NAP),
                None => clock.sleep_until(clock.now() + NAP),
            }
        }
    }
}
