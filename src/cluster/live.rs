//! Single objects, read as they are now: a denial must not rest on what the watch has yet to report
//! as changed or gone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::call::answer;
use super::watch::{Parsed, Watch};
use crate::ledger::Stored;
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
            reads.spawn(async move { live.correct(&object).await });
        }
        let done = async { while reads.join_next().await.is_some() {} };
        let _ = timeout(time, done).await;
    }

    /// Tells of these objects, by the stamps of what was admitted of them, what is stored, and has
    /// the mesh say that. Those that cannot be read are to be looked at again.
    pub(crate) async fn look(&self, objects: Vec<(u64, Arc<ObjectRef>)>) {
        for (stamp, object) in objects {
            if let Some(found) = self.correct(&object).await {
                let found = found
                    .as_ref()
                    .map(|Found { uid, version, .. }| Stored { uid, version: *version });
                self.snapshot.looked(stamp, found);
            }
        }
    }

    /// Has the mesh say of an object what it says now, and gives back what was found, if it can be
    /// read.
    async fn correct(&self, object: &Arc<ObjectRef>) -> Option<Option<Found>> {
        let seen = self.snapshot.version_of(object);
        let mut found = self.read(object).await?;
        let says = found.as_mut().and_then(|found| found.says.take());
        self.snapshot.correct(object, seen, says);
        Some(found)
    }

    /// An object as it is now, if it exists; `None` if that cannot be read.
    async fn read(&self, object: &ObjectRef) -> Option<Option<Found>> {
        let watches: Vec<_> = self.watches.iter().filter(|watch| watch.covers(object)).collect();
        let served = answer(watches.first()?.served_in(&self.client, object.namespace.as_deref()))
            .await
            .ok()?;
        let Some(served) = served else { return Some(None) };
        let Some(object) = answer(served.api.get_opt(&object.name)).await.ok()? else {
            return Some(None);
        };
        let ObjectMeta { uid, resource_version, .. } = &object.metadata;
        let version = resource_version.as_deref()?.parse().ok()?;
        let mut found = Found { uid: uid.as_deref()?.into(), version, says: None };
        for watch in watches {
            match watch.read(object.clone(), &served.types, &self.settings) {
                Parsed::Says(reading) => {
                    found.says = Some(reading);
                    break;
                }
                // It may have lost what made it a document.
                Parsed::OfNoConcern => {}
                Parsed::Unreadable(_) => return None,
            }
        }
        Some(Some(found))
    }
}

/// An object that was read.
struct Found {
    uid: Box<str>,
    version: u64,
    /// What it says, if it is a document.
    says: Option<Reading>,
}
