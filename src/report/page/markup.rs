//! Room `report`: pieces of HTML. Whatever comes from outside goes through [`text`].

use std::fmt::{Display, Write as _};

use crate::report::figures::{self, NONE, plain};

/// A name from outside as literal text, between tags and in a quoted attribute.
pub(super) fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for c in plain(raw).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A duration as the page writes it, on one line: `1.21 ms`.
pub(super) fn duration(seconds: f64) -> String {
    unbroken(&figures::duration(seconds).replace(" us", " µs"))
}

/// A figure and its unit that stay together.
pub(super) fn unbroken(figure: &str) -> String {
    figure.replace(' ', "\u{a0}")
}

/// A name in words: `acked_lost` is `acked lost`. Long ones may be broken.
pub(super) fn words(name: &str) -> String {
    text(&name.replace('_', " "))
}

/// A figure, with its exact value and where the status has it: a JSON pointer. Of a sum it is those
/// of all its parts, and of a share those of the two sums with ` of ` between.
pub(super) fn figure(shown: &str, value: impl Display, at: &str) -> String {
    format!("<data value=\"{value}\" data-at=\"{}\">{shown}</data>", text(at))
}

/// A count at that place.
pub(super) fn count(number: u64, at: &str) -> String {
    figure(&figures::count(number), number, at)
}

/// A sum of counts, and where the status has its parts.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) number: u64,
    pub(super) at: String,
}

impl Sum {
    pub(super) fn html(&self) -> String {
        count(self.number, &self.at)
    }
}

impl FromIterator<(u64, String)> for Sum {
    fn from_iter<I: IntoIterator<Item = (u64, String)>>(parts: I) -> Self {
        let (numbers, places): (Vec<u64>, Vec<String>) = parts.into_iter().unzip();
        Self { number: numbers.iter().sum(), at: places.join(" ") }
    }
}

/// Where the status has a leg, or the durability gap, of what stands at that place.
pub(super) fn leg_at(at: &str, leg: &str) -> String {
    match leg {
        "durability_gap" => format!("{at}/durability_gap_seconds"),
        leg => format!("{at}/legs/{leg}"),
    }
}

/// A duration at that place; a dash where there is none.
pub(super) fn timed(seconds: Option<f64>, at: &str) -> String {
    seconds.map_or_else(|| NONE.to_owned(), |exact| figure(&duration(exact), exact, at))
}

/// A table. On a narrow screen each of its rows becomes a block in which every cell has its heading.
pub(super) struct Table {
    caption: String,
    columns: Vec<String>,
    rows: String,
    class: &'static str,
}

impl Table {
    /// An empty one; the first column heads the rows. All of it is HTML already.
    pub(super) fn new<'a>(caption: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        let columns = columns.into_iter().map(str::to_owned).collect();
        Self { caption: caption.to_owned(), columns, rows: String::new(), class: "figures" }
    }

    /// The same, of words and not of figures.
    pub(super) fn of_words(self) -> Self {
        Self { class: "words", ..self }
    }

    /// Adds a row of HTML.
    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push_str("<tr role=\"row\">");
        for (index, (cell, column)) in cells.into_iter().zip(&self.columns).enumerate() {
            // Writing into memory does not fail.
            let _ = if index == 0 {
                write!(self.rows, "<th scope=\"row\" role=\"rowheader\">{cell}</th>")
            } else {
                write!(
                    self.rows,
                    "<td role=\"cell\" data-label=\"{column}\"><span>{cell}</span></td>"
                )
            };
        }
        self.rows.push_str("</tr>");
    }

    /// All of it; nothing without rows. The roles say what a table is where it is laid out as blocks.
    pub(super) fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut head = String::new();
        for column in &self.columns {
            let _ = write!(head, "<th scope=\"col\" role=\"columnheader\">{column}</th>");
        }
        format!(
            "<table role=\"table\" class=\"{}\"><caption>{}</caption><thead role=\"rowgroup\"><tr role=\"row\">\
             {head}</tr></thead><tbody role=\"rowgroup\">{}</tbody></table>",
            self.class, self.caption, self.rows
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        let name = "<script>alert(\"1\")</script>&'\u{1b}[2J\n";
        let shown = text(name);
        assert!(shown.starts_with("&lt;script&gt;alert(&quot;1&quot;)"), "{shown}");
        assert!(!shown.contains(['<', '>', '"', '\'', '\u{1b}', '\n']), "{shown}");
    }

    #[test]
    fn a_figure_says_where_it_is_from() {
        let at = "/paths/0/lanes/0/latency_seconds/p99";
        assert_eq!(
            timed(Some(0.001_21), at),
            format!("<data value=\"0.00121\" data-at=\"{at}\">1.21\u{a0}ms</data>")
        );
        assert_eq!(timed(None, at), "-");
        assert!(duration(0.000_412).ends_with("µs"));
    }
}
