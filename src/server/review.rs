//! The webhook itself: `POST /validate` and `POST /mutate`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::app::App;
use super::body::{self, Received, SMALL};
use super::caller::{Caller, identify};
use super::connections::{Connection, Phase};
use super::duration;
use super::metrics::hook_name;
use crate::admission::{Answer, Asked, Decision, Hook};
use crate::report;
use crate::snapshot::Full;
use crate::wire::NotAReview;

/// How long a caller waits that does not say so: the API server's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that the API server ever waits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The part of the time that a caller waits in which its review is read and judged.
const WORKING: f32 = 0.8;
/// How old what a review is held against may be without a warning.
const OUTDATED: Duration = Duration::from_mins(1);
/// The longest text of a request that a log line repeats, in characters.
const LONGEST_LOGGED: usize = 256;

/// The paths of the webhook.
pub(super) fn router(app: Arc<App>) -> Router {
    let route = |hook| {
        post(move |State(app): State<Arc<App>>, request: Request| async move {
            respond(&app, hook, request).await
        })
    };
    Router::new()
        .route("/validate", route(Hook::Validate))
        .route("/validate/{*secret}", route(Hook::Validate))
        .route("/mutate", route(Hook::Mutate))
        .route("/mutate/{*secret}", route(Hook::Mutate))
        // Of a webhook whose path was taken away.
        .route("/", post(async |State(app): State<Arc<App>>, request| come_again(&app, request)))
        .route_layer(from_fn_with_state(Arc::clone(&app), identify))
        .method_not_allowed_fallback(not_allowed)
        .fallback(not_found)
        .with_state(app)
}

/// Why a call has no review for an answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Part of the mesh is unknown, or the certificate is not valid.
    NotReady(String),
    /// There is too much to do of this.
    Shed(&'static str),
    /// The body is larger than [`body::LARGEST`].
    TooLarge,
    /// The body took too long.
    TooSlow,
    /// The connection broke within the body.
    Broken,
    /// The body is said to be no JSON.
    WrongType(&'static str),
    /// It is no review.
    NotAReview(NotAReview),
    /// isthmus itself is at fault.
    Panic,
}

async fn respond(app: &Arc<App>, hook: Hook, mut request: Request) -> Response {
    let connection = request.extensions_mut().remove::<Arc<Connection>>();
    let caller = request.extensions_mut().remove().unwrap_or(Caller::Stranger);
    match review(app, hook, caller, request, connection.as_deref()).await {
        Ok(body) => {
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], body).into_response()
        }
        Err(refusal) => refused(app, hook, &refusal),
    }
}

async fn review(
    app: &Arc<App>,
    hook: Hook,
    caller: Caller,
    request: Request,
    connection: Option<&Connection>,
) -> Result<Vec<u8>, Refusal> {
    let (head, body) = request.into_parts();
    let deadline = Instant::now() + timeout(head.uri.query());
    let faults = app.faults();
    let received = if faults.is_empty() {
        body::receive(app, &head.headers, body, deadline).await?
    } else {
        body::linger(app, &head.headers, body);
        return Err(Refusal::NotReady(faults.join("; ")));
    };
    if let Some(connection) = connection {
        connection.enter(Phase::Review);
    }
    decide(app, hook, caller, received, deadline).await
}

/// How long the caller waits.
fn timeout(query: Option<&str>) -> Duration {
    let mut pairs = query.unwrap_or_default().split('&');
    let stated = pairs.find_map(|pair| pair.strip_prefix("timeout="));
    let stated = stated.and_then(|text| duration::parse(text).ok());
    stated.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT)
}

/// Decides, as long as there is not too much to decide and the caller still waits.
///
/// Nearly every review takes microseconds and is made at once. Those of large bodies may take many
/// milliseconds: they wait for each other, so that the small ones need not wait for them.
async fn decide(
    app: &Arc<App>,
    hook: Hook,
    caller: Caller,
    received: Received,
    deadline: Instant,
) -> Result<Vec<u8>, Refusal> {
    let begun = Instant::now();
    // What is left is for the answer to get there.
    let deadline = begun + deadline.saturating_duration_since(begun).mul_f32(WORKING);
    let under_way = UnderWay::begin(app)?;
    if received.bytes.len() <= SMALL {
        return answer(app, hook, caller, &received.bytes, begun, deadline);
    }
    let late = || Refusal::Shed("time");
    let turn = timeout_at(deadline.into(), Arc::clone(&app.large_reviews).acquire_owned());
    let turn = turn.await.map_err(|_| late())?;
    let shared = Arc::clone(app);
    let answered = spawn_blocking(move || {
        let answered = answer(&shared, hook, caller, &received.bytes, begun, deadline);
        drop((turn, received, under_way));
        answered
    });
    let answered = timeout_at(deadline.into(), answered).await.map_err(|_| late())?;
    answered.unwrap_or(Err(Refusal::Panic))
}

/// Reads what is asked, has it judged, and writes the answer. Only the judging holds up others.
fn answer(
    app: &App,
    hook: Hook,
    caller: Caller,
    body: &[u8],
    begun: Instant,
    deadline: Instant,
) -> Result<Vec<u8>, Refusal> {
    let is_up = || Instant::now() >= deadline;
    let Answer { body, decision } = caught(|| {
        let asked =
            Asked::read(hook, body, &app.settings, Some(&is_up)).map_err(Refusal::NotAReview)?;
        asked.by_outdated(outdated(app)).answer(|change| {
            match app.hold {
                Some(hold) if caller.is_remembered() => app.snapshot.admit(change, hold),
                _ => Ok(app.snapshot.judge(change)),
            }
            .map_err(|Full| Refusal::Shed("holds"))
        })
    })??;
    let took = begun.elapsed();
    app.metrics.decided(hook, &decision, took);
    log(hook, &decision, took);
    Ok(body)
}

/// What is told of knowledge that is too old to say nothing about it.
fn outdated(app: &App) -> Option<String> {
    let (what, age) = app.standing.stale(OUTDATED)?;
    Some(report::outdated(&what, age.as_secs()))
}

/// A fault of ours costs one review, not the server.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Refusal::Panic)
}

/// A review that is counted as under way until this is dropped.
struct UnderWay {
    app: Arc<App>,
    _place: OwnedSemaphorePermit,
}

impl UnderWay {
    fn begin(app: &Arc<App>) -> Result<Self, Refusal> {
        let place = Arc::clone(&app.reviews).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Shed("reviews"))?;
        app.metrics.in_flight.inc();
        Ok(Self { app: Arc::clone(app), _place: place })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.app.metrics.in_flight.dec();
    }
}

fn refused(app: &App, hook: Hook, refusal: &Refusal) -> Response {
    let (status, text, told) = refusal.told();
    app.metrics.refused(status.as_u16());
    match refusal {
        Refusal::Shed(what) => app.metrics.shed(what),
        Refusal::Panic => drop(app.metrics.panics.inc()),
        _ => {}
    }
    if let Some(suppressed) = app.sample.take(told) {
        let (hook, status) = (hook_name(hook), status.as_u16());
        tracing::warn!(hook, status, reason = told, suppressed, "call refused");
    }
    let mut response = (status, text + "\n").into_response();
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(refusal, Refusal::TooLarge | Refusal::TooSlow | Refusal::Broken) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Refusal {
    /// The status, the text of the answer, and the text for the log, which repeats nothing of the
    /// body.
    fn told(&self) -> (StatusCode, String, &'static str) {
        let (status, told) = match self {
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            Self::Shed(_) => (StatusCode::SERVICE_UNAVAILABLE, "too much to do"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body took too long"),
            Self::Broken => (StatusCode::BAD_REQUEST, "the body broke off"),
            Self::WrongType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is no plain JSON"),
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
            Self::Panic => (StatusCode::INTERNAL_SERVER_ERROR, "isthmus itself is at fault"),
        };
        let text = match self {
            Self::NotReady(why) => format!("not ready: {why}"),
            Self::TooLarge => format!("{told}: {} bytes are the most", body::LARGEST),
            Self::WrongType(why) => (*why).to_owned(),
            Self::NotAReview(why) => why.to_string(),
            _ => told.to_owned(),
        };
        (status, text, told)
    }
}

/// One line a decision. It names things, and repeats nothing of what they contain.
fn log(hook: Hook, decision: &Decision<'_>, took: Duration) {
    tracing::info!(
        hook = hook_name(hook),
        uid = clipped(&decision.uid),
        operation = clipped(&decision.operation),
        kind = clipped(&decision.kind),
        object = clipped(&decision.object),
        subresource = clipped(&decision.subresource),
        user = clipped(&decision.user),
        dry_run = decision.dry_run,
        verdict = decision.outcome.as_str(),
        rules = decision.rules.join(","),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "review decided"
    );
}

fn clipped(text: &str) -> &str {
    text.char_indices().nth(LONGEST_LOGGED).map_or(text, |(end, _)| &text[..end])
}

/// Answers for paths that are not there.
pub(super) async fn not_found(State(app): State<Arc<App>>, request: Request) -> Response {
    unrouted(&app, StatusCode::NOT_FOUND, "there is nothing here\n", request)
}

/// Answers for methods that a path does not have.
pub(super) async fn not_allowed(State(app): State<Arc<App>>, request: Request) -> Response {
    unrouted(&app, StatusCode::METHOD_NOT_ALLOWED, "it is not done by this method\n", request)
}

/// Answers calls of a path that this replica may have yet to hear of.
pub(super) fn come_again(app: &App, request: Request) -> Response {
    let text = "this path is not known here, or not yet\n";
    let mut response = unrouted(app, StatusCode::SERVICE_UNAVAILABLE, text, request);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn unrouted(app: &App, status: StatusCode, text: &'static str, request: Request) -> Response {
    app.metrics.refused(status.as_u16());
    if let Some(suppressed) = app.sample.take(text) {
        // Not the path, which may be one that is kept secret.
        let reason = text.trim_end();
        tracing::warn!(status = status.as_u16(), reason, suppressed, "call refused");
    }
    let (head, body) = request.into_parts();
    body::linger(app, &head.headers, body);
    (status, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic, reason = "it is what is tested")]
    fn a_panic_is_an_answer() {
        assert!(matches!(caught(|| panic!("on purpose")), Err::<(), _>(Refusal::Panic)));
        assert_eq!(caught(|| 1).ok(), Some(1));
    }

    #[test]
    fn the_caller_says_how_long_it_waits() {
        const CASES: &[(Option<&str>, u64)] = &[
            (None, 10_000),
            (Some(""), 10_000),
            (Some("timeout=3s"), 3_000),
            (Some("a=b&timeout=250ms"), 250),
            (Some("timeout=5m"), 30_000),
            (Some("timeout=0s"), 10_000),
            (Some("timeout=soon"), 10_000),
        ];
        for (query, milliseconds) in CASES {
            assert_eq!(timeout(*query), Duration::from_millis(*milliseconds), "{query:?}");
        }
    }

    #[test]
    fn long_texts_are_clipped() {
        assert_eq!(clipped("short"), "short");
        assert_eq!(clipped(&"\u{e4}".repeat(1000)).chars().count(), LONGEST_LOGGED);
    }
}
