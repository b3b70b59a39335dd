//! The endpoint for those who run isthmus: probes and metrics, in plain HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::app::App;
use super::{metrics, review};

/// The paths of the admin endpoint.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page))
        .method_not_allowed_fallback(review::not_allowed)
        .fallback(review::not_found)
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
