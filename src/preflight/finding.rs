//! Room `preflight`: one step of a check, and how it is shown.

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Ok,
    /// A run would work, with a restriction that somebody should know of.
    Warn,
    /// A run would not work, or would not measure what is asked for.
    Fail(Fault),
}

/// What kind of failure it is, for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A system can't be reached, or lets nobody in.
    Unreachable,
    /// Systems were reached, and something else is wrong.
    Broken,
}

/// One step of a check in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it came out.
    pub mark: Mark,
    /// The step.
    pub step: String,
    /// What was seen.
    pub words: String,
    /// More of it, a line each.
    pub details: Vec<String>,
    /// What to do, where there is something to do.
    pub advice: Option<String>,
}

/// Width of the names of steps.
const STEP: usize = 14;
/// What further lines begin with.
const INDENT: &str = "        ";

impl Finding {
    pub(super) fn ok(step: impl Into<String>, words: impl Into<String>) -> Self {
        Self {
            mark: Mark::Ok,
            step: step.into(),
            words: words.into(),
            details: Vec::new(),
            advice: None,
        }
    }

    pub(super) fn warn(
        step: impl Into<String>,
        words: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { mark: Mark::Warn, advice: Some(advice.into()), ..Self::ok(step, words) }
    }

    pub(super) fn fail(
        fault: Fault,
        step: impl Into<String>,
        words: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { mark: Mark::Fail(fault), advice: Some(advice.into()), ..Self::ok(step, words) }
    }

    pub(super) fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// The finding as lines of text, with a line break at the end. `in_colour` paints the mark as
    /// terminals do.
    #[must_use]
    pub fn text(&self, in_colour: bool) -> String {
        let (mark, colour) = match self.mark {
            Mark::Ok => ("ok  ", "32"),
            Mark::Warn => ("WARN", "33"),
            Mark::Fail(_) => ("FAIL", "31"),
        };
        let mark =
            if in_colour { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() };
        let first = format!("  {mark}  {:<STEP$}  {}", self.step, self.words);
        let details = self.details.iter().map(|detail| format!("{INDENT}{detail}"));
        let advice = self.advice.iter().map(|advice| format!("{INDENT}-> {advice}"));
        let lines: Vec<String> = std::iter::once(first).chain(details).chain(advice).collect();
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_what_to_do_below_it() {
        let finding = Finding::warn("topic", "t is compacted", "use another").with(["more".into()]);
        let text = "  WARN  topic           t is compacted\n        more\n        -> use another\n";
        assert_eq!(finding.text(false), text);
        assert_eq!(finding.text(true), text.replace("WARN", "\u{1b}[33mWARN\u{1b}[0m"));
        assert_eq!(
            Finding::ok("MQTT", "is there").text(false),
            "  ok    MQTT            is there\n"
        );
    }
}
