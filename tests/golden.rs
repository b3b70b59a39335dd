//! Golden cases: a mesh, a write to it, and the exact text a person sees at kubectl.
//!
//! Each file `tests/cases/<Rule>/<denied|warned|allowed>-….case` says in its first line why it is
//! there, and has sections that begin with `### name`: `settings` (optional), `mesh`, `old` (an update, if there), `new`, and `kubectl`,
//! which holds what is expected; `make golden` writes that section anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isthmus::admission::{Asked, Hook};
use isthmus::document::DOCUMENTS;
use isthmus::manifest;
use isthmus::mesh::{Mesh, Reading};
use isthmus::review::{Verdict, Write as Written, review as judge, review_all};
use isthmus::rule::{RULES, Rule};
use isthmus::settings::{Setting, Settings};
use isthmus::snapshot::{Admission, Snapshot};
use isthmus::value::Moment;
use serde_json::{Value, json};

use crate::support::golden::difference;
use crate::support::objects::{review, stated};

#[test]
fn every_case_reads_as_written() {
    let mut failures = String::new();
    let files = files();
    assert!(files.len() >= AT_LEAST, "{} of {AT_LEAST} cases are found", files.len());
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let why = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        assert!(why.len() > 10, "{}: the first line says why: `# …`", file.display());
        let (input, _) = text.split_once("### kubectl\n").expect("a kubectl section");
        let got = run(&sections(input), file);
        let kind =
            file.file_stem().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
        if outcome(&got) != kind {
            let _ = writeln!(failures, "{} is {}:\n{got}", file.display(), outcome(&got));
        }
        failures.extend(difference(file, &format!("{input}### kubectl\n{got}")));
    }
    assert!(failures.is_empty(), "{failures}");
}

/// How many cases there were when this was written: none may be lost.
const AT_LEAST: usize = 664;

/// What a rule never does needs no case: some only warn, some only deny.
const ONLY_WARN: &[&str] =
    &["PinnedMemberMoved", "ConflictingClaims", "UnknownFacts", "TrustDomainMismatch"];

#[test]
fn every_rule_has_its_cases_and_every_case_its_rule() {
    let files = files();
    for file in &files {
        let rule = file.parent().unwrap().file_name().unwrap();
        assert!(RULES.iter().any(|known| rule == known.name), "{} has no rule", file.display());
    }
    for rule in RULES {
        let has = |kind: &str| {
            files.iter().any(|file| {
                file.parent().unwrap().ends_with(rule.name)
                    && file.file_name().unwrap().to_str().unwrap().starts_with(kind)
            })
        };
        assert!(has("denied-") || ONLY_WARN.contains(&rule.name), "{} denies nothing", rule.name);
        assert!(has("warned-"), "{} warns of nothing", rule.name);
        assert!(has("allowed-"), "{} allows nothing", rule.name);
    }
}

#[test]
fn every_rule_s_example_is_what_a_case_prints() {
    let files = files();
    for rule in RULES {
        let of_rule = files.iter().filter(|file| file.parent().unwrap().ends_with(rule.name));
        let is_printed = of_rule.map(|file| fs::read_to_string(file).unwrap()).any(|case| {
            let (_, kubectl) = case.split_once("### kubectl\n").unwrap();
            kubectl.lines().any(|line| line.ends_with(rule.example))
        });
        let is_told = rule.example.ends_with(&format!(" [{}]", rule.name));
        assert!(is_told && is_printed, "{}: {:?} is printed by no case", rule.name, rule.example);
    }
}

/// An admission call, and `check --against` what there was before it, say the same. Only the
/// subnet that is proposed may be another one: a call does not offer what its object gives up.
#[test]
fn a_call_and_a_set_of_files_agree_on_every_case() {
    let mut judged = 0;
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let sections = sections(&text);
        let (settings, mesh) = mesh(&sections);
        let (new, old) = (object(sections["new"]), sections.get("old").map(|old| object(old)));
        let body = review(old.as_ref(), &new).to_string();
        let asked = Asked::read(Hook::Validate, body.as_bytes(), &settings, None).unwrap();
        asked.answer(|write| {
            let (mut before, mut after) = (mesh(), mesh());
            before.apply(write.old.clone().unwrap_or_else(|| write.new.clone()));
            if write.old.is_none() {
                before.remove(&write.new.object);
            }
            after.apply(write.new.clone());
            let of_files =
                review_all(&before, &after, std::slice::from_ref(&write.new), Some(now()));
            let of_call = judge(&mesh(), Written { now: Some(now()), ..write });
            assert!(told(&of_call) == told(&of_files), "{}", file.display());
            judged += 1;
            of_call
        });
    }
    assert!(judged >= AT_LEAST, "{judged} of {AT_LEAST} cases are judged");
}

#[test]
fn a_clash_with_a_write_that_may_not_be_stored_is_answered_with_when_to_come_again() {
    let snapshot = Snapshot::new(Mesh::new(Arc::default()));
    let settings = Settings::default();
    let ask = |name: &str| {
        let mut object = stated(name, true, "10.112.0.0/16", "10.223.0.0/16");
        object["spec"]["metadataEndpoint"] = "https://istio.one.example.com/metadata/".into();
        object["metadata"]["uid"] = format!("uid of {name}").into();
        let body = review(None, &object).to_string();
        let asked = Asked::read(Hook::Validate, body.as_bytes(), &settings, None).unwrap();
        let answer = asked.answer(|write| match snapshot.admit(write, None, false) {
            Admission::Judged(verdict) => *verdict,
            admission => unreachable!("{admission:?}"),
        });
        serde_json::from_slice::<Value>(&answer.body).unwrap()["response"].take()
    };
    assert_eq!(ask("first")["allowed"], true);
    let waits = ask("second");
    let status = &waits["status"];
    assert_eq!((&waits["allowed"], &status["code"]), (&json!(false), &json!(429)), "{waits}");
    assert_eq!(status["reason"], "TooManyRequests");
    let seconds = status["details"]["retryAfterSeconds"].as_u64().unwrap();
    assert!((1..=6).contains(&seconds), "{seconds}");
    let message = status["message"].as_str().unwrap();
    for part in ["member \"first\" (IstioMulticluster first, just admitted)", "[DuplicateMember]"] {
        assert!(message.contains(part), "{message}");
    }
    // Its own repetition waits for nobody.
    assert_eq!(ask("first")["allowed"], true);
}

#[test]
fn a_deletion_and_a_write_of_a_status_are_never_denied() {
    let mut denied = 0;
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let sections = sections(&text);
        let (mesh, new) = (mesh(&sections).1(), object(sections["new"]));
        let answer = |change: fn(&mut Value)| {
            let mut review = review(Some(&new), &new);
            review["request"]["oldObject"] = json!(null);
            change(&mut review["request"]);
            let body = review.to_string();
            let asked =
                Asked::read(Hook::Validate, body.as_bytes(), mesh.settings(), None).unwrap();
            let answer = asked.answer(|write| judge(&mesh, Written { now: Some(now()), ..write }));
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            answer["response"]["allowed"] == true
        };
        let created = answer(|request| request["operation"] = "CREATE".into());
        denied += usize::from(!created);
        let deleted = answer(|request| {
            request["operation"] = "DELETE".into();
            request["oldObject"] = request["object"].take();
        });
        let status = answer(|request| request["subResource"] = "status".into());
        assert!(deleted && status, "{}", file.display());
    }
    assert!(denied > 200, "{denied} would be denied as creations");
}

#[test]
fn what_is_allowed_is_named_in_the_audit_annotation() {
    let mut named = 0;
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let sections = sections(&text);
        let (mesh, new) = (mesh(&sections).1(), object(sections["new"]));
        let old = sections.get("old").map(|old| object(old));
        let response = &call(&mesh, Hook::Validate, old.as_ref(), &new)["response"];
        let annotations = &response["auditAnnotations"];
        let allowed = annotations["allowed-by-annotation"].as_str().unwrap_or_default();
        for rule in RULES.iter().map(|rule| rule.name) {
            let mark = format!("[{rule}, allowed by annotation]");
            let is_allowed = sections["kubectl"].contains(&mark);
            assert_eq!(allowed.split(',').any(|it| it == rule), is_allowed, "{}", file.display());
            named += usize::from(is_allowed);
        }
    }
    assert!(named > 5, "{named} are named");
}

/// What a case ends with: its objects, and the rules that its write is told of.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) objects: Vec<Value>,
    pub(crate) rules: Vec<&'static str>,
    pub(crate) settings: Arc<Settings>,
}

/// What every case ends with whose objects can all be written.
pub(crate) fn outcomes() -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let sections = sections(&text);
        let texts = [sections.get("mesh").copied().unwrap_or(""), sections["new"]];
        let read = texts.map(|text| manifest::read(text, "file.yaml").unwrap());
        let objects =
            read.iter().flatten().map(|it| serde_json::from_str::<Value>(&it.json).unwrap());
        // Of an object that is updated the last one counts.
        let mut last: Vec<Value> = Vec::new();
        for object in objects {
            let key = |of: &Value| ["name", "namespace"].map(|it| of["metadata"][it].clone());
            last.retain(|it| it["kind"] != object["kind"] || key(it) != key(&object));
            last.push(object);
        }
        if last.iter().any(|it| it["metadata"]["name"].is_null()) {
            continue;
        }
        let is_told = |rule: &&Rule| sections["kubectl"].contains(&format!("[{}", rule.name));
        outcomes.push(Outcome {
            name: file
                .iter()
                .rev()
                .take(2)
                .map(|it| it.to_str().unwrap())
                .collect::<Vec<_>>()
                .join(" of "),
            objects: last,
            rules: RULES.iter().copied().filter(is_told).map(|rule| rule.name).collect(),
            settings: mesh(&sections).0,
        });
    }
    outcomes
}

/// When all cases are judged.
pub(crate) fn now() -> Moment {
    "2026-11-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap().into()
}

/// A verdict without its proposals.
fn told(verdict: &Verdict) -> String {
    let mut verdict = verdict.clone();
    let warned = verdict.warnings.iter_mut().map(|warning| &mut warning.finding);
    for finding in verdict.denials.iter_mut().chain(warned) {
        finding.remedy.clear();
    }
    format!("{verdict:?}")
}

fn files() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files = Vec::new();
    for rule in fs::read_dir(cases).unwrap() {
        for case in fs::read_dir(rule.unwrap().path()).unwrap() {
            files.push(case.unwrap().path());
        }
    }
    files.sort();
    files
}

/// What the objects of all cases say.
pub(crate) fn readings() -> Vec<Reading> {
    let of_file = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let sections = sections(&text);
        let settings = settings(sections.get("settings").copied().unwrap_or_default());
        let texts = ["mesh", "old", "new"].into_iter().filter_map(|name| sections.get(name));
        let objects = texts.flat_map(|text| manifest::read(text, "objects.yaml").unwrap());
        objects.filter_map(|it| it.reading(&settings).ok()).collect::<Vec<_>>()
    };
    files().iter().flat_map(of_file).collect()
}

fn sections(text: &str) -> BTreeMap<&str, &str> {
    let parts = text.split("### ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

fn outcome(got: &str) -> &'static str {
    if got.contains(" is invalid: ") {
        "denied"
    } else if got.contains("Warning: ") {
        "warned"
    } else {
        "allowed"
    }
}

/// Does what the API server does with a write: mutate, validate, and tell kubectl.
fn run(sections: &BTreeMap<&str, &str>, file: &Path) -> String {
    let mesh = mesh(sections).1();

    let new = object(sections["new"]);
    let old = sections.get("old").map(|old| object(old));
    let mut printed = String::new();
    let mutated = call(&mesh, Hook::Mutate, old.as_ref(), &new);
    let mut stored = new.clone();
    if let Some(patch) = mutated["response"]["patch"].as_str() {
        use base64::Engine;
        let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut stored, &patch).unwrap();
        for operation in &patch.0 {
            let _ = writeln!(printed, "(patched {})", serde_json::to_string(operation).unwrap());
        }
        let again = call(&mesh, Hook::Mutate, old.as_ref(), &stored);
        assert_eq!(again["response"].get("patch"), None, "{}: idempotent", file.display());
    }
    let response = &call(&mesh, Hook::Validate, old.as_ref(), &stored)["response"];
    for warning in response["warnings"].as_array().into_iter().flatten() {
        let _ = writeln!(printed, "Warning: {}", warning.as_str().unwrap());
    }
    if response["allowed"] == true {
        let done = if old.is_some() { "configured" } else { "created" };
        let _ = writeln!(printed, "{} {done}", resource(&new));
    } else {
        printed.push_str(&invalid(&response["status"]));
    }
    printed
}

/// The settings of a case, and what makes its mesh.
fn mesh(sections: &BTreeMap<&str, &str>) -> (Arc<Settings>, impl Fn() -> Mesh) {
    let settings = Arc::new(settings(sections.get("settings").copied().unwrap_or("")));
    let mesh = sections.get("mesh").copied().unwrap_or("");
    let mesh = manifest::read(mesh, "mesh.yaml").expect("the mesh is YAML");
    let readings = mesh.iter().map(|manifest| manifest.reading(&settings).unwrap());
    let readings: Vec<_> = readings.collect();
    (Arc::clone(&settings), move || Mesh::of(Arc::clone(&settings), readings.iter().cloned()))
}

fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        let setting = Setting::by_name(name).unwrap_or_else(|| panic!("no setting {name}"));
        setting.set(&mut settings, value).unwrap();
    }
    settings
}

fn object(yaml: &str) -> Value {
    let manifests = manifest::read(yaml, "object.yaml").unwrap();
    serde_json::from_str(&manifests[0].json).unwrap()
}

pub(crate) fn call(mesh: &Mesh, hook: Hook, old: Option<&Value>, new: &Value) -> Value {
    let review = review(old, new);
    let body = review.to_string();
    let asked = Asked::read(hook, body.as_bytes(), mesh.settings(), None).unwrap();
    let answer = asked.answer(|write| judge(mesh, Written { now: Some(now()), ..write }));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer
}

/// The object as kubectl names it: `istiomulticluster.deckhouse.io/cluster-b`.
fn resource(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    let group = DOCUMENTS.iter().find(|document| document.kind == kind).map_or("", |d| d.group);
    let dot = if group.is_empty() { "" } else { "." };
    format!(
        "{}{dot}{group}/{}",
        kind.to_lowercase(),
        object["metadata"]["name"].as_str().unwrap_or("generated")
    )
}

/// A denial as kubectl prints it: one cause behind the colon, several as bullets, none twice.
fn invalid(status: &Value) -> String {
    assert_eq!((&status["reason"], &status["code"]), (&json!("Invalid"), &json!(422)));
    let details = &status["details"];
    let mut causes: Vec<String> = Vec::new();
    for cause in details["causes"].as_array().unwrap() {
        let message = cause["message"].as_str().unwrap();
        let reason = cause["reason"].as_str().unwrap();
        assert!(message.ends_with(&format!("[{reason}]")), "{message}");
        assert!(status["message"].as_str().unwrap().contains(message), "the message is complete");
        let told = format!("{}: {message}", cause["field"].as_str().unwrap());
        if !causes.contains(&told) {
            causes.push(told);
        }
    }
    let start =
        format!("The {} {} is invalid: ", details["kind"].as_str().unwrap(), details["name"]);
    match causes.as_slice() {
        [one] => format!("{start}{one}\n"),
        many => many.iter().fold(format!("{start}\n"), |text, cause| format!("{text}* {cause}\n")),
    }
}
