//! TrustDomainMismatch: the identities of the mesh are of one trust domain, or accepted as if.

use super::finding::{shown, side};
use super::{Finding, Rule};
use crate::mesh::{Claim, Fact, Member, StatedDomain, View};
use crate::value::ClusterDomain;

pub(super) static RULE: Rule = Rule {
    name: "TrustDomainMismatch",
    what: "Warns when the trust domain of Istio's mesh config differs from the cluster domain and `trustDomainAliases` does not name that, or when a member's trust domain is neither the local one nor an alias on either side.",
    why: "Istio names identities after the trust domain. Authorization policies and certificates that name another one do not match, unless it is among the aliases.",
    remedy: "Write the cluster domain as `trustDomain`, or add the other trust domain to `trustDomainAliases`.",
    example: "data[mesh].trustDomain: line 1, column 14: trust domain corp.example differs from cluster domain cluster.local of member \"local\" (Secret kube-system/d8-cluster-configuration); write cluster.local, or add it to trustDomainAliases [TrustDomainMismatch]",
    state: judge,
    ..Rule::IDLE
};

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if !mesh.is_local(member) {
        return mesh.local().map_or_else(Vec::new, |local| against_local(member, local));
    }
    let mut findings = Vec::new();
    for (trust, claim) in member.pick(trust_domain) {
        let of_object = member.claims().iter().filter(|it| it.place.object == claim.place.object);
        let aliases: Vec<_> = of_object.filter_map(|claim| alias(&claim.fact)).collect();
        let is_accepted = |domain: &ClusterDomain| domain == trust || aliases.contains(&domain);
        let known = member.pick(Fact::cluster_domain).next().is_some();
        let ours = member.pick(Fact::cluster_domain).map(|(domain, claim)| (member, domain, claim));
        let unlike = ours.chain(if known { None } else { domain_of_another(mesh, member, trust) });
        for (of, domain, theirs) in unlike.filter(|(_, domain, _)| !is_accepted(domain)) {
            let message = format!(
                "trust domain {trust} differs from cluster domain {domain} of {}",
                side(of, &theirs.place)
            );
            let remedy = format!("write {domain}, or add it to trustDomainAliases");
            findings.push(RULE.warn(member, &claim.place, message, remedy).against(&theirs.place));
        }
    }
    findings
}

/// A member's trust domains that neither side accepts as its own.
fn against_local(member: &Member, local: &Member) -> Vec<Finding> {
    let stated: Vec<_> = local.pick(trust_domain).collect();
    let domains = || local.pick(Fact::cluster_domain).collect();
    // Istio's trust domain is the cluster domain where nobody says otherwise.
    let (what, own) =
        if stated.is_empty() { ("cluster domain", domains()) } else { ("trust domain", stated) };
    let Some((domain, theirs)) = own.first() else { return Vec::new() };
    let is_alias =
        |of: &Member, domain: &ClusterDomain| of.pick(alias).any(|(alias, _)| alias == domain);
    let is_accepted = |trust: &ClusterDomain| {
        is_alias(local, trust)
            || own.iter().any(|(domain, _)| *domain == trust || is_alias(member, domain))
    };
    let foreign = member.pick(trust_domain).filter(|(trust, _)| !is_accepted(trust));
    let findings = foreign.map(|(trust, ours)| {
        let message = format!(
            "trust domain {trust} differs from {what} {domain} of {}{}",
            side(local, &theirs.place),
            shown(&ours.place)
        );
        let remedy = format!("write {domain}, or add {trust} to the local trustDomainAliases");
        RULE.warn(member, &ours.place, message, remedy).against(&theirs.place)
    });
    findings.collect()
}

/// If the local cluster domain is not stated, a different one of another member.
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
    let mut unlike = member.pick(Fact::cluster_domain).filter(|(domain, _)| *domain != trust);
    unlike.next().map(|(domain, claim)| (member, domain, claim))
}

fn trust_domain(fact: &Fact) -> Option<&ClusterDomain> {
    match fact {
        Fact::TrustDomain(domain) => Some(domain),
        _ => None,
    }
}

fn alias(fact: &Fact) -> Option<&ClusterDomain> {
    match fact {
        Fact::TrustDomainAlias(domain) => Some(domain),
        _ => None,
    }
}
