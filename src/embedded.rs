//! Room `embedded` (edge): the systems of `landfall demo`, `selftest`, `calibrate` and tests, in this process.

pub mod bridge;
pub mod kafka;
pub mod mqtt;
pub mod null;
pub mod relay;
pub mod tap;
