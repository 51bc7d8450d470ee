//! Room `preflight`: what became of the messages that a check sent.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::wording::{nanos, refusal, said};
use super::{Answer, Crossing, Fault, Finding, Message, Reading, Record, lost};
use crate::clock::Instant;
use crate::correlate::{Qos, Stage};
use crate::report;
use crate::stamp::Integrity;

/// Most different warnings that are shown.
const WARNINGS_MAX: usize = 5;

/// The findings on the messages of a path: one for each, and one on the subscriber.
#[must_use]
pub fn messages(crossing: &Crossing) -> Vec<Finding> {
    let mut findings = reading(crossing);
    let of_each = crossing.messages.iter().map(|message| finding(message, crossing));
    findings.extend(of_each);
    say_once(&mut findings);
    findings.extend(subscriber(crossing));
    findings
}

/// Leaves what several findings in a row say alike to the last of them.
fn say_once(findings: &mut [Finding]) {
    for last in 1..findings.len() {
        let (earlier, later) = findings.split_at_mut(last);
        if let (Some(earlier), Some(later)) = (earlier.last_mut(), later.first())
            && earlier.advice == later.advice
        {
            earlier.advice = None;
            earlier.details.retain(|detail| !later.details.contains(detail));
        }
    }
}

/// The findings on the reading itself.
fn reading(crossing: &Crossing) -> Vec<Finding> {
    const STEP: &str = "reading";
    let mut findings = match &crossing.reading {
        Reading::NotAsked | Reading::NotTried => Vec::new(),
        Reading::Barred => {
            let words = "the cluster does not hand records to this user";
            let advice = "allow this user Read on the topics in kafka.topics";
            vec![Finding::fail(Fault::Broken, STEP, words, advice)]
        }
        Reading::Stands(partitions) => {
            let count = report::counted(*partitions as u64, "partition");
            vec![Finding::ok(STEP, format!("{count}, from their ends"))]
        }
        Reading::Fails(why) => {
            let (words, advice) = split(why);
            vec![Finding::fail(Fault::Broken, STEP, words, advice)]
        }
    };
    let warnings: BTreeSet<&String> = crossing.warnings.iter().collect();
    findings.extend(warnings.into_iter().take(WARNINGS_MAX).map(|warning| {
        let (words, advice) = split(warning);
        Finding::warn(STEP, words, advice)
    }));
    findings
}

/// What was said, and what to do about it, where it says so itself.
pub(super) fn split(why: &str) -> (String, String) {
    let (words, advice) = why.split_once("; ").unwrap_or((why, "look at the log of the brokers"));
    (said(words), said(advice))
}

pub(super) fn step(qos: Qos) -> String {
    format!("message QoS {}", qos.level())
}

/// From the sending to a moment.
pub(super) fn since(sent: Instant, at: Instant) -> String {
    nanos(at.nanos_since(sent))
}

impl Message {
    /// The answer by which the broker takes a message over, or refuses it.
    pub(super) fn answer(&self) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.stage != Stage::Pubcomp)
    }
}

fn finding(message: &Message, crossing: &Crossing) -> Finding {
    let step = step(message.qos);
    let sent = match &message.sent {
        Ok(sent) => *sent,
        Err(why) => {
            let (words, advice) = split(why);
            return Finding::fail(Fault::Broken, step, words, advice);
        }
    };
    if let Some(answer) = message.answer().filter(|answer| answer.reason >= 0x80) {
        let (why, advice) = refusal(answer.reason, &crossing.filter);
        let words = format!("the broker refused it after {}: {why}", since(sent, answer.at));
        return Finding::fail(Fault::Broken, step, words, advice);
    }
    match message.records.first() {
        Some(record) => came_back(message, (sent, record), crossing),
        None => lost::explain(message, sent, crossing),
    }
}

fn came_back(
    message: &Message,
    (sent, record): (Instant, &Record),
    crossing: &Crossing,
) -> Finding {
    let step = step(message.qos);
    let mut words = format!(
        "{}read from Kafka after {}: {} partition {} offset {}",
        acknowledged(message, sent),
        since(message.due, record.at),
        record.topic,
        record.partition,
        record.offset
    );
    if let Some(append) = record.append {
        // Writing into memory does not fail.
        let _ = write!(words, " (appended after {})", since(message.due, append));
    }
    words += match (record.carriers.property, record.carriers.payload) {
        (true, true) => "; stamp in header and payload",
        (true, false) => "; stamp in the header only",
        (false, _) if crossing.is_v5 => "; stamp in the payload, the user property did not come",
        (false, _) => "; stamp in the payload",
    };
    let problem = problem(message, record, crossing);
    match problem {
        None => Finding::ok(step, words),
        Some((true, what, advice)) => {
            Finding::fail(Fault::Broken, step, words, advice).with([what])
        }
        Some((false, what, advice)) => Finding::warn(step, words, advice).with([what]),
    }
}

/// What the broker said, before what came of it.
pub(super) fn acknowledged(message: &Message, sent: Instant) -> String {
    match message.answer() {
        Some(answer) => format!("acknowledged after {}, ", since(sent, answer.at)),
        None => String::new(),
    }
}

/// What is wrong with a message that came back, whether it fails, and what to do.
fn problem(
    message: &Message,
    record: &Record,
    crossing: &Crossing,
) -> Option<(bool, String, String)> {
    if record.integrity == Integrity::Corrupt {
        let what = "its payload is not what was sent: cut, wrapped or rewritten on the way";
        let advice = "have the bridge hand payloads over as they are: a run would count every \
                      message as corrupt";
        return Some((true, what.to_owned(), advice.to_owned()));
    }
    if message.records.len() > 1 {
        let others: Vec<String> = message.records[1..]
            .iter()
            .map(|copy| {
                format!("{} partition {} offset {}", copy.topic, copy.partition, copy.offset)
            })
            .collect();
        let what = format!("and once more: {}", others.join("; "));
        let advice = "look for a second bridge, or for a bridge that sends again: a run would \
                      count duplicates";
        return Some((false, what, advice.to_owned()));
    }
    if u128::try_from(record.at.nanos_since(message.due))
        .is_ok_and(|it| it > crossing.deadline.as_nanos())
    {
        let what = format!("the deadline is {}", super::wording::time(crossing.deadline));
        let advice = "raise the deadline of the path: a run would count such messages as late";
        return Some((false, what, advice.to_owned()));
    }
    if message.qos > Qos::AtMostOnce && message.answer().is_none() {
        let what = "the broker did not acknowledge it".to_owned();
        let advice = "look at the broker's log: publishers wait for acknowledgements, and stop \
                      when they have too many messages without one";
        return Some((false, what, advice.to_owned()));
    }
    None
}

/// The finding on the subscriber of lane mqtt_mqtt.
fn subscriber(crossing: &Crossing) -> Option<Finding> {
    const STEP: &str = "subscriber";
    if let Err(why) = crossing.subscriber.as_ref()? {
        let (words, advice) = split(why);
        return Some(Finding::fail(Fault::Broken, STEP, words, advice));
    }
    let mut came = Vec::new();
    let mut missing = Vec::new();
    let mut damaged = false;
    for message in &crossing.messages {
        // What was not taken over is nobody's to hand on.
        let refused = message.answer().is_some_and(|answer| answer.reason >= 0x80);
        if refused || message.sent.is_err() {
            continue;
        }
        let level = message.qos.level();
        match message.copies.first() {
            Some(copy) => {
                damaged |= copy.integrity == Integrity::Corrupt;
                came.push(format!("QoS {level} after {}", since(message.due, copy.at)));
            }
            None => missing.push(format!("QoS {level}")),
        }
    }
    let handed = if came.is_empty() { "nothing".to_owned() } else { came.join(", ") };
    if !missing.is_empty() {
        let advice = "allow the user in mqtt.username to read that topic as well; brokers grant \
                      subscriptions and hand over nothing where an ACL says no";
        let words = format!("was handed {handed}, and not {}", missing.join(", "));
        return Some(Finding::fail(Fault::Broken, STEP, words, advice));
    }
    let words = format!("was handed {handed}");
    if damaged {
        let advice =
            "look for what rewrites messages in the broker: a run would count them as corrupt";
        return Some(Finding::fail(Fault::Broken, STEP, words + ", with another payload", advice));
    }
    (!came.is_empty()).then(|| Finding::ok(STEP, words))
}

#[cfg(test)]
mod tests {
    use super::super::{Copy, Mark};
    use super::*;
    use crate::preflight::lost::tests::{crossing, message, record};

    /// The finding on the only message.
    fn only(crossing: &Crossing) -> Finding {
        let mut all = messages(crossing);
        assert_eq!(all.len(), 2, "{all:?}");
        all.remove(1)
    }

    #[test]
    fn a_message_that_came_back_tells_where_and_when() {
        let mut here = message(Qos::AtLeastOnce, &[(Stage::Puback, 0)]);
        here.records.push(record());
        let found = only(&crossing(here));
        assert_eq!((found.mark, found.step.as_str()), (Mark::Ok, "message QoS 1"));
        assert_eq!(
            found.words,
            "acknowledged after 1.00 ms, read from Kafka after 5.00 ms: t partition 2 offset 17 \
             (appended after 3.00 ms); stamp in header and payload"
        );
    }

    #[test]
    fn the_carriers_are_told() {
        for (property, payload, is_v5, words) in [
            (true, false, true, "; stamp in the header only"),
            (false, true, true, "; stamp in the payload, the user property did not come"),
            (false, true, false, "; stamp in the payload"),
        ] {
            let mut here = message(Qos::AtMostOnce, &[]);
            let mut record = record();
            record.carriers = crate::stamp::Carriers { property, payload };
            here.records.push(record);
            let found = only(&Crossing { is_v5, ..crossing(here) });
            assert!(found.words.starts_with("read from Kafka") && found.words.ends_with(words));
        }
    }

    #[test]
    fn what_came_back_wrong_is_marked() {
        let acked: &[(Stage, u8)] = &[(Stage::Puback, 0)];
        let of = |answers: &[(Stage, u8)], records: Vec<Record>| {
            let mut here = message(Qos::AtLeastOnce, answers);
            here.records = records;
            only(&crossing(here))
        };
        let corrupt = Record { integrity: Integrity::Corrupt, ..record() };
        let found = of(acked, vec![corrupt]);
        assert_eq!(found.mark, Mark::Fail(Fault::Broken));
        assert!(found.details[0].contains("not what was sent"));
        let found = of(acked, vec![record(), Record { offset: 18, ..record() }]);
        assert_eq!(
            (found.mark, found.details[0].as_str()),
            (Mark::Warn, "and once more: t partition 2 offset 18")
        );
        let found = of(&[], vec![record()]);
        assert_eq!(
            (found.mark, found.details[0].as_str()),
            (Mark::Warn, "the broker did not acknowledge it")
        );
        let late = Record { at: Instant::from_nanos(40_000_000_000), ..record() };
        let found = of(acked, vec![late]);
        assert_eq!((found.mark, found.details[0].as_str()), (Mark::Warn, "the deadline is 30.0 s"));
    }

    #[test]
    fn a_refusal_names_its_reason() {
        for (qos, stage) in [(Qos::AtLeastOnce, Stage::Puback), (Qos::ExactlyOnce, Stage::Pubrec)] {
            let found = only(&crossing(message(qos, &[(stage, 0x87)])));
            assert_eq!(found.mark, Mark::Fail(Fault::Broken));
            assert_eq!(
                found.words,
                "the broker refused it after 1.00 ms: not authorised, reason 0x87"
            );
            assert!(found.advice.unwrap().contains("landfall/p/a/+"));
        }
    }

    #[test]
    fn what_was_not_sent_says_why() {
        let mut here = message(Qos::AtLeastOnce, &[]);
        here.sent = Err("it is too large for the broker; lower mqtt.payload.size".into());
        let found = only(&crossing(here));
        assert_eq!(found.words, "it is too large for the broker");
        assert_eq!(found.advice.as_deref(), Some("lower mqtt.payload.size"));
    }

    #[test]
    fn readers_that_do_not_stand_say_why() {
        let mut here = crossing(message(Qos::AtMostOnce, &[]));
        here.reading = Reading::Fails("no rights; allow it".into());
        let all = messages(&here);
        assert_eq!((all[0].step.as_str(), all[0].words.as_str()), ("reading", "no rights"));
        assert_eq!(all[0].advice.as_deref(), Some("allow it"));
        assert_eq!(all[1].mark, Mark::Warn, "nothing is known of the message");
    }

    #[test]
    fn warnings_are_told_once_and_a_bar_is_a_failure() {
        let mut here = crossing(message(Qos::AtLeastOnce, &[(Stage::Puback, 0)]));
        here.warnings = vec!["t is gone; make it".into(), "t is gone; make it".into()];
        let all = messages(&here);
        assert_eq!((all.len(), all[1].mark, all[1].words.as_str()), (3, Mark::Warn, "t is gone"));
        (here.reading, here.warnings) = (Reading::Barred, Vec::new());
        let all = messages(&here);
        assert_eq!((all.len(), all[0].mark), (2, Mark::Fail(Fault::Broken)));
        assert_eq!(all[1].mark, Mark::Warn, "nobody can know: {all:?}");
    }

    #[test]
    fn the_subscriber_tells_what_it_was_handed() {
        let copy = Copy { at: Instant::from_nanos(2_000_000), integrity: Integrity::Intact };
        let found = |subscriber: Result<(), String>, copies: [Vec<Copy>; 2]| {
            let mut all = [message(Qos::AtMostOnce, &[]), message(Qos::AtLeastOnce, &[])];
            for (message, copies) in all.iter_mut().zip(copies) {
                (message.copies, message.records) = (copies, vec![record()]);
            }
            let mut here = crossing(all[0].clone());
            here.messages = all.to_vec();
            here.subscriber = Some(subscriber);
            let finding = messages(&here).pop().unwrap();
            (finding.mark, finding.words)
        };
        let failed = Mark::Fail(Fault::Broken);
        let both = [vec![copy], vec![copy]];
        let words = "was handed QoS 0 after 2.00 ms, QoS 1 after 2.00 ms";
        assert_eq!(found(Ok(()), both.clone()), (Mark::Ok, words.into()));
        let words = "was handed QoS 0 after 2.00 ms, and not QoS 1";
        assert_eq!(found(Ok(()), [vec![copy], vec![]]), (failed, words.into()));
        assert_eq!(
            found(Ok(()), [vec![], vec![]]),
            (failed, "was handed nothing, and not QoS 0, QoS 1".into())
        );
        assert_eq!(found(Err("refused; allow it".into()), both), (failed, "refused".into()));
        let damaged = Copy { integrity: Integrity::Corrupt, ..copy };
        assert_eq!(found(Ok(()), [vec![damaged], vec![copy]]).0, failed);
    }
}
