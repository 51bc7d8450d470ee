//! Configuration: what is read, what is refused and with which words, what is shown.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use std::path::Path;
use std::time::Duration;

use landfall::config::{
    BackgroundConfig, Loaded, Overrides, Rate, Resolved, SloConfig, SubscribersConfig,
    TopicSelector, load, load_text, schema,
};
use landfall::correlate::{Lane, Qos, Receive};
use landfall::host::ProcessSelector;
use landfall::schedule::{Arrivals, Profile};
use landfall::stamp::Format;
use landfall::wire::Version;
use secrecy::ExposeSecret;

const FULL: &str = include_str!("config/full.yaml");
const LEAST: &str = include_str!("config/least.yaml");
const ANCHORS: &str = include_str!("config/anchors.yaml");

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Reads a text with these variables; secrets lie in the directory.
fn read_in(
    dir: &Path,
    text: &str,
    flags: &Overrides,
    variables: Variables<'_>,
) -> Result<Loaded, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let name = dir.join("landfall.yaml");
    load_text(&name.to_string_lossy(), text, flags, variables).map_err(|problems| {
        assert!(!problems.is_empty());
        let before = dir.join("landfall.yaml").display().to_string();
        problems.to_string().replace(&before, "landfall.yaml")
    })
}

fn read(text: &str) -> Result<Loaded, String> {
    read_in(Path::new(""), text, &Overrides::default(), &[])
}

/// A directory with the secrets that `full.yaml` names.
fn secrets() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("key", "k"),
        ("mqtt-password", "swordfish\n"),
        ("kafka-password", "sesame\r\n"),
        ("empty", ""),
        ("blank", "\n"),
        ("latin1", "latin1"),
    ] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    std::fs::write(dir.path().join("latin1"), [0xe4, 0xf6]).unwrap();
    std::fs::write(dir.path().join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
    dir
}

/// A file with one path, these lines below `mqtt:` and these below the path, and these at the top.
fn one(mqtt: &str, path: &str, top: &str) -> String {
    let indent = |text: &str, by: usize| -> String {
        let lines = text.lines().map(|line| format!("{:by$}{line}", ""));
        lines.chain([String::new()]).collect::<Vec<_>>().join("\n")
    };
    format!(
        "probe: p\npaths:\n  - name: a\n    mqtt:\n      url: mqtt://b\n{}{}{top}\n",
        indent(mqtt, 6),
        indent(path, 4)
    )
}

const KAFKA: &str = "kafka:\n  brokers: k:9092\n  topics: [t]\n";

#[test]
fn clients_beside_the_publishers_are_read() {
    let lanes = "lanes: [mqtt_mqtt]";
    let mqtt = |lines: &str| {
        let loaded = read(&one(lines, lanes, "")).unwrap();
        loaded.resolved.paths[0].mqtt.clone()
    };
    let plain = mqtt("");
    assert_eq!(plain.subscribers, SubscribersConfig { count: 1, receive: Receive::All });
    assert_eq!((plain.background, plain.retain), (None, false));
    let given =
        "retain: true\nclients: 3\nsubscribers: {count: 3, receive: own}\nbackground: {storm: 7}";
    let given = mqtt(given);
    assert_eq!(given.subscribers, SubscribersConfig { count: 3, receive: Receive::Own });
    assert!(given.retain);
    let background = BackgroundConfig {
        idle: 0,
        slow_subscribers: 0,
        persistent: 0,
        storm: 7,
        every: Duration::from_secs(10),
        read: 10_240,
    };
    assert_eq!(given.background, Some(background));
}

#[test]
fn every_value_is_read() {
    let dir = secrets();
    let loaded = read_in(dir.path(), FULL, &Overrides::default(), &[]).unwrap();
    let Resolved { probe, key, paths, load, window, drain, state_dir, host, telemetry } =
        loaded.resolved;
    assert_eq!(probe, "plant-7");
    assert_eq!(key.unwrap().expose_secret(), b"k");
    assert_eq!((window, drain), (Duration::from_mins(1), Duration::ZERO));
    assert_eq!(state_dir, Some(dir.path().join("state")), "beside the file");
    assert_eq!(host.interval, Duration::from_secs(1));
    assert_eq!(
        host.processes,
        [
            ProcessSelector::Name("zilla".into()),
            ProcessSelector::PidFile("/run/mosquitto.pid".into()),
            ProcessSelector::Pid(42)
        ]
    );
    let load = load.unwrap();
    assert_eq!((load.name.as_str(), load.program), ("bench", dir.path().join("tools/bench.sh")));
    assert_eq!(load.arguments, ["-c", "100", "true", "a b", ""]);
    assert_eq!((load.start, load.restart), (Duration::from_secs(90), true));
    assert_eq!(telemetry.listen.to_string(), "[::]:0");
    assert_eq!(telemetry.linger, Duration::from_millis(250));

    let mqtt = &paths[0].mqtt;
    assert_eq!(paths[0].name, "telemetry");
    assert_eq!(paths[0].lanes, [Lane::MqttKafka, Lane::MqttMqtt, Lane::KafkaKafka]);
    assert_eq!(paths[0].deadline, Duration::from_millis(1500));
    let SloConfig { p50, p90, p99, p999, max, acked_lost, duplicates, availability } = paths[0].slo;
    let micros = [1_000, 2_500, 250_000, 1_000_000, 60_000_000].map(Duration::from_micros);
    assert_eq!([p50, p90, p99, p999, max], micros.map(Some));
    assert_eq!((acked_lost, duplicates, availability), (2, Some(3), Some(0.9995)));
    assert_eq!((mqtt.url.host.as_str(), mqtt.url.port), ("broker.example", 1884));
    assert_eq!((mqtt.version, mqtt.schedule), (Version::V4, Arrivals::Fixed));
    assert_eq!(mqtt.username.as_deref(), Some("probe"));
    assert_eq!(mqtt.password.as_ref().unwrap().expose_secret(), "swordfish");
    assert_eq!(mqtt.topic.expand("plant-7", "telemetry", 3), "plant/plant-7/telemetry/3");
    assert_eq!(mqtt.qos, [Qos::AtMostOnce, Qos::ExactlyOnce]);
    assert_eq!((mqtt.clients, mqtt.rate), (4, Rate::PerSecond(0.5)));
    assert_eq!((mqtt.payload.size, mqtt.payload.format), (65_536, Format::Binary));

    let kafka = paths[0].kafka.as_ref().unwrap();
    assert_eq!(kafka.brokers, ["kafka-1:9092", "kafka-2:9092"]);
    assert_eq!(
        kafka.topics,
        [
            TopicSelector::Name("mqtt-messages".into()),
            TopicSelector::Pattern("^plant-[0-9]+$".into())
        ]
    );
    assert_eq!(kafka.control_topic.as_deref(), Some("landfall"));
    let plain: Vec<_> = kafka.properties.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        plain,
        [
            "client.id=landfall",
            "fetch.wait.max.ms=250",
            "log.connection.close=false",
            "sasl.username=probe",
            "security.protocol=SASL_PLAINTEXT"
        ]
    );
    let secret: Vec<_> = kafka
        .secret_properties
        .iter()
        .map(|(name, value)| format!("{name}={}", value.expose_secret()))
        .collect();
    assert_eq!(secret, ["sasl.password=hunter2", "ssl.key.password=sesame"]);
    assert_eq!((paths[1].mqtt.url.host.as_str(), paths[1].mqtt.url.port), ("::1", 1883));
}

#[test]
fn every_default_holds() {
    let Resolved { probe, key, paths, load, window, drain, state_dir, host, telemetry } =
        read(LEAST).unwrap().resolved;
    assert!(!probe.is_empty(), "the host name");
    assert!(
        state_dir.is_none()
            && load.is_none()
            && key.is_none()
            && paths[0].kafka.is_none()
            && host.processes.is_empty()
    );
    assert_eq!((window, drain), (Duration::from_secs(10), Duration::from_secs(20)));
    assert_eq!((host.interval, telemetry.linger), (Duration::from_secs(5), Duration::ZERO));
    assert_eq!(telemetry.listen.to_string(), "127.0.0.1:9464");
    let mqtt = &paths[0].mqtt;
    assert_eq!((mqtt.version, mqtt.schedule), (Version::V5, Arrivals::Poisson));
    assert_eq!((mqtt.qos.as_slice(), mqtt.clients), (&[Qos::AtLeastOnce][..], 1));
    assert_eq!((mqtt.rate, mqtt.profile), (Rate::PerSecond(10.0), Profile::Steady));
    assert_eq!((mqtt.inflight, mqtt.connect_rate), (None, 10_000.0));
    assert_eq!((mqtt.payload.size, mqtt.payload.format), (256, Format::Json));
    assert_eq!(mqtt.topic.expand("p", "a", 0), "landfall/p/a/0");
    assert!(paths[0].lanes.is_empty(), "nothing to time without kafka");
    assert_eq!(paths[0].deadline, Duration::from_secs(30));
    assert_eq!(paths[0].slo, SloConfig::default());
    let shown = read(&one("", &format!("{KAFKA}slo: {{}}"), "")).unwrap();
    assert_eq!(shown.resolved.paths[0].slo, SloConfig::default(), "acked_lost: 0, as without it");
    assert!(shown.show().contains("    slo:\n      acked_lost: 0 # default\n"), "{}", shown.show());
    let only = read(&one("", &format!("{KAFKA}slo: {{availability: 0.5}}"), "")).unwrap();
    let slo = SloConfig { availability: Some(0.5), ..SloConfig::default() };
    assert_eq!(only.resolved.paths[0].slo, slo);
    let with_kafka = read(&one("qos: [0, 1, 2]", KAFKA, "")).unwrap().resolved;
    assert_eq!(with_kafka.paths[0].lanes, [Lane::MqttKafka]);
    assert_eq!(with_kafka.paths[0].mqtt.clients, 3, "one for each QoS");
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let text = one("", "", "window: 7s\ndrain: 7s\nhost: {interval: 7s}");
    let flags = Overrides {
        window: Some("1s".into()),
        listen: Some("127.0.0.1:1".into()),
        ..Overrides::default()
    };
    let variables = [
        ("LANDFALL_WINDOW", "2s"),
        ("LANDFALL_DRAIN", "2s"),
        ("LANDFALL_PROBE", "12"),
        ("LANDFALL_TELEMETRY_LINGER", "2s"),
        ("HOME", "/root"),
    ];
    let loaded = read_in(Path::new(""), &text, &flags, &variables).unwrap();
    let resolved = &loaded.resolved;
    assert_eq!((resolved.window.as_secs(), resolved.drain.as_secs()), (1, 2));
    assert_eq!((resolved.host.interval.as_secs(), resolved.telemetry.linger.as_secs()), (7, 2));
    assert_eq!((resolved.probe.as_str(), resolved.telemetry.listen.port()), ("12", 1));
    let shown = loaded.show();
    for line in [
        "probe: \"12\" # LANDFALL_PROBE\n",
        "window: 1s # --window\n",
        "drain: 2s # LANDFALL_DRAIN\n",
        "  interval: 7s # landfall.yaml:8\n",
        "  processes: [] # default\n",
        "  listen: 127.0.0.1:1 # --listen\n",
        "      rate: 10/s # default\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
}

#[test]
fn the_password_of_the_environment_is_for_user_names_without_a_file() {
    let dir = secrets();
    let variables = [("LANDFALL_MQTT_PASSWORD", "from-env")];
    let password = |mqtt: &str| {
        let loaded = read_in(dir.path(), &one(mqtt, "", ""), &Overrides::default(), &variables);
        let mqtt = loaded.unwrap().resolved.paths.remove(0).mqtt;
        mqtt.password.map(|password| password.expose_secret().to_owned())
    };
    assert_eq!(password("username: u").as_deref(), Some("from-env"));
    assert_eq!(password("username: u\npassword_file: mqtt-password").as_deref(), Some("swordfish"));
    assert_eq!(password(""), None);
}

#[test]
fn secrets_are_neither_shown_nor_debugged() {
    let dir = secrets();
    let variables = [("LANDFALL_MQTT_PASSWORD", "from-env")];
    let loaded = read_in(dir.path(), FULL, &Overrides::default(), &variables).unwrap();
    let (shown, debugged) = (loaded.show(), format!("{loaded:?}"));
    assert!(
        shown.ends_with("# LANDFALL_MQTT_PASSWORD counts where a username has no password_file\n")
    );
    assert!(shown.contains("sasl.password: '***' # "), "{shown}");
    for secret in ["hunter2", "swordfish", "sesame", "from-env"] {
        assert!(!shown.contains(secret) && !debugged.contains(secret), "{secret}");
    }
}

/// The YAML as JSON by another reader than ours.
fn as_json(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn what_is_shown_reads_as_the_same() {
    let dir = secrets();
    for text in [FULL, LEAST, ANCHORS] {
        let loaded = read_in(dir.path(), text, &Overrides::default(), &[]).unwrap();
        let shown = loaded.show();
        let again = read_in(dir.path(), &shown, &Overrides::default(), &[]).unwrap();
        assert_eq!(format!("{:?}", loaded.resolved), format!("{:?}", again.resolved));
        assert_eq!(as_json(&shown), as_json(&again.show()));
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let dir = secrets();
    for text in [FULL, LEAST, ANCHORS] {
        let errors: Vec<_> =
            validator.iter_errors(&as_json(text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let loaded = read_in(dir.path(), text, &Overrides::default(), &[]).unwrap();
        assert!(validator.is_valid(&as_json(&loaded.show())), "{}", loaded.show());
    }
    assert!(!schema.to_string().contains("asyncapi"), "not built yet");
    assert_eq!(schema["properties"]["window"]["default"], "10s");
}

#[test]
fn every_key_of_the_schema_has_a_title_and_a_description() {
    fn walk(schema: &serde_json::Value, path: &str) {
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, schema) in properties {
            for word in ["title", "description"] {
                let text = schema[word].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{path}.{name} has no {word}");
            }
            walk(schema, &format!("{path}.{name}"));
            walk(&schema["items"], &format!("{path}.{name}[]"));
        }
    }
    walk(&schema(), "");
}

#[test]
fn variables_that_only_look_like_ours_are_let_be() {
    let variables = [
        ("LANDFALL_TEST_ZILLA", "1"),
        ("LANDFALL_LOG", "debug"),
        ("LANDFALL_LOG_FORMAT", "json"),
        ("LANDFALL_SERVICE_HOST", "10.0.0.1"),
        ("LANDFALL_SERVICE_PORT_METRICS", "9464"),
        ("LANDFALL_PORT", "tcp://10.0.0.1:9464"),
        ("LANDFALL_METRICS_PORT_9464_TCP_ADDR", "10.0.0.1"),
    ];
    read_in(Path::new(""), LEAST, &Overrides::default(), &variables).unwrap();
}

#[test]
fn flags_and_variables_that_are_wrong_are_named() {
    let flags = Overrides {
        window: Some("10".into()),
        probe: Some("a b".into()),
        listen: Some(":9464".into()),
        ..Overrides::default()
    };
    let variables = [
        ("LANDFALL_DRAIN", "2 s"),
        ("LANDFALL_WINDOW", "hidden by the flag"),
        ("LANDFALL_HOST_INTERVAL", "1ms"),
        ("LANDFALL_TELEMETRY_LINGER", ""),
        ("LANDFALL_WINDWO", "1s"),
        ("LANDFALL_COLOUR", "1s"),
        ("LANDFALL_MQTT_PASSWORD", ""),
    ];
    let problems = read_in(Path::new(""), LEAST, &flags, &variables).unwrap_err();
    let duration = "is not a duration; write a number and a unit: 250ms, 10s, 5m, 8h or 1d";
    let expected = [
        "--listen: \":9464\" is not an address and port such as 127.0.0.1:9464 or [::]:9464",
        "--probe: \"a b\" is not a name (1 to 64 letters, digits, dots, underscores or hyphens)",
        &format!("--window: \"10\" {duration}"),
        &format!("LANDFALL_DRAIN: \"2 s\" {duration}"),
        "LANDFALL_HOST_INTERVAL: 1ms is out of range (1s to 5m)",
        "LANDFALL_MQTT_PASSWORD: is not a password (1 to 65535 bytes); unset it if none is needed",
        &format!("LANDFALL_TELEMETRY_LINGER: \"\" {duration}"),
        "environment: LANDFALL_WINDWO is unknown; did you mean \"LANDFALL_WINDOW\"?",
        "environment: LANDFALL_COLOUR is unknown; known are LANDFALL_PROBE, LANDFALL_TELEMETRY_LISTEN, LANDFALL_TELEMETRY_LINGER, LANDFALL_WINDOW, LANDFALL_DRAIN, LANDFALL_HOST_INTERVAL and LANDFALL_MQTT_PASSWORD",
    ];
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = secrets();
    let message = |name: &str| {
        let path = dir.path().join(name);
        let error = load(&path, &Overrides::default(), []).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    };
    std::fs::create_dir(dir.path().join("directory")).unwrap();
    std::fs::write(dir.path().join("binary"), b"probe: p\n\x7fELF\xff\xfe").unwrap();
    std::fs::write(dir.path().join("huge"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(message("none.yaml"), "none.yaml: no such file");
    assert_eq!(message("directory"), "directory: is a directory, not a file");
    assert_eq!(message("binary"), "binary:2: is not UTF-8 text");
    assert_eq!(message("huge"), "huge: is larger than 1024 KiB");
    std::fs::write(dir.path().join("good"), LEAST).unwrap();
    assert!(load(&dir.path().join("good"), &Overrides::default(), []).is_ok());
}

#[test]
fn secrets_that_cannot_be_read_are_named() {
    let dir = secrets();
    for (name, what) in [
        ("none", "\"none\": no such file"),
        ("empty", "\"empty\": is empty"),
        ("blank", "\"blank\": is empty"),
        ("latin1", "\"latin1\": is not UTF-8 text"),
        ("large", "\"large\": is larger than 64 KiB"),
        ("../..", "\"../..\": is a directory, not a file"),
    ] {
        let text = one(&format!("username: u\npassword_file: {name}"), "", "");
        let problems = read_in(dir.path(), &text, &Overrides::default(), &[]).unwrap_err();
        assert_eq!(problems, format!("landfall.yaml:7: paths[0].mqtt.password_file: {what}"));
        let kafka = format!("{KAFKA}  properties:\n    sasl.password_file: {name}\n");
        let problems = read_in(dir.path(), &one("", &kafka, ""), &Overrides::default(), &[]);
        let path = "paths[0].kafka.properties.sasl.password_file";
        assert_eq!(problems.unwrap_err(), format!("landfall.yaml:10: {path}: {what}"));
    }
    for name in ["none", "empty", "large"] {
        let text = one("", "", &format!("key_file: {name}"));
        let problems = read_in(dir.path(), &text, &Overrides::default(), &[]).unwrap_err();
        assert!(problems.starts_with(&format!("landfall.yaml:6: key_file: \"{name}\": ")));
    }
}

#[path = "config/otlp.rs"]
mod otlp;
#[path = "config/pace.rs"]
mod pace;
#[path = "config/refused.rs"]
mod refused;
