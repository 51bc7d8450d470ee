//! Room `embedded` (edge): the MQTT broker of `landfall demo` and of tests.
//!
//! # Design
//!
//! The broker is the crate `mqtt5`: MQTT 3.1.1 and 5 on one port, `TCP_NODELAY` on every
//! connection, sessions, QoS 0 to 2, and it stops when told. Of the measured candidates it was the
//! only one without a delayed acknowledgement (`rumqttd` answers QoS 1 after 1 ms at 1,000
//! messages a second because it leaves Nagle's algorithm on).
//!
//! Two things to know about it. It adds the user property `x-mqtt-client-id` behind those of the
//! publisher, and removes one of that name that a publisher sent. And a QoS 2 message goes to the
//! subscribers when its PUBREL has come, so its crossing holds one round trip more.

mod access;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, MqttBroker};

use crate::shutdown::Tasks;

pub use access::Refusals;

/// The crate waits 5 s for its connections to close; a little more, so that it can say so.
const DRAIN: Duration = Duration::from_secs(6);

/// How the embedded broker listens, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at a time; more are refused.
    pub max_connections: usize,
    /// Largest MQTT packet, in bytes; a client that sends a larger one is disconnected.
    pub max_packet_bytes: usize,
    /// Messages kept for a subscriber that is slow or away, each of them in memory. Beyond that
    /// QoS 0 is dropped at once and of QoS 1 and 2 the oldest.
    pub max_queued_messages: usize,
    /// Bytes kept for a subscriber that is slow or away.
    pub max_queued_bytes: usize,
    /// Unacknowledged QoS 1 and 2 messages on the way to one subscriber, if the subscriber's
    /// receive maximum allows as many.
    pub max_in_flight: u16,
    /// How long the session of a client that is away is kept at most.
    pub session_expiry: Duration,
    /// Messages to topics that begin like this are refused (0x87, not authorized).
    pub refused: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            max_connections: 1_000,
            max_packet_bytes: 1024 * 1024,
            max_queued_messages: 10_000,
            max_queued_bytes: 16 * 1024 * 1024,
            max_in_flight: 1_000,
            session_expiry: Duration::from_hours(1),
            refused: None,
        }
    }
}

/// Why the embedded broker did not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "the embedded MQTT broker does not start on {listen}: {reason}; is the port taken? 0 takes a free one"
)]
pub struct Error {
    listen: SocketAddr,
    reason: String,
}

/// A running embedded MQTT broker.
#[derive(Clone, Debug)]
pub struct Broker {
    address: SocketAddr,
    refusals: Refusals,
}

impl Broker {
    /// Starts a broker that takes MQTT 3.1.1 and MQTT 5 clients without credentials, and returns
    /// when it accepts connections. It keeps everything in memory and forgets it when it stops.
    ///
    /// When `tasks` stop it says DISCONNECT to every client, closes the listener, and waits for
    /// the connections at most 5 s.
    ///
    /// # Errors
    ///
    /// When it cannot listen, or refuses the configuration.
    pub async fn start(config: &Config, tasks: &Tasks) -> Result<Self, Error> {
        let listen = config.listen;
        let failed = |reason: String| Error { listen, reason };
        let refusals = Refusals::of(config.refused.clone());
        let mut broker = MqttBroker::with_config(settings(config))
            .await
            .map_err(|error| failed(error.to_string()))?
            .with_auth_provider(Arc::new(refusals.clone()));
        let address = broker.local_addr().ok_or_else(|| failed("it has no address".to_owned()))?;
        let stop = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let stopping = tasks.clone();
        tasks.spawn(async move {
            let mut run = pin!(broker.run());
            let ended = tokio::select! {
                ended = &mut run => ended,
                () = stopping.stopped() => {
                    stop.shutdown();
                    tokio::time::timeout(DRAIN, run).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                tracing::error!(%error, "the embedded MQTT broker ended; start the demo again");
            }
        });
        ready
            .wait_for(|ready| *ready)
            .await
            .map_err(|_| failed("it ended before it was ready; its log says why".to_owned()))?;
        Ok(Self { address, refusals })
    }

    /// Where clients of either protocol version connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has refused, also while it runs.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }
}

fn settings(config: &Config) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_cleanup_interval(Duration::from_mins(1))
        .with_max_queued_messages_per_client(config.max_queued_messages)
        .with_max_queued_bytes_per_client(config.max_queued_bytes);
    BrokerConfig {
        client_channel_capacity: config.max_queued_messages,
        max_outbound_inflight: config.max_in_flight,
        sys_topics_enabled: false,
        max_retained_messages: config.max_queued_messages,
        ..BrokerConfig::default()
            .with_bind_address(config.listen)
            .with_max_clients(config.max_connections)
            .with_max_packet_size(config.max_packet_bytes)
            .with_session_expiry(config.session_expiry)
            .with_storage(storage)
    }
}
