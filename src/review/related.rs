//! Which pending writes may change what is found wrong with a write, by themselves or together.
//!
//! It may be more than do, and is never less: whatever rules look up of other members is here.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::{HashSet, HashSetExt};

use super::Write;
use crate::ledger::Entry;
use crate::mesh::{
    Claim, Fact, Identity, MemberName, Mesh, ObjectRef, Reading, StatedDomain, by_cluster_id,
    cluster_id,
};
use crate::value::{EndpointHost, Subnet};

/// Those of the entries that may change what is found wrong with a write. What such an entry says
/// of a member may count for another one by what a third entry says of that.
pub(super) fn related<'e>(
    mesh: &Mesh,
    write: &Write<'_>,
    entries: Vec<&'e Entry<Arc<Reading>>>,
) -> Vec<&'e Entry<Arc<Reading>>> {
    let readings = write.old.iter().chain([&write.new]);
    let mut reach = Reach::of(mesh, &write.new.object, readings);
    let is_hub = !mesh.member(&mesh.settings().local_member).is_some_and(states_domain);
    // A first peer changes what counts of everybody.
    let makes_peers = !mesh.serves_peers();
    let mut others: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry, Reach::of(mesh, &entry.object, entry.reading.as_deref())))
        .collect();
    let mut related = Vec::new();
    // Whom the write is about, if what is pending is stored.
    let mut own = reach.subjects.clone();
    loop {
        let meets = |(entry, other): &mut (&Entry<_>, Reach)| {
            entry.reading.is_none() || makes_peers && other.is_peer || reach.meets(other, is_hub)
        };
        let met: Vec<_> = others.extract_if(.., meets).collect();
        if met.is_empty() {
            return related;
        }
        for (entry, other) in met {
            related.push(entry);
            if !own.is_disjoint(&other.subjects) {
                own.extend(other.subjects.iter().cloned());
                reach.says_as_well(&other);
            }
            reach.subjects.extend(other.subjects);
        }
    }
}

fn states_domain(member: &crate::mesh::Member) -> bool {
    member.domains().any(|(domain, _)| matches!(domain, StatedDomain::Exact(_)))
}

/// What a write may meet others at: the members that it is about, and what is said of them, before
/// and after it.
#[derive(Default)]
struct Reach {
    /// Whether that is the local member, which everybody is judged by.
    is_local: bool,
    /// Whether it is about a peer.
    is_peer: bool,
    subjects: HashSet<MemberName>,
    hosts: HashSet<EndpointHost>,
    identities: HashSet<Identity>,
    subnets: BTreeSet<Subnet>,
    domains: BTreeSet<StatedDomain>,
}

impl Reach {
    fn of<'r>(
        mesh: &Mesh,
        object: &ObjectRef,
        readings: impl IntoIterator<Item = &'r Reading>,
    ) -> Self {
        let (subjects, hosts, identities) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut reach = Self { subjects, hosts, identities, ..Self::default() };
        let mut found: Vec<_> = mesh.spoken_of(object).cloned().collect();
        for reading in readings {
            found.extend(reading.members().cloned());
            reading.claims().for_each(|claim| reach.take(claim, &mut found));
        }
        while let Some(name) = found.pop() {
            if !reach.subjects.insert(Arc::clone(&name)) {
                continue;
            }
            // By its cluster ID, and by the name that this is taken for.
            found.extend(cluster_id(&name).map(MemberName::from));
            found.extend(mesh.akin(&name).cloned());
            reach.is_local |= mesh.settings().is_local(&name);
            if let Some(member) = mesh.member(&name) {
                found.push(Arc::clone(member.name()));
                found.extend(member.subjects().iter().map(|it| Arc::clone(it.name())));
                member.claims().iter().for_each(|claim| reach.take(claim, &mut found));
            }
        }
        reach
    }

    /// Takes in what is said of a member, and whom that is about as well.
    fn take(&mut self, claim: &Claim, found: &mut Vec<MemberName>) {
        self.identities.extend(claim.identity());
        self.domains.extend(StatedDomain::of(&claim.fact));
        match &claim.fact {
            Fact::Peer => self.is_peer = true,
            Fact::ClusterId(id) => found.push(by_cluster_id(id)),
            Fact::Alias(name) => found.push(Arc::clone(name)),
            Fact::Endpoint(endpoint) => {
                self.hosts.insert(EndpointHost::of(endpoint));
            }
            Fact::Subnet(_, subnet) => {
                self.subnets.insert(*subnet);
            }
            _ => {}
        }
    }

    /// Takes in what is said of the same member.
    fn says_as_well(&mut self, other: &Self) {
        self.is_local |= other.is_local;
        self.hosts.extend(other.hosts.iter().cloned());
        self.identities.extend(other.identities.iter().cloned());
        self.subnets.extend(&other.subnets);
        self.domains.extend(other.domains.iter().cloned());
    }

    fn meets(&self, other: &Self, is_hub: bool) -> bool {
        // Where nobody decides the domain, the majority does, of which each has a part.
        let votes = || !self.domains.is_empty() && !other.domains.is_empty();
        let overlaps = |subnet: &Subnet| self.subnets.iter().any(|own| own.overlaps(*subnet));
        self.is_local
            || other.is_local
            || !self.subjects.is_disjoint(&other.subjects)
            || !self.hosts.is_disjoint(&other.hosts)
            || !self.identities.is_disjoint(&other.identities)
            || is_hub && votes()
            || other.subnets.iter().any(overlaps)
    }
}
