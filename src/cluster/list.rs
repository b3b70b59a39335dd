//! The two calls by which an API server tells of objects: a list, page by page, and a watch of what
//! changes after it.

use futures_util::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, ObjectList, ObjectMeta, WatchEvent, WatchParams};
use tokio::time::timeout;

use super::call::{Failure, SILENT, answer};
use super::config::SILENCE;

/// Why the next list is begun when versions are older than those before.
const GONE_BACK: &str = "the API server tells of older versions than before";

/// Which objects are listed and watched.
pub(crate) struct Selection {
    /// The resource, in one namespace or in all.
    pub(crate) api: Api<DynamicObject>,
    /// What selects them by their fields.
    pub(crate) fields: Option<String>,
    /// What selects them by their labels.
    pub(crate) labels: Option<String>,
}

impl Selection {
    /// The objects as they are stored now, so many at a time; the first page begins the list, and
    /// each names the next.
    pub(super) async fn page(
        &self,
        limit: u32,
        next: Option<String>,
    ) -> Result<ObjectList<DynamicObject>, Failure> {
        let params = ListParams {
            field_selector: self.fields.clone(),
            label_selector: self.labels.clone(),
            limit: Some(limit),
            continue_token: next,
            ..ListParams::default()
        };
        let mut listed = answer(self.api.list(&params)).await?;
        listed.metadata.continue_.take_if(|next| next.is_empty());
        Ok(listed)
    }

    /// The changes after this version, for so many seconds.
    pub(super) async fn changes(&self, version: u64, seconds: u32) -> Result<Changes, Failure> {
        let params = WatchParams {
            field_selector: self.fields.clone(),
            label_selector: self.labels.clone(),
            timeout: Some(seconds),
            ..WatchParams::default()
        };
        let events = answer(self.api.watch(&params, &version.to_string())).await?.boxed();
        Ok(Changes { events, version })
    }
}

/// The changes that a watch tells of.
pub(super) struct Changes {
    events: BoxStream<'static, Result<WatchEvent<DynamicObject>, kube::Error>>,
    version: u64,
}

/// A change, and the version that it leads to.
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) what: What,
}

/// What a watch tells of.
pub(super) enum What {
    /// An object is stored so.
    Stored(DynamicObject),
    /// An object is not there, or not selected, any more.
    Gone(DynamicObject),
    /// Nothing is new up to this version.
    Nothing,
}

impl Changes {
    /// The next one, nothing once the call has ended. Silence is a failure, as whatever the API
    /// server says of the watch itself (such as 410), and versions that are not in order.
    pub(super) async fn next(&mut self) -> Result<Option<Change>, Failure> {
        let event = timeout(SILENCE, self.events.next()).await;
        let Some(event) = event.map_err(|_| Failure::Other(SILENT.to_owned()))? else {
            return Ok(None);
        };
        let (version, what) = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (version_of(&object.metadata)?, What::Stored(object))
            }
            WatchEvent::Deleted(object) => (version_of(&object.metadata)?, What::Gone(object)),
            WatchEvent::Bookmark(bookmark) => {
                (number(Some(&bookmark.metadata.resource_version))?, What::Nothing)
            }
            WatchEvent::Error(status) => return Err(Failure::Status(status)),
        };
        if version < self.version {
            return Err(Failure::Other(GONE_BACK.to_owned()));
        }
        self.version = version;
        Ok(Some(Change { version, what }))
    }
}

/// Whether listing is forbidden because there is no such namespace, in which nobody can have a Role.
pub(super) async fn is_nowhere(client: &Client, namespace: Option<&str>, why: &Failure) -> bool {
    let Some(namespace) = namespace.filter(|_| why.is_forbidden()) else { return false };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    answer(namespaces.get_metadata(namespace)).await.is_err_and(|why| why.is_not_found())
}

/// The version of an object.
pub(super) fn version_of(metadata: &ObjectMeta) -> Result<u64, Failure> {
    number(metadata.resource_version.as_deref())
}

/// A version, which of one resource may be compared.
pub(super) fn number(version: Option<&str>) -> Result<u64, Failure> {
    let number = version.and_then(|version| version.parse().ok());
    number.ok_or_else(|| Failure::Other("the API server tells no version".to_owned()))
}
