//! Room `wire`: messages that the broker keeps, and what it says of subscriptions.

use super::*;

/// Everything that a client has written so far.
fn written(protocol: &mut Protocol<Mute>) -> Vec<u8> {
    let bytes = protocol.unwritten().to_vec();
    protocol.written(bytes.len(), &mut Vec::new());
    bytes
}

#[test]
fn what_is_kept_is_forgotten_at_goodbye() {
    let mut protocol = protocol(Qos::AtLeastOnce, 1, Mute);
    protocol.retain();
    up(&mut protocol, &connack(false, 10));
    written(&mut protocol);
    protocol.publish(0, Instant::ZERO).unwrap();
    assert_eq!(written(&mut protocol)[0], 0x33, "PUBLISH, QoS 1, RETAIN");
    protocol.disconnect();
    let forget = [0x31, 4, 0, 1, b't', 0];
    assert_eq!(written(&mut protocol), [&forget[..], &v5::DISCONNECT_AND_FORGET].concat());
}

#[test]
fn a_broker_that_keeps_nothing_is_told_of() {
    let mut protocol = protocol(Qos::AtLeastOnce, 1, Mute);
    protocol.retain();
    protocol.connect(&endpoint(), &session(1), false);
    let packet = [0x20, 5, 0, 0, 2, 0x25, 0];
    let packet = Frame::first(&packet, u32::MAX).unwrap().unwrap();
    let failure = protocol.take(packet, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(failure, "the broker keeps no retained messages; remove mqtt.retain");
}

#[test]
fn every_answer_to_a_subscription_is_looked_at() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    up(&mut protocol, &connack(false, 10));
    protocol.subscribe(["a", "b"].into_iter(), Qos::ExactlyOnce);
    let said = |happenings: Vec<Happening>| match &happenings[..] {
        [Happening::Subscribed(Ok(()))] => String::new(),
        [Happening::Subscribed(Err(refusal))] => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    // With a reason string of one byte.
    let granted = [0x90, 9, 0xff, 0xff, 4, 0x1f, 0, 1, b'x', 0, 2];
    assert_eq!(said(heard(&mut protocol, &granted)), "");
    let refused = [0x90, 5, 0xff, 0xff, 0, 1, 0x87];
    assert_eq!(said(heard(&mut protocol, &refused)), "not authorised; allow it for this client");
    let cut = [0x90, 3, 0xff, 0xff, 9];
    let packet = Frame::first(&cut, u32::MAX).unwrap().unwrap();
    assert!(protocol.take(packet, &mut Vec::new()).is_err());
}

#[test]
fn a_message_that_was_stored_says_so() {
    let mut protocol = protocol(Qos::AtMostOnce, 1, Mute);
    up(&mut protocol, &connack(false, 10));
    let stored = |first: u8, protocol: &mut Protocol<Mute>| {
        let publish = [first, 5, 0, 1, b't', 0, b'x'];
        match &heard(protocol, &publish)[..] {
            [Happening::Message(message)] => message.stored,
            other => panic!("{other:?}"),
        }
    };
    assert!(stored(0x31, &mut protocol));
    assert!(!stored(0x30, &mut protocol));
}
