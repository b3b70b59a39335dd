//! InvalidMeshConfig: Istio's mesh networks and mesh config take effect as written.

use std::collections::BTreeMap;

use super::{Finding, Rule};
use crate::mesh::{About, Claim, EndpointSource, Fact, Member, View};
use crate::value::{clipped, similar};

pub(super) static RULE: Rule = Rule {
    name: "InvalidMeshConfig",
    what: "Istio would drop a value of `meshNetworks` or `mesh` in ConfigMap `istio` (or `istio-REVISION`), or read it differently than it is written. Warnings are: harmless differences (host bits, an upper-case registry name), unknown fields that do not resemble a known one, a `fromRegistry` that is not the ID of a known cluster (where remote Secrets are known), and adding the first networks.",
    why: "Istio validates these texts only when it reads them. One invalid value makes it drop the whole text, with a line in its log: it keeps its previous state, and after a restart it has no networks or the default mesh config.",
    remedy: "Correct the value at the line and column in the message. Adding the first networks cuts off running sidecars: add them before workloads run, or restart the injected pods.",
    example: "data[meshNetworks].networks.a.endpoints[0].fromCIDR: line 8, column 7: field \"fromCIDR\" is unknown, and Istio ignores it; did you mean fromCidr? [InvalidMeshConfig]",
    is_of_networks: false,
    faults: |about| about == About::MeshConfig,
    state: unknown_registries,
    step: judge_step,
};

/// How many registries of `meshNetworks` are looked up, and how many known clusters they are
/// compared with where they are not found.
const MOST_REGISTRIES: usize = 64;
const MOST_COMPARED: usize = 256;

/// The registries that are the ID of no cluster, where the remote Secrets are known.
fn unknown_registries(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let Some(local) = (if mesh.is_local(member) { Some(member) } else { mesh.local() }) else {
        return Vec::new();
    };
    let stated: BTreeMap<_, _> = local.pick(registry).collect();
    if stated.is_empty() || !mesh.knows_secrets(member) {
        return Vec::new();
    }
    let is_unknown = |(name, _): &(&str, _)| mesh.of_cluster_id(member, name).is_none();
    if !mesh.is_local(member) {
        let own = member.cluster_ids();
        // Who is listed is not who is meant.
        let own: Vec<_> = own.filter(|(id, _)| !stated.contains_key(id)).collect();
        if own.is_empty() {
            return Vec::new();
        }
        let unknown = stated.into_iter().filter(is_unknown).take(MOST_REGISTRIES);
        return unknown.filter_map(|unknown| meant(member, &own, unknown)).collect();
    }
    let knows_own = local.claims().iter().any(|it| matches!(it.fact, Fact::ClusterId(_)));
    let known = mesh.cluster_ids(member, MOST_COMPARED);
    // Of those that are listed the Secrets may still be to come.
    let is_open = |id: &&str| knows_own || !stated.contains_key(id);
    let compared: Vec<_> = known.into_iter().filter(is_open).collect();
    let unknown = stated.iter().map(|(name, claim)| (*name, *claim)).filter(is_unknown);
    let finding = |(name, claim): (&str, &Claim)| {
        let message = format!("registry {:?} is not the ID of a known cluster", clipped(name));
        let meant = similar(name, &compared);
        let theirs = meant.and_then(|meant| mesh.of_cluster_id(member, meant));
        let remedy = match (meant, theirs) {
            (Some(meant), Some(_)) => format!("did you mean {meant}?"),
            // It may be the ID of the local cluster itself.
            _ if !knows_own => return None,
            _ => "write the key of the cluster's remote Secret".to_owned(),
        };
        let finding = RULE.warn(member, &claim.place, message, remedy);
        Some(match theirs {
            Some(theirs) => finding.against(&theirs.place),
            None => finding,
        })
    };
    unknown.take(MOST_REGISTRIES).filter_map(finding).collect()
}

/// That a registry, which is the ID of no cluster, was meant to be one of these.
fn meant(
    member: &Member,
    own: &[(&str, &Claim)],
    (name, theirs): (&str, &Claim),
) -> Option<Finding> {
    let ids: Vec<_> = own.iter().map(|(id, _)| *id).collect();
    let meant = similar(name, &ids)?;
    let (_, ours) = own.iter().find(|(id, _)| *id == meant)?;
    let message = format!(
        "registry {:?} of {} is not the ID of a known cluster",
        clipped(name),
        theirs.place.object
    );
    let remedy = format!("did you mean {meant} there?");
    Some(RULE.warn(member, &ours.place, message, remedy).against(&theirs.place))
}

fn registry(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::NetworkEndpoints(endpoints) => match &endpoints.from {
            EndpointSource::Registry(name) => Some(name),
            EndpointSource::Cidr(_) | EndpointSource::Gateway(_) => None,
        },
        _ => None,
    }
}

/// The first networks, where an object that stood had none. An object that is new may come with
/// Istio itself.
fn judge_step(before: &Member, after: &Member) -> Vec<Finding> {
    let named = after.claims().iter().filter(|claim| claim.fact == Fact::MeshNetworks(true));
    let had_none = |claim: &&Claim| {
        let of_object = |before: &&Claim| before.place.object == claim.place.object;
        let mut stood = before.claims().iter().filter(of_object);
        stood.any(|before| before.fact == Fact::MeshNetworks(false))
    };
    let finding = |claim: &Claim| {
        let message = "these are the first networks, and adding them cuts off sidecars that are already running";
        let remedy = "restart the injected pods afterwards";
        RULE.warn(after, &claim.place, message.to_owned(), remedy.to_owned())
    };
    named.filter(had_none).map(finding).collect()
}
