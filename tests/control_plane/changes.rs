//! How the local cluster's own documents change under members, and what never is in the way.

use crate::support::data;
use crate::support::guarded::{CRDS, Guarded, described, local};
use crate::support::transcript::Transcript;

const CREATE: &[&str] = &["create", "-f", "-"];
const REPLACE: &[&str] = &["replace", "-f", "-"];

#[test]
fn the_local_cluster_does_not_change_under_its_members() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("local-cluster");
    told.kubectl(&cluster, CREATE, &local("10.111.0.0/16"));
    cluster.wait_watched(1);
    let flat = described(
        "flat",
        false,
        &[
            ("cluster-domain", "cluster.local"),
            ("pod-subnet-cidr", "10.112.0.0/16"),
            ("service-subnet-cidr", "10.223.0.0/16"),
        ],
    );
    told.kubectl(&cluster, CREATE, &flat);
    cluster.wait_watched(2);
    told.note("The Secret takes a member's pods, then another domain.");
    told.kubectl(&cluster, REPLACE, &local("10.112.0.0/16"));
    let renamed = local("10.111.0.0/16").replace("\"cluster.local\"", "other.local");
    told.kubectl(&cluster, REPLACE, &renamed);
    told.note("YAML that cannot be read, with its place.");
    told.kubectl(&cluster, REPLACE, &local("10.111.0.0/16").replace("Static", "Static\n    a: ["));
    told.note("A ModuleConfig takes over the subnets, first as they are.");
    let module = |pods: &str| {
        format!(
            "apiVersion: deckhouse.io/v1alpha1\nkind: ModuleConfig\nmetadata:\n  name: control-plane-manager\nspec:\n  settings:\n    network:\n      podSubnetCIDR: {pods}\n"
        )
    };
    told.kubectl(&cluster, CREATE, &module("10.111.0.0/16"));
    cluster.wait_watched(3);
    told.kubectl(&cluster, REPLACE, &module("10.112.0.0/16"));
    told.note("Another ModuleConfig is not asked about.");
    let other = module("10.112.0.0/16").replace("control-plane-manager", "prometheus");
    told.kubectl(&cluster, CREATE, &other);
    told.check();
}

#[test]
fn members_are_described_by_config_maps_in_their_namespace_only() {
    // A member that is only described would be warned of where IstioMulticlusters are served.
    let cluster = Guarded::start_by(CRDS, "Fail", &["--described-overlap=Deny"]);
    let mut told = Transcript::new("config-maps");
    let kubeadm = data("seed/kubeadm-config.yaml");
    told.kubectl(&cluster, CREATE, &kubeadm);
    cluster.wait_watched(1);
    let labelled = |namespace: &str, pods: &str| {
        kubeadm
            .replace("name: kubeadm-config", "name: far\n  labels:\n    isthmus.dev/member: far")
            .replace("kube-system", namespace)
            .replace("10.244.0.0/16,fd00:10:244::/56", pods)
            .replace("10.96.0.0/16,fd00:10:96::/112", "10.97.0.0/16")
    };
    told.note("In a tenant's namespace the label means nothing.");
    told.kubectl(&cluster, CREATE, &labelled("default", "10.244.7.0/24"));
    told.note("In the members' namespace it speaks of a member.");
    told.kubectl(&cluster, CREATE, &labelled("isthmus", "10.244.7.0/24"));
    told.kubectl(&cluster, CREATE, &labelled("isthmus", "10.245.0.0/16"));
    cluster.wait_watched(2);
    told.note("Edited to clash, and repaired.");
    told.kubectl(&cluster, REPLACE, &labelled("isthmus", "10.244.7.0/24"));
    told.kubectl(&cluster, REPLACE, &labelled("isthmus", "10.246.0.0/16"));
    told.note("Without its label it says nothing any more.");
    let before = cluster.isthmus.reviews();
    told.kubectl(&cluster, &["label", "-n=isthmus", "cm/far", "isthmus.dev/member-"], "");
    assert!(cluster.isthmus.reviews() > before, "it is judged by what it said");
    cluster.wait_watched(1);
    told.kubectl(&cluster, &["delete", "-n=default", "cm/far"], "");
    told.check();
}

#[test]
fn existing_mistakes_block_nobody() {
    let cluster = Guarded::start_unasked();
    let mut told = Transcript::new("stood-before");
    let twice = [("a", "10.1.0.0/16"), ("b", "10.1.0.0/16")].map(|(name, pods)| {
        described(name, false, &[("pod-subnet-cidr", pods), ("cluster-domain", "under_score")])
    });
    cluster.create(&twice.join("---\n")).ok();
    cluster.wait_watched(2);
    cluster.register("Fail");
    told.note("Labels, status and finalizers pass.");
    let annotate = ["annotate", "istiomulticluster/b", "example.com/note=x"];
    told.kubectl(&cluster, &annotate, "");
    let status = r#"{"status":{"metadataCache":{"public":{"clusterUUID":"0b9d1c80-8a46-11ee-b9d1-0242ac120002"}}}}"#;
    let patch = ["patch", "istiomulticluster/b", "--type=merge", "-p"];
    let to_status = ["patch", "istiomulticluster/b", "--subresource=status", "--type=merge", "-p"];
    told.kubectl(&cluster, &[&to_status[..], &[status]].concat(), "");
    let finalizers = r#"{"metadata":{"finalizers":["example.com/x"]}}"#;
    told.kubectl(&cluster, &[&patch[..], &[finalizers]].concat(), "");
    let none = r#"{"metadata":{"finalizers":null}}"#;
    told.kubectl(&cluster, &[&patch[..], &[none]].concat(), "");
    told.note(
        "Half a repair passes with a warning, a whole one without, another mistake does not.",
    );
    let domain = r#"{"metadata":{"annotations":{"isthmus.dev/cluster-domain":"cluster.local"}}}"#;
    told.kubectl(&cluster, &[&patch[..], &[domain]].concat(), "");
    let bad = r#"{"metadata":{"annotations":{"isthmus.dev/pod-subnet-cidr":"10.1.0.0/8"}}}"#;
    told.kubectl(&cluster, &[&patch[..], &[bad]].concat(), "");
    let subnets = r#"{"metadata":{"annotations":{"isthmus.dev/pod-subnet-cidr":"10.2.0.0/16","isthmus.dev/service-subnet-cidr":"10.3.0.0/16"}}}"#;
    told.kubectl(&cluster, &[&patch[..], &[subnets]].concat(), "");
    told.note("A deletion passes.");
    told.kubectl(&cluster, &["delete", "istiomulticluster/a"], "");
    told.check();
}
