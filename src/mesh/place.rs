//! Places: where documents say what they say.

use std::sync::Arc;

use super::origin::{Basis, ObjectRef, Observation};
use crate::syntax::{Path, Position};

/// Where something is said: an object and a field in it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The object.
    pub object: Arc<ObjectRef>,
    /// On what basis it is said there.
    pub basis: Basis,
    path: Path,
}

impl Place {
    /// A field of an object.
    pub fn new(object: Arc<ObjectRef>, path: impl Into<Path>) -> Self {
        Self { object, basis: Basis::Stated, path: path.into() }
    }

    /// The same, said on this basis; people state it unless something else is said.
    #[must_use]
    pub fn on(self, basis: Basis) -> Self {
        Self { basis, ..self }
    }

    /// The field.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where inside the text that a Secret or ConfigMap carries, if it is in one.
    pub fn position(&self) -> Position {
        self.path.position()
    }

    /// Whether nobody wrote it, so that what is said there is a default.
    pub fn is_default(&self) -> bool {
        self.path.is_default()
    }

    /// Whether the API server fills this field and strips it from what people write.
    pub fn is_status(&self) -> bool {
        matches!(self.basis, Basis::Discovered | Basis::Observed(_))
    }

    /// Whether the member tells it of itself, and nobody has looked.
    pub fn is_discovered(&self) -> bool {
        self.basis == Basis::Discovered
    }

    /// How it was observed, if it was.
    pub fn observation(&self) -> Option<Observation> {
        match self.basis {
            Basis::Observed(observation) => Some(observation),
            _ => None,
        }
    }
}

/// A place is its object and field; lines and indexes move with every edit above them, and the
/// field tells the basis.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Place {
    fn key(&self) -> (&ObjectRef, &Path) {
        (&self.object, &self.path)
    }
}
