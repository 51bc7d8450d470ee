//! The unit for systemd.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::reader::{configuration, installed, landfall, seconds, text};

/// The most that `systemd-analyze security` may say, in tenths of its ten points of exposure.
const EXPOSURE_MAX: &str = "15";

/// The unit that ships, changed, where nothing else is.
struct Unit {
    _directory: TempDir,
    path: PathBuf,
}

impl Unit {
    /// Its program is the one under test, since systemd wants to find it.
    fn new(change: impl Fn(String) -> String) -> Self {
        installed(); // brings systemd-analyze
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("landfall.service");
        let unit = text("compose/systemd/landfall.service");
        let program = env!("CARGO_BIN_EXE_landfall");
        let unit =
            unit.replace("ExecStart=/usr/local/bin/landfall", &format!("ExecStart={program}"));
        std::fs::write(&path, change(unit)).unwrap();
        Self { _directory: directory, path }
    }

    fn analyze(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(&self.path).env("SYSTEMD_COLORS", "0").output().unwrap()
    }

    /// What systemd has against it; nothing where it is good.
    fn verified(&self) -> String {
        let output = self.analyze(&["verify"]);
        let said = String::from_utf8_lossy(&output.stderr);
        // Of this unit alone: a machine has others, too.
        let said = said.lines().filter(|line| line.contains("landfall.service"));
        let said = said.collect::<Vec<_>>().join("\n");
        assert!(output.status.success() || !said.is_empty(), "{output:?}");
        said
    }
}

/// The value of a setting that is given once.
fn setting(name: &str) -> String {
    let unit = text("compose/systemd/landfall.service");
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(values.next(), None, "{name}");
    value.to_owned()
}

#[test]
fn systemd_has_nothing_against_the_unit() {
    assert_eq!(Unit::new(|unit| unit).verified(), "");
    let security = ["security", "--offline=true", "--no-pager"];
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let output = Unit::new(|unit| unit).analyze(&[&security[..], &[&threshold]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_systemd_has_something_against_is_found_out() {
    let wrong = [
        ("Type=exec", "Type=exce"),
        ("DynamicUser=yes", "DynamicUsers=yes"),
        ("Restart=on-failure", "Restart=on-failures"),
        ("TimeoutStopSec=40s", "TimeoutStopSec=a while"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@sistem-service"),
        ("/landfall run", "/landfal run"),
    ];
    for (from, to) in wrong {
        let unit = Unit::new(|unit| {
            assert!(unit.contains(from), "{from}");
            unit.replacen(from, to, 1)
        });
        assert_ne!(unit.verified(), "", "{to}");
    }
    let open = Unit::new(|unit| {
        let lines = unit.lines().filter(|line| !line.starts_with("Protect"));
        lines.collect::<Vec<_>>().join("\n")
    });
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let output = open.analyze(&["security", "--offline=true", "--no-pager", &threshold]);
    assert!(!output.status.success());
}

#[test]
fn the_unit_starts_and_stops_as_the_binary_does() {
    let command = setting("ExecStart");
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let ["run", "-c", "/etc/landfall/landfall.yaml"] = arguments.as_slice() else {
        panic!("{command}")
    };
    let (code, said) = landfall(&["run", "-c", "/nowhere/landfall.yaml"]);
    // A configuration that is refused.
    assert!(code == Some(2) && said.contains("/nowhere/landfall.yaml"), "{said}");
    // So is a port in use, which passes by itself: it is started again, however often it takes.
    let unit = text("compose/systemd/landfall.service");
    assert!(!unit.lines().any(|line| line.starts_with("RestartPreventExitStatus")));
    assert_eq!(setting("Restart"), "on-failure");
    assert_eq!(setting("StartLimitIntervalSec"), "0");
    assert_eq!(setting("SuccessExitStatus"), "1");
    assert_eq!((setting("Type"), setting("KillSignal")), ("exec".into(), "SIGTERM".into()));

    // What the head of the unit says is to be in landfall.yaml.
    let credential = setting("LoadCredential");
    let (credential, _) = credential.split_once(':').unwrap();
    let credential = format!("/run/credentials/landfall.service/{credential}");
    assert!(unit.contains(&format!("password_file: {credential} }}")), "{credential}");
    let state = format!("state_dir: /var/lib/{}\n", setting("StateDirectory"));
    assert!(unit.contains(&state), "{state}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.yaml");
    let least = "paths: [{ name: a, mqtt: { url: \"mqtt://broker\" } }]\n";
    std::fs::write(&path, format!("{state}{least}")).unwrap();
    let drain = seconds(configuration(&path)["drain"].as_str().unwrap());
    assert!(seconds(&setting("TimeoutStopSec")) >= drain + 10, "{drain}");
}
