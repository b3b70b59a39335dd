//! The page that replicas share, as one of them knows it: what is to be entered, who waits for that,
//! and what a keeper, which alone calls the API server for it, is to do next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::case::SUPERSEDED;
use super::{Snapshot, State};
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

impl Snapshot {
    /// What is to be done with the page that replicas share, if anything is.
    pub fn due(&self) -> Option<Due> {
        let (state, now) = (self.state(), self.now());
        state.shared.as_ref()?.clerk.due(now, &state.told)
    }

    /// The next swap of that page, if there is one to be made. A nonce is random.
    pub fn swap(&self, nonce: u128) -> Option<Swap<Arc<Reading>>> {
        let (mut state, now) = (self.state_mut(), self.now());
        let State { told, shared, .. } = &mut *state;
        shared.as_mut()?.clerk.swap(now, nonce, told)
    }

    /// Takes in what became of the swap under way.
    pub fn swapped(&self, outcome: Outcome) {
        let now = self.now();
        self.with_shared(|shared| {
            let settled = shared.clerk.swapped(now, outcome);
            shared.settle(settled);
        });
    }

    /// Takes in the page as it was read, after every call before was answered or given up.
    pub fn page_read(&self, sight: Sight<Arc<Reading>>) {
        let mut state = self.state_mut();
        let now = self.now();
        let State { told, shared, .. } = &mut *state;
        if let Some(shared) = shared {
            let settled = shared.clerk.read(now, sight);
            shared.clerk.observe(told);
            shared.settle(settled);
        }
    }

    /// Takes in that the page cannot be used, and why, or that it can again.
    pub fn page_fails(&self, fault: Option<Arc<str>>) {
        self.with_shared(|shared| {
            if fault.is_some() {
                // Whoever waits asks again, and hears of it.
                shared.clerk.unstage();
                shared.waiting.clear();
            }
            shared.fault = fault;
        });
    }

    /// Takes in what was found of the object of an entry: nothing where there is none.
    pub fn page_looked(&self, stamp: u64, found: Option<Stored<'_>>) {
        self.with_shared(|shared| shared.clerk.looked(stamp, found));
    }

    /// The watches that have not come as far as the page demands.
    pub fn behind(&self) -> Vec<Arc<str>> {
        let state = self.state();
        let shared = state.shared.as_ref();
        shared.map(|shared| shared.clerk.behind(&state.told)).unwrap_or_default()
    }

    /// How the page is; nothing where replicas share none.
    pub fn page(&self) -> Option<PageState> {
        let (state, now) = (self.state(), self.now());
        let Shared { clerk, fault, .. } = state.shared.as_ref()?;
        let page = clerk.page();
        Some(PageState {
            fault: fault.clone(),
            is_superseded: clerk.is_superseded(),
            entries: page.map_or(0, |page| page.entries.len()),
            quarantine: clerk.quarantine(now).unwrap_or_default(),
            generation: page.map_or(0, |page| page.generation),
        })
    }

    /// Returns once a write is to be entered.
    pub async fn staged(&self) {
        self.staged.notified().await;
    }

    fn with_shared(&self, act: impl FnOnce(&mut Shared)) {
        if let Some(shared) = &mut self.state_mut().shared {
            act(shared);
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
