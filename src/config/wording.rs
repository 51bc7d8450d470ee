//! Room `config` (wiring): how messages quote, list and guess.

use std::fmt::Write as _;

/// Most characters of a value that a message repeats.
const QUOTED_MAX: usize = 60;

/// A value as messages repeat it: in quotes, on one line, not too long.
pub(super) fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTED_MAX {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(QUOTED_MAX).collect();
    format!("{head:?}...")
}

/// A text with its control characters escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_debug());
        } else {
            line.push(c);
        }
    }
    line
}

/// `a, b or c`.
pub(super) fn enumerate(words: &[&str], conjunction: &str) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let separator = match index {
            0 => String::new(),
            _ if index + 1 == words.len() => format!(" {conjunction} "),
            _ => ", ".into(),
        };
        let _ = write!(text, "{separator}{word}");
    }
    text
}

/// The candidate that was probably meant: at most a third of it mistyped, where two neighbours that
/// changed places count as one mistake; or one that was not typed to its end.
pub(super) fn closest<'a>(
    typed: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let letters: Vec<char> = typed.chars().take(64).collect();
    candidates
        .map(|candidate| (distance(&letters, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, candidate)| {
            let begun = typed.len() >= 4 && candidate.starts_with(typed);
            begun || *distance <= (candidate.len() / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Damerau-Levenshtein distance, optimal string alignment.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let differ = usize::from(a[i - 1] != b[j - 1]);
            let mut best =
                (rows[i - 1][j - 1] + differ).min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_recognised() {
        let known = ["topic", "topics", "qos", "password_file", "window"];
        let guess = |typed| closest(typed, known.into_iter());
        assert_eq!(guess("tpoic"), Some("topic"), "neighbours that changed places");
        assert_eq!(guess("topicss"), Some("topics"));
        assert_eq!(guess("windwo"), Some("window"));
        assert_eq!(guess("password"), Some("password_file"), "not typed to its end");
        assert_eq!(guess("host"), None);
        assert_eq!(guess(""), None);
    }

    #[test]
    fn words_are_listed_as_one_speaks() {
        assert_eq!(enumerate(&[], "or"), "");
        assert_eq!(enumerate(&["a"], "or"), "a");
        assert_eq!(enumerate(&["a", "b"], "or"), "a or b");
        assert_eq!(enumerate(&["a", "b", "c"], "and"), "a, b and c");
    }

    #[test]
    fn quotes_stay_short_and_on_one_line() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(quote(&"x".repeat(61)), format!("\"{}\"...", "x".repeat(60)));
        assert_eq!(one_line("a\n'b'"), r"a\n'b'");
    }
}
