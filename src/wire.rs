//! Room `wire` (edge support): one MQTT connection, whichever version.
//!
//! # Design
//!
//! `rumqttc` keeps MQTT 3.1.1 and 5 in separate module trees with the same shapes. This room, which
//! the design's table does not have, makes one of them, so that `publish` and `subscribe` exist once
//! and share no code by importing each other. It also knows what the library does at a reconnect,
//! which its users must book ([`Leftover`]).

mod connection;
mod link;
mod v4;
mod v5;

use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;

use crate::correlate::{Qos, Stage};

pub use connection::{Client, Connection, connect, forget_session};
pub use link::{Link, Step};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    #[default]
    V5,
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
    /// How many requests may wait for the connection.
    pub queue: usize,
    /// Largest packet that is accepted, in bytes.
    pub packet_bytes_max: u32,
}

/// How long a broker keeps the session of a client that is gone (MQTT 5).
const SESSION_EXPIRY: Duration = Duration::from_mins(5);

/// One thing that happened on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The broker accepted the connection.
    Connected {
        /// Whether it still had our session.
        session_present: bool,
        /// The largest packet it takes, where it said so.
        packet_bytes_max: Option<u32>,
    },
    /// A message was handed to the socket; packet id 0 at QoS 0.
    Sent(u16),
    /// The broker answered a message.
    Answered {
        /// Packet id of the message.
        packet_id: u16,
        /// Step of the handshake.
        stage: Stage,
        /// MQTT 5 reason code; 0 in 3.1.1.
        reason: u8,
    },
    /// A message came in.
    Message(Message),
    /// The broker answered a subscription: granted or not.
    Subscribed(bool),
    /// A ping was sent.
    Ping,
    /// The broker answered it.
    Pong,
    /// Something that nobody needs to know.
    Other,
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
}

/// What a broken connection leaves behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leftover {
    /// What had happened before it broke and was not told yet; no `Sent` among it.
    pub happenings: Vec<Happening>,
    /// Messages that were being written when it broke: nobody knows how much of them left.
    pub torn: usize,
    /// Messages that the library holds unsent. It sends them when the session is resumed and drops
    /// them silently when it is not.
    pub unsent: usize,
}

impl Leftover {
    /// Of what the library had noted and not told, and of what it holds unsent.
    fn of(untold: impl Iterator<Item = Happening>, unsent: usize) -> Self {
        let mut leftover = Self { unsent, ..Self::default() };
        for happening in untold {
            match happening {
                Happening::Sent(_) => leftover.torn += 1,
                Happening::Other => (),
                told => leftover.happenings.push(told),
            }
        }
        leftover
    }
}

/// Why a connection broke or was not made, in plain words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Topic.
    pub topic: String,
    /// Quality of service.
    pub qos: Qos,
    /// Payload.
    pub payload: Bytes,
    /// Value of the user property that carries the stamp; left out in 3.1.1.
    pub property: Option<String>,
}

/// The client's queue is full, or its connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the client's queue is full")]
pub struct QueueFull;
