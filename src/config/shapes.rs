//! Room `config` (wiring): load shapes: names for what is often wanted of a path.
//!
//! A shape stands for keys of `mqtt` that are not given: what the user writes beside it counts. Shapes
//! that say different things can be named together, such as `[fan_in, small]`.

use super::parse::parse_default;
use super::problem::Problems;
use super::tree::{Entry, Node, Origin, Value, join};

/// The key under which shapes are named.
pub(super) const SHAPE: &str = "shape";

/// A shape and the keys that it stands for.
struct Shape {
    name: &'static str,
    stands_for: &'static str,
}

macro_rules! shapes {
    ($($name:literal: $stands_for:literal,)*) => {
        static SHAPES: &[Shape] = &[$(Shape { name: $name, stands_for: $stands_for }),*];

        /// Every shape, by its name.
        pub(super) static NAMES: &[(&str, &str)] = &[$(($name, $name)),*];

        /// What the shapes stand for, in words.
        pub(super) const ABOUT: &str = concat!(
            "Load shapes: names for other keys below mqtt, which count only where those are not given. ",
            $($name, ": ", $stands_for, "; ",)*
            "those for different keys can be named together."
        );
    };
}

shapes! {
    "many_clients": "{clients: 1000, rate: 1000/s}",
    "few_clients": "{clients: 10, rate: 10000/s}",
    "fan_in": "{clients: 200, rate: 2000/s, subscribers: {count: 10, receive: share}}",
    "fan_out": "{clients: 10, rate: 100/s, subscribers: {count: 200, receive: all}}",
    "symmetric": "{clients: 100, rate: 1000/s, subscribers: {count: 100, receive: own}}",
    "storm": "{background: {storm: 500, every: 10s}}",
    "idle": "{background: {idle: 5000}}",
    "retained": "{retain: true}",
    "persistent": "{background: {persistent: 50, every: 10s}}",
    "slow_subscriber": "{background: {slow_subscribers: 5, read: 10KiB}}",
    "small": "{payload: {size: 16, format: text}}",
    "medium": "{payload: {size: 128, format: text}}",
    "medium_1k": "{payload: {size: 1KiB, format: json}}",
    "large": "{payload: {size: 8KiB, format: json}}",
    "large_64k": "{payload: {size: 64KiB, format: json}}",
    "large_256k": "{payload: {size: 256KiB, format: json}}",
}

/// Puts what the shapes of each path stand for in the place of keys that are not given.
pub(super) fn apply(root: &mut Node, problems: &mut Problems) {
    let Some(Value::List(paths)) = root.get_mut("paths").map(|paths| &mut paths.value) else {
        return;
    };
    for (index, path) in paths.iter_mut().enumerate() {
        if let Some(mqtt) = path.get_mut("mqtt") {
            shape(mqtt, &format!("paths[{index}].mqtt"), problems);
        }
    }
}

/// What is no list of shapes is left to whoever reads the key.
fn shape(mqtt: &mut Node, path: &str, problems: &mut Problems) {
    let Some(named) = mqtt.get(SHAPE) else { return };
    let (origin, named) = (named.origin, texts(named));
    for name in named {
        let Some(shape) = SHAPES.iter().find(|shape| shape.name == name) else { continue };
        let mut stands_for = parse_default(shape.stands_for);
        stands_for.set_origin(Origin::Shape(shape.name));
        if let Some((key, other)) = add(mqtt, stands_for, "") {
            let what = format!("{other} and {name} both stand for {key}; give one of them");
            problems.add(origin, &join(path, SHAPE), what);
        }
    }
}

fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Scalar { text, .. } => vec![text.clone()],
        Value::List(items) => items.iter().flat_map(texts).collect(),
        Value::Map(_) | Value::Broken => Vec::new(),
    }
}

/// Adds keys that are not there. A key that another shape stands for, and that shape.
fn add(to: &mut Node, from: Node, path: &str) -> Option<(String, &'static str)> {
    let (Value::Map(there), Value::Map(new)) = (&mut to.value, from.value) else { return None };
    let mut clash = None;
    for entry in new {
        let path = join(path, &entry.key);
        let found = there.iter_mut().find(|known| known.key == entry.key);
        match found {
            None => there.push(entry),
            Some(Entry { node, .. }) if matches!(node.value, Value::Map(_)) => {
                clash = clash.or(add(node, entry.node, &path));
            }
            Some(Entry { node: Node { origin: Origin::Shape(other), .. }, .. }) => {
                clash = clash.or(Some((path, other)));
            }
            Some(_) => {}
        }
    }
    clash
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn applied(mqtt: &str) -> (Node, String) {
        let mut problems = Problems::of("landfall.yaml");
        let yaml = format!("paths: [{{mqtt: {mqtt}}}]");
        let mut root = parse(&yaml, &mut problems).unwrap();
        apply(&mut root, &mut problems);
        (root.nearest("paths[0].mqtt").clone(), problems.to_string())
    }

    fn text(node: &Node, path: &str) -> (String, Origin) {
        let found = node.nearest(path);
        (texts(found).concat(), found.origin)
    }

    #[test]
    fn a_shape_stands_for_what_is_not_given() {
        let (mqtt, problems) = applied("{shape: [many_clients, small], rate: 7/s}");
        assert_eq!(problems, "");
        assert_eq!(text(&mqtt, "clients"), ("1000".into(), Origin::Shape("many_clients")));
        assert_eq!(text(&mqtt, "rate"), ("7/s".into(), Origin::File(1)));
        assert_eq!(text(&mqtt, "payload.size"), ("16".into(), Origin::Shape("small")));
        let (mqtt, _) = applied("{shape: small, payload: {size: 20}}");
        assert_eq!(text(&mqtt, "payload.size"), ("20".into(), Origin::File(1)));
        assert_eq!(text(&mqtt, "payload.format"), ("text".into(), Origin::Shape("small")));
    }

    #[test]
    fn shapes_for_the_same_key_are_refused_and_others_add_up() {
        let (_, problems) = applied("{shape: [many_clients, few_clients]}");
        let both = "many_clients and few_clients both stand for clients; give one of them";
        assert_eq!(problems, format!("landfall.yaml:1: paths[0].mqtt.shape: {both}"));
        assert_eq!(applied("{shape: [many_clients, few_clients], clients: 3, rate: 5/s}").1, "");
        let (mqtt, problems) = applied("{shape: [idle, slow_subscriber]}");
        assert_eq!(problems, "");
        assert_eq!(text(&mqtt, "background.idle").0, "5000");
        assert_eq!(text(&mqtt, "background.slow_subscribers").0, "5");
    }

    #[test]
    fn what_is_no_shape_is_left_alone() {
        for mqtt in ["{shape: square}", "{shape: {}}", "{shape: 7}", "{}", "x"] {
            assert_eq!(applied(mqtt).1, "", "{mqtt}");
        }
    }
}
