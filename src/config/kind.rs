//! Room `config` (wiring): kinds of values. One kind both reads a value and describes it in the
//! JSON Schema, so that the two can't differ.

mod flag;

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::problem::Problems;
use super::table::Shape;
use super::tree::{Node, ScalarKind, Value};
use super::wording::quote;

pub(super) use flag::Flag;

/// Reads one kind of value.
pub(super) trait Kind: Sync {
    /// What it reads.
    type Read;

    /// The value of a node, or nothing after noting what is wrong with it.
    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Self::Read>;

    /// The JSON Schema of the same, without title and description.
    fn schema(&self) -> Json;

    /// What lies below.
    fn shape(&self) -> Shape {
        Shape::Leaf
    }
}

/// A text with a grammar of its own.
pub(super) struct Text<T> {
    /// What it is, with its article.
    pub(super) what: &'static str,
    /// What to do about a number that stands where this text should be.
    pub(super) instead_of_number: &'static str,
    /// A regular expression that every valid text matches.
    pub(super) pattern: &'static str,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T> Kind for Text<T> {
    type Read = T;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<T> {
        let result = match &node.value {
            Value::Scalar { kind: ScalarKind::Text, text } => (self.parse)(text),
            Value::Broken => return None,
            Value::Scalar { kind: ScalarKind::Number | ScalarKind::Bool, .. } => {
                let (found, hint) = (node.describe(), self.instead_of_number);
                Err(format!("expected {}, found {found}; {hint}", self.what))
            }
            _ => Err(format!("expected {}, found {}", self.what, node.describe())),
        };
        result.map_err(|what| problems.add(node.origin, path, what)).ok()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": self.pattern })
    }
}

/// A duration within limits.
pub(super) struct Span {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

const SPAN: Text<Duration> = Text {
    what: "a duration such as 10s",
    instead_of_number: "give it a unit (ms, s, m, h or d)",
    pattern: r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)$",
    parse: super::grammar::duration,
};

impl Kind for Span {
    type Read = Duration;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Duration> {
        let duration = SPAN.read(node, path, problems)?;
        if (self.min..=self.max).contains(&duration) {
            return Some(duration);
        }
        let [given, min, max] = [duration, self.min, self.max].map(super::grammar::spell);
        problems.add(node.origin, path, format!("{given} is out of range ({min} to {max})"));
        None
    }

    fn schema(&self) -> Json {
        SPAN.schema()
    }
}

/// A whole number within limits.
pub(super) struct Count {
    pub(super) min: u32,
    pub(super) max: u32,
    /// Texts such as 64KiB are understood too.
    pub(super) bytes: bool,
}

impl Kind for Count {
    type Read = u32;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<u32> {
        let what = if self.bytes { "a size in bytes or such as 64KiB" } else { "a whole number" };
        let number = match &node.value {
            Value::Broken => return None,
            Value::Scalar { kind: ScalarKind::Number, text } => super::grammar::whole(text),
            Value::Scalar { kind: ScalarKind::Text, text } if self.bytes => {
                super::grammar::bytes(text)
            }
            _ => None,
        };
        let what = match number {
            Some(number) => match u32::try_from(number) {
                Ok(number) if (self.min..=self.max).contains(&number) => return Some(number),
                _ => format!("{number} is out of range ({} to {})", self.min, self.max),
            },
            None => format!("expected {what}, found {}", node.describe()),
        };
        problems.add(node.origin, path, what);
        None
    }

    fn schema(&self) -> Json {
        let number = json!({ "type": "integer", "minimum": self.min, "maximum": self.max });
        if !self.bytes {
            return number;
        }
        json!({ "anyOf": [number, { "type": "string", "pattern": "^[0-9]{1,9}(B|KiB|MiB)$" }] })
    }
}

/// A share of a whole, 0 to 1.
pub(super) struct Share;

impl Kind for Share {
    type Read = f64;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<f64> {
        let share = match &node.value {
            Value::Broken => return None,
            Value::Scalar { kind: ScalarKind::Number, text } => text.parse::<f64>().ok(),
            _ => None,
        };
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            let found = node.describe();
            problems.add(node.origin, path, format!("expected a share from 0 to 1, found {found}"));
        }
        share
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// A share of a whole above 0, as a number up to 1 or in percent.
pub(super) struct Percentage;

impl Kind for Percentage {
    type Read = f64;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<f64> {
        let (share, written) = match &node.value {
            Value::Broken => return None,
            Value::Scalar { kind: ScalarKind::Number, text } => (text.parse().ok(), text.as_str()),
            Value::Scalar { kind: ScalarKind::Text, text } => {
                (super::grammar::percent(text), text.as_str())
            }
            _ => (None, ""),
        };
        let is_share = |share: &f64| *share > 0.0 && *share <= 1.0;
        let what = match share {
            Some(share) if is_share(&share) => return Some(share),
            Some(share) if share > 1.0 && share <= 100.0 && !written.ends_with('%') => {
                format!("{written} is more than everything; did you mean {written}%?")
            }
            Some(_) => format!("{written} is out of range (above 0% up to 100%, or up to 1)"),
            None => format!("expected a share such as 99.9% or 0.999, found {}", node.describe()),
        };
        problems.add(node.origin, path, what);
        None
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
            { "type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,9})?%$" },
        ] })
    }
}

/// One of a few words or numbers.
pub(super) struct Choice<T: 'static> {
    /// What they are, with the article.
    pub(super) what: &'static str,
    pub(super) options: &'static [(&'static str, T)],
    /// Words of the design that are refused by name until they are built.
    pub(super) not_built: &'static [&'static str],
}

impl<T: Copy + Sync> Kind for Choice<T> {
    type Read = T;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<T> {
        let names: Vec<&str> = self.options.iter().map(|(name, _)| *name).collect();
        let list = super::wording::enumerate(&names, "or");
        let what = match &node.value {
            Value::Broken => return None,
            Value::Scalar { kind: kind @ (ScalarKind::Number | ScalarKind::Text), text } => {
                let found = self.options.iter().find(|(name, _)| name == text);
                match found {
                    Some((name, value)) if super::tree::classify(name) == *kind => {
                        return Some(*value);
                    }
                    Some(_) => format!("{} is in quotes; remove them", quote(text)),
                    None if self.not_built.contains(&text.as_str()) => {
                        format!("{text} is known but not built yet; remove it")
                    }
                    None if *kind == ScalarKind::Number => {
                        format!("{text} is not {} ({list})", self.what)
                    }
                    None => format!("{} is not {} ({list})", quote(text), self.what),
                }
            }
            _ => format!("expected {} ({list}), found {}", self.what, node.describe()),
        };
        problems.add(node.origin, path, what);
        None
    }

    fn schema(&self) -> Json {
        let options = self.options.iter().map(|(name, _)| super::schema::of_scalar(name));
        json!({ "enum": options.collect::<Vec<_>>() })
    }
}

/// A list of values without repeats, or one value alone where that is allowed.
pub(super) struct List<K> {
    pub(super) of: K,
    /// What it is, with its article.
    pub(super) what: &'static str,
    pub(super) single: bool,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl<K: Kind<Read: PartialEq>> Kind for List<K> {
    type Read = Vec<K::Read>;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Self::Read> {
        let Self { what, min, max, .. } = self;
        let wrong = match &node.value {
            Value::Broken => return None,
            Value::List(items) if items.len() < *min => Some(format!("is empty; expected {what}")),
            Value::List(items) if items.len() > *max => {
                Some(format!("has {} entries; at most {max} are allowed", items.len()))
            }
            Value::List(items) => return self.items(items, path, problems),
            Value::Scalar { .. } if self.single => {
                return self.of.read(node, path, problems).map(|value| vec![value]);
            }
            _ => Some(format!("expected {what}, found {}", node.describe())),
        };
        problems.add(node.origin, path, wrong.unwrap_or_default());
        None
    }

    fn schema(&self) -> Json {
        let of = self.of.schema();
        let list = json!({
            "type": "array", "items": of, "uniqueItems": true,
            "minItems": self.min, "maxItems": self.max,
        });
        if self.single { json!({ "anyOf": [of, list] }) } else { list }
    }
}

impl<K: Kind<Read: PartialEq>> List<K> {
    fn items(&self, items: &[Node], path: &str, problems: &mut Problems) -> Option<Vec<K::Read>> {
        let mut values = Vec::with_capacity(items.len());
        let mut failed = false;
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match self.of.read(item, &path, problems) {
                Some(value) if values.contains(&value) => {
                    problems.add(item.origin, &path, "is given twice; remove one");
                    failed = true;
                }
                Some(value) => values.push(value),
                None => failed = true,
            }
        }
        (!failed).then_some(values)
    }
}
