//! MQTT clients on their event loop: real sockets, large messages, names, brokers that are not there.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions that the tests share fail them too"
)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::correlate::{Qos, Stage};
use landfall::embedded::mqtt::{Broker, Config};
use landfall::shutdown::Tasks;
use landfall::wire::{
    Bell, Client, Clients, Endpoint, EventLoop, Failure, Handler, Happening, Property, Sending,
    Session, Source, Version,
};

const MESSAGES: u64 = 40;
/// More than a socket takes at once.
const BYTES: usize = 200_000;
const SUBSCRIBER: usize = 0;
const PUBLISHER: usize = 1;

/// Large messages that say their number.
#[derive(Debug, Default)]
struct Large(u64);

impl Source for Large {
    fn size(&self) -> usize {
        BYTES
    }

    fn begin(&mut self, number: u64) -> Property {
        self.0 = number;
        Some([b'0'; 55])
    }

    fn append(&mut self, packet: &mut Vec<u8>) {
        packet.extend((0..BYTES as u64 / 8).flat_map(|place| (self.0 + place).to_be_bytes()));
    }
}

/// How often each message was sent, fully answered and received.
#[derive(Debug, Default)]
struct Counts {
    sent: BTreeMap<u64, u32>,
    answered: BTreeMap<u64, u32>,
    received: BTreeMap<u64, u32>,
}

/// Publishes every message once the subscriber stands, and stops when all have come out.
struct Exchange {
    filter: String,
    qos: Qos,
    stop: Tasks,
    bell: Bell,
    connected: bool,
    subscribed: bool,
    next: u64,
    counts: Arc<Mutex<Counts>>,
}

impl Handler for Exchange {
    type Source = Large;

    fn next_due(&self) -> Option<Instant> {
        let ready = self.connected && self.subscribed && self.next < MESSAGES;
        ready.then_some(Instant::ZERO)
    }

    fn act(&mut self, now: Instant, clients: &mut Clients<'_, Large>) {
        while self.next < MESSAGES && clients.publish(PUBLISHER, self.next, now).is_ok() {
            self.next += 1;
        }
    }

    fn happened(&mut self, client: (usize, &mut Client<Large>), happening: Happening, _: Instant) {
        let mut counts = self.counts.lock().unwrap();
        match (client.0, happening) {
            (SUBSCRIBER, Happening::Connected) => client.1.subscribe(&self.filter, self.qos),
            (SUBSCRIBER, Happening::Subscribed(Ok(()))) => self.subscribed = true,
            (PUBLISHER, Happening::Connected) => self.connected = true,
            (PUBLISHER, Happening::Sent { number, .. }) => {
                *counts.sent.entry(number).or_default() += 1;
            }
            (PUBLISHER, Happening::Answered { stage: Stage::Pubrec, .. }) => (),
            (PUBLISHER, Happening::Answered { number, reason: 0, .. }) => {
                *counts.answered.entry(number).or_default() += 1;
            }
            (SUBSCRIBER, Happening::Message(message)) => {
                let number = u64::from_be_bytes(*message.payload.first_chunk().unwrap());
                let mut payload = Vec::new();
                Large(number).append(&mut payload);
                assert_eq!(message.payload, payload);
                *counts.received.entry(number).or_default() += 1;
            }
            other => panic!("{other:?}"),
        }
        let answers = if self.qos == Qos::AtMostOnce { 0 } else { MESSAGES };
        let got = [&counts.sent, &counts.received, &counts.answered].map(|of| of.len() as u64);
        if got == [MESSAGES, MESSAGES, answers] {
            self.stop.stop();
            self.bell.ring();
        }
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        panic!("client {client}: {failure}");
    }
}

/// A broker on a thread of its own, until the group stops.
fn broker(tasks: &Tasks) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    let group = tasks.clone();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tell.send(Broker::start(&Config::default(), &group).await.unwrap().address()).unwrap();
            group.stopped().await;
        });
    };
    tasks.thread("broker", serve).unwrap();
    told.recv().unwrap()
}

fn client(
    host: &str,
    port: u16,
    version: Version,
    (id, topic, qos): (&str, &str, Qos),
) -> Client<Large> {
    let endpoint = Endpoint { host: host.into(), port, version, credentials: None, tls: None };
    let session = Session {
        client_id: id.into(),
        keep_alive: Duration::from_secs(30),
        inflight: 8,
        queue: 16,
        patience: Duration::from_mins(1),
        connect_after: Duration::ZERO,
        packet_bytes_max: 1 << 20,
    };
    let sending = Sending { topic: topic.into(), qos, source: Large::default() };
    Client::new(endpoint, session, sending)
}

#[test]
fn large_messages_of_every_qos_and_version_arrive_once_and_whole() {
    let systems = Tasks::new();
    let port = broker(&systems).port();
    for version in [Version::V4, Version::V5] {
        for qos in Qos::ALL {
            let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
            let topic = format!("large-{version:?}-{}", qos.level());
            let counts = Arc::new(Mutex::new(Counts::default()));
            let exchange = Exchange {
                filter: topic.clone(),
                qos,
                stop: stop.clone(),
                bell: bell.clone(),
                connected: false,
                subscribed: false,
                next: 0,
                counts: Arc::clone(&counts),
            };
            // A name, which may have addresses at which nobody listens.
            let ids = [format!("s-{topic}"), format!("p-{topic}")];
            let clients = ids.map(|id| client("localhost", port, version, (&id, &topic, qos)));
            let event_loop = EventLoop::new(Clock::system(), exchange, clients, bell).unwrap();
            event_loop.run(&stop).unwrap();
            let counts = counts.lock().unwrap();
            for of in [&counts.sent, &counts.received, &counts.answered] {
                assert!(of.values().all(|&times| times == 1), "{version:?} {qos:?}: {counts:?}");
            }
        }
    }
    systems.stop();
}

/// Says what happens and what goes wrong.
struct Complaints {
    tell: mpsc::Sender<String>,
}

impl Handler for Complaints {
    type Source = Large;

    fn happened(&mut self, _: (usize, &mut Client<Large>), happening: Happening, _: Instant) {
        self.tell.send(format!("{happening:?}")).unwrap();
    }

    fn broke(&mut self, _: usize, failure: &Failure) {
        self.tell.send(failure.to_string()).unwrap();
    }
}

/// What a client says.
struct Told(mpsc::Receiver<String>);

impl Told {
    fn next(&self) -> String {
        self.0.recv_timeout(Duration::from_mins(1)).unwrap()
    }
}

/// Ends an event loop, whatever becomes of the test.
struct End<'a>(&'a Tasks, &'a Bell);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.stop();
        self.1.ring();
    }
}

/// Runs a client of a host and port until `heard` has heard enough.
fn complaints(host: &str, port: u16, heard: impl FnOnce(&Told)) {
    let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
    let (tell, told) = mpsc::channel();
    let client = client(host, port, Version::V5, ("c", "t", Qos::AtMostOnce));
    let event_loop =
        EventLoop::new(Clock::system(), Complaints { tell }, [client], bell.clone()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| event_loop.run(&stop).unwrap());
        let _end = End(&stop, &bell);
        heard(&Told(told));
    });
}

#[test]
fn a_broker_that_is_not_there_is_tried_again_until_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    complaints("127.0.0.1", address.port(), |told| {
        let refused = format!(
            "can't connect to {address}: Connection refused (os error 111); check mqtt.url, and that \
             the broker runs"
        );
        assert_eq!([told.next(), told.next()], [refused.clone(), refused]);
        let listener = TcpListener::bind(address).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
        while told.next() != "Connected" {}
        stream.write_all(&[0xe0, 1, 0x8b]).unwrap();
        assert!(told.next().starts_with("the broker ended the connection: ServerShuttingDown; "));
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x20, 3, 0, 0x87, 0]).unwrap();
        assert!(told.next().starts_with("the broker refused CONNECT: not authorised"));
        // A broker of 3.1.1 answers in its own way.
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x20, 2, 0, 1]).unwrap();
        let why =
            "the broker refused CONNECT: it does not speak this version; try mqtt.version: 3.1.1";
        assert_eq!(told.next(), why);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        assert_eq!(told.next(), "what answers there does not speak MQTT; check mqtt.url");
    });
}

#[test]
fn a_name_that_nobody_knows_is_said() {
    complaints("no-such-host.invalid", 1_883, |told| {
        let why = told.next();
        assert!(why.starts_with("can't connect to no-such-host.invalid:1883: "), "{why}");
    });
}

#[test]
fn a_broker_that_accepts_and_closes_is_not_pestered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clock = Clock::system();
    complaints("127.0.0.1", listener.local_addr().unwrap().port(), |told| {
        let mut gaps = Vec::new();
        for _ in 0..5 {
            let (mut stream, _) = listener.accept().unwrap();
            gaps.push(clock.now());
            stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(told.next(), "Connected");
            told.next();
        }
        // Delays double from 100 ms, each with as much again by chance.
        let waited = gaps[4].saturating_since(gaps[0]);
        assert!(waited >= Duration::from_millis(100 + 200 + 400 + 800), "{waited:?}");
    });
}

/// What a client writes until it closes, after a CONNACK.
fn whole_conversation(listener: &TcpListener, connack: &[u8]) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(connack).unwrap();
    let mut written = Vec::new();
    stream.read_to_end(&mut written).unwrap();
    written
}

#[test]
fn a_client_that_leaves_says_so_and_closes_even_if_the_broker_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let of = |version| client("127.0.0.1", port, version, ("c", "t", Qos::AtMostOnce));
    thread::scope(|scope| {
        let leave = |version: Version| {
            let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
            let (tell, told) = mpsc::channel();
            let ours =
                EventLoop::new(Clock::system(), Complaints { tell }, [of(version)], bell.clone());
            let running = stop.clone();
            scope.spawn(move || ours.unwrap().run(&running).unwrap());
            scope.spawn(move || {
                assert_eq!(Told(told).next(), "Connected");
                stop.stop();
                bell.ring();
            });
        };
        leave(Version::V5);
        let written = whole_conversation(&listener, &[0x20, 3, 0, 0, 0]);
        assert!(written.ends_with(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]), "no session is to be kept");
        leave(Version::V4);
        let written = whole_conversation(&listener, &[0x20, 2, 0, 0]);
        assert_eq!(written[9], 0, "the session is to outlive the connection");
        assert!(written.ends_with(&[0xe0, 0]));
        let written = whole_conversation(&listener, &[0x20, 2, 0, 0]);
        assert_eq!(written[9], 2, "a clean session: the old one is forgotten");
        assert!(written.ends_with(&[0xe0, 0]));
    });
}

/// The same, once: whatever breaks stays broken.
struct Once(Complaints);

impl Handler for Once {
    type Source = Large;

    fn opened(&mut self, _: usize, _: Instant) {
        self.0.tell.send("opened".to_owned()).unwrap();
    }

    fn happened(&mut self, client: (usize, &mut Client<Large>), happening: Happening, at: Instant) {
        let limits = client.1.limits();
        self.0.happened(client, happening, at);
        self.0.tell.send(format!("{limits:?}")).unwrap();
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        self.0.broke(client, failure);
    }

    fn comes_back(&self, _: usize) -> bool {
        false
    }
}

/// Lets a client of [`Once`] talk to `broker`, which may end its event loop; it ends in any case.
fn once(listener: &TcpListener, broker: impl FnOnce(&Told, End<'_>)) {
    let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
    let (tell, told) = mpsc::channel();
    let port = listener.local_addr().unwrap().port();
    let client = client("127.0.0.1", port, Version::V5, ("c", "t", Qos::AtMostOnce));
    let handler = Once(Complaints { tell });
    let event_loop = EventLoop::new(Clock::system(), handler, [client], bell.clone()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| event_loop.run(&stop).unwrap());
        broker(&Told(told), End(&stop, &bell));
    });
}

#[test]
fn a_client_that_is_not_to_come_back_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    once(&listener, |told, _end| {
        let (mut stream, _) = listener.accept().unwrap();
        assert_eq!(told.next(), "opened");
        stream.write_all(&[0x20, 3, 0, 0x87, 0]).unwrap();
        assert!(told.next().starts_with("the broker refused CONNECT: not authorised"));
    });
    listener.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock, "it was not let in, and left no session");
    listener.set_nonblocking(false).unwrap();
    once(&listener, |told, end| {
        let (mut stream, _) = listener.accept().unwrap();
        assert_eq!(told.next(), "opened");
        // Receive maximum 7, maximum QoS 1, maximum packet size 1,000.
        let limits = [0x21, 0, 7, 0x24, 1, 0x27, 0, 0, 3, 0xe8];
        stream.write_all(&[&[0x20, 13, 0, 0, 10], &limits[..]].concat()).unwrap();
        assert_eq!(told.next(), "Connected");
        let told_limits = told.next();
        for limit in ["receive_max: Some(7)", "packet_bytes_max: Some(1000)", "AtLeastOnce"] {
            assert!(told_limits.contains(limit), "{told_limits}");
        }
        drop(stream);
        told.next();
        drop(end);
        let written = whole_conversation(&listener, &[0x20, 3, 0, 0, 0]);
        assert_eq!(written[9] & 2, 2, "it comes back to have its session forgotten");
    });
}
