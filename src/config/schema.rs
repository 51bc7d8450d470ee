//! Room `config` (wiring): the JSON Schema of the file, made from the table of keys.

use serde_json::{Map, Value as Json, json};

use super::keys;
use super::parse::parse_default;
use super::table::{Described, Fallback, Shape};
use super::tree::{Node, ScalarKind, Value, classify};

/// The JSON Schema (2020-12) of the file. Keys that are not built yet are not in it.
#[must_use]
pub fn schema() -> Json {
    let mut schema = of_keys(keys::ROOT);
    if let Json::Object(object) = &mut schema {
        object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".into(), "landfall".into());
        object.insert("description".into(), "Configuration of a landfall probe.".into());
    }
    schema
}

/// The schema of what groups keys.
pub(super) fn of_shape(shape: Shape) -> Json {
    match shape {
        Shape::Section(keys) => of_keys(keys),
        Shape::Sections(keys, min, max) => json!({
            "type": "array", "items": of_keys(keys), "minItems": min, "maxItems": max,
        }),
        Shape::Leaf | Shape::NotBuilt => json!({}),
    }
}

fn of_keys(keys: &[&dyn Described]) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys.iter().filter(|key| !matches!(key.shape(), Shape::NotBuilt)) {
        let mut schema = key.schema();
        if let Json::Object(object) = &mut schema {
            object.insert("title".into(), key.name().replace('_', " ").into());
            object.insert("description".into(), key.about().into());
            match key.fallback() {
                Fallback::Required(_) => required.push(key.name()),
                Fallback::Yaml(yaml) => {
                    object.insert("default".into(), to_json(&parse_default(yaml)));
                }
                Fallback::From(_) | Fallback::Absent => {}
            }
        }
        properties.insert(key.name().into(), schema);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The JSON value of a plain scalar.
pub(super) fn of_scalar(text: &str) -> Json {
    match classify(text) {
        ScalarKind::Null => Json::Null,
        ScalarKind::Bool | ScalarKind::Number => serde_json::from_str(text).unwrap_or(Json::Null),
        ScalarKind::Text => text.into(),
    }
}

fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { kind: ScalarKind::Text, text } => text.as_str().into(),
        Value::Scalar { text, .. } => of_scalar(text),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), to_json(&entry.node)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Broken => Json::Null,
    }
}
