//! Room `host` (edge): what the machine lets one process have.

use std::net::{IpAddr, ToSocketAddrs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::cgroup::CgroupReader;
use super::tree::Tree;
use crate::clock::Instant;
use crate::preflight::Limits;

/// What the kernel counts descriptors with when there is no limit.
const UNLIMITED: u64 = u64::MAX;

/// Reads the limits of this process.
#[must_use]
pub fn limits() -> Limits {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    Limits {
        descriptors: current.unwrap_or(UNLIMITED),
        descriptors_max: maximum.unwrap_or(UNLIMITED),
        ..below(&Tree::new("/"))
    }
}

fn below(tree: &Tree) -> Limits {
    let net = "/proc/sys/net/ipv4";
    let ports = tree.text(format!("{net}/ip_local_port_range"));
    let ports = ports.and_then(|text| {
        let mut ends = text.split_ascii_whitespace().map(str::parse);
        Some((ends.next()?.ok()?, ends.next()?.ok()?)).filter(|(first, last)| first <= last)
    });
    let reserved = tree.text(format!("{net}/ip_local_reserved_ports")).unwrap_or_default();
    let machine = tree.text("/proc/meminfo").and_then(|text| keyed_kib(&text, "MemAvailable:"));
    let cgroup = CgroupReader::locate(tree).read(tree, Instant::ZERO);
    let left = cgroup
        .and_then(|group| Some(group.memory_limit_bytes?.saturating_sub(group.memory_used_bytes?)));
    Limits {
        ports,
        ports_reserved: ports.map_or(0, |range| within(&reserved, range)),
        memory_available_bytes: [machine, left].into_iter().flatten().min(),
        ..Limits::default()
    }
}

/// Bytes behind a key of `/proc/meminfo`, which counts in KiB.
fn keyed_kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    let number = line.get(key.len()..)?.trim().strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// How many ports of a list such as `8080,9148-9150` are in a range.
fn within(list: &str, (first, last): (u16, u16)) -> u32 {
    let span = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        let (from, to) = (from.max(first), to.min(last));
        (from <= to).then(|| u32::from(to - from) + 1)
    };
    list.trim().split(',').filter_map(span).sum()
}

/// Lets this process open so many file descriptors, and as many again in reserve, as far as its hard limit
/// goes; where it may do so already nothing is changed.
///
/// # Errors
///
/// When the kernel refuses.
pub fn raise_descriptors(needed: u64) -> std::io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let wanted = needed.saturating_mul(2).min(maximum.unwrap_or(UNLIMITED));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?)
}

/// Whether a host is reached without leaving this one, by IPv4: connections to it may come from any address
/// of 127.0.0.0/8. A name is looked up, which may take some seconds; one that is not known is another's.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let is_within = |address: IpAddr| address.is_ipv4() && address.is_loopback();
    match host.parse() {
        Ok(address) => is_within(address),
        // The port is of no meaning here.
        Err(_) => {
            (host, 0).to_socket_addrs().is_ok_and(|mut found| found.any(|it| is_within(it.ip())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::new(root.path());
        assert_eq!(below(&tree), Limits::default());
        let net = tree.at("/proc/sys/net/ipv4");
        fs::create_dir_all(&net).unwrap();
        fs::write(net.join("ip_local_port_range"), "32768\t60999\n").unwrap();
        fs::write(net.join("ip_local_reserved_ports"), "22,32700-32769,60000\n").unwrap();
        let meminfo = "MemTotal:       32 kB\nMemAvailable:   16 kB\nMemFree: 1 kB\n";
        fs::write(tree.at("/proc/meminfo"), meminfo).unwrap();
        let found = below(&tree);
        assert_eq!(found.ports, Some((32_768, 60_999)));
        assert_eq!(found.ports_reserved, 2 + 1);
        assert_eq!(found.memory_available_bytes, Some(16 << 10));
    }

    #[test]
    fn the_soft_limit_is_raised_and_never_lowered() {
        let before = limits();
        raise_descriptors(1).unwrap();
        assert_eq!(limits().descriptors, before.descriptors);
        raise_descriptors(before.descriptors + 1).unwrap();
        let expected = (2 * (before.descriptors + 1)).min(before.descriptors_max);
        assert_eq!(limits().descriptors, expected);
    }

    #[test]
    fn what_does_not_leave_this_host_is_known_by_name_and_address() {
        for within in ["127.0.0.1", "127.8.9.10", "localhost"] {
            assert!(is_loopback(within), "{within}");
        }
        // One for documentation (RFC 5737), and one that is alone in its kind.
        for other in ["192.0.2.1", "::1"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read_and_counts_no_more_than_there_are(
            list in "([0-9]{1,6}(-[0-9]{1,6})?,?|.){0,4}", first: u16, length: u16,
        ) {
            let last = first.saturating_add(length);
            // Overlapping entries, which the kernel never writes, count twice.
            let entries = u32::try_from(list.split(',').count()).unwrap();
            let ports = u32::from(last - first) + 1;
            prop_assert!(within(&list, (first, last)) <= ports * entries);
        }
    }
}
