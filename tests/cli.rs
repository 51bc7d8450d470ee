//! The command line: what is refused and how, what `config` prints, how signals end a run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use landfall::embedded::kafka::{Topic, Verdict};
use tempfile::TempDir;

#[path = "support/embedded.rs"]
mod embedded;
#[path = "support/landfall.rs"]
mod running;

use embedded::Systems;
use running::{Ended, Running};

/// A secret that must not come out anywhere.
const CANARY: &str = "canary-7f3a";

/// A directory with a configuration, and listeners in the place of broker and Kafka that nobody is
/// to connect to.
struct Scene {
    directory: TempDir,
    mqtt: TcpListener,
    kafka: TcpListener,
}

impl Scene {
    fn new() -> Self {
        let bind = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        Self { directory: tempfile::tempdir().unwrap(), mqtt: bind(), kafka: bind() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A good configuration.
    fn good(&self) -> String {
        format!(
            "probe: p\npaths:\n  - name: a\n    mqtt:\n      url: mqtt://{}\n      qos: 1\n    \
             kafka: {{ brokers: \"{}\", topics: [t] }}\ntelemetry: {{ listen: 127.0.0.1:0 }}\n",
            self.mqtt.local_addr().unwrap(),
            self.kafka.local_addr().unwrap()
        )
    }

    /// Writes a configuration and runs with it, and with these further arguments.
    fn run(&self, text: &str, arguments: &[&str]) -> String {
        fs::write(self.path("landfall.yaml"), text).unwrap();
        self.refused(&[&["run", "-c", "landfall.yaml", "--for", "1s"], arguments].concat())
    }

    /// Expects a refusal: the one line that is said.
    fn refused(&self, arguments: &[&str]) -> String {
        let said = self.refused_in_words(arguments);
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        said
    }

    /// Expects a refusal with exit code 2, nothing on standard output, and nothing sent.
    fn refused_in_words(&self, arguments: &[&str]) -> String {
        let output = landfall(self.directory.path()).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for listener in [&self.mqtt, &self.kafka] {
            let knock = listener.accept().map_err(|error| error.kind());
            assert_eq!(knock.err(), Some(io::ErrorKind::WouldBlock), "{arguments:?}: connected");
        }
        said
    }
}

/// The binary in a directory, in an environment of nobody's, ended when it does not end.
fn landfall(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.current_dir(directory).env_clear().timeout(Duration::from_mins(1));
    command
}

#[test]
fn a_kafka_property_that_librdkafka_does_not_know_is_refused() {
    let scene = Scene::new();
    let good = scene.good();
    let good = good.replace("topics: [t]", "topics: [t], properties: { no.such.property: 1 }");
    let said = scene.run(&good, &[]);
    let expected = "landfall.yaml:7: paths[0].kafka.properties: no.such.property: ";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn bad_values_are_named_with_file_and_line() {
    let scene = Scene::new();
    fs::create_dir(scene.path("directory")).unwrap();
    for (line, expected) in [
        ("tpoic: t", "mqtt.tpoic: unknown key; did you mean \"topic\"?"),
        ("tls: { ca_file: ca.pem }", "mqtt.tls: is for connections that are encrypted"),
        ("clients: many", "mqtt.clients: "),
        ("topic: [t]", "mqtt.topic: "),
        ("qos: 3", "mqtt.qos: 3 is not a QoS (0, 1 or 2)"),
        ("url: http://broker", "mqtt.url: "),
        ("url: wss://broker", "mqtt.url: wss:// is known but not built yet"),
        ("topic: landfall/#", "mqtt.topic: "),
        ("topic: landfall/+/{client}", "mqtt.topic: "),
        ("rate: 0/s", "mqtt.rate: "),
        ("rate: fastest", "mqtt.rate: \"fastest\" is not a rate"),
        ("password_file: none", "mqtt.password_file: "),
        ("password_file: directory", "mqtt.password_file: \"directory\": is a directory"),
    ] {
        let key = line.split(':').next().unwrap();
        let good = scene.good();
        let mut lines: Vec<&str> = good
            .lines()
            .filter(|kept| !kept.trim_start().starts_with(&format!("{key}:")))
            .collect();
        let line = format!("      {line}");
        lines.insert(4, "      username: u");
        lines.insert(5, &line);
        let said = scene.run(&lines.join("\n"), &[]);
        let expected = format!("landfall.yaml:6: paths[0].{expected}");
        assert!(said.starts_with(&expected), "{line}: {said}");
    }
}

#[test]
fn what_cannot_be_had_is_named() {
    let scene = Scene::new();
    let good = scene.good();
    assert_eq!(scene.refused(&["run", "-c", "none.yaml"]), "none.yaml: no such file\n");
    assert_eq!(scene.refused(&["run"]), "landfall.yaml: no such file\n");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = scene.run(&good.replace("127.0.0.1:0", &address), &[]);
    assert!(said.starts_with("landfall.yaml:8: telemetry.listen: "), "{said}");
    assert!(said.contains(&address), "{said}");
    let said = scene.run(&good, &["--listen", &address]);
    assert!(said.starts_with("--listen: ") && said.contains(&address), "{said}");

    fs::write(scene.path("file"), "").unwrap();
    let said = scene.run(&good, &["--report", "file/reports"]);
    assert!(said.starts_with("--report file/reports: "), "{said}");
    let said = scene.run(&good, &["--report", "/proc/reports"]);
    assert!(said.starts_with("--report /proc/reports: "), "{said}");
    let said = scene.run(&good, &["--slots", "."]);
    assert!(said.starts_with("--slots .: "), "{said}");
    let said = scene.run(&good, &["--slots", "none/slots.tsv"]);
    assert!(said.starts_with("--slots none/slots.tsv: "), "{said}");
    let said = scene.run(&good, &["--log", "a=b=c"]);
    assert!(said.starts_with("--log: a=b=c: "), "{said}");
}

#[test]
fn words_that_are_not_known_are_named() {
    let scene = Scene::new();
    fs::write(scene.path("landfall.yaml"), scene.good()).unwrap();
    for (arguments, expected) in [
        (&["run", "--colour"][..], "--colour"),
        (&["sail"], "sail"),
        (&["run", "--for", "soon"], "soon"),
        (&["run", "--for", "-1s"], "-1"),
        (&["demo", "--for", "10"], "10"),
        (&["config", "colours"], "colours"),
        (&["health", "--address", "nowhere"], "nowhere"),
        (&[], "Usage"),
    ] {
        let said = scene.refused_in_words(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    for command in ["study", "asyncapi"] {
        let expected = format!("landfall {command}: is known but not built yet\n");
        assert_eq!(scene.refused(&[command]), expected);
        assert_eq!(scene.refused(&["--log-format", "json", command, "-c", "x.yaml"]), expected);
    }
    let said = scene.refused_in_words(&["demo", "--rate", "0/s"]);
    assert!(said.contains("'--rate <RATE>': \"0/s\" is out of range"), "{said}");
    let variable = landfall(scene.directory.path())
        .args(["config", "show"])
        .env("LANDFALL_WINDWO", "1s")
        .output()
        .unwrap();
    assert_eq!(variable.status.code(), Some(2));
    let said = String::from_utf8(variable.stderr).unwrap();
    assert!(said.contains("LANDFALL_WINDWO") && said.contains("LANDFALL_WINDOW"), "{said}");
}

#[test]
fn config_show_tells_origins_hides_secrets_and_reads_as_the_same() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("secret"), CANARY).unwrap();
    let text = format!(
        "probe: p\npaths:\n  - name: a\n    mqtt: {{ url: 'mqtt://b', username: u, password_file: \
         secret }}\n    kafka:\n      brokers: k:9092\n      topics: [t]\n      properties: {{ \
         sasl.password: {CANARY}, ssl.key.password_file: secret }}\nkey_file: secret\n"
    );
    let show = |name: &str| {
        let mut command = landfall(directory.path());
        let command = command
            .args(["config", "show", "-c", name, "--window", "3s", "--log", "trace"])
            .env("LANDFALL_DRAIN", "4s")
            .env("LANDFALL_MQTT_PASSWORD", CANARY);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let all = [output.stdout.clone(), output.stderr].concat();
        assert!(!String::from_utf8(all).unwrap().contains(CANARY), "the secret came out");
        String::from_utf8(output.stdout).unwrap()
    };
    fs::write(directory.path().join("a.yaml"), text).unwrap();
    let shown = show("a.yaml");
    for line in [
        "probe: p # a.yaml:1\n",
        "window: 3s # --window\n",
        "drain: 4s # LANDFALL_DRAIN\n",
        "  interval: 5s # default\n",
        "      brokers: k:9092 # a.yaml:6\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    fs::write(directory.path().join("b.yaml"), &shown).unwrap();
    let values = |shown: &str| -> Vec<String> {
        shown.lines().map(|line| line.split(" # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&show("b.yaml")), values(&shown));
}

#[test]
fn config_prints_schema_and_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let print = |what: &str| {
        let output = landfall(directory.path()).args(["config", what]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        String::from_utf8(output.stdout).unwrap()
    };
    let schema: serde_json::Value = serde_json::from_str(&print("schema")).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let full = serde_saphyr::from_str(include_str!("config/full.yaml")).unwrap();
    let errors: Vec<String> = validator.iter_errors(&full).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let bad = serde_json::json!({"paths": [{"name": "a", "mqtt": {"url": "mqtt://b", "qos": 3}}]});
    assert!(!validator.is_valid(&bad));
    let metrics = print("metrics");
    for name in
        ["landfall_slots_total", "landfall_end_to_end_latency_seconds", "landfall_build_info"]
    {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
}

#[test]
fn health_says_whether_a_probe_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let health = |address: &str| {
        let mut command = landfall(directory.path());
        let output = command.args(["health", "--address", address]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), stderr)
    };
    // A port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, stdout, stderr) = health(&nobody);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&nobody) && stderr.lines().count() == 1, "{stderr}");

    let demo = Running::start(&["demo", "--listen", "127.0.0.1:0"]);
    demo.wait_until_ready();
    let (code, stdout, stderr) = health(&demo.http.to_string());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(!stdout.trim().is_empty());
    // A run without an outcome proves nothing, and its verdict says so.
    demo.wait_until("/metrics", "delivering", |answer| {
        let delivered = ["lane=\"mqtt_kafka\"", "outcome=\"delivered\""];
        running::metric(&answer.body, "landfall_slots_total", &delivered) > 0.0
    });
    demo.signal("TERM");
    let Ended { code, stdout, stderr } = demo.end();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("passed"), "the verdict is said: {stdout}");
}

/// A configuration against embedded systems, written into a directory.
fn against(systems: &Systems, directory: &Path) -> String {
    let text = format!(
        "probe: p\npaths:\n  - name: a\n    mqtt: {{ url: 'mqtt://{}', qos: 1, rate: 50/s }}\n    \
         kafka: {{ brokers: '{}', topics: [mqtt-messages] }}\ntelemetry: {{ listen: '127.0.0.1:0' \
         }}\ndrain: 1m\n",
        systems.mqtt, systems.kafka
    );
    let path = directory.join("landfall.yaml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let systems = Systems::start(vec![Topic::new("mqtt-messages", 1)]);
    // Nothing comes out, so that the drain has something to wait for.
    systems.hooks.judge_batches(|_| Verdict::hold(Duration::from_hours(1)));
    let config = against(&systems, directory.path());
    let run = Running::start(&["run", "-c", &config]);
    run.wait_until_ready();
    run.wait_until("/metrics", "in flight", |answer| {
        running::metric(&answer.body, "landfall_in_flight_messages", &[]) > 0.0
    });
    run.signal("INT");
    run.wait_until("/readyz", "draining", |answer| answer.status != 200);
    run.signal("INT");
    let Ended { code, stdout, stderr } = run.end();
    assert_eq!(code, Some(130), "{stdout}{stderr}");
}

#[test]
fn a_signal_ends_a_run_that_never_connected() {
    let directory = tempfile::tempdir().unwrap();
    let systems = Systems::start(vec![Topic::new("mqtt-messages", 1)]);
    let config = against(&systems, directory.path());
    // Ports that were free a moment ago.
    let nobody = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(&systems.mqtt.to_string(), &nobody());
    fs::write(&config, text.replace(&systems.kafka.to_string(), &nobody())).unwrap();
    let run = Running::start(&["run", "-c", &config]);
    assert_eq!(run.get("/livez").status, 200);
    assert_eq!(run.get("/readyz").status, 503);
    run.signal("TERM");
    let Ended { code, stdout, stderr } = run.end();
    assert!(matches!(code, Some(0 | 1)), "by the verdict: {code:?} {stdout}{stderr}");
}
