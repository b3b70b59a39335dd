//! InvalidRemoteEndpoint: a cluster finds the control plane of another one.

use super::{Finding, Rule};
use crate::mesh::{About, Fact, Member, View};

pub(super) static RULE: Rule = Rule {
    name: "InvalidRemoteEndpoint",
    what: "An address of a remote control plane, in the values of the chart `istio-remote` or in the Endpoints it renders, is missing, is no literal IP address, or is one that no other cluster can have; one within the local member's own subnets is warned of.",
    why: "Kubernetes' Endpoints hold literal addresses only. With anything else they stay empty, proxies find no Pilot, and pods never get ready.",
    remedy: "Write the IP address by which this cluster reaches the control plane, below `global`.",
    faults: |about| about == About::RemoteEndpoint,
    state: judge,
    ..Rule::IDLE
};

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !mesh.is_local(member) {
        return findings;
    }
    let remote = |fact: &Fact| match fact {
        Fact::RemoteAddress(address) => Some(*address),
        _ => None,
    };
    for (address, claim) in member.pick(remote) {
        for (role, subnet, holder) in member.subnets().filter(|(_, s, _)| address.is_in(*s)) {
            let message = format!(
                "{address} is in the local {role} {subnet} ({}), where no remote control plane is",
                holder.place.object
            );
            let remedy = "write the address that the other cluster gives it".to_owned();
            let finding = RULE.warn(member, &claim.place, message, remedy);
            findings.push(finding.against(&holder.place));
        }
    }
    findings
}
