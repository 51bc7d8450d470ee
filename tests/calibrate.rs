//! `landfall calibrate` as the real binary, and what a run makes of what it kept.
#![expect(clippy::unwrap_used, reason = "the functions that the tests share fail them too")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use landfall::clock::Clock;
use landfall::embedded::null::NullSink;
use landfall::shutdown::Tasks;
use serde_json::Value;
use tempfile::TempDir;

struct Ended {
    code: Option<i32>,
    said: String,
    complained: String,
}

/// Runs it with a home of nobody's, where a calibration may be kept.
fn landfall(home: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.env_clear().env("XDG_CACHE_HOME", home).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), said: text(output.stdout), complained: text(output.stderr) }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Runs a load against a sink of ours; report.json and report.md, and what was complained of.
fn load(home: &Path, rate: &str, further: &[&str]) -> (Value, String, String) {
    let tasks = Tasks::new();
    let sink = NullSink::start(1, &tasks).unwrap();
    let directory = TempDir::new().unwrap();
    let (file, report) = (directory.path().join("landfall.yaml"), directory.path().join("report"));
    let text = format!(
        "probe: p\npaths:\n  - name: press\n    mqtt: {{ url: \"mqtt://{}\", qos: 1, clients: 4, rate: {rate}, payload: {{ size: 64, format: binary }} }}\n    \
         lanes: []\n    deadline: 1s\ntelemetry: {{ listen: \"127.0.0.1:0\" }}\n",
        sink.address()
    );
    fs::write(&file, text).unwrap();
    let arguments = ["run", "-c", file.to_str().unwrap(), "--for", "1s", "--report"];
    let arguments = [&arguments[..], &[report.to_str().unwrap()], further].concat();
    let ended = landfall(home, &arguments);
    assert_eq!(ended.code, Some(0), "{}{}", ended.said, ended.complained);
    tasks.stop();
    let markdown = fs::read_to_string(report.join("report.md")).unwrap();
    assert!(ended.said.contains("path press"), "{}", ended.said);
    (json(&report.join("report.json")), markdown, ended.complained)
}

#[test]
fn a_calibration_measures_prints_keeps_and_is_found_again() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("figures.json");
    let name = file.to_str().unwrap();
    let ended = landfall(
        home.path(),
        &[
            "calibrate",
            "--for",
            "500ms",
            "--rounds",
            "2",
            "--clients",
            "20",
            "--size",
            "64",
            "--json",
            name,
        ],
    );
    assert_eq!((ended.code, ended.complained.as_str()), (Some(0), ""), "{}", ended.said);
    for part in [
        "20 clients, payloads of 64 bytes (binary), 500 ms each, 2 rounds, into a sink in this process",
        "flat out (closed loop)",
        "paced, 10,000 messages/s",
        "landfall alone can do ",
        "on this machine, sending alone",
        "kept in ",
    ] {
        assert!(ended.said.contains(part), "{part} is not in {}", ended.said);
    }
    let figures = json(&file);
    is_sound(&figures);
    let kept = home.path().join("landfall/calibration-64.json");
    assert_eq!(json(&kept), figures);

    let (report, markdown, complained) = load(home.path(), "max", &[]);
    assert_eq!(complained, "");
    assert_eq!(report["paths"][0]["load"]["mode"], "closed");
    assert_eq!(report["calibrations"][0]["machine"], figures["machine"]);
    let most = &figures["flat_out"][1]["messages_a_second"];
    assert_eq!(&report["calibrations"][0]["messages_a_second"]["1"], most);
    let used = report["paths"][0]["load"]["calibrated_share"].as_f64().unwrap();
    assert!(used > 0.0, "{used}");
    assert!(markdown.contains("## Path press (closed loop)"), "{markdown}");
    assert!(markdown.contains("Sending alone, into a sink on the same processors"), "{markdown}");
    assert!(markdown.contains("| publish_delay | 1 |"), "{markdown}");

    what_is_better_founded_stays(&home);
    what_is_of_others_is_not_used(&home, &file);
}

/// Every load at every QoS, and figures that can be. Which of two costs more is not judged here: the
/// machine may have anything else to do.
fn is_sound(figures: &Value) {
    for key in ["flat_out", "paced"] {
        let levels = figures[key].as_array().unwrap();
        let qos: Vec<_> = levels.iter().map(|it| &it["qos"]).collect();
        assert_eq!(qos, [0, 1, 2]);
        for level in levels {
            let of = |pointer: &str| level.pointer(pointer).unwrap().as_f64().unwrap();
            for measure in ["/messages_a_second", "/cpu_us_a_message", "/busiest_thread_ratio"] {
                assert!(of(measure) > 0.0, "{key}{measure}: {level}");
            }
            for bare in ["/bare/messages_a_second", "/bare/cpu_us_a_message"] {
                assert!(of(bare) > 0.0, "{key}{bare}: {level}");
            }
            assert!(of("/publish_delay_p99_seconds") > 0.0, "{key}: {level}");
            let costs = [of("/cost_least"), of("/cost_of_measuring"), of("/cost_most")];
            assert!(costs.is_sorted() && costs[2] < 1.0, "{key}: {costs:?}");
            let lag = &level["scheduler_lag_p99_seconds"];
            assert_eq!(lag.is_null(), key == "flat_out", "nothing is due in a closed loop: {lag}");
        }
    }
}

/// A quick try does not replace what took longer; one of other payloads has a place of its own.
fn what_is_better_founded_stays(home: &TempDir) {
    let kept = |size: u32| home.path().join(format!("landfall/calibration-{size}.json"));
    let before = json(&kept(64));
    let quick = ["calibrate", "--for", "100ms", "--rounds", "1", "--clients", "2", "--size"];
    let ended = landfall(home.path(), &[&quick[..], &["64"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.complained);
    assert!(ended.said.contains("not kept: "), "{}", ended.said);
    assert!(ended.said.contains("20 clients, 500 ms each, 2 rounds"), "{}", ended.said);
    assert!(ended.said.contains("One round does not say"), "{}", ended.said);
    assert_eq!(json(&kept(64)), before);
    let ended = landfall(home.path(), &[&quick[..], &["4096"]].concat());
    assert!(ended.said.contains("\nkept in "), "{}", ended.said);
    assert_eq!((json(&kept(64)), &json(&kept(4_096))["clients"]), (before, &2.into()));
    let (report, ..) = load(home.path(), "2500/s", &[]);
    assert_eq!(report["calibrations"][0]["payload_bytes"], 64, "{}", report["calibrations"]);
}

/// A calibration of another machine says nothing, wherever it is, and neither does what is none.
fn what_is_of_others_is_not_used(home: &TempDir, file: &Path) {
    let (name, kept) = (file.to_str().unwrap(), home.path().join("landfall/calibration-64.json"));
    let other = fs::read_to_string(file).unwrap().replace("\"cpus\": ", "\"cpus\": 1");
    fs::write(file, other).unwrap();
    let (report, markdown, complained) = load(home.path(), "2500/s", &["--calibration", name]);
    assert_eq!(report["calibrations"], Value::Array(Vec::new()));
    assert!(complained.contains("it is of another machine"), "{complained}");
    assert!(
        markdown.contains(
            "not calibrated here with payloads of about 64 bytes, run `landfall calibrate --size 64`"
        ),
        "{markdown}"
    );
    assert!(markdown.contains("sent up to 1.00 ms after it is due"), "{markdown}");
    fs::write(&kept, "{").unwrap();
    let (report, _, complained) = load(home.path(), "2500/s", &[]);
    assert_eq!(report["calibrations"], Value::Array(Vec::new()));
    assert!(complained.contains("calibration-64.json is no calibration"), "{complained}");
    // A probe at a low rate does not look.
    let (_, markdown, complained) = load(home.path(), "100/s", &[]);
    assert!(!markdown.contains("calibrat") && complained.is_empty(), "{complained}{markdown}");
}

#[test]
fn a_broker_that_is_not_there_is_told_by_its_exit_code() {
    let home = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    drop(listener);
    let ended =
        landfall(home.path(), &["calibrate", "--for", "1s", "--clients", "2", "--broker", &url]);
    assert_eq!((ended.code, ended.said.as_str()), (Some(3), ""), "{}", ended.complained);
    assert!(
        ended.complained.contains(&url) && ended.complained.contains("refused"),
        "{}",
        ended.complained
    );
}

#[test]
fn a_broker_can_be_the_target_and_is_not_kept() {
    let (home, tasks) = (TempDir::new().unwrap(), Tasks::new());
    let sink = NullSink::start(1, &tasks).unwrap();
    let url = format!("mqtt://{}", sink.address());
    let ended = landfall(
        home.path(),
        &["calibrate", "--for", "500ms", "--rounds", "1", "--clients", "5", "--broker", &url],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.complained);
    assert!(ended.said.contains(&format!("into {url}")), "{}", ended.said);
    assert!(ended.said.contains("landfall and that broker together do "), "{}", ended.said);
    assert!(!home.path().join("landfall").exists(), "what a broker took is not landfall alone");
    // What is sent is neither counted twice nor left out: bare and measured, six loads of each.
    assert_eq!((sink.taken().connections, sink.taken().refused), (2 * 6 * 5, 0));
    tasks.stop();
}

#[test]
fn bad_flags_are_refused() {
    let home = TempDir::new().unwrap();
    for (arguments, why) in [
        (&["--for", "0s"][..], "--for: is too short"),
        (&["--clients", "0"], "--clients"),
        (&["--rounds", "0"], "--rounds"),
        (&["--size", "8"], "--size: "),
        (&["--clients", "4294967295"], "--clients"),
        (&["--broker", "http://x"], "--broker: "),
        (&["--json", "/nowhere/at/all"], "--json /nowhere/at/all"),
    ] {
        let ended = landfall(home.path(), &[&["calibrate"], arguments].concat());
        assert_eq!((ended.code, ended.said.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.complained.contains(why), "{arguments:?}: {}", ended.complained);
        assert!(!ended.complained.contains("paths[0]"), "nobody wrote that: {}", ended.complained);
    }
}

/// Runs `calibrate` under limits of open files that a shell sets.
fn under(limits: &str, clients: &str) -> Ended {
    let home = TempDir::new().unwrap();
    let calibrate = "calibrate --for 100ms --rounds 1";
    let script = format!("{limits} && exec \"$0\" {calibrate} --clients {clients}");
    let mut command = Process::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_landfall")]);
    let output = command.env("XDG_CACHE_HOME", home.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), said: text(output.stdout), complained: text(output.stderr) }
}

#[test]
fn clients_and_sink_have_the_descriptors_that_they_need_or_are_refused() {
    let ended = under("ulimit -Sn 200", "150");
    assert_eq!((ended.code, ended.complained.as_str()), (Some(0), ""), "{}", ended.said);
    let ended = under("ulimit -n 400", "150");
    assert_eq!((ended.code, ended.said.as_str()), (Some(2), ""), "{}", ended.complained);
    for part in ["--clients 150: ", "300 clients + 128 others = 428 file descriptors, 400 allowed"]
    {
        assert!(ended.complained.contains(part), "{part} is not in {}", ended.complained);
    }
}

#[test]
fn an_interrupted_calibration_leaves_the_figures_that_were_there() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("figures.json");
    fs::write(&file, "those of yesterday").unwrap();
    let mut command = Process::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["calibrate", "--for", "30s", "--clients", "2", "--json"]).arg(&file);
    command.env("XDG_CACHE_HOME", home.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // The draft says that it measures.
    let files = || fs::read_dir(home.path()).unwrap().count();
    let clock = Clock::system();
    let deadline = clock.now() + Duration::from_secs(20);
    while files() < 2 {
        assert!(clock.now() < deadline, "it does not begin");
        clock.sleep_until(clock.now() + Duration::from_millis(20));
    }
    clock.sleep_until(clock.now() + Duration::from_millis(500));
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_to_string(&file).unwrap(), "those of yesterday");
    assert_eq!(files(), 1, "nothing else is left");
}
