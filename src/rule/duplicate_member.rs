//! DuplicateMember: each cluster is one member.

use super::finding::told;
use super::{Finding, Rule};
use crate::mesh::{Fact, Member, View};

pub(super) static RULE: Rule = Rule {
    name: "DuplicateMember",
    what: "Two members have the same metadata endpoint (after normalization; the hosts `istio.…` and `istio-metadata.…` count as one) or the same cluster UUID (which is only a warning, because it is not written by hand).",
    why: "The same cluster joins the mesh twice: every endpoint appears twice, and removing one of the two members breaks the other.",
    remedy: "Delete one of the two members, or correct its endpoint.",
    example: "spec.metadataEndpoint: https://istio-metadata.k8s-b.example.com/metadata/ is also the metadata endpoint of member \"cluster-b\" (IstioMulticluster cluster-b); write this member's own endpoint, or delete one of the two [DuplicateMember]",
    state: judge,
    ..Rule::IDLE
};

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ours in member.claims() {
        match &ours.fact {
            Fact::Endpoint(endpoint) => {
                let identity = endpoint.identity();
                for other in mesh.others_at_host(member, &endpoint.host_identity()) {
                    for theirs in other.claims() {
                        let Fact::Endpoint(found) = &theirs.fact else { continue };
                        if found.identity() != identity {
                            continue;
                        }
                        let message = format!(
                            "{endpoint} is also the metadata endpoint of {}",
                            told(other, &theirs.place)
                        );
                        let remedy =
                            "write this member's own endpoint, or delete one of the two".to_owned();
                        findings.push(
                            RULE.deny(member, &ours.place, message, remedy)
                                .against_member(other, &theirs.place),
                        );
                    }
                }
            }
            // The local member's own UUID is for SelfReference to compare.
            Fact::Uuid(uuid) if !mesh.is_local(member) => {
                for other in mesh.others_with_uuid(member, *uuid) {
                    let same = |fact: &Fact| *fact == Fact::Uuid(*uuid);
                    for theirs in other.claims().iter().filter(|claim| same(&claim.fact)) {
                        if mesh.is_local(other) {
                            continue;
                        }
                        let message = format!(
                            "cluster UUID {uuid} is also the UUID of {}",
                            told(other, &theirs.place)
                        );
                        let remedy = "both are the same cluster: delete one of the two".to_owned();
                        findings.push(
                            RULE.warn(member, &ours.place, message, remedy)
                                .against_member(other, &theirs.place),
                        );
                    }
                }
            }
            _ => {}
        }
    }
    findings
}
