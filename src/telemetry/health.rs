//! Room `telemetry`: whether the process lives, and whether it is ready.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Instant;

/// A heartbeat older than this means that the process hangs.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(30);

/// A system that the probe talks to, or writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The MQTT brokers.
    Mqtt,
    /// The Kafka clusters.
    Kafka,
    /// The Collector that metrics and spans are sent to.
    Otlp,
    /// The directory that state is kept in.
    Journal,
    /// The load generator of somebody else's.
    Load,
}

impl Component {
    /// Every component, in the order of their indices.
    pub const ALL: [Self; 5] = [Self::Mqtt, Self::Kafka, Self::Otlp, Self::Journal, Self::Load];

    /// The name in metrics and in `/readyz`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Kafka => "kafka",
            Self::Otlp => "otlp",
            Self::Journal => "journal",
            Self::Load => "load",
        }
    }

    /// Whether nothing can be measured without it.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        !matches!(self, Self::Otlp | Self::Journal | Self::Load)
    }
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether every component is up that measuring needs.
    pub ready: bool,
    /// Each component by name.
    pub components: BTreeMap<&'static str, ComponentState>,
}

/// One component in `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentState {
    /// Whether it is up.
    pub up: bool,
    /// Why, in words.
    pub reason: String,
    /// Whether nothing can be measured without it.
    pub needed: bool,
}

/// Health of the process and of what it talks to. Clones share it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    beat_nanos: AtomicU64,
    components: Mutex<BTreeMap<&'static str, ComponentState>>,
}

impl Health {
    /// Alive as of `now`, with these components, none of which is up yet.
    #[must_use]
    pub fn new(now: Instant, components: &[Component]) -> Self {
        let waiting = |component: &Component| {
            let reason = "not connected yet".to_owned();
            (component.name(), ComponentState { up: false, reason, needed: component.is_needed() })
        };
        let components = components.iter().map(waiting).collect();
        Self(Arc::new(Shared {
            beat_nanos: AtomicU64::new(now.nanos()),
            components: Mutex::new(components),
        }))
    }

    /// The process's main loop went round.
    pub fn beat(&self, now: Instant) {
        self.0.beat_nanos.fetch_max(now.nanos(), Ordering::Relaxed);
    }

    /// Sets whether a component is up, and why in a few words without secrets.
    pub fn set(&self, component: Component, up: bool, reason: impl Into<String>) {
        let state = ComponentState { up, reason: reason.into(), needed: component.is_needed() };
        let mut components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.insert(component.name(), state);
    }

    /// Whether the heartbeat is at most 30 s old.
    #[must_use]
    pub fn is_live(&self, now: Instant) -> bool {
        let beat = Instant::from_nanos(self.0.beat_nanos.load(Ordering::Relaxed));
        now.saturating_since(beat) <= HEARTBEAT_AGE_MAX
    }

    /// Each component, and whether all are up that are needed.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Readiness { ready: components.values().all(|state| state.up || !state.needed), components }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_that_stops_for_more_than_30_s_is_dead_until_it_beats_again() {
        let start = Instant::from_nanos(5_000_000_000);
        let health = Health::new(start, &[]);
        assert!(health.is_live(start + Duration::from_secs(30)));
        let late = start + Duration::from_millis(30_001);
        assert!(!health.is_live(late));
        health.beat(late);
        assert!(health.is_live(late));
        health.beat(start);
        assert!(health.is_live(late), "an old beat takes nothing back");
    }

    #[test]
    fn ready_means_that_every_component_is_up() {
        let health = Health::new(Instant::ZERO, &[Component::Mqtt, Component::Kafka]);
        assert!(!health.readiness().ready);
        health.set(Component::Mqtt, true, "connected");
        assert!(!health.readiness().ready);
        health.set(Component::Kafka, true, "connected");
        assert!(health.readiness().ready);
        health.set(Component::Mqtt, false, "broker:1883 refused the connection");
        let readiness = health.readiness();
        assert!(!readiness.ready);
        assert_eq!(readiness.components["mqtt"].reason, "broker:1883 refused the connection");
    }
}
