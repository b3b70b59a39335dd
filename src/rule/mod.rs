//! Rules: what must hold of each member within the mesh.
//!
//! A rule never sees a request. It judges one member, and admission is what a change adds to the
//! findings; so the same rules serve the webhook, `check` and the metrics. [`RULES`] is the
//! registry that the documentation, the metric labels and the command line fold over.

mod cluster_domain_mismatch;
mod conflicting_claims;
mod descriptors;
mod duplicate_member;
mod faults;
mod finding;
mod free;
mod invalid_mesh_config;
mod invalid_remote_endpoint;
mod invalid_remote_secret;
mod misnamed;
mod multicluster_disabled;
mod network_subnet_overlap;
mod pinned_member_moved;
mod self_reference;
mod subnet_overlap;
mod subnet_self_overlap;
mod trust_domain_mismatch;
mod unknown_facts;

pub(crate) use finding::{FaultKey, Key, Sides};
pub use finding::{Finding, Severity};
pub use self_reference::leads_to;

use crate::budget::Exhausted;
use crate::mesh::{About, Fact, Member, Place, View};

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as it stands in causes, annotations and metrics.
    pub name: &'static str,
    /// What it denies or warns of.
    pub what: &'static str,
    /// Why that breaks a mesh.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// A message of it, as kubectl prints it.
    pub example: &'static str,
    /// Whether the name of the local network changes what it holds against other members.
    is_of_networks: bool,
    /// Which unreadable values it reports.
    faults: fn(About) -> bool,
    /// What it holds against a member within the mesh.
    state: fn(&View<'_>, &Member) -> Vec<Finding>,
    /// What it holds against the step from a member before to the same member after; it only ever
    /// warns.
    step: fn(&Member, &Member) -> Vec<Finding>,
}

impl Rule {
    /// A rule that never reports anything.
    const IDLE: Self = Self {
        name: "",
        what: "",
        why: "",
        remedy: "",
        example: "",
        is_of_networks: false,
        faults: |_| false,
        state: |_, _| Vec::new(),
        step: |_, _| Vec::new(),
    };
}

/// Every rule, in the order findings are reported.
pub static RULES: &[&Rule] = &[
    &faults::INVALID_DOCUMENT,
    &cluster_domain_mismatch::RULE,
    &subnet_overlap::RULE,
    &subnet_self_overlap::RULE,
    &faults::INVALID_SUBNET,
    &faults::INVALID_CLUSTER_DOMAIN,
    &faults::INVALID_METADATA_ENDPOINT,
    &self_reference::RULE,
    &duplicate_member::RULE,
    &pinned_member_moved::RULE,
    &multicluster_disabled::RULE,
    &conflicting_claims::RULE,
    &unknown_facts::RULE,
    &descriptors::INVALID_DESCRIPTOR,
    &descriptors::CONTROL_PLANE_COUNT,
    &descriptors::MISSING_ACCESS_CONFIG,
    &invalid_remote_endpoint::RULE,
    &invalid_remote_secret::RULE,
    &invalid_mesh_config::RULE,
    &network_subnet_overlap::RULE,
    &trust_domain_mismatch::RULE,
];

/// The rule of a name.
pub fn by_name(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}

/// Everything that is wrong with a member as it stands within the mesh.
pub fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    judge_by(mesh, member, |_| true)
}

/// Of that, what the name of the local network may change.
pub fn judge_networks(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    judge_by(mesh, member, |rule| rule.is_of_networks)
}

fn judge_by(mesh: &View<'_>, member: &Member, is_asked: impl Fn(&Rule) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if member.is_empty() {
        return findings;
    }
    // Nearly every member is read without a fault.
    let is_faulty = member.claims().iter().any(|claim| matches!(claim.fact, Fact::Fault(_)));
    for rule in RULES.iter().filter(|rule| is_asked(rule)) {
        if !mesh.spend(member.claims().len()) {
            break;
        }
        if is_faulty {
            findings.extend(faults::told_by(rule, mesh, member));
        }
        findings.append(&mut (rule.state)(mesh, member));
    }
    for finding in &mut findings {
        if finding.severity == Severity::Deny && !is_firm(mesh, member, finding) {
            finding.severity = Severity::Warn;
        }
    }
    findings
}

/// Whether what a finding rests on may deny: what was observed only of a member that has joined, as
/// long as it is fresh, and where it is all there is.
fn is_firm(mesh: &View<'_>, member: &Member, finding: &Finding) -> bool {
    let other = finding.other.as_ref().unwrap_or(&finding.member);
    let sides = [(&finding.member, Some(&finding.place)), (other, finding.against.as_ref())];
    sides.into_iter().all(|(name, place)| {
        let Some(observation) = place.and_then(Place::observation) else { return true };
        let of = if name == member.name() { Some(member) } else { mesh.member(name) };
        mesh.is_firm(observation) && of.is_some_and(|of| mesh.is_joined(of))
    })
}

/// That a change of a member is too complicated to be judged.
pub fn too_complicated(member: &Member, place: &Place, end: Exhausted) -> Finding {
    let message = match end {
        Exhausted::Units(_) => "this object conflicts with more than isthmus can judge",
        Exhausted::Time => "this object is too complex to be judged in the available time",
    };
    let remedy = "split the object, or apply it again".to_owned();
    faults::INVALID_DOCUMENT.deny(member, place, message.to_owned(), remedy)
}

/// What a change makes wrong with members that it does not speak of, unless this rule has told of
/// another one.
pub fn judge_bystanders(before: &View<'_>, after: &View<'_>, findings: &[Finding]) -> Vec<Finding> {
    let is_told = findings.iter().any(|it| it.rule == cluster_domain_mismatch::RULE.name);
    if is_told { Vec::new() } else { cluster_domain_mismatch::outvoted(before, after) }
}

/// Everything that is dangerous about a step of a member.
pub fn judge_step(before: &Member, after: &Member) -> Vec<Finding> {
    // A member without any statement before has not moved.
    if before.is_empty() {
        return Vec::new();
    }
    RULES.iter().flat_map(|rule| (rule.step)(before, after)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        for rule in RULES {
            assert!(std::ptr::eq(by_name(rule.name).unwrap(), *rule));
        }
    }

    #[test]
    fn every_fault_is_reported_by_one_rule() {
        for about in About::ALL {
            let telling: Vec<_> = RULES.iter().filter(|rule| (rule.faults)(about)).collect();
            assert_eq!(telling.len(), 1, "{about}: {telling:?}");
        }
    }

    #[test]
    fn every_text_is_whole() {
        for rule in RULES {
            for text in [rule.what, rule.why, rule.remedy] {
                assert!(text.ends_with('.') && text.len() > 20, "{}: {text:?}", rule.name);
            }
        }
    }
}
