//! Room `config` (wiring): every key of the file: its meaning, default and kind. Readers, defaults,
//! messages about unknown keys and the JSON Schema all come from this table.

macro_rules! key {
    ($ident:ident: $kind:ty = $name:literal, $fallback:expr, $value:expr, $about:expr) => {
        pub(in crate::config) static $ident: Key<$kind> =
            Key { name: $name, about: $about, fallback: $fallback, kind: $value };
    };
}

pub(super) mod background;
mod consumption;
pub(super) mod load;
pub(super) mod pace;
pub(super) mod subscribers;
pub(super) mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Surroundings;
use super::grammar;
use super::kind::{Choice, Count, Flag, List, Percentage, Share, Span, Text};
use super::properties::PropertyMap;
use super::resolved::{TopicSelector, TopicTemplate, Url};
use super::shapes;
use super::table::{Described, Fallback, Group, Key, Shape};
use super::tree::{Entry, Value};
use crate::correlate::{Lane, Qos};
use crate::host::ProcessSelector;
use crate::schedule::Arrivals;
use crate::stamp::Format;
use crate::telemetry::{Histograms, Protocol};
use crate::wire::Version;

pub(super) use consumption::CONSUMERS;

const QUOTE_IT: &str = "put it in quotes";
const NAME: &str = r"^[A-Za-z0-9._-]{1,64}$";
/// Largest MQTT packet (MQTT 5, section 1.5.5) less what surrounds the payload, topic apart.
pub(super) const PAYLOAD_MAX: u32 = 268_435_455 - 128;

type Keys = &'static [&'static dyn Described];

/// The keys at top level.
pub(super) static ROOT: Keys =
    &[&PROBE, &KEY_FILE, &PATHS, &load::LOAD, &WINDOW, &DRAIN, &HOST, &TELEMETRY, &STATE_DIR];
static PATH: Keys = &[&PATH_NAME, &MQTT, &KAFKA, &LANES, &DEADLINE, &SLO];
static MQTT_KEYS: Keys = &[
    &URL,
    &SHAPE,
    &VERSION,
    &USERNAME,
    &PASSWORD_FILE,
    &TOPIC,
    &QOS,
    &CLIENTS,
    &pace::RATE,
    &SCHEDULE,
    &pace::PROFILE,
    &pace::INFLIGHT,
    &pace::CONNECT_RATE,
    &PAYLOAD,
    &RETAIN,
    &subscribers::SUBSCRIBERS,
    &background::BACKGROUND,
    &TLS,
];
static PAYLOAD_KEYS: Keys = &[&SIZE, &FORMAT, &ASYNCAPI, &CHANNEL];
static SLO_KEYS: Keys = &[&P50, &P90, &P99, &P999, &MAX, &ACKED_LOST, &DUPLICATES, &AVAILABILITY];
static KAFKA_KEYS: Keys = &[&BROKERS, &TOPICS, &PROPERTIES, &CONTROL_TOPIC, &CONSUMERS];
static HOST_KEYS: Keys = &[&INTERVAL, &PROCESSES];
static TELEMETRY_KEYS: Keys = &[&LISTEN, &LINGER, &OTLP];
static OTLP_KEYS: Keys = &[&ENDPOINT, &PROTOCOL, &EXPORT_INTERVAL, &HISTOGRAMS, &TRACES];
static TRACES_KEYS: Keys = &[&SAMPLE, &SLOW];

key!(PROBE: Text<String> = "probe", Fallback::From(host_name), name("a name"),
    "The name of this probe. Default: the host name.");
key!(KEY_FILE: Text<PathBuf> = "key_file", Fallback::Absent, file(),
    "A file whose bytes key the stamps, at most 64 KiB; a relative path starts at the directory \
     of this file. Without it the probe's name keys them, which stops accidents, not forgers.");
key!(PATHS: Group = "paths", Fallback::Required("a list with at least one path"),
    Group(Shape::Sections(PATH, 1, 128)), "The routes that are measured.");
key!(WINDOW: Span = "window", Fallback::Yaml("10s"), span(1_000, 300_000),
    "The stretch of time that is judged valid or not, 1s to 5m.");
key!(DRAIN: Span = "drain", Fallback::Yaml("20s"), span(0, 600_000),
    "How long outcomes are waited for after a signal, 0s to 10m.");
key!(HOST: Group = "host", Fallback::Yaml("{}"), Group(Shape::Section(HOST_KEYS)),
    "What is sampled on the host.");
key!(TELEMETRY: Group = "telemetry", Fallback::Yaml("{}"), Group(Shape::Section(TELEMETRY_KEYS)),
    "What is served and exported.");
key!(STATE_DIR: Text<PathBuf> = "state_dir", Fallback::Absent, Text {
        what: "the path of a directory", instead_of_number: QUOTE_IT, pattern: r"^[\s\S]{1,4096}$",
        parse: grammar::file },
    "A directory for state that survives a kill, of this probe alone; it is made where it is not \
     there. A relative path starts at the directory of this file. Without it a process that is \
     killed takes what it knew with it.");

key!(PATH_NAME: Text<String> = "name", Fallback::Required("name: telemetry"), name("a name"),
    "The name of the path in metrics and reports; no two paths share one.");
key!(MQTT: Group = "mqtt", Fallback::Required("mqtt: {url: mqtt://broker:1883}"),
    Group(Shape::Section(MQTT_KEYS)), "Where messages go in.");
key!(KAFKA: Group = "kafka", Fallback::Absent, Group(Shape::Section(KAFKA_KEYS)),
    "Where messages come out. A path without it only publishes, and times mqtt_mqtt.");
key!(LANES: List<Choice<Lane>> = "lanes", Fallback::From(lanes),
    List { of: LANE, what: "a list of lanes", single: false, min: 0, max: 3 },
    "What is timed. kafka_kafka is the control: the same schedule straight through Kafka, which shows \
     what the way over MQTT adds. Default: mqtt_kafka with kafka, and mqtt_mqtt with mqtt.subscribers.");
key!(DEADLINE: Span = "deadline", Fallback::Yaml("30s"), span(100, 900_000),
    "How long after its intended send time a message may arrive and still be delivered, 100ms to \
     15m.");
key!(SLO: Group = "slo", Fallback::Yaml("{}"), Group(Shape::Section(SLO_KEYS)),
    "What the path is held to. Latencies and availability are those of lane mqtt_kafka, or of \
     mqtt_mqtt where that is not timed, over all QoS; the counts are those of all lanes.");

key!(P50: Span = "p50", Fallback::Absent, latency(),
    "The longest median of the latency from the intended send time that holds, up to 1h.");
key!(P90: Span = "p90", Fallback::Absent, latency(), "The longest 90 % quantile that holds.");
key!(P99: Span = "p99", Fallback::Absent, latency(), "The longest 99 % quantile that holds.");
key!(P999: Span = "p999", Fallback::Absent, latency(), "The longest 99.9 % quantile that holds.");
key!(MAX: Span = "max", Fallback::Absent, latency(), "The longest latency that holds.");
key!(ACKED_LOST: Count = "acked_lost", Fallback::Yaml("0"),
    Count { min: 0, max: u32::MAX, bytes: false },
    "How many messages that the broker had acknowledged may never come out.");
key!(DUPLICATES: Count = "duplicates", Fallback::Absent,
    Count { min: 0, max: u32::MAX, bytes: false },
    "How many further records of messages may come out.");
key!(AVAILABILITY: Percentage = "availability", Fallback::Absent, Percentage,
    "The least share of slots that has to be delivered within the deadline: 99.9% or 0.999.");

key!(URL: Text<Url> = "url", Fallback::Required("url: mqtt://broker:1883"), Text {
        what: "a URL such as mqtt://broker:1883", instead_of_number: "write mqtt://host:port",
        pattern: r"^mqtts?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?$",
        parse: grammar::url },
    "The broker, over TLS with mqtts://. The port is 1883 where none is given, 8883 with mqtts://.");
key!(SHAPE: List<Choice<&'static str>> = "shape", Fallback::Absent, List {
        of: Choice { what: "a load shape", not_built: &[], options: shapes::NAMES },
        what: "a load shape or a list of them", single: true, min: 1, max: 8 },
    shapes::ABOUT);
key!(VERSION: Choice<Version> = "version", Fallback::Yaml("5"), Choice {
        what: "a version of MQTT", not_built: &[],
        options: &[("5", Version::V5), ("3.1.1", Version::V4)] },
    "The version of MQTT.");
key!(USERNAME: Text<String> = "username", Fallback::Absent, Text {
        what: "a user name", instead_of_number: QUOTE_IT, pattern: r"^[\s\S]+$",
        parse: grammar::username },
    "The MQTT user name.");
key!(PASSWORD_FILE: Text<PathBuf> = "password_file", Fallback::Absent, file(),
    "A file with the MQTT password, without the line break at its end; a relative path starts at \
     the directory of this file. Without it the environment variable LANDFALL_MQTT_PASSWORD \
     counts.");
key!(TOPIC: Text<TopicTemplate> = "topic",
    Fallback::Yaml("\"landfall/{probe}/{path}/{client}\""), Text {
        what: "an MQTT topic", instead_of_number: QUOTE_IT, pattern: r"^[^$+#][^+#]*$",
        parse: grammar::topic },
    "The MQTT topic; {probe}, {path} and {client} may stand in it.");
key!(QOS: List<Choice<Qos>> = "qos", Fallback::Yaml("1"), List {
        of: QOS_LEVEL, what: "a QoS or a list of them", single: true, min: 1, max: 3 },
    "The QoS, or a list over which rate and clients are split evenly.");
key!(CLIENTS: Count = "clients", Fallback::From(clients),
    Count { min: 1, max: 131_072, bytes: false },
    "How many clients publish, at least one for each QoS. Default: one for each QoS.");
key!(SCHEDULE: Choice<Arrivals> = "schedule", Fallback::Yaml("poisson"), Choice {
        what: "a schedule", not_built: &[],
        options: &[("poisson", Arrivals::Poisson), ("fixed", Arrivals::Fixed)] },
    "Whether messages are due at random moments or at equal distances.");
key!(PAYLOAD: Group = "payload", Fallback::Yaml("{}"), Group(Shape::Section(PAYLOAD_KEYS)),
    "What is published.");
key!(RETAIN: Flag = "retain", Fallback::Yaml("false"), Flag,
    "Whether brokers are to keep the last message of each topic; at the end every publisher has its own \
     forgotten again.");
key!(TLS: Group = "tls", Fallback::Absent, Group(Shape::Section(tls::TLS_KEYS)),
    "How a connection to mqtts:// is encrypted; the broker's certificate is always verified.");

key!(SIZE: Count = "size", Fallback::Yaml("256"),
    Count { min: 16, max: PAYLOAD_MAX, bytes: true },
    "Bytes of a payload, as a number or such as 64KiB; at least 160 for json, 16 for text and \
     binary.");
key!(FORMAT: Choice<Format> = "format", Fallback::Yaml("json"), Choice {
        what: "a payload format", not_built: &[],
        options: &[("json", Format::Json), ("text", Format::Text),
            ("binary", Format::Binary)] },
    "What a payload looks like.");
key!(ASYNCAPI: Group = "asyncapi", Fallback::Absent, Group(Shape::NotBuilt), "");
key!(CHANNEL: Group = "channel", Fallback::Absent, Group(Shape::NotBuilt), "");

key!(BROKERS: List<Text<Vec<String>>> = "brokers", Fallback::Required("brokers: kafka:9092"), List {
        of: BROKER, what: "a broker or a list of them", single: true, min: 1, max: 64 },
    "The brokers to begin with, host:port: a list, or one text with commas. The port is 9092 \
     where none is given.");
key!(TOPICS: List<Text<TopicSelector>> = "topics", Fallback::Required("topics: [mqtt-messages]"),
    List { of: KAFKA_TOPIC, what: "a list of topics", single: false, min: 1, max: 1_000 },
    "The topics to read: names, or patterns that begin with ^.");
key!(PROPERTIES: PropertyMap = "properties", Fallback::Yaml("{}"), PropertyMap,
    "Any librdkafka property that measurement does not depend on. With _file behind its name the \
     value is read from that file: sasl.password_file.");
key!(CONTROL_TOPIC: Text<String> = "control_topic", Fallback::Absent, Text {
        what: "a topic", instead_of_number: QUOTE_IT, pattern: r"^[A-Za-z0-9._-]{1,249}$",
        parse: grammar::control_topic },
    "The topic of the control messages, which lane kafka_kafka needs: one of its own, which no bridge \
     fills and none of the topics above matches. It must exist.");

key!(INTERVAL: Span = "interval", Fallback::Yaml("5s"), span(1_000, 300_000),
    "How often the host is sampled, 1s to 5m.");
key!(PROCESSES: List<Text<ProcessSelector>> = "processes", Fallback::Yaml("[]"), List {
        of: PROCESS, what: "a list of processes", single: false, min: 0, max: 32 },
    "Processes to sample beside our own: a name, pidfile:/path or pid:123.");

key!(LISTEN: Text<SocketAddr> = "listen", Fallback::Yaml("127.0.0.1:9464"), Text {
        what: "an address and port such as 127.0.0.1:9464",
        instead_of_number: "write 127.0.0.1:port", pattern: r"^\S+:[0-9]{1,5}$",
        parse: grammar::listen },
    "Where /metrics, health and status are served; port 0 is any free one.");
key!(LINGER: Span = "linger", Fallback::Yaml("0s"), span(0, 3_600_000),
    "How long /metrics stays up after the report, for a last scrape, 0s to 1h.");
key!(OTLP: Group = "otlp", Fallback::Yaml("{}"), Group(Shape::Section(OTLP_KEYS)),
    "What is sent to a Collector over OTLP. The standard OTEL_* variables win over these keys.");

key!(ENDPOINT: Text<String> = "endpoint", Fallback::Absent, Text {
        what: "a URL such as http://localhost:4318", instead_of_number: "write http://host:port",
        pattern: r"^https?://[^\s@?#]+$", parse: grammar::endpoint },
    "The Collector: http://localhost:4318, or http://localhost:4317 for grpc. Over HTTP the path of \
     the signal (/v1/metrics, /v1/traces) is appended. Without it nothing is sent.");
key!(PROTOCOL: Choice<Protocol> = "protocol", Fallback::Yaml("http/protobuf"), Choice {
        what: "a protocol of OTLP", not_built: &["http/json"],
        options: &[("http/protobuf", Protocol::Http), ("grpc", Protocol::Grpc)] },
    "How the Collector is spoken to.");
key!(EXPORT_INTERVAL: Span = "interval", Fallback::Yaml("10s"), span(1_000, 300_000),
    "How often metrics are sent, 1s to 5m.");
key!(HISTOGRAMS: Choice<Histograms> = "histograms", Fallback::Yaml("explicit_bucket_histogram"),
    Choice { what: "a kind of histogram", not_built: &[],
        options: &[("explicit_bucket_histogram", Histograms::Explicit),
            ("base2_exponential_bucket_histogram", Histograms::Exponential)] },
    "Whether histograms have the buckets of /metrics, or finer ones that adapt.");
key!(TRACES: Group = "traces", Fallback::Yaml("{}"), Group(Shape::Section(TRACES_KEYS)),
    "Which messages are traced, each under the very trace id that it carries.");

key!(SAMPLE: Share = "sample", Fallback::Yaml("0.01"), Share,
    "The share of messages that is traced whatever becomes of them, 0 to 1. Slow, lost and \
     duplicate ones always are.");
key!(SLOW: Span = "slow", Fallback::Yaml("1s"), span(1, 900_000),
    "A message that takes longer from its intended send time to its receipt is slow, 1ms to 15m.");

const LANE: Choice<Lane> = Choice {
    what: "a lane",
    options: &[
        ("mqtt_kafka", Lane::MqttKafka),
        ("mqtt_mqtt", Lane::MqttMqtt),
        ("kafka_kafka", Lane::KafkaKafka),
    ],
    not_built: &[],
};
const QOS_LEVEL: Choice<Qos> = Choice {
    what: "a QoS",
    options: &[("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce)],
    not_built: &[],
};
const BROKER: Text<Vec<String>> = Text {
    what: "a broker such as kafka:9092",
    instead_of_number: "write host:port",
    pattern: r"^[\[\]A-Za-z0-9._:, -]+$",
    parse: grammar::brokers,
};
const KAFKA_TOPIC: Text<TopicSelector> = Text {
    what: "a topic",
    instead_of_number: QUOTE_IT,
    pattern: r"^([A-Za-z0-9._-]{1,249}|\^[\s\S]{1,1023})$",
    parse: grammar::kafka_topic,
};
const PROCESS: Text<ProcessSelector> = Text {
    what: "a process",
    instead_of_number: "write pid:123, or put a name in quotes",
    pattern: r"^([^/]{1,255}|pidfile:/[\s\S]+)$",
    parse: grammar::process,
};

const fn name(what: &'static str) -> Text<String> {
    Text { what, instead_of_number: QUOTE_IT, pattern: NAME, parse: grammar::name }
}

const fn file() -> Text<PathBuf> {
    Text {
        what: "the path of a file",
        instead_of_number: QUOTE_IT,
        pattern: r"^[\s\S]{1,4096}$",
        parse: grammar::file,
    }
}

/// A duration between so many milliseconds.
const fn span(min: u64, max: u64) -> Span {
    Span { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

/// A latency that is held to.
const fn latency() -> Span {
    Span { min: Duration::from_micros(1), max: Duration::from_hours(1) }
}

fn host_name(_: &[Entry], around: &Surroundings<'_>) -> String {
    super::show::quoted(around.host_name)
}

fn lanes(given: &[Entry], _: &Surroundings<'_>) -> String {
    let kafka = given.iter().any(|entry| entry.key == KAFKA.name);
    let mqtt = given.iter().find(|entry| entry.key == MQTT.name);
    let listens = mqtt.is_some_and(|entry| entry.node.get("subscribers").is_some());
    let lanes = [kafka.then_some("mqtt_kafka"), listens.then_some("mqtt_mqtt")];
    format!("[{}]", lanes.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn clients(given: &[Entry], _: &Surroundings<'_>) -> String {
    let qos = given.iter().find(|entry| entry.key == QOS.name).map(|entry| &entry.node.value);
    match qos {
        Some(Value::List(levels)) => levels.len().max(1).to_string(),
        _ => "1".into(),
    }
}
