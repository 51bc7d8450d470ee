//! Room `config` (wiring): what the user wrote, as a tree that remembers where each value came
//! from.

use super::wording::quote;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Nobody gave it.
    Default,
    /// The load shape of this name stands for it.
    Shape(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// The file, with its line from 1; line 0 is the file as a whole.
    File(usize),
}

/// What a plain scalar means by the core schema of YAML 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Null,
    Bool,
    Number,
    Text,
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar {
        kind: ScalarKind,
        text: String,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Its problem is already on the list; readers pass over it.
    Broken,
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

impl Node {
    /// A text that did not come from YAML.
    pub(super) fn text(origin: Origin, text: String) -> Self {
        Self { origin, value: Value::Scalar { kind: ScalarKind::Text, text } }
    }

    /// The value of a key, when this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// The node at a path of keys and places in lists, such as `paths[0].mqtt.url`; where it ends
    /// early, the last one there is.
    pub(super) fn nearest(&self, path: &str) -> &Self {
        let steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
        let mut nearest = self;
        for step in steps {
            let next = match &nearest.value {
                Value::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                _ => nearest.get(step),
            };
            let Some(next) = next else { break };
            nearest = next;
        }
        nearest
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => {
                entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
            }
            _ => None,
        }
    }

    /// Sets the value at a path of keys, if this is a mapping down to the last of them.
    pub(super) fn put(&mut self, path: &[&str], node: Self) {
        let Some((last, sections)) = path.split_last() else { return };
        let section = sections.iter().try_fold(self, |node, key| node.get_mut(key));
        let Some(Value::Map(entries)) = section.map(|node| &mut node.value) else { return };
        match entries.iter_mut().find(|entry| entry.key == *last) {
            Some(entry) => entry.node = node,
            None => entries.push(Entry { key: (*last).to_owned(), line: 0, node }),
        }
    }

    /// Whether it is a text.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, Value::Scalar { kind: ScalarKind::Text, .. })
    }

    /// What it is, for a message that expected something else.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Scalar { kind: ScalarKind::Null, .. } => "nothing".into(),
            Value::Scalar { kind: ScalarKind::Bool, text } => text.clone(),
            Value::Scalar { kind: ScalarKind::Number, text } => format!("the number {text}"),
            Value::Scalar { kind: ScalarKind::Text, text } => format!("the text {}", quote(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) | Value::Broken => "a mapping".into(),
        }
    }

    /// Says of all that is in here that it came from there.
    pub(super) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
        match &mut self.value {
            Value::List(items) => {
                for item in items {
                    item.set_origin(origin);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.node.set_origin(origin);
                }
            }
            Value::Scalar { .. } | Value::Broken => {}
        }
    }
}

/// What a plain scalar means (YAML 1.2.2, section 10.3.2).
pub(super) fn classify(text: &str) -> ScalarKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return ScalarKind::Bool,
        ".nan" | ".NaN" | ".NAN" => return ScalarKind::Number,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix, radix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let number = matches!(unsigned, ".inf" | ".Inf" | ".INF")
        || radix("0o", 8)
        || radix("0x", 16)
        || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && unsigned.parse::<f64>().is_ok());
    if number { ScalarKind::Number } else { ScalarKind::Text }
}

/// The path of a key below another path.
pub(super) fn join(place: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.len() <= 64
        && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let key = if plain { key.to_owned() } else { quote(key) };
    if place.is_empty() { key } else { format!("{place}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_2_says() {
        let numbers = "0 -1 +1.5 .5 1e3 0x1F 0o17 .inf -.INF .nan";
        let texts = "3.1.1 20/s 10s yes 0x inf nan - . 1_000 e3 -x";
        for (kind, texts) in [
            (ScalarKind::Null, "~ null Null"),
            (ScalarKind::Bool, "true False"),
            (ScalarKind::Number, numbers),
            (ScalarKind::Text, texts),
        ] {
            for text in texts.split(' ') {
                assert_eq!(classify(text), kind, "{text}");
            }
        }
        assert_eq!(classify(""), ScalarKind::Null);
    }
}
