//! Room `embedded` (edge): the systems of `landfall demo`, `selftest` and tests, in this process.

pub mod bridge;
pub mod kafka;
pub mod mqtt;
pub mod relay;
pub mod tap;
