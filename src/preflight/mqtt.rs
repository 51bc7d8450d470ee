//! Room `preflight`: the MQTT side of a path.

use super::network::{self, Peer};
use super::wording::time;
use super::{Accepted, Fault, Finding, Login, Needs, Reach};
use crate::correlate::Qos;
use crate::report;

/// The broker of a path, as people call it and configure it.
const BROKER: Peer = Peer { name: "MQTT broker", key: "mqtt.url" };
/// What to do about a broker that does not say what it dislikes.
const UNEXPLAINED: &str = "look at the broker's log; if there is nothing in it, that port is none of \
                           MQTT, or wants TLS or WebSocket";
/// Waiting for acknowledgements stops a client that may have less than this of its rate unanswered.
const WINDOW_SECONDS_MIN: f64 = 1.0;

/// The findings on a broker: whether it is reached, and what it says to the clients of the path.
/// `version` is that of the protocol.
#[must_use]
pub fn mqtt(reach: &Reach, version: &str, logins: &[Login], needs: Needs) -> Vec<Finding> {
    let mut findings = vec![network::reached("MQTT TCP", BROKER, reach)];
    let mut rest = logins;
    // The same is said once.
    while let Some((first, behind)) = rest.split_first() {
        let same = behind.iter().take_while(|login| is_same(first, login)).count();
        let (alike, others) = rest.split_at(1 + same);
        let levels = if others.len() + findings.len() > 1 { levels(alike) } else { String::new() };
        findings.extend(told(alike, (version, &levels), needs));
        rest = others;
    }
    findings
}

/// Whether two clients were told the same, times apart.
fn is_same(one: &Login, other: &Login) -> bool {
    match (&one.outcome, &other.outcome) {
        (Ok(one), Ok(other)) => *one == Accepted { after: one.after, ..*other },
        (one, other) => one == other,
    }
}

fn levels(logins: &[Login]) -> String {
    let levels: Vec<String> = logins.iter().map(|login| login.qos.level().to_string()).collect();
    format!(" (QoS {})", levels.join(", "))
}

/// The findings on clients that were told the same.
fn told(alike: &[Login], (version, levels): (&str, &str), needs: Needs) -> Vec<Finding> {
    const STEP: &str = "MQTT CONNECT";
    let Some(first) = alike.first() else { return Vec::new() };
    let accepted = match &first.outcome {
        Ok(accepted) => accepted,
        Err(why) => {
            let (words, advice) = why.split_once("; ").unwrap_or((why, UNEXPLAINED));
            // Of a broker that says nothing more than that, this may be no MQTT broker at all.
            let advice =
                if words.ends_with("closed the connection") { UNEXPLAINED } else { advice };
            let words = format!("{words}{levels}");
            return vec![Finding::fail(Fault::Unreachable, STEP, words, advice)];
        }
    };
    let mut words =
        vec![format!("accepted after {}, MQTT {version}{levels}", time(accepted.after))];
    if accepted.qos_max < Qos::ExactlyOnce {
        words.push(format!("takes QoS {} at most", accepted.qos_max.level()));
    }
    if let Some(bytes) = accepted.packet_bytes_max {
        words.push(format!("takes packets of {} at most", report::bytes(u64::from(bytes))));
    }
    if let Some(count) = accepted.receive_max {
        words.push(format!("takes {count} unacknowledged messages of a client at a time"));
    }
    let mut findings = vec![Finding::ok(STEP, words.join("; "))];
    let waits = alike.iter().any(|login| login.qos > Qos::AtMostOnce);
    findings.extend(narrow(accepted, needs).filter(|_| waits));
    findings
}

/// What is to be known of a receive maximum that a client's rate may be too much for.
fn narrow(accepted: &Accepted, needs: Needs) -> Option<Finding> {
    let count = accepted.receive_max?;
    let seconds = f64::from(count) / needs.client_rate;
    (seconds < WINDOW_SECONDS_MIN).then(|| {
        let words = format!(
            "at {:.0} messages a second a client has to wait as soon as acknowledgements take \
             longer than {}",
            needs.client_rate,
            report::duration(seconds)
        );
        let advice = "raise mqtt.clients or lower mqtt.rate; or have the broker take more \
                      unacknowledged messages (receive maximum; max_inflight_messages in Mosquitto)";
        Finding::warn("MQTT limits", words, advice)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Attempt, Mark};
    use super::*;

    const NEEDS: Needs = Needs {
        payload_bytes: 256,
        rate: 100.0,
        client_rate: 50.0,
        deadline: Duration::from_secs(30),
    };

    fn accepted(after_millis: u64) -> Accepted {
        Accepted {
            after: Duration::from_millis(after_millis),
            receive_max: None,
            packet_bytes_max: None,
            qos_max: Qos::ExactlyOnce,
        }
    }

    fn found(outcomes: [Result<Accepted, String>; 3]) -> Vec<Finding> {
        let connected = Attempt::Connected(Duration::from_millis(1));
        let reach = Reach {
            place: "127.0.0.1:1883".into(),
            addresses: Ok(vec!["127.0.0.1".into()]),
            attempts: vec![("127.0.0.1:1883".into(), connected)],
        };
        let logins = Qos::ALL.into_iter().zip(outcomes);
        let logins: Vec<Login> = logins.map(|(qos, outcome)| Login { qos, outcome }).collect();
        mqtt(&reach, "5", &logins, NEEDS)
    }

    #[test]
    fn what_all_clients_are_told_is_said_once() {
        let all = found([1, 2, 3].map(|millis| Ok(accepted(millis))));
        let words: Vec<&str> = all.iter().map(|finding| finding.words.as_str()).collect();
        assert_eq!(words[1..], ["accepted after 1.00 ms, MQTT 5"]);
    }

    #[test]
    fn what_one_client_is_told_names_its_qos() {
        let refused = "the broker takes QoS 1 at most; change mqtt.qos".to_owned();
        let all = found([Ok(accepted(1)), Ok(accepted(1)), Err(refused)]);
        assert_eq!(all[1].words, "accepted after 1.00 ms, MQTT 5 (QoS 0, 1)");
        assert_eq!(all[2].mark, Mark::Fail(Fault::Unreachable));
        assert_eq!(all[2].words, "the broker takes QoS 1 at most (QoS 2)");
        assert_eq!(all[2].advice.as_deref(), Some("change mqtt.qos"));
    }

    #[test]
    fn limits_are_told_and_judged() {
        let narrow =
            Accepted { receive_max: Some(10), packet_bytes_max: Some(1_000), ..accepted(1) };
        let all = found([Ok(narrow), Ok(narrow), Ok(narrow)]);
        assert!(all[1].words.ends_with(
            "takes packets of 1.00 kB at most; takes 10 unacknowledged messages of a client at a time"
        ));
        assert_eq!((all.len(), all[2].mark), (3, Mark::Warn), "{all:?}");
        assert!(all[2].words.contains("longer than 200 ms"), "{}", all[2].words);
        let wide = Accepted { receive_max: Some(50), ..accepted(1) };
        let all = found([Ok(narrow), Ok(wide), Ok(wide)]);
        let marks: Vec<Mark> = all.iter().map(|finding| finding.mark).collect();
        assert_eq!(marks, [Mark::Ok; 3], "QoS 0 waits for nothing: {all:?}");
    }
}
