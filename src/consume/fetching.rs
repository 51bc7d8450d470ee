//! Room `consume`: from when on every partition is part of the Fetches, and when that was interrupted.
//!
//! # Design
//!
//! What arrives in a partition that the current Fetch does not ask for waits until that is answered,
//! up to `fetch.wait.max.ms`, and the system would be blamed for it. How long it takes until all are
//! asked for depends on connections, on metadata and on the validation of offsets, whose answer comes
//! behind that of a Fetch. So it is not guessed: librdkafka's statistics say which partitions are
//! fetched and how many Fetches were sent, and one that was sent behind that moment asks for all.
//!
//! A connection that breaks and is made again at once shows nowhere but in the statistics: librdkafka
//! tells of an error only where the next attempt fails. Reading all of them each second would cost
//! more than the messages do, so only the number of broken connections is looked for in the text, and
//! all of it is read where that number has changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use regex::bytes::Regex;
use serde::Deserialize;

/// How often librdkafka tells its statistics, in milliseconds, for a longest wait of a Fetch: there is
/// nothing new before one was answered, and each telling costs what ten records do.
pub(super) fn every_millis(fetch_wait_millis: Option<&str>) -> u64 {
    let wait = fetch_wait_millis.and_then(|millis| millis.parse().ok()).unwrap_or(500_u64);
    wait.saturating_mul(2).clamp(200, 1_000)
}

/// Learns from librdkafka's statistics whether everything that was assigned is fetched.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    state: Mutex<State>,
    /// Whether a connection broke that partitions are fetched on, and nobody asked since.
    broke: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How many partitions are assigned.
    assigned: usize,
    /// Whether it is open when all of them are fetched.
    is_awaited: bool,
    /// How many Fetches each broker had been sent when all of them were ready.
    sent: Option<HashMap<i32, i64>>,
    is_under_way: bool,
    /// How many connections had broken when the statistics were told last.
    broken: u64,
    /// The same for each broker that partitions are fetched from, as of the last time that all of
    /// the statistics were read.
    broken_of: HashMap<i32, i64>,
    positions: Positions,
}

/// Up to where each partition has been fetched and handed over, while somebody wants to know.
#[derive(Debug, Default)]
struct Positions {
    are_wanted: bool,
    /// By topic and partition, as of the last statistics.
    last: HashMap<(String, i32), i64>,
    /// The same of those of which the statistics before said it too, until they are fetched.
    confirmed: Vec<super::Partition>,
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
    disconnects: i64,
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
    /// The offset that is fetched next.
    #[serde(default)]
    next_offset: i64,
    /// Records that were fetched and wait to be handed over.
    #[serde(default)]
    fetchq_cnt: i64,
}

impl Fetching {
    /// So many partitions are assigned.
    pub(super) fn await_partitions(&self, count: usize) {
        let mut state = self.state();
        *state = State { assigned: count, broken: state.broken, ..State::default() };
        state.is_awaited = true;
    }

    /// So many more are.
    pub(super) fn add_partitions(&self, count: usize) {
        self.state().assigned += count;
    }

    /// Whether a Fetch is on its way, or was answered, that asks for all of them.
    pub(super) fn is_under_way(&self) -> bool {
        self.state().is_under_way
    }

    /// Whether a connection broke that partitions are fetched on: said once. The Fetches are not under
    /// way from then on, until they are again.
    pub(super) fn take_break(&self) -> bool {
        // Only read mostly, since it is asked for each record that the reader wakes for.
        self.broke.load(Ordering::Acquire) && self.broke.swap(false, Ordering::AcqRel)
    }

    /// Nobody wants to know up to where partitions have been fetched.
    pub(super) fn forget_positions(&self) {
        let mut state = self.state();
        if state.positions.are_wanted {
            state.positions = Positions::default();
        }
    }

    /// Offsets up to which partitions have been fetched and handed over, where that is known: the
    /// statistics have said it twice, so that nothing was on its way in between. Asks for more.
    pub(super) fn await_positions(&self) -> Vec<super::Partition> {
        let positions = &mut self.state().positions;
        positions.are_wanted = true;
        std::mem::take(&mut positions.confirmed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is anything in the statistics to be known: they may be long.
    fn is_of_interest(&mut self, statistics: &[u8]) -> bool {
        let broken = broken(statistics);
        std::mem::replace(&mut self.broken, broken) != broken
            || self.is_awaited
            || self.positions.are_wanted
    }

    /// Reads the statistics; whether a connection broke that mattered.
    fn note(&mut self, statistics: &Statistics) -> bool {
        if self.positions.are_wanted {
            self.positions.note(statistics);
        }
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let mut leaders: Vec<i32> = partitions
            .filter(|partition| partition.fetch_state == "active")
            .map(|partition| partition.broker)
            .collect();
        let fetched = leaders.len();
        leaders.sort_unstable();
        leaders.dedup();
        let broke = self.note_breaks(statistics, &leaders);
        let interrupted = broke && std::mem::take(&mut self.is_under_way);
        if broke {
            self.sent = None;
        }
        self.is_awaited |= interrupted;
        if self.is_awaited && fetched >= self.assigned {
            self.note_fetches(statistics, &leaders);
        }
        interrupted
    }

    fn note_breaks(&mut self, statistics: &Statistics, leaders: &[i32]) -> bool {
        let mut broke = false;
        for broker in statistics.brokers.values().filter(|broker| broker.nodeid >= 0) {
            match self.broken_of.get_mut(&broker.nodeid) {
                Some(known) => {
                    broke |= broker.disconnects > *known;
                    *known = broker.disconnects;
                }
                // Connections to others may close for want of use.
                None if leaders.contains(&broker.nodeid) => {
                    self.broken_of.insert(broker.nodeid, broker.disconnects);
                }
                None => (),
            }
        }
        broke
    }

    /// All partitions are ready to be fetched from these brokers.
    fn note_fetches(&mut self, statistics: &Statistics, leaders: &[i32]) {
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
        self.is_awaited = !self.is_under_way;
    }
}

impl Positions {
    fn note(&mut self, statistics: &Statistics) {
        let mut now = HashMap::new();
        for (topic, of) in &statistics.topics {
            for (partition, state) in &of.partitions {
                // One more stands for all that belongs to none.
                let Ok(partition) = partition.parse::<i32>() else { continue };
                if partition >= 0 && state.fetchq_cnt == 0 {
                    now.insert((topic.clone(), partition), state.next_offset);
                }
            }
        }
        let both =
            self.last.iter().filter_map(|(key, &before)| Some((key, before, *now.get(key)?)));
        self.confirmed = both
            .map(|((topic, partition), before, after)| super::Partition {
                topic: topic.clone(),
                partition: *partition,
                offset: before.min(after),
            })
            .collect();
        self.last = now;
    }
}

/// How many connections have broken, over all brokers: cheap to learn from statistics of any length.
fn broken(statistics: &[u8]) -> u64 {
    static PATTERN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#""disconnects":([0-9]+)|"topics":"#).ok());
    let Some(pattern) = &*PATTERN else { return 0 };
    let counts = pattern.captures_iter(statistics).map_while(|found| found.get(1));
    let number = |count: &[u8]| std::str::from_utf8(count).ok()?.parse::<u64>().ok();
    counts.filter_map(|count| number(count.as_bytes())).fold(0, u64::wrapping_add)
}

impl ClientContext for Fetching {
    fn stats_raw(&self, statistics: &[u8]) {
        let mut state = self.state();
        if state.is_of_interest(statistics)
            && let Ok(statistics) = serde_json::from_slice(statistics)
            && state.note(&statistics)
        {
            self.broke.store(true, Ordering::Release);
        }
    }
}

impl ConsumerContext for Fetching {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statistics with one broker that was sent so many Fetches, and partitions in these states.
    fn told(fetching: &Fetching, sent: i64, states: [&str; 3]) -> bool {
        told_of(fetching, (sent, [0, 0]), states)
    }

    /// The same where so many connections broke: the broker's, and the first one to the cluster.
    fn told_of(fetching: &Fetching, (sent, broken): (i64, [i64; 2]), states: [&str; 3]) -> bool {
        let partitions: HashMap<String, serde_json::Value> = (0..)
            .zip(states)
            .map(|(n, state): (i32, _)| {
                (n.to_string(), serde_json::json!({ "broker": 1, "fetch_state": state }))
            })
            .collect();
        let statistics = serde_json::json!({
            "brokers": {
                "k:9092/1": { "nodeid": 1, "disconnects": broken[0], "req": { "Fetch": sent } },
                "k:9092/bootstrap": { "nodeid": -1, "disconnects": broken[1] },
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
    fn a_connection_that_breaks_is_told_once_and_fetches_are_awaited_anew() {
        let (fetching, ready) = (Fetching::default(), ["active"; 3]);
        fetching.await_partitions(3);
        told(&fetching, 1, ready);
        assert!(told(&fetching, 2, ready) && !fetching.take_break());
        assert!(told_of(&fetching, (3, [0, 1]), ready), "nothing is fetched on that one");
        assert!(!fetching.take_break());

        assert!(!told_of(&fetching, (3, [1, 1]), ready));
        assert!(fetching.take_break() && !fetching.take_break());
        assert!(!told_of(&fetching, (3, [1, 1]), ready), "no Fetch was sent since");
        assert!(!told_of(&fetching, (4, [2, 1]), ready), "it broke again");
        assert!(!fetching.take_break(), "which interrupts nothing more");
        assert!(told_of(&fetching, (5, [2, 1]), ready));
        assert!(told_of(&fetching, (6, [2, 1]), ready) && !fetching.take_break());
    }

    #[test]
    fn positions_are_believed_when_they_were_told_twice_and_nothing_waits() {
        let fetching = Fetching::default();
        let tell = |offsets: [(i64, i64); 2]| {
            let partition = |(next, waiting): (i64, i64)| {
                serde_json::json!({ "broker": 1, "fetch_state": "active", "next_offset": next,
                    "fetchq_cnt": waiting })
            };
            let partitions: serde_json::Map<String, serde_json::Value> = (0..)
                .zip(offsets)
                .map(|(of, it): (i32, _)| (of.to_string(), partition(it)))
                .collect();
            let statistics = serde_json::json!({ "brokers": {}, "topics": { "t": { "partitions": partitions } } });
            fetching.stats_raw(statistics.to_string().as_bytes());
            let mut known: Vec<(i32, i64)> =
                fetching.await_positions().iter().map(|of| (of.partition, of.offset)).collect();
            known.sort_unstable();
            known
        };
        assert_eq!(tell([(5, 0), (7, 0)]), [], "nobody had asked");
        assert_eq!(tell([(5, 0), (7, 0)]), [], "told once");
        assert_eq!(tell([(6, 0), (9, 2)]), [(0, 5)], "two wait to be handed over");
        assert_eq!(tell([(6, 0), (9, 0)]), [(0, 6)]);
        assert_eq!(tell([(6, 0), (9, 0)]), [(0, 6), (1, 9)]);
        fetching.forget_positions();
        assert_eq!(tell([(6, 0), (9, 0)]), []);
    }

    #[test]
    fn broken_connections_are_counted_in_the_text() {
        let text = br#"{ "brokers":{ "a": { "connects":3, "disconnects":2, "req": {} }, "b": {
            "disconnects":40, "toppars":{ } } }, "topics":{ "disconnects": { "disconnects":500 } } }"#;
        assert_eq!(broken(text), 42);
        assert_eq!(broken(b"{}"), 0);
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
