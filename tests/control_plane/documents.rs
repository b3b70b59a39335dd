//! The documents beside IstioMulticluster: what is stored of them, and what kubectl prints.

use serde_json::json;

use crate::support::guarded::{CRDS, Guarded, described, local, member};
use crate::support::objects::{config_map, module, review, with, yaml};
use crate::support::transcript::Transcript;
use crate::support::{TempDir, wait_for};

const APPLY: &[&str] = &["apply", "-f", "-"];
const CREATE: &[&str] = &["create", "-f", "-"];
const REPLACE: &[&str] = &["replace", "-f", "-"];
const LOCAL_UUID: &str = "0b9d1c80-8a46-11ee-b9d1-0242ac120002";
const OTHER_UUID: &str = "2d7e3b54-8a46-11ee-b9d1-0242ac120002";

/// A ClusterConfiguration as a custom resource, with fields after those that it needs.
fn configuration(name: &str, pods: &str, services: &str, more: &str) -> String {
    format!(
        "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata:\n  name: {name}\nclusterType: Static\nkubernetesVersion: Automatic\npodSubnetCIDR: {pods}\nserviceSubnetCIDR: {services}\n{more}"
    )
}

/// ModuleConfig `istio`, which switches multicluster on or off.
fn istio(multicluster: bool) -> String {
    let object = module("istio", json!({"multicluster": {"enabled": multicluster}}));
    yaml(&with(with(object, &["spec", "version"], 3), &["spec", "enabled"], true))
}

/// ConfigMap `d8-cluster-uuid`.
fn identity(uuid: &str) -> String {
    yaml(&config_map("kube-system", "d8-cluster-uuid", json!({"cluster-uuid": uuid})))
}

/// Lets discovery write a cluster UUID into a member's status, and waits until isthmus has seen it.
fn pin(told: &mut Transcript, cluster: &Guarded, name: &str, uuid: &str) {
    let target = format!("istiomulticluster/{name}");
    let status =
        format!(r#"{{"status":{{"metadataCache":{{"public":{{"clusterUUID":"{uuid}"}}}}}}}}"#);
    let args = ["patch", &target, "--subresource=status", "--type=merge", "-p", &status];
    told.kubectl(cluster, &args, "");
    let data = json!({"cluster-uuid": uuid});
    let mut review = review(None, &config_map("kube-system", "d8-cluster-uuid", data));
    review["request"]["dryRun"] = true.into();
    let whose = format!("is also that of IstioMulticluster {name}:");
    wait_for("the UUID in the status", || {
        let response = cluster.isthmus.review("/validate", &review);
        response["warnings"].to_string().contains(&whose).then_some(())
    });
}

#[test]
fn a_cluster_configuration_is_a_resource_too() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("cluster-configurations");
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let path = "-o=jsonpath={.clusterDomain}/{.podSubnetNodeCIDRPrefix}";
    let stored = ["get", "clusterconfiguration", "far", path];
    told.note("Defaults are stored.");
    let far = configuration("far", "10.112.0.0/16", "10.223.0.0/16", "");
    told.kubectl(&cluster, APPLY, &far);
    told.kubectl(&cluster, &stored, "");
    told.note("Applied again, nothing changes.");
    told.kubectl(&cluster, APPLY, &far);
    cluster.wait_watched(2);
    told.note("A domain is stored as DNS compares it.");
    let spelled = "clusterDomain: Cluster.Local.\npodSubnetNodeCIDRPrefix: \"25\"\n";
    let far = |pods: &str, more: &str| configuration("far", pods, "10.223.0.0/16", more);
    told.kubectl(&cluster, APPLY, &far("10.112.0.0/16", spelled));
    cluster.wait_watched(2);
    told.kubectl(&cluster, &stored, "");
    told.note("Edited to clash: subnets, a domain, and what is no subnet.");
    told.kubectl(&cluster, APPLY, &far("10.111.64.0/18", ""));
    told.kubectl(&cluster, APPLY, &far("10.112.0.0/16", "clusterDomain: far.example.com\n"));
    told.kubectl(&cluster, APPLY, &far("10.112.1.0/16", ""));
    told.note("Repaired.");
    told.kubectl(&cluster, APPLY, &far("10.113.0.0/16", ""));
    told.kubectl(&cluster, &stored, "");
    told.note("The local member's beside its Secret: two documents that disagree are told of.");
    let subnets = ("10.114.0.0/16", "10.222.0.0/16");
    let prefix = "podSubnetNodeCIDRPrefix: \"24\"\n";
    told.kubectl(&cluster, CREATE, &configuration("local", subnets.0, subnets.1, prefix));
    told.check();
}

#[test]
fn who_a_member_is_shows_in_its_status() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("identities");
    told.note("The local cluster's identity.");
    told.kubectl(&cluster, CREATE, &identity("none"));
    told.kubectl(&cluster, CREATE, &identity(LOCAL_UUID));
    cluster.wait_watched(1);
    let facts = [
        ("cluster-domain", "cluster.local"),
        ("pod-subnet-cidr", "10.112.0.0/16"),
        ("service-subnet-cidr", "10.223.0.0/16"),
    ];
    told.note("Discovery finds out that a member is the local cluster itself.");
    told.kubectl(&cluster, CREATE, &described("a", true, &facts));
    pin(&mut told, &cluster, "a", LOCAL_UUID);
    told.kubectl(&cluster, &["annotate", "istiomulticluster/a", "example.com/note=x"], "");
    told.note("The identity is written again, and tells of the same.");
    told.kubectl(&cluster, REPLACE, &identity(LOCAL_UUID));
    told.note("Two members turn out to be one cluster.");
    pin(&mut told, &cluster, "a", OTHER_UUID);
    let facts = [
        ("cluster-domain", "cluster.local"),
        ("pod-subnet-cidr", "10.113.0.0/16"),
        ("service-subnet-cidr", "10.224.0.0/16"),
    ];
    told.kubectl(&cluster, CREATE, &described("b", true, &facts));
    pin(&mut told, &cluster, "b", OTHER_UUID);
    told.kubectl(&cluster, &["annotate", "istiomulticluster/b", "example.com/note=x"], "");
    told.note("A member that is pinned moves to another host, and back within one.");
    for host in ["istio.elsewhere", "istio-metadata.elsewhere"] {
        let patch =
            format!(r#"{{"spec":{{"metadataEndpoint":"https://{host}.example.com/metadata/"}}}}"#);
        let args = ["patch", "istiomulticluster/b", "--type=merge", "-p", &patch];
        told.kubectl(&cluster, &args, "");
    }
    told.check();
}

#[test]
fn members_need_the_module_that_joins_them() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("multicluster-disabled");
    told.kubectl(&cluster, CREATE, &istio(false));
    cluster.wait_watched(1);
    let facts = [
        ("cluster-domain", "cluster.local"),
        ("pod-subnet-cidr", "10.112.0.0/16"),
        ("service-subnet-cidr", "10.223.0.0/16"),
    ];
    told.kubectl(&cluster, CREATE, &described("a", true, &facts));
    told.note("Switched on.");
    told.kubectl(&cluster, REPLACE, &istio(true));
    cluster.isthmus.wait_metric("isthmus_held_writes", 0.0);
    told.kubectl(&cluster, CREATE, &described("a", true, &facts));
    cluster.wait_watched(2);
    told.note("Switched off while members exist.");
    told.kubectl(&cluster, REPLACE, &istio(false));
    cluster.isthmus.wait_metric("isthmus_held_writes", 0.0);
    told.note("The member stood before, and goes on being edited.");
    told.kubectl(&cluster, &["annotate", "istiomulticluster/a", "example.com/note=x"], "");
    told.note("Where ModuleConfig istio is gone, nobody says that it is off.");
    told.kubectl(&cluster, &["delete", "moduleconfig/istio"], "");
    cluster.wait_watched(1);
    told.kubectl(&cluster, REPLACE, &described("a", true, &facts));
    told.check();
}

#[test]
fn files_describe_members_that_the_cluster_does_not_have() {
    let facts = |pods: &'static str| {
        [
            ("cluster-domain", "cluster.local"),
            ("pod-subnet-cidr", pods),
            ("service-subnet-cidr", "10.223.0.0/16"),
        ]
    };
    let files = TempDir::with("a.yaml", &described("a", false, &facts("10.112.0.0/16")));
    let args = ["--inventory", files.path().to_str().unwrap()];
    let cluster = Guarded::start_by(CRDS, "Fail", &args);
    let mut told = Transcript::new("inventory-and-cluster");
    let overlapping = |pods: &'static str| {
        let said = [("cluster-domain", "cluster.local"), ("pod-subnet-cidr", pods)];
        described("b", false, &said)
    };
    let dry_run = ["create", "--dry-run=server", "-f", "-"];
    told.note("A member that only a file describes, and a document of the cluster.");
    told.kubectl(&cluster, &dry_run, &overlapping("10.112.64.0/18"));
    told.kubectl(&cluster, CREATE, &local("10.112.0.0/16"));
    told.note("The cluster has the same member, and says something else.");
    told.kubectl(&cluster, CREATE, &described("a", false, &facts("10.113.0.0/16")));
    cluster.wait_watched(1);
    told.kubectl(&cluster, &dry_run, &overlapping("10.112.64.0/18"));
    told.kubectl(&cluster, &dry_run, &overlapping("10.113.64.0/18"));
    told.note("It is deleted there, and the file speaks again.");
    told.kubectl(&cluster, &["delete", "istiomulticluster/a"], "");
    cluster.wait_watched(0);
    told.kubectl(&cluster, &dry_run, &overlapping("10.112.64.0/18"));
    told.note("The file changes.");
    files.write("a.yaml", described("a", false, &facts("10.115.0.0/16")));
    cluster.isthmus.wait_inventory();
    told.kubectl(&cluster, &dry_run, &overlapping("10.112.64.0/18"));
    told.kubectl(&cluster, &dry_run, &overlapping("10.115.0.0/16"));
    told.note("A twin of the file's member, by its endpoint.");
    told.kubectl(&cluster, &dry_run, &member("c", "https://istio.a.example.com/metadata/"));
    told.check();
}
