//! The law of kubeconfigs, wherever they are: no credential of one is ever answered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isthmus::syntax::{Node, Value, yaml_documents};
use serde_json::{Value as Json, json};

use super::review::{answer_to, creation, example_mesh};

/// What Istio 0.8 reads beside the kubeconfig.
const DESCRIPTOR: &str = r#"apiVersion: clusterregistry.k8s.io/v1alpha1
kind: Cluster
metadata:
  name: falkor07
  annotations:
    config.istio.io/pilotEndpoint: "192.168.1.1:9080"
    config.istio.io/platform: "Kubernetes"
    config.istio.io/pilotCfgStore: "True"
    config.istio.io/accessConfigFile: "falkor07.kube.conf"
spec:
  kubernetesApiEndpoints:
    serverEndpoints:
      - clientCIDR: "0.0.0.0/0"
        serverAddress: "10.23.230.11"
"#;

/// The fields of a user whose texts are credentials.
const CREDENTIALS: &[&str] = &["token", "password", "client-key-data", "client-certificate-data"];
/// What credentials are in the corpus, so that they are known where the rest cannot be read.
const PLANTED: &str = "c0nf1dent1al";
/// A text that nothing else holds, and that has the same form.
const OTHER: &str = "q7w8e9r0t1y2";

/// An answer to ConfigMap `multicluster` is the same whatever a credential is.
pub fn kubeconfig(data: &[u8]) -> usize {
    credentials_are_not_answered(data, |kubeconfig| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "multicluster", "namespace": "istio-system"},
            "data": {"falkor07.yaml": DESCRIPTOR, "falkor07.kube.conf": kubeconfig},
        })
    })
}

/// An answer to a remote Secret is the same whatever a credential is.
pub fn remote_secret(data: &[u8]) -> usize {
    credentials_are_not_answered(data, |kubeconfig| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": "istio-remote-secret-cluster-b", "namespace": "istio-system",
                "labels": {"istio/multiCluster": "true"},
                "annotations": {"networking.istio.io/cluster": "cluster-b"},
            },
            "data": {"cluster-b": STANDARD.encode(kubeconfig)},
        })
    })
}

fn credentials_are_not_answered(data: &[u8], object: fn(&str) -> Json) -> usize {
    let answer = |kubeconfig: &str| {
        answer_to(example_mesh(), &creation(&object(kubeconfig))).unwrap().to_string()
    };
    let Ok(text) = std::str::from_utf8(data) else { return data.len() };
    let Ok(documents) = yaml_documents(text) else {
        // A kubeconfig that cannot be read is not repeated at all.
        if !text.contains(OTHER) {
            assert_eq!(answer(text), answer(&text.replace(PLANTED, OTHER)));
        }
        return 2 * data.len();
    };
    let mut credentials = Vec::new();
    for document in &documents {
        gather(document, &mut credentials);
    }
    let said = answer(text);
    for credential in credentials {
        let is_word = credential.bytes().all(|byte| byte.is_ascii_alphanumeric());
        // One that also stands elsewhere may be told from there.
        if is_word && credential.len() >= 8 && text.matches(&credential).count() == 1 {
            let other = answer(&text.replace(&credential, OTHER));
            assert!(!said.contains(&credential) || other.contains(&credential), "{said}");
        }
    }
    data.len()
}

fn gather(root: &Node<'_>, credentials: &mut Vec<String>) {
    let items = |list: &str| match root.get(list).map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    for user in items("users").iter().filter_map(|entry| entry.get("user")) {
        let texts = CREDENTIALS.iter().filter_map(|field| user.get(field)?.scalar());
        credentials.extend(texts.map(str::to_owned));
    }
    for cluster in items("clusters").iter().filter_map(|entry| entry.get("cluster")) {
        let server = cluster.get("server").and_then(Node::text).unwrap_or_default();
        let password = server.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
        let password = password.and_then(|(user, _)| user.split_once(':'));
        credentials.extend(password.map(|(_, password)| password.to_owned()));
    }
}
