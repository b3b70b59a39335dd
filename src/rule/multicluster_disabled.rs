//! MulticlusterDisabled: members need the module that joins them.

use super::{Finding, Rule, Severity};
use crate::mesh::{Claim, Fact, Member, View};

pub(super) static RULE: Rule = Rule {
    name: "MulticlusterDisabled",
    what: "An IstioMulticluster is created while ModuleConfig `istio` exists and does not enable multicluster or is itself disabled. Disabling multicluster while members exist is a warning.",
    why: "Deckhouse then ignores every IstioMulticluster: the member is created, but never joins the mesh.",
    remedy: "Set `spec.settings.multicluster.enabled: true` in ModuleConfig `istio` first.",
    example: "metadata.name: multicluster is not enabled in ModuleConfig istio, so this member never joins the mesh; set spec.settings.multicluster.enabled: true in ModuleConfig istio first [MulticlusterDisabled]",
    state: judge,
    ..Rule::IDLE
};

/// How many members a message names before it counts.
const NAMED: usize = 3;

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let is_local = mesh.is_local(member);
    let Some(local) = (if is_local { Some(member) } else { mesh.local() }) else {
        return Vec::new();
    };
    let Some(off) = local.claims().iter().find(|claim| claim.fact == Fact::Multicluster(false))
    else {
        return Vec::new();
    };
    let mut findings: Vec<_> = member
        .claims()
        .iter()
        .filter(|claim| claim.fact == Fact::Peer)
        .map(|peer| denied(member, peer, off))
        .collect();
    if is_local {
        findings.extend(switched_off(mesh, member, off));
    }
    findings
}

fn denied(member: &Member, peer: &Claim, off: &Claim) -> Finding {
    let message = format!(
        "multicluster is not enabled in {}, so this member never joins the mesh",
        off.place.object
    );
    let remedy = format!("set {}: true in {} first", off.place.path(), off.place.object);
    RULE.deny(member, &peer.place, message, remedy).against(&off.place)
}

fn switched_off(mesh: &View<'_>, local: &Member, off: &Claim) -> Option<Finding> {
    let (count, peers) = mesh.peers(local, NAMED);
    let mut names: Vec<_> = peers.iter().map(|peer| format!("\"{}\"", peer.name())).collect();
    if names.is_empty() {
        return None;
    }
    if count > NAMED {
        names.push(format!("{} more", count - NAMED));
    }
    let message = format!("multicluster is disabled while members exist: {}", names.join(", "));
    let remedy = "set it to true, or delete the IstioMulticlusters first".to_owned();
    Some(RULE.find(Severity::Warn, local, &off.place, message, remedy))
}
