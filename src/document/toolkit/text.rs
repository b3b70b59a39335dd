//! What an object holds: its fields as a tree, and the texts that it carries as trees of their own.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cursor::Cursor;
use super::notes::Notes;
use crate::mesh::About;
use crate::syntax::{Key, Node, Object, Path, Span, Value, yaml_document};
use crate::value::Invalid;

/// Fields of an object as one mapping, as if a text had carried them.
pub(crate) struct Fields<'a> {
    root: Node<'a>,
    unreadable: Vec<&'static str>,
}

impl Fields<'_> {
    /// Where they begin.
    pub(crate) fn top(&self) -> Cursor<'_, '_> {
        Cursor::top(&self.root, &self.unreadable)
    }
}

/// The fields of these names. A field that cannot be read is not reported as missing.
pub(crate) fn fields<'a>(
    object: &Object<'a>,
    names: impl IntoIterator<Item = &'static str>,
    notes: &mut Notes<'_>,
) -> Fields<'a> {
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    for name in names {
        match object.field(name) {
            Ok(Some(node)) => {
                entries.push((Key { text: name.into(), span: Span::default() }, node));
            }
            Ok(None) => {}
            Err(error) => {
                let problem = format!("cannot be read: {error}");
                let why = Invalid::new(problem, "write it as its kind requires");
                notes.fault_at(About::Document, Path::of_field(name), "", why);
                unreadable.push(name);
            }
        }
    }
    Fields { root: Node { value: Value::Map(entries), span: Span::default() }, unreadable }
}

/// The text under a key of an object's data, which in a Secret is base64.
pub(crate) fn text_of<'n>(
    object: &Object<'_>,
    at: &Cursor<'_, 'n>,
    notes: &mut Notes<'_>,
) -> Option<Cow<'n, str>> {
    let text = notes.text(at)?;
    if object.kind != "Secret" {
        return Some(text.into());
    }
    decoded(text).map_err(|why| notes.fault(at, "", why)).ok()
}

/// The text that base64 stands for.
pub(crate) fn decoded<'a>(text: &str) -> Result<Cow<'a, str>, Invalid> {
    let bytes = STANDARD.decode(text).map_err(|_| {
        Invalid::new("is not base64", "encode it with `base64 -w0`, or use stringData")
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Invalid::new("is not UTF-8 text", "save it as UTF-8"))?;
    Ok(text.into())
}

/// The tree of a text that an object carries at a path: one YAML document.
pub(crate) fn tree_of<'t>(
    object: &Object<'_>,
    text: &'t str,
    path: &Path,
    remedy: &str,
    notes: &mut Notes<'_>,
) -> Option<Node<'t>> {
    let tree = yaml_document(text, &object.budget).map_err(|error| {
        let path = path.clone().at(error.span.position());
        notes.fault_at(notes.about(), path, "", Invalid::new(error.what, remedy));
    });
    tree.ok()
}
