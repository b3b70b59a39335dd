//! What a change adds: the only place that compares before and after.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mesh::{
    Allow, Claim, Fact, Member, MemberName, Mesh, Network, ObjectRef, Place, Reading,
};
use crate::rule::{self, Finding, Severity};

/// What is to be said of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the change breaks; if there is any, it is refused.
    pub denials: Vec<Finding>,
    /// What it may be told nevertheless.
    pub warnings: Vec<Warning>,
    /// How the object would better be written.
    pub notes: Vec<(Place, String)>,
}

/// A finding that does not deny, and why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The finding.
    pub finding: Finding,
    /// What makes it a warning.
    pub because: Mildness,
}

/// What makes a finding a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mildness {
    /// Its rule only warns of this.
    Mild,
    /// It stood before: an old mistake must not block an unrelated edit.
    Stood,
    /// An annotation of the document takes it as a warning.
    Allowed,
}

impl Verdict {
    /// The names of all rules that fired, each once.
    pub fn rules(&self) -> BTreeSet<&'static str> {
        let warned = self.warnings.iter().map(|warning| warning.finding.rule);
        self.denials.iter().map(|finding| finding.rule).chain(warned).collect()
    }
}

/// What one object's change from `old` to `new` brings. Without an `old` the object is created.
pub fn review(mesh: &Mesh, old: Option<Reading>, new: Reading) -> Verdict {
    let object = Arc::clone(&new.object);
    let unchanged = old.as_ref().is_some_and(|old| old.statements == new.statements);
    let allows = allows(&new);
    let mut verdict = Verdict { notes: notes(old.as_ref(), &new), ..Verdict::default() };

    let names = names(mesh, old.as_ref(), &new);
    let (mut old, mut new) = (Statements::of(old), Statements::of(Some(new)));
    let (mut before, mut after) =
        (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
    for name in &names {
        let member = mesh.member(name).cloned();
        let mut member = member.unwrap_or_else(|| Member::new(Arc::clone(name)));
        member.replace(&object, old.take(name));
        before.push(member.clone());
        member.replace(&object, new.take(name));
        after.push(member);
    }

    let judged = |members: &[Member]| -> Vec<Finding> {
        let view = mesh.with(members);
        let mut findings: Vec<_> =
            members.iter().flat_map(|member| rule::judge(&view, member)).collect();
        if local_network_moves(mesh, &before, &after) {
            let others = mesh.members().into_iter().filter(|member| !names.contains(member.name()));
            findings.extend(others.flat_map(|member| rule::judge(&view, member)));
        }
        findings
    };
    let stood = if unchanged { Vec::new() } else { judged(&before) };
    let mut findings = judged(&after);
    if !unchanged {
        let steps = before.iter().zip(&after);
        findings.extend(steps.flat_map(|(before, after)| rule::judge_step(before, after)));
    }
    for finding in told_once(findings, &object) {
        let old_news = unchanged || stood.iter().any(|before| finding.stood_as(before));
        verdict.add(finding, old_news, &allows);
    }
    verdict
}

/// What a set of documents brings as one change of the mesh `before` into the mesh `after`;
/// `written` are the objects of the change.
pub fn review_all(before: &Mesh, after: &Mesh, written: &[Reading]) -> Verdict {
    let mut names: BTreeSet<&MemberName> = written
        .iter()
        .flat_map(|reading| reading.members().chain(before.spoken_of(&reading.object)))
        .collect();
    let local = |mesh: &Mesh| mesh.member(&mesh.settings().local_member).and_then(network_of);
    if local(before) != local(after) {
        names.extend(after.members().into_iter().map(Member::name));
    }
    let judged = |mesh: &Mesh| -> Vec<Finding> {
        let view = mesh.view();
        let members = names.iter().filter_map(|name| mesh.member(name));
        members.flat_map(|member| rule::judge(&view, member)).collect()
    };
    let stood = judged(before);
    let mut findings = judged(after);
    let nobody = |name: &MemberName| Member::new(Arc::clone(name));
    for name in &names {
        let before = before.member(name).cloned().unwrap_or_else(|| nobody(name));
        let after = after.member(name).cloned().unwrap_or_else(|| nobody(name));
        findings.extend(rule::judge_step(&before, &after));
    }

    let allows: Vec<_> =
        written.iter().map(|reading| (&*reading.object, allows(reading))).collect();
    let mut verdict = Verdict {
        notes: written.iter().flat_map(|reading| notes(None, reading)).collect(),
        ..Verdict::default()
    };
    let mut told: Vec<Finding> = Vec::new();
    for finding in findings {
        if told.iter().any(|earlier| earlier.tells_the_same(&finding)) {
            continue;
        }
        told.push(finding.clone());
        let old_news = stood.iter().any(|before| finding.stood_as(before));
        let sides = [Some(&finding.place), finding.against.as_ref()];
        let touches =
            |object: &ObjectRef| sides.iter().flatten().any(|place| *place.object == *object);
        let of_sides = allows.iter().filter(|(object, _)| touches(object));
        let of_sides: Vec<_> = of_sides.flat_map(|(_, allows)| allows.iter().cloned()).collect();
        verdict.add(finding, old_news, &of_sides);
    }
    verdict
}

impl Verdict {
    fn add(&mut self, finding: Finding, stood: bool, allows: &[Arc<Allow>]) {
        let because = if stood {
            Mildness::Stood
        } else if finding.severity == Severity::Warn {
            Mildness::Mild
        } else if allows.iter().any(|allow| allow.covers(finding.rule)) {
            Mildness::Allowed
        } else {
            return self.denials.push(finding);
        };
        self.warnings.push(Warning { finding, because });
    }
}

/// The members that a change may touch, each once.
fn names(mesh: &Mesh, old: Option<&Reading>, new: &Reading) -> Vec<MemberName> {
    let mut names: Vec<_> = new.members().cloned().collect();
    if let Some(old) = old {
        names.extend(old.members().cloned());
        // What is known of the object may be older still.
        names.extend(mesh.spoken_of(&new.object).iter().cloned());
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// What an object states, to be taken member by member.
struct Statements(Vec<(MemberName, Vec<Claim>)>);

impl Statements {
    fn of(reading: Option<Reading>) -> Self {
        Self(reading.map(|reading| reading.statements).unwrap_or_default())
    }

    fn take(&mut self, name: &MemberName) -> Vec<Claim> {
        let stated = self.0.iter_mut().find(|(of, _)| of == name);
        stated.map(|(_, claims)| std::mem::take(claims)).unwrap_or_default()
    }
}

/// Whether the change renames the local network, which moves members nobody wrote to.
fn local_network_moves(mesh: &Mesh, before: &[Member], after: &[Member]) -> bool {
    let network = |members: &[Member]| {
        let local = members.iter().find(|member| **member.name() == *mesh.settings().local_member);
        local.and_then(network_of)
    };
    network(before) != network(after)
}

fn network_of(member: &Member) -> Option<Network> {
    member.network_claim().map(|(network, _)| network.clone())
}

/// Keeps one of two findings that tell of one clash from its two sides: the one that stands in the
/// written object.
fn told_once(findings: Vec<Finding>, written: &ObjectRef) -> Vec<Finding> {
    let mut told: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        match told.iter_mut().find(|earlier| earlier.tells_the_same(&finding)) {
            None => told.push(finding),
            Some(earlier) => {
                let better = *finding.place.object == *written && *earlier.place.object != *written;
                if better {
                    *earlier = finding;
                }
            }
        }
    }
    told
}

fn allows(reading: &Reading) -> Vec<Arc<Allow>> {
    let claims = reading.statements.iter().flat_map(|(_, claims)| claims);
    claims
        .filter_map(|claim| match &claim.fact {
            Fact::Allow(allow) => Some(Arc::clone(allow)),
            _ => None,
        })
        .collect()
}

/// What an object would better say, unless it said so before.
fn notes(old: Option<&Reading>, new: &Reading) -> Vec<(Place, String)> {
    let mut notes = Vec::new();
    for (member, claims) in &new.statements {
        let said = |claim| old.is_some_and(|old| old.claims_of(member).contains(claim));
        for claim in claims.iter().filter(|claim| !said(claim)) {
            match &claim.fact {
                Fact::Advice(advice) => notes.push((claim.place.clone(), advice.to_string())),
                Fact::Allow(allow) => {
                    notes.extend(unknown_rules(allow).map(|note| (claim.place.clone(), note)));
                }
                _ => {}
            }
        }
    }
    notes
}

fn unknown_rules(allow: &Allow) -> impl Iterator<Item = String> {
    let rules = match allow {
        Allow::Every => &[][..],
        Allow::Rules(rules) => rules,
    };
    rules
        .iter()
        .filter(|name| rule::by_name(name).is_none())
        .map(|name| format!("there is no rule {name:?}; `isthmus rules` lists them"))
}
