//! One stack of `compose/`, as Compose resolves it: who listens where, and who asks whom.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;

use super::reader::{self, file, text, texts, yaml};

/// The stacks, and what each has beside the services of all.
pub(crate) const STACKS: &[(&str, &[&str])] = &[
    ("mosquitto", &["mosquitto", "bridge"]),
    ("zilla", &["zilla"]),
    ("emqx", &["emqx"]),
    ("hivemq", &["hivemq", "camel"]),
];
/// What all of them have.
pub(crate) const COMMON: &[&str] =
    &["kafka", "sidecar", "landfall", "collector", "jaeger", "prometheus", "grafana"];

/// A stack and its resolved services.
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) services: BTreeMap<String, Value>,
}

/// A port that is listened on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listener {
    /// The service whose addresses it is on.
    at: String,
    port: u16,
    /// Only those at the same addresses reach it.
    is_local: bool,
}

/// A port that somebody asks.
#[derive(Debug)]
pub(crate) struct Question {
    /// The service that asks, or whose port is published.
    from: String,
    /// A name in the network, or `127.0.0.1`.
    host: String,
    port: u16,
    /// What says so, for whoever reads the failure.
    because: String,
    /// Whether it comes from outside of the container.
    is_published: bool,
}

impl Stack {
    /// All stacks, in an environment of nothing.
    pub(crate) fn all() -> Vec<Self> {
        STACKS.iter().map(|(name, _)| Self::read(name, &[])).collect()
    }

    /// One stack in an environment of these variables.
    pub(crate) fn read(name: &'static str, variables: &[&str]) -> Self {
        let path = file(&format!("compose/{name}/compose.yaml"));
        let arguments = [&["compose", path.to_str().unwrap()], variables].concat();
        let project = reader::read(&arguments).unwrap();
        let services = project["services"].as_object().unwrap().clone();
        Self { name, services: services.into_iter().collect() }
    }

    /// Whose addresses a service has: its own, or those of another one that it joined.
    fn home(&self, service: &str) -> String {
        let mode = self.services[service]["network_mode"].as_str().unwrap_or_default();
        mode.strip_prefix("service:").unwrap_or(service).to_owned()
    }

    /// Who is behind a name in the network, asked from a service.
    fn resolve(&self, from: &str, host: &str) -> Option<String> {
        if matches!(host, "127.0.0.1" | "localhost") {
            return Some(self.home(from));
        }
        let named = self.services.iter().find(|(name, service)| {
            // One that joined another one's addresses has no name of its own.
            let own = *name == host && service["network_mode"].is_null();
            own || texts(&service["networks"]["default"]["aliases"]).iter().any(|it| it == host)
        });
        named.map(|(name, _)| name.clone())
    }

    /// Where the file lies that a service sees at a path.
    pub(crate) fn mounted(&self, service: &str, target: &str) -> PathBuf {
        let volumes = self.services[service]["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["target"] == target);
        let volume = volume.unwrap_or_else(|| panic!("{}: nothing at {target}", self.name));
        volume["source"].as_str().unwrap().into()
    }

    /// The ports that its services listen on, read from what configures them.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let mut found = Vec::new();
        for name in self.services.keys() {
            for (port, is_local) in self.listens(name) {
                found.push(Listener { at: self.home(name), port, is_local });
            }
        }
        found
    }

    /// The ports that one service listens on, and whether only on its own addresses.
    fn listens(&self, service: &str) -> Vec<(u16, bool)> {
        let bound = |address: &str| {
            let (host, port) = address.rsplit_once(':').unwrap();
            (port.parse().unwrap(), host.ends_with("127.0.0.1"))
        };
        let open = |port: &str| (port.parse().unwrap(), false);
        let command = texts(&self.services[service]["command"]).join(" ");
        let all = |pattern: &str, text: &str| -> Vec<String> {
            let pattern = Regex::new(pattern).unwrap();
            pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
        };
        match service {
            "landfall" => {
                let file = self.mounted(service, "/etc/landfall/landfall.yaml");
                let listen = &reader::configuration(&file)["telemetry"]["listen"];
                vec![bound(listen.as_str().unwrap())]
            }
            "kafka" => {
                let properties = text("compose/kafka/server.properties");
                let listeners = &all(r"(?m)^listeners=(.*)$", &properties)[0];
                listeners.split(',').map(bound).collect()
            }
            "collector" => {
                let text = text("otel/collector.yaml");
                let endpoints = all(r"(?m)^ +endpoint: \$\{env:\w+:-([0-9.]+:[0-9]+)\}", &text);
                assert!(endpoints.len() >= 4, "{endpoints:?}");
                endpoints.iter().map(|endpoint| bound(endpoint)).collect()
            }
            "prometheus" => {
                vec![bound(&all(r"--web\.listen-address=(\S+)", &command)[0])]
            }
            "grafana" => {
                let port = &self.services[service]["environment"]["GF_SERVER_HTTP_PORT"];
                vec![open(port.as_str().unwrap())]
            }
            // Its image listens on these for everybody: OTLP, the user interface, health.
            "jaeger" => vec![(4317, false), (4318, false), (16686, false), (13133, false)],
            "mosquitto" => {
                let text = text("compose/mosquitto/mosquitto.conf");
                all(r"(?m)^listener ([0-9]+)$", &text).iter().map(|port| open(port)).collect()
            }
            "zilla" => {
                let bindings = yaml("compose/zilla/zilla.yaml");
                let options = &bindings["bindings"]["mqtt_port"]["options"];
                assert_eq!(options["host"], "0.0.0.0");
                vec![open(&options["port"].to_string())]
            }
            "emqx" => {
                let text = text("compose/emqx/emqx.hocon");
                all(r#"bind = "([^"]+)""#, &text).iter().map(|address| bound(address)).collect()
            }
            "hivemq" => {
                let text = text("compose/hivemq/hivemq.xml");
                let document = roxmltree::Document::parse(&text).unwrap();
                let mut nodes = document.descendants();
                vec![open(nodes.find(|node| node.has_tag_name("port")).unwrap().text().unwrap())]
            }
            "bridge" | "camel" | "sidecar" => Vec::new(),
            other => panic!("{other}: where does it listen?"),
        }
    }

    /// Every port that is asked, and by whom.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let mut found = Vec::new();
        for (name, service) in &self.services {
            let mut ask = |because: &str, text: &str| {
                for (host, port) in addresses(text) {
                    let (from, because) = (name.clone(), because.to_owned());
                    found.push(Question { from, host, port, because, is_published: false });
                }
            };
            for (variable, value) in service["environment"].as_object().into_iter().flatten() {
                ask(variable, value.as_str().unwrap_or_default());
            }
            ask("command", &texts(&service["command"]).join(" ").replace("0.0.0.0:9090", ""));
            let check = texts(&service["healthcheck"]["test"]).join(" ");
            ask("health check", &check);
            for port in in_health_check(&check) {
                ask("health check", &format!("127.0.0.1:{port}"));
            }
            for (because, text) in self.configured(name) {
                ask(&because, &text);
            }
            for port in service["ports"].as_array().into_iter().flatten() {
                found.push(Question {
                    from: name.clone(),
                    host: "127.0.0.1".to_owned(),
                    port: u16::try_from(port["target"].as_u64().unwrap()).unwrap(),
                    because: "published".to_owned(),
                    is_published: true,
                });
            }
        }
        found
    }

    /// What the configuration of a service says of others, each with its place.
    fn configured(&self, service: &str) -> Vec<(String, String)> {
        let said = |place: &str, value: &Value| (place.to_owned(), value.to_string());
        match service {
            "landfall" => {
                let file = self.mounted(service, "/etc/landfall/landfall.yaml");
                let configuration = reader::configuration(&file);
                let mut asked = vec![said(
                    "telemetry.otlp.endpoint",
                    &configuration["telemetry"]["otlp"]["endpoint"],
                )];
                for path in configuration["paths"].as_array().unwrap() {
                    asked.push(said("mqtt.url", &path["mqtt"]["url"]));
                    asked.push(said("kafka.brokers", &path["kafka"]["brokers"]));
                }
                asked
            }
            "prometheus" => {
                let jobs = &yaml("otel/prometheus.yaml")["scrape_configs"];
                let jobs = jobs.as_array().unwrap().iter();
                jobs.map(|job| said("scrape", &job["static_configs"])).collect()
            }
            "grafana" => {
                let sources = yaml("grafana/provisioning/datasources/prometheus.yaml");
                vec![said("data source", &sources["datasources"][0]["url"])]
            }
            "zilla" => {
                vec![said("servers", &yaml("compose/zilla/zilla.yaml")["bindings"]["kafka"])]
            }
            "emqx" => {
                let text = text("compose/emqx/emqx.hocon");
                let hosts = text.lines().filter(|line| line.contains("bootstrap_hosts"));
                vec![("bootstrap_hosts".to_owned(), hosts.collect())]
            }
            _ => Vec::new(),
        }
    }

    /// The questions that nobody would answer.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let listeners = self.listeners();
        let answers = |question: &Question| {
            let at = self.resolve(&question.from, &question.host);
            let is_inside =
                !question.is_published && at.as_ref() == Some(&self.home(&question.from));
            listeners.iter().any(|listener| {
                Some(&listener.at) == at.as_ref()
                    && listener.port == question.port
                    && (is_inside || !listener.is_local)
            })
        };
        let open = self.questions().into_iter().filter(|question| !answers(question));
        open.map(|it| {
            format!("{}: {} asks {}:{} ({})", self.name, it.from, it.host, it.port, it.because)
        })
        .collect()
    }
}

/// The `host:port` pairs in a text.
fn addresses(text: &str) -> Vec<(String, u16)> {
    let pattern = Regex::new(r"\b([a-z][a-z0-9.-]*|[0-9.]{7,15}):([0-9]{2,5})\b").unwrap();
    let found = pattern.captures_iter(text);
    found.map(|found| (found[1].to_owned(), found[2].parse().unwrap())).collect()
}

/// The ports that a health check asks in other ways: through bash, an option, or what connections stand.
fn in_health_check(check: &str) -> Vec<u16> {
    let asked = Regex::new(r"/dev/tcp/127\.0\.0\.1/([0-9]+)| -p ([0-9]+)").unwrap();
    let found = asked.captures_iter(check);
    found
        .map(|found| found.iter().skip(1).flatten().next().unwrap().as_str().parse().unwrap())
        .collect()
}
