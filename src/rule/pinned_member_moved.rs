//! PinnedMemberMoved: discovery has pinned a peer, and its endpoint moves away.

use super::{Finding, Rule};
use crate::mesh::{Fact, Member};

pub(super) static RULE: Rule = Rule {
    name: "PinnedMemberMoved",
    what: "`spec.metadataEndpoint` changes to a different host while a cluster UUID is pinned in the status. Always a warning.",
    why: "Deckhouse pins the cluster UUID at first contact. If a different cluster answers at the new host, Deckhouse rejects it and the member goes stale.",
    remedy: "If it is a different cluster, delete the IstioMulticluster and create it again.",
    example: "spec.metadataEndpoint: the host changes from istio.k8s-b.example.com to istio.k8s-z.example.com while a cluster UUID is pinned in the status; if this is a different cluster, delete and recreate the object [PinnedMemberMoved]",
    step: judge,
    ..Rule::IDLE
};

fn judge(before: &Member, after: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    for claim in after.claims() {
        let Some(now) = claim.fact.endpoint() else { continue };
        let object = &claim.place.object;
        let was = before.said_by(object).iter().find_map(|claim| claim.fact.endpoint());
        let said = after.said_by(object);
        let pinned = said.iter().find(|claim| matches!(claim.fact, Fact::Uuid(_)));
        if let (Some(was), Some(pinned)) = (was, pinned)
            && was.host_identity() != now.host_identity()
        {
            let message = format!(
                "the host changes from {} to {} while a cluster UUID is pinned in the status",
                was.host(),
                now.host()
            );
            let remedy = "if this is a different cluster, delete and recreate the object";
            let finding = RULE.warn(after, &claim.place, message, remedy.to_owned());
            findings.push(finding.against(&pinned.place));
        }
    }
    findings
}
