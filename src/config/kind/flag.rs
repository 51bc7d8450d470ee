//! Room `config` (wiring): yes or no.

use serde_json::{Value as Json, json};

use super::super::problem::Problems;
use super::super::tree::{Node, ScalarKind, Value};
use super::Kind;

/// `true` or `false`.
pub(in crate::config) struct Flag;

impl Kind for Flag {
    type Read = bool;

    fn read(&self, node: &Node, path: &str, problems: &mut Problems) -> Option<bool> {
        match &node.value {
            Value::Broken => return None,
            Value::Scalar { kind: ScalarKind::Bool, text } => {
                return Some(text.eq_ignore_ascii_case("true"));
            }
            _ => (),
        }
        let what = format!("expected true or false, found {}", node.describe());
        problems.add(node.origin, path, what);
        None
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}
