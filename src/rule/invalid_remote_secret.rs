//! InvalidRemoteSecret: Istio can use the Secrets by which it reaches other clusters.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Finding, Rule};
use crate::mesh::{About, Claim, Fact, Member, SecretKey, View};

pub(super) static RULE: Rule = Rule {
    name: "InvalidRemoteSecret",
    what: "A Secret labelled `istio/multiCluster: \"true\"` has a kubeconfig that Istio refuses or cannot use: it is empty or not YAML, its current context, cluster, user or credentials are missing, its server is not `https` or leads back to Istio's own pod, a user of it reads files or runs programs that the setting `allowedKubeconfigOptions` does not list, or its token has expired; another Secret of the namespace has the same cluster ID, or it leads to this cluster itself under another ID than its own. Warnings are: a Secret outside of `istioNamespaces`, the cluster's own ID, a token that expires within 30 days, `insecure-skip-tls-verify`, an annotation `networking.istio.io/cluster` unlike the key, a key that is not a DNS label, and two keys with one API server. What an operator renders is never denied.",
    why: "Istio refuses such a Secret with a line in its log, and ignores the cluster: its services have no endpoints there.",
    remedy: "Print the Secret with `istioctl create-remote-secret`, and apply it in Istio's namespace of the other clusters.",
    example: "data[cluster-b]: the kubeconfig cannot be used: its server is http, not https; write https://192.0.2.10:6443 [InvalidRemoteSecret]",
    faults: |about| about == About::RemoteSecret,
    state: judge,
    ..Rule::IDLE
};

/// How long before its end a token is told of.
const SOON: Duration = Duration::from_hours(30 * 24);

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    for claim in member.claims() {
        match &claim.fact {
            Fact::RemoteSecret(key) if is_of(claim, key) => {
                findings.extend(own_id(mesh, member, claim, key));
                findings.extend(registered(member, claim, key));
            }
            Fact::Expires(end) => {
                let Some(now) = mesh.now() else { continue };
                let remedy =
                    "create the Secret anew with `istioctl create-remote-secret`".to_owned();
                let finding = if now.since(*end).is_some() {
                    let message = format!("the token expired at {end}");
                    RULE.deny(member, &claim.place, message, remedy)
                } else if end.since(now).is_some_and(|left| left <= SOON) {
                    let message = format!("the token expires at {end}");
                    RULE.warn(member, &claim.place, message, remedy)
                } else {
                    continue;
                };
                let value = Some([format!("expires {end}"), String::new()]);
                findings.push(Finding { value, ..finding });
            }
            _ => {}
        }
    }
    findings
}

/// Whether it is the Secret itself that says so, and not what knows of it.
fn is_of(claim: &Claim, key: &SecretKey) -> bool {
    let object = &claim.place.object;
    object.kind == "Secret" && *object.name == *key.name
}

/// One set of Secrets applied everywhere is usual, and harmless.
fn own_id(mesh: &View<'_>, member: &Member, claim: &Claim, key: &SecretKey) -> Option<Finding> {
    let own = mesh.local().filter(|own| mesh.spend(own.claims().len()))?;
    let mut stated = own.claims().iter().filter(|it| it.place.object != claim.place.object);
    let theirs = stated.find(|it| match &it.fact {
        Fact::ClusterId(id) => **id == *key.key,
        _ => false,
    })?;
    let message = format!(
        "{:?} is the ID of this cluster itself ({}), so Istio ignores the key",
        key.key, theirs.place.object
    );
    let remedy = "apply the Secret in the other clusters only".to_owned();
    Some(RULE.warn(member, &claim.place, message, remedy).against(&theirs.place))
}

/// The Secrets of the namespace that have registered the ID already.
fn registered(member: &Member, claim: &Claim, ours: &SecretKey) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for theirs in member.claims() {
        let Fact::RemoteSecret(key) = &theirs.fact else { continue };
        let is_other =
            key.namespace == ours.namespace && key.key == ours.key && key.name != ours.name;
        if is_other && seen.insert(&key.name) {
            let message = format!(
                "cluster ID {:?} is registered by Secret {}/{} already, so Istio ignores this one",
                key.key, key.namespace, key.name
            );
            let remedy = "delete the other Secret first (also when renaming one)".to_owned();
            let finding = RULE.deny(member, &claim.place, message, remedy);
            findings.push(finding.against(&theirs.place));
        }
    }
    findings
}
