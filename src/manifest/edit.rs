//! One field written into a text, in the style of what stands around it.

use serde_json::Value as Json;

use super::fix::Edit;
use crate::syntax::{Key, Node, Span, Value, yaml_documents};

/// The edit that gives the field at a path this value, or why there is none.
pub(super) fn write(
    text: &str,
    object: &Node<'_>,
    keys: &[&str],
    value: &Json,
) -> Result<Edit, &'static str> {
    let Some((key, parents)) = keys.split_last() else { return Err("it is not a field") };
    let mut map = object;
    let merges = |map: &Node<'_>| map.get("<<").is_some();
    let mut is_merged = merges(map);
    for parent in parents {
        map = map.get(parent).ok_or("its parent is missing")?;
        if source(text, &map.span).starts_with('*') {
            return Err("it is inside an alias");
        }
        is_merged |= merges(map);
    }
    // What a merge brings may be this very field.
    if is_merged {
        return Err("its parent merges another mapping");
    }
    match map.entry(key) {
        Some((key, node)) if node.value == Value::Null => fill(text, key, node, value),
        Some((key, node)) => replace(text, key, node, value),
        None => insert(text, map, key, value),
    }
}

/// Replaces a scalar and keeps its quotes.
fn replace(text: &str, key: &Key<'_>, node: &Node<'_>, value: &Json) -> Result<Edit, &'static str> {
    let old = source(text, &node.span);
    if old.starts_with('*') {
        return Err("it is an alias");
    }
    let quote = old.chars().next().filter(|c| matches!(c, '"' | '\''));
    let is_block = quote.is_none() && node.span.line != key.span.line;
    if old.contains('\n') || is_block {
        return Err("it is written over several lines");
    }
    let text = match (quote, value) {
        (Some('\''), Json::String(text)) => format!("'{}'", text.replace('\'', "''")),
        (Some(_), _) => value.to_string(),
        (None, _) => plain(value),
    };
    Ok(Edit { bytes: node.span.bytes.clone(), text })
}

/// Writes a value where a key has none, or a null.
fn fill(text: &str, key: &Key<'_>, node: &Node<'_>, value: &Json) -> Result<Edit, &'static str> {
    let is_json = source(text, &key.span).starts_with('"');
    let value = if is_json { value.to_string() } else { plain(value) };
    if !source(text, &node.span).is_empty() {
        if source(text, &node.span).starts_with('*') {
            return Err("it is an alias");
        }
        return Ok(Edit { bytes: node.span.bytes.clone(), text: value });
    }
    let after = text.get(key.span.bytes.end..).unwrap_or_default();
    let blanks = after.len() - after.trim_start_matches(' ').len();
    if !after.trim_start_matches(' ').starts_with(':') {
        return Err("its key has no colon");
    }
    let at = key.span.bytes.end + blanks + 1;
    Ok(Edit { bytes: at..at, text: format!(" {value}") })
}

/// Adds an entry to a mapping.
fn insert(text: &str, map: &Node<'_>, key: &str, value: &Json) -> Result<Edit, &'static str> {
    let Value::Map(entries) = &map.value else { return Err("its parent is not a mapping") };
    if source(text, &map.span).starts_with('{') {
        return Ok(insert_flow(text, map, entries, key, value));
    }
    let Some((first, _)) = entries.first() else { return Err("its parent is empty") };
    let written = |sibling: &Key<'_>| {
        if source(text, &sibling.span).starts_with('"') {
            format!("{}: {value}", Json::from(key))
        } else {
            format!("{key}: {}", plain(value))
        }
    };
    // The end of the line before is there unless the object is the whole text.
    let before = text.get(..first.span.bytes.start).unwrap_or_default().rsplit_once('\n');
    let after = text.get(first.span.bytes.end..).unwrap_or_default().split_once('\n');
    let is_crlf = before.or(after).is_some_and(|(line, _)| line.ends_with('\r'));
    let end = if is_crlf { "\r\n" } else { "\n" };
    if let Some((sibling, node)) = beside(text, entries, key) {
        let rest = text.get(node.span.bytes.end..).unwrap_or_default();
        // A lone carriage return ends a line too.
        let line = rest.split(['\r', '\n']).next().unwrap_or_default();
        let at = node.span.bytes.end + line.len();
        let text = format!("{end}{}{}", indent(sibling), written(sibling));
        return Ok(Edit { bytes: at..at, text });
    }
    let at = first.span.bytes.start;
    let text = format!("{}{end}{}", written(first), indent(first));
    Ok(Edit { bytes: at..at, text })
}

fn indent(key: &Key<'_>) -> String {
    " ".repeat(usize::try_from(key.span.column).unwrap_or(1).saturating_sub(1))
}

/// The entry after whose line a new one belongs: the one whose name is most like it, or the last;
/// of those that end on the line on which they begin.
fn beside<'n, 'a>(
    text: &str,
    entries: &'n [(Key<'a>, Node<'a>)],
    key: &str,
) -> Option<&'n (Key<'a>, Node<'a>)> {
    let in_one_line = |(key, node): &&(Key<'_>, Node<'_>)| {
        let is_scalar = !matches!(node.value, Value::Map(_) | Value::List(_));
        is_scalar && key.span.line == node.span.line && !source(text, &node.span).contains('\n')
    };
    let alike = |(sibling, _): &&(Key<'_>, Node<'_>)| {
        let shared = sibling.text.chars().zip(key.chars()).take_while(|(a, b)| a == b).count();
        // A letter or two say nothing.
        if shared < 4 { 0 } else { shared }
    };
    // Of several that are alike in the same measure, this is the last.
    entries.iter().filter(in_one_line).max_by_key(alike)
}

fn insert_flow(
    text: &str,
    map: &Node<'_>,
    entries: &[(Key<'_>, Node<'_>)],
    key: &str,
    value: &Json,
) -> Edit {
    let Some((sibling, node)) = entries.last() else {
        let at = map.span.bytes.start + 1;
        return Edit { bytes: at..at, text: format!("{}: {value}", Json::from(key)) };
    };
    let is_json = source(text, &sibling.span).starts_with('"');
    let after = text.get(sibling.span.bytes.end..).unwrap_or_default();
    let is_dense = is_json && after.starts_with(':') && !after.starts_with(": ");
    let before = text.get(..sibling.span.bytes.start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let between = if !line.is_empty()
        && line.trim_matches([' ', '\t']).is_empty()
        && before.contains('\n')
    {
        format!("{}{line}", if before.ends_with(&format!("\r\n{line}")) { "\r\n" } else { "\n" })
    } else if is_dense {
        String::new()
    } else {
        " ".to_owned()
    };
    let entry = match (is_json, is_dense) {
        (true, true) => format!("{}:{value}", Json::from(key)),
        (true, false) => format!("{}: {value}", Json::from(key)),
        (false, _) => format!("{key}: {}", plain(value)),
    };
    let at = end_of(text, node);
    Edit { bytes: at..at, text: format!(",{between}{entry}") }
}

/// The byte after a value; that of a flow collection is found by its brackets.
fn end_of(text: &str, node: &Node<'_>) -> usize {
    if source(text, &node.span).starts_with('*') {
        return node.span.bytes.end;
    }
    let last = match &node.value {
        Value::Map(entries) => entries.last().map(|(_, node)| node),
        Value::List(items) => items.last(),
        _ => return node.span.bytes.end,
    };
    let inner = last.map_or(node.span.bytes.end, |last| end_of(text, last));
    let rest = text.get(inner..).unwrap_or_default();
    // Commas, blanks and comments may stand before the bracket; a bracket in a comment makes an
    // edit that is refused when the text is read again.
    inner + rest.find(['}', ']']).map_or(0, |bracket| bracket + 1)
}

/// A value without quotes where that means the same, with double quotes otherwise.
fn plain(value: &Json) -> String {
    let Json::String(text) = value else { return value.to_string() };
    let is_tame = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/:%".contains(c));
    let line = format!("- {text}");
    let means_itself = is_tame
        && yaml_documents(&line).is_ok_and(|documents| match documents.as_slice() {
            [Node { value: Value::List(items), .. }] => {
                matches!(items.as_slice(), [item] if item.text() == Some(text))
            }
            _ => false,
        });
    if means_itself { text.clone() } else { value.to_string() }
}

fn source<'t>(text: &'t str, span: &Span) -> &'t str {
    text.get(span.bytes.clone()).unwrap_or_default()
}
