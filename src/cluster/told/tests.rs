//! What is told by several watches of one kind, in every order.

use std::iter::repeat_with;

use super::*;
use crate::mesh::{Fact, Mesh};
use crate::settings::Settings;

/// What a watch tells of the one object: that it has this version, or that it is not there.
type Tells = (&'static str, Option<u64>);

/// In which version the first watch knows it, what both tell after that, and in which version it is
/// known at the end.
type Case = (u64, &'static [Tells], &'static [Tells], Option<u64>);

fn told() -> Told {
    let snapshot = Arc::new(Snapshot::new(Mesh::new(Arc::new(Settings::default()))));
    Told::new(snapshot, &[])
}

fn reading(version: u64) -> Reading {
    let mut reading = Reading::new(ObjectRef::new("ConfigMap", Some("isthmus"), "a"));
    reading.version = Some(version);
    reading.claim(&"member".into(), &["data"], Fact::Advice(version.to_string().into()));
    reading
}

fn tell(told: &Told, (watch, version): Tells) {
    match version {
        Some(version) => told.put(&watch.into(), vec![reading(version)]),
        None => told.remove(&watch.into(), [&reading(0).object]),
    }
}

/// Every order of what two watches tell, of which each tells its own in order.
fn orders(a: &[Tells], b: &[Tells]) -> Vec<Vec<Tells>> {
    let masks = 0_u32..1 << (a.len() + b.len());
    let of_a = masks.filter(|mask| mask.count_ones() as usize == a.len());
    let merge = |mask: u32| {
        let (mut a, mut b) = (a.iter(), b.iter());
        let mut at = 0;
        let next = repeat_with(move || {
            at += 1;
            if mask >> (at - 1) & 1 == 1 { a.next() } else { b.next() }
        });
        next.map_while(Option::<&Tells>::copied).collect()
    };
    of_a.map(merge).collect()
}

#[test]
fn an_object_that_changes_its_watch_is_not_lost_in_any_order() {
    const CASES: [Case; 5] = [
        // It moves.
        (4, &[("a", None)], &[("b", Some(5))], Some(5)),
        // It moves and returns.
        (4, &[("a", None), ("a", Some(6))], &[("b", Some(5)), ("b", None)], Some(6)),
        // It moves and is deleted.
        (4, &[("a", None)], &[("b", Some(5)), ("b", None)], None),
        // An older etcd is restored, where it was elsewhere.
        (9, &[("a", None)], &[("b", Some(3))], Some(3)),
        // And there it changes.
        (9, &[("a", None)], &[("b", Some(3)), ("b", Some(4))], Some(4)),
    ];
    for (first, a, b, expected) in CASES {
        let orders = orders(a, b);
        assert!(orders.len() > 1);
        for order in orders {
            let told = told();
            tell(&told, ("a", Some(first)));
            for tells in &order {
                tell(&told, *tells);
            }
            let object = reading(0).object;
            assert_eq!(told.snapshot.version_of(&object), expected, "{first} {order:?}");
            let members = told.snapshot.read(Mesh::len);
            assert_eq!(members, usize::from(expected.is_some()), "{first} {order:?}");
            let known = told.known();
            assert_eq!(known.len(), members, "nothing is kept of what is gone");
            assert!(known.values().all(|known| known.beside.is_none()), "{first} {order:?}");
        }
    }
}

#[tokio::test]
async fn a_list_is_asked_for_only_of_a_watch_that_does_not_come_by_itself() {
    use std::sync::atomic::{AtomicU32, Ordering};

    let watches = super::super::watches(&Settings::default());
    let snapshot = Arc::new(Snapshot::new(Mesh::new(Arc::new(Settings::default()))));
    let told = Told::new(snapshot, &watches);
    let names: Vec<Arc<str>> = watches.iter().take(3).map(|it| it.to_string().into()).collect();
    let at = |version| Watched::At { version, listed: Duration::ZERO };
    for name in &names {
        told.come(name, at(5));
    }
    let behind = |name: &Arc<str>, floor| match told.snapshot.watched(name) {
        Watched::At { version, .. } if version >= floor => None,
        _ => Some(Arc::clone(name)),
    };
    let lists = AtomicU32::new(0);
    let listing = async |name: &Arc<str>| loop {
        told.list_asked(name).await;
        lists.fetch_add(1, Ordering::Relaxed);
        told.come(name, at(7));
    };
    // The first is there, the second comes by itself, and the third needs a list.
    let floors = [5, 6, 7];
    let all = || names.iter().zip(floors).filter_map(|(name, floor)| behind(name, floor)).collect();
    let by_itself = async {
        tokio::task::yield_now().await;
        told.come(&names[1], at(6));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = told.catch_up(all) => {}
        () = by_itself => {}
        () = listing(&names[0]) => {}
        () = listing(&names[1]) => {}
        () = listing(&names[2]) => {}
    }
    assert_eq!(lists.load(Ordering::Relaxed), 1);
    assert_eq!(told.snapshot.watched(&names[2]), at(7));
}
