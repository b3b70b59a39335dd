//! Canonical forms, each declared once: admission writes them into custom resources, `check`
//! reports them, and for text that is never rewritten they are advice.

use serde_json::Value as Json;

use super::cursor::Cursor;
use super::notes::Notes;
use crate::mesh::Fact;
use crate::syntax::Value;

/// A field that has a canonical form, or a default.
#[derive(Debug)]
pub struct Canonical {
    /// Where it is.
    pub keys: &'static [&'static str],
    /// The canonical value, from the current one and the texts of sibling fields; `None` where
    /// isthmus has no say.
    pub form: fn(Written<'_>, Beside<'_>) -> Option<Json>,
}

/// The text of a field beside another one.
pub type Beside<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value that admission writes in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The field.
    pub keys: &'static [&'static str],
    /// The current value, if there is one.
    pub from: Option<Json>,
    /// What it becomes.
    pub to: Json,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug)]
pub enum Written<'a> {
    /// Nothing, or null.
    Absent,
    /// A string.
    Text(&'a str),
    /// Something else.
    Other,
}

impl Canonical {
    /// How the field of an object is rewritten, if it is not in its form.
    pub(crate) fn rewrite(&self, object: &Json) -> Option<Rewrite> {
        let (key, parents) = self.keys.split_last()?;
        let parent = parents.iter().try_fold(object, |parent, key| parent.get(key))?;
        let fields = parent.as_object()?;
        let from = fields.get(*key);
        let written = match from {
            None | Some(Json::Null) => Written::Absent,
            Some(Json::String(text)) => Written::Text(text),
            Some(_) => Written::Other,
        };
        let beside = |key: &str| fields.get(key)?.as_str().map(str::to_owned);
        let to = (self.form)(written, &beside)?;
        (from != Some(&to)).then(|| Rewrite { keys: self.keys, from: from.cloned(), to })
    }
}

impl Rewrite {
    /// Writes it into an object.
    pub(crate) fn apply(self, object: &mut Json) {
        let Some((key, parents)) = self.keys.split_last() else { return };
        let parent = parents.iter().try_fold(object, |parent, key| parent.get_mut(key));
        if let Some(Json::Object(fields)) = parent {
            fields.insert((*key).to_owned(), self.to);
        }
    }
}

/// Notes how a carried text, which is never rewritten, would better be written. An object of its
/// own is rewritten instead, so it needs no advice.
pub(crate) fn advise(notes: &mut Notes<'_>, root: &Cursor<'_, '_>, canonical: &[Canonical]) {
    if !root.is_carried() {
        return;
    }
    for Canonical { keys, form } in canonical {
        let Some((key, parents)) = keys.split_last() else { continue };
        let (Ok(parent), Ok(at)) = (root.walk(parents), root.walk(keys)) else { continue };
        let written = match at.node.map(|node| &node.value) {
            None => Written::Absent,
            Some(Value::Text(text)) => Written::Text(text),
            Some(_) => Written::Other,
        };
        let beside = |key: &str| parent.node?.get(key)?.text().map(str::to_owned);
        let Some(form) = form(written, &beside) else { continue };
        let advice = match (written, &form) {
            (Written::Text(text), Json::String(form)) if text == form => continue,
            (Written::Text(text), Json::String(form)) => {
                format!("{text:?} is read as {form}; write {form}")
            }
            (_, Json::String(text)) => {
                format!("not set, so the default {text} applies; write {key}: {form}")
            }
            _ => format!("not set, so the default {form} applies; write {key}: {form}"),
        };
        notes.claim_at(at.path(), Fact::Advice(advice.into()));
    }
}
