//! One member: everything that documents say of one cluster.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::claim::{Claim, Fact, MemberName, Network, Role};
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
}

impl Member {
    /// A member of which nothing is said yet.
    pub fn new(name: MemberName) -> Self {
        Self { name, claims: Vec::new(), subnets: Box::default(), network: None }
    }

    /// The member's name.
    pub fn name(&self) -> &MemberName {
        &self.name
    }

    /// All that is said of it, what a ModuleConfig supersedes included.
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

    /// Forgets what these objects say of this member.
    pub fn forget(&mut self, is_forgotten: impl Fn(&ObjectRef) -> bool) {
        let known = self.claims.len();
        self.claims.retain(|claim| !is_forgotten(&claim.place.object));
        if self.claims.len() != known {
            self.index();
        }
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
        let superseded = self.superseded();
        let is_subnet = |claim: &Claim| {
            matches!(claim.fact, Fact::Subnet(..)) && is_in_force(claim, superseded)
        };
        let numbered = || (0..).zip(&self.claims);
        let subnets = numbered().filter(|(_, claim)| is_subnet(claim)).map(|(at, _)| at).collect();
        let networks = numbered().filter_map(|(at, claim)| match &claim.fact {
            Fact::Network(network) => Some((at, network)),
            _ => None,
        });
        let named = networks.clone().find(|(_, network)| matches!(network, Network::Named(_)));
        let network = named.or_else(|| networks.clone().next()).map(|(at, _)| at);
        (self.subnets, self.network) = (subnets, network);
    }

    /// Which aspects a ModuleConfig states in place of all others.
    fn superseded(&self) -> [bool; ASPECTS] {
        let superseding = self.claims.iter().filter(|claim| is_superseding(claim));
        let mut superseded = [false; ASPECTS];
        for aspect in superseding.filter_map(|claim| aspect(&claim.fact)) {
            superseded[aspect] = true;
        }
        superseded
    }

    /// The claims in force: of subnets and node prefixes, a ModuleConfig's replace all others.
    pub fn in_force(&self) -> impl Iterator<Item = &Claim> {
        let superseded = self.superseded();
        self.claims.iter().filter(move |claim| is_in_force(claim, superseded))
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

    /// The claims whose fact `pick` takes.
    pub fn pick<'a, T: 'a>(
        &'a self,
        pick: impl Fn(&'a Fact) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (T, &'a Claim)> {
        self.claims.iter().filter_map(move |claim| Some((pick(&claim.fact)?, claim)))
    }
}

fn is_in_force(claim: &Claim, superseded: [bool; ASPECTS]) -> bool {
    is_superseding(claim) || !aspect(&claim.fact).is_some_and(|aspect| superseded[aspect])
}

fn is_superseding(claim: &Claim) -> bool {
    claim.place.basis == Basis::Own(Configuration::ModuleConfig)
}

/// How many aspects of a member a ModuleConfig can replace.
const ASPECTS: usize = 3;

/// Which of them a fact is about.
fn aspect(fact: &Fact) -> Option<usize> {
    match fact {
        Fact::Subnet(Role::Pod, _) => Some(0),
        Fact::Subnet(Role::Service, _) => Some(1),
        Fact::NodePrefix(_) => Some(2),
        _ => None,
    }
}
