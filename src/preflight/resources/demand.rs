//! Room `preflight`: what a run asks of the machine, and what that has.

use crate::report::bytes;

/// Resident memory of an MQTT client that waits for its next message, in bytes: its socket, its session
/// and what the books know of it, beyond what the process takes without clients.
pub const CLIENT_BYTES: u64 = 5 << 10;
/// What encryption adds to it: the state of OpenSSL, 38 KiB where it was measured.
const TLS_BYTES: u64 = 48 << 10;
/// Memory of a slot without an outcome: its entry, and as much again where the list has just grown.
const SLOT_BYTES: u64 = 2 * 32;
/// Memory of a message that waits for its turn, or for the broker's answers: its number, since when, its
/// packet id, and as much again where a list has just grown.
const MESSAGE_BYTES: u64 = 2 * 42;
/// Memory of a Kafka client: what it may have fetched ahead.
const KAFKA_BYTES: u64 = 16 << 20;
/// Memory of a process without clients, with full inboxes.
const PROCESS_BYTES: u64 = 64 << 20;
/// Descriptors of a Kafka client: four of its own pipes, and its connections to a cluster of a dozen brokers.
const KAFKA_DESCRIPTORS: u64 = 16;
/// Descriptors of everything else: connections and streams of HTTP, at most 80, and 48 for threads, files,
/// the Collector and the load.
const PROCESS_DESCRIPTORS: u64 = 128;

/// MQTT clients that connect to one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The broker, `host:port`.
    pub place: String,
    /// How many connect to it.
    pub clients: u64,
    /// How many connections to it the kernel may still know that were closed: their ports are not free yet.
    pub closed: u64,
    /// Whether it is reached without leaving this host: clients may come from many addresses then
    /// (127.0.0.0/8).
    pub is_loopback: bool,
}

impl Destination {
    /// How many ports the connections to it take.
    #[must_use]
    pub fn ports(&self) -> u64 {
        self.clients.saturating_add(self.closed)
    }
}

/// What a run asks of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// All brokers.
    pub destinations: Vec<Destination>,
    /// How many of their clients have encrypted connections.
    pub encrypted: u64,
    /// How many clients of Kafka there are.
    pub kafka_clients: u64,
    /// How many slots may wait for their outcome at once.
    pub slots: u64,
    /// How many messages may wait for their turn to be sent, or for the broker's answers, at once.
    pub under_way: u64,
    /// How many bytes of messages may be written that their sockets do not take.
    pub written_bytes: u64,
}

/// What one process may have. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// File descriptors that it may open now (soft limit).
    pub descriptors: u64,
    /// File descriptors that it may allow itself (hard limit).
    pub descriptors_max: u64,
    /// First and last port that connections without one are given.
    pub ports: Option<(u16, u16)>,
    /// How many of them are reserved for others.
    pub ports_reserved: u32,
    /// Memory that may still be taken, in bytes: the machine's, or what is left of the control group's
    /// limit.
    pub memory_available_bytes: Option<u64>,
}

impl Limits {
    /// Ports that clients without one are given, for each source address and destination.
    #[must_use]
    pub fn ephemeral_ports(&self) -> Option<u64> {
        let (first, last) = self.ports?;
        let all = u64::from(last.saturating_sub(first)) + 1;
        Some(all.saturating_sub(u64::from(self.ports_reserved)))
    }
}

impl Demand {
    /// All MQTT clients.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.destinations.iter().map(|of| of.clients).fold(0, u64::saturating_add)
    }

    /// File descriptors for everything.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.clients().saturating_add(self.other_descriptors())
    }

    /// File descriptors beside those of the clients.
    pub(super) fn other_descriptors(&self) -> u64 {
        let of_kafka = self.kafka_clients.saturating_mul(KAFKA_DESCRIPTORS);
        PROCESS_DESCRIPTORS.saturating_add(of_kafka)
    }

    /// Memory for everything, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let parts = self.each().map(|(_, number, each)| number.saturating_mul(each));
        parts
            .into_iter()
            .fold(PROCESS_BYTES.saturating_add(self.written_bytes), u64::saturating_add)
    }

    /// What that is the sum of, in words.
    pub(super) fn memory_parts(&self) -> String {
        let parts = self.each().into_iter().filter(|&(_, number, _)| number > 0);
        let parts = parts.map(|(what, number, each)| format!("{number} {what} x {}", bytes(each)));
        let written = Some(self.written_bytes).filter(|&written| written > 0);
        let written = written.map(|written| format!("{} written for full sockets", bytes(written)));
        let otherwise = format!("{} otherwise", bytes(PROCESS_BYTES));
        parts.chain(written).chain([otherwise]).collect::<Vec<_>>().join(" + ")
    }

    /// Of what there are many, how many, and how much memory each of them takes, in bytes.
    fn each(&self) -> [(&'static str, u64, u64); 5] {
        [
            ("clients", self.clients(), CLIENT_BYTES),
            ("TLS connections", self.encrypted, TLS_BYTES),
            ("slots", self.slots, SLOT_BYTES),
            ("messages under way", self.under_way, MESSAGE_BYTES),
            ("Kafka clients", self.kafka_clients, KAFKA_BYTES),
        ]
    }
}
