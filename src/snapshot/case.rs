//! One write as a ledger is asked about it, and what that is answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use crate::ledger::{Ask, Step, bytes_of, written};
use crate::mesh::{Mesh, ObjectRef, Reading, WriteId};
use crate::review::{Trial, Verdict, Write};

/// Why a replica does not judge that reads or judges otherwise than those in charge.
pub const SUPERSEDED: &str = "replicas of another version or with other settings judge now";
/// The same of one that has yet to read the page.
pub(super) const UNREAD: &str = "the ledger has not been read yet";

/// What is to become of a write.
#[derive(Debug)]
pub enum Admission {
    /// It is decided.
    Judged(Box<Verdict>),
    /// It is decided once it is entered: this is told then, and the sender is dropped if the same is
    /// to be asked again.
    Entering(Box<Verdict>, oneshot::Receiver<()>),
    /// What is said of it rests on these objects.
    Confirm(Confirm),
    /// The watches are [behind](super::Snapshot::behind): once they are not, the same is to be asked
    /// again.
    List,
    /// The page cannot be used, and why.
    Unready(Arc<str>),
    /// Replicas of another kind judge by the page.
    Superseded,
}

/// What is to be read before the same is asked again.
#[derive(Debug)]
pub struct Confirm {
    /// These objects.
    pub objects: Vec<Arc<ObjectRef>>,
    /// Whether the page of the replicas is to be read as well: it may tell of a write that would
    /// clear this one.
    pub page: bool,
}

/// The objects that were read for a write; nothing where all that it rests on counts as read.
pub type Confirmed<'a> = Option<&'a BTreeSet<Arc<ObjectRef>>>;

/// A write that is judged by a ledger.
pub(super) struct Case<'a> {
    trial: Trial<'a>,
    object: Arc<ObjectRef>,
    id: WriteId,
    watches: Vec<Arc<str>>,
    user: Arc<str>,
    says: Arc<Reading>,
    confirmed: Confirmed<'a>,
    /// Whether the object that it replaces is the one that is stored, as far as that is known.
    is_live: bool,
    /// Whether the ledger is one that replicas share.
    is_shared: bool,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        mesh: &'a Mesh,
        write: Write<'a>,
        watches: Vec<Arc<str>>,
        (confirmed, is_live): (Confirmed<'a>, bool),
        is_shared: bool,
    ) -> Self {
        let (object, id) = (Arc::clone(&write.new.object), write.id.clone());
        let (user, says) = (write.user.as_ref().into(), Arc::new(write.new.clone().pending()));
        let now = Some(SystemTime::now().into());
        let trial = Trial::new(mesh, Write { now, ..write });
        Self { trial, object, id, watches, user, says, confirmed, is_live, is_shared }
    }

    /// Has a clerk decide on it, one way or another.
    pub(super) fn decide(
        mut self,
        mut decide: impl FnMut(&Ask<'_, Arc<Reading>>, &mut Trial<'a>) -> Step,
    ) -> (Step, Admission) {
        let is_entered = self.trial.says_else();
        let says = if self.is_shared && is_entered { written(&self.says) } else { Some(0) };
        let bytes = if self.is_shared {
            bytes_of(&self.object, &self.watches, &self.user, says.unwrap_or_default())
        } else {
            self.says.bytes()
        };
        let mut ask = Ask {
            object: &self.object,
            id: &self.id,
            watches: &self.watches,
            user: &self.user,
            reading: says.map(|_| &self.says),
            bytes,
            is_entered,
            confirmed: self.confirmed.is_none().then_some(self.is_live),
        };
        let mut step = decide(&ask, &mut self.trial);
        let mut objects = Vec::new();
        if step == Step::Confirm {
            objects = self.trial.rests_on();
            if !objects.is_empty() && matches!(self.id, WriteId::Update(_)) {
                objects.insert(0, Arc::clone(&self.object));
            }
            let is_read = |object| self.confirmed.is_none_or(|known| known.contains(object));
            if objects.iter().all(is_read) {
                ask.confirmed = Some(objects.is_empty() || self.is_live);
                step = decide(&ask, &mut self.trial);
            }
        }
        let admission = match step {
            Step::Confirm => Admission::Confirm(Confirm { objects, page: self.is_shared }),
            Step::List(_) => Admission::List,
            Step::Superseded => Admission::Superseded,
            Step::Unread => Admission::Unready(UNREAD.into()),
            _ => Admission::Judged(Box::new(self.trial.verdict(&step))),
        };
        (step, admission)
    }
}
