//! Room `wire`: from a broker's name to a socket, without waiting.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::SockRef;

use super::Bell;
use crate::shutdown::Tasks;

/// How much a socket takes that the other side has no room for. By itself the system takes megabytes for
/// each, a second of messages and more: they would count as sent, and nobody would see that they wait.
const UNSENT_BYTES: u32 = 64 * 1_024;

/// Whose broker it is, and where it may be, or why nobody knows.
pub(super) type Answer = (usize, Result<Vec<SocketAddr>, String>);

/// Looks up names on a thread of its own, since the system can only be asked by waiting.
#[derive(Debug)]
pub(super) struct Resolver {
    questions: Sender<(usize, String, u16)>,
    answers: Receiver<Answer>,
}

impl Resolver {
    /// Asks with `look_up`, which may take its time, and rings at each answer.
    pub(super) fn new(
        bell: Bell,
        look_up: impl Fn(&str, u16) -> Result<Vec<SocketAddr>, String> + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = channel::<(usize, String, u16)>();
        let (tell, answers) = channel();
        // A group that nobody waits for: a name server that is silent must not delay the end.
        Tasks::new().thread("resolve", move || {
            while let Ok(first) = asked.recv() {
                // Whoever asks for the same name meanwhile is given the same answer: a name server
                // that is slow delays others once for each name, not for each client.
                let mut waiting = BTreeMap::<_, Vec<usize>>::new();
                for (client, host, port) in std::iter::once(first).chain(asked.try_iter()) {
                    waiting.entry((host, port)).or_default().push(client);
                }
                for ((host, port), clients) in waiting {
                    let found = look_up(&host, port);
                    // Nobody hears an answer after the end, nor asks again.
                    let _ =
                        clients.iter().try_for_each(|&client| tell.send((client, found.clone())));
                    bell.ring();
                }
            }
        })?;
        Ok(Self { questions, answers })
    }

    /// Where a client's broker is, if its name says so itself; else the answer comes later.
    pub(super) fn ask(&self, client: usize, host: &str, port: u16) -> Option<SocketAddr> {
        let Ok(address) = host.parse::<IpAddr>() else {
            // The thread lives as long as this side of its channels.
            let _ = self.questions.send((client, host.to_owned(), port));
            return None;
        };
        Some(SocketAddr::new(address, port))
    }

    /// The next answer that has come.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

/// What the system says where a name is.
pub(super) fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.collect())
}

/// Addresses of the loopback range to connect from: 127.0.0.1 to .250.
const SOURCES: u32 = 250;
/// An address for so many clients of a thread. The kernel tries one port after the other, and once half of
/// those of an address are taken, 14,000 as a rule, it has to try all of that half first: a millisecond of
/// processor time for each connection, which is most of what thousands of them cost.
const OF_ONE_SOURCE: usize = 4_096;

/// Where connections come from. Within a machine there are as many addresses as one likes, and each has
/// its ports.
#[derive(Debug)]
pub(super) struct Sources {
    /// How many addresses take turns.
    addresses: u32,
    /// Whose turn it is.
    turn: u32,
    /// How many addresses had no port left when they were asked last.
    used_up: u32,
}

impl Sources {
    /// For so many clients.
    pub(super) fn new(clients: usize) -> Self {
        let addresses = u32::try_from(clients.div_ceil(OF_ONE_SOURCE)).unwrap_or(SOURCES);
        Self { addresses: addresses.clamp(1, SOURCES), turn: 0, used_up: 0 }
    }

    /// A socket that is being connected, sends each packet at once and never blocks.
    pub(super) fn connecting(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        if !address.is_ipv4() || !address.ip().is_loopback() {
            return connecting(None, address);
        }
        let turn = self.turn;
        self.turn = (turn + 1) % self.addresses;
        for _ in 0..SOURCES {
            match connecting(source((turn + self.used_up) % SOURCES), address) {
                Err(error) if is_for_want_of_ports(&error) => {
                    self.used_up = (self.used_up + 1) % SOURCES;
                }
                connecting => return connecting,
            }
        }
        Err(ErrorKind::AddrNotAvailable.into())
    }
}

/// An address of the loopback range by its number. The first is what the system takes unasked.
fn source(number: u32) -> Option<SocketAddr> {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number);
    (number > 0).then_some(SocketAddr::from((address, 0)))
}

fn is_for_want_of_ports(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse)
}

fn connecting(source: Option<SocketAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    if let Some(source) = source {
        rustix::net::bind(&socket, &source)?;
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_the_other_side_has_no_room_for_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = Sources::new(1).connecting(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        let mut taken = 0;
        let refused = loop {
            match stream.write(&[0; 16 * 1_024]) {
                Ok(count) => taken += count,
                Err(error) => break error.kind(),
            }
        };
        // Some hundred KiB lie at the other side, which reads nothing.
        assert_eq!(refused, ErrorKind::WouldBlock);
        assert!(taken < 1_024 * 1_024, "{taken} bytes");
    }

    #[test]
    fn many_clients_take_turns_over_addresses_and_few_come_from_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for (clients, expected) in [
            (1, ["127.0.0.1"; 4]),
            (OF_ONE_SOURCE, ["127.0.0.1"; 4]),
            (2 * OF_ONE_SOURCE + 1, ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]),
        ] {
            let mut sources = Sources::new(clients);
            let from = expected.map(|_| {
                let stream = sources.connecting(address).unwrap();
                stream.local_addr().unwrap().ip().to_string()
            });
            assert_eq!(from, expected);
        }
    }
}
