//! A small cluster: what is stored, the page, replicas whose watches lag, and writers. Everything
//! that may happen is one step, chosen at random by a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use isthmus::ledger::{Expected, Page, Safeguard, Sight, Swap};

use crate::aim::{Aim, Event};
use crate::replica::Replica;
use crate::request::Request;

/// The clusters of the mesh, and two configurations of the local one, of which the second masks the
/// first.
pub(crate) const NAMES: [&str; 5] = ["p0", "p1", "p2", "cc", "mc"];
pub(crate) const PEERS: usize = 3;
pub(crate) const CC: usize = 3;
pub(crate) const MC: usize = 4;
/// What an object may claim: one of so many values.
pub(crate) const VALUES: u8 = 5;
pub(crate) const WATCHES: [&str; 4] = ["peers", "labelled", "configuration", "module"];
/// How long after its review a write may be stored at most, in milliseconds.
pub(crate) const STORED_WITHIN: u64 = 36_000;
/// How long after the start a resource may be said not to exist.
const DISCOVERED: u64 = 30_000;

/// What is left out to see that it is found: a safeguard of the clerk, or one of what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Safeguard(Safeguard),
    /// A swap is tested by nothing.
    Test,
    /// A page that was changed by hand, or is a copy, is taken for whole.
    Checksum,
    /// Time is told by clocks that are set.
    Monotonic,
    /// An entry is removed when its answer came too late.
    Late,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safeguard(safeguard) => write!(f, "{safeguard:?}"),
            left => write!(f, "{left:?}"),
        }
    }
}

pub(crate) type Values = BTreeMap<usize, u8>;

/// An object as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) value: u8,
    pub(crate) uid: u64,
    pub(crate) version: u64,
}

#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) uid: u64,
    pub(crate) version: u64,
    pub(crate) page: Option<Page<u8>>,
}

/// What etcd holds.
#[derive(Clone)]
struct Etcd {
    version: u64,
    store: BTreeMap<usize, Object>,
    lease: Lease,
    log: usize,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) aim: Aim,
    pub(crate) left: Left,
    /// The true time, in milliseconds.
    pub(crate) now: u64,
    pub(crate) version: u64,
    pub(crate) store: BTreeMap<usize, Object>,
    /// What has happened to objects: what each was before and after.
    pub(crate) log: Vec<(u64, usize, Option<Object>, Option<Object>)>,
    pub(crate) lease: Lease,
    backup: Option<Etcd>,
    old_page: Option<Page<u8>>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) requests: Vec<Request>,
    /// Swaps that nobody waits for any more, and that may take effect.
    pub(crate) orphans: Vec<(u64, Swap<u8>)>,
    pub(crate) failure: Option<String>,
    pub(crate) uids: u64,
    pub(crate) stored: u64,
    pub(crate) denied: u64,
    pub(crate) delayed: u64,
    pub(crate) is_told: bool,
    /// Until when etcd cannot write; reading goes on.
    stalled_until: u64,
}

/// Who clashes: pairs of members, or one with the local member, and the value they share. A value
/// of a peer clashes with an equal one, and with that of the local member.
pub(crate) fn clashes(values: &Values) -> Vec<(usize, usize, u8)> {
    let local = values.get(&MC).or_else(|| values.get(&CC));
    let mut clashes = Vec::new();
    for (name, value) in values.range(..PEERS) {
        if Some(value) == local {
            clashes.push((*name, CC, *value));
        }
        let others = values.range(name + 1..PEERS).filter(|(_, other)| *other == value);
        clashes.extend(others.map(|(other, _)| (*name, *other, *value)));
    }
    clashes
}

/// The clashes that a write of an object brings.
pub(crate) fn brings(before: &Values, after: &Values, name: usize) -> bool {
    let known = clashes(before);
    let concerns = |clash: &(usize, usize, u8)| {
        if name >= PEERS { clash.1 == CC } else { clash.0 == name || clash.1 == name }
    };
    clashes(after).iter().any(|clash| concerns(clash) && !known.contains(clash))
}

/// The watch that tells of an object: one of them carries a label or not.
pub(crate) fn watch_of(name: usize, value: u8) -> usize {
    match name {
        CC => 2,
        MC => 3,
        2 if value % 2 == 1 => 1,
        _ => 0,
    }
}

impl World {
    pub(crate) fn new(seed: u64, left: Left) -> Self {
        let mut random = Random(seed);
        let lease = Lease { uid: 1, version: 1, page: None };
        let aim = Aim::of(left, &mut random);
        let mut world = Self {
            random: Random(random.next()),
            aim,
            left,
            now: 1_000,
            version: 10,
            store: BTreeMap::new(),
            log: Vec::new(),
            lease,
            backup: None,
            old_page: None,
            replicas: Vec::new(),
            requests: Vec::new(),
            orphans: Vec::new(),
            failure: None,
            uids: 1,
            stored: 0,
            denied: 0,
            delayed: 0,
            is_told: false,
            stalled_until: 0,
        };
        let uid = world.uid();
        world.put(CC, Some((0, uid)));
        for at in 0..3 {
            let replica = Replica::new(&mut world, at, 0);
            world.replicas.push(replica);
        }
        // Nearly always it has been there for long.
        if world.random.below(8) > 0 {
            world.begin();
        }
        world
    }

    /// Has a page that is proven, and every replica know it.
    fn begin(&mut self) {
        self.with_replica(0, |replica, world| {
            replica.list_all(world);
            replica.read(world);
            replica.swap_at_once(world);
        });
        if let Some(page) = &mut self.lease.page {
            page.is_proven = true;
        }
        for at in 0..3 {
            self.with_replica(at, |replica, world| {
                *replica = Replica::new(world, at, 0);
                replica.read(world);
                world.now += 100;
                replica.list_all(world);
            });
        }
    }

    pub(crate) fn uid(&mut self) -> u64 {
        self.uids += 1;
        self.uids
    }

    pub(crate) fn values(&self) -> Values {
        self.store.iter().map(|(name, object)| (*name, object.value)).collect()
    }

    /// Stores an object, or deletes it.
    pub(crate) fn put(&mut self, name: usize, value: Option<(u8, u64)>) {
        self.version += 1;
        let before = self.values();
        let old = self.store.remove(&name);
        let version = self.version;
        let new = value.map(|(value, uid)| Object { value, uid, version });
        if let Some(new) = new {
            self.store.insert(name, new);
            if brings(&before, &self.values(), name) {
                let told = format!("{} = {} clashes with {before:?}", NAMES[name], new.value);
                self.failure.get_or_insert(told);
            }
        }
        self.tell(|| format!("stored: {} was {old:?}, is {new:?}", NAMES[name]));
        self.log.push((self.version, name, old, new));
    }

    /// Tells what happens, of the schedule that `ISTHMUS_SCHEDULE` names.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>7} {}", self.now, what());
        }
    }

    /// One step.
    pub(crate) fn step(&mut self) {
        self.now += 5 + self.random.below(120);
        if self.stalled_until > 0 && !self.is_stalled() {
            self.stalled_until = 0;
            for request in std::mem::take(&mut self.requests) {
                let request = request.flush(self);
                self.requests.extend(request);
            }
        }
        match self.aim.event(&mut self.random) {
            Event::Request if self.requests.len() < 6 => self.begin_request(),
            Event::Request | Event::Step => self.of_request(),
            Event::Pump => self.of_replica(Replica::pump),
            Event::List => self.of_replica(Replica::list_one),
            Event::Read => self.of_replica(Replica::read),
            Event::Work => self.of_replica(Replica::work),
            Event::Restart => self.restart(),
            Event::Spoil => self.spoil(),
            Event::Delete => self.delete_lease(),
            Event::Restore => self.save_or_restore(),
            Event::Leap => self.now += [3_000, 12_000, 30_000][self.random.at(3)],
            Event::Orphan => self.land_orphan(),
            Event::Clock => self.of_replica(Replica::set_clock),
            Event::Stall if !self.is_stalled() => {
                self.stalled_until = self.now + 20_000 + self.random.below(40_000);
            }
            Event::Stall => {}
        }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.now < self.stalled_until
    }

    fn begin_request(&mut self) {
        if self.random.below(10) == 0 {
            let name = self.random.at(PEERS);
            if self.store.contains_key(&name) && !self.is_stalled() {
                self.put(name, None);
            }
            return;
        }
        let request = Request::new(self);
        self.requests.extend(request);
    }

    fn of_request(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let at = self.random.at(self.requests.len());
        let request = self.requests.swap_remove(at);
        let request = request.step(self);
        self.requests.extend(request);
    }

    pub(crate) fn with_replica<T>(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Replica, &mut Self) -> T,
    ) -> T {
        let absent = Replica::absent();
        let mut replica = std::mem::replace(&mut self.replicas[at], absent);
        let done = act(&mut replica, self);
        self.replicas[at] = replica;
        done
    }

    fn of_replica(&mut self, act: impl FnOnce(&mut Replica, &mut Self)) {
        let at = self.random.at(3);
        self.with_replica(at, act);
    }

    /// A replica dies and comes again, now and then in another version.
    fn restart(&mut self) {
        let at = self.random.at(3);
        let kind = self.random.below(3).min(1) as u8;
        self.requests.iter_mut().for_each(|request| request.lose(at));
        self.with_replica(at, |replica, world| {
            let kind = if world.random.below(2) == 0 { replica.kind } else { kind };
            let call = replica.take_call();
            world.orphans.extend(call.map(|swap| (world.now, swap)));
            *replica = Replica::new(world, at, kind);
            world.tell(|| format!("replica {at} is new, of kind {kind}"));
        });
    }

    /// Somebody edits the page by hand, or puts back an old one.
    fn spoil(&mut self) {
        let keeps = self.left == Left::Checksum;
        let random = self.random.at(3);
        self.version += 1;
        self.lease.version = self.version;
        let edited = match (random, &mut self.lease.page) {
            (0, page) => std::mem::take(page).map(|page| Page { entries: Vec::new(), ..page }),
            (1, _) => self.old_page.clone(),
            (_, page) => {
                self.old_page = page.clone();
                return;
            }
        };
        self.lease.page = edited.filter(|_| keeps);
        self.tell(|| "the page is spoilt".to_owned());
    }

    fn delete_lease(&mut self) {
        self.version += 1;
        self.lease = Lease { uid: self.uid(), version: self.version, page: None };
        self.tell(|| "the lease is another one".to_owned());
    }

    /// etcd is saved, or restored to what was saved. The API servers are started again by that:
    /// writes under way fail, and connections break.
    fn save_or_restore(&mut self) {
        if self.is_stalled() {
            return;
        }
        let Some(etcd) = self.backup.take() else {
            self.backup = Some(Etcd {
                version: self.version,
                store: self.store.clone(),
                lease: self.lease.clone(),
                log: self.log.len(),
            });
            return;
        };
        self.tell(|| "etcd is restored".to_owned());
        self.requests.clear();
        self.orphans.clear();
        self.log.truncate(etcd.log);
        (self.version, self.store, self.lease) = (etcd.version, etcd.store, etcd.lease);
        for at in 0..3 {
            self.with_replica(at, Replica::disconnect);
        }
    }

    fn land_orphan(&mut self) {
        if self.is_stalled() {
            return;
        }
        if let Some((sent, swap)) = self.orphans.pop()
            && self.now < sent + STORED_WITHIN
        {
            self.apply(swap);
        }
    }

    /// What becomes of a swap: the object's version if it was made.
    pub(crate) fn apply(&mut self, swap: Swap<u8>) -> Option<u64> {
        let Lease { uid, version, page } = &self.lease;
        let Expected { uid: of, state } = &swap.expected;
        let is_state = match state {
            Ok(nonce) => page.as_ref().is_some_and(|page| page.nonce == *nonce),
            Err(of) => **of == *version.to_string(),
        };
        let is_expected = **of == *uid.to_string() && is_state;
        if !is_expected && self.left != Left::Test {
            return None;
        }
        self.version += 1;
        self.tell(|| format!("swapped: {:?}", swap.page));
        self.lease = Lease { uid: self.lease.uid, version: self.version, page: Some(swap.page) };
        Some(self.version)
    }

    pub(crate) fn sight(&self) -> Sight<u8> {
        Sight {
            uid: self.lease.uid.to_string().into(),
            version: self.lease.version.to_string().into(),
            page: self.lease.page.clone(),
        }
    }

    /// Whether a resource may still be said not to exist.
    pub(crate) fn may_be_undiscovered(&self, watch: usize) -> bool {
        watch == 3 && self.now < DISCOVERED
    }

    /// Ends what is under way, lets all replicas work, and sees that nothing is left over and that
    /// a write that is in no clash passes.
    pub(crate) fn end(&mut self) {
        self.now = self.now.max(self.stalled_until);
        for request in std::mem::take(&mut self.requests) {
            let request = request.flush(self);
            self.requests.extend(request);
        }
        for request in std::mem::take(&mut self.requests) {
            request.end(self);
        }
        self.orphans.clear();
        self.left = Left::Nothing;
        let kind = self.replicas[0].kind;
        for at in 1..3 {
            self.with_replica(at, |replica, world| {
                if replica.kind != kind {
                    *replica = Replica::new(world, at, kind);
                }
            });
        }
        for _ in 0..50 {
            self.now += 5_000;
            for at in 0..3 {
                self.with_replica(at, Replica::work_on);
            }
        }
        for at in 0..3 {
            let pending = self.replicas[at].clerk.pending();
            if pending > 0 || self.replicas[at].clerk.page().is_none() {
                let told = format!("replica {at} has {pending} entries that never end");
                self.failure.get_or_insert(told);
            }
        }
        Request::pass(self);
    }
}

/// Numbers that a seed determines.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn at(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// The names as the clerk takes them.
pub(crate) fn texts(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}
