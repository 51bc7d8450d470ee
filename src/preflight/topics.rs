//! Room `preflight`: the Kafka topics of a path.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wording::{listed, said, time};
use super::{Fault, Finding, Needs, Survey, Topic, TopicProblem, Unknown};
use crate::report;

const STEP: &str = "topic";
/// What a record needs beside its payload (Kafka's record batch, version 2), and a little for a key
/// and headers.
const RECORD_OVERHEAD: u64 = 200;

/// The findings on the topics that a path reads, and on patterns that match none.
#[must_use]
pub fn topics(survey: &Survey, needs: Needs) -> Vec<Finding> {
    let missing = survey.unmatched.iter().map(|pattern| {
        let words = format!("no topic matches {}", said(pattern));
        let advice = "create the topic that the bridge fills, or correct kafka.topics";
        Finding::fail(Fault::Broken, STEP, words, advice)
    });
    let more = (survey.more > 0).then(|| {
        let count = report::counted(survey.more, "further topic");
        Finding::ok(STEP, format!("{count} of this path, not looked at here"))
    });
    let topics = survey.topics.iter().flat_map(|of| topic((STEP, of), (&OF_BRIDGE, needs)));
    topics.chain(missing).chain(more).collect()
}

/// The findings on the topic of the control messages.
#[must_use]
pub fn control_topic(of: &Topic, needs: Needs) -> Vec<Finding> {
    topic(("control topic", of), (&OF_CONTROL, needs))
}

/// What is said of a topic by what it is for.
struct Use {
    /// Where the configuration names it.
    key: &'static str,
    /// What this user must be allowed.
    rights: &'static str,
    /// What to do where it is compacted.
    uncompacted: &'static str,
}

const OF_BRIDGE: Use = Use {
    key: "kafka.topics",
    rights: "Describe and Read",
    uncompacted: "have the bridge fill a topic with cleanup.policy=delete, or give each message a \
                  key of its own; else removed messages count as lost",
};
const OF_CONTROL: Use = Use {
    key: "kafka.control_topic",
    rights: "Describe, Read and Write",
    uncompacted: "set cleanup.policy=delete: Kafka takes no control message there, since they have \
                  no key",
};

fn topic((step, topic): (&'static str, &Topic), (used, needs): (&Use, Needs)) -> Vec<Finding> {
    let name = &topic.name;
    if let Some(problem) = &topic.problem {
        return vec![barred(step, name, (problem, used))];
    }
    let leaderless: Vec<String> = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_none())
        .map(|partition| partition.id.to_string())
        .collect();
    let count = report::counted(topic.partitions.len() as u64, "partition");
    let mut words = format!("{name}: {count}");
    let mut findings = Vec::new();
    if leaderless.is_empty() {
        words += if topic.partitions.len() == 1 { " with a leader" } else { ", all with a leader" };
    } else {
        let words = format!("{name}: no leader for partition {}", listed(&leaderless));
        let advice =
            "bring the brokers up that hold it: until then nothing is written or read there";
        findings.push(Finding::fail(Fault::Broken, step, words, advice));
    }
    match &topic.settings {
        Ok(settings) => {
            words += &told(settings);
            let needs = (needs, topic.partitions.len());
            findings.extend(judged((step, name), settings, used, needs));
        }
        Err(why) => findings.push(unknown(step, name, why)),
    }
    findings.insert(0, Finding::ok(step, words));
    findings
}

fn unknown(step: &'static str, name: &str, why: &Unknown) -> Finding {
    let (why, advice) = match why {
        Unknown::Forbidden => (
            "this user may not see them".to_owned(),
            "allow this user DescribeConfigs on the topic, or look at them yourself",
        ),
        Unknown::Unanswered(why) => {
            (said(why), "mend what is said of the brokers; else look at their log")
        }
    };
    let words = format!("{name}: retention, compaction and limits are not known: {why}");
    Finding::warn(step, words, advice)
}

fn barred(step: &'static str, name: &str, (problem, used): (&TopicProblem, &Use)) -> Finding {
    let Use { key, rights, .. } = used;
    let (words, advice) = match problem {
        TopicProblem::Missing => (
            format!("{name} does not exist, or this user may not see it"),
            format!(
                "create {name}, or correct {key} (landfall never creates topics); where Kafka has \
                 ACLs, allow this user {rights} on it"
            ),
        ),
        TopicProblem::Forbidden => (
            format!("{name} may not be looked at by this user"),
            format!("allow this user {rights} on the topic {name}"),
        ),
        TopicProblem::Other(why) => (
            format!("{name} can't be looked at: {}", said(why)),
            "look at the log of the Kafka brokers".to_owned(),
        ),
    };
    Finding::fail(Fault::Broken, step, words, advice)
}

/// What a topic's settings mean for whoever reads it.
fn told(settings: &BTreeMap<String, String>) -> String {
    let mut words = Vec::new();
    words.push(match number(settings, "retention.ms") {
        Some(-1) => "records are kept whatever their age".to_owned(),
        Some(millis) => format!("records are kept for {}", time(millis_of(millis))),
        None => String::new(),
    });
    if let Some(bytes) = number(settings, "retention.bytes").and_then(|it| u64::try_from(it).ok()) {
        words.push(format!("up to {} a partition", report::bytes(bytes)));
    }
    words.push(match settings.get("message.timestamp.type").map(String::as_str) {
        Some("LogAppendTime") => "LogAppendTime, so the append leg is measured".to_owned(),
        Some(other) => format!(
            "{other}, so the append leg is not measured (it would be with \
             message.timestamp.type=LogAppendTime)"
        ),
        None => String::new(),
    });
    words.iter().filter(|words| !words.is_empty()).fold(String::new(), |all, it| all + "; " + it)
}

fn judged(
    (step, name): (&'static str, &str),
    settings: &BTreeMap<String, String>,
    used: &Use,
    (needs, partitions): (Needs, usize),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let policy = settings.get("cleanup.policy").map_or("", String::as_str);
    if policy.split(',').any(|policy| policy.trim() == "compact") {
        findings.push(Finding::warn(
            step,
            format!(
                "{name} is compacted (cleanup.policy={}): records may be removed before they are \
                 read, as soon as there is a newer one of the same key",
                said(policy)
            ),
            used.uncompacted,
        ));
    }
    let deadline = time(needs.deadline);
    let millis = number(settings, "retention.ms").filter(|&millis| millis >= 0);
    if let Some(kept) = millis.map(millis_of).filter(|&kept| kept < needs.deadline) {
        findings.push(Finding::warn(
            step,
            format!("{name} keeps records for {}, and the deadline is {deadline}", time(kept)),
            "raise retention.ms, or lower the deadline: what is removed unread counts as lost",
        ));
    }
    if let Some(bytes) = number(settings, "retention.bytes").and_then(|it| u64::try_from(it).ok()) {
        let written = written_until_deadline(needs, partitions);
        if bytes < written {
            findings.push(Finding::warn(
                step,
                format!(
                    "{name} keeps {} a partition, and this path alone writes {} within its \
                     deadline of {deadline}",
                    report::bytes(bytes),
                    report::bytes(written)
                ),
                "raise retention.bytes: what is removed unread counts as lost",
            ));
        }
    }
    let largest = number(settings, "max.message.bytes").and_then(|it| u64::try_from(it).ok());
    let record = needs.payload_bytes + RECORD_OVERHEAD;
    if let Some(largest) = largest.filter(|&largest| largest < record) {
        findings.push(Finding::warn(
            step,
            format!(
                "{name} takes records of {} at most, and a payload has {} before anything is added",
                report::bytes(largest),
                report::bytes(needs.payload_bytes)
            ),
            "raise max.message.bytes of the topic, or lower mqtt.payload.size",
        ));
    }
    findings
}

/// What a path writes into each partition until its oldest message is due.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an estimate, and saturating"
)]
fn written_until_deadline(needs: Needs, partitions: usize) -> u64 {
    let seconds = needs.deadline.as_secs_f64();
    (needs.rate * seconds * needs.payload_bytes as f64 / partitions.max(1) as f64) as u64
}

fn number(settings: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    settings.get(name)?.parse().ok()
}

fn millis_of(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::{Mark, Partition};
    use super::*;

    const NEEDS: Needs = Needs {
        payload_bytes: 1_000,
        rate: 100.0,
        client_rate: 100.0,
        deadline: Duration::from_secs(30),
    };

    fn found(settings: &[(&str, &str)]) -> Vec<Finding> {
        let settings =
            settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let partitions = [0, 1].map(|id| Partition { id, leader: Some(1) }).to_vec();
        of(Topic { name: "t".into(), problem: None, partitions, settings: Ok(settings) })
    }

    fn of(topic: Topic) -> Vec<Finding> {
        let after = Duration::from_millis(1);
        let survey = Survey {
            after,
            brokers: Vec::new(),
            topics: vec![topic],
            unmatched: Vec::new(),
            more: 0,
        };
        topics(&survey, NEEDS)
    }

    #[test]
    fn a_topic_as_it_should_be_is_one_line() {
        let all = found(&[
            ("cleanup.policy", "delete"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "1048588"),
            ("message.timestamp.type", "LogAppendTime"),
        ]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(
            all[0].words,
            "t: 2 partitions, all with a leader; records are kept for 168 h; LogAppendTime, so the \
             append leg is measured"
        );
    }

    #[test]
    fn what_may_remove_records_is_warned_of() {
        for (settings, words) in [
            (&[("cleanup.policy", "compact")][..], "is compacted"),
            (&[("cleanup.policy", "compact,delete")], "is compacted"),
            (&[("retention.ms", "29999")], "the deadline is 30.0 s"),
            (&[("retention.bytes", "1499999")], "writes 1.50 MB within its deadline"),
            (&[("max.message.bytes", "1199")], "takes records of 1.20 kB at most"),
        ] {
            let all = found(settings);
            assert_eq!((all.len(), all[1].mark), (2, Mark::Warn), "{all:?}");
            assert!(all[1].words.contains(words), "{}", all[1].words);
        }
        let fine = [
            ("retention.ms", "30000"),
            ("retention.bytes", "1500000"),
            ("max.message.bytes", "1200"),
            ("cleanup.policy", "delete"),
        ];
        assert_eq!(found(&fine).len(), 1);
        assert_eq!(found(&[("retention.ms", "-1")]).len(), 1);
    }

    #[test]
    fn a_control_topic_is_spoken_of_as_what_it_is() {
        let missing = Topic {
            name: "landfall".into(),
            problem: Some(TopicProblem::Missing),
            partitions: Vec::new(),
            settings: Ok([].into()),
        };
        let all = control_topic(&missing, NEEDS);
        assert_eq!((all.len(), all[0].step.as_str()), (1, "control topic"));
        let advice = all[0].advice.as_deref().unwrap();
        assert!(advice.contains("correct kafka.control_topic"), "{advice}");
        assert!(advice.contains("allow this user Describe, Read and Write on it"), "{advice}");
        let partitions = vec![Partition { id: 0, leader: Some(1) }];
        let settings = Ok([("cleanup.policy".into(), "compact".into())].into());
        let compacted = Topic { problem: None, partitions, settings, ..missing };
        let all = control_topic(&compacted, NEEDS);
        assert_eq!((all.len(), all[1].mark), (2, Mark::Warn), "{all:?}");
        assert!(all[1].advice.as_deref().unwrap().contains("they have no key"));
    }

    #[test]
    fn what_is_not_known_is_said() {
        let partitions = vec![Partition { id: 0, leader: Some(1) }];
        for (why, words) in [
            (Unknown::Forbidden, "are not known: this user may not see them"),
            (Unknown::Unanswered("timed out".into()), "are not known: timed out"),
        ] {
            let partitions = partitions.clone();
            let all = of(Topic { name: "t".into(), problem: None, partitions, settings: Err(why) });
            assert_eq!(all[0].words, "t: 1 partition with a leader");
            assert!(all[1].words.ends_with(words), "{}", all[1].words);
            assert_eq!(all[1].mark, Mark::Warn);
        }
    }

    #[test]
    fn topics_that_can_not_be_read_fail() {
        let problems =
            [TopicProblem::Missing, TopicProblem::Forbidden, TopicProblem::Other("odd".into())];
        for problem in problems {
            let problem = Some(problem);
            let topic = Topic {
                name: "t".into(),
                problem,
                partitions: Vec::new(),
                settings: Ok([].into()),
            };
            let all = of(topic);
            assert_eq!((all.len(), all[0].mark), (1, Mark::Fail(Fault::Broken)));
        }
        let partitions =
            vec![Partition { id: 0, leader: Some(1) }, Partition { id: 1, leader: None }];
        let all =
            of(Topic { name: "t".into(), problem: None, partitions, settings: Ok([].into()) });
        assert_eq!(all[1].words, "t: no leader for partition 1");
        assert_eq!(all[1].mark, Mark::Fail(Fault::Broken));
        let survey = Survey {
            after: Duration::ZERO,
            brokers: Vec::new(),
            topics: Vec::new(),
            unmatched: vec!["^none".into()],
            more: 2,
        };
        let words: Vec<String> =
            topics(&survey, NEEDS).into_iter().map(|finding| finding.words).collect();
        assert_eq!(words[0], "no topic matches ^none");
        assert_eq!(words[1], "2 further topics of this path, not looked at here");
    }
}
