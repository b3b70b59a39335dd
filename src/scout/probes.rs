//! Probes and metrics, in plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::run::State;

/// How many connections there are at once.
const CONNECTIONS: usize = 64;
/// How long a client may take for a request, and a connection in all.
const TIMES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));
/// How long to wait after a connection could not be accepted.
const REST: Duration = Duration::from_millis(100);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers for ever.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let router = router(state);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(REST).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(TIMES.0).keep_alive(false);
            // Whoever goes away is no matter.
            let _ = timeout(TIMES.1, http.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

fn router(state: Arc<State>) -> Router {
    let (live, ready) = (Arc::clone(&state), Arc::clone(&state));
    Router::new()
        .route("/livez", get(async move || told(live.is_live())))
        .route("/readyz", get(async move || told(ready.is_ready())))
        .route(
            "/metrics",
            get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], state.metrics.page())),
        )
}

fn told(is_well: bool) -> (StatusCode, &'static str) {
    if is_well {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the scout's own cluster cannot be read\n")
    }
}
