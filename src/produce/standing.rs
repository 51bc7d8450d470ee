//! Room `produce`: whether the connections to the leaders stand, by librdkafka's statistics.
//!
//! # Design
//!
//! librdkafka tells that a connection could not be made, and never that it was. Its statistics say of
//! each broker whether it is up.

use std::collections::HashMap;

use serde::Deserialize;

/// How many leaders of the topic there are, and how many of them are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) up: usize,
    pub(super) leaders: usize,
}

/// The part of the statistics that is of interest (librdkafka's STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    leader: i32,
}

/// Reads the statistics: how the connections stand that the topic needs. `leaders` are those that were
/// known last, and are replaced where there are newer ones. `None` where nothing can be said.
pub(super) fn read(statistics: &[u8], topic: &str, leaders: &mut Vec<i32>) -> Option<Standing> {
    let statistics: Statistics = serde_json::from_slice(statistics).ok()?;
    if let Some(topic) = statistics.topics.get(topic) {
        // Partition -1 holds what has no partition yet.
        let partitions = topic.partitions.iter().filter(|(id, _)| *id != "-1");
        let now: Vec<i32> = partitions.map(|(_, partition)| partition.leader).collect();
        if !now.is_empty() {
            *leaders = now;
        }
    }
    leaders.sort_unstable();
    leaders.dedup();
    if leaders.is_empty() {
        return None;
    }
    let is_up = |leader: &&i32| {
        let mut brokers = statistics.brokers.values();
        brokers.any(|broker| broker.nodeid == **leader && broker.state == "UP")
    };
    let up = leaders.iter().filter(is_up).count();
    Some(Standing { up, leaders: leaders.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(states: [&str; 2], topics: &Value) -> String {
        json!({
            "brokers": {
                "k1:9092/1": { "nodeid": 1, "state": states[0], "rtt": {} },
                "k2:9092/2": { "nodeid": 2, "state": states[1] },
                "k1:9092/bootstrap": { "nodeid": -1, "state": "UP" },
            },
            "topics": topics,
        })
        .to_string()
    }

    #[test]
    fn leaders_are_connected_when_all_of_them_are_up() {
        let standing = |states, topics: &Value, leaders: &mut Vec<i32>| {
            let standing = read(told(states, topics).as_bytes(), "t", leaders)?;
            Some((standing.up, standing.leaders))
        };
        let (none, mut leaders) = (json!({}), Vec::new());
        assert_eq!(standing(["UP", "UP"], &none, &mut leaders), None);
        leaders = vec![2, 1, 2];
        assert_eq!(standing(["UP", "INIT"], &none, &mut leaders), Some((1, 2)));
        assert_eq!(standing(["UP", "UP"], &none, &mut leaders), Some((2, 2)));
        let moved = json!({ "t": { "partitions": {
            "0": { "leader": 2 }, "1": { "leader": 2 }, "-1": { "leader": -1 },
        } }, "u": { "partitions": { "0": { "leader": 1 } } } });
        assert_eq!(standing(["DOWN", "UP"], &moved, &mut leaders), Some((1, 1)));
        assert_eq!(leaders, [2], "and so it stays");
    }

    #[test]
    fn what_can_not_be_read_says_nothing() {
        assert_eq!(read(b"{", "t", &mut vec![1]), None);
        assert_eq!(read(b"{}", "t", &mut vec![1]), None);
    }
}
