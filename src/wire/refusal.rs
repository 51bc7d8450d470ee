//! Room `wire`: the words for a broker that accepts no connection, and what to do about it.

use std::fmt::Debug;

use super::Failure;

pub(super) fn not_authorised() -> Failure {
    refused("not authorised; check mqtt.username and mqtt.password_file")
}

pub(super) fn bad_credentials() -> Failure {
    refused("bad user name or password; check mqtt.username and mqtt.password_file")
}

/// `other` is the version to try instead.
pub(super) fn wrong_version(other: &str) -> Failure {
    refused(&format!("it does not speak this version; try mqtt.version: {other}"))
}

/// A reason that is its own explanation.
pub(super) fn other(code: &impl Debug) -> Failure {
    refused(&format!("{code:?}"))
}

fn refused(why: &str) -> Failure {
    Failure::new(format!("the broker refused CONNECT: {why}"))
}
