//! Room `wire`: a client's side of the protocol, bytes in and happenings out.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::frame::{self, Frame};
use super::outbox::Outbox;
use super::window::{Stand, Window};
use super::{
    Endpoint, Failure, Happening, Message, Sending, Session, Source, Unsendable, Version, refusal,
    v4, v5,
};
use crate::correlate::{Qos, Stage};
use crate::stamp::TRACEPARENT_LEN;

/// No more messages are written ahead of the socket than these bytes.
const AHEAD_BYTES: usize = 64 * 1_024;
/// Packet id of every SUBSCRIBE; messages have lower ones.
const SUBSCRIBE_ID: u16 = u16::MAX;

/// What the broker said when it accepted the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) session_present: bool,
    /// How many messages it takes at a time.
    pub(super) receive_max: u16,
    /// The largest packet it takes, in bytes.
    pub(super) packet_bytes_max: u32,
    /// The highest QoS it takes.
    pub(super) qos_max: Qos,
    /// How often it wants to hear of us, where it said so.
    pub(super) keep_alive: Option<Duration>,
}

/// A packet from the broker that is not an answer to a message.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// CONNACK.
    Accepted(Accepted),
    /// PUBLISH, with its packet id.
    Publish(Qos, u16, Message),
    /// SUBACK: whether everything was granted.
    Subscribed(bool),
    /// Nothing that was asked for.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    /// CONNECT is on its way.
    Asking,
    Up,
    /// DISCONNECT is on its way: nothing may follow it.
    Parting,
}

/// One client's sessions and connections, one after the other.
#[derive(Debug)]
pub(super) struct Protocol<S> {
    version: Version,
    sending: Sending<S>,
    queue_max: usize,
    /// How often the broker is pinged: as we want, and as it wants.
    keep_alive: (Duration, Option<Duration>),
    state: State,
    outbox: Outbox,
    /// Messages that were not written yet, oldest first.
    waiting: VecDeque<u64>,
    window: Window,
    /// Packet ids and numbers of what a resumed session must send again.
    again: VecDeque<(u16, u64)>,
    /// Packet ids of QoS 2 messages that came in and that the broker has not released.
    received: BTreeSet<u16>,
    /// The largest packet that the broker takes.
    packet_bytes_max: u32,
    pong_awaited: bool,
    /// Whether anything came since the last ping.
    was_heard: bool,
}

impl<S: Source> Protocol<S> {
    pub(super) fn new(version: Version, session: &Session, sending: Sending<S>) -> Self {
        Self {
            version,
            sending,
            queue_max: session.queue,
            keep_alive: (session.keep_alive, None),
            state: State::Down,
            outbox: Outbox::default(),
            waiting: VecDeque::new(),
            window: Window::new(session.inflight.min(SUBSCRIBE_ID - 1)),
            again: VecDeque::new(),
            received: BTreeSet::new(),
            packet_bytes_max: frame::PACKET_MAX,
            pong_awaited: false,
            was_heard: false,
        }
    }

    /// Begins a connection: CONNECT is written first. A `clean` one forgets the session.
    pub(super) fn connect(&mut self, endpoint: &Endpoint, session: &Session, clean: bool) {
        let packet = match self.version {
            Version::V4 => v4::connect(endpoint, session, clean),
            Version::V5 => v5::connect(endpoint, session, clean),
        };
        self.outbox.bytes().extend_from_slice(&packet);
        self.state = State::Asking;
    }

    /// Takes a message, to be written when its turn comes.
    pub(super) fn publish(&mut self, number: u64) -> Result<(), Unsendable> {
        if self.state != State::Up {
            return Err(Unsendable::Disconnected);
        }
        let Sending { topic, qos, source } = &self.sending;
        let lengths = (topic.len(), source.size(), TRACEPARENT_LEN);
        if frame::publish_size((self.version, *qos), lengths) > self.packet_bytes_max as usize {
            return Err(Unsendable::TooLarge);
        }
        if self.waiting.len() + self.outbox.messages() >= self.queue_max {
            return Err(Unsendable::QueueFull);
        }
        self.waiting.push_back(number);
        Ok(())
    }

    pub(super) fn subscribe(&mut self, filter: &str, qos: Qos) {
        let packet = match self.version {
            Version::V4 => v4::subscribe(SUBSCRIBE_ID, filter, qos),
            Version::V5 => v5::subscribe(SUBSCRIBE_ID, filter, qos),
        };
        self.outbox.bytes().extend_from_slice(&packet);
    }

    /// Asks the broker for a sign of life; fails where the last one is still awaited and nothing else
    /// has come either. A broker that has much to say may answer late.
    pub(super) fn ping(&mut self) -> Result<Happening, Failure> {
        if self.state == State::Asking {
            return Err(Failure::new("no answer to CONNECT in time"));
        }
        let was_heard = std::mem::take(&mut self.was_heard);
        if std::mem::replace(&mut self.pong_awaited, true) && !was_heard {
            let after = self.keep_alive().as_secs();
            return Err(Failure::new(format!("no answer to PINGREQ within {after} s")));
        }
        self.outbox.bytes().extend_from_slice(&frame::PINGREQ);
        Ok(Happening::Ping)
    }

    /// Says goodbye; in MQTT 5 the broker is to forget the session.
    pub(super) fn disconnect(&mut self) {
        let packet: &[u8] = match self.version {
            Version::V4 => &v4::DISCONNECT,
            Version::V5 => &v5::DISCONNECT_AND_FORGET,
        };
        self.outbox.bytes().extend_from_slice(packet);
        self.state = State::Parting;
    }

    /// Gives up what was not sent and what was not answered.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        self.window.clear();
    }

    /// Whether the connection was accepted and stands.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether goodbye was said.
    pub(super) fn is_parting(&self) -> bool {
        self.state == State::Parting
    }

    /// Whether every message was written and fully answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.outbox.messages() == 0 && self.window.len() == 0
    }

    /// How often the broker must be pinged.
    pub(super) fn keep_alive(&self) -> Duration {
        let (ours, theirs) = self.keep_alive;
        theirs.unwrap_or(ours).min(ours)
    }

    /// What is to be written next; empty where there is nothing to write.
    pub(super) fn unwritten(&mut self) -> &[u8] {
        while self.state == State::Up && self.outbox.unwritten().len() < AHEAD_BYTES {
            if !self.write_again() && !self.write_next() {
                break;
            }
        }
        self.outbox.unwritten()
    }

    /// Notes that so many bytes were written.
    pub(super) fn written(&mut self, count: usize, happenings: &mut Vec<Happening>) {
        self.outbox.advance(count);
        while let Some(mark) = self.outbox.next_written() {
            happenings.push(Happening::Sent(mark.number));
        }
    }

    /// Notes that something came. Fails where its first byte can't begin a packet that is awaited.
    pub(super) fn expect(&mut self, first: u8) -> Result<(), Failure> {
        self.was_heard = true;
        match first >> 4 {
            frame::CONNACK | frame::DISCONNECT => Ok(()),
            _ if self.state != State::Asking => Ok(()),
            _ => Err(Failure::new("what answers there does not speak MQTT")),
        }
    }

    /// Takes one packet in.
    pub(super) fn take(
        &mut self,
        packet: Frame<'_>,
        happenings: &mut Vec<Happening>,
    ) -> Result<(), Failure> {
        let answered = match packet.kind() {
            frame::PUBACK => Stage::Puback,
            frame::PUBREC => Stage::Pubrec,
            frame::PUBCOMP => Stage::Pubcomp,
            frame::PUBREL => {
                let id = packet.packet_id().ok_or_else(|| malformed("PUBREL"))?;
                self.received.remove(&id);
                self.answer(frame::PUBCOMP, id);
                return Ok(());
            }
            frame::PINGRESP => {
                self.pong_awaited = false;
                happenings.push(Happening::Pong);
                return Ok(());
            }
            frame::DISCONNECT => return Err(v5::farewell(packet)),
            _ => return self.take_other(packet, happenings),
        };
        let id = packet.packet_id().ok_or_else(|| malformed("an answer to PUBLISH"))?;
        // The reason may be left out, which says success (MQTT 5, 3.4.2.1).
        let reason = packet.body.get(2).copied().unwrap_or(0);
        happenings.extend(self.answered(answered, id, reason));
        Ok(())
    }

    /// The connection is gone. What was not wholly written never reached the broker: it waits again,
    /// but at QoS 0, which promises nothing.
    pub(super) fn broke(&mut self, happenings: &mut Vec<Happening>) {
        self.state = State::Down;
        self.pong_awaited = false;
        self.was_heard = false;
        self.again.clear();
        for mark in self.outbox.clear().into_iter().rev().filter(|mark| mark.first) {
            if self.sending.qos == Qos::AtMostOnce {
                happenings.push(Happening::Dropped(mark.number));
            } else {
                self.window.recall(mark.number);
                self.waiting.push_front(mark.number);
            }
        }
    }

    fn take_other(
        &mut self,
        packet: Frame<'_>,
        happenings: &mut Vec<Happening>,
    ) -> Result<(), Failure> {
        if packet.kind() == frame::CONNACK {
            // Before the codec, which knows one version's codes.
            let code = packet.body.get(1).copied().ok_or_else(|| malformed("CONNACK"))?;
            if self.state != State::Asking {
                return Err(malformed("a second CONNACK"));
            }
            if code != 0 {
                return Err(refusal::refused(code, self.version));
            }
        }
        let incoming = match self.version {
            Version::V4 => v4::read(packet)?,
            Version::V5 => v5::read(packet)?,
        };
        match incoming {
            Incoming::Accepted(accepted) => {
                self.accepted(accepted)?;
                happenings.push(Happening::Connected);
            }
            Incoming::Publish(qos, id, message) => {
                if self.hold(qos, id) {
                    happenings.push(Happening::Message(message));
                }
            }
            Incoming::Subscribed(granted) => happenings.push(Happening::Subscribed(granted)),
            Incoming::Other => (),
        }
        Ok(())
    }

    fn accepted(&mut self, accepted: Accepted) -> Result<(), Failure> {
        if accepted.qos_max < self.sending.qos {
            let (max, asked) = (accepted.qos_max.level(), self.sending.qos.level());
            let words = format!("the broker takes QoS {max} at most; mqtt.qos asks for {asked}");
            return Err(Failure::new(words));
        }
        self.state = State::Up;
        self.packet_bytes_max = accepted.packet_bytes_max.min(frame::PACKET_MAX);
        self.keep_alive.1 = accepted.keep_alive;
        self.window.allow(accepted.receive_max);
        if accepted.session_present {
            self.again = self.window.in_order().into();
        } else {
            self.window.clear();
            self.received.clear();
        }
        Ok(())
    }

    /// Takes an answer to one of our messages. One to what is not in flight is nobody's.
    fn answered(&mut self, stage: Stage, id: u16, reason: u8) -> Option<Happening> {
        let qos = self.sending.qos;
        let Some(flight) = self.window.flight(id) else {
            // The broker remembers a message that we don't: releasing it lets it forget.
            if stage == Stage::Pubrec && reason < 0x80 {
                self.answer(frame::PUBREL, id);
            }
            return None;
        };
        let number = flight.number;
        match (stage, qos, flight.stand) {
            (Stage::Pubrec, Qos::ExactlyOnce, Stand::Published) if reason < 0x80 => {
                flight.stand = Stand::Released;
                self.answer(frame::PUBREL, id);
            }
            (Stage::Pubrec, Qos::ExactlyOnce, Stand::Released) => {
                self.answer(frame::PUBREL, id);
                return None;
            }
            (Stage::Puback, Qos::AtLeastOnce, _)
            | (Stage::Pubrec, Qos::ExactlyOnce, Stand::Published)
            | (Stage::Pubcomp, Qos::ExactlyOnce, Stand::Released) => self.window.land(id),
            _ => return None,
        }
        // The broker had the message at PUBREC: what PUBCOMP says refuses nothing.
        let reason = if stage == Stage::Pubcomp { 0 } else { reason };
        Some(Happening::Answered { number, stage, reason })
    }

    /// Answers a PUBLISH; whether its message is a new one.
    fn hold(&mut self, qos: Qos, id: u16) -> bool {
        match qos {
            Qos::AtMostOnce => true,
            Qos::AtLeastOnce => {
                self.answer(frame::PUBACK, id);
                true
            }
            Qos::ExactlyOnce => {
                self.answer(frame::PUBREC, id);
                self.received.insert(id)
            }
        }
    }

    /// Writes what the resumed session must send next; false where nothing may be.
    fn write_again(&mut self) -> bool {
        let Some(&(id, number)) = self.again.front() else {
            return false;
        };
        let under_way = self.window.len().saturating_sub(self.again.len());
        let takes_more = self.window.allows(under_way);
        match self.window.flight(id).filter(|flight| flight.number == number) {
            Some(flight) if flight.stand == Stand::Released => self.answer(frame::PUBREL, id),
            // The broker may take less than it did.
            Some(_) if !takes_more => return false,
            Some(_) => self.write(number, (id, true)),
            // It was answered in the meantime.
            None => (),
        }
        self.again.pop_front();
        true
    }

    /// Writes the message that waits longest; false where none may be written.
    fn write_next(&mut self) -> bool {
        let Some(&number) = self.waiting.front() else {
            return false;
        };
        let id = match self.sending.qos {
            Qos::AtMostOnce => Some(0),
            _ => self.window.launch(number),
        };
        let Some(id) = id else {
            return false;
        };
        self.waiting.pop_front();
        self.write(number, (id, false));
        true
    }

    /// Writes a step of a publish handshake.
    fn answer(&mut self, kind: u8, id: u16) {
        if self.state == State::Up {
            frame::answer(self.outbox.bytes(), kind, id);
        }
    }

    fn write(&mut self, number: u64, (id, again): (u16, bool)) {
        let Sending { topic, qos, source } = &mut self.sending;
        let message = source.compose(number);
        frame::publish(self.outbox.bytes(), (self.version, *qos, topic), (id, again), message);
        self.outbox.mark(number, !again);
    }
}

/// What is said of a packet that can't be read.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::new(format!("the broker sent {what} that can't be read"))
}

#[cfg(test)]
mod tests;
