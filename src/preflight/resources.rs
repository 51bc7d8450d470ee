//! Room `preflight`: whether the machine has what a run needs, with the arithmetic in words.
//!
//! # Design
//!
//! A run that comes to a limit after half of its clients have connected has shown nothing but the limit.
//! So what a run needs is counted before anything starts, from above: what is refused here would not
//! work, and what passes is not the first to break.

mod demand;

use std::path::Path;

use super::finding::{Fault, Finding};
use super::wording::listed;
use crate::report::bytes;

pub use demand::{CLIENT_BYTES, Demand, Destination, Limits};

/// The share of the ephemeral ports that is taken, in tenths: others need some, and one that was closed is
/// not free at once.
const PORT_TENTHS: u64 = 9;

/// From how many addresses connections must come that take so many ports; nothing where there are no ports.
#[must_use]
pub fn source_addresses(needed: u64, ephemeral_ports: u64) -> Option<u64> {
    let usable = ephemeral_ports.saturating_mul(PORT_TENTHS) / 10;
    (usable > 0).then(|| needed.div_ceil(usable))
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
        Finding::fail(Fault::Broken, "ports", each(ports, of), advice)
    });
    let failures: Vec<Finding> = failures.collect();
    if !failures.is_empty() {
        return failures;
    }
    let most = fine.into_iter().max_by_key(|of| of.ports());
    most.map(|of| most_clients(of, ports)).into_iter().collect()
}

fn most_clients(of: &Destination, ports: u64) -> Finding {
    let words = each(ports, of);
    match source_addresses(of.ports(), ports) {
        Some(0 | 1) => Finding::ok("ports", words),
        Some(addresses) if of.is_loopback => Finding::ok(
            "ports",
            format!("{words}: from at least {addresses} addresses of 127.0.0.0/8"),
        ),
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

fn each(ports: u64, of: &Destination) -> String {
    let closed = match of.closed {
        0 => String::new(),
        closed => format!(" ({closed} of them by connections that were closed within a minute)"),
    };
    let all = format!("{ports} ephemeral ports per source address and destination");
    format!("{all}, {} needed for {}{closed}", of.ports(), of.place)
}

fn memory(demand: &Demand, available: u64) -> Finding {
    let needed = demand.memory_bytes();
    let (sum, have) = (bytes(needed), bytes(available));
    let words = format!("{} = {sum}, {have} available", demand.memory_parts());
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
        let destinations = vec![Destination { place, clients, closed: 0, is_loopback }];
        Demand { destinations, kafka_clients: 1, slots: 3_000, ..Demand::default() }
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
        assert!(
            words.ends_with("100000 needed for b:1883: from at least 4 addresses of 127.0.0.0/8")
        );
        assert_eq!(of_here, Mark::Ok);
        assert_eq!(mark(25_408, false).0, Mark::Ok);
        assert_eq!(mark(25_409, false).0, Mark::Warn);
        assert_eq!(mark(28_233, false).0, Mark::Fail(Fault::Broken));
        assert_eq!(source_addresses(1, 1), None, "a tenth is left to others");
    }

    #[test]
    fn messages_that_wait_and_ports_that_are_not_free_yet_are_counted() {
        let mut needs = demand(20_000, false);
        (needs.under_way, needs.written_bytes) = (500_000, 2_000_000_000);
        needs.destinations[0].closed = 9_000;
        let found = resources(&needs, &Limits { descriptors_max: u64::MAX, ..limits() });
        let words: Vec<String> =
            found.iter().map(|it| format!("{:?} {}", it.mark, it.words)).collect();
        assert_eq!(
            words[1..],
            [
                "Warn 28232 ephemeral ports per source address and destination, 29000 needed for \
                 b:1883 (9000 of them by connections that were closed within a minute)",
                "Ok 20000 clients x 5.12 kB + 3000 slots x 64 B + 500000 messages under way x 84 B + 1 \
                 Kafka clients x 16.8 MB + 2.00 GB written for full sockets + 67.1 MB otherwise = 2.23 GB, \
                 22.0 GB available",
            ]
        );
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
