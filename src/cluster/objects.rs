//! The objects of one resource, read and written one at a time by calls that end in time.

use std::fmt::Debug;
use std::time::Duration;

use json_patch::Patch as JsonPatch;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Failure, answer, within};

/// The objects of one resource, in one namespace if they are in namespaces.
#[derive(Clone)]
pub(crate) struct Objects<K>(Api<K>);

impl Objects<DynamicObject> {
    /// Those of a kind, by the plural that API paths have.
    pub(crate) fn of_kind(
        client: &Client,
        kind: &GroupVersionKind,
        plural: &str,
        namespace: Option<&str>,
    ) -> Self {
        let resource = ApiResource::from_gvk_with_plural(kind, plural);
        Self(match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        })
    }
}

impl<K> From<Api<K>> for Objects<K> {
    fn from(api: Api<K>) -> Self {
        Self(api)
    }
}

impl<K: Clone + Debug + DeserializeOwned + Serialize> Objects<K> {
    /// The object of a name, if there is one.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<K>, Failure> {
        answer(self.0.get_opt(name)).await
    }

    /// Replaces an object; a conflict if it has changed since it was read.
    pub(crate) async fn replace(&self, name: &str, object: &K) -> Result<(), Failure> {
        answer(self.0.replace(name, &PostParams::default(), object)).await.map(drop)
    }

    /// Patches an object, and returns it as it is then.
    pub(crate) async fn patch(
        &self,
        name: &str,
        field_manager: &str,
        patch: JsonPatch,
    ) -> Result<K, Failure> {
        let field_manager = Some(field_manager.to_owned());
        let params = PatchParams { field_manager, ..PatchParams::default() };
        answer(self.0.patch(name, &params, &Patch::Json::<()>(patch))).await
    }

    /// Creates an object in a dry run: everything happens but that it is stored.
    pub(crate) async fn try_create(&self, object: &K, time: Duration) -> Result<(), Failure> {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        within(time, self.0.create(&dry_run, object)).await.map(drop)
    }
}
