//! Room `wire`: a client's side of the protocol, bytes in and happenings out.

mod incoming;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::frame;
use super::outbox::{Buffers, Outbox};
use super::window::{Stand, Window};
use super::{
    Endpoint, Failure, Happening, Limits, Message, Sending, Session, Source, Unsendable, Version,
    v4, v5,
};
use crate::clock::Instant;
use crate::correlate::Qos;
use crate::stamp::TRACEPARENT_LEN;

/// No more messages of a client are written ahead of its socket than these bytes, but for the last one.
pub const AHEAD_BYTES: usize = 64 * 1_024;
/// Since when a message waits that had been about to leave: it will be among the first that do.
const SENT_BEFORE: Instant = Instant::from_nanos(u64::MAX);
/// Room for more messages that wait is given back once none does.
const KEEP_WAITING: usize = 32;
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
    /// Whether it keeps the last message of a topic.
    pub(super) retains: bool,
    /// How often it wants to hear of us, where it said so.
    pub(super) keep_alive: Option<Duration>,
}

impl Accepted {
    /// What of it the broker did not leave open.
    fn limits(&self) -> Limits {
        Limits {
            receive_max: Some(self.receive_max).filter(|&max| max < u16::MAX),
            packet_bytes_max: Some(self.packet_bytes_max).filter(|&max| max < frame::PACKET_MAX),
            qos_max: self.qos_max,
        }
    }
}

/// A packet from the broker that is not an answer to a message.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// CONNACK.
    Accepted(Accepted),
    /// PUBLISH, with its packet id.
    Publish(Qos, u16, Message),
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
    /// Whether the broker is to keep the last message.
    retains: bool,
    queue_max: usize,
    /// How long a message may wait until no more are taken.
    patience: Duration,
    /// How often the broker is pinged: as we want, and as it wants.
    keep_alive: (Duration, Option<Duration>),
    state: State,
    outbox: Outbox,
    /// Messages that were not written yet and since when they wait, oldest first.
    waiting: VecDeque<(u64, Instant)>,
    /// Messages below this number had to wait for room, since not all was written that was to be.
    held_below: u64,
    window: Window,
    /// Packet ids and numbers of what a resumed session must send again.
    again: VecDeque<(u16, u64)>,
    /// Packet ids of QoS 2 messages that came in and that the broker has not released.
    received: BTreeSet<u16>,
    /// The largest packet that the broker takes.
    packet_bytes_max: u32,
    /// What it said of that, once it did.
    limits: Option<Limits>,
    pong_awaited: bool,
    /// Whether anything came since the last ping.
    was_heard: bool,
}

impl<S: Source> Protocol<S> {
    pub(super) fn new(version: Version, session: &Session, sending: Sending<S>) -> Self {
        Self {
            version,
            sending,
            retains: false,
            queue_max: session.queue,
            patience: session.patience,
            keep_alive: (session.keep_alive, None),
            state: State::Down,
            outbox: Outbox::default(),
            waiting: VecDeque::new(),
            held_below: 0,
            window: Window::new(session.inflight.min(SUBSCRIBE_ID - 1)),
            again: VecDeque::new(),
            received: BTreeSet::new(),
            packet_bytes_max: frame::PACKET_MAX,
            limits: None,
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
    pub(super) fn publish(&mut self, number: u64, now: Instant) -> Result<(), Unsendable> {
        if self.state != State::Up {
            return Err(Unsendable::Disconnected);
        }
        let Sending { topic, qos, source } = &self.sending;
        let lengths = (topic.len(), source.size(), TRACEPARENT_LEN);
        if frame::publish_size((self.version, *qos), lengths) > self.packet_bytes_max as usize {
            return Err(Unsendable::TooLarge);
        }
        let is_late = |&(_, since): &(u64, Instant)| since + self.patience < now;
        let is_full = self.waiting.len() + self.outbox.messages() >= self.queue_max;
        if is_full || self.waiting.front().is_some_and(is_late) {
            return Err(Unsendable::QueueFull);
        }
        self.waiting.push_back((number, now));
        Ok(())
    }

    pub(super) fn subscribe<'a>(&mut self, filters: impl Iterator<Item = &'a str>, qos: Qos) {
        let packet = match self.version {
            Version::V4 => v4::subscribe(SUBSCRIBE_ID, filters, qos),
            Version::V5 => v5::subscribe(SUBSCRIBE_ID, filters, qos),
        };
        self.outbox.bytes().extend_from_slice(&packet);
    }

    /// Asks the broker for a sign of life; fails where the last one is still awaited and nothing else
    /// has come either. A broker that has much to say may answer late.
    pub(super) fn ping(&mut self) -> Result<Happening, Failure> {
        if self.state == State::Asking {
            let to_do = "check that an MQTT broker listens there";
            return Err(Failure::new("no answer to CONNECT in time", to_do));
        }
        let was_heard = std::mem::take(&mut self.was_heard);
        if std::mem::replace(&mut self.pong_awaited, true) && !was_heard {
            let after = self.keep_alive().as_secs();
            let what = format!("no answer to PINGREQ within {after} s");
            return Err(Failure::new(what, "look at the broker's load, and the network"));
        }
        self.outbox.bytes().extend_from_slice(&frame::PINGREQ);
        Ok(Happening::Ping)
    }

    /// Has the broker keep the last message that is published, until goodbye is said.
    pub(super) fn retain(&mut self) {
        self.retains = true;
    }

    /// Says goodbye; in MQTT 5 the broker is to forget the session.
    pub(super) fn disconnect(&mut self) {
        if self.retains {
            frame::forget(self.outbox.bytes(), self.version, &self.sending.topic);
        }
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

    /// What the broker takes, once it accepted a connection.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// Whether goodbye was said.
    pub(super) fn is_parting(&self) -> bool {
        self.state == State::Parting
    }

    /// How many messages wait to be written, or to be fully answered.
    pub(super) fn under_way(&self) -> usize {
        let written = match self.sending.qos {
            Qos::AtMostOnce => self.outbox.messages(),
            _ => self.window.len(),
        };
        self.waiting.len() + written
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

    /// Writes into these buffers, which all clients of a thread share, until they are given back.
    pub(super) fn borrow(&mut self, buffers: &mut Buffers) {
        self.outbox.swap(buffers);
    }

    /// Keeps what the socket did not take, and no more.
    pub(super) fn give_back(&mut self, buffers: &mut Buffers) {
        self.outbox.swap_back(buffers);
        if self.waiting.is_empty() && self.waiting.capacity() > KEEP_WAITING {
            self.waiting = VecDeque::new();
        }
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
            let (number, held) = (mark.number, mark.number < self.held_below);
            happenings.push(Happening::Sent { number, held });
        }
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
                self.waiting.push_front((mark.number, SENT_BEFORE));
            }
        }
        self.note_held();
    }

    /// What is left of what was to be written is held: by the socket, or by what the broker takes at a
    /// time.
    pub(super) fn note_held(&mut self) {
        let last = self.waiting.back().map(|&(number, _)| number).or_else(|| self.outbox.last());
        if let Some(last) = last {
            self.held_below = self.held_below.max(last + 1);
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
        let Some(&(number, _)) = self.waiting.front() else {
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
        let out = self.outbox.bytes();
        let start = out.len();
        let property = source.begin(number);
        let property = property.as_ref().map_or(&[][..], |value| &value[..]);
        frame::publish(out, (self.version, *qos, topic), (id, again), (source.size(), property));
        source.append(out);
        if self.retains {
            frame::retain(out, start);
        }
        self.outbox.mark(number, !again);
    }
}

/// What is said of a packet that can't be read.
pub(super) fn malformed(what: &str) -> Failure {
    let what = format!("the broker sent {what} that can't be read");
    Failure::new(what, "check mqtt.url and mqtt.version")
}

#[cfg(test)]
mod tests;
