//! How what is wrong with a descriptor is noted: one way for fields, annotations and kubeconfigs.

use crate::mesh::{About, Fact, Fault, MemberName, Position, Reading};
use crate::syntax::{Key, Node, Value};
use crate::value::{Invalid, similar};

/// What becomes of a descriptor that Pilot cannot read. It reads them at its start only.
pub(super) const EXITS: &str = "Pilot exits at its next start";

/// Notes claims and faults of one descriptor, or of the ConfigMap that holds many.
pub(super) struct Writer<'r> {
    pub(super) reading: &'r mut Reading,
    pub(super) member: MemberName,
    /// What stands before every path; may be nothing.
    pub(super) prefix: String,
    /// Whether Pilot takes the text for JSON, in which nothing but a string is a string.
    pub(super) is_json: bool,
}

impl Writer<'_> {
    /// Notes what is said at a path.
    pub(super) fn claim(&mut self, path: &str, at: Option<&Node<'_>>, fact: Fact) {
        let path = self.path(path);
        self.reading.claim(&self.member, path, position(at), fact);
    }

    /// Notes what Pilot fails on, drops or ignores in silence.
    pub(super) fn fault(&mut self, path: &str, at: Option<&Node<'_>>, why: Invalid) {
        self.note(About::Descriptor, false, path, position(at), why);
    }

    /// Notes what is not as it should be, though Pilot gets by all the same.
    pub(super) fn warn(&mut self, path: &str, at: Option<&Node<'_>>, why: Invalid) {
        self.note(About::Descriptor, true, path, position(at), why);
    }

    /// Notes a fault.
    pub(super) fn note(
        &mut self,
        about: About,
        harmless: bool,
        path: &str,
        position: Position,
        why: Invalid,
    ) {
        let fault = Fault { harmless, ..Fault::new(about, "", why) };
        let path = self.path(path);
        self.reading.claim(&self.member, path, position, Fact::Fault(fault.into()));
    }

    /// Notes that a value has the wrong kind.
    pub(super) fn wrong_kind(&mut self, node: &Node<'_>, path: &str, wanted: &str) {
        let problem = format!("must be {wanted}, not {}, and {EXITS}", node.kind());
        let remedy = match (wanted, node.scalar()) {
            (A_STRING, Some(text)) => format!("write {text:?}, in quotes"),
            _ => format!("write {wanted}"),
        };
        self.fault(path, Some(node), Invalid { problem, remedy });
    }

    /// Whether a value is a mapping; what is neither that nor nothing is noted.
    pub(super) fn mapping(&mut self, node: &Node<'_>, path: &str) -> bool {
        match node.value {
            Value::Map(_) => true,
            Value::Null => false,
            _ => {
                self.wrong_kind(node, path, "a mapping");
                false
            }
        }
    }

    /// The text of a value, as Pilot reads it where it wants a string; none where it is empty.
    pub(super) fn string<'n>(&mut self, node: &'n Node<'_>, path: &str) -> Option<&'n str> {
        let is_text = matches!(node.value, Value::Text(_) | Value::Null);
        let text = node.scalar().filter(|_| is_text || !self.is_json);
        if text.is_none() {
            self.wrong_kind(node, path, A_STRING);
        }
        text.filter(|text| !text.is_empty())
    }

    /// Notes fields that are none of those known.
    pub(super) fn unknown_fields(&mut self, node: &Node<'_>, path: &str, known: &[&str]) {
        let Value::Map(entries) = &node.value else { return };
        for (Key { text, span }, _) in entries {
            if known.contains(&text.as_ref()) {
                continue;
            }
            let path = if path.is_empty() { text.to_string() } else { format!("{path}.{text}") };
            let position = span.position();
            let meant = similar(text, known);
            // Go reads a field in whatever case it is written.
            let same = meant.is_some_and(|meant| meant.eq_ignore_ascii_case(text));
            let problem = format!("{text:?} is not a field of a descriptor, and Pilot ignores it");
            let why = match meant {
                Some(meant) => Invalid { problem, remedy: format!("did you mean {meant}?") },
                None => Invalid { problem, remedy: "drop it".to_owned() },
            };
            self.note(About::Descriptor, same || meant.is_none(), &path, position, why);
        }
    }

    fn path(&self, path: &str) -> String {
        match (self.prefix.as_str(), path) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        }
    }
}

const A_STRING: &str = "a string";

fn position(at: Option<&Node<'_>>) -> Position {
    at.map_or(Position::NONE, |node| node.span.position())
}
