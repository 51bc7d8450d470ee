//! The manifests for Kubernetes.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::reader::{configuration, file, installed, landfall, read, seconds, text, texts, yaml};

/// The objects of the kustomization in a directory, each held against its schema.
fn objects(directory: &Path) -> Result<Vec<Value>, String> {
    let schemas = installed().join("schemas");
    let built = read(&["kubernetes", directory.to_str().unwrap(), schemas.to_str().unwrap()]);
    Ok(built?.as_array().unwrap().clone())
}

/// Those that ship.
fn shipped() -> Vec<Value> {
    objects(&file("compose/kubernetes")).unwrap()
}

/// The objects of a kind by their names.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> BTreeMap<&'a str, &'a Value> {
    let found = objects.iter().filter(|object| object["kind"] == kind);
    found.map(|object| (object["metadata"]["name"].as_str().unwrap(), object)).collect()
}

/// The items of a list, which may be missing.
fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The containers of a pod, sidecars among them.
fn containers(deployment: &Value) -> Vec<&Value> {
    let pod = &deployment["spec"]["template"]["spec"];
    items(&pod["initContainers"]).chain(items(&pod["containers"])).collect()
}

/// landfall's container, and the configuration that is mounted for it, as the binary takes it.
fn probe<'a>(objects: &'a [Value], deployment: &'a Value) -> (&'a Value, Value) {
    let container = containers(deployment).into_iter().find(|it| it["name"] == "landfall").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let volume = items(&pod["volumes"]).find(|volume| volume["name"] == "configuration").unwrap();
    let map = volume["configMap"]["name"].as_str().unwrap();
    let map = &of_kind(objects, "ConfigMap")[map]["data"];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.yaml");
    std::fs::write(&path, map["landfall.yaml"].as_str().unwrap()).unwrap();
    (container, configuration(&path))
}

#[test]
fn the_kustomization_has_what_it_promises() {
    let objects = shipped();
    let names = |kind: &str| of_kind(&objects, kind).into_keys().collect::<Vec<_>>();
    assert_eq!(names("Deployment"), ["landfall", "mosquitto"]);
    assert_eq!(names("Service"), ["landfall", "landfall-sidecar", "mosquitto"]);
    assert_eq!(names("ServiceMonitor"), ["landfall"]);
    assert_eq!(names("PrometheusRule"), ["landfall"]);
    assert_eq!(names("ConfigMap").len(), 3);
    for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
        assert_eq!(object["metadata"]["namespace"], "landfall", "{object}");
    }
}

#[test]
fn each_container_is_hardened_and_bounded() {
    let objects = shipped();
    for (name, deployment) in of_kind(&objects, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for container in containers(deployment) {
            let container_name = &container["name"];
            let may = &container["securityContext"];
            assert_eq!(may["allowPrivilegeEscalation"], false, "{name}: {container_name}");
            assert_eq!(may["readOnlyRootFilesystem"], true, "{name}: {container_name}");
            assert_eq!(may["capabilities"], json!({ "drop": ["ALL"] }), "{name}: {container_name}");
            let user = [&may["runAsUser"], &pod["securityContext"]["runAsUser"]];
            let user = user.iter().find_map(|user| user.as_u64());
            assert!(user.is_some_and(|user| user > 0), "{name}: {container_name}");
            let resources = &container["resources"];
            for (kind, what) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")]
            {
                assert!(
                    resources[kind][what].is_string(),
                    "{name}: {container_name}: {kind} {what}"
                );
            }
            let image = container["image"].as_str().unwrap();
            let (_, tag) = image.rsplit_once(':').unwrap();
            assert!(tag.starts_with(|digit: char| digit.is_ascii_digit()), "{image}");
        }
    }
}

#[test]
fn the_probe_is_asked_where_it_listens_and_given_time_to_drain() {
    let objects = shipped();
    for (name, deployment) in of_kind(&objects, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let (container, configuration) = probe(&objects, deployment);
        let port = &container["ports"][0];
        let listen = format!("0.0.0.0:{}", port["containerPort"]);
        assert_eq!(configuration["telemetry"]["listen"], listen, "{name}");
        for probe in ["startupProbe", "livenessProbe"] {
            let expected = json!({ "path": "/livez", "port": port["name"] });
            assert_eq!(container[probe]["httpGet"], expected, "{name}: {probe}");
        }
        let drain = seconds(configuration["drain"].as_str().unwrap());
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= drain + 10, "{name}");
        // Variables that Kubernetes makes for services begin with LANDFALL_ here.
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
        // Two processes must not have one name and one state, not even for a moment.
        assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate", "{name}");
        let state = configuration["state_dir"].as_str().unwrap();
        assert!(items(&container["volumeMounts"]).any(|it| it["mountPath"] == state), "{name}");

        let mut arguments = texts(&container["args"]);
        "/nowhere/landfall.yaml".clone_into(&mut arguments[2]);
        let (code, said) = landfall(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(code == Some(2) && said.contains("/nowhere/landfall.yaml"), "{said}");
    }
}

#[test]
fn the_sidecar_starts_before_its_workload_and_never_takes_it_down() {
    let objects = shipped();
    let deployments = of_kind(&objects, "Deployment");
    let sidecar = probe(&objects, deployments["mosquitto"]);
    assert_eq!(sidecar.0["restartPolicy"], "Always");
    assert!(sidecar.0["readinessProbe"].is_null());
    // It measures its neighbour in the pod, at a port that this one has.
    let workload = &deployments["mosquitto"]["spec"]["template"]["spec"]["containers"][0];
    let url = format!("mqtt://127.0.0.1:{}", workload["ports"][0]["containerPort"]);
    assert_eq!(sidecar.1["paths"][0]["mqtt"]["url"], url);

    let (alone, configuration) = probe(&objects, deployments["landfall"]);
    assert!(alone["restartPolicy"].is_null());
    assert_eq!(alone["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(configuration["paths"][0]["mqtt"]["url"], "mqtt://mosquitto:1883");
}

#[test]
fn a_bridge_carries_what_both_probes_publish_to_where_they_look_for_it() {
    let objects = shipped();
    let deployments = of_kind(&objects, "Deployment");
    let beside = containers(deployments["mosquitto"]);
    let bridge = beside.iter().find(|container| container["name"] == "bridge").unwrap();
    let mut arguments = texts(&bridge["args"]);
    for (name, deployment) in &deployments {
        let (_, configuration) = probe(&objects, deployment);
        let path = &configuration["paths"][0];
        let topic = path["mqtt"]["topic"].as_str().unwrap();
        assert!(topic.starts_with("landfall/"), "{name}: {topic}");
        let brokers = path["kafka"]["brokers"].as_str().unwrap();
        let topics = texts(&path["kafka"]["topics"]).join(",");
        let kafka = [format!("--kafka={brokers}"), format!("--topic={topics}")];
        for argument in ["--filter=landfall/#", kafka[0].as_str(), kafka[1].as_str()] {
            assert!(arguments.iter().any(|it| it == argument), "{name}: {argument}");
        }
    }
    // Mosquitto is its neighbour in the pod.
    let workload = beside.iter().find(|container| container["name"] == "mosquitto").unwrap();
    let mqtt = format!("--mqtt=127.0.0.1:{}", workload["ports"][0]["containerPort"]);
    assert!(arguments.contains(&mqtt), "{mqtt}");
    // Refused only when all else was understood.
    arguments.push("--in-flight=0".to_owned());
    let (code, said) = landfall(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(code == Some(2) && said.contains("max_in_flight is 0"), "{said}");
}

#[test]
fn services_find_their_pods_and_prometheus_the_services() {
    let objects = shipped();
    let deployments = of_kind(&objects, "Deployment");
    let within = |part: &Value, whole: &Value| {
        let (part, whole) = (part.as_object().unwrap(), whole.as_object().unwrap());
        part.iter().all(|(name, value)| whole.get(name) == Some(value))
    };
    let services = of_kind(&objects, "Service");
    for (name, service) in &services {
        let selected = deployments.values().filter(|deployment| {
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            within(&service["spec"]["selector"], labels)
        });
        let selected: Vec<_> = selected.collect();
        let [deployment] = selected.as_slice() else { panic!("{name}: {}", selected.len()) };
        for port in items(&service["spec"]["ports"]) {
            let containers = containers(deployment);
            let mut ports = containers.iter().flat_map(|container| items(&container["ports"]));
            assert!(ports.any(|it| it["name"] == port["targetPort"]), "{name}: {port}");
        }
    }
    for deployment in deployments.values() {
        let (selector, labels) = (
            &deployment["spec"]["selector"],
            &deployment["spec"]["template"]["metadata"]["labels"],
        );
        assert!(within(&selector["matchLabels"], labels));
    }
    let monitor = &of_kind(&objects, "ServiceMonitor")["landfall"]["spec"];
    let scraped = services.iter().filter(|(_, service)| {
        within(&monitor["selector"]["matchLabels"], &service["metadata"]["labels"])
    });
    let scraped: BTreeMap<_, _> = scraped.collect();
    assert_eq!(scraped.len(), 2, "{:?}", scraped.keys());
    // A series outlives its pod, so that rules see a restart.
    let relabelings = json!([
        { "sourceLabels": ["__meta_kubernetes_service_name"], "targetLabel": "instance" },
        { "action": "labeldrop", "regex": "pod|container|endpoint" },
    ]);
    assert_eq!(monitor["endpoints"][0]["relabelings"], relabelings);
    for (name, service) in scraped {
        let port = &monitor["endpoints"][0]["port"];
        assert!(items(&service["spec"]["ports"]).any(|it| it["name"] == *port), "{name}");
        // So that `job` is what dashboards and alerts look for.
        let label = monitor["jobLabel"].as_str().unwrap();
        assert_eq!(service["metadata"]["labels"][label], "landfall", "{name}");
    }
}

#[test]
fn the_rules_of_the_operator_are_those_of_prometheus() {
    let mut paths: Vec<_> = std::fs::read_dir(file("grafana/rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    // Indented below `spec`, text by text.
    let mut expected = String::from(PRELUDE);
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let (_, groups) = text.split_once("\ngroups:\n").unwrap();
        for line in groups.lines() {
            expected.push_str(format!("  {line}").trim_end());
            expected.push('\n');
        }
    }
    let path = "compose/kubernetes/prometheusrule.yaml";
    if text(path) != expected {
        let copy = std::env::temp_dir().join("landfall-prometheusrule.yaml");
        std::fs::write(&copy, &expected).unwrap();
        panic!("{path} is not grafana/rules any more; copy {} there", copy.display());
    }
    let mut groups = Vec::new();
    for path in &paths {
        groups.extend(items(&yaml(path.to_str().unwrap())["groups"]).cloned().collect::<Vec<_>>());
    }
    assert!(!groups.is_empty());
    let shipped = shipped();
    let built = &of_kind(&shipped, "PrometheusRule")["landfall"]["spec"]["groups"];
    assert_eq!(spaced(built), spaced(&json!(groups)));
}

/// The same with one blank for each stretch of white space in a text: Kustomize writes folded texts with
/// other line breaks, which mean nothing in PromQL.
fn spaced(value: &Value) -> Value {
    match value {
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        Value::Array(list) => list.iter().map(spaced).collect(),
        Value::Object(map) => map.iter().map(|(key, it)| (key.clone(), spaced(it))).collect(),
        other => other.clone(),
    }
}

/// What stands above the groups.
const PRELUDE: &str = "\
# The rules of grafana/rules for the Prometheus Operator. A test keeps them the same, and prints where the
# copy is that belongs here.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: landfall
  labels: { app.kubernetes.io/name: landfall }
spec:
  groups:
";

#[test]
fn the_workloads_configuration_is_that_of_the_stack() {
    let settings = |path: &str| {
        let text = text(path);
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let stack = settings("compose/mosquitto/mosquitto.conf");
    assert_eq!(settings("compose/kubernetes/mosquitto.conf"), stack);
    let stack = text("compose/mosquitto/compose.yaml");
    let kubernetes = text("compose/kubernetes/sidecar.yaml");
    let image = kubernetes.split("image: eclipse-mosquitto:").nth(1).unwrap();
    assert!(stack.contains(&format!(":-{}}}", image.lines().next().unwrap())));
    let tag = format!("newTag: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(text("compose/kubernetes/kustomization.yaml").contains(&tag), "{tag}");
}

#[test]
fn what_kubernetes_does_not_know_is_refused() {
    let cases = [
        ("deployment.yaml", "replicas: 1", "replicass: 1", "replicass"),
        ("deployment.yaml", "replicas: 1", "replicas: one", "replicas"),
        ("deployment.yaml", "path: /readyz, port", "path: /readyz, prt", "prt"),
        ("sidecar.yaml", "containerPort: 1883", "containerPort: mqtt", "containerPort"),
        ("service.yaml", "port: 9464,", "prot: 9464,", "prot"),
        ("servicemonitor.yaml", "interval: 15s", "interval: soon", "interval"),
        ("servicemonitor.yaml", "interval: 15s", "intervall: 15s", "intervall"),
        ("prometheusrule.yaml", "groups:", "group:", "group"),
        ("servicemonitor.yaml", "kind: ServiceMonitor", "kind: ServiceMonitors", "schema"),
        ("kustomization.yaml", "resources:", "resourses:", "resourses"),
    ];
    for (name, from, to, why) in cases {
        let directory = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(file("compose/kubernetes")).unwrap() {
            let path = entry.unwrap().path();
            let mut text = std::fs::read_to_string(&path).unwrap();
            if path.ends_with(name) {
                assert!(text.contains(from), "{name}: {from}");
                text = text.replacen(from, to, 1);
            }
            std::fs::write(directory.path().join(path.file_name().unwrap()), text).unwrap();
        }
        let refused = objects(directory.path()).unwrap_err();
        assert!(refused.contains(why), "{name}: {to}: {refused}");
    }
}
