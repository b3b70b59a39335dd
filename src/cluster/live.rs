//! Single objects, read as they are now: a denial must not rest on what the watch has yet to report
//! as changed or gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::call::answer;
use super::watch::{Parsed, Watch};
use crate::admission::Here;
use crate::ledger::Stored;
use crate::mesh::{ObjectRef, Reading};
use crate::observe::NETWORK_LABEL;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::value::ClusterUuid;

/// How many objects are read for one review at most.
const MOST_OBJECTS: usize = 8;
/// How long it counts what namespaces showed.
const NAMESPACES_KEPT: Duration = Duration::from_secs(10);
/// For how many reviews objects are read at once. The others wait for their turn, as far as there is
/// time.
const MOST_REVIEWS: usize = 4;

/// Reads objects of the cluster that is watched.
pub(crate) struct Live {
    client: Client,
    watches: Vec<Watch>,
    settings: Arc<Settings>,
    snapshot: Arc<Snapshot>,
    reviews: Semaphore,
    /// What the cluster showed by its namespaces, and when.
    here: Mutex<Option<(Instant, Here)>>,
}

impl Live {
    pub(crate) fn new(
        client: Client,
        watches: Vec<Watch>,
        settings: Arc<Settings>,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let (reviews, here) = (Semaphore::new(MOST_REVIEWS), Mutex::default());
        Self { client, watches, settings, snapshot, reviews, here }
    }

    /// What the cluster shows by its namespaces, as far as they can be read in time.
    pub(crate) async fn here(&self, time: Duration) -> Here {
        let Ok(mut here) = timeout(time, self.here.lock()).await else { return Here::default() };
        if let Some((read, here)) = &*here
            && read.elapsed() < NAMESPACES_KEPT
        {
            return here.clone();
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let get = async |name: &str| {
            let read = timeout(time, namespaces.get_metadata_opt(name)).await;
            read.ok().and_then(Result::ok).flatten().map(|found| found.metadata)
        };
        let istio = self.settings.istio_namespaces.iter().map(|name| get(name));
        let (own, istio) = tokio::join!(get("kube-system"), join_all(istio));
        let uid = own.and_then(|own| ClusterUuid::try_parse(&own.uid?).ok());
        let labels = istio.into_iter().flatten().filter_map(|found| found.labels);
        let networks = labels.filter_map(|mut labels| labels.remove(NETWORK_LABEL));
        let read = Here { uid, networks: networks.collect() };
        if uid.is_some() {
            *here = Some((Instant::now(), read.clone()));
        }
        read
    }

    /// Has the mesh say of these objects what they say now, as far as that can be read in time; says
    /// whether there was time. Of any other, what is known of it stays.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        objects: Vec<Arc<ObjectRef>>,
        time: Duration,
    ) -> bool {
        let mut reads = JoinSet::new();
        let done = async {
            let _turn = self.reviews.acquire().await;
            for object in objects.into_iter().take(MOST_OBJECTS) {
                let live = Arc::clone(self);
                reads.spawn(async move { live.correct(&object).await });
            }
            while reads.join_next().await.is_some() {}
        };
        timeout(time, done).await.is_ok()
    }

    /// Tells of these objects, by the stamps of what was admitted of them, what is stored, and has
    /// the mesh say that. Those that cannot be read are to be looked at again.
    pub(crate) async fn look(
        &self,
        objects: Vec<(u64, Arc<ObjectRef>)>,
        looked: fn(&Snapshot, u64, Option<Stored<'_>>),
    ) {
        for (stamp, object) in objects {
            if let Some(found) = self.correct(&object).await {
                let found = found
                    .as_ref()
                    .map(|Found { uid, version, .. }| Stored { uid, version: *version });
                looked(&self.snapshot, stamp, found);
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

    /// An object as it is now, if it exists; `None` if that cannot be read. One of which nobody is to
    /// tell, such as a remote Secret, is as if it did not exist: it says nothing but in its review.
    async fn read(&self, object: &ObjectRef) -> Option<Option<Found>> {
        let watches: Vec<_> = self.watches.iter().filter(|watch| watch.covers(object)).collect();
        let Some(watch) = watches.first() else { return Some(None) };
        let served = watch.served_in(&self.client, object.namespace.as_deref());
        let served = answer(served).await.ok()?;
        let Some(served) = served else { return Some(None) };
        let Some(object) = answer(served.objects.api.get_opt(&object.name)).await.ok()? else {
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
