//! NetworkSubnetOverlap: Istio's networks are apart, and where the members say they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::side;
use super::{Finding, Rule};
use crate::mesh::{Claim, EndpointSource, Fact, Member, Network, NetworkEndpoints, View};
use crate::value::{Subnet, clipped};

pub(super) static RULE: Rule = Rule {
    name: "NetworkSubnetOverlap",
    what: "The `fromCidr` ranges of two networks in `meshNetworks` overlap, or the same `fromRegistry` is in two networks. A `fromCidr` that overlaps subnets of a member on a different network is a warning, if the member's network is known (from `isthmus.dev/network`, or from what discovery has pinned).",
    why: "Istio's API reference forbids this, but its code accepts it. Of nested ranges the widest one is used; of equal ranges or registries a random one, which can change with a restart. Endpoints that are assigned to the wrong network are reached through the wrong gateway, or without the gateway that they need.",
    remedy: "Put each range and each registry into one network only. If a member is on a different network than its subnets, correct one of the two.",
    example: "data[meshNetworks].networks.b.endpoints[0].fromCidr: line 7, column 17: 10.1.0.0/16 of network \"b\" is within 10.0.0.0/8 of network \"a\" (line 4), and Istio uses only the wider range; narrow 10.0.0.0/8 so that the ranges do not overlap [NetworkSubnetOverlap]",
    is_of_networks: true,
    state: judge,
    ..Rule::IDLE
};

/// How many clashes within one object are reported: each range may clash with every other.
const MOST_CLASHES: usize = 100;
/// How many clashes with members one range reports: thousands of members may share subnets.
const MOST_WARNINGS: usize = 3;
/// How many members are looked at for all ranges: most of those behind gateways are on an unnamed
/// network, and none of them may make a review slow. An audit judges each of them by itself.
const MOST_LOOKED_AT: usize = 1_000;

/// What to do about a member that is elsewhere than its addresses.
const REMEDY: &str = "correct the range, or the member's annotation isthmus.dev/network";

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if mesh.is_local(member) {
        let all: Vec<_> = member.pick(network_endpoints).collect();
        // Each revision of Istio reads an object of its own.
        let objects = all.chunk_by(|(_, a), (_, b)| a.place.object == b.place.object);
        let mut findings: Vec<_> =
            objects.flat_map(|of_object| clashes(member, of_object)).collect();
        findings.extend(against_members(mesh, member));
        return findings;
    }
    let Some(local) = mesh.local() else { return Vec::new() };
    if ranges(local).next().is_none() {
        return Vec::new();
    }
    let Some(network) = mesh.network_name(member) else { return Vec::new() };
    against_ranges(local, member, network)
}

/// Endpoints of a network, and where they are stated.
#[derive(Clone, Copy)]
struct Stated<'a> {
    of: &'a NetworkEndpoints,
    claim: &'a Claim,
    /// Their number in the object.
    order: usize,
}

/// What one object puts into two networks.
fn clashes(local: &Member, of_object: &[(&NetworkEndpoints, &Claim)]) -> Vec<Finding> {
    let stated = of_object.iter().enumerate();
    let stated: Vec<_> = stated.map(|(order, (of, claim))| Stated { of, claim, order }).collect();
    let mut pairs = nested(&stated);
    pairs.extend(shared_registries(&stated));
    for (first, second) in &mut pairs {
        if first.order > second.order {
            std::mem::swap(first, second);
        }
    }
    pairs.sort_by_key(|(first, second)| (second.order, first.order));
    let told = pairs.iter().take(MOST_CLASHES);
    let mut findings: Vec<_> = told.map(|(first, second)| clash(local, *first, *second)).collect();
    tell_of_more(&mut findings, pairs.len() > MOST_CLASHES);
    findings
}

/// Pairs of ranges in different networks of which the first holds the second; where there are very
/// many, enough of them.
fn nested<'a>(stated: &[Stated<'a>]) -> Vec<(Stated<'a>, Stated<'a>)> {
    let mut ranges: Vec<_> =
        stated.iter().filter_map(|stated| Some((range(stated.of)?, stated))).collect();
    ranges.sort_by_key(|(range, stated)| (*range, &stated.of.network, stated.order));
    ranges.dedup_by(|(a, later), (b, first)| a == b && later.of.network == first.of.network);
    let mut pairs = Vec::new();
    // Those that hold the range at hand, the widest first.
    let mut holding: Vec<(Subnet, &Stated<'a>)> = Vec::new();
    for (range, stated) in ranges {
        while holding.pop_if(|(wider, _)| !wider.contains(range)).is_some() {}
        for (_, wider) in holding.iter().filter(|(_, wider)| wider.of.network != stated.of.network)
        {
            pairs.push((**wider, *stated));
            if pairs.len() > MOST_CLASHES {
                return pairs;
            }
        }
        holding.push((range, stated));
    }
    pairs
}

/// Pairs of networks that one registry is in; where there are very many, enough of them.
fn shared_registries<'a>(stated: &[Stated<'a>]) -> Vec<(Stated<'a>, Stated<'a>)> {
    let mut networks: BTreeMap<&str, Vec<Stated<'a>>> = BTreeMap::new();
    let mut pairs = Vec::new();
    for stated in stated {
        let EndpointSource::Registry(name) = &stated.of.from else { continue };
        let before = networks.entry(name).or_default();
        if before.iter().any(|before| before.of.network == stated.of.network) {
            continue;
        }
        pairs.extend(before.iter().map(|before| (*before, *stated)));
        before.push(*stated);
        if pairs.len() > MOST_CLASHES {
            break;
        }
    }
    pairs
}

fn clash(local: &Member, first: Stated<'_>, second: Stated<'_>) -> Finding {
    let (ours, theirs) = (clipped(&second.of.network), clipped(&first.of.network));
    let there = match first.claim.place.position().line {
        0 => format!("network {theirs:?}"),
        line => format!("network {theirs:?} (line {line})"),
    };
    let (message, remedy, extent, value) = match (range(first.of), range(second.of)) {
        (Some(first), Some(second)) => {
            let (message, remedy) = if first == second {
                (
                    format!(
                        "{second} of network {ours:?} is also a range of {there}, and Istio picks one of them at random"
                    ),
                    "keep it in only one of the two networks".to_owned(),
                )
            } else if first.contains(second) {
                (
                    format!(
                        "{second} of network {ours:?} is within {first} of {there}, and Istio uses only the wider range"
                    ),
                    format!("narrow {first} so that the ranges do not overlap"),
                )
            } else {
                (
                    format!(
                        "{second} of network {ours:?} contains {first} of {there}, and Istio uses only the wider range"
                    ),
                    format!("narrow {second} so that the ranges do not overlap"),
                )
            };
            let value = [format!("{ours:?} {second}"), format!("{theirs:?} {first}")];
            (message, remedy, first.intersection(second), Some(value))
        }
        _ => {
            let registry = match &second.of.from {
                EndpointSource::Registry(name) => clipped(name),
                EndpointSource::Cidr(_) | EndpointSource::Gateway(_) => "".into(),
            };
            let message = format!(
                "registry {registry:?} of network {ours:?} is also in {there}, and Istio picks one of them at random"
            );
            (message, "keep it in only one of the two networks".to_owned(), None, None)
        }
    };
    let finding = RULE.deny(local, &second.claim.place, message, remedy);
    Finding { extent, value, ..finding.against(&first.claim.place) }
}

/// The local member's ranges against every member whose network is known, itself among them.
fn against_members(mesh: &View<'_>, local: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut looked_at = 0;
    for (range, of, claim) in ranges(local) {
        let mut of_range = Vec::new();
        let mut seen = BTreeSet::new();
        let is_local = mesh.network_name(local).is_some_and(|name| *name == *of.network);
        let network =
            if is_local { Network::Local } else { Network::Named(Arc::clone(&of.network)) };
        let elsewhere = mesh.others_off(local, &network, range);
        for other in std::iter::once(local).chain(elsewhere) {
            looked_at += 1;
            if looked_at > MOST_LOOKED_AT || of_range.len() > MOST_WARNINGS {
                break;
            }
            let Some(network) = mesh.network_name(other) else { continue };
            if *network == *of.network || !seen.insert(other.name()) {
                continue;
            }
            for (role, subnet, theirs) in other.subnets() {
                let Some(extent) = range.intersection(subnet) else { continue };
                let message = format!(
                    "{range} of network {:?} overlaps {role} {subnet} of {}, which is on network {:?}",
                    clipped(&of.network),
                    side(other, &theirs.place),
                    clipped(network)
                );
                let finding = RULE.warn(local, &claim.place, message, REMEDY.to_owned());
                let finding = Finding { extent: Some(extent), ..finding };
                of_range.push(finding.against(&theirs.place));
            }
        }
        let more = of_range.len() > MOST_WARNINGS;
        of_range.truncate(MOST_WARNINGS);
        tell_of_more(&mut of_range, more);
        findings.append(&mut of_range);
    }
    findings
}

/// The subnets of a member on this network against the local member's ranges.
fn against_ranges(local: &Member, member: &Member, network: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, subnet, ours) in member.subnets() {
        let meets = |(range, of, claim): (Subnet, _, _)| {
            Some((range.intersection(subnet)?, range, of, claim))
        };
        let elsewhere = ranges(local).filter(|(_, of, _)| *of.network != *network);
        let mut met = elsewhere.filter_map(meets);
        let mut of_subnet = Vec::new();
        for (extent, range, of, claim) in met.by_ref().take(MOST_WARNINGS) {
            let message = format!(
                "{subnet} overlaps {range} of network {:?} ({}), but member {:?} is on network {:?}",
                clipped(&of.network),
                claim.place.object,
                &**member.name(),
                clipped(network)
            );
            let mut finding = RULE.warn(member, &ours.place, message, REMEDY.to_owned());
            finding.extent = Some(extent);
            finding.because = member.network_claim().map(|(_, claim)| claim.place.clone());
            of_subnet.push(finding.against(&claim.place));
        }
        tell_of_more(&mut of_subnet, met.next().is_some());
        findings.append(&mut of_subnet);
    }
    findings
}

fn tell_of_more(findings: &mut [Finding], more: bool) {
    if let Some(last) = findings.last_mut().filter(|_| more) {
        last.message.push_str(", and there are more");
    }
}

/// The ranges of Istio's networks, as the local member's objects state them.
fn ranges(local: &Member) -> impl Iterator<Item = (Subnet, &NetworkEndpoints, &Claim)> {
    local.pick(network_endpoints).filter_map(|(of, claim)| Some((range(of)?, of, claim)))
}

fn range(of: &NetworkEndpoints) -> Option<Subnet> {
    match of.from {
        EndpointSource::Cidr(subnet) => Some(subnet),
        EndpointSource::Registry(_) | EndpointSource::Gateway(_) => None,
    }
}

fn network_endpoints(fact: &Fact) -> Option<&NetworkEndpoints> {
    match fact {
        Fact::NetworkEndpoints(endpoints) => Some(endpoints),
        _ => None,
    }
}
