//! Where in a file the field of a finding is.

use std::collections::HashMap;
use std::ops::Range;

use crate::syntax::{Key, Node, Path, Position, Segment, Span, Value, YamlError, yaml_documents};

/// A text with the name it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user wrote it.
    pub name: String,
    text: String,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    /// Whether bytes are characters, so that no column has to be counted.
    is_ascii: bool,
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The source, as an index into those of the report.
    pub source: usize,
    /// The bytes of its text; never empty unless the text ends there.
    pub bytes: Range<usize>,
    /// The first character.
    pub start: Position,
    /// The character after the last.
    pub end: Position,
    /// Whether it is the key of a text that an object carries, which may be secret.
    pub is_carrier: bool,
    /// Whether nothing of the line may be shown.
    pub is_hidden: bool,
}

/// The bytes at which a field stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bytes of the text.
    pub bytes: Range<usize>,
    /// Whether they lie in a text that the object carries, at the line that is meant. Otherwise the
    /// message still has to name the line inside the carried text.
    pub is_inside: bool,
    /// Whether they are the key of a carried text.
    pub is_carrier: bool,
}

/// The texts that objects carry, each read once however much is looked for in it, by where they
/// lie in memory.
#[derive(Debug, Default)]
pub struct CarriedTexts<'n>(HashMap<*const str, CarriedText<'n>>);

/// What is known of a carried text.
#[derive(Debug)]
struct CarriedText<'n> {
    source: SourceFile,
    documents: Result<Vec<Node<'n>>, YamlError>,
}

impl SourceFile {
    /// A text, without a byte order mark.
    pub fn new(name: String, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { is_ascii: text.is_ascii(), name, text, lines }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the line that holds a byte, with its end.
    pub fn line_of(&self, byte: usize) -> Range<usize> {
        let next = self.lines.partition_point(|start| *start <= byte);
        let start = next.checked_sub(1).and_then(|line| self.lines.get(line)).copied();
        start.unwrap_or(0)..self.lines.get(next).copied().unwrap_or(self.text.len())
    }

    /// The bytes of a line (from 1), without its end.
    fn line(&self, number: u32) -> Option<Range<usize>> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let bytes = self.line_of(*self.lines.get(index)?);
        let line = self.text.get(bytes.clone())?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        Some(bytes.start..bytes.start + line.strip_suffix('\r').unwrap_or(line).len())
    }

    /// The line and column of a byte.
    pub fn position(&self, byte: usize) -> Position {
        let byte = floor(&self.text, byte.min(self.text.len()));
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.line_of(byte).start;
        let before = || self.text.get(start..byte).unwrap_or_default().chars().count();
        let column = if self.is_ascii { byte - start } else { before() };
        Position { line: number(line), column: number(column + 1) }
    }

    /// The place of some bytes of this source, which is the one of this index.
    pub fn location(&self, index: usize, bytes: Range<usize>) -> Location {
        let bytes = visible(&self.text, bytes);
        let (start, end) = (self.position(bytes.start), self.position(bytes.end));
        Location { source: index, bytes, start, end, is_carrier: false, is_hidden: false }
    }
}

impl<'n> CarriedTexts<'n> {
    /// Finds a field of an object of a file: its value, or what holds it as far as it exists.
    ///
    pub fn find(&mut self, file: &SourceFile, object: &'n Node<'_>, path: &Path) -> Found {
        let (segments, line): (Vec<_>, _) = (path.segments().collect(), path.position().line);
        let Some((carrier, rest)) = carrier(object, &segments) else {
            let bytes = deepest(object, &segments);
            return Found { bytes, is_inside: false, is_carrier: false };
        };
        // A text as a whole is its key: what it holds may be secret.
        let is_whole = rest.is_empty() && line == 0;
        let inside = if is_whole { None } else { self.inside(file, carrier, rest, line) };
        match inside {
            Some(bytes) => Found { bytes, is_inside: true, is_carrier: false },
            None => {
                Found { bytes: carrier.0.span.bytes.clone(), is_inside: false, is_carrier: true }
            }
        }
    }

    /// The bytes of the file at which a field of a literally carried text stands.
    fn inside(
        &mut self,
        file: &SourceFile,
        (key, node): Entry<'n, '_>,
        path: &[Segment<'_>],
        line: u32,
    ) -> Option<Range<usize>> {
        let end_of_key = key.span.bytes.end;
        let text = node.text()?;
        if !is_literal(file.text.get(end_of_key..)?) {
            return None;
        }
        let carried =
            self.0.entry(std::ptr::from_ref(text)).or_insert_with(|| CarriedText::of(text));
        let span = match &carried.documents {
            Ok(documents) => span_inside(&carried.source, documents, path, line),
            Err(error) if line == 0 || error.span.line == line => error.span.clone(),
            Err(_) => Span { line, column: 1, bytes: 0..0 },
        };
        let line = if span.line == 0 { line } else { span.line };
        let within = carried.source.line(line)?;
        // The first line of the literal text follows that of its key.
        let outside = file.line(file.position(end_of_key).line.saturating_add(line))?;
        let indent = file.text.get(outside.clone())?.strip_suffix(text.get(within.clone())?)?.len();
        let into = |byte: usize| {
            outside.start + indent + byte.clamp(within.start, within.end) - within.start
        };
        if span.bytes.is_empty() && span.column <= 1 {
            return Some(into(within.start)..into(within.end));
        }
        Some(into(span.bytes.start)..into(span.bytes.end))
    }
}

impl<'n> CarriedText<'n> {
    fn of(text: &'n str) -> Self {
        let source = SourceFile::new(String::new(), text.to_owned());
        Self { source, documents: yaml_documents(text) }
    }
}

type Entry<'n, 'a> = &'n (Key<'a>, Node<'a>);

/// The entry that carries the text that a path continues into, and the rest of that path.
fn carrier<'n, 'a, 'k>(
    object: &'n Node<'a>,
    path: &'k [Segment<'k>],
) -> Option<(Entry<'n, 'a>, &'k [Segment<'k>])> {
    let [Segment::Key(data), Segment::Key(key), rest @ ..] = path else { return None };
    // kubectl lets the texts of stringData replace those of data.
    let entry = match data.as_ref() {
        "data" => {
            let string_data = object.get("stringData").and_then(|texts| texts.entry(key));
            string_data.or_else(|| object.get("data")?.entry(key))?
        }
        "binaryData" => object.get("binaryData")?.entry(key)?,
        _ => return None,
    };
    matches!(entry.1.value, Value::Text(_)).then_some((entry, rest))
}

/// The span of a field in a carried text; that of its line where the field itself is not there.
fn span_inside(
    carried: &SourceFile,
    documents: &[Node<'_>],
    path: &[Segment<'_>],
    line: u32,
) -> Span {
    let (name, path) = match path {
        [Segment::Document(name), path @ ..] => (Some(name), path),
        path => (None, path),
    };
    let is_meant = |root: &&Node<'_>| {
        let found = root.get("metadata").and_then(|metadata| metadata.get("name")?.scalar());
        name.is_some_and(|name| found == Some(name))
    };
    let spans = documents.iter().filter(is_meant).chain(documents).map(|root| {
        let bytes = deepest(root, path);
        let Position { line, column } = carried.position(bytes.start);
        Span { line, column, bytes }
    });
    let at_line = Span { line, column: 1, bytes: 0..0 };
    spans.into_iter().find(|span| line == 0 || span.line == line).unwrap_or(at_line)
}

/// Whether what follows a key is a literal block scalar, which holds its text as it is.
fn is_literal(after_key: &str) -> bool {
    let line = after_key.lines().next().unwrap_or_default();
    let Some(value) = line.trim_start().trim_start_matches(['"', '\'']).strip_prefix(':') else {
        return false;
    };
    let mut words = value.split_whitespace().skip_while(|word| word.starts_with(['!', '&']));
    words.next().is_some_and(|word| word.starts_with('|'))
}

/// The bytes of the value at a path; where it is not there, of the key that would hold it, or of
/// what names the object.
fn deepest(root: &Node<'_>, path: &[Segment<'_>]) -> Range<usize> {
    let mut node = root;
    let mut holder = None;
    for segment in path {
        let next = match (segment, &node.value) {
            (Segment::Key(key), _) => node.entry(key).map(|(key, value)| {
                holder = Some(key.span.bytes.clone());
                value
            }),
            (Segment::Item(index), Value::List(items)) => items.get(*index),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => return holder.unwrap_or_else(|| naming(root)),
        }
    }
    match node.value {
        // What a mapping or list holds is too much to point at.
        Value::Map(_) | Value::List(_) | Value::Null => holder.unwrap_or_else(|| naming(root)),
        _ => node.span.bytes.clone(),
    }
}

fn naming(root: &Node<'_>) -> Range<usize> {
    let name = root.get("metadata").and_then(|metadata| metadata.get("name"));
    name.or_else(|| root.get("kind")).unwrap_or(root).span.bytes.clone()
}

/// Some bytes within one line and on character boundaries, with at least one character where the
/// line has one.
fn visible(text: &str, bytes: Range<usize>) -> Range<usize> {
    let start = floor(text, bytes.start.min(text.len()));
    let end = floor(text, bytes.end.min(text.len())).max(start);
    let is_end = |c: char| matches!(c, '\n' | '\r');
    let meant = text.get(start..end).unwrap_or_default();
    let end = start + meant.find(is_end).unwrap_or(meant.len());
    if end > start {
        return start..end;
    }
    let first = text.get(start..).and_then(|rest| rest.chars().next());
    start..start + first.filter(|c| !is_end(*c)).map_or(0, char::len_utf8)
}

fn floor(text: &str, mut byte: usize) -> usize {
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
