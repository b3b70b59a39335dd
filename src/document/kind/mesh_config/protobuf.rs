//! How a text that Istio reads as protobuf's JSON becomes claims and faults.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::mesh::{About, Fact, Fault, MemberName, Place, Position, Reading};
use crate::syntax::{Key, Node, Value};
use crate::value::{Invalid, similar};

/// As many faults of a text, and as many doubts, are told; an answer that names more is too long
/// for the API server.
const MOST_TOLD: usize = 100;
/// How much of a text is repeated in a path, in characters: as much as a label of Kubernetes holds.
const LONGEST_KEY: usize = 63;

/// What an object carries, read into claims of one member.
pub(super) struct Carried<'r> {
    reading: &'r mut Reading,
    member: &'r MemberName,
    /// How many faults in lists are known by one identity.
    alike: HashMap<String, usize>,
    faults: usize,
    doubts: usize,
    /// How many unknown fields of the mesh config have been compared with known ones.
    pub(super) compared: usize,
}

/// A place in a carried text.
#[derive(Clone)]
pub(super) struct Spot {
    path: String,
    /// The path without the indexes of items, which change when others come and go; nothing where
    /// the path has none.
    without_indexes: Option<String>,
    position: Position,
}

/// The fields of a protobuf message that a mapping has, in camelCase or as the .proto spells them.
pub(super) struct Message<'n> {
    spot: Spot,
    fields: Vec<(&'static str, &'n Key<'n>, &'n Node<'n>)>,
    /// The names that unknown ones were most likely meant to be.
    pub(super) meant: Vec<&'static str>,
}

impl<'r> Carried<'r> {
    pub(super) fn new(reading: &'r mut Reading, member: &'r MemberName) -> Self {
        Self { reading, member, alike: HashMap::new(), faults: 0, doubts: 0, compared: 0 }
    }

    /// Notes what is said at a place; items of a list that say something are known by their lists.
    pub(super) fn claim(&mut self, spot: &Spot, fact: Fact) {
        let place = spot.place(self.reading, spot.without_indexes.clone());
        self.reading.claim_at(self.member, place, fact);
    }

    /// Notes what Istio drops, or reads otherwise than it is written.
    pub(super) fn fault(&mut self, spot: &Spot, text: &str, why: Invalid) {
        self.faults += 1;
        self.note(self.faults, spot, text, Fault::new(About::MeshConfig, text, why));
    }

    /// Notes what Istio reads, though it is hardly meant.
    pub(super) fn doubt(&mut self, spot: &Spot, text: &str, why: Invalid) {
        self.doubts += 1;
        let fault = Fault { harmless: true, ..Fault::new(About::MeshConfig, text, why) };
        self.note(self.doubts, spot, text, fault);
    }

    fn note(&mut self, count: usize, spot: &Spot, text: &str, mut fault: Fault) {
        if count > MOST_TOLD {
            return;
        }
        if count == MOST_TOLD {
            fault.problem.push_str(", and there are more errors");
        }
        // A fault in a list is known by the value that is wrong, and among equal ones by number.
        let identity = spot.without_indexes.as_ref().map(|path| {
            let identity = format!("{path}={}", shortened(text));
            let alike = self.alike.entry(identity.clone()).or_default();
            *alike += 1;
            format!("{identity}#{alike}")
        });
        let place = spot.place(self.reading, identity);
        self.reading.claim_at(self.member, place, Fact::Fault(Arc::new(fault)));
    }

    /// The text that a value must be.
    pub(super) fn text<'n>(&mut self, spot: &Spot, node: &'n Node<'_>) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            let remedy = match &node.value {
                Value::Number(_) | Value::Bool(_) => "write it in quotes",
                _ => "write a string",
            };
            let problem = format!("must be a string, not {}", node.kind());
            self.fault(spot, "", Invalid::new(problem, remedy));
        }
        text
    }

    /// The entries of a mapping; null has none.
    pub(super) fn mapping<'n>(
        &mut self,
        spot: &Spot,
        node: &'n Node<'n>,
        remedy: &str,
    ) -> &'n [(Key<'n>, Node<'n>)] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                let problem = format!("must be a mapping, not {}", node.kind());
                self.fault(spot, "", Invalid::new(problem, remedy));
                &[]
            }
        }
    }

    /// The items of a list; null has none.
    pub(super) fn list<'n>(&mut self, spot: &Spot, node: &'n Node<'n>) -> &'n [Node<'n>] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                let problem = format!("must be a list, not {}", node.kind());
                self.fault(spot, "", Invalid::new(problem, "write a list, each item after a dash"));
                &[]
            }
        }
    }

    /// The fields of a message that has these. Istio reads past all others.
    pub(super) fn message<'n>(
        &mut self,
        spot: &Spot,
        node: &'n Node<'n>,
        known: &[&'static str],
        remedy: &str,
    ) -> Message<'n> {
        let mut message = Message { spot: spot.clone(), fields: Vec::new(), meant: Vec::new() };
        for (key, value) in self.mapping(spot, node, remedy) {
            let at = spot.field(&key.text, &key.text).at(key.span.position());
            if let Some(name) = named(&key.text, known) {
                if message.fields.iter().any(|(found, ..)| *found == name) {
                    let problem = format!(
                        "{name} is set twice: Istio treats both spellings as the same field"
                    );
                    self.fault(&at, "", Invalid::new(problem, "keep one of the two"));
                } else if value.value != Value::Null {
                    message.fields.push((name, key, value));
                }
                continue;
            }
            let name = shortened(&key.text);
            match similar(&key.text, known) {
                Some(meant) => {
                    let problem = format!("field {name:?} is unknown, and Istio ignores it");
                    self.fault(&at, "", Invalid::new(problem, format!("did you mean {meant}?")));
                    message.meant.push(meant);
                }
                None => {
                    let problem = format!(
                        "field {name:?} is unknown, and an Istio version without it ignores it"
                    );
                    let remedy = "remove it, unless the reference of your Istio version has it";
                    self.doubt(&at, "", Invalid::new(problem, remedy));
                }
            }
        }
        message
    }
}

impl<'n> Message<'n> {
    /// A field's place and value, if there is one that is not null.
    pub(super) fn field(&self, name: &'static str) -> Option<(Spot, &'n Node<'n>)> {
        let (_, key, node) = self.fields.iter().find(|(found, ..)| *found == name)?;
        Some((self.spot.field(&key.text, name).at(node.span.position()), node))
    }
}

impl Spot {
    /// The text of a key of `data`.
    pub(super) fn of(key: &str) -> Self {
        Self { path: format!("data[{key}]"), without_indexes: None, position: Position::NONE }
    }

    /// The same at a line and column of the text.
    pub(super) fn at(&self, position: Position) -> Self {
        Self { position, ..self.clone() }
    }

    /// A field, as it is written and by the name it is known by.
    pub(super) fn field(&self, written: &str, name: &str) -> Self {
        let mut field = self.clone();
        push_key(&mut field.path, written);
        if let Some(identity) = &mut field.without_indexes {
            push_key(identity, name);
        }
        field
    }

    /// An item of a list.
    pub(super) fn item(&self, index: usize, position: Position) -> Self {
        let path = format!("{}[{index}]", self.path);
        let identity = self.without_indexes.as_ref().unwrap_or(&self.path);
        Self { path, without_indexes: Some(format!("{identity}[]")), position }
    }

    /// The same, known by a name among the items of its list.
    pub(super) fn known_by(mut self, name: &str) -> Self {
        if let Some(identity) = &mut self.without_indexes {
            push_key(identity, name);
        }
        self
    }

    fn place(&self, reading: &Reading, identity: Option<String>) -> Place {
        let (object, path) = (Arc::clone(&reading.object), self.path.clone());
        match identity {
            Some(identity) => Place::in_list(object, path, self.position, identity),
            None => Place::new(object, path, self.position),
        }
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

/// Adds a key to a path: after a dot, or in brackets if it has other characters than names have.
fn push_key(path: &mut String, key: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let key = shortened(key);
    // Writing to a String cannot fail.
    let _ = if key.is_empty() || !key.chars().all(is_plain) {
        write!(path, "[{key}]")
    } else {
        write!(path, ".{key}")
    };
}

/// As much of a text as is repeated.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_KEY) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}
