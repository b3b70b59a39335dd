//! Where statements come from: which object makes them, where that is from, and on what basis.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::value::Moment;

/// Which object: enough to find it again, and to name it in a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The kind, such as `Secret`.
    pub kind: Cow<'static, str>,
    /// The namespace of a namespaced object.
    pub namespace: Option<Box<str>>,
    /// The object's name; the file's path for a document that carries no name.
    pub name: Arc<str>,
    /// Where it is from. Objects of different origins are different objects.
    pub origin: Origin,
}

/// Where an object is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The guarded cluster, or files that say what it has: which of them counts for one object is
    /// a matter of layers.
    #[default]
    Here,
    /// Another cluster, by the name of the member it is.
    Cluster(Arc<str>),
    /// A write that was admitted and may not be stored yet.
    Pending(Arc<PendingWrite>),
}

/// A write that was admitted and may not be stored yet: which of its object's, and whose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingWrite {
    /// Which write of the object.
    pub id: WriteId,
    /// Who writes.
    pub user: Arc<str>,
    /// Of several that say different things, which. Either may be stored.
    pub attempt: u32,
}

/// What identifies a write of one object, whichever review asks about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteId {
    /// A creation: the `metadata.uid` that the API server has given the object; empty where it
    /// has not been told.
    Create(Box<str>),
    /// An update: the `resourceVersion` that it replaces, where that has been told.
    Update(Option<u64>),
}

impl ObjectRef {
    /// An object of the guarded cluster, or of a file that speaks of it.
    pub fn new(
        kind: impl Into<Cow<'static, str>>,
        namespace: Option<&str>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        let namespace = namespace.map(Into::into);
        Self { kind: kind.into(), namespace, name: name.into(), origin: Origin::Here }
    }

    /// The same object as a write will leave it that may not be stored yet.
    #[must_use]
    pub fn pending(&self, write: Arc<PendingWrite>) -> Self {
        Self { origin: Origin::Pending(write), ..self.clone() }
    }

    /// Whether this is an object as it is after a write that may not be stored yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.origin, Origin::Pending(_))
    }

    /// Whether both are one object of the guarded cluster, pending writes of it included.
    pub fn is_write_of(&self, object: &Self) -> bool {
        (&self.kind, &self.namespace, &self.name) == (&object.kind, &object.namespace, &object.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name)?,
            None => write!(f, "{} {}", self.kind, self.name)?,
        }
        match &self.origin {
            Origin::Here => Ok(()),
            Origin::Cluster(cluster) => write!(f, " of cluster {cluster}"),
            Origin::Pending(_) => f.write_str(", just admitted"),
        }
    }
}

impl WriteId {
    /// Whether what is stored of the object proves that this write is over: stored, or never to be.
    /// `stored` is the object's uid and version, or nothing where there is no such object. Nothing
    /// is told where the identity does not tell: then only what the object says may.
    pub fn is_settled(&self, stored: Option<(&str, Option<u64>)>) -> Option<bool> {
        match (self, stored) {
            (Self::Create(uid), _) if uid.is_empty() => None,
            // Another object of the name may be deleted before this one is stored.
            (Self::Create(uid), stored) => Some(stored.is_some_and(|(stored, _)| *stored == **uid)),
            (Self::Update(None), _) => None,
            (Self::Update(Some(_)), None) => Some(true),
            (Self::Update(Some(old)), Some((_, stored))) => stored.map(|stored| stored > *old),
        }
    }
}

/// On what basis something is said, the one that decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// It is the member's own configuration: for the local member alone.
    Own(Configuration),
    /// People state it of the member.
    Stated,
    /// It was read in the member itself.
    Observed(Observation),
    /// The member tells it of itself, and it was put into a status.
    Discovered,
}

/// How something was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observation {
    /// When.
    pub at: Moment,
    /// Whether that is all of it: otherwise the member has at least this.
    pub is_exact: bool,
}

/// The local member's own configurations, the one that decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Configuration {
    /// Deckhouse's ModuleConfigs.
    ModuleConfig,
    /// The Secret in which Deckhouse keeps the ClusterConfiguration.
    Deckhouse,
    /// The ConfigMap in which kubeadm keeps it.
    Kubeadm,
    /// The custom resource that is named as the local member.
    Resource,
    /// A bare file, as dhctl and kubeadm are given it.
    File,
    /// The MeshMember that is named as the local member.
    MeshMember,
}

impl Configuration {
    /// The one that decides last.
    pub const WEAKEST: Self = Self::MeshMember;

    /// Whether what this one states replaces what `weaker` does by design, so that it is no
    /// contradiction.
    pub fn supersedes(self, weaker: Self) -> bool {
        self == Self::ModuleConfig && weaker != Self::ModuleConfig
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_two_clusters_and_pending_writes_are_different_objects() {
        let here = ObjectRef::new("Secret", Some("kube-system"), "d8-cluster-configuration");
        let write = |id| Arc::new(PendingWrite { id, user: "admin".into(), attempt: 0 });
        let of =
            |cluster: &str| ObjectRef { origin: Origin::Cluster(cluster.into()), ..here.clone() };
        let all = [
            here.clone(),
            of("a"),
            of("b"),
            here.pending(write(WriteId::Create("1".into()))),
            here.pending(write(WriteId::Create("2".into()))),
            here.pending(write(WriteId::Update(Some(1)))),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        let texts = [0, 1, 3].map(|at| all[at].to_string());
        assert_eq!(
            texts,
            [
                "Secret kube-system/d8-cluster-configuration",
                "Secret kube-system/d8-cluster-configuration of cluster a",
                "Secret kube-system/d8-cluster-configuration, just admitted",
            ]
        );
    }

    #[test]
    fn a_write_is_over_once_the_stored_object_proves_it() {
        let create = WriteId::Create("u".into());
        let update = WriteId::Update(Some(5));
        let gone: Option<(&str, Option<u64>)> = None;
        let cases = [
            (&create, Some(("u", Some(9))), Some(true)),
            (&create, Some(("older", Some(9))), Some(false)),
            (&create, gone, Some(false)),
            (&update, Some(("u", Some(5))), Some(false)),
            (&update, Some(("u", Some(6))), Some(true)),
            (&update, gone, Some(true)),
            (&WriteId::Create("".into()), Some(("u", Some(9))), None),
            (&WriteId::Update(None), gone, None),
        ];
        for (id, stored, expected) in cases {
            assert_eq!(id.is_settled(stored), expected, "{id:?} {stored:?}");
        }
    }
}
