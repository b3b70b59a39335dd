//! Findings: a rule that a claim breaks, as data.

use std::fmt;

use super::Rule;
use crate::mesh::{Member, MemberName, Place};
use crate::syntax::Path;
use crate::value::Subnet;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The write passes, with a warning.
    Warn,
    /// The write is refused.
    Deny,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warn => "Warn",
            Self::Deny => "Deny",
        })
    }
}

/// What two findings must share to tell of one clash: the rule and both places, in their order.
pub(crate) type Key<'a> = (&'static str, Option<&'a Place>, Option<&'a Place>);

/// What is wrong on both sides, the same from either.
pub(crate) type Sides<'a> = [(&'a MemberName, &'a str); 2];

/// What two findings must share to tell of one fault that a member's other document repeats: the
/// rule, the member, the field and what is wrong there.
pub(crate) type FaultKey<'a> = (&'static str, &'a MemberName, &'a Path, &'a str);

/// A rule that a claim breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The member that was judged.
    pub member: MemberName,
    /// The claim that breaks the rule.
    pub place: Place,
    /// The claim it clashes with, where there are two sides.
    pub against: Option<Place>,
    /// The other member, where it clashes with one.
    pub other: Option<MemberName>,
    /// Another claim of the member without which there were no clash: its network.
    pub because: Option<Place>,
    /// The field of a written object that overrode one of these claims until it was emptied.
    pub emptied: Option<Place>,
    /// The addresses both sides share.
    pub extent: Option<Subnet>,
    /// What is wrong on each side, whatever field states it: a member's other document may state it
    /// already. The other side is empty where there is none.
    pub value: Option<[String; 2]>,
    /// What clashes with what.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl Rule {
    /// A finding that denies.
    pub(super) fn deny(
        &self,
        member: &Member,
        place: &Place,
        message: String,
        remedy: String,
    ) -> Finding {
        self.find(Severity::Deny, member, place, message, remedy)
    }

    /// A finding that warns.
    pub(super) fn warn(
        &self,
        member: &Member,
        place: &Place,
        message: String,
        remedy: String,
    ) -> Finding {
        self.find(Severity::Warn, member, place, message, remedy)
    }

    /// A finding.
    pub(super) fn find(
        &self,
        severity: Severity,
        member: &Member,
        place: &Place,
        message: String,
        remedy: String,
    ) -> Finding {
        Finding {
            rule: self.name,
            // Nobody writes status by hand, so what it tells never denies its own document.
            severity: if place.is_discovered() { Severity::Warn } else { severity },
            member: member.name().clone(),
            place: place.clone(),
            against: None,
            other: None,
            because: None,
            emptied: None,
            extent: None,
            value: None,
            message,
            remedy,
        }
    }
}

impl Finding {
    /// The other side of a clash.
    pub(super) fn against(mut self, place: &Place) -> Self {
        self.against = Some(place.clone());
        self
    }

    /// The other side of a clash, and whose it is.
    pub(super) fn against_member(mut self, member: &Member, place: &Place) -> Self {
        self.other = Some(member.name().clone());
        self.against(place)
    }

    /// Whether this is the finding that stood before: the same rule at the same places, seen from
    /// either side.
    fn is_at_places_of(&self, other: &Self) -> bool {
        let (a, b) = (self.places(), other.places());
        self.rule == other.rule && (a == b || a == (b.1, b.0))
    }

    /// The rule and places, the same from either side.
    pub(crate) fn key(&self) -> Key<'_> {
        let (ours, theirs) = self.places();
        (self.rule, ours.min(theirs), ours.max(theirs))
    }

    /// What is wrong in one field, whatever document has that, if that is all there is to it.
    pub(crate) fn fault(&self) -> Option<FaultKey<'_>> {
        let is_fault = self.against.is_none() && self.value.is_none() && self.extent.is_none();
        is_fault.then(|| (self.rule, &self.member, self.place.path(), &*self.message))
    }

    /// What is wrong on both sides, whatever fields state it.
    pub(crate) fn sides(&self) -> Option<Sides<'_>> {
        let [ours, theirs] = self.value.as_ref()?;
        let other = self.other.as_ref().unwrap_or(&self.member);
        let sides = [(&self.member, &**ours), (other, &**theirs)];
        Some(if sides[0] <= sides[1] { sides } else { [sides[1], sides[0]] })
    }

    fn places(&self) -> (Option<&Place>, Option<&Place>) {
        (Some(&self.place), self.against.as_ref())
    }

    /// Whether `before` is this finding, no milder and no smaller than now: then it stood before,
    /// and the change did not bring it.
    pub fn stood_as(&self, before: &Self) -> bool {
        if before.severity < self.severity {
            return false;
        }
        // A standing wrong value may be repeated in another document of the member: a ModuleConfig's
        // first value must equal the ClusterConfiguration's old one, and a generated ConfigMap has a
        // new name for each content.
        let says_the_same = self.sides() == before.sides();
        let echoes = self.value.is_some() && self.rule == before.rule && says_the_same;
        // In the same place a smaller overlap is half a repair; any other wrong value is a new one.
        let is_no_worse = match (before.extent, self.extent) {
            (Some(stood), Some(now)) => stood.contains(now),
            _ => says_the_same,
        };
        echoes || (self.is_at_places_of(before) && is_no_worse)
    }

    /// Whether both tell of one clash, maybe from its two sides.
    pub fn tells_the_same(&self, other: &Self) -> bool {
        self.is_at_places_of(other) && self.extent == other.extent && self.sides() == other.sides()
    }
}

/// What a message calls a value: one that is not written is a default.
pub(super) fn default(place: &Place) -> &'static str {
    if place.is_default() { "the default " } else { "" }
}

/// One side of a clash, as messages name it: a member and the object that describes it, and what
/// showed that where it was observed.
pub(super) fn side(member: &Member, place: &Place) -> String {
    let from = source(place).map_or_else(String::new, |from| format!(", from {from}"));
    format!("member \"{}\" ({}{from})", member.name(), place.object)
}

/// What a message of a value that was observed ends with.
pub(super) fn shown(place: &Place) -> String {
    source(place).map_or_else(String::new, |from| format!(", as {from} shows"))
}

fn source(place: &Place) -> Option<&str> {
    place.path().source()
}
