//! Room `embedded` (edge): what publishers and the broker say to each other, as a third party hears it.
//!
//! # Design
//!
//! Packets are taken apart by `rumqttc`'s codec and not by that of the probe, and are known by the trace
//! id of their user property. A publisher of MQTT 3.1.1 has none, and is not followed. Of a message that
//! is sent again the first sending counts, and of its answers the first that reached the publisher. An
//! answer belongs to the connection that its message was last sent on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, PubCompReason, PubRecReason, Publish};

use super::bridge::trace_id;
use crate::clock::Instant;

/// How many messages are remembered.
const EXCHANGES_MAX: usize = 1_000_000;

/// A message and what the broker answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Read right when the publisher's bytes had come.
    pub published: Instant,
    /// Read right before PUBREC was handed on, where that took the message.
    pub taken: Option<Instant>,
    /// Read right before PUBACK or PUBCOMP was handed on, where that took the message.
    pub answered: Option<Instant>,
}

/// Everything that was heard.
#[derive(Clone, Debug, Default)]
pub struct WireLog {
    /// By trace id, in hexadecimal digits.
    pub exchanges: HashMap<String, Exchange>,
    /// Connections that could not be followed to their end.
    pub unread: u64,
    /// Messages beyond the log's bound.
    pub unlogged: u64,
}

/// Hears all connections of a relay; copies share what they hear.
#[derive(Clone, Default)]
pub struct Tap(Arc<Mutex<WireLog>>);

impl fmt::Debug for Tap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    /// What was heard so far.
    #[must_use]
    pub fn log(&self) -> WireLog {
        self.heard(|log| log.clone())
    }

    fn heard<T>(&self, work: impl FnOnce(&mut WireLog) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is heard of one connection.
pub(super) struct Ear {
    tap: Tap,
    up: BytesMut,
    down: BytesMut,
    /// Trace ids of the messages that were sent last under each packet id.
    open: HashMap<u16, String>,
    is_deaf: bool,
}

impl Ear {
    pub(super) fn new(tap: Tap) -> Self {
        let (up, down) = (BytesMut::new(), BytesMut::new());
        Self { tap, up, down, open: HashMap::new(), is_deaf: false }
    }

    /// The publisher said this, which was read by `at`.
    pub(super) fn said(&mut self, bytes: &[u8], at: Instant) {
        self.up.extend_from_slice(bytes);
        while let Some(packet) = next(&mut self.up, &mut self.is_deaf, &self.tap) {
            if let Packet::Publish(publish) = packet {
                self.published(&publish, at);
            }
        }
    }

    /// The broker answered this, which is handed on at `at`, or not at all.
    pub(super) fn answered(&mut self, bytes: &[u8], at: Option<Instant>) {
        self.down.extend_from_slice(bytes);
        while let Some(packet) = next(&mut self.down, &mut self.is_deaf, &self.tap) {
            let Some(at) = at else { continue };
            match packet {
                Packet::PubAck(answer) => {
                    use PubAckReason::{NoMatchingSubscribers, Success};
                    let took = matches!(answer.reason, Success | NoMatchingSubscribers);
                    self.told(answer.pkid, took, |exchange| &mut exchange.answered, at);
                }
                Packet::PubRec(answer) => {
                    use PubRecReason::{NoMatchingSubscribers, Success};
                    let took = matches!(answer.reason, Success | NoMatchingSubscribers);
                    self.told(answer.pkid, took, |exchange| &mut exchange.taken, at);
                }
                Packet::PubComp(answer) => {
                    let took = answer.reason == PubCompReason::Success;
                    self.told(answer.pkid, took, |exchange| &mut exchange.answered, at);
                }
                _ => (),
            }
        }
    }

    fn published(&mut self, publish: &Publish, at: Instant) {
        let trace_id = trace_id(publish);
        if publish.pkid != 0 {
            self.open.insert(publish.pkid, trace_id.clone());
        }
        self.tap.heard(|log| {
            let is_full = log.exchanges.len() >= EXCHANGES_MAX;
            match log.exchanges.entry(trace_id) {
                Entry::Vacant(_) if is_full => log.unlogged += 1,
                Entry::Vacant(place) => {
                    place.insert(Exchange { published: at, taken: None, answered: None });
                }
                Entry::Occupied(_) => (),
            }
        });
    }

    fn told(
        &self,
        packet: u16,
        took: bool,
        of: impl Fn(&mut Exchange) -> &mut Option<Instant>,
        at: Instant,
    ) {
        let Some(trace_id) = self.open.get(&packet).filter(|_| took) else { return };
        self.tap.heard(|log| {
            if let Some(exchange) = log.exchanges.get_mut(trace_id) {
                of(exchange).get_or_insert(at);
            }
        });
    }
}

/// The next whole packet.
fn next(bytes: &mut BytesMut, is_deaf: &mut bool, tap: &Tap) -> Option<Packet> {
    while !*is_deaf {
        match Packet::read(bytes, None) {
            Ok(packet) => return Some(packet),
            Err(Error::InsufficientBytes(_)) => return None,
            // A DISCONNECT without a reason, which the codec has taken out.
            Err(Error::PayloadRequired) => (),
            Err(_) => {
                *is_deaf = true;
                tap.heard(|log| log.unread += 1);
            }
        }
    }
    bytes.clear();
    None
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{PubAck, PubComp, PubRec, PublishProperties};

    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn bytes(packet: &Packet) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        bytes.to_vec()
    }

    fn publish(qos: QoS, pkid: u16, trace: char) -> Vec<u8> {
        let value = format!("00-{}-{}-01", trace.to_string().repeat(32), "1".repeat(16));
        let user_properties = vec![("traceparent".to_owned(), value)];
        let properties = PublishProperties { user_properties, ..PublishProperties::default() };
        let mut publish = Publish::new("t", qos, "payload", Some(properties));
        publish.pkid = pkid;
        bytes(&Packet::Publish(publish))
    }

    fn exchange(tap: &Tap, trace: char) -> Exchange {
        tap.log().exchanges[&trace.to_string().repeat(32)]
    }

    fn acknowledged(pkid: u16, reason: PubAckReason) -> Vec<u8> {
        bytes(&Packet::PubAck(PubAck { pkid, reason, properties: None }))
    }

    #[test]
    fn the_first_sending_counts_and_the_first_answer_that_was_handed_on() {
        let tap = Tap::default();
        let mut ear = Ear::new(tap.clone());
        let sent = publish(QoS::AtLeastOnce, 7, 'a');
        // In two parts, and the second with another message.
        ear.said(&sent[..5], at(1));
        assert!(tap.log().exchanges.is_empty());
        ear.said(&[&sent[5..], &publish(QoS::AtLeastOnce, 8, 'b')].concat(), at(2));
        ear.answered(&acknowledged(7, PubAckReason::Success), None);
        ear.answered(&acknowledged(8, PubAckReason::NotAuthorized), Some(at(3)));
        let unanswered = Exchange { published: at(2), taken: None, answered: None };
        assert_eq!([exchange(&tap, 'a'), exchange(&tap, 'b')], [unanswered; 2]);

        let mut ear = Ear::new(tap.clone());
        ear.said(&publish(QoS::AtLeastOnce, 1, 'a'), at(4));
        ear.answered(&acknowledged(1, PubAckReason::NoMatchingSubscribers), Some(at(5)));
        ear.answered(&acknowledged(1, PubAckReason::Success), Some(at(6)));
        let answered = Some(at(5));
        assert_eq!(exchange(&tap, 'a'), Exchange { answered, ..unanswered });
    }

    #[test]
    fn both_steps_of_a_handshake_are_told_apart() {
        let tap = Tap::default();
        let mut ear = Ear::new(tap.clone());
        ear.said(&publish(QoS::ExactlyOnce, 3, 'c'), at(1));
        let taken = PubRec { pkid: 3, reason: PubRecReason::Success, properties: None };
        ear.answered(&bytes(&Packet::PubRec(taken)), Some(at(2)));
        ear.answered(&bytes(&Packet::PubComp(PubComp::new(3, None))), Some(at(3)));
        let (taken, answered) = (Some(at(2)), Some(at(3)));
        assert_eq!(exchange(&tap, 'c'), Exchange { published: at(1), taken, answered });
    }

    #[test]
    fn what_is_no_mqtt_is_told() {
        let tap = Tap::default();
        let mut ear = Ear::new(tap.clone());
        // A DISCONNECT that says nothing is none of it.
        ear.said(&[0xe0, 0], at(1));
        assert_eq!(tap.log().unread, 0);
        ear.said(&[0; 40], at(2));
        ear.said(&publish(QoS::AtMostOnce, 0, 'd'), at(3));
        assert_eq!((tap.log().unread, tap.log().exchanges.len()), (1, 0));
    }
}
