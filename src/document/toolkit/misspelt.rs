//! Names that are most likely misspelt, and have no effect as they are written.

use super::cursor::{Cursor, shortened};
use super::notes::Notes;
use crate::mesh::About;
use crate::syntax::{Object, Path, Segment, Value};
use crate::value::{Invalid, similar};

/// How many unknown names are compared with the known ones: each costs a look at all of them.
const MOST_COMPARED: usize = 64;

/// What the names of our own annotations and labels begin with.
const OURS: &str = "isthmus.dev/";
/// Annotations that every document of a member may have.
const COMMON: &[&str] = &["network", "allow", "replaces"];
/// Annotations that complete documents which have no fields for these facts.
const COMPLETING: &[&str] = &["cluster-domain", "pod-subnet-cidr", "service-subnet-cidr"];
const LABELS: &[&str] = &["member", "helm-values"];

/// Notes fields of a mapping that resemble known ones: what reads it ignores them.
pub(crate) fn near_misses(at: &Cursor<'_, '_>, known: &[&str], notes: &mut Notes<'_>) {
    let Some(Value::Map(entries)) = at.node.map(|node| &node.value) else { return };
    let unknown = entries.iter().filter(|(key, _)| !known.contains(&key.text.as_ref()));
    for (key, _) in unknown.take(MOST_COMPARED) {
        if let Some(meant) = similar(&key.text, known) {
            let at = at.key(&key.text).at(key.span.position());
            let problem = format!("unknown field {:?}", shortened(&key.text));
            notes.doubt_of(About::Document, &at, "", did_you_mean(problem, meant));
        }
    }
}

/// Notes unknown annotations and labels under isthmus's own prefix, and those without effect on
/// this object: those that complete a document are read only where it `is_completed` by them.
pub(crate) fn own_names(object: &Object<'_>, is_completed: bool, notes: &mut Notes<'_>) {
    let known = [COMMON, COMPLETING].concat();
    for (key, name) in ours(object.annotations()) {
        let problem = if COMMON.contains(&name) || (COMPLETING.contains(&name) && is_completed) {
            continue;
        } else if COMPLETING.contains(&name) {
            let problem = format!("annotation {key:?} has no effect on a {}", object.kind);
            Invalid::new(problem, "state the fact in the object itself, and remove the annotation")
        } else if LABELS.contains(&name) {
            is_label(key)
        } else {
            unknown("annotation", key, similar(name, &known))
        };
        notes.doubt_at(About::Document, path("annotations", key), problem);
    }
    for (key, name) in ours(object.labels()).filter(|(_, name)| !LABELS.contains(name)) {
        let why = if known.contains(&name) {
            let problem = format!("{key:?} is an annotation, not a label");
            Invalid::new(problem, "move it to metadata.annotations")
        } else {
            unknown("label", key, similar(name, LABELS))
        };
        notes.doubt_at(About::Document, path("labels", key), why);
    }
}

/// Notes what was most likely meant as a label that makes an object a document.
pub(crate) fn near_labels(object: &Object<'_>, notes: &mut Notes<'_>) {
    for (key, name) in ours(object.labels()).filter(|(_, name)| !LABELS.contains(name)) {
        if let Some(meant) = similar(name, LABELS) {
            let why = unknown("label", key, Some(meant));
            notes.doubt_at(About::Document, path("labels", key), why);
        }
    }
    for (key, _) in ours(object.annotations()).filter(|(_, name)| LABELS.contains(name)) {
        notes.doubt_at(About::Document, path("annotations", key), is_label(key));
    }
}

/// Names under our prefix, each with what follows that.
fn ours<'a>(
    names: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    names.filter_map(|(key, _)| Some((key, key.strip_prefix(OURS)?))).take(MOST_COMPARED)
}

fn is_label(key: &str) -> Invalid {
    let problem = format!("{key:?} is a label, not an annotation");
    Invalid::new(problem, "move it to metadata.labels")
}

fn unknown(what: &str, key: &str, meant: Option<&str>) -> Invalid {
    let problem = format!("unknown {what} {key:?}");
    match meant {
        Some(meant) => did_you_mean(problem, &format!("{OURS}{meant}")),
        None => Invalid::new(problem, "remove it"),
    }
}

fn did_you_mean(problem: String, meant: &str) -> Invalid {
    Invalid::new(problem, format!("did you mean {meant}?"))
}

fn path(field: &'static str, key: &str) -> Path {
    let keys = ["metadata".into(), field.into(), shortened(key).into()];
    let segments = keys.into_iter().map(Segment::Key).collect();
    Path::new(segments, crate::syntax::Position::NONE)
}
