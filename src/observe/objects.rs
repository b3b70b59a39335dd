//! Objects as far as they tell facts. Other versions of Kubernetes, and clusters that are not what
//! they seem, may send anything: a field that is missing is empty, and an object that cannot be read
//! is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::ask::MOST_ITEMS;

/// The annotation of the Pods by which a kubelet shows what it runs from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The longest name, ID or label that is taken, in bytes.
const LONGEST_WORD: usize = 253;

/// A list of objects, or a single one.
#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    metadata: AnswerMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct AnswerMetadata {
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

impl Answer<'_> {
    /// The items that can be read, as many as one page may have.
    pub(super) fn items<T: DeserializeOwned>(&self) -> Vec<T> {
        let items = self.items.iter().flatten().take(MOST_ITEMS);
        items.filter_map(|item| serde_json::from_str(item.get()).ok()).collect()
    }

    /// Where the next page begins, if there is one.
    pub(super) fn next(self) -> Option<String> {
        self.metadata.token.filter(|token| !token.is_empty())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    namespace: String,
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<Owner>,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
}

/// An object of which only the metadata counts.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Namespace {
    pub(super) metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    host_network: bool,
    containers: Vec<Container>,
    /// A sidecar may be an init container that stays.
    init_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<Variable>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIPs")]
    addresses: Vec<PodAddress>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodAddress {
    ip: String,
}

impl Pod {
    /// Whether it has not ended, and is not about to.
    pub(super) fn is_alive(&self) -> bool {
        let has_ended = ["Succeeded", "Failed"].contains(&&*self.status.phase);
        !has_ended && self.metadata.deletion_timestamp.is_none()
    }

    /// Whether a kubelet shows by it what it runs from a file: nobody else can create such a Pod.
    pub(super) fn is_mirror(&self) -> bool {
        self.metadata.annotations.contains_key(MIRROR)
            && self.metadata.owner_references.iter().any(|owner| owner.kind == "Node")
    }

    /// A label.
    pub(super) fn label(&self, key: &str) -> &str {
        self.metadata.labels.get(key).map_or("", String::as_str)
    }

    /// The value of a flag, written as one argument or as two; the last one counts.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.spec.containers.iter().find_map(|container| flag_of(container, name))
    }

    /// The value of an environment variable, where it is written in the Pod.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        let mut variables = containers.flat_map(|container| &container.env);
        let found = variables.find(|variable| variable.name == name && !variable.value.is_empty());
        found.map(|variable| variable.value.as_str())
    }

    /// Its addresses in the network of Pods.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        let has_own = self.is_alive() && !self.spec.host_network;
        let addresses = self.status.addresses.iter().filter(move |_| has_own);
        addresses.map(|address| address.ip.as_str())
    }

    /// How it is called, and where in it something is said.
    pub(super) fn told(&self, place: &str) -> String {
        // Whoever answers may call it what he likes.
        let [namespace, name] =
            [&self.metadata.namespace, &self.metadata.name].map(|text| word(text).unwrap_or("?"));
        format!("Pod {namespace}/{name} ({place})")
    }
}

fn flag_of<'c>(container: &'c Container, name: &str) -> Option<&'c str> {
    let words: Vec<&str> =
        container.command.iter().chain(&container.args).map(String::as_str).collect();
    let value = |(at, word): (usize, &&'c str)| {
        let rest =
            word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => words.get(at + 1).copied(),
            None => None,
        }
    };
    words.iter().enumerate().rev().find_map(value)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) spec: NodeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    #[serde(rename = "podCIDRs")]
    pub(super) pod_cidrs: Vec<String>,
    #[serde(rename = "podCIDR")]
    pub(super) pod_cidr: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) metadata: Metadata,
    pub(super) spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceSpec {
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceCidr {
    pub(super) metadata: Metadata,
    pub(super) spec: ServiceCidrSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceCidrSpec {
    pub(super) cidrs: Vec<String>,
}

/// A name, ID or label as it can be told: it is stored, shown, and compared.
pub(super) fn word(text: &str) -> Option<&str> {
    let is_word = text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_word && !text.is_empty()).then_some(text)
}
