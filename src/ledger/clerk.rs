//! What one replica knows of the page, and the swaps by which it changes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::page::{Cache, Entry, Page, Stored};
use super::{Safeguard, Setup};
use crate::mesh::ObjectRef;

/// What one replica knows of the page. Every time is of one clock that never goes back.
pub struct Clerk<R> {
    pub(super) setup: Setup,
    pub(super) known: Option<Known<R>>,
    /// When the page was last taken in.
    known_at: Duration,
    /// When the page's era was first seen.
    pub(super) era_seen: Duration,
    /// When it was first seen to be proven.
    pub(super) proven_seen: Duration,
    /// Whether the page is to be begun anew, for it has gone back or was replaced.
    pub(super) is_lost: bool,
    /// Since when replicas of another kind judge by the page; nothing while this kind does.
    pub(super) superseded: Option<Duration>,
    /// Whether the page was ever this kind's.
    was_ours: bool,
    /// When each entry was first seen, by its stamp.
    pub(super) seen: BTreeMap<u64, Duration>,
    /// The entries that are over, by their stamps, and the version that proves it; 0 where the
    /// object is not stored.
    pub(super) over: BTreeMap<u64, u64>,
    /// What is to be entered by the next swap.
    pub(super) staged: Vec<(u64, Entry<R>)>,
    pub(super) flight: Option<Flight<R>>,
    /// When the last swap was begun that was committed.
    barrier: Option<Duration>,
    pub(super) next_ticket: u64,
}

/// The object that the page is in, as it was last seen.
pub(super) struct Known<R> {
    uid: Box<str>,
    version: Box<str>,
    /// Nothing where it holds none that can be read.
    pub(super) page: Option<Page<R>>,
}

/// A swap under way.
pub(super) struct Flight<R> {
    begun: Duration,
    pub(super) page: Page<R>,
    tickets: Vec<u64>,
}

/// The object that the page is in, as it was read.
#[derive(Clone, Debug)]
pub struct Sight<R> {
    /// Its uid.
    pub uid: Box<str>,
    /// Its `resourceVersion`.
    pub version: Box<str>,
    /// The page, if it holds one that can be read.
    pub page: Option<Page<R>>,
}

/// A swap to be made.
#[derive(Clone, Debug)]
pub struct Swap<R> {
    /// What it is tested by.
    pub expected: Expected,
    /// What is to stand there.
    pub page: Page<R>,
}

/// What a swap is tested by, beside the uid of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The uid of the object.
    pub uid: Box<str>,
    /// The nonce of the page; where there is no page, the object's version.
    pub state: Result<u128, Box<str>>,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was committed, and the object has this version now.
    Committed(Box<str>),
    /// It was not, and the page is to be read again.
    Lost,
    /// Nobody knows; reading the page tells.
    Unknown,
}

/// What has become of writes that were to be entered, by their tickets.
#[derive(Debug, Default)]
pub struct Settled {
    /// They are entered: they may be stored.
    pub entered: Vec<u64>,
    /// They are not, as far as is known, and are to be judged again.
    pub lost: Vec<u64>,
}

/// A watch that was listed.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Which one.
    pub watch: &'a str,
    /// When the list was begun.
    pub begun: Duration,
    /// When it has come.
    pub now: Duration,
    /// The version of the list.
    pub version: u64,
    /// The version that the watch had come to before; 0 where it knew none.
    pub before: u64,
}

/// What is to be done, whoever asks for a review.
#[derive(Debug)]
pub enum Due {
    /// The page is to be read.
    Read,
    /// A swap is to be made.
    Swap,
    /// These objects are to be read, and what is found is to be told for these stamps.
    Look(Vec<(u64, Arc<ObjectRef>)>),
}

impl<R: Clone> Clerk<R> {
    /// One that knows nothing yet.
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            known: None,
            known_at: Duration::ZERO,
            era_seen: Duration::ZERO,
            proven_seen: Duration::ZERO,
            is_lost: false,
            superseded: None,
            was_ours: false,
            seen: BTreeMap::new(),
            over: BTreeMap::new(),
            staged: Vec::new(),
            flight: None,
            barrier: None,
            next_ticket: 0,
        }
    }

    pub(super) fn minds(&self, safeguard: Safeguard) -> bool {
        self.setup.without != Some(safeguard)
    }

    /// The page, as it was last read or written.
    pub fn page(&self) -> Option<&Page<R>> {
        self.known.as_ref()?.page.as_ref()
    }

    /// Whether replicas of another kind judge by the page.
    pub fn is_superseded(&self) -> bool {
        self.superseded.is_some()
    }

    /// How many entries are not known to be over.
    pub fn pending(&self) -> usize {
        let entries = self.page().map_or(&[][..], |page| &page.entries);
        entries.iter().filter(|entry| !self.over.contains_key(&entry.stamp)).count()
    }

    /// Takes in the page as it was read, after every call before was answered or given up. If it was
    /// not known what became of a swap, that is known now.
    pub fn read(&mut self, now: Duration, sight: Sight<R>) -> Settled {
        let Sight { uid, version, page } = sight;
        let mut settled = Settled::default();
        if let Some(flight) = self.flight.take() {
            if page.as_ref().is_some_and(|page| page.nonce == flight.page.nonce) {
                self.barrier = Some(flight.begun);
                settled.entered = flight.tickets;
            } else {
                settled.lost = flight.tickets;
            }
        }
        // What is staged was judged against the page that was known.
        let nonce = |page: &Page<R>| page.nonce;
        let is_other = self.page().map(nonce) != page.as_ref().map(nonce);
        if (is_other || self.known.as_ref().is_none_or(|known| known.uid != uid))
            && self.minds(Safeguard::Stale)
        {
            settled.lost.extend(self.unstage());
        }
        let mut has_gone_back = false;
        if let (Some(Known { uid: of_known, page: Some(known), .. }), Some(page)) =
            (&self.known, &page)
        {
            let is_older = page.generation < known.generation
                || page.generation == known.generation && page.nonce != known.nonce;
            let is_other = *of_known != uid && page.era == known.era;
            // What is begun anew is not proven, and so may be older.
            has_gone_back = is_other || is_older && (page.era == known.era || page.is_proven);
        }
        self.take(now, Known { uid, version, page });
        if has_gone_back && self.minds(Safeguard::Regress) {
            self.lose(now);
        }
        settled
    }

    /// Notes that the page, or what was seen by the watches, is not what it was.
    fn lose(&mut self, now: Duration) {
        self.is_lost = true;
        self.era_seen = now;
        self.over.clear();
        self.seen.values_mut().for_each(|seen| *seen = now);
    }

    /// Takes in that a watch was listed, begun at a time, which has brought a version, and before that
    /// it had come to another one. A version that goes back tells of a restored etcd: it is older than
    /// what the watch or the page knew. Gives back the tickets of what is to be judged again.
    pub fn listed(&mut self, list: &Listed<'_>) -> Vec<u64> {
        let floors = self.page().map(|page| &page.floors);
        let floor = floors.and_then(|floors| floors.get(list.watch)).copied().unwrap_or_default();
        let was_known = list.begun > self.known_at;
        let known = if was_known { floor.max(list.before) } else { list.before };
        if list.version >= known || !self.minds(Safeguard::Regress) {
            return Vec::new();
        }
        self.lose(list.now);
        self.unstage()
    }

    /// Gives up what is to be entered by the next swap, which is to be judged again.
    pub fn unstage(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.staged).into_iter().map(|(ticket, _)| ticket).collect()
    }

    fn take(&mut self, now: Duration, known: Known<R>) {
        let before = self.page().map(|page| (page.era, page.is_proven));
        if let Some(page) = &known.page {
            if page.is_proven && before != Some((page.era, true)) {
                self.proven_seen = now;
            }
            if before.map(|(era, _)| era) != Some(page.era) {
                self.is_lost = false;
                self.era_seen = now;
                self.seen.clear();
                self.over.clear();
            }
            for entry in &page.entries {
                self.seen.entry(entry.stamp).or_insert(now);
            }
            self.seen.retain(|stamp, _| page.entry(*stamp).is_some());
            self.over.retain(|stamp, _| page.entry(*stamp).is_some());
            let is_ours = page.digest == self.setup.digest || !self.minds(Safeguard::Digest);
            self.was_ours |= is_ours;
            let since = self.superseded.unwrap_or(now);
            self.superseded = (!is_ours).then_some(since);
        }
        self.known_at = now;
        self.known = Some(known);
    }

    /// Notes which entries the watches now prove to be over.
    pub fn observe(&mut self, cache: &impl Cache)
    where
        R: PartialEq,
    {
        if self.is_lost {
            return;
        }
        let without = self.setup.without;
        let Some(Known { page: Some(page), .. }) = &self.known else { return };
        for entry in &page.entries {
            if !self.over.contains_key(&entry.stamp)
                && let Some(version) = entry.over_at(cache, |safeguard| without != Some(safeguard))
            {
                self.over.insert(entry.stamp, version);
            }
        }
    }

    /// Notes what was found when the object of an entry was read: nothing where there is none.
    pub fn looked(&mut self, stamp: u64, found: Option<Stored<'_>>) {
        let Some(page) = self.page() else { return };
        if let Some(entry) = page.entry(stamp) {
            let version = found.and_then(|stored| entry.stored_at(stored)).unwrap_or(0);
            self.over.insert(stamp, version);
        }
    }

    /// What is to be done now, if anything is.
    pub fn due(&self, now: Duration, cache: &impl Cache) -> Option<Due> {
        let Some(Known { page, .. }) = &self.known else { return Some(Due::Read) };
        if self.flight.is_some() {
            return Some(Due::Read);
        }
        let Some(page) = page else { return Some(Due::Swap) };
        if self.superseded.is_some() {
            return self.may_take_over(now, cache).then_some(Due::Swap);
        }
        if self.is_lost || !self.staged.is_empty() || self.may_prove(now, page) {
            return Some(Due::Swap);
        }
        let is_late = |entry: &&Entry<R>| {
            !self.over.contains_key(&entry.stamp) && self.end_of(entry.stamp) <= now
        };
        let late: Vec<_> = page.entries.iter().filter(is_late).collect();
        if late.iter().any(|entry| !self.is_beyond_barrier(entry.stamp)) {
            return Some(Due::Swap);
        }
        if !late.is_empty() {
            let object = |entry: &&Entry<R>| (entry.stamp, Arc::clone(&entry.object));
            let look = || Due::Look(late.iter().map(object).collect());
            return Some(if self.minds(Safeguard::Look) { look() } else { Due::Swap });
        }
        // What is stored the others see for themselves. They are told what was given up, and what was
        // stored and is gone, which those who come later cannot see.
        let is_told = |entry: &Entry<R>| match self.over.get(&entry.stamp) {
            Some(0) => true,
            Some(_) => entry.over_at(cache, |safeguard| self.minds(safeguard)).is_none(),
            None => false,
        };
        page.entries.iter().any(is_told).then_some(Due::Swap)
    }

    /// When an entry is over at the latest.
    pub(super) fn end_of(&self, stamp: u64) -> Duration {
        let longest = if self.minds(Safeguard::Longest) {
            self.setup.longest
        } else {
            self.setup.longest / 4
        };
        self.seen.get(&stamp).copied().unwrap_or_default() + longest
    }

    fn is_beyond_barrier(&self, stamp: u64) -> bool {
        !self.minds(Safeguard::Barrier)
            || self.barrier.is_some_and(|begun| begun >= self.end_of(stamp))
    }

    fn may_prove(&self, now: Duration, page: &Page<R>) -> bool {
        !page.is_proven && now >= self.era_seen + self.setup.longest
    }

    /// Whether to take the page over from replicas of another kind: once everything is read, or
    /// when they have not done away with this one in all that time.
    fn may_take_over(&self, now: Duration, cache: &impl Cache) -> bool {
        let is_due = match self.superseded {
            Some(since) => !self.was_ours || now >= since + self.setup.longest,
            None => false,
        };
        is_due && self.setup.watches.iter().all(|watch| cache.watch(watch).is_known())
    }

    /// The next swap, if one is due and none is under way. A nonce is random.
    pub fn swap(&mut self, now: Duration, nonce: u128, cache: &impl Cache) -> Option<Swap<R>>
    where
        R: PartialEq,
    {
        if self.flight.is_some() {
            return None;
        }
        self.observe(cache);
        let Known { uid, version, page } = self.known.as_ref()?;
        let state = match page {
            Some(page) if self.minds(Safeguard::Nonce) => Ok(page.nonce),
            _ => Err(version.clone()),
        };
        let expected = Expected { uid: uid.clone(), state };
        let mut tickets = Vec::new();
        let page = match page {
            None => Page::new(nonce, &self.setup.digest),
            Some(page) if self.superseded.is_some() => {
                if !self.may_take_over(now, cache) {
                    return None;
                }
                let mut page = page.clone();
                page.digest = Arc::clone(&self.setup.digest);
                (page.era, page.floors) = (nonce, BTreeMap::new());
                if self.minds(Safeguard::Opaque) {
                    page.entries.iter_mut().for_each(|entry| entry.reading = None);
                }
                page
            }
            Some(page) if self.is_lost => {
                let (era, floors) = (nonce, BTreeMap::new());
                Page { era, floors, is_proven: false, ..page.clone() }
            }
            Some(page) => {
                let mut page = page.clone();
                page.is_proven |= self.may_prove(now, &page);
                self.prune(now, &mut page);
                tickets = self.enter(&mut page);
                page
            }
        };
        let page = Page { nonce, generation: page.generation + 1, ..page };
        let page = Page { is_proven: page.is_proven || !self.minds(Safeguard::Proven), ..page };
        self.flight = Some(Flight { begun: now, page: page.clone(), tickets });
        Some(Swap { expected, page })
    }

    /// Removes what is over, and raises the floors by it.
    fn prune(&self, now: Duration, page: &mut Page<R>) {
        let Page { entries, floors, .. } = page;
        entries.retain(|entry| {
            let is_spent =
                || self.end_of(entry.stamp) <= now && self.is_beyond_barrier(entry.stamp);
            let version = match self.over.get(&entry.stamp) {
                Some(version) => *version,
                None if !self.minds(Safeguard::Look) && is_spent() => 0,
                None => return true,
            };
            for watch in entry.watches.iter().filter(|_| version > 0) {
                let floor = floors.entry(Arc::clone(watch)).or_default();
                *floor = version.max(*floor);
            }
            false
        });
    }

    /// Enters what is staged. A write that says what it said is there once, as of now.
    fn enter(&mut self, page: &mut Page<R>) -> Vec<u64>
    where
        R: PartialEq,
    {
        let staged = std::mem::take(&mut self.staged);
        let mut tickets = Vec::with_capacity(staged.len());
        for (ticket, mut entry) in staged {
            let same = page
                .entries
                .iter()
                .position(|other| other.is_same_write(&entry) && other.reading == entry.reading);
            match same {
                Some(_) if !self.minds(Safeguard::Restamp) => {}
                same => {
                    same.map(|at| page.entries.remove(at));
                    entry.stamp = page.next_stamp;
                    page.next_stamp += 1;
                    page.entries.push(entry);
                }
            }
            tickets.push(ticket);
        }
        tickets
    }

    /// Takes in what became of the swap under way.
    pub fn swapped(&mut self, now: Duration, outcome: Outcome) -> Settled {
        let Some(flight) = self.flight.take() else { return Settled::default() };
        match outcome {
            Outcome::Committed(version) => {
                self.barrier = Some(flight.begun);
                if let Some(Known { uid, .. }) = &self.known {
                    let uid = uid.clone();
                    self.take(now, Known { uid, version, page: Some(flight.page) });
                }
                Settled { entered: flight.tickets, lost: Vec::new() }
            }
            Outcome::Lost => Settled { entered: Vec::new(), lost: flight.tickets },
            Outcome::Unknown => {
                self.flight = Some(flight);
                Settled::default()
            }
        }
    }
}
