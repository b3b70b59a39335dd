//! The objects of one resource as a watch tells of them, in the form that is needed of them: one
//! list, and then each change. After any error it begins again with a list; meanwhile what was known
//! last stays.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::call::{Failure, SILENT, answer};
use super::config::{CALL, SILENCE};

/// How many objects are listed at once: each may be as large as an object can be.
const PAGE: u32 = 50;
/// How often a resource is looked for that the API server does not serve.
const ABSENT: Duration = Duration::from_secs(3);
/// How long to wait after the first error, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The shortest time that is left between two calls of a watch.
const REST: Duration = Duration::from_secs(1);

/// Which objects there are to be, and what is kept of each.
pub(crate) struct Selection<T> {
    /// The resource, in one namespace or in all.
    pub(crate) api: Api<DynamicObject>,
    /// That namespace.
    pub(crate) namespace: Option<String>,
    /// What selects them by their fields.
    pub(crate) fields: Option<String>,
    /// What selects them by their labels.
    pub(crate) labels: Option<String>,
    /// Whether their metadata is all that is asked for.
    pub(crate) is_metadata: bool,
    /// What is kept of an object.
    pub(crate) keep: fn(DynamicObject) -> T,
}

impl<T> Selection<T> {
    /// All of a resource.
    pub(crate) fn all(api: Api<DynamicObject>, keep: fn(DynamicObject) -> T) -> Self {
        Self { api, namespace: None, fields: None, labels: None, is_metadata: false, keep }
    }
}

/// The objects of a selection.
pub(crate) struct Mirror<T> {
    selection: Selection<T>,
    client: Client,
    state: Mutex<State<T>>,
    /// Notified to list anew.
    asked: Notify,
    /// Notified of each change.
    news: Arc<Notify>,
}

struct State<T> {
    /// By name, each with its version.
    objects: BTreeMap<String, (u64, Arc<T>)>,
    /// The version that lists and changes have led to.
    version: u64,
    /// When the last list was begun that was brought to its end.
    listed: Option<Instant>,
    /// Why there is no watch.
    trouble: Option<String>,
}

impl<T> Mirror<T> {
    /// Nothing yet. `news` is notified of each change.
    pub(crate) fn new(client: Client, selection: Selection<T>, news: Arc<Notify>) -> Self {
        let state = State { objects: BTreeMap::new(), version: 0, listed: None, trouble: None };
        Self { selection, client, state: Mutex::new(state), asked: Notify::new(), news }
    }

    /// The objects as they are known, by name.
    pub(crate) fn objects(&self) -> BTreeMap<String, Arc<T>> {
        let state = self.state();
        state.objects.iter().map(|(name, (_, kept))| (name.clone(), Arc::clone(kept))).collect()
    }

    /// In which version an object is known.
    pub(crate) fn version_of(&self, name: &str) -> Option<u64> {
        self.state().objects.get(name).map(|(version, _)| *version)
    }

    /// When the last list was begun that was brought to its end.
    pub(crate) fn listed(&self) -> Option<Instant> {
        self.state().listed
    }

    /// Why there is no watch, if there is none.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Asks for a list, though nothing is missing.
    pub(crate) fn list_anew(&self) {
        self.asked.notify_one();
    }

    /// Takes in an object as it was answered to a write; gives back what is kept of it.
    pub(crate) fn learn(&self, object: DynamicObject) -> Result<Arc<T>, Failure> {
        let (name, version) = (object.name_any(), version(&object.metadata)?);
        let kept = Arc::new((self.selection.keep)(object));
        self.state().put(name, version, &kept);
        Ok(kept)
    }

    /// Keeps them in line with the cluster, until it is cancelled.
    pub(crate) async fn keep(&self) {
        let mut wait = BACKOFF.0;
        loop {
            match self.list_and_follow().await {
                Ok(()) => wait = BACKOFF.0,
                Err(failure) if failure.is_expired() => {}
                Err(failure) => {
                    self.state().trouble = Some(failure.to_string());
                    self.news.notify_one();
                    sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn list_and_follow(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut version = match self.list().await {
            Ok((objects, version)) => {
                self.replace(objects, version, begun);
                version
            }
            Err(why) if why.is_not_found() || self.is_nowhere(&why).await => {
                self.clear(begun);
                let _ = timeout(ABSENT, self.asked.notified()).await;
                return Ok(());
            }
            Err(why) => return Err(why),
        };
        loop {
            let begun = Instant::now();
            let mut events = pin!(self.events(version).await?);
            loop {
                let event = tokio::select! {
                    biased;
                    () = self.asked.notified() => return Ok(()),
                    event = timeout(SILENCE, events.next()) => event,
                };
                match event.map_err(|_| Failure::Other(SILENT.to_owned()))? {
                    Some(event) => version = self.take(event?, version)?,
                    None => break,
                }
            }
            sleep(REST.saturating_sub(begun.elapsed())).await;
        }
    }

    async fn list(&self) -> Result<(BTreeMap<String, (u64, Arc<T>)>, u64), Failure> {
        let Selection { api, fields, labels, is_metadata, keep, .. } = &self.selection;
        let (mut objects, mut next) = (BTreeMap::new(), None);
        loop {
            let params = ListParams {
                field_selector: fields.clone(),
                label_selector: labels.clone(),
                limit: Some(PAGE),
                continue_token: next,
                ..ListParams::default()
            };
            let (items, metadata) = if *is_metadata {
                let page = answer(api.list_metadata(&params)).await?;
                (page.items.into_iter().map(bare).collect(), page.metadata)
            } else {
                let page = answer(api.list(&params)).await?;
                (page.items, page.metadata)
            };
            for object in items {
                let version = version(&object.metadata)?;
                objects.insert(object.name_any(), (version, Arc::new(keep(object))));
            }
            next = metadata.continue_.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok((objects, number(metadata.resource_version.as_deref())?));
            }
        }
    }

    async fn events(
        &self,
        version: u64,
    ) -> Result<BoxStream<'static, Result<WatchEvent<DynamicObject>, kube::Error>>, Failure> {
        let Selection { api, fields, labels, is_metadata, .. } = &self.selection;
        let params = WatchParams {
            field_selector: fields.clone(),
            label_selector: labels.clone(),
            timeout: Some(CALL),
            ..WatchParams::default()
        };
        let version = version.to_string();
        if *is_metadata {
            let events = answer(api.watch_metadata(&params, &version)).await?;
            return Ok(events.map_ok(bare_event).boxed());
        }
        Ok(answer(api.watch(&params, &version)).await?.boxed())
    }

    /// Takes in a change; gives back the version that it leads to.
    fn take(&self, event: WatchEvent<DynamicObject>, before: u64) -> Result<u64, Failure> {
        let now = match &event {
            WatchEvent::Added(object)
            | WatchEvent::Modified(object)
            | WatchEvent::Deleted(object) => version(&object.metadata)?,
            WatchEvent::Bookmark(bookmark) => number(Some(&bookmark.metadata.resource_version))?,
            WatchEvent::Error(status) => return Err(Failure::Status(status.clone())),
        };
        if now < before {
            return Err(Failure::Other("the API server tells of older versions".to_owned()));
        }
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => drop(self.learn(object)?),
            WatchEvent::Deleted(object) => drop(self.state().objects.remove(&object.name_any())),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return Ok(now),
        }
        self.state().version = now;
        self.news.notify_one();
        Ok(now)
    }

    /// Puts what was listed in place of what was known, but for what was learned since.
    fn replace(&self, listed: BTreeMap<String, (u64, Arc<T>)>, version: u64, begun: Instant) {
        let mut state = self.state();
        // Where etcd was restored, all versions that are known are of a past that never was.
        let has_gone_back = version < state.version;
        state.objects.retain(|_, (known, _)| *known > version && !has_gone_back);
        state.version = version;
        for (name, (version, kept)) in listed {
            state.put(name, version, &kept);
        }
        (state.listed, state.trouble) = (Some(begun), None);
        drop(state);
        self.news.notify_one();
    }

    /// There is nothing to list.
    fn clear(&self, begun: Instant) {
        let mut state = self.state();
        state.objects.clear();
        (state.version, state.listed, state.trouble) = (0, Some(begun), None);
        drop(state);
        self.news.notify_one();
    }

    /// Whether listing is forbidden because there is no such namespace, in which nobody has rights.
    async fn is_nowhere(&self, why: &Failure) -> bool {
        let Some(namespace) = self.selection.namespace.as_deref().filter(|_| why.is_forbidden())
        else {
            return false;
        };
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        answer(namespaces.get_metadata(namespace)).await.is_err_and(|why| why.is_not_found())
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn put(&mut self, name: String, version: u64, kept: &Arc<T>) {
        let known = self.objects.entry(name).or_insert_with(|| (version, Arc::clone(kept)));
        if known.0 < version {
            *known = (version, Arc::clone(kept));
        }
    }
}

fn bare(object: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    let PartialObjectMeta { types, metadata, .. } = object;
    DynamicObject { types, metadata, data: serde_json::Value::Null }
}

fn bare_event(event: WatchEvent<PartialObjectMeta<DynamicObject>>) -> WatchEvent<DynamicObject> {
    match event {
        WatchEvent::Added(object) => WatchEvent::Added(bare(object)),
        WatchEvent::Modified(object) => WatchEvent::Modified(bare(object)),
        WatchEvent::Deleted(object) => WatchEvent::Deleted(bare(object)),
        WatchEvent::Bookmark(bookmark) => WatchEvent::Bookmark(bookmark),
        WatchEvent::Error(status) => WatchEvent::Error(status),
    }
}

fn version(metadata: &ObjectMeta) -> Result<u64, Failure> {
    number(metadata.resource_version.as_deref())
}

/// A version, which of one resource may be compared.
fn number(version: Option<&str>) -> Result<u64, Failure> {
    let number = version.and_then(|version| version.parse().ok());
    number.ok_or_else(|| Failure::Other("the API server tells no version".to_owned()))
}
