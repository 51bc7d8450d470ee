//! Room `preflight`: the Kafka cluster of a path.

use super::network::Peer;
use super::wording::{said, time};
use super::{Broker, Fault, Finding, Reach, Said, Security, Survey, Trouble};

/// A broker of the configuration, as people call it and configure it.
const BOOTSTRAP: Peer = Peer { name: "Kafka broker", key: "kafka.brokers" };
/// Most lines of librdkafka that are shown.
const SAID_MAX: usize = 2;

/// The findings on the brokers that are configured, and on what the cluster behind them says: nothing
/// where none of them was reached. What it does not say, librdkafka said instead.
#[must_use]
pub fn cluster(
    bootstrap: &[Reach],
    security: &Security,
    survey: Option<Result<&Survey, &[Said]>>,
) -> Vec<Finding> {
    const STEP: &str = "Kafka TCP";
    let some = bootstrap.iter().any(Reach::is_reached);
    let reached = bootstrap.iter().map(|reach| match reach.missed(BOOTSTRAP) {
        None => Finding::ok(STEP, reach.reached().unwrap_or_default()),
        Some((words, advice)) if some => Finding::warn(STEP, words, advice),
        Some((words, advice)) => Finding::fail(Fault::Unreachable, STEP, words, advice),
    });
    let mut findings: Vec<Finding> = reached.collect();
    match survey {
        None => (),
        Some(Ok(survey)) => findings.extend(answered(security, survey)),
        Some(Err(lines)) => findings.push(unanswered(security, lines)),
    }
    findings
}

fn answered(security: &Security, survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    if security.tls && security.verifies {
        findings.push(Finding::ok("Kafka TLS", "handshake done, the certificate is accepted"));
    } else if security.tls {
        findings.push(Finding::warn(
            "Kafka TLS",
            "handshake done, and nobody looked at the certificate \
             (enable.ssl.certificate.verification is off)",
            "take it out of kafka.properties, and name the CA in ssl.ca.location",
        ));
    }
    if let Some(mechanism) = &security.sasl {
        findings.push(Finding::ok("Kafka login", format!("accepted, {mechanism}")));
    }
    let count = match survey.brokers.len() {
        1 => "1 broker".to_owned(),
        count => format!("{count} brokers"),
    };
    let words = format!("answered after {}: {count}", time(survey.after));
    findings.push(Finding::ok("Kafka cluster", words));
    findings
}

/// What is said of a cluster that was connected to and did not answer.
fn unanswered(security: &Security, lines: &[Said]) -> Finding {
    let worst = lines.iter().map(|line| line.trouble).max().unwrap_or(Trouble::Other);
    let about = || lines.iter().filter(|line| line.trouble == worst);
    let any = |texts: &[&str]| about().any(|line| texts.iter().any(|it| line.words.contains(it)));
    let is_plain = any(&["PLAINTEXT broker listener", "wrong version number"]);
    let is_silent = any(&["Timed out"]);
    // A broker says which versions it speaks before it asks who is there, and nothing without TLS
    // where it wants TLS.
    let wants_login = any(&["in state UP"]);
    let wants_tls = any(&["in state APIVERSION_QUERY"]);
    let (step, words, advice) = match worst {
        _ if is_plain => no_tls(),
        Trouble::Connection if is_silent => silent(),
        Trouble::Connection if wants_login && security.sasl.is_none() => (
            "Kafka login",
            "the broker answers, and closes the connection of a client that does not log in"
                .to_owned(),
            "set security.protocol (SASL_PLAINTEXT or SASL_SSL) and sasl.* in kafka.properties",
        ),
        Trouble::Connection if wants_tls && !security.tls => (
            "Kafka TLS",
            "connections that are not encrypted are closed without an answer".to_owned(),
            "set security.protocol in kafka.properties to SSL or SASL_SSL, or take the port of a \
             plaintext listener; if that port is no Kafka broker's, correct kafka.brokers",
        ),
        Trouble::Login => {
            let mechanism = security.sasl.as_deref().unwrap_or("SASL");
            (
                "Kafka login",
                format!("the login was refused ({mechanism})"),
                "correct sasl.username, sasl.password or sasl.mechanism in kafka.properties",
            )
        }
        Trouble::Tls => tls(&any),
        Trouble::Connection | Trouble::Name => (
            "Kafka cluster",
            "connections are accepted and then closed, without an answer".to_owned(),
            "look at the broker's log: it may want a certificate of the client, another version of \
             TLS, or another security.protocol than that in kafka.properties",
        ),
        Trouble::Other => silent(),
    };
    let mut of_others: Vec<&str> = Vec::new();
    for line in about() {
        // What is behind that is another time with each attempt.
        let line = line.words.rsplit_once(" (after ").map_or(line.words.as_str(), |(line, _)| line);
        if of_others.len() < SAID_MAX && !of_others.contains(&line) {
            of_others.push(line);
        }
    }
    let details = of_others.into_iter().map(|line| format!("librdkafka: {}", said(line)));
    Finding::fail(Fault::Unreachable, step, words, advice).with(details)
}

type Words = (&'static str, String, &'static str);

fn silent() -> Words {
    (
        "Kafka cluster",
        "connections are accepted, and no answer comes that Kafka would give".to_owned(),
        "look whether the Kafka broker hangs; if something else listens there, correct \
         kafka.brokers; if it wants TLS, set security.protocol in kafka.properties",
    )
}

fn no_tls() -> Words {
    (
        "Kafka TLS",
        "the broker does not speak TLS at that port".to_owned(),
        "take the port of a TLS listener in kafka.brokers, or set security.protocol in \
         kafka.properties to PLAINTEXT or SASL_PLAINTEXT",
    )
}

fn tls(any: &dyn Fn(&[&str]) -> bool) -> Words {
    if any(&["certificate could not be verified", "certificate verify failed"]) {
        return (
            "Kafka TLS",
            "the broker's certificate was refused: it is not signed by a CA that is trusted here, \
             or it has expired, or it does not name the host that was connected to"
                .to_owned(),
            "name the file with the right CA in kafka.properties: ssl.ca.location; and connect by \
             a name that stands in the certificate",
        );
    }
    if any(&["client SSL authentication", "certificate required", "bad certificate"]) {
        return (
            "Kafka TLS",
            "the broker wants a certificate of the client, or refuses the one it was given"
                .to_owned(),
            "set ssl.certificate.location and ssl.key.location in kafka.properties",
        );
    }
    (
        "Kafka TLS",
        "the TLS handshake failed".to_owned(),
        "compare the ssl.* in kafka.properties with what the broker asks for",
    )
}

/// The findings on the brokers that the cluster advertises: clients are sent there for every record,
/// whichever address they began with. Each comes with what came of connecting to it.
#[must_use]
pub fn advertised(survey: &Survey, brokers: &[(Broker, Reach)]) -> Vec<Finding> {
    const STEP: &str = "Kafka brokers";
    let mut findings = Vec::new();
    let mut reached = Vec::new();
    for (broker, reach) in brokers {
        let Broker { id, host, port } = broker;
        let peer = Peer { name: "Kafka broker", key: "advertised.listeners" };
        let Some((why, _)) = reach.missed(peer) else {
            reached.push(format!("broker {id} at {host}:{port}"));
            continue;
        };
        let words = format!("the cluster sends clients of broker {id} to {host}:{port}: {why}");
        let advice = format!(
            "set advertised.listeners of broker {id} to an address that is reached from here, or \
             make {host} reachable from here under that name and port"
        );
        let mut partitions = survey.topics.iter().flat_map(|topic| &topic.partitions);
        // A broker that leads nothing of ours is needed as soon as it does.
        findings.push(if partitions.any(|partition| partition.leader == Some(*id)) {
            Finding::fail(Fault::Unreachable, STEP, words, advice)
        } else {
            Finding::warn(STEP, words, advice)
        });
    }
    if !reached.is_empty() {
        let words = format!("reached as advertised: {}", reached.join(", "));
        findings.insert(0, Finding::ok(STEP, words));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Attempt, Mark, Partition, Topic};
    use super::*;

    fn reach(place: &str, attempt: Attempt) -> Reach {
        let address = vec!["10.0.0.1".to_owned()];
        Reach {
            place: place.into(),
            addresses: Ok(address),
            attempts: vec![("10.0.0.1:9092".into(), attempt)],
        }
    }

    fn connected() -> Attempt {
        Attempt::Connected(Duration::from_millis(1))
    }

    fn tls() -> Security {
        Security { tls: true, verifies: true, sasl: None }
    }

    fn unanswered(security: &Security, trouble: Trouble, (words, state): (&str, &str)) -> Finding {
        let lines = [
            Said { trouble: Trouble::Other, words: "noise".into() },
            Said { trouble, words: format!("{words} (after 1ms in state {state})") },
            Said { trouble, words: format!("{words} (after 2ms in state {state})") },
        ];
        let all = cluster(&[reach("k:9092", connected())], security, Some(Err(&lines)));
        assert_eq!((all.len(), all[0].mark), (2, Mark::Ok));
        assert_eq!(all[1].mark, Mark::Fail(Fault::Unreachable));
        all[1].clone()
    }

    #[test]
    fn one_broker_that_is_reached_is_enough() {
        let both = [reach("a:9092", Attempt::Refused), reach("b:9092", connected())];
        let marks = |reaches: &[Reach]| -> Vec<Mark> {
            cluster(reaches, &tls(), None).iter().map(|finding| finding.mark).collect()
        };
        assert_eq!(marks(&both), [Mark::Warn, Mark::Ok]);
        assert_eq!(marks(&both[..1]), [Mark::Fail(Fault::Unreachable)]);
    }

    #[test]
    fn librdkafkas_words_become_causes() {
        use Trouble::{Connection, Login, Tls};
        let plain = Security::default();
        let handshake = "SSL_HANDSHAKE";
        let untrusted = "SSL handshake failed: broker certificate could not be verified, verify";
        let no_tls =
            "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?";
        let refused = "SASL authentication error: Authentication failed";
        let closed = "Disconnected: connection closed by peer";
        let versions = "ApiVersionRequest failed: Local: Timed out: probably due to";
        for (security, trouble, (words, state), (step, cause, advice)) in [
            (
                &tls(),
                Tls,
                (untrusted, handshake),
                ("Kafka TLS", "certificate was refused", "ssl.ca."),
            ),
            (&tls(), Connection, (no_tls, handshake), ("Kafka TLS", "not speak TLS", "PLAINTEXT")),
            (&tls(), Tls, ("certificate required", "UP"), ("Kafka TLS", "wants a cert", "ssl.key")),
            (&tls(), Tls, ("no cipher", handshake), ("Kafka TLS", "handshake failed", "ssl.*")),
            (&tls(), Connection, (closed, handshake), ("Kafka cluster", "then closed", "log")),
            (
                &plain,
                Connection,
                (closed, "APIVERSION_QUERY"),
                ("Kafka TLS", "not encrypted", "SSL"),
            ),
            (&plain, Connection, (closed, "UP"), ("Kafka login", "not log in", "sasl.*")),
            (&tls(), Connection, (closed, "UP"), ("Kafka login", "not log in", "sasl.*")),
            (&plain, Connection, (versions, "X"), ("Kafka cluster", "no answer comes", "brokers")),
            (&plain, Login, (refused, "AUTH"), ("Kafka login", "was refused", "sasl.username")),
        ] {
            let found = unanswered(security, trouble, (words, state));
            assert_eq!(found.step, step, "{words}");
            assert!(found.words.contains(cause), "{}", found.words);
            assert!(found.advice.unwrap().contains(advice), "{words}");
            assert_eq!(found.details, [format!("librdkafka: {words}")], "said once, no noise");
        }
    }

    #[test]
    fn silence_is_a_cause_too() {
        let all = cluster(&[reach("k:9092", connected())], &Security::default(), Some(Err(&[])));
        assert!(all[1].words.contains("no answer comes"), "{}", all[1].words);
    }

    fn survey() -> Survey {
        let partition = Partition { id: 0, leader: Some(1) };
        let topic = Topic {
            name: "t".into(),
            problem: None,
            partitions: vec![partition],
            settings: Ok([].into()),
        };
        Survey {
            after: Duration::from_millis(8),
            brokers: vec![broker(1), broker(2)],
            topics: vec![topic],
            unmatched: Vec::new(),
            more: 0,
        }
    }

    fn broker(id: i32) -> Broker {
        Broker { id, host: format!("kafka-{id}"), port: 9092 }
    }

    #[test]
    fn tls_and_login_are_good_where_the_cluster_answers() {
        let steps = |security: &Security| -> Vec<(String, Mark)> {
            let survey = survey();
            let all = cluster(&[reach("k:9092", connected())], security, Some(Ok(&survey)));
            all.into_iter().skip(1).map(|finding| (finding.step, finding.mark)).collect()
        };
        let named = |names: &[(&str, Mark)]| -> Vec<(String, Mark)> {
            names.iter().map(|&(name, mark)| (name.to_owned(), mark)).collect()
        };
        assert_eq!(steps(&Security::default()), named(&[("Kafka cluster", Mark::Ok)]));
        let login = Security { sasl: Some("PLAIN".into()), ..tls() };
        let all = [("Kafka TLS", Mark::Ok), ("Kafka login", Mark::Ok), ("Kafka cluster", Mark::Ok)];
        assert_eq!(steps(&login), named(&all));
        let blind = Security { verifies: false, ..tls() };
        assert_eq!(steps(&blind)[0], ("Kafka TLS".into(), Mark::Warn));
    }

    #[test]
    fn advertised_addresses_matter_where_our_records_are() {
        let found = |one: Attempt, two: Attempt| -> Vec<Mark> {
            let brokers =
                [(broker(1), reach("kafka-1:9092", one)), (broker(2), reach("kafka-2:9092", two))];
            advertised(&survey(), &brokers).iter().map(|finding| finding.mark).collect()
        };
        assert_eq!(found(connected(), connected()), [Mark::Ok]);
        assert_eq!(found(connected(), Attempt::Refused), [Mark::Ok, Mark::Warn]);
        let lost = [Mark::Ok, Mark::Fail(Fault::Unreachable)];
        assert_eq!(found(Attempt::Refused, connected()), lost);
    }
}
