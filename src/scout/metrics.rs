//! What is counted of visits, and of what stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::rule::Severity;

/// How many members have a label of their own; the others are `other` together.
const MOST_MEMBERS: usize = 100;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VisitLabels {
    /// A class of failures, or `Read`.
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct StandingLabels {
    rule: &'static str,
    severity: &'static str,
    member: String,
}

/// What is counted.
pub(super) struct Metrics {
    registry: Registry,
    visits: Family<VisitLabels, Counter>,
    pub(super) peers: Gauge,
    pub(super) unreachable: Gauge,
    pub(super) errors: Counter,
    standing: Family<StandingLabels, Gauge>,
    shown: Mutex<BTreeSet<StandingLabels>>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("isthmus");
        let (visits, standing) = (Family::default(), Family::default());
        let (peers, unreachable, errors) = (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("scout_visits", "Visits of members, by outcome", Family::clone(&visits));
        registry.register("scout_peers", "Clusters that are joined", Gauge::clone(&peers));
        let help = "Clusters that are joined and could not be read the last time";
        registry.register("scout_unreachable", help, Gauge::clone(&unreachable));
        let help = "Times that the scout's own cluster could not be read or written";
        registry.register("scout_errors", help, Counter::clone(&errors));
        let help = "What is wrong with the mesh as it stands, by rule, what it would do to a write, and member";
        registry.register("standing_findings_by_member", help, Family::clone(&standing));
        Self { registry, visits, peers, unreachable, errors, standing, shown: Mutex::default() }
    }

    pub(super) fn visited(&self, outcome: &'static str) {
        self.visits.get_or_create(&VisitLabels { outcome }).inc();
    }

    /// Shows how many findings there are of each rule and member.
    pub(super) fn show_standing(&self, counts: &BTreeMap<(&'static str, Severity, String), i64>) {
        let members: BTreeSet<_> = counts.keys().map(|(_, _, member)| member).collect();
        let named: BTreeSet<_> = members.into_iter().take(MOST_MEMBERS).collect();
        let mut sums: BTreeMap<StandingLabels, i64> = BTreeMap::new();
        for ((rule, severity, member), count) in counts {
            let severity = match severity {
                Severity::Warn => "warn",
                Severity::Deny => "deny",
            };
            let member = if named.contains(member) { member.as_str() } else { "other" };
            let labels = StandingLabels { rule, severity, member: member.to_owned() };
            *sums.entry(labels).or_insert(0) += count;
        }
        let Ok(mut shown) = self.shown.lock() else { return };
        for gone in shown.iter().filter(|labels| !sums.contains_key(labels)) {
            self.standing.remove(gone);
        }
        for (labels, sum) in &sums {
            self.standing.get_or_create(labels).set(*sum);
        }
        *shown = sums.into_keys().collect();
    }

    /// The text that Prometheus reads.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}
