//! Room `wire` (edge support): one MQTT connection, whichever version.
//!
//! # Design
//!
//! The protocol is a state machine over bytes ([`protocol`]) that knows nothing of sockets; a
//! [`Client`] joins it to a socket, and an [`EventLoop`] many of them to time: it connects them again
//! whenever their connections break. What the clients are for is its [`Handler`]'s affair.
//!
//! The rare packets are written and read by `rumqttc`'s codec. PUBLISH and its answers, of which there
//! is one for each message, are written here without allocating. `rumqttc`'s own event loop is not
//! used: it hands each message from one task to another through a queue, keeps copies for resending
//! and does not say what it drops at a reconnect. Here a message is a number. Its [`Source`] writes it
//! when its turn comes, and writes the same bytes once more if it must be sent again, so that nothing
//! is kept and everything that happens to it has a name.
//!
//! An event loop is a thread and one `epoll`: at the rates of a sidecar what a message costs is the
//! waking for it, and every layer in between runs with cold caches.

mod bell;
mod client;
mod dial;
mod event_loop;
mod frame;
mod handler;
mod outbox;
mod place;
mod protocol;
mod refusal;
#[cfg(test)]
pub(crate) mod samples;
mod stream;
mod tls;
mod v4;
mod v5;
mod window;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;

use crate::correlate::{Observation, PathId, Qos, Stage};
use crate::stamp::TRACEPARENT_LEN;

pub use bell::Bell;
pub use client::Client;
pub use event_loop::EventLoop;
pub use handler::{Clients, Handler};
pub use protocol::AHEAD_BYTES;
pub use tls::Tls;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    #[default]
    V5,
}

impl Version {
    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// Where a broker is and how to get in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Protocol version to speak.
    pub version: Version,
    /// User name and password.
    pub credentials: Option<(String, SecretString)>,
    /// How the connection is encrypted, if it is.
    pub tls: Option<Tls>,
}

/// How one client behaves.
#[derive(Clone, Debug)]
pub struct Session {
    /// Client id; unique, so that nobody else's session is taken over.
    pub client_id: String,
    /// How often the broker is pinged.
    pub keep_alive: Duration,
    /// How many QoS 1 and 2 messages may be unacknowledged at a time.
    pub inflight: u16,
    /// How many messages may wait for the connection.
    pub queue: usize,
    /// How long the one that waits longest may wait until no more are taken: a system that takes less
    /// than it is offered must not make what waits grow.
    pub patience: Duration,
    /// How long after the others it connects first: not all come at once.
    pub connect_after: Duration,
    /// Largest packet that is accepted, in bytes.
    pub packet_bytes_max: u32,
}

/// How long a broker keeps the session of a client that is gone (MQTT 5).
const SESSION_EXPIRY: Duration = Duration::from_mins(5);

/// What a client publishes.
#[derive(Clone, Debug)]
pub struct Sending<S> {
    /// The topic of every message.
    pub topic: String,
    /// The quality of service of every message.
    pub qos: Qos,
    /// What writes them.
    pub source: S,
}

/// Writes messages when they are sent, and again when they are sent again: the same bytes whenever it is
/// asked for the same number.
pub trait Source {
    /// How long a payload is, in bytes: the same for all.
    fn size(&self) -> usize;

    /// Begins a message: its property.
    fn begin(&mut self, number: u64) -> Property;

    /// Appends the payload of the message that was begun last to a packet: as many bytes as
    /// [`Source::size`] says.
    fn append(&mut self, packet: &mut Vec<u8>);
}

/// Value of the user property that carries the stamp, where there is one; left out in 3.1.1.
pub type Property = Option<[u8; TRACEPARENT_LEN]>;

/// The source of a client that publishes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mute;

impl Source for Mute {
    fn size(&self) -> usize {
        0
    }

    fn begin(&mut self, _: u64) -> Property {
        None
    }

    fn append(&mut self, _: &mut Vec<u8>) {}
}

/// One thing that happened on a connection. Messages have the numbers that they were published under.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The broker accepted the connection.
    Connected,
    /// A message was handed to the socket; once more for each time that it is sent again.
    Sent {
        /// Which message.
        number: u64,
        /// Whether it had to wait for room: in the socket, or among what the broker takes at a time.
        held: bool,
    },
    /// A message was given up: its connection broke before all of it was handed to the socket, and
    /// QoS 0 promises nothing.
    Dropped(u64),
    /// The broker answered a message.
    Answered {
        /// Which message.
        number: u64,
        /// Step of the handshake.
        stage: Stage,
        /// MQTT 5 reason code; 0 in 3.1.1.
        reason: u8,
    },
    /// A message came in.
    Message(Message),
    /// The broker answered a subscription: granted all of it, or why not.
    Subscribed(Result<(), Failure>),
    /// A ping is about to be sent.
    Ping,
    /// The broker answered it.
    Pong,
}

/// How long it took to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// From asking for a connection to having it.
    pub tcp: Duration,
    /// From then to its encryption, where it has one.
    pub tls: Option<Duration>,
    /// From then to CONNACK.
    pub connack: Duration,
}

impl Handshake {
    /// The same, as something that was seen of a path.
    #[must_use]
    pub fn observed(self, path: PathId) -> Observation {
        let nanos = |took: Duration| i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        Observation::Connected {
            path,
            tcp_nanos: nanos(self.tcp),
            tls_nanos: self.tls.map(nanos),
            connack_nanos: nanos(self.connack),
        }
    }
}

/// What a broker takes, as it said when it accepted a connection. MQTT 3.1.1 says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many unacknowledged messages at a time.
    pub receive_max: Option<u16>,
    /// The largest packet, in bytes.
    pub packet_bytes_max: Option<u32>,
    /// The highest QoS.
    pub qos_max: Qos,
}

/// A message from the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its payload.
    pub payload: Bytes,
    /// Value of the user property that carries the stamp, in MQTT 5.
    pub property: Option<String>,
    /// Whether the broker had sent it before.
    pub resent: bool,
    /// Whether the broker had kept it, and sends it because of a subscription.
    pub stored: bool,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// There is no connection.
    Disconnected,
    /// As many messages wait as may, or one for as long as it may.
    QueueFull,
    /// It is larger than the broker takes, or than a packet may be.
    TooLarge,
}

/// Why a connection broke or was not made, and what to do about it, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// What is wrong, and what to do about it.
    fn new(what: impl fmt::Display, to_do: &str) -> Self {
        Self(format!("{what}; {to_do}"))
    }
}
