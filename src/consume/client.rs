//! Room `consume`: how its Kafka clients are set up.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use tokio::sync::mpsc::Sender;

use super::fetching::{self, Fetching};
use super::survey::Ears;
use super::why::{self, Complaints};
use super::{Config, NAP};
use crate::clock::Clock;
use crate::shutdown::Tasks;
use crate::study::Notice;

/// How long after a client could not be made it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Properties of librdkafka that the measurement depends on, and what they are set to. The
/// configuration refuses them by name.
pub const OWNED: [(&str, &str); 8] = [
    // Assigned, never a group: nothing to commit.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // An offset that is gone is an event to be told, not a jump to be made in silence.
    ("auto.offset.reset", "error"),
    // Else the high watermark is not the end of what there is to read.
    ("isolation.level", "read_uncommitted"),
    // An answer as soon as there is a record.
    ("fetch.min.bytes", "1"),
    // The end of a partition after each record would wake the reader twice for it.
    ("enable.partition.eof", "false"),
    ("socket.nagle.disable", "true"),
    ("allow.auto.create.topics", "false"),
];

/// What is right unless the user knows better.
const DEFAULTS: [(&str, &str); 6] = [
    // Waiting long for a record costs nothing, asking again does.
    ("fetch.wait.max.ms", "500"),
    ("fetch.error.backoff.ms", "100"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "5000"),
    // Bounds the memory of records that were fetched and not read yet.
    ("queued.max.messages.kbytes", "16384"),
];

/// A client that reads, by the number of its reader.
pub(super) fn reader(config: &Config, index: usize) -> KafkaResult<BaseConsumer<Fetching>> {
    let role = if index == 0 { "read".to_owned() } else { format!("read-{index}") };
    let mut settings = settings(config, &role);
    let every = fetching::every_millis(settings.get("fetch.wait.max.ms"));
    settings.set("statistics.interval.ms", every.to_string());
    BaseConsumer::from_config_and_context(&settings, Fetching::default())
}

/// A client that only asks.
pub(super) fn watch(config: &Config) -> KafkaResult<BaseConsumer<Complaints>> {
    BaseConsumer::from_config_and_context(&silent(config, "watch"), Complaints::default())
}

/// A client that reads a stretch once more, and says where a partition ends.
pub(super) fn second(config: &Config) -> KafkaResult<BaseConsumer> {
    let mut settings = silent(config, "second-look");
    settings.set("enable.partition.eof", "true");
    settings.create()
}

/// A client that only asks, and hears what troubles librdkafka.
pub(super) fn surveyor(config: &Config, ears: Ears) -> KafkaResult<BaseConsumer<Ears>> {
    let mut settings = silent(config, "check");
    // That a connection was closed is told at this level.
    settings.set_log_level(RDKafkaLogLevel::Info);
    BaseConsumer::from_config_and_context(&settings, ears)
}

/// A client that asks about settings.
pub(super) fn admin(config: &Config, ears: Ears) -> KafkaResult<AdminClient<Ears>> {
    AdminClient::from_config_and_context(&silent(config, "check-settings"), ears)
}

/// Makes a client, again and again until it can be made; `None` where it is time to stop. It takes the
/// system's threads and descriptors, which may be there later.
pub(super) fn made<C>(
    make: impl Fn(&Config) -> KafkaResult<C>,
    config: &Config,
    (clock, notices, tasks): (Clock, &Sender<Notice>, &Tasks),
) -> Option<C> {
    while !tasks.stopping() {
        match make(config) {
            Ok(client) => return Some(client),
            Err(error) => {
                let reason = why::no_client(&error);
                let _ = notices.blocking_send(Notice::Down(config.role(), reason));
            }
        }
        let again = clock.now() + AGAIN_AFTER;
        while clock.now() < again && !tasks.stopping() {
            clock.sleep_until(clock.now() + NAP);
        }
    }
    None
}

/// Settings of a client whose statistics nobody wants.
fn silent(config: &Config, role: &str) -> ClientConfig {
    let mut settings = settings(config, role);
    // Whoever does not poll for its statistics must not have any.
    settings.set("statistics.interval.ms", "0");
    settings
}

fn settings(config: &Config, role: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("client.id", format!("{}-{role}", config.group));
    for (name, value) in DEFAULTS {
        client.set(name, value);
    }
    for (name, value) in &config.properties.0 {
        client.set(name, value);
    }
    if !config.brokers.is_empty() {
        client.set("bootstrap.servers", &config.brokers);
    }
    client.set("group.id", &config.group);
    for (name, value) in OWNED {
        client.set(name, value);
    }
    client
}
