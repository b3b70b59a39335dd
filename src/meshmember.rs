//! `MeshMember`: the document in which people state the facts of a member, and in which isthmus
//! keeps those that it has observed.
//!
//! These types are its only source: what is written follows from them, and so does the schema of
//! its CustomResourceDefinition, with the texts of `kubectl explain`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The API group.
pub const GROUP: &str = "isthmus.dev";
/// The version within the group.
pub const VERSION: &str = "v1alpha1";
/// The kind.
pub const KIND: &str = "MeshMember";
/// The plural, as in API paths.
pub const RESOURCE: &str = "meshmembers";

/// How many findings a status lists at most.
pub const MOST_FINDINGS: usize = 16;

/// A member of the mesh: one cluster, by its name in the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshMember {
    api_version: String,
    kind: String,
    /// Its name, and its labels.
    pub metadata: Metadata,
    /// What people state of it.
    #[serde(default)]
    pub spec: Spec,
    /// What isthmus has observed of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl MeshMember {
    /// A member of which nothing is known but its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: KIND.to_owned(),
            metadata: Metadata { name: name.into(), labels: BTreeMap::new() },
            spec: Spec::default(),
            status: None,
        }
    }
}

/// What identifies a MeshMember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The name of the member; see [`object_name`] for one that is known by its cluster ID alone.
    pub name: String,
    /// The labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What people state about the member. Every field is optional; what is not stated is observed
/// where isthmus can reach the member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The cluster domain, such as cluster.local. All members of a mesh share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<String>,
    /// The subnets of its pods as CIDRs, such as 10.111.0.0/16, one for each IP family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "serve", schemars(extend("x-kubernetes-list-type" = "atomic")))]
    pub pod_subnets: Vec<String>,
    /// The subnets of its services as CIDRs, such as 10.222.0.0/16, one for each IP family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "serve", schemars(extend("x-kubernetes-list-type" = "atomic")))]
    pub service_subnets: Vec<String>,
    /// The Istio network its pods are on. Members on one network reach each other's pods directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The trust domain of its workload identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// The ID under which Istio knows the cluster: the key of its remote Secret.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

/// What isthmus has observed about the member. Only isthmus writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the spec that the conditions were computed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The facts read from the cluster itself, all from the one with this uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// The objects that join the member to the mesh. They never contain credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "serve", schemars(extend("x-kubernetes-list-type" = "atomic")))]
    pub joined_by: Vec<Joined>,
    /// What the columns of kubectl show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Whether the member is reachable, its facts are known, and no rule denies it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "serve",
        schemars(extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["type"]
        ))
    )]
    pub conditions: Vec<Condition>,
    /// What is wrong with the member as it stands; only the first findings are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "serve",
        schemars(length(max = MOST_FINDINGS), extend("x-kubernetes-list-type" = "atomic"))
    )]
    pub findings: Vec<StandingFinding>,
}

/// The facts read from the cluster itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// The UID of its namespace kube-system: its identity, which all other facts are bound to.
    pub uid: Fact<String>,
    /// The cluster domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<Fact<String>>,
    /// The subnets of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_subnets: Option<Fact<Vec<String>>>,
    /// The subnets of its services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_subnets: Option<Fact<Vec<String>>>,
    /// The Istio network its pods are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Fact<String>>,
    /// The networks for which it has a gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateways: Option<Fact<Vec<String>>>,
    /// The trust domain of its workload identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<Fact<String>>,
    /// The ID of its mesh.
    #[serde(default, rename = "meshID", skip_serializing_if = "Option::is_none")]
    pub mesh_id: Option<Fact<String>>,
    /// The ID under which its own Istio knows the cluster.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<Fact<String>>,
    /// The UUID that Deckhouse has given the cluster.
    #[serde(default, rename = "clusterUUID", skip_serializing_if = "Option::is_none")]
    pub cluster_uuid: Option<Fact<String>>,
}

/// What Istio calls a cluster that nobody gave an ID: many have this one.
pub const DEFAULT_CLUSTER_ID: &str = "Kubernetes";

impl Observed {
    /// What people could state of the member: the facts that are known as a whole.
    pub fn stated(&self) -> Spec {
        let exact = |fact: &Option<Fact<String>>| {
            let exact = fact.as_ref().filter(|fact| fact.exact && !fact.value.is_empty());
            exact.map(|fact| fact.value.clone())
        };
        let all = |fact: &Option<Fact<Vec<String>>>| {
            let exact = fact.as_ref().filter(|fact| fact.exact);
            exact.map(|fact| fact.value.clone()).unwrap_or_default()
        };
        Spec {
            cluster_domain: exact(&self.cluster_domain),
            pod_subnets: all(&self.pod_subnets),
            service_subnets: all(&self.service_subnets),
            network: exact(&self.network),
            trust_domain: exact(&self.trust_domain),
            cluster_id: exact(&self.cluster_id).filter(|id| *id != DEFAULT_CLUSTER_ID),
        }
    }
}

/// A fact, with its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Fact<T> {
    /// The value.
    pub value: T,
    /// The object of the cluster that states it.
    pub from: String,
    /// Whether it is the whole value. Otherwise the cluster uses at least this.
    pub exact: bool,
    /// When it was read.
    #[cfg_attr(feature = "serve", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
}

/// An object that joins the member to the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Joined {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The key of a remote Secret: the cluster ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What the columns of kubectl show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The cluster domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_domain: String,
    /// The subnets of its pods.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pods: String,
    /// The subnets of its services.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub services: String,
    /// The network.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// The kinds of the objects that join it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub joined_by: String,
}

/// A condition, in the usual form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Reachable, Known or Sound.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why, in one word: the name of a rule, or a class of errors.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When the status changed last.
    #[cfg_attr(feature = "serve", schemars(with = "String", extend("format" = "date-time")))]
    pub last_transition_time: Timestamp,
    /// The generation of the spec that it was computed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A rule that the member breaks as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct StandingFinding {
    /// The name of the rule.
    pub rule: String,
    /// Deny or Warn.
    pub severity: String,
    /// The object at fault.
    pub object: String,
    /// The field of the object.
    pub field: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// The longest part of a cluster ID that the name of its MeshMember repeats, in bytes.
const LONGEST_PART: usize = 200;

/// The name of the MeshMember of a cluster that is known by its ID alone.
///
/// An ID that is a DNS-1123 subdomain is the name. Of any other, such as `gke_project_zone_name`,
/// the name has letters in lower case, a dash for every other character, and after one more dash
/// the FNV-1a hash of the ID as eight hexadecimal digits, which tells `a_b` and `A_b` apart.
pub fn object_name(cluster_id: &str) -> String {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let (first, last) = (label.bytes().next(), label.bytes().last());
        first.is_some_and(is_inner)
            && last.is_some_and(is_inner)
            && label.bytes().all(|byte| is_inner(byte) || byte == b'-')
    };
    if cluster_id.len() <= 253 && cluster_id.split('.').all(is_label) {
        return cluster_id.to_owned();
    }
    let hash = cluster_id
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let dashed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let part: String = cluster_id.chars().take(LONGEST_PART).map(dashed).collect();
    let part = part.trim_matches('-');
    if part.is_empty() { format!("{hash:08x}") } else { format!("{part}-{hash:08x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_that_is_not_a_name_becomes_one_that_no_other_has() {
        for same in ["cluster-b", "a.b", "0"] {
            assert_eq!(object_name(same), same);
        }
        let long = "x".repeat(300);
        let made = ["gke_project_zone_b", "gke-project_zone_b", "B", "_", "", "a..b", &long];
        let names = made.map(object_name);
        assert_eq!(names[0], "gke-project-zone-b-39d0e4be");
        for (id, name) in made.iter().zip(&names) {
            assert_ne!(id, name);
            assert_eq!(object_name(name), *name, "a valid name");
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let at: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
        let fact =
            |value: &str| Fact { value: value.to_owned(), from: "x".into(), exact: true, at };
        let mut member = MeshMember::new("cluster-b");
        let written = serde_json::to_value(&member).unwrap();
        let expected = serde_json::json!({
            "apiVersion": "isthmus.dev/v1alpha1",
            "kind": "MeshMember",
            "metadata": {"name": "cluster-b"},
            "spec": {},
        });
        assert_eq!(written, expected);
        let observed = Observed {
            uid: fact("u"),
            cluster_domain: Some(fact("cluster.local")),
            pod_subnets: None,
            service_subnets: None,
            network: None,
            gateways: None,
            trust_domain: None,
            mesh_id: None,
            cluster_id: Some(fact("gke_b")),
            cluster_uuid: None,
        };
        member.status = Some(Status { observed: Some(observed), ..Status::default() });
        let written = serde_json::to_value(&member).unwrap();
        assert_eq!(written["status"]["observed"]["clusterID"]["at"], "2026-11-01T12:00:00Z");
        assert_eq!(serde_json::from_value::<MeshMember>(written).unwrap(), member);
    }
}
