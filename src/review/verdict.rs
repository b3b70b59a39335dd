//! What is said of a change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::{ObjectRef, Origin, Place};
use crate::rule::Finding;

/// What is to be said of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the change breaks; if there is any, it is refused.
    pub denials: Vec<Finding>,
    /// What it breaks only if writes are stored that were admitted and may not be. Once they are
    /// settled, a repetition is refused or passes.
    pub wait: Vec<Finding>,
    /// Whether it has to wait because its author has too many such writes already.
    pub is_crowded: bool,
    /// How long it takes at most until what it waits for is settled.
    pub settled_in: Duration,
    /// What it may be told nevertheless.
    pub warnings: Vec<Warning>,
    /// How the object would better be written.
    pub notes: Vec<(Place, String)>,
}

/// A finding that does not deny, and why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The finding.
    pub finding: Finding,
    /// What makes it a warning.
    pub because: Reason,
}

/// What makes a finding a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its rule only warns of this.
    RuleWarns,
    /// It stood before: an old mistake must not block an unrelated edit.
    StoodBefore,
    /// An annotation of the document takes it as a warning.
    AllowedByAnnotation,
    /// An operator renders the object, so nobody could correct it there.
    Rendered,
    /// One of the two objects takes the place of the other, as its annotation says.
    Replaces,
    /// The object that it clashes with is being deleted.
    Terminating,
    /// The operator has set `enforcement` to `Warn`.
    NotEnforced,
}

impl Verdict {
    /// Whether the change may be stored.
    pub fn is_admitted(&self) -> bool {
        self.denials.is_empty() && !self.waits()
    }

    /// Whether it is to be asked again later, with nothing against it that is certain.
    pub fn waits(&self) -> bool {
        self.denials.is_empty() && (self.is_crowded || !self.wait.is_empty())
    }

    /// The other objects of the guarded cluster that it is denied for.
    pub fn denied_for(&self, written: &ObjectRef) -> Vec<Arc<ObjectRef>> {
        let places = self.denials.iter().flat_map(|finding| {
            [Some(&finding.place), finding.against.as_ref(), finding.because.as_ref()]
        });
        let objects = places.flatten().map(|place| &place.object);
        let others = objects.filter(|it| it.origin == Origin::Here && ***it != *written);
        others.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The names of all rules that fired, each once.
    pub fn rules(&self) -> BTreeSet<&'static str> {
        let warned = self.warnings.iter().map(|warning| &warning.finding);
        self.denials.iter().chain(&self.wait).chain(warned).map(|finding| finding.rule).collect()
    }
}
