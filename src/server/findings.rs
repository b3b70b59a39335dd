//! What is wrong with the mesh as it stands, counted for those who watch over it.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::app::App;
use super::metrics::metrics;
use super::supervise::of_blocking;
use crate::mesh::MemberName;
use crate::review::standing_findings;
use crate::rule::{Finding, RULES, Severity};
use crate::snapshot::Snapshot;

/// How often it is looked whether the mesh has changed.
const TICK: Duration = Duration::from_millis(500);
/// How much longer than judging a mesh takes it is left alone after that.
const REST: u32 = 20;
/// How many members are judged while the mesh stands still: whoever changes it waits that long.
const AT_ONCE: usize = 32;

metrics! {
    /// What stands.
    struct FindingMetrics {
        standing: Family<StandingLabels, Gauge> = "standing_findings",
            "What is wrong with the mesh as it stands, by rule and by what it would do to a write";
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StandingLabels {
    rule: &'static str,
    severity: &'static str,
}

/// What findings are counted by: the rule, and how bad they are.
type Counted = (&'static str, Severity);

/// Counts the findings of the current mesh whenever it has changed, until it is cancelled.
pub(super) async fn count_standing(app: &App, metrics: &FindingMetrics) {
    let mut judged = None;
    loop {
        sleep(TICK).await;
        let revision = app.snapshot.revision();
        if judged == Some(revision) || !app.sources.missing().is_empty() {
            continue;
        }
        let begun = Instant::now();
        let snapshot = Arc::clone(&app.snapshot);
        let counts = of_blocking(spawn_blocking(move || count(&snapshot)).await).await;
        for rule in RULES {
            for severity in [Severity::Warn, Severity::Deny] {
                let count = counts.get(&(rule.name, severity)).copied().unwrap_or(0);
                let severity = match severity {
                    Severity::Warn => "warn",
                    Severity::Deny => "deny",
                };
                let labels = StandingLabels { rule: rule.name, severity };
                metrics.standing.get_or_create(&labels).set(count);
            }
        }
        judged = Some(revision);
        sleep(begun.elapsed() * REST).await;
    }
}

fn count(snapshot: &Snapshot) -> HashMap<Counted, i64> {
    let names: Vec<MemberName> =
        snapshot.read(|mesh| mesh.members().into_iter().map(|m| Arc::clone(m.name())).collect());
    // A clash is seen from both its sides, maybe more seriously from one.
    let mut clashes: HashMap<u64, Counted> = HashMap::new();
    for names in names.chunks(AT_ONCE) {
        let now = Some(SystemTime::now().into());
        let findings: Vec<_> = snapshot.read(|mesh| {
            names.iter().flat_map(|name| standing_findings(mesh, name, now)).collect()
        });
        for (finding, severity) in findings {
            let (_, worst) = clashes.entry(identity(&finding)).or_insert((finding.rule, severity));
            *worst = severity.max(*worst);
        }
    }
    let mut counts = HashMap::new();
    #[allow(clippy::iter_over_hash_type, reason = "sums do not depend on the order")]
    for counted in clashes.into_values() {
        *counts.entry(counted).or_insert(0) += 1;
    }
    counts
}

fn identity(finding: &Finding) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (rule, one, other) = finding.key();
    (rule, &finding.value, finding.extent).hash(&mut hasher);
    for place in [one, other].into_iter().flatten() {
        (&place.object, place.path().to_string()).hash(&mut hasher);
    }
    hasher.finish()
}
