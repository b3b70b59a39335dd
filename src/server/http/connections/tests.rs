use super::*;

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn arrived(connections: &Arc<Connections>, last: u8) -> Open {
    let (open, _) = connections.open(address(last));
    open.arrived();
    open
}

fn proven(connections: &Arc<Connections>, last: u8) -> Open {
    let open = arrived(connections, last);
    open.proven();
    open.enter(Phase::Idle);
    open
}

fn is_open(open: &Open) -> bool {
    open.connections.table().pools.iter().any(|pool| pool.has(open))
}

fn are_open<'a>(opens: impl IntoIterator<Item = &'a Open>) -> Vec<bool> {
    opens.into_iter().map(is_open).collect()
}

#[test]
fn the_client_that_kept_us_waiting_longest_makes_room() {
    let connections = Connections::new(4, Duration::from_secs(10), false);
    let idle = arrived(&connections, 1);
    let reviewed = arrived(&connections, 2);
    reviewed.enter(Phase::Review);
    let slow = arrived(&connections, 3);
    slow.enter(Phase::Body);
    assert_eq!(are_open([&idle, &reviewed, &slow]), [true; 3]);
    let newer = arrived(&connections, 4);
    assert_eq!(are_open([&idle, &reviewed, &slow, &newer]), [false, true, true, true]);
    for open in [&slow, &newer] {
        open.enter(Phase::Review);
    }
    let (last, room) = connections.open(address(5));
    assert_eq!(room, Entry::Free);
    assert_eq!(last.arrived(), Entry::None, "what is under review is never closed");
    drop((idle, reviewed, slow, newer, last));
    assert_eq!(connections.len(), 0);
}

#[test]
fn a_source_makes_room_for_itself() {
    let connections = Connections::new(16, Duration::from_secs(10), false);
    let other = arrived(&connections, 1);
    let many: Vec<_> = (0..100).map(|_| arrived(&connections, 2)).collect();
    let room = connections.table().pools[Group::Stranger as usize].share;
    assert_eq!(are_open(&many).into_iter().filter(|open| *open).count(), room);
    assert!(is_open(&other) && is_open(&many[99]) && !is_open(&many[0]));
    // Of many sources, those make room that have most.
    let few: Vec<_> = (3..100).map(|last| arrived(&connections, last)).collect();
    assert!(is_open(&few[96]));
    assert_eq!(connections.len(), 12);
    let held = |of: &[Open]| are_open(of).into_iter().filter(|open| *open).count();
    assert_eq!((held(&many), held(&few)), (0, 12));
}

#[test]
fn an_address_in_both_notations_is_one_source() {
    let connections = Connections::new(16, Duration::from_secs(10), false);
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    let opens: Vec<_> = (0..3).map(|_| connections.open(mapped).0).collect();
    assert_eq!(are_open(&opens), [false, true, true], "half of what is arriving");
}

#[test]
fn no_flood_takes_the_capacity_of_another_pool() {
    let connections = Connections::new(64, Duration::from_secs(10), true);
    let kept: Vec<_> = (0..32).map(|_| proven(&connections, 1)).collect();
    let strangers: Vec<_> = (0..=255).map(|last| arrived(&connections, last)).collect();
    assert_eq!(are_open(&kept), [true; 32], "nobody evicts what is proven");
    let shaking: Vec<_> = (0..=255).map(|last| connections.open(address(last)).0).collect();
    assert_eq!(connections.len(), 64);
    assert_eq!(are_open(&kept), [true; 32]);
    assert_eq!(are_open(&strangers).into_iter().filter(|open| *open).count(), 16);
    drop(shaking);
}

#[test]
fn newcomers_from_where_verified_reviews_come_stay() {
    let connections = Connections::new(64, Duration::from_secs(10), true);
    drop(proven(&connections, 1));
    let newcomers: Vec<_> = (0..4).map(|_| connections.open(address(1)).0).collect();
    let mut flood: Vec<_> = (2..=255).map(|last| connections.open(address(last)).0).collect();
    assert_eq!(are_open(&newcomers), [true; 4]);
    for open in &newcomers {
        assert_eq!(open.arrived(), Entry::Free);
    }
    flood.extend((2..=255).map(|last| arrived(&connections, last)));
    assert_eq!(are_open(&newcomers), [true; 4]);
}

#[test]
fn sources_of_verified_reviews_are_remembered_up_to_a_limit() {
    let connections = Connections::new(64, Duration::from_secs(10), true);
    for last in 0..=255 {
        drop(proven(&connections, last));
    }
    let known = connections.table().known.clone();
    assert_eq!((known.len(), known.front()), (MOST_KNOWN, Some(&address(255))));
}

#[test]
fn a_client_has_limited_time() {
    let connections = Connections::new(8, Duration::ZERO, false);
    let (shaking, _) = connections.open(address(1));
    assert_eq!(connections.sweep(), 1);
    shaking.enter(Phase::Review);
    assert_eq!(connections.sweep(), 0);
    shaking.enter(Phase::Answer);
    assert_eq!(connections.sweep(), 1);
    shaking.flushed();
    assert_eq!(connections.sweep(), 0, "idle connections are kept");
}

#[test]
fn unverified_callers_are_not_remembered_if_callers_can_be_verified() {
    let connections = Connections::new(8, Duration::ZERO, true);
    let (stranger, kept) = (arrived(&connections, 1), proven(&connections, 2));
    stranger.enter(Phase::Idle);
    assert_eq!(connections.sweep(), 1);
    drop(stranger);
    assert_eq!(connections.sweep(), 0);
    assert!(is_open(&kept));
}
