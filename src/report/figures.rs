//! Room `report`: figures and names as text, in ASCII so that any terminal shows them.

/// Units of time, in nanoseconds.
const TIME_UNITS: [(&str, f64); 6] =
    [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3_600e9)];
/// Units of memory, in bytes.
const BYTE_UNITS: [(&str, f64); 5] =
    [("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
/// Stands where there is no figure.
pub(super) const NONE: &str = "-";

/// A duration to three significant digits: `412 us`, `1.21 ms`, `2.50 h`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    scaled(seconds * 1e9, &TIME_UNITS)
}

/// A duration, or a dash where there is none.
pub(super) fn duration_or_none(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| NONE.to_owned(), duration)
}

/// A number of bytes to three significant digits: `11.2 MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
#[must_use]
pub fn bytes(count: u64) -> String {
    scaled(count as f64, &BYTE_UNITS)
}

/// A share as a percentage: `98.3 %`.
pub(super) fn percentage(share: f64) -> String {
    format!("{} %", three_digits(share * 100.0))
}

/// A count with its thousands set apart: `1,234,567`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, whole where it has three digits before the point: `1,234,567`, `0.50`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float casts saturate")]
pub(super) fn thousands(number: f64) -> String {
    if number.abs() < 99.95 { three_digits(number) } else { count(number.round() as u64) }
}

/// A count with its noun: `1 slot`, `1,500 slots`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// The counts that are not zero, with their names: `duplicate 3, corrupt 1`; nothing where all are zero.
pub(super) fn nonzero<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let present = counts.into_iter().filter(|&(_, number)| number > 0);
    present.map(|(name, number)| format!("{name} {}", count(number))).collect::<Vec<_>>().join(", ")
}

/// A value above or below zero to three significant digits (two decimals at most).
pub(super) fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A name from outside on one line: characters that could move a terminal's cursor are spelled out.
#[must_use]
pub fn plain(name: &str) -> String {
    let shown = |c: char| {
        if c.is_control() { c.escape_default().collect() } else { c.to_string() }
    };
    name.chars().map(shown).collect::<String>()
}

/// A name from outside as literal text in Markdown, inside a table as well.
pub(super) fn markdown(name: &str) -> String {
    let name: Vec<char> = plain(name).chars().collect();
    let is_word = |index: Option<usize>| {
        index.and_then(|index| name.get(index)).is_some_and(|c| c.is_alphanumeric())
    };
    let mut text = String::with_capacity(name.len());
    for (index, &c) in name.iter().enumerate() {
        match c {
            // Within a word it is literal anyway, and the source reads better without.
            '_' if is_word(index.checked_sub(1)) && is_word(Some(index + 1)) => text.push(c),
            // Entities, since a backslash before a pipe or an angle bracket is not literal in
            // every renderer.
            '|' => text.push_str("&#124;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' | '$' => {
                text.push('\\');
                text.push(c);
            }
            _ => text.push(c),
        }
    }
    text
}

/// The value in the largest unit that it fills once it is rounded, so that 999.6 us is 1.00 ms.
fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let size = value.abs();
    let sign = if value <= -0.5 { "-" } else { "" };
    let mut text = String::new();
    for (index, &(unit, factor)) in units.iter().enumerate() {
        let digits = match index {
            0 => format!("{size:.0}"),
            _ => three_digits(size / factor),
        };
        text = format!("{sign}{digits} {unit}");
        let rounded = digits.parse::<f64>().unwrap_or(f64::INFINITY);
        if units.get(index + 1).is_some_and(|&(_, next)| rounded * factor < next) {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0.0, "0 ns"),
            (-0.2, "0 ns"),
            (64.0, "64 ns"),
            (999.7, "1.00 us"),
            (1_210.0, "1.21 us"),
            (412_000.0, "412 us"),
            (999_400.0, "999 us"),
            (999_600.0, "1.00 ms"),
            (9_994_000.0, "9.99 ms"),
            (9_996_000.0, "10.0 ms"),
            (99_960_000.0, "100 ms"),
            (-1_500_000.0, "-1.50 ms"),
            (1e9, "1.00 s"),
            (59.94e9, "59.9 s"),
            (59.96e9, "1.00 min"),
            (3_599.9e9, "1.00 h"),
            (9_000e9, "2.50 h"),
            (3_600_000e9, "1000 h"),
        ] {
            assert_eq!(duration(nanos / 1e9), text, "{nanos} ns");
        }
        assert_eq!(duration_or_none(None), "-");
    }

    #[test]
    fn other_figures() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(11_200_000), "11.2 MB");
        assert_eq!(percentage(0.983), "98.3 %");
        assert_eq!(percentage(1.0), "100 %");
        assert_eq!([count(0), count(999), count(1_000)], ["0", "999", "1,000"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([counted(1, "slot"), counted(0, "slot")], ["1 slot", "0 slots"]);
        assert_eq!(nonzero([("a", 0), ("b", 3), ("c", 1_000)]), "b 3, c 1,000");
    }

    #[test]
    fn names_stay_on_their_line_and_literal() {
        assert_eq!(plain("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(markdown("a|b _c_*`<i>"), "a&#124;b \\_c\\_\\*\\`&lt;i&gt;");
        assert_eq!(markdown("plant-7.mqtt_kafka"), "plant-7.mqtt_kafka");
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_within_half_a_percent(nanos in 1_000_i64..i64::MAX / 4) {
            let text = duration(crate::report::gather::seconds(nanos));
            let (digits, unit) = text.split_once(' ').unwrap();
            let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit).unwrap().1;
            let read = digits.parse::<f64>().unwrap() * factor;
            let exact = crate::report::gather::seconds(nanos) * 1e9;
            prop_assert!((read - exact).abs() <= exact * 0.005_001, "{} for {}", text, nanos);
        }
    }
}
