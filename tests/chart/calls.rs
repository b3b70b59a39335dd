//! Which writes the API server asks isthmus about, by the webhooks of the chart.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::release::Release;
use crate::support::api::{APPLY, JSON, MERGE};
use crate::support::data;
use crate::support::guarded::{local, member};
use crate::support::objects::with;

#[test]
fn only_mesh_resources_wait_for_isthmus() {
    let release = Release::install(&[]);
    for object in of_no_concern(&release) {
        written(&release, &object, false, 0);
    }
    for (object, any_name, calls) in of_concern() {
        written(&release, &object, any_name, calls);
    }
    release.uninstall();
}

/// What isthmus must not be asked about.
fn of_no_concern(release: &Release) -> Vec<Json> {
    let secret = |namespace: &str, name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": namespace, "name": name},
        })
    };
    let mut of_a_tenant = map("default", "far", "cluster-configuration.yaml");
    of_a_tenant["metadata"]["labels"] = json!({"isthmus.dev/member": "far"});
    let mut endpoints = map("istio-system", "other", "x");
    endpoints["kind"] = "EndpointSlice".into();
    endpoints["apiVersion"] = "discovery.k8s.io/v1".into();
    endpoints["addressType"] = "IPv4".into();
    endpoints["endpoints"] = json!([]);
    endpoints.as_object_mut().unwrap().remove("data");
    let deployment = release.get("deployment/isthmus");
    let template = &deployment["spec"]["template"];
    // It is taken where Pods must be restricted.
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"],
        "spec": template["spec"],
    });
    pod["metadata"]["name"] = "isthmus-0".into();
    pod["metadata"]["namespace"] = "isthmus".into();
    vec![
        pod,
        map("isthmus", "plain", "cluster-configuration.yaml"),
        of_a_tenant,
        map("kube-system", "other", "ClusterConfiguration"),
        map("default", "kubeadm-config", "ClusterConfiguration"),
        map("istio-system", "istio-ca-root-cert", "root-cert.pem"),
        map("istio-system", "other", "mesh"),
        map("default", "istio", "mesh"),
        endpoints,
        secret("isthmus", "isthmus-tls"),
        secret("kube-system", "other"),
        secret("default", "d8-cluster-configuration"),
        module("prometheus"),
    ]
}

/// What it must be asked about, whether any name will do, and how many webhooks ask.
fn of_concern() -> Vec<(Json, bool, u64)> {
    let yaml = |text: &str| super::helm::objects(text).remove(0);
    let mut of_a_member = yaml(&data("seed/kubeadm-config.yaml"));
    of_a_member["metadata"]["namespace"] = "isthmus".into();
    of_a_member["metadata"]["name"] = "far".into();
    of_a_member["metadata"]["labels"] = json!({"isthmus.dev/member": "far"});
    let custom = json!({
        "apiVersion": "deckhouse.io/v1", "kind": "ClusterConfiguration",
        "metadata": {"name": "far"}, "clusterDomain": "cluster.local",
        "podSubnetCIDR": "10.1.0.0/16", "serviceSubnetCIDR": "10.2.0.0/16",
        "podSubnetNodeCIDRPrefix": "24",
    });
    let uuid = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "d8-cluster-uuid"},
        "data": {"cluster-uuid": "0b9d1c80-8a46-11ee-b9d1-0242ac120002"},
    });
    let mut descriptors = map("istio-system", "multicluster", "note");
    for name in ["falkor07.yaml", "falkor07.kube.conf", "falkor08.yaml", "falkor08.kube.conf"] {
        let path = "manifests/examples/multicluster";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path).join(name);
        descriptors["data"][name] = std::fs::read_to_string(path).unwrap().into();
    }
    let mut values = map("isthmus", "remote", "values.yaml");
    values["metadata"]["labels"] = json!({"isthmus.dev/helm-values": "istio-remote"});
    values["data"]["values.yaml"] =
        "global: {pilotEndpoint: 192.0.2.1, policyEndpoint: 192.0.2.2}".into();
    let mut mesh = map("istio-system", "istio-canary", "mesh");
    mesh["data"]["mesh"] = "trustDomain: cluster.local".into();
    let pilot = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"namespace": "istio-system", "name": "istio-pilot"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 15010}]}],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "istio-system", "name": "istio-pilot-x",
            "labels": {"kubernetes.io/service-name": "istio-pilot"},
        },
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    });
    vec![
        // What has a canonical form is asked about twice.
        (yaml(&member("far", "https://istio.far.example.com/metadata/")), true, 2),
        (custom, true, 2),
        (of_a_member, true, 1),
        (yaml(&local("10.111.0.0/16")), false, 1),
        (yaml(&data("seed/kubeadm-config.yaml")), false, 1),
        (uuid, false, 1),
        (module("istio"), false, 1),
        (module("global"), false, 1),
        (module("control-plane-manager"), false, 1),
        (descriptors, false, 1),
        (mesh, true, 1),
        (values, true, 1),
        (pilot, false, 1),
        (slice, true, 1),
    ]
}

pub(super) fn map(namespace: &str, name: &str, key: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {key: "x"},
        "metadata": {"namespace": namespace, "name": name},
    })
}

fn module(name: &str) -> Json {
    json!({
        "apiVersion": "deckhouse.io/v1alpha1", "kind": "ModuleConfig", "spec": {},
        "metadata": {"name": name},
    })
}

/// Writes an object in every way; isthmus is asked so often about each write.
#[track_caller]
fn written(release: &Release, object: &Json, any_name: bool, calls: u64) {
    let mut api = release.plane.admin();
    let (metadata, kind) = (&object["metadata"], object["kind"].as_str().unwrap());
    let name = metadata["name"].as_str().unwrap();
    let group = object["apiVersion"].as_str().unwrap();
    let group = if group == "v1" { "api/v1".to_owned() } else { format!("apis/{group}") };
    let namespace = metadata["namespace"].as_str();
    let namespace = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
    let plural = kind.trim_end_matches('s').to_lowercase() + "s";
    let all = format!("/{group}{namespace}/{plural}");
    let one = format!("{all}/{name}");

    let mut write = |method: &str, path: &str, content: &str, body: &Json, calls: u64| {
        let before = release.reviews();
        let answer = api.send_as(method, path, content, body);
        assert!([200, 201].contains(&answer.status), "{method} {path}: {}", answer.text());
        let asked = release.reviews() - before;
        assert_eq!(asked, calls, "{method} {path}: {body}");
        serde_json::from_slice::<Json>(&answer.body).unwrap()
    };
    let at_once = json!({"gracePeriodSeconds": 0});
    let applied = format!("{one}?fieldManager=tests&force=true");
    let changed = |value: &str| with(object.clone(), &["metadata", "annotations", "tests"], value);
    write("POST", &all, JSON, object, calls);
    let patch = json!({"metadata": {"annotations": {"tests": "1"}}});
    let mut stored = write("PATCH", &one, MERGE, &patch, calls);
    stored["metadata"]["annotations"]["tests"] = "2".into();
    write("PUT", &one, JSON, &stored, calls);
    write("PATCH", &applied, APPLY, &changed("3"), calls);
    write("DELETE", &one, JSON, &at_once, 0);
    write("PATCH", &applied, APPLY, object, calls);
    write("DELETE", &one, JSON, &at_once, 0);
    if any_name || calls == 0 {
        let mut nameless = object.clone();
        nameless["metadata"].as_object_mut().unwrap().remove("name");
        nameless["metadata"]["generateName"] = format!("{name}-").into();
        let created = write("POST", &all, JSON, &nameless, calls);
        let one = format!("{all}/{}", created["metadata"]["name"].as_str().unwrap());
        write("DELETE", &one, JSON, &at_once, 0);
    }
}
