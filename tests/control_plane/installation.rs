//! How Istio is installed, as the object that its operator renders Istio's ConfigMaps from.

use serde_json::json;

use crate::support::guarded::{Guarded, local};
use crate::support::objects::yaml;
use crate::support::transcript::Transcript;
use crate::support::wait_for;

const APPLY: &[&str] = &["apply", "-f", "-"];

/// The resource of the Sail operator, as far as a test needs it.
const ISTIO: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: istios.sailoperator.io}
spec:
  group: sailoperator.io
  scope: Cluster
  names: {plural: istios, singular: istio, kind: Istio, listKind: IstioList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

fn istio(label: &str, values: &serde_json::Value) -> String {
    yaml(&json!({
        "apiVersion": "sailoperator.io/v1",
        "kind": "Istio",
        "metadata": {"name": "default", "labels": {"heritage": label}},
        "spec": {"namespace": "istio-system", "values": values},
    }))
}

#[test]
fn what_is_wrong_with_it_is_refused_where_a_person_writes_it() {
    let cluster = Guarded::start();
    let mut api = cluster.plane.admin();
    cluster.plane.kubectl(APPLY, ISTIO).ok();
    let istios = "/apis/sailoperator.io/v1/istios";
    wait_for("the resource", || (api.get(istios)["kind"] == "IstioList").then_some(()));
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let mut told = Transcript::new("installation");
    let global = |networks: serde_json::Value, domain: &str| {
        json!({"global": {
            "meshID": "mesh1",
            "network": "vpc-1",
            "multiCluster": {"clusterName": "local"},
            "proxy": {"clusterDomain": domain},
            "meshNetworks": networks,
        }})
    };
    let gateways = json!([{"address": "192.0.2.1", "port": 15443}]);
    let wrong = json!({"east": {"endpoints": [{"fromCIDR": "10.2.0.0/16"}], "gateways": gateways}});
    let right = json!({"east": {"endpoints": [{"fromCidr": "10.2.0.0/16"}], "gateways": gateways}});
    told.note("A field of meshNetworks is misspelled.");
    let refused = told.kubectl(&cluster, APPLY, &istio("me", &global(wrong.clone(), "")));
    assert!(!refused.succeeded);
    told.note("An operator rendered the same: nobody could correct it there.");
    let rendered = istio("deckhouse", &global(wrong, ""));
    assert!(told.kubectl(&cluster, APPLY, &rendered).succeeded);
    api.clear(istios);
    told.note("It is sound.");
    assert!(told.kubectl(&cluster, APPLY, &istio("me", &global(right.clone(), ""))).succeeded);
    told.note("Istio is told another cluster domain than the cluster has.");
    let other = istio("me", &global(right, "other.local"));
    assert!(told.kubectl(&cluster, APPLY, &other).succeeded);
    told.check();
    cluster.plane.kubectl(&["delete", "crd", "istios.sailoperator.io"], "").ok();
}
