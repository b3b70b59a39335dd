//! What the watches tell the mesh, together: which of them an object is known by, how far each has
//! come, and which one is to list anew because somebody needs it to have come further.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::watch::Watch;
use crate::ledger::{Listed, Watched};
use crate::mesh::{ObjectRef, Reading};
use crate::snapshot::{Snapshot, Source};

/// How long a watch may take to tell by itself what is known to be stored.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the watches have told.
pub struct Told {
    pub(super) snapshot: Arc<Snapshot>,
    known: Mutex<BTreeMap<Arc<ObjectRef>, Known>>,
    /// By which each watch is asked for a list.
    lists: BTreeMap<Arc<str>, Notify>,
    /// Told whenever a watch has come further.
    news: watch::Sender<()>,
}

/// By which watch an object is known. The labels of an object may change so that it leaves one for
/// another one, and of two watches either may be the first to tell.
struct Known {
    watch: Arc<str>,
    version: Option<u64>,
    /// What another watch tells that seems to be older. After etcd was restored it is not.
    beside: Option<(Arc<str>, Reading)>,
}

impl Told {
    /// Nothing yet, by these watches.
    pub fn new(snapshot: Arc<Snapshot>, watches: &[Watch]) -> Self {
        let lists = watches.iter().map(|watch| (watch.to_string().into(), Notify::new()));
        let (known, news) = (Mutex::default(), watch::Sender::new(()));
        Self { snapshot, known, lists: lists.collect(), news }
    }

    /// Waits until no watch is behind any more: a moment for what watches tell by themselves, and
    /// then for lists, which are as new as anything that was stored before.
    pub async fn catch_up(&self, behind: impl Fn() -> Vec<Arc<str>>) {
        // The sender is part of `self`, and so outlives this.
        let mut news = self.news.subscribe();
        let by_itself = news.wait_for(|()| behind().is_empty());
        if timeout(PATIENCE, by_itself).await.is_ok() {
            return;
        }
        self.ask(&behind());
        let _ = news.wait_for(|()| behind().is_empty()).await;
    }

    /// Has these watches list anew.
    pub fn ask(&self, watches: &[Arc<str>]) {
        watches.iter().filter_map(|watch| self.lists.get(watch)).for_each(Notify::notify_one);
    }

    /// Returns once a list of a watch is asked for.
    pub(super) async fn list_asked(&self, watch: &str) {
        match self.lists.get(watch) {
            Some(list) => list.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Takes in what objects say, as a watch tells it.
    pub(super) fn put(&self, watch: &Arc<str>, readings: Vec<Reading>) {
        let mut known = self.known();
        let mut news = Vec::with_capacity(readings.len());
        for reading in readings {
            let Reading { version, .. } = reading;
            match known.get_mut(&reading.object) {
                Some(of) if of.watch != *watch && of.version > version => {
                    of.beside = Some((Arc::clone(watch), reading));
                    continue;
                }
                Some(of) => {
                    of.beside.take_if(|(beside, _)| *beside == *watch);
                    (of.watch, of.version) = (Arc::clone(watch), version);
                }
                None => {
                    let of = Known { watch: Arc::clone(watch), version, beside: None };
                    known.insert(Arc::clone(&reading.object), of);
                }
            }
            news.push(reading);
        }
        self.snapshot.put_all(Source::Cluster, news);
    }

    /// Takes in that a watch does not tell of these objects any more.
    pub(super) fn remove<'a>(
        &self,
        watch: &Arc<str>,
        objects: impl IntoIterator<Item = &'a Arc<ObjectRef>>,
    ) {
        let mut known = self.known();
        let mut gone = BTreeSet::new();
        for object in objects {
            let Some(of) = known.get_mut(object) else { continue };
            if of.watch != *watch {
                of.beside.take_if(|(beside, _)| *beside == *watch);
            } else if let Some((watch, reading)) = of.beside.take() {
                (of.watch, of.version) = (watch, reading.version);
                self.snapshot.put(Source::Cluster, reading);
            } else {
                known.remove(object);
                gone.insert(object);
            }
        }
        self.snapshot.remove_all(Source::Cluster, gone);
    }

    /// Takes in how far a watch has come, after all that it has told before.
    pub(super) fn come(&self, watch: &Arc<str>, watched: Watched) {
        self.snapshot.come(watch, watched);
        self.news.send_replace(());
    }

    /// Takes in that a watch was listed, after what that has brought.
    pub(super) fn listed(&self, list: &Listed<'_>) {
        self.snapshot.listed(list);
        self.news.send_replace(());
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<ObjectRef>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
