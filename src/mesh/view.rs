//! The mesh as it would be: a base that is shared, and the few members a change replaces.

mod majority;
mod others;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::identity::cluster_id;
use super::tally::Touched;
use super::{EndpointSource, Fact, Member, MemberName, Mesh, Network, Observation};
use crate::budget::Budget;
use crate::settings::Settings;
use crate::value::Moment;

/// What people write who mean the network of the local member, and which is a name like any other.
pub const LOCAL_NETWORK: &str = "local";

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
    /// What was before the change that it shows, if it shows one.
    before: Option<(&'a Mesh, &'a Changed)>,
}

/// The members that a change replaces.
pub struct Changed {
    /// By name, each once.
    members: Vec<Member>,
    /// The member that each subject known by its cluster ID is part of.
    homes: BTreeMap<MemberName, MemberName>,
    /// Who of them is where, if they are many: a few are looked through faster than indexed.
    index: Option<Mesh>,
    /// How many state each domain that they touch, if they are many: in all, and lastingly.
    touched: Option<[Touched; 2]>,
}

/// Up to here the members of a change are looked through.
const FEW: usize = 4;

impl Changed {
    /// No member.
    pub const NONE: &'static Self =
        &Self { members: Vec::new(), homes: BTreeMap::new(), index: None, touched: None };

    /// These members of a mesh, of which each has another name.
    pub(super) fn new(mesh: &Mesh, mut members: Vec<Member>) -> Self {
        members.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let homes = members.iter().filter(|member| !member.is_empty()).flat_map(|member| {
            let known = member.subjects().iter().filter(|it| cluster_id(it.name()).is_some());
            known.map(|it| (Arc::clone(it.name()), Arc::clone(member.name())))
        });
        let homes = homes.collect();
        let are_many = members.len() > FEW;
        let index = are_many.then(|| {
            let mut index = Mesh::new(Arc::clone(&mesh.settings));
            for member in &members {
                index.insert(member.clone());
            }
            index
        });
        let touched = || {
            [false, true].map(|are_lasting| {
                let changes = members.iter().map(|after| (mesh.members.get(after.name()), after));
                Touched::by(changes, mesh.index.tallies.of(are_lasting), are_lasting)
            })
        };
        let touched = are_many.then(touched);
        Self { members, homes, index, touched }
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
        let view = Self { mesh, changed, local: None, budget: None, now: None, before: None };
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

    /// The same, after a change of what `before` shows.
    #[must_use]
    pub fn following(self, before: &Self) -> Self {
        Self { before: Some((before.mesh, before.changed)), ..self }
    }

    fn before(&self) -> Option<Self> {
        self.before.map(|(mesh, changed)| Self::new(mesh, changed))
    }

    /// When it is judged; nothing where nobody tells the time.
    pub fn now(&self) -> Option<Moment> {
        self.now
    }

    /// Whether something was observed recently enough, and wholly, to deny anything.
    pub fn is_firm(&self, observation: Observation) -> bool {
        let Some(now) = self.now else { return false };
        // By a clock that is as wrong as that, it may be of any age.
        let age = now.since(observation.at).or_else(|| observation.at.since(now));
        observation.is_exact && age.is_some_and(|age| age < LONGEST_FIRM)
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

    /// On which networks members are judged anew where the local one has one of these names instead of
    /// the other: on no named one, or on those, if fewer are there. Each pair that meets or parts has
    /// one of either.
    pub fn moved(&self, names: [Option<&Network>; 2]) -> Vec<Network> {
        let networks = &self.mesh.index.networks;
        let local = self.mesh.member(&self.mesh.settings.local_member);
        let local = local.map(|local| self.mesh.raw_network(local));
        let others = |on: &Network| networks.count(on) - usize::from(local.as_ref() == Some(on));
        let names: Vec<_> = names.into_iter().flatten().cloned().collect();
        let unnamed = others(&Network::Local) < names.iter().map(others).sum();
        if unnamed { vec![Network::Local] } else { names }
    }

    /// Members, `most` of them, of which something else is to be said once a network is no longer the
    /// local one: those on it without a gateway, or all of them, if its name reads as if it were.
    pub fn left_on(&self, network: &Network, most: usize) -> Vec<MemberName> {
        let index = &self.mesh.index;
        let is_misleading =
            matches!(network, Network::Named(name) if name.eq_ignore_ascii_case(LOCAL_NETWORK));
        let names = if is_misleading { &index.networks } else { &index.flat };
        names.of(network).take(most).cloned().collect()
    }

    /// The members that state these networks.
    pub fn on_networks(&self, networks: &[Network]) -> Vec<&'a Member> {
        let standing = networks.iter().flat_map(|network| self.mesh.index.networks.of(network));
        let standing = standing.filter(|name| self.changed.find(name).is_none());
        let standing = standing.filter_map(|name| self.mesh.members.get(name));
        let is_there = |member: &&Member| networks.contains(&self.mesh.raw_network(member));
        let mut members: Vec<_> =
            standing.chain(self.changed.members.iter().filter(is_there)).collect();
        members.sort_unstable_by_key(|member| member.name());
        members
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

    /// Whether the member is merely described, and nobody states its network.
    pub fn is_described(&self, member: &Member) -> bool {
        !self.is_joined(member) && member.network_claim().is_none()
    }

    /// Whether the member is on the local network only because nobody knows its network.
    pub fn lacks_network(&self, member: &Member) -> bool {
        !self.is_local(member) && member.lacks_network()
    }

    /// Whether members join by IstioMulticlusters here, so that a gateway is the default: there are
    /// some, the cluster has the resource, or ModuleConfig `istio` enables multicluster; and no
    /// ModuleConfig `istio` turns it off. What was described while it was so is not held against
    /// whoever turns it off.
    pub fn is_joined_by_peers(&self) -> bool {
        let of_module = |wanted| {
            let mut claims = self.local().into_iter().flat_map(Member::claims);
            claims.any(|claim| claim.fact == Fact::Multicluster(wanted))
        };
        let is_peer = |member: &Member| member.claims().iter().any(|it| it.fact == Fact::Peer);
        let has_peer = || {
            let mut standing = self.mesh.index.peers.iter();
            standing.any(|name| self.changed.find(name).is_none())
                || self.changed.members.iter().any(is_peer)
        };
        self.before().is_some_and(|before| before.is_joined_by_peers())
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

    /// Whether Istio's mesh networks name a gateway for a network.
    pub fn has_gateway(&self, network: &Network) -> bool {
        matches!(network, Network::Named(_))
            && self.networks_with_gateway().any(|known| known == *network)
    }

    fn networks_with_gateway(&self) -> impl Iterator<Item = Network> + use<'a> {
        let claims = self.local.into_iter().flat_map(Member::claims);
        claims.filter_map(|claim| match &claim.fact {
            Fact::NetworkEndpoints(of) if matches!(of.from, EndpointSource::Gateway(_)) => {
                Some(Network::Named(Arc::clone(&of.network)))
            }
            _ => None,
        })
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

    fn local_network(&self) -> Option<Network> {
        match self.mesh.raw_network(self.local()?) {
            named @ Network::Named(_) => Some(named),
            _ => None,
        }
    }
}

/// The name of the network that discovery has found a member on.
fn pinned_network(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::NetworkName(name) => Some(name.as_str()),
        _ => None,
    }
}
