//! SubnetSelfOverlap: a member's pods and services have addresses of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::default;
use super::free::offer;
use super::{Finding, Rule};
use crate::mesh::{Claim, Member, Role, View};
use crate::value::Subnet;

pub(super) static RULE: Rule = Rule {
    name: "SubnetSelfOverlap",
    what: "A member's own pod and service subnets overlap.",
    why: "An address could belong to a pod and to a service at once, and kube-proxy would intercept the traffic to the pod.",
    remedy: "Use the next free subnet in the message for one of them.",
    example: "serviceSubnetCIDR: service subnet 10.112.128.0/20 overlaps the member's own pod subnet 10.112.0.0/16 (ClusterConfiguration cluster-b); next free /20: 10.113.0.0/20 [SubnetSelfOverlap]",
    state: judge,
    ..Rule::IDLE
};

/// How many overlaps of one subnet are reported: many documents may describe one member.
const MOST_TOLD: usize = 16;

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let by_role = Role::ALL.map(|wanted| {
        let mut ranges = Ranges::default();
        for stated in member.subnets().filter(|(role, ..)| *role == wanted) {
            ranges.insert(stated);
        }
        ranges
    });
    let [pods, services] = &by_role;
    let (mut findings, mut free) = (Vec::new(), Free::default());
    // Told from the services first: a mesh has fewer of their addresses to move.
    for (ours, others) in [(services, pods), (pods, services)] {
        for stated in ours.all() {
            let (role, _, claim) = *stated;
            // Within one object a clash is reported once, at the service subnet.
            let apart = |other: &&Stated<'_>| {
                role == Role::Service || other.2.place.object != claim.place.object
            };
            let overlapping = others.overlapping(stated.1).filter(apart).take(MOST_TOLD);
            for other in overlapping {
                let free = free.of(mesh, member, stated.1);
                findings.push(overlap(member, stated, other, free));
            }
        }
    }
    findings
}

/// A subnet of the member, and the claim that states it.
type Stated<'a> = (Role, Subnet, &'a Claim);

/// The subnets of one role in their order: CIDRs nest or are disjoint, so that those that lie within
/// one follow it, and those that hold it are looked up length by length.
#[derive(Default)]
struct Ranges<'a> {
    stated: BTreeMap<Subnet, Vec<Stated<'a>>>,
    lengths: BTreeSet<u8>,
}

impl<'a> Ranges<'a> {
    fn insert(&mut self, stated: Stated<'a>) {
        self.lengths.insert(stated.1.prefix_len());
        self.stated.entry(stated.1).or_default().push(stated);
    }

    fn all(&self) -> impl Iterator<Item = &Stated<'a>> {
        self.stated.values().flatten()
    }

    fn overlapping(&self, subnet: Subnet) -> impl Iterator<Item = &Stated<'a>> {
        let shorter = self.lengths.range(..subnet.prefix_len());
        let around = shorter.filter_map(move |length| self.stated.get(&subnet.widened(*length)));
        let within = self.stated.range(subnet..=subnet.last_address()).map(|(_, stated)| stated);
        around.chain(within).flatten()
    }
}

/// The next free subnets that were looked for. A look costs as much as the member has subnets, so
/// that after a few of them, further subnets of the same length get the same one.
#[derive(Default)]
struct Free(BTreeMap<Subnet, String>);

impl Free {
    fn of(&mut self, mesh: &View<'_>, member: &Member, subnet: Subnet) -> String {
        let length = |of: Subnet| (of.is_ipv4(), of.prefix_len());
        let alike = || self.0.iter().find(|(known, _)| length(**known) == length(subnet));
        let known = self.0.get_key_value(&subnet);
        match known.or_else(|| alike().filter(|_| self.0.len() >= MOST_TOLD)) {
            Some((_, free)) => free.clone(),
            None => {
                let free = offer(mesh, member, subnet);
                self.0.entry(subnet).or_insert(free).clone()
            }
        }
    }
}

fn overlap(member: &Member, ours: &Stated<'_>, theirs: &Stated<'_>, remedy: String) -> Finding {
    let ((role, ours, claim), (their_role, theirs, their_claim)) = (*ours, *theirs);
    let is_default = if their_claim.place.is_default() { "default " } else { "" };
    let message = format!(
        "{}{role} {ours} overlaps the member's own {is_default}{their_role} {theirs} ({})",
        default(&claim.place),
        their_claim.place.object
    );
    let value = [format!("{role} {ours}"), format!("{their_role} {theirs}")];
    Finding {
        extent: ours.intersection(theirs),
        value: Some(value),
        ..RULE.deny(member, &claim.place, message, remedy).against(&their_claim.place)
    }
}
