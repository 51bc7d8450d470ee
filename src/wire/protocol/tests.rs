//! Room `wire`: the protocol against a broker that keeps its own books, over connections that break.

mod broker;
mod kept;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Instant;
use crate::wire::frame::Frame;
use crate::wire::{Mute, samples};
use world::{Act, Numbers, World, acts};

fn endpoint() -> Endpoint {
    samples::endpoint("localhost", 1_883)
}

fn session(inflight: u16) -> Session {
    Session { inflight, queue: 20, ..samples::session("numbers") }
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
fn nothing_is_taken_behind_a_message_that_has_waited_for_too_long() {
    let mut protocol = protocol(Qos::AtLeastOnce, 1, Numbers(0));
    up(&mut protocol, &connack(false, 1));
    let minute = Instant::ZERO + Duration::from_mins(1);
    assert_eq!(protocol.publish(0, Instant::ZERO), Ok(()));
    assert_eq!(protocol.publish(1, Instant::ZERO), Ok(()));
    let written = protocol.unwritten().len();
    protocol.written(written, &mut Vec::new());
    assert_eq!(
        protocol.publish(2, minute),
        Ok(()),
        "the other one waits for a minute, not for longer"
    );
    let late = minute + Duration::from_nanos(1);
    assert_eq!(protocol.publish(3, late), Err(Unsendable::QueueFull));
    heard(&mut protocol, &[0x40, 2, 0, 1]);
    let written = protocol.unwritten().len();
    protocol.written(written, &mut Vec::new());
    assert_eq!(protocol.publish(3, late), Ok(()), "what waits now came later");
}

#[test]
fn a_message_is_held_where_it_had_to_wait_for_room() {
    let mut protocol = protocol(Qos::AtLeastOnce, 1, Numbers(0));
    up(&mut protocol, &connack(false, 1));
    let flush = |protocol: &mut Protocol<Numbers>| {
        let (mut buffers, mut happenings) = (Buffers::default(), Vec::new());
        protocol.borrow(&mut buffers);
        let written = protocol.unwritten().len();
        protocol.written(written, &mut happenings);
        assert!(protocol.unwritten().is_empty());
        protocol.note_held();
        protocol.give_back(&mut buffers);
        happenings
    };
    for number in 0..2 {
        assert_eq!(protocol.publish(number, Instant::ZERO), Ok(()));
    }
    assert_eq!(flush(&mut protocol), [Happening::Sent { number: 0, held: false }]);
    heard(&mut protocol, &[0x40, 2, 0, 1]);
    assert_eq!(flush(&mut protocol), [Happening::Sent { number: 1, held: true }]);
    heard(&mut protocol, &[0x40, 2, 0, 1]);
    assert_eq!(protocol.publish(2, Instant::ZERO), Ok(()));
    assert_eq!(flush(&mut protocol), [Happening::Sent { number: 2, held: false }]);
}

#[test]
fn a_message_that_the_broker_would_not_take_is_refused() {
    // Topic, payload and a property of 55 bytes: 85 in all.
    for (bytes_max, taken) in [(85, Ok(())), (84, Err(Unsendable::TooLarge))] {
        let mut protocol = protocol(Qos::AtMostOnce, 1, Numbers(0));
        up(&mut protocol, &[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, bytes_max]);
        assert_eq!(protocol.publish(0, Instant::ZERO), taken);
    }
}

#[test]
fn a_qos_that_the_broker_does_not_take_is_said() {
    let mut protocol = protocol(Qos::ExactlyOnce, 1, Numbers(0));
    protocol.connect(&endpoint(), &session(1), false);
    let packet = [0x20, 5, 0, 0, 2, 0x24, 1];
    let packet = Frame::first(&packet, u32::MAX).unwrap().unwrap();
    let failure = protocol.take(packet, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(failure, "the broker takes QoS 1 at most, 2 is asked for; change mqtt.qos");
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
    assert_eq!(failure, "no answer to CONNECT in time; check that an MQTT broker listens there");
    heard(&mut protocol, &connack(false, 1));
    protocol.broke(&mut Vec::new());
    up(&mut protocol, &connack(false, 1));
    assert_eq!(protocol.ping(), Ok(Happening::Ping));
    assert_eq!(heard(&mut protocol, &[0xd0, 0]), [Happening::Pong]);
    assert_eq!(protocol.ping(), Ok(Happening::Ping));
    protocol.expect(0x30).unwrap();
    assert_eq!(protocol.ping(), Ok(Happening::Ping), "it has other things to say first");
    let failure = protocol.ping().unwrap_err().to_string();
    assert!(failure.starts_with("no answer to PINGREQ within 30 s; "), "{failure}");
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
    let taken_over = "the broker ended the connection: SessionTakenOver; give each probe a name";
    assert!(said(&[0xe0, 1, 0x8e]).starts_with(taken_over));
    let farewell = "the broker ended the connection: NormalDisconnection; see the broker's log";
    assert_eq!(said(&[0xe0, 0]), farewell);
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
