//! Test support: a tap on the wire. It hands on every byte between clients and one system, and where
//! that speaks MQTT it keeps count of what it sees: a witness that knows nothing of landfall but how
//! its messages name themselves.
//!
//! What was handed to a client is what the client was told: an acknowledgement counts from then on.
#![expect(clippy::unwrap_used, reason = "test support: what is not as it must be has to fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use landfall::clock::{Clock, WallTime};

/// When a packet is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// When it has come: its answer must not be faster.
    Come,
    /// When it was handed on: what nobody takes was not said.
    HandedOn,
}

/// How a message names itself.
pub(crate) type Name = fn(&[u8]) -> String;

/// Looks at a packet, with the moment before which nobody was handed it.
type See<'a> = dyn FnMut(&[u8], &mut Tally, Name, WallTime) + 'a;

/// Stands between clients and a system that may be away.
pub(crate) struct Tap {
    /// Where clients find it.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Mutex<String>,
    /// Both ends of all connections that may stand.
    streams: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
    /// Whether what the system says is kept from the clients.
    holds: AtomicBool,
    name: Option<Name>,
    tally: Mutex<Tally>,
}

/// What was seen of messages, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Those of which a whole PUBLISH came from a client.
    pub(crate) published: BTreeSet<String>,
    /// Those for which a client was handed PUBACK or PUBREC with a reason below 0x80.
    pub(crate) acknowledged: BTreeSet<String>,
    /// The moment before a client was handed the first such answer for each: it knew no earlier.
    pub(crate) acknowledged_at: BTreeMap<String, WallTime>,
    /// How often each was handed to a subscriber.
    pub(crate) received: BTreeMap<String, u32>,
    /// PUBLISH packets that say that they were sent before.
    pub(crate) resent: u64,
    /// By client and packet id: what an answer is for.
    awaited: BTreeMap<(String, u16), String>,
}

impl Tap {
    /// A tap that only hands on.
    pub(crate) fn plain() -> Self {
        Self::start(None)
    }

    /// A tap that reads MQTT.
    pub(crate) fn mqtt(name: Name) -> Self {
        Self::start(Some(name))
    }

    #[expect(clippy::disallowed_methods, reason = "threads of the test, which end with the tap")]
    fn start(name: Option<Name>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            upstream: Mutex::default(),
            streams: Mutex::default(),
            ended: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            name,
            tally: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let client = client.unwrap();
                thread::spawn(move || shared.join(client));
            }
        });
        Self { address, shared }
    }

    /// Says where the system is.
    pub(crate) fn lead_to(&self, address: &str) {
        address.clone_into(&mut locked(&self.shared.upstream));
    }

    /// Keeps what the system says from now on from the clients, until the connections are cut.
    pub(crate) fn hold(&self) {
        self.shared.holds.store(true, Ordering::Release);
    }

    /// Breaks every connection; new ones are taken as ever.
    pub(crate) fn cut(&self) {
        for stream in locked(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.holds.store(false, Ordering::Release);
    }

    /// What was seen so far.
    pub(crate) fn tally(&self) -> Tally {
        locked(&self.shared.tally).clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.cut();
        // Wakes who accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Joins a client to the system, or closes its connection where nobody is there.
    #[expect(clippy::disallowed_methods, reason = "a thread that ends with its connection")]
    fn join(self: Arc<Self>, client: TcpStream) {
        let upstream = locked(&self.upstream).clone();
        let Ok(system) = TcpStream::connect(upstream) else { return };
        let both = [&client, &system];
        for stream in both {
            stream.set_nodelay(true).unwrap();
        }
        locked(&self.streams).extend(both.map(|stream| stream.try_clone().unwrap()));
        let talk = Arc::new(Mutex::new(Talk::default()));
        let (shared, heard) = (Arc::clone(&self), Arc::clone(&talk));
        let there = (client.try_clone().unwrap(), system.try_clone().unwrap());
        let back = thread::spawn(move || {
            let see = &mut |packet: &[u8], tally: &mut Tally, name, at| {
                locked(&heard).answered((packet, at), tally, name);
            };
            shared.hand_on((system, client), When::HandedOn, see);
        });
        let see = &mut |packet: &[u8], tally: &mut Tally, name, _| {
            locked(&talk).asked(packet, tally, name);
        };
        self.hand_on(there, When::Come, see);
        let _ = back.join();
    }

    /// Hands on until one side is gone. Who is left is told by the end of the stream, so that it can
    /// read what was handed to it before.
    fn hand_on(&self, (mut from, mut to): (TcpStream, TcpStream), when: When, see: &mut See<'_>) {
        let (mut space, mut pending) = (vec![0; 64 * 1_024], Vec::new());
        let mut is_heard = true;
        while let Ok(count) = from.read(&mut space)
            && count > 0
        {
            let mut look = |tally: &mut Tally, at| {
                let Some(name) = self.name else { return };
                pending.extend_from_slice(&space[..count]);
                while let Some(packet) = take_packet(&mut pending) {
                    see(&packet, tally, name, at);
                }
            };
            if when == When::Come {
                look(&mut locked(&self.tally), Clock::system().wall());
            }
            while when == When::HandedOn && self.holds.load(Ordering::Acquire) {
                pause();
            }
            // While it is handed on nobody else is looked at: its packet id may be free from then on.
            let tally = (when == When::HandedOn).then(|| locked(&self.tally));
            // What nobody takes is read all the same: closing with something unread would break the
            // other direction too.
            let at = Clock::system().wall();
            is_heard = is_heard && to.write_all(&space[..count]).is_ok();
            if let Some(mut tally) = tally.filter(|_| is_heard) {
                look(&mut tally, at);
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of the test that has nothing to wait for")]
fn pause() {
    thread::sleep(Duration::from_millis(5));
}

/// Takes the first whole packet off the front.
pub(crate) fn take_packet(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, start) = variable(bytes.get(1..)?)?;
    let end = 1 + start + length;
    (bytes.len() >= end).then(|| bytes.drain(..end).collect())
}

/// A variable byte integer, and how many bytes it takes.
pub(crate) fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// What comes behind the remaining length of a packet.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let (_, start) = variable(&packet[1..]).unwrap();
    &packet[1 + start..]
}

/// Two bytes as a number.
pub(crate) fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes[..2].try_into().unwrap())
}

/// One connection, as far as its packets have to be understood.
#[derive(Default)]
struct Talk {
    client: String,
    is_v5: bool,
}

impl Talk {
    /// A client sent this.
    fn asked(&mut self, packet: &[u8], tally: &mut Tally, name: Name) {
        match packet[0] >> 4 {
            1 => {
                let rest = &body(packet)[6..];
                self.is_v5 = rest[0] == 5;
                let (properties, length) =
                    if self.is_v5 { variable(&rest[4..]).unwrap() } else { (0, 0) };
                let id = &rest[4 + length + properties..];
                let id = &id[2..2 + usize::from(number(id))];
                self.client = String::from_utf8(id.to_vec()).unwrap();
            }
            3 => {
                let (id, payload) = self.message(packet);
                let message = name(payload);
                tally.resent += u64::from(packet[0] >> 3 & 1);
                if let Some(id) = id {
                    tally.awaited.insert((self.client.clone(), id), message.clone());
                }
                tally.published.insert(message);
            }
            _ => (),
        }
    }

    /// The system sent this, and it was handed on no earlier than that.
    fn answered(&self, (packet, at): (&[u8], WallTime), tally: &mut Tally, name: Name) {
        match packet[0] >> 4 {
            // CONNACK: without a session nothing earlier is answered any more.
            2 if body(packet)[0] & 1 == 0 => {
                tally.awaited.retain(|(client, _), _| *client != self.client);
            }
            3 => {
                let message = name(self.message(packet).1);
                *tally.received.entry(message).or_default() += 1;
            }
            // PUBACK and PUBREC; the reason is left out where there is nothing to say.
            4 | 5 => {
                let body = body(packet);
                let answered = tally.awaited.get(&(self.client.clone(), number(body)));
                let is_taken = body.get(2).is_none_or(|&reason| reason < 0x80);
                if let Some(message) = answered.filter(|_| is_taken) {
                    tally.acknowledged.insert(message.clone());
                    tally.acknowledged_at.entry(message.clone()).or_insert(at);
                }
            }
            _ => (),
        }
    }

    /// Packet id and payload of a PUBLISH.
    fn message<'a>(&self, packet: &'a [u8]) -> (Option<u16>, &'a [u8]) {
        let body = body(packet);
        let mut rest = &body[2 + usize::from(number(body))..];
        let id = (packet[0] >> 1 & 3 > 0).then(|| number(rest));
        rest = &rest[if id.is_some() { 2 } else { 0 }..];
        if self.is_v5 {
            let (properties, length) = variable(rest).unwrap();
            rest = &rest[length + properties..];
        }
        (id, rest)
    }
}
