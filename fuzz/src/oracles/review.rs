//! The laws of whole reviews, from bytes to bytes.

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod, reason = "the tests' own builders")]
#[path = "../../../tests/support/objects.rs"]
mod objects;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isthmus::admission::{Hook, answer};
use isthmus::document;
use isthmus::manifest;
use isthmus::mesh::{Mesh, ObjectRef, Reading};
use isthmus::review::review_all;
use isthmus::rule::RULES;
use isthmus::settings::{Policy, Settings};
use isthmus::syntax::Object;
use serde_json::{Value as Json, json};

use super::program::Review;

/// What the API server passes on of one warning, in characters.
const LONGEST_WARNING: usize = 256;
/// How many objects of a stream are looked at: more make a slower input, not another one.
const MOST_OBJECTS: usize = 24;

/// A body as it is sent: a recorded review with changes, or any bytes that begin with a brace.
pub fn one(data: &[u8]) -> usize {
    let Review { body, mesh, strict, made } = Review::of(data);
    let known = mesh.then(example_mesh).unwrap_or_else(|| empty_mesh(strict));
    for hook in [Hook::Validate, Hook::Mutate] {
        let Some(said) = answered(known, hook, &body) else {
            return made + 2 * body.len();
        };
        if mesh {
            let turned = answered(turned_mesh(), hook, &body);
            assert_eq!(turned, Some(said), "the order in which a mesh was read shows");
        }
    }
    let review: Json = serde_json::from_slice(unmarked(&body)).unwrap();
    patches_once(known, &review);
    never_refuses_what_writes_nothing(known, &review);
    stays_allowed(empty_mesh(strict), &review);
    made + 8 * body.len()
}

/// What the laws hold of an answer to a body, which is nothing if the body is not a review.
fn answered(mesh: &Mesh, hook: Hook, body: &[u8]) -> Option<Vec<u8>> {
    let said = answer(mesh, hook, body).ok().map(|answer| answer.body);
    assert_eq!(said, answer(mesh, hook, body).ok().map(|again| again.body), "deterministic");
    let said = said?;
    let review: Json = serde_json::from_slice(unmarked(body)).expect("a review is JSON");
    let response: Json = serde_json::from_slice(&said).expect("an answer is JSON");
    well_formed(hook, &review, &response);
    Some(said)
}

fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

fn well_formed(hook: Hook, review: &Json, answer: &Json) {
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = answer["response"].as_object().unwrap();
    assert_eq!(response["uid"], review["request"]["uid"]);
    for (field, value) in response {
        let is_known = match field.as_str() {
            "uid" | "allowed" | "status" | "warnings" => true,
            "auditAnnotations" => value.as_object().unwrap().values().all(Json::is_string),
            "patch" | "patchType" => hook == Hook::Mutate,
            _ => false,
        };
        assert!(is_known, "{field}: {value}");
    }
    assert_eq!(response.contains_key("patch"), response.contains_key("patchType"));
    for warning in answer["response"]["warnings"].as_array().into_iter().flatten() {
        let warning = printable(warning);
        assert!(warning.chars().count() <= LONGEST_WARNING, "{warning}");
    }
    if response["allowed"] == true {
        return assert!(!response.contains_key("status"));
    }
    assert_eq!(response["allowed"], false);
    assert!(!response.contains_key("patch"));
    let status = &response["status"];
    assert_eq!((&status["reason"], &status["code"]), (&json!("Invalid"), &json!(422)));
    let causes = status["details"]["causes"].as_array().unwrap();
    assert!(!causes.is_empty(), "a denial has a cause");
    let message = printable(&status["message"]);
    for cause in causes {
        let (reason, told) = (printable(&cause["reason"]), printable(&cause["message"]));
        assert!(RULES.iter().any(|rule| rule.name == reason), "{reason}");
        assert!(told.ends_with(&format!("[{reason}]")), "{told}");
        assert!(message.contains(told) && message.contains(printable(&cause["field"])));
    }
}

fn printable(text: &Json) -> &str {
    let text = text.as_str().unwrap();
    assert!(!text.contains(char::is_control), "{text:?}");
    text
}

/// What is patched is the canonical form, and there is nothing left to patch.
fn patches_once(mesh: &Mesh, review: &Json) {
    let said = mutated(mesh, review);
    let Some(patch) = said["patch"].as_str() else { return };
    let patch: json_patch::Patch =
        serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
    assert!(!patch.0.is_empty());
    let object = &review["request"]["object"];
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &patch).expect("a patch fits the object");
    let mut canonical = object.clone();
    let text = object.to_string();
    let read = Object::parse(&text).unwrap();
    document::of(&read, mesh.settings()).unwrap().canonicalize(&mut canonical);
    assert_eq!(patched, canonical);
    let mut again = review.clone();
    again["request"]["object"] = patched;
    assert_eq!(mutated(mesh, &again).get("patch"), None, "applied twice");
}

fn mutated(mesh: &Mesh, review: &Json) -> Json {
    response(mesh, Hook::Mutate, review).unwrap()
}

/// A deletion, and a write of a subresource, go on whatever they hold.
fn never_refuses_what_writes_nothing(mesh: &Mesh, review: &Json) {
    for (field, value) in [("operation", "DELETE"), ("subResource", "status")] {
        let mut review = review.clone();
        review["request"][field] = value.into();
        assert_eq!(answer_to(mesh, &review).unwrap()["allowed"], true, "{field} {value}");
    }
}

/// An update that changes nothing is allowed, unless the object cannot be read at all.
fn stays_allowed(mesh: &Mesh, review: &Json) {
    let mut review = review.clone();
    review["request"]["operation"] = "UPDATE".into();
    review["request"]["oldObject"] = review["request"]["object"].clone();
    let said = answer_to(mesh, &review).unwrap();
    if said["allowed"] == false {
        let causes = said["status"]["details"]["causes"].as_array().unwrap();
        let unreadable = causes.len() == 1 && causes[0]["reason"] == "InvalidDocument";
        assert!(unreadable, "an update that changes nothing: {said}");
    }
}

/// What is answered to a review that is to be validated, if it is one.
pub(super) fn answer_to(mesh: &Mesh, review: &Json) -> Option<Json> {
    response(mesh, Hook::Validate, review)
}

fn response(mesh: &Mesh, hook: Hook, review: &Json) -> Option<Json> {
    let body = review.to_string();
    let said = answer(mesh, hook, body.as_bytes()).ok()?;
    let mut said: Json = serde_json::from_slice(&said.body).unwrap();
    Some(said["response"].take())
}

/// A review that creates an object.
pub(super) fn creation(object: &Json) -> Json {
    objects::review(None, object)
}

/// A stream of objects: the last is written to a mesh of the others.
pub fn stream(data: &[u8]) -> usize {
    let Ok(text) = std::str::from_utf8(data) else { return data.len() };
    let Ok(objects) = manifest::read(text, "file.yaml") else { return data.len() };
    let settings = Arc::new(Settings::default());
    let mut stand: BTreeMap<ObjectRef, Reading> = BTreeMap::new();
    for object in objects.iter().take(MOST_OBJECTS) {
        if let Ok(reading) = object.reading(&settings) {
            stand.insert((*reading.object).clone(), reading);
        }
    }
    let Some(last) = objects.iter().take(MOST_OBJECTS).next_back() else { return data.len() };
    let Ok(new) = last.reading(&settings) else { return data.len() };
    stand.remove(&*new.object);
    let of = |readings: &mut dyn Iterator<Item = &Reading>| {
        Mesh::of(Arc::clone(&settings), readings.cloned())
    };
    let forward = of(&mut stand.values());
    let review = creation(&serde_json::from_str(&last.json).unwrap()).to_string();
    let said = answered(&forward, Hook::Validate, review.as_bytes());

    let backward = of(&mut stand.values().rev());
    let turned = answered(&backward, Hook::Validate, review.as_bytes());
    assert_eq!(turned, said, "the order of objects shows");

    // Every object comes, goes and comes again.
    let mut restless = of(&mut stand.values().chain([&new]));
    stand.values().step_by(2).for_each(|reading| restless.remove(&reading.object));
    restless.remove(&new.object);
    stand.values().step_by(2).for_each(|reading| restless.apply(reading.clone()));
    let traced = answered(&restless, Hook::Validate, review.as_bytes());
    assert_eq!(traced, said, "what was forgotten has left a trace");

    // A mesh brings nothing to itself, and nothing is denied that is there already.
    let all = of(&mut stand.values().chain([&new]));
    let written: Vec<_> = stand.into_values().chain([new]).collect();
    let verdict = review_all(&all, &all, &written, None);
    assert_eq!(verdict.denials, [], "without a change");
    8 * data.len()
}

/// A small mesh, as it was read and in the order reversed.
pub(super) fn example_mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| Mesh::of(Arc::default(), example(&Settings::default())))
}

fn turned_mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    let turned = || example(&Settings::default()).into_iter().rev();
    MESH.get_or_init(|| Mesh::of(Arc::default(), turned()))
}

fn example(settings: &Settings) -> Vec<Reading> {
    const FILES: &[&str] = &[
        include_str!("../../../manifests/examples/mesh/cluster-b.yaml"),
        include_str!("../../../manifests/examples/mesh/local.yaml"),
        include_str!("../../../manifests/examples/mesh/peers.yaml"),
    ];
    let texts = FILES.iter().map(|text| manifest::read(text, "mesh.yaml").unwrap());
    let objects = texts.flatten().map(|object| object.reading(settings).unwrap());
    objects.collect()
}

fn empty_mesh(strict: bool) -> &'static Mesh {
    static MESHES: OnceLock<[Mesh; 2]> = OnceLock::new();
    let meshes = MESHES.get_or_init(|| {
        [false, true].map(|strict_descriptors| {
            let settings = Settings {
                strict_descriptors,
                multi_network_overlap: if strict_descriptors { Policy::Deny } else { Policy::Warn },
                ..Settings::default()
            };
            Mesh::new(Arc::new(settings))
        })
    });
    &meshes[usize::from(strict)]
}
