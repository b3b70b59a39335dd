//! What is asked of a cluster: single objects, and lists that are short enough by a selector or a
//! limit.

/// The most items that one page of a list brings, and that are taken of it.
pub const MOST_ITEMS: usize = 50;
/// The pages of a list that are read; what is beyond them is left out.
const MOST_PAGES: u8 = 10;

/// One thing to read of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub(super) what: What,
    /// Where the next page of the list begins.
    token: Option<String>,
    page: u8,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Namespace `kube-system`, whose UID is the cluster's identity.
    KubeSystem,
    /// What kubeadm was told.
    KubeadmConfig,
    /// The Pods of kube-apiserver and kube-controller-manager.
    ControlPlane,
    /// The ranges of Service addresses.
    ServiceCidrs,
    /// A sample of all Pods.
    PodSample,
    /// Services that are gateways of a network.
    Gateways,
    /// One of Istio's namespaces.
    Namespace(String),
    /// The Pods of istiod, ztunnel, and Deckhouse's api-proxy in it.
    Istio(String),
    /// The other Pods in it, gateways among them.
    Proxies(String),
    /// ConfigMap `istio` in it.
    MeshConfig(String),
    /// All Nodes, for the ranges of Pods that they have.
    Nodes,
    /// All Services, for their addresses.
    Services,
}

impl Ask {
    pub(super) fn new(what: What) -> Self {
        Self { what, token: None, page: 1 }
    }

    /// The same of the list's next page, as long as there are not too many.
    pub(super) fn next(&self, token: String) -> Option<Self> {
        let page = self.page + 1;
        (page <= MOST_PAGES).then(|| Self { what: self.what.clone(), token: Some(token), page })
    }

    /// The right that it takes.
    pub fn right(&self) -> Right<'_> {
        let core = |verb, resource, namespace, name| Right {
            group: "",
            resource,
            verb,
            namespace,
            name,
            is_of_istio_reader: resource != "configmaps",
        };
        match &self.what {
            What::KubeSystem => core("get", "namespaces", None, Some(KUBE_SYSTEM)),
            What::KubeadmConfig => {
                core("get", "configmaps", Some(KUBE_SYSTEM), Some("kubeadm-config"))
            }
            What::Namespace(name) => core("get", "namespaces", None, Some(name)),
            What::MeshConfig(name) => core("get", "configmaps", Some(name), Some("istio")),
            What::ControlPlane | What::PodSample | What::Istio(_) | What::Proxies(_) => {
                core("list", "pods", None, None)
            }
            What::Gateways | What::Services => core("list", "services", None, None),
            What::Nodes => core("list", "nodes", None, None),
            What::ServiceCidrs => Right {
                group: "networking.k8s.io",
                is_of_istio_reader: false,
                ..core("list", "servicecidrs", None, None)
            },
        }
    }

    /// The path and query to ask for.
    pub fn path(&self) -> String {
        let (path, selector) = match &self.what {
            What::KubeSystem => return "/api/v1/namespaces/kube-system".to_owned(),
            What::KubeadmConfig => {
                return "/api/v1/namespaces/kube-system/configmaps/kubeadm-config".to_owned();
            }
            What::Namespace(name) => return format!("/api/v1/namespaces/{}", encoded(name)),
            What::MeshConfig(name) => {
                return format!("/api/v1/namespaces/{}/configmaps/istio", encoded(name));
            }
            What::ControlPlane => (
                "/api/v1/namespaces/kube-system/pods".to_owned(),
                "component in (kube-apiserver,kube-controller-manager)",
            ),
            What::ServiceCidrs => ("/apis/networking.k8s.io/v1/servicecidrs".to_owned(), ""),
            What::PodSample => ("/api/v1/pods".to_owned(), ""),
            What::Gateways => ("/api/v1/services".to_owned(), NETWORK_LABEL),
            What::Istio(name) => (pods_in(name), "app in (istiod,ztunnel,api-proxy)"),
            // There is one of each on every node, and ztunnel is asked for above.
            What::Proxies(name) => {
                (pods_in(name), "app notin (istiod,ztunnel,api-proxy),k8s-app!=istio-cni-node")
            }
            What::Nodes => ("/api/v1/nodes".to_owned(), ""),
            What::Services => ("/api/v1/services".to_owned(), ""),
        };
        let mut query = url::form_urlencoded::Serializer::new(path + "?");
        query.append_pair("limit", &MOST_ITEMS.to_string());
        if !selector.is_empty() {
            query.append_pair("labelSelector", selector);
        }
        if let Some(token) = &self.token {
            query.append_pair("continue", token);
        }
        query.finish()
    }
}

/// A right in the cluster that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right<'a> {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The plural of the resource.
    pub resource: &'static str,
    /// `get` or `list`.
    pub verb: &'static str,
    /// The only namespace, of what is not asked for in all of them.
    pub namespace: Option<&'a str>,
    /// The only name.
    pub name: Option<&'a str>,
    /// Whether the account of a remote Secret has it by the role that every version of Istio gives
    /// its readers.
    pub is_of_istio_reader: bool,
}

/// The namespace of the control plane.
const KUBE_SYSTEM: &str = "kube-system";

/// The label of a network, on Istio's namespace and on the Services of gateways.
pub const NETWORK_LABEL: &str = "topology.istio.io/network";

fn pods_in(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/pods", encoded(namespace))
}

/// The name of a namespace, which a setting may have in any form.
fn encoded(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
