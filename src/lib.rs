//! `landfall` measures, all the time, how long an MQTT message takes to become a Kafka record, and
//! which messages never do.

pub mod app;
pub mod clock;
pub mod config;
pub mod consume;
pub mod correlate;
pub mod embedded;
pub mod host;
pub mod publish;
pub mod report;
pub mod schedule;
pub mod shutdown;
pub mod splitmix;
pub mod stamp;
pub mod stats;
pub mod study;
pub mod subscribe;
pub mod telemetry;
pub mod wire;
