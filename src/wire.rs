//! The wire format: AdmissionReview v1 in and out, and nothing more of the API than that.
//!
//! The format is small and its traps are many (a patch is base64, a denial is HTTP 200, a response
//! without the request's uid is a failed call), so it is written out here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::budget::Clock;
use crate::syntax::{BorrowedText, Object};

/// The version of AdmissionReview that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";

/// The size of an answer that allows, in bytes, rounded up.
const USUAL_BODY: usize = 256;

/// Why a body is not a review that can be answered; HTTP says 400 then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReview {
    /// Not UTF-8, so not JSON.
    #[error("the body is not UTF-8: {0}")]
    NotUtf8(std::str::Utf8Error),
    /// Not JSON, or not of the shape of a review.
    #[error("the body is not an AdmissionReview: {0}")]
    NotReadable(String),
    /// JSON of another kind or version.
    #[error(
        "the body is {kind:?} of {api_version:?}; AdmissionReview of {API_VERSION:?} is answered here"
    )]
    OtherKind {
        /// What it says it is.
        kind: String,
        /// In which version.
        api_version: String,
    },
    /// No request in it.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// No uid to answer to.
    #[error("the request has no uid, so no answer can refer to it")]
    NoUid,
}

/// What the API server asks.
#[derive(Debug)]
pub struct Request<'a> {
    /// To be repeated in the answer.
    pub uid: Cow<'a, str>,
    /// What is written, as the webhook is registered for it.
    pub kind: Kind<'a>,
    /// The subresource, such as `status`; empty for the object itself.
    pub subresource: Cow<'a, str>,
    /// The object's name; empty where it is still to be generated.
    pub name: Cow<'a, str>,
    /// The object's namespace; empty for cluster-scoped ones.
    pub namespace: Cow<'a, str>,
    /// What is done: `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: Cow<'a, str>,
    /// Who does it.
    pub user: Cow<'a, str>,
    /// Whether nothing is stored.
    pub dry_run: bool,
    /// The object as it would be, if there is one; why not, if it cannot be read.
    pub object: Result<Option<Object<'a>>, String>,
    /// The object as it is, if there is one that can be read.
    pub old_object: Option<Object<'a>>,
}

/// A kind with its group and version.
#[derive(Debug, Default)]
pub struct Kind<'a> {
    /// The API group; empty for the core group.
    pub group: Cow<'a, str>,
    /// The version.
    pub version: Cow<'a, str>,
    /// The kind.
    pub kind: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Reads the body of a call.
    pub fn parse(body: &'a [u8]) -> Result<Self, NotAReview> {
        let text = text(body)?;
        // One pass reads nearly every review. Where it fails the objects may be to blame, and a
        // second pass that leaves them alone finds the uid to answer to.
        if let Ok(review) = serde_json::from_str::<WireReview<'a, Object<'a>>>(text) {
            return Self::from_wire(review, Ok);
        }
        let review = serde_json::from_str::<WireReview<'a, &'a RawValue>>(text)
            .map_err(|error| NotAReview::NotReadable(error.to_string()))?;
        Self::from_wire(review, |raw| Object::parse(raw.get()).map_err(|error| error.to_string()))
    }

    fn from_wire<O>(
        review: WireReview<'a, O>,
        object: impl Fn(O) -> Result<Object<'a>, String>,
    ) -> Result<Self, NotAReview> {
        let (api_version, kind) = (or_empty(review.api_version), or_empty(review.kind));
        if api_version != API_VERSION || kind != "AdmissionReview" {
            let (kind, api_version) = (kind.into_owned(), api_version.into_owned());
            return Err(NotAReview::OtherKind { kind, api_version });
        }
        let request = review.request.ok_or(NotAReview::NoRequest)?;
        let uid = or_empty(request.uid);
        if uid.is_empty() {
            return Err(NotAReview::NoUid);
        }
        let kind = request.kind.unwrap_or_default();
        Ok(Self {
            uid,
            kind: Kind {
                group: or_empty(kind.group),
                version: or_empty(kind.version),
                kind: or_empty(kind.kind),
            },
            subresource: or_empty(request.sub_resource),
            name: or_empty(request.name),
            namespace: or_empty(request.namespace),
            operation: or_empty(request.operation),
            user: or_empty(request.user_info.and_then(|user| user.username)),
            dry_run: request.dry_run.unwrap_or(false),
            object: request.object.map(&object).transpose(),
            old_object: request.old_object.and_then(|old| object(old).ok()),
        })
    }

    /// The same, of whose objects no more is read once the time is up.
    #[must_use]
    pub fn until(self, clock: Option<Clock<'a>>) -> Self {
        let object = self.object.map(|object| object.map(|object| object.until(clock)));
        Self { object, old_object: self.old_object.map(|old| old.until(clock)), ..self }
    }

    /// The object's JSON as it stands in the body.
    pub fn raw_object(body: &'a [u8]) -> Result<Option<&'a str>, NotAReview> {
        let review = serde_json::from_str::<WireReview<'a, &'a RawValue>>(text(body)?)
            .map_err(|error| NotAReview::NotReadable(error.to_string()))?;
        Ok(review.request.and_then(|request| request.object).map(RawValue::get))
    }
}

fn text(body: &[u8]) -> Result<&str, NotAReview> {
    let text = std::str::from_utf8(body).map_err(NotAReview::NotUtf8)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn or_empty(text: Option<BorrowedText<'_>>) -> Cow<'_, str> {
    text.map(|BorrowedText(text)| text).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct WireReview<'a, O> {
    #[serde(borrow)]
    api_version: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    kind: Option<BorrowedText<'a>>,
    #[serde(borrow = "'a")]
    request: Option<WireRequest<'a, O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct WireRequest<'a, O> {
    #[serde(borrow)]
    uid: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    kind: Option<WireKind<'a>>,
    #[serde(borrow)]
    sub_resource: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    name: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    namespace: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    operation: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    user_info: Option<WireUser<'a>>,
    dry_run: Option<bool>,
    object: Option<O>,
    old_object: Option<O>,
}

#[derive(Default, Deserialize)]
struct WireKind<'a> {
    #[serde(borrow)]
    group: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    version: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    kind: Option<BorrowedText<'a>>,
}

#[derive(Deserialize)]
struct WireUser<'a> {
    #[serde(borrow)]
    username: Option<BorrowedText<'a>>,
}

/// The response to the API server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response<'a> {
    /// The request's uid.
    pub uid: &'a str,
    /// Whether the write is allowed.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status<'a>>,
    /// What changes, as JSON Patch in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    /// Warnings for the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Annotations for the audit log, by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<&'static str, String>,
}

/// `metav1.Status`, as far as a denial needs it.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// The denial as one text.
    pub message: String,
    /// `Invalid`, which makes kubectl print the causes, `TooManyRequests`, or `ServiceUnavailable`.
    pub reason: &'static str,
    /// The causes, one for each finding.
    pub details: Details<'a>,
    /// 422 for an object that is invalid, 429 for one to try again, or 503 for one to try again of
    /// which nothing can be said.
    pub code: u16,
}

/// `metav1.StatusDetails`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details<'a> {
    /// The object's name.
    pub name: &'a str,
    /// Its API group.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// After how many seconds to try again; clients do so by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// `metav1.StatusCause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The rule's name.
    pub reason: &'static str,
    /// What clashes with what, and what to write instead.
    pub message: String,
    /// The field of the written object.
    pub field: String,
}

impl<'a> Response<'a> {
    /// The response that allows a write.
    pub fn allow(uid: &'a str) -> Self {
        Self {
            uid,
            allowed: true,
            status: None,
            patch: None,
            patch_type: None,
            warnings: Vec::new(),
            audit_annotations: BTreeMap::new(),
        }
    }

    /// The same with a patch, unless it changes nothing.
    #[must_use]
    pub fn with_patch(mut self, patch: &json_patch::Patch) -> Self {
        if !patch.is_empty() {
            self.patch = serde_json::to_vec(patch).ok().map(|json| STANDARD.encode(json));
            self.patch_type = Some("JSONPatch");
        }
        self
    }

    /// The body of the answer.
    pub fn to_body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Review<'r> {
            api_version: &'static str,
            kind: &'static str,
            response: &'r Response<'r>,
        }
        let review = Review { api_version: API_VERSION, kind: "AdmissionReview", response: self };
        let mut body = Vec::with_capacity(USUAL_BODY);
        // Texts, numbers and lists of them always serialize, and a vector takes all that is written.
        let _ = serde_json::to_writer(&mut body, &review);
        body
    }
}
