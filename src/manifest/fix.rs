//! Defaults written back into a text, everything else of which stays as it is, byte for byte.
//!
//! The canonical form of an object becomes a few edits of single fields. Whether they were right is
//! never taken for granted: the edited text is read again and must hold the canonical objects and
//! else what it held before.

use std::ops::Range;

use serde_json::Value as Json;

use super::{Manifest, edit, read};
use crate::document::{self, Rewrite, of};
use crate::mesh::ObjectRef;
use crate::settings::Settings;
use crate::syntax::{Node, Object, Path, Value, YamlError, yaml_documents};

/// A text with the defaults written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The text.
    pub text: String,
    /// What was written, in the order of the text.
    pub changes: Vec<Change>,
    /// What could not be written.
    pub left: Vec<Left>,
}

/// A field that admission would write otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// The field, with dots.
    pub field: String,
    /// The current value.
    pub from: Option<Json>,
    /// What it becomes.
    pub to: Json,
    /// The byte of the text at which it begins.
    pub at: usize,
}

/// An object that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which of the text's objects, from 0.
    pub index: usize,
    /// The object.
    pub object: ObjectRef,
    /// Why.
    pub why: &'static str,
}

/// One replacement in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) bytes: Range<usize>,
    pub(super) text: String,
}

/// An object that is not in its canonical form, and the edits that bring it there.
struct Wanted {
    index: usize,
    object: ObjectRef,
    edits: Vec<(Change, Edit)>,
}

/// What admission would write otherwise in an object; nothing if it has no canonical form.
pub fn rewrites(manifest: &Manifest<'_>, settings: &Settings) -> Vec<Rewrite> {
    let Some(document) = manifest.document(settings) else { return Vec::new() };
    let object = serde_json::from_str::<Json>(&manifest.json);
    object.map_or_else(|_| Vec::new(), |object| document.rewrites(&object))
}

/// Writes the defaults back into a text. `file` is the name of documents that carry none.
pub fn fix(text: &str, file: &str, settings: &Settings) -> Result<Fixed, YamlError> {
    let mut wanted = Vec::new();
    let mut left = Vec::new();
    for (index, manifest) in read(text, file)?.iter().enumerate() {
        let rewrites = rewrites(manifest, settings);
        let Some(object) = manifest.object().ok().filter(|_| !rewrites.is_empty()) else {
            continue;
        };
        let object = document::reference(&object);
        let edits = rewrites.into_iter().map(|Rewrite { keys, from, to }| {
            let edit = edit::write(text, &manifest.node, keys, &to)?;
            let (object, field) = (object.clone(), Path::fixed(keys).to_string());
            Ok((Change { object, field, from, to, at: 0 }, edit))
        });
        match edits.collect() {
            Ok(edits) => wanted.push(Wanted { index, object, edits }),
            Err(why) => left.push(Left { index, object, why }),
        }
    }
    let before = contents(text)?;
    let (all, kept) = apply(text, &wanted);
    let (text, changes) = if is_as_wanted(&before, &all, &wanted, file, settings) {
        (all, kept)
    } else {
        one_by_one(text, &before, wanted, &mut left, file, settings)
    };
    left.sort_by_key(|left| left.index);
    Ok(Fixed { text, changes, left })
}

/// Applies the edits of those objects of which alone each can be edited.
fn one_by_one(
    text: &str,
    before: &[Json],
    wanted: Vec<Wanted>,
    left: &mut Vec<Left>,
    file: &str,
    settings: &Settings,
) -> (String, Vec<Change>) {
    let mut kept = Vec::new();
    for wanted in wanted {
        kept.push(wanted);
        let (text, _) = apply(text, &kept);
        if is_as_wanted(before, &text, &kept, file, settings) {
            continue;
        }
        if let Some(Wanted { index, object, .. }) = kept.pop() {
            left.push(Left {
                index,
                object,
                why: "it cannot be edited without changing other parts",
            });
        }
    }
    apply(text, &kept)
}

fn apply(text: &str, wanted: &[Wanted]) -> (String, Vec<Change>) {
    let mut edits: Vec<_> = wanted.iter().flat_map(|wanted| &wanted.edits).collect();
    edits.sort_by_key(|(_, edit)| (edit.bytes.start, edit.bytes.end));
    let mut edited = String::with_capacity(text.len());
    let mut changes = Vec::new();
    let mut done = 0;
    for (change, edit) in edits {
        edited.push_str(text.get(done..edit.bytes.start).unwrap_or_default());
        let blanks = edit.text.len() - edit.text.trim_start_matches([',', ' ', '\r', '\n']).len();
        changes.push(Change { at: edited.len() + blanks, ..change.clone() });
        edited.push_str(&edit.text);
        done = edit.bytes.end;
    }
    edited.push_str(text.get(done..).unwrap_or_default());
    (edited, changes)
}

/// Whether a text holds what the one before held, but for the objects that are now canonical.
fn is_as_wanted(
    before: &[Json],
    edited: &str,
    wanted: &[Wanted],
    file: &str,
    settings: &Settings,
) -> bool {
    let mut expected = before.to_vec();
    let mut index = 0;
    for document in &mut expected {
        canonicalize(document, &mut index, wanted, file, settings);
    }
    contents(edited).is_ok_and(|contents| contents == expected)
}

/// Canonicalizes the wanted ones of the objects in a document, in the order of [`read`].
fn canonicalize(
    json: &mut Json,
    index: &mut usize,
    wanted: &[Wanted],
    file: &str,
    settings: &Settings,
) {
    let Some(kind) = json.get("kind").and_then(Json::as_str) else { return };
    if kind.ends_with("List")
        && let Some(items) = json.get_mut("items").and_then(Json::as_array_mut)
    {
        for item in items {
            canonicalize(item, index, wanted, file, settings);
        }
        return;
    }
    if wanted.iter().any(|wanted| wanted.index == *index) {
        let text = json.to_string();
        if let Ok(mut object) = Object::parse(&text) {
            object.file = Some(file.into());
            if let Some(document) = of(&object, settings) {
                document.canonicalize(json);
            }
        }
    }
    *index += 1;
}

fn contents(text: &str) -> Result<Vec<Json>, YamlError> {
    let documents = yaml_documents(text)?;
    // An object's kind is known from a text only, as `read` knows it.
    let is_read = |node: &Node<'_>| !matches!(node.value, Value::Null);
    Ok(documents.iter().filter(|node| is_read(node)).map(Node::to_json).collect())
}

#[cfg(test)]
mod tests;
