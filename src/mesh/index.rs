//! Who states what, so that a review looks up instead of searching.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claim::{Claim, Fact, Identity, MemberName, Network};
use super::domain::StatedDomain;
use super::member::Member;
use super::small_set::SmallSet;
use super::subnets::{Spot, Subnets};
use super::tally::Tallies;
use crate::value::{ClusterDomain, EndpointHost, Subnet};

/// The members by what is said of them.
#[derive(Default)]
pub(super) struct Index {
    pub(super) subnets: Subnets,
    /// The same of those alone who lack a gateway for the network that they were observed on.
    pub(super) without_gateway: Subnets,
    /// Who has an endpoint on each host.
    pub(super) endpoints: Names<EndpointHost>,
    /// Who has an endpoint on each host that is an address.
    pub(super) addresses: Names<Subnet>,
    pub(super) identified: Names<Identity>,
    pub(super) domains: Names<StatedDomain>,
    /// How many state each domain.
    pub(super) tallies: Tallies,
    pub(super) trust_domains: Names<ClusterDomain>,
    /// Who is on each network, but for those on one of their own.
    pub(super) networks: Names<Network>,
    /// Who is on each named network, and without a gateway all the same.
    pub(super) flat: Names<Network>,
    /// Who is called nearly so, as no object can be.
    pub(super) misnamed: Names<Box<str>>,
    /// Who has each cluster ID, whoever says so.
    pub(super) cluster_ids: Names<Box<str>>,
    /// Who has a remote Secret.
    pub(super) by_secret: BTreeSet<MemberName>,
    /// Who has an IstioMulticluster.
    pub(super) peers: BTreeSet<MemberName>,
}

impl Index {
    /// Takes in a member, whose subnets are there.
    pub(super) fn insert(&mut self, member: &Member, spot: Spot) {
        let claimant = (spot, Arc::clone(member.name()));
        for (_, subnet, _) in member.subnets() {
            self.subnets.insert(subnet, claimant.clone());
            if member.lacks_gateway() {
                self.without_gateway.insert(subnet, claimant.clone());
            }
        }
        self.visit(member, &claimant.0.network, &Visit::Insert);
    }

    /// Forgets a member, whose subnets were there.
    pub(super) fn remove(&mut self, member: &Member, spot: Spot) {
        let claimant = (spot, Arc::clone(member.name()));
        for (_, subnet, _) in member.subnets() {
            self.subnets.remove(subnet, &claimant);
            if member.lacks_gateway() {
                self.without_gateway.remove(subnet, &claimant);
            }
        }
        self.visit(member, &claimant.0.network, &Visit::Remove);
    }

    fn visit(&mut self, member: &Member, network: &Network, visit: &Visit) {
        let name = member.name();
        for claim in member.claims() {
            self.visit_claim(claim, name, visit);
        }
        for (domain, _) in member.domains() {
            visit.names(&mut self.domains, &domain, name);
        }
        self.tallies.count(member, matches!(visit, Visit::Insert));
        if *network != Network::Own {
            visit.names(&mut self.networks, network, name);
        }
        if matches!(network, Network::Named(_)) && member.is_flat() {
            visit.names(&mut self.flat, network, name);
        }
        let proper = proper_name(name);
        if *proper != **name {
            visit.names(&mut self.misnamed, &proper, name);
        }
    }

    fn visit_claim(&mut self, claim: &Claim, name: &MemberName, visit: &Visit) {
        if let Some(identity) = claim.identity() {
            visit.names(&mut self.identified, &identity, name);
        }
        match &claim.fact {
            Fact::Endpoint(endpoint) => {
                visit.names(&mut self.endpoints, &EndpointHost::of(endpoint), name);
                if let Some(address) = endpoint.address() {
                    visit.names(&mut self.addresses, &Subnet::of(address), name);
                }
            }
            Fact::ClusterId(id) => visit.names(&mut self.cluster_ids, &(**id).into(), name),
            Fact::RemoteSecret(secret) => {
                visit.names(&mut self.cluster_ids, &secret.key, name);
                visit.set(&mut self.by_secret, name);
            }
            Fact::TrustDomain(domain) => visit.names(&mut self.trust_domains, domain, name),
            Fact::Peer => visit.set(&mut self.peers, name),
            _ => {}
        }
    }
}

/// The name that an object of a member can have which somebody may have meant.
pub(super) fn proper_name(name: &str) -> Box<str> {
    name.to_lowercase().replace('_', "-").into()
}

/// Whether a member comes or goes.
enum Visit {
    Insert,
    Remove,
}

impl Visit {
    fn names<K: Ord + Clone>(&self, names: &mut Names<K>, key: &K, name: &MemberName) {
        match self {
            Self::Insert => names.insert(key, name),
            Self::Remove => names.remove(key, name),
        }
    }

    fn set(&self, names: &mut BTreeSet<MemberName>, name: &MemberName) {
        match self {
            Self::Insert => drop(names.insert(Arc::clone(name))),
            Self::Remove => drop(names.remove(name)),
        }
    }
}

/// The members of each key.
pub(super) struct Names<K>(BTreeMap<K, SmallSet<MemberName>>);

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Names<K> {
    fn insert(&mut self, key: &K, name: &MemberName) {
        match self.0.get_mut(key) {
            Some(names) => names.insert(Arc::clone(name)),
            None => drop(self.0.insert(key.clone(), SmallSet::One(Arc::clone(name)))),
        }
    }

    fn remove(&mut self, key: &K, name: &MemberName) {
        if let Entry::Occupied(mut names) = self.0.entry(key.clone())
            && names.get_mut().remove(name)
        {
            names.remove();
        }
    }

    /// The members of one key, by name.
    pub(super) fn of(&self, key: &K) -> impl Iterator<Item = &MemberName> + use<'_, K> {
        self.0.get(key).into_iter().flat_map(SmallSet::all)
    }

    pub(super) fn count(&self, key: &K) -> usize {
        self.0.get(key).map_or(0, SmallSet::len)
    }

    /// The key as it is kept.
    pub(super) fn kept(&self, key: &K) -> Option<&K> {
        self.0.get_key_value(key).map(|(key, _)| key)
    }

    /// The keys in their order, with the members of each.
    pub(super) fn all(&self) -> impl Iterator<Item = (&K, &SmallSet<MemberName>)> {
        self.0.iter()
    }

    /// The keys that are not before this one in their order, with the members of each.
    pub(super) fn from(
        &self,
        first: &K,
    ) -> impl Iterator<Item = (&K, &SmallSet<MemberName>)> + use<'_, K> {
        self.0.range::<K, _>(first..)
    }
}
