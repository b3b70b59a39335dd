//! How many members state each domain.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::domain::StatedDomain;
use super::member::Member;

/// Domains, by how many members state each.
#[derive(Default)]
pub(super) struct Tally {
    counts: BTreeMap<StatedDomain, usize>,
    /// Those that anybody states, by that number.
    ranks: BTreeMap<usize, BTreeSet<StatedDomain>>,
}

/// A domain, and how many state it.
pub(super) type Ranked<'a> = (usize, &'a StatedDomain);

impl Tally {
    /// How many state a domain, if that is known here.
    pub(super) fn of(&self, domain: &StatedDomain) -> Option<usize> {
        self.counts.get(domain).copied()
    }

    /// Notes how many state a domain, which may be none.
    pub(super) fn put(&mut self, domain: StatedDomain, count: usize) {
        let before = self.counts.insert(domain.clone(), count).unwrap_or_default();
        if let Some(alike) = self.ranks.get_mut(&before) {
            alike.remove(&domain);
            if alike.is_empty() {
                self.ranks.remove(&before);
            }
        }
        if count > 0 {
            self.ranks.entry(count).or_default().insert(domain);
        }
    }

    /// The domains that so many state, in their order, from one of them on.
    pub(super) fn rank<'a>(
        &'a self,
        count: usize,
        from: Option<&StatedDomain>,
    ) -> impl Iterator<Item = &'a StatedDomain> + use<'a> {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let alike = self.ranks.get(&count);
        let alike = alike.map(|it| it.range::<StatedDomain, _>((from, Bound::Unbounded)));
        alike.into_iter().flatten()
    }

    /// All domains, or those that are written out: the most stated ones first, from one of them on.
    pub(super) fn all(
        &self,
        from: Option<Ranked<'_>>,
        are_exact: bool,
    ) -> impl Iterator<Item = Ranked<'_>> {
        let first = from.map_or(Bound::Unbounded, |(count, _)| Bound::Included(count));
        let ranks = self.ranks.range((Bound::Unbounded, first)).rev();
        ranks.flat_map(move |(count, _)| {
            let from = from.filter(|(first, _)| first == count).map(|(_, domain)| domain);
            // Those that are written out come first.
            let alike = self.rank(*count, from).take_while(move |it| !are_exact || it.is_exact());
            alike.map(|domain| (*count, domain))
        })
    }
}

/// How many state each domain: of all members, and without what is being deleted.
#[derive(Default)]
pub(super) struct Tallies([Tally; 2]);

impl Tallies {
    pub(super) fn of(&self, are_lasting: bool) -> &Tally {
        &self.0[usize::from(are_lasting)]
    }

    /// Counts a member in, or out.
    pub(super) fn count(&mut self, member: &Member, comes: bool) {
        for (tally, are_lasting) in self.0.iter_mut().zip([false, true]) {
            for domain in member.stated_domains(are_lasting) {
                let count = tally.of(&domain).unwrap_or_default();
                if comes {
                    tally.put(domain, count + 1);
                } else {
                    tally.put(domain.clone(), count.saturating_sub(1));
                    if count <= 1 {
                        tally.counts.remove(&domain);
                    }
                }
            }
        }
    }
}

/// How many state each domain that a change of many members touches, counted once for all of them.
pub(super) struct Touched {
    pub(super) tally: Tally,
    /// The most stated domain that it leaves alone, and the most stated of those that are written
    /// out.
    pub(super) untouched: [Option<(usize, StatedDomain)>; 2],
}

impl Touched {
    /// By members, as they are, if they are there, and as they will be.
    pub(super) fn by<'a>(
        members: impl Iterator<Item = (Option<&'a Member>, &'a Member)>,
        standing: &Tally,
        are_lasting: bool,
    ) -> Self {
        let mut tally = Tally::default();
        for (before, after) in members {
            for (member, comes) in before.map(|it| (it, false)).into_iter().chain([(after, true)]) {
                for domain in member.stated_domains(are_lasting) {
                    let count = tally.of(&domain).or(standing.of(&domain)).unwrap_or_default();
                    tally.put(domain, if comes { count + 1 } else { count.saturating_sub(1) });
                }
            }
        }
        let untouched = [false, true].map(|exact| {
            let first = standing.all(None, exact).find(|(_, domain)| tally.of(domain).is_none());
            first.map(|(count, domain)| (count, domain.clone()))
        });
        Self { tally, untouched }
    }
}
