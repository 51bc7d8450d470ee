//! Room `config` (wiring): the grammars of single values, without knowledge of keys or files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::resolved::{Rate, TopicSelector, TopicTemplate, Url};
use super::wording::quote;
use crate::host::ProcessSelector;

const MILLISECOND: u128 = 1_000_000;
const SECOND: u128 = 1_000 * MILLISECOND;

/// Units of duration in nanoseconds, longest first.
const UNITS: [(&str, u128); 5] = [
    ("d", 86_400 * SECOND),
    ("h", 3_600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", MILLISECOND),
];

/// Fewest and most messages a second of one path.
const RATE: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;

/// A number without sign, and the text behind it. At most nine digits before and after the point.
fn number_and_rest(text: &str) -> Option<(&str, &str, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("0", rest),
    };
    let sane = |digits: &str| (1..=9).contains(&digits.len());
    (sane(whole) && sane(fraction)).then_some((whole, fraction, rest))
}

/// `250ms`, `10s`, `1.5s`, `5m`, `8h` or `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let shape = number_and_rest(text).and_then(|(whole, fraction, unit)| {
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let (whole, fraction): (u128, u128) = (whole.parse().ok()?, fraction.parse().ok()?);
        let nanoseconds = whole * unit + fraction * unit / scale;
        let seconds = u64::try_from(nanoseconds / SECOND).ok()?;
        Some(Duration::new(seconds, u32::try_from(nanoseconds % SECOND).ok()?))
    });
    shape.ok_or_else(|| {
        let quoted = quote(text);
        format!("{quoted} is not a duration; write a number and a unit: 250ms, 10s, 5m, 8h or 1d")
    })
}

/// A duration as [`duration`] reads it.
pub(super) fn spell(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".into();
    }
    match UNITS.iter().find(|(_, unit)| nanoseconds.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", nanoseconds / unit),
        None => format!("{}s", duration.as_secs_f64()),
    }
}

/// A share of 1 from `99.9%`.
pub(super) fn percent(text: &str) -> Option<f64> {
    let (whole, fraction, unit) = number_and_rest(text)?;
    // Shifted in its digits: divided by 100, 99.9 is a little more than 0.999.
    let share = format!("{whole}.{fraction}e-2").parse().ok()?;
    (unit == "%").then_some(share)
}

/// Decimal digits and nothing else.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `512B`, `64KiB` or `1MiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    (1..=9).contains(&number.len()).then(|| number.parse::<u64>().ok())??.checked_mul(unit)
}

/// `max`, or a rate as [`steady_rate`] reads it.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" { Ok(Rate::Max) } else { steady_rate(text).map(Rate::PerSecond) }
}

/// The same, or nothing at all: `0/s`.
pub(super) fn low_rate(text: &str) -> Result<f64, String> {
    if matches!(text, "0/s" | "0/min") { Ok(0.0) } else { steady_rate(text) }
}

/// Messages a second from `20/s`, `0.5/s` or `30/min`.
pub(super) fn steady_rate(text: &str) -> Result<f64, String> {
    let shape = number_and_rest(text).and_then(|(whole, fraction, unit)| {
        let number: f64 = format!("{whole}.{fraction}").parse().ok()?;
        match unit {
            "/s" => Some(number),
            "/min" => Some(number / 60.0),
            _ => None,
        }
    });
    let quoted = quote(text);
    match shape {
        Some(rate) if RATE.contains(&rate) => Ok(rate),
        Some(_) => Err(format!("{quoted} is out of range (0.001/s to 10000000/s)")),
        None => Err(format!("{quoted} is not a rate; write for example 20/s, 0.5/s or 30/min")),
    }
}

/// A name of at most 64 letters, digits, `.`, `_` and `-`.
pub(super) fn name(text: &str) -> Result<String, String> {
    if is_word(text, 64) {
        return Ok(text.into());
    }
    let quoted = quote(text);
    Err(format!("{quoted} is not a name (1 to 64 letters, digits, dots, underscores or hyphens)"))
}

fn is_word(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A host and a port: `broker:1883`, `10.0.0.7`, `[::1]:9092`.
fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, rest) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) => (host, rest),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let bracketed = text.starts_with('[');
    if bracketed && host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("{} is not an IPv6 address", quote(host)));
    }
    if !bracketed && !is_word(host, 253) {
        return Err(format!("{} is not a host name or address", quote(host)));
    }
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => default_port,
        None => return Err(format!("{} stands behind the host", quote(rest))),
        Some(port) => match whole(port).and_then(|port| u16::try_from(port).ok()) {
            None | Some(0) => return Err(format!("{} is not a port (1 to 65535)", quote(port))),
            Some(port) => port,
        },
    };
    Ok((host.into(), port))
}

/// A host name without a port.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    if is_word(text, 253) {
        Ok(text.into())
    } else {
        Err(format!("{} is not a host name", quote(text)))
    }
}

/// `mqtt://host:port` or `mqtts://host:port`; the port may be left out.
pub(super) fn url(text: &str) -> Result<Url, String> {
    if text.contains('@') {
        return Err("has user information in it; use username and password_file".into());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("{} is not a URL such as mqtt://broker:1883", quote(text)));
    };
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        "ws" | "wss" => {
            return Err(format!("{scheme}:// is known but not built yet; use mqtt:// or mqtts://"));
        }
        _ => {
            let quoted = quote(scheme);
            return Err(format!("{quoted} is not a scheme of MQTT; use mqtt:// or mqtts://"));
        }
    };
    if let Some(end) = rest.find(['/', '?', '#']) {
        return Err(format!("{} stands behind the host and port; remove it", quote(&rest[end..])));
    }
    let (host, port) = host_and_port(rest, if tls { 8883 } else { 1883 })?;
    Ok(Url { host, port, tls })
}

/// `http://host:port` or `https://host:port`, perhaps with a path.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    if text.contains('@') {
        // What stands before it may be a password.
        return Err("has user information in it; use OTEL_EXPORTER_OTLP_HEADERS".into());
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else {
        // What stands in the place of a URL may be anything.
        return Err("is not a URL such as http://localhost:4318".into());
    };
    if rest.contains(|c: char| c.is_whitespace() || c.is_control() || "?#".contains(c)) {
        // Vendors put keys there.
        return Err("has something behind its path; use OTEL_EXPORTER_OTLP_HEADERS".into());
    }
    host_and_port(rest.split('/').next().unwrap_or_default(), 4318)?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// One broker or several with commas between them; each with its port.
pub(super) fn brokers(text: &str) -> Result<Vec<String>, String> {
    text.split(',')
        .map(|broker| {
            if broker.contains('@') {
                // What stands before it may be a password.
                return Err("has an @ in it; give sasl.username and the like in properties".into());
            }
            if broker.contains("://") {
                let what = "has a protocol; give host:port, and security.protocol in properties";
                return Err(format!("{} {what}", quote(broker.trim())));
            }
            let (host, port) = host_and_port(broker.trim(), 9092)?;
            Ok(if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            })
        })
        .collect()
}

/// The name of a Kafka topic, or a pattern that begins with `^`.
pub(super) fn kafka_topic(text: &str) -> Result<TopicSelector, String> {
    if text.starts_with('^') {
        if text.len() < 2 || text.len() > 1024 || text.chars().any(char::is_control) {
            return Err(format!("{} is not a pattern (2 to 1024 characters)", quote(text)));
        }
        if Regex::new(text).is_err() {
            return Err(format!("{} is not a regular expression", quote(text)));
        }
        return Ok(TopicSelector::Pattern(text.into()));
    }
    if !is_word(text, 249) || matches!(text, "." | "..") {
        let rule = "1 to 249 letters, digits, dots, underscores or hyphens, or ^ and a pattern";
        return Err(format!("{} is not a Kafka topic ({rule})", quote(text)));
    }
    Ok(TopicSelector::Name(text.into()))
}

/// The name of a Kafka topic, and no pattern.
pub(super) fn control_topic(text: &str) -> Result<String, String> {
    match kafka_topic(text)? {
        TopicSelector::Name(name) => Ok(name),
        TopicSelector::Pattern(_) => {
            Err(format!("{} is a pattern; give the name of one topic", quote(text)))
        }
    }
}

/// An MQTT topic in which `{probe}`, `{path}` and `{client}` may stand.
pub(super) fn topic(text: &str) -> Result<TopicTemplate, String> {
    if text.is_empty() {
        return Err("is empty; give an MQTT topic".into());
    }
    if text.len() > 65_535 {
        return Err(format!("has {} bytes; at most 65535 are allowed", text.len()));
    }
    if text.starts_with('$') {
        return Err(format!("{} begins with $, which brokers keep for themselves", quote(text)));
    }
    if let Some(wildcard) = text.chars().find(|c| matches!(c, '+' | '#')) {
        let what = "a wildcard; it can't be published to";
        return Err(format!("{} holds {wildcard}, {what}", quote(text)));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{} holds a control character", quote(text)));
    }
    let mut rest = text;
    while let Some(start) = rest.find(['{', '}']) {
        rest = &rest[start..];
        let end = rest.find('}').map_or(rest.len(), |end| end + 1);
        if !matches!(&rest[..end], "{probe}" | "{path}" | "{client}") {
            let found = quote(&rest[..end]);
            return Err(format!("{found} is unknown; use {{probe}}, {{path}} or {{client}}"));
        }
        rest = &rest[end..];
    }
    Ok(TopicTemplate::new(text))
}

/// An MQTT user name.
pub(super) fn username(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 65_535 || text.chars().any(char::is_control) {
        let rule = "1 to 65535 bytes without control characters";
        return Err(format!("{} is not a user name ({rule})", quote(text)));
    }
    Ok(text.into())
}

/// The path of a file.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.len() > 4096 || text.chars().any(char::is_control) {
        return Err(format!("{} is not the path of a file", quote(text)));
    }
    Ok(text.into())
}

/// An address and port to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let quoted = quote(text);
        format!("{quoted} is not an address and port such as 127.0.0.1:9464 or [::]:9464")
    })
}

/// `name`, `pidfile:/path` or `pid:123`.
pub(super) fn process(text: &str) -> Result<ProcessSelector, String> {
    if let Some(path) = text.strip_prefix("pidfile:") {
        if !path.starts_with('/') {
            return Err(format!("{} is not an absolute path", quote(path)));
        }
        return file(path).map(ProcessSelector::PidFile);
    }
    if let Some(pid) = text.strip_prefix("pid:") {
        let number = whole(pid).and_then(|pid| u32::try_from(pid).ok());
        return match number {
            // 2^22 is the most that Linux gives out (PID_MAX_LIMIT).
            Some(pid @ 1..=4_194_304) => Ok(ProcessSelector::Pid(pid)),
            _ => Err(format!("{} is not a process id (1 to 4194304)", quote(pid))),
        };
    }
    if !(1..=255).contains(&text.len()) || text.contains('/') || text.chars().any(char::is_control)
    {
        let rule = "1 to 255 bytes without a slash, or pidfile:/path, or pid:123";
        return Err(format!("{} is not the name of a process ({rule})", quote(text)));
    }
    Ok(ProcessSelector::Name(text.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_exact() {
        let read = |text| duration(text).unwrap().as_nanos();
        assert_eq!(read("250ms"), 250_000_000);
        assert_eq!(read("1.5s"), 1_500_000_000);
        assert_eq!(read("0.000000001s"), 1);
        assert_eq!(read("0.1s"), 100_000_000);
        assert_eq!(read("8h"), 28_800_000_000_000);
        assert_eq!(read("999999999d") / 1_000_000_000, 86_399_999_913_600);
    }

    #[test]
    fn rates_are_per_second() {
        assert_eq!(steady_rate("30/min"), Ok(0.5));
        assert_eq!(steady_rate("0.001/s"), Ok(0.001));
        assert_eq!(rate("10000000/s"), Ok(Rate::PerSecond(10_000_000.0)));
        assert_eq!(rate("max"), Ok(Rate::Max));
        assert!(steady_rate("max").is_err() && steady_rate("0/s").is_err());
        assert_eq!(low_rate("0/s"), Ok(0.0));
    }

    #[test]
    fn percentages_are_shares() {
        assert_eq!([percent("99.9%"), percent("100%")], [Some(0.999), Some(1.0)]);
        assert_eq!([percent("99.9"), percent("99.9 %"), percent("%")], [None; 3]);
    }

    #[test]
    fn sizes_count_in_powers_of_two() {
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("16B"), Some(16));
        assert_eq!(bytes("1MiB"), Some(1_048_576));
        for wrong in ["64", "64kb", "KiB", "-1B", "1234567890B"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hosts_keep_their_kind() {
        let at = |host: &str, port| Ok(Url { host: host.into(), port, tls: false });
        assert_eq!(url("mqtt://[fe80::1]:1884"), at("fe80::1", 1884));
        assert_eq!(url("mqtt://10.0.0.1"), at("10.0.0.1", 1883));
        let encrypted = Url { host: "broker".into(), port: 8883, tls: true };
        assert_eq!(url("mqtts://broker"), Ok(encrypted));
        let list = ["a:9092", "[::1]:9093", "b:1"].map(String::from).to_vec();
        assert_eq!(brokers("a, [::1]:9093 ,b:1"), Ok(list));
    }

    proptest! {
        #[test]
        fn a_duration_is_spelled_as_it_is_read(milliseconds in 0_u64..1_000_000_000) {
            let given = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration(&spell(given)), Ok(given));
        }
    }
}
