//! How the API server shares itself out: a level of its own for isthmus's account. Otherwise that
//! account shares one with the writers that wait for isthmus, who fill it just when isthmus has to
//! read what its answer rests on.

use serde_json::{Value as Json, json};

const API: &str = "flowcontrol.apiserver.k8s.io/v1";
/// Before the schemas for service accounts, that of `kube-system` included, and after those of the
/// control plane.
const PRECEDENCE: u32 = 850;

/// The level, and what assigns an account to it.
pub(super) fn manifests(name: &str, account: &Json) -> [Json; 2] {
    let metadata = json!({"name": name});
    let of = json!({"name": account["name"], "namespace": account["namespace"]});
    let whatever = ["*"];
    [
        json!({
            "apiVersion": API,
            "kind": "PriorityLevelConfiguration",
            "metadata": metadata,
            "spec": {"type": "Limited", "limited": {
                "nominalConcurrencyShares": 10,
                "lendablePercent": 50,
                "limitResponse": {
                    "type": "Queue",
                    "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 100},
                },
            }},
        }),
        json!({
            "apiVersion": API,
            "kind": "FlowSchema",
            "metadata": metadata,
            "spec": {
                "matchingPrecedence": PRECEDENCE,
                "priorityLevelConfiguration": {"name": name},
                "rules": [{
                    "subjects": [{"kind": "ServiceAccount", "serviceAccount": of}],
                    "resourceRules": [{
                        "verbs": whatever,
                        "apiGroups": whatever,
                        "resources": whatever,
                        "clusterScope": true,
                        "namespaces": whatever,
                    }],
                    "nonResourceRules": [{"verbs": whatever, "nonResourceURLs": whatever}],
                }],
            },
        }),
    ]
}
