//! Room `embedded` (edge): the systems of `landfall demo` that run in this process.

pub mod bridge;
pub mod mqtt;
