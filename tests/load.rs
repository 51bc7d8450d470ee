//! The load engine against a real Mosquitto: ten thousand clients, a stall, more than the broker takes,
//! a closed loop, a profile, and a machine that is short of ports.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/scene.rs"]
mod scene;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use landfall::clock::Clock;
use serde_json::Value;

use scene::landfall::{Running, metric};
use scene::systems::Mosquitto;
use scene::{Scene, number};

/// Neither the messages under way nor those that wait are bounded by the broker.
const UNBOUNDED: [&str; 2] = ["max_inflight_messages 0", "max_queued_messages 0"];

/// A run of one path against a broker.
fn scene(address: &str, mqtt: &str, path: &str) -> Scene {
    let scene = Scene::new();
    scene.configure(&format!(
        "probe: load
paths:
  - name: load
    {path}
    mqtt: {{ url: 'mqtt://{address}', topic: 'load/{{client}}', {mqtt} }}
telemetry: {{ listen: '127.0.0.1:0' }}
window: 1s
drain: 5s
"
    ));
    scene
}

/// Slots that were not sent, whatever the reason.
fn not_sent(path: &Value) -> u64 {
    path["not_sent"].as_object().unwrap().values().map(number).sum()
}

/// What the system says of the memory of a process, in KiB: `VmRSS` now, `VmHWM` at most.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn ten_thousand_clients_are_connected_and_take_little_memory() {
    let broker = Mosquitto::start(&UNBOUNDED);
    let resident = |clients: u32| {
        let mqtt = format!("qos: 1, clients: {clients}, rate: 200/s, payload: {{format: text}}");
        let scene = scene(&broker.address, &mqtt, "lanes: []");
        let running = scene.start("4s");
        running.wait_until_ready();
        running.wait_until("/metrics", "all sent", |answer| {
            metric(&answer.body, "landfall_published_messages_total", &[]) > 400.0
        });
        let exposition = running.get("/metrics").body;
        let connected = metric(&exposition, "landfall_connect_seconds_count", &["connack"]);
        let resident = memory_kib(running.pid(), "VmRSS");
        let ended = running.end();
        assert_eq!((connected, ended.code), (f64::from(clients), Some(0)), "{}", ended.stderr);
        let path = scene.report();
        assert_eq!(path["offered"], path["acknowledged"], "{path}");
        assert_eq!(not_sent(&path), 0, "{path}");
        resident
    };
    let (one, many) = (resident(1), resident(10_000));
    let bytes = many.saturating_sub(one) * 1_024 / 9_999;
    println!("{bytes} bytes of resident memory for each of 10,000 clients");
    assert!(bytes <= 5 * 1_024, "{bytes} bytes a client: {many} KiB, {one} with one");
}

#[test]
fn a_stall_of_two_seconds_makes_two_thousand_messages_late() {
    let broker = Mosquitto::start(&[]);
    let mqtt = "qos: 1, clients: 10, rate: 1000/s, schedule: fixed, payload: {format: text}";
    let scene = scene(&broker.address, mqtt, "lanes: [mqtt_mqtt]");
    let running = scene.start("6s");
    let clock = Clock::system();
    running.wait_until("/metrics", "under way", |answer| {
        metric(&answer.body, "landfall_published_messages_total", &[]) > 1_000.0
    });
    signal(broker.pid, "STOP");
    clock.sleep_until(clock.now() + Duration::from_secs(2));
    signal(broker.pid, "CONT");
    let ended = running.end();
    let path = scene.report();
    assert_eq!(path["offered"], 6_000, "{path}\n{}", ended.stderr);
    assert_eq!((not_sent(&path), &path["published"]), (0, &path["offered"]));
    let late = scene.slots().iter().filter(|(_, latency)| *latency > 50_000_000).count();
    println!("{late} messages of a stall of 2 s at 1,000/s were more than 50 ms late");
    assert!((1_850..3_500).contains(&late), "{late} late");
    // The broker takes twenty at a time: the others waited for it, not for us.
    let held = number(&path["lanes"][0]["outcomes"]["delivered"]);
    assert_eq!(held, 6_000);
}

#[test]
fn what_the_broker_does_not_take_is_counted_and_does_not_pile_up() {
    let broker = Mosquitto::start(&UNBOUNDED);
    let mqtt = "qos: 1, clients: 50, rate: 1500000/s, schedule: fixed, payload: {format: text}";
    let scene = scene(&broker.address, mqtt, "lanes: []\n    deadline: 1s");
    let running = scene.start("4s");
    running.wait_until("/metrics", "overloaded", |answer| {
        let skipped = ["cause=\"queue_full\""];
        metric(&answer.body, "landfall_skipped_slots_total", &skipped) > 500_000.0
    });
    let most = memory_kib(running.pid(), "VmHWM");
    let ended = running.end();
    let path = scene.report();
    let (offered, published) = (number(&path["offered"]), number(&path["published"]));
    println!("{offered} offered, {published} published, {most} KiB at most");
    assert_eq!(offered, 6_000_000 + offered % 2, "{path}");
    assert_eq!(offered, published + not_sent(&path), "{path}\n{}", ended.stderr);
    assert_eq!(path["overflow"], 0, "{path}");
    assert!(most < 700 * 1_024, "{most} KiB");
    let windows = path["windows"]["stretches"].as_array().unwrap();
    let marked = |window: &&Value| window["causes"].to_string().contains("system_overloaded");
    assert!(windows.iter().any(|window| marked(&window)), "{path}");
}

#[test]
fn what_waited_longer_than_its_deadline_is_still_counted_when_it_is_sent() {
    let broker = Mosquitto::start(&["max_inflight_messages 5"]);
    let mqtt = "qos: 1, clients: 4, rate: 400/s, payload: {format: text}";
    let scene = scene(&broker.address, mqtt, "lanes: []\n    deadline: 1s");
    let running = scene.start("8s");
    let clock = Clock::system();
    running.wait_until("/metrics", "under way", |answer| {
        metric(&answer.body, "landfall_published_messages_total", &[]) > 200.0
    });
    signal(broker.pid, "STOP");
    clock.sleep_until(clock.now() + Duration::from_secs(4));
    signal(broker.pid, "CONT");
    let ended = running.end();
    let path = scene.report();
    let (offered, published) = (number(&path["offered"]), number(&path["published"]));
    assert_eq!(offered, published + not_sent(&path), "{path}\n{}", ended.stderr);
    assert!(number(&path["not_sent"]["queue_full"]) > 500, "it stood still for long: {path}");
    // Twice the deadline after its sending nobody waits for an answer any more: of each client there were
    // five at the broker when it stopped.
    let unanswered = published - number(&path["acknowledged"]);
    assert!(unanswered <= 20, "{unanswered}: {path}");
    let late = number(&path["sent_late"]["backpressure"]);
    assert!(late > 200, "they waited for the broker: {path}");
}

#[test]
fn a_closed_loop_goes_on_behind_a_broker_that_lost_its_sessions() {
    let mut broker = Mosquitto::start(&UNBOUNDED);
    let mqtt = "qos: [1, 2], clients: 4, rate: max, inflight: 20, payload: {format: text}";
    let scene = scene(&broker.address, mqtt, "lanes: []\n    deadline: 1s");
    let running = scene.start("60s");
    let acknowledged = |running: &Running| {
        let exposition = running.get("/metrics").body;
        ["qos=\"1\"", "qos=\"2\""]
            .map(|qos| metric(&exposition, "landfall_acknowledged_messages_total", &[qos]))
    };
    running.wait_until("/metrics", "under way", |answer| {
        metric(&answer.body, "landfall_acknowledged_messages_total", &[]) > 1_000.0
    });
    broker.kill();
    broker.restart();
    running.wait_until_ready();
    let before = acknowledged(&running);
    running.wait_until("/metrics", "under way again", |_| {
        let now = acknowledged(&running);
        (0..2).all(|of| now[of] > before[of] + 1_000.0)
    });
    running.signal("TERM");
    let ended = running.end();
    let path = scene.report();
    let offered = number(&path["offered"]);
    assert_eq!(offered, number(&path["published"]) + not_sent(&path), "{path}\n{}", ended.stderr);
}

#[test]
fn a_closed_loop_never_has_more_under_way_than_it_may() {
    let broker = Mosquitto::start(&UNBOUNDED);
    let mqtt = "qos: [0, 1, 2], clients: 6, rate: max, inflight: 20, payload: {format: text}";
    let scene = scene(&broker.address, mqtt, "lanes: [mqtt_mqtt]");
    let ended = scene.start("3s").end();
    let path = scene.report();
    assert_eq!(path["offered"], path["published"], "{path}\n{}", ended.stderr);
    assert!(number(&path["published"]) > 1_000, "{path}");
    for lane in path["lanes"].as_array().unwrap() {
        assert_eq!(lane["slots"], lane["outcomes"]["delivered"], "{lane}");
    }
}

#[test]
fn a_profile_is_kept() {
    let broker = Mosquitto::start(&UNBOUNDED);
    let due = |profile: &str| {
        let mqtt = format!(
            "qos: 0, clients: 4, rate: 1000/s, schedule: fixed, payload: {{format: text}}, profile: {profile}"
        );
        let scene = scene(&broker.address, &mqtt, "lanes: [mqtt_mqtt]");
        let ended = scene.start("2s").end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let mut due: Vec<u64> = scene.slots().iter().map(|&(intended, _)| intended).collect();
        due.sort_unstable();
        due
    };
    let mut bursts = BTreeMap::<u64, usize>::new();
    for intended in due("{ burst: { messages: 100 } }") {
        *bursts.entry(intended).or_default() += 1;
    }
    assert_eq!(bursts.values().copied().collect::<Vec<_>>(), [100; 20]);
    let ramp = due("{ ramp: { over: 2s } }");
    let half = ramp[0] + 1_000_000_000;
    let early = ramp.partition_point(|&intended| intended < half);
    assert!(ramp.len().abs_diff(1_000) <= 2, "half of the rate on average: {}", ramp.len());
    assert!((200..320).contains(&early), "a quarter of it in the first half: {early}");
}

#[test]
fn a_machine_that_is_short_of_ports_has_further_addresses() {
    // A name of this host is as good as its address, whichever of them is tried first.
    for (host, listens) in
        [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("localhost", "")]
    {
        let scene =
            scene(&format!("{host}:18833"), "qos: 0, clients: 900, rate: 100/s", "lanes: []");
        let broker = format!("listener 18833 {listens}\nallow_anonymous true\nuser root\n");
        std::fs::write(scene.path("mosquitto.conf"), broker).unwrap();
        let sources = short_of_ports(&scene);
        let other = sources.iter().filter(|line| line.contains(" 127.0.0.")).count();
        // Those that have come by IPv6 have one address, and its ports.
        let least = if listens.is_empty() { 2 } else { 3 };
        assert!(other >= least, "{host}, {listens}: {sources:?}");
        let path = scene.report();
        assert_eq!(path["offered"], path["published"], "{path}");
        let said = std::fs::read_to_string(scene.path("said")).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let counted =
            format!("900 needed for {host}:18833: from at least 3 addresses of 127.0.0.0/8");
        assert!(said.contains(&counted), "{said}");
    }
}

/// Runs a check and a run in a network of its own with 400 ports for each address; how many connections came
/// from which address. What the check says goes into a file.
fn short_of_ports(scene: &Scene) -> Vec<String> {
    let script = "
        ip link set lo up
        echo 40000 40399 > /proc/sys/net/ipv4/ip_local_port_range
        mosquitto -c \"$1\" & broker=$!
        said=$2
        shift 2
        until mosquitto_sub -p 18833 -t x -E 2>/dev/null; do sleep 0.1; done
        \"$1\" check -c \"$4\" > \"$said\"
        \"$@\" & landfall=$!
        for _ in $(seq 100); do
            sources=$(ss -Htn state established dport = :18833 | awk '{ sub(/:[0-9]+$/, \"\", $3); print $3 }')
            [ \"$(echo \"$sources\" | wc -l)\" -ge 900 ] && break
            sleep 0.1
        done
        echo \"$sources\" | sort | uniq -c
        wait $landfall; code=$?
        kill $broker
        exit $code";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", script, "sh"])
        .args([scene.path("mosquitto.conf"), scene.path("said")])
        .arg(env!("CARGO_BIN_EXE_landfall"))
        .args(scene.arguments("5s"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{trouble}");
    said.lines().map(str::to_owned).collect()
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}
