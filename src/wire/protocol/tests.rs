//! Room `wire`: the protocol against a broker that keeps its own books, over connections that break.

mod broker;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::{Composed, Mute};
use broker::Broker;

/// Writes messages that say their number.
#[derive(Debug)]
struct Numbers([u8; 8]);

impl Source for Numbers {
    fn size(&self) -> usize {
        8
    }

    fn compose(&mut self, number: u64) -> Composed<'_> {
        self.0 = number.to_be_bytes();
        Composed { payload: &self.0, property: b"" }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Publish(u8),
    Write(usize),
    Read,
    Answer,
    /// The connection breaks when the broker has read so many more packets; it then keeps the session
    /// or not, and takes so many messages at a time.
    Break(u8, bool, u16),
    /// It breaks, and so does the next one before it is accepted.
    BreakTwice,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1_u8..6).prop_map(Act::Publish),
        8 => (1_usize..120).prop_map(Act::Write),
        8 => Just(Act::Read),
        8 => Just(Act::Answer),
        1 => (0_u8..6, prop::bool::weighted(0.7), 1_u16..8)
            .prop_map(|(read, keep, receive_max)| Act::Break(read, keep, receive_max)),
        1 => Just(Act::BreakTwice),
    ];
    prop::collection::vec(act, 0..200)
}

/// Client, broker and what was said of each message.
struct World {
    protocol: Protocol<Numbers>,
    broker: Broker,
    qos: Qos,
    receive_max: u16,
    next: u64,
    accepted: BTreeSet<u64>,
    sent: Vec<u64>,
    dropped: BTreeSet<u64>,
    finished: BTreeMap<u64, u32>,
    sessions_lost: u32,
}

impl World {
    fn new(qos: Qos, inflight: u16, receive_max: u16) -> Self {
        let mut world = Self {
            protocol: protocol(qos, inflight, Numbers([0; 8])),
            broker: Broker::default(),
            qos,
            receive_max,
            next: 0,
            accepted: BTreeSet::new(),
            sent: Vec::new(),
            dropped: BTreeSet::new(),
            finished: BTreeMap::new(),
            sessions_lost: 0,
        };
        world.connect(false);
        world
    }

    fn connect(&mut self, session_present: bool) {
        self.protocol.connect(&endpoint(), &session(1), false);
        self.write(usize::MAX);
        self.broker.socket.clear();
        self.broker.receive_max = self.receive_max;
        self.hear(&connack(session_present, self.receive_max));
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut happenings = Vec::new();
        let packet = Frame::first(bytes, u32::MAX).unwrap().unwrap();
        self.protocol.take(packet, &mut happenings).unwrap();
        self.note(happenings);
    }

    fn write(&mut self, count: usize) {
        let bytes = self.protocol.unwritten();
        let count = count.min(bytes.len());
        self.broker.socket.extend_from_slice(&bytes[..count]);
        let mut happenings = Vec::new();
        self.protocol.written(count, &mut happenings);
        self.note(happenings);
    }

    fn note(&mut self, happenings: Vec<Happening>) {
        for happening in happenings {
            match happening {
                Happening::Sent(number) => self.sent.push(number),
                Happening::Dropped(number) => assert!(self.dropped.insert(number)),
                Happening::Answered { number, stage, .. } if stage != Stage::Pubrec => {
                    *self.finished.entry(number).or_default() += 1;
                }
                _ => (),
            }
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish(count) => {
                for _ in 0..count {
                    if self.protocol.publish(self.next).is_ok() {
                        self.accepted.insert(self.next);
                    }
                    self.next += 1;
                }
            }
            Act::Write(count) => self.write(count),
            Act::Read => self.broker.read(),
            Act::Answer => {
                if let Some(answer) = self.broker.answer() {
                    self.hear(&answer);
                }
            }
            Act::Break(read, keep, receive_max) => {
                (0..read).for_each(|_| self.broker.read());
                self.hang_up();
                if !keep {
                    self.broker.forget();
                    self.sessions_lost += 1;
                }
                self.receive_max = receive_max;
                self.connect(keep);
            }
            Act::BreakTwice => {
                self.hang_up();
                self.protocol.connect(&endpoint(), &session(1), false);
                self.write(3);
                self.hang_up();
                self.connect(true);
            }
        }
    }

    fn hang_up(&mut self) {
        self.broker.hang_up();
        let mut happenings = Vec::new();
        self.protocol.broke(&mut happenings);
        self.note(happenings);
        assert_eq!(self.protocol.publish(self.next), Err(Unsendable::Disconnected));
    }

    /// Lets everything that is under way come to its end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.write(usize::MAX);
            self.broker.read();
            self.act(&Act::Answer);
        }
        self.write(usize::MAX);
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.protocol.is_idle());
        let sent: BTreeSet<u64> = self.sent.iter().copied().collect();
        prop_assert_eq!(self.dropped.intersection(&sent).count(), 0);
        let told: BTreeSet<u64> = self.dropped.union(&sent).copied().collect();
        prop_assert_eq!(&told, &self.accepted, "every message was sent or dropped, and none else");
        let mut first = self.sent.clone();
        let mut seen = BTreeSet::new();
        first.retain(|&number| seen.insert(number));
        prop_assert!(first.is_sorted(), "messages leave in their order");
        for &number in self.broker.taken.keys() {
            prop_assert!(sent.contains(&number), "{} reached the broker and was not sent", number);
        }
        if self.qos == Qos::AtMostOnce {
            return Ok(());
        }
        prop_assert!(self.dropped.is_empty());
        prop_assert!(self.finished.values().all(|&count| count == 1));
        if self.sessions_lost == 0 {
            let taken: BTreeSet<u64> = self.broker.taken.keys().copied().collect();
            prop_assert_eq!(&taken, &self.accepted, "nothing is lost while the session is kept");
            prop_assert_eq!(self.finished.len(), self.accepted.len());
        }
        if self.qos == Qos::ExactlyOnce {
            prop_assert!(self.broker.taken.values().all(|&count| count == 1));
        }
        Ok(())
    }
}

fn endpoint() -> Endpoint {
    Endpoint { host: "localhost".into(), port: 1_883, version: Version::V5, credentials: None }
}

fn session(inflight: u16) -> Session {
    Session {
        client_id: "numbers".into(),
        keep_alive: Duration::from_secs(30),
        inflight,
        queue: 20,
        packet_bytes_max: 1_000,
    }
}

fn protocol<S: Source>(qos: Qos, inflight: u16, source: S) -> Protocol<S> {
    Protocol::new(Version::V5, &session(inflight), Sending { topic: "t".into(), qos, source })
}

/// A CONNACK with a receive maximum (MQTT 5, 3.2).
fn connack(session_present: bool, receive_max: u16) -> [u8; 8] {
    let [high, low] = receive_max.to_be_bytes();
    [0x20, 6, u8::from(session_present), 0, 3, 0x21, high, low]
}

fn heard<S: Source>(protocol: &mut Protocol<S>, bytes: &[u8]) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let packet = Frame::first(bytes, u32::MAX).unwrap().unwrap();
    protocol.take(packet, &mut happenings).unwrap();
    happenings
}

/// Has a connection accepted.
fn up<S: Source>(protocol: &mut Protocol<S>, connack: &[u8]) {
    protocol.connect(&endpoint(), &session(1), false);
    assert_eq!(heard(protocol, connack), [Happening::Connected]);
}

proptest! {
    #[test]
    fn every_message_has_one_story_however_often_the_connection_breaks(
        level in 0_u8..3,
        inflight in 1_u16..8,
        receive_max in 1_u16..8,
        acts in acts(),
    ) {
        let mut world = World::new(Qos::from_level(level).unwrap(), inflight, receive_max);
        for act in &acts {
            world.act(act);
        }
        world.settle();
        world.check()?;
    }

    #[test]
    fn no_packet_panics(
        bytes in prop::collection::vec(any::<u8>(), 2..60),
        level in 0_u8..3,
        version in prop::sample::select(vec![Version::V4, Version::V5]),
    ) {
        let sending =
            Sending { topic: "t".into(), qos: Qos::from_level(level).unwrap(), source: Mute };
        let mut protocol = Protocol::new(version, &session(4), sending);
        protocol.connect(&endpoint(), &session(4), false);
        if let Ok(Some(packet)) = Frame::first(&bytes, u32::MAX) {
            let _ = protocol.take(packet, &mut Vec::new());
        }
    }
}

#[test]
fn a_full_queue_takes_nothing_more() {
    let mut world = World::new(Qos::AtLeastOnce, 2, 2);
    world.act(&Act::Publish(25));
    assert_eq!(world.accepted.len(), 20);
    world.settle();
    assert_eq!(world.finished.len(), 20);
}

#[test]
fn a_message_that_the_broker_would_not_take_is_refused() {
    // Topic, payload and a property of 55 bytes: 85 in all.
    for (bytes_max, taken) in [(85, Ok(())), (84, Err(Unsendable::TooLarge))] {
        let mut protocol = protocol(Qos::AtMostOnce, 1, Numbers([0; 8]));
        up(&mut protocol, &[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, bytes_max]);
        assert_eq!(protocol.publish(0), taken);
    }
}

#[test]
fn a_qos_that_the_broker_does_not_take_is_said() {
    let mut protocol = protocol(Qos::ExactlyOnce, 1, Numbers([0; 8]));
    protocol.connect(&endpoint(), &session(1), false);
    let packet = [0x20, 5, 0, 0, 2, 0x24, 1];
    let packet = Frame::first(&packet, u32::MAX).unwrap().unwrap();
    let failure = protocol.take(packet, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(failure, "the broker takes QoS 1 at most; mqtt.qos asks for 2");
}

#[test]
fn a_refused_qos_2_message_ends_at_pubrec() {
    let mut world = World::new(Qos::ExactlyOnce, 1, 1);
    world.act(&Act::Publish(1));
    world.write(usize::MAX);
    world.hear(&[0x50, 3, 0, 1, 0x87]);
    assert!(world.protocol.is_idle());
}

#[test]
fn a_broker_is_pinged_once_and_given_up_without_an_answer() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    protocol.connect(&endpoint(), &session(1), false);
    let failure = protocol.ping().unwrap_err().to_string();
    assert_eq!(failure, "no answer to CONNECT in time");
    heard(&mut protocol, &connack(false, 1));
    protocol.broke(&mut Vec::new());
    up(&mut protocol, &connack(false, 1));
    assert_eq!(protocol.ping(), Ok(Happening::Ping));
    assert_eq!(heard(&mut protocol, &[0xd0, 0]), [Happening::Pong]);
    assert_eq!(protocol.ping(), Ok(Happening::Ping));
    protocol.expect(0x30).unwrap();
    assert_eq!(protocol.ping(), Ok(Happening::Ping), "it has other things to say first");
    let failure = protocol.ping().unwrap_err().to_string();
    assert_eq!(failure, "no answer to PINGREQ within 30 s");
}

#[test]
fn a_broker_says_how_often_it_wants_to_be_pinged_and_no_longer_when_it_does_not() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    for (packet, seconds) in [
        (&[0x20, 6, 0, 0, 3, 0x13, 0, 7][..], 7),
        (&[0x20, 6, 0, 0, 3, 0x13, 0, 99], 30),
        (&[0x20, 3, 0, 0, 0], 30),
    ] {
        up(&mut protocol, packet);
        assert_eq!(protocol.keep_alive().as_secs(), seconds);
        protocol.broke(&mut Vec::new());
    }
}

#[test]
fn nothing_follows_a_disconnect() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    up(&mut protocol, &connack(false, 1));
    protocol.disconnect();
    let publish = [0x32, 7, 0, 1, b't', 0, 9, 0, b'x'];
    assert_eq!(heard(&mut protocol, &publish).len(), 1);
    assert!(protocol.unwritten().ends_with(&v5::DISCONNECT_AND_FORGET));
    assert!(!protocol.is_up());
}

#[test]
fn a_message_that_comes_in_twice_at_qos_2_is_handed_on_once() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    up(&mut protocol, &connack(false, 1));
    let publish = [0x34, 7, 0, 1, b't', 0, 9, 0, b'x'];
    assert_eq!(heard(&mut protocol, &publish).len(), 1);
    assert_eq!(heard(&mut protocol, &publish), []);
    assert_eq!(heard(&mut protocol, &[0x62, 2, 0, 9]), []);
    assert_eq!(heard(&mut protocol, &publish).len(), 1, "the id was released");
    assert!(protocol.unwritten().ends_with(&[0x50, 2, 0, 9, 0x70, 2, 0, 9, 0x50, 2, 0, 9]));
}

#[test]
fn a_broker_that_leaves_says_why() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    let mut said = |bytes: &[u8]| {
        let packet = Frame::first(bytes, u32::MAX).unwrap().unwrap();
        protocol.take(packet, &mut Vec::new()).unwrap_err().to_string()
    };
    assert_eq!(said(&[0xe0, 1, 0x8e]), "the broker ended the connection: SessionTakenOver");
    assert_eq!(said(&[0xe0, 0]), "the broker ended the connection: NormalDisconnection");
}

#[test]
fn a_release_that_was_lost_is_asked_for_again() {
    let mut world = World::new(Qos::ExactlyOnce, 1, 1);
    world.act(&Act::Publish(1));
    world.write(usize::MAX);
    (0..3).for_each(|_| world.broker.read());
    world.act(&Act::Answer);
    world.act(&Act::Break(0, true, 1));
    world.settle();
    world.check().unwrap();
    assert_eq!(world.sent, [0], "PUBREC had come: the message is not sent again");
}
