//! Messages of protobuf, as JSON has them: fields in camelCase, or as the .proto spells them.

use crate::document::toolkit::{Cursor, Notes, shortened};
use crate::syntax::{Key, Node, Value};
use crate::value::{Invalid, similar};

/// The fields of a protobuf message that a mapping has.
pub(super) struct Message<'c, 'n> {
    at: &'c Cursor<'c, 'n>,
    fields: Vec<(&'static str, &'n Key<'n>, &'n Node<'n>)>,
    /// The names that unknown ones were most likely meant to be.
    pub(super) meant: Vec<&'static str>,
}

impl<'c, 'n: 'c> Message<'c, 'n> {
    /// Reads the fields of a message that has these. Istio ignores all others.
    pub(super) fn read(
        at: &'c Cursor<'c, 'n>,
        known: &[&'static str],
        wanted: &str,
        notes: &mut Notes<'_>,
    ) -> Self {
        Self::of(at, notes.entries(at, wanted).iter(), known, notes)
    }

    /// Reads the fields of a message from some entries of its mapping.
    pub(super) fn of(
        at: &'c Cursor<'c, 'n>,
        entries: impl Iterator<Item = &'n (Key<'n>, Node<'n>)>,
        known: &[&'static str],
        notes: &mut Notes<'_>,
    ) -> Self {
        let mut message = Self { at, fields: Vec::new(), meant: Vec::new() };
        for (key, value) in entries {
            let at_key = at.key(&key.text).at(key.span.position());
            if let Some(name) = named(&key.text, known) {
                if message.fields.iter().any(|(found, ..)| *found == name) {
                    let problem = format!(
                        "{name} is set twice: Istio treats both spellings as the same field"
                    );
                    notes.fault(&at_key, "", Invalid::new(problem, "keep one of the two"));
                } else if value.value != Value::Null {
                    message.fields.push((name, key, value));
                }
                continue;
            }
            let name = shortened(&key.text);
            match similar(&key.text, known) {
                Some(meant) => {
                    let problem = format!("field {name:?} is unknown, and Istio ignores it");
                    let why = Invalid::new(problem, format!("did you mean {meant}?"));
                    notes.fault(&at_key, "", why);
                    message.meant.push(meant);
                }
                None => {
                    let problem = format!(
                        "field {name:?} is unknown, and an Istio version without it ignores it"
                    );
                    let remedy = "remove it, unless the reference of your Istio version has it";
                    notes.doubt(&at_key, "", Invalid::new(problem, remedy));
                }
            }
        }
        message
    }

    /// A field, if there is one that is not null.
    pub(super) fn field(&self, name: &'static str) -> Option<Cursor<'c, 'n>> {
        let (_, key, node) = self.fields.iter().find(|(found, ..)| *found == name)?;
        Some(self.at.entry(&key.text, name, node))
    }
}

/// The field that a key names: JSON has it in camelCase, and as the .proto spells it.
pub(super) fn named(key: &str, known: &[&'static str]) -> Option<&'static str> {
    known.iter().copied().find(|name| key == *name || is_in_proto(key, name))
}

/// Whether a key is a name in snake_case.
fn is_in_proto(key: &str, name: &str) -> bool {
    let mut key = key.bytes();
    let is_next = |byte: u8| {
        let underscore = !byte.is_ascii_uppercase() || key.next() == Some(b'_');
        underscore && key.next() == Some(byte.to_ascii_lowercase())
    };
    name.bytes().all(is_next) && key.next().is_none()
}
