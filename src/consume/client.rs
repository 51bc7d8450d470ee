//! Room `consume`: how its Kafka clients are set up.

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

use super::Config;

/// What the measurement depends on; nobody may set it otherwise.
const OWNED: [(&str, &str); 14] = [
    // Assigned, never a group: nothing to commit.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // An offset that is gone is an event to be told, not a jump to be made in silence.
    ("auto.offset.reset", "error"),
    // Else the high watermark is not the end of what there is to read.
    ("isolation.level", "read_uncommitted"),
    // An answer as soon as there is a record; waiting longer than that costs nothing.
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "500"),
    ("fetch.error.backoff.ms", "100"),
    // The end of a partition after each record would wake the reader twice for it.
    ("enable.partition.eof", "false"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "5000"),
    ("allow.auto.create.topics", "false"),
    // Bounds the memory of records that were fetched and not read yet.
    ("queued.max.messages.kbytes", "16384"),
];

/// A client of its own for one role.
pub(super) fn create(config: &Config, role: &str) -> KafkaResult<BaseConsumer> {
    let mut client = ClientConfig::new();
    for (name, value) in &config.properties.0 {
        client.set(name, value);
    }
    if !config.brokers.is_empty() {
        client.set("bootstrap.servers", &config.brokers);
    }
    client.set("group.id", &config.group);
    client.set("client.id", format!("{}-{role}", config.group));
    for (name, value) in OWNED {
        client.set(name, value);
    }
    BaseConsumer::from_config(&client)
}
