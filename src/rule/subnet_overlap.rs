//! SubnetOverlap: an address of a pod or service means one thing in the whole mesh.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::finding::{default, shown, side};
use super::free::offer;
use super::{Finding, Rule, Severity};
use crate::mesh::{Claim, Member, Network, Role, View};
use crate::settings::Policy;
use crate::value::Subnet;

pub(super) static RULE: Rule = Rule {
    name: "SubnetOverlap",
    what: "Pod or service subnets of two members overlap. On the same network this is denied; on different networks the setting `multiNetworkOverlap` decides (default: a warning), except that an overlap with an observed network without a gateway always warns. For clusters that are described and not joined see the setting `describedOverlap`, for service subnets `serviceOverlap`.",
    why: "On the same network pods reach each other by IP address, so traffic goes to whichever cluster the address is found in first. Behind gateways an overlap is harmless until the networks are joined.",
    remedy: "Use the next free subnet in the message, or put the member on a network of its own (`isthmus.dev/network`, `enableIngressGateway`). The subnets of a running cluster cannot be changed without rebuilding it.",
    example: "metadata.annotations[isthmus.dev/pod-subnet-cidr]: 10.111.0.0/16 overlaps pod subnet 10.111.0.0/16 of member \"local\" (Secret kube-system/d8-cluster-configuration) on the same network; next free /16: 10.112.0.0/16; or keep the member behind a gateway (spec.enableIngressGateway: true) [SubnetOverlap]",
    is_of_networks: true,
    state: judge,
    ..Rule::IDLE
};

/// How many overlaps on one network one subnet reports: one object may bring hundreds of members
/// that all have the same, each held against every other.
const MOST_DENIALS: usize = 16;
/// How many overlaps across networks one subnet reports where they only warn: thousands of members
/// behind gateways may share the default subnets.
const MOST_WARNINGS: usize = 3;

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let network = mesh.network(member);
    let is_direct = is_direct(mesh, member);
    for (role, subnet, claim) in member.subnets() {
        if mesh.is_clear(subnet) {
            continue;
        }
        let (network, free) = (&network, OnceCell::new());
        let side = Side { mesh, member, is_direct, network, role, subnet, claim, free };
        findings.extend(side.on_network());
        findings.extend(side.across_networks());
    }
    findings
}

/// One subnet of the judged member.
struct Side<'a> {
    mesh: &'a View<'a>,
    member: &'a Member,
    /// Whether Istio leads to it directly.
    is_direct: bool,
    network: &'a Network,
    role: Role,
    subnet: Subnet,
    claim: &'a Claim,
    /// The words for the next free subnet, the same whatever it clashes with.
    free: OnceCell<String>,
}

impl Side<'_> {
    fn on_network(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        // What may only be warned of comes last: of very many the first ones are told.
        let others = [false, true].map(|uncertain| self.others_on_network(uncertain));
        for other in others.into_iter().flatten() {
            let is_described = self.described(other).is_some() && self.is_lenient();
            let (between, severity) = if self.unseen(other).is_some() {
                (Between::Unknown, Severity::Warn)
            } else if is_described {
                (Between::OneNetwork, Severity::Warn)
            } else {
                (Between::OneNetwork, Severity::Deny)
            };
            findings.extend(self.overlaps(other, between, severity));
            if is_enough(&mut findings, MOST_DENIALS) {
                // What is left out may grow with any address, so that counts as growth.
                if let Some(last) = findings.last_mut() {
                    last.extent = Some(self.subnet);
                }
                break;
            }
        }
        findings
    }

    /// Those that may clash with it, by name: more than are told, if there are so many.
    fn others_on_network(&self, are_uncertain: bool) -> Vec<&Member> {
        let (mesh, network) = (self.mesh, self.network);
        let others = mesh.others_on(self.member, network, are_uncertain, self.subnet);
        let is_there = |other: &&Member| {
            let is_uncertain = mesh.is_described(other) || mesh.lacks_network(other);
            mesh.network(other) == *network && is_uncertain == are_uncertain
        };
        let mut found = BTreeMap::new();
        for other in others.filter(is_there) {
            found.insert(other.name(), other);
            if found.len() > MOST_DENIALS {
                break;
            }
        }
        found.into_values().collect()
    }

    fn across_networks(&self) -> Vec<Finding> {
        let (severity, most) = match self.mesh.settings().multi_network_overlap {
            Policy::Ignore => (None, MOST_WARNINGS),
            Policy::Warn | Policy::Auto => (Some(Severity::Warn), MOST_WARNINGS),
            Policy::Deny => (Some(Severity::Deny), usize::MAX),
        };
        let mut findings: Vec<Finding> = Vec::new();
        let mut seen = BTreeSet::new();
        let (mesh, member, network) = (self.mesh, self.member, self.network);
        let is_ignored = severity.is_none() && !self.is_direct;
        let all = (!is_ignored).then(|| mesh.others_off(member, network, self.subnet));
        // Where most are ignored, those that are not may be anywhere among them.
        let direct = is_ignored.then(|| mesh.others_without_gateway(member, network, self.subnet));
        for other in all.into_iter().flatten().chain(direct.into_iter().flatten()) {
            let apart = mesh.network(other) != *network || *network == Network::Own;
            if !apart || !seen.insert(other.name()) {
                continue;
            }
            let (between, severity) = if self.is_direct || is_direct(mesh, other) {
                (Between::NoGateway, Severity::Warn)
            } else if let Some(severity) = severity {
                (Between::Gateways, severity)
            } else {
                continue;
            };
            findings.extend(self.overlaps(other, between, severity));
            if is_enough(&mut findings, most) {
                break;
            }
        }
        findings
    }

    fn overlaps(&self, other: &Member, between: Between, severity: Severity) -> Vec<Finding> {
        let shared =
            |(role, theirs, claim)| Some((role, theirs, claim, self.subnet.intersection(theirs)?));
        other
            .subnets()
            .filter_map(shared)
            .map(|(role, theirs, claim, extent)| {
                let network = between.words();
                // A field that shows several facts does not tell which.
                let ours = match self.claim.place.observation() {
                    Some(_) => format!("{} {}", self.role, self.subnet),
                    None => self.subnet.to_string(),
                };
                let message = format!(
                    "{}{ours} overlaps {}{role} {theirs} of {} on {network}{}",
                    default(&self.claim.place),
                    default(&claim.place),
                    side(other, &claim.place),
                    shown(&self.claim.place)
                );
                let is_service = (self.role, role) == (Role::Service, Role::Service);
                let severity = match self.mesh.settings().service_overlap {
                    Policy::Warn if is_service => Severity::Warn,
                    _ => severity,
                };
                let mut finding = RULE.find(
                    severity,
                    self.member,
                    &self.claim.place,
                    message,
                    self.remedy(other, between),
                );
                finding = finding.against_member(other, &claim.place);
                finding.because = self.member.network_claim().map(|(_, claim)| claim.place.clone());
                finding.extent = Some(extent);
                finding.value =
                    Some([format!("{} {}", self.role, self.subnet), format!("{role} {theirs}")]);
                finding
            })
            .collect()
    }

    fn remedy(&self, other: &Member, between: Between) -> String {
        let offer = || offer(self.mesh, self.member, self.subnet);
        let free = self.free.get_or_init(offer);
        let together = between == Between::OneNetwork;
        match self.stranger(other).filter(|_| together) {
            None if together && self.is_flat_by_gateway() => {
                format!(
                    "{free}; or keep the member behind a gateway (spec.enableIngressGateway: true)"
                )
            }
            None if together && let Some(name) = self.named() => format!(
                "{free}; or, if the member is not on network \"{name}\", write the one that it is on"
            ),
            None => match self.unseen(other).filter(|_| between == Between::Unknown) {
                Some(unseen) => {
                    let name = unseen.name();
                    format!(
                        "{free}; if \"{name}\" is on another network, write spec.network of its MeshMember"
                    )
                }
                None => free.clone(),
            },
            Some(stranger) if self.described(other).is_some() && self.is_lenient() => {
                format!("denied if \"{}\" joins without a gateway; {free}", stranger.name())
            }
            Some(stranger) if stranger.is_only_observed() => format!(
                "{free}; or, if \"{}\" is on another network, label its Istio namespace topology.istio.io/network",
                stranger.name()
            ),
            Some(stranger) => format!(
                "{free}; or, if \"{}\" is on another network, set isthmus.dev/network or create its IstioMulticluster first",
                stranger.name()
            ),
        }
    }

    fn named(&self) -> Option<&str> {
        match self.member.network_claim()? {
            (Network::Named(name), _) => Some(name),
            _ => None,
        }
    }

    fn is_flat_by_gateway(&self) -> bool {
        let claim = self.member.network_claim();
        !self.mesh.is_local(self.member)
            && claim.is_some_and(|(network, _)| *network == Network::Local)
    }

    /// Whether an overlap of a member that is merely described is only warned of.
    fn is_lenient(&self) -> bool {
        match self.mesh.settings().described_overlap {
            Policy::Deny => false,
            Policy::Auto => self.mesh.is_joined_by_peers(),
            Policy::Warn | Policy::Ignore => true,
        }
    }

    /// The side that no document joins to the mesh and whose network is not stated.
    fn described<'m>(&'m self, other: &'m Member) -> Option<&'m Member> {
        [self.member, other].into_iter().find(|member| self.mesh.is_described(member))
    }

    /// The side of which nobody knows the network.
    fn unseen<'m>(&'m self, other: &'m Member) -> Option<&'m Member> {
        [self.member, other].into_iter().find(|member| self.mesh.lacks_network(member))
    }

    /// The side that is on the local network only because its network is not stated.
    fn stranger<'m>(&'m self, other: &'m Member) -> Option<&'m Member> {
        [self.member, other]
            .into_iter()
            .find(|member| !self.mesh.is_local(member) && member.network_claim().is_none())
    }
}

/// What is between two members.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Nothing: they are on one network.
    OneNetwork,
    /// Nobody knows: one of them shows no network.
    Unknown,
    /// Nothing to lead from one network to the other.
    NoGateway,
    /// The gateways of two networks.
    Gateways,
}

impl Between {
    fn words(self) -> &'static str {
        match self {
            Self::OneNetwork => "the same network",
            Self::Unknown => "a network that is not known",
            Self::NoGateway => "a network without a gateway",
            Self::Gateways => "a different network",
        }
    }
}

/// Whether Istio leads to a member directly, though it is on another network.
fn is_direct(mesh: &View<'_>, member: &Member) -> bool {
    member.lacks_gateway() && !mesh.has_gateway(&mesh.network(member))
}

/// Whether there are more findings than are reported; then the last of those says so.
fn is_enough(findings: &mut Vec<Finding>, most: usize) -> bool {
    if findings.len() <= most {
        return false;
    }
    findings.truncate(most);
    if let Some(last) = findings.last_mut() {
        last.message.push_str(", and there are more overlaps");
    }
    true
}
