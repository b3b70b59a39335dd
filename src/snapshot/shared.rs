//! The page that replicas share, as one of them knows it: what is to be entered, who waits for that,
//! and what a keeper, which alone calls the API server for it, is to do next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::case::SUPERSEDED;
use super::told::Told;
use crate::ledger::{Clerk, Due, Outcome, Settled, Setup, Sight, Stored, Swap};
use crate::mesh::Reading;

/// The page that replicas share.
pub(super) struct Shared {
    pub(super) clerk: Clerk<Arc<Reading>>,
    /// Who waits for a swap, by tickets.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    /// Why the page cannot be used; nothing while it can.
    pub(super) fault: Option<Arc<str>>,
}

/// The same, as of now.
pub struct SharedPage<'a> {
    shared: &'a mut Shared,
    told: &'a Told,
    now: Duration,
}

/// How a page is, for those who watch over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageState {
    /// Why it cannot be used; nothing while it can.
    pub fault: Option<Arc<str>>,
    /// Whether replicas of another kind judge by it.
    pub is_superseded: bool,
    /// How many entries it has.
    pub entries: usize,
    /// For how long nothing is admitted, because pending writes may have been lost.
    pub quarantine: Duration,
    /// How many swaps it has seen.
    pub generation: u64,
}

impl Shared {
    pub(super) fn new(setup: Setup) -> Self {
        let fault = Some(super::case::UNREAD.into());
        Self { clerk: Clerk::new(setup), waiting: BTreeMap::new(), fault }
    }

    pub(super) fn at<'a>(&'a mut self, told: &'a Told, now: Duration) -> SharedPage<'a> {
        SharedPage { shared: self, told, now }
    }

    /// Who asked for this ticket is told once it is entered, or lost.
    pub(super) fn wait(&mut self, ticket: u64) -> oneshot::Receiver<()> {
        let (entered, is_entered) = oneshot::channel();
        // Those who have gone need not be told.
        self.waiting.retain(|_, waiting| !waiting.is_closed());
        self.waiting.insert(ticket, entered);
        is_entered
    }

    pub(super) fn settle(&mut self, settled: Settled) {
        for ticket in settled.entered {
            if let Some(entered) = self.waiting.remove(&ticket) {
                let _ = entered.send(());
            }
        }
        for ticket in settled.lost {
            self.waiting.remove(&ticket);
        }
    }
}

impl SharedPage<'_> {
    /// What is to be done with it, if anything is.
    pub fn due(&self) -> Option<Due> {
        self.shared.clerk.due(self.now, self.told)
    }

    /// The next swap of it, if there is one to be made. A nonce is random.
    pub fn swap(&mut self, nonce: u128) -> Option<Swap<Arc<Reading>>> {
        self.shared.clerk.swap(self.now, nonce, self.told)
    }

    /// Takes in what became of the swap under way.
    pub fn swapped(&mut self, outcome: Outcome) {
        let settled = self.shared.clerk.swapped(self.now, outcome);
        self.shared.settle(settled);
    }

    /// Takes it in as it was read, after every call before was answered or given up.
    pub fn read(&mut self, sight: Sight<Arc<Reading>>) {
        let settled = self.shared.clerk.read(self.now, sight);
        self.shared.clerk.observe(self.told);
        self.shared.settle(settled);
    }

    /// Takes in that it cannot be used, and why, or that it can again.
    pub fn fails(&mut self, fault: Option<Arc<str>>) {
        if fault.is_some() {
            // Whoever waits asks again, and hears of it.
            self.shared.clerk.unstage();
            self.shared.waiting.clear();
        }
        self.shared.fault = fault;
    }

    /// Takes in what was found of the object of an entry: nothing where there is none.
    pub fn looked(&mut self, stamp: u64, found: Option<Stored<'_>>) {
        self.shared.clerk.looked(stamp, found);
    }

    /// The watches that have not come as far as it demands.
    pub fn behind(&self) -> Vec<Arc<str>> {
        self.shared.clerk.behind(self.told)
    }

    /// How it is.
    pub fn state(&self) -> PageState {
        let Shared { clerk, fault, .. } = &*self.shared;
        let page = clerk.page();
        PageState {
            fault: fault.clone(),
            is_superseded: clerk.is_superseded(),
            entries: page.map_or(0, |page| page.entries.len()),
            quarantine: clerk.quarantine(self.now).unwrap_or_default(),
            generation: page.map_or(0, |page| page.generation),
        }
    }
}

impl PageState {
    /// Whether writes can be entered.
    pub fn is_usable(&self) -> bool {
        self.fault.is_none() && !self.is_superseded
    }

    /// Why no reviews should be sent here.
    pub fn unready(&self) -> Option<String> {
        self.is_superseded.then(|| SUPERSEDED.to_owned())
    }
}
