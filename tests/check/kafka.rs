//! Test support: one Apache Kafka with a listener for each way to get in, and to fail to.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use landfall::clock::Clock;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use tempfile::TempDir;

/// The password of every user of [`Kafka::login`].
pub(crate) const PASSWORD: &str = "right-password";
/// An address that nobody has (RFC 6761).
pub(crate) const NOWHERE: &str = "kafka.invalid:9092";
/// How long a topic may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a start is tried, since somebody else may take a port.
const ATTEMPTS: usize = 3;

/// A broker that creates no topic by itself and asks for rights whoever logs in.
pub(crate) struct Kafka {
    directory: TempDir,
    /// Anybody may do anything.
    pub(crate) plain: String,
    /// TLS, with a certificate that only [`Kafka::ca_file`] vouches for.
    pub(crate) secure: String,
    /// SASL PLAIN; users `probe` and `guest` may do what [`Kafka::allow`] says.
    pub(crate) login: String,
    /// Answers, and sends everybody to [`NOWHERE`].
    pub(crate) astray: String,
}

/// The one that all tests share; it ends with the last of them.
pub(crate) fn shared() -> Arc<Kafka> {
    static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let kafka = Arc::new(Kafka::start());
        *shared = Arc::downgrade(&kafka);
        kafka
    })
}

impl Kafka {
    fn start() -> Self {
        assert!(script("install.sh", &["kafka"]), "Kafka could not be installed");
        for _ in 0..ATTEMPTS {
            let directory = tempfile::tempdir().unwrap();
            make_certificate(directory.path());
            let ports = free_ports(5);
            let [plain, controller, secure, login, astray] = ports[..] else { unreachable!() };
            let at = |port: u16| format!("127.0.0.1:{port}");
            let this = Self {
                plain: at(plain),
                secure: at(secure),
                login: at(login),
                astray: at(astray),
                directory,
            };
            let settings = this.settings(&at(controller));
            let directory = this.path("kafka");
            let (port, owner) = (plain.to_string(), std::process::id().to_string());
            let mut arguments = vec!["start", &directory, "--port", &port, "--owner", &owner];
            arguments.extend(settings.iter().flat_map(|setting| ["--config", setting]));
            if script("kafka.sh", &arguments) {
                return this;
            }
        }
        panic!("Kafka did not start");
    }

    fn settings(&self, controller: &str) -> Vec<String> {
        let Self { plain, secure, login, astray, .. } = self;
        let users = format!("user_probe=\"{PASSWORD}\" user_guest=\"{PASSWORD}\"");
        let listeners =
            format!("PLAINTEXT://{plain},SECURE://{secure},LOGIN://{login},ASTRAY://{astray}");
        let advertised = listeners.replace(astray, NOWHERE);
        vec![
            format!("controller.quorum.voters=1@{controller}"),
            format!("listeners={listeners},CONTROLLER://{controller}"),
            format!("advertised.listeners={advertised}"),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SSL,\
             LOGIN:SASL_PLAINTEXT,ASTRAY:PLAINTEXT"
                .to_owned(),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                .to_owned(),
            "super.users=User:ANONYMOUS".to_owned(),
            "sasl.enabled.mechanisms=PLAIN".to_owned(),
            format!(
                "listener.name.login.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            ),
            "ssl.keystore.type=PKCS12".to_owned(),
            format!("ssl.keystore.location={}", self.path("keystore")),
            format!("ssl.keystore.password={PASSWORD}"),
        ]
    }

    /// Creates a topic with these settings, and waits until it has leaders.
    pub(crate) fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.plain);
        let admin: AdminClient<_> = client.create().unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let made = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        // The controller has it; the broker learns of it a moment later.
        let clock = Clock::system();
        let until = clock.now() + PATIENCE;
        while clock.now() < until {
            let answer = admin.inner().fetch_metadata(Some(name), PATIENCE).unwrap();
            let known = answer.topics()[0].partitions();
            let leaders = known.iter().filter(|partition| partition.leader() >= 0).count();
            if i32::try_from(leaders) == Ok(partitions) {
                return;
            }
            clock.sleep_until(clock.now() + Duration::from_millis(50));
        }
        panic!("topic {name} has no leaders");
    }

    /// Allows a user some operations on a topic.
    pub(crate) fn allow(&self, user: &str, operations: &[&str], topic: &str) {
        let home = cache().join("kafka");
        let mut command = Command::new(home.join("java"));
        command.arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(home.join("jars/*"));
        command.args(["org.apache.kafka.tools.AclCommand", "--bootstrap-server", &self.plain]);
        command.args(["--add", "--topic", topic, "--allow-principal", &format!("User:{user}")]);
        command.args(operations.iter().flat_map(|operation| ["--operation", operation]));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// The certificate of the broker, which vouches for itself.
    pub(crate) fn ca_file(&self) -> String {
        self.path("ca.pem")
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        script("kafka.sh", &["stop", &self.path("kafka")]);
    }
}

/// Runs a script of `tests/systems`; whether it succeeds.
fn script(name: &str, arguments: &[&str]) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems").join(name);
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command.status().unwrap().success()
}

/// Where the scripts keep what they install.
fn cache() -> PathBuf {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let xdg = || of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    of("LANDFALL_CACHE").or_else(|| xdg().map(|cache| cache.join("landfall"))).unwrap()
}

/// A key and a certificate for 127.0.0.1 that nobody else has signed.
fn make_certificate(directory: &Path) {
    let java = fs::canonicalize(cache().join("kafka/java")).unwrap();
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new(java.with_file_name("keytool"));
        command.current_dir(directory).args(arguments);
        command.args(["-alias", "broker", "-keystore", "keystore", "-storepass", PASSWORD]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    };
    let key = ["-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12"];
    let whose = ["-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-validity", "3650"];
    keytool(&[&["-genkeypair"], &key[..], &whose].concat());
    keytool(&["-exportcert", "-rfc", "-file", "ca.pem"]);
}

/// Ports that are free now, below the range of outgoing connections.
fn free_ports(count: usize) -> Vec<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let low: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    // Other programs look for ports as well: begin somewhere else than they do.
    let from = 10_240 + u16::try_from(std::process::id() % 8_192).unwrap();
    let held: Vec<TcpListener> = (from..low)
        .chain(10_240..from)
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .take(count)
        .collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
