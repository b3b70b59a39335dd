//! What a document is, apart from those there are: an entry of the registry.

use std::collections::BTreeSet;

use super::toolkit::{Canonical, Rewrite};
use crate::mesh::{MemberName, Reading};
use crate::settings::Settings;
use crate::syntax::Object;

/// One kind of document: which objects carry it, what it says, and how it is read.
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
    /// Their plural, as in API paths; empty for what is in files only.
    pub resource: &'static str,
    /// Which objects of the kind.
    pub select: Select,
    /// The keys of `data`, one of which such an object holds; none where all of them are taken.
    pub keys: &'static [&'static str],
    /// How the API server asks about them; nothing for what is in files only.
    pub webhook: Option<Registration>,
    /// What it says, and of whom.
    pub says: &'static str,
    pub(super) read: fn(&Object<'_>, &Settings, &mut Reading),
    pub(super) canonical: &'static [Canonical],
}

/// Which objects of a kind carry a document: those that meet all of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Select {
    /// Where they are.
    pub scope: Scope,
    /// Their names; any if empty. One that ends in an asterisk stands for all that begin so.
    pub names: &'static [&'static str],
    /// The label that they have.
    pub label: Option<Label>,
}

/// Where objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They are cluster-scoped.
    Cluster,
    /// In any namespace.
    AllNamespaces,
    /// In this namespace.
    Namespace(&'static str),
    /// In [`Settings::istio_namespaces`].
    Istio,
    /// In [`Settings::member_namespaces`].
    Members,
    /// In either of these two.
    IstioAndMembers,
    /// In a file, without metadata, as given to the tool that creates a cluster.
    BareFile,
    /// In a file, without a namespace.
    File,
}

/// A label that makes an object a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its key.
    pub key: &'static str,
    /// Its value, if only one counts.
    pub value: Option<&'static str>,
}

/// How the API server asks about the objects of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The group of webhooks that share a failure policy.
    pub group: &'static str,
    /// Its `failurePolicy`, unless another one is set: `Fail` or `Ignore`.
    pub failure_policy: &'static str,
    /// Its `timeoutSeconds`, if not the one that is set for all webhooks.
    pub timeout_seconds: Option<u8>,
}

/// For custom resources that people write.
pub(super) const CUSTOM_RESOURCES: Registration = Registration::of("customResources", "Fail");
/// For ConfigMaps that people write.
pub(super) const CONFIG_MAPS: Registration = Registration::of("configMaps", "Fail");
/// For what a cluster upgrade writes, which must not depend on anything.
pub(super) const KUBE_SYSTEM: Registration = Registration::of("kubeSystem", "Ignore");

impl Registration {
    pub(super) const fn of(group: &'static str, failure_policy: &'static str) -> Self {
        Self { group, failure_policy, timeout_seconds: None }
    }
}

impl Select {
    pub(super) const fn all(scope: Scope) -> Self {
        Self { scope, names: &[], label: None }
    }

    pub(super) const fn named(scope: Scope, names: &'static [&'static str]) -> Self {
        Self { scope, names, label: None }
    }

    pub(super) const fn labelled(scope: Scope, label: Label) -> Self {
        Self { scope, names: &[], label: Some(label) }
    }

    /// The namespaces that the objects are in; nothing if they may be in any or in none.
    pub fn namespaces<'a>(&self, settings: &'a Settings) -> Option<BTreeSet<&'a str>> {
        let (istio, members) = (&settings.istio_namespaces, &settings.member_namespaces);
        let (first, second): (&[String], &[String]) = match self.scope {
            Scope::Cluster | Scope::AllNamespaces | Scope::BareFile | Scope::File => return None,
            Scope::Namespace(namespace) => return Some(BTreeSet::from([namespace])),
            Scope::Istio => (istio, &[]),
            Scope::Members => (members, &[]),
            Scope::IstioAndMembers => (istio, members),
        };
        Some(first.iter().chain(second).map(String::as_str).collect())
    }

    /// The name that all the objects have, if there is only one.
    pub fn only_name(&self) -> Option<&'static str> {
        match self.names {
            [name] if !name.ends_with('*') => Some(*name),
            _ => None,
        }
    }

    fn holds(&self, object: &Object<'_>, settings: &Settings) -> bool {
        let namespace: &str = object.metadata.namespace.as_ref();
        let is_file = object.file.is_some();
        let is_bare = is_file && object.name().is_empty();
        let is_there = match self.scope {
            Scope::BareFile => is_bare,
            Scope::File => is_file && namespace.is_empty(),
            _ if is_bare => false,
            _ => self.namespaces(settings).is_none_or(|all| all.contains(namespace)),
        };
        is_there
            && self.is_named(object.name())
            && self.label.is_none_or(|label| label.is_on(object))
    }

    /// Whether the objects are in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope != Scope::Cluster
    }

    /// Whether the objects may have this name.
    pub fn is_named(&self, name: &str) -> bool {
        let is_one = |known: &&str| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *known,
        };
        self.names.is_empty() || self.names.iter().any(is_one)
    }
}

impl Label {
    fn is_on(self, object: &Object<'_>) -> bool {
        let found = object.label(self.key);
        found.is_some_and(|found| self.value.is_none_or(|value| value == found))
    }
}

impl Document {
    /// Whether its objects are read from the API server. Those that may be in any namespace are only
    /// judged when they are written: nobody is to read all Secrets of a cluster.
    pub fn is_watched(&self) -> bool {
        !self.resource.is_empty() && self.select.scope != Scope::AllNamespaces
    }

    /// Whether an object carries this document.
    pub fn matches(&self, object: &Object<'_>, settings: &Settings) -> bool {
        if object.kind != self.kind || object.group() != self.group {
            return false;
        }
        self.select.holds(object, settings) && self.holds_a_key(object)
    }

    fn holds_a_key(&self, object: &Object<'_>) -> bool {
        // The document reports what cannot be read.
        let data = || {
            object.field("data").map_or(true, |data| {
                data.is_some_and(|data| self.keys.iter().any(|key| data.get(key).is_some()))
            })
        };
        self.keys.is_empty() || data()
    }

    /// Brings an object of this kind into its canonical form, defaults included.
    pub fn canonicalize(&self, object: &mut serde_json::Value) {
        for rewrite in self.rewrites(object) {
            rewrite.apply(object);
        }
    }

    /// The fields of an object of this kind that are not in their canonical form.
    pub fn rewrites(&self, object: &serde_json::Value) -> Vec<Rewrite> {
        self.canonical.iter().filter_map(|field| field.rewrite(object)).collect()
    }

    /// Whether objects of this kind have a canonical form that a patch can bring about.
    pub fn is_canonicalized(&self) -> bool {
        !self.canonical.is_empty()
    }
}

pub(super) fn local(settings: &Settings) -> MemberName {
    settings.local_member.as_str().into()
}
