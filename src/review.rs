//! What a change adds: the only place that compares before and after.

mod notes;
mod related;
mod stood;
#[cfg(test)]
mod tests;
mod trial;
mod verdict;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use notes::notes;
use stood::{Stood, told_once};
pub use trial::Trial;
pub use verdict::{Delay, Reason, Verdict, Warning};

use crate::budget::Budget;
use crate::mesh::{
    Allow, Claim, Fact, Member, MemberName, Mesh, Network, ObjectRef, Place, Reading, StatedDomain,
    View, WriteId,
};
use crate::rule::{self, Finding, Severity};
use crate::settings::Policy;
use crate::syntax::Path;
use crate::value::Moment;

/// One object's write, as an admission call tells of it.
#[derive(Debug)]
pub struct Write<'a> {
    /// What the object said before, if that came with the write and could be read.
    pub old: Option<Reading>,
    /// What it says from now on.
    pub new: Reading,
    /// Which of its object's writes this is.
    pub id: WriteId,
    /// Whether the object will be stored if nothing is said against it.
    pub is_stored: bool,
    /// Who writes.
    pub user: Cow<'a, str>,
    /// What judging it may cost.
    pub budget: Budget<'a>,
    /// When it is written; nothing where nobody tells the time.
    pub now: Option<Moment>,
}

impl Write<'_> {
    /// Whether the object says anything else than before, as far as what came with it tells.
    pub fn says_otherwise(&self) -> bool {
        let before = self.old.as_ref().map_or(&[][..], |old| &old.statements);
        before != self.new.statements.as_slice()
    }

    /// Whether the object says what it said before, as what came with it tells, but for the status,
    /// which has an author of its own.
    pub fn says_the_same(&self) -> bool {
        self.old.as_ref().is_some_and(|old| same(old, &self.new))
    }

    /// Whether it may change what is claimed: neither the same is said again, nor nothing is said
    /// by a new object.
    pub fn may_change_claims(&self) -> bool {
        let is_silent = matches!(self.id, WriteId::Create(_)) && self.new.statements.is_empty();
        !self.says_the_same() && !is_silent
    }

    /// The same with what it replaces: an update that does not bring that along is held against
    /// what is known of the object, so that its old mistakes stay old.
    fn against(mut self, mesh: &Mesh) -> Self {
        if self.old.is_none() && matches!(self.id, WriteId::Update(_)) {
            let known = mesh.reading_of(&self.new.object);
            self.old = Some(known).filter(|known| !known.statements.is_empty());
        }
        self
    }
}

/// How many claims may be looked at to judge one write, so that what it costs is bounded by what
/// it says and not by the mesh: those of a hundred thousand members.
pub const MOST_LOOKS: usize = 50_000_000;
/// How many members a write of the local one is told of that are to blame, or left behind.
const MOST_LEFT: usize = 16;
/// For how many findings the field that brought them about is looked for in all that is said of a
/// member.
const MOST_EMPTIED: usize = 64;

/// What one object's write brings to a mesh.
pub fn review(mesh: &Mesh, write: Write<'_>) -> Verdict {
    let Write { old, new, budget, now, .. } = write.against(mesh);
    World { mesh, budget: &budget, now, pending: &[] }.judge(old, new)
}

/// The mesh as it may be when a write is stored.
struct World<'a> {
    mesh: &'a Mesh,
    budget: &'a Budget<'a>,
    now: Option<Moment>,
    /// Other objects that are stored by then, and what they say in place of what they said.
    pending: &'a [(&'a ObjectRef, &'a Reading)],
}

impl World<'_> {
    /// What a write brings that makes an object say something new.
    fn judge(&self, old: Option<Reading>, new: Reading) -> Verdict {
        let Self { mesh, budget, now, pending } = *self;
        let object = Arc::clone(&new.object);
        let written = Written::new(mesh, old.as_ref(), &new);
        let mut subjects = written.subjects.clone();
        if !pending.is_empty() {
            for (object, says) in pending {
                subjects.extend(mesh.spoken_of(object).chain(says.members()).cloned());
            }
            subjects.sort_unstable();
            subjects.dedup();
        }

        let (mut old, mut new) = (Statements::of(old), Statements::of(Some(new)));
        let (mut before, mut after) =
            (Vec::with_capacity(subjects.len()), Vec::with_capacity(subjects.len()));
        for name in &subjects {
            let subject = mesh.subject(name).cloned();
            let mut subject = subject.unwrap_or_else(|| Member::new(Arc::clone(name)));
            for (object, says) in pending {
                subject.replace(object, Vec::new());
                subject.replace(&says.object, says.claims_of(name).to_vec());
            }
            subject.replace(&object, old.take(name));
            before.push(subject.clone());
            subject.replace(&object, new.take(name));
            after.push(subject);
        }
        let (before, after) = (mesh.changed(before), mesh.changed(after));
        let view = |changed| mesh.with(changed).within(budget).at(now);
        let (before, after) = (view(&before), view(&after));
        let first = written.subjects.first().and_then(|name| after.member(name));
        let written = BTreeMap::from([(Arc::clone(&object), written)]);
        let mut verdict = Change { before, after, written }.verdict();
        if let (Some(end), Some(member)) = (budget.end(), first) {
            let place = Place::new(object, Path::NAME);
            let finding = rule::too_complicated(member, &place, end);
            match mesh.settings().enforcement {
                Policy::Warn => {
                    let because = Reason::NotEnforced;
                    verdict.warnings.push(Warning { finding, because });
                }
                _ => verdict.denials.push(finding),
            }
        }
        verdict
    }
}

/// What a set of objects brings that is written at once to the mesh `before`, and makes it `after`.
pub fn review_all(
    before: &Mesh,
    after: &Mesh,
    written: &[Reading],
    now: Option<Moment>,
) -> Verdict {
    let written = written.iter().map(|new| {
        let known = before.reading_of(&new.object);
        let known = Some(&known).filter(|known| !known.statements.is_empty());
        (Arc::clone(&new.object), Written::new(before, known, new))
    });
    let written = written.collect();
    Change { before: before.view().at(now), after: after.view().at(now), written }.verdict()
}

/// A change of the mesh. This is all that a verdict is made of, whoever asks for it: an admission
/// call, a set of files, or an audit, to which the whole mesh is new.
struct Change<'a> {
    before: View<'a>,
    after: View<'a>,
    written: BTreeMap<Arc<ObjectRef>, Written>,
}

/// What matters of an object that a change writes, apart from what it says of the mesh.
struct Written {
    /// Whom it speaks of, before or after, by name.
    subjects: Vec<MemberName>,
    /// Whether it says the same as before.
    is_unchanged: bool,
    allows: Vec<Arc<Allow>>,
    notes: Vec<(Place, String)>,
}

impl Written {
    fn new(mesh: &Mesh, old: Option<&Reading>, new: &Reading) -> Self {
        let mut subjects: Vec<_> = new.members().cloned().collect();
        if let Some(old) = old {
            subjects.extend(old.members().cloned());
            // What is known of the object may be older still.
            subjects.extend(mesh.spoken_of(&new.object).cloned());
        }
        subjects.sort_unstable();
        subjects.dedup();
        Self {
            subjects,
            is_unchanged: old.is_some_and(|old| old.statements == new.statements),
            allows: allows(new.claims()),
            notes: notes(old, new),
        }
    }
}

impl Change<'_> {
    fn verdict(mut self) -> Verdict {
        self.after = self.after.following(&self.before);
        let notes = self.written.values_mut().flat_map(|it| std::mem::take(&mut it.notes));
        let notes = notes.collect();
        let mut verdict = Verdict { notes, ..Verdict::default() };
        let touched = self.touched();
        let is_touched = |name: &MemberName| touched.contains(name);
        let is_unchanged = self.written.values().all(|it| it.is_unchanged);
        let names = [named_network(&self.before), named_network(&self.after)];
        let moves = names[0] != names[1];
        let networks = match &names {
            [before, after] if moves => self.before.moved([before.as_ref(), after.as_ref()]),
            _ => Vec::new(),
        };
        let left = names[0].as_ref().filter(|_| moves);
        let left = left.map(|it| self.before.left_on(it, MOST_LEFT)).unwrap_or_default();
        let judged = |view: &View<'_>| -> Vec<Finding> {
            let named = |name: &MemberName| view.member(name).filter(|it| it.name() == name);
            let members = touched.iter().filter_map(named);
            let mut findings: Vec<_> =
                members.flat_map(|member| rule::judge(view, member)).collect();
            let others = view.on_networks(&networks).into_iter();
            let others = others.chain(left.iter().filter_map(named));
            let others: BTreeMap<_, _> = others.map(|member| (member.name(), member)).collect();
            let others = others.into_values().filter(|member| !is_touched(member.name()));
            findings.extend(others.flat_map(|member| rule::judge_networks(view, member)));
            findings
        };
        // Most new objects speak of members that nobody spoke of.
        let is_new = !moves && touched.iter().all(|name| self.before.member(name).is_none());
        let mut stood = if is_unchanged || is_new { Vec::new() } else { judged(&self.before) };
        for finding in &mut stood {
            self.rename(finding);
        }
        let mut findings = judged(&self.after);
        if !is_unchanged {
            for name in &touched {
                if let Some(before) = self.before.member(name) {
                    let nobody = Member::new(MemberName::clone(name));
                    let after = self.after.member(name).unwrap_or(&nobody);
                    findings.extend(rule::judge_step(before, after));
                }
            }
        }
        if !is_unchanged {
            findings.extend(rule::judge_bystanders(&self.before, &self.after, &findings));
        }
        let stood = Stood::new(&stood);
        let joining: Vec<_> = touched.iter().filter(|name| self.joins(name)).collect();
        // For what a peer tells of itself it is to blame, unless the local member turns away from it.
        if !self.changes_local_domain() {
            let is_misplaced = |it: &mut Finding| blames_local_for_status(&self.after, it);
            let misplaced: Vec<_> = findings.extract_if(.., is_misplaced).collect();
            findings.extend(self.at_peers(&misplaced));
        }
        for mut finding in told_once(findings, |of| self.written.contains_key(of)) {
            let is_joining = |name: &MemberName| joining.binary_search(&name).is_ok();
            let joins =
                is_joining(&finding.member) || finding.other.as_ref().is_some_and(is_joining);
            let stood = is_unchanged || !joins && stood.holds(&finding);
            // What stood before is told only to a write that speaks of its member.
            if stood && !is_touched(&finding.member) {
                continue;
            }
            if !stood && verdict.denials.len() + verdict.warnings.len() < MOST_EMPTIED {
                finding.emptied = self.emptied(&finding);
            }
            match self.reason(&finding, stood) {
                Some(because) => verdict.warnings.push(Warning { finding, because }),
                None => verdict.denials.push(finding),
            }
        }
        verdict
    }

    /// The same findings, at the peers that they are held against.
    fn at_peers(&self, findings: &[Finding]) -> Vec<Finding> {
        let peers: BTreeSet<_> = findings.iter().filter_map(|it| it.other.as_ref()).collect();
        let peers = peers.into_iter().take(MOST_LEFT).filter_map(|name| self.after.member(name));
        let judged = peers.flat_map(|peer| rule::judge(&self.after, peer));
        judged.filter(|it| findings.iter().any(|of| it.tells_the_same(of))).collect()
    }

    /// The members that the change is about, by the names that they have before and after it. What an
    /// object says of one may make its documents part of another, or free them.
    fn touched(&self) -> BTreeSet<MemberName> {
        let written = self.written.values().flat_map(|it| &it.subjects);
        let (mut found, mut names) = (written.collect::<Vec<_>>(), BTreeSet::new());
        let mut seen: BTreeSet<_> = found.iter().copied().collect();
        while let Some(subject) = found.pop() {
            for member in
                [&self.before, &self.after].into_iter().filter_map(|it| it.member(subject))
            {
                names.insert(Arc::clone(member.name()));
                let subjects = member.subjects().iter().map(Member::name);
                // Its name may be that of other documents in the other view.
                let others = subjects.chain([member.name()]);
                found.extend(others.filter(|it| seen.insert(it)));
            }
        }
        names
    }

    /// Has a finding of before call the members as they are called now.
    fn rename(&self, finding: &mut Finding) {
        let now = |name: &MemberName| {
            let subject = self.before.member(name)?.subjects().first()?;
            Some(Arc::clone(self.after.member(subject.name())?.name()))
        };
        for name in [Some(&mut finding.member), finding.other.as_mut()].into_iter().flatten() {
            if let Some(now) = now(name) {
                *name = now;
            }
        }
    }

    /// The field of a written object that overrode one side of a finding until it was emptied, where
    /// neither side is in a written object.
    fn emptied(&self, finding: &Finding) -> Option<Place> {
        let sides = [Some(&finding.place), finding.against.as_ref(), finding.because.as_ref()];
        let is_written = |place: &Place| self.written.contains_key(&place.object);
        if sides.into_iter().flatten().any(is_written) {
            return None;
        }
        let other = finding.other.as_ref().unwrap_or(&finding.member);
        let sides = [(&finding.member, Some(&finding.place)), (other, finding.against.as_ref())];
        sides.into_iter().find_map(|(member, place)| {
            let place = place?;
            let (before, after) = (self.before.member(member)?, self.after.member(member)?);
            let claim = after.in_force().find(|claim| claim.place == *place)?;
            let overrode = |it: &&Claim| is_written(&it.place) && it.fact.is_of_kind(&claim.fact);
            let is_new = before.in_force().all(|it| it.place != *place);
            let field = before.in_force().find(overrode)?;
            (is_new && !after.in_force().any(|it| overrode(&it))).then(|| field.place.clone())
        })
    }

    /// What makes a finding a warning, if anything does.
    fn reason(&self, finding: &Finding, stood: bool) -> Option<Reason> {
        if stood {
            Some(Reason::StoodBefore)
        } else if finding.severity == Severity::Warn {
            Some(Reason::RuleWarns)
        } else if self.allows(finding, |allow| *allow != Allow::Rendered) {
            Some(Reason::AllowedByAnnotation)
        } else if self.allows(finding, |allow| *allow == Allow::Rendered) {
            Some(Reason::Rendered)
        } else {
            let not_enforced = || {
                let is_warn = self.after.settings().enforcement == Policy::Warn;
                is_warn.then_some(Reason::NotEnforced)
            };
            passes(&self.after, finding).or_else(not_enforced)
        }
    }

    /// Whether a member joins the mesh by this change, becomes another cluster, or joins as a peer
    /// though its configuration was there: to delete and create a peer is no way round a denial. Then
    /// it is held to all that is known of it, however long it was described.
    fn joins(&self, name: &MemberName) -> bool {
        let Some(now) = self.after.member(name) else { return false };
        let before = || {
            let subjects = now.subjects().iter();
            subjects.filter_map(|subject| self.before.member(subject.name()))
        };
        let was_joined = || before().any(|member| self.before.is_joined(member));
        // What is written leads to another cluster than the one that it was.
        let uid = |claim: &Claim| match claim.fact {
            Fact::Uid(uid) => Some(uid),
            _ => None,
        };
        let is_written = |claim: &&Claim| self.written.contains_key(&claim.place.object);
        let is_other = || {
            let was: Vec<_> = before().flat_map(Member::claims).filter_map(uid).collect();
            let is = now.claims().iter().filter(is_written).filter_map(uid);
            !was.is_empty() && is.into_iter().any(|uid| !was.contains(&uid))
        };
        self.after.is_joined(now) && (!was_joined() || is_other())
            || now.is_peer() && !before().any(Member::is_peer)
    }

    /// Whether the local member had a cluster domain in force, and has another one now.
    fn changes_local_domain(&self) -> bool {
        let domain = |view: &View<'_>| -> BTreeSet<StatedDomain> {
            let domains = view.local().into_iter().flat_map(Member::domains);
            domains.map(|(domain, _)| domain).collect()
        };
        let before = domain(&self.before);
        !before.is_empty() && before != domain(&self.after)
    }

    /// Whether an annotation takes a finding as a warning: of the written objects at its places,
    /// or where there are none, of any that brought it about from elsewhere. So does one of the
    /// object that is found at fault.
    fn allows(&self, finding: &Finding, is_such: fn(&Allow) -> bool) -> bool {
        let places = [Some(&finding.place), finding.against.as_ref(), finding.because.as_ref()];
        let objects = places.into_iter().flatten().map(|place| &*place.object);
        let mut at_places = objects.filter_map(|object| self.written.get(object)).peekable();
        let covers = |allow: &Allow| is_such(allow) && allow.covers(finding.rule);
        let allows = |it: &Written| it.allows.iter().any(|allow| covers(allow));
        let said = |claims: &[Claim]| {
            claims.iter().any(|it| matches!(&it.fact, Fact::Allow(allow) if covers(allow)))
        };
        let is_allowed = match at_places.peek() {
            Some(_) => at_places.any(allows),
            None => {
                let at_fault = said_by(&self.after, &finding.member, &finding.place);
                self.written.values().any(allows) || said(at_fault)
            }
        };
        is_allowed || self.joined_by_written(&finding.member).is_some_and(|it| said(it.claims()))
    }

    /// A member that a written Secret joins: what people allow in any of its documents covers that
    /// too, for `istioctl` prints it without annotations.
    fn joined_by_written(&self, member: &MemberName) -> Option<&Member> {
        let member = self.after.member(member)?;
        let joins = |claim: &Claim| {
            matches!(claim.fact, Fact::RemoteSecret(_))
                && self.written.contains_key(&claim.place.object)
        };
        member.claims().iter().any(joins).then_some(member)
    }
}

/// Whether a finding is at the local member because of what a peer tells of itself.
fn blames_local_for_status(mesh: &View<'_>, finding: &Finding) -> bool {
    let is_against_status = finding.against.as_ref().is_some_and(Place::is_discovered);
    let is_local = mesh.settings().is_local(&finding.member);
    is_local && is_against_status && finding.severity == Severity::Deny
}

/// What lets a finding pass for now, whoever writes: one of the objects takes the place of the
/// other, or the other one is being deleted.
fn passes(mesh: &View<'_>, finding: &Finding) -> Option<Reason> {
    let against = finding.against.as_ref()?;
    let other = finding.other.as_ref().unwrap_or(&finding.member);
    let (ours, theirs) =
        (said_by(mesh, &finding.member, &finding.place), said_by(mesh, other, against));
    let replaces = |claims: &[Claim], other: &ObjectRef| {
        claims.iter().any(|claim| match &claim.fact {
            Fact::Replaces(replaced) => {
                replaced.kind.eq_ignore_ascii_case(&other.kind) && *replaced.name == *other.name
            }
            _ => false,
        })
    };
    let is_terminating = |claims: &[Claim]| claims.iter().any(|it| it.fact == Fact::Terminating);
    if *finding.place.object == *against.object {
        None
    } else if replaces(ours, &against.object) || replaces(theirs, &finding.place.object) {
        Some(Reason::Replaces)
    } else if is_terminating(ours) || is_terminating(theirs) {
        Some(Reason::Terminating)
    } else {
        None
    }
}

/// What the object at a place says of a member.
fn said_by<'a>(mesh: &View<'a>, member: &MemberName, place: &Place) -> &'a [Claim] {
    mesh.member(member).map_or(&[], |member| member.said_by(&place.object))
}

/// What is wrong with a member as it stands, and how bad that is once the annotations of both
/// sides are taken into account.
pub fn standing_findings(mesh: &Mesh, name: &str, now: Option<Moment>) -> Vec<(Finding, Severity)> {
    let Some(member) = mesh.member(name) else { return Vec::new() };
    // One object may state many members, and a member clash with all of them.
    let mut by_object: BTreeMap<Arc<ObjectRef>, Vec<Arc<Allow>>> = BTreeMap::new();
    let mut is_allowed = |side: &Place, rule: &str| {
        let object = Arc::clone(&side.object);
        let allowed = by_object.entry(object).or_insert_with_key(|it| allows(mesh.said_by(it)));
        allowed.iter().any(|allow| allow.covers(rule))
    };
    let view = mesh.view().at(now);
    let findings = rule::judge(&view, member).into_iter();
    let findings = findings.filter(|finding| !blames_local_for_status(&view, finding));
    let with_severity = findings.map(|finding| {
        let is_mild = finding.severity == Severity::Warn
            || is_allowed(&finding.place, finding.rule)
            || finding.against.as_ref().is_some_and(|side| is_allowed(side, finding.rule))
            || passes(&view, &finding).is_some()
            || mesh.settings().enforcement == Policy::Warn;
        (finding, if is_mild { Severity::Warn } else { Severity::Deny })
    });
    with_severity.collect()
}

/// Whether both say the same, but for the status, which has an author of its own.
fn same(a: &Reading, b: &Reading) -> bool {
    let said = |reading: &Reading| -> Vec<(_, Vec<Claim>)> {
        let mut said: Vec<_> = reading
            .statements
            .iter()
            .map(|(member, claims)| {
                let by_hand = claims.iter().filter(|claim| !claim.place.is_status());
                (Arc::clone(member), by_hand.cloned().collect::<Vec<_>>())
            })
            .filter(|(_, claims)| !claims.is_empty())
            .collect();
        said.sort_by(|(a, _), (b, _)| a.cmp(b));
        said
    };
    a.statements == b.statements || said(a) == said(b)
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
fn named_network(view: &View<'_>) -> Option<Network> {
    let (network, _) = view.local()?.network_claim()?;
    matches!(network, Network::Named(_)).then(|| network.clone())
}

fn allows<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Arc<Allow>> {
    claims
        .filter_map(|claim| match &claim.fact {
            Fact::Allow(allow) => Some(Arc::clone(allow)),
            _ => None,
        })
        .collect()
}
