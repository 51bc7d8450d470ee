//! Room `embedded`: an MQTT broker that keeps nothing: it takes every message, answers as its QoS wants,
//! and forgets it.
//!
//! # Design
//!
//! It stands in the place of a broker where the sending side itself is measured, so it must cost as
//! little as can be: few threads with sockets that never block, 64 KiB read at a time, payloads stepped
//! over and not looked at, and the answers to all that was read written at once. A peer that does not take
//! its answers is not read from, which bounds what is kept for it.

mod serving;
mod session;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::shutdown::Tasks;
use serving::Serving;

/// What the threads of the sink are called.
const THREAD: &str = "null-sink";

/// A broker that keeps nothing, on a port of the loopback address.
#[derive(Debug)]
pub struct NullSink {
    address: SocketAddr,
    tallies: Vec<Arc<Tally>>,
}

/// What the sink has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Messages whose last byte has come, copies that were sent again among them.
    pub messages: u64,
    /// Bytes of all packets.
    pub bytes: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were closed because what came was no MQTT, or more than is kept of a packet.
    pub refused: u64,
}

/// What one thread has done.
#[derive(Debug, Default)]
struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
    cpu_nanos: AtomicU64,
}

impl NullSink {
    /// Serves MQTT 3.1.1 and 5 on so many threads until `tasks` is told to stop.
    ///
    /// # Errors
    ///
    /// When the system has no port, descriptor or thread to give.
    pub fn start(threads: usize, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, listener) = (listener.local_addr()?, Arc::new(listener));
        let tallies: Vec<Arc<Tally>> =
            std::iter::repeat_with(Arc::default).take(threads.max(1)).collect();
        for tally in &tallies {
            let mut serving = Serving::new(Arc::clone(&listener), Arc::clone(tally))?;
            let stop = tasks.clone();
            tasks.thread(THREAD, move || {
                if let Err(error) = serving.run(&stop) {
                    tracing::error!("the null sink takes nothing any more: {error}");
                }
            })?;
        }
        Ok(Self { address, tallies })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has taken so far.
    #[must_use]
    pub fn taken(&self) -> Taken {
        let sum = |of: fn(&Tally) -> &AtomicU64| {
            self.tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum()
        };
        Taken {
            messages: sum(|tally| &tally.messages),
            bytes: sum(|tally| &tally.bytes),
            connections: sum(|tally| &tally.connections),
            refused: sum(|tally| &tally.refused),
        }
    }

    /// How long its threads had a processor so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let nanos = self.tallies.iter().map(|tally| tally.cpu_nanos.load(Ordering::Relaxed));
        Duration::from_nanos(nanos.sum())
    }
}
