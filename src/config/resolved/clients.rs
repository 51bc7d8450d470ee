//! Room `config` (wiring): the clients of a path beside its publishers.

use std::time::Duration;

use crate::correlate::Receive;

/// How lane `mqtt_mqtt` is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribersConfig {
    /// How many subscribers there are, at least one.
    pub count: u32,
    /// What each is sent.
    pub receive: Receive,
}

impl Default for SubscribersConfig {
    fn default() -> Self {
        Self { count: 1, receive: Receive::All }
    }
}

/// Clients that are there and measure nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundConfig {
    /// How many only keep alive.
    pub idle: u32,
    /// How many read slowly.
    pub slow_subscribers: u32,
    /// How many come and go and keep their sessions.
    pub persistent: u32,
    /// How many connect all at once.
    pub storm: u32,
    /// How often those come that come and go.
    pub every: Duration,
    /// How many bytes a second each of those reads that read slowly.
    pub read: u32,
}
