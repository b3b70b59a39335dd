//! Who joins a mesh, in which order, and who is told to change: what kubectl prints.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::TempDir;
use crate::support::guarded::{CRDS, Guarded, local};
use crate::support::objects::{
    annotated, bare, config_map, configuration, described, labelled, module, secret_of_deckhouse,
    stated, with, yaml,
};
use crate::support::transcript::Transcript;

const CREATE: &[&str] = &["create", "-f", "-"];
const REPLACE: &[&str] = &["replace", "-f", "-"];
const PODS: &str = "10.111.0.0/16";
const SERVICES: &str = "10.222.0.0/16";

/// A ConfigMap that describes a member by its ClusterConfiguration.
fn by_config_map(name: &str, domain: &str, pods: &str, services: &str) -> Value {
    let whole = with(configuration(name, pods, services), &["clusterDomain"], domain);
    let data = json!({"cluster-configuration.yaml": yaml(&bare(whole))});
    labelled(config_map("isthmus", name, data), "isthmus.dev/member", name)
}

/// An IstioMulticluster of which nothing is stated.
fn joins(name: &str, gateway: bool) -> Value {
    described(name, gateway, &[])
}

#[test]
fn deleting_and_recreating_does_not_avoid_a_denial() {
    let cluster = Guarded::start_unasked();
    let mut told = Transcript::new("joining");
    cluster.create(&local(PODS)).ok();
    // Of another domain, which nobody was there to refuse.
    let other = by_config_map("c", "other.local", "10.113.0.0/16", "10.223.0.0/16");
    cluster.create(&yaml(&other)).ok();
    cluster.register("Fail");
    told.note("A ConfigMap states the local subnets of a member behind a gateway.");
    told.kubectl(&cluster, CREATE, &yaml(&joins("b", true)));
    told.kubectl(&cluster, CREATE, &yaml(&by_config_map("b", "cluster.local", PODS, SERVICES)));
    cluster.wait_watched(4);
    told.note("It gives up its gateway; it is deleted, and created without.");
    assert!(!told.kubectl(&cluster, REPLACE, &yaml(&joins("b", false))).succeeded);
    told.kubectl(&cluster, &["delete", "istiomulticluster/b"], "");
    cluster.wait_watched(3);
    assert!(!told.kubectl(&cluster, CREATE, &yaml(&joins("b", false))).succeeded);
    assert!(told.kubectl(&cluster, CREATE, &yaml(&joins("b", true))).succeeded);
    told.note("A cluster that is known to have another domain joins.");
    assert!(!told.kubectl(&cluster, CREATE, &yaml(&joins("c", true))).succeeded);
    told.check();
}

#[test]
fn in_a_hub_the_majority_states_the_domain_of_the_mesh() {
    let cluster = Guarded::start_by(CRDS, "Fail", &["--local-member="]);
    let mut told = Transcript::new("hub");
    let member = |n: u8, domain: &str| {
        let object = stated(
            &format!("m{n}"),
            true,
            &format!("10.{}.0.0/16", 10 + n),
            &format!("10.{}.0.0/16", 110 + n),
        );
        annotated(object, "isthmus.dev/cluster-domain", domain)
    };
    for n in 0..5 {
        cluster.create(&yaml(&member(n, "cluster.local"))).ok();
    }
    let astray = annotated(member(5, "east.local"), "isthmus.dev/allow", "ClusterDomainMismatch");
    cluster.create(&yaml(&astray)).ok();
    cluster.wait_watched(6);
    told.note("Five have cluster.local, and one has east.local. A seventh is right.");
    assert!(told.kubectl(&cluster, CREATE, &yaml(&member(6, "cluster.local"))).succeeded);
    told.note("An eighth is not, and neither is one of the five that leaves them.");
    assert!(!told.kubectl(&cluster, CREATE, &yaml(&member(7, "east.local"))).succeeded);
    assert!(!told.kubectl(&cluster, REPLACE, &yaml(&member(0, "east.local"))).succeeded);
    told.note("The one that is astray comes back.");
    assert!(told.kubectl(&cluster, REPLACE, &yaml(&member(5, "cluster.local"))).succeeded);
    told.check();
}

#[test]
fn a_directory_is_applied_at_once() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("directory");
    cluster.create(&local(PODS)).ok();
    cluster.wait_watched(1);
    let files = TempDir::new();
    let described = by_config_map("b", "cluster.local", PODS, SERVICES);
    files.write("b-configmap.yaml", yaml(&described));
    files.write("b-istiomulticluster.yaml", yaml(&joins("b", true)));
    told.note("Both have the default subnets, and the member is behind a gateway.");
    let applied = cluster.kubectl(&["apply", "-f", files.path().to_str().unwrap()], "");
    told.print("$ kubectl apply -f b/", &format!("{}{}", applied.stdout, applied.stderr));
    assert!(applied.succeeded, "{applied:?}");
    told.check();
}

#[test]
fn statements_of_others_about_the_local_cluster_have_no_effect() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("local-by-others");
    cluster.create(&local(PODS)).ok();
    cluster.wait_watched(1);
    let wrong = by_config_map("local", "other.local", PODS, SERVICES);
    told.kubectl(&cluster, CREATE, &yaml(&wrong));
    cluster.wait_watched(2);
    told.note("A newcomer has the domain that the local cluster really has.");
    let right = stated("b", true, "10.112.0.0/16", "10.223.0.0/16");
    let admitted = told.kubectl(&cluster, CREATE, &yaml(&right));
    assert!(admitted.succeeded, "{admitted:?}");
    told.check();
}

#[test]
fn a_status_blames_the_peer() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("status-of-a-peer");
    cluster.create(&local(PODS)).ok();
    cluster.create(&yaml(&stated("b", true, "10.112.0.0/16", "10.223.0.0/16"))).ok();
    cluster.wait_watched(2);
    let network =
        r#"{"status":{"metadataCache":{"private":{"networkName":"network-other-local-3"}}}}"#;
    let patch = ["patch", "istiomulticluster/b", "--subresource=status", "--type=merge", "-p"];
    told.kubectl(&cluster, &[&patch[..], &[network]].concat(), "");
    told.note("What the audit finds is found of the peer.");
    let directory = TempDir::new();
    let audit = told.isthmus(&cluster, directory.path(), &["audit", "--format", "json"]);
    let found: Value = serde_json::from_str(&audit.stdout).unwrap();
    for finding in found["findings"].as_array().unwrap() {
        assert_eq!(finding["object"]["kind"], "IstioMulticluster", "{finding}");
    }
    told.note("Another document of the local cluster comes, that agrees with it.");
    let kubeadm = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  dnsDomain: cluster.local\n  podSubnet: {PODS}\n  serviceSubnet: {SERVICES}\n"
    );
    let kubeadm = json!({"ClusterConfiguration": kubeadm});
    let kubeadm = config_map("kube-system", "kubeadm-config", kubeadm);
    let created = told.kubectl(&cluster, CREATE, &yaml(&kubeadm));
    assert!(created.succeeded, "{created:?}");
    told.check();
}

/// All that a GitOps tool applies for a mesh of three clusters, in the order in which Helm does.
fn tree() -> Vec<Value> {
    let on = |network: &str, object: Value| annotated(object, "isthmus.dev/network", network);
    let multicluster_on = json!({"multicluster": {"enabled": true}});
    let istio = json!({
        "mesh": "trustDomain: cluster.local\n",
        "meshNetworks": "networks:\n  edge:\n    endpoints:\n    - fromCidr: 10.120.0.0/16\n    gateways:\n    - address: 192.0.2.1\n      port: 15443\n",
    });
    let network = json!({"podSubnetCIDR": PODS, "serviceSubnetCIDR": SERVICES});
    vec![
        secret_of_deckhouse(PODS, SERVICES),
        config_map("istio-system", "istio", istio),
        by_config_map("flat", "cluster.local", "10.112.0.0/16", "10.223.0.0/16"),
        by_config_map("gateway", "cluster.local", PODS, SERVICES),
        on("far", configuration("far", PODS, SERVICES)),
        joins("flat", false),
        joins("gateway", true),
        on("far", joins("far", true)),
        stated("alone", true, "10.120.0.0/16", "10.224.0.0/16"),
        with(module("istio", multicluster_on), &["spec", "enabled"], true),
        module("control-plane-manager", json!({"network": network})),
    ]
}

#[test]
fn a_tree_is_applied_in_helm_s_order_and_in_reverse() {
    let apply = |tree: &[Value]| -> Vec<String> {
        let cluster = Guarded::start();
        let printed = tree.iter().map(|object| {
            let applied = cluster.kubectl(&["apply", "-f", "-"], &yaml(object));
            assert!(applied.succeeded, "{}\n{}", yaml(object), applied.stderr);
            applied.stdout
        });
        let printed: Vec<_> = printed.collect();
        // What stands is as sound whatever came first: a whole sync says nothing new.
        let again = tree.iter().map(yaml).collect::<Vec<_>>().join("---\n");
        let again = cluster.kubectl(&["apply", "-f", "-"], &again);
        assert!(again.succeeded, "{}", again.stderr);
        let audit = cluster.run(Path::new("/"), &["audit"]);
        assert_eq!(audit.status, 0, "{}", audit.stdout);
        printed
    };
    let tree = tree();
    let mut forward = apply(&tree);
    let mut backward = apply(&tree.into_iter().rev().collect::<Vec<_>>());
    forward.sort();
    backward.sort();
    assert_eq!(forward, backward);
}
