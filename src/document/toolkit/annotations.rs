//! Annotations that mean something on the documents of a member.

use std::sync::Arc;

use super::cursor::Cursor;
use super::notes::Notes;
use super::values::{domain, subnets};
use crate::mesh::{About, Allow, Fact, Network, Replaced, Role};
use crate::syntax::{ALLOW_UNSAFE, Object, Path};
use crate::value::Invalid;

/// The path of an annotation, the last key of which is its own.
type Annotation = &'static [&'static str];

const CLUSTER_DOMAIN: Annotation = &["metadata", "annotations", "isthmus.dev/cluster-domain"];
const POD_SUBNET: Annotation = &["metadata", "annotations", "isthmus.dev/pod-subnet-cidr"];
const SERVICE_SUBNET: Annotation = &["metadata", "annotations", "isthmus.dev/service-subnet-cidr"];
const NETWORK: Annotation = &["metadata", "annotations", "isthmus.dev/network"];
const ALLOW: Annotation = &["metadata", "annotations", "isthmus.dev/allow"];
const REPLACES: Annotation = &["metadata", "annotations", "isthmus.dev/replaces"];
const UNSAFE: Annotation = &["metadata", "annotations", ALLOW_UNSAFE];

/// How many rules an annotation may allow: more than there are.
const MOST_ALLOWED: usize = 64;

/// Where the annotations of a document stand.
#[derive(Clone, Copy)]
pub(crate) enum Annotations<'a, 'n> {
    /// On the object itself.
    Object(&'a Object<'a>),
    /// On a descriptor within it.
    Descriptor(&'a Cursor<'a, 'n>),
}

impl Annotations<'_, '_> {
    fn find(&self, annotation: Annotation) -> Option<(&str, Path)> {
        match self {
            Self::Object(object) => {
                Some((object.annotation(annotation.last()?)?, Path::fixed(annotation)))
            }
            Self::Descriptor(descriptor) => {
                let found = descriptor.walk(annotation).ok()?;
                Some((found.node?.scalar()?, found.path()))
            }
        }
    }
}

/// Reads the annotations that complete a document without fields of its own for them.
pub(crate) fn completing_annotations(annotations: Annotations<'_, '_>, notes: &mut Notes<'_>) {
    if let Some((text, path)) = annotations.find(CLUSTER_DOMAIN) {
        domain(notes, path, text.trim());
    }
    for (annotation, role) in [(POD_SUBNET, Role::Pod), (SERVICE_SUBNET, Role::Service)] {
        if let Some((text, path)) = annotations.find(annotation) {
            subnets(notes, &path, role, text.split(',').map(str::trim));
        }
    }
}

/// Reads the annotations that mean something on every document of a member.
pub(crate) fn common_annotations(object: &Object<'_>, notes: &mut Notes<'_>) {
    network_annotation(Annotations::Object(object), notes);
    of_object(object, notes);
}

/// Reads what an object says of itself: what it allows and replaces, and that it is being deleted.
pub(crate) fn of_object(object: &Object<'_>, notes: &mut Notes<'_>) {
    allow(object, notes);
    replaces(object, notes);
    if object.metadata.is_terminating {
        notes.claim_at(&["metadata", "deletionTimestamp"], Fact::Terminating);
    }
}

/// Reads the annotation that names the network of a member.
pub(crate) fn network_annotation(annotations: Annotations<'_, '_>, notes: &mut Notes<'_>) {
    let Some((text, path)) = annotations.find(NETWORK) else { return };
    match text.trim() {
        "" => {
            let remedy = "write the name of the network, or remove the annotation";
            let why = Invalid::new("the network name is empty", remedy);
            notes.fault_at(About::Document, path, text, why);
        }
        name => notes.claim_at(path, Fact::Network(Network::Named(name.into()))),
    }
}

/// Reads the annotation that turns denials of an object into warnings.
fn allow(object: &Object<'_>, notes: &mut Notes<'_>) {
    if let Some((text, path)) = Annotations::Object(object).find(ALLOW) {
        let rules = text.split(',').map(str::trim).filter(|rule| !rule.is_empty());
        let rules = rules.take(MOST_ALLOWED).map(str::to_owned).collect();
        notes.claim_at(path, Fact::Allow(Arc::new(Allow::Rules(rules))));
    }
}

/// Reads the annotation that names the object whose place this one takes.
fn replaces(object: &Object<'_>, notes: &mut Notes<'_>) {
    let annotations = Annotations::Object(object);
    let Some((text, path)) = annotations.find(REPLACES) else { return };
    match text.trim().split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
            let replaced = Replaced { kind: kind.into(), name: name.into() };
            notes.claim_at(path, Fact::Replaces(Arc::new(replaced)));
        }
        _ => {
            let remedy = "write its kind and name, such as IstioMulticluster/cluster-b";
            let why = Invalid::new(format!("{text:?} does not name an object"), remedy);
            notes.fault_at(About::Document, path, text, why);
        }
    }
}

/// Notes that an operator renders the object: nobody could correct it there.
pub(crate) fn rendered(object: &Object<'_>, notes: &mut Notes<'_>) {
    const HERITAGE: (&str, &str) = ("heritage", "deckhouse");
    if object.metadata.is_owned || object.label(HERITAGE.0) == Some(HERITAGE.1) {
        notes.claim_at(&["metadata"], Fact::Allow(Arc::new(Allow::Rendered)));
    }
}

/// Reads Deckhouse's own escape hatch, which it honours on some kinds. Deckhouse takes an empty
/// value and `null` as unset, and anything else as set.
pub(crate) fn allow_unsafe(object: &Object<'_>, notes: &mut Notes<'_>) {
    let is_set = |(text, _): &(&str, Path)| !matches!(*text, "" | "null");
    let annotations = Annotations::Object(object);
    let Some((text, path)) = annotations.find(UNSAFE).filter(is_set) else { return };
    if text.eq_ignore_ascii_case("false") {
        let problem = format!("{text:?} allows unsafe changes, as any other value does");
        let why = Invalid::new(problem, "remove the annotation to allow none");
        notes.doubt_at(About::Document, path.clone(), why);
    }
    notes.claim_at(path, Fact::Allow(Arc::new(Allow::Every)));
}
