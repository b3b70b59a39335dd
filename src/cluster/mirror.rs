//! The objects of one resource as a watch tells of them, in the form that is needed of them: one
//! list, and then each change. After any error it begins again with a list; meanwhile what was known
//! last stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::DynamicObject;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::call::Failure;
use super::config::CALL;
use super::list::{Change, Selection, What, is_nowhere, number, version_of};

/// How many objects are listed at once: each may be as large as an object can be.
const PAGE: u32 = 50;
/// How often a resource is looked for that the API server does not serve.
const ABSENT: Duration = Duration::from_secs(3);
/// How long to wait after the first error, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The shortest time that is left between two calls of a watch.
const REST: Duration = Duration::from_secs(1);

/// The objects of a selection.
pub(crate) struct Mirror<T> {
    objects: Selection,
    /// What is kept of an object.
    keep: fn(DynamicObject) -> T,
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
    pub(crate) fn new(
        objects: Selection,
        keep: fn(DynamicObject) -> T,
        news: &Arc<Notify>,
    ) -> Arc<Self> {
        let state = State { objects: BTreeMap::new(), version: 0, listed: None, trouble: None };
        let (state, asked, news) = (Mutex::new(state), Notify::new(), Arc::clone(news));
        Arc::new(Self { objects, keep, state, asked, news })
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
        let (name, version) = (object.name_any(), version_of(&object.metadata)?);
        let kept = Arc::new((self.keep)(object));
        self.state().put(name, version, &kept);
        Ok(kept)
    }

    /// Keeps them in line with the cluster, until it is cancelled.
    pub(crate) async fn follow(&self) {
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
            let mut changes = self.objects.changes(version, CALL).await?;
            loop {
                let change = tokio::select! {
                    biased;
                    () = self.asked.notified() => return Ok(()),
                    change = changes.next() => change?,
                };
                let Some(change) = change else { break };
                version = change.version;
                self.take(change)?;
            }
            sleep(REST.saturating_sub(begun.elapsed())).await;
        }
    }

    async fn list(&self) -> Result<(BTreeMap<String, (u64, Arc<T>)>, u64), Failure> {
        let (mut objects, mut next) = (BTreeMap::new(), None);
        loop {
            let page = self.objects.page(PAGE, next).await?;
            for object in page.items {
                let version = version_of(&object.metadata)?;
                objects.insert(object.name_any(), (version, Arc::new((self.keep)(object))));
            }
            next = page.metadata.continue_;
            if next.is_none() {
                return Ok((objects, number(page.metadata.resource_version.as_deref())?));
            }
        }
    }

    fn take(&self, Change { version, what }: Change) -> Result<(), Failure> {
        match what {
            What::Stored(object) => drop(self.learn(object)?),
            What::Gone(object) => drop(self.state().objects.remove(&object.name_any())),
            What::Nothing => return Ok(()),
        }
        self.state().version = version;
        self.news.notify_one();
        Ok(())
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

    async fn is_nowhere(&self, why: &Failure) -> bool {
        let api = &self.objects.api;
        is_nowhere(&api.clone().into_client(), api.namespace(), why).await
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
