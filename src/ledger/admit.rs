//! Whether a write may be stored, whatever becomes of those that are pending.

use std::sync::Arc;
use std::time::Duration;

use super::clerk::Clerk;
use super::page::{Cache, Entry, Watched};
use super::{MOST_OF_USER, MOST_RELATED, Safeguard};
use crate::mesh::{ObjectRef, WriteId};

/// How long it takes at most to give up an entry that is late.
const GIVING_UP: Duration = Duration::from_secs(2);

/// A write that asks for admission.
#[derive(Debug)]
pub struct Ask<'a, R> {
    /// The object.
    pub object: &'a Arc<ObjectRef>,
    /// Which of its writes.
    pub id: &'a WriteId,
    /// The watches that tell of the object, before and after the write.
    pub watches: &'a [Arc<str>],
    /// Who writes.
    pub user: &'a Arc<str>,
    /// What the object says after it; nothing where that is too much for the page.
    pub reading: Option<&'a R>,
    /// How many bytes it takes on the page.
    pub bytes: usize,
    /// Whether the object is stored if it is admitted, and says anything else by that.
    pub is_entered: bool,
    /// Whether what the verdict rests on was just read: nothing if it was not; else whether the old
    /// object that came with the write is the one that is stored.
    pub confirmed: Option<bool>,
}

/// What is found wrong with a write in one state of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// Nothing that denies.
    Nothing,
    /// Something that denies, if it did not stand before.
    Standing,
    /// Something that denies.
    Clash,
}

/// Judges a write.
pub trait Judge<R> {
    /// Those of the entries, which are of other objects, that may change what is found wrong with
    /// the write, by themselves or together; and those of which nobody knows what they say.
    fn related<'e>(&self, entries: Vec<&'e Entry<R>>) -> Vec<&'e Entry<R>>;
    /// What is found wrong if these entries are stored and no other one, of each object one at most.
    fn found(&mut self, stored: &[&Entry<R>]) -> Found;
}

/// What is to become of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It may be stored.
    Allow,
    /// It may be stored once the swap is committed in which it has this ticket.
    Enter(u64),
    /// It may not be stored.
    Deny,
    /// What the verdict rests on is to be read, and the same to be asked again.
    Confirm,
    /// These watches are to be listed anew, and the same to be asked again.
    List(Vec<Arc<str>>),
    /// It is to come again.
    Wait(Wait),
    /// Replicas of another kind judge, and this one does not.
    Superseded,
    /// The page has yet to be read.
    Unread,
}

/// Why a write is to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What it waits for.
    pub why: Why,
    /// How long that takes at most.
    pub remaining: Duration,
}

/// What a write waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// It clashes with writes that may be stored or not.
    Pending,
    /// More pending writes are related to it than can be judged in every combination.
    Many,
    /// What a pending write says is not known.
    Opaque,
    /// Its author has too many pending writes.
    Crowded,
    /// There is no room for more pending writes.
    Full,
    /// Pending writes may have been lost.
    Quarantine,
    /// The object has changed since it was read for this write.
    Outdated,
    /// Other writes were entered first, as often as there was time to judge it anew.
    Busy,
    /// What it would be judged by cannot be relied upon.
    Unusable,
}

impl<R: Clone + PartialEq> Clerk<R> {
    /// Decides on a write.
    pub fn admit(
        &mut self,
        now: Duration,
        cache: &impl Cache,
        ask: &Ask<'_, R>,
        judge: &mut impl Judge<R>,
    ) -> Step {
        if self.page().is_none() {
            return Step::Unread;
        }
        if self.superseded.is_some() {
            return Step::Superseded;
        }
        let wait = |why, remaining| Step::Wait(Wait { why, remaining });
        if let Some(remaining) = self.quarantine(now) {
            return wait(Why::Quarantine, remaining);
        }
        let behind = self.behind(cache);
        if !behind.is_empty() {
            return Step::List(behind);
        }
        self.observe(cache);
        match self.judge(now, ask, judge) {
            Step::Allow if ask.is_entered => self.stage(ask, cache),
            step => step,
        }
    }

    /// Decides on a write by what is known now, which is all there is to decide if it is not to be
    /// stored, or not by this ledger.
    pub fn judge(&self, now: Duration, ask: &Ask<'_, R>, judge: &mut impl Judge<R>) -> Step {
        let stored = judge.found(&[]);
        if stored != Found::Nothing && self.minds(Safeguard::Confirm) {
            match ask.confirmed {
                None => return Step::Confirm,
                Some(false) => {
                    let remaining = Duration::from_secs(1);
                    return Step::Wait(Wait { why: Why::Outdated, remaining });
                }
                Some(true) => {}
            }
        }
        match self.why_not(now, ask, judge, stored) {
            Err(wait) => Step::Wait(wait),
            Ok(()) if stored == Found::Clash => Step::Deny,
            Ok(()) => Step::Allow,
        }
    }

    /// For how long entries may be missing that were lost; nothing if none is.
    pub fn quarantine(&self, now: Duration) -> Option<Duration> {
        let is_proven = !self.is_lost && self.page()?.is_proven;
        let end = self.era_seen + self.setup.longest;
        let is_over = is_proven || !self.is_lost && now >= end;
        let left = end.saturating_sub(now);
        (!is_over && self.minds(Safeguard::Quarantine)).then_some(left)
    }

    /// The watches that have not come as far as the page demands.
    pub fn behind(&self, cache: &impl Cache) -> Vec<Arc<str>> {
        let Some(page) = self.page() else { return Vec::new() };
        let floor_of = |watch: &Arc<str>| {
            // What this replica has found stored when it looked, its watch may have yet to tell.
            let entries = page.entries.iter().filter(|entry| entry.watches.contains(watch));
            let found = entries.filter_map(|entry| self.over.get(&entry.stamp));
            found.chain(page.floors.get(watch)).copied().max().unwrap_or_default()
        };
        // What is stored while entries may be missing raises no floor.
        let known_since =
            if page.is_proven { self.proven_seen } else { self.era_seen + self.setup.longest };
        let is_behind = |watch: &&Arc<str>| {
            let floor = if self.minds(Safeguard::Floors) { floor_of(watch) } else { 0 };
            let is_past = |listed| listed <= known_since && self.minds(Safeguard::Relist);
            match cache.watch(watch) {
                Watched::Unknown => true,
                Watched::Absent { since, listed } => {
                    let is_young = listed < since + self.setup.longest;
                    is_past(listed) || floor > 0 && is_young && self.minds(Safeguard::Absent)
                }
                Watched::At { version, listed } => version < floor || is_past(listed),
            }
        };
        self.setup.watches.iter().filter(is_behind).cloned().collect()
    }

    /// What keeps a write waiting of which this is found as things stand: that it is otherwise if
    /// pending writes are stored, as far as that can be told.
    fn why_not(
        &self,
        now: Duration,
        ask: &Ask<'_, R>,
        judge: &mut impl Judge<R>,
        stored: Found,
    ) -> Result<(), Wait> {
        let Some(page) = self.page() else { return Ok(()) };
        let is_new = |entry: &&Entry<R>| page.entry(entry.stamp).is_none();
        let in_flight = self.flight.iter().flat_map(|flight| &flight.page.entries).filter(is_new);
        let ours = in_flight.chain(self.staged.iter().map(|(_, entry)| entry));
        let ours = ours.filter(|_| self.minds(Safeguard::Own));
        let is_pending = |entry: &&Entry<R>| !self.over.contains_key(&entry.stamp);
        let pending: Vec<_> = page.entries.iter().filter(is_pending).chain(ours).collect();
        let is_repeated = |entry: &Entry<R>| {
            let Entry { object, id, reading, .. } = entry;
            *object == *ask.object && *id == *ask.id && reading.as_ref() == ask.reading
        };
        let new: Vec<_> = pending.iter().filter(|entry| !is_repeated(entry)).collect();
        let bytes: usize = new.iter().map(|entry| entry.bytes).sum::<usize>() + ask.bytes;
        let of_user = new.iter().filter(|entry| entry.user == *ask.user);
        let (count, own) = of_user.fold((0, 0), |(count, own), it| (count + 1, own + it.bytes));
        // Of its own object, a write is stored in place of what is pending, or not at all.
        let others = pending.into_iter().filter(|entry| entry.object != *ask.object);
        let related = judge.related(others.collect());
        let remaining = self.remaining(now, &related);
        let because = |why| Err(Wait { why, remaining });
        if related.iter().any(|entry| entry.reading.is_none()) {
            return because(Why::Opaque);
        }
        if related.len() > MOST_RELATED {
            return because(Why::Many);
        }
        let is_clash = stored == Found::Clash;
        let is_other = |entries: Vec<_>| (judge.found(&entries) == Found::Clash) != is_clash;
        if self.combinations(&related).any(is_other) {
            return because(Why::Pending);
        }
        if is_clash || !ask.is_entered {
            return Ok(());
        }
        let remaining = self.setup.longest / 8;
        if bytes > self.setup.most_bytes {
            return Err(Wait { why: Why::Full, remaining });
        }
        // To each user, what is its own counts twice: nobody takes more room than is left to others.
        if count >= MOST_OF_USER || bytes + own > self.setup.most_bytes {
            return Err(Wait { why: Why::Crowded, remaining });
        }
        Ok(())
    }

    /// How long it takes at most until all of these are over.
    fn remaining(&self, now: Duration, related: &[&Entry<R>]) -> Duration {
        let left = |entry: &&Entry<R>| match self.seen.get(&entry.stamp) {
            Some(_) => self.end_of(entry.stamp).saturating_sub(now),
            None => self.setup.longest,
        };
        related.iter().map(left).max().unwrap_or_default() + GIVING_UP
    }

    /// Every way in which some of these may be stored: of each object one entry at most.
    fn combinations<'e>(
        &self,
        related: &[&'e Entry<R>],
    ) -> impl Iterator<Item = Vec<&'e Entry<R>>> {
        let every = if related.is_empty() { 0 } else { 1_u32 << related.len() };
        // All of them at once, if that is left out.
        let first = if self.minds(Safeguard::Worlds) { 1 } else { every.saturating_sub(1) };
        let related = related.to_vec();
        (first..every).filter_map(move |mask| {
            let is_in = |at: &usize| mask >> at & 1 == 1;
            let stored: Vec<_> = (0..related.len()).filter(is_in).map(|at| related[at]).collect();
            let is_double = stored
                .iter()
                .enumerate()
                .any(|(at, entry)| stored[..at].iter().any(|other| other.object == entry.object));
            (!is_double || first > 1).then_some(stored)
        })
    }

    /// Has a write entered by the next swap.
    fn stage(&mut self, ask: &Ask<'_, R>, cache: &impl Cache) -> Step {
        let is_creation = matches!(ask.id, WriteId::Create(_));
        let exists = is_creation && cache.stored(ask.object).is_some();
        if exists && !self.minds(Safeguard::Creations) {
            return Step::Allow;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entry = Entry {
            // It has none before it is on the page.
            stamp: u64::MAX,
            object: Arc::clone(ask.object),
            id: ask.id.clone(),
            watches: ask.watches.to_vec(),
            user: Arc::clone(ask.user),
            reading: ask.reading.cloned(),
            bytes: ask.bytes,
        };
        self.staged.push((ticket, entry));
        Step::Enter(ticket)
    }
}
