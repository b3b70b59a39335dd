//! Other clusters that an object leads to, and what is seen there when it is written.

use std::sync::Arc;

use jiff::Timestamp;

use super::kind::{istio_multicluster, remote_secret};
use super::of;
use super::toolkit::{Shown, sights};
use crate::mesh::{Basis, Fact, MemberName, Network, Observation, Reading};
use crate::meshmember::Observed;
use crate::settings::Settings;
use crate::syntax::{Object, Path};
use crate::value::ClusterUuid;

/// Another cluster that an object leads to. It may hold credentials, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whom the object speaks of there.
    pub subject: MemberName,
    /// The field that leads there.
    pub path: Path,
    /// How.
    pub way: Way,
    /// The server, as far as it is the same by another way.
    pub server: Option<Box<str>>,
}

/// How a cluster is read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Way {
    /// By the kubeconfig of a remote Secret.
    Kubeconfig(Arc<str>),
    /// By the public metadata of an IstioMulticluster.
    Metadata {
        /// The metadata endpoint.
        endpoint: Arc<str>,
        /// The certificate authority (CA) of its certificate, in PEM; empty where any will do that
        /// the system trusts.
        authority: Arc<str>,
        /// Whether its certificate is not verified.
        is_insecure: bool,
    },
}

/// What a cluster shows.
#[derive(Clone, Debug)]
pub enum Sight {
    /// Its facts.
    Facts(Arc<Observed>),
    /// The UUID in its metadata, and when it was read.
    Uuid(ClusterUuid, Timestamp),
}

/// Where a UUID comes from that is not read in the cluster itself.
const METADATA: &str = "public/public.json";

/// The clusters that an object leads to.
pub fn destinations(object: &Object<'_>, settings: &Settings) -> Vec<Destination> {
    let document = of(object, settings).map(|document| document.name);
    if document == Some(remote_secret::DOCUMENT.name) {
        remote_secret::destinations(object, settings)
    } else if document == Some(istio_multicluster::DOCUMENT.name) {
        istio_multicluster::destination(object).into_iter().collect()
    } else {
        Vec::new()
    }
}

impl Sight {
    /// What tells the cluster from others.
    pub fn identity(&self) -> Option<Fact> {
        match self {
            Self::Facts(observed) => {
                ClusterUuid::try_parse(&observed.uid.value).ok().map(Fact::Uid)
            }
            Self::Uuid(uuid, _) => Some(Fact::Uuid(*uuid)),
        }
    }

    /// Has an object say what is seen where it leads. These names are the local network's.
    pub fn note(&self, reading: &mut Reading, at: &Destination, local_networks: &[String]) {
        let stated = reading.basis;
        let sights = match self {
            Self::Facts(observed) => sights(observed),
            Self::Uuid(uuid, time) => {
                let seen = Observation { at: (*time).into(), is_exact: true };
                let (basis, fact) = (Basis::Observed(seen), Fact::Uuid(*uuid));
                vec![Shown { field: "", basis, from: METADATA, fact }]
            }
        };
        for Shown { basis, from, fact, .. } in sights {
            reading.basis = basis;
            let fact = match fact {
                Fact::Network(Network::Named(name))
                    if local_networks.iter().any(|local| **local == *name) =>
                {
                    Fact::Network(Network::Local)
                }
                fact => fact,
            };
            reading.claim(&at.subject, at.path.shown_by(from), fact);
        }
        reading.basis = stated;
    }
}
