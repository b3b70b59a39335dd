//! ClusterDomainMismatch: every member of a mesh has the same cluster domain.

use super::finding::told;
use super::{Finding, Rule, Severity};
use crate::mesh::{Member, StatedDomain, View};

pub(super) static RULE: Rule = Rule {
    name: "ClusterDomainMismatch",
    what: "A member's cluster domain differs from that of the local member or, where that is unknown (a hub), from that of any other member.",
    why: "Istio matches services across clusters by their fully qualified DNS names. In a different domain they do not resolve, and certificates carry identities that no peer expects.",
    remedy: "Give the member the cluster domain of the mesh. A running cluster has to be rebuilt for that.",
    example: "metadata.annotations[isthmus.dev/cluster-domain]: cluster domain k8s-b.local differs from cluster.local of member \"local\" (Secret kube-system/d8-cluster-configuration); all members of a mesh share one cluster domain: write cluster.local [ClusterDomainMismatch]",
    state: judge,
    ..Rule::IDLE
};

/// How many members a message names before it counts.
const NAMED: usize = 3;

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if mesh.is_local(member) {
        return against_all(mesh, member);
    }
    let local_domains: Vec<_> = mesh
        .local()
        .into_iter()
        .flat_map(|local| local.pick(exact).map(move |d| (local, d)))
        .collect();
    if local_domains.is_empty() {
        return within_hub(mesh, member);
    }
    let mut findings = Vec::new();
    for (domain, ours) in member.pick(StatedDomain::of) {
        for (local, (theirs, claim)) in &local_domains {
            if !domain.agrees(theirs) {
                let message = format!(
                    "cluster domain {domain} differs from {theirs} of {}",
                    told(local, &claim.place)
                );
                let remedy = remedy(theirs);
                findings
                    .push(RULE.deny(member, &ours.place, message, remedy).against(&claim.place));
            }
        }
    }
    findings
}

/// The local member against everybody: only domains that differ are looked at.
fn against_all(mesh: &View<'_>, local: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (domain, ours) in local.pick(exact) {
        let others = mesh.domains_of_others(local, |theirs| theirs.agrees(&domain), usize::MAX);
        for (theirs, members) in others {
            for member in members {
                for (_, claim) in
                    member.pick(StatedDomain::of).filter(|(stated, _)| *stated == theirs)
                {
                    let message = format!(
                        "cluster domain {domain} differs from {theirs} of {}",
                        told(member, &claim.place)
                    );
                    let remedy = remedy(&theirs);
                    findings
                        .push(RULE.deny(local, &ours.place, message, remedy).against(&claim.place));
                }
            }
        }
    }
    findings
}

/// A hub has no domain of its own: its members are held against each other. Once they are split,
/// everybody is at fault with somebody, and whoever joins can only be warned.
fn within_hub(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (domain, ours) in member.pick(StatedDomain::of) {
        let others = mesh.domains_of_others(member, |_| false, NAMED + 1);
        let Some((theirs, members)) = others.iter().find(|(theirs, _)| !theirs.agrees(&domain))
        else {
            continue;
        };
        let split = others.keys().any(|other| !other.agrees(theirs));
        let severity = if split { Severity::Warn } else { Severity::Deny };
        let mut names: Vec<_> =
            members.iter().take(NAMED).map(|member| format!("\"{}\"", member.name())).collect();
        if members.len() > NAMED {
            names.push("others".to_owned());
        }
        let members = if names.len() == 1 { "member" } else { "members" };
        let message = format!(
            "cluster domain {domain} differs from {theirs} of {members} {}",
            names.join(", ")
        );
        let remedy = format!("all members of a mesh share one cluster domain: write {theirs}");
        findings.push(RULE.find(severity, member, &ours.place, message, remedy));
    }
    findings
}

fn remedy(theirs: &StatedDomain) -> String {
    match theirs {
        StatedDomain::Exact(domain) => {
            format!("all members of a mesh share one cluster domain: write {domain}")
        }
        StatedDomain::Dashed(_) => {
            "all members of a mesh share one cluster domain: write the one that is in use there"
                .to_owned()
        }
    }
}

fn exact(fact: &crate::mesh::Fact) -> Option<StatedDomain> {
    StatedDomain::of(fact).filter(|domain| matches!(domain, StatedDomain::Exact(_)))
}
