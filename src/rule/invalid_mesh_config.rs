//! InvalidMeshConfig: what Istio is told of its networks and of the mesh reaches it.

use super::finding::told;
use super::{Finding, Rule};
use crate::mesh::{About, Claim, Fact, Member, StatedDomain, View};
use crate::value::ClusterDomain;

pub(super) static RULE: Rule = Rule {
    name: "InvalidMeshConfig",
    what: "Istio would drop a value of `meshNetworks` or `mesh` in ConfigMap `istio` (or `istio-REVISION`), or read it differently than it is written. Warnings are: harmless differences (host bits, an upper-case registry name), unknown fields that do not resemble a known one, adding the first networks, and a trust domain that differs from the cluster domain.",
    why: "Istio validates these texts only when it reads them. One invalid value makes it drop the whole text, with a line in its log: it keeps its previous state, and after a restart it has no networks or the default mesh config.",
    remedy: "Correct the value at the line and column in the message. Adding the first networks cuts off running sidecars: add them before workloads run, or restart the injected pods.",
    example: "data[meshNetworks].networks.a.endpoints[0].fromCIDR: line 8, column 7: field \"fromCIDR\" is unknown, and Istio ignores it; did you mean fromCidr? [InvalidMeshConfig]",
    faults: |about| about == About::MeshConfig,
    state: judge,
    step: judge_step,
};

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if !mesh.is_local(member) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (trust, claim) in member.pick(trust_domain) {
        let known = member.pick(cluster_domain).next().is_some();
        let ours = member.pick(cluster_domain).map(|(domain, claim)| (member, domain, claim));
        let unlike = ours.chain(if known { None } else { domain_of_another(mesh, member, trust) });
        for (of, domain, theirs) in unlike.filter(|(_, domain, _)| *domain != trust) {
            let message = format!(
                "trust domain {trust} differs from cluster domain {domain} of {}",
                told(of, &theirs.place)
            );
            let remedy = format!("write {domain}, unless certificates are meant to name {trust}");
            findings.push(RULE.warn(member, &claim.place, message, remedy).against(&theirs.place));
        }
    }
    findings
}

/// The first networks, where an object that stood had none. An object that is new may come with
/// Istio itself.
fn judge_step(before: &Member, after: &Member) -> Vec<Finding> {
    let named = after.claims().iter().filter(|claim| claim.fact == Fact::MeshNetworks(true));
    let had_none = |claim: &&Claim| {
        let of_object = |before: &&Claim| before.place.object == claim.place.object;
        let mut stood = before.claims().iter().filter(of_object);
        stood.any(|before| before.fact == Fact::MeshNetworks(false))
    };
    let finding = |claim: &Claim| {
        let message = "these are the first networks, and adding them cuts off sidecars that are already running";
        let remedy = "restart the injected pods afterwards";
        RULE.warn(after, &claim.place, message.to_owned(), remedy.to_owned())
    };
    named.filter(had_none).map(finding).collect()
}

/// Where nobody states the local cluster domain, one of another member that is unlike.
fn domain_of_another<'a>(
    mesh: &View<'a>,
    local: &Member,
    trust: &ClusterDomain,
) -> Option<(&'a Member, &'a ClusterDomain, &'a Claim)> {
    let is_other = |domain: &StatedDomain| match domain {
        StatedDomain::Exact(domain) => domain != trust,
        StatedDomain::Dashed(_) => false,
    };
    let others = mesh.domains_of_others(local, |domain| !is_other(domain), 1);
    let member = *others.values().flatten().next()?;
    let mut unlike = member.pick(cluster_domain).filter(|(domain, _)| *domain != trust);
    unlike.next().map(|(domain, claim)| (member, domain, claim))
}

fn trust_domain(fact: &Fact) -> Option<&ClusterDomain> {
    match fact {
        Fact::TrustDomain(domain) => Some(domain),
        _ => None,
    }
}

fn cluster_domain(fact: &Fact) -> Option<&ClusterDomain> {
    match fact {
        Fact::ClusterDomain(domain) => Some(domain),
        _ => None,
    }
}
