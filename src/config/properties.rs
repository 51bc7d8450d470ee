//! Room `config` (wiring): librdkafka properties: which are landfall's own, which are secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::{Value as Json, json};

use super::kind::Kind;
use super::problem::Problems;
use super::tree::{Entry, Node, Origin, ScalarKind, Value, join};

/// Most properties of one path.
const PROPERTIES_MAX: usize = 200;
/// Behind the name of a property: its value is in this file.
const FILE_SUFFIX: &str = "_file";

const MEMBERSHIP: &str = "landfall assigns partitions itself and never joins a group";
const OFFSETS: &str = "landfall decides itself where to read, so that nothing is skipped or lost";
const BROKERS: &str = "give the brokers in kafka.brokers";
const WATERMARK: &str = "loss is judged against the high watermark, so everything must be read";
const ANSWERS: &str = "a control message counts as acknowledged when all replicas in sync have it";
const ONCE: &str = "a producer that sends each message once spins while Kafka is slow";
const PACE: &str = "how many requests are on their way decides how long control messages wait";
const TURNS: &str = "control messages take turns over all partitions";
const DEADLINE: &str = "it follows from the path's deadline";
const QUEUE: &str = "it follows from the path's rate and deadline";
const WAITING: &str = "waiting for more data would be measured as latency";

/// Properties that measurement depends on, and why they can't be set.
const OWNED: [(&str, &str); 30] = [
    ("group.id", MEMBERSHIP),
    ("group.instance.id", MEMBERSHIP),
    ("enable.auto.commit", MEMBERSHIP),
    ("auto.commit.enable", MEMBERSHIP),
    ("enable.auto.offset.store", MEMBERSHIP),
    ("auto.offset.reset", OFFSETS),
    ("enable.partition.eof", OFFSETS),
    ("isolation.level", WATERMARK),
    ("fetch.min.bytes", WAITING),
    ("socket.nagle.disable", WAITING),
    ("statistics.interval.ms", "landfall learns from them when reading has begun"),
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("allow.auto.create.topics", "landfall creates no topic by looking for it"),
    ("acks", ANSWERS),
    ("request.required.acks", ANSWERS),
    ("enable.idempotence", ONCE),
    ("transactional.id", ONCE),
    ("max.in.flight", PACE),
    ("max.in.flight.requests.per.connection", PACE),
    ("linger.ms", WAITING),
    ("queue.buffering.max.ms", WAITING),
    ("partitioner", TURNS),
    ("sticky.partitioning.linger.ms", TURNS),
    ("message.timeout.ms", DEADLINE),
    ("delivery.timeout.ms", DEADLINE),
    ("queue.buffering.max.messages", QUEUE),
    ("queue.buffering.max.kbytes", QUEUE),
    ("dr_cb", "landfall hears every report"),
    ("delivery.report.only.error", "landfall hears every report"),
];

/// Whether a property's value must never be shown.
pub(super) fn is_secret(name: &str) -> bool {
    let speaks = ["password", "secret", "passphrase", "private.key", "jaas"];
    !name.ends_with(FILE_SUFFIX)
        && (speaks.iter().any(|word| name.contains(word))
            || matches!(name, "ssl.key.pem" | "sasl.oauthbearer.config"))
}

/// Properties as written.
#[derive(Default)]
pub(super) struct Properties {
    pub(super) plain: BTreeMap<String, String>,
    pub(super) secret: BTreeMap<String, SecretString>,
    /// Values that are yet to be read from files.
    pub(super) files: BTreeMap<String, PathBuf>,
}

/// A mapping of librdkafka properties.
pub(super) struct PropertyMap;

impl Kind for PropertyMap {
    type Read = Properties;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Properties> {
        let entries = match &node.value {
            Value::Map(entries) if entries.len() <= PROPERTIES_MAX => entries,
            Value::Broken => return None,
            Value::Map(entries) => {
                let what = "properties; at most 200 are allowed";
                problems.add(node.origin, path, format!("has {} {what}", entries.len()));
                return None;
            }
            _ => {
                // What is there instead may hold a password.
                problems.add(node.origin, path, "expected a mapping of properties");
                return None;
            }
        };
        let mut properties = Properties::default();
        let mut seen = BTreeSet::new();
        for entry in entries {
            let name = entry.key.strip_suffix(FILE_SUFFIX).unwrap_or(&entry.key);
            if !is_name(name) {
                // "sasl.password:secret" without a blank is a key; so it is not repeated.
                let what = "holds a key that is not the name of a librdkafka property";
                problems.add(Origin::File(entry.line), path, what);
                continue;
            }
            let result = match (check(name), seen.insert(name)) {
                (Ok(()), true) => properties.add(name, entry),
                (Ok(()), false) => {
                    Err(format!("{name} is given both here and by file; remove one"))
                }
                (refused, _) => refused,
            };
            if let Err(what) = result {
                problems.add(entry.node.origin, &join(path, &entry.key), what);
            }
        }
        Some(properties)
    }

    fn schema(&self) -> Json {
        let owned: Vec<Json> = OWNED.iter().map(|(name, _)| json!({ "const": name })).collect();
        json!({
            "type": "object",
            "maxProperties": PROPERTIES_MAX,
            "propertyNames": { "pattern": "^[A-Za-z0-9._-]{1,128}$", "not": { "anyOf": owned } },
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        })
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(plain)
}

fn check(name: &str) -> Result<(), String> {
    match OWNED.iter().find(|(owned, _)| *owned == name) {
        Some((_, why)) => Err(format!("can't be set: {why}")),
        None => Ok(()),
    }
}

impl Properties {
    fn add(&mut self, name: &str, entry: &Entry) -> Result<(), String> {
        let text = match &entry.node.value {
            Value::Scalar { kind: ScalarKind::Null, .. } | Value::Broken => {
                return Err("has no value".into());
            }
            Value::Scalar { text, .. } => text,
            Value::List(_) | Value::Map(_) => {
                let found = entry.node.describe();
                return Err(format!("expected a text, a number, true or false, found {found}"));
            }
        };
        if name != entry.key {
            self.files.insert(name.into(), super::grammar::file(text)?);
        } else if text.contains('\0') {
            return Err("holds a NUL character".into());
        } else if is_secret(name) {
            self.secret.insert(name.into(), text.clone().into());
        } else {
            self.plain.insert(name.into(), text.clone());
        }
        Ok(())
    }
}
