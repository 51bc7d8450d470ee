//! Room `wire`: a broker that is nowhere and a connection to it, for tests.

use std::time::Duration;

use super::{Endpoint, Session, Version};

/// Of MQTT 5, without encryption.
pub(crate) fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.into(), port, version: Version::V5, credentials: None, tls: None }
}

/// With room for little.
pub(crate) fn session(client_id: &str) -> Session {
    Session {
        client_id: client_id.into(),
        keep_alive: Duration::from_secs(30),
        inflight: 1,
        queue: 16,
        patience: Duration::from_mins(1),
        connect_after: Duration::ZERO,
        packet_bytes_max: 1_000,
    }
}
