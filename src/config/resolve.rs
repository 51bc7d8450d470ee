//! Room `config` (wiring): from the completed tree to the checked configuration.

mod clients;
mod control;
mod load;
mod otlp;
mod pace;
mod slo;
mod tls;

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::{SecretSlice, SecretString};

use super::files;
use super::keys::{self, PAYLOAD_MAX};
use super::kind::Kind;
use super::problem::Problems;
use super::resolved::{
    KafkaConfig, MqttConfig, PathConfig, PayloadConfig, Rate, Resolved, TelemetryConfig,
};
use super::standard;
use super::table::Key;
use super::tree::{Node, Origin, Value, join};
use crate::correlate::Lane;
use crate::host;

/// Most slots that may wait for their outcome at once, over all paths.
const IN_FLIGHT_MAX: f64 = 4_000_000.0;
/// Most paths that the arithmetic of a message shows.
const TERMS_SHOWN: usize = 4;

/// What reading needs beside the tree.
pub(super) struct Reader<'a> {
    /// Where relative paths start.
    pub(super) base: &'a Path,
    /// The MQTT password of the environment.
    pub(super) password: Option<SecretString>,
    /// The standard variables of OpenTelemetry.
    pub(super) standard: &'a standard::Variables,
    pub(super) problems: &'a mut Problems,
}

/// A mapping of the tree and its key path.
struct View<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> View<'a> {
    /// The value of a key; nothing when it is not there or is wrong, which is then noted.
    fn get<K: Kind>(&self, key: &Key<K>, problems: &mut Problems) -> Option<K::Read> {
        key.kind.read(self.node.get(key.name)?, &self.path_of(key), problems)
    }

    fn path_of<K>(&self, key: &Key<K>) -> String {
        join(&self.path, key.name)
    }

    /// Where the value of a key came from.
    fn origin_of<K>(&self, key: &Key<K>) -> Origin {
        self.node.get(key.name).map_or(self.node.origin, |node| node.origin)
    }

    /// Whether the user gave a key.
    fn is_given<K>(&self, key: &Key<K>) -> bool {
        self.node.get(key.name).is_some_and(|node| node.origin != Origin::Default)
    }

    fn section<K>(&self, key: &Key<K>) -> Option<View<'a>> {
        let node = self.node.get(key.name)?;
        matches!(node.value, Value::Map(_)).then(|| View { node, path: self.path_of(key) })
    }

    fn sections<K>(&self, key: &Key<K>) -> Vec<View<'a>> {
        let Some(Value::List(items)) = self.node.get(key.name).map(|node| &node.value) else {
            return Vec::new();
        };
        let path = self.path_of(key);
        let view = |(index, node)| View { node, path: format!("{path}[{index}]") };
        items.iter().enumerate().map(view).collect()
    }
}

impl Reader<'_> {
    /// Reads the whole tree. Gives nothing only after noting why.
    pub(super) fn resolve(&mut self, root: &Node) -> Option<Resolved> {
        let root = View { node: root, path: String::new() };
        let probe = root.get(&keys::PROBE, self.problems);
        let key = self.key(&root);
        let views = root.sections(&keys::PATHS);
        let named = probe.as_deref().unwrap_or_default();
        let paths: Vec<Option<PathConfig>> =
            views.iter().map(|view| self.path(view, named)).collect();
        self.check_names(&views);
        let load = root.section(&keys::load::LOAD).and_then(|view| self.load(&view));
        let window = root.get(&keys::WINDOW, self.problems);
        let drain = root.get(&keys::DRAIN, self.problems);
        let host = root.section(&keys::HOST).and_then(|view| self.host(&view));
        let state_dir = root.get(&keys::STATE_DIR, self.problems);
        let state_dir = state_dir.map(|path| self.base.join(path));
        let telemetry = root.section(&keys::TELEMETRY).and_then(|view| self.telemetry(&view));
        let paths = paths.into_iter().collect::<Option<Vec<_>>>()?;
        self.check_control_topics(&views, &paths);
        self.check_in_flight(&root, &paths);
        self.check_label(&root, load.as_ref(), host.as_ref());
        let (window, drain, host) = (window?, drain?, host?);
        let (probe, telemetry) = (probe?, telemetry?);
        Some(Resolved { probe, key, paths, load, window, drain, state_dir, host, telemetry })
    }

    fn key(&mut self, root: &View<'_>) -> Option<SecretSlice<u8>> {
        let path = root.get(&keys::KEY_FILE, self.problems)?;
        match files::secret_bytes(self.base, &path) {
            Ok(bytes) => Some(bytes.into()),
            Err(what) => {
                self.problems.add(root.origin_of(&keys::KEY_FILE), "key_file", what);
                None
            }
        }
    }

    fn path(&mut self, view: &View<'_>, probe: &str) -> Option<PathConfig> {
        let name = view.get(&keys::PATH_NAME, self.problems);
        let named = name.as_deref().unwrap_or_default();
        let mqtt = view.section(&keys::MQTT).and_then(|view| self.mqtt(&view, probe, named));
        let kafka = view.section(&keys::KAFKA).map(|view| self.kafka(&view));
        let lanes = view.get(&keys::LANES, self.problems);
        let deadline = view.get(&keys::DEADLINE, self.problems);
        let crossing = lanes.as_ref().is_some_and(|lanes| lanes.contains(&Lane::MqttKafka));
        if crossing && view.node.get(keys::KAFKA.name).is_none() {
            let what = "holds mqtt_kafka, but the path has no kafka; add kafka or remove the lane";
            self.problems.add(view.origin_of(&keys::LANES), &view.path_of(&keys::LANES), what);
        }
        if let Some(lanes) = &lanes {
            self.check_control_lane(view, lanes);
            self.check_subscribers(view, lanes);
        }
        let kafka = match kafka {
            Some(kafka) => Some(kafka?),
            None => None,
        };
        let slo = view.section(&keys::SLO).and_then(|view| self.slo(&view, lanes.as_deref()));
        let (lanes, deadline) = (lanes?, deadline?);
        Some(PathConfig { name: name?, mqtt: mqtt?, kafka, lanes, deadline, slo: slo? })
    }

    fn mqtt(&mut self, view: &View<'_>, probe: &str, path: &str) -> Option<MqttConfig> {
        let url = view.get(&keys::URL, self.problems);
        // What they stand for was put in the place of other keys; here it is seen whether they are shapes.
        view.get(&keys::SHAPE, self.problems);
        let tls = self.tls(view, url.as_ref());
        let version = view.get(&keys::VERSION, self.problems);
        let username = view.get(&keys::USERNAME, self.problems);
        let password = self.password(view);
        let topic = view.get(&keys::TOPIC, self.problems);
        let qos = view.get(&keys::QOS, self.problems);
        let clients = view.get(&keys::CLIENTS, self.problems);
        let rate = view.get(&keys::pace::RATE, self.problems);
        let schedule = self.arrivals(view, rate);
        let profile = self.profile(view, rate);
        let inflight = view.get(&keys::pace::INFLIGHT, self.problems);
        let connect_rate = view.get(&keys::pace::CONNECT_RATE, self.problems);
        let retain = view.get(&keys::RETAIN, self.problems);
        let background = self.background(view);
        let payload = view.section(&keys::PAYLOAD);
        let size = payload.as_ref().and_then(|view| view.get(&keys::SIZE, self.problems));
        let format = payload.as_ref().and_then(|view| view.get(&keys::FORMAT, self.problems));
        let mut qos = qos?;
        qos.sort_unstable();
        let (topic, clients) = (topic?, clients?);
        if (clients as usize) < qos.len() {
            let what = format!("{clients} can't be split over {} QoS levels", qos.len());
            self.problems.add(view.origin_of(&keys::CLIENTS), &view.path_of(&keys::CLIENTS), what);
        }
        let subscribers = self.subscribers(view, (&topic, clients));
        let longest = topic.expand(probe, path, clients - 1).len();
        if longest > 65_535 {
            let what = format!("has {longest} bytes once expanded; at most 65535 are allowed");
            self.problems.add(view.origin_of(&keys::TOPIC), &view.path_of(&keys::TOPIC), what);
        }
        let payload = PayloadConfig { size: size?, format: format? };
        self.check_size(view, payload, longest);
        let (url, version, rate, schedule) = (url?, version?, rate?, schedule?);
        let (profile, connect_rate) = (profile?, connect_rate?);
        let inflight = inflight.and_then(|inflight| u16::try_from(inflight).ok());
        Some(MqttConfig {
            url,
            version,
            username,
            password,
            tls,
            topic,
            qos,
            clients,
            rate,
            schedule,
            profile,
            inflight,
            connect_rate,
            payload,
            retain: retain?,
            subscribers: subscribers?,
            background,
        })
    }

    fn password(&mut self, view: &View<'_>) -> Option<SecretString> {
        let file = view.get(&keys::PASSWORD_FILE, self.problems);
        let named = view.node.get(keys::USERNAME.name).is_some();
        let Some(file) = file else {
            return named.then(|| self.password.clone()).flatten();
        };
        let result = if named {
            files::secret(self.base, &file)
        } else {
            Err("needs a username; give one".into())
        };
        let (origin, path) =
            (view.origin_of(&keys::PASSWORD_FILE), view.path_of(&keys::PASSWORD_FILE));
        result.map(Into::into).map_err(|what| self.problems.add(origin, &path, what)).ok()
    }

    fn check_size(&mut self, mqtt: &View<'_>, payload: PayloadConfig, topic: usize) {
        let PayloadConfig { size, format } = payload;
        let max = PAYLOAD_MAX - u32::try_from(topic.min(65_535)).unwrap_or_default();
        let min = u32::try_from(format.size_min()).unwrap_or(u32::MAX);
        let what = if size < min {
            let name = format.name();
            format!("{size} is too small for the format {name}, which takes at least {min}")
        } else if size > max {
            format!("{size} is too large for an MQTT packet with this topic; at most {max} fit")
        } else {
            return;
        };
        let Some(view) = mqtt.section(&keys::PAYLOAD) else { return };
        // The size may be a default that does not fit the format that was given, or the reverse.
        let origin = view.origin_of(&keys::SIZE).max(view.origin_of(&keys::FORMAT));
        let origin = match view.origin_of(&keys::SIZE) {
            Origin::Default => origin,
            given => given,
        };
        self.problems.add(origin, &view.path_of(&keys::SIZE), what);
    }

    fn kafka(&mut self, view: &View<'_>) -> Option<KafkaConfig> {
        let brokers = view.get(&keys::BROKERS, self.problems);
        let topics = view.get(&keys::TOPICS, self.problems);
        let control_topic = view.get(&keys::CONTROL_TOPIC, self.problems);
        let consumers = view.get(&keys::CONSUMERS, self.problems);
        let properties = view.get(&keys::PROPERTIES, self.problems)?;
        let mut secret_properties = properties.secret;
        for (name, path) in properties.files {
            let key = format!("{name}_file");
            let place = view.section(&keys::PROPERTIES);
            let origin = place.as_ref().and_then(|view| view.node.get(&key)).map(|it| it.origin);
            match files::secret(self.base, &path) {
                Ok(text) => {
                    secret_properties.insert(name, text.into());
                }
                Err(what) => {
                    let path = join(&view.path_of(&keys::PROPERTIES), &key);
                    self.problems.add(origin.unwrap_or(Origin::File(0)), &path, what);
                }
            }
        }
        Some(KafkaConfig {
            brokers: brokers?.concat(),
            topics: topics?,
            control_topic,
            consumers: consumers?,
            properties: properties.plain,
            secret_properties,
        })
    }

    fn host(&mut self, view: &View<'_>) -> Option<host::Config> {
        let interval = view.get(&keys::INTERVAL, self.problems);
        let processes = view.get(&keys::PROCESSES, self.problems);
        Some(host::Config { interval: interval?, processes: processes? })
    }

    fn telemetry(&mut self, view: &View<'_>) -> Option<TelemetryConfig> {
        let listen = view.get(&keys::LISTEN, self.problems);
        let linger = view.get(&keys::LINGER, self.problems);
        let otlp = view.section(&keys::OTLP).and_then(|view| self.otlp(&view));
        Some(TelemetryConfig { listen: listen?, linger: linger?, otlp })
    }

    fn check_names(&mut self, views: &[View<'_>]) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for (index, view) in views.iter().enumerate() {
            let Some(Value::Scalar { text, .. }) =
                view.node.get(keys::PATH_NAME.name).map(|node| &node.value)
            else {
                continue;
            };
            if let Some(other) = first.get(text) {
                let what = format!("paths[{other}] has the same name; give each path its own");
                let origin = view.origin_of(&keys::PATH_NAME);
                self.problems.add(origin, &view.path_of(&keys::PATH_NAME), what);
            } else {
                first.insert(text.clone(), index);
            }
        }
    }

    /// Every slot waits for its outcome until its deadline, and each takes memory.
    fn check_in_flight(&mut self, root: &View<'_>, paths: &[PathConfig]) {
        // A closed loop waits for what it sent.
        let open = |path: &PathConfig| path.mqtt.rate != Rate::Max;
        let slots = |path: &PathConfig| {
            if open(path) { path.messages_a_second() * path.deadline.as_secs_f64() } else { 0.0 }
        };
        let total: f64 = paths.iter().map(slots).sum();
        if total <= IN_FLIGHT_MAX {
            return;
        }
        let mut largest: Vec<&PathConfig> = paths.iter().collect();
        largest.sort_by(|a, b| slots(b).total_cmp(&slots(a)));
        let mut terms: Vec<String> = largest
            .iter()
            .take(TERMS_SHOWN)
            .map(|path| {
                let rate = (path.messages_a_second() * 1_000.0).round() / 1_000.0;
                format!("{}: {rate}/s x {}s", path.name, path.deadline.as_secs_f64())
            })
            .collect();
        if largest.len() > TERMS_SHOWN {
            terms.push(format!("{} more", largest.len() - TERMS_SHOWN));
        }
        let what = format!(
            "rate x deadline makes {total:.0} slots in flight ({}); at most {IN_FLIGHT_MAX} fit, \
             so lower a rate or a deadline",
            terms.join(" + "),
        );
        self.problems.add(root.origin_of(&keys::PATHS), "paths", what);
    }
}
