//! Subnets for clusters that are still to be made: free in the mesh as it is, and clear of each
//! other.

use std::sync::Arc;

use crate::mesh::{Fact, Mesh, ObjectRef, Reading, Role};
use crate::syntax::Path;
use crate::value::Subnet;

/// What a new cluster needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The prefix length of its pod subnet.
    pub pods: u8,
    /// The prefix length of its service subnet.
    pub services: u8,
}

/// The subnets of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: Arc<str>,
    /// The subnet of its pods.
    pub pods: Subnet,
    /// The subnet of its services.
    pub services: Subnet,
}

/// Nothing of a size is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// For whose addresses.
    pub role: Role,
    /// The prefix length that was asked for.
    pub length: u8,
    /// The largest subnet that is still free, if any is.
    pub largest: Option<Subnet>,
}

/// Plans a cluster for each of the names, in the first of the ranges that has room. What is planned
/// is taken from then on. If space runs out, those that fit come with what is missing.
pub fn plan(
    mesh: &mut Mesh,
    names: &[Arc<str>],
    need: Need,
    ranges: &[Subnet],
) -> (Vec<Planned>, Option<NoRoom>) {
    let mut planned = Vec::with_capacity(names.len());
    for name in names {
        let object = Arc::new(ObjectRef::new("Plan", None, Arc::clone(name)));
        let mut take = |reading: &mut Reading, role, length| {
            let first = |length| ranges.iter().find_map(|range| mesh.first_free(*range, length));
            let Some(free) = first(length) else {
                let largest = (length..=128).find_map(first);
                return Err(NoRoom { role, length, largest });
            };
            reading.claim(name, Path::NAME, Fact::Subnet(role, free));
            mesh.apply(reading.clone());
            Ok(free)
        };
        let mut reading = Reading::of(object);
        let pods = take(&mut reading, Role::Pod, need.pods);
        let taken =
            pods.and_then(|pods| Ok((pods, take(&mut reading, Role::Service, need.services)?)));
        match taken {
            Ok((pods, services)) => {
                planned.push(Planned { name: Arc::clone(name), pods, services });
            }
            Err(missing) => {
                mesh.remove(&reading.object);
                return (planned, Some(missing));
            }
        }
    }
    (planned, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    fn mesh(taken: &[&str]) -> Mesh {
        let mut reading = Reading::new(ObjectRef::new("Test", None, "test"));
        for taken in taken {
            reading.claim(&"b".into(), Path::NAME, Fact::Subnet(Role::Pod, subnet(taken)));
        }
        Mesh::of(Arc::default(), [reading])
    }

    fn planned(
        taken: &[&str],
        need: (u8, u8),
        ranges: &[&str],
        count: usize,
    ) -> (Vec<String>, Option<NoRoom>) {
        let names: Vec<Arc<str>> = (1..=count).map(|n| format!("n{n}").into()).collect();
        let ranges: Vec<_> = ranges.iter().map(|range| subnet(range)).collect();
        let need = Need { pods: need.0, services: need.1 };
        let (planned, missing) = plan(&mut mesh(taken), &names, need, &ranges);
        (planned.iter().map(|it| format!("{} {}", it.pods, it.services)).collect(), missing)
    }

    #[test]
    fn the_first_free_subnets_are_planned_in_order() {
        let (told, missing) =
            planned(&["10.0.0.0/16", "10.2.3.0/24"], (16, 16), &["10.0.0.0/8"], 2);
        assert_eq!(told, ["10.1.0.0/16 10.3.0.0/16", "10.4.0.0/16 10.5.0.0/16"]);
        assert_eq!(missing, None);
        let ranges = ["10.64.0.0/15", "192.168.0.0/16"];
        let (told, missing) = planned(&["10.64.0.0/16"], (16, 20), &ranges, 1);
        assert_eq!((told, missing), (vec!["10.65.0.0/16 192.168.0.0/20".to_owned()], None));
        let (told, _) = planned(&[], (56, 112), &["fd00:10::/48"], 1);
        assert_eq!(told, ["fd00:10::/56 fd00:10:0:100::/112"]);
    }

    proptest! {
        #[test]
        fn what_is_planned_is_clear_of_everything_and_nothing_free_is_missed(
            taken in prop::collection::vec((0u8..16, 0u8..16, 20u8..=28), 0..40),
            need in (20u8..=26, 20u8..=26),
            count in 1usize..6,
        ) {
            let taken: Vec<_> = taken
                .into_iter()
                .map(|(c, d, length)| format!("10.0.{}.{}/{length}", c << 4, d << 4))
                .filter_map(|text| Subnet::meant(&text))
                .collect();
            let texts: Vec<_> = taken.iter().map(ToString::to_string).collect();
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            let names: Vec<Arc<str>> = (0..count).map(|n| format!("n{n}").into()).collect();
            let range = subnet("10.0.0.0/16");
            let need = Need { pods: need.0, services: need.1 };
            let (planned, missing) = plan(&mut mesh(&texts), &names, need, &[range]);
            let mut all = taken;
            for subnet in planned.iter().flat_map(|it| [it.pods, it.services]) {
                prop_assert!(range.contains(subnet));
                prop_assert!(all.iter().all(|other| !other.overlaps(subnet)), "{subnet} {all:?}");
                all.push(subnet);
            }
            prop_assert_eq!(missing.is_none(), planned.len() == count);
            if let Some(missing) = missing {
                let mut each = (0..1u32 << (missing.length - 16)).map(|n| {
                    let address = u32::from_be_bytes([10, 0, 0, 0]) + (n << (32 - missing.length));
                    subnet(&format!("{}/{}", std::net::Ipv4Addr::from(address), missing.length))
                });
                // The pods of a cluster that has no room for its services are given back.
                let clear = |free: Subnet| all.iter().all(|other| !other.overlaps(free));
                prop_assert!(missing.role == Role::Service || !each.any(clear));
            }
        }
    }

    #[test]
    fn what_fits_is_told_where_space_runs_out() {
        let (told, missing) = planned(&["192.168.0.0/18"], (17, 18), &["192.168.0.0/16"], 2);
        assert_eq!(told, ["192.168.128.0/17 192.168.64.0/18"]);
        assert_eq!(missing, Some(NoRoom { role: Role::Pod, length: 17, largest: None }));
        let (told, missing) = planned(&["192.168.0.0/17"], (16, 16), &["192.168.0.0/16"], 1);
        let largest = Some(subnet("192.168.128.0/17"));
        assert_eq!(
            (told, missing),
            (vec![], Some(NoRoom { role: Role::Pod, length: 16, largest }))
        );
        // No range holds a subnet that is larger than itself.
        let (_, missing) = planned(&[], (8, 8), &["192.168.0.0/16"], 1);
        assert_eq!(missing.unwrap().largest, Some(subnet("192.168.0.0/16")));
    }
}
