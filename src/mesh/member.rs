//! One member: everything that documents say of one cluster.

use super::claim::{Claim, Fact, MemberName, Network, Role};
use super::origin::{Basis, Configuration, ObjectRef};
use crate::value::Subnet;

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

    /// Replaces what one object says of this member; nothing said means the object is forgotten.
    pub fn replace(&mut self, object: &ObjectRef, claims: Vec<Claim>) {
        let is_stranger = |claim: &Claim| *claim.place.object != *object;
        if self.claims.iter().any(is_stranger) {
            self.claims.retain(is_stranger);
            let at = self.claims.partition_point(|claim| *claim.place.object < *object);
            self.claims.splice(at..at, claims);
        } else {
            self.claims = claims;
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
