//! Documents: each kind of object that says something of a member, and how it is read.
//!
//! [`DOCUMENTS`] is the registry that everything else folds over: reading an admission request,
//! watches, RBAC, webhook rules and the tables of the documentation.

mod elsewhere;
mod entry;
mod kind;
mod toolkit;

use std::borrow::Cow;

pub use elsewhere::{Destination, Sight, Way, destinations};
use entry::local;
pub use entry::{Document, Label, Registration, Scope, Select};
pub use kind::istio_installation::ISTIOD_VALUES_KIND;
pub use kind::istio_remote::VALUES_KIND;
use kind::{
    carrier, cluster_configuration, cluster_uuid, descriptors, endpoints, istio_federation,
    istio_installation, istio_multicluster, istio_remote, mesh_config, mesh_member, module_config,
    remote_secret,
};
pub use toolkit::{Beside, Canonical, Rewrite, Written};
use toolkit::{Notes, near_labels, own_names};

use crate::mesh::{ObjectRef, Reading};
use crate::settings::Settings;
use crate::syntax::{Object, Path};

/// Every kind of document, those that are found by name before those that are found by label.
pub static DOCUMENTS: &[Document] = &[
    istio_multicluster::DOCUMENT,
    istio_federation::DOCUMENT,
    mesh_member::DOCUMENT,
    cluster_configuration::DOCUMENT,
    carrier::DECKHOUSE_SECRET,
    carrier::KUBEADM_CONFIG,
    module_config::CONTROL_PLANE_MANAGER,
    module_config::ISTIO,
    module_config::GLOBAL,
    cluster_uuid::DOCUMENT,
    descriptors::CONFIG_MAP,
    descriptors::OBJECT,
    mesh_config::DOCUMENT,
    istio_installation::ISTIO,
    istio_installation::ISTIO_OPERATOR,
    endpoints::ENDPOINTS,
    endpoints::ENDPOINT_SLICE,
    remote_secret::DOCUMENT,
    carrier::LABELLED,
    istio_remote::CONFIG_MAP,
    carrier::BARE_DECKHOUSE,
    carrier::BARE_KUBEADM,
    istio_remote::FILE,
    istio_installation::BARE_ISTIO_OPERATOR,
    istio_installation::ISTIOD_VALUES,
    descriptors::FILE,
];

/// The object, and its field, in which a cluster keeps what a bare file says, if a document is one.
pub fn kept_in(document: &Document) -> Option<(ObjectRef, Path)> {
    carrier::kept_in(document)
}

impl Document {
    /// Whether it declares a peer: an IstioMulticluster.
    pub fn is_peer(&self) -> bool {
        self.name == istio_multicluster::DOCUMENT.name
    }
}

/// The kind of document an object carries, if it carries one.
pub fn of(object: &Object<'_>, settings: &Settings) -> Option<&'static Document> {
    DOCUMENTS.iter().find(|document| document.matches(object, settings))
}

/// What an object says; nothing if it carries no document, unless it seems to be meant as one.
pub fn read(object: &Object<'_>, settings: &Settings) -> Reading {
    let mut reading = Reading::new(reference(object));
    reading.version = object.metadata.resource_version.parse().ok();
    reading.uid = object.metadata.uid.as_ref().into();
    if let Some(document) = of(object, settings) {
        (document.read)(object, settings, &mut reading);
        let member = reading.members().next().cloned().unwrap_or_else(|| local(settings));
        let is_completed = [istio_multicluster::DOCUMENT.kind, descriptors::OBJECT.kind];
        let is_completed = is_completed.contains(&document.kind);
        own_names(object, is_completed, &mut Notes::new(&mut reading, member));
    } else if object.kind == carrier::LABELLED.kind {
        near_labels(object, &mut Notes::new(&mut reading, local(settings)));
    }
    if settings.local_member.is_empty() {
        reading.keep_faults_alone("");
    }
    reading
}

/// Which object this is.
pub fn reference(object: &Object<'_>) -> ObjectRef {
    let namespace = &object.metadata.namespace;
    let file = object.file.as_deref().filter(|_| object.name().is_empty());
    let namespace = (!namespace.is_empty()).then(|| namespace.as_ref());
    ObjectRef::new(known_kind(&object.kind), namespace, file.unwrap_or(object.name()))
}

/// The kinds of the registry are static; only objects that are not read have others.
fn known_kind(kind: &str) -> Cow<'static, str> {
    let mut documents = DOCUMENTS.iter();
    let known = documents.find(|document| document.kind == kind);
    known.map_or_else(|| Cow::Owned(kind.to_owned()), |document| Cow::Borrowed(document.kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = DOCUMENTS.iter().map(|document| document.name).collect();
        assert_eq!(names.len(), DOCUMENTS.len());
    }
}
