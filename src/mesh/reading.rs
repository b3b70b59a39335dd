//! What one object says, member by member.

use std::cmp::Ordering;
use std::sync::Arc;

use super::claim::{About, Claim, Fact, Fault, MemberName};
use super::origin::{Basis, ObjectRef, Origin};
use super::place::Place;
use crate::syntax::Path;
use crate::value::Invalid;

/// As many claims as a well-described member's document makes.
const USUAL_CLAIMS: usize = 8;

/// What one object says: claims, faults among them, grouped by the member they speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The object.
    pub object: Arc<ObjectRef>,
    /// The object's `resourceVersion`, where it has one: of two readings of one object, the one
    /// with the greater version is the newer one.
    pub version: Option<u64>,
    /// The object's `metadata.uid`; empty where it has none.
    pub uid: Box<str>,
    /// On what basis the object says what is claimed next.
    pub basis: Basis,
    /// What it says of each member, in the order of the document.
    pub statements: Vec<(MemberName, Vec<Claim>)>,
    said: usize,
    faults: usize,
    doubts: usize,
}

/// How many claims one object may make: twice as many as a full ConfigMap of descriptors does.
const MOST_CLAIMS: usize = 10_000;
/// Among how many of the claims before it a fault is looked for that would be told twice.
const LOOKED_BACK: usize = 64;
/// How many faults of one object are noted, and as many that do no harm, which is more than any answer
/// tells.
const MOST_FAULTS: usize = 400;

impl Reading {
    /// A reading of an object that says nothing yet.
    pub fn new(object: ObjectRef) -> Self {
        Self::of(Arc::new(object))
    }

    /// A reading of an object that is known already: nothing yet.
    pub fn of(object: Arc<ObjectRef>) -> Self {
        Self {
            object,
            version: None,
            uid: Box::default(),
            basis: Basis::Stated,
            statements: Vec::new(),
            said: 0,
            faults: 0,
            doubts: 0,
        }
    }

    /// Notes what the object says of a member at a field.
    pub fn claim(&mut self, member: &MemberName, path: impl Into<Path>, fact: Fact) {
        let place = Place::new(Arc::clone(&self.object), path).on(self.basis);
        self.claim_at(member, place, fact);
    }

    /// Has what it says of itself with one member count for all of whom it speaks.
    pub fn share(&mut self, member: &MemberName) {
        let is_of_object =
            |it: &&Claim| matches!(it.fact, Fact::Allow(_) | Fact::Replaces(_) | Fact::Terminating);
        let said = self.claims_of(member).iter().filter(is_of_object).cloned();
        let said: Vec<_> = said.collect();
        for (_, claims) in self.statements.iter_mut().filter(|(name, _)| name != member) {
            claims.extend_from_slice(&said);
        }
    }

    /// Notes what the object says of a member at a place in it.
    pub fn claim_at(&mut self, member: &MemberName, place: Place, fact: Fact) {
        let Some(claim) = self.counted(Claim { fact, place }) else { return };
        // An object that speaks of many does so one after the other.
        match self.statements.iter_mut().rev().find(|(name, _)| name == member) {
            Some((_, claims)) => claims.push(claim),
            None => {
                let mut claims = Vec::with_capacity(USUAL_CLAIMS);
                claims.push(claim);
                self.statements.push((Arc::clone(member), claims));
            }
        }
    }

    /// The claim if there is room for it; in place of the first one too many, that there are more.
    fn counted(&mut self, claim: Claim) -> Option<Claim> {
        let is_fault = matches!(&claim.fact, Fact::Fault(fault) if !fault.harmless);
        self.said += 1;
        self.faults += usize::from(is_fault);
        let problem = match (self.said.cmp(&MOST_CLAIMS), self.faults.cmp(&MOST_FAULTS)) {
            (Ordering::Equal, _) => format!("makes more than {MOST_CLAIMS} statements"),
            (Ordering::Less, Ordering::Equal) if is_fault => {
                format!("has more than {MOST_FAULTS} faults")
            }
            (Ordering::Less, Ordering::Less) => return Some(claim),
            (Ordering::Less, _) if !is_fault => return Some(claim),
            _ => return None,
        };
        let why = Invalid::new(problem, "split the object into smaller ones");
        let fact = Fact::Fault(Arc::new(Fault::new(About::Document, "", why)));
        Some(Claim { fact, place: Place::new(self.object.clone(), Path::NAME) })
    }

    /// Notes a value that cannot be what it should be.
    pub fn fault(&mut self, member: &MemberName, path: impl Into<Path>, fault: Fault) {
        let noted = if fault.harmless { self.doubts } else { self.faults };
        if noted >= MOST_FAULTS {
            return;
        }
        let is_harmless = fault.harmless;
        let (path, fact) = (path.into(), Fact::Fault(Arc::new(fault)));
        // A field that is read for two facts would tell its fault twice, the one soon after the other.
        let told = |claim: &Claim| claim.fact == fact && *claim.place.path() == path;
        let said = self.statements.iter().rev().find(|(name, _)| name == member);
        if !said.is_some_and(|(_, claims)| claims.iter().rev().take(LOOKED_BACK).any(told)) {
            self.doubts += usize::from(is_harmless);
            self.claim(member, path, fact);
        }
    }

    /// What it says, said by the object as a write will leave it that may not be stored yet.
    #[must_use]
    pub fn pending(mut self) -> Self {
        let object = ObjectRef { origin: Origin::Pending, ..ObjectRef::clone(&self.object) };
        let mut pending = Self::new(object);
        for claim in self.statements.iter_mut().flat_map(|(_, claims)| claims) {
            claim.place.object = Arc::clone(&pending.object);
        }
        pending.statements = self.statements;
        pending
    }

    /// The same with the status of what stands: an API server strips it from what people write,
    /// and keeps its own.
    #[must_use]
    pub fn with_status_of(mut self, stands: Option<&Self>) -> Self {
        for (_, claims) in &mut self.statements {
            claims.retain(|claim| !claim.place.is_status());
        }
        for (member, claims) in stands.iter().flat_map(|stands| &stands.statements) {
            for claim in claims.iter().filter(|claim| claim.place.is_status()) {
                self.claim_at(member, claim.place.clone(), claim.fact.clone());
            }
        }
        self
    }

    /// The same, said by an object of another cluster: only what it tells of that cluster, which is
    /// for everyone the same. How that cluster is joined, and what is wrong with the object, is
    /// judged there.
    #[must_use]
    pub fn of_cluster(mut self, cluster: &MemberName) -> Self {
        let origin = Origin::Cluster(Arc::clone(cluster));
        let object = Arc::new(ObjectRef { origin, ..ObjectRef::clone(&self.object) });
        self.statements.retain(|(member, _)| member == cluster);
        for (_, claims) in &mut self.statements {
            claims.retain(|claim| claim.fact.describes_cluster());
            for claim in claims {
                claim.place.object = Arc::clone(&object);
            }
        }
        self.statements.retain(|(_, claims)| !claims.is_empty());
        Self { object, ..self }
    }

    /// Forgets the facts that it states of a member, but not what is wrong with them: a hub guards a
    /// cluster that is not a member.
    pub fn keep_faults_alone(&mut self, member: &str) {
        let of_member = self.statements.iter_mut().filter(|(name, _)| **name == *member);
        for (_, claims) in of_member {
            let is_kept =
                |fact: &Fact| matches!(fact, Fact::Fault(_) | Fact::Allow(_) | Fact::Advice(_));
            claims.retain(|claim| is_kept(&claim.fact));
        }
        self.statements.retain(|(_, claims)| !claims.is_empty());
    }

    /// Takes away what it says in a field and those below, as if another object said that at its
    /// top.
    #[must_use]
    pub fn split_off(&mut self, field: &Path, object: Arc<ObjectRef>) -> Self {
        let mut other = Self::of(object);
        for (member, claims) in &mut self.statements {
            let is_below = |claim: &mut Claim| claim.place.path().below(field).is_some();
            for Claim { fact, place } in claims.extract_if(.., is_below) {
                if let Some(path) = place.path().below(field) {
                    let below = Place::new(Arc::clone(&other.object), path);
                    other.claim_at(member, below.on(place.basis), fact);
                }
            }
        }
        other
    }

    /// The members it speaks of.
    pub fn members(&self) -> impl Iterator<Item = &MemberName> {
        self.statements.iter().map(|(name, _)| name)
    }

    /// All that it says, whichever member it says it of.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.statements.iter().flat_map(|(_, claims)| claims)
    }

    /// How many bytes it takes in memory, roughly.
    pub fn bytes(&self) -> usize {
        let claims = |(name, claims): &(MemberName, Vec<Claim>)| {
            size_of_val(name) + name.len() + claims.iter().map(Claim::bytes).sum::<usize>()
        };
        size_of_val(self) + self.statements.iter().map(claims).sum::<usize>()
    }

    /// What it says of one member.
    pub fn claims_of(&self, member: &str) -> &[Claim] {
        self.statements.iter().find(|(name, _)| **name == *member).map_or(&[], |(_, claims)| claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_no_harm_hides_no_fault_and_is_none() {
        let mut reading = Reading::new(ObjectRef::new("ConfigMap", None, "name"));
        let member = MemberName::from("member");
        let fault = |n: usize, harmless| {
            let why = Invalid::new(format!("is wrong {n}"), "write it right");
            Fault { harmless, ..Fault::new(About::Document, "", why) }
        };
        for n in 0..2 * MOST_FAULTS {
            reading.fault(&member, &["data"], fault(n, true));
        }
        let count = |reading: &Reading, wanted| {
            let is_wanted =
                |claim: &&Claim| matches!(&claim.fact, Fact::Fault(it) if it.harmless == wanted);
            reading.claims().filter(is_wanted).count()
        };
        assert_eq!((count(&reading, true), count(&reading, false)), (MOST_FAULTS, 0));
        reading.fault(&member, &["data"], fault(0, false));
        assert_eq!((count(&reading, true), count(&reading, false)), (MOST_FAULTS, 1));
    }
}
