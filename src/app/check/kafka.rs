//! Room `app`: the Kafka side of a check.

use super::path::{Path, on_thread};
use crate::consume;
use crate::preflight::{self, Broker, Finding, Reach, Security, Survey, Topic};
use crate::reach::{Place, reach};
use crate::shutdown::Tasks;

/// Most brokers of a cluster that are tried.
const BROKERS_MAX: usize = 64;

/// What comes of looking at the cluster and at the topics of a path, and whether there is something to
/// read.
pub(super) async fn look(
    path: &Path,
    consumer: &consume::Config,
    stop: &Tasks,
) -> (Vec<Finding>, bool) {
    let bootstrap: Vec<Place> = consumer.brokers.split(',').map(place).collect();
    let clock = path.clock;
    let first = bootstrap.clone();
    let Some(reached) = on_thread("reach", move || reach(&first, clock), stop).await else {
        return (Vec::new(), false);
    };
    let security = security(&consumer.properties.0);
    if !reached.iter().any(Reach::is_reached) {
        return (preflight::cluster(&reached, &security, None), false);
    }
    let (mut asked, told_to_stop) = (consumer.clone(), stop.clone());
    let control = path.control.as_ref().map(|control| control.topics.concat());
    asked.topics.extend(control.clone().filter(|topic| !asked.topics.contains(topic)));
    let survey = move || consume::survey(&asked, clock, &told_to_stop);
    let mut survey = match on_thread("survey", survey, stop).await {
        None => return (preflight::cluster(&reached, &security, None), false),
        Some(Err(said)) => {
            return (preflight::cluster(&reached, &security, Some(Err(&said))), false);
        }
        Some(Ok(survey)) => survey,
    };
    let mut findings = preflight::cluster(&reached, &security, Some(Ok(&survey)));
    let known = bootstrap.iter().zip(&reached).filter(|(_, reach)| reach.is_reached());
    let known: Vec<(&Place, &Reach)> = known.collect();
    let advertised = advertised(&survey, &known, path, stop).await;
    findings.extend(preflight::advertised(&survey, &advertised));
    let control = survey.topics.extract_if(.., |topic| Some(&topic.name) == control.as_ref());
    let control: Vec<Topic> = control.collect();
    findings.extend(preflight::topics(&survey, path.needs()));
    findings.extend(control.iter().flat_map(|it| preflight::control_topic(it, path.needs())));
    (findings, is_readable(&survey, &advertised))
}

/// Whether some partition is led by a broker that is reached.
fn is_readable(survey: &Survey, brokers: &[(Broker, Reach)]) -> bool {
    let reached = |id| brokers.iter().any(|(broker, reach)| broker.id == id && reach.is_reached());
    let topics = survey.topics.iter().filter(|topic| topic.problem.is_none());
    let mut leaders = topics.flat_map(|topic| &topic.partitions).filter_map(|it| it.leader);
    leaders.any(reached)
}

/// Connects to the brokers that the cluster advertises; those that were reached before are `known`.
async fn advertised(
    survey: &Survey,
    known: &[(&Place, &Reach)],
    path: &Path,
    stop: &Tasks,
) -> Vec<(Broker, Reach)> {
    let brokers = survey.brokers.iter().take(BROKERS_MAX);
    let places = brokers.clone().map(|broker| (broker.host.clone(), broker.port));
    let places: Vec<Place> = places.collect();
    let known_as = |place: &Place| known.iter().find(|(it, _)| *it == place).map(|(_, it)| *it);
    let fresh: Vec<Place> =
        places.iter().filter(|place| known_as(place).is_none()).cloned().collect();
    let clock = path.clock;
    let reached = on_thread("reach", move || reach(&fresh, clock), stop).await;
    let mut reached = reached.unwrap_or_default().into_iter();
    let of_each = brokers.zip(&places).filter_map(|(broker, place)| {
        let reach = known_as(place).cloned().or_else(|| reached.next())?;
        Some((broker.clone(), reach))
    });
    of_each.collect()
}

/// `host:port` taken apart; the configuration has made sure that there is a port.
fn place(text: &str) -> Place {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    (host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or(9_092))
}

/// How clients are asked to prove and to protect themselves, by their properties.
fn security(properties: &[(String, String)]) -> Security {
    let value = |name: &str| {
        let found = properties.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.to_ascii_lowercase())
    };
    let protocol = value("security.protocol").unwrap_or_default();
    let mechanism = value("sasl.mechanism").or_else(|| value("sasl.mechanisms"));
    let mechanism = mechanism.unwrap_or_else(|| "gssapi".to_owned()).to_ascii_uppercase();
    Security {
        tls: protocol.ends_with("ssl"),
        verifies: value("enable.ssl.certificate.verification").is_none_or(|value| value != "false"),
        sasl: protocol.starts_with("sasl").then_some(mechanism),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_apart() {
        assert_eq!(place("kafka:9092"), ("kafka".to_owned(), 9_092));
        assert_eq!(place("[::1]:9093"), ("::1".to_owned(), 9_093));
    }

    #[test]
    fn security_is_read_from_the_properties() {
        let of = |properties: &[(&str, &str)]| {
            let owned = properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            security(&owned.collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), Security { tls: false, verifies: true, sasl: None });
        let scram = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-256")];
        let sasl = Some("SCRAM-SHA-256".to_owned());
        assert_eq!(of(&scram), Security { tls: true, verifies: true, sasl });
        let blind =
            [("security.protocol", "ssl"), ("enable.ssl.certificate.verification", "false")];
        assert_eq!(of(&blind), Security { tls: true, verifies: false, sasl: None });
        let default = of(&[("security.protocol", "sasl_plaintext")]);
        assert_eq!(default.sasl.as_deref(), Some("GSSAPI"));
    }
}
