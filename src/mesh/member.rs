//! One member: everything that documents say of one cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::claim::{Claim, Fact, MemberName, Network, Role};
use super::domain::StatedDomain;
use super::origin::{Basis, Configuration, ObjectRef};
use crate::value::Subnet;

/// An object, and what it says of one member.
pub(super) type Said = (Arc<ObjectRef>, Vec<Claim>);

/// One cluster of the mesh, as all documents together describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    name: MemberName,
    /// By object, then in the order of the document: the same whatever came first.
    claims: Vec<Claim>,
    /// Which of them are the subnets in force. Rules ask for these of every member that a judged
    /// one may clash with, and a member may have thousands of other claims.
    subnets: Box<[u32]>,
    /// Which of them states the network.
    network: Option<u32>,
    /// What it is made up of, if that is not one subject of its name.
    subjects: Box<[Self]>,
}

impl Member {
    /// A member of which nothing is said yet.
    pub fn new(name: MemberName) -> Self {
        let (claims, subnets) = (Vec::new(), Box::default());
        Self { name, claims, subnets, network: None, subjects: Box::default() }
    }

    /// A member that is made up of these subjects.
    pub(super) fn of_subjects(name: MemberName, mut subjects: Vec<Self>) -> Self {
        if let [subject] = &*subjects
            && subject.name == name
        {
            return subjects.remove(0);
        }
        let mut member = Self::new(name);
        member.claims = subjects.iter().flat_map(|subject| &subject.claims).cloned().collect();
        member.claims.sort_by(|a, b| a.place.object.cmp(&b.place.object));
        member.index();
        Self { subjects: subjects.into(), ..member }
    }

    /// The member's name.
    pub fn name(&self) -> &MemberName {
        &self.name
    }

    /// Whom documents speak of when they speak of it: of a member by its name, or by its cluster ID.
    pub fn subjects(&self) -> &[Self] {
        if self.subjects.is_empty() { std::slice::from_ref(self) } else { &self.subjects }
    }

    /// All that is said of it, what is not in force included.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Whether nothing is said of it.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// What one object says of it.
    pub fn said_by(&self, object: &ObjectRef) -> &[Claim] {
        &self.claims[self.range(object)]
    }

    /// Replaces what one object says of this member; nothing said means the object is forgotten.
    pub fn replace(&mut self, object: &ObjectRef, claims: Vec<Claim>) {
        let range = self.range(object);
        if range.len() == self.claims.len() {
            self.claims = claims;
        } else {
            self.claims.splice(range, claims);
        }
        self.index();
    }

    /// All that is said of it, to be put in another form that says the same.
    pub(super) fn claims_mut(&mut self) -> &mut [Claim] {
        &mut self.claims
    }

    /// Replaces what many objects say; of one that comes twice, the last one counts.
    pub(super) fn replace_all(&mut self, mut said: Vec<Said>) {
        if said.len() == 1
            && let Some((object, mut claims)) = said.pop()
        {
            claims.shrink_to_fit();
            return self.replace(&object, claims);
        }
        let said: BTreeMap<_, _> = said.into_iter().collect();
        self.claims.retain(|claim| !said.contains_key(&claim.place.object));
        self.claims.reserve_exact(said.values().map(Vec::len).sum());
        self.claims.extend(said.into_values().flatten());
        self.claims.sort_by(|a, b| a.place.object.cmp(&b.place.object));
        self.index();
    }

    /// Where the claims of an object are, or would be.
    fn range(&self, object: &ObjectRef) -> Range<usize> {
        let from = self.claims.partition_point(|claim| *claim.place.object < *object);
        let said = self.claims[from..].partition_point(|claim| *claim.place.object == *object);
        from..from + said
    }

    fn index(&mut self) {
        let force = self.force();
        let is_subnet =
            |claim: &Claim| matches!(claim.fact, Fact::Subnet(..)) && is_in_force(claim, &force);
        let numbered = || (0..).zip(&self.claims);
        let subnets = numbered().filter(|(_, claim)| is_subnet(claim)).map(|(at, _)| at).collect();
        let networks = numbered().filter_map(|(at, claim)| match &claim.fact {
            Fact::Network(network) if is_in_force(claim, &force) => {
                Some((network_strength(network, claim.place.basis), at))
            }
            _ => None,
        });
        let network = networks.min().map(|(_, at)| at);
        (self.subnets, self.network) = (subnets, network);
    }

    /// On what basis each aspect is stated that decides, if only that does.
    fn force(&self) -> Force {
        let mut force = Force { is_observed: self.is_joined(), ..Force::default() };
        for claim in &self.claims {
            let Some(aspect) = aspect(&claim.fact) else { continue };
            if let Basis::Own(of) = claim.place.basis {
                let own = &mut force.own[aspect];
                *own = Some(own.map_or(of, |strongest| strongest.min(of)));
            }
            if matches!(claim.place.basis, Basis::Own(_) | Basis::Stated) {
                force.is_observed = true;
                force.has_stated_domain |= aspect == DOMAIN;
            }
        }
        force.over = self.over();
        force
    }

    /// The objects that tell of another cluster of the name than the one that was observed last.
    fn over(&self) -> Vec<Arc<ObjectRef>> {
        let seen = |claim: &Claim| match claim.fact {
            Fact::Uid(uid) => Some((claim.place.observation()?.at, uid)),
            _ => None,
        };
        let Some((_, last)) = self.claims.iter().filter_map(seen).max() else { return Vec::new() };
        let others = self.claims.iter().filter(|it| seen(it).is_some_and(|(_, uid)| uid != last));
        others.map(|claim| Arc::clone(&claim.place.object)).collect()
    }

    /// The claims in force: where the member's own configuration states something, nobody else's
    /// statement counts, and of several configurations the strongest.
    pub fn in_force(&self) -> impl Iterator<Item = &Claim> {
        let force = self.force();
        self.claims.iter().filter(move |claim| is_in_force(claim, &force))
    }

    /// The cluster domains in force, with the claims that state them.
    pub fn domains(&self) -> impl Iterator<Item = (StatedDomain, &Claim)> {
        self.in_force().filter_map(|claim| Some((StatedDomain::of(&claim.fact)?, claim)))
    }

    /// The same without the claims, each once, maybe without what only objects state that are being
    /// deleted.
    pub(super) fn stated_domains(&self, are_lasting: bool) -> BTreeSet<StatedDomain> {
        let is_ending = |claim: &&Claim| claim.fact == Fact::Terminating;
        let ending = self.claims.iter().filter(|_| are_lasting).filter(is_ending);
        let ending: BTreeSet<_> = ending.map(|claim| &claim.place.object).collect();
        let stated = self.domains().filter(|(_, claim)| !ending.contains(&claim.place.object));
        stated.map(|(domain, _)| domain).collect()
    }

    /// Whether a document joins it to the mesh, apart from being the local member. Otherwise it is
    /// merely described.
    pub fn is_joined(&self) -> bool {
        let joins = |fact: &Fact| {
            matches!(fact, Fact::Peer | Fact::Remote | Fact::RemoteSecret(_) | Fact::Configured)
        };
        self.claims.iter().any(|claim| joins(&claim.fact))
    }

    /// Whether it is joined as a peer, and not by its configuration alone.
    pub fn is_peer(&self) -> bool {
        self.claims
            .iter()
            .any(|claim| matches!(claim.fact, Fact::Peer | Fact::Remote | Fact::RemoteSecret(_)))
    }

    /// Whether all that is known of its subnets was observed in it.
    pub fn is_only_observed(&self) -> bool {
        self.subnets().all(|(_, _, claim)| claim.place.observation().is_some())
    }

    /// The subnets in force, with the claims that state them.
    pub fn subnets(&self) -> impl Iterator<Item = (Role, Subnet, &Claim)> {
        let stated = self.subnets.iter().map(|at| &self.claims[*at as usize]);
        stated.filter_map(|claim| match claim.fact {
            Fact::Subnet(role, subnet) => Some((role, subnet, claim)),
            _ => None,
        })
    }

    /// The claim that states the member's network: an annotation beats `enableIngressGateway`.
    pub fn network_claim(&self) -> Option<(&Network, &Claim)> {
        let claim = &self.claims[self.network? as usize];
        match &claim.fact {
            Fact::Network(network) => Some((network, claim)),
            _ => None,
        }
    }

    /// Whether it does without a gateway, whatever network is stated.
    pub fn is_flat(&self) -> bool {
        self.claims.iter().any(|claim| claim.fact == Fact::Network(Network::Local))
    }

    /// Whether its network is known only by having been observed, and no gateway was for it.
    pub fn lacks_gateway(&self) -> bool {
        let is_observed = |(_, claim): (_, &Claim)| claim.place.observation().is_some();
        self.network_claim().is_some_and(is_observed)
            && self.claims.iter().any(|claim| claim.fact == Fact::NoGateway)
    }

    /// Whether nobody states its network, and its cluster did not show any when it was seen last.
    pub fn lacks_network(&self) -> bool {
        let seen = |claim: &Claim| match claim.fact {
            Fact::Uid(_) => Some((claim.place.observation()?.at, Arc::clone(&claim.place.object))),
            _ => None,
        };
        let showed_none =
            |object: &ObjectRef| self.said_by(object).iter().any(|it| it.fact == Fact::NoNetwork);
        self.network.is_none()
            && self.claims.iter().filter_map(seen).max().is_some_and(|(_, last)| showed_none(&last))
    }

    /// The IDs that documents say the cluster has in Istio.
    pub fn cluster_ids(&self) -> impl Iterator<Item = (&str, &Claim)> {
        self.pick(|fact| match fact {
            Fact::ClusterId(id) => Some(&**id),
            Fact::RemoteSecret(secret) => Some(&*secret.key),
            _ => None,
        })
    }

    /// The claims whose fact `pick` takes.
    pub fn pick<'a, T: 'a>(
        &'a self,
        pick: impl Fn(&'a Fact) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (T, &'a Claim)> {
        self.claims.iter().filter_map(move |claim| Some((pick(&claim.fact)?, claim)))
    }
}

/// What decides which claims of a member count.
#[derive(Default)]
struct Force {
    /// For each aspect the strongest of the member's own configurations that state it.
    own: [Option<Configuration>; ASPECTS],
    /// Whether what was observed counts: of a member that nobody states or joins it is a mere trace.
    is_observed: bool,
    /// The objects of which nothing counts that was observed; nearly always none.
    over: Vec<Arc<ObjectRef>>,
    /// Whether its domain is stated, so that another one that was observed is a conflict and no more.
    has_stated_domain: bool,
}

fn is_in_force(claim: &Claim, force: &Force) -> bool {
    let aspect = aspect(&claim.fact);
    let decides = aspect.and_then(|aspect| force.own[aspect]);
    let is_beaten = |_| {
        !force.is_observed
            || aspect == Some(DOMAIN) && force.has_stated_domain
            || force.over.contains(&claim.place.object)
    };
    decides.is_none_or(|decides| claim.place.basis == Basis::Own(decides))
        && !claim.place.observation().is_some_and(is_beaten)
}

/// How strongly a claim states the network, the strongest first: an annotation, a gateway, what was
/// observed; of those, the member's own configuration.
fn network_strength(network: &Network, basis: Basis) -> (u8, Basis) {
    let strength = match (network, basis) {
        (_, Basis::Observed(_) | Basis::Discovered) => 2,
        (Network::Named(_), _) => 0,
        _ => 1,
    };
    (strength, basis)
}

/// How many aspects of a member its own configuration decides.
const ASPECTS: usize = 4;
/// That of the cluster domain.
const DOMAIN: usize = 3;

/// Which of them a fact is about.
fn aspect(fact: &Fact) -> Option<usize> {
    match fact {
        Fact::Subnet(Role::Pod, _) => Some(0),
        Fact::Subnet(Role::Service, _) => Some(1),
        Fact::NodePrefix(_) => Some(2),
        Fact::ClusterDomain(_) | Fact::NetworkName(_) => Some(DOMAIN),
        _ => None,
    }
}
