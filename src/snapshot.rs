//! The mesh as it stands, shared between those that read it and those that keep it up to date.
//!
//! It has layers: of one object, what the cluster has counts before what files say. A write that was
//! just admitted is in none of them, for whether it will be stored is not known yet. It is entered
//! in a [ledger](crate::ledger), and the next one is judged with it and without it, until the cluster
//! tells what has become of it.

mod case;
mod shared;
mod told;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use case::Case;
pub use case::{Admission, Confirm, Confirmed, SUPERSEDED};
use shared::Shared;
pub use shared::{PageState, SharedPage};
use tokio::sync::Notify;
pub use told::Source;
use told::{Layers, Told};

use crate::ledger::{
    Cache, Clerk, Due, Listed, Outcome, Page, Settled, Setup, Sight, Step, Stored, Watched,
};
use crate::mesh::{Mesh, ObjectRef, Reading};
use crate::pending;
use crate::review::{Verdict, Write, review};

/// The mesh that reviews are held against.
///
/// A review and an applied object take microseconds each, so a lock costs less than the copies
/// that would do without one.
pub struct Snapshot {
    state: RwLock<State>,
    /// What the times of the ledger count from.
    begun: Instant,
    known_by: KnownBy,
    /// Told when a write is to be entered in the page that replicas share.
    staged: Notify,
}

/// By which watches of the cluster an object is known.
pub type KnownBy = Box<dyn Fn(&ObjectRef) -> Vec<Arc<str>> + Send + Sync>;

/// How many bytes of memory everything may take that was admitted and not observed yet.
const MOST_BYTES: usize = 8 << 20;

struct State {
    mesh: Mesh,
    /// How often the mesh has changed.
    revision: u64,
    told: Told,
    /// Keeps what this replica alone has admitted and not observed yet.
    alone: Clerk<Arc<Reading>>,
    /// The page that replicas share, if they do.
    shared: Option<Shared>,
}

impl Snapshot {
    /// Shares a mesh.
    pub fn new(mesh: Mesh) -> Self {
        Self::holding(mesh, pending::LONGEST)
    }

    /// Shares a mesh, of which what was admitted and is not observed counts for so long at most.
    pub fn holding(mesh: Mesh, longest: Duration) -> Self {
        let (digest, watches, without) = (Arc::from(""), Vec::new(), None);
        let page = Page { is_proven: true, ..Page::new(0, &digest) };
        let setup = Setup { digest, longest, watches, most_bytes: MOST_BYTES, without };
        let mut alone = Clerk::new(setup);
        let (uid, version) = Default::default();
        alone.read(Duration::ZERO, Sight { uid, version, page: Some(page) });
        let state = State { mesh, revision: 0, told: Told::default(), alone, shared: None };
        let known_by = Box::new(|_: &ObjectRef| Vec::new());
        let (state, begun, staged) = (RwLock::new(state), Instant::now(), Notify::new());
        Self { state, begun, known_by, staged }
    }

    /// Has the replicas share a page from now on.
    pub fn share(&self, setup: Setup) {
        self.state_mut().shared = Some(Shared::new(setup));
    }

    /// The same, where objects are known by watches.
    #[must_use]
    pub fn known_by(self, known_by: KnownBy) -> Self {
        Self { known_by, ..self }
    }

    /// Looks at the mesh. It does not change meanwhile, so look briefly.
    pub fn read<T>(&self, look: impl FnOnce(&Mesh) -> T) -> T {
        look(&self.state().mesh)
    }

    /// How often the mesh has changed.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Judges a write as things stand, whatever becomes of it.
    pub fn judge(&self, write: Write<'_>) -> Verdict {
        match self.foresee(&self.state(), write, None, true) {
            Admission::Judged(verdict) => *verdict,
            _ => Verdict::default(),
        }
    }

    /// Judges a write, and enters it in the ledger if it is admitted, will be stored, and says
    /// anything new. No other write is judged in between: of two that clash, one is judged against
    /// the other. The ledger is that of all replicas, if there is one, unless the write is to be
    /// judged by this replica `alone`.
    pub fn admit(&self, write: Write<'_>, confirmed: Confirmed<'_>, alone: bool) -> Admission {
        let state = self.state();
        let write = state.told.believed(&state.mesh, write);
        if !write.may_change_claims() || !write.is_stored {
            let is_live = state.told.is_live(&write);
            return self.foresee(&state, write, confirmed, is_live);
        }
        drop(state);
        let (mut state, now) = (self.state_mut(), self.now());
        let State { mesh, told, alone: own, shared, .. } = &mut *state;
        let shared = shared.as_mut().filter(|_| !alone);
        let is_shared = shared.is_some();
        let clerk = match shared {
            Some(Shared { fault: Some(fault), .. }) => {
                return Admission::Unready(Arc::clone(fault));
            }
            Some(shared) => &mut shared.clerk,
            None => own,
        };
        let (watches, is_live) = ((self.known_by)(&write.new.object), told.is_live(&write));
        let write = told.believed(mesh, write);
        let case = Case::new(mesh, write, watches, (confirmed, is_live), is_shared);
        // Nothing changes while it is looked at, so a fault in that leaves the mesh as it was.
        let admit =
            AssertUnwindSafe(|| case.decide(|ask, trial| clerk.admit(now, told, ask, trial)));
        match catch_unwind(admit) {
            Ok((Step::Enter(ticket), admission)) => match (admission, &mut state.shared) {
                (Admission::Judged(verdict), Some(shared)) if is_shared => {
                    let waits = shared.wait(ticket);
                    self.staged.notify_one();
                    Admission::Entering(verdict, waits)
                }
                (admission, _) => {
                    state.swap(now);
                    admission
                }
            },
            Ok((_, admission)) => admission,
            Err(panic) => {
                drop(state);
                resume_unwind(panic)
            }
        }
    }

    fn foresee(
        &self,
        state: &State,
        write: Write<'_>,
        confirmed: Confirmed<'_>,
        is_live: bool,
    ) -> Admission {
        let State { mesh, told, alone, shared, .. } = state;
        let usable = shared.as_ref().filter(|shared| shared.fault.is_none());
        let clerk = usable.map_or(alone, |shared| &shared.clerk);
        let write = told.believed(mesh, write);
        let is_plain = clerk.pending() == 0 && confirmed.is_none() && is_live;
        if is_plain || write.says_the_same() {
            let now = Some(SystemTime::now().into());
            return Admission::Judged(Box::new(review(mesh, Write { now, ..write })));
        }
        let case = Case::new(mesh, write, Vec::new(), (confirmed, is_live), false);
        case.decide(|ask, trial| clerk.judge(self.now(), ask, trial)).1
    }

    /// Takes in what a source tells of an object.
    pub fn put(&self, source: Source, reading: Reading) {
        self.put_all(source, vec![reading]);
    }

    /// The same of many objects.
    pub fn put_all(&self, source: Source, readings: Vec<Reading>) {
        let mut state = self.state_mut();
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
        let remove = |state: &mut State| {
            objects.into_iter().filter_map(|object| state.remove(source, object)).collect()
        };
        self.state_mut().change(remove);
    }

    /// Takes in how far a watch of the cluster has come, after all that it has told before.
    pub fn come(&self, watch: &Arc<str>, watched: Watched) {
        let mut state = self.state_mut();
        state.told.watches.insert(Arc::clone(watch), watched);
        state.observe();
    }

    /// Takes in that a watch was listed, after what that has brought.
    pub fn listed(&self, list: &Listed<'_>) {
        let watched = Watched::At { version: list.version, listed: list.begun };
        let mut state = self.state_mut();
        if let Some(shared) = &mut state.shared {
            let lost = shared.clerk.listed(list);
            shared.settle(Settled { lost, ..Settled::default() });
        }
        state.told.watches.insert(list.watch.into(), watched);
        state.observe();
    }

    /// How far a watch of the cluster has come.
    pub fn watched(&self, watch: &str) -> Watched {
        self.state().told.watch(watch)
    }

    /// The version in which the cluster was last seen to have an object, if it has one.
    pub fn version_of(&self, object: &ObjectRef) -> Option<u64> {
        self.state().told.version_of(object)
    }

    /// The `metadata.uid` of an object that a source tells of.
    pub fn uid_of(&self, object: &ObjectRef) -> Option<Box<str>> {
        self.state().told.objects.get(object).map(|layers| layers.uid.clone())
    }

    /// Takes in what the cluster says of an object when it is asked for it, having been seen in this
    /// version before: nothing where there is no such object. What has been told meanwhile stays.
    pub fn correct(&self, object: &Arc<ObjectRef>, seen: Option<u64>, now: Option<Reading>) {
        let mut state = self.state_mut();
        if state.told.version_of(object) != seen
            || now.as_ref().is_some_and(|now| now.version <= seen)
        {
            return;
        }
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
                .told
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

    /// Which objects are to be read, to tell by these stamps what has become of writes that this
    /// replica alone has admitted and not observed for too long.
    pub fn overdue(&self) -> Vec<(u64, Arc<ObjectRef>)> {
        if self.state().alone.pending() == 0 {
            return Vec::new();
        }
        let (mut state, now) = (self.state_mut(), self.now());
        loop {
            match state.alone.due(now, &state.told) {
                Some(Due::Swap) => state.swap(now),
                Some(Due::Look(objects)) => return objects,
                Some(Due::Read) | None => return Vec::new(),
            }
        }
    }

    /// Takes in what was found of such an object: nothing where there is none.
    pub fn looked(&self, stamp: u64, found: Option<Stored<'_>>) {
        let (mut state, now) = (self.state_mut(), self.now());
        state.alone.looked(stamp, found);
        state.swap(now);
    }

    /// What is to be done with the page that replicas share, if they do.
    pub fn with_page<T>(&self, act: impl FnOnce(SharedPage<'_>) -> T) -> Option<T> {
        let (mut state, now) = (self.state_mut(), self.now());
        let State { told, shared, .. } = &mut *state;
        shared.as_mut().map(|shared| act(shared.at(told, now)))
    }

    /// How the page is that replicas share; nothing where they share none.
    pub fn page(&self) -> Option<PageState> {
        self.with_page(|page| page.state())
    }

    /// The watches that have not come as far as that page demands.
    pub fn behind(&self) -> Vec<Arc<str>> {
        self.with_page(|page| page.behind()).unwrap_or_default()
    }

    /// Returns once a write is to be entered there.
    pub async fn staged(&self) {
        self.staged.notified().await;
    }

    /// How many objects the cluster has, and how many writes are held.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let of_cluster = |layers: &&Layers| layers.source == Source::Cluster;
        let shared = state.shared.as_ref().map_or(0, |shared| shared.clerk.pending());
        (state.told.objects.values().filter(of_cluster).count(), state.alone.pending() + shared)
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

    /// The time, by a clock that never goes back.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
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

impl State {
    /// Changes what sources tell, and brings the mesh in line with what counts now.
    fn change(&mut self, change: impl FnOnce(&mut Self) -> Vec<Reading>) {
        let readings = change(self);
        self.apply(readings);
    }

    /// Notes what a source tells; gives back what the mesh is to say by that.
    fn put(&mut self, source: Source, reading: Reading) -> Option<Reading> {
        match self.told.objects.get_mut(&reading.object) {
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
                (layers.version, layers.uid) = (reading.version, reading.uid.clone());
            }
            None => {
                let (version, uid) = (reading.version, reading.uid.clone());
                let layers = Layers { source, version, uid, beneath: Vec::new() };
                self.told.objects.insert(Arc::clone(&reading.object), layers);
            }
        }
        Some(reading)
    }

    /// Notes that a source tells of an object no more; gives back what the mesh is to say by that.
    fn remove(&mut self, source: Source, object: &Arc<ObjectRef>) -> Option<Reading> {
        let layers = self.told.objects.get_mut(object)?;
        if layers.source != source {
            layers.beneath.retain(|(beneath, _)| *beneath != source);
            return None;
        }
        layers.beneath.sort_unstable_by_key(|(source, _)| *source);
        let Some((source, reading)) = layers.beneath.pop() else {
            self.told.objects.remove(object);
            return Some(Reading::of(Arc::clone(object)));
        };
        (layers.source, layers.version) = (source, reading.version);
        layers.uid.clone_from(&reading.uid);
        Some(reading)
    }

    fn apply(&mut self, readings: impl IntoIterator<Item = Reading>) {
        self.revision += 1;
        self.mesh.apply_all(readings);
        self.observe();
    }

    /// Notes which of the entries are over by what has been told.
    fn observe(&mut self) {
        self.alone.observe(&self.told);
        if let Some(shared) = &mut self.shared {
            shared.clerk.observe(&self.told);
        }
    }

    /// Makes the swap that is due of the page that nobody else has.
    fn swap(&mut self, now: Duration) {
        let nonce = self.alone.page().map_or(0, |page| page.nonce + 1);
        if self.alone.swap(now, nonce, &self.told).is_some() {
            self.alone.swapped(now, Outcome::Committed(Box::default()));
        }
    }

    /// Whether a source tells this already.
    fn is_told(&self, source: Source, reading: &Reading) -> bool {
        self.told.objects.get(&reading.object).is_some_and(|layers| {
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
}

#[cfg(test)]
mod tests;
