//! Everything that is refused, with the exact words; and properties over all inputs.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{KAFKA, as_json, one, read};

const DURATION: &str = "is not a duration; write a number and a unit: 250ms, 10s, 5m, 8h or 1d";
const NAME: &str = "is not a name (1 to 64 letters, digits, dots, underscores or hyphens)";
const RATE: &str = "is not a rate; write for example 20/s, 0.5/s or 30/min";
const NOT_BUILT: &str = "is known but not built yet; remove it";

/// Expects one line for each problem; each begins behind `landfall.yaml:`.
fn refuses(text: &str, expected: &[&str]) {
    match read(text) {
        Ok(loaded) => panic!("accepted {text:?} as\n{}", loaded.show()),
        Err(problems) => {
            let lines: Vec<&str> = problems
                .lines()
                .map(|line| line.strip_prefix("landfall.yaml:").unwrap_or(line).trim_start())
                .collect();
            assert_eq!(lines, expected, "for\n{text}");
        }
    }
}

/// One line below `mqtt:` (line 6) and what is said about it.
fn mqtt(line: &str, expected: &str) {
    refuses(&one(line, "", ""), &[&format!("6: paths[0].mqtt.{expected}")]);
}

/// One line at top level (line 6) and what is said about it.
fn top(line: &str, expected: &str) {
    refuses(&one("", "", line), &[&format!("6: {expected}")]);
}

/// One line below the path (line 6) and what is said about it.
fn path(line: &str, expected: &str) {
    refuses(&one("", line, ""), &[&format!("6: paths[0].{expected}")]);
}

/// One line below `kafka:` (line 9) and what is said about it.
fn kafka(line: &str, expected: &str) {
    refuses(&one("", &format!("{KAFKA}  {line}"), ""), &[&format!("9: paths[0].kafka.{expected}")]);
}

#[test]
fn what_is_not_yaml() {
    let empty = "is empty; it needs at least paths";
    for text in ["", "\n\n", "# nothing\n", "---\n", "null", "~"] {
        refuses(text, &[empty]);
    }
    refuses("- probe: p\n", &["1: expected a mapping of keys, found a list"]);
    refuses("probe\n", &["1: expected a mapping of keys, found the text \"probe\""]);
    refuses("42", &["1: expected a mapping of keys, found the number 42"]);
    refuses("probe: p\n---\nprobe: q\n", &["2: a second document begins here; only one is read"]);
    let text = one("", "", "window: !duration 10s");
    refuses(&text, &["6: tags (!...) are not used here; put such a text in quotes"]);
    refuses("? [a]\n: b\n", &["1: a key must be a plain text"]);
    refuses("a: &a\n  b: *a\n", &["2: an alias stands inside of its own anchor"]);
    refuses("a: *b\n", &["1: is not valid YAML: while parsing node, found unknown anchor"]);
    refuses(
        "probe: p\n\twindow: 10s\n",
        &["2: is not valid YAML: indent with spaces, not with tabs"],
    );
    refuses("probe: \"p\n", &["1: is not valid YAML: unclosed quote"]);
    refuses("paths: [\n", &["1: is not valid YAML: unclosed bracket '['"]);
    refuses("paths: [}\n", &["1: is not valid YAML: mismatched bracket '[' closed by '}'"]);
    let mapping = "mapping values are not allowed in this context";
    refuses("probe: a: b\n", &[&format!("1: is not valid YAML: {mapping}")]);
    refuses("probe: a\n window: 1s\n", &[&format!("2: is not valid YAML: {mapping}")]);
    refuses("\u{0}\u{1}", &["1: is not valid YAML: unexpected character: `\\u{0}'"]);
    refuses(&("[".repeat(40) + &"]".repeat(40)), &["1: is nested more than 32 levels deep"]);
    let deep: Vec<String> = (0..40).map(|depth| format!("{:depth$}a:", "")).collect();
    refuses(&deep.join("\n"), &["33: is nested more than 32 levels deep"]);
    let too_much = "is too much: more than 100000 values, aliases counted in full";
    let long = format!("a: [{}]", "b,".repeat(200_000));
    refuses(&long, &[&format!("1: {too_much}")]);
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (name, of) in "bcdefghijk".chars().zip("abcdefghij".chars()) {
        let aliases = vec![format!("*{of}"); 10].join(",");
        writeln!(bomb, "{name}: &{name} [{aliases}]").unwrap();
    }
    refuses(&bomb, &[&format!("5: {too_much}")]);
    let mut texts = format!("a: &a {}\nb: [", "x".repeat(500_000));
    texts += &"*a,".repeat(1_000);
    refuses(&(texts + "]\n"), &[&format!("2: {too_much}")]);
}

#[test]
fn keys_that_do_not_belong() {
    mqtt("tpoic: t", "tpoic: unknown key; did you mean \"topic\"?");
    mqtt("password: hunter2", "password: unknown key; did you mean \"password_file\"?");
    mqtt("deadline: 1s", "deadline: unknown key here; it belongs at paths[].deadline");
    mqtt("Qos: 1", "Qos: unknown key; did you mean \"qos\"?");
    path("rate: 5/s", "rate: unknown key here; it belongs at paths[].mqtt.rate");
    top("brokers: k", "brokers: unknown key here; it belongs at paths[].kafka.brokers");
    let known =
        "known here are probe, key_file, paths, load, window, drain, host, telemetry and state_dir";
    top("colour: red", &format!("colour: unknown key; {known}"));
    top("\"a\\nb\": 1", &format!("\"a\\nb\": unknown key; {known}"));
    top("42: 1", &format!("42: unknown key; {known}"));
    top("<<: {window: 1s}", "\"<<\": merge keys are not read; repeat the keys");
    top("probe: q", "probe: is given twice; the first is on line 1");
    mqtt("url: mqtt://c", "url: is given twice; the first is on line 5");
    top(
        "state_dir: 5",
        "state_dir: expected the path of a directory, found the number 5; put it in quotes",
    );
    top("state_dir: ''", "state_dir: \"\" is not the path of a file");
    let encrypted = "is for connections that are encrypted; write mqtts:// in url, or remove it";
    mqtt("tls: {ca_file: ca.pem}", &format!("tls: {encrypted}"));
    mqtt("payload: {asyncapi: a.yaml}", &format!("payload.asyncapi: {NOT_BUILT}"));
    mqtt("payload: {channel: c}", &format!("payload.channel: {NOT_BUILT}"));
    for scheme in ["ws", "wss"] {
        let text = one("", "", "").replace("mqtt://", &format!("{scheme}://"));
        let what = format!("{scheme}:// is known but not built yet; use mqtt:// or mqtts://");
        refuses(&text, &[&format!("5: paths[0].mqtt.url: {what}")]);
    }
}

/// One line below `slo:` (line 10) and what is said about it.
fn slo(line: &str, expected: &str) {
    let text = one("", &format!("{KAFKA}slo:\n  {line}"), "");
    refuses(&text, &[&format!("10: paths[0].slo.{expected}")]);
}

#[test]
fn objectives() {
    slo("p95: 1s", "p95: unknown key; did you mean \"p90\"?");
    slo("p99.9: 1s", "p99.9: unknown key; did you mean \"p999\"?");
    slo(
        "latency: 1s",
        "latency: unknown key; known here are p50, p90, p99, p999, max, acked_lost, duplicates and \
         availability",
    );
    let unit =
        "expected a duration such as 10s, found the number 250; give it a unit (ms, s, m, h or d)";
    slo("p99: 250", &format!("p99: {unit}"));
    slo("max: 2h", "max: 2h is out of range (0.000001s to 1h)");
    slo("p50: 0s", "p50: 0s is out of range (0.000001s to 1h)");
    slo("acked_lost: -1", "acked_lost: expected a whole number, found the number -1");
    slo("duplicates: many", "duplicates: expected a whole number, found the text \"many\"");
    let expected = "availability: expected a share such as 99.9% or 0.999, found";
    slo("availability: 3 nines", &format!("{expected} the text \"3 nines\""));
    slo("availability: true", &format!("{expected} true"));
    slo("availability: 99.9", "availability: 99.9 is more than everything; did you mean 99.9%?");
    let range = "is out of range (above 0% up to 100%, or up to 1)";
    slo("availability: 0", &format!("availability: 0 {range}"));
    slo("availability: 101%", &format!("availability: 101% {range}"));
    path("slo: 1s", "slo: expected a mapping of keys, found the text \"1s\"");
    path(
        "slo: {p99: 1s}",
        "slo: nothing is timed on a path without lanes; give it some, or remove slo",
    );
}

#[test]
fn what_is_missing() {
    refuses("probe: p\n", &["1: paths: is missing; give a list with at least one path"]);
    refuses("paths: []\n", &["1: paths: has 0 entries; 1 to 128 are allowed"]);
    let many = format!("paths: [{}]", vec!["{}"; 129].join(","));
    refuses(&many, &["1: paths: has 129 entries; 1 to 128 are allowed"]);
    refuses("paths:\n", &["1: paths: expected a list, found nothing"]);
    refuses(
        "probe: p\npaths:\n  -\n    lanes: []\n",
        &[
            "4: paths[0].name: is missing; give name: telemetry",
            "4: paths[0].mqtt: is missing; give mqtt: {url: mqtt://broker:1883}",
        ],
    );
    refuses(
        "paths:\n  - {name: a, mqtt: {qos: 1}}\n",
        &["2: paths[0].mqtt.url: is missing; give url: mqtt://broker:1883"],
    );
    refuses(
        &one("", "kafka: {}", ""),
        &[
            "6: paths[0].kafka.brokers: is missing; give brokers: kafka:9092",
            "6: paths[0].kafka.topics: is missing; give topics: [mqtt-messages]",
        ],
    );
}

#[test]
fn what_is_of_the_wrong_type() {
    top("host:", "host: expected a mapping of keys, found nothing");
    top("host: [a]", "host: expected a mapping of keys, found a list");
    top("window: [1s]", "window: expected a duration such as 10s, found a list");
    let unit = "give it a unit (ms, s, m, h or d)";
    top(
        "window: 10",
        &format!("window: expected a duration such as 10s, found the number 10; {unit}"),
    );
    top("drain:", "drain: expected a duration such as 10s, found nothing");
    mqtt("username: 12", "username: expected a user name, found the number 12; put it in quotes");
    mqtt("topic: true", "topic: expected an MQTT topic, found true; put it in quotes");
    mqtt("topic: {probe}", "topic: expected an MQTT topic, found a mapping");
    mqtt(
        "rate: 20",
        "rate: expected a rate such as 20/s, found the number 20; say for what time, such as 10/s or 10/min",
    );
    mqtt("clients: \"4\"", "clients: expected a whole number, found the text \"4\"");
    mqtt("clients: 1.5", "clients: expected a whole number, found the number 1.5");
    mqtt("payload: 256", "payload: expected a mapping of keys, found the number 256");
    mqtt(
        "payload: {size: big}",
        "payload.size: expected a size in bytes or such as 64KiB, found the text \"big\"",
    );
    mqtt(
        "payload: {size: 64KB}",
        "payload.size: expected a size in bytes or such as 64KiB, found the text \"64KB\"",
    );
    path("lanes: mqtt_mqtt", "lanes: expected a list of lanes, found the text \"mqtt_mqtt\"");
    path("kafka: kafka:9092", "kafka: expected a mapping of keys, found the text \"kafka:9092\"");
    kafka("properties: [a]", "properties: expected a mapping of properties");
    kafka(
        "properties: {debug: [a]}",
        "properties.debug: expected a text, a number, true or false, found a list",
    );
    kafka("properties: {debug: }", "properties.debug: has no value");
    let listen = "telemetry.listen: expected an address and port such as 127.0.0.1:9464, found";
    top("telemetry: {listen: 9464}", &format!("{listen} the number 9464; write 127.0.0.1:port"));
    top(
        "host: {processes: zilla}",
        "host.processes: expected a list of processes, found the text \"zilla\"",
    );
    top("probe: 7", "probe: is given twice; the first is on line 1");
    refuses(
        "probe: 7\npaths: 1\n",
        &[
            "1: probe: expected a name, found the number 7; put it in quotes",
            "2: paths: expected a list, found the number 1",
        ],
    );
}

#[test]
fn names_and_durations() {
    refuses(
        &one("", "", "").replace("probe: p", "probe: a b"),
        &[&format!("1: probe: \"a b\" {NAME}")],
    );
    let long = "x".repeat(65);
    refuses(
        &one("", "", "").replace("name: a", &format!("name: {long}")),
        &[&format!("3: paths[0].name: \"{}\"... {NAME}", &long[..60])],
    );
    refuses(
        &one("", "", "").replace("name: a", "name: ü"),
        &[&format!("3: paths[0].name: \"ü\" {NAME}")],
    );
    refuses(
        &one(
            "",
            "",
            "  - {name: b, mqtt: {url: \"mqtt://b\"}}\n  - {name: a, mqtt: {url: \"mqtt://b\"}}",
        ),
        &["7: paths[2].name: paths[0] has the same name; give each path its own"],
    );
    for wrong in ["10 s", "1m30s", "-1s", "1w", "s", "1.s", ".5s", "1s ago", "1234567890s", "1us"] {
        top(&format!("window: \"{wrong}\""), &format!("window: \"{wrong}\" {DURATION}"));
    }
    top("window: 500ms", "window: 500ms is out of range (1s to 5m)");
    top("window: 1d", "window: 1d is out of range (1s to 5m)");
    top("drain: 1.5h", "drain: 90m is out of range (0s to 10m)");
    top("host: {interval: 0s}", "host.interval: 0s is out of range (1s to 5m)");
    top("telemetry: {linger: 61m}", "telemetry.linger: 61m is out of range (0s to 1h)");
    path("deadline: 99.5ms", "deadline: 0.0995s is out of range (100ms to 15m)");
    let listen = "is not an address and port such as 127.0.0.1:9464 or [::]:9464";
    top(
        "telemetry: {listen: \"localhost:1\"}",
        &format!("telemetry.listen: \"localhost:1\" {listen}"),
    );
    let process = "(1 to 255 bytes without a slash, or pidfile:/path, or pid:123)";
    top(
        "host: {processes: [a/b]}",
        &format!("host.processes[0]: \"a/b\" is not the name of a process {process}"),
    );
    top(
        "host: {processes: [\"pid:0\"]}",
        "host.processes[0]: \"0\" is not a process id (1 to 4194304)",
    );
    top("host: {processes: [\"pidfile:x\"]}", "host.processes[0]: \"x\" is not an absolute path");
    top("host: {processes: [a, b, a]}", "host.processes[2]: is given twice; remove one");
    let many: Vec<String> = (0..33).map(|n| format!("p{n}")).collect();
    top(
        &format!("host: {{processes: [{}]}}", many.join(",")),
        "host.processes: has 33 entries; at most 32 are allowed",
    );
}

#[test]
fn the_mqtt_side() {
    for (url, what) in [
        ("broker", "\"broker\" is not a URL such as mqtt://broker:1883"),
        ("tcp://b", "\"tcp\" is not a scheme of MQTT; use mqtt:// or mqtts://"),
        ("mqtt://u:hunter2@b", "has user information in it; use username and password_file"),
        ("mqtt://b/t", "\"/t\" stands behind the host and port; remove it"),
        ("mqtt://b:0", "\"0\" is not a port (1 to 65535)"),
        ("mqtt://b:65536", "\"65536\" is not a port (1 to 65535)"),
        ("mqtt://b:", "\"\" is not a port (1 to 65535)"),
        ("mqtt://", "\"\" is not a host name or address"),
        ("mqtt://[::g]", "\"::g\" is not an IPv6 address"),
        ("mqtt://[::1]x", "\"x\" stands behind the host"),
    ] {
        let text = one("", "", "").replace("mqtt://b", &format!("\"{url}\""));
        refuses(&text, &[&format!("5: paths[0].mqtt.url: {what}")]);
    }
    mqtt("qos: 3", "qos: 3 is not a QoS (0, 1 or 2)");
    mqtt("qos: \"1\"", "qos: \"1\" is in quotes; remove them");
    mqtt("qos: high", "qos: \"high\" is not a QoS (0, 1 or 2)");
    mqtt("qos: {a: b}", "qos: expected a QoS or a list of them, found a mapping");
    mqtt("qos: [0, 3]", "qos[1]: 3 is not a QoS (0, 1 or 2)");
    mqtt("qos: [1, 1]", "qos[1]: is given twice; remove one");
    mqtt("qos: []", "qos: is empty; expected a QoS or a list of them");
    mqtt("version: 4", "version: 4 is not a version of MQTT (5 or 3.1.1)");
    mqtt("schedule: random", "schedule: \"random\" is not a schedule (poisson or fixed)");
    mqtt("clients: 0", "clients: 0 is out of range (1 to 131072)");
    mqtt("clients: 131073", "clients: 131073 is out of range (1 to 131072)");
    mqtt(
        "clients: 99999999999999999999",
        "clients: expected a whole number, found the number 99999999999999999999",
    );
    refuses(
        &one("qos: [0, 1]\nclients: 1", "", ""),
        &["7: paths[0].mqtt.clients: 1 can't be split over 2 QoS levels"],
    );
    for wrong in ["20", "20/h", "-1/s", "1e3/s", "20 /s", "/s", "20/sec"] {
        mqtt(&format!("rate: \"{wrong}\""), &format!("rate: \"{wrong}\" {RATE}"));
    }
    for wrong in ["0/s", "0.0/min", "10000001/s", "0.0001/s"] {
        mqtt(
            &format!("rate: {wrong}"),
            &format!("rate: \"{wrong}\" is out of range (0.001/s to 10000000/s)"),
        );
    }
    for (topic, what) in [
        ("", "is empty; give an MQTT topic"),
        ("a/+/b", "\"a/+/b\" holds +, a wildcard; it can't be published to"),
        ("a/#", "\"a/#\" holds #, a wildcard; it can't be published to"),
        ("$SYS/a", "\"$SYS/a\" begins with $, which brokers keep for themselves"),
        ("a\\0b", "\"a\\0b\" holds a control character"),
        ("a/{host}", "\"{host}\" is unknown; use {probe}, {path} or {client}"),
        ("a/{probe", "\"{probe\" is unknown; use {probe}, {path} or {client}"),
        ("a}", "\"}\" is unknown; use {probe}, {path} or {client}"),
    ] {
        mqtt(&format!("topic: \"{topic}\""), &format!("topic: {what}"));
    }
    mqtt(
        &format!("topic: {}", "x".repeat(65_536)),
        "topic: has 65536 bytes; at most 65535 are allowed",
    );
    let topic = format!("topic: \"x{}\"", "{client}".repeat(8_191));
    assert!(read(&one(&format!("{topic}\nclients: 100000"), "", "")).is_ok());
    // A name of 64 characters is longer than its placeholder.
    let topic = format!("topic: \"{}{{path}}\"", "x".repeat(65_500));
    refuses(
        &one(&topic, "", "").replace("name: a", &format!("name: {}", "n".repeat(64))),
        &["6: paths[0].mqtt.topic: has 65564 bytes once expanded; at most 65535 are allowed"],
    );
}

#[test]
fn payloads_and_slots_in_flight() {
    mqtt("payload: {size: 15}", "payload.size: 15 is out of range (16 to 268435327)");
    mqtt("payload: {size: 300MiB}", "payload.size: 314572800 is out of range (16 to 268435327)");
    mqtt(
        "payload: {size: 159}",
        "payload.size: 159 is too small for the format json, which takes at least 160",
    );
    mqtt(
        "payload: {size: 268435327}",
        "payload.size: 268435327 is too large for an MQTT packet with this topic; at most 268435313 fit",
    );
    mqtt(
        "payload: {format: xml}",
        "payload.format: \"xml\" is not a payload format (json, text or binary)",
    );
    let fit = "at most 4000000 fit, so lower a rate or a deadline";
    refuses(
        &one("rate: 200000/s", "", "  - {name: b, mqtt: {url: \"mqtt://b\"}, deadline: 1s}"),
        &[&format!(
            "3: paths: rate x deadline makes 6000010 slots in flight (a: 200000/s x 30s + b: 10/s x 1s); {fit}"
        )],
    );
    assert!(read(&one("rate: 4000000/s", "deadline: 1s", "")).is_ok(), "the limit itself");
}

#[test]
fn the_kafka_side() {
    path(
        "lanes: [mqtt_kafka]",
        "lanes: holds mqtt_kafka, but the path has no kafka; add kafka or remove the lane",
    );
    path("lanes: [mqtt_mqtt, mqtt_mqtt]", "lanes[1]: is given twice; remove one");
    path(
        "lanes: [mqtt]",
        "lanes[0]: \"mqtt\" is not a lane (mqtt_kafka, mqtt_mqtt or kafka_kafka)",
    );
    let brokers = |given: &str, what: &str| {
        let text = one("", &KAFKA.replace("k:9092", given), "");
        refuses(&text, &[&format!("7: paths[0].kafka.brokers{what}")]);
    };
    brokers("a b", ": \"a b\" is not a host name or address");
    brokers("[a, \"b:x\"]", "[1]: \"x\" is not a port (1 to 65535)");
    brokers("a,,b", ": \"\" is not a host name or address");
    brokers(
        "\"SSL://k:9093\"",
        ": \"SSL://k:9093\" has a protocol; give host:port, and security.protocol in properties",
    );
    brokers("u:hunter2@k", ": has an @ in it; give sasl.username and the like in properties");
    brokers("[]", ": is empty; expected a broker or a list of them");
    let topics = |given: &str, what: &str| {
        let text = one("", &KAFKA.replace("[t]", given), "");
        refuses(&text, &[&format!("8: paths[0].kafka.topics{what}")]);
    };
    let rule = "is not a Kafka topic (1 to 249 letters, digits, dots, underscores or hyphens, or ^ and a pattern)";
    topics("t", ": expected a list of topics, found the text \"t\"");
    topics("[a/b]", &format!("[0]: \"a/b\" {rule}"));
    topics("[a, ..]", &format!("[1]: \"..\" {rule}"));
    topics("[^]", "[0]: \"^\" is not a pattern (2 to 1024 characters)");
    topics("[t, t]", "[1]: is given twice; remove one");
    let owned = landfall::consume::OWNED.map(|(name, _)| name);
    let of_producer = landfall::produce::OWNED.map(|(name, _)| name);
    let others =
        ["group.id", "bootstrap.servers", "group.id_file", "message.timeout.ms", "linger.ms_file"];
    for name in owned.into_iter().chain(of_producer).chain(others) {
        let text = one("", &format!("{KAFKA}  properties: {{{name}: x}}"), "");
        let problems = read(&text).unwrap_err();
        let expected = format!("landfall.yaml:9: paths[0].kafka.properties.{name}: can't be set: ");
        assert!(problems.starts_with(&expected) && problems.lines().count() == 1, "{problems}");
    }
    let holds = "properties: holds a key that is not the name of a librdkafka property";
    kafka("properties: {\"sasl.password:hunter2\": x}", holds);
    kafka(
        "properties: {sasl.password: a, sasl.password_file: b}",
        "properties.sasl.password_file: sasl.password is given both here and by file; remove one",
    );
}

#[test]
fn the_control_lane_and_its_topic_belong_together() {
    path(
        "lanes: [kafka_kafka]",
        "lanes: holds kafka_kafka, but the path has no kafka; add kafka or remove the lane",
    );
    kafka(
        "control_topic: c",
        "control_topic: is for lane kafka_kafka, which lanes does not hold; add the lane or remove \
         this",
    );
    let with = |topics: &str, control: &str| {
        let kafka = KAFKA.replace("[t]", topics);
        one("", &format!("{kafka}  {control}\nlanes: [mqtt_kafka, kafka_kafka]"), "")
    };
    let needs = "needs a topic of its own; give kafka.control_topic or remove the lane";
    refuses(
        &with("[t]", "properties: {}"),
        &[&format!("10: paths[0].lanes: holds kafka_kafka, which {needs}")],
    );
    let at = "9: paths[0].kafka.control_topic";
    for (topics, topic) in [("[a, c]", "c"), ("['^x', '^c$']", "^c$")] {
        let what = "which a bridge fills; name a topic of its own";
        refuses(
            &with(topics, "control_topic: c"),
            &[&format!("{at}: is one of the topics of path a ({topic}), {what}")],
        );
    }
    refuses(
        &with("[t]", "control_topic: ^c"),
        &[&format!("{at}: \"^c\" is a pattern; give the name of one topic")],
    );
    refuses(
        &with("[t]", "control_topic: 7"),
        &[&format!("{at}: expected a topic, found the number 7; put it in quotes")],
    );
    let other =
        "  - name: b\n    mqtt: {url: mqtt://b}\n    kafka: {brokers: k:9092, topics: [c]}\n";
    let both = with("[t]", "control_topic: c") + other;
    let what = "is one of the topics of path b (c), which a bridge fills; name a topic of its own";
    refuses(&both, &[&format!("{at}: {what}")]);
    assert!(read(&both.replace("brokers: k:9092, topics: [c]", "brokers: l, topics: [c]")).is_ok());
    assert!(read(&with("[t]", "control_topic: c")).is_ok());
}

#[test]
fn slots_of_the_control_lane_take_memory_too() {
    let path = format!("{KAFKA}  control_topic: c\nlanes: [kafka_kafka]\ndeadline: 100s");
    assert!(read(&one("rate: 20000/s", &path, "")).is_ok());
    let problems = read(&one("rate: 20001/s", &path, "")).unwrap_err();
    assert!(problems.contains("makes 4000200 slots in flight (a: 40002/s x 100s)"), "{problems}");
}

#[test]
fn a_load_without_a_program() {
    top("load: {}", "load.command: is missing; give command: [emqtt-bench, pub, -c, 100]");
    let list = "expected a list of a program and its arguments, found";
    top("load: { command: run it }", &format!("load.command: {list} the text \"run it\""));
    top("load: { command: [] }", "load.command: has 0 entries; 1 to 1024 are allowed");
    top("load: { command: [''] }", "load.command[0]: names no program");
    top(
        "load: { command: [~] }",
        "load.command[0]: expected a text, found nothing; put it in quotes",
    );
    let nested = "load.command[1]: expected a text, found a list; put it in quotes";
    top("load: { command: [a, [b]] }", nested);
    let zero = "load.command[1]: holds a zero byte, which ends it";
    top("load: { command: [a, \"b\\0\"] }", zero);
    let switch = "load.restart: expected true or false, found the text \"yes\"";
    top("load: { command: [a], restart: yes }", switch);
    top("load: { command: [a], start: 2h }", "load.start: 2h is out of range (0s to 1h)");
    let taken = "is what the processes of the load are called; name them otherwise, or remove load";
    let both = "load: { command: [a] }\nhost: { processes: [x, load] }";
    refuses(&one("", "", both), &[&format!("7: host.processes: load {taken}")]);
}

#[test]
fn the_name_of_a_load_is_that_of_its_program() {
    for (program, name) in [("/opt/x/emqtt-bench", "emqtt-bench"), ("a b", "a_b"), ("x/", "load")] {
        let loaded = read(&one("", "", &format!("load: {{ command: ['{program}'] }}"))).unwrap();
        assert_eq!(loaded.resolved.load.unwrap().name, name);
    }
}

#[test]
fn a_password_needs_a_user_name() {
    mqtt("password_file: x", "password_file: needs a username; give one");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    refuses(
        &one("qos: 3\nrate: fast", "deadline: 1\nlanes: [x]", "windw: 1s\nstate_dir: 7"),
        &[
            "6: paths[0].mqtt.qos: 3 is not a QoS (0, 1 or 2)",
            &format!("7: paths[0].mqtt.rate: \"fast\" {RATE}"),
            "8: paths[0].deadline: expected a duration such as 10s, found the number 1; give it a unit (ms, s, m, h or d)",
            "9: paths[0].lanes[0]: \"x\" is not a lane (mqtt_kafka, mqtt_mqtt or kafka_kafka)",
            "10: windw: unknown key; did you mean \"window\"?",
            "11: state_dir: expected the path of a directory, found the number 7; put it in quotes",
        ],
    );
    let many: Vec<String> = (0..150).map(|n| format!("key-{n}: 1")).collect();
    let problems = read(&one("", "", &many.join("\n"))).unwrap_err();
    assert_eq!(problems.lines().count(), 101);
    assert!(problems.ends_with("landfall.yaml: and 50 more"), "{problems}");
}

#[test]
fn no_message_repeats_a_secret() {
    for line in [
        "properties: {sasl.password: [hunter2]}",
        "properties: {sasl.password: {hunter2: x}}",
        "properties: {sasl.password: !hunter2}",
        "properties: {sasl.password: *hunter2}",
        "properties: {\"sasl.password:hunter2\": }",
        "properties: sasl.password:hunter2",
        "properties: {sasl.password: \"hunter2\\0\"}",
    ] {
        let problems = read(&one("", &format!("{KAFKA}  {line}"), "")).unwrap_err();
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn the_schema_refuses_unknown_keys_and_wrong_types() {
    let schema = landfall::config::schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let valid = |text: &str| validator.is_valid(&as_json(text));
    assert!(valid(&one("", KAFKA, "")));
    for line in [
        "colour: red",
        "window: 10",
        "window: 10 s",
        "host: []",
        "state_dir: 5",
        "host: {interval: x}",
        "telemetry: {listen: 9464}",
        "host: {processes: zilla}",
        "host: {processes: [a, a]}",
        "paths2: 1",
    ] {
        assert!(!valid(&one("", "", line)), "{line}");
    }
    for line in [
        "tpoic: t",
        "qos: 3",
        "qos: [1, 1]",
        "qos: []",
        "version: 4",
        "clients: 0",
        "rate: 20",
        "rate: most",
        "profile: {ramp: {}}",
        "inflight: 0",
        "connect_rate: max",
        "schedule: x",
        "topic: a/#",
        "payload: {size: 1}",
        "tls: {ca: x}",
        "username: 12",
    ] {
        assert!(!valid(&one(line, "", "")), "{line}");
    }
    for line in ["lanes: [kafka_mqtt]", "deadline: 1", "slo: {p99: 1}", "kafka: {}"] {
        assert!(!valid(&one("", line, "")), "{line}");
    }
    assert!(!valid(&one("", &format!("{KAFKA}  properties: {{group.id: x}}"), "")));
    assert!(!valid(&one("", "", "").replace("mqtt://", "wss://")));
    assert!(!valid("probe: p"));
}

/// Pieces of which plausible and implausible files are made.
fn fragments() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("paths:\n"),
        Just("  - name: a\n"),
        Just("    mqtt:\n"),
        Just("      url: mqtt://b\n"),
        Just("      qos: [0, 1]\n"),
        Just("    kafka: {brokers: k, topics: [t]}\n"),
        Just("window: 1s\n"),
        Just("&a "),
        Just("*a "),
        Just("<<: "),
        Just("\t"),
        Just("- "),
        Just("? "),
        Just(": "),
        Just("{"),
        Just("]"),
        Just("'"),
        Just("|\n"),
        Just("---\n"),
        Just("!!str "),
        Just("\u{feff}"),
        Just("\u{85}"),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// A valid file with random values.
fn valid_file() -> impl Strategy<Value = String> {
    let text = "[^\\p{C}$+#{}][^\\p{C}+#{}]{0,20}";
    let mqtt = (
        prop::sample::subsequence(vec![0, 1, 2], 1..=3),
        3_u32..5_000,
        1_u32..100_000,
        text,
        text,
        160_u32..100_000,
        prop::sample::select(vec!["json", "text", "binary"]),
    );
    let path = (any::<bool>(), 100_u32..900_000, "[A-Za-z0-9._-]{1,60}", "[a-z.]{1,9}", text);
    let rest = (1_000_u32..300_000, 0_u32..600, any::<u16>(), "[^\\p{C}/]{1,9}");
    (mqtt, path, rest).prop_map(|(mqtt, path, rest)| {
        let (qos, clients, rate, topic, user, size, format) = mqtt;
        let (with_kafka, deadline, name, kafka_topic, property) = path;
        let (window, drain, port, process) = rest;
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let kafka = format!(
            ", kafka: {{brokers: k, topics: [{}], properties: {{client.id: {}, debug: {}}}}}",
            json(&format!("t{kafka_topic}")), json(&property), port > 9
        );
        format!(
            "probe: {0}\nwindow: {window}ms\ndrain: {drain}s\npaths:\n  - {{name: {0}, deadline: {deadline}ms, mqtt: {{url: \"mqtt://b\", qos: {qos:?}, clients: {clients}, rate: {rate}/min, topic: {1}, username: {2}, payload: {{size: {size}, format: {format}}}}}{3}}}\nhost: {{processes: [{4}]}}\ntelemetry: {{listen: \"127.0.0.1:{port}\"}}\n",
            json(&name), json(&topic), json(&user), if with_kafka { kafka.as_str() } else { "" },
            json(&process.replace(':', ".")),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_makes_it_panic(text in fragments()) {
        if let Err(problems) = read(&text) {
            prop_assert!(problems.lines().all(|line| line.starts_with("landfall.yaml")), "{problems}");
        }
    }

    #[test]
    fn no_value_makes_it_panic(text in "\\PC{0,30}", place in 0_usize..6) {
        let quoted = serde_json::to_string(&text).unwrap();
        let _ = match place {
            0 => read(&one(&format!("topic: {quoted}"), "", "")),
            1 => read(&one(&format!("rate: {quoted}"), "", "")),
            2 => read(&one("", "", &format!("window: {quoted}"))),
            3 => read(&one("", "", &format!("telemetry: {{listen: {quoted}}}"))),
            4 => read(&one("", &KAFKA.replace("k:9092", &quoted), "")),
            _ => read(&one("", "", "").replace("mqtt://b", &quoted)),
        };
    }

    #[test]
    fn what_is_valid_shows_and_reads_as_the_same(text in valid_file()) {
        let loaded = read(&text).unwrap();
        let shown = loaded.show();
        let again = read(&shown).unwrap();
        prop_assert_eq!(format!("{:?}", loaded.resolved), format!("{:?}", again.resolved));
        let schema = landfall::config::schema();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for text in [text, shown] {
            let json: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            prop_assert!(validator.is_valid(&json), "{}", text);
        }
    }
}

#[test]
fn subscribers_that_have_nothing_to_listen_to() {
    let lanes = "lanes: [mqtt_mqtt]";
    refuses(
        &one("subscribers: {count: 2}", "lanes: []", ""),
        &[
            "6: paths[0].mqtt.subscribers: nobody subscribes without lane mqtt_mqtt; add it to lanes, \
           or remove this",
        ],
    );
    refuses(
        &one("topic: t\nsubscribers: {receive: own}", lanes, ""),
        &["7: paths[0].mqtt.subscribers.receive: own needs a topic for each client; put {client} \
           into mqtt.topic"],
    );
    refuses(
        &one("clients: 2\nsubscribers: {count: 3, receive: own}", lanes, ""),
        &[
            "7: paths[0].mqtt.subscribers.count: 3 subscribers can't each have clients of their own; \
           there are 2",
        ],
    );
    refuses(
        &one("subscribers: {count: 0, receive: some}", lanes, ""),
        &[
            "6: paths[0].mqtt.subscribers.count: 0 is out of range (1 to 131072)",
            "6: paths[0].mqtt.subscribers.receive: \"some\" is not what subscribers receive (all, \
             share or own)",
        ],
    );
}

#[test]
fn clients_that_stand_by_wrongly() {
    mqtt("background: {idle: -1}", "background.idle: expected a whole number, found the number -1");
    mqtt("background: {every: 100ms}", "background.every: 100ms is out of range (1s to 5m)");
    mqtt("background: {read: 8}", "background.read: 8 is out of range (16 to 1073741824)");
    mqtt("retain: maybe", "retain: expected true or false, found the text \"maybe\"");
}
