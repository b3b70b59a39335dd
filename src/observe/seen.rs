//! What was read of a cluster so far, and what is to be asked next.

use std::collections::BTreeSet;

use super::ask::{Ask, What};
use super::objects::{Answer, Namespace, Node, Pod, Service, ServiceCidr};
use crate::settings::Settings;

/// How many of Istio's namespaces are looked into.
const MOST_NAMESPACES: usize = 4;

/// What was read of a cluster. What it refused to tell, or does not have, is not known.
#[derive(Default)]
pub struct Seen {
    pub(super) uid: String,
    /// The whole ConfigMap, as JSON.
    pub(super) kubeadm_config: Option<String>,
    pub(super) control_plane: Vec<Pod>,
    pub(super) service_cidrs: Vec<ServiceCidr>,
    /// Whether these are all there are.
    pub(super) has_all_service_cidrs: bool,
    pub(super) pod_sample: Option<Vec<Pod>>,
    pub(super) gateways: Option<Vec<Service>>,
    pub(super) istio: Vec<Istio>,
    pub(super) nodes: Vec<Node>,
    pub(super) services: Vec<Service>,
    refused: BTreeSet<&'static str>,
}

/// What was read in one of Istio's namespaces.
#[derive(Default)]
pub(super) struct Istio {
    pub(super) name: String,
    pub(super) namespace: Option<Namespace>,
    pub(super) pods: Vec<Pod>,
    /// ConfigMap `istio`, as JSON.
    pub(super) mesh_config: Option<String>,
}

/// An answer that no API server of Kubernetes gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not answer as an API server of Kubernetes does")]
pub struct NotKubernetes;

impl Seen {
    /// Nothing yet, of a cluster in which Istio is where it is by these settings.
    pub fn new(settings: &Settings) -> Self {
        let names = settings.istio_namespaces.iter().take(MOST_NAMESPACES);
        let istio = names.map(|name| Istio { name: name.clone(), ..Istio::default() });
        Self { istio: istio.collect(), ..Self::default() }
    }

    /// What to ask first, in any order.
    pub fn first(&self) -> Vec<Ask> {
        let whats = [
            What::KubeSystem,
            What::KubeadmConfig,
            What::ControlPlane,
            What::ServiceCidrs,
            What::PodSample,
            What::Gateways,
        ];
        let of_istio = self.istio.iter().flat_map(|istio| {
            let name = || istio.name.clone();
            let whats = [
                What::Namespace(name()),
                What::Istio(name()),
                What::Proxies(name()),
                What::MeshConfig(name()),
            ];
            whats.into_iter()
        });
        whats.into_iter().chain(of_istio).map(Ask::new).collect()
    }

    /// What to ask then: long lists, for facts that nothing better has told.
    pub fn then(&self) -> Vec<Ask> {
        let nodes = self.configured_pods().is_none().then_some(What::Nodes);
        let services = self.configured_services().is_none().then_some(What::Services);
        nodes.into_iter().chain(services).map(Ask::new).collect()
    }

    /// Everything that may be asked of a cluster by these settings.
    pub fn all(settings: &Settings) -> Vec<Ask> {
        let nothing = Self::new(settings);
        nothing.first().into_iter().chain(nothing.then()).collect()
    }

    /// Takes in that the cluster did not let this be read, though it is there.
    pub fn refuse(&mut self, ask: &Ask) {
        let right = ask.right();
        self.refused.extend(right.is_of_istio_reader.then_some(right.resource));
    }

    /// The resources, or some of them, that the cluster did not let be read, of those that the
    /// account of a remote Secret may read in every version of Istio. What follows from them is not
    /// known, which does not mean that it has changed.
    pub fn refused(&self) -> Vec<&'static str> {
        self.refused.iter().copied().collect()
    }

    /// Takes an answer in; gives back the next page to ask for, if there is one.
    pub fn take(&mut self, ask: &Ask, text: &str) -> Result<Option<Ask>, NotKubernetes> {
        let answer: Answer<'_> = serde_json::from_str(text).map_err(|_| NotKubernetes)?;
        if answer.kind != ask.what.kind() {
            return Err(NotKubernetes);
        }
        match &ask.what {
            What::KubeSystem => self.uid = single::<Namespace>(text)?.metadata.uid,
            What::KubeadmConfig => self.kubeadm_config = Some(text.to_owned()),
            What::ControlPlane => self.control_plane = answer.items(),
            What::ServiceCidrs => {
                self.service_cidrs = answer.items();
                self.has_all_service_cidrs = answer.next().is_none();
            }
            What::PodSample => self.pod_sample = Some(answer.items()),
            What::Gateways => self.gateways = Some(answer.items()),
            What::Namespace(name) => {
                let namespace = single(text)?;
                self.in_istio(name, |istio| istio.namespace = Some(namespace));
            }
            What::Istio(name) | What::Proxies(name) => {
                let pods = answer.items();
                self.in_istio(name, |istio| istio.pods.extend(pods));
            }
            What::MeshConfig(name) => {
                self.in_istio(name, |istio| istio.mesh_config = Some(text.to_owned()));
            }
            What::Nodes => {
                self.nodes.extend(answer.items::<Node>());
                return Ok(answer.next().and_then(|token| ask.next(token)));
            }
            What::Services => {
                self.services.extend(answer.items::<Service>());
                return Ok(answer.next().and_then(|token| ask.next(token)));
            }
        }
        Ok(None)
    }

    fn in_istio(&mut self, name: &str, change: impl FnOnce(&mut Istio)) {
        if let Some(istio) = self.istio.iter_mut().find(|istio| istio.name == name) {
            change(istio);
        }
    }
}

impl What {
    /// The kind of its answer.
    fn kind(&self) -> &'static str {
        match self {
            Self::KubeSystem | Self::Namespace(_) => "Namespace",
            Self::KubeadmConfig | Self::MeshConfig(_) => "ConfigMap",
            Self::ControlPlane | Self::PodSample | Self::Istio(_) | Self::Proxies(_) => "PodList",
            Self::ServiceCidrs => "ServiceCIDRList",
            Self::Gateways | Self::Services => "ServiceList",
            Self::Nodes => "NodeList",
        }
    }
}

fn single<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, NotKubernetes> {
    serde_json::from_str(text).map_err(|_| NotKubernetes)
}
