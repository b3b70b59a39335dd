//! InvalidMeshConfig: Istio's mesh networks and mesh config take effect as written.

use super::{Finding, Rule};
use crate::mesh::{About, Claim, Fact, Member};

pub(super) static RULE: Rule = Rule {
    name: "InvalidMeshConfig",
    what: "Istio would drop a value of `meshNetworks` or `mesh` in ConfigMap `istio` (or `istio-REVISION`), or read it differently than it is written. Warnings are: harmless differences (host bits, an upper-case registry name), unknown fields that do not resemble a known one, and adding the first networks.",
    why: "Istio validates these texts only when it reads them. One invalid value makes it drop the whole text, with a line in its log: it keeps its previous state, and after a restart it has no networks or the default mesh config.",
    remedy: "Correct the value at the line and column in the message. Adding the first networks cuts off running sidecars: add them before workloads run, or restart the injected pods.",
    example: "data[meshNetworks].networks.a.endpoints[0].fromCIDR: line 8, column 7: field \"fromCIDR\" is unknown, and Istio ignores it; did you mean fromCidr? [InvalidMeshConfig]",
    faults: |about| about == About::MeshConfig,
    step: judge_step,
    ..Rule::IDLE
};

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
