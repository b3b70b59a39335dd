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

/// How many members the local one is told of.
const MOST_TOLD: usize = 16;

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if mesh.is_local(member) {
        let mut findings = unlike_domain(mesh, member);
        findings.extend(unlike_members(mesh, member));
        return findings;
    }
    let Some(local) = mesh.local() else { return Vec::new() };
    let mut findings: Vec<_> = mismatches(member, local)
        .map(|Mismatch { trust, ours, what, domain, theirs }| {
            let message = format!(
                "trust domain {trust} differs from {what} {domain} of {}{}",
                side(local, &theirs.place),
                shown(&ours.place)
            );
            let remedy = format!("write {domain}, or add {trust} to the local trustDomainAliases");
            RULE.warn(member, &ours.place, message, remedy).against(&theirs.place)
        })
        .collect();
    findings.extend(domain_unlike_local(member, local));
    findings
}

/// The local trust domains that the cluster domain is not accepted as.
fn unlike_domain(mesh: &View<'_>, local: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (trust, claim) in local.pick(trust_domain) {
        let known = local.pick(Fact::cluster_domain).next().is_some();
        let ours = local.pick(Fact::cluster_domain).map(|(domain, claim)| (local, domain, claim));
        let unlike =
            ours.chain(if known { None } else { domain_of_another(mesh, local, trust, claim) });
        for (of, domain, theirs) in
            unlike.filter(|(_, domain, _)| !accepts(local, claim, trust, domain))
        {
            let message = format!(
                "trust domain {trust} differs from cluster domain {domain} of {}",
                side(of, &theirs.place)
            );
            let remedy = format!("write {domain}, or add it to trustDomainAliases");
            findings.push(RULE.warn(local, &claim.place, message, remedy).against(&theirs.place));
        }
    }
    findings
}

/// Whether the object that states a trust domain accepts another one.
fn accepts(local: &Member, claim: &Claim, trust: &ClusterDomain, other: &ClusterDomain) -> bool {
    let of_object = local.said_by(&claim.place.object).iter();
    trust == other || of_object.filter_map(|claim| alias(&claim.fact)).any(|alias| alias == other)
}

/// Where nobody states the local cluster domain, that of a member which the local trust domain is not.
fn domain_unlike_local(member: &Member, local: &Member) -> Vec<Finding> {
    if local.pick(Fact::cluster_domain).next().is_some() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (trust, theirs) in local.pick(trust_domain) {
        let in_force = member.in_force();
        let domains = in_force.filter_map(|claim| Some((claim.fact.cluster_domain()?, claim)));
        for (domain, ours) in domains.filter(|(it, _)| !accepts(local, theirs, trust, it)) {
            let message = format!(
                "cluster domain {domain} differs from trust domain {trust} of {}",
                side(local, &theirs.place)
            );
            let remedy = format!("write {trust}, or add {domain} to the local trustDomainAliases");
            findings.push(RULE.warn(member, &ours.place, message, remedy).against(&theirs.place));
        }
    }
    findings
}

/// Members with a trust domain that neither side accepts as its own.
fn unlike_members(mesh: &View<'_>, local: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_accepted = |trust: &ClusterDomain| {
        is_alias(local, trust) || own(local).1.iter().any(|(domain, _)| *domain == trust)
    };
    for member in mesh.others_trusting(local, is_accepted, MOST_TOLD) {
        for Mismatch { trust, ours, what, domain, theirs } in mismatches(member, local) {
            let message = format!(
                "{what} {domain} differs from trust domain {trust} of {}{}",
                side(member, &ours.place),
                shown(&ours.place)
            );
            let remedy = format!("add {trust} to trustDomainAliases, or correct it there");
            findings.push(RULE.warn(local, &theirs.place, message, remedy).against(&ours.place));
        }
    }
    findings
}

/// A trust domain of a member, and what the local one has instead.
struct Mismatch<'a> {
    trust: &'a ClusterDomain,
    ours: &'a Claim,
    what: &'static str,
    domain: &'a ClusterDomain,
    theirs: &'a Claim,
}

/// A member's trust domains that neither side accepts as its own.
fn mismatches<'a>(member: &'a Member, local: &'a Member) -> impl Iterator<Item = Mismatch<'a>> {
    let (what, own) = own(local);
    let first = own.first().copied();
    let is_accepted = move |trust: &ClusterDomain| {
        is_alias(local, trust)
            || own.iter().any(|(domain, _)| *domain == trust || is_alias(member, domain))
    };
    let foreign = member.pick(trust_domain).filter(move |(trust, _)| !is_accepted(trust));
    foreign.filter_map(move |(trust, ours)| {
        let (domain, theirs) = first?;
        Some(Mismatch { trust, ours, what, domain, theirs })
    })
}

/// The trust domains of the local member, and what they are: Istio's is the cluster domain where
/// nobody says otherwise.
fn own(local: &Member) -> (&'static str, Vec<(&ClusterDomain, &Claim)>) {
    let stated: Vec<_> = local.pick(trust_domain).collect();
    if stated.is_empty() {
        ("cluster domain", local.pick(Fact::cluster_domain).collect())
    } else {
        ("trust domain", stated)
    }
}

fn is_alias(of: &Member, domain: &ClusterDomain) -> bool {
    of.pick(alias).any(|(alias, _)| alias == domain)
}

/// If the local cluster domain is not stated, one of another member that is not accepted.
fn domain_of_another<'a>(
    mesh: &View<'a>,
    local: &Member,
    trust: &ClusterDomain,
    claim: &Claim,
) -> Option<(&'a Member, &'a ClusterDomain, &'a Claim)> {
    let is_accepted = |domain: &StatedDomain| match domain {
        StatedDomain::Exact(domain) => accepts(local, claim, trust, domain),
        StatedDomain::Dashed(_) => true,
    };
    let other = mesh.domains_of_others(local, is_accepted, 1).into_iter().next()?;
    let member = mesh.others_stating(local, &other, 1).into_iter().next()?;
    let mut unlike = member
        .pick(Fact::cluster_domain)
        .filter(|(domain, _)| !accepts(local, claim, trust, domain));
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
