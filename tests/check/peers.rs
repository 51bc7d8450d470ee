//! Test support: brokers and bridges that do the wrong thing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// What a broker of a few lines does with its clients.
#[derive(Clone, Copy)]
pub(crate) enum Manners {
    /// Takes connections and says nothing.
    Mute,
    /// Says so, and accepts no QoS but 0 and 1.
    NoQos2,
    /// Accepts clients and answers nothing else.
    Deaf,
    /// Accepts clients and closes the connection at the first message.
    Touchy,
}

/// An MQTT 5 broker with these manners, on threads that end with the test program.
pub(crate) fn broker(manners: Manners) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    on_thread(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            on_thread(move || serve(stream, manners));
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "ends with the test program")]
fn on_thread(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

fn serve(mut stream: TcpStream, manners: Manners) {
    let connack: &[u8] = match manners {
        Manners::Mute => &[],
        Manners::NoQos2 => &[0x20, 5, 0, 0, 2, 0x24, 1],
        Manners::Deaf | Manners::Touchy => &[0x20, 3, 0, 0, 0],
    };
    let mut packet = [0; 4_096];
    let mut packets = 0;
    // Each packet of a client comes by itself: it waits for an answer, or says goodbye.
    while let Ok(1..) = stream.read(&mut packet) {
        packets += 1;
        if packets == 1 && stream.write_all(connack).is_err() {
            return;
        }
        if packets > 1 && matches!(manners, Manners::Touchy) {
            return;
        }
    }
}

/// An address that takes connections as long as the listener lives, and says nothing.
pub(crate) fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that was free a moment ago.
pub(crate) fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A process that ends with the test.
pub(crate) struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bridge that writes each message into a JSON object of its own making.
pub(crate) fn wrapping_bridge(port: &str, filter: &str, kafka: &str, topic: &str) -> Held {
    let mut subscriber = subscriber(port, filter);
    let messages = BufReader::new(subscriber.0.stdout.take().unwrap());
    let (kafka, topic) = (kafka.to_owned(), topic.to_owned());
    on_thread(move || {
        for message in messages.lines().map_while(Result::ok) {
            produce(&kafka, &topic, &message);
        }
    });
    subscriber
}

/// Puts one record into Kafka, as somebody else would.
fn produce(kafka: &str, topic: &str, value: &str) {
    let mut command = Command::new("kcat");
    command.args(["-P", "-b", kafka, "-t", topic, "-X", "linger.ms=0", "-H", "origin=elsewhere"]);
    let mut producer = command.stdin(Stdio::piped()).spawn().unwrap();
    producer.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    producer.wait().unwrap();
}

/// Somebody who is subscribed and does nothing with it.
pub(crate) fn subscriber(port: &str, filter: &str) -> Held {
    let mut command = Command::new("stdbuf");
    // Line by line, as a bridge would.
    command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-q", "2"]);
    command.args(["-t", filter, "-F", "%j"]).stdout(Stdio::piped());
    Held(command.spawn().unwrap())
}

/// Somebody else's records, until the test lets go.
pub(crate) fn stranger(kafka: &str, topic: &str) -> mpsc::Sender<()> {
    let (held, let_go) = mpsc::channel();
    let (kafka, topic) = (kafka.to_owned(), topic.to_owned());
    on_thread(move || {
        let pace = Duration::from_millis(250);
        while let_go.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
            produce(&kafka, &topic, "somebody\telse's");
        }
    });
    held
}
