//! Claims: what one document says of one member, and where it says it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::origin::Basis;
use super::place::Place;
use crate::value::{
    ClusterDomain, ClusterUuid, Invalid, MetadataEndpoint, Moment, NetworkName,
    PublicDomainTemplate, RemoteAddress, Subnet, clipped,
};

/// The name of a member.
pub type MemberName = Arc<str>;

/// One thing that one document says of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is said.
    pub fact: Fact,
    /// Where it is said.
    pub place: Place,
}

/// What tells one cluster from another, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The UID of its namespace `kube-system`.
    Uid(ClusterUuid),
    /// The UUID that Deckhouse has given it.
    Uuid(ClusterUuid),
    /// What Istio calls it, as people or its own configuration state it.
    ClusterId(Arc<str>),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "UID {uid} of namespace kube-system"),
            Self::Uuid(uuid) => write!(f, "cluster UUID {uuid}"),
            Self::ClusterId(id) => write!(f, "cluster ID {}", clipped(id)),
        }
    }
}

impl Claim {
    /// The identity that is stated. What a cluster tells of itself as its ID in Istio is none: it
    /// may say what it likes.
    pub fn identity(&self) -> Option<Identity> {
        match (&self.fact, self.place.basis) {
            (Fact::Uid(uid), _) => Some(Identity::Uid(*uid)),
            (Fact::Uuid(uuid), _) => Some(Identity::Uuid(*uuid)),
            (Fact::ClusterId(id), Basis::Own(_) | Basis::Stated) => {
                Some(Identity::ClusterId(Arc::clone(id)))
            }
            _ => None,
        }
    }

    /// How many bytes it takes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let texts = match &self.fact {
            Fact::Fault(fault) => {
                size_of_val(&**fault) + fault.text.len() + fault.problem.len() + fault.remedy.len()
            }
            Fact::Advice(text) | Fact::Unread(text) => text.len(),
            Fact::Allow(_) | Fact::NetworkEndpoints(_) | Fact::Endpoint(_) => USUAL_TEXT,
            _ => 0,
        };
        size_of_val(self) + texts + self.place.path().bytes()
    }
}

/// What a fact takes beside the claim that holds it, where that is not worth counting, in bytes.
const USUAL_TEXT: usize = 128;

/// What a document can say of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// An IstioMulticluster names the member as a peer.
    Peer,
    /// A descriptor of Istio 0.8 names the member as a cluster that another one's Pilot serves.
    Remote,
    /// A custom resource holds the member's configuration.
    Configured,
    /// A remote Secret joins the member: which one, and by which key.
    RemoteSecret(Arc<SecretKey>),
    /// When the credentials end by which Istio reaches the member.
    Expires(Moment),
    /// The object is being deleted.
    Terminating,
    /// The object takes the place of another one, which is to be deleted.
    Replaces(Arc<Replaced>),
    /// Its cluster domain.
    ClusterDomain(ClusterDomain),
    /// Its network name as Deckhouse pinned it, which holds the cluster domain in lossy form.
    NetworkName(NetworkName),
    /// A range of its pods or services; one claim for each range of a dual-stack list.
    Subnet(Role, Subnet),
    /// The prefix length of the part of the pod subnet that each node gets, IPv4.
    NodePrefix(u8),
    /// Where it publishes its metadata.
    Endpoint(MetadataEndpoint),
    /// The UUID that Deckhouse has given the cluster.
    Uuid(ClusterUuid),
    /// The UID of its namespace `kube-system`.
    Uid(ClusterUuid),
    /// What Istio calls the cluster. Stated by people or by the member's own configuration, it
    /// decides who is joined by the remote Secret of this ID.
    ClusterId(Arc<str>),
    /// A name that a member goes by which is known by its cluster ID: a remote Secret
    /// `istio-remote-secret-NAME` of Deckhouse has it.
    Alias(MemberName),
    /// The network its pods are on.
    Network(Network),
    /// It was seen to have no gateway for the network that it was seen on, so that its pods are
    /// reached directly.
    NoGateway,
    /// It was seen to have no namespace of Istio, which would tell the network.
    NoNetwork,
    /// The names of its public services.
    PublicDomain(PublicDomainTemplate),
    /// Where it finds the control plane of another cluster.
    RemoteAddress(RemoteAddress),
    /// Whether it may have peers at all.
    Multicluster(bool),
    /// Whether Istio's mesh networks name any.
    MeshNetworks(bool),
    /// Which endpoints one of Istio's mesh networks has.
    NetworkEndpoints(Arc<NetworkEndpoints>),
    /// The trust domain of Istio's mesh config.
    TrustDomain(ClusterDomain),
    /// Another trust domain whose identities it accepts as its own.
    TrustDomainAlias(ClusterDomain),
    /// A peer of another mesh that it is federated with.
    Federation(Arc<Federation>),
    /// Rules that its document takes as warnings.
    Allow(Arc<Allow>),
    /// Why the cluster could not be read when it was to join.
    Unread(Arc<str>),
    /// How it would better be written, where isthmus rewrites nothing.
    Advice(Arc<str>),
    /// Something that cannot be read as what it should be.
    Fault(Arc<Fault>),
}

impl Fact {
    /// Whether another fact tells the same thing of a member, such as its pod subnet.
    pub fn is_of_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Subnet(role, _), Self::Subnet(other, _)) => role == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Whether it tells what a cluster is, which holds wherever the cluster is a member.
    pub fn describes_cluster(&self) -> bool {
        match self {
            Self::ClusterDomain(_)
            | Self::NetworkName(_)
            | Self::Subnet(..)
            | Self::NodePrefix(_)
            | Self::Uuid(_)
            | Self::Uid(_)
            | Self::ClusterId(_)
            | Self::Alias(_)
            | Self::Network(_)
            | Self::NoGateway
            | Self::NoNetwork
            | Self::PublicDomain(_)
            | Self::TrustDomain(_)
            | Self::TrustDomainAlias(_)
            | Self::Terminating
            | Self::Replaces(_)
            | Self::Allow(_) => true,
            Self::Peer
            | Self::Remote
            | Self::Configured
            | Self::RemoteSecret(_)
            | Self::Expires(_)
            | Self::Endpoint(_)
            | Self::RemoteAddress(_)
            | Self::Multicluster(_)
            | Self::MeshNetworks(_)
            | Self::NetworkEndpoints(_)
            | Self::Federation(_)
            | Self::Unread(_)
            | Self::Advice(_)
            | Self::Fault(_) => false,
        }
    }

    /// The metadata endpoint, if it states one.
    pub fn endpoint(&self) -> Option<&MetadataEndpoint> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// The metadata endpoint of a federated peer, if it states one.
    pub fn federated_endpoint(&self) -> Option<&MetadataEndpoint> {
        match self {
            Self::Federation(federation) => match &**federation {
                Federation::Endpoint(endpoint) => Some(endpoint),
                Federation::TrustDomain(_) => None,
            },
            _ => None,
        }
    }

    /// The cluster domain, if it states one.
    pub fn cluster_domain(&self) -> Option<&ClusterDomain> {
        match self {
            Self::ClusterDomain(domain) => Some(domain),
            _ => None,
        }
    }
}

/// What is said of a federated peer, which is a member of no mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Federation {
    /// Where it publishes its metadata.
    Endpoint(MetadataEndpoint),
    /// Its trust domain.
    TrustDomain(ClusterDomain),
}

/// Whose addresses a subnet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Those of pods.
    Pod,
    /// Those of services.
    Service,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pod, Self::Service];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pod subnet",
            Self::Service => "service subnet",
        })
    }
}

/// The network a member's pods are on (Istio's deployment models): members on one network reach
/// each other's pods directly, members on different ones only through a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Network {
    /// That of the local member.
    Local,
    /// A named one.
    Named(Arc<str>),
    /// One of its own, behind a gateway.
    Own,
}

/// Endpoints of one of Istio's mesh networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEndpoints {
    /// The network's name.
    pub network: Arc<str>,
    /// Which endpoints.
    pub from: EndpointSource,
}

/// What endpoints of a network have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointSource {
    /// The range their addresses are in.
    Cidr(Subnet),
    /// The cluster they are in, by the name Istio knows it by.
    Registry(Box<str>),
    /// The gateway through which the network is reached: its address and port.
    Gateway(Box<str>),
}

/// An object that another one takes the place of, as an annotation names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The kind.
    pub kind: Box<str>,
    /// The name.
    pub name: Box<str>,
}

/// The escape hatch of a document: rules whose denials it turns into warnings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allow {
    /// Every rule (`deckhouse.io/allow-unsafe`).
    Every,
    /// Every rule, since an operator renders the object: nobody could correct it there.
    Rendered,
    /// The rules of these names (`isthmus.dev/allow`).
    Rules(Vec<String>),
}

impl Allow {
    /// Whether denials by this rule are turned into warnings.
    pub fn covers(&self, rule: &str) -> bool {
        match self {
            Self::Every | Self::Rendered => true,
            Self::Rules(rules) => rules.iter().any(|allowed| allowed == rule),
        }
    }
}

/// A key of a remote Secret, which is the ID of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretKey {
    /// The namespace of the Secret; empty where it is not said.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The key.
    pub key: Box<str>,
}

/// Something that cannot be read as what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it should have been.
    pub about: About,
    /// The text as it was found; empty where there is none, or where it may hold a secret.
    pub text: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// Whether what reads the document gets by all the same, so that it is only warned of.
    pub harmless: bool,
}

impl Fault {
    /// A value that what reads the document fails on, or reads as something else.
    pub fn new(about: About, text: &str, why: Invalid) -> Self {
        let Invalid { problem, remedy } = why;
        let (text, problem) = (clipped(text).into_owned(), clipped(&problem).into_owned());
        Self { about, text, problem, remedy, harmless: false }
    }
}

/// What a text should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// A document of its kind.
    Document,
    /// A subnet.
    Subnet(Role),
    /// The prefix length of a node's part of the pod subnet.
    NodePrefix,
    /// A cluster domain.
    ClusterDomain,
    /// A metadata endpoint.
    Endpoint,
    /// A descriptor of a cluster, as Istio 0.8 reads it.
    Descriptor,
    /// The one descriptor of the cluster that holds Istio's control plane.
    ControlPlane,
    /// A kubeconfig by which Istio 0.8 reaches a cluster.
    AccessConfig,
    /// A cluster that Istio 0.8 reaches by no other descriptor.
    SecurityContext,
    /// An address of a remote control plane.
    RemoteEndpoint,
    /// Istio's mesh networks, or its mesh config.
    MeshConfig,
    /// A kubeconfig in a remote Secret.
    RemoteSecret,
}

impl About {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Document,
        Self::Subnet(Role::Pod),
        Self::Subnet(Role::Service),
        Self::NodePrefix,
        Self::ClusterDomain,
        Self::Endpoint,
        Self::Descriptor,
        Self::ControlPlane,
        Self::AccessConfig,
        Self::SecurityContext,
        Self::RemoteEndpoint,
        Self::MeshConfig,
        Self::RemoteSecret,
    ];
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("document"),
            Self::Subnet(role) => role.fmt(f),
            Self::NodePrefix => f.write_str("node prefix"),
            Self::ClusterDomain => f.write_str("cluster domain"),
            Self::Endpoint => f.write_str("metadata endpoint"),
            Self::Descriptor => f.write_str("descriptor"),
            Self::ControlPlane => f.write_str("control plane"),
            Self::AccessConfig => f.write_str("access config"),
            Self::SecurityContext => f.write_str("security context"),
            Self::RemoteEndpoint => f.write_str("remote endpoint"),
            Self::MeshConfig => f.write_str("mesh networks"),
            Self::RemoteSecret => f.write_str("remote Secret"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_small() {
        assert!(size_of::<Claim>() <= 64, "a mesh holds six for each of its members");
    }
}
