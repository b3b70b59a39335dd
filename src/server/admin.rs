//! The endpoint for those who run isthmus: probes, metrics, and the page of the mesh, in plain HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt;

use super::app::App;
use super::http::connections::Open;
use super::http::listener::Answers;
use super::metrics;
use crate::map::POLICY;

/// What a path that is not there is answered with.
const NOT_FOUND: &str = "not found; the paths are /livez, /readyz and /metrics\n";
/// The same where the page of the mesh is served.
const NOT_FOUND_WITH_PAGE: &str = "not found; the paths are /livez, /readyz, /metrics and /mesh\n";
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
    let router = match app.page {
        Some(_) => Router::new().route("/mesh", get(mesh)),
        None => Router::new(),
    };
    router
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page))
        .method_not_allowed_fallback(async |State(app): State<Arc<App>>, request| {
            app.http.refuse(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED, request)
        })
        .fallback(async |State(app): State<Arc<App>>, request| {
            let told = app.page.as_ref().map_or(NOT_FOUND, |_| NOT_FOUND_WITH_PAGE);
            app.http.refuse(StatusCode::NOT_FOUND, told, request)
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

/// The map of the mesh, which nothing else may frame or keep.
async fn mesh(State(app): State<Arc<App>>) -> Response {
    let missing = app.faults();
    let Some(page) = app.page.as_ref().filter(|_| missing.is_empty()) else {
        return (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response();
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, page.current().await).into_response()
}
