//! Who else states something: members other than the one that is judged, as they would be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::View;
use crate::mesh::identity::{cluster_id, names};
use crate::mesh::index::proper_name;
use crate::mesh::small_set::SmallSet;
use crate::mesh::subnets::Spots;
use crate::mesh::{Claim, Fact, Identity, Member, MemberName, Mesh, Network};
use crate::value::{ClusterDomain, EndpointHost, Subnet};

impl<'a> View<'a> {
    /// Members other than `judged` that may claim addresses of this subnet on this network: those of
    /// which that is uncertain, or the others. They may come more than once.
    pub fn others_on(
        &self,
        judged: &Member,
        network: &Network,
        are_uncertain: bool,
        subnet: Subnet,
    ) -> impl Iterator<Item = &'a Member> {
        // A network of one's own holds nobody else.
        let is_shared = *network != Network::Own;
        let networks = self.names_beside(network);
        let spots = Spots::on(&networks, are_uncertain);
        self.claiming(judged, subnet, spots).filter(move |_| is_shared)
    }

    /// Members other than `judged` that may claim addresses of this subnet, but not on this network;
    /// they may come more than once.
    pub fn others_off(
        &self,
        judged: &Member,
        network: &Network,
        subnet: Subnet,
    ) -> impl Iterator<Item = &'a Member> {
        self.claiming(judged, subnet, Spots::off(&self.names_beside(network)))
    }

    /// Those of them that lack a gateway for the network that they were observed on, which none is
    /// known for.
    pub fn others_without_gateway(
        &self,
        judged: &Member,
        network: &Network,
        subnet: Subnet,
    ) -> impl Iterator<Item = &'a Member> {
        let mut networks = self.names_beside(network);
        networks.extend(self.networks_with_gateway());
        networks.sort_unstable();
        networks.dedup();
        let spots = Spots::off(&networks);
        self.others(judged, move |mesh| {
            let found = mesh.index.without_gateway.overlapping(subnet, spots.clone());
            found.map(|(_, name)| name)
        })
    }

    /// The names of a network that others may share.
    fn names_beside(&self, network: &Network) -> Vec<Network> {
        if *network == Network::Own { Vec::new() } else { self.names_of(network) }
    }

    /// Members other than `judged` that may claim addresses of this subnet, on any network; they
    /// may come more than once.
    pub fn others_overlapping(
        &self,
        judged: &Member,
        subnet: Subnet,
    ) -> impl Iterator<Item = &'a Member> {
        self.claiming(judged, subnet, Spots::all())
    }

    fn claiming(
        &self,
        judged: &Member,
        subnet: Subnet,
        spots: Spots,
    ) -> impl Iterator<Item = &'a Member> {
        self.others(judged, move |mesh| {
            mesh.index.subnets.overlapping(subnet, spots.clone()).map(|(_, name)| name)
        })
    }

    /// The network as members state it, in order: that of the local member may have a name too.
    fn names_of(&self, network: &Network) -> Vec<Network> {
        let alias = self.local_network().filter(|_| *network == Network::Local);
        std::iter::once(network.clone()).chain(alias).collect()
    }

    /// The first subnet of this one's size above it, round its private range, that is clear of
    /// every member's subnets, those of the change included.
    pub fn next_free(&self, subnet: Subnet, judged: &Member) -> Option<Subnet> {
        let change = self.changed.members.iter().chain([judged]);
        let unindexed: Vec<_> =
            change.flat_map(|m| m.subnets().map(|(_, taken, _)| taken)).collect();
        let mut from = subnet;
        // Each turn gets past one subnet that the index does not know.
        for _ in 0..=unindexed.len() {
            if !self.spend(unindexed.len()) {
                return None;
            }
            let free = self.mesh.index.subnets.next_free(from)?;
            match unindexed.iter().find(|taken| taken.overlaps(free)) {
                None => return Some(free),
                Some(taken) => from = free.last_within(*taken),
            }
        }
        None
    }

    /// Whether nobody but `judged` can claim addresses of this subnet: one look instead of many.
    pub fn is_clear(&self, subnet: Subnet) -> bool {
        self.changed.members.len() <= 1 && !self.mesh.index.subnets.is_claimed(subnet)
    }

    /// Members other than `judged` that may have an endpoint on this host.
    pub(crate) fn others_at_host(&self, judged: &Member, host: &EndpointHost) -> Vec<&'a Member> {
        self.others(judged, |mesh| mesh.index.endpoints.of(host)).collect()
    }

    /// Members other than `judged` that may have an endpoint on a host in this domain.
    pub(crate) fn others_within(
        &self,
        judged: &Member,
        domain: &ClusterDomain,
    ) -> impl Iterator<Item = &'a Member> {
        let (itself, from) =
            (EndpointHost::named(domain.as_str()), EndpointHost::before_all_below(domain));
        self.others(judged, move |mesh| {
            let below = mesh.index.endpoints.from(&from);
            let below = below.take_while(|(host, _)| host.is_below(domain));
            let below = below.flat_map(|(_, names)| names.all());
            mesh.index.endpoints.of(&itself).chain(below)
        })
    }

    /// Members other than `judged` that may have an endpoint at an address of this subnet.
    pub fn others_at(&self, judged: &Member, subnet: Subnet) -> impl Iterator<Item = &'a Member> {
        self.others(judged, move |mesh| {
            let within = mesh.index.addresses.from(&subnet);
            let within = within.take_while(move |(address, _)| **address <= subnet.last_address());
            within.flat_map(|(_, names)| names.all())
        })
    }

    /// Members other than `judged` that may have this identity.
    pub fn others_with(&self, judged: &Member, identity: &Identity) -> Vec<&'a Member> {
        self.others(judged, |mesh| mesh.index.identified.of(identity)).collect()
    }

    /// The member that the name of `judged` nearly is, if no object can have that name.
    pub fn meant_by_name(&self, judged: &Member) -> Option<&'a Member> {
        let proper = proper_name(judged.name());
        if *proper == **judged.name() { None } else { self.member(&proper) }
    }

    /// Members other than `judged` whose name is nearly this one's, and no name of an object.
    pub fn misnamed(&self, judged: &Member) -> Vec<&'a Member> {
        let name: Box<str> = (**judged.name()).into();
        let others = self.others(judged, |mesh| mesh.index.misnamed.of(&name));
        others.filter(|other| proper_name(other.name()) == name).collect()
    }

    /// The subjects known by their cluster ID that may go by the name of `judged`, and the other
    /// members that they are part of.
    pub fn others_called(&self, judged: &Member) -> Vec<(&'a Member, &'a Member)> {
        let standing = self.mesh.identities.called(judged.name());
        let is_called = |subject: &&Member| {
            cluster_id(subject.name()).is_some()
                && names(subject).any(|(name, _)| *name == **judged.name())
        };
        let subjects: BTreeSet<_> = match &self.changed.index {
            Some(index) => standing.chain(index.identities.called(judged.name())).collect(),
            None => {
                let changed = self.changed.members.iter().flat_map(Member::subjects);
                standing.chain(changed.filter(is_called).map(Member::name)).collect()
            }
        };
        let of_member = |name: &MemberName| {
            let of = self.member(name).filter(|of| of.name() != judged.name())?;
            let subject = of.subjects().iter().find(|subject| subject.name() == name)?;
            is_called(&subject).then_some((of, subject))
        };
        subjects.into_iter().filter_map(of_member).collect()
    }

    /// What tells that a cluster has this ID in Istio, whoever says so.
    pub fn of_cluster_id<'m>(&self, judged: &'m Member, id: &str) -> Option<&'m Claim>
    where
        'a: 'm,
    {
        let key: Box<str> = id.into();
        let others = self.others(judged, |mesh| mesh.index.cluster_ids.of(&key));
        let mut claims = others.chain([judged]).flat_map(Member::cluster_ids);
        claims.find(|(known, _)| *known == id).map(|(_, claim)| claim)
    }

    /// So many of the IDs that clusters have in Istio, in their order.
    pub fn cluster_ids(&self, judged: &Member, most: usize) -> BTreeSet<&'a str> {
        let stands = |(_, names): &(_, &SmallSet<MemberName>)| {
            names.all().any(|it| it != judged.name() && self.changed.find(it).is_none())
        };
        let standing = self.mesh.index.cluster_ids.all().filter(stands).map(|(id, _)| &**id);
        let changed = self.changed.members.iter().filter(|it| it.name() != judged.name());
        let changed = changed.flat_map(Member::cluster_ids).map(|(id, _)| id);
        let known: BTreeSet<_> = standing.take(most).chain(changed).collect();
        known.into_iter().take(most).collect()
    }

    /// Whether remote Secrets are known, of `judged` or others.
    pub fn knows_secrets(&self, judged: &Member) -> bool {
        let has = |member: &Member| {
            member.claims().iter().any(|it| matches!(it.fact, Fact::RemoteSecret(_)))
        };
        has(judged) || self.others(judged, |mesh| mesh.index.by_secret.iter()).any(has)
    }

    /// Members other than `judged` with a trust domain that `skip` does not take, by name, `most` of
    /// them.
    pub fn others_trusting(
        &self,
        judged: &Member,
        skip: impl Fn(&ClusterDomain) -> bool,
        most: usize,
    ) -> Vec<&'a Member> {
        let names = |mesh: &'a Mesh| {
            let domains = mesh.index.trust_domains.all();
            domains.filter(|(domain, _)| !skip(domain)).flat_map(|(_, names)| names.all())
        };
        let trusts = |member: &&Member| {
            let mut claims = member.claims().iter();
            claims.any(|it| matches!(&it.fact, Fact::TrustDomain(domain) if !skip(domain)))
        };
        self.first(judged, names, trusts, most)
    }

    /// How many members other than `judged` have an IstioMulticluster, and the first of them by
    /// name, `most` of them.
    pub fn peers(&self, judged: &Member, most: usize) -> (usize, Vec<&'a Member>) {
        let is_peer = |member: &&Member| member.claims().iter().any(|it| it.fact == Fact::Peer);
        let peers = &self.mesh.index.peers;
        let gone = self.replaced(judged).filter(|name| peers.contains(*name)).count();
        let changed = self.changed.members.iter().filter(|it| it.name() != judged.name());
        let count = peers.len() - gone + changed.filter(is_peer).count();
        (count, self.first(judged, |mesh| mesh.index.peers.iter(), is_peer, most))
    }

    /// The names of the members of the mesh that are replaced, or judged.
    pub(super) fn replaced<'n>(
        &'n self,
        judged: &'n Member,
    ) -> impl Iterator<Item = &'n MemberName> {
        let changed = self.changed.members.iter().map(Member::name);
        let is_changed = self.changed.find(judged.name()).is_some();
        changed.chain(Some(judged.name()).filter(|_| !is_changed))
    }

    /// Members other than `judged`, by name, `most` of them: the first of those whose names an index
    /// has, in the mesh and in the change.
    pub(super) fn first<'n, N: Iterator<Item = &'n MemberName>>(
        &self,
        judged: &Member,
        names: impl Fn(&'n Mesh) -> N,
        is_such: impl Fn(&&'a Member) -> bool,
        most: usize,
    ) -> Vec<&'a Member>
    where
        'a: 'n,
    {
        let standing = self.standing(judged, names(self.mesh)).filter(&is_such).take(most);
        let changed = self.changed_among(judged, names).filter(&is_such).take(most);
        let mut found: Vec<_> = standing.chain(changed).collect();
        found.sort_unstable_by_key(|member| member.name());
        found.dedup_by_key(|member| member.name());
        found.truncate(most);
        found
    }

    /// Members other than `judged` among those whose names an index has, as they would be.
    pub(super) fn others<'n, N: Iterator<Item = &'n MemberName>>(
        &self,
        judged: &Member,
        names: impl Fn(&'n Mesh) -> N,
    ) -> impl Iterator<Item = &'a Member>
    where
        'a: 'n,
    {
        let standing = self.standing(judged, names(self.mesh));
        standing.chain(self.changed_among(judged, names))
    }

    /// Those of the change among them; all of it, if it has no index.
    fn changed_among<'n, N: Iterator<Item = &'n MemberName>>(
        &self,
        judged: &Member,
        names: impl Fn(&'n Mesh) -> N,
    ) -> impl Iterator<Item = &'a Member>
    where
        'a: 'n,
    {
        let changed = match &self.changed.index {
            Some(index) => {
                let found = names(index).filter_map(|name| index.members.get(name));
                (Some(found), None)
            }
            None => (None, Some(self.changed.members.iter())),
        };
        let changed = changed.0.into_iter().flatten().chain(changed.1.into_iter().flatten());
        let (view, judged_name) = (*self, Arc::clone(judged.name()));
        let changed = changed.take_while(move |_| view.spend(1));
        changed.filter(move |member| *member.name() != judged_name)
    }

    pub(super) fn standing<'n>(
        &self,
        judged: &Member,
        names: impl Iterator<Item = &'n MemberName>,
    ) -> impl Iterator<Item = &'a Member> {
        let (view, judged) = (*self, Arc::clone(judged.name()));
        names
            .take_while(move |_| view.spend(1))
            .filter(move |name| **name != judged && view.changed.find(name).is_none())
            .filter_map(move |name| view.mesh.members.get(name))
    }
}
