//! Room `preflight`: names and connections in words.

use super::wording::{listed, said, time};
use super::{Attempt, Fault, Finding, Reach};

/// What kind of peer is looked for, and where its place is configured.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// What a person calls it: `broker`.
    pub(super) name: &'static str,
    /// The key of its place.
    pub(super) key: &'static str,
}

impl Reach {
    /// Whether some address accepted a connection.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.fastest().is_some()
    }

    /// The first address that accepted, and what it took.
    fn fastest(&self) -> Option<(&str, std::time::Duration)> {
        self.attempts.iter().find_map(|(address, attempt)| match attempt {
            Attempt::Connected(after) => Some((address.as_str(), *after)),
            _ => None,
        })
    }

    /// Its names, addresses and times where it was reached.
    pub(super) fn reached(&self) -> Option<String> {
        let (address, after) = self.fastest()?;
        let connected = format!("{address} accepted after {}", time(after));
        let others = self.attempts.iter().filter_map(|(address, attempt)| {
            trouble(attempt).map(|trouble| format!("{address} {trouble}"))
        });
        let mut words: Vec<String> = std::iter::once(connected).chain(others).collect();
        let addresses = self.addresses.as_deref().unwrap_or_default();
        // An address that was given needs no looking up.
        let is_name = self.place.rsplit_once(':').is_none_or(|(host, _)| {
            !addresses.iter().any(|address| host.trim_matches(['[', ']']) == *address)
        });
        if is_name {
            words.insert(0, format!("{} is {}", self.place, listed(addresses)));
        }
        Some(words.join("; "))
    }

    /// Why it was not reached, and what to do.
    pub(super) fn missed(&self, peer: Peer) -> Option<(String, String)> {
        let Peer { name, key } = peer;
        if self.is_reached() {
            return None;
        }
        let place = &self.place;
        let addresses = match &self.addresses {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return Some(nameless(place, "it has no address", key)),
            Err(why) => return Some(nameless(place, &said(why), key)),
        };
        let tried = self.attempts.iter().filter_map(|(address, attempt)| {
            trouble(attempt).map(|trouble| format!("{address} {trouble}"))
        });
        let mut words: Vec<String> = tried.collect();
        if words.is_empty() {
            words.push(format!("{place} ({}) was not tried", listed(addresses)));
        }
        let all = |what: fn(&Attempt) -> bool| self.attempts.iter().all(|(_, it)| what(it));
        let advice = if all(|attempt| matches!(attempt, Attempt::Refused)) {
            format!("start the {name}, or correct host and port in {key}")
        } else if all(|attempt| matches!(attempt, Attempt::Silent(_))) {
            format!(
                "correct the address in {key}, or let connections to it through: a firewall \
                 drops them, or no such machine is up"
            )
        } else {
            format!("correct {key}, or the network between here and there")
        };
        Some((words.join("; "), advice))
    }
}

fn nameless(place: &str, why: &str, key: &str) -> (String, String) {
    let words = format!("the name in {place} can't be resolved: {why}");
    let advice = format!(
        "correct the host in {key}, or the name servers of this machine or container (a name of a \
         container network is known only inside of it)"
    );
    (words, advice)
}

fn trouble(attempt: &Attempt) -> Option<String> {
    match attempt {
        Attempt::Connected(_) => None,
        Attempt::Refused => Some("refused the connection: nobody listens there".to_owned()),
        Attempt::Silent(after) => Some(format!("did not answer within {}", time(*after))),
        Attempt::Failed(why) => Some(format!("can't be connected to: {}", said(why))),
    }
}

/// The finding on one peer that has to be reached.
pub(super) fn reached(step: &str, peer: Peer, reach: &Reach) -> Finding {
    match reach.missed(peer) {
        Some((words, advice)) => Finding::fail(Fault::Unreachable, step, words, advice),
        None => Finding::ok(step, reach.reached().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Mark;
    use super::*;

    const PEER: Peer = Peer { name: "broker", key: "mqtt.url" };

    fn reach(place: &str, addresses: &[&str], attempts: &[(&str, Attempt)]) -> Reach {
        Reach {
            place: place.to_owned(),
            addresses: Ok(addresses.iter().map(|&address| address.to_owned()).collect()),
            attempts: attempts.iter().map(|(at, it)| ((*at).to_owned(), it.clone())).collect(),
        }
    }

    #[test]
    fn an_address_that_accepts_is_enough() {
        let connected = Attempt::Connected(Duration::from_micros(210));
        let attempts = [("[::1]:1883", Attempt::Refused), ("127.0.0.1:1883", connected)];
        let found = reached("MQTT TCP", PEER, &reach("box:1883", &["::1", "127.0.0.1"], &attempts));
        assert_eq!(found.mark, Mark::Ok);
        assert_eq!(
            found.words,
            "box:1883 is ::1 and 127.0.0.1; 127.0.0.1:1883 accepted after 210 us; [::1]:1883 \
             refused the connection: nobody listens there"
        );
        let found =
            reached("MQTT TCP", PEER, &reach("127.0.0.1:1883", &["127.0.0.1"], &attempts[1..]));
        assert_eq!(found.words, "127.0.0.1:1883 accepted after 210 us");
    }

    #[test]
    fn what_can_not_be_reached_says_why_and_what_to_do() {
        let silent = Attempt::Silent(Duration::from_secs(5));
        let nowhere = Reach {
            place: "nowhere:1883".into(),
            addresses: Err("no such name".into()),
            attempts: Vec::new(),
        };
        for (reach, words, advice) in [
            (nowhere, "can't be resolved: no such name", "name servers"),
            (reach("empty:1", &[], &[]), "it has no address", "name servers"),
            (
                reach("b:1", &["1.2.3.4"], &[("1.2.3.4:1", Attempt::Refused)]),
                "refused",
                "start the broker",
            ),
            (reach("b:1", &["1.2.3.4"], &[("1.2.3.4:1", silent)]), "within 5.00 s", "firewall"),
            (
                reach("b:1", &["1.2.3.4"], &[("1.2.3.4:1", Attempt::Failed("no route".into()))]),
                "no route",
                "network between",
            ),
        ] {
            let found = reached("MQTT TCP", PEER, &reach);
            assert_eq!(found.mark, Mark::Fail(Fault::Unreachable));
            assert!(found.words.contains(words), "{}", found.words);
            let said = found.advice.unwrap();
            assert!(said.contains(advice) && said.contains("mqtt.url"), "{said}");
        }
    }
}
