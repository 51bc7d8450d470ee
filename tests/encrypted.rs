//! MQTT over TLS against a real Mosquitto: measured as without, and whoever shows the wrong certificate is
//! refused by name.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/scene.rs"]
mod scene;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::correlate::Qos;
use landfall::shutdown::Tasks;
use landfall::wire::{
    Bell, Client, Endpoint, EventLoop, Failure, Handler, Happening, Mute, Sending, Session, Tls,
    Version,
};

use scene::Scene;
use scene::landfall::metric;
use scene::systems::Mosquitto;

/// A broker with an encrypted listener, and certificates.
struct Encrypted {
    scene: Scene,
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

/// A directory with certificates that whoever runs a broker can read.
fn certified() -> Scene {
    let scene = Scene::new();
    for name in ["broker", "client", "other"] {
        certificate(scene.directory(), name);
    }
    for entry in std::fs::read_dir(scene.directory()).unwrap() {
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(entry.unwrap().path(), readable).unwrap();
    }
    scene
}

impl Encrypted {
    fn new(further: &[&str]) -> Self {
        let scene = certified();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut lines = vec![
            format!("listener {port} 127.0.0.1"),
            format!("cafile {}", scene.path("client.pem")),
            format!("certfile {}", scene.path("broker.pem")),
            format!("keyfile {}", scene.path("broker.key")),
        ];
        lines.extend(further.iter().map(|&line| line.to_owned()));
        let broker = Mosquitto::start(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        Self { scene, port, _broker: broker }
    }

    /// A path of some hundred large messages a second, `other` than usual.
    fn configure(&self, tls: &str, other: &str) {
        let usual = if other.is_empty() {
            "qos: [0, 1, 2], clients: 6, rate: 300/s, payload: { size: 20000, format: text }"
        } else {
            other
        };
        self.scene.configure(&format!(
            "paths:
  - name: encrypted
    lanes: [mqtt_mqtt]
    mqtt:
      {{ url: 'mqtts://127.0.0.1:{}', tls: {{ {tls} }}, {usual} }}
telemetry: {{ listen: '127.0.0.1:0' }}
window: 1s
",
            self.port
        ));
    }

    /// What a check says, and its exit code.
    fn check(&self, tls: &str) -> (String, Option<i32>) {
        self.configure(tls, "");
        self.scene.check()
    }
}

#[test]
fn everything_is_measured_as_without() {
    let broker = Encrypted::new(&[]);
    broker.configure("ca_file: broker.pem", "");
    let running = broker.scene.start("4s");
    running.wait_until_ready();
    let exposition = running.get("/metrics").body;
    let legs = ["tcp", "tls", "connack"].map(|leg| {
        metric(&exposition, "landfall_connect_seconds_count", &[&format!("leg=\"{leg}\"")])
    });
    let ended = running.end();
    assert_eq!((legs, ended.code), ([7.0; 3], Some(0)), "{}", ended.stderr);
    let path = broker.scene.report();
    for lane in path["lanes"].as_array().unwrap() {
        assert!(lane["slots"].as_u64().unwrap() > 300, "{lane}");
        assert_eq!(lane["slots"], lane["outcomes"]["delivered"], "{lane}");
        assert_eq!(lane["anomalies"]["corrupt"], 0, "{lane}");
    }
}

#[test]
fn a_load_is_read_as_fast_as_it_comes() {
    let broker = Encrypted::new(&[]);
    // Each message is a record of its own, and there are twenty of them for each look at them.
    let load = "qos: 1, clients: 3, rate: 6000/s, payload: { size: 200, format: text }";
    broker.configure("ca_file: broker.pem", load);
    let ended = broker.scene.start("4s").end();
    let lane = &broker.scene.report()["lanes"][0];
    assert!(lane["slots"].as_u64().unwrap() > 20_000, "{lane}\n{}", ended.stderr);
    assert_eq!(lane["slots"], lane["outcomes"]["delivered"], "{lane}");
}

#[test]
fn who_reads_slowly_reads_as_much_as_it_is_to() {
    const READERS: u32 = 3;
    let broker = Encrypted::new(&[]);
    // Small messages are records of their own, large ones have several. A packet has 84 bytes around its
    // payload: header, topic, and the property that carries the stamp.
    for (size, messages_a_second, read) in [(200, 600, 20_480), (20_000, 60, 409_600)] {
        broker.configure(
            "ca_file: broker.pem",
            &format!(
                "qos: 0, topic: slow/t, rate: {messages_a_second}/s, payload: {{ size: {size}, format: text }},
        background: {{ slow_subscribers: {READERS}, read: {read} }}"
            ),
        );
        let running = broker.scene.start("60s");
        let handed = || {
            let exposition = running.get("/metrics").body;
            metric(&exposition, "landfall_background_messages_total", &["slow_subscribers"])
        };
        // Whoever reads as slowly as that is behind by then, and stays so.
        let several = f64::from(READERS * read) * 2.0 / f64::from(size + 84);
        running.wait_until("/metrics", "behind", |answer| {
            let slow = ["slow_subscribers"];
            metric(&answer.body, "landfall_background_messages_total", &slow) > several
        });
        let clock = Clock::system();
        let (begun, before) = (clock.now(), handed());
        clock.sleep_until(begun + Duration::from_secs(5));
        let (ended, after) = (clock.now(), handed());
        running.signal("TERM");
        running.end();
        let bytes = (after - before) * f64::from(size + 84) / f64::from(READERS);
        let rate = bytes / ended.saturating_since(begun).as_secs_f64();
        println!("{rate:.0} bytes a second of {read}, {size} each");
        let share = rate / f64::from(read);
        assert!((0.7..1.1).contains(&share), "{rate} bytes a second of {read}, {size} each");
    }
}

/// Says what comes, once all of it is there.
struct Late {
    clock: Clock,
    tell: mpsc::Sender<usize>,
}

impl Handler for Late {
    type Source = Mute;

    fn happened(&mut self, _: (usize, &mut Client<Mute>), happening: Happening, _: Instant) {
        match happening {
            Happening::Connected => {
                self.clock.sleep_until(self.clock.now() + Duration::from_millis(500));
            }
            Happening::Message(message) => self.tell.send(message.payload.len()).unwrap(),
            _ => (),
        }
    }

    fn broke(&mut self, _: usize, _: &Failure) {}
}

/// A PUBLISH at QoS 0 of so many bytes in all, some 10,000 to 2 million.
fn publish(bytes: usize) -> Vec<u8> {
    let left = bytes - 4;
    let length = [(left & 0x7f) | 0x80, ((left >> 7) & 0x7f) | 0x80, left >> 14];
    let head: Vec<u8> = length.iter().map(|&byte| u8::try_from(byte).unwrap()).collect();
    let mut packet = [&[0x30][..], &head, &[0, 1, b't', 0]].concat();
    packet.resize(bytes, b'x');
    packet
}

#[test]
fn nothing_of_a_record_is_left_unread() {
    // The client looks at 64 KiB at a time: it has come to within the last record then, and the socket has
    // nothing more to tell.
    const RECORDS: [usize; 5] = [1_000, 16_384, 16_384, 16_384, 16_384];
    let (scene, clock) = (certified(), Clock::system());
    let pem = |name: &str| std::fs::read(scene.path(name)).unwrap();
    let identity = native_tls::Identity::from_pkcs8(&pem("broker.pem"), &pem("broker.key"));
    let acceptor = native_tls::TlsAcceptor::new(identity.unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        version: Version::V5,
        credentials: None,
        tls: Some(Tls::new(Some(&pem("broker.pem")), None, None).unwrap()),
    };
    let session = Session {
        client_id: "late".into(),
        keep_alive: Duration::from_mins(10),
        inflight: 1,
        queue: 1,
        patience: Duration::from_mins(1),
        connect_after: Duration::ZERO,
        packet_bytes_max: 1 << 20,
    };
    let sending = Sending { topic: "t".into(), qos: Qos::AtMostOnce, source: Mute };
    let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
    let (tell, told) = mpsc::channel();
    let client = Client::new(endpoint, session, sending);
    let event_loop = EventLoop::new(clock, Late { clock, tell }, [client], bell.clone()).unwrap();
    let heard = thread::scope(|scope| {
        scope.spawn(|| event_loop.run(&stop).unwrap());
        scope.spawn(|| {
            let mut stream = acceptor.accept(listener.accept().unwrap().0).unwrap();
            stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
            let packet = publish(RECORDS.iter().sum());
            let mut rest = packet.as_slice();
            for length in RECORDS {
                let (record, behind) = rest.split_at(length);
                stream.write_all(record).unwrap();
                rest = behind;
            }
            // Until the client goes.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let heard = told.recv_timeout(Duration::from_secs(10));
        stop.stop();
        bell.ring();
        heard
    });
    assert!(heard.is_ok(), "the end of the message was left in its record");
}

#[test]
fn a_wrong_certificate_or_name_is_refused_and_said() {
    let broker = Encrypted::new(&[]);
    let asked = "check the broker's certificate, mqtt.tls.ca_file and mqtt.tls.server_name";
    for tls in ["ca_file: other.pem", "", "ca_file: broker.pem, server_name: elsewhere.example"] {
        let (said, code) = broker.check(tls);
        assert_eq!(code, Some(3), "{tls}: {said}");
        assert!(said.replace('\n', " ").contains("certificate verify failed"), "{tls}: {said}");
        assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(asked), "{said}");
    }
    let (said, code) = broker.check("ca_file: broker.pem, server_name: broker.example");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_certificate_of_ours_is_shown_where_it_is_asked_for() {
    let broker = Encrypted::new(&["require_certificate true"]);
    let (said, code) = broker.check("ca_file: broker.pem");
    assert_eq!(code, Some(3), "{said}");
    let shown = "ca_file: broker.pem, cert_file: client.pem, key_file: client.key";
    let (said, code) = broker.check(shown);
    assert_eq!(code, Some(0), "{said}");
    let (said, code) =
        broker.check("ca_file: broker.pem, cert_file: other.pem, key_file: other.key");
    assert_eq!(code, Some(3), "{said}");
}

#[test]
fn files_that_do_not_do_are_refused_before_anything_is_sent() {
    let broker = Encrypted::new(&[]);
    for (tls, expected) in [
        ("ca_file: none.pem", "tls.ca_file: \"none.pem\": no such file"),
        ("ca_file: landfall.yaml", "tls: holds no certificate; give a PEM file"),
        ("cert_file: client.pem", "tls: needs both cert_file and key_file, or neither"),
        ("cert_file: client.pem, key_file: broker.pem", "tls: certificate and key can't be used"),
    ] {
        let (said, code) = broker.check(tls);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
