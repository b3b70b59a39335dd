//! Which cluster domains members state, and how many of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::mesh::tally::{Ranked, Tally, Touched};
use crate::mesh::{Member, StatedDomain};
use crate::value::NetworkName;

impl<'a> View<'a> {
    /// Members other than `judged` that state a domain, by name, `most` of them.
    pub fn others_stating(
        &self,
        judged: &Member,
        domain: &StatedDomain,
        most: usize,
    ) -> Vec<&'a Member> {
        let states = |member: &&Member| member.domains().any(|(stated, _)| stated == *domain);
        self.first(judged, |mesh| mesh.index.domains.of(domain), states, most)
    }

    /// Domains that others than `judged` state and `skip` does not take, in their order, at most
    /// `most` of them.
    pub fn domains_of_others(
        &self,
        judged: &Member,
        skip: impl Fn(&StatedDomain) -> bool,
        most: usize,
    ) -> Vec<StatedDomain> {
        let is_stated = |domain: &&StatedDomain| {
            !skip(domain) && !self.others_stating(judged, domain, 1).is_empty()
        };
        let standing = self
            .mesh
            .index
            .domains
            .all()
            .map(|(domain, _)| domain)
            .filter(is_stated)
            .take(most)
            .cloned();
        let changed = self.changed.members.iter().filter(|it| it.name() != judged.name());
        let changed = changed.flat_map(Member::domains).map(|(domain, _)| domain);
        let domains: BTreeSet<_> = standing.chain(changed.filter(|it| !skip(it))).collect();
        domains.into_iter().take(most).collect()
    }

    /// The domains that most members state: others than `judged`, which has these votes. What only
    /// objects state that are being deleted counts unless the others are to be `lasting`.
    pub(crate) fn leading_domains(
        &self,
        judged: &Member,
        votes: &BTreeSet<StatedDomain>,
        lasting: bool,
    ) -> Leading<'a> {
        let count = self.counted(judged, votes, lasting);
        let most = count.first(false).map_or(0, |(most, _)| most);
        Leading { view: *self, count, most }
    }

    /// The domain that others than `judged` state most often, written out.
    pub fn most_stated_domain(&self, judged: &Member) -> Option<StatedDomain> {
        let count = self.counted(judged, &BTreeSet::new(), false);
        count.first(true).map(|(_, domain)| domain.clone())
    }

    /// What of `judged` counts among what others state: all that it states, unless that comes new to
    /// a mesh that has a domain; then what it stated before and states still, and the domain of the
    /// mesh, if it leaves that to others who stay.
    pub fn votes(&self, judged: &Member) -> BTreeSet<StatedDomain> {
        let mut votes = judged.stated_domains(false);
        let Some(before) = self.before() else { return votes };
        if before.leading_domains(judged, &BTreeSet::new(), false).is_empty() {
            return votes;
        }
        let subjects = judged.subjects().iter().filter_map(|it| before.member(it.name()));
        let stood: BTreeSet<_> = subjects.flat_map(Member::domains).map(|it| it.0).collect();
        let leading = before.leading_domains(judged, &stood, false);
        let is_of_mesh =
            |it: &StatedDomain| leading.agree(it) && leading.find(|of| !of.agrees(it)).is_none();
        let staying = self.counted(judged, &BTreeSet::new(), true);
        let is_left =
            |it: &&StatedDomain| !votes.contains(*it) && staying.of(it) > 0 && is_of_mesh(it);
        let left: BTreeSet<_> = stood.iter().filter(is_left).cloned().collect();
        votes.retain(|it| stood.contains(it));
        votes.extend(left);
        votes
    }

    /// The domains that led before a change and lead no longer, where others do, `most` of them.
    pub fn lost_domains(&self, before: &Self, most: usize) -> BTreeSet<StatedDomain> {
        let (nobody, no_votes) = (Member::new("".into()), BTreeSet::new());
        let [had, has] = [before, self].map(|it| it.leading_domains(&nobody, &no_votes, false));
        let is_lost = |it: &StatedDomain| !has.is_empty() && !has.agree(it);
        let changed = &before.changed.members;
        if !changed.is_empty() && has.most <= had.most {
            // Fewer state it, so the change is about some of those who did.
            let stated = changed.iter().flat_map(|it| it.stated_domains(false));
            let led = stated.filter(|it| had.count.of(it) == had.most && is_lost(it));
            return led.take(most).collect();
        }
        let mut lost = BTreeSet::new();
        while let Some(domain) = had.find(|it| !lost.contains(it) && is_lost(it))
            && lost.len() < most
        {
            lost.insert(domain.clone());
        }
        lost
    }

    fn counted(&self, judged: &Member, votes: &BTreeSet<StatedDomain>, lasting: bool) -> Count<'a> {
        let standing = self.mesh.index.tallies.of(lasting);
        let touched = self.changed.touched.as_ref().map(|both| &both[usize::from(lasting)]);
        let mut count = Count { standing, touched, own: BTreeMap::new() };
        let (name, members) = (judged.name(), &self.mesh.members);
        if touched.is_some() {
            let counted = self.changed.find(name).or_else(|| members.get(name));
            count.shift(counted.map(|it| it.stated_domains(lasting)).unwrap_or_default(), false);
        } else {
            for before in self.replaced(judged).filter_map(|name| members.get(name)) {
                count.shift(before.stated_domains(lasting), false);
            }
            for after in self.changed.members.iter().filter(|it| it.name() != name) {
                count.shift(after.stated_domains(lasting), true);
            }
        }
        count.shift(votes.clone(), true);
        count
    }
}

/// How many state each domain, in layers: each goes before those above it.
struct Count<'a> {
    standing: &'a Tally,
    touched: Option<&'a Touched>,
    own: BTreeMap<StatedDomain, usize>,
}

impl Count<'_> {
    /// Counts so many votes in, or out.
    fn shift(&mut self, votes: BTreeSet<StatedDomain>, comes: bool) {
        for domain in votes {
            let count = self.of(&domain);
            let count = if comes { count + 1 } else { count.saturating_sub(1) };
            self.own.insert(domain, count);
        }
    }

    fn of(&self, domain: &StatedDomain) -> usize {
        let own = self.own.get(domain).copied();
        let touched = || self.touched.and_then(|it| it.tally.of(domain));
        own.or_else(touched).or_else(|| self.standing.of(domain)).unwrap_or_default()
    }

    fn is_own(&self, domain: &StatedDomain) -> bool {
        self.own.contains_key(domain)
    }

    fn is_standing(&self, domain: &StatedDomain) -> bool {
        !self.is_own(domain) && self.touched.is_none_or(|it| it.tally.of(domain).is_none())
    }

    /// The domains below all layers, the most stated ones first, from the first that no layer above
    /// is known to have.
    fn below(&self, are_exact: bool) -> impl Iterator<Item = Ranked<'_>> {
        let first = self.touched.map(|it| it.untouched[usize::from(are_exact)].as_ref());
        let is_none = first.is_some_and(|first| first.is_none());
        let first = first.flatten().map(|(count, domain)| (*count, domain));
        let below = (!is_none).then(|| self.standing.all(first, are_exact));
        below.into_iter().flatten()
    }

    /// The domain that is stated most often, maybe of those that are written out.
    fn first(&self, are_exact: bool) -> Option<Ranked<'_>> {
        let own = self
            .own
            .iter()
            .filter(|(domain, count)| **count > 0 && (!are_exact || domain.is_exact()));
        let touched = self.touched.and_then(|touched| {
            touched.tally.all(None, are_exact).find(|(_, domain)| !self.is_own(domain))
        });
        let standing = self.below(are_exact).find(|(_, domain)| self.is_standing(domain));
        let own = own.map(|(domain, count)| (*count, domain));
        own.chain(touched).chain(standing).max_by_key(|(count, domain)| (*count, Reverse(*domain)))
    }
}

/// The domains that most members state.
pub(crate) struct Leading<'a> {
    view: View<'a>,
    count: Count<'a>,
    most: usize,
}

impl Leading<'_> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.most == 0
    }

    /// Whether one of them may be this domain.
    pub(crate) fn agree(&self, domain: &StatedDomain) -> bool {
        let leads = |domain: &StatedDomain| self.most > 0 && self.count.of(domain) == self.most;
        leads(domain)
            || match domain {
                StatedDomain::Exact(domain) => {
                    leads(&StatedDomain::Dashed(NetworkName::of(domain)))
                }
                StatedDomain::Dashed(_) => self.find(|it| it.agrees(domain)).is_some(),
            }
    }

    /// The first of them in their order that is such.
    pub(crate) fn find(&self, is_such: impl Fn(&StatedDomain) -> bool) -> Option<&StatedDomain> {
        let Self { view, count, most } = self;
        if self.is_empty() {
            return None;
        }
        let own = count.own.iter().filter(|(_, count)| **count == *most).map(|(domain, _)| domain);
        let own = own.into_iter().find(|it| is_such(it));
        let touched = count.touched.and_then(|touched| {
            let mut alike = touched.tally.rank(*most, None);
            alike.find(|it| !count.is_own(it) && view.spend(1) && is_such(it))
        });
        let below = count.below(false).take_while(|(count, _)| count >= most && view.spend(1));
        let mut alike = below.filter(|(count, _)| count == most).map(|(_, domain)| domain);
        let standing = alike.find(|it| count.is_standing(it) && is_such(it));
        own.into_iter().chain(touched).chain(standing).min()
    }
}
