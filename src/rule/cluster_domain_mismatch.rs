//! ClusterDomainMismatch: every member of a mesh has the same cluster domain.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::finding::{default, shown, side};
use super::{Finding, Rule, Severity};
use crate::mesh::{Claim, Member, StatedDomain, View};

pub(super) static RULE: Rule = Rule {
    name: "ClusterDomainMismatch",
    what: "A member's cluster domain differs from that of the local member or, where that is unknown (a hub), from the one that most other members state.",
    why: "Istio matches services across clusters by their fully qualified DNS names. In a different domain they do not resolve, and certificates carry identities that no peer expects.",
    remedy: "Give the member the cluster domain of the mesh. A running cluster has to be rebuilt for that.",
    example: "metadata.annotations[isthmus.dev/cluster-domain]: cluster domain k8s-b.local differs from cluster.local of member \"local\" (Secret kube-system/d8-cluster-configuration); all members of a mesh share one cluster domain: write cluster.local [ClusterDomainMismatch]",
    state: judge,
    ..Rule::IDLE
};

/// How many members a message names before it counts.
const NAMED: usize = 3;
/// How many members the local one is told to differ from: more than an answer lists.
const MOST_TOLD: usize = 300;
/// How many members a change is told of that it leaves in the minority.
const MOST_OUTVOTED: usize = 16;

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if mesh.is_local(member) {
        return against_all(mesh, member);
    }
    let Some(local) = mesh.local().filter(|local| exact(local).next().is_some()) else {
        return within_hub(mesh, member);
    };
    let agrees = |domain: &StatedDomain| exact(local).any(|(ours, _)| ours.agrees(domain));
    let mut findings = Vec::new();
    for (domain, ours) in member.domains().filter(|(domain, _)| !agrees(domain)) {
        for (theirs, claim) in exact(local).take(1) {
            let message = format!(
                "{}cluster domain {domain} differs from {}{theirs} of {}{}",
                default(&ours.place),
                default(&claim.place),
                side(local, &claim.place),
                shown(&ours.place)
            );
            let remedy = if ours.place.is_status() { rebuild(&theirs) } else { remedy(&theirs) };
            findings.push(mismatch(
                (member, &domain, ours),
                (local, &theirs, claim),
                message,
                remedy,
            ));
        }
    }
    findings
}

/// The local member against everybody: only domains that differ are looked at.
fn against_all(mesh: &View<'_>, local: &Member) -> Vec<Finding> {
    let Some((domain, ours)) = exact(local).next() else { return Vec::new() };
    let agrees = |theirs: &StatedDomain| exact(local).any(|(ours, _)| ours.agrees(theirs));
    let mut findings = Vec::new();
    for theirs in mesh.domains_of_others(local, agrees, MOST_TOLD) {
        for member in mesh.others_stating(local, &theirs, MOST_TOLD) {
            if findings.len() > MOST_TOLD {
                return findings;
            }
            for (_, claim) in member.domains().filter(|(stated, _)| *stated == theirs) {
                let message = format!(
                    "{}cluster domain {domain} differs from {}{theirs} of {}",
                    default(&ours.place),
                    default(&claim.place),
                    side(member, &claim.place)
                );
                let remedy = remedy(&theirs);
                findings.push(mismatch(
                    (local, &domain, ours),
                    (member, &theirs, claim),
                    message,
                    remedy,
                ));
            }
        }
    }
    findings
}

/// The domain that a member is to have in this mesh, if any is known.
pub(super) fn of_mesh(mesh: &View<'_>, member: &Member) -> Option<StatedDomain> {
    let local = mesh.local().filter(|_| !mesh.is_local(member));
    let of_local = local.and_then(|local| Some(exact(local).next()?.0));
    of_local.or_else(|| mesh.most_stated_domain(member))
}

/// A member, a domain, and the claim that states it.
type Side<'a> = (&'a Member, &'a StatedDomain, &'a Claim);

fn mismatch(ours: Side<'_>, theirs: Side<'_>, message: String, remedy: String) -> Finding {
    let (member, domain, claim) = ours;
    let (other, their_domain, their_claim) = theirs;
    let finding = RULE.deny(member, &claim.place, message, remedy);
    let value = Some([domain.to_string(), their_domain.to_string()]);
    Finding { value, ..finding.against_member(other, &their_claim.place) }
}

/// A hub has no domain of its own: the mesh's is the one that most others state. Where several are
/// stated equally often, none of them is wrong.
fn within_hub(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if member.domains().next().is_none() {
        return Vec::new();
    }
    let votes = mesh.votes(member);
    let leading = mesh.leading_domains(member, &votes, false);
    // Whoever is being deleted denies nobody.
    let lasting = OnceCell::new();
    let lasts = |domain: &StatedDomain| {
        let leading = lasting.get_or_init(|| mesh.leading_domains(member, &votes, true));
        !leading.is_empty() && !leading.agree(domain)
    };
    let mut findings = Vec::new();
    for (domain, ours) in member.domains() {
        let agrees = leading.agree(&domain);
        // It may be what the member states elsewhere.
        let is_of_others = |it: &StatedDomain| !mesh.others_stating(member, it, 1).is_empty();
        let theirs = leading.find(|it| !it.agrees(&domain) && is_of_others(it));
        let Some(theirs) = theirs else { continue };
        let members = mesh.others_stating(member, theirs, NAMED + 1);
        let mut names: Vec<_> =
            members.iter().take(NAMED).map(|member| format!("\"{}\"", member.name())).collect();
        if members.len() > NAMED {
            names.push("others".to_owned());
        }
        let which = if members.len() == 1 { "member" } else { "members" };
        let message = format!(
            "{}cluster domain {domain} differs from {theirs} of {which} {}{}",
            default(&ours.place),
            names.join(", "),
            shown(&ours.place)
        );
        let (severity, remedy) = if agrees {
            let remedy = "as many members state either domain; all members of a mesh share one";
            (Severity::Warn, remedy.to_owned())
        } else if ours.place.is_status() {
            (Severity::Deny, rebuild(theirs))
        } else if let StatedDomain::Exact(theirs) = theirs {
            let severity = if lasts(&domain) { Severity::Deny } else { Severity::Warn };
            let migrates = "to migrate the mesh, annotate isthmus.dev/allow: ClusterDomainMismatch";
            (severity, format!("write {theirs}; {migrates}"))
        } else {
            // What clusters tell of themselves denies nothing that people state.
            (Severity::Warn, remedy(theirs))
        };
        let mut finding = RULE.find(severity, member, &ours.place, message, remedy);
        if let [other] = &*members
            && let Some((_, claim)) = other.domains().find(|(stated, _)| *stated == *theirs)
        {
            finding = finding.against_member(other, &claim.place);
        }
        let value = Some([domain.to_string(), theirs.to_string()]);
        findings.push(Finding { value, ..finding });
    }
    findings
}

/// Where a change brings a majority of a hub, or decides between domains that were stated equally
/// often, what is wrong with those whom that leaves in the minority: nobody of the majority differs
/// from most others.
pub(super) fn outvoted(before: &View<'_>, after: &View<'_>) -> Vec<Finding> {
    let knows_local = |mesh: &View<'_>| mesh.local().is_some_and(|it| exact(it).next().is_some());
    if knows_local(before) || knows_local(after) {
        return Vec::new();
    }
    let nobody = Member::new("".into());
    let lost = after.lost_domains(before, MOST_OUTVOTED);
    let stating = |domain| before.others_stating(&nobody, domain, MOST_OUTVOTED);
    let stood: BTreeSet<_> = lost.iter().flat_map(stating).map(Member::name).collect();
    let members = stood.into_iter().take(MOST_OUTVOTED).filter_map(|name| after.member(name));
    let findings = members.flat_map(|member| within_hub(after, member));
    findings.map(|finding| Finding { severity: Severity::Warn, ..finding }).collect()
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

/// What to do about a domain that a cluster reports about itself.
fn rebuild(theirs: &StatedDomain) -> String {
    format!("the member cannot be used in this mesh until its cluster is rebuilt with {theirs}")
}

/// The domains in force that are written out.
fn exact(member: &Member) -> impl Iterator<Item = (StatedDomain, &Claim)> {
    member.domains().filter(|(domain, _)| matches!(domain, StatedDomain::Exact(_)))
}
