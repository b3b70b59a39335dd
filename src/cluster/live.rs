//! Single objects, read as they are now: a denial must not rest on what the watch has yet to report
//! as changed or gone.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::call::answer;
use super::watch::{Parsed, Watch};
use crate::mesh::{ObjectRef, Reading};
use crate::settings::Settings;
use crate::snapshot::Snapshot;

/// How many objects are read for one review at most.
const MOST_OBJECTS: usize = 8;
/// For how many reviews objects are read at once. The others rest on what the watch has reported.
const MOST_REVIEWS: usize = 4;

/// Reads objects of the cluster that is watched.
pub(crate) struct Live {
    client: Client,
    watches: Vec<Watch>,
    settings: Arc<Settings>,
    snapshot: Arc<Snapshot>,
    reviews: Semaphore,
}

impl Live {
    pub(crate) fn new(
        client: Client,
        watches: Vec<Watch>,
        settings: Arc<Settings>,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        Self { client, watches, settings, snapshot, reviews: Semaphore::new(MOST_REVIEWS) }
    }

    /// Has the mesh say of these objects what they say now, as far as that can be read in time. Of
    /// any other, what is known of it stays.
    pub(crate) async fn refresh(self: &Arc<Self>, objects: Vec<Arc<ObjectRef>>, time: Duration) {
        let Ok(_turn) = self.reviews.try_acquire() else { return };
        let mut reads = JoinSet::new();
        for object in objects.into_iter().take(MOST_OBJECTS) {
            let live = Arc::clone(self);
            reads.spawn(async move {
                let seen = live.snapshot.version_of(&object);
                if let Some(now) = live.read(&object).await {
                    live.snapshot.correct(&object, seen, now);
                }
            });
        }
        let done = async { while reads.join_next().await.is_some() {} };
        let _ = timeout(time, done).await;
    }

    /// What an object says now, if it exists; `None` if that cannot be read.
    async fn read(&self, object: &ObjectRef) -> Option<Option<Reading>> {
        let watches: Vec<_> = self.watches.iter().filter(|watch| watch.covers(object)).collect();
        let served = answer(watches.first()?.served_in(&self.client, object.namespace.as_deref()))
            .await
            .ok()?;
        let Some(served) = served else { return Some(None) };
        let Some(found) = answer(served.api.get_opt(&object.name)).await.ok()? else {
            return Some(None);
        };
        for watch in watches {
            match watch.read(found.clone(), &served.types, &self.settings) {
                Parsed::Says(reading) => return Some(Some(reading)),
                Parsed::OfNoConcern => {}
                Parsed::Unreadable(_) => return None,
            }
        }
        // It may have lost what made it a document.
        Some(None)
    }
}
