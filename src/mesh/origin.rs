//! Where statements come from: which object makes them, where that is from, and on what basis.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    Pending,
}

/// What identifies a write of one object, whichever review asks about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
            Origin::Pending => f.write_str(", just admitted"),
        }
    }
}

/// On what basis something is said, the one that decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Observation {
    /// When.
    pub at: Moment,
    /// Whether that is all of it: otherwise the member has at least this.
    pub is_exact: bool,
}

/// The local member's own configurations, the one that decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
        let from = |origin| ObjectRef { origin, ..here.clone() };
        let of = |cluster: &str| from(Origin::Cluster(cluster.into()));
        let all = [here.clone(), of("a"), of("b"), from(Origin::Pending)];
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
}
