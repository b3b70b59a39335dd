//! The endpoint for those who run isthmus: probes and metrics, in plain HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt;

use super::app::App;
use super::http::connections::Open;
use super::http::listener::Answers;
use super::metrics;

/// What a path that is not there is answered with.
const NOT_FOUND: &str = "not found; the paths are /livez, /readyz and /metrics\n";
/// What a method that a path does not have is answered with.
const NOT_ALLOWED: &str = "method not allowed; use GET\n";

/// What answers probes.
#[derive(Clone)]
pub(super) struct Admin(Router);

impl Admin {
    pub(super) fn new(app: &Arc<App>) -> Self {
        Self(router(Arc::clone(app)))
    }
}

impl Answers for Admin {
    async fn answer(&self, request: Request, _: &Open) -> Response {
        let Ok(response) = self.0.clone().oneshot(request).await;
        response
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page))
        .method_not_allowed_fallback(async |State(app): State<Arc<App>>, request| {
            app.http.refuse(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED, request)
        })
        .fallback(async |State(app): State<Arc<App>>, request| {
            app.http.refuse(StatusCode::NOT_FOUND, NOT_FOUND, request)
        })
        .with_state(app)
}

async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, String) {
    match app.unready().as_slice() {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        why => (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n"),
    }
}

async fn page(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], app.metrics_page())
}
