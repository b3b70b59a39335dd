//! What the cluster has, as its API server tells it: one watch for each kind of document.
//!
//! A custom resource may be absent, come, go and be served in another version; each is normal.

use std::fmt;
use std::sync::Arc;

use kube::Client;
use kube::api::{Api, DynamicObject, TypeMeta};
use kube::core::ApiResource;

use super::call::{Failure, answer};
use super::list::Selection;
use crate::document::{self, DOCUMENTS, Document, Label};
use crate::mesh::{ObjectRef, Reading};
use crate::settings::Settings;
use crate::snapshot::KnownBy;
use crate::syntax::Object;

/// How many objects are listed at once. They are applied at once, too: a member that all of them
/// describe is indexed only once, and the mesh is not locked for long.
pub(super) const PAGE: u32 = 256;

/// One watch: the objects of one kind of document, in one place.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The kind of document.
    pub document: &'static Document,
    /// The namespace; nothing for what is cluster-scoped, or in any namespace.
    pub namespace: Option<String>,
}

/// Every watch that the registry asks for.
pub fn watches(settings: &Settings) -> Vec<Watch> {
    let served = DOCUMENTS.iter().filter(|document| document.is_watched());
    let of_document = |document: &'static Document| match document.select.namespaces(settings) {
        Some(namespaces) => {
            let namespaces = namespaces.into_iter().map(str::to_owned).map(Some);
            namespaces.map(|namespace| Watch { document, namespace }).collect()
        }
        None => vec![Watch { document, namespace: None }],
    };
    served.flat_map(of_document).collect()
}

/// By which of these watches an object is known.
pub fn known_by(watches: &[Watch]) -> KnownBy {
    let named: Vec<_> =
        watches.iter().map(|watch| (Arc::from(watch.to_string()), watch.clone())).collect();
    Box::new(move |object| {
        let known_by = named.iter().filter(|(_, watch)| watch.covers(object));
        known_by.map(|(name, _)| Arc::clone(name)).collect()
    })
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document.resource)?;
        if !self.document.group.is_empty() {
            write!(f, ".{}", self.document.group)?;
        }
        match (&self.namespace, self.document.select.only_name()) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(namespace), None) => write!(f, " in {namespace}"),
            (None, Some(name)) => write!(f, " {name}"),
            (None, None) => Ok(()),
        }?;
        self.labels().map_or(Ok(()), |labels| write!(f, " with {labels}"))
    }
}

impl Watch {
    /// The resource in the newest version that is served; nothing if none is.
    pub(super) async fn served(&self, client: &Client) -> Result<Option<Served>, Failure> {
        answer(self.served_in(client, self.namespace.as_deref())).await
    }

    /// The same of one namespace, which is needed to read a single object.
    pub(super) async fn served_in(
        &self,
        client: &Client,
        namespace: Option<&str>,
    ) -> Result<Option<Served>, Failure> {
        let Document { group, versions, kind, resource, .. } = *self.document;
        for version in versions {
            let api_version =
                if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
            if !group.is_empty() {
                match client.list_api_group_resources(&api_version).await.map_err(Failure::from) {
                    Ok(list) if list.resources.iter().any(|found| found.name == resource) => {}
                    Ok(_) => continue,
                    Err(failure) if failure.is_not_found() => continue,
                    Err(failure) => return Err(failure),
                }
            }
            let types = TypeMeta { api_version: api_version.clone(), kind: kind.to_owned() };
            let resource = ApiResource {
                group: group.to_owned(),
                version: (*version).to_owned(),
                api_version,
                kind: kind.to_owned(),
                plural: resource.to_owned(),
            };
            let api = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let fields =
                self.document.select.only_name().map(|name| format!("metadata.name={name}"));
            let objects = Selection { api, fields, labels: self.labels() };
            return Ok(Some(Served { objects, types }));
        }
        Ok(None)
    }

    /// Whether an object may be one of this watch.
    pub fn covers(&self, object: &ObjectRef) -> bool {
        self.document.kind == object.kind
            && match &self.namespace {
                Some(namespace) => object.namespace.as_deref() == Some(namespace),
                None => object.namespace.is_some() == self.document.select.is_namespaced(),
            }
            && self.document.select.is_named(&object.name)
    }

    /// What selects its objects by their labels.
    fn labels(&self) -> Option<String> {
        self.document.select.label.map(|Label { key, value }| match value {
            Some(value) => format!("{key}={value}"),
            None => key.to_owned(),
        })
    }

    /// Reads an object, if it belongs to this watch: one that is selected by name may have the
    /// label of another document.
    pub(super) fn read(
        &self,
        mut object: DynamicObject,
        types: &TypeMeta,
        settings: &Settings,
    ) -> Parsed {
        object.metadata.managed_fields = None;
        // The items of a list do not say their kind.
        object.types = Some(types.clone());
        let read = serde_json::to_string(&object).map_err(|error| error.to_string());
        let read = read.and_then(|json| {
            let object = Object::parse(&json).map_err(|error| error.to_string())?;
            let is_ours = document::of(&object, settings)
                .is_some_and(|document| document.name == self.document.name);
            Ok(is_ours.then(|| document::read(&object, settings)))
        });
        match read {
            Ok(Some(reading)) => Parsed::Says(reading),
            Ok(None) => Parsed::OfNoConcern,
            Err(error) => Parsed::Unreadable(error),
        }
    }
}

/// A resource as it is served.
pub(super) struct Served {
    pub(super) objects: Selection,
    pub(super) types: TypeMeta,
}

/// What became of an object.
pub(super) enum Parsed {
    Says(Reading),
    OfNoConcern,
    Unreadable(String),
}
