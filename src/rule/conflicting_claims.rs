//! ConflictingClaims: documents of one member agree.

use std::collections::BTreeSet;

use super::{Finding, Rule};
use crate::mesh::{Claim, Fact, Member, ObjectRef, Role, StatedDomain, View};

pub(super) static RULE: Rule = Rule {
    name: "ConflictingClaims",
    what: "Warns when two documents state different facts of one member. A ModuleConfig over a ClusterConfiguration is precedence, not conflict.",
    why: "One of the two is out of date, and all of what they state is held against the other members.",
    remedy: "Correct the document that is wrong.",
    state: judge,
    ..Rule::IDLE
};

/// What documents may disagree on: its name, and what a claim says of it.
type Aspect = (&'static str, fn(&Fact) -> Option<String>);

const ASPECTS: &[Aspect] = &[
    ("cluster domain", |fact| match StatedDomain::of(fact) {
        Some(StatedDomain::Exact(domain)) => Some(domain.to_string()),
        _ => None,
    }),
    ("pod subnet", |fact| subnet(fact, Role::Pod)),
    ("service subnet", |fact| subnet(fact, Role::Service)),
    ("node prefix", |fact| match fact {
        Fact::NodePrefix(length) => Some(length.to_string()),
        _ => None,
    }),
    ("network", |fact| match fact {
        Fact::Network(crate::mesh::Network::Named(name)) => Some(name.to_string()),
        _ => None,
    }),
    ("cluster UUID", |fact| match fact {
        Fact::Uuid(uuid) => Some(uuid.to_string()),
        _ => None,
    }),
];

fn judge(_: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The usual member is described by one document, which cannot disagree with itself.
    let mut objects = member.claims().iter().map(|claim| &claim.place.object);
    let first = objects.clone().next();
    if objects.any(|object| Some(object) != first) {
        let objects: BTreeSet<&ObjectRef> =
            member.claims().iter().map(|claim| &*claim.place.object).collect();
        for (what, says) in ASPECTS {
            findings.extend(conflicts(member, &objects, what, *says));
        }
    }
    findings.extend(domain_unlike_pinned(member));
    findings
}

fn conflicts(
    member: &Member,
    objects: &BTreeSet<&ObjectRef>,
    what: &str,
    says: fn(&Fact) -> Option<String>,
) -> Vec<Finding> {
    let stated = |object: &ObjectRef| -> Vec<(String, &Claim)> {
        let of_object = member.in_force().filter(|claim| *claim.place.object == *object);
        let mut stated: Vec<_> =
            of_object.filter_map(|claim| Some((says(&claim.fact)?, claim))).collect();
        stated.sort_by(|(a, _), (b, _)| a.cmp(b));
        stated
    };
    let by_object: Vec<_> =
        objects.iter().map(|object| stated(object)).filter(|stated| !stated.is_empty()).collect();
    let texts = |stated: &[(String, &Claim)]| {
        stated.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>().join(",")
    };
    let mut findings = Vec::new();
    for ours in &by_object {
        for theirs in &by_object {
            let (our_texts, their_texts) = (texts(ours), texts(theirs));
            if our_texts == their_texts {
                continue;
            }
            let (Some((_, our_claim)), Some((_, their_claim))) = (ours.first(), theirs.first())
            else {
                continue;
            };
            let message = format!(
                "{what} {our_texts} of member \"{}\" is {their_texts} in {}",
                member.name(),
                their_claim.place.object
            );
            let remedy = "correct the document that is wrong".to_owned();
            findings.push(
                RULE.warn(member, &our_claim.place, message, remedy).against(&their_claim.place),
            );
        }
    }
    findings
}

/// What discovery has pinned is another voice within the same object.
fn domain_unlike_pinned(member: &Member) -> Vec<Finding> {
    let pinned =
        member.pick(|fact| StatedDomain::of(fact).filter(|d| matches!(d, StatedDomain::Dashed(_))));
    let mut findings = Vec::new();
    for (pinned, theirs) in pinned {
        let exact = member
            .pick(|fact| StatedDomain::of(fact).filter(|d| matches!(d, StatedDomain::Exact(_))));
        for (domain, ours) in exact.filter(|(domain, _)| !domain.agrees(&pinned)) {
            let message = format!(
                "cluster domain {domain} is not {pinned}, which discovery found in the peer's network name"
            );
            let remedy = "write the peer's own domain".to_owned();
            findings.push(RULE.warn(member, &ours.place, message, remedy).against(&theirs.place));
        }
    }
    findings
}

fn subnet(fact: &Fact, wanted: Role) -> Option<String> {
    match fact {
        Fact::Subnet(role, subnet) if *role == wanted => Some(subnet.to_string()),
        _ => None,
    }
}
