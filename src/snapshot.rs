//! The mesh as it stands, shared between those that read it and those that keep it up to date.
//!
//! It has three layers. What the cluster has counts before what files say of the same object. And
//! a write that was just admitted counts beside what stands, until the cluster tells of it: the
//! next review may come before that. It counts beside and not instead, for whether it will be
//! stored is not known yet.

mod holds;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

pub use holds::Full;
use holds::{Hold, Holds};

use crate::mesh::{Claim, Mesh, ObjectRef, Reading};
use crate::review::{Verdict, Write, review};

/// The mesh that reviews are held against.
///
/// A review and an applied object take microseconds each, so a lock costs less than the copies
/// that would do without one.
pub struct Snapshot {
    state: RwLock<State>,
}

struct State {
    mesh: Mesh,
    /// How often the mesh has changed.
    revision: u64,
    /// What files say, where a cluster is watched too.
    files: HashMap<Arc<ObjectRef>, Reading>,
    /// The objects that the cluster has, with the versions in which they were observed.
    observed: HashMap<Arc<ObjectRef>, Option<u64>>,
    /// What was admitted and not observed yet.
    held: Holds,
}

impl Snapshot {
    /// Shares a mesh.
    pub fn new(mesh: Mesh) -> Self {
        let (files, observed, held) = (HashMap::new(), HashMap::new(), Holds::default());
        Self { state: RwLock::new(State { mesh, revision: 0, files, observed, held }) }
    }

    /// Looks at the mesh. It does not change meanwhile, so look briefly.
    pub fn read<T>(&self, look: impl FnOnce(&Mesh) -> T) -> T {
        look(&self.state().mesh)
    }

    /// How often the mesh has changed.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Judges a change.
    pub fn judge(&self, change: Write<'_>) -> Verdict {
        let state = self.state();
        review(&state.mesh, state.believed(change))
    }

    /// Judges a change, and holds what the object says from now on, if that is admitted and will be
    /// stored, until it is observed or for so long. No other change is judged in between: of two
    /// that clash, one is judged against the other. What there is no room to hold is not admitted.
    pub fn admit(&self, change: Write<'_>, hold: Duration) -> Result<Verdict, Full> {
        if !change.is_stored {
            return Ok(self.judge(change));
        }
        let (reading, user) = (change.new.clone(), change.user.clone());
        let mut state = self.state_mut();
        // Nothing changes while it is looked at, so a fault in that leaves the mesh as it was.
        let judge = AssertUnwindSafe(|| review(&state.mesh, state.believed(change)));
        let verdict = match catch_unwind(judge) {
            Ok(verdict) => verdict,
            Err(panic) => {
                drop(state);
                resume_unwind(panic)
            }
        };
        if verdict.denials.is_empty() && state.is_news(&reading) {
            state.held.check(&reading, &user)?;
            state.hold(Hold { reading, user: user.into(), until: Instant::now() + hold });
        }
        Ok(verdict)
    }

    /// Takes in what an object of the cluster says now.
    pub fn observe(&self, reading: Reading) {
        self.observe_all(vec![reading]);
    }

    /// The same of many objects.
    pub fn observe_all(&self, readings: Vec<Reading>) {
        let mut state = self.state_mut();
        for reading in &readings {
            state.release(reading);
            state.observed.insert(Arc::clone(&reading.object), reading.version);
        }
        state.apply(readings);
    }

    /// Forgets what an object of the cluster said.
    pub fn forget(&self, object: &Arc<ObjectRef>) {
        self.forget_all([object]);
    }

    /// The same of many objects.
    pub fn forget_all<'a>(&self, objects: impl IntoIterator<Item = &'a Arc<ObjectRef>>) {
        let mut state = self.state_mut();
        let mut left = Vec::new();
        for object in objects {
            // It may have been admitted to say nothing any more.
            let nothing = Reading::of(Arc::clone(object));
            state.release(&nothing);
            state.observed.remove(object);
            left.push(state.files.get(object).cloned().unwrap_or(nothing));
        }
        state.apply(left);
    }

    /// Puts what files say in place of what they said. Of an object that comes twice, the last
    /// one counts.
    pub fn replace_files(&self, readings: impl IntoIterator<Item = Reading>) {
        let files: HashMap<_, _> =
            readings.into_iter().map(|reading| (Arc::clone(&reading.object), reading)).collect();
        let mut state = self.state_mut();
        let before = std::mem::take(&mut state.files);
        #[allow(clippy::iter_over_hash_type, reason = "the mesh does not depend on the order")]
        let gone = before.keys().filter(|object| !files.contains_key(*object));
        let gone = gone.map(|object| Reading::of(Arc::clone(object)));
        let said = files.values().filter(|said| before.get(&said.object) != Some(said)).cloned();
        let changed: Vec<_> =
            gone.chain(said).filter(|said| !state.observed.contains_key(&said.object)).collect();
        state.apply(changed);
        state.files = files;
    }

    /// Puts another mesh in place of the whole.
    pub fn replace(&self, mut mesh: Mesh) {
        {
            let mut state = self.state_mut();
            std::mem::swap(&mut state.mesh, &mut mesh);
            state.revision += 1;
        }
        // Taking the old one apart takes longer than swapping it, and nobody waits for that.
        drop(mesh);
    }

    /// Gives up what was admitted and not observed for too long: it was not stored after all.
    pub fn expire(&self, now: Instant) {
        if self.state().held.is_empty() {
            return;
        }
        let mut state = self.state_mut();
        for object in state.held.expired(now) {
            state.held.remove(&object);
            state.remove(&object.just_admitted());
        }
    }

    /// How many objects the cluster has, and how many writes are held.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.observed.len(), state.held.len())
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

impl State {
    fn apply(&mut self, readings: impl IntoIterator<Item = Reading>) {
        self.revision += 1;
        self.mesh.apply_all(readings);
    }

    fn remove(&mut self, object: &ObjectRef) {
        self.revision += 1;
        self.mesh.remove(object);
    }

    /// The change, held against what is known of its object where what it brings along of that is
    /// older, or differs from it though it is of the same version.
    fn believed<'a>(&self, change: Write<'a>) -> Write<'a> {
        let is_known = |old: &Reading| match (old.version, self.observed.get(&old.object)) {
            (Some(old_version), Some(Some(observed))) => {
                old_version < *observed || old_version == *observed && !self.mesh.says(old)
            }
            _ => false,
        };
        Write { old: change.old.filter(|old| !is_known(old)), ..change }
    }

    /// Whether an object said anything else until now.
    fn is_news(&self, reading: &Reading) -> bool {
        let object = &reading.object;
        self.held.find(object).is_some() || !same(&self.mesh.reading_of(object), reading)
    }

    fn hold(&mut self, hold: Hold) {
        self.apply([hold.reading.just_admitted()]);
        self.held.insert(hold);
    }

    /// Ends the hold of an object that is observed to say what was admitted.
    fn release(&mut self, observed: &Reading) {
        let object = &observed.object;
        if self.held.find(object).is_some_and(|held| same(held, observed)) {
            self.held.remove(object);
            self.remove(&object.just_admitted());
        }
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
