//! The mesh as it stands, shared between those that read it and those that keep it up to date.

use std::sync::{PoisonError, RwLock};

use crate::mesh::{Mesh, ObjectRef, Reading};

/// The mesh that reviews are held against.
///
/// A review and an applied object take microseconds each, so a lock costs less than the copies
/// that would do without one.
pub struct Snapshot {
    mesh: RwLock<Mesh>,
}

impl Snapshot {
    /// Shares a mesh.
    pub fn new(mesh: Mesh) -> Self {
        Self { mesh: RwLock::new(mesh) }
    }

    /// Looks at the mesh. It does not change meanwhile, so look briefly.
    pub fn read<T>(&self, look: impl FnOnce(&Mesh) -> T) -> T {
        look(&self.mesh.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what an object says now.
    pub fn apply(&self, reading: Reading) {
        self.mesh.write().unwrap_or_else(PoisonError::into_inner).apply(reading);
    }

    /// Forgets what an object said.
    pub fn remove(&self, object: &ObjectRef) {
        self.mesh.write().unwrap_or_else(PoisonError::into_inner).remove(object);
    }

    /// Puts another mesh in place of the whole.
    pub fn replace(&self, mut mesh: Mesh) {
        {
            let mut current = self.mesh.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *current, &mut mesh);
        }
        // Taking the old one apart takes longer than swapping it, and nobody waits for that.
        drop(mesh);
    }
}
