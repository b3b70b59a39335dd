//! YAML as Kubernetes' tools read it, into nodes that know their lines.

use std::collections::HashMap;

use granit_parser::{
    Event, Options, Parser, ScalarStyle, ScanError, Span as Source, StrInput, Tag,
};

use super::node::{DEEPEST, Entries, Key, Node, Span, Value};
use crate::budget::Budget;

/// Why a text is not YAML that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {}, column {})", .span.line, .span.column)]
pub struct YamlError {
    /// What is wrong.
    pub what: String,
    /// Where.
    pub span: Span,
}

/// How many values a file may hold, aliases counted as often as they are used: enough for the
/// export of a very large mesh.
const MOST_IN_FILE: usize = 20_000_000;

/// How many bytes of text count as one more value.
const BYTES_PER_VALUE: usize = 64;

/// How many values the aliases of any text may stand for, and how many more for each byte of it: a
/// text that grows without bound when it is read costs more than its size.
const COPIES: usize = 4096;
const COPIES_PER_BYTE: usize = 8;

/// Reads every document of a file; an empty one is a null.
pub fn documents(text: &str) -> Result<Vec<Node<'_>>, YamlError> {
    texts(text, &Budget::of(MOST_IN_FILE))
}

/// Reads every document of a text, as far as the budget goes: the texts of one object share one.
pub(crate) fn texts<'a>(text: &'a str, budget: &Budget<'_>) -> Result<Vec<Node<'a>>, YamlError> {
    Reader::new(text, budget).documents()
}

/// Reads a text inside an object, which must hold one document, as far as the budget goes.
pub(crate) fn document<'a>(text: &'a str, budget: &Budget<'_>) -> Result<Node<'a>, YamlError> {
    let mut documents = Reader::new(text, budget).documents()?.into_iter();
    let first = documents.next();
    if let Some(second) = documents.find(|document| document.value != Value::Null) {
        let what = "a second YAML document, which is never read".to_owned();
        return Err(YamlError { what, span: second.span });
    }
    Ok(first.unwrap_or(Node { value: Value::Null, span: Span::default() }))
}

struct Reader<'a, 'b> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node<'a>>,
    sizes: HashMap<usize, usize>,
    nodes: usize,
    /// How many values aliases may still stand for.
    copies: usize,
    budget: &'b Budget<'b>,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn new(text: &'a str, budget: &'b Budget<'_>) -> Self {
        let mut options = Options::default();
        options.emit_comments = false;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            sizes: HashMap::new(),
            nodes: 0,
            copies: COPIES + COPIES_PER_BYTE * text.len(),
            budget,
        }
    }

    fn documents(&mut self) -> Result<Vec<Node<'a>>, YamlError> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                Some((Event::StreamEnd, _)) | None => return Ok(documents),
                Some((Event::DocumentStart(..), span)) => {
                    self.anchors.clear();
                    self.sizes.clear();
                    let (event, at) = self.next()?.unwrap_or((Event::DocumentEnd, span));
                    if matches!(event, Event::DocumentEnd) {
                        documents.push(Node { value: Value::Null, span: place(&at) });
                    } else {
                        documents.push(self.node(event, &at, 0)?);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, at: &Source, depth: usize) -> Result<Node<'a>, YamlError> {
        let span = place(at);
        if depth > DEEPEST {
            return Err(error(span, format!("nested deeper than {DEEPEST} levels")));
        }
        let before = self.nodes;
        let weight = match &event {
            // An alias copies the text too.
            Event::Scalar(text, ..) => 1 + text.len() / BYTES_PER_VALUE,
            _ => 1,
        };
        self.count(weight, &span)?;
        let anchor = event.anchor_id();
        let value = match event {
            Event::Scalar(text, style, _, tag) => scalar(text, style, tag.as_deref()),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(id) => {
                self.copy(self.sizes.get(&id).copied().unwrap_or(0), &span)?;
                match self.anchors.get(&id) {
                    Some(node) => node.value.clone(),
                    None => return Err(error(span, "an alias inside its own anchor".to_owned())),
                }
            }
            _ => return Err(error(span, "a value is missing".to_owned())),
        };
        let node = Node { value, span };
        if let Some(id) = anchor.filter(|id| *id != 0) {
            let size = self.nodes - before;
            // The copy kept for the alias costs as much as the value.
            self.copy(size, &node.span)?;
            self.sizes.insert(id, size);
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, at) => items.push(self.node(event, &at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, YamlError> {
        let mut entries = Entries::default();
        let mut merged = Vec::new();
        loop {
            let (event, at) = self.expect()?;
            if matches!(event, Event::MappingEnd) {
                // What the mapping says itself comes before what it merges in.
                for (key, node) in merged {
                    let _ = entries.insert(key, node);
                }
                return Ok(entries.into_map());
            }
            let merges = is_merge_key(&event);
            let key = self.node(event, &at, depth + 1)?;
            let span = key.span;
            let text = match key.value {
                Value::Text(text) | Value::Number(text) => text,
                Value::Bool(value) => value.to_string().into(),
                Value::Null => "null".into(),
                Value::List(_) | Value::Map(_) => {
                    return Err(error(span, "a key is not a string".to_owned()));
                }
            };
            let (event, at) = self.expect()?;
            let node = self.node(event, &at, depth + 1)?;
            if merges {
                merged.append(&mut merge(node)?);
                continue;
            }
            if let Err(twice) = entries.insert(Key { text, span }, node) {
                return Err(error(twice.span, format!("duplicate key {:?}", twice.text)));
            }
        }
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.budget.spend(nodes).map_err(|end| error(span.clone(), end.to_string()))
    }

    fn copy(&mut self, nodes: usize, span: &Span) -> Result<(), YamlError> {
        let too_many = || error(span.clone(), "aliases expand to too many values".to_owned());
        self.copies = self.copies.checked_sub(nodes).ok_or_else(too_many)?;
        self.count(nodes, span)
    }

    fn expect(&mut self) -> Result<(Event<'a>, Source), YamlError> {
        let end = || error(Span::default(), "the text ends inside a value".to_owned());
        self.next()?.ok_or_else(end)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Source)>, YamlError> {
        self.parser.next_event().transpose().map_err(|error| scan_error(&error))
    }
}

/// The integer that Kubernetes' YAML library reads a plain scalar as: with underscores, and in the
/// bases that Go writes.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let mut prefixed = prefixed.iter().filter(|_| digits != "0");
    let (digits, base) = prefixed
        .find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, *base)))
        .unwrap_or((&digits, 10));
    let number = i64::from_str_radix(digits, base).ok()?;
    Some(if text.starts_with('-') { -number } else { number })
}

/// Whether a key is YAML's `<<`, which takes in the entries of other mappings.
fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// The entries that a `<<` takes in: those of a mapping, or of each mapping of a list.
fn merge(node: Node<'_>) -> Result<Vec<(Key<'_>, Node<'_>)>, YamlError> {
    match node.value {
        Value::Map(entries) => Ok(entries),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
            let maps = items.into_iter().map(merge).collect::<Result<Vec<_>, _>>()?;
            Ok(maps.into_iter().flatten().collect())
        }
        _ => Err(error(node.span, "`<<` only accepts mappings".to_owned())),
    }
}

fn scan_error(scan: &ScanError) -> YamlError {
    let marker = scan.marker();
    let at = marker.byte_offset().unwrap_or(0);
    let span =
        Span { line: number(marker.line()), column: number(marker.col()) + 1, bytes: at..at };
    error(span, format!("not YAML: {}", scan.info()))
}

fn error(span: Span, what: String) -> YamlError {
    YamlError { what, span }
}

fn place(at: &Source) -> Span {
    let bytes = at.byte_range().unwrap_or(0..0);
    Span { line: number(at.start.line()), column: number(at.start.col()) + 1, bytes }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A scalar as Kubernetes' YAML library types it: quoted text is text; plain text may be a null, a
/// boolean (also YAML 1.1's yes, no, on and off) or a number.
fn scalar<'a>(text: std::borrow::Cow<'a, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value<'a> {
    if style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.core_suffix() == Some("str")) {
        return Value::Text(text);
    }
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        plain if is_number(plain) => Value::Number(text),
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    if integer(text).is_some() {
        return true;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_merges_others_unless_it_overrides_them() {
        let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {y: 9, <<: *a}\nd: {<<: [*a, *b]}\n\"<<\": e\n";
        let expected = serde_json::json!({
            "a": {"x": 1, "y": 2}, "b": {"y": 3, "z": 4},
            "c": {"x": 1, "y": 9}, "d": {"x": 1, "y": 2, "z": 4}, "<<": "e",
        });
        assert_eq!(document(text, &Budget::of(100)).unwrap().to_json(), expected);
        assert!(document("a: {<<: 1}", &Budget::of(100)).is_err());
    }

    #[test]
    fn a_long_text_counts_each_time_it_is_used() {
        let text =
            format!("a: &a \"\\x41{}\"\nb: [{}0]\n", "x".repeat(100_000), "*a, ".repeat(100));
        let error = document(&text, &Budget::of(100_000)).unwrap_err();
        assert_eq!(error.what, "more than 100000 values, aliases counted");
    }

    #[test]
    fn aliases_expand_a_text_only_in_proportion() {
        let read = |text: &str| documents(text).map(drop).map_err(|error| error.what);
        let bomb = |levels: usize| {
            let level =
                |at: usize| format!("l{at}: &l{at} [{}0]\n", format!("*l{}, ", at - 1).repeat(9));
            format!("l0: &l0 [0]\n{}", (1..levels).map(level).collect::<String>())
        };
        assert_eq!(read(&bomb(3)), Ok(()));
        assert_eq!(read(&bomb(6)), Err("aliases expand to too many values".to_owned()));
        let used = format!("a: &a {{x: 1, y: 2}}\nb:\n{}", "- *a\n".repeat(10_000));
        assert_eq!(read(&used), Ok(()));
    }
}
