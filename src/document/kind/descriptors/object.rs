//! A descriptor that is an object of the cluster registry itself, or a file that ConfigMap
//! `multicluster` is made of.

use super::descriptor::{Descriptor, KIND, PREFIX, Surroundings};
use crate::document::entry::local;
use crate::document::toolkit::{Notes, PILOT, fields, of_object};
use crate::mesh::{MemberName, Reading};
use crate::settings::Settings;
use crate::syntax::{Key, Node, Object, Span, Value};

/// Reads a descriptor that is an object itself: Pilot reads none of those, but a ConfigMap is made
/// of them. What only several of them together show is not judged here.
pub(super) fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let holder = reading.object.to_string();
    let name = MemberName::clone(&reading.object.name);
    let mut notes = Notes::new(reading, name);
    let fields = fields(object, ["spec"], &mut notes);
    let spec = fields.top().node.and_then(|fields| fields.get("spec")).cloned();
    let nested = object.metadata.nested_spec.map(|raw| Node::from_json(raw.get(), &object.budget));
    let annotations = object.annotations().map(|(key, value)| entry(key, text(value)));
    let annotations: Vec<_> = annotations.collect();
    let is_istio = annotations.iter().any(|(key, _)| key.text.starts_with(PREFIX));
    let mut metadata = vec![entry("name", text(object.name()))];
    metadata.push(entry("annotations", node(Value::Map(annotations))));
    metadata.extend(nested.and_then(Result::ok).map(|spec| entry("spec", spec)));
    let mut entries = vec![
        entry("apiVersion", text(&object.api_version)),
        entry("kind", text(KIND)),
        entry("metadata", node(Value::Map(metadata))),
    ];
    entries.extend(spec.map(|spec| entry("spec", spec)));
    let root = node(Value::Map(entries));
    let descriptor = Descriptor { root: &root, path: None, holder, is_json: false };

    let store = descriptor.is_control_plane();
    if store == Some(true) {
        notes.member = local(settings);
    }
    of_object(object, &mut notes);
    let notes = &mut notes.in_dialect(&PILOT);
    descriptor.member(store, store == Some(true), settings, notes);
    let around = Surroundings {
        control_plane: None,
        directory: None,
        unnamed: Vec::new(),
        strict: settings.strict_descriptors,
        is_istio,
    };
    descriptor.read(&around, notes);
}

fn entry<'a>(key: &'a str, node: Node<'a>) -> (Key<'a>, Node<'a>) {
    (Key { text: key.into(), span: Span::default() }, node)
}

fn text(text: &str) -> Node<'_> {
    node(Value::Text(text.into()))
}

fn node(value: Value<'_>) -> Node<'_> {
    Node { value, span: Span::default() }
}
