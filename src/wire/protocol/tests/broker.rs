//! Room `wire`: a broker that keeps its own books, for tests.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::Packet;

use crate::wire::frame;

/// A broker that never loses what it has read.
#[derive(Debug, Default)]
pub(super) struct Broker {
    /// What was written to its socket and not read.
    pub(super) socket: BytesMut,
    /// QoS 2 messages that were not released, by packet id.
    held: BTreeMap<u16, u64>,
    /// How often it took each message for a new one.
    pub(super) taken: BTreeMap<u64, u32>,
    /// Packets on their way to the client.
    answers: VecDeque<Vec<u8>>,
    /// Messages whose last answer the client has not heard on this connection.
    pub(super) unheard: usize,
    /// How many of these it takes at a time.
    pub(super) receive_max: u16,
}

impl Broker {
    /// Reads one packet, if a whole one is there.
    pub(super) fn read(&mut self) {
        let Ok(packet) = Packet::read(&mut self.socket, None) else { return };
        let mut out = Vec::new();
        match packet {
            Packet::Publish(publish) => {
                let number = u64::from_be_bytes(publish.payload[..].try_into().unwrap());
                let id = publish.pkid;
                let is_new = publish.qos as u8 != 2 || self.held.insert(id, number).is_none();
                assert!(is_new || publish.dup, "an id that is held comes again as such");
                *self.taken.entry(number).or_default() += u32::from(is_new);
                if publish.qos as u8 > 0 {
                    self.unheard += 1;
                    assert!(self.unheard <= usize::from(self.receive_max), "it takes no more");
                }
                match publish.qos as u8 {
                    0 => return,
                    1 => frame::answer(&mut out, frame::PUBACK, id),
                    _ => frame::answer(&mut out, frame::PUBREC, id),
                }
            }
            Packet::PubRel(release) => {
                self.held.remove(&release.pkid);
                frame::answer(&mut out, frame::PUBCOMP, release.pkid);
            }
            Packet::Connect(..) => return,
            other => panic!("{other:?}"),
        }
        self.answers.push_back(out);
    }

    /// The next answer that reaches the client.
    pub(super) fn answer(&mut self) -> Option<Vec<u8>> {
        let answer = self.answers.pop_front()?;
        // A release of a message of an earlier connection frees no place on this one.
        if matches!(answer[0] >> 4, frame::PUBACK | frame::PUBCOMP) {
            self.unheard = self.unheard.saturating_sub(1);
        }
        Some(answer)
    }

    /// Its connection breaks.
    pub(super) fn hang_up(&mut self) {
        self.answers.clear();
        self.socket.clear();
        self.unheard = 0;
    }

    pub(super) fn forget(&mut self) {
        self.held.clear();
    }
}
