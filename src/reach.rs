//! Room `reach` (edge): whether hosts and ports can be reached, for a check.
//!
//! # Design
//!
//! The clients of MQTT and Kafka do this by themselves, and say at best that it did not work. A check
//! does it once more, step by step: what a name means here, and what each address answers. A
//! connection is closed as soon as it stands.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::clock::Clock;
use crate::preflight::{Attempt, Reach};
use crate::shutdown::Tasks;

/// How long a name server may take.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// How long all addresses of a host together may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long each of them may take at least.
const CONNECT_MIN: Duration = Duration::from_secs(1);
/// Most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

/// A host name or address (IPv6 without brackets), and a port.
pub type Place = (String, u16);

/// Connects to each of these places, all at once. Blocks its thread, for some seconds where nobody
/// answers.
#[must_use]
pub fn reach(places: &[Place], clock: Clock) -> Vec<Reach> {
    let attempts: Vec<_> = places
        .iter()
        .map(|(host, port)| {
            let (tell, told) = channel();
            let (host, port) = (host.clone(), *port);
            // Fails only where the system has no thread to give, and then nobody tells anything.
            let started = Tasks::new().thread("reach", move || {
                let _ = tell.send(attempt(&host, port, clock));
            });
            started.map(|()| told)
        })
        .collect();
    let names = places.iter().map(|(host, port)| name(host, *port));
    let ended = attempts.into_iter().zip(names).map(|(attempt, place)| {
        let told = attempt.and_then(|told| told.recv().map_err(io::Error::other));
        told.unwrap_or_else(|error| Reach {
            place,
            addresses: Err(error.to_string()),
            attempts: Vec::new(),
        })
    });
    ended.collect()
}

/// How a place is written.
fn name(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn attempt(host: &str, port: u16, clock: Clock) -> Reach {
    let place = name(host, port);
    let found = match addresses(host, port) {
        Ok(found) => found,
        Err(why) => return Reach { place, addresses: Err(why), attempts: Vec::new() },
    };
    let addresses = found.iter().map(|address| address.ip().to_string()).collect();
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX).max(1);
    let patience = (CONNECT_MAX / count).max(CONNECT_MIN);
    let mut attempts = Vec::new();
    for address in found {
        let attempt = connect(address, patience, clock);
        let is_done = matches!(attempt, Attempt::Connected(_));
        attempts.push((address.to_string(), attempt));
        if is_done {
            break;
        }
    }
    Reach { place, addresses: Ok(addresses), attempts }
}

/// The addresses of a host, each once.
fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = channel();
    let host = host.to_owned();
    // A group that nobody waits for: the system can only be asked by waiting, and may not answer.
    let started = Tasks::new().thread("lookup", move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let _ = tell.send(found.map(Iterator::collect::<Vec<_>>).map_err(|error| words(&error)));
    });
    started.map_err(|error| words(&error))?;
    let found = told.recv_timeout(LOOKUP_MAX);
    let mut found = found.map_err(|_| {
        format!("no answer from the name server within {} s", LOOKUP_MAX.as_secs())
    })??;
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    Ok(found)
}

fn connect(address: SocketAddr, patience: Duration, clock: Clock) -> Attempt {
    let begun = clock.now();
    match TcpStream::connect_timeout(&address, patience) {
        Ok(_) => Attempt::Connected(clock.now().saturating_since(begun)),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Attempt::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Attempt::Silent(patience),
            _ => Attempt::Failed(words(&error)),
        },
    }
}

/// An error without the number that the system gives it.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.rsplit(": ").next().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn places_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        // A port that was free a moment ago.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let places = [
            ("127.0.0.1".to_owned(), open),
            ("127.0.0.1".to_owned(), closed),
            ("localhost".to_owned(), open),
            // Reserved: never a name (RFC 6761).
            ("nobody.invalid".to_owned(), 1),
        ];
        let reached = reach(&places, Clock::system());
        assert!(
            matches!(&reached[0].attempts[..], [(at, Attempt::Connected(_))] if *at == format!("127.0.0.1:{open}"))
        );
        assert_eq!(reached[1].attempts, [(format!("127.0.0.1:{closed}"), Attempt::Refused)]);
        assert!(reached[2].is_reached(), "{:?}", reached[2]);
        assert!(reached[3].addresses.is_err() && !reached[3].is_reached(), "{:?}", reached[3]);
    }

    #[test]
    fn addresses_with_colons_are_written_in_brackets() {
        assert_eq!((name("::1", 1).as_str(), name("a", 1).as_str()), ("[::1]:1", "a:1"));
    }

    #[test]
    fn errors_lose_their_numbers() {
        let error = io::Error::from_raw_os_error(113);
        assert_eq!(words(&error), "No route to host");
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(words(&error), "Name or service not known");
    }
}
