//! Parts of the stacks that run without containers: Camel's route, and the start of Kafka.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::process::wait_until;
use super::reader::{file, installed, landfall, read, text, texts};
use super::stack::Stack;
use super::systems::{Kafka, Mosquitto};

/// Each of these tests starts a Kafka, and two that start at once take too long on a busy machine.
static TURN: Mutex<()> = Mutex::new(());

/// A program that is ended when the test is over.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let out = std::fs::File::create(log).unwrap();
        let copy = out.try_clone().unwrap();
        Self(command.stdin(Stdio::null()).stdout(out).stderr(copy).spawn().unwrap())
    }

    /// How many of its connections to a port of this machine stand, as the stacks' health checks count.
    fn connections(&self, port: u16) -> usize {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.0.id())).unwrap();
        table.matches(&format!(":{port:04X} 01 ")).count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended, as it must not have; its test says why.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The port of an address.
fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn the_camel_route_carries_messages_of_each_qos_from_a_real_broker_to_a_real_kafka() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = installed().parent().unwrap();
    let installed = Command::new(file("tests/systems/install.sh")).arg("camel").output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let kafka = Kafka::start(&[]);
    kafka.topic("mqtt-messages", 3, &[("message.timestamp.type", "LogAppendTime")]);
    let broker = Mosquitto::start(&[]);

    // The very command of the image, with the same jars and route in other places.
    let image = file("compose/hivemq/camel/Dockerfile");
    let stages = read(&["dockerfile", image.to_str().unwrap()]).unwrap();
    let commands = stages[1]["commands"].as_array().unwrap();
    let entry = commands.iter().find(|command| command["name"] == "ENTRYPOINT").unwrap();
    let jars = cache.join("camel/jars");
    let route = file("compose/hivemq/camel/route.yaml");
    let arguments = texts(&entry["parsed"]["CmdLine"]).into_iter().skip(1).map(|argument| {
        argument
            .replace("/opt/camel/jars", jars.to_str().unwrap())
            .replace("/etc/landfall/route.yaml", route.to_str().unwrap())
    });
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut java = Command::new(cache.join("camel/java"));
    java.args(arguments);
    // What the stack sets, for the brokers of this test.
    let stack = Stack::read("hivemq", &[]);
    let camel = &stack.services["camel"];
    for (name, value) in camel["environment"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        let here =
            value.replace("hivemq:1883", &broker.address).replace("kafka:9092", &kafka.address);
        assert_ne!(value, here, "{name}");
        java.env(name, here);
    }
    let camel = Running::start(&mut java, &log);
    wait_until("connected", || {
        let counts = [&broker.address, &kafka.address].map(|it| camel.connections(port(it)));
        let log = std::fs::read_to_string(&log).unwrap();
        if counts.contains(&0) { Err(format!("{counts:?}: {log}")) } else { Ok(()) }
    });

    let text = text("compose/hivemq/landfall.yaml")
        .replace("hivemq:1883", &broker.address)
        .replace("kafka:9092", &kafka.address)
        .replace("lanes: [mqtt_kafka, mqtt_mqtt, kafka_kafka]", "lanes: [mqtt_kafka, mqtt_mqtt]")
        .replace("      control_topic: landfall-control\n", "");
    let path = directory.path().join("landfall.yaml");
    std::fs::write(&path, text).unwrap();
    // Its subscription may stand a moment after its connection.
    let said = wait_until("crossed", || {
        match landfall(&["check", "-c", path.to_str().unwrap(), "--wait", "5s"]) {
            (Some(0), said) => Ok(said),
            (_, said) => Err(said),
        }
    });
    for qos in ["QoS 0", "QoS 1", "QoS 2"] {
        assert!(said.contains(&format!("message {qos}   ")), "{said}");
    }
}

#[test]
fn the_stacks_kafka_starts_and_creates_its_topics() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let kafka = installed().parent().unwrap().join("kafka");
    let installed = Command::new(file("tests/systems/install.sh")).arg("kafka").output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    // Where the image has scripts for these.
    std::fs::create_dir(home.join("bin")).unwrap();
    for (script, class) in [
        ("kafka-storage.sh", "kafka.tools.StorageTool"),
        ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
        ("kafka-server-start.sh", "kafka.Kafka"),
    ] {
        let java = kafka.join("java");
        let log = file("compose/kafka/log4j2.properties");
        let text = format!(
            "#!/bin/sh\nexec {} -Xmx256m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile={} -cp '{}/jars/*' {class} \"$@\"\n",
            java.display(),
            log.display(),
            kafka.display()
        );
        let path = home.join("bin").join(script);
        std::fs::write(&path, text).unwrap();
        assert!(Command::new("chmod").arg("755").arg(path).status().unwrap().success());
    }
    let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [inside, outside, controller] =
        free.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    drop(free);
    let properties = text("compose/kafka/server.properties")
        .replace("/var/lib/kafka/data", home.join("data").to_str().unwrap())
        .replace("PLAINTEXT://:9092", &format!("PLAINTEXT://{inside}"))
        .replace("PLAINTEXT://kafka:9092", &format!("PLAINTEXT://{inside}"))
        .replace("HOST://:29092", &format!("HOST://{outside}"))
        .replace("HOST://127.0.0.1:29092", &format!("HOST://{outside}"))
        .replace("127.0.0.1:9093", &controller);
    let path = home.join("server.properties");
    std::fs::write(&path, properties).unwrap();

    let stack = Stack::read("zilla", &[]);
    let topics = texts(&stack.services["kafka"]["command"]).split_off(2);
    let (ready, log) = (home.join("ready"), home.join("log"));
    let start = |log: &Path| {
        let mut start = Command::new(file("compose/kafka/start.sh"));
        start.arg(&path).args(&topics).env("KAFKA_HOME", home).env("KAFKA_READY", &ready);
        Running::start(&mut start, log)
    };
    let healthy = || {
        let log = std::fs::read_to_string(&log).unwrap();
        if ready.exists() { Ok(()) } else { Err(log) }
    };
    let running = start(&log);
    wait_until("healthy", healthy);
    for address in [&inside, &outside] {
        let listed = Command::new("kcat").args(["-L", "-b", address]).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for topic in &topics {
            let name = topic.split(':').next().unwrap();
            assert!(listed.contains(&format!("topic \"{name}\" with 3 partitions")), "{listed}");
        }
    }
    // As after a restart of its container: what is there stays, and is enough.
    drop(running);
    let again = start(&log);
    wait_until(
        "healthy",
        || if ready.exists() { Err("still that of before".into()) } else { Ok(()) },
    );
    wait_until("healthy", healthy);
    drop(again);
}
