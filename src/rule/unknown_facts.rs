//! UnknownFacts: what no document states cannot be checked.

use std::sync::Arc;

use super::{Finding, Rule};
use crate::mesh::{About, Claim, Fact, Member, Place, Role, StatedDomain, View};
use crate::meshmember;
use crate::syntax::Path;

pub(super) static RULE: Rule = Rule {
    name: "UnknownFacts",
    what: "isthmus does not know the cluster domain or the subnets of a member, because no document states them, and the cluster does not show them or could not be read when it was to join. Always a warning.",
    why: "Without them isthmus cannot detect a mismatch of the cluster domain or an overlap with this member before traffic goes astray.",
    remedy: "State them in a MeshMember of the member's name, annotate the IstioMulticluster or the descriptor with `isthmus.dev/cluster-domain`, `isthmus.dev/pod-subnet-cidr` and `isthmus.dev/service-subnet-cidr`, or put the member's ClusterConfiguration into a ConfigMap labelled `isthmus.dev/member`.",
    example: "metadata.name: its cluster domain and subnets are unknown, so not checked; kubectl annotate istiomulticluster cluster-b isthmus.dev/cluster-domain=DOMAIN isthmus.dev/pod-subnet-cidr=CIDR isthmus.dev/service-subnet-cidr=CIDR [UnknownFacts]",
    state: judge,
    ..Rule::IDLE
};

fn judge(_: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = unread(member);
    findings.extend(unknown(member));
    findings
}

/// Clusters that could not be read when they were to join.
fn unread(member: &Member) -> Vec<Finding> {
    let unread = |claim: &Claim| {
        let Fact::Unread(why) = &claim.fact else { return None };
        let (message, remedy) = if claim.place.object.kind == "Secret" {
            (
                format!("the cluster cannot be read, so it is not checked: {why}"),
                "check its server and credentials, or state its facts in a MeshMember",
            )
        } else {
            (
                format!(
                    "the metadata cannot be read, so nobody knows which cluster this is: {why}"
                ),
                "check the endpoint, and that isthmus may connect to it",
            )
        };
        Some(RULE.warn(member, &claim.place, message, remedy.to_owned()))
    };
    member.claims().iter().filter_map(unread).collect()
}

fn unknown(member: &Member) -> Option<Finding> {
    // A member of which a document says only something else, such as an identity, is not described
    // here at all; nothing is missing in it.
    let is_stated = |claim: &&Claim| claim.place.observation().is_none();
    let stated = member.claims().iter().filter(is_stated);
    // Which cluster it is tells nothing of what it is like.
    let is_read = member.claims().iter().any(|claim| {
        claim.place.observation().is_some()
            && !matches!(claim.fact, Fact::Uid(_) | Fact::Uuid(_) | Fact::ClusterId(_))
    });
    let describes =
        |fact: &Fact| describes(fact) || is_read && matches!(fact, Fact::RemoteSecret(_));
    let describing = stated.clone().find(|claim| describes(&claim.fact))?;
    // Of what the member has at least, the rest is unknown.
    let is_whole = |claim: &Claim| claim.place.observation().is_none_or(|it| it.is_exact);
    let says = |known: &dyn Fn(&Fact) -> bool| {
        member.claims().iter().any(|claim| known(&claim.fact) && is_whole(claim))
    };
    let domain =
        says(&|fact| StatedDomain::of(fact).is_some() || is_fault(fact, About::ClusterDomain));
    let subnet = |role| {
        says(&|fact| {
            matches!(fact, Fact::Subnet(of, _) if *of == role)
                || is_fault(fact, About::Subnet(role))
        })
    };
    let missing: Vec<_> = [
        (domain, ["isthmus.dev/cluster-domain=DOMAIN", "spec.clusterDomain"]),
        (subnet(Role::Pod), ["isthmus.dev/pod-subnet-cidr=CIDR", "spec.podSubnets"]),
        (subnet(Role::Service), ["isthmus.dev/service-subnet-cidr=CIDR", "spec.serviceSubnets"]),
    ]
    .into_iter()
    .filter_map(|(known, names)| (!known).then_some(names))
    .collect();
    let annotations = missing.iter().map(|[annotation, _]| *annotation);
    let fields = missing.iter().map(|[_, field]| *field);
    let what = match (domain, subnet(Role::Pod), subnet(Role::Service)) {
        (true, true, true) => return None,
        (false, true, true) => "cluster domain is",
        (true, false, true) => "pod subnet is",
        (true, true, false) => "service subnet is",
        (true, false, false) => "subnets are",
        (false, false, true) => "cluster domain and pod subnet are",
        (false, true, false) => "cluster domain and service subnet are",
        (false, false, false) => "cluster domain and subnets are",
    };
    let message = format!("its {what} unknown, so not checked");
    let is_remote = describing.fact == Fact::Remote;
    // A line to copy, where the object is one that kubectl can annotate.
    let remedy = if describing.fact == Fact::Peer {
        let annotations = annotations.collect::<Vec<_>>().join(" ");
        format!("kubectl annotate istiomulticluster {} {annotations}", member.name())
    } else if is_remote {
        let keys: Vec<_> = annotations.filter_map(|pair| pair.split('=').next()).collect();
        format!("annotate the descriptor with {}", listed(&keys))
    } else if matches!(describing.fact, Fact::RemoteSecret(_)) {
        let fields: Vec<_> = fields.collect();
        format!("write {} of MeshMember {}", listed(&fields), member.name())
    } else if describing.place.object.kind == meshmember::KIND {
        format!("write {}", listed(&fields.collect::<Vec<_>>()))
    } else {
        format!("state this in a ConfigMap labelled isthmus.dev/member: {}", member.name())
    };
    let place = if is_remote {
        describing.place.clone()
    } else {
        Place::new(Arc::clone(&describing.place.object), Path::NAME)
    };
    Some(RULE.warn(member, &place, message, remedy))
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

fn describes(fact: &Fact) -> bool {
    matches!(fact, Fact::Peer | Fact::Remote | Fact::Subnet(..) | Fact::ClusterDomain(_))
}

fn is_fault(fact: &Fact, of: About) -> bool {
    matches!(fact, Fact::Fault(fault) if fault.about == of)
}
