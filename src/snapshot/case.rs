//! One write as the ledger is asked about it, and what that is answered.

use std::sync::Arc;
use std::time::SystemTime;

use crate::ledger::{Ask, Step};
use crate::mesh::{Mesh, ObjectRef, Reading, WriteId};
use crate::review::{Trial, Verdict, Write};

/// What is to become of a write.
#[derive(Debug)]
pub enum Admission {
    /// It is decided.
    Judged(Box<Verdict>),
    /// What is said of it rests on these objects: they are to be read, and the same to be asked again.
    Confirm(Vec<Arc<ObjectRef>>),
}

/// A write that is judged by a ledger.
pub(super) struct Case<'a> {
    trial: Trial<'a>,
    object: Arc<ObjectRef>,
    id: WriteId,
    watches: Vec<Arc<str>>,
    user: Arc<str>,
    says: Arc<Reading>,
    confirmed: Option<bool>,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        mesh: &'a Mesh,
        write: Write<'a>,
        watches: Vec<Arc<str>>,
        confirmed: Option<bool>,
    ) -> Self {
        let (object, id) = (Arc::clone(&write.new.object), write.id.clone());
        let (user, says) = (write.user.as_ref().into(), Arc::new(write.new.clone().pending()));
        let now = Some(SystemTime::now().into());
        let trial = Trial::new(mesh, Write { now, ..write });
        Self { trial, object, id, watches, user, says, confirmed }
    }

    /// Has a clerk decide on it, one way or another.
    pub(super) fn decide(
        mut self,
        mut decide: impl FnMut(&Ask<'_, Arc<Reading>>, &mut Trial<'a>) -> Step,
    ) -> (Step, Admission) {
        let mut ask = Ask {
            object: &self.object,
            id: &self.id,
            watches: &self.watches,
            user: &self.user,
            reading: Some(&self.says),
            bytes: self.says.bytes(),
            is_entered: self.trial.says_else(),
            confirmed: self.confirmed,
        };
        let mut step = decide(&ask, &mut self.trial);
        if step == Step::Confirm && self.trial.rests_on().is_empty() {
            ask.confirmed = Some(true);
            step = decide(&ask, &mut self.trial);
        }
        let admission = match step {
            Step::Confirm => {
                let is_update = matches!(self.id, WriteId::Update(_));
                let itself = is_update.then_some(self.object);
                Admission::Confirm(itself.into_iter().chain(self.trial.rests_on()).collect())
            }
            _ => Admission::Judged(Box::new(self.trial.verdict(&step))),
        };
        (step, admission)
    }
}
