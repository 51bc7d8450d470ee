//! Room `config` (wiring): the keys of `load`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::Surroundings;
use super::super::grammar;
use super::super::kind::{Flag, Kind, Span, Text};
use super::super::problem::Problems;
use super::super::table::{Fallback, Group, Key, Shape};
use super::super::tree::{Entry, Node, ScalarKind, Value};
use super::{Keys, NAME, QUOTE_IT};

/// Most words of a command.
const WORDS_MAX: usize = 1_024;
/// Longest name of a load that is made of that of its program.
const NAME_CHARS: usize = 64;

static LOAD_KEYS: Keys = &[&COMMAND, &LOAD_NAME, &START, &RESTART];

pub(in crate::config) static LOAD: Key<Group> = Key {
    name: "load",
    about: "A load generator that is somebody else's: it is started when all paths are measured, and \
            stopped before outcomes are waited for.",
    fallback: Fallback::Absent,
    kind: Group(Shape::Section(LOAD_KEYS)),
};
pub(in crate::config) static COMMAND: Key<Command> = Key {
    name: "command",
    about: "The program and its arguments, each by itself; no shell reads them, unless the program is \
            one (sh, -c). A program with a / that is not absolute starts at the directory of this file, \
            any other is looked for in PATH. It has to stay in the foreground, and inherits the \
            environment. What stands here is shown by config show: no place for a secret.",
    fallback: Fallback::Required("command: [emqtt-bench, pub, -c, 100]"),
    kind: Command,
};
pub(in crate::config) static LOAD_NAME: Key<Text<String>> = Key {
    name: "name",
    about: "What it is called in logs and reports. Default: the program's file name.",
    fallback: Fallback::From(name_of_program),
    kind: Text { what: "a name", instead_of_number: QUOTE_IT, pattern: NAME, parse: grammar::name },
};
pub(in crate::config) static START: Key<Span> = Key {
    name: "start",
    about: "How long after all paths are measured it is started, 0s to 1h.",
    fallback: Fallback::Yaml("0s"),
    kind: Span { min: Duration::ZERO, max: Duration::from_hours(1) },
};
pub(in crate::config) static RESTART: Key<Flag> = Key {
    name: "restart",
    about: "Whether it is started again when it ends by itself.",
    fallback: Fallback::Yaml("false"),
    kind: Flag,
};

/// A program and its arguments.
pub(in crate::config) struct Command;

impl Kind for Command {
    type Read = Vec<String>;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<Vec<String>> {
        let items = match &node.value {
            Value::Broken => return None,
            Value::List(items) if (1..=WORDS_MAX).contains(&items.len()) => items,
            Value::List(items) => {
                let what = format!("has {} entries; 1 to {WORDS_MAX} are allowed", items.len());
                problems.add(node.origin, path, what);
                return None;
            }
            _ => {
                let found = node.describe();
                let what = format!("expected a list of a program and its arguments, found {found}");
                problems.add(node.origin, path, what);
                return None;
            }
        };
        let mut words = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let what = match word(item) {
                Some("") if index == 0 => "names no program".to_owned(),
                Some(word) if word.contains('\0') => "holds a zero byte, which ends it".to_owned(),
                Some(word) => {
                    words.push(word.to_owned());
                    continue;
                }
                None => format!("expected a text, found {}; put it in quotes", item.describe()),
            };
            problems.add(item.origin, &format!("{path}[{index}]"), what);
        }
        (words.len() == items.len()).then_some(words)
    }

    fn schema(&self) -> Json {
        let word = json!({ "type": ["string", "number", "boolean"] });
        json!({ "type": "array", "items": word, "minItems": 1, "maxItems": WORDS_MAX })
    }
}

/// A word of a command: numbers and truth values as they are written.
fn word(item: &Node) -> Option<&str> {
    match &item.value {
        Value::Scalar { kind: ScalarKind::Null, .. } => None,
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// The file name of the program, fit for a name.
fn name_of_program(given: &[Entry], _: &Surroundings<'_>) -> String {
    let command = given.iter().find(|entry| entry.key == COMMAND.name).map(|it| &it.node.value);
    let program = match command {
        Some(Value::List(words)) => words.first().and_then(word),
        _ => None,
    };
    let file = program.and_then(|program| program.rsplit('/').next());
    let is_fit = |it: char| it.is_ascii_alphanumeric() || ".-_".contains(it);
    let chars = file.unwrap_or_default().chars().take(NAME_CHARS);
    let name: String = chars.map(|it| if is_fit(it) { it } else { '_' }).collect();
    super::super::show::quoted(if name.is_empty() { LOAD.name } else { &name })
}
