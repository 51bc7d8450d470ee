//! Room `config` (wiring): what the table of keys is made of.

use serde_json::Value as Json;

use super::Surroundings;
use super::kind::Kind;
use super::problem::Problems;
use super::tree::{Entry, Node};

/// What lies below a key.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A value that its kind reads.
    Leaf,
    /// A mapping with these keys.
    Section(&'static [&'static dyn Described]),
    /// A list of so many mappings at least and at most with these keys.
    Sections(&'static [&'static dyn Described], usize, usize),
    /// Part of the design, refused by name until it is built.
    NotBuilt,
}

/// What holds for a key that is not given.
pub(super) enum Fallback {
    /// It must be given, for example like this.
    Required(&'static str),
    /// This YAML.
    Yaml(&'static str),
    /// YAML made from what else is given.
    From(fn(&[Entry], &Surroundings<'_>) -> String),
    /// Nothing.
    Absent,
}

/// A key of the file: how it is called, what it means, what it may hold.
pub(super) struct Key<K> {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) fallback: Fallback,
    pub(super) kind: K,
}

/// A key, whatever its kind.
pub(super) trait Described: Sync {
    fn name(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn fallback(&self) -> &Fallback;
    fn schema(&self) -> Json;
    fn shape(&self) -> Shape;
}

impl<K: Kind> Described for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn fallback(&self) -> &Fallback {
        &self.fallback
    }

    fn schema(&self) -> Json {
        self.kind.schema()
    }

    fn shape(&self) -> Shape {
        self.kind.shape()
    }
}

/// A key that only groups, or that is not built yet.
pub(super) struct Group(pub(super) Shape);

impl Kind for Group {
    type Read = ();

    fn read(&self, _: &Node, _: &str, _: &mut Problems) -> Option<()> {
        None
    }

    fn schema(&self) -> Json {
        super::schema::of_shape(self.0)
    }

    fn shape(&self) -> Shape {
        self.0
    }
}
