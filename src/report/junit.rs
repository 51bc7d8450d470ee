//! Room `report`: `junit.xml`, for the pipelines that read nothing else.
//!
//! # Design
//!
//! A testsuite for each path, a testcase for each of its objectives. What did not hold is a failure; what
//! nobody can say is an error, since a pipeline must not take it for held. A run that is not passed has
//! one of either, whatever it was judged by.

use crate::study::{Judged, VerdictResult};

use super::Report;
use super::figures::plain;
use super::judged::{bound, figure, finding};

/// A testcase: its name, and what is wrong with it.
struct Case {
    name: String,
    wrong: Option<(&'static str, String)>,
    said: String,
}

pub(super) fn render(report: &Report) -> String {
    let mut suites: Vec<(String, Vec<Case>)> =
        report.paths.iter().map(|path| (path.name.clone(), cases(report, &path.name))).collect();
    let is_told = suites.iter().flat_map(|(_, cases)| cases).any(|case| case.wrong.is_some());
    if report.verdict.result != VerdictResult::Passed && !is_told {
        let wrong = Some(("error", "nothing was judged".to_owned()));
        let said = "No path has an objective: give one a lane, and slo.".to_owned();
        suites.push(("run".into(), vec![Case { name: "verdict".into(), wrong, said }]));
    }
    let all = || suites.iter().flat_map(|(_, cases)| cases);
    let mut lines = vec![
        r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned(),
        format!(
            r#"<testsuites name="landfall" {} time="{:.3}">"#,
            numbers(all()),
            report.window.seconds
        ),
    ];
    for (path, cases) in &suites {
        lines.push(format!(
            r#"  <testsuite name="{}" {} time="{:.3}" timestamp="{}">"#,
            escaped(path),
            numbers(cases.iter()),
            report.window.seconds,
            escaped(report.window.start.trim_end_matches('Z'))
        ));
        lines.extend(cases.iter().flat_map(|case| written(path, case)));
        lines.push("  </testsuite>".to_owned());
    }
    lines.push("</testsuites>".to_owned());
    lines.join("\n") + "\n"
}

fn cases(report: &Report, path: &str) -> Vec<Case> {
    let own = report.verdict.objectives.iter().filter(|judged| judged.path == path);
    let mut cases: Vec<Case> = own.map(case).collect();
    if let Some(why) = report.verdict.unmeasured.get(path) {
        let wrong = Some(("error", "never measured".to_owned()));
        let said = format!("The path waited for {why}.");
        cases.push(Case { name: "measured".to_owned(), wrong, said });
    }
    cases
}

fn case(judged: &Judged) -> Case {
    let wrong = match (judged.held, &judged.reason) {
        (Some(true), _) => None,
        (Some(false), _) => Some(("failure", finding(judged))),
        (None, reason) => Some(("error", reason.clone().unwrap_or_default())),
    };
    let said = format!(
        "{}: figure {}, over all windows {}, over valid windows {}",
        bound(judged),
        figure(&judged.name, judged.figure),
        figure(&judged.name, judged.figure_all_windows),
        figure(&judged.name, judged.figure_valid_windows),
    );
    Case { name: judged.name.clone(), wrong, said }
}

fn written(path: &str, case: &Case) -> Vec<String> {
    let name = escaped(&case.name);
    let open = format!(r#"    <testcase classname="landfall.{}" name="{name}""#, escaped(path));
    let said = escaped(&case.said);
    let inner = match &case.wrong {
        None => format!("      <system-out>{said}</system-out>"),
        Some((kind, message)) => {
            format!(r#"      <{kind} type="{name}" message="{}">{said}</{kind}>"#, escaped(message))
        }
    };
    vec![format!("{open}>"), inner, "    </testcase>".to_owned()]
}

fn numbers<'a>(cases: impl Iterator<Item = &'a Case> + Clone) -> String {
    let of = |kind| {
        let wrong = cases.clone().filter_map(|case| case.wrong.as_ref());
        wrong.filter(|(which, _)| *which == kind).count()
    };
    let (failures, errors) = (of("failure"), of("error"));
    format!(r#"tests="{}" failures="{failures}" errors="{errors}""#, cases.count())
}

/// Literal text of an element or attribute. Characters that XML can't have at all are spelled out.
fn escaped(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => literal.push_str("&amp;"),
            '<' => literal.push_str("&lt;"),
            '>' => literal.push_str("&gt;"),
            '"' => literal.push_str("&quot;"),
            '\'' => literal.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => literal.extend(c.escape_default()),
            _ => literal.push(c),
        }
    }
    literal
}
