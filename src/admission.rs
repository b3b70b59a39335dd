//! One admission call: bytes are read into a question, and a verdict is written as bytes.
//!
//! Only what lies between the two, the judging, looks at the mesh.

mod elsewhere;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use elsewhere::{Here, Leads, Look, Looks};

use crate::budget::{Budget, Clock, Exhausted};
use crate::document;
use crate::ledger::Why;
use crate::mesh::{Mesh, ObjectRef, WriteId};
use crate::pending::retry_after;
use crate::report;
use crate::review::{Delay, MOST_LOOKS, Reason, Verdict, Write, review};
use crate::settings::{Policy, Settings};
use crate::syntax::{self, Object};
use crate::value::clipped;
use crate::wire::{Cause, Details, Kind, NotAReview, Request, Response, Status};

/// Which of the two webhooks is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// The one that refuses.
    Validate,
    /// The mutating one.
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
    /// The subresource, such as `status`; empty for the object itself.
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

impl Decision<'_> {
    /// The same, without the request that it was read from.
    pub fn into_owned(self) -> Decision<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Decision {
            uid: owned(self.uid),
            operation: owned(self.operation),
            kind: owned(self.kind),
            object: owned(self.object),
            subresource: owned(self.subresource),
            user: owned(self.user),
            ..self
        }
    }
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The write is allowed unchanged.
    Allowed,
    /// The write is allowed, with warnings.
    Warned,
    /// The write is allowed, with a patch.
    Patched,
    /// The write has to be tried again soon, and why.
    Delayed(Why),
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
            Self::Delayed(_) => "delayed",
            Self::Denied => "denied",
        }
    }
}

/// Answers the body of a call, held against a mesh. Only what is not a review at all is an error;
/// everything else has an answer with the request's uid.
pub fn answer<'a>(mesh: &Mesh, hook: Hook, body: &'a [u8]) -> Result<Answer<'a>, NotAReview> {
    let asked = Asked::read(hook, body, mesh.settings(), None)?;
    Ok(asked.answer(|write| review(mesh, write)))
}

/// What a call asks, read without a look at the mesh.
#[derive(Debug)]
pub struct Asked<'a> {
    request: Request<'a>,
    question: Question<'a>,
    outdated: Option<String>,
}

/// What there is still to decide.
#[derive(Debug)]
enum Question<'a> {
    /// Nothing: the answer is the same whatever stands in the mesh.
    Settled(Settled),
    /// Whether a change may come into the mesh.
    Open(Box<Write<'a>>),
}

/// What is answered, apart from the request that it answers.
#[derive(Debug)]
struct Settled {
    body: Vec<u8>,
    outcome: Outcome,
    rules: Vec<&'static str>,
}

impl<'a> Asked<'a> {
    /// Reads the body of a call, and gives up on what it asks once the time is up. Only what is no
    /// review at all is an error.
    pub fn read(
        hook: Hook,
        body: &'a [u8],
        settings: &Settings,
        clock: Option<Clock<'a>>,
    ) -> Result<Self, NotAReview> {
        let request = Request::parse(body)?.until(clock);
        let question = question(hook, &request, body, settings, clock)?;
        Ok(Self { request, question, outdated: None })
    }

    /// The same, where what it is held against is old, as this warning tells.
    #[must_use]
    pub fn by_outdated(self, outdated: Option<String>) -> Self {
        Self { outdated, ..self }
    }

    /// The other clusters that the write leads to and did not before, which are to be read before it
    /// is judged.
    pub fn leads(&self, settings: &Settings) -> Vec<Leads> {
        match (&self.question, &self.request.object) {
            (Question::Open(write), Ok(Some(object))) => {
                elsewhere::leads(write, object, self.request.old_object.as_ref(), settings)
            }
            _ => Vec::new(),
        }
    }

    /// The same, where these clusters have been read.
    #[must_use]
    pub fn having_looked(mut self, mesh: &Mesh, looks: &Looks) -> Self {
        if let Question::Open(write) = &mut self.question {
            elsewhere::having_looked(mesh, write, looks);
        }
        self
    }

    /// Decides what is still to decide, by `judge`, and writes the answer.
    pub fn answer(self, judge: impl FnOnce(Write<'a>) -> Verdict) -> Answer<'a> {
        let Self { request, question, outdated } = self;
        let Settled { body, outcome, rules } = match question {
            Question::Settled(settled) => settled,
            Question::Open(write) => {
                let written = Arc::clone(&write.new.object);
                let outdated = outdated.filter(|_| write.says_otherwise());
                told(&request, &written, &judge(*write), outdated)
            }
        };
        Answer { body, decision: decision(request, outcome, rules) }
    }
}

fn question<'a>(
    hook: Hook,
    request: &Request<'a>,
    body: &'a [u8],
    settings: &Settings,
    clock: Option<Clock<'a>>,
) -> Result<Question<'a>, NotAReview> {
    let writes_nothing = matches!(&*request.operation, "DELETE" | "CONNECT");
    if writes_nothing || !request.subresource.is_empty() {
        // Nothing is ever lost by a deletion, and status has an author of its own.
        return Ok(Question::Settled(allow(request)));
    }
    let object = match written(request) {
        Ok(object) => object,
        Err(why) => return Ok(Question::Settled(unreadable(request, &why, settings))),
    };
    if hook == Hook::Mutate {
        return mutate(settings, request, object, body).map(Question::Settled);
    }
    let old = request.old_object.as_ref();
    let old = old.map(|old| document::read(old, settings));
    let id = if request.operation == "UPDATE" {
        WriteId::Update(old.as_ref().and_then(|old| old.version))
    } else {
        WriteId::Create(object.metadata.uid.as_ref().into())
    };
    let write = Write {
        old,
        new: document::read(object, settings),
        id,
        is_stored: !request.dry_run && !object.name().is_empty(),
        user: request.user.clone(),
        budget: Budget::of(MOST_LOOKS).until(clock),
        now: None,
    };
    // A call that times out would pass unseen where failures are ignored.
    if let Some(end) = clock.filter(|is_up| is_up()).map(|_| Exhausted::Time) {
        return Ok(Question::Settled(unreadable(request, &end.to_string(), settings)));
    }
    Ok(Question::Open(Box::new(write)))
}

/// The answer that tells a verdict.
fn told(
    request: &Request<'_>,
    written: &ObjectRef,
    verdict: &Verdict,
    outdated: Option<String>,
) -> Settled {
    let mut response = Response::allow(&request.uid);
    response.warnings = report::warnings(verdict, written, outdated);
    response.audit_annotations = audit(verdict);
    let causes = report::causes(&verdict.denials, written);
    let outcome = if !causes.is_empty() {
        deny(&mut response, request, &written.name, causes);
        Outcome::Denied
    } else if let Some(waits) = &verdict.delay {
        delay(&mut response, request, written, waits);
        Outcome::Delayed(waits.wait.why)
    } else if response.warnings.is_empty() {
        Outcome::Allowed
    } else {
        Outcome::Warned
    };
    let rules = verdict.rules().into_iter().collect();
    Settled { body: response.to_body(), outcome, rules }
}

fn mutate(
    settings: &Settings,
    request: &Request<'_>,
    object: &Object<'_>,
    body: &[u8],
) -> Result<Settled, NotAReview> {
    let document = document::of(object, settings).filter(|document| document.is_canonicalized());
    let Some(document) = document else { return Ok(allow(request)) };
    let raw = Request::raw_object(body)?.unwrap_or("null");
    let before = match syntax::outline(raw) {
        Ok(object) => object,
        Err(error) => return Ok(unreadable(request, &error.to_string(), settings)),
    };
    let mut after = before.clone();
    document.canonicalize(&mut after);
    let patch = json_patch::diff(&before, &after);
    let response = Response::allow(&request.uid).with_patch(&patch);
    let outcome = if patch.is_empty() { Outcome::Allowed } else { Outcome::Patched };
    Ok(Settled { body: response.to_body(), outcome, rules: Vec::new() })
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

fn allow(request: &Request<'_>) -> Settled {
    let body = Response::allow(&request.uid).to_body();
    Settled { body, outcome: Outcome::Allowed, rules: Vec::new() }
}

fn unreadable(request: &Request<'_>, why: &str, settings: &Settings) -> Settled {
    let rule = "InvalidDocument";
    let why = report::printable(&clipped(why));
    let message = format!("{why}; write an object of its kind [{rule}]");
    let cause = Cause { reason: rule, message, field: "metadata.name".to_owned() };
    let mut response = Response::allow(&request.uid);
    response.audit_annotations.insert("rules", rule.to_owned());
    let outcome = if settings.enforcement == Policy::Warn {
        response.warnings = vec![report::not_enforced(&cause.message)];
        Outcome::Warned
    } else {
        deny(&mut response, request, "", vec![cause]);
        Outcome::Denied
    };
    Settled { body: response.to_body(), outcome, rules: vec![rule] }
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
        details: Details { name, group, kind, causes, retry_after_seconds: None },
        code: 422,
    });
}

/// Has the client come again: kubectl and client-go do so by themselves.
fn delay<'a>(
    response: &mut Response<'a>,
    request: &'a Request<'_>,
    written: &'a ObjectRef,
    delay: &Delay,
) {
    let name = if request.name.is_empty() { &*written.name } else { &request.name };
    let (kind, group) = (&*request.kind.kind, &*request.kind.group);
    let seconds = retry_after(delay.wait.remaining);
    // An HTTP error would reach nobody: the API server repeats the call in silence until its time is
    // up, and tells of that.
    let (reason, code) = match delay.wait.why {
        Why::Unusable => ("ServiceUnavailable", 503),
        _ => ("TooManyRequests", 429),
    };
    response.allowed = false;
    response.status = Some(Status {
        message: report::delay(delay, written, kind, group, name, seconds),
        reason,
        details: Details {
            name,
            group,
            kind,
            causes: Vec::new(),
            retry_after_seconds: Some(seconds),
        },
        code,
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
        .filter(|warning| warning.because == Reason::AllowedByAnnotation)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_object_is_only_a_warning_without_enforcement() {
        const BODY: &[u8] = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","kind":{"group":"","version":"v1","kind":"ConfigMap"},"object":null}}"#;
        for (enforcement, outcome) in
            [(Policy::Deny, Outcome::Denied), (Policy::Warn, Outcome::Warned)]
        {
            let settings = Settings { enforcement, ..Settings::default() };
            let mesh = Mesh::new(Arc::new(settings));
            let answer = answer(&mesh, Hook::Validate, BODY).unwrap();
            assert_eq!(answer.decision.outcome, outcome);
            let text = String::from_utf8(answer.body).unwrap();
            assert_eq!(text.contains("denied once enforced"), outcome == Outcome::Warned, "{text}");
        }
    }
}
