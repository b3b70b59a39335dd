//! A watch that keeps the mesh in line with the cluster. After any error it starts again with a
//! list; meanwhile the last known state stays in use.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::Client;
use kube::api::{DynamicObject, TypeMeta};
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::{sleep, timeout};

use super::call::{ANSWER, Failure, SILENT, answer, reason};
use super::config::{CALL, SILENCE};
use super::watch::{Served, Watch, Watched};
use crate::mesh::{ObjectRef, Reading};
use crate::snapshot::{Snapshot, Source};
use crate::sources::Sources;

/// How often a resource is looked for that the API server does not serve.
const ABSENT: Duration = Duration::from_secs(1);
/// How long to wait after the first error, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// After this many rejections in a row, a watch is logged by itself: for a moment after its start,
/// an API server rejects everyone.
const MANY: u32 = 8;
/// How many objects of a list are applied at once: a member that all of them describe is indexed
/// only once, and the mesh is not locked for long.
const AT_ONCE: usize = 256;
/// The log message for a bug in isthmus itself.
const OUR_FAULT: &str = "a bug in isthmus";

impl Watch {
    /// A watch that has yet to begin.
    pub fn over(self, client: Client, snapshot: Arc<Snapshot>, sources: Arc<Sources>) -> Watching {
        let (name, known) = (self.to_string(), BTreeSet::new());
        Watching {
            watch: self,
            name,
            client,
            snapshot,
            sources,
            known,
            said: Vec::new(),
            refusals: 0,
            has_run: false,
        }
    }
}

/// A watch under way.
pub struct Watching {
    watch: Watch,
    name: String,
    client: Client,
    snapshot: Arc<Snapshot>,
    sources: Arc<Sources>,
    /// The objects that it knows: all that the mesh has by it, and maybe more for a moment.
    known: BTreeSet<Arc<ObjectRef>>,
    /// What listed objects say that the mesh has yet to take in.
    said: Vec<Reading>,
    /// How often it was refused in a row.
    refusals: u32,
    has_run: bool,
}

impl Watching {
    /// Keeps the mesh in line with the cluster, until it is cancelled. After a fault it continues
    /// with its state, so that objects that were deleted meanwhile are removed.
    pub async fn run(&mut self) {
        if std::mem::replace(&mut self.has_run, true) {
            self.lost(OUR_FAULT);
        }
        let mut wait = BACKOFF.0;
        loop {
            let listed = self.listed().await;
            wait = if listed { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
            sleep(wait).await;
        }
    }

    /// Watches until that fails; says whether there was a list at least.
    async fn listed(&mut self) -> bool {
        let served = match answer(self.watch.served(&self.client)).await {
            Ok(served) => served,
            Err(failure) => return self.lost(&failure.to_string()),
        };
        if self.watch.document.is_peer() {
            self.snapshot.serve_peers(served.is_some());
        }
        match served {
            Some(served) => self.follow(served).await,
            None => self.absent().await,
        }
    }

    /// There is nothing to list, and nothing wrong with that.
    async fn absent(&mut self) -> bool {
        self.replace(BTreeSet::new());
        self.back();
        sleep(ABSENT).await;
        true
    }

    async fn follow(&mut self, Served { api, types }: Served) -> bool {
        // A call that is silent for longer breaks with its connection.
        let mut config = watcher::Config::default().timeout(CALL);
        config.field_selector = self.watch.fields();
        config.label_selector = self.watch.labels();
        let mut events = pin!(watcher(api, config));
        let mut listing = BTreeSet::new();
        let mut listed = false;
        loop {
            let event = if listed {
                events.next().await
            } else {
                match timeout(ANSWER, events.next()).await {
                    Ok(event) => event,
                    Err(_) => return self.lost(SILENT),
                }
            };
            if self.said.len() >= AT_ONCE || !matches!(event, Some(Ok(Event::InitApply(_)))) {
                self.take_in();
            }
            match event {
                Some(Ok(Event::Init)) => listing.clear(),
                Some(Ok(Event::InitApply(object))) => listing.extend(self.applied(object, &types)),
                Some(Ok(Event::InitDone)) => {
                    self.replace(std::mem::take(&mut listing));
                    self.back();
                    listed = true;
                }
                Some(Ok(Event::Apply(object))) => {
                    let name = object.metadata.name.clone().unwrap_or_default();
                    match self.applied(object, &types) {
                        Some(_) => self.take_in(),
                        // It may have lost what made it a document.
                        None => self.forget(&name),
                    }
                }
                Some(Ok(Event::Delete(object))) => {
                    self.forget(&object.metadata.name.unwrap_or_default());
                }
                Some(Err(error)) => match failure(error) {
                    failure if failure.is_not_found() => return listed,
                    // Left to itself, kube may ask for the same past again and again.
                    failure if failure.is_expired() => {
                        let watch = &self.name;
                        tracing::info!(watch, "the watch expired; starting again with a list");
                        return listed;
                    }
                    failure
                        if failure.is_forbidden()
                            && self.watch.has_no_namespace(&self.client).await =>
                    {
                        return self.absent().await;
                    }
                    failure => {
                        self.lost(&failure.to_string());
                        return listed;
                    }
                },
                None => {
                    self.lost("the watch has ended");
                    return listed;
                }
            }
        }
    }

    fn applied(&mut self, object: DynamicObject, types: &TypeMeta) -> Option<Arc<ObjectRef>> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let settings = self.snapshot.read(|mesh| Arc::clone(mesh.settings()));
        // A fault of ours costs one object, not the watch.
        let read = AssertUnwindSafe(|| self.watch.read(object, types, &settings));
        let read = catch_unwind(read);
        match read.unwrap_or_else(|_| Watched::Unreadable(OUR_FAULT.to_owned())) {
            Watched::Says(reading) => {
                let object = Arc::clone(&reading.object);
                // Known first: whatever breaks this off, it can be forgotten again.
                self.known.insert(Arc::clone(&object));
                self.said.push(reading);
                Some(object)
            }
            Watched::OfNoConcern => None,
            Watched::Unreadable(error) => {
                let watch = &self.name;
                tracing::error!(
                    watch,
                    name,
                    error,
                    "an object cannot be read; its last known content stays in use"
                );
                self.known_as(&name)
            }
        }
    }

    /// Has the mesh take in what was read.
    fn take_in(&mut self) {
        if !self.said.is_empty() {
            self.snapshot.put_all(Source::Cluster, std::mem::take(&mut self.said));
        }
    }

    /// Removes an object by its reference, not by its content: it may have lost the label that
    /// selected it.
    fn forget(&mut self, name: &str) {
        if let Some(object) = self.known_as(name) {
            self.known.remove(&object);
            self.snapshot.remove(Source::Cluster, &object);
        }
    }

    /// What is known by a name; all objects of a watch are of one kind and in one place.
    fn known_as(&self, name: &str) -> Option<Arc<ObjectRef>> {
        self.known.iter().find(|known| *known.name == *name).cloned()
    }

    /// Puts what was listed in place of what was known.
    fn replace(&mut self, listed: BTreeSet<Arc<ObjectRef>>) {
        self.snapshot.remove_all(Source::Cluster, self.known.difference(&listed));
        self.known = listed;
    }

    fn back(&mut self) {
        self.refusals = 0;
        if self.sources.live(&self.name) {
            tracing::info!("the API server is back; the mesh is up to date");
        }
    }

    /// Logs once that the API server is lost or rejects requests, however many watches there are,
    /// and once that it keeps rejecting a watch.
    fn lost(&mut self, why: &str) -> bool {
        let refused = why.contains("forbidden");
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        let watch = &self.name;
        let silent_for = if why == SILENT { SILENCE } else { Duration::ZERO };
        let is_first = self.sources.lose(watch, why, silent_for);
        if is_first && refused || self.refusals == MANY {
            tracing::error!(
                watch,
                why,
                "the API server refuses a watch; the last known state stays in use; `isthmus rbac` prints the roles that are needed"
            );
        } else if is_first {
            tracing::error!(
                watch,
                why,
                "the API server is lost; the last known state stays in use"
            );
        } else {
            tracing::debug!(watch, why, "the API server is still lost");
        }
        false
    }
}

/// Why a watch broke off.
fn failure(error: watcher::Error) -> Failure {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Failure::Status(status),
        error => Failure::Other(reason(&error)),
    }
}

#[cfg(test)]
mod tests;
