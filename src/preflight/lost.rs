//! Room `preflight`: why a message did not come back, told apart by what was seen.

use super::message::{acknowledged, since, split, step};
use super::wording::{escaped, listed, said, time};
use super::{Crossing, Evidence, Fault, Finding, Message, Reading, Sample, Strangers};
use crate::clock::Instant;
use crate::correlate::{Qos, Stage};

/// What a broker says of a message that nobody is subscribed to (MQTT 5, 3.4.2.1).
const NO_SUBSCRIBERS: u8 = 0x10;
/// Most names of headers that are shown of a record.
const HEADERS_MAX: usize = 8;

/// The finding on a message that was sent, not refused, and not read again.
pub(super) fn explain(message: &Message, sent: Instant, crossing: &Crossing) -> Finding {
    let step = step(message.qos);
    let fail = |words, advice: String| Finding::fail(Fault::Broken, step.clone(), words, advice);
    let waited = time(crossing.waited);
    if let Some(why) = &message.broke {
        let (why, _) = split(why);
        let words = format!("sent, and then the connection broke: {why}");
        let advice = format!(
            "look at the broker's log: brokers close connections over messages that they do not \
             allow or want (rights to publish to {}, size, format, schema)",
            crossing.filter
        );
        return fail(words, advice);
    }
    if message.qos > Qos::AtMostOnce && message.answer().is_none() {
        return fail(
            format!("sent, and not acknowledged within {waited}"),
            "look at the broker's log: it takes connections and does not take this message; a \
             broker that acknowledges only what Kafka has may not reach Kafka"
                .to_owned(),
        );
    }
    if !matches!(crossing.reading, Reading::Stands(_)) {
        return unseen(message, sent, crossing);
    }
    let words = match message.qos {
        Qos::AtMostOnce => "sent".to_owned(),
        _ => acknowledged(message, sent).trim_end_matches(", ").to_owned(),
    };
    let (seen, advice) = cause(message, crossing);
    let finding = fail(format!("{words}, and not read from Kafka within {waited}: {seen}"), advice);
    let known = found(message, crossing).is_some() || nobody(message, crossing).is_some();
    let doubts = if known { Vec::new() } else { doubts(message, sent, crossing) };
    finding.with(doubts).with(samples(&crossing.strangers))
}

/// Where the message was found in a record that does not show its stamp.
fn found<'a>(message: &Message, crossing: &'a Crossing) -> Option<&'a Evidence> {
    let evidence = crossing.strangers.samples.iter().filter_map(|sample| sample.evidence.as_ref());
    evidence.filter(|(qos, _)| *qos == message.qos).map(|(_, evidence)| evidence).next()
}

/// The finding on a message whose record nobody could have seen.
fn unseen(message: &Message, sent: Instant, crossing: &Crossing) -> Finding {
    let step = step(message.qos);
    let accepted = match message.answer() {
        Some(answer) if answer.reason == NO_SUBSCRIBERS => {
            format!("acknowledged after {}, with no subscriber to it", since(sent, answer.at))
        }
        Some(answer) => format!("acknowledged after {}", since(sent, answer.at)),
        None => "sent; QoS 0 is never acknowledged".to_owned(),
    };
    if crossing.reading == Reading::NotAsked {
        return Finding::ok(step, accepted);
    }
    let words = format!("{accepted}; whether it reaches Kafka could not be seen");
    Finding::warn(step, words, "mend what is said of Kafka first")
}

/// What was seen in the place of the message, and what it suggests.
fn cause(message: &Message, crossing: &Crossing) -> (String, String) {
    let Strangers { unstamped, other_run, samples } = &crossing.strangers;
    let filter = &crossing.filter;
    let others_are_wrapped = samples.iter().any(|sample| sample.evidence.is_some());
    let wrapped = match found(message, crossing) {
        Some(Evidence::Value) => Some("it came inside of a record's value".to_owned()),
        Some(Evidence::Base64) => Some("it came as base64 inside of a record's value".to_owned()),
        Some(Evidence::Key) => Some("it came in a record's key".to_owned()),
        Some(Evidence::Header(name)) => {
            Some(format!("it came in a record's header {}", said(name)))
        }
        None if others_are_wrapped => {
            Some("no record holds it, and others of this path came".into())
        }
        None => None,
    };
    if let Some(seen) = wrapped {
        let seen = format!("{seen}: the bridge wraps or rewrites messages");
        let advice = "have the bridge write the payload as it is (in a rule: ${.payload}; in \
                      Kafka Connect: ByteArrayConverter), or the MQTT user property traceparent \
                      into a header of that name";
        return (seen, advice.to_owned());
    }
    if let Some(seen) = nobody(message, crossing) {
        let advice = if *other_run > 0 {
            format!(
                "have the bridge subscribe to {filter} as well: it works, since {other_run} \
                 messages of another landfall came"
            )
        } else {
            format!(
                "start the bridge, or have it subscribe to {filter} on this very broker: it is \
                 not connected, or has another topic filter"
            )
        };
        return (seen, advice);
    }
    if *unstamped > 0 {
        let seen = format!("{unstamped} new records came, and none of them carries its stamp");
        let advice = "compare the records below with a message: if the bridge made them of it, \
                      have it write the payload as it is, or keep the user property traceparent \
                      as a header; if they are somebody else's, the message went elsewhere: \
                      compare the bridge's topics with mqtt.topic and kafka.topics";
        return (seen, advice.to_owned());
    }
    if *other_run > 0 {
        let seen = format!("{other_run} messages of another landfall came, and this one did not");
        let advice = format!(
            "compare this mqtt.topic with that of the landfall that runs: the bridge carries its \
             messages, and not those to {filter}"
        );
        return (seen, advice);
    }
    let seen = "no new record came in any of the topics".to_owned();
    let advice = format!(
        "look at the bridge: does its topic filter cover {filter}, does it write to one of \
         kafka.topics in this very cluster, does its log tell of records that Kafka refuses?"
    );
    (seen, advice)
}

/// What the broker says of subscribers, if it says that there are none: brokers may say it of one QoS
/// and not of another, and the messages of a path go to topics that differ by the client at most.
fn nobody(message: &Message, crossing: &Crossing) -> Option<String> {
    let says = |it: &Message| it.answer().is_some_and(|answer| answer.reason == NO_SUBSCRIBERS);
    if says(message) {
        return Some("the broker says that nobody is subscribed to its topic (reason 0x10)".into());
    }
    let other = crossing.messages.iter().find(|it| says(it))?;
    let level = other.qos.level();
    Some(format!("the broker says of QoS {level} that nobody is subscribed (reason 0x10)"))
}

/// The records that came instead, where they may be the message: three at most.
fn samples(strangers: &Strangers) -> impl Iterator<Item = String> {
    strangers.samples.iter().map(sample)
}

fn sample(sample: &Sample) -> String {
    let Sample { topic, partition, offset, headers, head, bytes, .. } = sample;
    let shown: Vec<String> = headers.iter().take(HEADERS_MAX).map(|name| said(name)).collect();
    let headers = match headers.len() {
        0 => "no headers".to_owned(),
        1 => format!("header {}", listed(&shown)),
        count if count > HEADERS_MAX => format!("headers {}, ...", shown.join(", ")),
        _ => format!("headers {}", listed(&shown)),
    };
    let value = match head {
        Some(head) => format!("{bytes} bytes, {headers}: {}", escaped(head, *bytes)),
        None => format!("no value, {headers}"),
    };
    format!("{topic} partition {partition} offset {offset}, {value}")
}

/// What weakens an explanation, to be said beside it.
fn doubts(message: &Message, sent: Instant, crossing: &Crossing) -> Vec<String> {
    let mut doubts = Vec::new();
    if !crossing.caught_up {
        let words = "not every partition was read to its end in that time; --wait 60s tells more";
        doubts.push(words.to_owned());
    }
    if message.qos == Qos::AtMostOnce {
        doubts
            .push("QoS 0 is never acknowledged: the broker itself may have dropped it".to_owned());
    } else if !crossing.is_v5 {
        let words = "an MQTT 3.1.1 broker also acknowledges what it does not allow, and what \
                     nobody is subscribed to: look at its log and ACL as well";
        doubts.push(words.to_owned());
    } else if crossing.subscriber == Some(Ok(())) {
        let words = "that somebody is subscribed says nothing of the bridge: the subscriber of \
                     lane mqtt_mqtt is";
        doubts.push(words.to_owned());
    }
    let complete = message.answers.iter().any(|answer| answer.stage == Stage::Pubcomp);
    if message.qos == Qos::ExactlyOnce && !complete {
        doubts.push(format!(
            "the broker did not complete the QoS 2 handshake (PUBCOMP) within {}: many hand a \
             message on only then",
            super::wording::nanos((sent + crossing.waited).nanos_since(sent))
        ));
    }
    doubts
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::{Answer, Mark, Record, messages};
    use super::*;
    use crate::stamp::{Carriers, Integrity};

    const MILLI: u64 = 1_000_000;

    /// A message that was sent at the start of the clock, with these answers.
    pub(in crate::preflight) fn message(qos: Qos, answers: &[(Stage, u8)]) -> Message {
        let answer = |&(stage, reason)| Answer { stage, reason, at: Instant::from_nanos(MILLI) };
        Message {
            qos,
            due: Instant::ZERO,
            sent: Ok(Instant::ZERO),
            answers: answers.iter().map(answer).collect(),
            broke: None,
            records: Vec::new(),
            copies: Vec::new(),
        }
    }

    pub(in crate::preflight) fn record() -> Record {
        Record {
            topic: "t".into(),
            partition: 2,
            offset: 17,
            append: Some(Instant::from_nanos(3 * MILLI)),
            at: Instant::from_nanos(5 * MILLI),
            carriers: Carriers { property: true, payload: true },
            integrity: Integrity::Intact,
        }
    }

    /// The crossing of that message: nothing came, and everything was read.
    pub(in crate::preflight) fn crossing(message: Message) -> Crossing {
        Crossing {
            messages: vec![message],
            filter: "landfall/p/a/+".into(),
            waited: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            is_v5: true,
            reading: Reading::Stands(3),
            warnings: Vec::new(),
            caught_up: true,
            strangers: Strangers::default(),
            subscriber: None,
        }
    }

    fn acked(reason: u8) -> Message {
        message(Qos::AtLeastOnce, &[(Stage::Puback, reason)])
    }

    fn failed(crossing: &Crossing) -> Finding {
        let finding = messages(crossing).remove(1);
        assert_eq!(finding.mark, Mark::Fail(Fault::Broken), "{finding:?}");
        finding
    }

    fn stranger(evidence: Option<(Qos, Evidence)>) -> Sample {
        Sample {
            topic: "t".into(),
            partition: 0,
            offset: 4,
            headers: vec!["mqtt.topic".into()],
            head: Some(b"{\"payload\":\"x\ny\"}".to_vec()),
            bytes: 17,
            evidence,
        }
    }

    #[test]
    fn each_sight_has_its_own_explanation() {
        let mut broke = message(Qos::AtLeastOnce, &[]);
        broke.broke = Some("the broker ended the connection: PayloadFormatInvalid".into());
        let wrapped = Strangers {
            unstamped: 5,
            other_run: 1,
            samples: vec![stranger(None), stranger(Some((Qos::AtLeastOnce, Evidence::Value)))],
        };
        let others = Strangers { unstamped: 5, other_run: 1, samples: vec![stranger(None)] };
        let sidecar = Strangers { other_run: 7, ..Strangers::default() };
        let with = |message, strangers| Crossing { strangers, ..crossing(message) };
        for (here, words, advice) in [
            (crossing(broke), "the connection broke: the broker ended", "schema"),
            (
                crossing(message(Qos::AtLeastOnce, &[])),
                "sent, and not acknowledged within 10.0 s",
                "may not reach Kafka",
            ),
            (
                crossing(acked(0x10)),
                "acknowledged after 1.00 ms, and not read from Kafka within 10.0 s: the broker says \
                 that nobody is subscribed",
                "have it subscribe to landfall/p/a/+",
            ),
            (with(acked(0x10), wrapped.clone()), "inside of a record's value", "as it is"),
            (with(acked(0x10), others.clone()), "nobody is subscribed", "as well: it works"),
            (with(acked(0), wrapped), "inside of a record's value", "as it is"),
            (with(acked(0), others), "5 new records came", "compare the records below"),
            (with(acked(0), sidecar), "7 messages of another landfall", "compare this mqtt.topic"),
            (crossing(acked(0)), "no new record came in any of the topics", "cover landfall/p/a/+"),
            (
                crossing(message(Qos::AtMostOnce, &[])),
                "sent, and not read from Kafka within 10.0 s: no new record",
                "look at the bridge",
            ),
        ] {
            let finding = failed(&here);
            assert!(finding.words.contains(words), "{}", finding.words);
            assert!(finding.advice.as_ref().unwrap().contains(advice), "{finding:?}");
        }
    }

    #[test]
    fn what_the_broker_says_of_one_qos_explains_the_others() {
        let mut here = crossing(message(Qos::AtMostOnce, &[]));
        here.messages.push(acked(0x10));
        let all = messages(&here);
        assert!(
            all[1]
                .words
                .ends_with("the broker says of QoS 1 that nobody is subscribed (reason 0x10)")
        );
        assert_eq!(all[1].advice, None, "said once, with the last message");
        assert!(all[2].advice.is_some());
    }

    #[test]
    fn places_of_evidence_are_named() {
        for (evidence, words) in [
            (Evidence::Base64, "as base64 inside"),
            (Evidence::Key, "in a record's key"),
            (Evidence::Header("x-trace".into()), "in a record's header x-trace"),
        ] {
            let samples = vec![stranger(Some((Qos::AtLeastOnce, evidence)))];
            let strangers = Strangers { unstamped: 1, other_run: 0, samples };
            let here = Crossing { strangers, ..crossing(acked(0)) };
            let finding = failed(&here);
            assert!(finding.words.contains(words), "{}", finding.words);
            let other = message(Qos::ExactlyOnce, &[(Stage::Pubrec, 0), (Stage::Pubcomp, 0)]);
            let finding = failed(&Crossing { messages: vec![other], ..here });
            assert!(finding.words.contains("no record holds it"), "{}", finding.words);
        }
    }

    #[test]
    fn strange_records_are_shown_cut_and_escaped() {
        let mut large = stranger(None);
        (large.head, large.bytes) = (Some(vec![0xff; 500]), 4_096);
        large.headers = (0..9).map(|n| format!("h{n}")).collect();
        let mut empty = stranger(None);
        (empty.head, empty.headers) = (None, Vec::new());
        let samples = vec![stranger(None), large, empty];
        let strangers = Strangers { unstamped: 3, other_run: 0, samples };
        let shown = failed(&Crossing { strangers, ..crossing(acked(0)) }).details;
        assert_eq!(
            shown[0],
            "t partition 0 offset 4, 17 bytes, header mqtt.topic: {\"payload\":\"x\\x0ay\"}"
        );
        let cut = format!("h6, h7, ...: {}...", "\\xff".repeat(120));
        assert!(shown[1].contains("4096 bytes") && shown[1].ends_with(&cut), "{}", shown[1]);
        assert_eq!(shown[2], "t partition 0 offset 4, no value, no headers");
    }

    #[test]
    fn what_could_not_be_seen_is_not_called_lost() {
        for (reading, mark) in
            [(Reading::NotAsked, Mark::Ok), (Reading::Fails("no Kafka".into()), Mark::Warn)]
        {
            for (here, words) in [
                (message(Qos::AtMostOnce, &[]), "sent; QoS 0 is never acknowledged"),
                (acked(0), "acknowledged after 1.00 ms"),
                (acked(0x10), "acknowledged after 1.00 ms, with no subscriber to it"),
            ] {
                let here = Crossing { reading: reading.clone(), ..crossing(here) };
                let finding = messages(&here).pop().unwrap();
                assert_eq!(finding.mark, mark);
                assert!(finding.words.starts_with(words), "{}", finding.words);
            }
        }
    }

    #[test]
    fn doubts_stand_beside_the_explanation() {
        let doubts = |here: &Crossing| failed(here).details.join("\n");
        assert_eq!(doubts(&crossing(acked(0))), "");
        let behind = Crossing { caught_up: false, ..crossing(acked(0)) };
        assert!(doubts(&behind).contains("--wait"));
        let old = Crossing { is_v5: false, ..crossing(acked(0)) };
        assert!(doubts(&old).contains("3.1.1"));
        let heard = Crossing { subscriber: Some(Ok(())), ..crossing(acked(0)) };
        let mut here = heard.clone();
        here.messages[0].copies.clear();
        assert!(failed(&here).details[0].contains("mqtt_mqtt"));
        assert!(doubts(&crossing(message(Qos::AtMostOnce, &[]))).contains("dropped"));
        let half = message(Qos::ExactlyOnce, &[(Stage::Pubrec, 0)]);
        assert!(doubts(&crossing(half)).contains("PUBCOMP"));
        let whole = message(Qos::ExactlyOnce, &[(Stage::Pubrec, 0), (Stage::Pubcomp, 0)]);
        assert_eq!(doubts(&crossing(whole)), "");
    }
}
