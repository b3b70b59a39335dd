//! What a document is, apart from those there are: an entry of the registry.

use std::collections::BTreeSet;

use super::toolkit::{Canonical, Rewrite};
use crate::mesh::{MemberName, Reading};
use crate::settings::Settings;
use crate::syntax::Object;

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
    /// The keys of `data`, one of which such an object holds; none where all of them are taken.
    pub keys: &'static [&'static str],
    /// What it says, and of whom.
    pub says: &'static str,
    pub(super) read: fn(&Object<'_>, &Settings, &mut Reading),
    pub(super) canonical: &'static [Canonical],
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
    /// Those of these names in one of [`Settings::istio_namespaces`]. A name that ends in an
    /// asterisk stands for all that begin so.
    Istio(&'static [&'static str]),
    /// Those that bear a label.
    Label(Label),
    /// A file without metadata, as it is given to the tool that builds a cluster.
    BareFile,
    /// A file that says no namespace.
    File,
}

/// A label that makes an object a document, where not everybody may speak for a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its key.
    pub key: &'static str,
    /// Its value, if only one will do.
    pub value: Option<&'static str>,
    /// Whether it means something in [`Settings::istio_namespaces`] too, and not only in
    /// [`Settings::member_namespaces`].
    pub in_istio: bool,
}

impl Label {
    /// The namespaces in which it means something.
    pub fn namespaces(self, settings: &Settings) -> BTreeSet<&str> {
        let istio = settings.istio_namespaces.iter().filter(|_| self.in_istio);
        settings.member_namespaces.iter().chain(istio).map(String::as_str).collect()
    }
}

/// Whether a name is one of these, where one that ends in an asterisk stands for all that begin so.
fn is_named(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *known,
    })
}

impl Document {
    /// Whether an object carries this document.
    pub fn matches(&self, object: &Object<'_>, settings: &Settings) -> bool {
        if object.kind != self.kind || object.group() != self.group {
            return false;
        }
        let namespace: &str = object.metadata.namespace.as_ref();
        let bare = object.file.is_some() && object.name().is_empty();
        let selected = match self.select {
            Select::All => !bare,
            Select::Name(name) => object.name() == name,
            Select::Namespaced(of, name) => namespace == of && object.name() == name,
            Select::Istio(names) => {
                is_named(object.name(), names)
                    && settings.istio_namespaces.iter().any(|istio| istio == namespace)
            }
            Select::Label(label) => {
                let found = object.label(label.key);
                found.is_some_and(|found| label.value.is_none_or(|value| value == found))
                    && label.namespaces(settings).contains(namespace)
            }
            Select::BareFile => bare,
            Select::File => object.file.is_some() && namespace.is_empty(),
        };
        selected && self.holds_a_key(object)
    }

    fn holds_a_key(&self, object: &Object<'_>) -> bool {
        // What cannot be read is told of by the document.
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
