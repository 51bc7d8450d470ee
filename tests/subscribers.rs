//! Many subscribers, clients that only stand by, and retained messages, on a real Mosquitto.

#![expect(clippy::unwrap_used, clippy::panic, reason = "functions of tests are tests")]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use landfall::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crossing::Run;
use systems::Mosquitto;

/// A broker that says who comes and goes.
struct Observed {
    mosquitto: Mosquitto,
    log: PathBuf,
    _directory: TempDir,
}

impl Observed {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("log");
        let log_line = format!("log_dest file {}", log.display());
        let mosquitto = Mosquitto::start(&[&log_line, "sys_interval 1"]);
        Self { mosquitto, log, _directory: directory }
    }

    /// The client ids that end like this, each as often as it came.
    fn came(&self, end: &str) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let connected = log.lines().filter(|line| line.contains("New client connected"));
        let ids = connected.filter_map(|line| line.split(" as ").nth(1)?.split(' ').next());
        ids.filter(|id| id.ends_with(end)).map(str::to_owned).collect()
    }

    /// Takes the connection of the client whose id ends like this away from it.
    fn take_over(&self, end: &str) {
        let id = self.came(end).pop().unwrap();
        // It is handed what was meant for that client in the meantime.
        self.listen(&["-i", &id, "-c", "-V", "5", "-t", "elsewhere", "-E"]);
    }

    /// What `mosquitto_sub` prints.
    fn listen(&self, arguments: &[&str]) -> Vec<String> {
        let port = self.mosquitto.port();
        let mut command = Command::new("mosquitto_sub");
        let output = command.args(["-h", "127.0.0.1", "-p", port]).args(arguments).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// How many topics have a retained message.
    fn retained(&self) -> usize {
        self.listen(&["-t", "landfall/#", "--retained-only", "-W", "1", "-F", "%t"]).len()
    }

    /// How many sessions there are whose clients are gone.
    fn sessions(&self) -> i64 {
        let clock = Clock::system();
        let gone = ["-t", "$SYS/broker/clients/disconnected", "-C", "1", "-W", "10"];
        // The broker counts once a second, all clients and the connected ones one after the other: while
        // some leave the difference is anything, and less than nothing, too.
        let mut counts = (0..5).map(|_| {
            clock.sleep_until(clock.now() + Duration::from_secs(3));
            self.listen(&gone)[0].parse().unwrap()
        });
        let mut last = -1;
        counts.find(|count| {
            last = *count;
            *count == 0
        });
        last
    }

    /// A run of a path that times `mqtt_mqtt` alone.
    fn run(&self, mqtt: &str, seconds: &str) -> Run {
        let config = format!(
            "probe: crowd
paths:
  - name: crowd
    mqtt: {{ url: 'mqtt://{}', topic: 'landfall/crowd/{{client}}', {mqtt} }}
    lanes: [mqtt_mqtt]
    deadline: 3s
telemetry: {{ listen: '127.0.0.1:0', linger: 60s }}
",
            self.mosquitto.address
        );
        Run::start(&config, &["--for", seconds])
    }
}

/// The count at a place of the only path of a report.
fn number(report: &Value, at: &str) -> u64 {
    let found = report.pointer(&format!("/paths/0/{at}"));
    found.and_then(Value::as_u64).unwrap_or_else(|| panic!("no {at} in {report}"))
}

fn end(mut run: Run) {
    run.terminate();
    run.ended();
}

/// Every slot came out once, in order.
fn all_delivered(report: &Value) {
    let published = number(report, "published");
    assert!(published > 100, "{report}");
    assert_eq!(number(report, "lanes/0/slots"), published, "{report}");
    assert_eq!(number(report, "lanes/0/outcomes/delivered"), published, "{report}");
    let anomalies = report.pointer("/paths/0/lanes/0/anomalies").unwrap();
    let anomalies = anomalies.as_object().unwrap().values();
    assert!(anomalies.map(|it| it.as_u64().unwrap()).all(|it| it == 0), "{report}");
}

#[test]
fn fan_out_counts_what_every_subscriber_was_handed() {
    let broker = Observed::start();
    let run = broker.run("clients: 3, rate: 90/s, subscribers: { count: 20 }", "4s");
    let report = run.await_report();
    all_delivered(&report);
    let expected = number(&report, "published") * 20;
    assert_eq!(number(&report, "deliveries/0/subscribers"), 20);
    assert_eq!(number(&report, "deliveries/0/expected"), expected);
    assert_eq!(number(&report, "deliveries/0/received"), expected, "{report}");
    assert_eq!(number(&report, "deliveries/0/latency_seconds/count"), expected);
    let counted = |metric: &str| run.metric(&format!("{metric}{{path=\"crowd\",qos=\"1\"}}"));
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let expected = expected as f64;
    assert!((counted("landfall_deliveries_total") - expected).abs() < 0.5, "{}", run.said());
    assert!((counted("landfall_delivery_latency_seconds_count") - expected).abs() < 0.5);
    end(run);
    assert_eq!(broker.sessions(), 0);
}

#[test]
fn fan_in_hands_each_message_to_one_of_those_that_share() {
    let broker = Observed::start();
    for version in ["5", "3.1.1"] {
        let mqtt = format!(
            "version: {version}, qos: [0, 1, 2], clients: 20, rate: 150/s, \
             subscribers: {{ count: 4, receive: share }}"
        );
        let run = broker.run(&mqtt, "3s");
        let report = run.await_report();
        for (lane, qos) in [0, 1, 2].into_iter().enumerate() {
            let at = |of: &str| number(&report, &format!("lanes/{lane}/{of}"));
            assert_eq!(at("qos"), qos);
            assert!(at("slots") > 50, "{report}");
            assert_eq!(at("outcomes/delivered"), at("slots"), "{report}");
            assert_eq!(at("anomalies/duplicate") + at("anomalies/reordered"), 0, "{report}");
            let delivered = |of: &str| number(&report, &format!("deliveries/{lane}/{of}"));
            assert_eq!(delivered("expected"), at("slots"));
            assert_eq!(delivered("received"), at("slots"), "{report}");
        }
        end(run);
    }
    let numbers = ["-s", "-s1", "-s2", "-s3"].map(|end| broker.came(end).len());
    assert!(numbers.iter().all(|&came| came >= 2), "{numbers:?}");
    assert_eq!(broker.sessions(), 0);
}

#[test]
fn each_has_the_topics_of_its_own_clients() {
    let broker = Observed::start();
    let own = "clients: 10, rate: 150/s, subscribers: { count: 10, receive: own }";
    let run = broker.run(own, "3s");
    let report = run.await_report();
    all_delivered(&report);
    assert_eq!(number(&report, "deliveries/0/received"), number(&report, "published"));
    end(run);
}

#[test]
fn what_a_subscriber_misses_that_is_away_is_not_lost() {
    let broker = Observed::start();
    let own = "qos: 0, clients: 4, rate: 2000/s, subscribers: { count: 4, receive: own }";
    let run = broker.run(own, "5s");
    run.await_metric("landfall_deliveries_total", 500.0);
    broker.take_over("-s2");
    let report = run.await_report();
    let outcomes = |name: &str| number(&report, &format!("lanes/0/outcomes/{name}"));
    let lost = outcomes("acked_lost") + outcomes("unacked_lost");
    assert_eq!((lost, outcomes("late")), (0, 0), "{report}");
    assert!(outcomes("unresolved") > 0, "{report}");
    let accounted = outcomes("delivered") + outcomes("unresolved") + outcomes("not_sent");
    assert_eq!(accounted, number(&report, "lanes/0/slots"));
    end(run);
}

#[test]
fn clients_that_stand_by_are_counted_apart() {
    let broker = Observed::start();
    let background = "rate: 100/s, background: { idle: 30, slow_subscribers: 5, persistent: 4, \
                      storm: 10, every: 2s, read: 1KiB }";
    for version in ["5", "3.1.1"] {
        let run = broker.run(&format!("version: {version}, {background}"), "9s");
        let of = |metric: &str, kind: &str| {
            format!("landfall_background_{metric}{{path=\"crowd\",kind=\"{kind}\"}}")
        };
        run.await_metric(&of("clients", "idle"), 30.0);
        run.await_metric(&of("clients", "storm"), 10.0);
        run.await_that(&of("clients", "persistent"), |up| up == 0.0);
        run.await_metric(&of("clients", "persistent"), 4.0);
        let report = run.await_report();
        all_delivered(&report);
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let published = number(&report, "published") as f64;
        let handed = |kind: &str| run.metric(&of("messages_total", kind)) / published;
        // They were there for half of the time, and were kept what came in the other half; that of the
        // last second may not have been fetched.
        assert!((2.8..=4.0).contains(&handed("persistent")), "{}", handed("persistent"));
        // Each takes some 330 bytes.
        assert!(handed("slow_subscribers") > 0.0, "they read something");
        assert!(handed("slow_subscribers") < 2.5, "{} of 5", handed("slow_subscribers"));
        assert!(handed("idle") + handed("storm") == 0.0);
        end(run);
        assert_eq!(broker.sessions(), 0, "of MQTT {version}");
    }
    let storms = (0..10).map(|number| broker.came(&format!("-storm-{number}")).len());
    assert!(storms.clone().all(|came| came >= 6), "{:?}", storms.collect::<Vec<_>>());
}

#[test]
fn what_was_retained_is_a_reread_and_forgotten_at_the_end() {
    let broker = Observed::start();
    for version in ["5", "3.1.1"] {
        let mqtt = format!("version: {version}, clients: 3, rate: 60/s, retain: true");
        let run = broker.run(&mqtt, "6s");
        run.await_metric("landfall_slots_total", 60.0);
        assert_eq!(broker.retained(), 3);
        broker.take_over("-s");
        let report = run.await_report();
        let lane = |of: &str| number(&report, &format!("lanes/0/{of}"));
        assert_eq!(lane("outcomes/acked_lost") + lane("anomalies/duplicate"), 0, "{report}");
        assert_eq!(lane("anomalies/reread"), 3, "{report}");
        end(run);
        assert_eq!(broker.retained(), 0, "of MQTT {version}");
    }
}
