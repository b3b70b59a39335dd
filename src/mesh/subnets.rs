//! Who claims which addresses: overlap by prefix trie, free space by merged ranges.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::claim::{MemberName, Network};
use super::few::Few;
use crate::value::Subnet;

/// A member that claims a subnet, and the network it does so on. Ordered by network first, so
/// that the members of one network are one range even where thousands claim the same subnet.
pub(super) type Claimant = (Network, MemberName);

/// Subnets and their claimants.
#[derive(Default)]
pub(super) struct Subnets {
    v4: PrefixMap<Ipv4Net, Few<Claimant>>,
    v6: PrefixMap<Ipv6Net, Few<Claimant>>,
    taken_v4: Ranges,
    taken_v6: Ranges,
}

impl Subnets {
    pub(super) fn insert(&mut self, subnet: Subnet, claimant: Claimant) {
        let claimants = match subnet.net() {
            IpNet::V4(net) => self.v4.get_mut(&net),
            IpNet::V6(net) => self.v6.get_mut(&net),
        };
        if let Some(claimants) = claimants {
            claimants.insert(claimant);
            return;
        }
        match subnet.net() {
            IpNet::V4(net) => drop(self.v4.insert(net, Few::One(claimant))),
            IpNet::V6(net) => drop(self.v6.insert(net, Few::One(claimant))),
        }
        self.taken_mut(subnet).insert(subnet.bounds());
    }

    pub(super) fn remove(&mut self, subnet: Subnet, claimant: &Claimant) {
        let claimants = match subnet.net() {
            IpNet::V4(net) => self.v4.get_mut(&net),
            IpNet::V6(net) => self.v6.get_mut(&net),
        };
        if !claimants.is_some_and(|claimants| claimants.remove(claimant)) {
            return;
        }
        match subnet.net() {
            IpNet::V4(net) => drop(self.v4.remove(&net)),
            IpNet::V6(net) => drop(self.v6.remove(&net)),
        }
        let (covered, inner) = match subnet.net() {
            IpNet::V4(net) => (self.v4.get_lpm(&net).is_some(), bounds_within(&self.v4, &net)),
            IpNet::V6(net) => (self.v6.get_lpm(&net).is_some(), bounds_within(&self.v6, &net)),
        };
        if !covered {
            let taken = self.taken_mut(subnet);
            taken.remove(subnet.bounds());
            for bounds in inner {
                taken.insert(bounds);
            }
        }
    }

    /// The claimants of every subnet that shares addresses with this one, `within` a network, or
    /// within any; the same one may come more than once.
    pub(super) fn overlapping<'a>(
        &'a self,
        subnet: Subnet,
        within: Option<&'a Network>,
    ) -> impl Iterator<Item = &'a Claimant> + 'a {
        let (v4, v6) = match subnet.net() {
            IpNet::V4(net) => (Some(overlapping(&self.v4, net)), None),
            IpNet::V6(net) => (None, Some(overlapping(&self.v6, net))),
        };
        let all = v4.into_iter().flatten().chain(v6.into_iter().flatten());
        all.flat_map(move |claimants| on(claimants, within))
    }

    /// Whether anyone claims addresses of this subnet.
    pub(super) fn is_claimed(&self, subnet: Subnet) -> bool {
        match subnet.net() {
            IpNet::V4(net) => is_claimed(&self.v4, &net),
            IpNet::V6(net) => is_claimed(&self.v6, &net),
        }
    }

    /// The first range of this subnet's size above it that nobody claims, searched once round its
    /// private range.
    pub(super) fn next_free(&self, subnet: Subnet) -> Option<Subnet> {
        let (first, last) = subnet.private_range().bounds();
        let (own_first, own_last) = subnet.bounds();
        let size = own_last - own_first;
        if last - first < size {
            return None;
        }
        let taken = if subnet.is_ipv4() { &self.taken_v4 } else { &self.taken_v6 };
        let above = (first..=last).contains(&own_last).then(|| own_last.checked_add(1)).flatten();
        let start = above.filter(|start| *start <= last).unwrap_or(first);
        taken
            .gap(start, last, size)
            .or_else(|| taken.gap(first, last, size))
            .and_then(|free| subnet.sibling_at(free))
    }

    fn taken_mut(&mut self, subnet: Subnet) -> &mut Ranges {
        if subnet.is_ipv4() { &mut self.taken_v4 } else { &mut self.taken_v6 }
    }
}

/// The claimants on one network, or all.
fn on<'a>(
    claimants: &'a Few<Claimant>,
    within: Option<&'a Network>,
) -> impl Iterator<Item = &'a Claimant> + 'a {
    let from = within.map(|network| (network.clone(), MemberName::default()));
    let on = move |(at, _): &&Claimant| within.is_none_or(|network| at == network);
    claimants.from(from.as_ref()).take_while(on)
}

fn overlapping<'a, P>(
    trie: &'a PrefixMap<P, Few<Claimant>>,
    net: P,
) -> impl Iterator<Item = &'a Few<Claimant>> + 'a
where
    P: prefix_trie::Prefix + Copy + PartialEq + 'a,
{
    let above = trie.cover(&net).filter(move |(prefix, _)| *prefix != net).map(|(_, c)| c);
    above.chain(trie.children(&net).map(|(_, claimants)| claimants))
}

fn is_claimed<P: prefix_trie::Prefix>(trie: &PrefixMap<P, Few<Claimant>>, net: &P) -> bool {
    trie.get_lpm(net).is_some() || trie.children(net).next().is_some()
}

fn bounds_within<P>(trie: &PrefixMap<P, Few<Claimant>>, net: &P) -> Vec<(u128, u128)>
where
    P: prefix_trie::Prefix,
    IpNet: From<P>,
{
    trie.children(net).map(|(prefix, _)| Subnet::from_net(prefix.into()).bounds()).collect()
}

/// Addresses that are taken: first to last of each run, runs apart by at least one free address.
#[derive(Default)]
struct Ranges(BTreeMap<u128, u128>);

impl Ranges {
    fn insert(&mut self, (mut first, mut last): (u128, u128)) {
        if let Some((&start, &end)) = self.0.range(..=first).next_back() {
            if end >= last {
                return;
            }
            if end.saturating_add(1) >= first {
                first = start;
            }
        }
        while let Some((&start, &end)) = self.0.range(first..=last.saturating_add(1)).next() {
            last = last.max(end);
            self.0.remove(&start);
        }
        self.0.insert(first, last);
    }

    fn remove(&mut self, (first, last): (u128, u128)) {
        let Some((&start, &end)) = self.0.range(..=first).next_back() else { return };
        if end < last {
            return;
        }
        self.0.remove(&start);
        if start < first {
            self.0.insert(start, first - 1);
        }
        if last < end {
            self.0.insert(last + 1, end);
        }
    }

    /// The first aligned start in `from..=to` of a free range of `size` + 1 addresses.
    fn gap(&self, from: u128, to: u128, size: u128) -> Option<u128> {
        let mut start = from;
        loop {
            start = start.checked_add(size)? & !size;
            let end = start.checked_add(size).filter(|end| *end <= to)?;
            match self.0.range(..=end).next_back() {
                Some((_, &taken)) if taken >= start => start = taken.checked_add(1)?,
                _ => return Some(start),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    fn claimed(texts: &[&str]) -> Subnets {
        let mut subnets = Subnets::default();
        for text in texts {
            subnets.insert(subnet(text), (Network::Local, (*text).into()));
        }
        subnets
    }

    #[test]
    fn the_next_free_subnet_is_above_and_wraps() {
        const CASES: &[(&[&str], &str, Option<&str>)] = &[
            (&["10.111.0.0/16"], "10.111.0.0/16", Some("10.112.0.0/16")),
            (&["10.111.0.0/16", "10.112.0.0/15"], "10.111.0.0/16", Some("10.114.0.0/16")),
            (&["10.111.0.0/16", "10.112.3.0/24"], "10.111.0.0/16", Some("10.113.0.0/16")),
            (&["10.255.0.0/16"], "10.255.0.0/16", Some("10.0.0.0/16")),
            (&["10.255.0.0/16", "10.0.0.0/9"], "10.255.0.0/16", Some("10.128.0.0/16")),
            (&["10.0.0.0/8"], "10.111.0.0/16", None),
            (&["10.0.0.0/8"], "10.0.0.0/8", None),
            (&["192.168.0.0/24"], "192.168.0.0/24", Some("192.168.1.0/24")),
            (&["198.51.100.0/24"], "198.51.100.0/24", Some("10.0.0.0/24")),
            (&["fd00:10:111::/48"], "fd00:10:111::/48", Some("fd00:10:112::/48")),
        ];
        for (taken, of, expected) in CASES {
            let free = claimed(taken).next_free(subnet(of)).map(|free| free.to_string());
            assert_eq!(free.as_deref(), *expected, "{taken:?} {of}");
        }
    }

    #[test]
    fn a_removed_subnet_is_free_but_for_what_others_claim_of_it() {
        let mut subnets = claimed(&["10.0.0.0/8", "10.2.0.0/16"]);
        subnets.remove(subnet("10.0.0.0/8"), &(Network::Local, "10.0.0.0/8".into()));
        assert_eq!(subnets.next_free(subnet("10.1.0.0/16")), Some(subnet("10.3.0.0/16")));
        assert_eq!(subnets.overlapping(subnet("10.1.0.0/16"), None).count(), 0);
        assert_eq!(subnets.overlapping(subnet("10.2.3.0/24"), None).count(), 1);
    }

    #[test]
    fn overlap_is_found_up_and_down_and_by_network() {
        let mut subnets = claimed(&["10.0.0.0/8", "10.2.0.0/16", "10.2.3.0/24", "10.3.0.0/16"]);
        subnets.insert(subnet("10.2.0.0/16"), (Network::Own, "own".into()));
        let names = |text: &str, within| {
            let found = subnets.overlapping(subnet(text), within).map(|(_, name)| name.to_string());
            found.collect::<BTreeSet<_>>()
        };
        assert_eq!(names("10.2.0.0/16", Some(&Network::Local)).len(), 3);
        assert_eq!(names("10.2.0.0/16", Some(&Network::Own)), BTreeSet::from(["own".to_owned()]));
        assert_eq!(names("10.2.0.0/16", None).len(), 4);
    }
}
