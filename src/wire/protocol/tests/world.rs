//! Room `wire`: a client and a broker whose connections break, for tests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::broker::Broker;
use super::{connack, endpoint, protocol, session};
use crate::clock::Instant;
use crate::correlate::{Qos, Stage};
use crate::wire::frame::Frame;
use crate::wire::protocol::Protocol;
use crate::wire::{Happening, Property, Source, Unsendable};

/// Writes messages that say their number.
#[derive(Debug)]
pub(super) struct Numbers(pub(super) u64);

impl Source for Numbers {
    fn size(&self) -> usize {
        8
    }

    fn begin(&mut self, number: u64) -> Property {
        self.0 = number;
        None
    }

    fn append(&mut self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&self.0.to_be_bytes());
    }
}

#[derive(Clone, Debug)]
pub(super) enum Act {
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

pub(super) fn acts() -> impl Strategy<Value = Vec<Act>> {
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
pub(super) struct World {
    pub(super) protocol: Protocol<Numbers>,
    pub(super) broker: Broker,
    qos: Qos,
    receive_max: u16,
    next: u64,
    pub(super) accepted: BTreeSet<u64>,
    pub(super) sent: Vec<u64>,
    dropped: BTreeSet<u64>,
    pub(super) finished: BTreeMap<u64, u32>,
    sessions_lost: u32,
}

impl World {
    pub(super) fn new(qos: Qos, inflight: u16, receive_max: u16) -> Self {
        let mut world = Self {
            protocol: protocol(qos, inflight, Numbers(0)),
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

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let mut happenings = Vec::new();
        let packet = Frame::first(bytes, u32::MAX).unwrap().unwrap();
        self.protocol.take(packet, &mut happenings).unwrap();
        self.note(happenings);
    }

    pub(super) fn write(&mut self, count: usize) {
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
                Happening::Sent { number, .. } => self.sent.push(number),
                Happening::Dropped(number) => assert!(self.dropped.insert(number)),
                Happening::Answered { number, stage, .. } if stage != Stage::Pubrec => {
                    *self.finished.entry(number).or_default() += 1;
                }
                _ => (),
            }
        }
    }

    pub(super) fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish(count) => {
                for _ in 0..count {
                    if self.protocol.publish(self.next, Instant::ZERO).is_ok() {
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
        assert_eq!(self.protocol.publish(self.next, Instant::ZERO), Err(Unsendable::Disconnected));
    }

    /// Lets everything that is under way come to its end.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.write(usize::MAX);
            self.broker.read();
            self.act(&Act::Answer);
        }
        self.write(usize::MAX);
    }

    pub(super) fn check(&self) -> Result<(), TestCaseError> {
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
