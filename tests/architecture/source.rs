//! Just enough of Rust's grammar to read who names what: tokens without comments and literals, the
//! paths that they form, and which lines belong to tests.

use std::collections::{BTreeMap, BTreeSet};

/// An identifier, `::`, a single punctuation mark, or a literal (as `""`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

/// A path as it would be written from the crate's root, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The tokens of a source text.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < bytes.len() {
        let (end, text) = next(bytes, at);
        let lines = source[at..end].matches('\n').count();
        if let Some(text) = text {
            found.push(Token { text, first_line: line, last_line: line + lines });
        }
        line += lines;
        at = end;
    }
    found
}

/// Where what begins at `at` ends, and its text if it is a token.
fn next(bytes: &[u8], at: usize) -> (usize, Option<String>) {
    let rest = &bytes[at..];
    let literal = |end: usize| (end.min(bytes.len()), Some("\"\"".to_owned()));
    if rest[0].is_ascii_whitespace() {
        return (at + 1, None);
    }
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        return (at + length, None);
    }
    if rest.starts_with(b"/*") {
        return (at + block_comment(rest), None);
    }
    if let Some(length) = raw_string(rest) {
        return literal(at + length);
    }
    for prefix in ["\"", "b\"", "c\""] {
        if rest.starts_with(prefix.as_bytes()) {
            return literal(at + quoted(rest, prefix.len(), b'"'));
        }
    }
    if rest.starts_with(b"b'") {
        return literal(at + quoted(rest, 2, b'\''));
    }
    if rest[0] == b'\'' {
        // A character has its closing quote behind one (possibly escaped or wide) character.
        let wide = 1 + rest[1..].iter().skip(1).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        if rest.get(1) == Some(&b'\\') || rest.get(1 + wide) == Some(&b'\'') {
            return literal(at + quoted(rest, 1, b'\''));
        }
        return (at + 1, None);
    }
    if rest.starts_with(b"::") {
        return (at + 2, Some("::".to_owned()));
    }
    let length = rest.iter().take_while(|&&byte| is_word(byte)).count().max(1);
    (at + length, Some(String::from_utf8_lossy(&rest[..length]).into_owned()))
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let start = ["r", "br", "cr"].iter().find(|prefix| {
        rest.starts_with(prefix.as_bytes()) && matches!(rest.get(prefix.len()), Some(b'"' | b'#'))
    })?;
    let hashes = rest[start.len()..].iter().take_while(|&&byte| byte == b'#').count();
    let open = start.len() + hashes;
    // `r#type` is an identifier and not a string.
    (rest.get(open) == Some(&b'"')).then_some(())?;
    let close: Vec<u8> = std::iter::once(b'"').chain(vec![b'#'; hashes]).collect();
    let body = &rest[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close);
    Some(length.map_or(rest.len(), |length| open + 1 + length + close.len()))
}

fn quoted(rest: &[u8], mut at: usize, quote: u8) -> usize {
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// For each token whether it belongs to an item behind `#[cfg(test)]`.
pub(crate) fn in_tests(tokens: &[Token]) -> Vec<bool> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut tests = vec![false; tokens.len()];
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if rest.len() > MARK.len() && rest.iter().zip(MARK).all(|(token, mark)| token.text == mark)
        {
            let end = at + item(rest);
            tests[at..end].fill(true);
            at = end;
        } else {
            at += 1;
        }
    }
    tests
}

/// How many tokens the first item has: up to its `;`, or its closing brace.
fn item(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ";" if depth == 0 => return index + 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    return index + 1;
                }
            }
            _ => (),
        }
    }
    tokens.len()
}

/// Every path of the file: those of `use` expanded, `super`, `self` and names that `use` brought in
/// resolved. `module` is the file's own path, such as `["stats", "window"]`.
pub(crate) fn paths(tokens: &[Token], module: &[&str]) -> Vec<Named> {
    let mut reader = Reader { tokens, module, scopes: Vec::new(), imported: Vec::new() };
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        at = reader.step(at, &mut found);
    }
    let aliases: BTreeMap<&str, &[String]> =
        reader.imported.iter().map(|(name, path)| (name.as_str(), path.as_slice())).collect();
    for named in &mut found {
        if let Some(whole) = aliases.get(named.segments[0].as_str())
            && whole[0] != named.segments[0]
        {
            named.segments.splice(..1, whole.iter().cloned());
        }
    }
    found
}

struct Reader<'a> {
    tokens: &'a [Token],
    module: &'a [&'a str],
    /// Open braces, each with the name of the module that it opens.
    scopes: Vec<Option<String>>,
    /// Names that `use` brought in.
    imported: Vec<(String, Vec<String>)>,
}

impl Reader<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn is_name(&self, at: usize) -> bool {
        self.text(at).bytes().next().is_some_and(|byte| is_word(byte) && !byte.is_ascii_digit())
    }

    /// Reads what begins at `at`; where the next begins.
    fn step(&mut self, at: usize, found: &mut Vec<Named>) -> usize {
        match self.text(at) {
            "{" => {
                let named = at >= 2 && self.text(at - 2) == "mod";
                self.scopes.push(named.then(|| self.text(at - 1).to_owned()));
            }
            "}" => drop(self.scopes.pop()),
            "use" if self.text(at + 1) != "<" => {
                let mut tree = Vec::new();
                let end = self.tree(at + 1, &[], &mut tree);
                for (named, alias) in tree {
                    let named = self.resolved(named);
                    let name = alias.or_else(|| named.segments.last().cloned()).unwrap_or_default();
                    self.imported.push((name, named.segments.clone()));
                    found.push(named);
                }
                return end;
            }
            _ if self.is_name(at) => {
                let line = self.tokens[at].first_line;
                let (mut segments, mut at) = (vec![self.text(at).to_owned()], at + 1);
                while self.text(at) == "::" && self.is_name(at + 1) {
                    segments.push(self.text(at + 1).to_owned());
                    at += 2;
                }
                if segments.len() > 1 {
                    let named = self.resolved(Named { segments, line });
                    found.push(named);
                }
                return at;
            }
            _ => (),
        }
        at + 1
    }

    /// Reads a tree of `use`; every path in it with its `as`.
    fn tree(
        &self,
        mut at: usize,
        before: &[String],
        found: &mut Vec<(Named, Option<String>)>,
    ) -> usize {
        let mut segments = before.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.first_line);
        loop {
            match self.text(at) {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while !matches!(self.text(at), "}" | "") {
                        at = self.tree(at, &segments, found);
                        at += usize::from(self.text(at) == ",");
                    }
                    return at + 1;
                }
                "as" => {
                    found.push((Named { segments, line }, Some(self.text(at + 1).to_owned())));
                    return at + 2;
                }
                "self" if !segments.is_empty() => at += 1,
                "*" => {
                    segments.push("*".to_owned());
                    at += 1;
                }
                _ if self.is_name(at) => {
                    segments.push(self.text(at).to_owned());
                    at += 1;
                }
                _ => {
                    found.push((Named { segments, line }, None));
                    return at;
                }
            }
        }
    }

    /// The path from the crate's root, where it begins with `super` or `self`.
    fn resolved(&self, named: Named) -> Named {
        let Named { segments, line } = named;
        let inner = self.scopes.iter().flatten().map(String::as_str);
        let mut place: Vec<&str> = self.module.iter().copied().chain(inner).collect();
        let mut rest = segments.as_slice();
        while let Some((first, further)) = rest.split_first()
            && matches!(first.as_str(), "super" | "self")
        {
            if first == "super" {
                place.pop();
            }
            rest = further;
        }
        if rest.len() == segments.len() {
            return Named { segments, line };
        }
        let start = std::iter::once("crate").chain(place).map(str::to_owned);
        Named { segments: start.chain(rest.iter().cloned()).collect(), line }
    }
}

/// How many lines have code on them, tests left out.
pub(crate) fn code_lines(tokens: &[Token]) -> usize {
    let tests = in_tests(tokens);
    let code = tokens.iter().zip(tests).filter(|(_, test)| !test);
    let lines: BTreeSet<usize> =
        code.flat_map(|(token, _)| token.first_line..=token.last_line).collect();
    lines.len()
}
