//! What one object says, member by member.

use std::borrow::Cow;
use std::sync::Arc;

use super::claim::{About, Claim, Fact, Fault, MemberName, ObjectRef, Place, Position};
use crate::value::Invalid;

/// What one object says: claims, faults among them, grouped by the member they speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The object.
    pub object: Arc<ObjectRef>,
    /// What it says of each member, in the order of the document.
    pub statements: Vec<(MemberName, Vec<Claim>)>,
}

impl Reading {
    /// A reading of an object that says nothing yet.
    pub fn new(object: ObjectRef) -> Self {
        Self { object: Arc::new(object), statements: Vec::new() }
    }

    /// Notes what the object says of a member at a field.
    pub fn claim(
        &mut self,
        member: &MemberName,
        path: impl Into<Cow<'static, str>>,
        position: Position,
        fact: Fact,
    ) {
        let place = Place { object: Arc::clone(&self.object), path: path.into(), position };
        let claim = Claim { fact, place };
        match self.statements.iter_mut().find(|(name, _)| name == member) {
            // A field that two facts are read from would tell its fault twice.
            Some((_, claims)) if claims.contains(&claim) => {}
            Some((_, claims)) => claims.push(claim),
            None => self.statements.push((Arc::clone(member), vec![claim])),
        }
    }

    /// Notes a value that cannot be what it should be.
    pub fn fault(
        &mut self,
        member: &MemberName,
        path: impl Into<Cow<'static, str>>,
        position: Position,
        about: About,
        text: &str,
        why: Invalid,
    ) {
        let Invalid { problem, remedy } = why;
        let fault = Fault { about, text: text.to_owned(), problem, remedy };
        self.claim(member, path, position, Fact::Fault(Arc::new(fault)));
    }

    /// The members it speaks of.
    pub fn members(&self) -> impl Iterator<Item = &MemberName> {
        self.statements.iter().map(|(name, _)| name)
    }

    /// What it says of one member.
    pub fn claims_of(&self, member: &str) -> &[Claim] {
        self.statements.iter().find(|(name, _)| **name == *member).map_or(&[], |(_, claims)| claims)
    }
}
