//! Room `consume`: from when on every partition is part of the Fetches.
//!
//! # Design
//!
//! What arrives in a partition that the current Fetch does not ask for waits until that is answered,
//! up to `fetch.wait.max.ms`, and the system would be blamed for it. How long it takes until all are
//! asked for depends on connections, on metadata and on the validation of offsets, whose answer comes
//! behind that of a Fetch. So it is not guessed: librdkafka's statistics say which partitions are
//! fetched and how many Fetches were sent, and one that was sent behind that moment asks for all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use serde::Deserialize;

/// How often librdkafka tells its statistics, in milliseconds, for a longest wait of a Fetch: there is
/// nothing new before one was answered, and each telling costs what ten records do.
pub(super) fn every_millis(fetch_wait_millis: Option<&str>) -> u64 {
    let wait = fetch_wait_millis.and_then(|millis| millis.parse().ok()).unwrap_or(500_u64);
    wait.saturating_mul(2).clamp(200, 1_000)
}

/// Learns from librdkafka's statistics whether everything that was assigned is fetched.
#[derive(Debug, Default)]
pub(super) struct Fetching(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many partitions are assigned, while the answer is open.
    awaited: Option<usize>,
    /// How many Fetches each broker had been sent when all of them were ready.
    sent: Option<HashMap<i32, i64>>,
    is_under_way: bool,
}

/// The part of the statistics that is of interest (librdkafka's STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    #[serde(default)]
    req: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    broker: i32,
    fetch_state: String,
}

impl Fetching {
    /// So many partitions were assigned.
    pub(super) fn await_partitions(&self, count: usize) {
        *self.state() = State { awaited: Some(count), ..State::default() };
    }

    /// Whether a Fetch is on its way, or was answered, that asks for all of them.
    pub(super) fn is_under_way(&self) -> bool {
        self.state().is_under_way
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, statistics: &Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let mut leaders: Vec<i32> = partitions
            .filter(|partition| partition.fetch_state == "active")
            .map(|partition| partition.broker)
            .collect();
        if self.awaited.is_none_or(|awaited| leaders.len() < awaited) {
            return;
        }
        leaders.sort_unstable();
        leaders.dedup();
        let counts: HashMap<i32, i64> = statistics
            .brokers
            .values()
            .map(|broker| (broker.nodeid, broker.req.get("Fetch").copied().unwrap_or(0)))
            .collect();
        let count = |counts: &HashMap<i32, i64>, leader| counts.get(leader).copied().unwrap_or(0);
        match &self.sent {
            None => self.sent = Some(counts),
            Some(sent) => {
                let sent_since = |leader| count(&counts, leader) > count(sent, leader);
                self.is_under_way = leaders.iter().all(sent_since);
            }
        }
        if self.is_under_way {
            self.awaited = None;
        }
    }
}

impl ClientContext for Fetching {
    fn stats_raw(&self, statistics: &[u8]) {
        let mut state = self.state();
        if state.awaited.is_some()
            && let Ok(statistics) = serde_json::from_slice(statistics)
        {
            state.note(&statistics);
        }
    }
}

impl ConsumerContext for Fetching {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statistics with one broker that was sent so many Fetches, and partitions in these states.
    fn told(fetching: &Fetching, sent: i64, states: [&str; 3]) -> bool {
        let partitions: HashMap<String, serde_json::Value> = (0..)
            .zip(states)
            .map(|(n, state): (i32, _)| {
                (n.to_string(), serde_json::json!({ "broker": 1, "fetch_state": state }))
            })
            .collect();
        let statistics = serde_json::json!({
            "brokers": {
                "k:9092/1": { "nodeid": 1, "req": { "Fetch": sent } },
                "k:9092/bootstrap": { "nodeid": -1 },
            },
            "topics": { "t": { "partitions": partitions } },
        });
        fetching.stats_raw(statistics.to_string().as_bytes());
        fetching.is_under_way()
    }

    #[test]
    fn a_fetch_counts_that_was_sent_when_every_partition_was_ready() {
        let fetching = Fetching::default();
        assert!(!told(&fetching, 0, ["active", "active", "active"]), "nothing was assigned");
        fetching.await_partitions(3);
        assert!(!told(&fetching, 1, ["active", "validate-epoch-wait", "active"]));
        assert!(!told(&fetching, 2, ["active", "validate-epoch-wait", "active"]));
        assert!(!told(&fetching, 2, ["active", "active", "active"]), "the second had left before");
        assert!(!told(&fetching, 2, ["active", "active", "active"]));
        assert!(told(&fetching, 3, ["active", "active", "active"]));
        assert!(told(&fetching, 3, ["active", "none", "active"]), "it is said once");
    }

    #[test]
    fn statistics_come_as_seldom_as_fetches_allow() {
        let every = [Some("100"), Some("500"), None, Some("60000"), Some("0"), Some("x")];
        assert_eq!(every.map(every_millis), [200, 1_000, 1_000, 1_000, 200, 1_000]);
    }

    #[test]
    fn statistics_that_can_not_be_read_change_nothing() {
        let fetching = Fetching::default();
        fetching.await_partitions(1);
        fetching.stats_raw(b"{");
        fetching.stats_raw(b"{}");
        assert!(!fetching.is_under_way());
    }
}
