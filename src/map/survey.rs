//! What each cluster sees of its mesh, gathered into one map.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Clash, Known, Map, Net, Node};
use crate::mesh::{
    Basis, Claim, EndpointSource, Fact, Member, MemberName, Mesh, Network, ObjectRef, Origin, Role,
    View,
};
use crate::review::standing_findings;
use crate::rule::{Finding, Severity};
use crate::value::{Moment, Subnet};

/// How many members a map has at most.
const MOST_MEMBERS: usize = 2_000;
/// How many facts of each.
const MOST_FACTS: usize = 64;
/// How many clashes.
const MOST_CLASHES: usize = 5_000;

/// What the same clash has in common, from whichever side and by whichever cluster it is seen.
type Cause = (&'static str, Vec<(MemberName, String)>, Option<Subnet>);

/// What is gathered for a map, view by view.
#[derive(Default)]
pub struct Survey {
    now: Option<Moment>,
    /// The clusters that see it.
    views: BTreeSet<MemberName>,
    left_out: BTreeSet<MemberName>,
    members: BTreeMap<MemberName, Seen>,
    /// Members on one network, each with a name that stands for it.
    networks: BTreeMap<NetworkKey, BTreeSet<MemberName>>,
    gateways: BTreeMap<Arc<str>, BTreeSet<String>>,
    /// Each as it is told best: how bad it is, whether it blames a remote member, and what is wrong.
    clashes: BTreeMap<Cause, (Severity, bool, Finding)>,
}

/// What makes two members be on one network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum NetworkKey {
    Named(Arc<str>),
    /// The unnamed one of the cluster of a view.
    Of(MemberName),
}

/// A fact of a member, and the cluster in which the object is that tells it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Heard {
    what: &'static str,
    value: String,
    object: Arc<ObjectRef>,
    basis: Basis,
    view: MemberName,
}

#[derive(Default)]
struct Seen {
    is_own: bool,
    is_joined: bool,
    domains: BTreeSet<String>,
    subnets: BTreeSet<(Role, Subnet)>,
    facts: BTreeSet<Heard>,
    lists: BTreeSet<MemberName>,
}

impl Heard {
    fn known(self, has_several: bool) -> Known {
        let Self { what, value, object, basis, view } = self;
        let from = match object.origin {
            Origin::Here if has_several => {
                ObjectRef { origin: Origin::Cluster(view), ..ObjectRef::clone(&object) }.to_string()
            }
            _ => object.to_string(),
        };
        Known { what, value, from, basis }
    }
}

impl Survey {
    /// Nothing yet, seen at this time.
    pub fn at(now: Option<Moment>) -> Self {
        Self { now, ..Self::default() }
    }

    /// Takes in how a cluster sees its mesh.
    pub fn add(&mut self, mesh: &Mesh) {
        for member in mesh.members() {
            self.see(mesh, member);
        }
    }

    /// Takes in how a mesh stands with one of its members.
    pub fn see(&mut self, mesh: &Mesh, member: &Member) {
        let view = mesh.view().at(self.now);
        self.gateways_of(member);
        if !view.is_joined(member) && !member.claims().iter().any(|it| told(it).is_some()) {
            return;
        }
        if self.members.len() >= MOST_MEMBERS && !self.members.contains_key(member.name()) {
            self.left_out.insert(Arc::clone(member.name()));
            return;
        }
        self.member(&view, member);
        for (finding, severity) in standing_findings(mesh, member.name(), self.now) {
            let is_full = self.clashes.len() >= MOST_CLASHES;
            let seen = (severity, !view.is_local(member), finding);
            match self.clashes.entry(cause(&seen.2)) {
                // Of two that tell the same, the one that names what can be changed.
                Entry::Occupied(mut known) => {
                    if (seen.0, seen.1) > (known.get().0, known.get().1) {
                        known.insert(seen);
                    }
                }
                Entry::Vacant(new) if !is_full => drop(new.insert(seen)),
                Entry::Vacant(_) => {}
            }
        }
    }

    /// Takes rules as seriously as an operator says: `None` for a rule is not at all.
    pub fn grade(&mut self, severities: &BTreeMap<&'static str, Option<Severity>>) {
        self.clashes.retain(|_, (severity, _, finding)| match severities.get(finding.rule) {
            Some(None) => false,
            Some(Some(graded)) => {
                *severity = *graded;
                true
            }
            None => true,
        });
    }

    fn member(&mut self, view: &View<'_>, member: &Member) {
        let is_local = view.is_local(member);
        let local: MemberName = view.settings().local_member.as_str().into();
        if member.is_peer() && !is_local && view.local().is_some() {
            let lister = self.members.entry(Arc::clone(&local)).or_default();
            lister.lists.insert(Arc::clone(member.name()));
        }
        let network = match view.network(member) {
            Network::Named(name) => Some(NetworkKey::Named(name)),
            Network::Local => Some(match view.local().and_then(|it| view.network_name(it)) {
                Some(name) => NetworkKey::Named(name.into()),
                None => NetworkKey::Of(Arc::clone(&local)),
            }),
            Network::Own => None,
        };
        // What is known of a cluster by its own files alone tells nothing of the way to it.
        let is_foreign = |claim: &Claim| matches!(claim.place.object.origin, Origin::Cluster(_));
        let is_listed = view.is_joined(member) || !member.claims().iter().all(is_foreign);
        if let Some(network) = network.filter(|_| is_listed) {
            self.networks.entry(network).or_default().insert(Arc::clone(member.name()));
        }
        let seen = self.members.entry(Arc::clone(member.name())).or_default();
        // What a cluster's own files say of it decides.
        if is_local {
            (seen.domains, seen.subnets) = Default::default();
        }
        if is_local || !seen.is_own {
            seen.domains.extend(member.domains().map(|(domain, _)| domain.to_string()));
            seen.subnets.extend(member.subnets().map(|(role, subnet, _)| (role, subnet)));
        }
        seen.is_own |= is_local;
        seen.is_joined |= view.is_joined(member);
        for claim in member.claims() {
            let object = &claim.place.object;
            // What another cluster's objects say is heard where that cluster is the local one.
            if let Some((what, value)) = told(claim)
                && !matches!(object.origin, Origin::Cluster(_))
                && seen.facts.len() < MOST_FACTS
            {
                let (object, view) = (Arc::clone(object), Arc::clone(&local));
                let basis = claim.place.basis;
                seen.facts.insert(Heard { what, value, object, basis, view });
            }
        }
        self.views.insert(local);
    }

    fn gateways_of(&mut self, member: &Member) {
        for claim in member.claims() {
            if let Fact::NetworkEndpoints(endpoints) = &claim.fact
                && let EndpointSource::Gateway(address) = &endpoints.from
            {
                let gateways = self.gateways.entry(Arc::clone(&endpoints.network)).or_default();
                gateways.insert(address.to_string());
            }
        }
    }

    /// The map of what was gathered.
    pub fn map(self) -> Map {
        let Self { now, views, members, networks, mut gateways, clashes, left_out } = self;
        let numbers: BTreeMap<MemberName, usize> = members.keys().cloned().zip(0..).collect();
        let number = |name: &MemberName| numbers.get(name).copied();
        let mut nodes: Vec<_> = members
            .into_iter()
            .map(|(name, seen)| Node {
                lists: seen.lists.iter().filter_map(number).collect(),
                listed_by: BTreeSet::new(),
                name,
                is_own: seen.is_own,
                is_joined: seen.is_joined,
                domains: seen.domains,
                subnets: seen.subnets,
                facts: seen.facts.into_iter().map(|heard| heard.known(views.len() > 1)).collect(),
                worst: None,
            })
            .collect();
        let lists: Vec<_> = nodes.iter().map(|node| node.lists.clone()).enumerate().collect();
        for (lister, listed) in
            lists.iter().flat_map(|(at, all)| all.iter().map(move |it| (at, it)))
        {
            nodes[*listed].listed_by.insert(*lister);
        }
        let clashes = clashes.into_values().map(|(severity, _, finding)| Clash {
            rule: finding.rule,
            severity,
            members: [Some(&finding.member), finding.other.as_ref()]
                .into_iter()
                .flatten()
                .filter_map(number)
                .collect(),
            extent: finding.extent,
            place: format!("{}: {}", finding.place.object, finding.place.path()),
            message: finding.message,
            remedy: finding.remedy,
        });
        let mut clashes: Vec<_> = clashes.collect();
        clashes.sort_by(|a, b| {
            let key = |it: &Clash| (std::cmp::Reverse(it.severity), it.rule, it.members.clone());
            key(a).cmp(&key(b))
        });
        for (member, severity) in
            clashes.iter().flat_map(|it| it.members.iter().map(|at| (*at, it.severity)))
        {
            let worst = &mut nodes[member].worst;
            *worst = (*worst).max(Some(severity));
        }
        let networks = joined(nodes.len(), networks, number);
        let networks = networks.into_iter().map(|(members, named)| {
            let own = members.iter().find(|at| nodes[**at].is_own).or(members.first());
            let name = match named.first() {
                Some(name) => name.to_string(),
                None => format!("network of {}", own.map_or("", |at| &nodes[*at].name)),
            };
            let gateways =
                named.iter().filter_map(|name| gateways.remove(name)).flatten().collect();
            let is_alone = members.len() == 1 && named.is_empty();
            Net { name, gateways, members, are_apart: is_alone }
        });
        let (apart, mut networks): (Vec<_>, Vec<_>) = networks.partition(|net| net.are_apart);
        networks.sort_by(|a, b| (b.members.len(), &a.name).cmp(&(a.members.len(), &b.name)));
        if !apart.is_empty() {
            let mut members: Vec<_> = apart.into_iter().flat_map(|net| net.members).collect();
            members.sort_unstable();
            let name = match members.as_slice() {
                [one] => format!("a network of its own: {}", nodes[*one].name),
                _ => "each on a network of its own".to_owned(),
            };
            networks.push(Net { name, gateways: BTreeSet::new(), members, are_apart: true });
        }
        Map { now, members: nodes, networks, clashes, left_out: left_out.len() }
    }
}

/// Members that are on one network, and the names that it has.
type Group = (Vec<usize>, BTreeSet<Arc<str>>);

/// The members that are on one network, each once, with the names that the network has.
fn joined(
    members: usize,
    networks: BTreeMap<NetworkKey, BTreeSet<MemberName>>,
    number: impl Fn(&MemberName) -> Option<usize>,
) -> Vec<Group> {
    let mut groups: Vec<Option<Group>> =
        (0..members).map(|at| Some((vec![at], BTreeSet::new()))).collect();
    let mut homes: Vec<usize> = (0..members).collect();
    for (key, names) in networks {
        let mut on: BTreeSet<_> = names.iter().filter_map(&number).map(|at| homes[at]).collect();
        let Some(home) = on.pop_first() else { continue };
        for other in on {
            let Some((members, named)) = groups[other].take() else { continue };
            for member in &members {
                homes[*member] = home;
            }
            if let Some(group) = &mut groups[home] {
                group.0.extend(members);
                group.1.extend(named);
            }
        }
        if let (NetworkKey::Named(name), Some(group)) = (key, &mut groups[home]) {
            group.1.insert(name);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().flatten().collect();
    for (members, _) in &mut groups {
        members.sort_unstable();
    }
    groups
}

fn cause(finding: &Finding) -> Cause {
    let sides = match finding.sides() {
        Some(sides) => sides.map(|(name, value)| (Arc::clone(name), value.to_owned())).into(),
        None => vec![(Arc::clone(&finding.member), finding.message.clone())],
    };
    (finding.rule, sides, finding.extent)
}

/// A fact in words, if it is one that describes a member.
fn told(claim: &Claim) -> Option<(&'static str, String)> {
    Some(match &claim.fact {
        Fact::ClusterDomain(domain) => ("cluster domain", domain.to_string()),
        Fact::Subnet(Role::Pod, subnet) => ("pod subnet", subnet.to_string()),
        Fact::Subnet(Role::Service, subnet) => ("service subnet", subnet.to_string()),
        Fact::Network(Network::Named(name)) => ("network", name.to_string()),
        Fact::Network(Network::Own) => ("network", "behind a gateway".to_owned()),
        Fact::Network(Network::Local) => ("network", "reached directly".to_owned()),
        Fact::NetworkName(name) => ("network name", name.as_str().to_owned()),
        Fact::Endpoint(endpoint) => ("metadata endpoint", endpoint.to_string()),
        Fact::Uuid(uuid) => ("cluster UUID", uuid.to_string()),
        Fact::Uid(uid) => ("UID of kube-system", uid.to_string()),
        Fact::ClusterId(id) => ("cluster ID", id.to_string()),
        Fact::TrustDomain(domain) => ("trust domain", domain.to_string()),
        Fact::PublicDomain(template) => ("public domain template", template.to_string()),
        Fact::Expires(moment) => ("credentials end", moment.to_string()),
        Fact::Peer => ("joined by", "an IstioMulticluster".to_owned()),
        Fact::Remote => ("joined by", "a descriptor".to_owned()),
        Fact::RemoteSecret(_) => ("joined by", "a remote Secret".to_owned()),
        _ => return None,
    })
}
