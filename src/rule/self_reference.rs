//! SelfReference: a cluster is not a peer of itself.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::side;
use super::{Finding, Rule, Severity};
use crate::mesh::{Claim, Fact, Member, View};
use crate::settings::Policy;
use crate::value::{EndpointHost, MetadataEndpoint, PublicDomainTemplate};

pub(super) static RULE: Rule = Rule {
    name: "SelfReference",
    what: "An IstioMulticluster has the name of the local member, the local metadata endpoint (host and port), or the local identity: the UID of namespace `kube-system`, the cluster UUID of Deckhouse, or the cluster ID of Istio (in a status only a warning, because it is not written by hand). An IstioFederation with the local metadata endpoint is a warning. The setting `selfReference` can turn the rule into a warning.",
    why: "The cluster would discover itself as a remote cluster, and every endpoint would appear twice: once directly and once through the cluster's own gateway. Deckhouse does not check this.",
    remedy: "Apply the IstioMulticluster in the other clusters, not in the cluster that it describes.",
    example: "spec.metadataEndpoint: https://istio-metadata.kube.example.com/metadata/ is the local cluster's own metadata endpoint, by publicDomainTemplate %s.kube.example.com of ModuleConfig global; apply this IstioMulticluster in the other clusters only [SelfReference]",
    state: judge,
    ..Rule::IDLE
};

/// The services under which Deckhouse publishes the metadata of a cluster.
const METADATA_SERVICES: [&str; 2] = ["istio", "istio-metadata"];
const REMEDY: &str = "apply this IstioMulticluster in the other clusters only";

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let severity = match mesh.settings().self_reference {
        Policy::Deny => Severity::Deny,
        Policy::Warn => Severity::Warn,
        Policy::Ignore | Policy::Auto => return Vec::new(),
    };
    if mesh.is_local(member) {
        let mut findings = named_local(member, severity);
        findings.extend(local_against_peers(mesh, member, severity));
        let federations = member.pick(Fact::federated_endpoint);
        findings.extend(at_own_endpoint(member, member, Severity::Warn, federations));
        return findings;
    }
    let Some(local) = mesh.local() else { return Vec::new() };
    let mut findings = at_own_endpoint(local, member, severity, member.pick(Fact::endpoint));
    for ours in member.claims() {
        for theirs in same_identity(ours, local) {
            findings.push(identified(member, false, severity, ours, theirs));
        }
    }
    findings
}

/// Which of the endpoints are the local cluster's own.
fn at_own_endpoint<'a>(
    local: &Member,
    member: &Member,
    severity: Severity,
    endpoints: impl Iterator<Item = (&'a MetadataEndpoint, &'a Claim)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (endpoint, ours) in endpoints {
        for (template, theirs) in local.pick(template).filter(|(it, _)| leads_to(endpoint, it)) {
            let message = format!(
                "{endpoint} is the local cluster's own metadata endpoint, by publicDomainTemplate {template} of {}",
                theirs.place.object
            );
            let kind = &ours.place.object.kind;
            let remedy = format!("apply this {kind} in the other clusters only");
            let finding = RULE.find(severity, member, &ours.place, message, remedy);
            findings.push(finding.against(&theirs.place));
        }
    }
    findings
}

fn named_local(local: &Member, severity: Severity) -> Vec<Finding> {
    let peer = |claim: &&Claim| claim.fact == Fact::Peer;
    local
        .claims()
        .iter()
        .filter(peer)
        .map(|claim| {
            let message = format!(
                "\"{}\" is the name of the local member: the cluster refers to itself",
                local.name()
            );
            RULE.find(severity, local, &claim.place, message, REMEDY.to_owned())
        })
        .collect()
}

/// The local member's own documents against every peer they turn into a self-reference.
fn local_against_peers(mesh: &View<'_>, local: &Member, severity: Severity) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (template, ours) in local.pick(template) {
        // One host if `%s` is the whole first label, else two.
        let hosts: BTreeSet<_> = hosts(template).collect();
        let others = hosts.iter().flat_map(|host| mesh.others_at_host(local, host));
        let others: BTreeMap<_, _> = others.map(|other| (other.name(), other)).collect();
        for other in others.into_values() {
            for (endpoint, theirs) in other.pick(Fact::endpoint) {
                if leads_to(endpoint, template) {
                    let message = format!(
                        "publicDomainTemplate {template} makes {endpoint} of {} the local cluster's own metadata endpoint",
                        side(other, &theirs.place)
                    );
                    let remedy =
                        "write a different template, or delete that IstioMulticluster first";
                    let finding =
                        RULE.find(severity, local, &ours.place, message, remedy.to_owned());
                    findings.push(finding.against(&theirs.place));
                }
            }
        }
    }
    for ours in local.claims() {
        let Some(identity) = ours.identity() else { continue };
        for other in mesh.others_with(local, &identity) {
            for theirs in same_identity(ours, other) {
                findings.push(identified(local, true, severity, ours, theirs));
            }
        }
    }
    findings
}

/// What another member says of itself that is the identity which a claim states.
fn same_identity<'a>(ours: &Claim, other: &'a Member) -> impl Iterator<Item = &'a Claim> {
    ours.identity().into_iter().flat_map(|identity| {
        other.claims().iter().filter(move |theirs| theirs.identity().as_ref() == Some(&identity))
    })
}

fn identified(
    member: &Member,
    is_local: bool,
    severity: Severity,
    ours: &Claim,
    theirs: &Claim,
) -> Finding {
    let identity = ours.identity().map(|identity| identity.to_string()).unwrap_or_default();
    let message =
        format!("{identity} is also that of {}: the cluster refers to itself", theirs.place.object);
    // The local member itself stays.
    let foreign = if is_local { theirs } else { ours };
    let kind = &foreign.place.object.kind;
    let remedy = format!("delete the {kind} here, and apply it in the other clusters");
    let severity = if is_local { Severity::Warn } else { severity };
    RULE.find(severity, member, &ours.place, message, remedy).against(&theirs.place)
}

/// Whether an endpoint is one at which a cluster with this template publishes its metadata.
pub fn leads_to(endpoint: &MetadataEndpoint, template: &PublicDomainTemplate) -> bool {
    if !endpoint.has_standard_port() {
        return false;
    }
    let host = EndpointHost::of(endpoint);
    hosts(template).any(|own| own == host)
}

/// The hosts at which a cluster with this template publishes its metadata.
fn hosts(template: &PublicDomainTemplate) -> impl Iterator<Item = EndpointHost> {
    METADATA_SERVICES.iter().map(|service| EndpointHost::named(&template.host(service)))
}

fn template(fact: &Fact) -> Option<&PublicDomainTemplate> {
    match fact {
        Fact::PublicDomain(template) => Some(template),
        _ => None,
    }
}
