//! The mesh as it stands, shared between those that read it and those that keep it up to date.
//!
//! It has layers. Of one object, what the cluster has counts before what files say: a [`Source`]
//! has its own layer. And a write that was just admitted counts beside what stands, until the
//! cluster tells of it: the next review may come before that. It counts beside and not instead,
//! for whether it will be stored is not known yet.

mod holds;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use holds::{Hold, Holds};

use crate::ledger::{Listed, Watched};
use crate::mesh::{Claim, Mesh, ObjectRef, PendingWrite, Reading, WriteId};
use crate::review::{Verdict, Write, review};

/// The mesh that reviews are held against.
///
/// A review and an applied object take microseconds each, so a lock costs less than the copies
/// that would do without one.
pub struct Snapshot {
    state: RwLock<State>,
    begun: Instant,
}

/// What tells of objects. Of one object, the later source counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Files that say what a cluster has.
    Files,
    /// The cluster itself.
    Cluster,
}

struct State {
    mesh: Mesh,
    /// How often the mesh has changed.
    revision: u64,
    /// The objects that sources tell of.
    objects: HashMap<Arc<ObjectRef>, Layers>,
    /// How far each watch of the cluster has come.
    watches: BTreeMap<Arc<str>, Watched>,
    /// What was admitted and not observed yet.
    held: Holds,
}

/// What sources tell of one object.
struct Layers {
    /// The source that counts. What it tells stands in the mesh.
    source: Source,
    /// In which version it tells of the object.
    version: Option<u64>,
    /// What the other sources tell.
    beneath: Vec<(Source, Reading)>,
}

impl Snapshot {
    /// Shares a mesh.
    pub fn new(mesh: Mesh) -> Self {
        let (objects, watches, held) = (HashMap::new(), BTreeMap::new(), Holds::default());
        let state = State { mesh, revision: 0, objects, watches, held };
        Self { state: RwLock::new(state), begun: Instant::now() }
    }

    /// The time, by a clock that never goes back.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Looks at the mesh. It does not change meanwhile, so look briefly.
    pub fn read<T>(&self, look: impl FnOnce(&Mesh) -> T) -> T {
        look(&self.state().mesh)
    }

    /// How often the mesh has changed.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Judges a write.
    pub fn judge(&self, write: Write<'_>) -> Verdict {
        let write = Write { now: Some(SystemTime::now().into()), ..write };
        let state = self.state();
        state.held.timed(review(&state.mesh, state.believed(write)))
    }

    /// Judges a write, and holds what the object says from now on, if that is admitted and will be
    /// stored, until it is settled or for so long. No other write is judged in between: of two
    /// that clash, one is judged against the other. What there is no room to hold has to wait.
    pub fn admit(&self, write: Write<'_>, hold: Duration) -> Verdict {
        if !write.is_stored {
            return self.judge(write);
        }
        let (id, user) = (write.id.clone(), write.user.as_ref().into());
        let reading = write.new.clone();
        let write = Write { now: Some(SystemTime::now().into()), ..write };
        let mut state = self.state_mut();
        let write = state.believed(write);
        let may_say_else = state.may_say_else(&write);
        // Nothing changes while it is looked at, so a fault in that leaves the mesh as it was.
        let judge = AssertUnwindSafe(|| state.held.timed(review(&state.mesh, write)));
        let mut verdict = match catch_unwind(judge) {
            Ok(verdict) => verdict,
            Err(panic) => {
                drop(state);
                resume_unwind(panic)
            }
        };
        if verdict.is_admitted() && may_say_else {
            let until = Instant::now() + hold;
            if let Some(attempt) = state.held.next_attempt(&id, &user, &reading) {
                let write = Arc::new(PendingWrite { id, user, attempt });
                let hold = Hold { reading, write, until };
                if state.held.has_room(&hold) {
                    state.hold(hold);
                } else {
                    verdict.is_crowded = true;
                    verdict = state.held.timed(verdict);
                }
            }
        }
        verdict
    }

    /// Takes in what a source tells of an object.
    pub fn put(&self, source: Source, reading: Reading) {
        self.put_all(source, vec![reading]);
    }

    /// The same of many objects.
    pub fn put_all(&self, source: Source, readings: Vec<Reading>) {
        let mut state = self.state_mut();
        if source == Source::Cluster {
            for reading in &readings {
                state.settle(&reading.object, Some(reading));
            }
        }
        state.change(|state| readings.into_iter().filter_map(|it| state.put(source, it)).collect());
    }

    /// Takes in that a source does not tell of an object any more.
    pub fn remove(&self, source: Source, object: &Arc<ObjectRef>) {
        self.remove_all(source, [object]);
    }

    /// The same of many objects.
    pub fn remove_all<'a>(
        &self,
        source: Source,
        objects: impl IntoIterator<Item = &'a Arc<ObjectRef>>,
    ) {
        let mut state = self.state_mut();
        let settled = |state: &mut State, object: &Arc<ObjectRef>| {
            if source == Source::Cluster {
                state.settle(object, None);
            }
            state.remove(source, object)
        };
        state.change(|state| objects.into_iter().filter_map(|it| settled(state, it)).collect());
    }

    /// Takes in how far a watch of the cluster has come, after all that it has told before.
    pub fn come(&self, watch: &Arc<str>, watched: Watched) {
        self.state_mut().watches.insert(Arc::clone(watch), watched);
    }

    /// Takes in that a watch was listed, after what that has brought.
    pub fn listed(&self, list: &Listed<'_>) {
        let watched = Watched::At { version: list.version, listed: list.begun };
        self.state_mut().watches.insert(list.watch.into(), watched);
    }

    /// How far a watch of the cluster has come.
    pub fn watched(&self, watch: &str) -> Watched {
        self.state().watches.get(watch).copied().unwrap_or_default()
    }

    /// The version in which the cluster was last seen to have an object, if it has one.
    pub fn version_of(&self, object: &ObjectRef) -> Option<u64> {
        self.state().version_of(object)
    }

    /// Takes in what the cluster says of an object when it is asked for it, having been seen in this
    /// version before: nothing where there is no such object. What has been told meanwhile stays.
    pub fn correct(&self, object: &Arc<ObjectRef>, seen: Option<u64>, now: Option<Reading>) {
        let mut state = self.state_mut();
        if state.version_of(object) != seen || now.as_ref().is_some_and(|now| now.version <= seen) {
            return;
        }
        state.settle(object, now.as_ref());
        let says = match now {
            Some(now) => state.put(Source::Cluster, now),
            None => state.remove(Source::Cluster, object),
        };
        state.apply(says);
    }

    /// Takes in all that a source tells, in place of what it told. Of an object that comes twice,
    /// the last one counts.
    pub fn replace<'r>(&self, source: Source, readings: impl IntoIterator<Item = &'r Reading>) {
        let told: BTreeMap<_, _> =
            readings.into_iter().map(|reading| (&*reading.object, reading)).collect();
        // Most of it stands already, which is found out while others look as well.
        let (gone, news) = {
            let state = self.state();
            #[allow(clippy::iter_over_hash_type, reason = "the mesh does not depend on the order")]
            let gone: Vec<_> = state
                .objects
                .iter()
                .filter(|(_, layers)| layers.has(source))
                .filter(|(object, _)| !told.contains_key(&***object))
                .map(|(object, _)| Arc::clone(object))
                .collect();
            let is_news = |reading: &&&Reading| !state.is_told(source, reading);
            (gone, told.values().filter(is_news).copied().cloned().collect::<Vec<_>>())
        };
        let mut state = self.state_mut();
        state.change(|state| {
            let gone: Vec<_> = gone.iter().filter_map(|it| state.remove(source, it)).collect();
            gone.into_iter()
                .chain(news.into_iter().filter_map(|it| state.put(source, it)))
                .collect()
        });
    }

    /// Takes in whether the cluster knows IstioMulticlusters, though there may be none.
    pub fn serve_peers(&self, serves: bool) {
        if self.read(Mesh::serves_peers) != serves {
            let mut state = self.state_mut();
            state.revision += 1;
            state.mesh.serve_peers(serves);
        }
    }

    /// Gives up what was admitted and not observed for too long: it was not stored after all.
    pub fn expire(&self, now: Instant) {
        if self.state().held.is_empty() {
            return;
        }
        let mut state = self.state_mut();
        for object in state.held.expired(now) {
            state.release(&object);
        }
    }

    /// How many objects the cluster has, and how many writes are held.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let of_cluster = |layers: &&Layers| layers.source == Source::Cluster;
        (state.objects.values().filter(of_cluster).count(), state.held.len())
    }

    /// Whether no change has broken off in the middle. What is half changed is looked at by nobody
    /// any more, for nothing tells what is missing of it.
    pub fn is_sound(&self) -> bool {
        !self.state.is_poisoned()
    }

    /// Breaks off a change in the middle.
    #[cfg(test)]
    #[allow(clippy::panic, reason = "it is what is tested")]
    pub(crate) fn break_off(&self) {
        let _state = self.state_mut();
        panic!("on purpose");
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(|_| half_changed())
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|_| half_changed())
    }
}

/// Gives up whatever needs the mesh.
fn half_changed() -> ! {
    resume_unwind(Box::new("the mesh is half changed"))
}

impl Layers {
    fn has(&self, source: Source) -> bool {
        self.source == source || self.beneath.iter().any(|(beneath, _)| *beneath == source)
    }
}

impl State {
    /// Changes what sources tell, and brings the mesh in line with what counts now.
    fn change(&mut self, change: impl FnOnce(&mut Self) -> Vec<Reading>) {
        let readings = change(self);
        self.apply(readings);
    }

    /// Notes what a source tells; gives back what the mesh is to say by that.
    fn put(&mut self, source: Source, reading: Reading) -> Option<Reading> {
        match self.objects.get_mut(&reading.object) {
            Some(layers) if source < layers.source => {
                layers.beneath.retain(|(beneath, _)| *beneath != source);
                layers.beneath.push((source, reading));
                return None;
            }
            Some(layers) => {
                if layers.source != source {
                    layers.beneath.push((layers.source, self.mesh.reading_of(&reading.object)));
                    layers.source = source;
                }
                layers.version = reading.version;
            }
            None => {
                let layers = Layers { source, version: reading.version, beneath: Vec::new() };
                self.objects.insert(Arc::clone(&reading.object), layers);
            }
        }
        Some(reading)
    }

    /// Notes that a source tells of an object no more; gives back what the mesh is to say by that.
    fn remove(&mut self, source: Source, object: &Arc<ObjectRef>) -> Option<Reading> {
        let layers = self.objects.get_mut(object)?;
        if layers.source != source {
            layers.beneath.retain(|(beneath, _)| *beneath != source);
            return None;
        }
        layers.beneath.sort_unstable_by_key(|(source, _)| *source);
        let Some((source, reading)) = layers.beneath.pop() else {
            self.objects.remove(object);
            return Some(Reading::of(Arc::clone(object)));
        };
        (layers.source, layers.version) = (source, reading.version);
        Some(reading)
    }

    fn apply(&mut self, readings: impl IntoIterator<Item = Reading>) {
        self.revision += 1;
        self.mesh.apply_all(readings);
    }

    fn version_of(&self, object: &ObjectRef) -> Option<u64> {
        let layers = self.objects.get(object)?;
        layers.version.filter(|_| layers.source == Source::Cluster)
    }

    /// Whether a source tells this already.
    fn is_told(&self, source: Source, reading: &Reading) -> bool {
        self.objects.get(&reading.object).is_some_and(|layers| {
            let is_same = |(beneath, told): &(Source, Reading)| {
                *beneath == source && told.statements == reading.statements
            };
            if layers.source == source {
                self.mesh.says(reading)
            } else {
                layers.beneath.iter().any(is_same)
            }
        })
    }

    /// The write, held against what is known of its object where what it brings along of that is
    /// older, or differs from it though it is of the same version.
    fn believed<'a>(&self, write: Write<'a>) -> Write<'a> {
        let is_known = |old: &Reading| {
            let known = self.objects.get(&old.object);
            let known = known.filter(|layers| layers.source == Source::Cluster);
            match (old.version, known.and_then(|layers| layers.version)) {
                (Some(old_version), Some(known)) => {
                    old_version < known || old_version == known && !self.mesh.says(old)
                }
                _ => false,
            }
        };
        Write { old: write.old.filter(|old| !is_known(old)), ..write }
    }

    /// Whether an object may say anything else until a write is stored than after that. Of a name
    /// that is to be created, what stands may be deleted before.
    fn may_say_else(&self, write: &Write<'_>) -> bool {
        match (&write.id, &write.old) {
            (WriteId::Create(_), _) => !write.new.statements.is_empty(),
            (WriteId::Update(_), Some(old)) => !same(old, &write.new),
            (WriteId::Update(_), None) => {
                let object = &write.new.object;
                self.mesh.pending_writes_of(object).next().is_some()
                    || !same(&self.mesh.reading_of(object), &write.new)
            }
        }
    }

    fn hold(&mut self, hold: Hold) {
        self.apply([hold.reading.pending(Arc::clone(&hold.write))]);
        self.held.insert(hold);
    }

    /// Ends the holds of the writes of an object that are over, as what is stored of it proves.
    fn settle(&mut self, object: &ObjectRef, stored: Option<&Reading>) {
        if self.held.is_empty() {
            return;
        }
        let pending: Vec<_> = self.held.of(object).map(Arc::clone).collect();
        for pending in pending {
            let is_over = self.held.find(&pending).is_some_and(|hold| {
                let identity = stored.map(|stored| (&*stored.uid, stored.version));
                let settled = hold.write.id.is_settled(identity);
                // It may have been admitted to say nothing any more.
                let says = |stored: Option<&Reading>| match stored {
                    Some(stored) => same(&hold.reading, stored),
                    None => hold.reading.statements.is_empty(),
                };
                settled.unwrap_or_else(|| says(stored))
            });
            if is_over {
                self.release(&pending);
            }
        }
    }

    fn release(&mut self, pending: &ObjectRef) {
        self.revision += 1;
        self.held.remove(pending);
        self.mesh.remove(pending);
    }
}

/// Whether both say the same, but for the status, which has an author of its own.
fn same(a: &Reading, b: &Reading) -> bool {
    let said = |reading: &Reading| -> Vec<(_, Vec<Claim>)> {
        let mut said: Vec<_> = reading
            .statements
            .iter()
            .map(|(member, claims)| {
                let by_hand = claims.iter().filter(|claim| !claim.place.is_status());
                (Arc::clone(member), by_hand.cloned().collect::<Vec<_>>())
            })
            .filter(|(_, claims)| !claims.is_empty())
            .collect();
        said.sort_by(|(a, _), (b, _)| a.cmp(b));
        said
    };
    said(a) == said(b)
}

#[cfg(test)]
mod tests;
