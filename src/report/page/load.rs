//! Room `report`: what a load is, and how much of it comes how far, on the page.

use crate::report::CalibrationBrief;
use crate::report::document::PathReport;
use crate::report::figures::{NONE, thousands};
use crate::report::load::beside;

use super::markup::{Table, count, figure, text, words};

/// Of a path that is a load: what it is, the way of its messages, and what landfall alone could do.
pub(super) fn html(path: &PathReport, index: usize, calibrations: &[CalibrationBrief]) -> String {
    let Some(beside) = beside(path, calibrations) else { return String::new() };
    let mut table =
        Table::new("Load: how many messages came how far", ["", "Messages", "Per second"]);
    for (name, in_words, amount) in path.flow.named() {
        let at = format!("/paths/{index}/flow/{name}");
        let figures = match amount {
            Some(of) => [
                count(of.messages, &format!("{at}/messages")),
                figure(&thousands(of.per_second), of.per_second, &format!("{at}/per_second")),
            ],
            None => [NONE, NONE].map(str::to_owned),
        };
        table.push([words(in_words)].into_iter().chain(figures));
    }
    format!("<p>{} {}.</p>{}", text(&path.load.sentence()), text(&beside), table.html())
}
