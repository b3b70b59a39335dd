//! The objects that tests and benchmarks write, and the reviews that carry them: one builder for
//! each kind.

use std::fmt::Write;

use serde_json::{Value, json};

/// An IstioMulticluster, whose endpoint follows from its name.
pub fn multicluster(name: &str) -> Value {
    json!({
        "apiVersion": "deckhouse.io/v1alpha1",
        "kind": "IstioMulticluster",
        "metadata": {"name": name},
        "spec": {"metadataEndpoint": format!("https://istio.{name}.example.com/metadata/")},
    })
}

/// An IstioMulticluster behind a gateway or on the local network, of which annotations under
/// `isthmus.dev/` state more.
pub fn described(name: &str, gateway: bool, annotations: &[(&str, &str)]) -> Value {
    let object = with(multicluster(name), &["spec", "enableIngressGateway"], gateway);
    annotations
        .iter()
        .fold(object, |object, (key, text)| annotated(object, &format!("isthmus.dev/{key}"), text))
}

/// The same, which states its domain and these subnets.
pub fn stated(name: &str, gateway: bool, pods: &str, services: &str) -> Value {
    let annotations = [
        ("cluster-domain", "cluster.local"),
        ("pod-subnet-cidr", pods),
        ("service-subnet-cidr", services),
    ];
    described(name, gateway, &annotations)
}

/// A custom resource ClusterConfiguration.
pub fn configuration(name: &str, pods: &str, services: &str) -> Value {
    json!({
        "apiVersion": "deckhouse.io/v1",
        "kind": "ClusterConfiguration",
        "metadata": {"name": name},
        "clusterDomain": "cluster.local",
        "podSubnetCIDR": pods,
        "podSubnetNodeCIDRPrefix": "24",
        "serviceSubnetCIDR": services,
    })
}

/// What a ClusterConfiguration says when a Secret or ConfigMap carries it.
pub fn bare(mut configuration: Value) -> Value {
    if let Some(fields) = configuration.as_object_mut() {
        fields.remove("metadata");
    }
    configuration
}

/// A ModuleConfig with these settings.
pub fn module(name: &str, settings: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "deckhouse.io/v1alpha1",
        "kind": "ModuleConfig",
        "metadata": {"name": name},
        "spec": {"version": 1, "settings": settings.into()},
    })
}

/// A ConfigMap.
pub fn config_map(namespace: &str, name: &str, data: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data.into(),
    })
}

/// A member ConfigMap that carries a ClusterConfiguration.
pub fn carried(member: &str, configuration: Value) -> Value {
    let data = json!({"cluster-configuration.yaml": yaml(&bare(configuration))});
    labelled(config_map("isthmus", member, data), "isthmus.dev/member", member)
}

/// A Secret.
pub fn secret(namespace: &str, name: &str, data: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": data.into(),
    })
}

/// A descriptor of Istio 0.8, with these annotations under `config.istio.io/`.
pub fn descriptor(name: &str, annotations: &[(&str, &str)]) -> Value {
    let object = json!({
        "apiVersion": "clusterregistry.k8s.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
    });
    annotations.iter().fold(object, |object, (key, text)| {
        annotated(object, &format!("config.istio.io/{key}"), text)
    })
}

/// The kubeconfig that a descriptor refers to, whose user is this in YAML's flow style.
pub fn kubeconfig(user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {{server: 'https://10.0.0.1:6443'}}\ncontexts:\n- name: c\n  context: {{cluster: a, user: u}}\ncurrent-context: c\nusers:\n- name: u\n  user: {user}\n"
    )
}

/// An object with another value at a path.
pub fn with(mut object: Value, path: &[&str], value: impl Into<Value>) -> Value {
    let place = path.iter().fold(&mut object, |place, key| &mut place[*key]);
    *place = value.into();
    object
}

/// An object with an annotation more.
pub fn annotated(object: Value, key: &str, text: &str) -> Value {
    with(object, &["metadata", "annotations", key], text)
}

/// An object with a label more.
pub fn labelled(object: Value, key: &str, text: &str) -> Value {
    with(object, &["metadata", "labels", key], text)
}

/// The review of an object that is written for the first time, or again.
pub fn review(old: Option<&Value>, new: &Value) -> Value {
    let api_version = new["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5a2c7d0e-0000-4000-8000-000000000001",
            "kind": {"group": group, "version": version, "kind": new["kind"]},
            "name": new["metadata"]["name"],
            "namespace": new["metadata"]["namespace"],
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "userInfo": {"username": "jane"},
            "object": new,
            "oldObject": old,
            "dryRun": false,
        },
    })
}

/// An object as people write it: what it is comes first, and nothing is quoted without need.
pub fn yaml(object: &Value) -> String {
    let mut text = String::new();
    block(object, 0, &mut text);
    text
}

/// The fields that people write before others, in their order.
const FIRST: [&str; 8] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "metadataEndpoint",
    "version",
    "enabled",
];

fn block(value: &Value, indent: usize, text: &mut String) {
    let fields = value.as_object().into_iter().flatten();
    let mut fields: Vec<_> = fields.collect();
    fields
        .sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    for (key, value) in fields {
        let _ = write!(text, "{:indent$}{key}:", "");
        match value {
            Value::Object(below) if !below.is_empty() => {
                text.push('\n');
                block(value, indent + 2, text);
            }
            Value::String(lines) if lines.ends_with('\n') => {
                text.push_str(" |\n");
                for line in lines.lines() {
                    let _ = writeln!(text, "{:1$}{line}", "", indent + 2);
                }
            }
            Value::String(plain) if is_plain(plain) => {
                let _ = writeln!(text, " {plain}");
            }
            other => {
                let _ = writeln!(text, " {other}");
            }
        }
    }
}

/// Whether YAML reads a string as itself.
fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && ![": ", " #", "\n"].iter().any(|special| text.contains(special))
        && !text.ends_with(':')
        && serde_json::from_str::<Value>(text).is_err()
}

/// The Secret in which Deckhouse keeps the local cluster's configuration, as somebody writes it.
pub(crate) fn secret_of_deckhouse(pods: &str, services: &str) -> Value {
    let text = yaml(&bare(configuration("local", pods, services)));
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "d8-cluster-configuration", "namespace": "kube-system"},
        "stringData": {"cluster-configuration.yaml": text},
    })
}
