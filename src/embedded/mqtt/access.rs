//! Room `embedded` (edge): which messages the embedded broker refuses, and how many it did.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use mqtt5::broker::{AuthProvider, AuthResult};
use mqtt5::error::Result;
use mqtt5::packet::connect::ConnectPacket;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Counts what is refused; copies show the same figures.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    prefix: Option<Arc<str>>,
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Refusals {
    pub(super) fn of(prefix: Option<String>) -> Self {
        Self { prefix: prefix.map(Into::into), counts: Arc::default() }
    }

    /// Messages that were refused, resent ones included, by topic.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn takes(&self, topic: &str) -> bool {
        if self.prefix.as_deref().is_none_or(|prefix| !topic.starts_with(prefix)) {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(topic.to_owned()).or_default() += 1;
        false
    }
}

impl AuthProvider for Refusals {
    fn authenticate<'a>(
        &'a self,
        _: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Answer<'a, Result<AuthResult>> {
        Box::pin(async { Ok(AuthResult::success()) })
    }

    fn authorize_publish<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let takes = self.takes(topic);
        Box::pin(async move { takes })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        _: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(async { true })
    }
}
