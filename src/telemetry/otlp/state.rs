//! Room `telemetry`: whether a Collector takes what it is sent, in metrics, `/readyz` and the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::health::{Component, Health};
use super::super::recorder::Telemetry;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Signal {
    Metrics,
    Traces,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }
}

/// How the last sending of each signal went. Clones share it.
#[derive(Clone)]
pub(super) struct State {
    telemetry: Telemetry,
    health: Health,
    signals: Arc<Mutex<BTreeMap<Signal, Last>>>,
}

/// How the last sending of a signal went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    /// There was none.
    None,
    /// It was taken.
    Taken,
    /// It was not, for this reason, nor were so many before.
    Failed(String, u64),
}

impl State {
    /// Nothing sent yet.
    pub(super) fn new(
        telemetry: Telemetry,
        health: Health,
        signals: impl IntoIterator<Item = Signal>,
    ) -> Self {
        let signals = signals.into_iter().map(|signal| (signal, Last::None)).collect();
        let state = Self { telemetry, health, signals: Arc::new(Mutex::new(signals)) };
        state.telemetry.component_up(Component::Otlp, false);
        state
    }

    /// A sending was taken.
    pub(super) fn taken(&self, signal: Signal) {
        let last = self.set(signal, |_| Last::Taken);
        if let Last::Failed(_, times) = last {
            tracing::info!("OTLP: {} are taken again, after {times} failures", signal.name());
            self.telemetry.reconnected(Component::Otlp);
        }
    }

    /// A sending was not taken. A row of failures is told once.
    pub(super) fn failed(&self, signal: Signal, reason: &str) {
        self.telemetry.export_failed();
        let last = self.set(signal, |last| match last {
            Last::Failed(_, times) => Last::Failed(reason.to_owned(), times + 1),
            Last::None | Last::Taken => Last::Failed(reason.to_owned(), 1),
        });
        if !matches!(last, Last::Failed(..)) {
            tracing::warn!(
                "OTLP: {} are not taken: {reason}; trying again, and the measurement goes on: check \
                 the Collector and telemetry.otlp.endpoint",
                signal.name()
            );
        }
    }

    /// Notes how a sending went, and says so; how the one before had gone.
    fn set(&self, signal: Signal, now: impl FnOnce(&Last) -> Last) -> Last {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        let last = signals.get(&signal).cloned().unwrap_or(Last::None);
        signals.insert(signal, now(&last));
        let failure = signals.iter().find_map(|(signal, last)| match last {
            Last::Failed(reason, _) => Some(format!("{}: {reason}", signal.name())),
            Last::None | Last::Taken => None,
        });
        self.telemetry.component_up(Component::Otlp, failure.is_none());
        let up = failure.is_none();
        self.health.set(Component::Otlp, up, failure.unwrap_or_else(|| "connected".to_owned()));
        last
    }
}
