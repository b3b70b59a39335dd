//! Calls that are answered with an HTTP error instead of a review.

use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::metrics::hook_name;
use crate::admission::Hook;
use crate::server::app::App;
use crate::server::http::body::{self, Unreceived};
use crate::wire::NotAReview;

/// Why a call has no review for an answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Part of the mesh is unknown, or the certificate is not valid.
    NotReady(String),
    /// There is too much to do of this.
    Shed(&'static str),
    /// The body was not received.
    Body(Unreceived),
    /// It is not a review.
    NotAReview(NotAReview),
    /// isthmus itself is at fault.
    Panic,
}

/// Answers such a call, counts it and logs a sample.
pub(super) fn refused(app: &App, hook: Hook, refusal: &Refusal) -> Response {
    let (status, text, reason) = refusal.answer();
    app.http.metrics.refused(status);
    match refusal {
        Refusal::Shed(what) => app.metrics.shed(what),
        Refusal::Panic => drop(app.metrics.counts.panics.inc()),
        _ => {}
    }
    if let Some(suppressed) = app.http.sample.take(reason) {
        let (hook, status) = (hook_name(hook), status.as_u16());
        tracing::warn!(hook, status, reason, suppressed, "request refused");
    }
    let mut response = (status, text + "\n").into_response();
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    let is_body = |why| matches!(refusal, Refusal::Body(is) if *is == why);
    // Another replica may be ready: the next connection leads there.
    let is_unready = matches!(refusal, Refusal::NotReady(_));
    if is_unready
        || [Unreceived::TooLarge, Unreceived::TooSlow, Unreceived::Broken].into_iter().any(is_body)
    {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Refusal {
    /// The status, the text of the answer, and the text for the log, which repeats nothing of the
    /// body.
    fn answer(&self) -> (StatusCode, String, &'static str) {
        let (status, reason) = match self {
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            Self::Shed(_) | Self::Body(Unreceived::NoMemory) => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
            }
            Self::Body(Unreceived::TooLarge) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
            }
            Self::Body(Unreceived::TooSlow) => {
                (StatusCode::REQUEST_TIMEOUT, "timed out reading the body")
            }
            Self::Body(Unreceived::Broken) => (StatusCode::BAD_REQUEST, "the body is incomplete"),
            Self::Body(Unreceived::WrongType(_)) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not plain JSON")
            }
            Self::NotAReview(why) => (
                StatusCode::BAD_REQUEST,
                match why {
                    NotAReview::NotUtf8(_) => "the body is not UTF-8",
                    NotAReview::NotReadable(_) => "the body is not an AdmissionReview",
                    NotAReview::OtherKind { .. } => "the body is of another kind or version",
                    NotAReview::NoRequest => "the review has no request",
                    NotAReview::NoUid => "the request has no uid",
                },
            ),
            Self::Panic => (StatusCode::INTERNAL_SERVER_ERROR, "a bug in isthmus"),
        };
        let text = match self {
            Self::NotReady(why) => format!("not ready: {why}"),
            Self::Body(Unreceived::TooLarge) => {
                format!("{reason}: the limit is {} bytes", body::LARGEST)
            }
            Self::Body(Unreceived::WrongType(why)) => (*why).to_owned(),
            Self::NotAReview(why) => why.to_string(),
            _ => reason.to_owned(),
        };
        (status, text, reason)
    }
}
