//! One member: everything that documents say of one cluster.

use super::claim::{Claim, Fact, MemberName, Network, ObjectRef, Role};
use crate::value::Subnet;

/// The kind whose subnets replace those of the ClusterConfigurations, as Deckhouse reads them.
const SUPERSEDING_KIND: &str = "ModuleConfig";

/// One cluster of the mesh, as all documents together describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    name: MemberName,
    /// By object, then in the order of the document: the same whatever came first.
    claims: Vec<Claim>,
}

impl Member {
    /// A member of which nothing is said yet.
    pub fn new(name: MemberName) -> Self {
        Self { name, claims: Vec::new() }
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
        if !self.claims.iter().any(is_stranger) {
            self.claims = claims;
            return;
        }
        self.claims.retain(is_stranger);
        let at = self.claims.partition_point(|claim| *claim.place.object < *object);
        self.claims.splice(at..at, claims);
    }

    /// The claims in force: of subnets and node prefixes, a ModuleConfig's replace all others.
    pub fn in_force(&self) -> impl Iterator<Item = &Claim> {
        let superseding = self.claims.iter().filter(|claim| is_superseding(claim));
        let mut superseded = [false; ASPECTS];
        for aspect in superseding.filter_map(|claim| aspect(&claim.fact)) {
            superseded[aspect] = true;
        }
        self.claims.iter().filter(move |claim| {
            is_superseding(claim) || !aspect(&claim.fact).is_some_and(|aspect| superseded[aspect])
        })
    }

    /// The subnets in force, with the claims that state them.
    pub fn subnets(&self) -> impl Iterator<Item = (Role, Subnet, &Claim)> {
        self.in_force().filter_map(|claim| match claim.fact {
            Fact::Subnet(role, subnet) => Some((role, subnet, claim)),
            _ => None,
        })
    }

    /// The claim that states the member's network: an annotation beats `enableIngressGateway`.
    pub fn network_claim(&self) -> Option<(&Network, &Claim)> {
        let mut stated = self.claims.iter().filter_map(|claim| match &claim.fact {
            Fact::Network(network) => Some((network, claim)),
            _ => None,
        });
        stated
            .clone()
            .find(|(network, _)| matches!(network, Network::Named(_)))
            .or_else(|| stated.next())
    }

    /// The claims whose fact `pick` takes.
    pub fn pick<'a, T: 'a>(
        &'a self,
        pick: impl Fn(&'a Fact) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (T, &'a Claim)> {
        self.claims.iter().filter_map(move |claim| Some((pick(&claim.fact)?, claim)))
    }
}

fn is_superseding(claim: &Claim) -> bool {
    claim.place.object.kind == SUPERSEDING_KIND
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
