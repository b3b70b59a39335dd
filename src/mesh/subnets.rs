//! Who claims which addresses: overlap by ordered map, free space by merged ranges.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::claim::{MemberName, Network};
use super::small_set::SmallSet;
use crate::value::Subnet;

/// A member that claims a subnet, and where it does so. Ordered by network first, so that the members
/// of one network are one range even where thousands claim the same subnet.
pub(super) type Claimant = (Spot, MemberName);

/// Where a subnet is claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The network.
    pub(super) network: Network,
    /// Whether nobody states its network, and it is merely described or does not show any.
    pub(super) is_uncertain: bool,
}

impl Spot {
    fn of(network: Network, is_uncertain: bool) -> Self {
        Self { network, is_uncertain }
    }

    /// The first one on another network, if any comes after this.
    fn beyond(network: &Network) -> Option<Self> {
        let next = match network {
            Network::Local => Network::Named("".into()),
            Network::Named(name) => Network::Named(format!("{name}\0").into()),
            Network::Own => return None,
        };
        Some(Self::of(next, false))
    }
}

/// Some of the claimants of a subnet: runs of them, from the first to before the last.
#[derive(Clone)]
pub(super) struct Spots(Vec<(Option<Claimant>, Option<Claimant>)>);

impl Spots {
    /// Wherever it is claimed.
    pub(super) fn all() -> Self {
        Self(vec![(None, None)])
    }

    /// On one of these networks, by members of which that is uncertain or by the others.
    pub(super) fn on(networks: &[Network], is_uncertain: bool) -> Self {
        let run = |network: &Network| {
            let from = Spot::of(network.clone(), is_uncertain);
            let to = if is_uncertain {
                Spot::beyond(network)
            } else {
                Some(Spot::of(network.clone(), true))
            };
            (first(Some(from)), first(to))
        };
        Self(networks.iter().map(run).collect())
    }

    /// On none of these networks, which are in order.
    pub(super) fn off(networks: &[Network]) -> Self {
        let from = networks.iter().map(|network| first(Spot::beyond(network)));
        let to = networks.iter().map(|network| first(Some(Spot::of(network.clone(), false))));
        Self(std::iter::once(None).chain(from).zip(to.chain([None])).collect())
    }

    fn of<'a>(
        &self,
        claimants: &'a SmallSet<Claimant>,
    ) -> impl Iterator<Item = &'a Claimant> + use<'a> {
        let runs = self.0.iter().map(|(from, to)| {
            let from = from.as_ref().map_or(Bound::Unbounded, Bound::Included);
            claimants.range((from, to.as_ref().map_or(Bound::Unbounded, Bound::Excluded)))
        });
        runs.collect::<Vec<_>>().into_iter().flatten()
    }
}

/// What all claimants there come after.
fn first(spot: Option<Spot>) -> Option<Claimant> {
    spot.map(|spot| (spot, MemberName::default()))
}

/// Subnets and their claimants.
#[derive(Default)]
pub(super) struct Subnets {
    /// In order, a subnet is followed by all that lie within it, for CIDRs nest or are disjoint.
    claimed: BTreeMap<Subnet, SmallSet<Claimant>>,
    /// How many subnets of each length are claimed, of IPv6 (`false`) and IPv4: those that hold a
    /// subnet are looked up length by length, and few lengths are in use.
    lengths: BTreeMap<(bool, u8), usize>,
    taken_v4: Ranges,
    taken_v6: Ranges,
}

impl Subnets {
    pub(super) fn insert(&mut self, subnet: Subnet, claimant: Claimant) {
        match self.claimed.entry(subnet) {
            Entry::Occupied(mut claimants) => claimants.get_mut().insert(claimant),
            Entry::Vacant(free) => {
                free.insert(SmallSet::One(claimant));
                *self.lengths.entry(length(subnet)).or_default() += 1;
                self.taken_mut(subnet).insert(subnet.bounds());
            }
        }
    }

    pub(super) fn remove(&mut self, subnet: Subnet, claimant: &Claimant) {
        let Entry::Occupied(mut claimants) = self.claimed.entry(subnet) else { return };
        if !claimants.get_mut().remove(claimant) {
            return;
        }
        claimants.remove();
        if let Entry::Occupied(mut count) = self.lengths.entry(length(subnet)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if self.around(subnet).next().is_none() {
            let inner: Vec<_> = self.within(subnet).map(|(inner, _)| inner.bounds()).collect();
            let taken = self.taken_mut(subnet);
            taken.remove(subnet.bounds());
            for bounds in inner {
                taken.insert(bounds);
            }
        }
    }

    /// The claimants there of every subnet that shares addresses with this one; the same one may come
    /// more than once.
    pub(super) fn overlapping(
        &self,
        subnet: Subnet,
        spots: Spots,
    ) -> impl Iterator<Item = &Claimant> {
        let all = self.around(subnet).chain(self.within(subnet).map(|(_, claimants)| claimants));
        all.flat_map(move |claimants| spots.of(claimants))
    }

    /// Whether anyone claims addresses of this subnet.
    pub(super) fn is_claimed(&self, subnet: Subnet) -> bool {
        self.around(subnet).next().is_some() || self.within(subnet).next().is_some()
    }

    /// The claimants of the larger subnets that hold this one, the largest first.
    fn around(&self, subnet: Subnet) -> impl Iterator<Item = &SmallSet<Claimant>> {
        let (family, length) = length(subnet);
        let lengths =
            self.lengths.range((family, 0)..(family, length)).map(|((_, length), _)| *length);
        lengths.filter_map(move |length| self.claimed.get(&subnet.widened(length)))
    }

    /// This subnet and those that lie within it, with their claimants.
    fn within(&self, subnet: Subnet) -> impl Iterator<Item = (&Subnet, &SmallSet<Claimant>)> {
        self.claimed.range(subnet..=subnet.last_address())
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

    /// The first subnet of this length within a range that nobody claims.
    pub(super) fn first_free(&self, range: Subnet, length: u8) -> Option<Subnet> {
        let subnet = range.first_of(length)?;
        let ((first, last), (own_first, own_last)) = (range.bounds(), subnet.bounds());
        let taken = if range.is_ipv4() { &self.taken_v4 } else { &self.taken_v6 };
        subnet.sibling_at(taken.gap(first, last, own_last - own_first)?)
    }

    fn taken_mut(&mut self, subnet: Subnet) -> &mut Ranges {
        if subnet.is_ipv4() { &mut self.taken_v4 } else { &mut self.taken_v6 }
    }
}

fn length(subnet: Subnet) -> (bool, u8) {
    (subnet.is_ipv4(), subnet.prefix_len())
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

    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    const LOCAL: Spot = Spot { network: Network::Local, is_uncertain: false };
    const OWN: Spot = Spot { network: Network::Own, is_uncertain: false };

    fn claimed(texts: &[&str]) -> Subnets {
        let mut subnets = Subnets::default();
        for text in texts {
            subnets.insert(subnet(text), (LOCAL, (*text).into()));
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
    fn a_removed_subnet_is_free_except_for_other_claims() {
        let mut subnets = claimed(&["10.0.0.0/8", "10.2.0.0/16"]);
        subnets.remove(subnet("10.0.0.0/8"), &(LOCAL, "10.0.0.0/8".into()));
        assert_eq!(subnets.next_free(subnet("10.1.0.0/16")), Some(subnet("10.3.0.0/16")));
        assert_eq!(subnets.overlapping(subnet("10.1.0.0/16"), Spots::all()).count(), 0);
        assert_eq!(subnets.overlapping(subnet("10.2.3.0/24"), Spots::all()).count(), 1);
    }

    #[test]
    fn overlap_is_found_up_and_down_and_by_network() {
        let mut subnets = claimed(&["10.0.0.0/8", "10.2.0.0/16", "10.2.3.0/24", "10.3.0.0/16"]);
        subnets.insert(subnet("10.2.0.0/16"), (OWN, "own".into()));
        let names = |text: &str, spots: Spots| {
            let found = subnets.overlapping(subnet(text), spots).map(|(_, name)| name.to_string());
            found.collect::<BTreeSet<_>>()
        };
        let own = BTreeSet::from(["own".to_owned()]);
        assert_eq!(names("10.2.0.0/16", Spots::on(&[Network::Local], false)).len(), 3);
        assert_eq!(names("10.2.0.0/16", Spots::on(&[Network::Own], false)), own);
        assert_eq!(names("10.2.0.0/16", Spots::off(&[Network::Local])), own);
        assert_eq!(names("10.2.0.0/16", Spots::all()).len(), 4);
    }

    /// Subnets of few ranges and lengths, so that many of them nest.
    fn any_subnet() -> impl Strategy<Value = Subnet> {
        let v4 =
            (prop::sample::select(vec![[10, 0], [10, 128], [172, 16], [11, 0]]), 0u8..16, 6u8..=20)
                .prop_map(|([a, b], c, length)| {
                    format!("{a}.{}.{}.0/{length}", b | (c >> 2), (c & 3) << 6)
                });
        let v6 = (prop::sample::select(vec![0xfd00, 0xfc00, 0x2000]), 0u16..64, 7u8..=18).prop_map(
            |(a, b, length)| format!("{:x}:{:x}::/{length}", a | (b >> 3), (b & 7) << 13),
        );
        prop_oneof![3 => v4, 1 => v6].prop_map(|text| Subnet::meant(&text).unwrap())
    }

    fn any_claim() -> impl Strategy<Value = (Subnet, Claimant)> {
        let named = |name: &str| Network::Named(name.into());
        let networks = vec![Network::Local, named("a"), named("b"), Network::Own];
        let spot = (prop::sample::select(networks), any::<bool>())
            .prop_map(|(network, is_uncertain)| Spot { network, is_uncertain });
        let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(MemberName::from);
        (any_subnet(), (spot, name))
    }

    type IsThere<'a> = &'a dyn Fn(&Spot) -> bool;

    /// The next free subnet, sought one by one.
    fn naive_next_free(claims: &BTreeSet<(Subnet, Claimant)>, of: Subnet) -> Option<Subnet> {
        let range = of.private_range();
        let every = |from: Subnet| {
            let next = |at: &Subnet| at.sibling_at(at.bounds().1.checked_add(1)?);
            std::iter::successors(Some(from), next).take_while(|at| range.contains(*at))
        };
        let first = of.sibling_at(range.bounds().0)?;
        let above =
            Some(of).filter(|_| range.contains(of)).into_iter().flat_map(|of| every(of).skip(1));
        let is_free = |at: &Subnet| !claims.iter().any(|(claimed, _)| claimed.overlaps(*at));
        above.chain(every(first)).find(is_free)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Removed are some of those that are there, and some that are not.
        #[test]
        fn what_is_claimed_is_found_as_one_by_one(
            claims in prop::collection::vec(any_claim(), 0..40),
            gone in prop::collection::vec(prop_oneof![
                3 => any::<prop::sample::Index>().prop_map(Ok), 1 => any_claim().prop_map(Err),
            ], 0..20),
            asked in prop::collection::vec(any_subnet(), 1..8),
        ) {
            let mut subnets = Subnets::default();
            let mut naive: BTreeSet<_> = BTreeSet::new();
            for (subnet, claimant) in &claims {
                subnets.insert(*subnet, claimant.clone());
                naive.insert((*subnet, claimant.clone()));
            }
            for gone in gone {
                let gone = match gone {
                    Ok(at) => claims.get(at.index(claims.len().max(1))).cloned(),
                    Err(stranger) => Some(stranger),
                };
                if let Some((subnet, claimant)) = gone {
                    subnets.remove(subnet, &claimant);
                    naive.remove(&(subnet, claimant));
                }
            }
            for asked in claims.iter().map(|(subnet, _)| *subnet).chain(asked) {
                let meet = || naive.iter().filter(|(subnet, _)| subnet.overlaps(asked));
                prop_assert_eq!(subnets.is_claimed(asked), meet().next().is_some());
                let a = Network::Named("a".into());
                let two = [Network::Local, a.clone()];
                let cases: [(Spots, IsThere<'_>); 6] = [
                    (Spots::all(), &|_| true),
                    (Spots::on(&two, false), &|at| two.contains(&at.network) && !at.is_uncertain),
                    (Spots::on(&two, true), &|at| two.contains(&at.network) && at.is_uncertain),
                    (Spots::on(&[Network::Own], true), &|at| *at == Spot { is_uncertain: true, ..OWN }),
                    (Spots::off(&two), &|at| !two.contains(&at.network)),
                    (Spots::off(&[]), &|_| true),
                ];
                for (spots, is_there) in cases {
                    let mut found: Vec<_> = subnets.overlapping(asked, spots).collect();
                    let all = meet().map(|(_, claimant)| claimant);
                    let mut expected: Vec<_> = all.filter(|(at, _)| is_there(at)).collect();
                    found.sort();
                    expected.sort();
                    prop_assert_eq!(found, expected, "{}", asked);
                }
                prop_assert_eq!(subnets.next_free(asked), naive_next_free(&naive, asked), "{}", asked);
            }
        }
    }
}
