//! What the cluster has, as its API server tells it: one watch for each kind of document.
//!
//! A custom resource may be absent, come, go and be served in another version; each is normal. Any
//! error ends a watch, which begins anew with a list. What was last known stands meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use kube::api::{Api, DynamicObject, TypeMeta};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Config};
use tokio::time::{sleep, timeout};

use crate::document::{self, DOCUMENTS, Document, Object, Select};
use crate::mesh::{ObjectRef, Reading};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::standing::Standing;

/// How often a resource is looked for that the API server does not serve.
const ABSENT: Duration = Duration::from_secs(1);
/// How long to wait after the first error, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long an answer may take, and a list to bring its next page.
const ANSWER: Duration = Duration::from_secs(15);
/// How long one watch call lasts, in seconds: a connection that broke in silence is noticed by it.
const CALL: u32 = 60;
/// The status of what is not there.
const NOT_FOUND: u16 = 404;
/// The status of a watch that was away for longer than the API server remembers.
const EXPIRED: u16 = 410;
/// After so many refusals in a row a watch is told of by itself: for a moment after its start an
/// API server refuses everybody.
const MANY: u32 = 8;

/// One watch: the objects of one kind of document, in one place.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The kind of document.
    pub document: &'static Document,
    /// The namespace; nothing for what is cluster-scoped.
    pub namespace: Option<String>,
    /// The only name, if there is one.
    pub name: Option<&'static str>,
    /// The label that the objects bear, if they must.
    pub label: Option<&'static str>,
}

/// Every watch that the registry asks for.
pub fn watches(settings: &Settings) -> Vec<Watch> {
    let watch = |document, namespace, name, label| Watch { document, namespace, name, label };
    let of_document = |document: &'static Document| match document.select {
        Select::All => vec![watch(document, None, None, None)],
        Select::Name(name) => vec![watch(document, None, Some(name), None)],
        Select::Namespaced(namespace, name) => {
            vec![watch(document, Some(namespace.to_owned()), Some(name), None)]
        }
        Select::MemberLabel(label) => {
            let namespaces: BTreeSet<_> = settings.member_namespaces.iter().cloned().collect();
            let watch = |namespace| watch(document, Some(namespace), None, Some(label));
            namespaces.into_iter().map(watch).collect()
        }
        Select::BareFile => Vec::new(),
    };
    DOCUMENTS.iter().flat_map(of_document).collect()
}

/// How to reach the cluster: by a kubeconfig if one is named, else as a pod of it.
pub async fn config(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    if let Some(file) = file {
        let kubeconfig = Kubeconfig::read_from(file)
            .with_context(|| format!("--kubeconfig {}", file.display()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        return config.with_context(|| format!("--kubeconfig {}", file.display()));
    }
    if let Some(context) = context {
        let config = Config::from_kubeconfig(&options).await;
        return config.with_context(|| format!("--context {context}"));
    }
    Config::incluster().context("cannot reach the cluster as a pod of it")
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document.resource)?;
        if !self.document.group.is_empty() {
            write!(f, ".{}", self.document.group)?;
        }
        match (&self.namespace, self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(namespace), None) => write!(f, " in {namespace}"),
            (None, Some(name)) => write!(f, " {name}"),
            (None, None) => Ok(()),
        }
    }
}

impl Watch {
    /// Keeps the mesh as the cluster says, for ever.
    pub async fn run(self, client: Client, snapshot: Arc<Snapshot>, standing: Arc<Standing>) {
        let (name, known) = (self.to_string(), BTreeSet::new());
        let mut watching =
            Watching { watch: self, name, client, snapshot, standing, known, refusals: 0 };
        let mut wait = BACKOFF.0;
        loop {
            let listed = watching.listed().await;
            wait = if listed { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
            sleep(wait).await;
        }
    }

    /// Reads an object, if it is one of this watch: one that is found by name may bear the label
    /// of another kind.
    fn read(&self, mut object: DynamicObject, kind: &TypeMeta, settings: &Settings) -> Watched {
        object.metadata.managed_fields = None;
        // The items of a list do not say their kind.
        object.types = Some(kind.clone());
        let read = serde_json::to_string(&object).map_err(|error| error.to_string());
        let read = read.and_then(|json| {
            let object = Object::parse(&json).map_err(|error| error.to_string())?;
            let is_ours = document::of(&object, settings)
                .is_some_and(|document| document.name == self.document.name);
            Ok(is_ours.then(|| document::read(&object, settings)))
        });
        match read {
            Ok(Some(reading)) => Watched::Says(reading),
            Ok(None) => Watched::OfNoConcern,
            Err(error) => Watched::Unreadable(error),
        }
    }
}

/// What became of an object.
enum Watched {
    Says(Reading),
    OfNoConcern,
    Unreadable(String),
}

/// A watch under way.
struct Watching {
    watch: Watch,
    name: String,
    client: Client,
    snapshot: Arc<Snapshot>,
    standing: Arc<Standing>,
    /// The objects that it knows.
    known: BTreeSet<Arc<ObjectRef>>,
    /// How often it was refused in a row.
    refusals: u32,
}

impl Watching {
    /// Watches until that fails; says whether there was a list at least.
    async fn listed(&mut self) -> bool {
        let served = match timeout(ANSWER, self.served()).await {
            Ok(Ok(served)) => served,
            Ok(Err(error)) => return self.lost(&reason(&error)),
            Err(_) => return self.lost("the API server does not answer"),
        };
        let Some(resource) = served else {
            self.replace(BTreeSet::new());
            self.back();
            sleep(ABSENT).await;
            return true;
        };
        self.follow(&resource).await
    }

    /// The resource in the newest version that is served.
    async fn served(&self) -> Result<Option<ApiResource>, kube::Error> {
        let Document { group, versions, kind, resource, .. } = *self.watch.document;
        for version in versions {
            let api_version =
                if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
            if !group.is_empty() {
                match self.client.list_api_group_resources(&api_version).await {
                    Ok(list) if list.resources.iter().any(|found| found.name == resource) => {}
                    Ok(_) => continue,
                    Err(kube::Error::Api(status)) if status.code == NOT_FOUND => continue,
                    Err(error) => return Err(error),
                }
            }
            return Ok(Some(ApiResource {
                group: group.to_owned(),
                version: (*version).to_owned(),
                api_version,
                kind: kind.to_owned(),
                plural: resource.to_owned(),
            }));
        }
        Ok(None)
    }

    async fn follow(&mut self, resource: &ApiResource) -> bool {
        let client = self.client.clone();
        let api: Api<DynamicObject> = match &self.watch.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        };
        let mut config = watcher::Config::default().timeout(CALL);
        if let Some(name) = self.watch.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        if let Some(label) = self.watch.label {
            config = config.labels(label);
        }
        let kind =
            TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
        let mut events = pin!(watcher(api, config));
        let mut listing = BTreeSet::new();
        let mut listed = false;
        loop {
            let event = if listed {
                events.next().await
            } else {
                match timeout(ANSWER, events.next()).await {
                    Ok(event) => event,
                    Err(_) => return self.lost("the API server does not answer"),
                }
            };
            match event {
                Some(Ok(Event::Init)) => listing.clear(),
                Some(Ok(Event::InitApply(object))) => listing.extend(self.applied(object, &kind)),
                Some(Ok(Event::InitDone)) => {
                    self.replace(std::mem::take(&mut listing));
                    self.back();
                    listed = true;
                }
                Some(Ok(Event::Apply(object))) => {
                    let applied = self.applied(object, &kind);
                    self.known.extend(applied);
                }
                Some(Ok(Event::Delete(object))) => self.deleted(object, &kind),
                Some(Err(error)) => match status(&error) {
                    Some(NOT_FOUND) => return listed,
                    // It lists anew by itself.
                    Some(EXPIRED) => listed = false,
                    _ => {
                        self.lost(&reason(&error));
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

    fn applied(&self, object: DynamicObject, kind: &TypeMeta) -> Option<Arc<ObjectRef>> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let settings = self.snapshot.read(|mesh| Arc::clone(mesh.settings()));
        match self.watch.read(object, kind, &settings) {
            Watched::Says(reading) => {
                let object = Arc::clone(&reading.object);
                self.snapshot.observe(reading);
                Some(object)
            }
            Watched::OfNoConcern => None,
            Watched::Unreadable(error) => {
                let watch = &self.name;
                tracing::error!(
                    watch,
                    name,
                    error,
                    "an object cannot be read; what it said stands"
                );
                let object = self.known.iter().find(|known| *known.name == *name);
                object.cloned()
            }
        }
    }

    fn deleted(&mut self, object: DynamicObject, kind: &TypeMeta) {
        // By what it is, not by what it bears now: it may have lost the label it was found by.
        let (name, namespace) = (object.metadata.name, object.metadata.namespace);
        let same = |known: &&Arc<ObjectRef>| {
            Some(&*known.name) == name.as_deref()
                && known.namespace.as_deref() == namespace.as_deref()
                && known.kind == kind.kind
        };
        let found = self.known.iter().find(same).cloned();
        if let Some(object) = found {
            self.known.remove(&object);
            self.snapshot.forget(&object);
        }
    }

    /// Puts what was listed in place of what was known.
    fn replace(&mut self, listed: BTreeSet<Arc<ObjectRef>>) {
        for object in self.known.difference(&listed) {
            self.snapshot.forget(object);
        }
        self.known = listed;
    }

    fn back(&mut self) {
        self.refusals = 0;
        if self.standing.live(&self.name) {
            tracing::info!("the API server is back; the mesh is as the cluster says");
        }
    }

    /// Tells once of an API server that is lost, however many watches it had, and once of a watch
    /// that it goes on refusing.
    fn lost(&mut self, why: &str) -> bool {
        let refused = why.contains("forbidden");
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        let watch = &self.name;
        let first = self.standing.lost() == 0;
        self.standing.lose(watch, why);
        if first {
            tracing::error!(watch, why, "the API server is lost; what was last known stands");
        } else if self.refusals == MANY {
            tracing::error!(watch, why, "the API server refuses a watch");
        } else {
            tracing::debug!(watch, why, "the API server is still lost");
        }
        false
    }
}

/// The status that the API server has answered with, if it has.
fn status(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// What went wrong, down to its cause.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = Vec::new();
    for error in chain {
        let word = match error.downcast_ref::<kube::Error>() {
            // Its own words repeat the whole status.
            Some(kube::Error::Api(status)) => return status.message.clone(),
            _ => error.to_string(),
        };
        if words.last().is_none_or(|last| !last.contains(&word)) {
            words.push(word);
        }
    }
    words.join(": ")
}
