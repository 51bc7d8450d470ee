//! MQTT over TLS against a real Mosquitto: measured as without, and whoever shows the wrong certificate is
//! refused by name.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/landfall.rs"]
mod landfall;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall::{Running, metric};
use systems::Mosquitto;

/// A broker with an encrypted listener, and certificates.
struct Scene {
    directory: tempfile::TempDir,
    port: u16,
    _broker: Mosquitto,
}

/// Makes a certificate that vouches for itself, and its key.
fn certificate(directory: &Path, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=landfall",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:broker.example"])
        .arg("-keyout")
        .arg(directory.join(format!("{name}.key")))
        .arg("-out")
        .arg(directory.join(format!("{name}.pem")))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Scene {
    fn new(further: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["broker", "client", "other"] {
            certificate(directory.path(), name);
        }
        // Where the broker is another user, it must be able to read them.
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(entry.unwrap().path(), readable).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let mut lines = vec![
            format!("listener {port} 127.0.0.1"),
            format!("cafile {}", file("client.pem")),
            format!("certfile {}", file("broker.pem")),
            format!("keyfile {}", file("broker.key")),
        ];
        lines.extend(further.iter().map(|&line| line.to_owned()));
        let broker = Mosquitto::start(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        Self { directory, port, _broker: broker }
    }

    fn configuration(&self, tls: &str) -> PathBuf {
        let text = format!(
            "paths:
  - name: encrypted
    lanes: [mqtt_mqtt]
    mqtt:
      url: mqtts://127.0.0.1:{}
      qos: [0, 1, 2]
      clients: 6
      rate: 300/s
      payload: {{ size: 20000, format: text }}
      tls: {{ {tls} }}
telemetry: {{ listen: '127.0.0.1:0' }}
window: 1s
",
            self.port
        );
        let path = self.directory.path().join("landfall.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What a check says, and its exit code.
    fn check(&self, tls: &str) -> (String, Option<i32>) {
        let path = self.configuration(tls);
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        let output = command.args(["check", "-c"]).arg(path).env_clear().output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    }
}

#[test]
fn everything_is_measured_as_without() {
    let scene = Scene::new(&[]);
    let path = scene.configuration("ca_file: broker.pem").display().to_string();
    let report = scene.directory.path().join("report");
    let arguments = ["run", "-c", &path, "--for", "4s", "--report", report.to_str().unwrap()];
    let running = Running::start(&arguments);
    running.wait_until_ready();
    let exposition = running.get("/metrics").body;
    let legs = ["tcp", "tls", "connack"].map(|leg| {
        metric(&exposition, "landfall_connect_seconds_count", &[&format!("leg=\"{leg}\"")])
    });
    let ended = running.end();
    assert_eq!((legs, ended.code), ([7.0; 3], Some(0)), "{}", ended.stderr);
    let report = std::fs::read(report.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    for lane in report["paths"][0]["lanes"].as_array().unwrap() {
        assert!(lane["slots"].as_u64().unwrap() > 300, "{lane}");
        assert_eq!(lane["slots"], lane["outcomes"]["delivered"], "{lane}");
        assert_eq!(lane["anomalies"]["corrupt"], 0, "{lane}");
    }
}

#[test]
fn a_load_is_read_as_fast_as_it_comes() {
    let scene = Scene::new(&[]);
    let path = scene.configuration("ca_file: broker.pem");
    let text = std::fs::read_to_string(&path).unwrap();
    // Each message is a record of its own, and there are twenty of them for each look at them.
    let text = text.replace("rate: 300/s", "rate: 6000/s").replace("size: 20000", "size: 200");
    let text = text.replace("clients: 6", "clients: 3").replace("qos: [0, 1, 2]", "qos: 1");
    std::fs::write(&path, text).unwrap();
    let report = scene.directory.path().join("report");
    let config = path.display().to_string();
    let arguments = ["run", "-c", &config, "--for", "4s", "--report", report.to_str().unwrap()];
    let ended = Running::start(&arguments).end();
    let report = std::fs::read(report.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let lane = &report["paths"][0]["lanes"][0];
    assert!(lane["slots"].as_u64().unwrap() > 20_000, "{lane}\n{}", ended.stderr);
    assert_eq!(lane["slots"], lane["outcomes"]["delivered"], "{lane}");
}

#[test]
fn a_wrong_certificate_or_name_is_refused_and_said() {
    let scene = Scene::new(&[]);
    let asked = "check the broker's certificate, mqtt.tls.ca_file and mqtt.tls.server_name";
    for tls in ["ca_file: other.pem", "", "ca_file: broker.pem, server_name: elsewhere.example"] {
        let (said, code) = scene.check(tls);
        assert_eq!(code, Some(3), "{tls}: {said}");
        assert!(said.replace('\n', " ").contains("certificate verify failed"), "{tls}: {said}");
        assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(asked), "{said}");
    }
    let (said, code) = scene.check("ca_file: broker.pem, server_name: broker.example");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_certificate_of_ours_is_shown_where_it_is_asked_for() {
    let scene = Scene::new(&["require_certificate true"]);
    let (said, code) = scene.check("ca_file: broker.pem");
    assert_eq!(code, Some(3), "{said}");
    let shown = "ca_file: broker.pem, cert_file: client.pem, key_file: client.key";
    let (said, code) = scene.check(shown);
    assert_eq!(code, Some(0), "{said}");
    let (said, code) =
        scene.check("ca_file: broker.pem, cert_file: other.pem, key_file: other.key");
    assert_eq!(code, Some(3), "{said}");
}

#[test]
fn files_that_do_not_do_are_refused_before_anything_is_sent() {
    let scene = Scene::new(&[]);
    for (tls, expected) in [
        ("ca_file: none.pem", "tls.ca_file: \"none.pem\": no such file"),
        ("ca_file: landfall.yaml", "tls: holds no certificate; give a PEM file"),
        ("cert_file: client.pem", "tls: needs both cert_file and key_file, or neither"),
        ("cert_file: client.pem, key_file: broker.pem", "tls: certificate and key can't be used"),
    ] {
        let path = scene.configuration(tls);
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        let output = command.args(["check", "-c"]).arg(path).env_clear().output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
