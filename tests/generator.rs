//! A load generator of somebody else's beside the measurement: it starts and stops with it, is accounted,
//! and never outlives it, whatever it does and however landfall ends. Against a real Mosquitto.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossing::Run;
use landfall::clock::Clock;
use systems::Mosquitto;
use tempfile::TempDir;

const OFFERED: &str = "landfall_offered_messages_total";
const UP: &str = "landfall_component_up{component=\"load\"}";
const CPU: &str = "landfall_process_cpu_seconds_total{process=\"load\"}";

/// A generator, as a shell script; `@` in it stands for an argument of `sleep` that nobody else has.
struct Generator {
    directory: TempDir,
    mark: String,
}

impl Generator {
    fn new(script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("3600.{}{number:03}", std::process::id());
        let generator = Self { directory, mark };
        let path = generator.path("generator");
        fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace('@', &generator.mark))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        generator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration of a run beside it; `more` are further keys of `load`.
    fn configuration(&self, mosquitto: &Mosquitto, more: &str) -> String {
        format!(
            "probe: p
paths:
  - name: a
    mqtt: {{ url: 'mqtt://{}', topic: 'landfall/a/{{client}}', rate: 50/s }}
    lanes: [mqtt_mqtt]
    deadline: 2s
window: 1s
host: {{ interval: 1s }}
load: {{ command: ['{}'], {more} }}
telemetry: {{ listen: '127.0.0.1:0' }}
",
            mosquitto.address,
            self.path("generator").display()
        )
    }

    /// Command lines of the processes that are left of it.
    fn left(&self) -> Vec<String> {
        let script = self.path("generator").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(&self.mark) || line.contains(&script)).collect()
    }

    /// Waits until so many processes of it run.
    fn await_processes(&self, number: usize) {
        await_that(&format!("{number} processes"), || self.left().len() == number);
    }
}

#[expect(clippy::disallowed_methods, reason = "looking again is all there is to wait for")]
fn await_that(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it never came to {what}");
}

/// The process group of a process (proc(5), the fifth field of its `stat`).
fn group(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().to_owned()
}

/// The only child of a process.
fn child(pid: &str) -> String {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().to_owned()
}

fn kill(signal: &str, pids: &[&str]) {
    let kill = Command::new("kill").arg(format!("-{signal}")).args(pids).status().unwrap();
    assert!(kill.success(), "{pids:?}");
}

#[test]
fn it_runs_while_all_paths_are_measured_and_its_processor_time_is_accounted() {
    let mosquitto = Mosquitto::start(&[]);
    // Each message comes from a process of its own, which no sample is likely to see.
    let generator = Generator::new(&format!(
        "echo $$ > \"$(dirname \"$0\")/pid\"
        while :; do
            head -c 3000000 /dev/zero | md5sum > /dev/null
            mosquitto_pub -p {} -t theirs -m \"$(date)\" || exit 9
        done",
        mosquitto.port()
    ));
    let mut run = Run::start(&generator.configuration(&mosquitto, "name: mosquitto_pub"), &[]);
    run.await_metric(OFFERED, 50.0);
    run.await_that(UP, |up| up > 0.5);
    let mut heard = Command::new("mosquitto_sub");
    heard.args(["-p", mosquitto.port(), "-t", "theirs", "-C", "3", "-W", "30"]);
    let heard = heard.stdout(Stdio::null()).status().unwrap();
    assert!(heard.success(), "it publishes: {}", run.said());
    let pid = fs::read_to_string(generator.path("pid")).unwrap();
    assert_ne!(group(pid.trim()), group(&run.pid().to_string()), "a Ctrl-C must not reach it");
    run.await_metric(CPU, 0.5);
    run.await_metric("landfall_process_resident_memory_bytes{process=\"load\"}", 1e5);
    run.await_metric(OFFERED, 250.0);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    assert!(generator.left().is_empty(), "{:?}", generator.left());

    let report = run.report();
    let load = &report["load"];
    assert_eq!((load["name"].as_str(), load["starts"].as_u64()), (Some("mosquitto_pub"), Some(1)));
    assert!(load["seconds"].as_f64().unwrap() > 3.0, "{load}");
    assert!(load["ended"].is_null() && load["absences"] == serde_json::json!([]), "{load}");
    assert!(report["window"]["invalid"]["no_load"].is_null(), "{}", report["window"]);
    let processes = report["processes"].as_array().unwrap();
    let process = processes.iter().find(|it| it["label"] == "load").unwrap();
    assert!(process["cpu_seconds"].as_f64().unwrap() >= 0.5, "{process}");
    assert!(process["messages_per_cpu_second"].is_null(), "its messages are its own: {process}");
    assert!(run.said().contains("Load mosquitto_pub: started 1 time, ran "), "{}", run.said());
}

#[test]
fn what_runs_shorter_than_a_sample_is_seen_all_the_same() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("head -c 30000000 /dev/zero | md5sum > /dev/null; sleep 1");
    let configuration = generator.configuration(&mosquitto, "").replace(
        "host: { interval: 1s }",
        "host: { interval: 60s, processes: [mosquitto, nobody-is-called-so] }",
    );
    let mut run = Run::start(&configuration, &[]);
    run.await_that(UP, |up| up > 0.5);
    run.await_that(UP, |up| up < 0.5);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    let report = run.report();
    let processes = report["processes"].as_array().unwrap();
    let of = |label: &str| processes.iter().find(|it| it["label"] == label).unwrap();
    assert!(of("load")["peak_rss_bytes"].as_f64().unwrap() > 0.0, "{}", of("load"));
    assert!(of("load")["cpu_seconds"].as_f64().unwrap() > 0.0, "{}", of("load"));
    assert!(of("self")["cpu_seconds"].as_f64().unwrap() > 0.0, "{}", of("self"));
    assert!(of("mosquitto")["peak_rss_bytes"].as_f64().unwrap() > 0.0, "{}", of("mosquitto"));
    let nobody = of("nobody-is-called-so");
    assert!(nobody["cpu_seconds"].is_null() && nobody["peak_rss_bytes"].is_null(), "{nobody}");
    let row = |line: &&str| line.contains("nobody-is-called-so");
    let said = run.said();
    assert!(said.lines().find(row).unwrap().split_whitespace().eq([
        "nobody-is-called-so",
        "-",
        "-",
        "-"
    ]));
}

#[test]
fn an_early_end_is_said_at_once_and_its_windows_are_not_valid() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("echo 'going well'; echo 'out of tickets' >&2; sleep 2; exit 3");
    let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
    let reason = "generator: it ended with exit code 3 after ";
    run.await_readiness("the end", |of| {
        let load = &of["components"]["load"];
        load["reason"].as_str().unwrap().starts_with(reason) && of["ready"] == true
    });
    run.await_that(UP, |up| up < 0.5);
    let said = run.log().into_iter().find(|line| line.contains("WARN")).unwrap();
    assert!(said.contains("load: generator ended with exit code 3 after 2."), "{said}");
    assert!(said.contains("it is not started again"), "{said}");
    assert!(said.ends_with("; its last words: going well | out of tickets"), "{said}");
    run.await_metric("landfall_invalid_windows_total{path=\"a\",cause=\"no_load\"", 2.0);
    run.terminate();
    assert_eq!(run.ended(), 0, "what was measured is true: {}", run.said());
    let report = run.report();
    let load = &report["load"];
    assert_eq!(load["ended"], "with exit code 3");
    assert_eq!(load["last_lines"], serde_json::json!(["going well", "out of tickets"]));
    let absences = load["absences"].as_array().unwrap();
    assert_eq!(absences.len(), 1, "{load}");
    assert!(absences[0]["end"].is_null() && absences[0]["why"] == "it ended with exit code 3");
    assert!(report["window"]["invalid"]["no_load"].as_u64().unwrap() >= 2, "{}", report["window"]);
    let text = fs::read_to_string(run.file("report/report.md")).unwrap();
    assert!(text.contains("    out of tickets\n"), "{text}");
}

#[test]
fn one_that_is_to_be_started_again_is_and_each_absence_is_told() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("yes 'a long line of output' | head -c 200000; exit 0");
    let mut run = Run::start(&generator.configuration(&mosquitto, "restart: true, start: 2s"), &[]);
    run.await_metric("landfall_reconnects_total{component=\"load\"}", 2.0);
    run.await_metric("landfall_dropped_total{component=\"load\",cause=\"output_bytes\"}", 3e5);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    let load = &run.report()["load"];
    assert!(load["starts"].as_u64().unwrap() >= 3, "{load}");
    let absences = load["absences"].as_array().unwrap();
    assert!(absences.len() >= 3, "before the first start, and between starts: {load}");
    assert!(absences[0]["end"].is_string() && absences[0]["why"].as_str().unwrap().contains("due"));
    assert_eq!(absences[1]["why"], "it ended with exit code 0");
    assert!(run.report()["window"]["invalid"]["no_load"].as_u64().unwrap() >= 2, "{load}");
    assert!(!run.log().iter().any(|line| line.contains("WARN load")), "{}", run.said());
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_its_patience() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("trap '' TERM INT; while :; do sleep 1; done");
    let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
    run.await_that(UP, |up| up > 0.5);
    run.await_metric(OFFERED, 50.0);
    let clock = Clock::system();
    let asked = clock.now();
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    let took = clock.now().saturating_since(asked).as_secs_f64();
    assert!((4.5..15.0).contains(&took), "{took}");
    assert!(run.said().contains("was stopped and ended by signal 9"), "{}", run.said());
    assert!(generator.left().is_empty(), "{:?}", generator.left());
}

/// Leaves its group, its session and its parent.
const FORKS: &str = "
    sleep @ &
    setsid sleep @ &
    (setsid sh -c 'trap \"\" TERM; sleep @ & sleep @; sleep @' &)
    wait";
/// The guard, the script, the shell that ignores a SIGTERM, and whoever sleeps.
const FORKED: usize = 1 + 1 + 1 + 4;

#[test]
fn nothing_of_it_is_left_however_landfall_ends() {
    for signal in ["INT", "TERM", "KILL"] {
        let mosquitto = Mosquitto::start(&[]);
        let generator = Generator::new(FORKS);
        let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
        generator.await_processes(FORKED);
        run.await_metric(OFFERED, 50.0);
        if signal == "KILL" {
            run.kill();
            await_that("its end with landfall", || generator.left().is_empty());
        } else {
            run.signal(signal);
            assert_eq!(run.ended(), 0, "{}", run.said());
            assert!(generator.left().is_empty(), "{signal}: {:?}", generator.left());
        }
    }
}

#[test]
fn nothing_of_it_is_left_behind_one_that_ends_and_none_outlives_a_second_signal() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("setsid sleep @ & sleep 1; exit 0");
    let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
    run.await_readiness("the end", |of| {
        of["components"]["load"]["reason"].as_str().unwrap().contains("it ended with exit code 0")
    });
    assert!(generator.left().is_empty(), "{:?}", generator.left());
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());

    let generator = Generator::new("trap '' TERM INT; sleep @; sleep @");
    let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
    run.await_metric(OFFERED, 50.0);
    // With its guard.
    generator.await_processes(3);
    run.terminate();
    run.await_readiness("the drain", |of| {
        of["components"]["load"]["reason"].as_str().unwrap().contains("being stopped")
    });
    run.signal("TERM");
    assert_eq!(run.ended(), 130, "{}", run.said());
    assert!(generator.left().is_empty(), "{:?}", generator.left());
}

#[test]
fn a_signal_to_all_processes_of_a_service_at_once_is_an_orderly_stop() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("exec sleep @");
    let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
    run.await_that(UP, |up| up > 0.5);
    run.await_metric(OFFERED, 50.0);
    let landfall = run.pid().to_string();
    let guard = child(&landfall);
    kill("TERM", &[&landfall, &guard, &child(&guard)]);
    assert_eq!(run.ended(), 0, "{}", run.said());
    assert!(run.said().contains("was stopped and ended by signal 15"), "{}", run.said());
    assert!(run.report()["load"]["ended"].is_null(), "{}", run.said());
    assert!(generator.left().is_empty(), "{:?}", generator.left());
}

#[test]
fn a_guard_that_is_killed_takes_the_generator_with_it_and_that_is_said() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("exec sleep @");
    let mut run = Run::start(&generator.configuration(&mosquitto, ""), &[]);
    run.await_that(UP, |up| up > 0.5);
    kill("KILL", &[&child(&run.pid().to_string())]);
    run.await_that(UP, |up| up < 0.5);
    assert!(run.said().contains("because its guard was killed by signal 9"), "{}", run.said());
    await_that("its end with its guard", || generator.left().is_empty());
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
}

#[test]
fn a_command_that_is_not_there_is_refused_before_anything_is_sent() {
    let mosquitto = Mosquitto::start(&[]);
    let generator = Generator::new("");
    let configuration = generator.configuration(&mosquitto, "");
    let file = generator.path("landfall.yaml");
    for (program, words) in [
        ("no-such-generator", "no program no-such-generator is found in PATH"),
        ("./no-such-generator", "name a program that is there"),
        ("./landfall.yaml", "may not be executed"),
    ] {
        let there = generator.path("generator").display().to_string();
        fs::write(&file, configuration.replace(&there, program)).unwrap();
        for command in ["run", "check"] {
            let mut landfall = Command::new(env!("CARGO_BIN_EXE_landfall"));
            landfall.current_dir("/").args([command, "-c"]).arg(&file);
            let output = landfall.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("landfall.yaml:9: load.command: "), "{said}");
            assert!(said.contains(words), "{said}");
        }
    }
}
