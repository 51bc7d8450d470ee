//! Room `embedded` (edge): a TCP relay in front of the broker whose connections can be severed, and
//! which knows what went over them when.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::tap::{Ear, Tap};
use crate::clock::Clock;
use crate::shutdown::Tasks;

/// What is read at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// What the relay lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Everything.
    Whole,
    /// What clients say; the answers are thrown away.
    Mute,
    /// Nothing: connections are closed, and new ones as soon as they are made.
    Cut,
}

/// A relay that runs until its tasks stop; copies act on the same one.
#[derive(Clone, Debug)]
pub struct Relay {
    address: SocketAddr,
    line: watch::Sender<Line>,
    tap: Tap,
}

impl Relay {
    /// Relays a free port of loopback to `to`.
    ///
    /// # Errors
    ///
    /// When there is no port to be had.
    pub async fn start(to: SocketAddr, clock: Clock, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let (address, line) = (listener.local_addr()?, watch::Sender::new(Line::Whole));
        let relay = Self { address, line, tap: Tap::default() };
        let (group, line, tap) = (tasks.clone(), relay.line.clone(), relay.tap.clone());
        tasks.spawn(async move {
            loop {
                let client = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = group.stopped() => return,
                };
                let Ok((client, _)) = client else { continue };
                let (stopping, line) = (group.clone(), line.subscribe());
                let ear = Ear::new(tap.clone());
                group.spawn(async move {
                    tokio::select! {
                        // Any error ends both connections, which is all that either side needs.
                        _ = pass(client, to, line, (ear, clock)) => {}
                        () = stopping.stopped() => {}
                    }
                });
            }
        });
        Ok(relay)
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What publishers and broker said to each other, also while they do.
    #[must_use]
    pub fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// What it lets through from now on.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn pass(
    mut client: TcpStream,
    to: SocketAddr,
    mut line: watch::Receiver<Line>,
    (mut ear, clock): (Ear, Clock),
) -> io::Result<()> {
    if *line.borrow_and_update() == Line::Cut {
        return Ok(());
    }
    let mut broker = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        tokio::select! {
            changed = line.changed() => {
                if changed.is_err() || *line.borrow_and_update() == Line::Cut {
                    return Ok(());
                }
            }
            read = client.read(&mut up) => match read? {
                0 => return Ok(()),
                count => {
                    let said = up.get(..count).unwrap_or_default();
                    ear.said(said, clock.now());
                    broker.write_all(said).await?;
                }
            },
            read = broker.read(&mut down) => match read? {
                0 => return Ok(()),
                count => {
                    let answer = down.get(..count).unwrap_or_default();
                    let at = (*line.borrow() != Line::Mute).then(|| clock.now());
                    ear.answered(answer, at);
                    if at.is_some() {
                        client.write_all(answer).await?;
                    }
                }
            },
        }
    }
}
