//! Policy reports before an API server that has their resources as they are published.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::chart::helm::objects;
use crate::policy_report::{MESH, audit};
use crate::support::plane::{Plane, exclusive, published};
use crate::support::process::command;
use crate::support::scouting::{Scout, home};
use crate::support::{TempDir, wait_for};

const MULTICLUSTERS: &str = "/apis/deckhouse.io/v1alpha1/istiomulticlusters";
const MAPS: &str = "/api/v1/namespaces/istio-system/configmaps";
const POLICY_REPORTS: [&str; 2] = ["policyreports", "clusterpolicyreports"];
const CLUSTER_REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports";

fn reports_in(namespace: &str) -> String {
    format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/{namespace}/policyreports")
}

/// Has the API server serve the reports of a group until the end.
struct Served(&'static Plane, String);

impl Served {
    fn new(plane: &'static Plane, group: &str, plurals: [&str; 2]) -> Self {
        let definitions = plurals.map(|plural| published(&format!("{group}_{plural}.yaml")));
        let definitions = definitions.join("\n---\n");
        plane.kubectl(&["apply", "--server-side", "-f", "-"], &definitions).ok();
        let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", "-"];
        plane.kubectl(&established, &definitions).ok();
        Self(plane, definitions)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kubectl(&["delete", "--ignore-not-found", "-f", "-"], &self.1);
    }
}

#[test]
fn what_an_audit_prints_is_stored_with_every_field() {
    let (plane, _turn) = exclusive();
    let namespace = json!({"metadata": {"name": "istio-system"}});
    assert!([201, 409].contains(&plane.admin().create("/api/v1/namespaces", &namespace).status));
    for (format, group, version, plurals) in [
        ("policy-report", "wgpolicyk8s.io", "v1alpha2", POLICY_REPORTS),
        ("open-report", "openreports.io", "v1alpha1", ["reports", "clusterreports"]),
    ] {
        let _served = Served::new(plane, group, plurals);
        let reports = audit(MESH, format);
        wait_for("an API server that takes reports", || {
            let args = ["apply", "--server-side", "--validate=strict", "-f", "-"];
            let output = plane.kubectl(&args, &reports);
            output.succeeded.then_some(())
        });
        let path =
            format!("/apis/{group}/{version}/namespaces/istio-system/{}/isthmus", plurals[0]);
        let stored = plane.admin().get(&path);
        assert_eq!(stored["results"][0]["rule"], "InvalidMeshConfig", "{stored}");
        assert_eq!(stored["results"][0]["severity"], "high");
    }
}

/// A report once it is as it should be.
fn report(plane: &Plane, path: &str, is: impl Fn(&Json) -> bool) -> Json {
    let mut api = plane.admin();
    wait_for(path, || {
        let found = api.get(path);
        is(&found).then_some(found)
    })
}

/// How often the API server was asked this of cluster-wide reports.
fn asked(plane: &Plane, verb: &str) -> f64 {
    let page = plane.admin().send("GET", "/metrics", &Json::Null).text();
    let lines = page.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"clusterpolicyreports\"")
            && line.contains(&format!("verb=\"{verb}\""))
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// What reports tell: whether it is denied, the rule, and the object.
fn told(reports: &[Json]) -> Vec<String> {
    let results = reports.iter().flat_map(|report| report["results"].as_array().unwrap());
    let mut told: Vec<_> = results
        .map(|result| {
            let object = &result["resources"][0];
            format!("{} {} {} {}", result["result"], result["rule"], object["kind"], object["name"])
        })
        .collect();
    told.sort();
    told
}

/// The reports that an audit of a cluster prints.
fn audited(kubeconfig: &Path) -> Vec<Json> {
    let directory = TempDir::new();
    let args = ["audit", "--format=policy-report", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let output = command(directory.path()).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_scout_keeps_reports_up_to_date() {
    const GROUP: &str = "--policy-reports=wgpolicyk8s.io";
    let (plane, _turn) = exclusive();
    let local = home(plane, &[GROUP]);
    let services = &plane.services;
    local.kubeadm(&format!(
        "{{dnsDomain: cluster.local, podSubnet: 10.111.0.0/16, serviceSubnet: {services}}}"
    ));
    let mut api = plane.admin();
    local.create(
        MULTICLUSTERS,
        &json!({
            "apiVersion": "deckhouse.io/v1alpha1",
            "kind": "IstioMulticluster",
            "metadata": {
                "name": "b",
                "annotations": {"isthmus.dev/pod-subnet-cidr": "10.111.0.0/16"},
            },
            "spec": {
                "metadataEndpoint": "https://istio.b.example.com/metadata/",
                "enableIngressGateway": false,
            },
        }),
    );
    let networks = "networks: {n: {endpoints: [{fromCidr: x}], gateways: []}}";
    local.create(MAPS, &json!({"metadata": {"name": "istio"}, "data": {"meshNetworks": networks}}));

    // There is no such resource: that is told, and nothing else waits for it.
    let scout = Scout::start(plane, &[GROUP]);
    wait_for("what is missing to be told", || {
        scout.log().contains("has no resource clusterpolicyreports.wgpolicyk8s.io").then_some(())
    });
    wait_for("a scout that is ready", || (scout.page("/readyz").0 == 200).then_some(()));

    // Once there is, it is written to, by an account that may write its own reports alone.
    let _served = Served::new(plane, "wgpolicyk8s.io", POLICY_REPORTS);
    let path = format!("{CLUSTER_REPORTS}/isthmus-scout");
    let cluster = report(plane, &path, |it| it["summary"]["fail"] != 0 && !it["summary"].is_null());
    let namespaced =
        report(plane, &format!("{}/isthmus-scout", reports_in("istio-system")), |it| {
            !it["results"].is_null()
        });
    let denied = "\"fail\" \"SubnetOverlap\" \"IstioMulticluster\" \"b\"";
    assert!(told(std::slice::from_ref(&cluster)).iter().any(|told| told == denied), "{cluster}");
    assert_eq!(namespaced["results"][0]["rule"], "InvalidMeshConfig");
    assert_eq!(cluster["metadata"]["labels"]["app.kubernetes.io/managed-by"], "isthmus-scout");
    wait_for("a scout that has recovered", || {
        scout.log().contains("policy reports are written again").then_some(())
    });
    assert_eq!(scout.log().matches("policy reports cannot be written").count(), 1);

    // Another scout has nothing to add, and deletes what is true no more, but of nobody else.
    let label = json!({"app.kubernetes.io/managed-by": "isthmus-scout"});
    let stale = json!({"metadata": {"name": "isthmus-scout", "labels": label}});
    for (metadata, namespace) in [
        (&stale, "default"),
        (&json!({"metadata": {"name": "isthmus-scout"}}), "kube-system"),
        (&json!({"metadata": {"name": "cpol-x", "labels": label}}), "default"),
    ] {
        let mut report = metadata.clone();
        report["apiVersion"] = "wgpolicyk8s.io/v1alpha2".into();
        report["kind"] = "PolicyReport".into();
        local.create(&reports_in(namespace), &report);
    }
    let applied = asked(plane, "APPLY");
    let _second = Scout::start(plane, &[GROUP]);
    wait_for("the second scout", || (asked(plane, "APPLY") > applied).then_some(()));
    wait_for("what nobody knows of to be gone", || {
        let path = format!("{}/isthmus-scout", reports_in("default"));
        (plane.admin().get(&path)["code"] == 404).then_some(())
    });
    for (namespace, name) in [("kube-system", "isthmus-scout"), ("default", "cpol-x")] {
        let path = format!("{}/{name}", reports_in(namespace));
        assert_eq!(api.get(&path)["metadata"]["name"], name, "it is of somebody else");
    }
    let version = |found: &Json| found["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&api.get(&path)), version(&cluster), "nothing new is nothing to write");

    // It is what an audit finds of the same cluster.
    let token = plane.kubectl(&["create", "token", "isthmus-scout", "-n=isthmus"], "").ok();
    let kubeconfig = plane.kubeconfig("auditor", token.trim());
    wait_for("the reports to be those of an audit", || {
        let paths = [&path, &format!("{}/isthmus-scout", reports_in("istio-system"))];
        let kept = paths.map(|path| plane.admin().get(path));
        (told(&kept) == told(&audited(&kubeconfig))).then_some(())
    });

    // What is mended is gone.
    api.clear(&format!("{MAPS}/istio"));
    api.clear(&format!("{MULTICLUSTERS}/b"));
    report(plane, &path, |it| it["summary"]["fail"] == 0);
    wait_for("the report of a namespace without findings to be gone", || {
        let path = format!("{}/isthmus-scout", reports_in("istio-system"));
        (plane.admin().get(&path)["code"] == 404).then_some(())
    });
}
