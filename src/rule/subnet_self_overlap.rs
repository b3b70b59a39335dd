//! SubnetSelfOverlap: a member's pods and services have addresses of their own.

use super::finding::both;
use super::{Finding, Rule};
use crate::mesh::{Member, Role, View};

pub(super) static RULE: Rule = Rule {
    name: "SubnetSelfOverlap",
    what: "A member's own pod and service subnets intersect.",
    why: "An address would be a pod and a service at once; kube-proxy takes the traffic of whichever pod has it.",
    remedy: "Take the next free subnet that the message names for one of them.",
    state: judge,
    ..Rule::IDLE
};

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of = |wanted| member.subnets().filter(move |(role, ..)| *role == wanted);
    for (_, pods, pod_claim) in of(Role::Pod) {
        for (_, services, service_claim) in of(Role::Service) {
            let Some(extent) = pods.intersection(services) else { continue };
            // Told from the services first: a mesh has fewer of their addresses to move.
            let sides = [
                (Role::Service, services, service_claim, Role::Pod, pods, pod_claim),
                (Role::Pod, pods, pod_claim, Role::Service, services, service_claim),
            ];
            let apart = pod_claim.place.object != service_claim.place.object;
            for (role, ours, claim, their_role, theirs, their_claim) in
                sides.into_iter().take(if apart { 2 } else { 1 })
            {
                let free = mesh.next_free(ours, member);
                let length = ours.prefix_len();
                let message = format!(
                    "{role} {ours} overlaps the member's own {their_role} {theirs} ({})",
                    their_claim.place.object
                );
                let remedy = free.map_or_else(
                    || format!("no /{length} is free in {}", ours.private_range()),
                    |free| format!("next free /{length}: {free}"),
                );
                let finding = RULE.deny(member, &claim.place, message, remedy);
                let value = both(&format!("{role} {ours}"), &format!("{their_role} {theirs}"));
                findings.push(Finding {
                    extent: Some(extent),
                    value: Some(value),
                    ..finding.against(&their_claim.place)
                });
            }
        }
    }
    findings
}
