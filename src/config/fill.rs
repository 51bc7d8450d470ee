//! Room `config` (wiring): from what the user wrote to every key in force: keys that don't belong
//! are refused, keys that were not given get their default.

use super::Surroundings;
use super::keys;
use super::parse::parse_default;
use super::problem::Problems;
use super::table::{Described, Fallback, Shape};
use super::tree::{Entry, Node, Origin, Value, join};
use super::wording::{closest, enumerate};

type Keys = &'static [&'static dyn Described];

/// Completes a mapping by the table of keys. Afterwards it holds known keys only, in the order of
/// the table, and all that have a default.
pub(super) fn fill(
    node: &mut Node,
    keys: Keys,
    path: &str,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) {
    let Value::Map(entries) = &mut node.value else {
        if !matches!(node.value, Value::Broken) {
            let what = format!("expected a mapping of keys, found {}", node.describe());
            problems.add(node.origin, path, what);
            node.value = Value::Broken;
        }
        return;
    };
    let mut given = std::mem::take(entries);
    let mut filled: Vec<Entry> = Vec::with_capacity(keys.len());
    for key in keys {
        let path = join(path, key.name());
        let position = given.iter().position(|entry| entry.key == key.name());
        let mut entry = match position.map(|position| given.swap_remove(position)) {
            Some(entry) => entry,
            None => match absent(*key, &filled, node.origin, &path, around, problems) {
                Some(entry) => entry,
                None => continue,
            },
        };
        descend(&mut entry, key.shape(), &path, around, problems);
        if !matches!(key.shape(), Shape::NotBuilt) {
            filled.push(entry);
        }
    }
    for entry in given {
        let what = unknown(&entry.key, keys);
        problems.add(Origin::File(entry.line), &join(path, &entry.key), what);
    }
    node.value = Value::Map(filled);
}

/// The entry of a key that was not given, if it has one all the same.
fn absent(
    key: &dyn Described,
    filled: &[Entry],
    parent: Origin,
    path: &str,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) -> Option<Entry> {
    let yaml = match key.fallback() {
        Fallback::Absent => return None,
        Fallback::Required(example) => {
            problems.add(parent, path, format!("is missing; give {example}"));
            return None;
        }
        Fallback::Yaml(yaml) => (*yaml).to_owned(),
        Fallback::From(make) => make(filled, around),
    };
    Some(Entry { key: key.name().into(), line: 0, node: parse_default(&yaml) })
}

fn descend(
    entry: &mut Entry,
    shape: Shape,
    path: &str,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) {
    let node = &mut entry.node;
    match shape {
        Shape::Leaf => {}
        Shape::Section(keys) => fill(node, keys, path, around, problems),
        Shape::NotBuilt => {
            let line = Origin::File(entry.line);
            problems.add(line, path, "is known but not built yet; remove it");
        }
        Shape::Sections(keys, min, max) => {
            let wrong = match &mut node.value {
                Value::List(items) if (min..=max).contains(&items.len()) => {
                    for (index, item) in items.iter_mut().enumerate() {
                        fill(item, keys, &format!("{path}[{index}]"), around, problems);
                    }
                    return;
                }
                Value::List(items) => {
                    format!("has {} entries; {min} to {max} are allowed", items.len())
                }
                _ => format!("expected a list, found {}", node.describe()),
            };
            problems.add(node.origin, path, wrong);
            node.value = Value::Broken;
        }
    }
}

/// What to say about a key that is not in the table.
fn unknown(key: &str, here: Keys) -> String {
    let names: Vec<&str> = here
        .iter()
        .filter(|key| !matches!(key.shape(), Shape::NotBuilt))
        .map(|key| key.name())
        .collect();
    if key == "<<" {
        return "merge keys are not read; repeat the keys".into();
    }
    if let Some(close) = closest(key, names.iter().copied()) {
        return format!("unknown key; did you mean \"{close}\"?");
    }
    if let Some(place) = find_elsewhere(key, keys::ROOT, "") {
        return format!("unknown key here; it belongs at {place}");
    }
    format!("unknown key; known here are {}", enumerate(&names, "and"))
}

fn find_elsewhere(key: &str, keys: Keys, path: &str) -> Option<String> {
    keys.iter().find_map(|known| {
        let place = join(path, known.name());
        if known.name() == key {
            return Some(place);
        }
        match known.shape() {
            Shape::Section(keys) => find_elsewhere(key, keys, &place),
            Shape::Sections(keys, ..) => find_elsewhere(key, keys, &format!("{place}[]")),
            Shape::Leaf | Shape::NotBuilt => None,
        }
    })
}
