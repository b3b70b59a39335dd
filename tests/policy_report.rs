//! `isthmus audit --format policy-report`: reports as the published resources have them.

use std::fs;
use std::process::Command;

use isthmus::manifest;
use serde_json::{Value as Json, json};

use crate::support::TempDir;

/// What `isthmus audit` prints of a mesh in these formats.
pub(crate) fn audit(mesh: &str, format: &str) -> String {
    let directory = TempDir::new();
    fs::write(directory.path().join("mesh.yaml"), mesh).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    command.args(["audit", "--format", format, "--inventory"]).arg(directory.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A denial at an object without a namespace, and at one that has one.
pub(crate) const MESH: &str = "
apiVersion: deckhouse.io/v1
kind: ClusterConfiguration
metadata: {name: local}
clusterDomain: cluster.local
podSubnetCIDR: 10.1.0.0/16
---
apiVersion: deckhouse.io/v1alpha1
kind: IstioMulticluster
metadata: {name: b, annotations: {isthmus.dev/pod-subnet-cidr: 10.1.0.0/16}}
spec: {metadataEndpoint: \"https://istio.b.example.com/metadata/\", enableIngressGateway: false}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {meshNetworks: \"networks: {n: {endpoints: [{fromCidr: x}], gateways: []}}\"}
";

/// The fields of a report as both groups publish them, those that isthmus has no use for left out.
pub(crate) fn schema() -> Json {
    let text = json!({"type": "string"});
    let count = json!({"type": "integer"});
    let reference = json!({
        "type": "object",
        "properties": {
            "apiVersion": text, "fieldPath": text, "kind": text, "name": text, "namespace": text,
            "resourceVersion": text, "uid": text,
        },
    });
    let result = json!({
        "type": "object",
        "required": ["policy"],
        "properties": {
            "category": text, "message": text, "policy": text, "rule": text, "source": text,
            "properties": {"type": "object", "additionalProperties": text},
            "resources": {"type": "array", "items": reference},
            "result": {"type": "string", "enum": ["pass", "fail", "warn", "error", "skip"]},
            "scored": {"type": "boolean"},
            "severity": {"type": "string", "enum": ["critical", "high", "low", "medium", "info"]},
        },
    });
    json!({
        "type": "object",
        "properties": {
            "apiVersion": text, "kind": text, "metadata": {"type": "object"},
            "results": {"type": "array", "items": result},
            "scope": reference,
            "summary": {
                "type": "object",
                "properties": {
                    "error": count, "fail": count, "pass": count, "skip": count, "warn": count,
                },
            },
        },
    })
}

/// Holds a value to its schema; what the schema does not name is a mistake too.
fn check(value: &Json, schema: &Json, at: &str) {
    let is_of_type = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        _ => value.is_object(),
    };
    assert!(is_of_type, "{at}: {value} is not of type {}", schema["type"]);
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{at}: no {required}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{at}[{index}]"));
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][name];
        let others = &schema["additionalProperties"];
        match (known.is_object(), others.is_object()) {
            (true, _) => check(field, known, &format!("{at}.{name}")),
            (false, true) => check(field, others, &format!("{at}.{name}")),
            (false, false) => assert_eq!(at, ".metadata", "{at} has no field {name}"),
        }
    }
}

#[test]
fn reports_are_what_is_published() {
    for (format, version, kinds) in [
        ("policy-report", "wgpolicyk8s.io/v1alpha2", ["ClusterPolicyReport", "PolicyReport"]),
        ("open-report", "openreports.io/v1alpha1", ["ClusterReport", "Report"]),
    ] {
        let text = audit(MESH, format);
        let manifests = manifest::read(&text, "reports").unwrap();
        let reports: Vec<Json> =
            manifests.iter().map(|it| serde_json::from_str(&it.json).unwrap()).collect();
        assert_eq!(reports.len(), 2, "{text}");
        for (report, kind) in reports.iter().zip(kinds) {
            check(report, &schema(), "");
            assert_eq!((&report["apiVersion"], &report["kind"]), (&json!(version), &json!(kind)));
            assert_eq!(report["metadata"]["name"], "isthmus");
            let results = report["results"].as_array().unwrap();
            let failed = results.iter().filter(|result| result["result"] == "fail").count();
            assert!(failed > 0, "{text}");
            assert_eq!(report["summary"]["fail"], failed);
            assert_eq!(report["summary"]["warn"], results.len() - failed);
        }
        assert_eq!(reports[0]["metadata"].get("namespace"), None);
        assert_eq!(reports[1]["metadata"]["namespace"], "istio-system");
        let overlap = &reports[0]["results"].as_array().unwrap();
        let overlap = overlap.iter().find(|it| it["rule"] == "SubnetOverlap").expect("an overlap");
        assert_eq!(overlap["resources"], json!([{"kind": "IstioMulticluster", "name": "b"}]));
        assert_eq!(overlap["properties"]["member"], "b");
        assert_eq!(audit(MESH, format), text, "the same mesh, the same reports");
    }
}
