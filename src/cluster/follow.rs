//! A watch that keeps the mesh in line with the cluster, and says up to which version it does. After
//! any error it starts again with a list; meanwhile the last known state stays in use.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DynamicObject, TypeMeta};
use tokio::time::{sleep, timeout};

use super::call::{Failure, SILENT};
use super::config::{CALL, SILENCE};
use super::list::{Change, What, is_nowhere, number};
use super::told::Told;
use super::watch::{PAGE, Parsed, Served, Watch};
use crate::ledger::{Listed, Watched};
use crate::mesh::ObjectRef;
use crate::sources::Sources;

/// How often a resource is looked for that the API server does not serve.
const ABSENT: Duration = Duration::from_secs(1);
/// How long to wait after the first error, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// After this many rejections in a row, a watch is logged by itself: for a moment after its start,
/// an API server rejects everyone.
const MANY: u32 = 8;
/// The log message for a bug in isthmus itself.
const OUR_FAULT: &str = "a bug in isthmus";

impl Watch {
    /// A watch that has yet to begin.
    pub fn over(self, client: Client, told: Arc<Told>, sources: Arc<Sources>) -> Watching {
        let name = self.to_string().into();
        Watching {
            watch: self,
            name,
            client,
            told,
            sources,
            known: BTreeSet::new(),
            come: Watched::Unknown,
            version: 0,
            call: CALL,
            refusals: 0,
            has_run: false,
        }
    }
}

/// A watch under way.
pub struct Watching {
    watch: Watch,
    name: Arc<str>,
    client: Client,
    told: Arc<Told>,
    sources: Arc<Sources>,
    /// The objects that it knows: all that the mesh has by it, and maybe more for a moment.
    known: BTreeSet<Arc<ObjectRef>>,
    /// How far it has come.
    come: Watched,
    /// The highest version that it has come to.
    version: u64,
    /// How long one call lasts, in seconds.
    call: u32,
    /// How often it was refused in a row.
    refusals: u32,
    has_run: bool,
}

/// What a watch does next.
enum State {
    /// It lists, after this time.
    Unlisted(Duration),
    /// It looks again later: there is no such resource, or no such namespace.
    Absent,
    /// It is told of changes, by one call after another.
    Listed(Box<Served>),
}

impl Watching {
    /// Keeps the mesh in line with the cluster, until it is cancelled. After a fault it continues
    /// with its state, so that objects that were deleted meanwhile are removed.
    pub async fn run(&mut self) {
        if std::mem::replace(&mut self.has_run, true) {
            self.come(Watched::Unknown);
            self.lost(OUR_FAULT);
        }
        let (mut state, mut wait) = (State::Unlisted(Duration::ZERO), BACKOFF.0);
        loop {
            let begun = self.told.snapshot.now();
            let next = match state {
                State::Unlisted(after) => {
                    sleep(after).await;
                    Box::pin(self.list()).await
                }
                State::Absent => {
                    let asked = self.told.list_asked(&self.name);
                    let _ = timeout(ABSENT, asked).await;
                    Ok(State::Unlisted(Duration::ZERO))
                }
                State::Listed(served) => Box::pin(self.follow(served)).await,
            };
            state = match next {
                Ok(next) => {
                    wait = BACKOFF.0;
                    next
                }
                Err(why) if self.is_nowhere(&why).await => self.absent(begun),
                Err(why) => {
                    self.broken(&why);
                    wait = (wait * 2).min(BACKOFF.1);
                    State::Unlisted(wait)
                }
            };
        }
    }

    async fn list(&mut self) -> Result<State, Failure> {
        let begun = self.told.snapshot.now();
        let served = self.watch.served(&self.client).await?;
        if self.watch.document.is_peer() {
            self.told.snapshot.serve_peers(served.is_some());
        }
        let Some(served) = served else { return Ok(self.absent(begun)) };
        let (mut listed, mut next) = (BTreeSet::new(), None);
        let version = loop {
            let page = served.objects.page(PAGE, next).await?;
            listed.extend(self.apply(page.items, &served.types));
            next = page.metadata.continue_;
            if next.is_none() {
                break number(page.metadata.resource_version.as_deref())?;
            }
        };
        self.replace(listed);
        let before = std::mem::replace(&mut self.version, version);
        let (watch, now) = (&*self.name, self.told.snapshot.now());
        self.come = Watched::At { version, listed: begun };
        self.told.listed(&Listed { watch, begun, now, version, before });
        self.back();
        Ok(State::Listed(Box::new(served)))
    }

    /// Takes in changes until the call ends or a list is asked for.
    async fn follow(&mut self, served: Box<Served>) -> Result<State, Failure> {
        let begun = Instant::now();
        let mut changes = served.objects.changes(self.version, self.call).await?;
        let told = Arc::clone(&self.told);
        loop {
            let change = tokio::select! {
                biased;
                () = told.list_asked(&self.name) => return Ok(State::Unlisted(Duration::ZERO)),
                change = changes.next() => change?,
            };
            match change {
                Some(change) => self.take(change, &served.types),
                None if self.is_in_time(begun.elapsed()) => return Ok(State::Listed(served)),
                // The API server has ended, or this process was stopped: who knows what comes next.
                None => {
                    let watch = &*self.name;
                    tracing::info!(watch, "the watch broke off; starting again with a list");
                    self.come(Watched::Unknown);
                    return Ok(State::Unlisted(BACKOFF.0));
                }
            }
        }
    }

    /// Whether a call of this length has ended by itself.
    fn is_in_time(&self, lasted: Duration) -> bool {
        let call = Duration::from_secs(self.call.into());
        let at_least = call.saturating_sub(Duration::from_secs(1));
        (at_least..call + Duration::from_secs(3)).contains(&lasted)
    }

    fn take(&mut self, Change { version, what }: Change, types: &TypeMeta) {
        match what {
            What::Stored(object) => {
                let named = self.reference(&object);
                // It may have lost what made it a document.
                if self.apply([object], types).is_empty() {
                    self.forget(&named);
                }
            }
            What::Gone(object) => self.forget(&self.reference(&object)),
            What::Nothing => {}
        }
        self.version = version;
        if let Watched::At { listed, .. } = self.come {
            self.come(Watched::At { version, listed });
        }
    }

    /// Has the mesh take in what objects say; gives back those that are of this watch.
    fn apply(
        &mut self,
        objects: impl IntoIterator<Item = DynamicObject>,
        types: &TypeMeta,
    ) -> BTreeSet<Arc<ObjectRef>> {
        let (mut told, mut ours) = (Vec::new(), BTreeSet::new());
        for object in objects {
            let named = self.reference(&object);
            match self.read(object, types) {
                Parsed::Says(reading) => {
                    ours.insert(Arc::clone(&reading.object));
                    told.push(reading);
                }
                Parsed::OfNoConcern => {}
                Parsed::Unreadable(error) => {
                    let (watch, name) = (&*self.name, &*named.name);
                    tracing::error!(
                        watch,
                        name,
                        error,
                        "an object cannot be read; its last known content stays in use"
                    );
                    ours.extend(self.known.get(&named).cloned());
                }
            }
        }
        // Known first: whatever breaks this off, they can be forgotten again.
        self.known.extend(ours.iter().cloned());
        self.told.put(&self.name, told);
        ours
    }

    fn read(&self, object: DynamicObject, types: &TypeMeta) -> Parsed {
        let settings = self.told.snapshot.read(|mesh| Arc::clone(mesh.settings()));
        // A fault of ours costs one object, not the watch.
        let read = AssertUnwindSafe(|| self.watch.read(object, types, &settings));
        let read = catch_unwind(read);
        read.unwrap_or_else(|_| Parsed::Unreadable(OUR_FAULT.to_owned()))
    }

    fn reference(&self, object: &DynamicObject) -> ObjectRef {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        ObjectRef::new(self.watch.document.kind, object.metadata.namespace.as_deref(), name)
    }

    /// Removes an object by its reference, not by its content: it may have lost the label that
    /// selected it.
    fn forget(&mut self, object: &ObjectRef) {
        if let Some(object) = self.known.take(object) {
            self.told.remove(&self.name, [&object]);
        }
    }

    /// Puts what was listed in place of what was known.
    fn replace(&mut self, listed: BTreeSet<Arc<ObjectRef>>) {
        self.told.remove(&self.name, self.known.difference(&listed));
        self.known = listed;
    }

    fn come(&mut self, watched: Watched) {
        self.come = watched;
        self.told.come(&self.name, watched);
    }

    async fn is_nowhere(&self, why: &Failure) -> bool {
        is_nowhere(&self.client, self.watch.namespace.as_deref(), why).await
    }

    /// There is nothing to list, and nothing wrong with that.
    fn absent(&mut self, listed: Duration) -> State {
        self.replace(BTreeSet::new());
        let since = match self.come {
            Watched::Absent { since, .. } => since,
            Watched::Unknown | Watched::At { .. } => listed,
        };
        self.come(Watched::Absent { since, listed });
        self.back();
        State::Absent
    }

    /// It breaks off, and starts again with a list.
    fn broken(&mut self, why: &Failure) {
        self.come(Watched::Unknown);
        if why.is_expired() {
            let watch = &*self.name;
            tracing::info!(watch, "the watch expired; starting again with a list");
        } else if !why.is_not_found() {
            self.lost(&why.to_string());
        }
    }

    fn back(&mut self) {
        self.refusals = 0;
        if self.sources.live(&self.name) {
            tracing::info!("the API server is back; the mesh is up to date");
        }
    }

    /// Logs once that the API server is lost or rejects requests, however many watches there are,
    /// and once that it keeps rejecting a watch.
    fn lost(&mut self, why: &str) {
        let refused = why.contains("forbidden");
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        let watch = &*self.name;
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
    }
}

#[cfg(test)]
mod tests;
