//! Room `wire`: the two versions behind one face.

use super::{Endpoint, Failure, Happening, Leftover, Outgoing, QueueFull, Session, Version};
use super::{v4, v5};
use crate::correlate::Qos;

/// The side that publishes and subscribes. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Client {
    /// MQTT 3.1.1.
    V4(rumqttc::AsyncClient),
    /// MQTT 5.
    V5(rumqttc::v5::AsyncClient),
}

/// The side that moves bytes; nothing happens unless it is polled.
pub enum Connection {
    /// MQTT 3.1.1.
    V4(Box<rumqttc::EventLoop>),
    /// MQTT 5.
    V5(Box<rumqttc::v5::EventLoop>),
}

/// Makes a client. The connection is opened at the first poll, with TCP_NODELAY, and asks for a
/// session that outlives it.
#[must_use]
pub fn connect(endpoint: &Endpoint, session: &Session) -> (Client, Connection) {
    match endpoint.version {
        Version::V4 => {
            let (client, events) = v4::connect(endpoint, session);
            (Client::V4(client), Connection::V4(Box::new(events)))
        }
        Version::V5 => {
            let (client, events) = v5::connect(endpoint, session);
            (Client::V5(client), Connection::V5(Box::new(events)))
        }
    }
}

/// Lets the broker forget a session: connects once more under its client id, asking for a new session,
/// and leaves. MQTT 3.1.1 knows no expiry, and messages would pile up for a subscriber that is gone.
pub async fn forget_session(endpoint: &Endpoint, session: &Session) {
    let (client, mut connection) = connect(endpoint, session);
    match &mut connection {
        Connection::V4(events) => {
            events.mqtt_options.set_clean_session(true);
        }
        Connection::V5(events) => {
            events.options.set_clean_start(true).set_session_expiry_interval(Some(0));
        }
    }
    if connection.poll().await.is_ok() && client.disconnect().is_ok() {
        while connection.poll().await.is_ok() {}
    }
}

impl Client {
    /// Queues a message.
    ///
    /// # Errors
    ///
    /// When the queue is full; the message is not kept.
    pub fn publish(&self, message: Outgoing) -> Result<(), QueueFull> {
        match self {
            Self::V4(client) => v4::publish(client, message),
            Self::V5(client) => v5::publish(client, message),
        }
    }

    /// Queues a subscription to one topic filter.
    ///
    /// # Errors
    ///
    /// When the queue is full.
    pub fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), QueueFull> {
        match self {
            Self::V4(client) => v4::subscribe(client, filter, qos),
            Self::V5(client) => v5::subscribe(client, filter, qos),
        }
    }

    /// Queues a DISCONNECT, behind everything that was queued before.
    ///
    /// # Errors
    ///
    /// When the queue is full.
    pub fn disconnect(&self) -> Result<(), QueueFull> {
        match self {
            Self::V4(client) => client.try_disconnect().map_err(|_| QueueFull),
            Self::V5(client) => client.try_disconnect().map_err(|_| QueueFull),
        }
    }
}

impl Connection {
    /// Moves bytes until something happens. After an error the next call connects again: ask for
    /// the [`Connection::leftover`] first.
    ///
    /// # Errors
    ///
    /// When the connection broke or could not be made.
    pub async fn poll(&mut self) -> Result<Happening, Failure> {
        match self {
            Self::V4(events) => v4::poll(events).await,
            Self::V5(events) => v5::poll(events).await,
        }
    }

    /// Takes stock after an error.
    pub fn leftover(&mut self) -> Leftover {
        match self {
            Self::V4(events) => v4::leftover(events),
            Self::V5(events) => v5::leftover(events),
        }
    }
}
