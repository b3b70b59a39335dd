//! HTTP within limits: connections, bodies, and what callers share of both. Nothing of it knows
//! what is answered.

pub(super) mod body;
pub(super) mod connections;
pub(super) mod listener;
pub(super) mod room;
mod sample;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::metrics;
use sample::Sample;

/// What all endpoints share.
#[derive(Debug)]
pub(super) struct Http {
    /// How long a client may take for each step.
    pub(super) client_timeout: Duration,
    pub(super) metrics: HttpMetrics,
    /// Which refused calls are logged.
    pub(super) sample: Sample,
    draining: AtomicBool,
}

metrics! {
    /// What is counted of connections and of calls that are answered with an error.
    struct HttpMetrics {
        refused: Family<StatusLabels, Counter> = "refused_requests",
            "Requests answered with an HTTP error, by status";
        closed: Family<ReasonLabels, Counter> = "closed_connections",
            "Connections closed before their clients closed them, by reason";
        connections: Gauge = "connections", "Open connections to the webhook";
        handshake_failures: Counter = "handshake_failures", "Failed TLS handshakes";
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StatusLabels {
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    reason: &'static str,
}

impl Http {
    pub(super) fn new(client_timeout: Duration, registry: &mut Registry) -> Self {
        Self {
            client_timeout,
            metrics: HttpMetrics::shown_by(registry),
            sample: Sample::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether the process is about to end, so that connections are closed after their answers.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins the end.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Refuses a request before its body is looked at.
    pub(super) fn refuse(
        &self,
        status: StatusCode,
        text: &'static str,
        request: Request,
    ) -> Response {
        self.metrics.refused(status);
        if let Some(suppressed) = self.sample.take(text) {
            // Not the path, which may be one that is kept secret.
            let reason = text.trim_end();
            tracing::warn!(status = status.as_u16(), reason, suppressed, "request refused");
        }
        let (head, body) = request.into_parts();
        body::linger(self.client_timeout, &head.headers, body);
        (status, text).into_response()
    }
}

impl HttpMetrics {
    /// Counts a request that is answered with an error.
    pub(super) fn refused(&self, status: StatusCode) {
        self.refused.get_or_create(&StatusLabels { status: status.as_u16() }).inc();
    }

    /// Counts a connection that is closed before its client was done.
    pub(super) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ReasonLabels { reason }).inc();
    }
}
