//! Values that are wrong by themselves: InvalidDocument, InvalidSubnet, InvalidClusterDomain and
//! InvalidMetadataEndpoint.

use std::collections::BTreeMap;

use super::cluster_domain_mismatch::of_mesh;
use super::finding::{default, side};
use super::free::exemplified;
use super::{Finding, Rule, Severity, misnamed};
use crate::mesh::{About, Claim, Fact, Fault, Member, Role, StatedDomain, View};
use crate::value::{ClusterDomain, MetadataEndpoint, Subnet};

pub(super) static INVALID_DOCUMENT: Rule = Rule {
    name: "InvalidDocument",
    what: "An object, or the YAML inside it, cannot be read as the document that it should be: invalid YAML, a second YAML document, a duplicate key, a wrong type, invalid base64, an alias bomb. Warnings are: unknown annotations, labels and fields that resemble known ones, annotations that have no effect, and a network that contradicts `enableIngressGateway: false`.",
    why: "Software that reads the document skips it or stops at it, and the member is judged only by what can still be read.",
    remedy: "Correct the document at the line and column in the message.",
    example: "data[cluster-configuration.yaml].podSubnetCIDR: line 3, column 16: must be a string, not a number; write \"10\", in quotes [InvalidDocument]",
    faults: |about| about == About::Document,
    is_of_networks: true,
    state: |mesh, member| misnamed::judge(&INVALID_DOCUMENT, mesh, member),
    ..Rule::IDLE
};

pub(super) static INVALID_SUBNET: Rule = Rule {
    name: "InvalidSubnet",
    what: "A subnet is not a CIDR, is empty, is `/0`, has host bits set, or contains or is part of a loopback, link-local or multicast range; or the node prefix (24 unless it is set) is shorter than the prefix of the pod subnet. A range outside of RFC 1918, RFC 6598 and ULA is a warning.",
    why: "Pods get no usable addresses from such a subnet, or it hides an overlap. The subnets of a cluster cannot be changed later without rebuilding it.",
    remedy: "Write a private range without host bits, such as `10.111.0.0/16`. A wrong value that another document of the member already contains is only a warning.",
    example: "metadata.annotations[isthmus.dev/pod-subnet-cidr]: 10.112.5.0/16 has host bits set; write 10.112.0.0/16 [InvalidSubnet]",
    faults: |about| matches!(about, About::Subnet(_) | About::NodePrefix),
    state: invalid_subnet,
    ..Rule::IDLE
};

pub(super) static INVALID_CLUSTER_DOMAIN: Rule = Rule {
    name: "InvalidClusterDomain",
    what: "A cluster domain is not a DNS name (RFC 1123 labels), or equals the domain of the local cluster's `publicDomainTemplate`.",
    why: "Service names in that domain do not resolve, or collide with the public names of the cluster.",
    remedy: "Write a DNS name that is not used for anything else, such as `cluster.local`.",
    example: "data[cluster-configuration.yaml].clusterDomain: line 8, column 16: \"Cluster_Local\" is not a DNS name: label \"cluster_local\" has characters other than letters, digits and dashes; write one such as cluster.local [InvalidClusterDomain]",
    faults: |about| about == About::ClusterDomain,
    state: invalid_cluster_domain,
    ..Rule::IDLE
};

pub(super) static INVALID_METADATA_ENDPOINT: Rule = Rule {
    name: "InvalidMetadataEndpoint",
    what: "A metadata endpoint is not `https`, has no host or path, has user info, a query or a fragment, or its host is `localhost`, a loopback, unspecified or link-local address, the name of a Service (`.svc` or in the local cluster domain), or an address in the local subnets; or `spec.metadata.ca` is not a certificate in PEM. `insecureSkipVerify` is a warning. A path that does not end in `/metadata/` is a warning.",
    why: "Deckhouse's discovery fetches the peer's keys and gateways from this URL. If that fails, the peer silently stays out of the mesh.",
    remedy: "Write `https://`, the host under which other clusters reach the peer, and the path `/metadata/`.",
    example: "spec.metadataEndpoint: https://istio.k8s-b.example.com/ has no path; did you mean https://istio.k8s-b.example.com/metadata/? [InvalidMetadataEndpoint]",
    faults: |about| about == About::Endpoint,
    state: invalid_metadata_endpoint,
    ..Rule::IDLE
};

/// How many pod subnets a mismatching node prefix is reported against: many documents may describe
/// one member.
const MOST_UNFIT: usize = 16;

/// How many members the local one is told of that a document of its own puts in the wrong.
const MOST_PEERS: usize = 16;
/// What is wrong with the side of the template where a cluster domain is also its domain.
const TEMPLATE: &str = "template";

/// The faults of a member that a rule reports.
pub(super) fn told_by<'a>(
    rule: &'a Rule,
    mesh: &'a View<'_>,
    member: &'a Member,
) -> impl Iterator<Item = Finding> {
    member.claims().iter().filter_map(|claim| {
        let Fact::Fault(fault) = &claim.fact else { return None };
        let Fault { about, text, problem, remedy, harmless } = &**fault;
        if !(rule.faults)(*about) {
            return None;
        }
        let severity = if *harmless { Severity::Warn } else { Severity::Deny };
        let remedy = match about {
            About::Subnet(role) => exemplified(mesh, member, *role, remedy),
            About::ClusterDomain => remedy.replace(EXAMPLE_DOMAIN, &such_as(mesh, member, None)),
            _ => remedy.clone(),
        };
        let finding = rule.find(severity, member, &claim.place, problem.clone(), remedy);
        let value = is_fact(*about).then(|| [format!("{about} {text}"), String::new()]);
        Some(Finding { value, ..finding })
    })
}

/// How remedies show a cluster domain where the text does not tell what was meant.
const EXAMPLE_DOMAIN: &str = "such as cluster.local";
/// The same where that is taken.
const OTHER_DOMAIN: &str = "such as k8s.internal";

/// The same with the domain that the mesh has.
fn such_as(mesh: &View<'_>, member: &Member, taken: Option<&ClusterDomain>) -> String {
    let is_taken = |domain: &str| taken.is_some_and(|it| domain == it.as_str());
    let domain = of_mesh(mesh, member).filter(|domain| !is_taken(&domain.to_string()));
    let example = if is_taken("cluster.local") { OTHER_DOMAIN } else { EXAMPLE_DOMAIN };
    domain.map_or(example.to_owned(), |domain| format!("such as {domain}"))
}

/// Whether a member's other document may state the same.
fn is_fact(about: About) -> bool {
    use About::{ClusterDomain, Endpoint, NodePrefix, RemoteSecret, Subnet};
    matches!(about, Subnet(_) | NodePrefix | ClusterDomain | Endpoint | RemoteSecret)
}

fn invalid_subnet(_: &View<'_>, member: &Member) -> Vec<Finding> {
    let rule = &INVALID_SUBNET;
    let mut findings = Vec::new();
    for (role, subnet, claim) in member.subnets().filter(|(_, subnet, _)| !subnet.is_private()) {
        let message = format!(
            "{role} {subnet} is not a private range, so public hosts with its addresses become unreachable"
        );
        let remedy = "write a range of RFC 1918 or RFC 6598, or an IPv6 ULA".to_owned();
        let finding = rule.warn(member, &claim.place, message, remedy);
        findings.push(Finding { extent: Some(subnet), ..finding });
    }
    let prefixes = member.in_force().filter_map(|claim| match claim.fact {
        Fact::NodePrefix(prefix) => Some((prefix, claim)),
        _ => None,
    });
    let of_pods = |(role, subnet, _): &(Role, Subnet, _)| *role == Role::Pod && subnet.is_ipv4();
    let longest = member.subnets().filter(of_pods).map(|(_, pods, _)| pods.prefix_len()).max();
    for (prefix, claim) in prefixes {
        if longest.is_none_or(|longest| (longest..=32).contains(&prefix)) {
            continue;
        }
        let fits = |subnet: Subnet| (subnet.prefix_len()..=32).contains(&prefix);
        let unfit = member.subnets().filter(of_pods).filter(|(_, subnet, _)| !fits(*subnet));
        for (_, subnet, pods) in unfit.take(MOST_UNFIT) {
            let how = if prefix > 32 { "too long for" } else { "shorter than the prefix of" };
            let default = default(&claim.place);
            let message = format!(
                "{default}node prefix {prefix} is {how} pod subnet {subnet} ({}), so no node gets addresses",
                pods.place.object
            );
            let remedy = match subnet.prefix_len() + 1 {
                shortest @ ..32 => format!("write a prefix from {shortest} to 32"),
                _ => "write 32".to_owned(),
            };
            let finding = rule.deny(member, &claim.place, message, remedy).against(&pods.place);
            let value = Some([format!("node prefix {prefix}"), subnet.to_string()]);
            findings.push(Finding { value, ..finding });
        }
    }
    findings
}

fn invalid_cluster_domain(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let rule = &INVALID_CLUSTER_DOMAIN;
    let mut findings = Vec::new();
    let local = if mesh.is_local(member) { Some(member) } else { mesh.local() };
    let Some(local) = local else { return findings };
    let template = |fact: &Fact| match fact {
        Fact::PublicDomain(template) => template.domain(),
        _ => None,
    };
    let domain = |fact: &Fact| match fact {
        Fact::ClusterDomain(domain) => Some(domain.clone()),
        _ => None,
    };
    for (public, theirs) in local.pick(template) {
        if mesh.is_local(member) {
            let domain = StatedDomain::Exact(public.clone());
            for other in mesh.others_stating(member, &domain, MOST_PEERS) {
                let domains = other.pick(Fact::cluster_domain);
                for (_, ours) in domains.filter(|(domain, _)| **domain == public) {
                    let told = template_of(member, theirs, &public, other, ours);
                    findings.push(Finding { severity: Severity::Warn, ..told });
                }
            }
        }
        for (domain, ours) in member.pick(domain).filter(|(domain, _)| *domain == public) {
            let remedy = format!(
                "write a different cluster domain, {}",
                such_as(mesh, member, Some(&domain))
            );
            let message = format!(
                "cluster domain {domain} is also the domain of the publicDomainTemplate in {}",
                theirs.place.object
            );
            let value = Some([format!("cluster domain {domain}"), TEMPLATE.to_owned()]);
            let finding = rule.deny(member, &ours.place, message, remedy);
            let finding = finding.against_member(local, &theirs.place);
            findings.push(Finding { value, ..finding });
            if mesh.is_local(member) && ours.place.object != theirs.place.object {
                findings.push(template_of(member, theirs, &domain, member, ours));
            }
        }
    }
    findings
}

/// That the domain of the local template is the cluster domain of a member too.
fn template_of(
    local: &Member,
    ours: &Claim,
    domain: &ClusterDomain,
    other: &Member,
    theirs: &Claim,
) -> Finding {
    let message = format!(
        "the template's domain {domain} is also the cluster domain of {}",
        side(other, &theirs.place)
    );
    let remedy = "write a template with a different domain".to_owned();
    let finding = INVALID_CLUSTER_DOMAIN.deny(local, &ours.place, message, remedy);
    let value = Some([TEMPLATE.to_owned(), format!("cluster domain {domain}")]);
    Finding { value, ..finding.against_member(other, &theirs.place) }
}

/// What of the local cluster an endpoint leads to, and the claim that tells so, if one does.
fn homes<'a>(
    endpoint: &MetadataEndpoint,
    local: Option<&'a Member>,
) -> Vec<(String, Option<&'a Claim>)> {
    let (host, address) = (endpoint.host(), endpoint.address());
    let in_force = || local.into_iter().flat_map(Member::in_force);
    let mut homes = Vec::new();
    for claim in in_force() {
        let object = &claim.place.object;
        match &claim.fact {
            Fact::ClusterDomain(domain) if domain.holds(host) => {
                let home =
                    format!("host {host} is under the local cluster domain {domain} ({object})");
                homes.push((home, Some(claim)));
            }
            Fact::Subnet(role, subnet) if address.is_some_and(|it| subnet.holds(it)) => {
                let home = format!("{host} is in the local {role} {subnet} ({object})");
                homes.push((home, Some(claim)));
            }
            _ => {}
        }
    }
    let knows_domain = in_force().any(|claim| claim.fact.cluster_domain().is_some());
    let is_service = |suffix: &&str| host.ends_with(*suffix);
    let suffixes = [".svc", ".svc.cluster.local"];
    if suffixes.iter().take(2 - usize::from(knows_domain)).any(is_service) {
        homes.push((format!("host {host} is the name of a Service"), None));
    }
    homes
}

/// Where an endpoint leads to the cluster that reads it, whichever that is.
fn leads_home(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let rule = &INVALID_METADATA_ENDPOINT;
    let local = if mesh.is_local(member) { Some(member) } else { mesh.local() };
    let mut findings = Vec::new();
    let federated = member.pick(Fact::federated_endpoint);
    for (endpoint, ours) in member.pick(Fact::endpoint).chain(federated) {
        for (home, theirs) in homes(endpoint, local) {
            let message = format!("{home}, so it leads to the local cluster");
            let remedy = "write the host under which other clusters reach the peer".to_owned();
            let mut finding = rule.deny(member, &ours.place, message, remedy);
            if let (Some(local), Some(theirs)) = (local, theirs) {
                finding = finding.against_member(local, &theirs.place);
            }
            findings.push(Finding { value: Some(leading(endpoint)), ..finding });
        }
    }
    // The peer is to blame, whatever comes last.
    for peer in led_home(mesh, member) {
        for (endpoint, theirs) in peer.pick(Fact::endpoint) {
            for (home, ours) in homes(endpoint, local) {
                let Some(ours) = ours else { continue };
                let of = side(peer, &theirs.place);
                let message = format!("{endpoint} of {of} leads to the local cluster: {home}");
                let remedy = "correct that endpoint".to_owned();
                let finding = rule.warn(member, &ours.place, message, remedy);
                let [host, none] = leading(endpoint);
                let finding = finding.against_member(peer, &theirs.place);
                findings.push(Finding { value: Some([none, host]), ..finding });
            }
        }
    }
    findings
}

/// Members whose endpoints may lead to this one, if it is the local member, by name.
fn led_home<'a>(mesh: &View<'a>, member: &Member) -> Vec<&'a Member> {
    if !mesh.is_local(member) {
        return Vec::new();
    }
    let mut found = BTreeMap::new();
    let is_led = |peer: &&Member| {
        let homes = peer.pick(Fact::endpoint).flat_map(|(it, _)| homes(it, Some(member)));
        homes.into_iter().any(|(_, claim)| claim.is_some())
    };
    for claim in member.in_force() {
        let room = MOST_PEERS - found.len();
        match &claim.fact {
            Fact::ClusterDomain(domain) => {
                let peers = mesh.others_within(member, domain).filter(is_led).take(room);
                found.extend(peers.map(|peer| (peer.name(), peer)));
            }
            Fact::Subnet(_, subnet) => {
                let peers = mesh.others_at(member, *subnet).filter(is_led).take(room);
                found.extend(peers.map(|peer| (peer.name(), peer)));
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

fn leading(endpoint: &MetadataEndpoint) -> [String; 2] {
    [endpoint.host().to_owned(), String::new()]
}

fn invalid_metadata_endpoint(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let rule = &INVALID_METADATA_ENDPOINT;
    let federated = member.pick(Fact::federated_endpoint);
    let mut findings = leads_home(mesh, member);
    for (endpoint, claim) in member.pick(Fact::endpoint).chain(federated) {
        if !endpoint.has_standard_path() {
            let message = format!(
                "the path of {endpoint} does not end in /metadata/, where Deckhouse serves the metadata"
            );
            let remedy = format!("did you mean {}?", endpoint.with_standard_path());
            findings.push(rule.warn(member, &claim.place, message, remedy));
        }
    }
    findings
}
