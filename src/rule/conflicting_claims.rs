//! ConflictingClaims: documents of one member agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Finding, Rule};
use crate::mesh::{
    Basis, Claim, DEFAULT_CLUSTER_ID, Fact, Member, ObjectRef, Place, Role, StatedDomain, View,
    cluster_id, names,
};
use crate::syntax::Path;

pub(super) static RULE: Rule = Rule {
    name: "ConflictingClaims",
    what: "Two documents state different facts about the same member. Always a warning. A ModuleConfig that overrides a ClusterConfiguration is not a conflict.",
    why: "One of the two is out of date. Where the local cluster's own configuration decides, other statements have no effect; else the values of both are compared with the other members.",
    remedy: "Correct the document that is wrong.",
    example: "data[cluster-configuration.yaml].podSubnetNodeCIDRPrefix: line 4, column 26: node prefix 26 of member \"c\" differs from 24 in ConfigMap isthmus/cm1; correct the document that is wrong [ConflictingClaims]",
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
    ("UID of namespace kube-system", |fact| match fact {
        Fact::Uid(uid) => Some(uid.to_string()),
        _ => None,
    }),
    (CLUSTER_ID, |fact| match fact {
        Fact::ClusterId(id) => Some(id.to_string()),
        _ => None,
    }),
];

/// The aspect that a new installation of Istio changes.
const CLUSTER_ID: &str = "cluster ID";

/// How many disagreements of a document are reported for one aspect.
const MOST_TOLD: usize = 4;
/// How many of the values that a document lists are repeated.
const MOST_VALUES: usize = 8;

/// What one document says of an aspect.
struct Stated<'a> {
    texts: Vec<String>,
    claim: &'a Claim,
}

fn judge(mesh: &View<'_>, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The usual member is described by one document, which cannot disagree with itself.
    let mut voices = member.claims().iter().map(voice);
    let first = voices.clone().next();
    if voices.any(|voice| Some(voice) != first) {
        for (what, says) in ASPECTS {
            conflicts(member, what, *says, &mut findings);
            overruled(member, what, *says, &mut findings);
            contradicted(member, what, *says, &mut findings);
        }
    }
    domain_unlike_pinned(member, &mut findings);
    names_of_others(mesh, member, &mut findings);
    findings
}

/// Reports a few disagreements for each document, never all: their number is quadratic.
fn conflicts(
    member: &Member,
    what: &str,
    says: fn(&Fact) -> Option<String>,
    findings: &mut Vec<Finding>,
) {
    let stated = stated(member, says);
    let mut differing: BTreeMap<&[String], Vec<&Stated<'_>>> = BTreeMap::new();
    for ours in &stated {
        // Documents that say the same disagree with the same ones, which are looked up once.
        let theirs = differing.entry(ours.texts.as_slice()).or_insert_with(|| {
            let differ = stated.iter().filter(|theirs| theirs.texts != ours.texts);
            differ.take(MOST_TOLD).collect()
        });
        for theirs in theirs {
            if theirs.claim.place.observation().is_some() {
                findings.push(unlike_shown(member, what, ours, theirs));
                continue;
            }
            let remedy = "correct the document that is wrong".to_owned();
            findings.push(conflict(member, what, (ours, theirs), "", remedy));
        }
    }
}

/// Reports each document that disagrees with the member's own configuration, which decides. A
/// ModuleConfig supersedes other configurations by design.
fn overruled(
    member: &Member,
    what: &str,
    says: fn(&Fact) -> Option<String>,
    findings: &mut Vec<Finding>,
) {
    let in_force = stated(member, says);
    let Some(theirs) = in_force.first() else { return };
    let Basis::Own(decides) = theirs.claim.place.basis else { return };
    let is_weaker = |claim: &&Claim| match claim.place.basis {
        // Nobody stated it.
        _ if claim.place.is_default() => false,
        Basis::Own(weaker) => weaker > decides && !decides.supersedes(weaker),
        Basis::Stated => true,
        Basis::Observed(_) | Basis::Discovered => false,
    };
    let weaker = by_document(member.claims().iter().filter(is_weaker), says);
    for ours in weaker.iter().filter(|ours| in_force.iter().all(|it| it.texts != ours.texts)) {
        let remedy = format!("write {} here, or leave it out", listed(&theirs.texts));
        let which = ", which takes precedence";
        findings.push(conflict(member, what, (ours, theirs), which, remedy));
    }
}

/// Reports each of the member's own configurations that states something else than its cluster
/// shows as a whole: it decides, but it is what can be wrong.
fn contradicted(
    member: &Member,
    what: &str,
    says: fn(&Fact) -> Option<String>,
    findings: &mut Vec<Finding>,
) {
    let is_shown = |claim: &&Claim| claim.place.observation().is_some_and(|it| it.is_exact);
    let shown = by_document(member.claims().iter().filter(is_shown), says);
    let Some(theirs) = shown.first() else { return };
    let is_declared =
        |claim: &&Claim| matches!(claim.place.basis, Basis::Own(_)) && !claim.place.is_default();
    let declared = by_document(member.claims().iter().filter(is_declared), says);
    for ours in declared.iter().filter(|ours| ours.texts != theirs.texts).take(MOST_TOLD) {
        findings.push(unlike_shown(member, what, ours, theirs));
    }
}

fn unlike_shown(member: &Member, what: &str, ours: &Stated<'_>, theirs: &Stated<'_>) -> Finding {
    let shown = listed(&theirs.texts);
    let message = format!(
        "{what} {} of member \"{}\" differs from {shown} in the running cluster ({})",
        listed(&ours.texts),
        member.name(),
        theirs.claim.place.object
    );
    let remedy = if what == CLUSTER_ID {
        let set = format!("set global.multiCluster.clusterName: {} there", listed(&ours.texts));
        if shown == DEFAULT_CLUSTER_ID {
            format!("{set}: {shown} is Istio's default, which clusters must not share")
        } else {
            format!("write {shown}, or {set}")
        }
    } else {
        format!("write {shown}, unless the cluster is to be rebuilt")
    };
    RULE.warn(member, &ours.claim.place, message, remedy).against(&theirs.claim.place)
}

fn conflict(
    member: &Member,
    what: &str,
    (ours, theirs): (&Stated<'_>, &Stated<'_>),
    which: &str,
    remedy: String,
) -> Finding {
    let message = format!(
        "{what} {} of member \"{}\" differs from {} in {}{which}",
        listed(&ours.texts),
        member.name(),
        listed(&theirs.texts),
        theirs.claim.place.object
    );
    RULE.warn(member, &ours.claim.place, message, remedy).against(&theirs.claim.place)
}

/// What each document says of an aspect that is in force.
fn stated(member: &Member, says: fn(&Fact) -> Option<String>) -> Vec<Stated<'_>> {
    let is_whole = |claim: &&Claim| claim.place.observation().is_none_or(|it| it.is_exact);
    let is_domain = |claim: &&Claim| claim.fact.cluster_domain().is_some();
    let is_stated = |claim: &Claim| claim.place.basis == Basis::Stated;
    // One that was observed gives way to a stated one, and is held against it all the same.
    let beaten = member.claims().iter().filter(is_domain);
    let beaten = beaten.filter(|claim| claim.place.observation().is_some());
    let gives_way = member.in_force().filter(is_domain).any(is_stated);
    let beaten = beaten.filter(|_| gives_way);
    by_document(member.in_force().chain(beaten).filter(is_whole), says)
}

/// Who states a claim: an object, or what was observed and an object keeps.
fn voice(claim: &Claim) -> (&ObjectRef, bool) {
    (&claim.place.object, claim.place.observation().is_some())
}

/// What each document says of an aspect, in the order of documents: its values in order, and the
/// claim of the first.
fn by_document<'a>(
    claims: impl Iterator<Item = &'a Claim>,
    says: fn(&Fact) -> Option<String>,
) -> Vec<Stated<'a>> {
    let mut by_object: BTreeMap<(&ObjectRef, bool), Vec<(String, &Claim)>> = BTreeMap::new();
    for claim in claims {
        if let Some(text) = says(&claim.fact) {
            by_object.entry(voice(claim)).or_default().push((text, claim));
        }
    }
    let documents = by_object.into_values().filter_map(|mut stated| {
        stated.sort_by(|(a, _), (b, _)| a.cmp(b));
        let claim = stated.first()?.1;
        Some(Stated { texts: stated.into_iter().map(|(text, _)| text).collect(), claim })
    });
    documents.collect()
}

fn listed(texts: &[String]) -> String {
    match texts.len().checked_sub(MOST_VALUES) {
        None | Some(0) => texts.join(","),
        Some(more) => format!("{} and {more} more", texts[..MOST_VALUES].join(",")),
    }
}

/// What discovery has pinned is another voice within the same object.
fn domain_unlike_pinned(member: &Member, findings: &mut Vec<Finding>) {
    let mut pinned: Vec<(StatedDomain, &Claim)> = Vec::new();
    for (domain, claim) in member.pick(StatedDomain::of) {
        let is_new = matches!(domain, StatedDomain::Dashed(_))
            && pinned.iter().all(|(known, _)| *known != domain);
        if is_new && pinned.len() < MOST_TOLD {
            pinned.push((domain, claim));
        }
    }
    for (pinned, theirs) in pinned {
        let exact = member
            .pick(|fact| StatedDomain::of(fact).filter(|d| matches!(d, StatedDomain::Exact(_))));
        for (domain, ours) in exact.filter(|(domain, _)| !domain.agrees(&pinned)) {
            let message =
                format!("cluster domain {domain} differs from {pinned}, as discovery found it");
            let remedy = "write the peer's cluster domain".to_owned();
            findings.push(RULE.warn(member, &ours.place, message, remedy).against(&theirs.place));
        }
    }
}

/// A cluster ID decides whose it is, whatever name the same object goes by.
fn names_of_others(mesh: &View<'_>, member: &Member, findings: &mut Vec<Finding>) {
    for subject in member.subjects() {
        let Some(id) = cluster_id(subject.name()) else { continue };
        for (name, claim) in names(subject).filter(|(name, _)| *name != &**member.name()) {
            let Some(other) = mesh.member(name).filter(|other| &**other.name() == name) else {
                continue;
            };
            let Some(theirs) = other.claims().first() else { continue };
            let message = format!(
                "cluster ID {id} is not that of member \"{}\", so this is member \"{}\"",
                other.name(),
                member.name()
            );
            let finding = RULE.warn(member, &claim.place, message, WRONG_NAME.to_owned());
            findings.push(finding.against(&name_of(theirs)));
        }
    }
    let Some(ours) = member.claims().first() else { return };
    for (other, subject) in mesh.others_called(member).into_iter().take(MOST_TOLD) {
        let Some(id) = cluster_id(subject.name()) else { continue };
        for (_, claim) in names(subject).filter(|(name, _)| *name == &**member.name()) {
            let message = format!(
                "cluster ID {id} ({}) is that of member \"{}\", not of this one",
                claim.place.object,
                other.name()
            );
            let finding = RULE.warn(member, &name_of(ours), message, WRONG_NAME.to_owned());
            findings.push(finding.against(&claim.place));
        }
    }
}

const WRONG_NAME: &str = "correct the cluster ID or the name that is wrong";

/// The name of the object that says something.
fn name_of(claim: &Claim) -> Place {
    Place::new(Arc::clone(&claim.place.object), Path::NAME)
}

fn subnet(fact: &Fact, wanted: Role) -> Option<String> {
    match fact {
        Fact::Subnet(role, subnet) if *role == wanted => Some(subnet.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::manifest;
    use crate::mesh::Mesh;
    use crate::settings::Settings;

    /// The findings if this many documents of one member state different subnets.
    fn found(documents: usize) -> Vec<Finding> {
        let settings = Arc::new(Settings::default());
        let documents = (0..documents).map(|n| {
            let pods: Vec<_> = (0..20).map(|m| format!("10.{}.{m}.0/24", n % 250)).collect();
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: far-{n}, namespace: isthmus, labels: {{isthmus.dev/member: far}}}}\ndata:\n  ClusterConfiguration: |\n    apiVersion: kubeadm.k8s.io/v1beta4\n    kind: ClusterConfiguration\n    networking: {{podSubnet: '{}', serviceSubnet: 10.{n}.0.0/16}}\n",
                pods.join(","),
            );
            let manifests = manifest::read(&text, "far.yaml").unwrap();
            manifests[0].reading(&settings).unwrap()
        });
        let mesh = Mesh::of(Arc::clone(&settings), documents.collect::<Vec<_>>());
        judge(&mesh.view(), mesh.member("far").unwrap())
    }

    #[test]
    fn each_document_is_reported_against_a_few_that_differ() {
        let told = [30, 60, 120].map(|documents| {
            let found = found(documents);
            let text: usize = found.iter().map(|finding| finding.message.len()).sum();
            assert_eq!(found.len(), documents * 2 * MOST_TOLD);
            text
        });
        assert!(told[1] < told[0] * 5 / 2 && told[2] < told[1] * 5 / 2, "{told:?}");
        assert!(
            found(2)[0].message.contains(".15.0/24 and 12 more of member"),
            "{:?}",
            found(2)[0]
        );
    }
}
