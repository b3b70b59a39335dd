//! What is said of a change.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ledger::Wait;
use crate::mesh::{ObjectRef, Origin, Place};
use crate::rule::{Finding, Severity};

/// What is to be said of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the change breaks; if there is any, it is refused.
    pub denials: Vec<Finding>,
    /// What it waits for, if nothing denies it for certain: a repetition is refused or passes.
    pub delay: Option<Delay>,
    /// What it may be told nevertheless.
    pub warnings: Vec<Warning>,
    /// How the object would better be written.
    pub notes: Vec<(Place, String)>,
}

/// What a change waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Why, and for how long at most.
    pub wait: Wait,
    /// What it breaks if writes are stored that were admitted and may not be, or if they are not.
    pub findings: Vec<Finding>,
    /// What is wrong, where it would be judged by what cannot be relied upon.
    pub fault: Option<Arc<str>>,
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
        self.denials.is_empty() && self.delay.is_none()
    }

    /// The other objects of the guarded cluster that it rests on: those that it is denied for, and
    /// those that would deny it if that were new.
    pub fn rests_on(&self, written: &ObjectRef) -> Vec<Arc<ObjectRef>> {
        let standing = self.warnings.iter().filter(|warning| warning.is_standing());
        let findings = self.denials.iter().chain(standing.map(|warning| &warning.finding));
        let places = findings.flat_map(|finding| {
            [Some(&finding.place), finding.against.as_ref(), finding.because.as_ref()]
        });
        let objects = places.flatten().map(|place| &place.object);
        let others = objects.filter(|it| it.origin == Origin::Here && ***it != *written);
        others.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The names of all rules that fired, each once.
    pub fn rules(&self) -> BTreeSet<&'static str> {
        let warned = self.warnings.iter().map(|warning| &warning.finding);
        let waiting = self.delay.iter().flat_map(|delay| &delay.findings);
        self.denials.iter().chain(waiting).chain(warned).map(|finding| finding.rule).collect()
    }
}

impl Warning {
    /// Whether it would deny, had it not stood before.
    pub(super) fn is_standing(&self) -> bool {
        self.because == Reason::StoodBefore && self.finding.severity == Severity::Deny
    }
}
