//! One write, judged by what is stored and by what may be stored by then.

use std::sync::Arc;

use super::related::related;
use super::{Delay, Verdict, World, Write};
use crate::ledger::{Entry, Found, Judge, Step, Why};
use crate::mesh::{Mesh, ObjectRef, Reading};
use crate::rule::Finding;

/// An entry of the ledger.
type Pending = Entry<Arc<Reading>>;

/// A write that is judged.
pub struct Trial<'a> {
    mesh: &'a Mesh,
    write: Write<'a>,
    /// What is said of it by what is stored.
    verdict: Verdict,
    /// What it breaks if some of what is pending is stored.
    findings: Vec<Finding>,
}

impl<'a> Trial<'a> {
    /// Of a write to a mesh.
    pub fn new(mesh: &'a Mesh, write: Write<'a>) -> Self {
        let (verdict, findings) = Default::default();
        Self { mesh, write: write.against(mesh), verdict, findings }
    }

    /// Whether the object says anything else by it. Of a name that is to be created, what stands may
    /// be deleted before.
    pub fn says_else(&self) -> bool {
        let Write { old, new, .. } = &self.write;
        if old.is_some() { !self.write.says_the_same() } else { !new.statements.is_empty() }
    }

    /// The other objects that the verdict rests on.
    pub fn rests_on(&self) -> Vec<Arc<ObjectRef>> {
        self.verdict.rests_on(&self.write.new.object)
    }

    /// What is said of it, once that is decided.
    pub fn verdict(self, step: &Step) -> Verdict {
        let Step::Wait(wait) = step else { return self.verdict };
        let mut verdict = self.verdict;
        let denials = std::mem::take(&mut verdict.denials);
        let findings = match wait.why {
            Why::Pending if denials.is_empty() => self.findings,
            Why::Pending => denials,
            _ => Vec::new(),
        };
        Verdict { delay: Some(Delay { wait: *wait, findings, fault: None }), ..verdict }
    }
}

impl Judge<Arc<Reading>> for Trial<'_> {
    fn related<'e>(&self, entries: Vec<&'e Pending>) -> Vec<&'e Pending> {
        if entries.is_empty() { entries } else { related(self.mesh, &self.write, entries) }
    }

    fn found(&mut self, stored: &[&Pending]) -> Found {
        let Write { old, new, budget, now, .. } = &self.write;
        let says = stored.iter().map(|entry| Some((&*entry.object, entry.reading.as_deref()?)));
        let pending: Vec<_> = says.flatten().collect();
        let world = World { mesh: self.mesh, budget, now: *now, pending: &pending };
        let verdict = world.judge(old.clone(), new.clone());
        let found = if !verdict.denials.is_empty() {
            Found::Clash
        } else if verdict.warnings.iter().any(super::Warning::is_standing) {
            Found::Standing
        } else {
            Found::Nothing
        };
        if stored.is_empty() {
            self.verdict = verdict;
        } else if found == Found::Clash && self.findings.is_empty() {
            self.findings = verdict.denials;
        }
        found
    }
}
