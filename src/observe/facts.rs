//! What follows from what was read: each fact from the best source that tells it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::ask::NETWORK_LABEL;
use super::objects::{Pod, word};
use super::ranges::{addresses, alone, held, listed, merged, parsed};
use super::seen::Seen;
use crate::document;
use crate::mesh::{About, Fact as Claimed, Reading, Role};
use crate::meshmember::{Fact, Observed};
use crate::settings::Settings;
use crate::syntax::Object;
use crate::value::{ClusterDomain, ClusterUuid, Subnet};

/// How many networks are told that a cluster has gateways for.
const MOST_GATEWAYS: usize = 16;
/// How many addresses are told where nothing but addresses is known.
const MOST_ADDRESSES: usize = 16;

/// A value, who tells it, and whether that is all of it.
pub(super) struct Told<T> {
    value: T,
    from: String,
    exact: bool,
}

impl<T> Told<T> {
    fn new(value: T, from: impl Into<String>, exact: bool) -> Self {
        Self { value, from: from.into(), exact }
    }

    fn at_least(self) -> Self {
        Self { exact: false, ..self }
    }

    fn at(self, at: Timestamp) -> Fact<T> {
        let Self { value, from, exact } = self;
        Fact { value, from, exact, at }
    }
}

/// What several objects say as one: where they differ, none of them is known to be right.
fn agreed<T: Ord>(said: impl IntoIterator<Item = (T, String)>) -> Option<Told<T>> {
    let mut values = BTreeMap::new();
    for (value, from) in said {
        let first = values.entry(value).or_insert_with(|| from.clone());
        if from < *first {
            *first = from;
        }
    }
    let exact = values.len() == 1;
    values.pop_first().map(|(value, from)| Told { value, from, exact })
}

impl Seen {
    /// The facts, read at this time; nothing where the cluster does not tell which it is.
    pub fn facts(&self, at: Timestamp) -> Option<Observed> {
        let uid = Told::new(word(&self.uid)?.to_owned(), "Namespace kube-system", true);
        let texts = |told: Told<Vec<Subnet>>| {
            let value = told.value.iter().map(Subnet::to_string).collect();
            Told { value, from: told.from, exact: told.exact }.at(at)
        };
        let (api_proxy, istiod) = (|| self.istio_pods("api-proxy"), || self.istio_pods("istiod"));
        let uuid = variables(api_proxy(), "CLUSTER_UUID", |text| {
            text.parse::<ClusterUuid>().ok().map(|uuid| uuid.to_string())
        });
        let cluster_id = variables(istiod(), "CLUSTER_ID", owned_word)
            .or_else(|| variables(self.proxies(), "ISTIO_META_CLUSTER_ID", owned_word));
        let mesh_id = variables(self.proxies(), "ISTIO_META_MESH_ID", owned_word);
        Some(Observed {
            uid: uid.at(at),
            cluster_domain: self.cluster_domain().map(|told| told.at(at)),
            pod_subnets: self.pods().map(texts),
            service_subnets: self.services().map(texts),
            network: self.network().map(|told| told.at(at)),
            gateways: self.gateways().map(|told| told.at(at)),
            trust_domain: self.trust_domain().map(|told| told.at(at)),
            mesh_id: mesh_id.map(|told| told.at(at)),
            cluster_id: cluster_id.map(|told| told.at(at)),
            cluster_uuid: uuid.map(|told| told.at(at)),
        })
    }

    fn cluster_domain(&self) -> Option<Told<String>> {
        let domain = |text: &str| ClusterDomain::parse(text).ok().map(|it| it.as_str().to_owned());
        let by_flag = || {
            let istiod = self.istio_pods("istiod");
            agreed(
                istiod.filter_map(|pod| Some((domain(pod.flag("domain")?)?, pod.told("--domain")))),
            )
        };
        let by_kubeadm = || {
            let reading = self.kubeadm()?;
            let mut domains = reading.claims().filter_map(|claim| claim.fact.cluster_domain());
            let domain = domains.next()?.as_str().to_owned();
            Some(Told::new(domain, KUBEADM_CONFIG, true))
        };
        variables(self.istio_pods("api-proxy"), "CLUSTER_DOMAIN", domain)
            .or_else(by_flag)
            .or_else(by_kubeadm)
    }

    fn pods(&self) -> Option<Told<Vec<Subnet>>> {
        let of_nodes = || {
            let ranges = self.nodes.iter().flat_map(|node| {
                let (one, all) = (&node.spec.pod_cidr, &node.spec.pod_cidrs);
                let one = Some(one.as_str()).filter(|_| all.is_empty());
                all.iter().map(String::as_str).chain(one)
            });
            let merged = merged(ranges);
            let told = Told::new(merged, "Nodes (spec.podCIDRs)", false);
            self.as_sampled(Some(told).filter(|told| !told.value.is_empty())?)
        };
        let sampled = || {
            let mut addresses = self.pod_addresses()?;
            addresses.sort_unstable();
            addresses.dedup();
            let texts: Vec<_> = addresses.into_iter().map(alone).collect();
            // Loopback and the like are no subnets, and no addresses of Pods either.
            let subnets = texts.iter().filter_map(|text| Subnet::parse(text).ok());
            let subnets: Vec<_> = subnets.take(MOST_ADDRESSES).collect();
            let told = Told::new(subnets, "Pods (status.podIPs)", false);
            Some(told).filter(|told| !told.value.is_empty())
        };
        self.configured_pods().or_else(of_nodes).or_else(sampled)
    }

    /// The Pods' subnets as the control plane was told them.
    pub(super) fn configured_pods(&self) -> Option<Told<Vec<Subnet>>> {
        let by_kubeadm = self.kubeadm_subnets(Role::Pod);
        by_kubeadm.and_then(|told| self.as_sampled(told)).or_else(|| {
            let by_flag = self.flag_subnets(&["kube-controller-manager"], "cluster-cidr")?;
            self.as_sampled(by_flag)
        })
    }

    /// The same as far as sampled Pods bear it out: network plugins may have ranges of their own,
    /// and then others are not in use, or not all that is.
    fn as_sampled(&self, told: Told<Vec<Subnet>>) -> Option<Told<Vec<Subnet>>> {
        let Some(addresses) = self.pod_addresses() else { return Some(told.at_least()) };
        match held(&told.value, &addresses) {
            all if all == addresses.len() => Some(told),
            0 => None,
            _ => Some(told.at_least()),
        }
    }

    /// The addresses of sampled Pods in the network of Pods, if there is a sample.
    fn pod_addresses(&self) -> Option<Vec<IpAddr>> {
        let sample = self.pod_sample.as_ref()?;
        Some(addresses(sample.iter().flat_map(Pod::addresses)))
    }

    fn services(&self) -> Option<Told<Vec<Subnet>>> {
        let by_addresses = || {
            let texts = self.services.iter().flat_map(|service| &service.spec.cluster_ips);
            let alone: Vec<_> =
                addresses(texts.map(String::as_str)).into_iter().map(alone).collect();
            let merged = merged(alone.iter().map(String::as_str));
            let told = Told::new(merged, "Services (spec.clusterIPs)", false);
            Some(told).filter(|told| !told.value.is_empty())
        };
        self.configured_services().or_else(by_addresses)
    }

    /// The Services' subnets as the control plane has them.
    pub(super) fn configured_services(&self) -> Option<Told<Vec<Subnet>>> {
        let by_ranges = || {
            let cidrs = self.service_cidrs.iter().flat_map(|range| &range.spec.cidrs);
            let mut cidrs: Vec<_> = cidrs.map(String::as_str).collect();
            cidrs.sort_unstable();
            cidrs.dedup();
            let names = self.service_cidrs.iter().map(|range| &*range.metadata.name);
            let from = match names.collect::<Vec<_>>().as_slice() {
                [name] => format!("ServiceCIDR {name}"),
                _ => "ServiceCIDRs".to_owned(),
            };
            Some(Told::new(parsed(cidrs)?, from, self.has_all_service_cidrs))
        };
        let servers = ["kube-apiserver", "kube-controller-manager"];
        by_ranges()
            .or_else(|| self.kubeadm_subnets(Role::Service))
            .or_else(|| self.flag_subnets(&servers, "service-cluster-ip-range"))
    }

    /// What a flag says in mirror Pods of these components; anybody in `kube-system` may create
    /// other Pods.
    fn flag_subnets(&self, components: &[&str], flag: &str) -> Option<Told<Vec<Subnet>>> {
        let of_component =
            |component: &&str| {
                let pods = self.control_plane.iter().filter(|pod| {
                    pod.is_alive() && pod.is_mirror() && pod.label("component") == *component
                });
                agreed(pods.filter_map(|pod| {
                    Some((listed(pod.flag(flag)?)?, pod.told(&format!("--{flag}"))))
                }))
            };
        components.iter().find_map(of_component)
    }

    fn kubeadm_subnets(&self, role: Role) -> Option<Told<Vec<Subnet>>> {
        let reading = self.kubeadm()?;
        let mut subnets = Vec::new();
        for claim in reading.claims() {
            match &claim.fact {
                Claimed::Subnet(of, subnet) if *of == role => subnets.push(*subnet),
                Claimed::Fault(fault) if fault.about == About::Subnet(role) => return None,
                _ => {}
            }
        }
        (!subnets.is_empty()).then(|| Told::new(subnets, KUBEADM_CONFIG, true))
    }

    fn kubeadm(&self) -> Option<Reading> {
        let object = Object::parse(self.kubeadm_config.as_ref()?).ok()?;
        Some(document::read(&object, &Settings::default()))
    }

    fn network(&self) -> Option<Told<String>> {
        let namespaces =
            || self.istio.iter().filter_map(|istio| Some((istio.namespace.as_ref()?, &istio.name)));
        let labelled = namespaces().filter_map(|(namespace, name)| {
            let network = owned_word(namespace.metadata.labels.get(NETWORK_LABEL)?)?;
            Some((network, format!("Namespace {name} ({NETWORK_LABEL})")))
        });
        // Istio without a network is on one that has no name.
        let unnamed = || {
            let (_, name) = namespaces().next()?;
            Some(Told::new(String::new(), format!("Namespace {name}"), true))
        };
        agreed(labelled)
            .or_else(|| variables(self.proxies(), "ISTIO_META_NETWORK", owned_word))
            .or_else(|| variables(self.istio_pods("ztunnel"), "NETWORK", owned_word))
            .or_else(unnamed)
    }

    fn gateways(&self) -> Option<Told<Vec<String>>> {
        let labels = self.gateways.as_ref()?.iter();
        let networks = labels.filter_map(|it| owned_word(it.metadata.labels.get(NETWORK_LABEL)?));
        let mut networks: Vec<_> = networks.collect();
        networks.sort_unstable();
        networks.dedup();
        networks.truncate(MOST_GATEWAYS);
        Some(Told::new(networks, format!("Services ({NETWORK_LABEL})"), true))
    }

    fn trust_domain(&self) -> Option<Told<String>> {
        let by_mesh_config = || {
            let names = self.istio.iter().map(|istio| istio.name.clone()).collect();
            let settings = Settings { istio_namespaces: names, ..Settings::default() };
            agreed(self.istio.iter().filter_map(|istio| {
                let object = Object::parse(istio.mesh_config.as_ref()?).ok()?;
                let reading = document::read(&object, &settings);
                let domain = reading.claims().find_map(|claim| match &claim.fact {
                    Claimed::TrustDomain(domain) => Some(domain.as_str().to_owned()),
                    _ => None,
                })?;
                Some((domain, format!("ConfigMap {}/istio", istio.name)))
            }))
        };
        variables(self.proxies(), "TRUST_DOMAIN", owned_word).or_else(by_mesh_config)
    }

    /// The Pods of this app in Istio's namespaces.
    fn istio_pods(&self, app: &str) -> impl Iterator<Item = &Pod> {
        self.proxies().filter(move |pod| pod.label("app") == app)
    }

    /// The Pods in Istio's namespaces. What others say of Istio is theirs.
    fn proxies(&self) -> impl Iterator<Item = &Pod> {
        let pods = self.istio.iter().flat_map(|istio| &istio.pods);
        pods.filter(|pod| pod.is_alive())
    }
}

/// Where kubeadm keeps what it was told.
const KUBEADM_CONFIG: &str = "ConfigMap kube-system/kubeadm-config";

/// What these Pods have in an environment variable, as far as it can be read.
fn variables<'p>(
    pods: impl Iterator<Item = &'p Pod>,
    name: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Option<Told<String>> {
    agreed(pods.filter_map(|pod| Some((read(pod.variable(name)?)?, pod.told(name)))))
}

fn owned_word(text: &str) -> Option<String> {
    word(text).map(str::to_owned)
}
