//! Room `config` (wiring): YAML events to the tree, within bounds of depth and size.

use std::collections::{BTreeMap, HashMap};

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, options};

use super::problem::Problems;
use super::tree::{Entry, Node, Origin, ScalarKind, Value, classify, join};
use super::wording::one_line;

/// Deepest nesting of lists and mappings; the configuration itself needs five.
const DEPTH_MAX: usize = 32;
/// Most values in a file, aliases counted in full; 128 paths need some 8,000.
const COST_MAX: usize = 100_000;
/// A long text costs as much as one more value for each so many bytes.
const COST_TEXT: usize = 64;

/// The YAML of a default. An empty mapping if it is none, which a test excludes.
pub(super) fn parse_default(yaml: &str) -> Node {
    let mut node = parse(yaml, &mut Problems::default())
        .unwrap_or(Node { origin: Origin::Default, value: Value::Map(Vec::new()) });
    node.set_origin(Origin::Default);
    node
}

/// Reads one YAML document. Duplicate keys are noted and the parsing goes on; what can't be parsed
/// at all is noted and gives nothing.
pub(super) fn parse(yaml: &str, problems: &mut Problems) -> Option<Node> {
    let mut builder =
        Builder { problems, open: Vec::new(), anchors: HashMap::new(), cost: 0, root: None };
    match builder.run(yaml) {
        Ok(()) => builder.root,
        Err((line, what)) => {
            builder.problems.add(Origin::File(line), "", what);
            None
        }
    }
}

/// Why the whole document can't be used: a line and a sentence.
type Fatal = (usize, String);

/// A list or mapping that is not finished yet.
struct Open {
    line: usize,
    anchor: usize,
    cost_before: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, pending: Option<(String, usize)>, seen: BTreeMap<String, usize> },
}

struct Builder<'a> {
    problems: &'a mut Problems,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    cost: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn run(&mut self, yaml: &str) -> Result<(), Fatal> {
        let options = options! { emit_comments: false };
        for next in Parser::new_from_str_with_options(yaml, options) {
            let (event, span) = next.map_err(|error| syntax(yaml, &error))?;
            self.event(event, &span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fatal> {
        let line = span.start.line();
        if event.tag().is_some() {
            // What looks like a tag may be a password without quotes.
            return Err((line, "tags (!...) are not used here; put such a text in quotes".into()));
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err((line, "a second document begins here; only one is read".into()))
            }
            Event::Scalar(text, style, anchor, _) => {
                let kind = match style {
                    ScalarStyle::Plain => classify(&text),
                    _ => ScalarKind::Text,
                };
                let before = self.cost;
                self.charge(line, 1 + text.len() / COST_TEXT)?;
                let value = Value::Scalar { kind, text: text.into_owned() };
                self.finish(Node { origin: Origin::File(line), value }, anchor, before)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(line, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let seen = BTreeMap::new();
                self.begin(line, anchor, Content::Map { entries: Vec::new(), pending: None, seen })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, .. } => Value::Map(entries),
                };
                let node = Node { origin: Origin::File(open.line), value };
                self.finish(node, open.anchor, open.cost_before)
            }
            Event::Alias(anchor) => {
                let Some((node, cost)) = self.anchors.get(&anchor).cloned() else {
                    return Err((line, "an alias stands inside of its own anchor".into()));
                };
                self.charge(line, cost)?;
                self.place(node)
            }
            _ => Ok(()),
        }
    }

    fn charge(&mut self, line: usize, cost: usize) -> Result<(), Fatal> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > COST_MAX {
            let what = format!("is too much: more than {COST_MAX} values, aliases counted in full");
            return Err((line, what));
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Fatal> {
        let key = matches!(
            self.open.last(),
            Some(Open { content: Content::Map { pending: None, .. }, .. })
        );
        if key {
            return Err((line, "a key must be a plain text".into()));
        }
        if self.open.len() == DEPTH_MAX {
            return Err((line, format!("is nested more than {DEPTH_MAX} levels deep")));
        }
        let cost_before = self.cost;
        self.charge(line, 1)?;
        self.open.push(Open { line, anchor, cost_before, content });
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize, cost_before: usize) -> Result<(), Fatal> {
        if anchor != 0 {
            let (cost, line) = (self.cost - cost_before, line_of(&node));
            self.charge(line, cost)?;
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), Fatal> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let (entries, pending, seen) = match &mut open.content {
            Content::List(items) => {
                items.push(node);
                return Ok(());
            }
            Content::Map { entries, pending, seen } => (entries, pending, seen),
        };
        let line = line_of(&node);
        match (pending.take(), node.value) {
            (Some((key, line)), value) => {
                let node = Node { origin: node.origin, value };
                if let Some(first) = seen.get(&key) {
                    let what = format!("is given twice; the first is on line {first}");
                    let place = join(&self.place_of_open(), &key);
                    self.problems.add(Origin::File(line), &place, what);
                } else {
                    seen.insert(key.clone(), line);
                    entries.push(Entry { key, line, node });
                }
            }
            (None, Value::Scalar { text, .. }) => *pending = Some((text, line)),
            (None, _) => return Err((line, "a key must be a plain text".into())),
        }
        Ok(())
    }

    /// The key path of the list or mapping that is being filled.
    fn place_of_open(&self) -> String {
        let mut place = String::new();
        for open in self.open.iter().rev().skip(1).rev() {
            match &open.content {
                Content::List(items) => place = format!("{place}[{}]", items.len()),
                Content::Map { pending: Some((key, _)), .. } => place = join(&place, key),
                Content::Map { .. } => {}
            }
        }
        place
    }
}

/// What the scanner says, and where. It places a tab in an indentation before its line.
fn syntax(yaml: &str, error: &ScanError) -> Fatal {
    let line = error.marker().line();
    let tab = |text: &str| text.trim_start_matches(' ').starts_with('\t');
    let near = yaml.lines().zip(1..).skip(line.saturating_sub(1)).take(2);
    match near.filter(|(text, _)| tab(text)).map(|(_, line)| line).next() {
        Some(line) => (line, "is not valid YAML: indent with spaces, not with tabs".into()),
        None => (line, format!("is not valid YAML: {}", one_line(&error.info()))),
    }
}

fn line_of(node: &Node) -> usize {
    if let Origin::File(line) = node.origin { line } else { 0 }
}
