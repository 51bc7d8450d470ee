//! The stacks of Compose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::reader::{configuration, file, landfall, read, seconds, text, texts, yaml};
use super::stack::{COMMON, STACKS, Stack};

/// Whose image writes below its root: each keeps state and logs beside its program.
const WRITES_BELOW_ITS_ROOT: &[&str] = &["zilla", "emqx", "hivemq"];

/// Asserts that nothing was found, and else says what.
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The services of all stacks for which something does not hold, by stack and name.
fn all_but(holds: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for stack in Stack::all() {
        for (name, service) in &stack.services {
            if !holds(name, service) {
                found.push(format!("{}: {name}: {service}", stack.name));
            }
        }
    }
    found
}

#[test]
fn each_stack_has_its_systems_and_those_of_all_and_the_readme_lists_it() {
    let readme = text("compose/README.md");
    for (stack, (name, own)) in Stack::all().iter().zip(STACKS) {
        let services: BTreeSet<&str> = stack.services.keys().map(String::as_str).collect();
        let expected = own.iter().chain(COMMON).copied().collect();
        assert_eq!(services, expected, "{name}");
        let command = format!("docker compose -f compose/{name}/compose.yaml up");
        assert!(readme.contains(&command), "{command}");
    }
    let files = std::fs::read_dir(file("compose")).unwrap();
    let there = files.filter(|entry| entry.as_ref().unwrap().path().join("compose.yaml").exists());
    assert_eq!(there.count(), STACKS.len());
}

#[test]
fn each_mounted_file_is_there() {
    let mut missing = Vec::new();
    let mut mounts = 0;
    for stack in Stack::all() {
        for (name, service) in &stack.services {
            for volume in service["volumes"].as_array().into_iter().flatten() {
                if volume["type"] != "bind" {
                    continue;
                }
                mounts += 1;
                let source = Path::new(volume["source"].as_str().unwrap());
                let target = Path::new(volume["target"].as_str().unwrap());
                // Compose makes a directory of a file that is missing.
                let fits =
                    if target.extension().is_some() { source.is_file() } else { source.is_dir() };
                if !fits || volume["read_only"] != true {
                    missing.push(format!("{}: {name}: {volume}", stack.name));
                }
            }
        }
    }
    none("not there, or not read-only", &missing);
    assert!(mounts > 30, "{mounts}");
}

#[test]
fn grafana_and_prometheus_find_what_they_are_told_to_load() {
    let stack = Stack::read("mosquitto", &[]);
    let providers = yaml("grafana/provisioning/dashboards/landfall.yaml");
    let path = providers["providers"][0]["options"]["path"].as_str().unwrap();
    assert_eq!(stack.mounted("grafana", path), file("grafana/dashboards"));
    assert_eq!(stack.mounted("grafana", "/etc/grafana/provisioning"), file("grafana/provisioning"));

    let command = texts(&stack.services["prometheus"]["command"]).join(" ");
    let loaded = Regex::new(r"--config\.file=(\S+)").unwrap();
    let loaded = Path::new(loaded.captures(&command).unwrap().get(1).unwrap().as_str());
    let rules = texts(&yaml("otel/prometheus.yaml")["rule_files"]);
    assert!(!rules.is_empty());
    for pattern in rules {
        // Relative to the configuration, in the repository as in the container.
        let (directory, name) = pattern.rsplit_once('/').unwrap();
        let inside = loaded.parent().unwrap().parent().unwrap();
        let inside = inside.join(directory.strip_prefix("../").unwrap());
        let outside = file("otel").join(directory).canonicalize().unwrap();
        assert_eq!(stack.mounted("prometheus", inside.to_str().unwrap()), outside);
        let suffix = name.strip_prefix('*').unwrap();
        let there = std::fs::read_dir(&outside).unwrap();
        let there = there.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(suffix)
        });
        assert!(there.count() > 0, "{pattern}");
    }
}

#[test]
fn each_port_that_is_asked_for_is_one_that_is_listened_on() {
    let stacks = Stack::all();
    let unanswered: Vec<String> = stacks.iter().flat_map(Stack::unanswered).collect();
    none("nobody answers", &unanswered);
    for stack in &stacks {
        assert!(stack.questions().len() > 15, "{:#?}", stack.questions());
    }
}

#[test]
fn a_port_that_nobody_listens_on_is_found_out() {
    let mut stack = Stack::read("mosquitto", &[]);
    let bridge = stack.services.get_mut("bridge").unwrap();
    bridge["command"][2] = "mosquitto:1884".into();
    let grafana = stack.services.get_mut("grafana").unwrap();
    grafana["environment"]["GF_SERVER_HTTP_PORT"] = "3001".into();
    let collector = stack.services.get_mut("collector").unwrap();
    // Jaeger is at other addresses than the Collector.
    collector["environment"]["COLLECTOR_TRACES_ENDPOINT"] = "http://127.0.0.1:4319".into();
    let unanswered = stack.unanswered();
    // Grafana's is asked by its health check and by who looks at it from outside.
    assert_eq!(unanswered.len(), 4, "{unanswered:#?}");
}

#[test]
fn a_bridge_is_well_while_it_is_connected_to_the_very_ports_that_it_is_given() {
    let standing = Regex::new(r":([0-9A-F]{4}) 01 ").unwrap();
    let ports = Regex::new(r":([0-9]+)").unwrap();
    for (stack, name) in [("mosquitto", "bridge"), ("hivemq", "camel")] {
        let stack = Stack::read(stack, &[]);
        let service = &stack.services[name];
        let check = texts(&service["healthcheck"]["test"]).join(" ");
        let standing = standing.captures_iter(&check);
        let standing: BTreeSet<u16> =
            standing.map(|port| u16::from_str_radix(&port[1], 16).unwrap()).collect();
        let given = format!("{} {}", service["command"], service["environment"]);
        let given = ports.captures_iter(&given).map(|port| port[1].parse().unwrap()).collect();
        assert_eq!(standing, given, "{name}");
    }
}

#[test]
fn no_image_moves() {
    let pinned = Regex::new(r"^[a-z0-9./-]+:v?[0-9]+\.[0-9]+(\.[0-9]+)?[a-z0-9._-]*$").unwrap();
    none("not pinned", &all_but(|_, service| pinned.is_match(service["image"].as_str().unwrap())));
    let from = Regex::new(r"(?m)^FROM (\S+)").unwrap();
    let inline = all_but(|_, service| {
        let inline = service["build"]["dockerfile_inline"].as_str().unwrap_or_default();
        from.captures_iter(inline).all(|base| pinned.is_match(&base[1]))
    });
    none("not pinned", &inline);
}

#[test]
fn each_service_is_asked_for_its_health_and_waits_for_that_of_others() {
    none(
        "no health check",
        &all_but(|_, service| texts(&service["healthcheck"]["test"]).len() > 1),
    );
    let waits = |_: &str, service: &Value| {
        let others = service["depends_on"].as_object().into_iter().flatten();
        others.into_iter().all(|(_, other)| other["condition"] == "service_healthy")
    };
    none("waits for less than health", &all_but(waits));
    for stack in Stack::all() {
        // Whoever has a healthy landfall has all that it measures.
        let mut behind = BTreeSet::new();
        let mut open = vec!["landfall".to_owned()];
        while let Some(name) = open.pop() {
            let others = stack.services[&name]["depends_on"].as_object().into_iter().flatten();
            open.extend(others.map(|(other, _)| other.clone()));
            behind.insert(name);
        }
        let (_, own) = STACKS.iter().find(|(name, _)| *name == stack.name).unwrap();
        for name in own.iter().chain(&["kafka", "sidecar", "collector"]) {
            assert!(behind.contains(*name), "{}: {name} is not waited for", stack.name);
        }
    }
}

#[test]
fn each_service_has_limits_which_variables_set() {
    let limited = |_: &str, service: &Value| {
        let limits = &service["deploy"]["resources"]["limits"];
        limits["cpus"].is_number() && limits["memory"].is_string() && limits["pids"].is_number()
    };
    none("not limited", &all_but(limited));
    let variable = Regex::new(r"(?:cpus|memory): \$\{(\w+):-").unwrap();
    for (name, _) in STACKS {
        let files =
            ["compose/base.yaml", "compose/service.yaml", &format!("compose/{name}/compose.yaml")]
                .map(text)
                .concat();
        let set: BTreeMap<&str, &str> = variable
            .captures_iter(&files)
            .map(|found| found.get(1).unwrap().as_str())
            .map(|name| (name, if name.ends_with("_CPUS") { "0.25" } else { "48m" }))
            .collect();
        let set: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        for (service, resolved) in Stack::read(name, &set).services {
            let limits = &resolved["deploy"]["resources"]["limits"];
            assert_eq!(limits["cpus"], 0.25, "{name}: {service}");
            assert_eq!(limits["memory"], (48 << 20).to_string(), "{name}: {service}");
        }
    }
}

#[test]
fn each_service_can_do_no_more_than_it_has_to() {
    let hardened = |name: &str, service: &Value| {
        texts(&service["cap_drop"]) == ["ALL"]
            && service["cap_add"].is_null()
            && service["privileged"].is_null()
            && texts(&service["security_opt"]) == ["no-new-privileges:true"]
            && (service["read_only"] == true) != WRITES_BELOW_ITS_ROOT.contains(&name)
    };
    none("may do too much", &all_but(hardened));
    let closed = |_: &str, service: &Value| {
        let ports = service["ports"].as_array().into_iter().flatten();
        ports.into_iter().all(|port| port["host_ip"] == "127.0.0.1")
    };
    none("reached from other machines", &all_but(closed));
    let secret = Regex::new("(?i)password|secret|token|credential|_key$").unwrap();
    let discreet = |_: &str, service: &Value| {
        let variables = service["environment"].as_object().into_iter().flatten();
        variables.into_iter().all(|(name, _)| !secret.is_match(name) || name.ends_with("_FILE"))
    };
    none("a secret in the environment", &all_but(discreet));
}

#[test]
fn the_binary_accepts_what_the_stacks_give_it() {
    for stack in Stack::all() {
        let service = &stack.services["landfall"];
        let shown = configuration(&stack.mounted("landfall", "/etc/landfall/landfall.yaml"));
        let drain = seconds(shown["drain"].as_str().unwrap());
        let patience = seconds(service["stop_grace_period"].as_str().unwrap());
        assert!(patience >= drain + 10, "{}: {patience} s for {drain} s", stack.name);
        // State that is kept is in the volume.
        let state = shown["state_dir"].as_str().unwrap();
        let volumes = service["volumes"].as_array().unwrap();
        assert!(volumes.iter().any(|it| it["target"] == state && it["type"] == "volume"));
        for name in service["environment"].as_object().unwrap().keys() {
            assert!(name.starts_with("OTEL_"), "{name}: is it known?");
        }

        // Nobody listens there, which is known only when the arguments were understood.
        let mut check = texts(&service["healthcheck"]["test"]).split_off(2);
        *check.last_mut().unwrap() = "127.0.0.1:1".to_owned();
        let check: Vec<&str> = check.iter().map(String::as_str).collect();
        assert_eq!(landfall(&check).0, Some(1), "{check:?}");
    }
    let stack = Stack::read("mosquitto", &[]);
    let mut bridge = texts(&stack.services["bridge"]["command"]);
    bridge.extend(["--in-flight".to_owned(), "0".to_owned()]);
    let (code, said) = landfall(&bridge.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(code == Some(2) && said.contains("max_in_flight is 0"), "{said}");
}

#[test]
fn the_collectors_variables_are_ones_that_its_configuration_knows() {
    let known = text("otel/collector.yaml");
    let stack = Stack::read("mosquitto", &[]);
    let variables = stack.services["collector"]["environment"].as_object().unwrap();
    for name in variables.keys() {
        assert!(known.contains(&format!("${{env:{name}:-")), "{name}");
    }
    // The Collector of the tests and that of the stacks are of one version.
    let built = yaml("tests/systems/collector-build.yaml");
    let version = built["dist"]["version"].as_str().unwrap();
    assert!(stack.services["collector"]["image"].as_str().unwrap().ends_with(version));
}

#[test]
fn each_topic_that_is_named_is_created() {
    let written = Regex::new(r"(?m)^ +topic = (\S+)$").unwrap();
    for stack in Stack::all() {
        let command = texts(&stack.services["kafka"]["command"]);
        let created: BTreeSet<&str> =
            command[2..].iter().map(|topic| topic.split(':').next().unwrap()).collect();
        let file = stack.mounted("landfall", "/etc/landfall/landfall.yaml");
        let path = configuration(&file)["paths"][0].clone();
        let mut named = texts(&path["kafka"]["topics"]);
        named.push(path["kafka"]["control_topic"].as_str().unwrap().to_owned());
        let (_, own) = STACKS.iter().find(|(name, _)| *name == stack.name).unwrap();
        let theirs = match own.last() {
            Some(&"bridge") => texts(&stack.services["bridge"]["command"]).last().cloned(),
            Some(&"zilla") => {
                let zilla = yaml("compose/zilla/zilla.yaml");
                let topics = &zilla["bindings"]["mqtt_to_kafka"]["options"]["topics"];
                let topics = topics.as_object().unwrap().values();
                named.extend(topics.map(|topic| topic.as_str().unwrap().to_owned()));
                None
            }
            Some(&"emqx") => {
                Some(written.captures(&text("compose/emqx/emqx.hocon")).unwrap()[1].to_owned())
            }
            Some(&"camel") => {
                let route = yaml("compose/hivemq/camel/route.yaml");
                let to = &route[0]["route"]["from"]["steps"][1]["to"]["parameters"]["topic"];
                to.as_str().map(str::to_owned)
            }
            other => panic!("{other:?}: which topics does it name?"),
        };
        named.extend(theirs);
        for topic in named {
            assert!(created.contains(topic.as_str()), "{}: {topic}", stack.name);
        }
    }
}

#[test]
fn what_compose_does_not_know_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("compose.yaml");
    let cases = [
        ("services: { a: { image: \"a:1.0\", red_only: true } }", "red_only"),
        ("services: { a: { image: \"a:${NOBODY}\" } }", "NOBODY"),
        ("services: { a: { image: \"a:1.0\", depends_on: [b] } }", "undefined service"),
        ("include: [nowhere.yaml]", "nowhere.yaml"),
        ("services: { a: { extends: { file: nowhere.yaml, service: a } } }", "nowhere.yaml"),
    ];
    for (text, why) in cases {
        std::fs::write(&path, text).unwrap();
        let refused = read(&["compose", path.to_str().unwrap()]).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    }
}
