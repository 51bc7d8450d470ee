//! Room `config` (wiring): what is wrong with a configuration, one line each.

use std::fmt;

use super::tree::Origin;
use super::wording::one_line;

/// Most problems that are listed.
const LISTED_MAX: usize = 100;

/// Everything that is wrong with a configuration. Displays as one line for each problem, in the
/// order of the file: `landfall.yaml:12: paths[0].mqtt.qos: 3 is not a QoS (0, 1 or 2)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    origin: Origin,
    path: String,
    what: String,
}

impl Problems {
    /// No problems yet with the file of this name.
    pub(super) fn of(file: &str) -> Self {
        Self { file: one_line(file), list: Vec::new() }
    }

    /// Notes what is wrong with the value at a key path; an empty path is the whole file.
    pub(super) fn add(&mut self, origin: Origin, path: &str, what: impl Into<String>) {
        self.list.push(Problem { origin, path: path.into(), what: what.into() });
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many things are wrong.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The same where nobody wrote a file: what is wrong with the value at one of these key paths, or
    /// below it, is told of the flag that it was made from.
    #[must_use]
    pub fn of_flags(mut self, flags: &[(&str, &'static str)]) -> Self {
        for problem in &mut self.list {
            let made = flags.iter().find(|(path, _)| problem.path.starts_with(path));
            problem.origin = made.map_or(problem.origin, |&(_, flag)| Origin::Flag(flag));
        }
        self
    }

    /// The problems in the order of the file.
    pub(super) fn sorted(mut self) -> Self {
        self.list.sort_by_key(|problem| problem.origin);
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().take(LISTED_MAX).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match problem.origin {
                Origin::Flag(name) | Origin::Environment(name) => write!(f, "{name}")?,
                Origin::Default | Origin::Shape(_) | Origin::File(0) => write!(f, "{}", self.file)?,
                Origin::File(line) => write!(f, "{}:{line}", self.file)?,
            }
            let in_file =
                matches!(problem.origin, Origin::Default | Origin::Shape(_) | Origin::File(_));
            if in_file && !problem.path.is_empty() {
                write!(f, ": {}", problem.path)?;
            }
            write!(f, ": {}", problem.what)?;
        }
        if self.list.len() > LISTED_MAX {
            write!(f, "\n{}: and {} more", self.file, self.list.len() - LISTED_MAX)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
