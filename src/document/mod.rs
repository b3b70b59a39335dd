//! Documents: each kind of object that says something of a member, and how it is read.
//!
//! [`DOCUMENTS`] is the registry that everything else folds over: reading an admission request,
//! watches, RBAC, webhook rules and the tables of the documentation.

mod carried;
mod cluster_configuration;
mod cluster_uuid;
mod fields;
mod istio_multicluster;
mod module_config;
mod node;
mod object;
mod outline;
mod yaml;

pub use node::{BorrowedText, Key, Node, Span, Value};
pub use object::{Metadata, Object};
pub use outline::outline;
pub use yaml::{YamlError, document as yaml_document, documents as yaml_documents};

use crate::mesh::{MemberName, Reading};
use crate::settings::Settings;

/// One kind of document: which objects carry it, what it says, how it is read.
#[derive(Debug)]
pub struct Document {
    /// A short name, unique in the registry.
    pub name: &'static str,
    /// The kind of the objects that carry it.
    pub kind: &'static str,
    /// Their API group; empty for the core group.
    pub group: &'static str,
    /// The versions that may be served, newest first.
    pub versions: &'static [&'static str],
    /// Their plural, as in API paths.
    pub resource: &'static str,
    /// Which objects of the kind.
    pub select: Select,
    /// What it says, and of whom.
    pub says: &'static str,
    read: fn(&Object<'_>, &Settings, &mut Reading),
    canonical: Option<fn(&mut serde_json::Value)>,
}

/// Which objects of a kind carry a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// All of them; they are cluster-scoped.
    All,
    /// The cluster-scoped one of this name.
    Name(&'static str),
    /// The one of this namespace and name.
    Namespaced(&'static str, &'static str),
    /// Those with this label, in one of [`Settings::member_namespaces`].
    MemberLabel(&'static str),
    /// A file without metadata, as it is given to the tool that builds a cluster.
    BareFile,
}

/// Every kind of document, those that are found by name before those that are found by label.
pub static DOCUMENTS: &[Document] = &[
    istio_multicluster::DOCUMENT,
    cluster_configuration::DOCUMENT,
    carried::DECKHOUSE_SECRET,
    carried::KUBEADM_CONFIG,
    module_config::CONTROL_PLANE_MANAGER,
    module_config::ISTIO,
    module_config::GLOBAL,
    cluster_uuid::DOCUMENT,
    carried::LABELLED,
    carried::BARE_DECKHOUSE,
    carried::BARE_KUBEADM,
];

impl Document {
    /// Whether an object carries this document.
    pub fn matches(&self, object: &Object<'_>, settings: &Settings) -> bool {
        if object.kind != self.kind || object.group() != self.group {
            return false;
        }
        let namespace = object.metadata.namespace.as_ref();
        let bare = object.file.is_some() && object.name().is_empty();
        match self.select {
            Select::All => !bare,
            Select::Name(name) => object.name() == name,
            Select::Namespaced(of, name) => namespace == of && object.name() == name,
            Select::MemberLabel(label) => {
                object.label(label).is_some()
                    && settings.member_namespaces.iter().any(|member| member == namespace)
            }
            Select::BareFile => bare,
        }
    }

    /// Brings an object of this kind into its canonical form, defaults included.
    pub fn canonicalize(&self, object: &mut serde_json::Value) {
        if let Some(canonical) = self.canonical {
            canonical(object);
        }
    }

    /// Whether objects of this kind have a canonical form that a patch can bring about.
    pub fn is_canonicalized(&self) -> bool {
        self.canonical.is_some()
    }
}

/// The kind of document an object carries, if it carries one.
pub fn of(object: &Object<'_>, settings: &Settings) -> Option<&'static Document> {
    DOCUMENTS.iter().find(|document| document.matches(object, settings))
}

/// What an object says; nothing if it carries no document.
pub fn read(object: &Object<'_>, settings: &Settings) -> Reading {
    let mut reading = Reading::new(object.reference());
    if let Some(document) = of(object, settings) {
        (document.read)(object, settings, &mut reading);
    }
    reading
}

fn local(settings: &Settings) -> MemberName {
    settings.local_member.as_str().into()
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
