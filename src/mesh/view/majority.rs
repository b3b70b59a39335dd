//! Which cluster domains members state, and how many of them.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::mesh::{Claim, Fact, Member, StatedDomain};

impl<'a> View<'a> {
    /// Members other than `judged` that state a domain, by name, `most` of them.
    pub fn others_stating(
        &self,
        judged: &Member,
        domain: &StatedDomain,
        most: usize,
    ) -> Vec<&'a Member> {
        let states = |member: &&Member| member.domains().any(|(stated, _)| stated == *domain);
        self.first(judged, self.mesh.index.domains.of(domain), states, most)
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

    /// The domains that most members state: others than `judged`, which has these votes.
    pub fn leading_domains(
        &self,
        judged: &Member,
        votes: &BTreeSet<StatedDomain>,
    ) -> Vec<StatedDomain> {
        self.leading(&self.recounted(judged, votes))
    }

    /// The same without what only objects state that are being deleted.
    pub fn lasting_domains(
        &self,
        judged: &Member,
        votes: &BTreeSet<StatedDomain>,
    ) -> Vec<StatedDomain> {
        let mut counts = self.recounted(judged, votes);
        for member in self.others(judged, |mesh| mesh.index.terminating.iter()) {
            let is_lasting = |claim: &Claim| {
                member.said_by(&claim.place.object).iter().all(|it| it.fact != Fact::Terminating)
            };
            let (lasting, ending): (Vec<_>, Vec<_>) =
                member.domains().partition(|(_, claim)| is_lasting(claim));
            let is_ending = |it: &StatedDomain| lasting.iter().all(|(domain, _)| domain != it);
            let ending: BTreeSet<_> = ending.into_iter().map(|(domain, _)| domain).collect();
            for domain in ending.into_iter().filter(is_ending) {
                let count = self.count_mut(&mut counts, domain);
                *count = count.saturating_sub(1);
            }
        }
        self.leading(&counts)
    }

    /// The domain that others than `judged` state most often, written out.
    pub fn most_stated_domain(&self, judged: &Member) -> Option<StatedDomain> {
        let is_exact = |domain: &StatedDomain| matches!(domain, StatedDomain::Exact(_));
        let counts = self.recounted(judged, &BTreeSet::new());
        let standing = self.mesh.index.domain_counts.iter().rev();
        let mut standing =
            standing.filter(|(_, domain)| is_exact(domain) && !counts.contains_key(domain));
        let first = standing.next().map(|(count, domain)| (*count, domain));
        let recounted = counts.iter().map(|(domain, count)| (*count, domain));
        let recounted = recounted.filter(|(count, domain)| *count > 0 && is_exact(domain));
        first.into_iter().chain(recounted).max().map(|(_, domain)| domain.clone())
    }

    /// What `judged` states that counts among what others state: all of it, unless it comes new to
    /// a mesh that has a domain.
    pub fn votes(&self, judged: &Member) -> BTreeSet<StatedDomain> {
        let votes = |member: &Member| member.domains().map(|(domain, _)| domain).collect();
        let Some(before) = self.before() else { return votes(judged) };
        if before.leading_domains(judged, &BTreeSet::new()).is_empty() {
            return votes(judged);
        }
        let subjects = judged.subjects().iter().filter_map(|it| before.member(it.name()));
        let stood: BTreeSet<_> = subjects.flat_map(Member::domains).map(|it| it.0).collect();
        votes(judged).intersection(&stood).cloned().collect()
    }

    /// How many state each domain of which the change, `judged` or its votes make another number.
    fn recounted(
        &self,
        judged: &Member,
        votes: &BTreeSet<StatedDomain>,
    ) -> BTreeMap<StatedDomain, usize> {
        let mut counts = BTreeMap::new();
        let stated = |member: &Member| -> BTreeSet<_> {
            member.domains().map(|(domain, _)| domain).collect()
        };
        for before in self.replaced(judged).filter_map(|name| self.mesh.members.get(name)) {
            for domain in stated(before) {
                let count = self.count_mut(&mut counts, domain);
                *count = count.saturating_sub(1);
            }
        }
        let changed = self.changed.members.iter().filter(|it| it.name() != judged.name());
        for domain in changed.flat_map(stated).chain(votes.iter().cloned()) {
            *self.count_mut(&mut counts, domain) += 1;
        }
        counts
    }

    fn count_mut<'c>(
        &self,
        counts: &'c mut BTreeMap<StatedDomain, usize>,
        domain: StatedDomain,
    ) -> &'c mut usize {
        let count = self.mesh.index.domains.count(&domain);
        counts.entry(domain).or_insert(count)
    }

    fn leading(&self, recounted: &BTreeMap<StatedDomain, usize>) -> Vec<StatedDomain> {
        let standing = self.mesh.index.domain_counts.iter().rev();
        let mut standing = standing.filter(|(_, it)| !recounted.contains_key(it)).peekable();
        let most = recounted.values().copied().max().unwrap_or_default();
        let most = most.max(standing.peek().map_or(0, |(count, _)| *count));
        if most == 0 {
            return Vec::new();
        }
        let standing = standing.take_while(|(count, _)| *count == most && self.spend(1));
        let recounted = recounted.iter().filter(|(_, count)| **count == most);
        let leading = standing.map(|(_, domain)| domain).chain(recounted.map(|(domain, _)| domain));
        leading.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
