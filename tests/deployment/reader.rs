//! What others make of the files in `compose/`: the answers of `tests/systems/manifests`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// A path below the repository.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file in the repository.
pub(crate) fn text(path: &str) -> String {
    let path = file(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A YAML file of the repository.
pub(crate) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where the reader and the schemas lie; they are installed on first use.
pub(crate) fn installed() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let install = file("tests/systems/install.sh");
        let output = Command::new(install).arg("manifests").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = set("LANDFALL_CACHE").unwrap_or_else(|| {
            let home = set("XDG_CACHE_HOME");
            let home = home.unwrap_or_else(|| set("HOME").unwrap().join(".cache"));
            home.join("landfall")
        });
        cache.join("manifests")
    })
}

/// What the reader says of these arguments: what it found, or why it refuses.
pub(crate) fn read(arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new(installed().join("manifests")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(said)
    }
}

/// The binary itself with these arguments: its exit code, and what it wrote.
pub(crate) fn landfall(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    let output = command.args(arguments).env_clear().output().unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The configuration that the binary takes a file for, without the remarks on where it is from.
pub(crate) fn configuration(path: &Path) -> Value {
    let (code, said) = landfall(&["config", "show", "-c", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{}: {said}", path.display());
    serde_saphyr::from_str(&said).unwrap()
}

/// How long a duration is, such as `40s` or `1m0s`.
pub(crate) fn seconds(duration: &str) -> u64 {
    let (mut total, mut number) = (0, 0);
    for letter in duration.chars() {
        match letter {
            's' => (total, number) = (total + number, 0),
            'm' => (total, number) = (total + number * 60, 0),
            digit => {
                let digit = digit.to_digit(10).unwrap_or_else(|| panic!("{duration}"));
                number = number * 10 + u64::from(digit);
            }
        }
    }
    total
}
