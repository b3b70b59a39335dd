//! The page that the replicas share, and what proves an entry to be over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Safeguard;
use crate::mesh::{ObjectRef, WriteId};

/// What the replicas share. `R` is what an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<R> {
    /// Another one after each swap.
    pub nonce: u128,
    /// How many swaps it has seen.
    pub generation: u64,
    /// The nonce with which it was begun, or taken over by replicas of another kind. What was seen
    /// before does not count.
    pub era: u128,
    /// Whether it is known to hold all that may be pending. A page that was lost is begun without.
    pub is_proven: bool,
    /// What kind of replicas judge by it.
    pub digest: Arc<str>,
    /// The stamp of the next entry.
    pub next_stamp: u64,
    /// For each watch, the version at which something that was an entry was seen stored.
    pub floors: BTreeMap<Arc<str>, u64>,
    /// The writes that were admitted and may not be stored yet.
    pub entries: Vec<Entry<R>>,
}

/// A write that was admitted and may not be stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<R> {
    /// Which admission it is: each repetition of a write has another one.
    pub stamp: u64,
    /// The object.
    pub object: Arc<ObjectRef>,
    /// Which of its writes.
    pub id: WriteId,
    /// The watches that tell of the object, before and after the write.
    pub watches: Vec<Arc<str>>,
    /// Who writes.
    pub user: Arc<str>,
    /// What the object says after it; nothing where that is not known, so that it may be anything.
    pub reading: Option<R>,
    /// How many bytes it takes on the page.
    pub bytes: usize,
}

/// An object as it is stored: its uid and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its `metadata.uid`.
    pub uid: &'a str,
    /// Its `resourceVersion`.
    pub version: u64,
}

/// What a replica's watches have told.
pub trait Cache {
    /// An object, if there is one.
    fn stored(&self, object: &ObjectRef) -> Option<Stored<'_>>;
    /// How far a watch has come.
    fn watch(&self, name: &str) -> Watched;
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watched {
    /// It has not listed anything, or has lost its connection since.
    #[default]
    Unknown,
    /// There is no such resource.
    Absent {
        /// Since when.
        since: Duration,
        /// When it was last asked about.
        listed: Duration,
    },
    /// It has told of everything up to a version.
    At {
        /// That version.
        version: u64,
        /// When the list was begun that it builds upon.
        listed: Duration,
    },
}

impl Watched {
    /// Whether anything is known.
    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }
}

impl<R> Page<R> {
    /// One that is begun, which may lack what is pending.
    pub fn new(nonce: u128, digest: &Arc<str>) -> Self {
        Self {
            nonce,
            generation: 0,
            era: nonce,
            is_proven: false,
            digest: Arc::clone(digest),
            next_stamp: 1,
            floors: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    /// The entry of a stamp.
    pub(super) fn entry(&self, stamp: u64) -> Option<&Entry<R>> {
        self.entries.iter().find(|entry| entry.stamp == stamp)
    }
}

impl<R> Entry<R> {
    /// Whether both are the same write of one object.
    pub(super) fn is_same_write(&self, other: &Self) -> bool {
        self.object == other.object && self.id == other.id
    }

    /// The version at which the entry is seen to be over, if it is.
    pub(super) fn over_at(
        &self,
        cache: &impl Cache,
        minds: impl Fn(Safeguard) -> bool,
    ) -> Option<u64> {
        let stored = cache.stored(&self.object);
        if let Some(stored) = stored
            && (self.stored_at(stored).is_some() || !minds(Safeguard::Identity))
        {
            return Some(stored.version);
        }
        match (&self.id, stored) {
            // It is gone, as far as every watch tells that may have had it.
            (WriteId::Update(Some(old)), None) => {
                let seen = self.watches.iter().map(|name| match cache.watch(name) {
                    Watched::At { version, .. } if version > *old => Some(version),
                    _ => None,
                });
                let mut seen: Vec<_> = seen.collect();
                if !minds(Safeguard::Moves) {
                    seen.truncate(1);
                }
                seen.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
            }
            _ => None,
        }
    }

    /// The version at which a stored object proves the entry to be over, if it does.
    pub(super) fn stored_at(&self, stored: Stored<'_>) -> Option<u64> {
        let is_over = match &self.id {
            WriteId::Create(uid) => !uid.is_empty() && **uid == *stored.uid,
            WriteId::Update(old) => old.is_some_and(|old| stored.version > old),
        };
        is_over.then_some(stored.version)
    }
}
