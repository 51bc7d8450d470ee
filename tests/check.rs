//! `landfall check` as its users run it, against real Mosquitto and Apache Kafka, right and wrong in
//! every way that it tells apart.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[path = "check/kafka.rs"]
mod kafka;
#[path = "check/peers.rs"]
mod peers;
#[path = "check/said.rs"]
mod said;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crossing::Bridge;
use kafka::{NOWHERE, PASSWORD, shared};
use peers::{Manners, broker, closed, silent, stranger, subscriber, wrapping_bridge};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use said::{CANARY, Scene, check};
use systems::{Mosquitto, kcat_consume};

/// A path from a topic of its own at an MQTT broker to a Kafka topic; `mqtt`, `kafka` and `path` are
/// further keys.
struct Route<'a> {
    name: &'a str,
    mqtt: (&'a str, &'a str),
    kafka: (&'a str, &'a str),
    topic: &'a str,
    path: &'a str,
}

impl Route<'_> {
    fn yaml(&self) -> String {
        let Self { name, mqtt, kafka, topic, path } = self;
        let (broker, of_mqtt) = mqtt;
        let (brokers, of_kafka) = kafka;
        format!(
            "  - name: {name}
    mqtt: {{ url: 'mqtt://{broker}', topic: 'landfall/{name}/{{client}}', {of_mqtt} }}
    kafka: {{ brokers: ['{brokers}'], topics: ['{topic}'], {of_kafka} }}
    {path}
"
        )
    }
}

fn configuration(routes: &[Route<'_>]) -> String {
    let paths: String = routes.iter().map(Route::yaml).collect();
    format!("probe: p\npaths:\n{paths}")
}

/// What a cluster has: topics and consumer groups.
fn contents(address: &str) -> (Vec<String>, usize) {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    let patience = Duration::from_secs(30);
    let metadata = client.fetch_metadata(None, patience).unwrap();
    let mut topics: Vec<String> =
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
    topics.sort();
    (topics, client.fetch_group_list(None, patience).unwrap().groups().len())
}

/// How many sessions of clients that are gone a Mosquitto with `sys_interval 1` keeps, once it has
/// counted anew.
fn sessions_left(mosquitto: &Mosquitto) -> String {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-p", mosquitto.port(), "-v", "-W", "6"]);
    command.args(["-t", "$SYS/broker/uptime", "-t", "$SYS/broker/clients/disconnected"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let counts = |name: &str| text.lines().filter(|line| line.contains(name)).count();
    assert!(counts("uptime") >= 3, "it was not heard to count: {text}");
    let last = text.lines().rfind(|line| line.contains("disconnected"));
    last.unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn what_works_is_said_to_work_and_leaves_nothing_behind() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&["sys_interval 1"]));
    let lanes = "lanes: [mqtt_kafka, mqtt_mqtt, kafka_kafka]";
    kafka.topic("control", 2, &[("message.timestamp.type", "LogAppendTime")]);
    let bridges = ["five", "three"].map(|name| {
        kafka.topic(name, 3, &[("message.timestamp.type", "LogAppendTime")]);
        Bridge::start(name, &mosquitto.address, &kafka.plain)
    });
    let route = |name, mqtt| Route {
        name,
        mqtt: (&mosquitto.address, mqtt),
        kafka: (&kafka.plain, "control_topic: control"),
        topic: name,
        path: lanes,
    };
    let text = configuration(&[
        route("five", "qos: [0, 1, 2], version: 5"),
        route("three", "qos: [0, 1, 2], version: 3.1.1"),
    ]);
    let (topics, _) = contents(&kafka.plain);
    let said = check(&text, &[]);
    assert_eq!(said.code, 0, "{said}");
    assert!(
        said.stdout.ends_with("2 paths checked, all is well. Now: landfall run -c landfall.yaml\n")
    );
    for (name, stamp) in
        [("five", "stamp in header and payload"), ("three", "stamp in the payload")]
    {
        said.has(name, "ok", "MQTT CONNECT", "accepted after");
        said.has(name, "ok", "Kafka brokers", &format!("broker 1 at {}", kafka.plain));
        said.has(name, "ok", "topic", &format!("{name}: 3 partitions, all with a leader"));
        said.has(name, "ok", "topic", "so the append leg is measured");
        said.has(name, "ok", "control topic", "control: 2 partitions, all with a leader");
        said.has(name, "ok", "subscriber", "was handed QoS 0 after");
        let records = kcat_consume(&kafka.plain, name);
        assert_eq!(records.len(), 3, "one message for each QoS: {records:?}");
        for (qos, acknowledged) in [(0, false), (1, true), (2, true)] {
            let step = format!("message QoS {qos}");
            let line = said.has(name, "ok", &step, stamp);
            assert_eq!(line.contains("acknowledged after"), acknowledged, "{line}");
            assert!(line.contains("(appended after "), "{line}");
            let found = records.iter().filter(|record| {
                let place =
                    format!(": {name} partition {} offset {} ", record.partition, record.offset);
                line.contains(&place)
            });
            assert_eq!(found.count(), 1, "{line}: {records:?}");
        }
    }
    assert_eq!(kcat_consume(&kafka.plain, "control"), [], "it was looked at and left alone");
    let now = contents(&kafka.plain);
    assert!(topics.iter().all(|topic| now.0.contains(topic)));
    assert_eq!(now.1, 0, "no consumer group");
    for bridge in bridges {
        bridge.stop();
    }
    assert_eq!(sessions_left(&mosquitto), "2", "those of the bridges");
}

#[test]
fn mqtt_sides_that_do_not_work_are_told_apart() {
    let kafka = shared();
    kafka.topic("mqtt-sides", 1, &[]);
    let scene = Scene::new();
    let passwords = scene.file("passwords", "");
    let made =
        Command::new("mosquitto_passwd").args(["-b", &passwords, "probe", PASSWORD]).status();
    assert!(made.unwrap().success());
    let file = format!("password_file {passwords}");
    let mosquitto = Mosquitto::start(&[&file, "max_packet_size 1000", "max_inflight_messages 3"]);
    scene.file("right", PASSWORD);
    scene.file("wrong", CANARY);
    let (closed, (_held, silent)) = (closed().to_string(), silent());
    let (mute, silent) = (broker(Manners::Mute).to_string(), silent.to_string());
    let old = broker(Manners::NoQos2).to_string();
    let route = |name, broker, mqtt| Route {
        name,
        mqtt: (broker, mqtt),
        kafka: (&kafka.plain, ""),
        topic: "mqtt-sides",
        path: "",
    };
    let real = &mosquitto.address;
    let text = configuration(&[
        route("nameless", "mqtt.invalid:1883", ""),
        route("refused", &closed, ""),
        route("silent", &silent, ""),
        route("mute", &mute, ""),
        route("kafka", &kafka.plain, ""),
        route("locked-out", real, "username: probe, password_file: wrong"),
        route("let-in", real, "username: probe, password_file: right, rate: 20/s"),
        route("too-large", real, "payload: { size: 2000 }"),
        route("old", &old, "qos: [1, 2]"),
    ]);
    let said = scene.check(&text, &["--wait", "3s", "--log", "trace"]);
    assert_eq!(said.code, 3, "{said}");
    let failed = "FAIL";
    said.has("nameless", failed, "MQTT TCP", "the name in mqtt.invalid:1883 can't be resolved");
    said.has("refused", failed, "MQTT TCP", "refused the connection: nobody listens there");
    said.has("silent", failed, "MQTT CONNECT", "no answer to CONNECT in time");
    said.has("mute", failed, "MQTT CONNECT", "no answer to CONNECT in time");
    said.has("kafka", failed, "MQTT CONNECT", "the broker closed the connection");
    let line = said.has("locked-out", failed, "MQTT CONNECT", "not authorised");
    assert!(line.contains("-> check mqtt.username and mqtt.password_file"), "{line}");
    let line = said.has("let-in", "ok", "MQTT CONNECT", "takes packets of 1.00 kB at most");
    assert!(line.contains("takes 3 unacknowledged messages of a client at a time"), "{line}");
    said.has("let-in", "WARN", "MQTT limits", "at 20 messages a second a client has to wait");
    let line = said.has("too-large", failed, "message QoS 1", "larger than the broker takes");
    assert!(
        line.contains("with 2000 bytes") && line.contains("-> lower mqtt.payload.size"),
        "{line}"
    );
    said.has("old", "ok", "MQTT CONNECT", "takes QoS 1 at most");
    let line =
        said.has("old", failed, "MQTT CONNECT", "takes QoS 1 at most, 2 is asked for (QoS 2)");
    assert!(line.contains("-> change mqtt.qos"), "{line}");
    for name in said.names() {
        said.has(&name, "ok", "Kafka cluster", "answered after");
        said.has(&name, "ok", "topic", "mqtt-sides: 1 partition with a leader");
    }
    let first = "9 of 9 paths do not work. First, on nameless: correct the host in mqtt.url";
    assert!(said.stdout.contains(first), "{said}");
}

/// Properties that log in to the listener that asks for it.
fn login(user: &str, password: &str) -> String {
    format!(
        "properties: {{ security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, \
         sasl.username: {user}, sasl.password: {password} }}"
    )
}

const TLS: &str = "properties: { security.protocol: ssl }";

#[test]
fn clusters_that_let_nobody_in_are_told_apart() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&[]));
    kafka.topic("clusters", 1, &[]);
    let (closed, (_held, silent)) = (closed().to_string(), silent());
    let silent = silent.to_string();
    let route = |name, brokers, kafka| Route {
        name,
        mqtt: (&mosquitto.address, "qos: 0"),
        kafka: (brokers, kafka),
        topic: "clusters",
        path: "",
    };
    let wrong = login("probe", CANARY);
    let text = configuration(&[
        route("nameless", NOWHERE, ""),
        route("refused", &closed, ""),
        route("silent", &silent, ""),
        route("untrusted", &kafka.secure, TLS),
        route("plain", &kafka.plain, TLS),
        route("encrypted", &kafka.secure, ""),
        route("locked", &kafka.login, ""),
        route("locked-out", &kafka.login, &wrong),
    ]);
    let said = check(&text, &["--wait", "3s", "--log", "trace"]);
    assert_eq!(said.code, 3, "{said}");
    let failed = "FAIL";
    said.has("nameless", failed, "Kafka TCP", "the name in kafka.invalid:9092 can't be resolved");
    said.has("refused", failed, "Kafka TCP", "refused the connection: nobody listens there");
    said.has("silent", failed, "Kafka cluster", "no answer comes that Kafka would give");
    let line = said.has("untrusted", failed, "Kafka TLS", "the broker's certificate was refused");
    assert!(line.contains("-> name the file with the right CA"), "{line}");
    said.has("plain", failed, "Kafka TLS", "does not speak TLS at that port");
    said.has("encrypted", failed, "Kafka TLS", "not encrypted are closed without an answer");
    said.has(
        "locked",
        failed,
        "Kafka login",
        "closes the connection of a client that does not log in",
    );
    said.has("locked-out", failed, "Kafka login", "the login was refused (PLAIN)");
    for name in said.names() {
        said.has(&name, "ok", "MQTT CONNECT", "accepted after");
        said.has(&name, "WARN", "message QoS 0", "whether it reaches Kafka could not be seen");
    }
}

#[test]
fn topics_that_can_not_be_read_are_told_apart() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&[]));
    kafka.topic("readable", 1, &[]);
    kafka.topic("barred", 1, &[]);
    kafka.allow("guest", &["Describe"], "barred");
    let guest = login("guest", PASSWORD);
    let route = |name, (brokers, kafka), topic| Route {
        name,
        mqtt: (&mosquitto.address, "qos: 0"),
        kafka: (brokers, kafka),
        topic,
        path: "",
    };
    let text = configuration(&[
        route("missing", (&kafka.plain, ""), "nowhere"),
        route("unmatched", (&kafka.plain, ""), "^nowhere"),
        route("barred", (&kafka.login, &guest), "barred"),
        route("forbidden", (&kafka.login, &guest), "readable"),
        route("astray", (&kafka.astray, ""), "readable"),
    ]);
    let said = check(&text, &["--wait", "3s"]);
    assert_eq!(said.code, 3, "{said}");
    let failed = "FAIL";
    let line = said.has("missing", failed, "topic", "nowhere does not exist");
    assert!(line.contains("-> create nowhere, or correct kafka.topics"), "{line}");
    said.has("unmatched", failed, "topic", "no topic matches ^nowhere");
    said.has("barred", "ok", "Kafka login", "accepted, PLAIN");
    said.has("barred", "WARN", "topic", "are not known: this user may not see them");
    said.has("barred", failed, "reading", "does not hand records to this user");
    said.has("forbidden", failed, "topic", "readable may not be looked at by this user");
    let sent = format!("the cluster sends clients of broker 1 to {NOWHERE}");
    let line = said.has("astray", failed, "Kafka brokers", &sent);
    assert!(line.contains("-> set advertised.listeners of broker 1"), "{line}");
    for name in said.names() {
        said.has(&name, "WARN", "message QoS 0", "whether it reaches Kafka could not be seen");
    }
    let first = "5 of 5 paths do not work. First, on missing: create nowhere";
    assert!(said.stdout.contains(first), "{said}");
    assert!(contents(&kafka.plain).0.iter().all(|topic| topic != "nowhere"), "nothing is created");
}

#[test]
fn tls_and_rights_that_suffice_are_enough() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&[]));
    kafka.topic("trusted", 1, &[]);
    kafka.allow("probe", &["Describe", "Read"], "trusted");
    let bridge = Bridge::start("trusted", &mosquitto.address, &kafka.plain);
    let route = |brokers, kafka| Route {
        name: "trusted",
        mqtt: (&mosquitto.address, ""),
        kafka: (brokers, kafka),
        topic: "trusted",
        path: "",
    };
    let tls =
        format!("properties: {{ security.protocol: ssl, ssl.ca.location: '{}' }}", kafka.ca_file());
    let said = check(&configuration(&[route(&kafka.secure, &tls)]), &[]);
    assert_eq!(said.code, 0, "{said}");
    said.has("trusted", "ok", "Kafka TLS", "handshake done, the certificate is accepted");
    said.has("trusted", "ok", "message QoS 1", "read from Kafka after");

    let blind =
        "properties: { security.protocol: ssl, enable.ssl.certificate.verification: false }";
    let said = check(&configuration(&[route(&kafka.secure, blind)]), &[]);
    assert_eq!(said.code, 0, "{said}");
    said.has("trusted", "WARN", "Kafka TLS", "nobody looked at the certificate");

    let login = login("probe", PASSWORD);
    let said = check(&configuration(&[route(&kafka.login, &login)]), &[]);
    assert_eq!(said.code, 0, "{said}");
    said.has("trusted", "ok", "Kafka login", "accepted, PLAIN");
    said.has("trusted", "WARN", "topic", "are not known: this user may not see them");
    said.has("trusted", "ok", "message QoS 1", "read from Kafka after");
    assert!(said.stdout.contains("1 path checked, 1 warning. First, on trusted: allow this user"));
    bridge.stop();
}

#[test]
fn topics_that_may_lose_records_are_warned_of() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&[]));
    kafka.topic("keyed", 1, &[("cleanup.policy", "compact")]);
    kafka.topic("brief", 1, &[("retention.ms", "20000"), ("retention.bytes", "1000")]);
    kafka.topic("narrow", 1, &[("max.message.bytes", "300")]);
    let bridges = ["keyed", "brief", "narrow"]
        .map(|name| Bridge::start(name, &mosquitto.address, &kafka.plain));
    let route = |name| Route {
        name,
        mqtt: (&mosquitto.address, ""),
        kafka: (&kafka.plain, ""),
        topic: name,
        path: "",
    };
    let said = check(&configuration(&[route("keyed"), route("brief")]), &[]);
    assert_eq!(said.code, 0, "{said}");
    said.has("keyed", "WARN", "topic", "keyed is compacted (cleanup.policy=compact)");
    said.has("brief", "WARN", "topic", "keeps records for 20.0 s, and the deadline is 30.0 s");
    said.has("brief", "WARN", "topic", "keeps 1.00 kB a partition, and this path alone writes");
    for name in ["keyed", "brief"] {
        said.has(name, "ok", "topic", "CreateTime, so the append leg is not measured");
        said.has(name, "ok", "message QoS 1", "read from Kafka after");
    }
    assert!(said.stdout.contains("2 paths checked, 3 warnings. First, on keyed: have the bridge"));

    let said = check(&configuration(&[route("narrow")]), &["--wait", "3s"]);
    assert_eq!(said.code, 1, "{said}");
    said.has("narrow", "WARN", "topic", "narrow takes records of 300 B at most");
    let line =
        said.has("narrow", "FAIL", "message QoS 1", "no new record came in any of the topics");
    assert!(line.contains("records that Kafka refuses"), "{line}");
    drop(bridges);
}

#[test]
fn messages_that_brokers_do_not_take_over_are_told_apart() {
    let (kafka, scene) = (shared(), Scene::new());
    kafka.topic("taken-over", 1, &[]);
    let rules = scene.file("rules", "topic readwrite landfall/allowed/#\n");
    let strict = Mosquitto::start(&[&format!("acl_file {rules}")]);
    let (deaf, touchy) = (broker(Manners::Deaf).to_string(), broker(Manners::Touchy).to_string());
    let route = |name, broker, mqtt| Route {
        name,
        mqtt: (broker, mqtt),
        kafka: (&kafka.plain, ""),
        topic: "taken-over",
        path: "",
    };
    let text = configuration(&[
        route("deaf", &deaf, "qos: [1, 2]"),
        route("touchy", &touchy, ""),
        route("forbidden", &strict.address, "qos: [1, 2]"),
        route("forbidden-3", &strict.address, "version: 3.1.1"),
    ]);
    let said = scene.check(&text, &["--wait", "3s"]);
    assert_eq!(said.code, 1, "{said}");
    let failed = "FAIL";
    for qos in [1, 2] {
        let step = format!("message QoS {qos}");
        said.has("deaf", failed, &step, "sent, and not acknowledged within 3.00 s");
        let line = said.has("forbidden", failed, &step, "refused it after");
        assert!(line.contains("not authorised, reason 0x87"), "{line}");
    }
    let advice = "-> allow the user in mqtt.username to publish to landfall/forbidden/+";
    assert_eq!(said.section("forbidden").matches(advice).count(), 1, "said once");
    for name in ["touchy", "forbidden-3"] {
        let line = said.has(name, failed, "message QoS 1", "sent, and then the connection broke");
        assert!(line.contains("the broker closed the connection"), "{line}");
    }
    assert_eq!(kcat_consume(&kafka.plain, "taken-over"), []);
}

#[test]
fn messages_that_do_not_reach_kafka_are_told_apart() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&[]));
    for name in ["alone", "elsewhere", "elsewhere-else", "wrapped", "crowded"] {
        kafka.topic(name, 1, &[]);
    }
    let port = mosquitto.port();
    let systems = (mosquitto.address.as_str(), kafka.plain.as_str());
    let elsewhere = Bridge::start_to("elsewhere", "elsewhere-else", systems);
    let _wrapping = wrapping_bridge(port, "landfall/wrapped/#", &kafka.plain, "wrapped");
    let _others = (subscriber(port, "landfall/crowded/#"), stranger(&kafka.plain, "crowded"));
    let route = |name, mqtt, topic| Route {
        name,
        mqtt: (&mosquitto.address, mqtt),
        kafka: (&kafka.plain, ""),
        topic,
        path: "",
    };
    let text = configuration(&[
        route("alone", "qos: [0, 1]", "alone"),
        route("alone-3", "version: 3.1.1", "alone"),
        route("elsewhere", "qos: [0, 1, 2]", "elsewhere"),
        route("wrapped", "qos: [1, 2]", "wrapped"),
        route("crowded", "", "crowded"),
    ]);
    let said = check(&text, &["--wait", "10s"]);
    assert_eq!(said.code, 1, "{said}");
    let has = |name, qos, words| said.has(name, "FAIL", &format!("message QoS {qos}"), words);
    has("alone", 0, "the broker says of QoS 1 that nobody is subscribed");
    let line = has("alone", 1, "nobody is subscribed to its topic (reason 0x10)");
    let advice = "-> start the bridge, or have it subscribe to landfall/alone/+";
    assert!(line.contains(advice), "{line}");
    let line = has("alone-3", 1, "acknowledged after");
    let doubt = "an MQTT 3.1.1 broker also acknowledges what it does not allow";
    assert!(line.contains("no new record came") && line.contains(doubt), "{line}");
    let lines =
        [0, 1, 2].map(|qos| has("elsewhere", qos, "no new record came in any of the topics"));
    assert!(lines[2].contains("-> look at the bridge: does its topic filter cover"), "{lines:?}");
    assert_eq!(kcat_consume(&kafka.plain, "elsewhere-else").len(), 3, "one message for each QoS");
    for qos in [1, 2] {
        has("wrapped", qos, "it came inside of a record's value");
    }
    let section = said.section("wrapped");
    assert_eq!(section.matches(", header origin: {\"tst\":").count(), 2, "{section}");
    assert_eq!(section.matches("...\n").count(), 2, "cut: {section}");
    let line = has("crowded", 1, "new records came, and none of them carries its stamp");
    assert_eq!(line.matches("header origin: somebody\\x09else's").count(), 3, "{line}");
    elsewhere.stop();
}

#[test]
fn a_wrong_configuration_is_told_line_by_line() {
    let scene = Scene::new();
    let text = "probe: p\npaths:\n  - name: a\n    mqtt: { url: 'mqtt://127.0.0.1:1', qos: 3 }\n    \
                kakfa: { brokers: k, topics: [t] }\n";
    let said = scene.check(text, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (2, ""), "{said}");
    assert_eq!(
        said.stdout,
        "  FAIL  configuration   landfall.yaml:4: paths[0].mqtt.qos: 3 is not a QoS (0, 1 or 2)\n  \
         FAIL  configuration   landfall.yaml:5: paths[0].kakfa: unknown key; did you mean \"kafka\"?\n\
         \n\
         The configuration is wrong; nothing was connected to. First, landfall.yaml:4: \
         paths[0].mqtt.qos: 3 is not a QoS (0, 1 or 2)\n"
    );
    let route = Route {
        name: "a",
        mqtt: ("127.0.0.1:1", ""),
        kafka: ("127.0.0.1:1", "properties: { no.such.property: 1 }"),
        topic: "t",
        path: "",
    };
    let said = scene.check(&configuration(&[route]), &[]);
    assert_eq!(said.code, 2, "{said}");
    assert!(said.stdout.contains("landfall.yaml:5: paths[0].kafka.properties: no.such.property:"));
    let said = scene.check(text, &["--wait", "soon"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "usage goes to standard error");
}

#[test]
fn a_path_without_kafka_is_checked_as_far_as_it_goes() {
    let mosquitto = Mosquitto::start(&[]);
    let path = |lanes: &str| {
        format!(
            "probe: p\npaths:\n  - name: a\n    mqtt: {{ url: 'mqtt://localhost:{}' }}\n    {lanes}\n",
            mosquitto.port()
        )
    };
    let said = check(&path("lanes: [mqtt_mqtt]"), &[]);
    assert_eq!(said.code, 0, "{said}");
    said.has("a", "ok", "MQTT TCP", "is 127.0.0.1");
    said.has("a", "ok", "message QoS 1", "acknowledged after");
    said.has("a", "ok", "subscriber", "was handed QoS 1 after");
    let said = check(&path(""), &[]);
    assert_eq!(said.code, 0, "{said}");
    said.has("a", "ok", "message QoS 1", "with no subscriber to it");
}

#[test]
fn a_signal_ends_a_check_at_once_and_in_order() {
    let (kafka, mosquitto) = (shared(), Mosquitto::start(&["sys_interval 1"]));
    kafka.topic("signal", 1, &[]);
    let scene = Scene::new();
    let route = Route {
        name: "signal",
        mqtt: (&mosquitto.address, "version: 3.1.1"),
        kafka: (&kafka.plain, ""),
        topic: "signal",
        path: "",
    };
    scene.file("landfall.yaml", &configuration(&[route]));
    let mut command = scene.command(&["--wait", "10m"]);
    let mut running = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ok    topic")));
    let kill = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{rest:?}");
    let last = rest.last().map(String::as_str);
    assert_eq!(last, Some("Interrupted: not everything was checked."), "{rest:?}");
    assert_eq!(sessions_left(&mosquitto), "0");
    assert!(fs::exists(scene.path("landfall.yaml")).unwrap());
}
