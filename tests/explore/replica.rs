//! A replica: the clerk that is explored, and watches that lag behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use isthmus::ledger::{
    Ask, Cache, Clerk, Due, Entry, Found, Judge, Listed, MOST_BYTES, Outcome, Setup, Step, Stored,
    Swap, Watched,
};
use isthmus::mesh::ObjectRef;

use crate::world::{
    CC, Left, MC, NAMES, Object, PEERS, Random, VALUES, Values, WATCHES, World, clashes, texts,
    watch_of,
};

static OBJECTS: LazyLock<Vec<Arc<ObjectRef>>> = LazyLock::new(|| {
    NAMES.iter().map(|name| Arc::new(ObjectRef::new("Kind", None, *name))).collect()
});
static NAMED: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| texts(&WATCHES));
static DIGESTS: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| texts(&["a", "b"]));
static UIDS: LazyLock<Vec<Box<str>>> =
    LazyLock::new(|| (0..512).map(|uid: u32| uid.to_string().into()).collect());

pub(crate) struct Replica {
    pub(crate) clerk: Clerk<u8>,
    pub(crate) cache: Watches,
    /// Which version of isthmus: it reads another value from the same object.
    pub(crate) kind: u8,
    clock: Clock,
    call: Option<Swap<u8>>,
    /// Tickets whose swap was committed, and those whose was lost.
    pub(crate) entered: Vec<u64>,
    pub(crate) lost: Vec<u64>,
    nonces: Random,
}

/// A clock that runs fast or slow, and may be set unless it is monotonic.
#[derive(Clone, Copy)]
struct Clock {
    percent: u64,
    offset: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Watches {
    watches: [Seen; 4],
}

#[derive(Debug, Default)]
struct Seen {
    objects: BTreeMap<usize, Object>,
    /// How much of the log it has taken in.
    position: usize,
    state: Watched,
}

fn name_of(object: &ObjectRef) -> usize {
    NAMES.iter().position(|name| **name == *object.name).unwrap_or_default()
}

/// What a version of isthmus reads from a value.
fn read_by(kind: u8, value: u8) -> u8 {
    (value + kind) % VALUES
}

impl Cache for Watches {
    fn stored(&self, object: &ObjectRef) -> Option<Stored<'_>> {
        let name = name_of(object);
        let known = self.watches.iter().filter_map(|watch| watch.objects.get(&name));
        let newest = known.max_by_key(|object| object.version)?;
        Some(Stored { uid: &UIDS[newest.uid as usize], version: newest.version })
    }

    fn watch(&self, name: &str) -> Watched {
        let at = WATCHES.iter().position(|watch| *watch == name).unwrap_or_default();
        self.watches[at].state
    }
}

impl Replica {
    pub(crate) fn new(world: &mut World, at: usize, kind: u8) -> Self {
        let without = match world.left {
            Left::Safeguard(safeguard) => Some(safeguard),
            _ => None,
        };
        let longest = isthmus::pending::LONGEST;
        let digest = Arc::clone(&DIGESTS[usize::from(kind)]);
        let setup =
            Setup { digest, longest, watches: NAMED.clone(), most_bytes: MOST_BYTES, without };
        let clock = Clock { percent: [92, 100, 108][at], offset: world.random.below(5_000_000) };
        Self {
            clerk: Clerk::new(setup),
            cache: Watches::default(),
            kind,
            clock,
            call: None,
            entered: Vec::new(),
            lost: Vec::new(),
            nonces: Random(world.random.next()),
        }
    }

    /// What stands in for one that is at work.
    pub(crate) fn absent() -> Self {
        static SETUP: LazyLock<Setup> = LazyLock::new(|| Setup {
            digest: "".into(),
            longest: Duration::ZERO,
            watches: Vec::new(),
            most_bytes: 0,
            without: None,
        });
        Self {
            clerk: Clerk::new(SETUP.clone()),
            cache: Watches::default(),
            kind: 0,
            clock: Clock { percent: 100, offset: 0 },
            call: None,
            entered: Vec::new(),
            lost: Vec::new(),
            nonces: Random(0),
        }
    }

    pub(crate) fn time(&self, world: &World) -> Duration {
        Duration::from_millis(world.now * self.clock.percent / 100 + self.clock.offset)
    }

    /// A clock that is set goes forward by minutes.
    pub(crate) fn set_clock(&mut self, world: &mut World) {
        if world.left == Left::Monotonic {
            self.clock.offset += 60_000;
        }
    }

    pub(crate) fn take_call(&mut self) -> Option<Swap<u8>> {
        self.call.take()
    }

    pub(crate) fn disconnect(&mut self, _: &mut World) {
        self.call = None;
        for watch in &mut self.cache.watches {
            watch.state = Watched::Unknown;
        }
        let settled = self.clerk.swapped(Duration::ZERO, Outcome::Lost);
        self.lost.extend(settled.lost);
    }

    /// A watch tells of a few changes.
    pub(crate) fn pump(&mut self, world: &mut World) {
        let at = world.random.at(4);
        let mut left = 1 + world.random.at(3);
        let watch = &mut self.cache.watches[at];
        let Watched::At { version, .. } = &mut watch.state else { return };
        while left > 0 && watch.position < world.log.len() {
            let (changed, name, old, new) = world.log[watch.position];
            watch.position += 1;
            let is_here = |object: &Option<Object>| {
                object.is_some_and(|object| watch_of(name, object.value) == at)
            };
            if is_here(&new) {
                watch.objects.extend(new.map(|new| (name, new)));
            } else if is_here(&old) {
                watch.objects.remove(&name);
            } else {
                continue;
            }
            *version = changed;
            left -= 1;
        }
        self.clerk.observe(&self.cache);
    }

    pub(crate) fn list_one(&mut self, world: &mut World) {
        let at = world.random.at(4);
        self.list(world, at);
    }

    pub(crate) fn list_all(&mut self, world: &mut World) {
        (0..4).for_each(|at| self.list(world, at));
    }

    fn list(&mut self, world: &mut World, at: usize) {
        let (now, is_first) = (self.time(world), self.cache.watches[at].position == 0);
        let watch = &mut self.cache.watches[at];
        let before = watch.state;
        if world.may_be_undiscovered(at) && world.random.below(3) == 0 {
            let since = match before {
                Watched::Absent { since, .. } => since,
                _ => now,
            };
            watch.objects.clear();
            watch.state = Watched::Absent { since, listed: now };
            return;
        }
        let here = world.store.iter().filter(|(name, it)| watch_of(**name, it.value) == at);
        let objects: BTreeMap<_, _> = here.map(|(name, object)| (*name, *object)).collect();
        let known = watch.objects.values().map(|object| object.version).max().unwrap_or_default();
        let known = if let Watched::At { version, .. } = before { version } else { known };
        watch.objects = objects;
        watch.position = world.log.len();
        watch.state = Watched::At { version: world.version, listed: now };
        let before = if is_first { 0 } else { known };
        let (watch, version) = (WATCHES[at], world.version);
        let lost = self.clerk.listed(&Listed { watch, begun: now, now, version, before });
        self.lost.extend(lost);
        self.clerk.observe(&self.cache);
    }

    pub(crate) fn read(&mut self, world: &mut World) {
        if self.call.is_none() {
            let settled = self.clerk.read(self.time(world), world.sight());
            self.settle(settled);
        }
    }

    fn settle(&mut self, settled: isthmus::ledger::Settled) {
        self.entered.extend(settled.entered);
        self.lost.extend(settled.lost);
    }

    pub(crate) fn swap_at_once(&mut self, world: &mut World) {
        self.begin_swap(world);
        self.end_swap(world, true);
    }

    fn begin_swap(&mut self, world: &mut World) {
        let nonce = u128::from(self.nonces.next());
        self.call = self.clerk.swap(self.time(world), nonce, &self.cache);
    }

    /// The swap under way comes to something, or nobody knows.
    fn end_swap(&mut self, world: &mut World, is_told: bool) {
        if world.is_stalled() {
            return;
        }
        let Some(swap) = self.call.take() else { return };
        let outcome = match world.random.below(if is_told { 1 } else { 12 }) {
            // It may take effect later.
            1 => {
                world.orphans.push((world.now, swap));
                Outcome::Unknown
            }
            // It has taken effect, and the answer is lost.
            2 => {
                world.apply(swap);
                Outcome::Unknown
            }
            _ => match world.apply(swap) {
                Some(version) => Outcome::Committed(version.to_string().into()),
                None => Outcome::Lost,
            },
        };
        let is_lost = outcome == Outcome::Lost;
        let settled = self.clerk.swapped(self.time(world), outcome);
        self.settle(settled);
        if is_lost && world.random.below(2) == 0 {
            self.read(world);
        }
    }

    /// Goes on with what is due.
    pub(crate) fn work(&mut self, world: &mut World) {
        if self.call.is_some() {
            return self.end_swap(world, false);
        }
        match self.clerk.due(self.time(world), &self.cache) {
            None => {}
            Some(Due::Read) => self.read(world),
            Some(Due::Swap) => self.begin_swap(world),
            Some(Due::Look(objects)) => {
                for (stamp, object) in objects {
                    let stored = world.store.get(&name_of(&object));
                    let stored = stored.map(|it| (UIDS[it.uid as usize].clone(), it.version));
                    let found =
                        stored.as_ref().map(|(uid, version)| Stored { uid, version: *version });
                    self.clerk.looked(stamp, found);
                }
            }
        }
    }

    /// Does all that is due, with watches that are up to date.
    pub(crate) fn work_on(&mut self, world: &mut World) {
        for _ in 0..3 {
            self.list_all(world);
            if self.call.is_some() {
                self.end_swap(world, true);
            }
            self.work(world);
            self.end_swap(world, true);
        }
        self.read(world);
    }

    /// Judges a write, and does what the clerk demands meanwhile.
    pub(crate) fn admit(&mut self, world: &mut World, write: &Write) -> Step {
        let value = read_by(self.kind, write.value);
        let mut confirmed = BTreeSet::new();
        let watches: Vec<_> = std::iter::once(write.value)
            .chain(write.old.map(|old| old.value))
            .map(|value| Arc::clone(&NAMED[watch_of(write.name, value)]))
            .collect();
        for _ in 0..6 {
            let mut bench = Bench { base: self.base(write), write, value };
            let rests_on = bench.rests_on();
            let is_live = match write.old {
                Some(old) => world.store.get(&write.name) == Some(&old),
                None => true,
            };
            let id = write.id();
            let ask = Ask {
                object: &OBJECTS[write.name],
                id: &id,
                watches: &watches,
                user: &NAMED[write.name % 4],
                reading: Some(&value),
                bytes: 1,
                is_entered: true,
                confirmed: rests_on.is_subset(&confirmed).then_some(is_live),
            };
            match self.clerk.admit(self.time(world), &self.cache, &ask, &mut bench) {
                Step::List(names) => {
                    // What is listed is what was there a moment after it was asked for.
                    world.now += 10;
                    for name in names {
                        let at = WATCHES.iter().position(|watch| **watch == *name);
                        self.list(world, at.unwrap_or_default());
                    }
                }
                Step::Confirm => {
                    // The page as well: it may tell of a write that would clear this one.
                    self.end_swap(world, false);
                    if self.call.is_some() {
                        return Step::Unread;
                    }
                    self.read(world);
                    for name in &rests_on {
                        self.confirm(world, *name);
                    }
                    confirmed.extend(rests_on);
                }
                step => return step,
            }
        }
        Step::Unread
    }

    /// Takes in what is stored of an object now.
    fn confirm(&mut self, world: &World, name: usize) {
        let live = world.store.get(&name);
        for (at, watch) in self.cache.watches.iter_mut().enumerate() {
            match live.filter(|live| watch_of(name, live.value) == at) {
                Some(live) => watch.objects.insert(name, *live),
                None => watch.objects.remove(&name),
            };
        }
    }

    /// Whether it may not know of everything, for it was told that there is no such resource.
    pub(crate) fn is_misled(&self) -> bool {
        self.cache.watches.iter().any(|watch| matches!(watch.state, Watched::Absent { .. }))
    }

    fn base(&self, write: &Write) -> Values {
        // Of an object that moves, either watch may be the first to tell: the newer one counts.
        let mut known = BTreeMap::new();
        for (name, object) in self.cache.watches.iter().flat_map(|watch| &watch.objects) {
            let newest = known.entry(*name).or_insert(*object);
            if newest.version < object.version {
                *newest = *object;
            }
        }
        let values = known.into_iter().map(|(name, it)| (name, read_by(self.kind, it.value)));
        let mut base: Values = values.collect();
        base.remove(&write.name);
        base.extend(write.old.map(|old| (write.name, read_by(self.kind, old.value))));
        base
    }
}

/// A write that is judged.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) name: usize,
    pub(crate) value: u8,
    pub(crate) uid: u64,
    /// What it replaces; nothing for a creation.
    pub(crate) old: Option<Object>,
}

impl Write {
    fn id(&self) -> isthmus::mesh::WriteId {
        use isthmus::mesh::WriteId::{Create, Update};
        match self.old {
            Some(old) => Update(Some(old.version)),
            None => Create(self.uid.to_string().into()),
        }
    }
}

struct Bench<'a> {
    base: Values,
    write: &'a Write,
    value: u8,
}

impl Bench<'_> {
    /// The clashes of the write if these entries are stored.
    fn clashes(&self, stored: &[&Entry<u8>]) -> Vec<(usize, usize, u8)> {
        let mut after = self.base.clone();
        for entry in stored {
            after.extend(entry.reading.map(|value| (name_of(&entry.object), value)));
        }
        let name = self.write.name;
        after.insert(name, self.value);
        let mut clashes = clashes(&after);
        clashes.retain(|(a, b, _)| if name >= PEERS { *b == CC } else { *a == name || *b == name });
        clashes
    }

    /// The other objects that what is found wrong rests on.
    fn rests_on(&self) -> BTreeSet<usize> {
        let local = if self.base.contains_key(&MC) { MC } else { CC };
        let sides = self.clashes(&[]).into_iter().flat_map(|(a, b, _)| [a, b]);
        let objects = sides.map(|name| if name == CC { local } else { name });
        objects.filter(|name| *name != self.write.name).collect()
    }
}

impl Judge<u8> for Bench<'_> {
    fn related<'e>(&self, entries: Vec<&'e Entry<u8>>) -> Vec<&'e Entry<u8>> {
        let is_related = |entry: &&Entry<u8>| {
            let is_local = name_of(&entry.object) >= CC || self.write.name >= CC;
            is_local || entry.reading.is_none_or(|value| value == self.value)
        };
        entries.into_iter().filter(is_related).collect()
    }

    fn found(&mut self, stored: &[&Entry<u8>]) -> Found {
        let known = clashes(&self.base);
        let of_write = self.clashes(stored);
        if of_write.iter().any(|clash| !known.contains(clash)) {
            Found::Clash
        } else if of_write.is_empty() {
            Found::Nothing
        } else {
            Found::Standing
        }
    }
}
