//! What sources have told of objects, and how far the watches of the cluster have come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ledger::{Cache, Stored, Watched};
use crate::mesh::{Mesh, ObjectRef, Reading, WriteId};
use crate::review::Write;

/// What tells of objects. Of one object, the later source counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Files that say what a cluster has.
    Files,
    /// The cluster itself.
    Cluster,
}

/// What sources have told.
#[derive(Default)]
pub(super) struct Told {
    /// Of each object.
    pub(super) objects: HashMap<Arc<ObjectRef>, Layers>,
    /// How far each watch of the cluster has come.
    pub(super) watches: BTreeMap<Arc<str>, Watched>,
}

/// What sources tell of one object.
pub(super) struct Layers {
    /// The source that counts. What it tells stands in the mesh.
    pub(super) source: Source,
    /// In which version it tells of the object.
    pub(super) version: Option<u64>,
    /// The object's `metadata.uid`.
    pub(super) uid: Box<str>,
    /// What the other sources tell.
    pub(super) beneath: Vec<(Source, Reading)>,
}

impl Layers {
    pub(super) fn has(&self, source: Source) -> bool {
        self.source == source || self.beneath.iter().any(|(beneath, _)| *beneath == source)
    }
}

impl Told {
    /// The version in which the cluster has an object.
    pub(super) fn version_of(&self, object: &ObjectRef) -> Option<u64> {
        self.stored(object).map(|stored| stored.version)
    }

    /// Whether the object that a write replaces is the one that is stored, or a newer one.
    pub(super) fn is_live(&self, write: &Write<'_>) -> bool {
        match write.id {
            WriteId::Update(Some(old)) => self.version_of(&write.new.object) <= Some(old),
            _ => true,
        }
    }

    /// The write, held against what is known of its object where what it brings along of that is
    /// older, or differs from it though it is of the same version.
    pub(super) fn believed<'a>(&self, mesh: &Mesh, write: Write<'a>) -> Write<'a> {
        let is_known = |old: &Reading| match (old.version, self.version_of(&old.object)) {
            (Some(old_version), Some(known)) => {
                old_version < known || old_version == known && !mesh.says(old)
            }
            _ => false,
        };
        Write { old: write.old.filter(|old| !is_known(old)), ..write }
    }
}

impl Cache for Told {
    fn stored(&self, object: &ObjectRef) -> Option<Stored<'_>> {
        let layers = self.objects.get(object)?;
        let version = layers.version.filter(|_| layers.source == Source::Cluster)?;
        Some(Stored { uid: &layers.uid, version })
    }

    fn watch(&self, name: &str) -> Watched {
        self.watches.get(name).copied().unwrap_or_default()
    }
}
