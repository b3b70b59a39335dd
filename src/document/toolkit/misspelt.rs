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
const COMMON: &[&str] = &["isthmus.dev/network", "isthmus.dev/allow", "isthmus.dev/replaces"];
/// Annotations that complete documents which have no fields for these facts.
const COMPLETING: &[&str] = &[
    "isthmus.dev/cluster-domain",
    "isthmus.dev/pod-subnet-cidr",
    "isthmus.dev/service-subnet-cidr",
];
const LABELS: &[&str] = &["isthmus.dev/member", "isthmus.dev/helm-values"];

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
    let ours = |(key, _): &(&str, &str)| key.starts_with(OURS);
    for (key, _) in object.annotations().filter(ours).take(MOST_COMPARED) {
        let problem = if COMMON.contains(&key) || (COMPLETING.contains(&key) && is_completed) {
            continue;
        } else if COMPLETING.contains(&key) {
            let problem = format!("annotation {key:?} has no effect on a {}", object.kind);
            Invalid::new(problem, "state the fact in the object itself, and remove the annotation")
        } else {
            let problem = format!("unknown annotation {key:?}");
            match similar(key, &[COMMON, COMPLETING].concat()) {
                Some(meant) => did_you_mean(problem, meant),
                None => Invalid::new(problem, "remove it"),
            }
        };
        notes.doubt_at(About::Document, path("annotations", key), problem);
    }
    let unknown = |(key, _): &(&str, &str)| key.starts_with(OURS) && !LABELS.contains(key);
    for (key, _) in object.labels().filter(unknown).take(MOST_COMPARED) {
        let problem = format!("unknown label {key:?}");
        let why = match similar(key, LABELS) {
            Some(meant) => did_you_mean(problem, meant),
            None => Invalid::new(problem, "remove it"),
        };
        notes.doubt_at(About::Document, path("labels", key), why);
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
