//! Statements of a document that have no effect as they are written.

use std::sync::Arc;

use super::{Finding, Rule};
use crate::mesh::{Claim, Fact, LOCAL_NETWORK, Member, Network, Place, View};
use crate::syntax::Path;

const LABEL: &[&str] = &["metadata", "labels", "isthmus.dev/member"];
/// How many labels a member is told of that nearly name it.
const MOST_TOLD: usize = 4;

/// What is misnamed, or contradicts itself.
pub(super) fn judge(rule: &Rule, mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(nearly_named(rule, mesh, member));
    let Some((Network::Named(name), claim)) = member.network_claim() else { return findings };
    if mesh.network(member) == Network::Local {
        return findings;
    }
    if name.eq_ignore_ascii_case(LOCAL_NETWORK) {
        let message = format!(
            "this names a network called {name:?}, which is not the network of the local member"
        );
        let remedy = "write the name of that network, or remove the annotation".to_owned();
        findings.push(rule.warn(member, &claim.place, message, remedy));
    }
    let is_flat = |other: &&Claim| other.fact == Fact::Network(Network::Local);
    if let Some(flat) = member.claims().iter().find(is_flat) {
        let other = if flat.place.object == claim.place.object {
            String::new()
        } else {
            format!(" of {}", flat.place.object)
        };
        let message = format!(
            "network {name:?} contradicts spec.enableIngressGateway: false{other}, on which Deckhouse acts: it reaches the pods directly"
        );
        let remedy = "write enableIngressGateway: true, or remove the network".to_owned();
        let finding = rule.warn(member, &claim.place, message, remedy);
        findings.push(finding.against(&flat.place));
    }
    findings
}

/// A label that names a member as no object can be named, where one of nearly that name is known.
fn nearly_named(rule: &Rule, mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    if let Some(meant) = mesh.meant_by_name(member) {
        let (Some(place), Some(theirs)) = (label(member), meant.claims().first()) else {
            return Vec::new();
        };
        let message = format!("no other document describes a member {:?}", &**member.name());
        let remedy = format!("did you mean {}?", meant.name());
        let finding = rule.warn(member, &place, message, remedy);
        return vec![finding.against(&name(theirs))];
    }
    let Some(ours) = member.claims().first() else { return Vec::new() };
    let told = |other: &Member| {
        let theirs = label(other)?;
        let message = format!(
            "label isthmus.dev/member of {} names a member {:?} that no other document describes",
            theirs.object,
            &**other.name()
        );
        let remedy = format!("did you mean {} there?", member.name());
        Some(rule.warn(member, &name(ours), message, remedy).against(&theirs))
    };
    mesh.misnamed(member).into_iter().filter_map(told).take(MOST_TOLD).collect()
}

/// The label of a ConfigMap that describes a member.
fn label(member: &Member) -> Option<Place> {
    let claim = member.claims().iter().find(|claim| claim.place.object.kind == "ConfigMap")?;
    Some(Place::new(Arc::clone(&claim.place.object), Path::fixed(LABEL)))
}

/// The name of the object that says something.
fn name(claim: &Claim) -> Place {
    Place::new(Arc::clone(&claim.place.object), Path::NAME)
}
