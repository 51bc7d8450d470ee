//! Test support: an MQTT endpoint that is its own way into Kafka, as a process that can be killed. It
//! acknowledges a message to its publisher when Kafka has confirmed it, and not before; the rest of
//! MQTT 3.1.1 is only what a publisher needs.
//!
//! The process is this test program once more, told to run the one test that calls [`serve`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};

use super::tap::{body, number, take_packet};

/// Names the Kafka, then the topic, to the process.
const TASK: &str = "LANDFALL_TEST_GATEWAY";
const SERVING: &str = "serving ";

/// The gateway; killed when dropped.
pub(crate) struct Gateway {
    /// Where publishers find it.
    pub(crate) address: String,
    child: Child,
}

impl Gateway {
    /// Starts this program's test of that name, which must call [`serve`].
    pub(crate) fn start(test: &str, kafka: &str, topic: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(TASK, format!("{kafka} {topic}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            // The harness may have begun the line.
            line.split_once(SERVING).map(|(_, address)| address.to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("the gateway ended: {:?}", child.wait()));
        Self { address, child }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection's way back, and what is said on it when Kafka has the message.
type Answer = Box<(Arc<Mutex<TcpStream>>, [u8; 4])>;

/// Acknowledges what Kafka has confirmed.
struct Answers;

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = Answer;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Answer) {
        if result.is_ok() {
            say(&answer.0, &answer.1);
        }
    }
}

/// Whoever has left is told nothing.
fn say(stream: &Mutex<TcpStream>, packet: &[u8]) {
    let _ = stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(packet);
}

/// Serves publishers until the program that started it is gone.
#[expect(clippy::disallowed_methods, reason = "threads of a process that ends with its parent")]
pub(crate) fn serve() {
    let task = std::env::var(TASK);
    let task = task.unwrap_or_else(|_| panic!("this is no test: the others start it"));
    let (kafka, topic) = task.split_once(' ').unwrap();
    let producer: BaseProducer<Answers> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("acks", "all")
        .set("max.in.flight", "1")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "0")
        .create_with_context(Answers)
        .unwrap();
    let producer = Arc::new(producer);
    let polled = Arc::clone(&producer);
    thread::spawn(move || {
        loop {
            polled.poll(Duration::from_millis(100));
        }
    });
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{SERVING}{}", listener.local_addr().unwrap());
    for client in listener.incoming() {
        let (producer, topic) = (Arc::clone(&producer), topic.to_owned());
        thread::spawn(move || talk(client.unwrap(), &producer, &topic));
    }
}

/// Serves one publisher until it leaves.
fn talk(mut client: TcpStream, producer: &BaseProducer<Answers>, topic: &str) {
    client.set_nodelay(true).unwrap();
    let back = Arc::new(Mutex::new(client.try_clone().unwrap()));
    let (mut space, mut pending) = (vec![0; 64 * 1_024], Vec::new());
    while let Ok(count) = client.read(&mut space)
        && count > 0
    {
        pending.extend_from_slice(&space[..count]);
        while let Some(packet) = take_packet(&mut pending) {
            match packet[0] >> 4 {
                // CONNACK without a session, PUBCOMP, PINGRESP.
                1 => say(&back, &[0x20, 2, 0, 0]),
                3 => produce(&packet, &back, producer, topic),
                6 => say(&back, &[0x70, 2, body(&packet)[0], body(&packet)[1]]),
                12 => say(&back, &[0xd0, 0]),
                _ => (),
            }
        }
    }
}

/// Hands a PUBLISH of QoS 1 or 2 to Kafka; PUBACK or PUBREC comes when that has it.
fn produce(
    packet: &[u8],
    back: &Arc<Mutex<TcpStream>>,
    producer: &BaseProducer<Answers>,
    topic: &str,
) {
    let name = usize::from(number(body(packet)));
    let rest = &body(packet)[2 + name..];
    let kind = if packet[0] >> 1 & 3 == 1 { 0x40 } else { 0x50 };
    let answer = Box::new((Arc::clone(back), [kind, 2, rest[0], rest[1]]));
    let record = BaseRecord::<(), [u8], Answer>::with_opaque_to(topic, answer);
    producer.send(record.payload(&rest[2..])).map_err(|(error, _)| error).unwrap();
}
