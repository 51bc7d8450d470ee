//! Room `preflight`: whether the machine has what a run needs, with the arithmetic in words.
//!
//! # Design
//!
//! A run that comes to a limit after half of its clients have connected has shown nothing but the limit.
//! So what a run needs is counted before anything starts, from above: what is refused here would not
//! work, and what passes is not the first to break.

use std::path::Path;

use super::finding::{Fault, Finding};
use super::wording::listed;
use crate::report::bytes;

/// Resident memory of an MQTT client that waits for its next message, in bytes: its socket, its session
/// and what the books know of it, beyond what the process takes without clients.
pub const CLIENT_BYTES: u64 = 5 << 10;
/// What encryption adds to it: the state of OpenSSL, 38 KiB where it was measured.
const TLS_BYTES: u64 = 48 << 10;
/// Memory of a slot without an outcome: its entry, and as much again where the list has just grown.
const SLOT_BYTES: u64 = 2 * 32;
/// Memory of a Kafka client: what it may have fetched ahead.
const KAFKA_BYTES: u64 = 16 << 20;
/// Memory of a process without clients, with full inboxes.
const PROCESS_BYTES: u64 = 64 << 20;
/// Descriptors of a Kafka client: four of its own pipes, and its connections to a cluster of a dozen brokers.
const KAFKA_DESCRIPTORS: u64 = 16;
/// Descriptors of everything else: connections and streams of HTTP, at most 80, and 48 for threads, files,
/// the Collector and the load.
const PROCESS_DESCRIPTORS: u64 = 128;
/// The share of the ephemeral ports that is taken, in tenths: others need some, and one that was closed is
/// not free at once.
const PORT_TENTHS: u64 = 9;

/// MQTT clients that connect to one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The broker, `host:port`.
    pub place: String,
    /// How many connect to it.
    pub clients: u64,
    /// Whether it is reached without leaving this host: clients may come from many addresses then
    /// (127.0.0.0/8).
    pub is_loopback: bool,
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

    fn other_descriptors(&self) -> u64 {
        let of_kafka = self.kafka_clients.saturating_mul(KAFKA_DESCRIPTORS);
        PROCESS_DESCRIPTORS.saturating_add(of_kafka)
    }

    /// Memory for everything, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let parts = [
            (self.clients(), CLIENT_BYTES),
            (self.encrypted, TLS_BYTES),
            (self.slots, SLOT_BYTES),
            (self.kafka_clients, KAFKA_BYTES),
        ];
        let parts = parts.map(|(number, each)| number.saturating_mul(each));
        parts.into_iter().fold(PROCESS_BYTES, u64::saturating_add)
    }
}

/// From how many addresses so many clients must come to have a port each; nothing where there are no
/// ports.
#[must_use]
pub fn source_addresses(clients: u64, ephemeral_ports: u64) -> Option<u64> {
    let usable = ephemeral_ports.saturating_mul(PORT_TENTHS) / 10;
    (usable > 0).then(|| clients.div_ceil(usable))
}

/// Whether a run has what it needs: file descriptors, ports and memory. A failure means that it would not
/// work.
#[must_use]
pub fn resources(demand: &Demand, limits: &Limits) -> Vec<Finding> {
    let ports = limits.ephemeral_ports();
    let ports = ports.map(|ports| self::ports(&demand.destinations, ports)).unwrap_or_default();
    let memory = limits.memory_available_bytes.map(|available| memory(demand, available));
    std::iter::once(descriptors(demand, limits)).chain(ports).chain(memory).collect()
}

/// That the program of a load generator was found there, where a run has one.
#[must_use]
pub fn program(found: Option<&Path>) -> Vec<Finding> {
    let ok = |path: &Path| Finding::ok("load", format!("{} is there", path.display()));
    found.map(ok).into_iter().collect()
}

fn descriptors(demand: &Demand, limits: &Limits) -> Finding {
    let (needed, allowed) = (demand.descriptors(), limits.descriptors_max);
    let (clients, others) = (demand.clients(), demand.other_descriptors());
    let words = format!(
        "{clients} clients + {others} others = {needed} file descriptors, {} allowed",
        if allowed == u64::MAX { "any number".to_owned() } else { allowed.to_string() }
    );
    if needed > allowed {
        let advice = format!(
            "raise the limit of open files to {needed} (ulimit -n, LimitNOFILE= of a systemd unit, \
             --ulimit nofile= of a container), or use fewer clients"
        );
        return Finding::fail(Fault::Broken, "descriptors", words, advice);
    }
    if needed > limits.descriptors {
        let raised = format!("{words}; a run raises its limit of {}", limits.descriptors);
        return Finding::ok("descriptors", raised);
    }
    Finding::ok("descriptors", words)
}

/// What fails, or else the broker that most clients connect to.
fn ports(destinations: &[Destination], ports: u64) -> Vec<Finding> {
    let (too_many, fine): (Vec<_>, Vec<_>) =
        destinations.iter().partition(|of| !of.is_loopback && of.clients > ports);
    let failures = too_many.into_iter().map(|of| {
        let advice = "use fewer clients, spread them over several addresses of the broker or several \
                      hosts, or widen the range (sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\")";
        let words = format!("{}, {} needed for {}", each(ports), of.clients, of.place);
        Finding::fail(Fault::Broken, "ports", words, advice)
    });
    let failures: Vec<Finding> = failures.collect();
    if !failures.is_empty() {
        return failures;
    }
    let most = fine.into_iter().max_by_key(|of| of.clients);
    most.map(|of| most_clients(of, ports)).into_iter().collect()
}

fn most_clients(of: &Destination, ports: u64) -> Finding {
    let words = format!("{}, {} needed for {}", each(ports), of.clients, of.place);
    match source_addresses(of.clients, ports) {
        Some(0 | 1) => Finding::ok("ports", words),
        Some(addresses) if of.is_loopback => {
            Finding::ok("ports", format!("{words}: from {addresses} addresses of 127.0.0.0/8"))
        }
        Some(_) => Finding::warn(
            "ports",
            words,
            "use fewer clients: a port that was closed is not free at once, and others need some",
        ),
        None => Finding::fail(
            Fault::Broken,
            "ports",
            words,
            "widen the range (sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\")",
        ),
    }
}

fn each(ports: u64) -> String {
    format!("{ports} ephemeral ports per source address and destination")
}

fn memory(demand: &Demand, available: u64) -> Finding {
    let parts = [
        ("clients", demand.clients(), CLIENT_BYTES),
        ("TLS connections", demand.encrypted, TLS_BYTES),
        ("slots", demand.slots, SLOT_BYTES),
        ("Kafka clients", demand.kafka_clients, KAFKA_BYTES),
    ];
    let parts = parts.into_iter().filter(|&(_, number, _)| number > 0);
    let parts = parts.map(|(what, number, each)| format!("{number} {what} x {}", bytes(each)));
    let parts: Vec<String> = parts.chain([format!("{} otherwise", bytes(PROCESS_BYTES))]).collect();
    let needed = demand.memory_bytes();
    let (sum, have) = (bytes(needed), bytes(available));
    let words = format!("{} = {sum}, {have} available", parts.join(" + "));
    if needed > available {
        let ways = ["use fewer clients", "lower a rate or a deadline", "give it more memory"];
        let advice = listed(&ways.map(str::to_owned)).replace(" and ", " or ");
        return Finding::fail(Fault::Broken, "memory", words, advice);
    }
    Finding::ok("memory", words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Mark;
    use super::*;

    fn demand(clients: u64, is_loopback: bool) -> Demand {
        let place = "b:1883".to_owned();
        let destinations = vec![Destination { place, clients, is_loopback }];
        Demand { destinations, encrypted: 0, kafka_clients: 1, slots: 3_000 }
    }

    fn limits() -> Limits {
        Limits {
            descriptors: 1_024,
            descriptors_max: 20_000,
            ports: Some((32_768, 60_999)),
            ports_reserved: 0,
            memory_available_bytes: Some(22_000_000_000),
        }
    }

    #[test]
    fn the_arithmetic_is_shown() {
        let words = |clients, limits: &Limits| -> Vec<String> {
            let found = resources(&demand(clients, false), limits);
            found.into_iter().map(|it| format!("{:?} {}: {}", it.mark, it.step, it.words)).collect()
        };
        assert_eq!(
            words(10_000, &limits()),
            [
                "Ok descriptors: 10000 clients + 144 others = 10144 file descriptors, 20000 allowed; \
                 a run raises its limit of 1024",
                "Ok ports: 28232 ephemeral ports per source address and destination, 10000 needed for \
                 b:1883",
                "Ok memory: 10000 clients x 5.12 kB + 3000 slots x 64 B + 1 Kafka clients x 16.8 MB + \
                 67.1 MB otherwise = 135 MB, 22.0 GB available",
            ]
        );
        let small = Limits {
            descriptors_max: 1_024,
            ports_reserved: 28_000,
            memory_available_bytes: Some(80_000_000),
            ..limits()
        };
        assert_eq!(
            words(1_000, &small),
            [
                "Fail(Broken) descriptors: 1000 clients + 144 others = 1144 file descriptors, 1024 \
                 allowed",
                "Fail(Broken) ports: 232 ephemeral ports per source address and destination, 1000 \
                 needed for b:1883",
                "Fail(Broken) memory: 1000 clients x 5.12 kB + 3000 slots x 64 B + 1 Kafka clients x \
                 16.8 MB + 67.1 MB otherwise = 89.2 MB, 80.0 MB available",
            ]
        );
        assert_eq!(words(1, &Limits { descriptors_max: 5, ..Limits::default() }).len(), 1);
    }

    #[test]
    fn within_this_host_clients_come_from_as_many_addresses_as_they_need() {
        let mark = |clients, is_loopback| {
            let limits = Limits { descriptors_max: u64::MAX, ..limits() };
            let found = resources(&demand(clients, is_loopback), &limits);
            let ports = found.into_iter().find(|it| it.step == "ports").unwrap();
            (ports.mark, ports.words)
        };
        let (of_here, words) = mark(100_000, true);
        assert!(words.ends_with("100000 needed for b:1883: from 4 addresses of 127.0.0.0/8"));
        assert_eq!(of_here, Mark::Ok);
        assert_eq!(mark(25_408, false).0, Mark::Ok);
        assert_eq!(mark(25_409, false).0, Mark::Warn);
        assert_eq!(mark(28_233, false).0, Mark::Fail(Fault::Broken));
        assert_eq!(source_addresses(1, 1), None, "a tenth is left to others");
    }

    proptest! {
        #[test]
        fn more_never_needs_less(
            clients: u64, more in 1_u64..1 << 40, is_loopback: bool, slots: u64, kafka: u64,
            soft: u64, hard: u64, range in any::<Option<(u16, u16)>>(), reserved: u32,
            available in any::<Option<u64>>(),
        ) {
            let needs = |clients: u64| {
                let of = demand(clients, is_loopback);
                Demand { slots, kafka_clients: kafka, ..of }
            };
            let (less, more) = (needs(clients), needs(clients.saturating_add(more)));
            prop_assert!(less.descriptors() <= more.descriptors());
            prop_assert!(less.memory_bytes() <= more.memory_bytes());
            let limits = Limits {
                descriptors: soft,
                descriptors_max: hard,
                ports: range,
                ports_reserved: reserved,
                memory_available_bytes: available,
            };
            let failures = |of: &Demand| {
                let found = resources(of, &limits).into_iter();
                let failed = found.filter(|it| matches!(it.mark, Mark::Fail(_)));
                failed.map(|it| it.step).collect::<Vec<_>>()
            };
            let (fewer, all) = (failures(&less), failures(&more));
            prop_assert!(fewer.iter().all(|step| all.contains(step)), "{fewer:?} {all:?}");
        }
    }
}
