//! Room `telemetry`: the other end of `/readyz`, for container health checks.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::{Clock, Instant};

/// More than any answer to a health check has.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// Asks a running probe for `path` and waits at most `timeout` for the whole answer. An address that
/// a server listens on everywhere (`0.0.0.0`, `::`) is asked on the loopback interface.
///
/// # Errors
///
/// When nobody answers there in time, or what answers does not speak HTTP.
pub fn get(addr: SocketAddr, path: &str, timeout: Duration, clock: Clock) -> io::Result<Answer> {
    let addr = reachable(addr);
    let deadline = clock.now() + timeout;
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_write_timeout(Some(timeout))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let answer = read_answer(&mut stream, deadline, clock)?;
        parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not HTTP"))
    };
    ask().map_err(|error: io::Error| {
        // A read that ran into its time limit says "would block" where Linux is.
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer in {timeout:?}")
            }
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("http://{addr}{path}: {reason}; is landfall running?"))
    })
}

fn read_answer(stream: &mut TcpStream, deadline: Instant, clock: Clock) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < ANSWER_BYTES_MAX {
        let left = deadline.saturating_since(clock.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\"ready\":false}");
        assert_eq!(answer, Some(Answer { status: 503, body: "{\"ready\":false}".into() }));
        for garbage in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK"]
        {
            assert_eq!(parse(garbage), None);
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_here() {
        let asked = |addr: &str| reachable(addr.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(asked("[::]:9464"), "[::1]:9464");
        assert_eq!(asked("127.0.0.5:1"), "127.0.0.5:1");
    }
}
