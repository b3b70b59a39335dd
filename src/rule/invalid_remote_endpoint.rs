//! InvalidRemoteEndpoint: a cluster finds the control plane of another one.

use super::{Finding, Rule};
use crate::mesh::{About, Fact, Member, View};

pub(super) static RULE: Rule = Rule {
    name: "InvalidRemoteEndpoint",
    what: "An address of a remote control plane, in the values of the chart `istio-remote` or in the Endpoints that it renders, is missing, is not a literal IP address, or is one that no other cluster can have. An address in the local member's own subnets is a warning.",
    why: "Kubernetes Endpoints can only contain literal IP addresses. With anything else they stay empty, proxies do not find Pilot, and pods never become ready.",
    remedy: "Write the IP address at which this cluster reaches the control plane, under `global`.",
    example: "endpoints[0].addresses[0]: \"pilot.example.com\" is not an IP address, and Endpoints can only contain IP addresses; write the IP address at which this cluster reaches the control plane [InvalidRemoteEndpoint]",
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
                "{address} is in the local {role} {subnet} ({}), not in another cluster",
                holder.place.object
            );
            let remedy = "write the address of the control plane in the other cluster".to_owned();
            let finding = RULE.warn(member, &claim.place, message, remedy);
            findings.push(finding.against(&holder.place));
        }
    }
    findings
}
