//! The image.

use serde_json::Value;

use super::reader::{file, landfall, read, text, texts};

/// The stages of a Dockerfile.
fn stages(path: &str) -> Vec<Value> {
    read(&["dockerfile", file(path).to_str().unwrap()]).unwrap().as_array().unwrap().clone()
}

/// What BuildKit made of the instructions of a kind in a stage.
fn all<'a>(stage: &'a Value, name: &str) -> Vec<&'a Value> {
    let commands = stage["commands"].as_array().unwrap().iter();
    commands.filter(|it| it["name"] == name).map(|it| &it["parsed"]).collect()
}

/// The only instruction of a kind.
fn the<'a>(stage: &'a Value, name: &str) -> &'a Value {
    let found = all(stage, name);
    let [one] = found.as_slice() else { panic!("{name}: {found:?}") };
    one
}

#[test]
fn each_image_ends_in_a_stage_of_its_own_whose_user_is_a_number_and_not_root() {
    for path in ["compose/Dockerfile", "compose/hivemq/camel/Dockerfile"] {
        let stages = stages(path);
        assert_eq!(stages.len(), 2, "{path}");
        for stage in &stages {
            let base = stage["base"].as_str().unwrap();
            let (_, tag) = base.split_once(':').unwrap_or_else(|| panic!("{base}: no tag"));
            assert!(tag.contains(|letter: char| letter.is_ascii_digit()), "{base}");
        }
        let user = the(&stages[1], "USER")["User"].as_str().unwrap();
        let numbers = user.split(':').map(|number| number.parse::<u32>().unwrap());
        assert!(numbers.clone().all(|number| number > 0) && numbers.count() == 2, "{user}");
    }
}

#[test]
fn the_image_is_built_as_the_readme_says_from_what_the_context_has() {
    let stages = stages("compose/Dockerfile");
    let run = all(&stages[0], "RUN");
    let run = run[0]["CmdLine"][0].as_str().unwrap();
    let build = "cargo build --release --locked --bin landfall";
    assert!(run.starts_with(build), "{run}");
    assert!(text("README.md").contains(build), "{build}");
    let docker = "docker build -f compose/Dockerfile -t landfall:";
    let docker = format!("{docker}{} .", env!("CARGO_PKG_VERSION"));
    for path in ["compose/README.md", "compose/Dockerfile"] {
        assert!(text(path).contains(&docker), "{path}: {docker}");
    }
    // Compiled by the oldest Rust that the manifest promises.
    let base = stages[0]["base"].as_str().unwrap();
    assert!(base.starts_with(&format!("rust:{}.", env!("CARGO_PKG_RUST_VERSION"))), "{base}");

    let kept = text(".dockerignore");
    let kept: Vec<&str> = kept.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = Vec::new();
    for copy in all(&stages[0], "COPY") {
        copied.extend(texts(&copy["SourcePaths"]));
    }
    assert_eq!(copied, kept);
    assert!(kept.iter().all(|path| file(path).exists()), "{kept:?}");
    // Every target whose source the manifest does not find is an error of cargo's.
    let manifest = text("Cargo.toml");
    for bench in manifest.split("[[bench]]").skip(1) {
        let name = bench.split('"').nth(1).unwrap();
        assert!(file(&format!("benches/{name}.rs")).is_file(), "{name}");
    }
}

#[test]
fn the_image_runs_the_probe_and_asks_it_for_its_health() {
    let stages = stages("compose/Dockerfile");
    let last = &stages[1];
    let copied = all(last, "COPY");
    assert!(copied.iter().any(|copy| copy["DestPath"] == "/usr/local/bin/landfall"), "{copied:?}");
    assert_eq!(texts(&the(last, "ENTRYPOINT")["CmdLine"]), ["landfall"]);
    let command = texts(&the(last, "CMD")["CmdLine"]);
    assert_eq!(command, ["run", "-c", "/etc/landfall/landfall.yaml"]);
    // Understood, and refused for nothing but the file that is not there.
    let (code, said) = landfall(&["run", "-c", "/nowhere/landfall.yaml"]);
    assert!(code == Some(2) && said.contains("/nowhere/landfall.yaml"), "{said}");

    let health = &the(last, "HEALTHCHECK")["Health"];
    assert_eq!(texts(&health["Test"]), ["CMD", "landfall", "health"]);
    // Longer than `landfall health` waits for an answer.
    assert!(health["Timeout"].as_u64().unwrap() > 5_000_000_000, "{health}");
    assert_eq!(the(last, "STOPSIGNAL")["Signal"], "SIGTERM");

    let labels = the(last, "LABEL")["Labels"].as_array().unwrap();
    let label = |name: &str| {
        let key = format!("org.opencontainers.image.{name}");
        let label = labels.iter().find(|label| label["Key"] == key.as_str());
        let value = label.unwrap_or_else(|| panic!("no {name}"))["Value"].as_str().unwrap();
        value.trim_matches('"').to_owned()
    };
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("revision"), "${LANDFALL_COMMIT}");
}

#[test]
fn what_buildkit_does_not_know_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Dockerfile");
    for text in
        ["FROM a:1\nRUNN true\n", "FROM a:1\nHEALTHCHECK --every=1s CMD true\n", "RUN true\n"]
    {
        std::fs::write(&path, text).unwrap();
        assert!(read(&["dockerfile", path.to_str().unwrap()]).is_err(), "{text}");
    }
}
