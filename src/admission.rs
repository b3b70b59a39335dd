//! One admission call: bytes in, bytes out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::{self, Object};
use crate::mesh::{Mesh, Reading};
use crate::report;
use crate::review::{Mildness, Verdict, review};
use crate::settings::Settings;
use crate::value::clipped;
use crate::wire::{Cause, Details, Kind, NotAReview, Request, Response, Status};

/// Which of the two webhooks is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// The one that refuses.
    Validate,
    /// The one that puts right.
    Mutate,
}

/// An answer, and what a log says of it.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The body of the HTTP response.
    pub body: Vec<u8>,
    /// What was decided.
    pub decision: Decision<'a>,
}

/// What was decided of a request. Holds names only, nothing of what an object contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The request's uid.
    pub uid: Cow<'a, str>,
    /// What was done.
    pub operation: Cow<'a, str>,
    /// The kind of the object.
    pub kind: Cow<'a, str>,
    /// The object, as `namespace/name` or `name`.
    pub object: Cow<'a, str>,
    /// `status` and the like; empty for the object itself.
    pub subresource: Cow<'a, str>,
    /// Who did it.
    pub user: Cow<'a, str>,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// What was answered.
    pub outcome: Outcome,
    /// The rules that fired, each once.
    pub rules: Vec<&'static str>,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The write goes on as it is.
    Allowed,
    /// The write goes on, with warnings.
    Warned,
    /// The write goes on, changed.
    Patched,
    /// The write is refused.
    Denied,
}

impl Outcome {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Warned => "warned",
            Self::Patched => "patched",
            Self::Denied => "denied",
        }
    }
}

/// Answers the body of a call. Only what is no review at all is an error; everything else has an
/// answer with the request's uid.
pub fn answer<'a>(mesh: &Mesh, hook: Hook, body: &'a [u8]) -> Result<Answer<'a>, NotAReview> {
    let request = Request::parse(body)?;
    let Judged { body, outcome, rules, .. } = judge(mesh, hook, &request, body, false)?;
    Ok(Answer { body, decision: decision(request, outcome, rules) })
}

/// Answers the same, and tells what the object says from now on if the write is admitted and will
/// be stored.
pub fn answer_and_keep<'a>(
    mesh: &Mesh,
    hook: Hook,
    body: &'a [u8],
) -> Result<(Answer<'a>, Option<Reading>), NotAReview> {
    let request = Request::parse(body)?;
    let Judged { body, outcome, rules, kept } = judge(mesh, hook, &request, body, true)?;
    Ok((Answer { body, decision: decision(request, outcome, rules) }, kept))
}

/// An answer whose request is still at hand.
struct Judged {
    body: Vec<u8>,
    outcome: Outcome,
    rules: Vec<&'static str>,
    /// What the object says from now on, if that is asked for and it will be stored.
    kept: Option<Reading>,
}

fn judge(
    mesh: &Mesh,
    hook: Hook,
    request: &Request<'_>,
    body: &[u8],
    keep: bool,
) -> Result<Judged, NotAReview> {
    let writes_nothing = matches!(&*request.operation, "DELETE" | "CONNECT");
    if writes_nothing || !request.subresource.is_empty() {
        // Nothing is ever lost by a deletion, and status has an author of its own.
        return Ok(allow(request));
    }
    let object = match written(request) {
        Ok(object) => object,
        Err(why) => return Ok(unreadable(request, &why)),
    };
    match hook {
        Hook::Validate => Ok(validate(mesh, request, object, keep)),
        Hook::Mutate => mutate(mesh.settings(), request, object, body),
    }
}

fn validate(mesh: &Mesh, request: &Request<'_>, object: &Object<'_>, keep: bool) -> Judged {
    let new = document::read(object, mesh.settings());
    let written = Arc::clone(&new.object);
    let is_stored = !request.dry_run && !object.name().is_empty();
    let kept = (keep && is_stored).then(|| new.clone());
    let verdict = review(mesh, old_reading(mesh, request, &new), new);
    let mut response = Response::allow(&request.uid);
    response.warnings = report::warnings(&verdict, &written);
    response.audit_annotations = audit(&verdict);
    let causes = report::causes(&verdict.denials, &written);
    let outcome = if !causes.is_empty() {
        deny(&mut response, request, object.name(), causes);
        Outcome::Denied
    } else if response.warnings.is_empty() {
        Outcome::Allowed
    } else {
        Outcome::Warned
    };
    let rules = verdict.rules().into_iter().collect();
    let kept = kept.filter(|_| outcome != Outcome::Denied);
    Judged { body: response.to_body(), outcome, rules, kept }
}

/// What the object said before. An update whose old object is missing or cannot be read is held
/// against what is known of the object, so that its old mistakes stay old.
fn old_reading(mesh: &Mesh, request: &Request<'_>, new: &Reading) -> Option<Reading> {
    if let Some(old) = &request.old_object {
        return Some(document::read(old, mesh.settings()));
    }
    let known = mesh.reading_of(&new.object);
    (request.operation == "UPDATE" && !known.statements.is_empty()).then_some(known)
}

fn mutate(
    settings: &Settings,
    request: &Request<'_>,
    object: &Object<'_>,
    body: &[u8],
) -> Result<Judged, NotAReview> {
    let document = document::of(object, settings).filter(|document| document.is_canonicalized());
    let Some(document) = document else { return Ok(allow(request)) };
    let raw = Request::raw_object(body)?.unwrap_or("null");
    let before = match document::outline(raw) {
        Ok(object) => object,
        Err(error) => return Ok(unreadable(request, &error.to_string())),
    };
    let mut after = before.clone();
    document.canonicalize(&mut after);
    let patch = json_patch::diff(&before, &after);
    let response = Response::allow(&request.uid).with_patch(&patch);
    let outcome = if patch.is_empty() { Outcome::Allowed } else { Outcome::Patched };
    Ok(Judged { body: response.to_body(), outcome, rules: Vec::new(), kept: None })
}

/// The object that is written, if it is there and what the request says it is.
fn written<'r, 'a>(request: &'r Request<'a>) -> Result<&'r Object<'a>, String> {
    let object = match &request.object {
        Ok(Some(object)) => object,
        Ok(None) => return Err("the request has no object".to_owned()),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let Kind { group, version, kind } = &request.kind;
    if object.kind != *kind || object.group() != group || object.version() != version {
        return Err(format!(
            "is {} of {:?}, though the request announces {kind} of group {group:?}, version {version:?}",
            object.kind, object.api_version
        ));
    }
    Ok(object)
}

fn allow(request: &Request<'_>) -> Judged {
    let body = Response::allow(&request.uid).to_body();
    Judged { body, outcome: Outcome::Allowed, rules: Vec::new(), kept: None }
}

fn unreadable(request: &Request<'_>, why: &str) -> Judged {
    let rule = "InvalidDocument";
    let why = report::printable(&clipped(why));
    let message = format!("{why}; write an object of its kind [{rule}]");
    let cause = Cause { reason: rule, message, field: "metadata.name".to_owned() };
    let mut response = Response::allow(&request.uid);
    response.audit_annotations.insert("rules", rule.to_owned());
    deny(&mut response, request, "", vec![cause]);
    Judged { body: response.to_body(), outcome: Outcome::Denied, rules: vec![rule], kept: None }
}

fn deny<'a>(
    response: &mut Response<'a>,
    request: &'a Request<'_>,
    name: &'a str,
    causes: Vec<Cause>,
) {
    let name = if request.name.is_empty() { name } else { &request.name };
    let (kind, group) = (&*request.kind.kind, &*request.kind.group);
    response.allowed = false;
    response.status = Some(Status {
        message: report::denial(&causes, kind, group, name),
        reason: "Invalid",
        details: Details { name, group, kind, causes },
        code: 422,
    });
}

fn audit(verdict: &Verdict) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::new();
    let rules: Vec<_> = verdict.rules().into_iter().collect();
    if !rules.is_empty() {
        annotations.insert("rules", rules.join(","));
    }
    let mut allowed: Vec<_> = verdict
        .warnings
        .iter()
        .filter(|warning| warning.because == Mildness::Allowed)
        .map(|warning| warning.finding.rule)
        .collect();
    allowed.dedup();
    if !allowed.is_empty() {
        annotations.insert("allowed-by-annotation", allowed.join(","));
    }
    annotations
}

fn decision<'a>(request: Request<'a>, outcome: Outcome, rules: Vec<&'static str>) -> Decision<'a> {
    let name = match request.object {
        Ok(Some(object)) if request.name.is_empty() => object.name().to_owned().into(),
        _ => request.name,
    };
    let object = if request.namespace.is_empty() {
        name
    } else {
        format!("{}/{name}", request.namespace).into()
    };
    Decision {
        uid: request.uid,
        operation: request.operation,
        kind: request.kind.kind,
        object,
        subresource: request.subresource,
        user: request.user,
        dry_run: request.dry_run,
        outcome,
        rules,
    }
}
