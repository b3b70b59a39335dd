//! What a cluster has shown of itself, as facts.

use crate::mesh::{Basis, Fact, Network, Observation, Role};
use crate::meshmember::{self, Observed};
use crate::value::{ClusterDomain, ClusterUuid, Subnet};

/// How many subnets of one role are taken: each is held against all others.
const MOST_SUBNETS: usize = 64;
/// The longest name of a source that is repeated, in characters.
const LONGEST_SOURCE: usize = 200;

/// A fact, with the field of a status that has it, how it was observed, and what showed it.
pub(crate) struct Shown<'o> {
    pub(crate) field: &'static str,
    pub(crate) basis: Basis,
    pub(crate) from: &'o str,
    pub(crate) fact: Fact,
}

/// The facts.
pub(crate) fn sights(observed: &Observed) -> Vec<Shown<'_>> {
    let identity = |uid: &String| ClusterUuid::try_parse(uid).ok();
    let mut sights = Sights(Vec::new());
    sights.add("uid", Some(&observed.uid), |uid| identity(uid).map(Fact::Uid));
    let shows_network = observed.network.is_some();
    sights.add("uid", Some(&observed.uid), |_| (!shows_network).then_some(Fact::NoNetwork));
    sights.add("clusterUUID", observed.cluster_uuid.as_ref(), |it| identity(it).map(Fact::Uuid));
    sights.add("clusterDomain", observed.cluster_domain.as_ref(), |domain| {
        ClusterDomain::parse(domain).ok().map(Fact::ClusterDomain)
    });
    sights.add("trustDomain", observed.trust_domain.as_ref(), |domain| {
        ClusterDomain::parse(domain).ok().map(Fact::TrustDomain)
    });
    sights.add("clusterID", observed.cluster_id.as_ref(), |id| {
        (!id.is_empty()).then(|| Fact::ClusterId(id.as_str().into()))
    });
    sights.add("network", observed.network.as_ref(), |name| {
        (!name.is_empty()).then(|| Fact::Network(Network::Named(name.as_str().into())))
    });
    let network = observed.network.as_ref().map(|network| &network.value);
    sights.add("gateways", observed.gateways.as_ref(), |gateways| {
        network.is_some_and(|network| !gateways.contains(network)).then_some(Fact::NoGateway)
    });
    for (name, role, observed) in [
        ("podSubnets", Role::Pod, &observed.pod_subnets),
        ("serviceSubnets", Role::Service, &observed.service_subnets),
    ] {
        let subnets = observed.iter().flat_map(|fact| &fact.value).take(MOST_SUBNETS);
        for subnet in subnets.filter_map(|text| Subnet::parse(text).ok()) {
            sights.add(name, observed.as_ref(), |_| Some(Fact::Subnet(role, subnet)));
        }
    }
    sights.0
}

struct Sights<'o>(Vec<Shown<'o>>);

impl<'o> Sights<'o> {
    fn add<T>(
        &mut self,
        field: &'static str,
        observed: Option<&'o meshmember::Fact<T>>,
        fact: impl FnOnce(&T) -> Option<Fact>,
    ) {
        let Some(observed) = observed else { return };
        if let Some(fact) = fact(&observed.value) {
            let observation = Observation { at: observed.at.into(), is_exact: observed.exact };
            let end = observed.from.char_indices().nth(LONGEST_SOURCE).map(|(end, _)| end);
            let from = &observed.from[..end.unwrap_or(observed.from.len())];
            self.0.push(Shown { field, basis: Basis::Observed(observation), from, fact });
        }
    }
}
