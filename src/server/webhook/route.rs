//! Which requests are calls of a webhook, and how all others are answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use tower::ServiceExt;

use super::caller::identify;
use super::review::respond;
use crate::admission::Hook;
use crate::server::app::App;
use crate::server::http::connections::Open;
use crate::server::http::listener::Answers;

/// What a path that is not there is answered with.
const NOT_FOUND: &str = "not found; the paths are /validate and /mutate\n";
/// What a method that a path does not have is answered with.
const NOT_ALLOWED: &str = "method not allowed; use POST\n";
/// What a call of a path is answered with that this replica may have yet to hear of.
const UNKNOWN_PATH: &str = "unknown path, or one that this replica does not know yet\n";

/// The webhook.
#[derive(Clone)]
pub(in crate::server) struct Webhook {
    app: Arc<App>,
    router: Router,
}

impl Webhook {
    pub(in crate::server) fn new(app: &Arc<App>) -> Self {
        Self { app: Arc::clone(app), router: router(Arc::clone(app)) }
    }
}

impl Answers for Webhook {
    async fn answer(&self, request: Request, open: &Open) -> Response {
        match called(&request) {
            Some(hook) => call(&self.app, hook, request, Some(open)).await,
            // In a box: it would be moved about with every call, too.
            None => {
                let Ok(response) = Box::pin(self.router.clone().oneshot(request)).await;
                response
            }
        }
    }
}

/// Which webhook a request calls, if it calls one.
fn called<B>(request: &axum::http::Request<B>) -> Option<Hook> {
    let path = request.uri().path().strip_prefix('/')?;
    let (name, secret) = path.split_once('/').map_or((path, None), |(name, s)| (name, Some(s)));
    let hook = match name {
        "validate" => Hook::Validate,
        "mutate" => Hook::Mutate,
        _ => return None,
    };
    (request.method() == Method::POST && secret != Some("")).then_some(hook)
}

/// Answers a call of a webhook.
pub(in crate::server) async fn call(
    app: &Arc<App>,
    hook: Hook,
    request: Request,
    open: Option<&Open>,
) -> Response {
    let is_certified = open.is_some_and(|open| open.is_certified());
    let answer = async |caller, request| match caller {
        Some(caller) => respond(app, hook, caller, request, open).await,
        None => come_again(app, request),
    };
    identify(&app.verification, request, is_certified, answer).await
}

/// Answers everything that is not a call of a webhook. Calls bypass the router and its allocations.
fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/validate", post(not_allowed))
        .route("/validate/{*secret}", post(not_allowed))
        .route("/mutate", post(not_allowed))
        .route("/mutate/{*secret}", post(not_allowed))
        // Of a webhook whose path was taken away.
        .route("/", post(async |State(app): State<Arc<App>>, request| come_again(&app, request)))
        .method_not_allowed_fallback(not_allowed)
        .fallback(not_found)
        .with_state(app)
}

async fn not_found(State(app): State<Arc<App>>, request: Request) -> Response {
    app.http.refuse(StatusCode::NOT_FOUND, NOT_FOUND, request)
}

async fn not_allowed(State(app): State<Arc<App>>, request: Request) -> Response {
    app.http.refuse(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED, request)
}

fn come_again(app: &App, request: Request) -> Response {
    let mut response = app.http.refuse(StatusCode::SERVICE_UNAVAILABLE, UNKNOWN_PATH, request);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
