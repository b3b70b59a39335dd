//! What is counted and measured, for Prometheus.
//!
//! Every label takes a bounded set of values: what a request says of itself is mapped to what is
//! known, or to `other`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::admission::{Decision, Hook};
use crate::document::DOCUMENTS;
use crate::rule::Severity;

/// The media type of [`Metrics::render`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds of the latency histogram in seconds: a review takes microseconds, a queue seconds.
const BUCKETS: [f64; 15] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05,
    0.1, 0.5, 1.0, 5.0,
];
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
const OTHER: &str = "other";

/// All metrics.
pub(super) struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    findings: Family<FindingLabels, Counter>,
    standing_findings: Family<StandingLabels, Gauge>,
    duration: Family<HookLabels, Histogram, fn() -> Histogram>,
    /// That of each webhook, looked up once.
    durations: [Histogram; 2],
    refused: Family<StatusLabels, Counter>,
    shed: Family<ResourceLabels, Counter>,
    closed: Family<ReasonLabels, Counter>,
    /// Reviews in flight.
    pub(super) in_flight: Gauge,
    /// Bytes that are set aside for large bodies now.
    pub(super) body_memory: Gauge,
    pub(super) panics: Counter,
    pub(super) connections: Gauge,
    pub(super) handshake_failures: Counter,
    pub(super) inventory_polls: Counter,
    pub(super) inventory_members: Gauge,
    pub(super) inventory_objects: Gauge,
    pub(super) inventory_files: Gauge,
    pub(super) inventory_bad_files: Gauge,
    pub(super) inventory_age: Gauge<f64, AtomicU64>,
    pub(super) inventory_errors: Counter,
    pub(super) watched_objects: Gauge,
    pub(super) lost_watches: Gauge,
    pub(super) held_writes: Gauge,
    pub(super) certificate_expiry: Gauge,
    /// When the authority expires, where isthmus is that itself.
    pub(super) authority_expiry: Gauge,
    /// For how long its certificate is not known to be kept as it should be.
    pub(super) certificate_age: Gauge<f64, AtomicU64>,
    pub(super) certificate_errors: Counter,
    pub(super) ready: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReviewLabels {
    hook: &'static str,
    kind: &'static str,
    operation: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    rule: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StandingLabels {
    rule: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HookLabels {
    hook: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

/// A background task, by its name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct TaskLabels {
    pub(super) task: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

impl Metrics {
    /// All of them; those of an authority only where isthmus is one.
    pub(super) fn new(is_authority: bool) -> Self {
        let duration = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        let of_hook = |hook| duration.get_or_create_owned(&HookLabels { hook: hook_name(hook) });
        let mut metrics = Self {
            registry: Registry::with_prefix("isthmus"),
            durations: [Hook::Validate, Hook::Mutate].map(of_hook),
            reviews: Family::default(),
            findings: Family::default(),
            standing_findings: Family::default(),
            duration,
            refused: Family::default(),
            shed: Family::default(),
            closed: Family::default(),
            in_flight: Gauge::default(),
            body_memory: Gauge::default(),
            panics: Counter::default(),
            connections: Gauge::default(),
            handshake_failures: Counter::default(),
            inventory_polls: Counter::default(),
            inventory_members: Gauge::default(),
            inventory_objects: Gauge::default(),
            inventory_files: Gauge::default(),
            inventory_bad_files: Gauge::default(),
            inventory_age: Gauge::default(),
            inventory_errors: Counter::default(),
            watched_objects: Gauge::default(),
            lost_watches: Gauge::default(),
            held_writes: Gauge::default(),
            certificate_expiry: Gauge::default(),
            authority_expiry: Gauge::default(),
            certificate_age: Gauge::default(),
            certificate_errors: Counter::default(),
            ready: Gauge::default(),
        };
        metrics.register();
        if is_authority {
            metrics.register_authority();
        }
        metrics
    }

    /// Tells also of the lines of the log that were lost.
    pub(super) fn add_lost_log_lines(&mut self, lost: Counter) {
        let help = "Log lines that were not written, because the log was not read in time or writing failed";
        self.registry.register("lost_log_lines", help, lost);
    }

    /// Tells also how often background tasks have ended.
    pub(super) fn add_tasks(&mut self, ended: &Family<TaskLabels, Counter>) {
        let help = "Times that a background task panicked or returned, and was restarted";
        self.registry.register("task_failures", help, ended.clone());
    }

    /// Counts a decision.
    pub(super) fn decided(&self, of: Hook, decision: &Decision<'_>, took: Duration) {
        let (hook, verdict) = (hook_name(of), decision.outcome.as_str());
        let labels = ReviewLabels {
            hook,
            kind: known_kind(&decision.kind),
            operation: known(&OPERATIONS, &decision.operation),
            verdict,
        };
        self.reviews.get_or_create(&labels).inc();
        for rule in &decision.rules {
            self.findings.get_or_create(&FindingLabels { rule, verdict }).inc();
        }
        self.durations[of as usize].observe(took.as_secs_f64());
    }

    /// Tells how many findings of a rule stand.
    pub(super) fn stands(&self, rule: &'static str, severity: Severity, count: i64) {
        let severity = match severity {
            Severity::Warn => "warn",
            Severity::Deny => "deny",
        };
        self.standing_findings.get_or_create(&StandingLabels { rule, severity }).set(count);
    }

    /// Counts a call that was answered with an error.
    pub(super) fn refused(&self, status: u16) {
        self.refused.get_or_create(&StatusLabels { status }).inc();
    }

    /// Counts a review that was put off.
    pub(super) fn shed(&self, resource: &'static str) {
        self.shed.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a connection that was closed before its client was done.
    pub(super) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// The text that Prometheus reads.
    pub(super) fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let build = BuildLabels { version: env!("CARGO_PKG_VERSION") };
        registry.register("build", "The running version", Info::new(build));
        let help = "Answered reviews, by request and verdict";
        registry.register("reviews", help, self.reviews.clone());
        let help = "Reviews in which a rule reported something, by verdict";
        registry.register("findings", help, self.findings.clone());
        let help =
            "Problems of the mesh as it is now, by rule and by what they would do to a write";
        registry.register("standing_findings", help, self.standing_findings.clone());
        let help = "Time from a review's last byte to its response";
        registry.register("review_duration_seconds", help, self.duration.clone());
        let help = "Calls that were answered with an HTTP error, by status";
        registry.register("refused_requests", help, self.refused.clone());
        let help = "Reviews that were shed with 503, by the exhausted resource";
        registry.register("shed_reviews", help, self.shed.clone());
        let help = "Connections that were closed before their clients were done, by reason";
        registry.register("closed_connections", help, self.closed.clone());
        let help = "Reviews in flight";
        registry.register("reviews_in_flight", help, self.in_flight.clone());
        let help = "Memory that large bodies use";
        registry.register("body_memory_bytes", help, self.body_memory.clone());
        let help = "Reviews that ended in a bug of isthmus";
        registry.register("panics", help, self.panics.clone());
        let help = "Open connections to the webhook";
        registry.register("connections", help, self.connections.clone());
        let help = "TLS handshakes that failed";
        registry.register("handshake_failures", help, self.handshake_failures.clone());
        let help = "Times that the inventory was checked";
        registry.register("inventory_polls", help, self.inventory_polls.clone());
        let help = "Members of the mesh";
        registry.register("inventory_members", help, self.inventory_members.clone());
        let help = "Objects that describe a member";
        registry.register("inventory_objects", help, self.inventory_objects.clone());
        let help = "Files of the inventory";
        registry.register("inventory_files", help, self.inventory_files.clone());
        let help = "Files of the inventory that cannot be read";
        registry.register("inventory_bad_files", help, self.inventory_bad_files.clone());
        let help =
            "Time since the inventory, or the state of the cluster, was last known to be complete";
        registry.register("inventory_age_seconds", help, self.inventory_age.clone());
        let help = "Times that a file of the inventory became invalid";
        registry.register("inventory_errors", help, self.inventory_errors.clone());
        let help = "Objects of the cluster that describe a member";
        registry.register("watched_objects", help, self.watched_objects.clone());
        let help = "Watches of the cluster that are lost";
        registry.register("lost_watches", help, self.lost_watches.clone());
        let help = "Admitted writes that the watch has not reported yet";
        registry.register("held_writes", help, self.held_writes.clone());
        let help = "When the certificate expires, in seconds since 1970";
        registry.register(
            "certificate_expiry_timestamp_seconds",
            help,
            self.certificate_expiry.clone(),
        );
        let help = "Times that the certificate files became invalid, or that the certificate could not be kept";
        registry.register("certificate_errors", help, self.certificate_errors.clone());
        registry.register("ready", "Whether reviews are answered", self.ready.clone());
    }

    fn register_authority(&mut self) {
        let help = "When the CA of the certificate expires, in seconds since 1970";
        self.registry.register(
            "certificate_authority_expiry_timestamp_seconds",
            help,
            self.authority_expiry.clone(),
        );
        let help =
            "Time since the certificate and its publication were last confirmed to be in order";
        self.registry.register("certificate_sync_age_seconds", help, self.certificate_age.clone());
    }
}

/// The name of a webhook in paths, logs and metrics.
pub(super) fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Validate => "validate",
        Hook::Mutate => "mutate",
    }
}

fn known_kind(kind: &str) -> &'static str {
    DOCUMENTS.iter().map(|document| document.kind).find(|known| *known == kind).unwrap_or(OTHER)
}

fn known(names: &[&'static str], name: &str) -> &'static str {
    names.iter().find(|known| **known == name).copied().unwrap_or(OTHER)
}
