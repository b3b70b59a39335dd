//! DuplicateMember: each cluster is one member.

use super::finding::side;
use super::{Finding, Rule};
use crate::mesh::{About, Claim, Fact, Federation, Identity, Member, ObjectRef, View};
use crate::value::{ClusterDomain, EndpointHost, MetadataEndpoint};

pub(super) static RULE: Rule = Rule {
    name: "DuplicateMember",
    what: "Two members have the same metadata endpoint (after normalization; the hosts `istio.…` and `istio-metadata.…` count as one) or the same identity: the UID of namespace `kube-system`, the cluster UUID of Deckhouse, or the cluster ID of Istio (in a status only a warning, because it is not written by hand); or two descriptors share a kubeconfig, or lead to the same API server. An IstioFederation with the endpoint of a member, or with the local cluster domain as its trust domain, is a warning.",
    why: "The same cluster joins the mesh twice: every endpoint appears twice, and removing one of the two members breaks the other.",
    remedy: "Delete one of the two members, or correct its endpoint. Where one takes the place of the other, annotate it with `isthmus.dev/replaces`.",
    example: "spec.metadataEndpoint: https://istio-metadata.k8s-b.example.com/metadata/ is also the metadata endpoint of member \"cluster-b\" (IstioMulticluster cluster-b); write this member's own endpoint, or delete one of the two; or, if this one takes its place, annotate isthmus.dev/replaces: IstioMulticluster/cluster-b [DuplicateMember]",
    faults: |about| about == About::SecurityContext,
    state: judge,
    ..Rule::IDLE
};

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = federated(mesh, member);
    for ours in member.claims() {
        match &ours.fact {
            Fact::Endpoint(endpoint) => {
                let identity = endpoint.identity();
                for other in mesh.others_at_host(member, &EndpointHost::of(endpoint)) {
                    for theirs in other.claims() {
                        let Fact::Endpoint(found) = &theirs.fact else { continue };
                        if found.identity() != identity {
                            continue;
                        }
                        let message = format!(
                            "{endpoint} is also the metadata endpoint of {}",
                            side(other, &theirs.place)
                        );
                        let remedy = format!(
                            "write this member's own endpoint, or {}",
                            delete_or_replace(theirs)
                        );
                        let value = [identity.to_string(), identity.to_string()];
                        let finding = RULE.deny(member, &ours.place, message, remedy);
                        let finding = finding.against_member(other, &theirs.place);
                        findings.push(Finding { value: Some(value), ..finding });
                    }
                }
            }
            // The local member's own identity is for SelfReference to compare.
            _ if !mesh.is_local(member) => findings.extend(identified(mesh, member, ours)),
            _ => {}
        }
    }
    findings
}

fn identified(mesh: &View<'_>, member: &Member, ours: &Claim) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(identity) = ours.identity() else { return findings };
    for other in mesh.others_with(member, &identity) {
        let same = |claim: &&Claim| claim.identity().as_ref() == Some(&identity);
        for theirs in other.claims().iter().filter(same).filter(|_| !mesh.is_local(other)) {
            let message = format!("{identity} is also that of {}", side(other, &theirs.place));
            let which = match identity {
                Identity::ClusterId(_) => "write this member's own, or",
                _ => "both are the same cluster:",
            };
            let remedy = format!("{which} {}", delete_or_replace(theirs));
            let finding = RULE.deny(member, &ours.place, message, remedy);
            let finding = finding.against_member(other, &theirs.place);
            let value = Some([identity.to_string(), identity.to_string()]);
            findings.push(Finding { value, ..finding });
        }
    }
    findings
}

/// What to do about the other of two: a rename in Git creates the new one first.
fn delete_or_replace(theirs: &Claim) -> String {
    let ObjectRef { kind, name, .. } = &*theirs.place.object;
    format!(
        "delete one of the two; or, if this one takes its place, annotate isthmus.dev/replaces: {kind}/{name}"
    )
}

/// Federated peers, which the local member's documents declare: none of them is a member of the
/// mesh, so that one which leads to a member is one too many.
fn federated(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    if mesh.is_local(member) {
        for (federation, ours) in member.pick(federation) {
            match federation {
                Federation::Endpoint(endpoint) => {
                    for other in mesh.others_at_host(member, &EndpointHost::of(endpoint)) {
                        let theirs = other.pick(Fact::endpoint);
                        let same = theirs.filter(|(it, _)| it.identity() == endpoint.identity());
                        let told =
                            |(_, theirs)| also_federated(member, ours, endpoint, other, theirs);
                        findings.extend(same.map(told));
                    }
                }
                Federation::TrustDomain(trust) => {
                    let domains =
                        member.pick(Fact::cluster_domain).filter(|(domain, _)| *domain == trust);
                    findings
                        .extend(domains.map(|(_, theirs)| skipped(member, ours, trust, theirs)));
                }
            }
        }
        return findings;
    }
    let Some(local) = mesh.local() else { return findings };
    for (endpoint, ours) in member.pick(Fact::endpoint) {
        for (federation, theirs) in local.pick(federation) {
            if let Federation::Endpoint(federated) = federation
                && federated.identity() == endpoint.identity()
            {
                let message =
                    format!("{endpoint} is also the metadata endpoint of {}", theirs.place.object);
                let finding = RULE.warn(member, &ours.place, message, KEEP_ONE.to_owned());
                findings.push(finding.against(&theirs.place));
            }
        }
    }
    findings
}

const KEEP_ONE: &str = "a cluster is a member or a federated peer: keep one of the two";

fn also_federated(
    local: &Member,
    ours: &Claim,
    endpoint: &MetadataEndpoint,
    other: &Member,
    theirs: &Claim,
) -> Finding {
    let message =
        format!("{endpoint} is also the metadata endpoint of {}", side(other, &theirs.place));
    RULE.warn(local, &ours.place, message, KEEP_ONE.to_owned()).against(&theirs.place)
}

fn skipped(local: &Member, ours: &Claim, trust: &ClusterDomain, theirs: &Claim) -> Finding {
    let message = format!(
        "trust domain {trust} is the local cluster domain, so Deckhouse silently skips this federation"
    );
    let remedy = "give federated clusters different domains, or write an IstioMulticluster";
    RULE.warn(local, &ours.place, message, remedy.to_owned()).against(&theirs.place)
}

fn federation(fact: &Fact) -> Option<&Federation> {
    match fact {
        Fact::Federation(federation) => Some(federation),
        _ => None,
    }
}
