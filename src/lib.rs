//! `landfall` measures, all the time, how long an MQTT message takes to become a Kafka record, and
//! which messages never do.

pub mod clock;
pub mod consume;
pub mod config;
pub mod correlate;
pub mod publish;
pub mod report;
pub mod schedule;
pub mod embedded;
pub mod shutdown;
pub mod splitmix;
pub mod stamp;
pub mod stats;
pub mod study;
pub mod subscribe;
pub mod wire;
pub mod telemetry;
