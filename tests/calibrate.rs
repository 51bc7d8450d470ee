//! `landfall calibrate` as the real binary, and what a run makes of what it kept.
#![expect(clippy::unwrap_used, reason = "the functions that the tests share fail them too")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use assert_cmd::Command;
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
        "landfall alone can do at most ",
        "kept in ",
    ] {
        assert!(ended.said.contains(part), "{part} is not in {}", ended.said);
    }
    let figures = json(&file);
    let sum = |key: &str, of: &str| {
        let levels = figures[key].as_array().unwrap().iter();
        levels.map(|level| level.pointer(of).unwrap().as_f64().unwrap()).sum::<f64>()
    };
    for key in ["flat_out", "paced"] {
        let qos: Vec<_> = figures[key].as_array().unwrap().iter().map(|it| &it["qos"]).collect();
        assert_eq!(qos, [0, 1, 2]);
        let (bare, measured) = (sum(key, "/bare/cpu_us_a_message"), sum(key, "/cpu_us_a_message"));
        assert!(
            bare > 0.0 && bare <= 1.2 * measured,
            "{key}: bare {bare} us, measured {measured} us"
        );
        assert!(sum(key, "/publish_delay_p99_seconds") > 0.0);
        assert!(sum(key, "/cost_least") < sum(key, "/cost_most"), "{key}: two rounds alike");
    }
    assert!(sum("paced", "/scheduler_lag_p99_seconds") > 0.0);
    assert_eq!(figures["flat_out"][0]["scheduler_lag_p99_seconds"], Value::Null);
    let kept = home.path().join("landfall/calibration.json");
    assert_eq!(json(&kept), figures);

    let (report, markdown, complained) = load(home.path(), "max", &[]);
    assert_eq!(complained, "");
    assert_eq!(report["paths"][0]["load"]["mode"], "closed");
    assert_eq!(report["calibration"]["machine"], figures["machine"]);
    let most = &figures["flat_out"][1]["messages_a_second"];
    assert_eq!(&report["calibration"]["messages_a_second"]["1"], most);
    let used = report["paths"][0]["load"]["calibrated_share"].as_f64().unwrap();
    assert!(used > 0.0, "{used}");
    assert!(markdown.contains("## Path press (closed loop)"), "{markdown}");
    assert!(markdown.contains("landfall alone could do "), "{markdown}");
    assert!(markdown.contains("| publish_delay | 1 |"), "{markdown}");

    what_is_of_others_is_not_used(&home, &file);
}

/// A calibration of another machine says nothing, wherever it is, and neither does what is none.
fn what_is_of_others_is_not_used(home: &TempDir, file: &Path) {
    let (name, kept) = (file.to_str().unwrap(), home.path().join("landfall/calibration.json"));
    let other = fs::read_to_string(file).unwrap().replace("\"cpus\": ", "\"cpus\": 1");
    fs::write(file, other).unwrap();
    let (report, markdown, complained) = load(home.path(), "2500/s", &["--calibration", name]);
    assert_eq!(report["calibration"], Value::Null);
    assert!(complained.contains("it is of another machine"), "{complained}");
    assert!(markdown.contains("not calibrated here, run `landfall calibrate`"), "{markdown}");
    assert!(markdown.contains("sent up to 1.00 ms after it is due"), "{markdown}");
    fs::write(&kept, "{").unwrap();
    let (report, _, complained) = load(home.path(), "2500/s", &[]);
    assert_eq!(report["calibration"], Value::Null);
    assert!(complained.contains("calibration.json is no calibration"), "{complained}");
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
        (&["--size", "8"], "size"),
        (&["--broker", "http://x"], "paths[0].mqtt.url"),
        (&["--json", "/nowhere/at/all"], "--json /nowhere/at/all"),
    ] {
        let ended = landfall(home.path(), &[&["calibrate"], arguments].concat());
        assert_eq!((ended.code, ended.said.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.complained.contains(why), "{arguments:?}: {}", ended.complained);
    }
}
