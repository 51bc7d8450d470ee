//! `landfall` measures, all the time, how long an MQTT message takes to become a Kafka record, and
//! which messages never do.

pub mod clock;
pub mod correlate;
pub mod embedded;
pub mod shutdown;
pub mod stamp;
