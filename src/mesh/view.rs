//! The mesh as it would be: a base that is shared, and the few members a change replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::identity::cluster_id;
use super::small_set::SmallSet;
use super::{Claim, Fact, Identity, Member, MemberName, Mesh, Network, Observation, StatedDomain};
use crate::budget::Budget;
use crate::settings::Settings;
use crate::value::{Moment, Subnet};

/// How long what was observed may deny.
const LONGEST_FIRM: Duration = Duration::from_hours(1);

/// A mesh with some of its members replaced. Every lookup leaves out the member that is judged:
/// nobody clashes with itself, and so a judged member need not be part of the mesh.
///
/// What a lookup yields may clash, and always holds all that do; whether it does is for the rule
/// to say.
#[derive(Clone, Copy)]
pub struct View<'a> {
    mesh: &'a Mesh,
    changed: &'a Changed,
    /// Nearly every rule asks for it.
    local: Option<&'a Member>,
    /// What judging may cost; each member that is looked at costs a unit.
    budget: Option<&'a Budget<'a>>,
    /// When it is judged; nothing where nobody tells the time.
    now: Option<Moment>,
    /// Whether members joined by IstioMulticlusters before the change that it shows.
    was_joined_by_peers: bool,
}

/// The members that a change replaces.
pub struct Changed {
    /// By name, each once.
    members: Vec<Member>,
    /// The member that each subject known by its cluster ID is part of.
    homes: BTreeMap<MemberName, MemberName>,
    /// Who of them is where, if they are many: a few are looked through faster than indexed.
    index: Option<Mesh>,
}

/// Up to here the members of a change are looked through.
const FEW: usize = 4;

impl Changed {
    /// No member.
    pub const NONE: &'static Self =
        &Self { members: Vec::new(), homes: BTreeMap::new(), index: None };

    /// These members, of which each has another name.
    pub(super) fn new(settings: &Arc<Settings>, mut members: Vec<Member>) -> Self {
        members.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let homes = members.iter().filter(|member| !member.is_empty()).flat_map(|member| {
            let known = member.subjects().iter().filter(|it| cluster_id(it.name()).is_some());
            known.map(|it| (Arc::clone(it.name()), Arc::clone(member.name())))
        });
        let homes = homes.collect();
        let index = (members.len() > FEW).then(|| {
            let mut index = Mesh::new(Arc::clone(settings));
            for member in &members {
                index.insert(member.clone());
            }
            index
        });
        Self { members, homes, index }
    }

    /// All of them, by name.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn find(&self, name: &str) -> Option<&Member> {
        let at = self.members.binary_search_by(|member| (**member.name()).cmp(name));
        at.ok().map(|at| &self.members[at])
    }
}

impl<'a> View<'a> {
    pub(super) fn new(mesh: &'a Mesh, changed: &'a Changed) -> Self {
        let view = Self {
            mesh,
            changed,
            local: None,
            budget: None,
            now: None,
            was_joined_by_peers: false,
        };
        let local = view.member(&mesh.settings.local_member);
        Self { local: local.filter(|member| view.is_local(member)), ..view }
    }

    /// The same, for as long as the budget lasts: what is looked up after that is not found.
    #[must_use]
    pub fn within(self, budget: &'a Budget<'a>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// The same at a point in time.
    #[must_use]
    pub fn at(self, now: Option<Moment>) -> Self {
        Self { now, ..self }
    }

    /// The same, after a change of what `before` shows: what was described where a gateway was the
    /// default is not held against whoever switches multicluster off.
    #[must_use]
    pub fn following(self, before: &View<'_>) -> Self {
        Self { was_joined_by_peers: before.is_joined_by_peers(), ..self }
    }

    /// When it is judged; nothing where nobody tells the time.
    pub fn now(&self) -> Option<Moment> {
        self.now
    }

    /// Whether something was observed recently enough, and wholly, to deny anything.
    pub fn is_firm(&self, observation: Observation) -> bool {
        let Some(now) = self.now else { return false };
        observation.is_exact && now.since(observation.at).is_none_or(|age| age < LONGEST_FIRM)
    }

    /// Spends what looking at so many claims costs; says whether to go on.
    pub fn spend(&self, units: usize) -> bool {
        self.budget.is_none_or(|budget| budget.spend(units).is_ok())
    }

    /// The operator's settings.
    pub fn settings(&self) -> &'a Settings {
        &self.mesh.settings
    }

    /// One member, by its name or by that of one of its subjects, if anything is said of it.
    pub fn member(&self, name: &str) -> Option<&'a Member> {
        let name = self
            .changed
            .homes
            .get(name)
            .map_or_else(|| self.mesh.identities.home(name), |home| &**home);
        let changed = self.changed.find(name);
        changed.or_else(|| self.mesh.members.get(name)).filter(|member| !member.is_empty())
    }

    /// All members, by name.
    pub fn members(&self) -> impl Iterator<Item = &'a Member> {
        let standing = self.mesh.members().into_iter();
        let standing = standing.filter(|member| self.changed.find(member.name()).is_none());
        let mut members: Vec<_> = standing.chain(&self.changed.members).collect();
        members.sort_unstable_by_key(|member| member.name());
        members.into_iter().filter(|member| !member.is_empty())
    }

    /// The member that isthmus guards, if anything is said of it.
    pub fn local(&self) -> Option<&'a Member> {
        self.local
    }

    /// Whether this is the member that isthmus guards.
    pub fn is_local(&self, member: &Member) -> bool {
        self.mesh.settings.is_local(member.name())
    }

    /// Whether the member takes part in the mesh, or is merely described.
    pub fn is_joined(&self, member: &Member) -> bool {
        self.is_local(member) || member.is_joined()
    }

    /// Whether members join by IstioMulticlusters here, so that a gateway is the default: there are
    /// some, the cluster has the resource, or ModuleConfig `istio` enables multicluster; and no
    /// ModuleConfig `istio` turns it off.
    pub fn is_joined_by_peers(&self) -> bool {
        let of_module = |wanted| {
            let mut claims = self.local().into_iter().flat_map(Member::claims);
            claims.any(|claim| claim.fact == Fact::Multicluster(wanted))
        };
        let is_peer = |member: &Member| member.claims().iter().any(|it| it.fact == Fact::Peer);
        let has_peer = || {
            let mut standing = self.mesh.peers.iter();
            standing.any(|name| self.changed.find(name).is_none())
                || self.changed.members.iter().any(is_peer)
        };
        self.was_joined_by_peers
            || !of_module(false) && (self.mesh.serves_peers || of_module(true) || has_peer())
    }

    /// The network a member's pods are on. A name of the local network is the local network.
    pub fn network(&self, member: &Member) -> Network {
        let network = self.mesh.raw_network(member);
        if self.local_network().is_some_and(|local| local == network) {
            return Network::Local;
        }
        network
    }

    /// What Istio calls the network a member's pods are on, if anything tells: the name of that
    /// network, of the local one, or of the one that discovery has found the member on.
    pub fn network_name<'m>(&self, member: &'m Member) -> Option<&'m str>
    where
        'a: 'm,
    {
        let claim = member.network_claim();
        let flat = self.is_local(member) || matches!(claim, Some((Network::Local, _)));
        match claim {
            Some((Network::Named(name), _)) => Some(name),
            _ if flat => match self.local()?.network_claim()? {
                (Network::Named(name), _) => Some(name),
                _ => None,
            },
            _ => member.pick(pinned_network).map(|(name, _)| name).next(),
        }
    }

    /// Members other than `judged` that may claim addresses of this subnet on this network.
    pub fn others_on(&self, judged: &Member, network: &Network, subnet: Subnet) -> Vec<&'a Member> {
        // A network of one's own holds nobody else.
        if *network == Network::Own {
            return Vec::new();
        }
        let alias = self.local_network().filter(|_| *network == Network::Local);
        let networks = [Some(network.clone()), alias];
        let mut found = BTreeMap::new();
        for network in networks.iter().flatten() {
            let others = self.others(judged, |mesh| {
                mesh.subnets.overlapping(subnet, Some(network)).map(|(_, name)| name)
            });
            found.extend(others.map(|member| (member.name(), member)));
        }
        found.into_values().collect()
    }

    /// Members other than `judged` that may claim addresses of this subnet, on any network; they
    /// may come more than once.
    pub fn others_overlapping(
        &self,
        judged: &Member,
        subnet: Subnet,
    ) -> impl Iterator<Item = &'a Member> {
        self.others(judged, move |mesh| {
            mesh.subnets.overlapping(subnet, None).map(|(_, name)| name)
        })
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
            let free = self.mesh.subnets.next_free(from)?;
            match unindexed.iter().find(|taken| taken.overlaps(free)) {
                None => return Some(free),
                Some(taken) => from = free.last_within(*taken),
            }
        }
        None
    }

    /// Whether nobody but `judged` can claim addresses of this subnet: one look instead of many.
    pub fn is_clear(&self, subnet: Subnet) -> bool {
        self.changed.members.len() <= 1 && !self.mesh.subnets.is_claimed(subnet)
    }

    /// Members other than `judged` that may have an endpoint on this host, as
    /// [`MetadataEndpoint::host_identity`](crate::value::MetadataEndpoint::host_identity) tells it.
    pub fn others_at_host(&self, judged: &Member, host: &str) -> Vec<&'a Member> {
        self.others(judged, |mesh| mesh.endpoints.get(host).into_iter().flat_map(SmallSet::all))
            .collect()
    }

    /// Members other than `judged` that may have this identity.
    pub fn others_with(&self, judged: &Member, identity: &Identity) -> Vec<&'a Member> {
        let names =
            |mesh: &'a Mesh| mesh.identified.get(identity).into_iter().flat_map(SmallSet::all);
        self.others(judged, names).collect()
    }

    /// The domains that others than `judged` state and `skip` does not take, each with at most
    /// `most` of those that state it, by name.
    pub fn domains_of_others(
        &self,
        judged: &Member,
        skip: impl Fn(&StatedDomain) -> bool,
        most: usize,
    ) -> BTreeMap<StatedDomain, Vec<&'a Member>> {
        let mut domains = BTreeMap::new();
        for (domain, names) in &self.mesh.domains {
            if skip(domain) {
                continue;
            }
            let members: Vec<_> = self.standing(judged, names.iter()).take(most).collect();
            if !members.is_empty() {
                domains.insert(domain.clone(), members);
            }
        }
        for member in self.changed.members.iter().filter(|it| it.name() != judged.name()) {
            let stated: BTreeSet<_> = member.domains().map(|(domain, _)| domain).collect();
            for domain in stated.into_iter().filter(|domain| !skip(domain)) {
                domains.entry(domain).or_insert_with(Vec::new).push(member);
            }
        }
        for members in domains.values_mut() {
            members.sort_unstable_by_key(|member| member.name());
            members.truncate(most);
        }
        domains
    }

    /// How many others than `judged` state each domain.
    pub fn domain_counts(&self, judged: &Member) -> BTreeMap<StatedDomain, usize> {
        if !self.spend(self.mesh.domains.len() + self.changed.members.len()) {
            return BTreeMap::new();
        }
        let standing = self.mesh.domains.iter();
        let mut counts: BTreeMap<_, _> =
            standing.map(|(domain, names)| (domain.clone(), names.len())).collect();
        let mut count = |member: &Member, change: fn(&mut usize)| {
            let stated: BTreeSet<_> = member.domains().map(|(domain, _)| domain).collect();
            for domain in stated {
                change(counts.entry(domain).or_default());
            }
        };
        // Those of the change count as they would be, and the judged one does not.
        let changed = self.changed.members.iter().map(Member::name);
        let is_changed = self.changed.find(judged.name()).is_some();
        let replaced = changed.chain(Some(judged.name()).filter(|_| !is_changed));
        for member in replaced.filter_map(|name| self.mesh.members.get(name)) {
            count(member, |count| *count = count.saturating_sub(1));
        }
        for member in self.changed.members.iter().filter(|it| it.name() != judged.name()) {
            count(member, |count| *count += 1);
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// The same without what only objects state that are being deleted.
    pub fn lasting_domain_counts(&self, judged: &Member) -> BTreeMap<StatedDomain, usize> {
        let mut counts = self.domain_counts(judged);
        for member in self.others(judged, |mesh| mesh.terminating.iter()) {
            let is_lasting = |claim: &Claim| {
                member.said_by(&claim.place.object).iter().all(|it| it.fact != Fact::Terminating)
            };
            let (lasting, ending): (Vec<_>, Vec<_>) =
                member.domains().partition(|(_, claim)| is_lasting(claim));
            let ending: BTreeSet<_> = ending.into_iter().map(|(domain, _)| domain).collect();
            let is_ending = |it: &&StatedDomain| lasting.iter().all(|(domain, _)| domain != *it);
            for domain in ending.iter().filter(is_ending) {
                if let Some(count) = counts.get_mut(domain) {
                    *count = count.saturating_sub(1);
                }
            }
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// The members other than `judged` that have an IstioMulticluster, by name.
    pub fn peers(&self, judged: &Member) -> Vec<&'a Member> {
        let is_peer = |member: &&Member| {
            member.pick(|fact| matches!(fact, Fact::Peer).then_some(())).next().is_some()
        };
        let mut peers: Vec<_> =
            self.others(judged, |mesh| mesh.peers.iter()).filter(is_peer).collect();
        peers.sort_unstable_by_key(|member| member.name());
        peers
    }

    fn local_network(&self) -> Option<Network> {
        match self.mesh.raw_network(self.local()?) {
            named @ Network::Named(_) => Some(named),
            _ => None,
        }
    }

    /// Members other than `judged` among those whose names an index has, as they would be.
    fn others<'n, N: Iterator<Item = &'n MemberName>>(
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
        let changed = changed.filter(move |member| *member.name() != judged_name);
        self.standing(judged, names(self.mesh)).chain(changed)
    }

    fn standing<'n>(
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

/// The name of the network that discovery has found a member on.
fn pinned_network(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::NetworkName(name) => Some(name.as_str()),
        _ => None,
    }
}
