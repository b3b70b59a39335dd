//! What a change adds: the only place that compares before and after.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::budget::Budget;
use crate::mesh::{
    Allow, Changed, Claim, Fact, Member, MemberName, Mesh, Network, ObjectRef, Place, Reading,
};
use crate::rule::{self, Finding, Key, Severity};
use crate::syntax::Path;

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
    pub because: Reason,
}

/// What makes a finding a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its rule only warns of this.
    RuleWarns,
    /// It stood before: an old mistake must not block an unrelated edit.
    StoodBefore,
    /// An annotation of the document takes it as a warning.
    AllowedByAnnotation,
}

impl Verdict {
    /// The names of all rules that fired, each once.
    pub fn rules(&self) -> BTreeSet<&'static str> {
        let warned = self.warnings.iter().map(|warning| warning.finding.rule);
        self.denials.iter().map(|finding| finding.rule).chain(warned).collect()
    }
}

/// One object's change.
#[derive(Debug)]
pub struct Write<'a> {
    /// What the object said before, if that came with the change and could be read.
    pub old: Option<Reading>,
    /// What it says from now on.
    pub new: Reading,
    /// Whether the object is there already.
    pub is_update: bool,
    /// Whether the object will be stored if nothing is said against it.
    pub is_stored: bool,
    /// Who makes the change.
    pub user: Cow<'a, str>,
    /// What judging it may cost.
    pub budget: Budget<'a>,
}

impl Write<'_> {
    /// Whether the object says anything else than before, as far as what came with it tells.
    pub fn says_otherwise(&self) -> bool {
        let before = self.old.as_ref().map_or(&[][..], |old| &old.statements);
        before != self.new.statements.as_slice()
    }
}

/// How many claims may be looked at to judge one change, so that what it costs is bounded by what
/// it says and not by the mesh: those of a hundred thousand members.
pub const MOST_LOOKS: usize = 50_000_000;

/// What one object's change brings.
pub fn review(mesh: &Mesh, change: Write<'_>) -> Verdict {
    let Write { old, new, is_update, budget, .. } = change;
    let object = Arc::clone(&new.object);
    // An update that does not bring along what the object said is held against what is known of
    // it, so that its old mistakes stay old.
    let known = || Some(mesh.reading_of(&object)).filter(|known| !known.statements.is_empty());
    let old = old.or_else(|| if is_update { known() } else { None });
    let unchanged = old.as_ref().is_some_and(|old| old.statements == new.statements);
    let allows = allows(new.claims());
    let mut verdict = Verdict { notes: notes(old.as_ref(), &new), ..Verdict::default() };

    let names = names(mesh, old.as_ref(), &new);
    let admitted = mesh.just_admitted(&object);
    let (mut old, mut new) = (Statements::of(old), Statements::of(Some(new)));
    let (mut before, mut after) =
        (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
    for name in &names {
        let member = mesh.member(name).cloned();
        let mut member = member.unwrap_or_else(|| Member::new(Arc::clone(name)));
        // The write follows upon what was just admitted of its object.
        if let Some(admitted) = &admitted {
            member.replace(admitted, Vec::new());
        }
        member.replace(&object, old.take(name));
        before.push(member.clone());
        member.replace(&object, new.take(name));
        after.push(member);
    }

    let local = |members: &[Member]| -> Option<Network> {
        let local = &mesh.settings().local_member;
        named_network(members.iter().find(|member| **member.name() == **local))
    };
    let moves = local(&before) != local(&after);
    let (before, after) =
        (Changed::new(mesh.settings(), before), Changed::new(mesh.settings(), after));
    let judged = |changed: &Changed| -> Vec<Finding> {
        let view = mesh.with(changed).within(&budget);
        let members = changed.members().iter();
        let mut findings: Vec<_> = members.flat_map(|member| rule::judge(&view, member)).collect();
        if moves {
            let is_other = |member: &&Member| names.binary_search(member.name()).is_err();
            let others = mesh.members().into_iter().filter(is_other);
            findings.extend(others.flat_map(|member| rule::judge(&view, member)));
        }
        findings
    };
    // Most new objects speak of members that nobody spoke of.
    let is_new = !moves && before.members().iter().all(Member::is_empty);
    let stood = if unchanged || is_new { Vec::new() } else { judged(&before) };
    let mut findings = judged(&after);
    if !unchanged {
        let steps = before.members().iter().zip(after.members());
        findings.extend(steps.flat_map(|(before, after)| rule::judge_step(before, after)));
    }
    let stood = Stood::new(&stood);
    for finding in told_once(findings, |of| *of == *object) {
        let old_news = unchanged || stood.holds(&finding);
        // What stood before is told only to a write that speaks of its member.
        if !old_news || names.binary_search(&finding.member).is_ok() {
            verdict.add(finding, old_news, &allows);
        }
    }
    if let (Some(end), Some(member)) = (budget.end(), after.members().first()) {
        let place = Place::new(object, Path::NAME);
        verdict.denials.push(rule::too_complicated(member, &place, end));
    }
    verdict
}

/// What a set of documents brings as one change of the mesh `before` into the mesh `after`;
/// `written` are the objects of the change.
pub fn review_all(before: &Mesh, after: &Mesh, written: &[Reading]) -> Verdict {
    let names: BTreeSet<&MemberName> = written
        .iter()
        .flat_map(|reading| reading.members().chain(before.spoken_of(&reading.object)))
        .collect();
    let local = |mesh: &Mesh| named_network(mesh.member(&mesh.settings().local_member));
    let moves = local(before) != local(after);
    let judged = |mesh: &Mesh| -> Vec<Finding> {
        let view = mesh.view();
        let is_judged = |member: &&Member| moves || names.contains(member.name());
        let members = mesh.members().into_iter().filter(is_judged);
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

    let allows: BTreeMap<&ObjectRef, _> =
        written.iter().map(|reading| (&*reading.object, allows(reading.claims()))).collect();
    let mut verdict = Verdict {
        notes: written.iter().flat_map(|reading| notes(None, reading)).collect(),
        ..Verdict::default()
    };
    let is_written = |object: &ObjectRef| allows.contains_key(object);
    let stood = Stood::new(&stood);
    for finding in told_once(findings, is_written) {
        let old_news = stood.holds(&finding);
        if old_news && !names.contains(&finding.member) {
            continue;
        }
        let sides = [Some(&finding.place), finding.against.as_ref()];
        let of_sides = sides.into_iter().flatten().filter_map(|side| allows.get(&*side.object));
        let of_sides: Vec<_> = of_sides.flatten().cloned().collect();
        verdict.add(finding, old_news, &of_sides);
    }
    verdict
}

/// What is wrong with a member as it stands, and how bad that is once the annotations of both
/// sides are taken into account.
pub fn standing(mesh: &Mesh, name: &str) -> Vec<(Finding, Severity)> {
    let Some(member) = mesh.member(name) else { return Vec::new() };
    // One object may state many members, and a member clash with all of them.
    let mut by_object: BTreeMap<Arc<ObjectRef>, Vec<Arc<Allow>>> = BTreeMap::new();
    let mut is_allowed = |side: &Place, rule: &str| {
        let object = Arc::clone(&side.object);
        let allowed = by_object.entry(object).or_insert_with_key(|it| allows(mesh.said_by(it)));
        allowed.iter().any(|allow| allow.covers(rule))
    };
    let findings = rule::judge(&mesh.view(), member).into_iter();
    let with_severity = findings.map(|finding| {
        let is_mild = finding.severity == Severity::Warn
            || is_allowed(&finding.place, finding.rule)
            || finding.against.as_ref().is_some_and(|side| is_allowed(side, finding.rule));
        (finding, if is_mild { Severity::Warn } else { Severity::Deny })
    });
    with_severity.collect()
}

impl Verdict {
    fn add(&mut self, finding: Finding, stood: bool, allows: &[Arc<Allow>]) {
        let because = if stood {
            Reason::StoodBefore
        } else if finding.severity == Severity::Warn {
            Reason::RuleWarns
        } else if allows.iter().any(|allow| allow.covers(finding.rule)) {
            Reason::AllowedByAnnotation
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
        names.extend(mesh.spoken_of(&new.object).cloned());
    }
    if let Some(admitted) = mesh.just_admitted(&new.object) {
        names.extend(mesh.spoken_of(&admitted).cloned());
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// What an object states, to be taken member by member.
struct Statements(Vec<(MemberName, Vec<Claim>)>);

impl Statements {
    fn of(reading: Option<Reading>) -> Self {
        let mut statements = reading.map(|reading| reading.statements).unwrap_or_default();
        statements.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(statements)
    }

    fn take(&mut self, name: &MemberName) -> Vec<Claim> {
        let stated = self.0.binary_search_by(|(of, _)| of.cmp(name));
        stated.map(|at| std::mem::take(&mut self.0[at].1)).unwrap_or_default()
    }
}

/// The name of the local member's network. Another name moves members nobody wrote to.
fn named_network(local: Option<&Member>) -> Option<Network> {
    let (network, _) = local?.network_claim()?;
    matches!(network, Network::Named(_)).then(|| network.clone())
}

/// Keeps one of two findings that tell of one clash from its two sides: the more serious one, else
/// the one that stands in a written object.
fn told_once(findings: Vec<Finding>, is_written: impl Fn(&ObjectRef) -> bool) -> Vec<Finding> {
    let mut told: Vec<usize> = Vec::new();
    let mut by_key: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, finding) in findings.iter().enumerate() {
        let alike = by_key.entry(finding.key()).or_default();
        let same = alike.iter().find(|&&slot| findings[told[slot]].tells_the_same(finding));
        let Some(&slot) = same else {
            alike.push(told.len());
            told.push(at);
            continue;
        };
        let weight = |finding: &Finding| (finding.severity, is_written(&finding.place.object));
        if weight(finding) > weight(&findings[told[slot]]) {
            told[slot] = at;
        }
    }
    let mut findings: Vec<_> = findings.into_iter().map(Some).collect();
    told.into_iter().filter_map(|at| findings[at].take()).collect()
}

/// The findings that stood before, so that a mesh with thousands is looked up and not searched.
struct Stood<'a> {
    by_key: BTreeMap<Key<'a>, Vec<&'a Finding>>,
    by_value: BTreeMap<(&'static str, &'a MemberName, &'a str), Vec<&'a Finding>>,
}

impl<'a> Stood<'a> {
    fn new(findings: &'a [Finding]) -> Self {
        let mut stood = Self { by_key: BTreeMap::new(), by_value: BTreeMap::new() };
        for finding in findings {
            stood.by_key.entry(finding.key()).or_default().push(finding);
            if let Some(value) = &finding.value {
                let key = (finding.rule, &finding.member, value.as_str());
                stood.by_value.entry(key).or_default().push(finding);
            }
        }
        stood
    }

    fn holds(&self, finding: &Finding) -> bool {
        let value = finding.value.as_deref().map(|value| (finding.rule, &finding.member, value));
        let by_value = value.and_then(|key| self.by_value.get(&key));
        let mut before = self.by_key.get(&finding.key()).into_iter().chain(by_value).flatten();
        before.any(|before| finding.stood_as(before))
    }
}

fn allows<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Arc<Allow>> {
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
        let is_note = |claim: &&Claim| matches!(claim.fact, Fact::Advice(_) | Fact::Allow(_));
        let old = old.map_or(&[][..], |old| old.claims_of(member));
        let said: Vec<_> = old.iter().filter(is_note).collect();
        for claim in claims.iter().filter(is_note).filter(|claim| !said.contains(claim)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::settings::Settings;

    fn readings(yaml: &str) -> Vec<Reading> {
        let settings = Settings::default();
        let manifests = manifest::read(yaml, "file.yaml").unwrap();
        manifests.iter().map(|manifest| manifest.reading(&settings).unwrap()).collect()
    }

    fn mesh(readings: &[Reading]) -> Mesh {
        Mesh::of(Arc::new(Settings::default()), readings.iter().cloned())
    }

    fn configuration(name: &str, annotations: &str, domain: &str, subnets: &str) -> String {
        format!(
            "---\napiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nclusterDomain: {domain}\npodSubnetCIDR: 10.{subnets}.0.0/16\npodSubnetNodeCIDRPrefix: '24'\nserviceSubnetCIDR: 172.{subnets}.0.0/16\n"
        )
    }

    #[test]
    fn what_status_tells_denies_whatever_the_member_is_called() {
        for name in ["a", "z"] {
            let peer = format!(
                "---\napiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {{name: {name}}}\nspec: {{metadataEndpoint: 'https://{name}.example/metadata/'}}\nstatus: {{metadataCache: {{private: {{networkName: network-other-local-5}}}}}}\n"
            );
            let written = readings(&(configuration("local", "", "cluster.local", "16") + &peer));
            let verdict = review_all(&mesh(&[]), &mesh(&written), &written);
            let rules: Vec<_> = verdict.denials.iter().map(|finding| finding.rule).collect();
            assert_eq!(rules, ["ClusterDomainMismatch"], "{name}");
        }
    }

    #[test]
    fn naming_the_local_network_tells_of_the_pairs_it_joins() {
        let named = configuration("b", "isthmus.dev/network: vpc", "cluster.local", "17");
        let unstated = configuration("c", "", "cluster.local", "17");
        let local = |annotation| configuration("local", annotation, "cluster.local", "16");
        let before = readings(&(local("") + &named + &unstated));
        let after = readings(&(local("isthmus.dev/network: vpc") + &named + &unstated));
        let verdict = review_all(&mesh(&before), &mesh(&after), &after[..1]);
        let rules: Vec<_> = verdict.denials.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["SubnetOverlap"; 2]);
    }
}
