//! InvalidMeshConfig: Istio's mesh networks and mesh config take effect as written.

use std::collections::BTreeSet;

use super::{Finding, Rule};
use crate::mesh::{About, Claim, EndpointSource, Fact, Member, View};
use crate::value::{clipped, similar};

pub(super) static RULE: Rule = Rule {
    name: "InvalidMeshConfig",
    what: "Istio would drop a value of `meshNetworks` or `mesh` in ConfigMap `istio` (or `istio-REVISION`), or read it differently than it is written. Warnings are: harmless differences (host bits, an upper-case registry name), unknown fields that do not resemble a known one, a `fromRegistry` that is not the ID of a known cluster (where remote Secrets are known), and adding the first networks.",
    why: "Istio validates these texts only when it reads them. One invalid value makes it drop the whole text, with a line in its log: it keeps its previous state, and after a restart it has no networks or the default mesh config.",
    remedy: "Correct the value at the line and column in the message. Adding the first networks cuts off running sidecars: add them before workloads run, or restart the injected pods.",
    example: "data[meshNetworks].networks.a.endpoints[0].fromCIDR: line 8, column 7: field \"fromCIDR\" is unknown, and Istio ignores it; did you mean fromCidr? [InvalidMeshConfig]",
    faults: |about| about == About::MeshConfig,
    state: unknown_registries,
    step: judge_step,
};

/// How many registries of `meshNetworks` are looked up, and how many known clusters they are
/// compared with where they are not found.
const MOST_REGISTRIES: usize = 64;
const MOST_COMPARED: usize = 256;

/// The registries that are the ID of no cluster, where the remote Secrets are known.
fn unknown_registries(mesh: &View<'_>, local: &Member) -> Vec<Finding> {
    let registry = |fact: &'_ Fact| match fact {
        Fact::NetworkEndpoints(endpoints) => match &endpoints.from {
            EndpointSource::Registry(name) => Some(name.clone()),
            EndpointSource::Cidr(_) | EndpointSource::Gateway(_) => None,
        },
        _ => None,
    };
    let mut stated = local.pick(registry).peekable();
    if !mesh.is_local(local) || stated.peek().is_none() {
        return Vec::new();
    }
    let mut known = BTreeSet::new();
    let mut knows_secrets = false;
    for member in mesh.members().take_while(|member| mesh.spend(member.claims().len())) {
        for claim in member.claims() {
            match &claim.fact {
                Fact::RemoteSecret(secret) => {
                    knows_secrets = true;
                    known.insert(&*secret.key);
                }
                Fact::ClusterId(id) => drop(known.insert(&**id)),
                _ => {}
            }
        }
    }
    if !knows_secrets {
        return Vec::new();
    }
    let knows_own = local.claims().iter().any(|it| matches!(it.fact, Fact::ClusterId(_)));
    let compared: Vec<_> = known.iter().copied().take(MOST_COMPARED).collect();
    let unknown = stated.filter(|(name, _)| !known.contains(&**name)).take(MOST_REGISTRIES);
    let finding = |(name, claim): (Box<str>, &Claim)| {
        let remedy = match similar(&name, &compared) {
            Some(meant) => format!("did you mean {meant}?"),
            // It may be the ID of the local cluster itself.
            None if !knows_own => return None,
            None => "write the key of the cluster's remote Secret".to_owned(),
        };
        let message = format!("registry {:?} is not the ID of a known cluster", clipped(&name));
        Some(RULE.warn(local, &claim.place, message, remedy))
    };
    unknown.filter_map(finding).collect()
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
