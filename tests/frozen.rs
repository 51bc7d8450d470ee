//! A landfall that is stopped in the middle of a run, or has more to number than it was leased: it goes on,
//! and says that it was not the system.

use std::time::Duration;

use ::landfall::clock::Clock;
use scene::landfall::Running;
use scene::systems::Mosquitto;
use scene::{Scene, number};
use serde_json::Value;

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/scene.rs"]
mod scene;

/// How long it is stopped.
const FROZEN: Duration = Duration::from_millis(1_500);

/// Begins to publish at QoS 1, in windows of a second; state is kept where that is wanted.
fn start(scene: &Scene, broker: &Mosquitto, mqtt: &str, keeps: bool) -> Running {
    let state = format!("state_dir: {}\n", scene.path("state"));
    scene.configure(&format!(
        "probe: frozen\nwindow: 1s\n{}paths:\n  - name: press\n    mqtt: {{ url: \"mqtt://{}\", qos: 1, {mqtt} }}\n    \
         lanes: []\n    deadline: 10s\ntelemetry: {{ listen: \"127.0.0.1:0\" }}\n",
        if keeps { &state } else { "" },
        broker.address,
    ));
    scene.start("6s")
}

/// The report of a run that ends by itself.
fn report(scene: &Scene, running: Running) -> Value {
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    scene.whole_report()
}

/// Sleeps, so that a run goes on meanwhile.
fn pass(time: Duration) {
    let clock = Clock::system();
    clock.sleep_until(clock.now() + time);
}

/// Stops it once it is at work.
fn freeze(running: &Running) {
    running.wait_until_ready();
    pass(Duration::from_millis(1_500));
    running.signal("STOP");
    pass(FROZEN);
    running.signal("CONT");
}

#[test]
fn a_probe_that_stood_still_does_not_blame_the_system() {
    let (scene, broker) = (Scene::new(), Mosquitto::start(&[]));
    let running = start(&scene, &broker, "clients: 1, rate: 1000/s, schedule: fixed", false);
    freeze(&running);
    let report = report(&scene, running);
    let path = &report["paths"][0];
    let late = |cause: &str| number(&path["sent_late"][cause]);
    // Mosquitto takes 20 at a time: nearly all had to wait for it as well.
    let (ours, theirs) = (late("probe"), late("backpressure"));
    assert!(ours >= 1_200 && theirs < ours / 4, "by the probe {ours}, by the system {theirs}");
    let invalid = number(&report["window"]["invalid"]["probe_overloaded"]);
    assert!(invalid >= 1, "{report:#}");
}

#[test]
fn a_probe_that_keeps_state_goes_on_after_it_stood_still() {
    let (scene, broker) = (Scene::new(), Mosquitto::start(&[]));
    let running = start(&scene, &broker, "clients: 1, rate: 40/s, schedule: fixed", true);
    freeze(&running);
    let path = &report(&scene, running)["paths"][0];
    let [offered, published] = ["offered", "published"].map(|key| number(&path[key]));
    assert!((239..=241).contains(&offered) && published == offered, "{path:#}");
}

#[test]
fn what_is_due_at_once_may_be_more_than_was_leased() {
    let (scene, broker) = (Scene::new(), Mosquitto::start(&[]));
    let mqtt = "clients: 2, rate: 200/s, schedule: fixed, profile: { burst: { messages: 600 } }";
    let path = &report(&scene, start(&scene, &broker, mqtt, true))["paths"][0];
    let [offered, published] = ["offered", "published"].map(|key| number(&path[key]));
    assert!(offered >= 1_200 && published == offered, "{path:#}");
}
