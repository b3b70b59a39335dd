//! What is counted of reviews.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::admission::{Decision, Hook, Outcome};
use crate::document::DOCUMENTS;
use crate::ledger::Why;
use crate::server::metrics::metrics;

/// Upper bounds of the latency histogram in seconds: a review takes microseconds, a queue seconds.
const BUCKETS: [f64; 15] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05,
    0.1, 0.5, 1.0, 5.0,
];
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
const OTHER: &str = "other";
/// What writes wait for.
const REASONS: [(Why, &str); 9] = [
    (Why::Pending, "pending"),
    (Why::Many, "related"),
    (Why::Opaque, "unknown"),
    (Why::Crowded, "user"),
    (Why::Full, "full"),
    (Why::Quarantine, "quarantine"),
    (Why::Outdated, "outdated"),
    (Why::Busy, "busy"),
    (Why::Unusable, "unusable"),
];

/// What is counted of reviews, and how long they take.
pub(in crate::server) struct ReviewMetrics {
    pub(super) counts: ReviewCounts,
    /// That of each webhook, looked up once.
    durations: [Histogram; 2],
}

metrics! {
    /// What is counted of reviews.
    struct ReviewCounts {
        reviews: Family<ReviewLabels, Counter> = "reviews",
            "Answered reviews, by what was asked and what was decided";
        findings: Family<FindingLabels, Counter> = "findings",
            "Reviews in which a rule reported something, by their verdict";
        delayed: Family<ReasonLabels, Counter> = "delayed_reviews",
            "Reviews answered with 429, or 503 if unusable, by what the write waits for";
        shed: Family<ResourceLabels, Counter> = "shed_reviews",
            "Reviews shed with 503, by the resource that was exhausted";
        in_flight: Gauge = "reviews_in_flight", "Reviews in flight";
        /// Bytes that are set aside for large bodies now.
        body_memory: Gauge = "body_memory_bytes", "Memory of large bodies in flight";
        panics: Counter = "panics", "Reviews that ended in a bug of isthmus";
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::server) struct ReviewLabels {
    hook: &'static str,
    kind: &'static str,
    operation: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::server) struct FindingLabels {
    rule: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::server) struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::server) struct ResourceLabels {
    resource: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HookLabels {
    hook: &'static str,
}

impl ReviewMetrics {
    pub(in crate::server) fn shown_by(registry: &mut Registry) -> Self {
        let duration = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        let of_hook = |hook| duration.get_or_create_owned(&HookLabels { hook: hook_name(hook) });
        let durations = [Hook::Validate, Hook::Mutate].map(of_hook);
        let help = "Time from the last byte of a review to its answer";
        registry.register("review_duration_seconds", help, duration);
        let counts = ReviewCounts::shown_by(registry);
        for (_, reason) in REASONS {
            drop(counts.delayed.get_or_create(&ReasonLabels { reason }));
        }
        Self { counts, durations }
    }

    /// Notes how much memory large bodies take.
    pub(in crate::server) fn body_memory(&self, bytes: i64) {
        self.counts.body_memory.set(bytes);
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
        self.counts.reviews.get_or_create(&labels).inc();
        if let Outcome::Delayed(why) = decision.outcome {
            let reasons = REASONS.into_iter().filter(|(known, _)| *known == why);
            for (_, reason) in reasons {
                self.counts.delayed.get_or_create(&ReasonLabels { reason }).inc();
            }
        }
        for rule in &decision.rules {
            self.counts.findings.get_or_create(&FindingLabels { rule, verdict }).inc();
        }
        self.durations[of as usize].observe(took.as_secs_f64());
    }

    /// Counts a review that was shed.
    pub(super) fn shed(&self, resource: &'static str) {
        self.counts.shed.get_or_create(&ResourceLabels { resource }).inc();
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
