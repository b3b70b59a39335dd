//! UnknownFacts: what nobody states cannot be held against anything.

use std::sync::Arc;

use super::{Finding, Rule};
use crate::mesh::{About, Fact, Member, Place, Role, StatedDomain, View};
use crate::syntax::Path;

pub(super) static RULE: Rule = Rule {
    name: "UnknownFacts",
    what: "Warns of a member whose cluster domain or subnets nobody states.",
    why: "A clash that nobody states cannot be found before it bites.",
    remedy: "Annotate the IstioMulticluster or the descriptor (`isthmus.dev/cluster-domain`, `isthmus.dev/pod-subnet-cidr`, `isthmus.dev/service-subnet-cidr`), or keep the member's ClusterConfiguration in a ConfigMap labelled `isthmus.dev/member`.",
    state: judge,
    ..Rule::IDLE
};

fn judge(_: &View<'_>, member: &Member) -> Vec<Finding> {
    // A member of which a document says only something else, such as an identity, is not described
    // here at all; nobody forgot anything in it.
    let Some(describing) = member.claims().iter().find(|claim| describes(&claim.fact)) else {
        return Vec::new();
    };
    let says =
        |known: &dyn Fn(&Fact) -> bool| member.claims().iter().any(|claim| known(&claim.fact));
    let domain =
        says(&|fact| StatedDomain::of(fact).is_some() || is_fault(fact, About::ClusterDomain));
    let subnet = |role| {
        says(&|fact| {
            matches!(fact, Fact::Subnet(of, _) if *of == role)
                || is_fault(fact, About::Subnet(role))
        })
    };
    let missing: Vec<_> = [
        (domain, "cluster domain", "cluster-domain"),
        (subnet(Role::Pod), "pod subnet", "pod-subnet-cidr"),
        (subnet(Role::Service), "service subnet", "service-subnet-cidr"),
    ]
    .into_iter()
    .filter(|(known, ..)| !known)
    .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let what: Vec<_> = missing.iter().map(|(_, what, _)| *what).collect();
    let message = format!("nobody states the {} of member \"{}\"", what.join(", "), member.name());
    let is_remote = describing.fact == Fact::Remote;
    let remedy = if is_remote || describing.fact == Fact::Peer {
        let keys: Vec<_> = missing.iter().map(|(_, _, key)| *key).collect();
        format!("annotate isthmus.dev/{}", keys.join(", isthmus.dev/"))
    } else {
        "state it there, or in a ConfigMap labelled isthmus.dev/member".to_owned()
    };
    let place = if is_remote {
        describing.place.clone()
    } else {
        Place::new(Arc::clone(&describing.place.object), Path::NAME)
    };
    vec![RULE.warn(member, &place, message, remedy)]
}

fn describes(fact: &Fact) -> bool {
    matches!(fact, Fact::Peer | Fact::Remote | Fact::Subnet(..) | Fact::ClusterDomain(_))
}

fn is_fault(fact: &Fact, of: About) -> bool {
    matches!(fact, Fact::Fault(fault) if fault.about == of)
}
