//! Room `preflight`: the sentence at the end, and the exit code.

use super::{Fault, Finding, Mark};
use crate::report;

/// What all findings come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    paths: u64,
    failed: u64,
    warnings: u64,
    unreachable: bool,
    /// What to do first: of the first failure, and of the first warning.
    first_failure: Option<String>,
    first_warning: Option<String>,
}

impl Summary {
    /// Takes the findings on one more path, in their order.
    pub fn add(&mut self, path: &str, findings: &[Finding]) {
        self.paths += 1;
        let mut has_failed = false;
        for finding in findings {
            // What several say alike stands with the last of them.
            let advice = finding.advice.as_ref().map(|advice| format!("{path}: {advice}"));
            match finding.mark {
                Mark::Ok => (),
                Mark::Warn => {
                    self.warnings += 1;
                    self.first_warning = self.first_warning.take().or(advice);
                }
                Mark::Fail(fault) => {
                    has_failed = true;
                    self.unreachable |= fault == Fault::Unreachable;
                    self.first_failure = self.first_failure.take().or(advice);
                }
            }
        }
        self.failed += u64::from(has_failed);
    }

    /// One sentence, with what to do first; `command` starts a run.
    #[must_use]
    pub fn sentence(&self, command: &str) -> String {
        let paths = report::counted(self.paths, "path");
        let warnings = report::counted(self.warnings, "warning");
        match (&self.first_failure, &self.first_warning) {
            (Some(first), _) => {
                let verb = if self.failed == 1 { "does" } else { "do" };
                format!("{} of {paths} {verb} not work. First, on {first}", self.failed)
            }
            (None, Some(first)) => format!("{paths} checked, {warnings}. First, on {first}"),
            (None, None) => format!("{paths} checked, all is well. Now: {command}"),
        }
    }

    /// The same of a check that did not come to its end.
    #[must_use]
    pub fn interrupted(&self) -> String {
        let first = self.first_failure.as_ref().map(|first| format!(" First, on {first}"));
        format!("Interrupted: not everything was checked.{}", first.unwrap_or_default())
    }

    /// 0 where a run would work, 3 where a system could not be reached, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.failed {
            0 => 0,
            _ if self.unreachable => 3,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_what_to_do_first() {
        let ok = Finding::ok("a", "fine");
        let warn = Finding::warn("b", "hm", "look");
        let broken = Finding::fail(Fault::Broken, "c", "no", "mend it");
        let away = Finding::fail(Fault::Unreachable, "d", "gone", "start it");
        let told = |paths: &[&[&Finding]]| {
            let mut summary = Summary::default();
            for (findings, name) in paths.iter().zip(["x", "y"]) {
                let findings: Vec<Finding> = findings.iter().map(|&it| it.clone()).collect();
                summary.add(name, &findings);
            }
            assert!(summary.interrupted().starts_with("Interrupted: not everything was checked."));
            assert_eq!(summary.interrupted().contains(" First, on "), summary.failed > 0);
            (summary.exit_code(), summary.sentence("run"))
        };
        let all = [
            (told(&[&[&ok]]), 0, "1 path checked, all is well. Now: run"),
            (told(&[&[&ok, &warn], &[&warn]]), 0, "2 paths checked, 2 warnings. First, on x: look"),
            (
                told(&[&[&warn], &[&broken, &broken]]),
                1,
                "1 of 2 paths does not work. First, on y: mend it",
            ),
            (told(&[&[&broken], &[&away]]), 3, "2 of 2 paths do not work. First, on x: mend it"),
        ];
        for ((code, sentence), expected, words) in all {
            assert_eq!((code, sentence.as_str()), (expected, words));
        }
    }
}
