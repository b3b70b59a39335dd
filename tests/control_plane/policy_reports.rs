//! Reports of an audit before an API server that has the resources of policy reports.

use serde_json::json;

use crate::policy_report::{MESH, audit, schema};
use crate::support::plane::exclusive;
use crate::support::wait_for;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[test]
fn reports_are_stored_with_every_field() {
    let (plane, _turn) = exclusive();
    let mut api = plane.admin();
    let namespace = json!({"metadata": {"name": "istio-system"}});
    assert!([201, 409].contains(&api.create("/api/v1/namespaces", &namespace).status));
    for (plural, kind, scope) in [
        ("policyreports", "PolicyReport", "Namespaced"),
        ("clusterpolicyreports", "ClusterPolicyReport", "Cluster"),
    ] {
        let name = format!("{plural}.wgpolicyk8s.io");
        let crd = json!({
            "metadata": {
                "name": name,
            },
            "spec": {
                "group": "wgpolicyk8s.io",
                "scope": scope,
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{
                    "name": "v1alpha2",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": schema()},
                }],
            },
        });
        assert_eq!(api.create(CRDS, &crd).status, 201, "{name}");
    }
    let reports = audit(MESH, "policy-report");
    wait_for("an API server that takes reports", || {
        let args = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        let output = plane.kubectl(&args, &reports);
        output.succeeded.then_some(())
    });
    let stored =
        api.get("/apis/wgpolicyk8s.io/v1alpha2/namespaces/istio-system/policyreports/isthmus");
    assert_eq!(stored["results"][0]["rule"], "InvalidMeshConfig", "{stored}");
    assert_eq!(stored["results"][0]["severity"], "high");
    for plural in ["policyreports", "clusterpolicyreports"] {
        api.clear(&format!("{CRDS}/{plural}.wgpolicyk8s.io"));
    }
}
