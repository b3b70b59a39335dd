//! Policy reports: what they say, and how large they become.

use std::fs;
use std::process::Command;

use isthmus::manifest;
use isthmus::report::diagnostic::{Diagnostic, Level};
use isthmus::report::policy_report::{Api, policy_reports};
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

#[test]
fn reports_say_what_was_found_in_each_namespace() {
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

#[test]
fn a_report_fits_into_the_cluster_whatever_is_found() {
    for (count, length) in [(5_000, 10), (5_000, 100_000), (900, 1_024)] {
        let diagnostic = Diagnostic {
            field: "f".repeat(length),
            message: "\u{e9}".repeat(length),
            remedy: "\u{1}".repeat(length),
            ..Diagnostic::new(Level::Denial, "SubnetOverlap")
        };
        let reports = policy_reports(&vec![diagnostic; count], Api::OpenReport, "x");
        assert_eq!(reports.len(), 1);
        assert!(reports[0].to_string().len() < 1 << 20, "etcd takes 1.5 MiB");
        let results = reports[0]["results"].as_array().unwrap();
        let (rest, told) = results.split_last().unwrap();
        assert!(!told.is_empty());
        let more = count - told.len();
        assert_eq!(rest["message"], format!("{more} more; `isthmus audit` lists all"));
        assert_eq!(reports[0]["summary"]["fail"], count, "all are counted");
        assert_eq!(reports[0]["summary"]["error"], 1);
    }
}
