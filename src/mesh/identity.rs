//! Which documents speak of one member.
//!
//! Nearly every document names its member. One that knows only the cluster ID, such as a remote
//! Secret, speaks of a subject that is called by that ID, and what others state decides which member
//! that is part of: the one that states this cluster ID, else the one that has the name it goes by,
//! unless that one states another ID.
//!
//! Only what people or the local cluster's own configuration state counts here. What a cluster tells
//! of itself never makes two members one: it could take over another member, or hide from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;

use super::claim::{Claim, Fact, MemberName};
use super::member::Member;
use super::origin::Basis;
use super::small_set::SmallSet;

/// How subjects begin that are known by their cluster ID; no object has such a name.
const BY_ID: &str = "cluster ID ";

/// Whom a document speaks of that knows only the cluster ID.
pub fn by_cluster_id(id: &str) -> MemberName {
    format!("{BY_ID}{id}").into()
}

/// What Istio calls a cluster that nobody gave an ID: many have this one.
pub const DEFAULT_CLUSTER_ID: &str = "Kubernetes";

/// The cluster ID that a subject is known by, unless it has a name.
pub fn cluster_id(subject: &str) -> Option<&str> {
    subject.strip_prefix(BY_ID)
}

/// The cluster IDs that a subject states.
pub(super) fn stated_ids(subject: &Member) -> impl Iterator<Item = &Arc<str>> {
    subject.claims().iter().filter_map(|claim| match (&claim.fact, claim.place.basis) {
        (Fact::ClusterId(id), Basis::Own(_) | Basis::Stated) => Some(id),
        _ => None,
    })
}

/// The names that a subject may go by, and where they are stated: its own, or those beside its
/// cluster ID, and that last.
pub fn names(subject: &Member) -> impl Iterator<Item = (&str, &Claim)> {
    let id = cluster_id(subject.name());
    let aliases = subject.claims().iter().filter_map(move |claim| match &claim.fact {
        Fact::Alias(name) if id.is_some() => Some((&**name, claim)),
        _ => None,
    });
    let own = subject.claims().first().map(|claim| (id.unwrap_or(subject.name()), claim));
    aliases.chain(own)
}

/// What subjects are known by.
#[derive(Default)]
pub(super) struct Identities {
    /// The named subjects that state each cluster ID.
    stated: HashMap<Arc<str>, SmallSet<MemberName>>,
    /// The subjects known by their cluster ID that may go by each name.
    called: HashMap<Box<str>, SmallSet<MemberName>>,
    /// The member that each of those is part of.
    homes: HashMap<MemberName, MemberName>,
}

impl Identities {
    /// Takes in the subjects of a member.
    pub(super) fn insert(&mut self, member: &Member) {
        for subject in member.subjects() {
            if cluster_id(subject.name()).is_none() {
                for id in stated_ids(subject) {
                    SmallSet::add(self.stated.entry(Arc::clone(id)), subject.name());
                }
                continue;
            }
            for (name, _) in names(subject) {
                SmallSet::add(self.called.entry(name.into()), subject.name());
            }
            self.homes.insert(Arc::clone(subject.name()), Arc::clone(member.name()));
        }
    }

    /// Forgets the subjects of a member.
    pub(super) fn remove(&mut self, member: &Member) {
        for subject in member.subjects() {
            if cluster_id(subject.name()).is_none() {
                for id in stated_ids(subject) {
                    if self.stated.get_mut(id).is_some_and(|all| all.remove(subject.name())) {
                        self.stated.remove(id);
                    }
                }
                continue;
            }
            for (name, _) in names(subject) {
                if self.called.get_mut(name).is_some_and(|all| all.remove(subject.name())) {
                    self.called.remove(name);
                }
            }
            self.homes.remove(subject.name());
        }
    }

    /// The named subjects that state a cluster ID.
    pub(super) fn stating(&self, id: &str) -> impl Iterator<Item = &MemberName> {
        self.stated.get(id).into_iter().flat_map(SmallSet::all)
    }

    /// The member that a subject is part of.
    pub(super) fn home<'a>(&'a self, subject: &'a str) -> &'a str {
        self.homes.get(subject).map_or(subject, |home| home)
    }

    /// The subjects known by their cluster ID that may go by a name.
    pub(super) fn called(&self, name: &str) -> impl Iterator<Item = &MemberName> {
        self.called.get(name).into_iter().flat_map(SmallSet::all)
    }
}

/// The subjects of a mesh, some of them replaced.
struct Grouping<'a, F> {
    /// What is known without the replaced ones.
    known: &'a Identities,
    standing: F,
    /// The local member: a cluster ID that its configuration states is its own.
    local: &'a str,
    subjects: BTreeMap<MemberName, Member>,
    identities: Identities,
}

/// The members that change if these subjects are replaced, as they are then; an empty one if there is
/// no such member any more. `standing` finds a subject as it stands.
pub(super) fn regrouped<'a, F: Fn(&str) -> Option<&'a Member>>(
    known: &'a Identities,
    standing: F,
    local: &'a str,
    subjects: Vec<Member>,
) -> Vec<Member> {
    let mut identities = Identities::default();
    for subject in &subjects {
        identities.insert(subject);
    }
    if identities.called.is_empty() && known.called.is_empty() {
        return subjects;
    }
    let subjects = subjects.into_iter().map(|it| (Arc::clone(it.name()), it)).collect();
    let grouping = Grouping { known, standing, local, subjects, identities };
    let names = grouping.changed();
    names.into_iter().map(|name| grouping.member(name)).collect()
}

impl<'a, F: Fn(&str) -> Option<&'a Member>> Grouping<'a, F> {
    /// The names of all members whose subjects are other ones than before.
    fn changed(&self) -> BTreeSet<MemberName> {
        let mut moved = BTreeSet::new();
        for (name, after) in &self.subjects {
            moved.insert(Arc::clone(name));
            for subject in (self.standing)(name).into_iter().chain([after]) {
                moved.extend(stated_ids(subject).map(|id| by_cluster_id(id)));
                for (name, _) in names(subject) {
                    let called = self.known.called(name);
                    moved.extend(called.chain(self.identities.called(name)).cloned());
                }
            }
        }
        let before = moved.iter().filter_map(|it| self.known.homes.get(it)).cloned();
        let after = moved.iter().filter_map(|it| Some(self.home(self.subject(it)?)));
        let named = self.subjects.keys().filter(|name| cluster_id(name).is_none()).cloned();
        before.chain(after).chain(named).collect()
    }

    /// One member, of its subjects.
    fn member(&self, name: MemberName) -> Member {
        let named = self.subject(&name).filter(|_| cluster_id(&name).is_none());
        let stated = named.into_iter().flat_map(stated_ids).map(|id| by_cluster_id(id));
        let known: BTreeSet<_> =
            stated.chain(self.called(&name).cloned()).chain([Arc::clone(&name)]).collect();
        let known = known.iter().filter(|it| cluster_id(it).is_some());
        let known = known.filter_map(|it| self.subject(it)).filter(|it| self.home(it) == name);
        let subjects: Vec<_> = named.into_iter().chain(known).cloned().collect();
        Member::of_subjects(name, subjects)
    }

    /// The name of the member that a subject is part of.
    fn home(&self, subject: &Member) -> MemberName {
        let Some(id) = cluster_id(subject.name()) else { return Arc::clone(subject.name()) };
        if let Some(name) = self.stating(id).min_by_key(|name| (***name != *self.local, *name)) {
            return Arc::clone(name);
        }
        // A name that several go by is that of the first; one that is taken is the owner's.
        let is_first = |name: &str| self.called(name).min() == Some(subject.name());
        let owner = |name: &str| self.subject(name);
        let is_free = |name: &&str| {
            is_first(name) && owner(name).is_none_or(|it| stated_ids(it).next().is_none())
        };
        let names = || names(subject).map(|(name, _)| name).filter(is_free);
        let name = names().find(|name| owner(name).is_some()).or_else(|| names().next());
        name.map_or_else(|| Arc::clone(subject.name()), MemberName::from)
    }

    fn subject(&self, name: &str) -> Option<&Member> {
        let replaced = self.subjects.get(name);
        replaced.or_else(|| (self.standing)(name)).filter(|subject| !subject.is_empty())
    }

    fn stating<'s>(&'s self, id: &str) -> impl Iterator<Item = &'s MemberName> {
        self.standing(self.known.stating(id)).chain(self.identities.stating(id))
    }

    fn called<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s MemberName> {
        self.standing(self.known.called(name)).chain(self.identities.called(name))
    }

    fn standing<'s>(
        &'s self,
        names: impl Iterator<Item = &'s MemberName>,
    ) -> impl Iterator<Item = &'s MemberName> {
        names.filter(|name| !self.subjects.contains_key(*name))
    }
}
